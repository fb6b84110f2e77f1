package condition

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/gsmeval/gsmeval/internal/keys"
	"github.com/gsmeval/gsmeval/noise/alpha"
)

// Entropy is a temperature for each range of the entropy of a step's logits: of its own, or those of least divergence
// on the calibration's prompts.
type Entropy struct {
	Upto   []float64 `yaml:"upto,omitempty"`   // in nats, rising: where each range but the last ends
	Values []float64 `yaml:"values,omitempty"` // a temperature for each range, 0 for the most likely token
	Base   float64   `yaml:"base,omitempty"`   // T_base of the divergence, where the ranges are fitted
}

// Check reports parameters that are out of range.
func (p *Entropy) Check(r keys.Report, _ int) {
	if len(p.Values) == 0 {
		if len(p.Upto) > 0 || r.Given("upto") || r.Given("values") {
			r.Bad("values",
				"expected a temperature for each range of upto and one beyond, or neither upto nor values for fitted ones")
		}
		if p.Base != 0 || r.Given("base") {
			r.Above("base", p.Base, 0, maxT)
		}
		return
	}
	if p.Base != 0 || r.Given("base") {
		r.Bad("base", "this is for fitted temperatures, and values are given; leave out either")
	}
	if len(p.Values) != len(p.Upto)+1 {
		r.Bad("values", "expected a temperature for each range of upto and one beyond, %d; found %d", len(p.Upto)+1,
			len(p.Values))
	}
	for i, v := range p.Upto {
		r.Above(fmt.Sprintf("upto[%d]", i), v, 0, maxT)
		if i > 0 && v <= p.Upto[i-1] {
			r.Bad(fmt.Sprintf("upto[%d]", i), "expected more than %s, the end of the range before", number(p.Upto[i-1]))
		}
	}
	for i, v := range p.Values {
		if v != 0 {
			r.Above(fmt.Sprintf("values[%d]", i), v, 0, maxT)
		}
	}
}

// Label is "T(entropy)", and the ranges if they are given.
func (p *Entropy) Label() string {
	switch {
	case len(p.Values) > 0:
		return "T(entropy) " + spellBins(p.bins(), -1)
	case p.Base != 0:
		return "T(entropy) base=" + number(p.Base)
	}
	return "T(entropy)"
}

func (p *Entropy) bins() []alpha.Bin {
	bins := make([]alpha.Bin, len(p.Values))
	for i, t := range p.Values {
		bins[i].T = t
		if i > 0 {
			bins[i].From = p.Upto[i-1]
		}
	}
	return bins
}

// spellBins writes "0.6 to 0.5, 0.8 to 1.2, 1", with so many digits; -1 for all.
func spellBins(bins []alpha.Bin, digits int) string {
	spell := func(x float64) string { return strconv.FormatFloat(x, 'g', digits, 64) }
	parts := make([]string, len(bins))
	for i, b := range bins {
		parts[i] = spell(b.T)
		if i+1 < len(bins) {
			parts[i] += " to " + spell(bins[i+1].From)
		}
	}
	return strings.Join(parts, ", ")
}

// Normalise clears what only repeats the theory's.
func (p *Entropy) Normalise(t Theory) {
	if p.Base == t.Base {
		p.Base = 0
	}
}

// Calibration is that of the noise, with the divergence of the law that is sampled under it.
func (p *Entropy) Calibration(under Under) (c Calibration, needed bool) {
	form := alpha.Fitted
	if under.Noise.Law() == alpha.MeanDraws {
		form = alpha.Marginal
	}
	return Calibration{under.Noise, cmp.Or(p.Base, under.Theory.Base), form.Needs()}, len(p.Values) == 0 &&
		!under.Noise.Empty()
}

// Notes say which temperatures were fitted.
func (p *Entropy) Notes(_ Under, s Schedule) []string {
	if len(p.Values) > 0 || s.Adaptive == nil {
		return nil
	}
	bins, _ := s.Adaptive().(byEntropy)
	return []string{"temperatures, up to entropies in nats: " + spellBins(bins, 3) + "."}
}

// Schedule takes the temperature of the range that the entropy of a step lies in; T_base where there is no noise to fit
// to.
func (p *Entropy) Schedule(under Under, curve *alpha.Curve) (Schedule, error) {
	bins := p.bins()
	if len(bins) == 0 && curve == nil {
		return ConstantT(cmp.Or(p.Base, under.Theory.Base)), nil
	}
	if len(bins) == 0 {
		bins = curve.Bins
	}
	if len(bins) == 0 {
		return Schedule{}, fmt.Errorf("the calibration has no temperatures by entropy")
	}
	return Schedule{Adaptive: func() Stepper { return byEntropy(bins) }, Name: "entropy " + spellBins(bins, -1)}, nil
}

// byEntropy has no state: the temperature of a step depends on its logits alone.
type byEntropy []alpha.Bin

func (bins byEntropy) Temperature(s Step) float64 {
	h := alpha.Entropy(s.Logits)
	i, found := slices.BinarySearchFunc(bins, h, func(b alpha.Bin, h float64) int { return cmp.Compare(b.From, h) })
	if !found {
		i--
	}
	return bins[max(i, 0)].T
}
