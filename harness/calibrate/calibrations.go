package calibrate

import (
	"context"
	"errors"
	"slices"

	"github.com/gsmeval/gsmeval/harness/session"
	"github.com/gsmeval/gsmeval/internal/condition"
	"github.com/gsmeval/gsmeval/internal/config"
)

// Calibrate measures, or finds, the calibration of every noise of the config that the config's temperatures ask for;
// where none asks for one, that of the config's calibration section.
func Calibrate(ctx context.Context, s *session.Session) ([]*Calibration, error) {
	c := New(s)
	wanted := slices.DeleteFunc(slices.Clone(s.Cfg.Temperature),
		func(t config.Temperature) bool { return !t.IsCalibrated() })
	if len(wanted) == 0 {
		wanted = []config.Temperature{condition.NewTemperature(&condition.DynamicTStar{})}
	}
	var out []*Calibration
	for n := range s.Cfg.Noise {
		for _, t := range wanted {
			cal, needed := t.Calibration(s.Cfg.Under(n))
			if !needed {
				continue
			}
			m, err := c.curve(ctx, cal)
			if err != nil {
				return nil, err
			}
			if !slices.Contains(out, m) {
				out = append(out, m)
			}
		}
	}
	if len(out) == 0 {
		return nil, errors.New("the config has no noise to calibrate")
	}
	return out, nil
}
