package condition

import (
	"cmp"

	"github.com/gsmeval/gsmeval/internal/keys"
	"github.com/gsmeval/gsmeval/noise/alpha"
)

// TopNSigma samples, at one temperature, the tokens whose logits are within N standard deviations of the largest (arXiv
// 2411.07641). The standard deviation is over the vocabulary. Which tokens are left does not depend on the temperature.
type TopNSigma struct {
	N     float64 `yaml:"n,omitempty"`
	Value float64 `yaml:"value,omitempty"` // temperature, 0: T_base
}

// MinP samples, at one temperature, the tokens at least MinP times as likely as the most likely one, whatever
// generation.min_p says.
type MinP struct {
	MinP  float64 `yaml:"min_p,omitempty"`
	Value float64 `yaml:"value,omitempty"` // temperature, 0: T_base
}

// Check reports parameters that are out of range.
func (p *TopNSigma) Check(r keys.Report, _ int) {
	r.Required("n", "policy top_n_sigma", p.N, 0, maxT)
	checkValue(r, p.Value)
}

// Check reports parameters that are out of range.
func (p *MinP) Check(r keys.Report, _ int) {
	r.Required("min_p", "policy min_p", p.MinP, 0, 1)
	checkValue(r, p.Value)
}

func checkValue(r keys.Report, v float64) {
	if v != 0 || r.Given("value") {
		r.Above("value", v, 0, maxT)
	}
}

// Label is "top 1 sigma T=1".
func (p *TopNSigma) Label() string { return "top " + number(p.N) + " sigma" + valueLabel(p.Value) }

// Label is "min_p 0.05 T=1".
func (p *MinP) Label() string { return "min_p " + number(p.MinP) + valueLabel(p.Value) }

func valueLabel(v float64) string {
	if v == 0 {
		return ""
	}
	return " T=" + number(v)
}

// Schedule is the temperature, over fewer tokens.
func (p *TopNSigma) Schedule(under Under, _ *alpha.Curve) (Schedule, error) {
	return Schedule{T: []float64{cmp.Or(p.Value, under.Theory.Base)}, TopNSigma: p.N}, nil
}

// Schedule is the temperature, over fewer tokens.
func (p *MinP) Schedule(under Under, _ *alpha.Curve) (Schedule, error) {
	return Schedule{T: []float64{cmp.Or(p.Value, under.Theory.Base)}, MinP: p.MinP}, nil
}
