package harness

import (
	"fmt"

	"github.com/gsmeval/gsmeval/decode"
	"github.com/gsmeval/gsmeval/internal/config"
	"github.com/gsmeval/gsmeval/noise"
	"github.com/gsmeval/gsmeval/noise/philox"
	"github.com/gsmeval/gsmeval/results"
)

// noiseSpec is a noise condition as package noise takes it.
func noiseSpec(n config.Noise) noise.Spec {
	s := noise.Spec{
		Kind: noise.Kind(n.Kind), AbsMax: n.RelativeTo == "absmax", PerRow: n.Per == "row",
		Include: n.Include, Exclude: n.Exclude,
	}
	switch s.Kind {
	case noise.Weight:
		s.WeightScale = n.Scale
	case noise.Activation, noise.Output:
		s.ActivationScale = n.Scale
	case noise.Combined:
		s.WeightScale, s.ActivationScale = n.WeightScale, n.ActivationScale
	case noise.None:
	}
	return s
}

// activationDomain is where the activation noise of a kind draws from.
func activationDomain(k noise.Kind) philox.Domain {
	if k == noise.Output {
		return philox.Output
	}
	return philox.Activation
}

// cell is one (noise, temperature) of the grid.
type cell struct {
	noise, temp int
	label       string // of the temperature
	schedule    decode.Schedule
	alpha       float64 // mean alpha; NaN where none was measured
	replicates  int
	samplesOf   int // temperature index whose samples are shared, or -1
}

// plan is the grid of a run, in canonical order: noise, then temperature.
type plan struct {
	cfg    *config.Config
	noises []noise.Spec
	cells  []cell
}

// scheduler gives the temperatures of a condition and the mean alpha behind them.
type scheduler func(n int, t config.Temperature) (decode.Schedule, float64, error)

// newPlan lays out the grid. Conditions with the same noise and the same T(t) share their samples, and what no random
// number enters, greedy decoding without noise, runs once.
func newPlan(cfg *config.Config, schedule scheduler) (*plan, error) {
	p := &plan{cfg: cfg}
	for n, nc := range cfg.Noise {
		spec := noiseSpec(nc)
		if err := spec.Check(); err != nil {
			return nil, fmt.Errorf("noise[%d]: %w", n, err)
		}
		p.noises = append(p.noises, spec)
		first := map[string]int{} // schedule's hash -> temperature index
		for t, tc := range cfg.Temperature {
			s, alpha, err := schedule(n, tc)
			if err != nil {
				return nil, fmt.Errorf("temperature[%d] (%s) under noise %q: %w", t, tc.Label(), nc.Label(), err)
			}
			c := cell{noise: n, temp: t, label: tc.Label(), schedule: s, alpha: alpha, replicates: cfg.NoiseSeeds, samplesOf: -1}
			if spec.Kind == noise.None && s.IsGreedy() {
				c.replicates = 1
			}
			if of, ok := first[s.SHA256()]; ok {
				c.samplesOf = of
			} else {
				first[s.SHA256()] = t
			}
			p.cells = append(p.cells, c)
		}
	}
	return p, nil
}

// cell returns the condition of a block.
func (p *plan) cell(b block) *cell {
	for i := range p.cells {
		if p.cells[i].noise == b.noise && p.cells[i].temp == b.temp {
			return &p.cells[i]
		}
	}
	return nil
}

// meta describes the grid to tables and comparisons.
func (p *plan) meta(fingerprint string, examples int, settings map[string]string) results.Meta {
	m := results.Meta{Name: p.cfg.Name, Fingerprint: fingerprint, Examples: examples, Settings: settings}
	for n, spec := range p.noises {
		m.Noises = append(m.Noises, results.Noise{Label: p.cfg.Noise[n].Label(), Kind: string(spec.Kind), Chips: spec.OnWeights()})
	}
	for _, t := range p.cfg.Temperature {
		m.Temps = append(m.Temps, results.Temp{Label: t.Label()})
	}
	for _, c := range p.cells {
		rc := results.Condition{
			NoiseIndex: c.noise, TempIndex: c.temp, Replicates: c.replicates,
			Deterministic: c.replicates == 1 && c.schedule.IsGreedy() && p.noises[c.noise].Kind == noise.None,
			MeanAlpha:     results.Float(c.alpha), TSHA: c.schedule.SHA256(),
		}
		if t := p.cfg.Temperature[c.temp]; t.Name != "" && t.From.Kind != "" {
			rc.Notes = append(rc.Notes, "the temperatures are those calibrated under "+t.From.Label()+".")
		}
		if c.samplesOf >= 0 {
			of := c.samplesOf
			rc.SamplesOf = &of
		}
		m.Conditions = append(m.Conditions, rc)
	}
	return m
}

// schedules lists the T(t) of all conditions, each once.
func (p *plan) schedules() []results.Schedule {
	var out []results.Schedule
	seen := map[string]bool{}
	for _, c := range p.cells {
		if sha := c.schedule.SHA256(); sha != "" && !seen[sha] {
			seen[sha] = true
			out = append(out, results.Schedule{SHA: sha, T: c.schedule.T})
		}
	}
	return out
}
