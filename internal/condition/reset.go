package condition

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/gsmeval/gsmeval/internal/keys"
	"github.com/gsmeval/gsmeval/noise/alpha"
)

// Reset is ReSET (arXiv 2606.13233): a low temperature where a token's entropy is below a threshold, a high one
// elsewhere. A step of reasoning whose entropy is above the text's has its own entropy for a threshold, any other has
// Tau.
type Reset struct {
	Low    float64 `yaml:"low,omitempty"`    // T_low; up to 1e-6 it is greedy
	High   float64 `yaml:"high,omitempty"`   // T_high, 0: 1
	Window int     `yaml:"window,omitempty"` // tokens that a step's entropy needs, 0: 32
	Tau    float64 `yaml:"tau,omitempty"`    // tau_0 in nats, 0: the 80th percentile of the entropies under the noise, calibrated
}

// Check reports parameters that are out of range.
func (p *Reset) Check(r keys.Report, _ int) {
	r.Required("low", "policy reset", p.Low, 0, maxT)
	for _, k := range []struct {
		key   string
		value float64
	}{{"high", p.High}, {"tau", p.Tau}} {
		if k.value != 0 || r.Given(k.key) {
			r.Above(k.key, k.value, 0, maxT)
		}
	}
	if p.Window != 0 || r.Given("window") {
		r.Whole("window", p.Window, 1, 1<<20)
	}
}

// Label is "reset low=0.2" and what is not the default.
func (p *Reset) Label() string {
	parts := []string{"reset low=" + number(p.Low)}
	if p.High != 0 {
		parts = append(parts, "high="+number(p.High))
	}
	if p.Window != 0 {
		parts = append(parts, fmt.Sprintf("window=%d", p.Window))
	}
	if p.Tau != 0 {
		parts = append(parts, "tau="+number(p.Tau))
	}
	return strings.Join(parts, " ")
}

// Normalise clears what only repeats the defaults.
func (p *Reset) Normalise(Theory) {
	if p.High == 1 {
		p.High = 0
	}
	if p.Window == resetWindow {
		p.Window = 0
	}
}

// Calibration is that of the noise, for the percentile.
func (p *Reset) Calibration(under Under) (c Calibration, needed bool) {
	return Calibration{Noise: under.Noise, Base: under.Theory.Base}, p.Tau == 0 && !under.Noise.Empty()
}

// Notes say where there is no threshold.
func (p *Reset) Notes(under Under, _ Schedule) []string {
	if p.Tau == 0 && under.Noise.Empty() {
		return []string{"tau is calibrated under noise, and there is none: every token is sampled at T_high."}
	}
	return nil
}

const resetWindow = 32

// Schedule looks at the entropy of each step. Without noise, and without a tau of its own, it is T_high.
func (p *Reset) Schedule(_ Under, curve *alpha.Curve) (Schedule, error) {
	rule := resetRule{low: p.Low, high: cmp.Or(p.High, 1), tau: p.Tau, window: cmp.Or(p.Window, resetWindow)}
	if rule.low <= 1e-6 {
		rule.low = 0
	}
	if rule.tau == 0 && curve == nil {
		return ConstantT(rule.high), nil
	}
	if rule.tau == 0 {
		rule.tau = curve.Entropy80
	}
	return Schedule{
		Adaptive: func() Stepper { return &reset{resetRule: rule} },
		Name:     fmt.Sprintf("reset %v", rule),
	}, nil
}

type resetRule struct {
	low, high, tau float64
	window         int
}

// reset is the state of one text.
type reset struct {
	resetRule
	recent []float64 // the last window entropies, whatever step they are of
	step   mean      // of the step
	all    mean      // of the text
}

// mean is a running one.
type mean struct {
	sum float64
	n   int
}

func (m *mean) add(x float64)  { m.sum, m.n = m.sum+x, m.n+1 }
func (m *mean) value() float64 { return m.sum / float64(m.n) }

// Temperature is T_low or T_high.
func (r *reset) Temperature(s Step) float64 {
	if endsStep(s) {
		r.step = mean{}
	}
	h := alpha.Entropy(s.Logits)
	ofStep := h
	switch {
	case r.step.n >= r.window:
		ofStep = r.step.value()
	case len(r.recent) > 0:
		// Summed in the order of the text's own mean: over a text's first tokens the two are equal, and have to be to
		// the bit.
		var m mean
		for _, x := range r.recent {
			m.add(x)
		}
		ofStep = m.value()
	}
	threshold := r.tau
	if r.all.n > 0 && ofStep > r.all.value() {
		threshold = ofStep
	}
	r.step.add(h)
	r.all.add(h)
	if r.recent = append(r.recent, h); len(r.recent) > r.window {
		r.recent = r.recent[1:]
	}
	if h < threshold {
		return r.low
	}
	return r.high
}

// endsStep tells whether the last token ends a step of reasoning: it holds a blank line, or it and the one before are
// line ends.
func endsStep(s Step) bool {
	n := len(s.IDs)
	if n == 0 {
		return false
	}
	last := s.Text(s.IDs[n-1:])
	return strings.Contains(last, "\n\n") || last == "\n" && n > 1 && s.Text(s.IDs[n-2:n-1]) == "\n"
}
