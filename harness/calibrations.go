package harness

import (
	"context"
	"fmt"

	"github.com/gsmeval/gsmeval/internal/config"
	"github.com/gsmeval/gsmeval/noise"
	"github.com/gsmeval/gsmeval/noise/alpha"
)

// Calibrate measures, or finds, the calibration of every noise of the config that the config's temperatures ask for; where
// none asks for one, that of the config's calibration section.
func Calibrate(ctx context.Context, s *Session) ([]*Calibration, error) {
	c := s.calibrator()
	var wanted []config.Temperature
	for _, t := range s.cfg.Temperature {
		if t.Policy == config.PolicyConstantTStar || t.Policy == config.PolicyDynamicTStar {
			wanted = append(wanted, t)
		}
	}
	if len(wanted) == 0 {
		wanted = []config.Temperature{{Policy: config.PolicyDynamicTStar}}
	}
	var out []*Calibration
	seen := map[*Calibration]bool{}
	for _, under := range s.cfg.Noise {
		for _, t := range wanted {
			source := t.Source(under)
			if source.Kind == config.NoiseNone {
				continue
			}
			cal := s.cfg.Calibrated(t)
			m, err := c.curve(ctx, source, cal.Base, alpha.Form(cal.Form) == alpha.Fitted)
			if err != nil {
				return nil, err
			}
			if !seen[m] {
				seen[m] = true
				out = append(out, m)
			}
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("the config has no noise to calibrate: %w", noise.ErrNoEffect)
	}
	return out, nil
}
