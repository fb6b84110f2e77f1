package condition

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/gsmeval/gsmeval/internal/keys"
	"github.com/gsmeval/gsmeval/noise/alpha"
)

// ConstantTStar is one temperature for all steps, from the mean of alpha over the positions.
type ConstantTStar struct {
	Form string  `yaml:"form,omitempty"`
	Base float64 `yaml:"base,omitempty"`
	// From names the noise whose calibration gives T*, where it is not the one that the condition runs under. Without
	// noise that is a placebo: the temperatures of a treatment, and nothing to treat.
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
func CheckForm(r keys.Report, key, form string) { r.OneOf(key, form, words(alpha.Forms())...) }

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
	source := source(under, from)
	form, err := formFor(t.Form, source)
	if err != nil {
		form = t.Form // Schedule says what is wrong
	}
	return Calibration{source, t.Base, form.Needs()}, !source.Empty()
}

// source is the noise whose calibration counts.
func source(under Under, from Noise) Noise {
	if from.isZero() {
		return under.Noise
	}
	return from
}

// formFor is the form that is taken under a noise. Where one draw holds for the whole text, the mean of the law over
// what is drawn anew is that law itself, and marginal is fitted.
func formFor(f alpha.Form, n Noise) (alpha.Form, error) {
	law := n.Law()
	switch {
	case f.Law() != alpha.MeanDraws || law == alpha.MeanDraws || n.Empty():
		return f, nil
	case f == alpha.Marginal && law == alpha.OneDraw:
		return alpha.Fitted, nil
	case law == alpha.OneDraw:
		return "", fmt.Errorf("form %s is for noise that is drawn anew at every token, which this one is not (%s); set form to fitted or fisher",
			f, n.Label())
	}
	return "", fmt.Errorf("form %s would need several draws of the activations' noise on each chip, and a calibration takes one (%s); "+
		"set form to fitted or fisher, or perturb either weights or activations", f, n.Label())
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
	form, err := formFor(t.Form, source(under, p.From))
	if err != nil {
		return Schedule{}, err
	}
	constant, err := curve.Constant(form)
	return byPosition([]float64{constant}), err
}

// Schedule is the T*(t) of the curve; T_base where there is no noise to correct.
func (p *DynamicTStar) Schedule(under Under, curve *alpha.Curve) (Schedule, error) {
	t := p.theory(under)
	if curve == nil {
		return ConstantT(t.Base), nil
	}
	form, err := formFor(t.Form, source(under, p.From))
	if err != nil {
		return Schedule{}, err
	}
	dynamic, err := curve.Dynamic(form, t.Smooth, t.Window)
	return byPosition(dynamic), err
}

// byPosition is a temperature for each position; 0 takes the most likely token.
func byPosition(t []float64) Schedule {
	if !slices.ContainsFunc(t, func(v float64) bool { return v != 0 }) {
		return Greedy()
	}
	return Schedule{T: t}
}

// Suits is an error where the form has no meaning under the noise.
func (p *ConstantTStar) Suits(under Under) error {
	_, err := formFor(p.theory(under).Form, source(under, p.From))
	return err
}

// Suits is an error where the form has no meaning under the noise.
func (p *DynamicTStar) Suits(under Under) error {
	_, err := formFor(p.theory(under).Form, source(under, p.From))
	return err
}

// Notes say whether the form is right for the noise, and where it has no temperature.
func (p *ConstantTStar) Notes(under Under, s Schedule) []string {
	return tstarNotes(p.theory(under).Form, source(under, p.From), s)
}

// Notes say whether the form is right for the noise, and where it has no temperature.
func (p *DynamicTStar) Notes(under Under, s Schedule) []string {
	return tstarNotes(p.theory(under).Form, source(under, p.From), s)
}

func tstarNotes(f alpha.Form, n Noise, s Schedule) (notes []string) {
	if n.Empty() {
		return nil
	}
	if note := FormNote(f, n); note != "" {
		notes = append(notes, note)
	}
	none := 0
	for _, t := range s.T {
		if t == 0 {
			none++
		}
	}
	switch {
	case s.IsGreedy():
		notes = append(notes, fmt.Sprintf("%s has no temperature under this noise: the most likely token is taken.", f))
	case none > 0:
		notes = append(notes,
			fmt.Sprintf("%s has no temperature at %d of %d positions: the most likely token is taken there.", f, none,
				len(s.T)))
	}
	return notes
}

// FormNote says what a form is for where that is not the noise at hand; "" where it is.
func FormNote(f alpha.Form, n Noise) string {
	law := n.Law()
	if f.Law() == law {
		return ""
	}
	says := "is right for neither kind of noise"
	switch f.Law() {
	case alpha.OneDraw:
		says = "is for noise of which one draw holds for a text"
	case alpha.MeanDraws:
		says = "is for noise that is drawn anew for every token"
	case alpha.Both:
	}
	switch {
	case f == alpha.Marginal && law == alpha.OneDraw:
		return "one draw of this noise holds for a text, under which marginal is fitted."
	case law == alpha.OneDraw:
		return fmt.Sprintf("the form %s %s; one draw of this noise holds for a text, and fitted or fisher are for that.", f, says)
	case law == alpha.MeanDraws:
		return fmt.Sprintf("the form %s %s; this one is drawn anew for every token, and marginal is for that.", f, says)
	}
	return fmt.Sprintf("the form %s %s; of this noise a part holds for a text and a part is drawn anew, and no form is for both.", f, says)
}
