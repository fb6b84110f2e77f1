package runner

import (
	"context"
	"io"

	"github.com/gsmeval/gsmeval/harness/session"
	"github.com/gsmeval/gsmeval/internal/config"
	"github.com/gsmeval/gsmeval/results"
)

// Layout is the grid of a config, with the number of its questions, before anything is measured: each T* counts as a
// temperature of its own. Data of the hub are downloaded, which stderr is told.
func Layout(ctx context.Context, cfg *config.Config, stderr io.Writer) (*results.Meta, error) {
	log := session.NewLogger(stderr, cfg)
	s := &session.Session{Cfg: cfg, Logger: log, Locator: session.LocatorFor(log, cfg.Progress)}
	data, err := s.LoadData(ctx)
	if err != nil {
		return nil, err
	}
	p, err := NewPlan(cfg, Unmeasured)
	if err != nil {
		return nil, err
	}
	m := p.meta("layout", len(data.Examples), nil)
	return &m, nil
}

// NeedsCalibration tells whether a temperature of a config has to be measured.
func NeedsCalibration(cfg *config.Config) bool {
	for n := range cfg.Noise {
		for _, t := range cfg.Temperature {
			if _, needed := t.Calibration(cfg.Under(n)); needed {
				return true
			}
		}
	}
	return false
}
