package harness

import (
	"context"
	"io"
	"math"

	"github.com/gsmeval/gsmeval/decode"
	"github.com/gsmeval/gsmeval/internal/config"
	"github.com/gsmeval/gsmeval/results"
)

// Layout is the grid of a config, with the number of its questions, before anything is measured: each T* counts as a
// temperature of its own. Data of the hub are downloaded, which stderr is told.
func Layout(ctx context.Context, cfg *config.Config, stderr io.Writer) (*results.Meta, error) {
	log := newLogger(stderr, cfg)
	s := &Session{cfg: cfg, logger: log, locator: newLocator(log, cfg.Progress)}
	data, err := s.loadData(ctx)
	if err != nil {
		return nil, err
	}
	unmeasured := math.Inf(-1) // no temperature that a config can ask for
	p, err := newPlan(cfg, func(n int, t config.Temperature) (decode.Schedule, float64, error) {
		if s, alpha, known := fixedSchedule(cfg, n, t); known {
			return s, alpha, nil
		}
		unmeasured = math.Nextafter(unmeasured, 0)
		return decode.Constant(unmeasured), math.NaN(), nil
	})
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
			if _, _, known := fixedSchedule(cfg, n, t); !known {
				return true
			}
		}
	}
	return false
}

// fixedSchedule is the schedule of a condition that needs no calibration, with its mean alpha, and whether it is one.
func fixedSchedule(cfg *config.Config, n int, t config.Temperature) (s decode.Schedule, alpha float64, known bool) {
	switch t.Policy {
	case config.PolicyGreedy:
		return decode.Greedy(), math.NaN(), true
	case config.PolicyConstant:
		return decode.Constant(t.Constant(n)), math.NaN(), true
	}
	if t.Source(cfg.Noise[n]).Kind == config.NoiseNone {
		return decode.Constant(cfg.Calibrated(t).Base), 0, true // alpha is 0: nothing to correct, nothing to measure
	}
	return decode.Schedule{}, 0, false
}
