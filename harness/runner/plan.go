package runner

import (
	"errors"
	"fmt"
	"math"

	"github.com/gsmeval/gsmeval/internal/condition"
	"github.com/gsmeval/gsmeval/internal/config"
	"github.com/gsmeval/gsmeval/noise/alpha"
	"github.com/gsmeval/gsmeval/results"
)

// cell is one (noise, temperature) of the grid.
type cell struct {
	Noise, Temp int
	Label       string // of the temperature
	schedule    condition.Schedule
	alpha       float64 // mean alpha; NaN where none was measured
	Replicates  int
	Samples     int // of each question in a replicate
	SamplesOf   int // temperature index whose samples are shared, or -1
}

// Rows is how many rows of the batch a sample takes.
func (c *cell) Rows() int {
	if c.schedule.Twice {
		return 2
	}
	return 1
}

// Plan is the grid of a run, in canonical order: noise, then temperature.
type Plan struct {
	cfg   *config.Config
	Cells []cell
}

// measurer measures what a temperature follows from.
type measurer func(condition.Calibration) (*alpha.Curve, error)

// errUnmeasured is a measurer's answer where nothing is to be measured: the grid is laid out all the same, with a
// stand-in for each schedule, which nothing decodes with.
var errUnmeasured = errors.New("not measured")

// Unmeasured measures nothing: what follows from a measurement gets a stand-in.
func Unmeasured(condition.Calibration) (*alpha.Curve, error) { return nil, errUnmeasured }

// NewPlan lays out the grid. Conditions with the same noise and the same T(t) share their samples, and what no random
// number enters, greedy decoding without noise, runs once.
func NewPlan(cfg *config.Config, measure measurer) (*Plan, error) {
	p := &Plan{cfg: cfg}
	for n, nc := range cfg.Noise {
		first := map[string]int{} // schedule's hash -> temperature index
		for t, tc := range cfg.Temperature {
			s, mean, err := tc.Resolve(cfg.Under(n), measure)
			if errors.Is(err, errUnmeasured) {
				s, mean, err = condition.ConstantT(-float64(1+len(p.Cells))), math.NaN(), nil
			}
			if err != nil {
				return nil, fmt.Errorf("temperature[%d] (%s) under noise %q: %w", t, tc.Label(), nc.Label(), err)
			}
			c := cell{
				Noise: n, Temp: t, Label: tc.Label(), schedule: s, alpha: mean, Replicates: cfg.NoiseSeeds,
				Samples: cfg.Samples, SamplesOf: -1,
			}
			if !nc.Random() && s.IsGreedy() {
				c.Replicates = 1
			}
			if !nc.Fresh() && s.IsGreedy() {
				c.Samples = 1
			}
			if of, ok := first[s.SHA256()]; ok {
				c.SamplesOf = of
			} else {
				first[s.SHA256()] = t
			}
			p.Cells = append(p.Cells, c)
		}
	}
	return p, nil
}

// SampleBytes is about what a sample takes in memory besides its text: its place in the list of what is to do, in the
// journal's index and among the verdicts.
const SampleBytes = 200

// Check is an error where a run of so many examples could not be made.
func (p *Plan) Check(examples int) error {
	m := p.meta("a plan", examples, nil)
	return m.Validate()
}

// cell returns the condition of a block.
func (p *Plan) cell(b block) *cell {
	for i := range p.Cells {
		if p.Cells[i].Noise == b.noise && p.Cells[i].Temp == b.temp {
			return &p.Cells[i]
		}
	}
	return nil
}

// meta describes the grid to tables and comparisons.
func (p *Plan) meta(fingerprint string, examples int, settings map[string]string) results.Meta {
	m := results.Meta{Name: p.cfg.Name, Fingerprint: fingerprint, Examples: examples, K: p.cfg.K(), Settings: settings}
	for _, n := range p.cfg.Noise {
		m.Noises = append(m.Noises, results.Noise{
			Label: n.Label(), Kind: n.Family(), Chips: n.Chips(),
			Deterministic: !n.Empty() && !n.Random(),
		})
	}
	for _, t := range p.cfg.Temperature {
		m.Temps = append(m.Temps, results.Temp{Label: t.Label()})
	}
	for _, c := range p.Cells {
		rc := results.Condition{
			NoiseIndex: c.Noise, TempIndex: c.Temp, Replicates: c.Replicates,
			Deterministic: c.schedule.IsGreedy() && !p.cfg.Noise[c.Noise].Random(),
			OneSample:     c.Samples < p.cfg.Samples,
			MeanAlpha:     results.Float(c.alpha), TSHA: c.schedule.SHA256(),
		}
		t := p.cfg.Temperature[c.Temp]
		if from, ok := t.From(); ok && t.Name != "" {
			rc.Notes = append(rc.Notes, "the temperatures are those calibrated under "+from.Label()+".")
		}
		if c.Samples > 1 {
			rc.Samples = c.Samples
		}
		rc.Notes = append(rc.Notes, t.Notes(p.cfg.Under(c.Noise), c.schedule)...)
		if c.SamplesOf >= 0 {
			of := c.SamplesOf
			rc.SamplesOf = &of
		}
		m.Conditions = append(m.Conditions, rc)
	}
	return m
}

// schedules lists the T(t) of all conditions, each once.
func (p *Plan) schedules() []results.Schedule {
	var out []results.Schedule
	seen := map[string]bool{}
	for _, c := range p.Cells {
		if sha := c.schedule.SHA256(); sha != "" && !seen[sha] {
			seen[sha] = true
			out = append(out, results.Schedule{SHA: sha, T: c.schedule.T})
		}
	}
	return out
}
