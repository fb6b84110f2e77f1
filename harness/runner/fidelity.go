package runner

import (
	"context"
	"path/filepath"
	"slices"

	"github.com/gsmeval/gsmeval/harness/study"
	"github.com/gsmeval/gsmeval/noise/fidelity"
	"github.com/gsmeval/gsmeval/results"
)

// constant is the one temperature of all tokens, where the condition samples from softmax(z/T) as it is.
func (c *cell) constant() (float64, bool) {
	s := c.schedule
	if len(s.T) != 1 || s.T[0] <= 0 || s.Adaptive != nil || s.Twice || s.TopNSigma > 0 || s.MinP > 0 {
		return 0, false
	}
	return s.T[0], true
}

// fidelity measures how near each condition's distribution is to the clean model's, for the columns of the table, and
// leaves the whole report in the run's folder fidelity, where shards and a resumed run find it.
func (r *runner) fidelity(ctx context.Context, fingerprint string) (*fidelity.Report, error) {
	dir := filepath.Join(r.cfg.Output, results.FidelityDir)
	if was, err := fidelity.Read(dir); err == nil && was.Run == fingerprint {
		return was, nil
	}
	o, err := study.FidelityOf(ctx, r.Session, r.cfg.Calibration.Base)
	if err != nil {
		return nil, err
	}
	for i := range r.plan.Cells {
		if t, ok := r.plan.Cells[i].constant(); ok && !slices.Contains(o.Temperatures, t) {
			o.Temperatures = append(o.Temperatures, t)
		}
	}
	slices.Sort(o.Temperatures)
	report, err := study.MeasureFidelity(ctx, r.LM, o, r.Logf)
	if err != nil {
		return nil, err
	}
	report.Run = fingerprint
	return report, study.WriteFidelity(dir, report)
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
			f := &results.Fidelity{KLD: results.Float(row.KLD.Mean), SameTop: results.Float(row.SameTop)}
			if row.Marginal != nil {
				f.Marginal = new(results.Float(row.Marginal.Mean))
			}
			m.Conditions[i].Fidelity = f
		}
	}
}
