package condition

import (
	"cmp"
	"strings"

	"github.com/gsmeval/gsmeval/internal/keys"
	"github.com/gsmeval/gsmeval/noise/alpha"
)

// ConstantTStar is one temperature for all steps, from the mean of alpha over the positions.
type ConstantTStar struct {
	Form string  `yaml:"form,omitempty"`
	Base float64 `yaml:"base,omitempty"`
	// From names the noise whose calibration gives T*, where it is not the one that the condition runs under. Without noise that
	// is a placebo: the temperatures of a treatment, and nothing to treat.
	From Noise `yaml:"from,omitempty"`
}

// DynamicTStar is a temperature for each step, from alpha(t).
type DynamicTStar struct {
	Form   string  `yaml:"form,omitempty"`
	Base   float64 `yaml:"base,omitempty"`
	Smooth string  `yaml:"smooth,omitempty"`
	From   Noise   `yaml:"from,omitempty"` // as of ConstantTStar
}

// Check reports parameters that are out of range.
func (p *ConstantTStar) Check(r keys.Report, _ int) { checkTStar(r, p.Form, p.Base, p.From) }

// Check reports parameters that are out of range.
func (p *DynamicTStar) Check(r keys.Report, _ int) {
	checkTStar(r, p.Form, p.Base, p.From)
	CheckSmooth(r, "smooth", p.Smooth)
}

func checkTStar(r keys.Report, form string, base float64, from Noise) {
	CheckForm(r, "form", form)
	if base != 0 || r.Given("base") {
		r.Above("base", base, 0, maxT)
	}
	switch {
	case from.isZero() && !r.Given("from"):
	case from.Kind == None:
		r.Bad("from.kind", "there is no calibration without noise; expected one of %s", strings.Join(Kinds()[1:], ", "))
	default:
		from.Check(r.In("from"))
	}
}

// CheckForm checks the name of a form of T*.
func CheckForm(r keys.Report, key, form string) { r.OneOf(key, form, words(alpha.Forms)...) }

// CheckSmooth checks the name of a smoothing.
func CheckSmooth(r keys.Report, key, smooth string) { r.OneOf(key, smooth, words(alpha.Smoothings)...) }

// isZero tells whether nothing is set.
func (n *Noise) isZero() bool { return n.Kind == "" && n.Empty() }

// Label is "T*" and what deviates from the theory.
func (p *ConstantTStar) Label() string { return tstarLabel("T*", p.Form, p.Base, "", p.From) }

// Label is "T*(t)" and what deviates from the theory.
func (p *DynamicTStar) Label() string { return tstarLabel("T*(t)", p.Form, p.Base, p.Smooth, p.From) }

func tstarLabel(name, form string, base float64, smooth string, from Noise) string {
	parts := []string{name}
	if form != "" {
		parts = append(parts, form)
	}
	if base != 0 {
		parts = append(parts, "base="+number(base))
	}
	if smooth != "" {
		parts = append(parts, "smooth="+smooth)
	}
	if !from.isZero() {
		parts = append(parts, "from "+from.Label())
	}
	return strings.Join(parts, " ")
}

// Normalise clears what only repeats the theory's.
func (p *ConstantTStar) Normalise(t Theory) {
	if p.Form == string(t.Form) {
		p.Form = ""
	}
	if p.Base == t.Base {
		p.Base = 0
	}
	p.From.Normalise()
}

// Normalise clears what only repeats the theory's.
func (p *DynamicTStar) Normalise(t Theory) {
	c := ConstantTStar{p.Form, p.Base, p.From}
	c.Normalise(t)
	p.Form, p.Base, p.From = c.Form, c.Base, c.From
	if p.Smooth == string(t.Smooth) {
		p.Smooth = ""
	}
}

// Calibration is that of the noise, or of the one named by from.
func (p *ConstantTStar) Calibration(under Under) (c Calibration, needed bool) {
	return tstarCalibration(p.theory(under), under, p.From)
}

// Calibration is that of the noise, or of the one named by from.
func (p *DynamicTStar) Calibration(under Under) (c Calibration, needed bool) {
	return tstarCalibration(p.theory(under), under, p.From)
}

func tstarCalibration(t Theory, under Under, from Noise) (c Calibration, needed bool) {
	source := under.Noise
	if !from.isZero() {
		source = from
	}
	return Calibration{source, t.Base, t.Form == alpha.Fitted}, !source.Empty()
}

func (p *ConstantTStar) theory(under Under) Theory {
	t := under.Theory
	t.Form, t.Base = cmp.Or(alpha.Form(p.Form), t.Form), cmp.Or(p.Base, t.Base)
	return t
}

func (p *DynamicTStar) theory(under Under) Theory {
	t := (&ConstantTStar{p.Form, p.Base, p.From}).theory(under)
	t.Smooth = cmp.Or(alpha.Smoothing(p.Smooth), t.Smooth)
	return t
}

// Schedule is the constant T* of the curve; T_base where there is no noise to correct.
func (p *ConstantTStar) Schedule(under Under, curve *alpha.Curve) (Schedule, error) {
	t := p.theory(under)
	if curve == nil {
		return ConstantT(t.Base), nil
	}
	constant, err := curve.Constant(t.Form)
	return ConstantT(constant), err
}

// Schedule is the T*(t) of the curve; T_base where there is no noise to correct.
func (p *DynamicTStar) Schedule(under Under, curve *alpha.Curve) (Schedule, error) {
	t := p.theory(under)
	if curve == nil {
		return ConstantT(t.Base), nil
	}
	dynamic, err := curve.Dynamic(t.Form, t.Smooth, t.Window)
	return Schedule{T: dynamic}, err
}
