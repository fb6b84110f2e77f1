package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/gsmeval/gsmeval/harness/calibrate"
	"github.com/gsmeval/gsmeval/harness/session"
	"github.com/gsmeval/gsmeval/harness/study"
	"github.com/gsmeval/gsmeval/internal/config"
	"github.com/gsmeval/gsmeval/noise/alpha"
)

// session loads a config and what it names, hands them to f and closes them.
func (a *app) session(cmd *cobra.Command, path string, set []string, f func(*session.Session) error) (err error) {
	cfg, err := config.Load(path, config.Options{Set: set, Env: os.Environ()})
	if err != nil {
		return usageError{err}
	}
	s, err := session.Open(cmd.Context(), cfg, a.stderr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := calibrate.Offer(cmd.Context(), s); err != nil {
		return err
	}
	return f(s)
}

func setFlag(c *cobra.Command, set *[]string) {
	c.Flags().StringArrayVar(set, "set", nil,
		"`key=value` that overrides the config, for example noise.0.scale=0.1 (repeatable)")
}

func calibrateCommand(a *app) *cobra.Command {
	var set []string
	var asJSON bool
	c := &cobra.Command{
		Use:   "calibrate CONFIG",
		Short: "Measure alpha(t), the noise-to-signal ratio of the logits, for every noise of a config",
		Long: `Calibrate forces the model along the clean greedy continuations of the calibration prompts, with and without noise, and writes
alpha(t) with its 95 % interval to OUTPUT/calibration. A run of the config finds what was measured here.`,
		Example: `  gsmeval calibrate configs/dyn_tstar.yaml
  gsmeval calibrate configs/dyn_tstar.yaml --set calibration.draws=10 --json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.session(cmd, args[0], set, func(s *session.Session) error {
				begin := time.Now()
				cals, err := calibrate.Calibrate(cmd.Context(), s)
				if err != nil {
					return err
				}
				if asJSON {
					return a.printJSON(cals)
				}
				head, rule := "| Noise | Positions | alpha(0) | alpha(end) | mean alpha | beta |",
					"|---|--:|--:|--:|--:|--:|"
				for _, f := range alpha.Forms() {
					head, rule = head+" T* "+string(f)+" |", rule+"--:|"
				}
				if err := a.println(head + "\n" + rule); err != nil {
					return err
				}
				for _, m := range cals {
					if err := a.println(calibrationRow(m)); err != nil {
						return err
					}
				}
				_, err = fmt.Fprintf(a.stderr, "calibrated in %.1f s\n", time.Since(begin).Seconds())
				return err
			})
		},
	}
	setFlag(c, &set)
	c.Flags().BoolVar(&asJSON, "json", false, "print the calibrations as JSON")
	return c
}

func calibrationRow(m *calibrate.Calibration) string {
	points := m.Curve.Points
	beta := 0.0
	for _, p := range points {
		beta += p.Beta / float64(len(points))
	}
	row := fmt.Sprintf("| %s | %d | %.4g | %.4g | %.4g | %.3f ", m.Noise, len(points), points[0].Alpha,
		points[len(points)-1].Alpha, m.MeanAlpha, beta)
	for _, f := range alpha.Forms() {
		switch t, err := m.Curve.Constant(f); {
		case err != nil: // not measured, or not possible
			row += "| – "
		case t == 0:
			row += "| greedy "
		default:
			row += fmt.Sprintf("| %.4f ", t)
		}
	}
	return row + "|"
}

func verifyNoiseCommand(a *app) *cobra.Command {
	var set, noises []string
	var asJSON bool
	c := &cobra.Command{
		Use:   "verify-noise CONFIG",
		Short: "Prove that every noise of a config acts, and how much",
		Long: `Verify-noise puts the config's first question through the model, clean and under three draws of each noise. It fails if a noise
leaves the logits as they were, draws the same twice, or adds something else than scale x spread. A table shows which token holds
most of the squared input of each Linear: where it is a sink, noise relative to the tensor's spread is sized by that token alone.`,
		Example: `  gsmeval verify-noise configs/dyn_tstar.yaml
  gsmeval verify-noise configs/dyn_tstar.yaml --set 'noise=[{kind: weight, scale: 0.02, exclude: [lm_head]}]'`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.session(cmd, args[0], set, func(s *session.Session) error {
				wanted := s.Cfg.Noise
				if len(noises) > 0 {
					wanted = nil
				}
				for _, text := range noises {
					n, err := config.ParseNoise("--noise", text)
					if err != nil {
						return usageError{err}
					}
					wanted = append(wanted, n)
				}
				if err := calibrate.Offer(cmd.Context(), s, wanted...); err != nil {
					return err
				}
				list, err := study.VerifyNoise(cmd.Context(), s, wanted)
				if err != nil {
					return err
				}
				bad := 0
				for _, v := range list {
					if !v.OK {
						bad++
					}
					if !asJSON {
						if err := a.println(verified(v)); err != nil {
							return err
						}
					}
				}
				if asJSON {
					if err := a.printJSON(list); err != nil {
						return err
					}
				}
				if bad > 0 {
					return fmt.Errorf("%s did not act as asked", plural(bad, "noise"))
				}
				return nil
			})
		},
	}
	setFlag(c, &set)
	noisesFlag(c, &noises)
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// verified is the report on one noise.
func verified(v study.Verified) string {
	out := fmt.Sprintf("## %s\n\nLogits: mean |difference| %.4g from clean, %.4g between two draws.\n\n", v.Noise,
		v.FromClean, v.BetweenDraws)
	out += "| Site | Elements | Spread | RMS of noise | Ratio | SNR dB | Changed | Clipped | Flipped |\n" +
		"|---|--:|--:|--:|--:|--:|--:|--:|--:|\n"
	for _, s := range v.Sites {
		ratio, snr := "no spread", ""
		if s.Ratio != nil {
			ratio, snr = fmt.Sprintf("%.4f", *s.Ratio), fmt.Sprintf("%.1f", *s.SNR)
		}
		out += fmt.Sprintf("| %s | %d | %.4g | %.4g | %s | %s | %s | %s | %s |\n", s.Name, s.Elements, s.Spread, s.RMS,
			ratio, snr, percent(s.Changed), percent(s.Clipped), percent(s.Flipped))
	}
	if len(v.Sinks) > 0 {
		out += "\n| Input of | Largest token | Its share of the squared input |\n|---|--:|--:|\n"
		for _, s := range v.Sinks {
			out += fmt.Sprintf("| %s | %d | %.1f %% |\n", s.Name, s.Position, 100*s.Share)
		}
	}
	if v.OK {
		return out + "\nThe noise acts as asked.\n"
	}
	return out + "\nPROBLEM: " + v.Problem + "\n"
}

func percent(share *float64) string {
	if share == nil {
		return ""
	}
	return fmt.Sprintf("%.3g %%", 100**share)
}
