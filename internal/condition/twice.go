package condition

import (
	"cmp"
	"fmt"

	"github.com/gsmeval/gsmeval/internal/keys"
	"github.com/gsmeval/gsmeval/noise/alpha"
)

// Average computes every token twice, under independent noise, and samples from the mean of the two logits, which has
// half of the noise's variance: what any policy that computes twice has to beat.
type Average struct {
	Value float64 `yaml:"value,omitempty"` // temperature, 0: T_base
}

// Online computes every token twice, under independent noise, and samples the first at a temperature from how the two
// differ. It needs neither a calibration nor clean logits.
type Online struct {
	Form string  `yaml:"form,omitempty"` // "": marginal_probit
	Base float64 `yaml:"base,omitempty"`
}

// Check reports parameters that are out of range.
func (p *Average) Check(r keys.Report, _ int) { checkValue(r, p.Value) }

// Check reports parameters that are out of range.
func (p *Online) Check(r keys.Report, _ int) {
	r.OneOf("form", p.Form, words(alpha.OnlineForms())...)
	if p.Base != 0 || r.Given("base") {
		r.Above("base", p.Base, 0, maxT)
	}
}

// Label is "average T=1".
func (p *Average) Label() string { return "average" + valueLabel(p.Value) }

// Label is "online" and what is not the default.
func (p *Online) Label() string {
	label := "online"
	if p.Form != "" {
		label += " " + p.Form
	}
	if p.Base != 0 {
		label += " base=" + number(p.Base)
	}
	return label
}

// drawnAnew tells whether a second pass has noise of its own. A chip has no second draw.
func drawnAnew(n Noise) bool { return n.Law() != alpha.OneDraw }

// Schedule is one temperature, on the mean of two rows; on one row where a second would be the same.
func (p *Average) Schedule(under Under, _ *alpha.Curve) (Schedule, error) {
	s := ConstantT(cmp.Or(p.Value, under.Theory.Base))
	s.Twice, s.Average = drawnAnew(under.Noise), drawnAnew(under.Noise)
	return s, nil
}

// Schedule compares two rows; T_base where they would be the same.
func (p *Online) Schedule(under Under, _ *alpha.Curve) (Schedule, error) {
	o := online{cmp.Or(alpha.Form(p.Form), alpha.Probit), cmp.Or(p.Base, under.Theory.Base)}
	if !drawnAnew(under.Noise) {
		return ConstantT(o.base), nil
	}
	return Schedule{Adaptive: func() Stepper { return o }, Name: fmt.Sprintf("online %v", o), Twice: true}, nil
}

// Notes say what the policy costs, or that it does nothing.
func (p *Average) Notes(under Under, _ Schedule) []string { return twiceNotes(under.Noise) }

// Notes say what the policy costs, or that it does nothing.
func (p *Online) Notes(under Under, _ Schedule) []string { return twiceNotes(under.Noise) }

func twiceNotes(n Noise) []string {
	switch {
	case n.Empty():
		return nil
	case drawnAnew(n):
		return []string{"every token is computed twice: the cost is that of twice the tokens."}
	}
	return []string{"one draw of this noise holds for a text, a second pass would be the same, and tokens are computed once at T_base."}
}

// online has no state: the temperature of a step depends on its two rows alone.
type online struct {
	form alpha.Form
	base float64
}

func (o online) Temperature(s Step) float64 {
	return alpha.Compare(s.Logits, s.Second, o.base).Temperature(o.form, o.base)
}
