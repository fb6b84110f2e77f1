package runner

import (
	"context"
	"math"
	"path/filepath"

	"github.com/gsmeval/gsmeval/harness/session"
	"github.com/gsmeval/gsmeval/noise/fidelity"
	"github.com/gsmeval/gsmeval/results"
)

// Wanted is a fidelity report as a run needs it.
type Wanted struct {
	Dir          string    // where it is left
	Run          string    // the run's fingerprint
	Temperatures []float64 // that it has to have
}

// Fidelity measures the noises of a session's config against the clean model, and leaves the report.
type Fidelity func(ctx context.Context, s *session.Session, w Wanted) (*fidelity.Report, error)

// constant is the one temperature of all tokens, where the condition samples from softmax(z/T) as it is.
func (c *cell) constant() (float64, bool) {
	s := c.schedule
	if len(s.T) != 1 || s.T[0] <= 0 || s.Adaptive != nil || s.Twice || s.TopNSigma > 0 || s.MinP > 0 {
		return 0, false
	}
	return s.T[0], true
}

// addFidelity fills in how near each condition's distribution is to the clean model's, for the columns of the table. The
// whole report is in the run's folder fidelity, where shards and a resumed run find it.
func (r *runner) addFidelity(ctx context.Context, m *results.Meta) error {
	if r.begun != nil {
		if err := r.begin("measuring how near the noisy models are to the clean one"); err != nil {
			return err
		}
	}
	return r.timed("fidelity", func() error {
		w := Wanted{Dir: filepath.Join(r.cfg.Output, results.FidelityDir), Run: m.Fingerprint}
		report, err := fidelity.Read(w.Dir)
		if err != nil || report.Run != w.Run {
			for i := range r.plan.Cells {
				if t, ok := r.plan.Cells[i].constant(); ok {
					w.Temperatures = append(w.Temperatures, t)
				}
			}
			report, err = r.opt.Fidelity(ctx, r.Session, w)
		}
		if err == nil {
			r.plan.withFidelity(m, report)
		}
		return err
	})
}

// withFidelity fills in what the report says of each condition, along sampled texts at its own temperature.
func (p *Plan) withFidelity(m *results.Meta, report *fidelity.Report) {
	for i := range p.Cells {
		t, ok := p.Cells[i].constant()
		if !ok {
			continue
		}
		noise := p.cfg.Noise[p.Cells[i].Noise].Label()
		for k := range report.Rows {
			row := &report.Rows[k]
			if row.Noise != noise || row.Text != fidelity.Sampled || row.T != t {
				continue
			}
			f := &results.Fidelity{
				KLD: results.Float(row.KLD.Mean), Marginal: results.Float(math.NaN()), SameTop: results.Float(row.SameTop),
			}
			if row.Marginal != nil {
				f.Marginal = results.Float(row.Marginal.Mean)
			}
			m.Conditions[i].Fidelity = f
		}
	}
}
