package main

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gsmeval/gsmeval/harness/session"
	"github.com/gsmeval/gsmeval/harness/study"
	"github.com/gsmeval/gsmeval/results"
)

func tempsCommand(a *app) *cobra.Command {
	var set []string
	var format, out string
	var asJSON bool
	var temperatures []float64
	c := &cobra.Command{
		Use:   "temps CONFIG",
		Short: "Measure how well each temperature restores the clean distribution under noise",
		Long: `Temps compares the clean next-token distribution with the noisy one at each of a list of temperatures, along the clean greedy
continuations of the calibration prompts: KL and Jensen-Shannon divergence, the probability of clean's most likely token, and cross
entropy. The constant T* of each form is a row among them. A plot as PNG and SVG lies beside the table, or in temps in the output.`,
		Example: `  gsmeval temps configs/dyn_tstar.yaml
  gsmeval temps configs/dyn_tstar.yaml --temps 0.8,0.9,1,1.1,1.2 --format csv --out temps.csv`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkTemps("--temps", temperatures); err != nil {
				return usageError{err}
			}
			f, err := formatOf(cmd, format, asJSON)
			if err != nil {
				return err
			}
			if !slices.Contains([]results.Format{results.FormatMarkdown, results.FormatCSV, results.FormatJSON}, f) {
				return usageError{errors.New("--format: temps writes md, csv or json")}
			}
			base := strings.TrimSuffix(out, filepath.Ext(out))
			if out == base+".png" || out == base+".svg" {
				return usageError{fmt.Errorf("--out %s is the name of the plot; give the table another ending", out)}
			}
			slices.Sort(temperatures)
			return a.session(cmd, args[0], set, func(s *session.Session) error {
				report, err := study.MeasureTemps(cmd.Context(), s, temperatures)
				if err != nil {
					return err
				}
				var b bytes.Buffer
				if err := report.Write(&b, f); err != nil {
					return err
				}
				if out == "" {
					base = filepath.Join(s.Output(), "temps", "temps")
				}
				if err := os.MkdirAll(filepath.Dir(base), 0o755); err != nil {
					return fmt.Errorf("writing the plot: %w", err)
				}
				if err := report.WriteFigure(base); err != nil {
					return err
				}
				a.logf("wrote %s.png and .svg", base)
				return a.deliver(b.Bytes(), out)
			})
		},
	}
	setFlag(c, &set)
	c.Flags().Float64SliceVar(&temperatures, "temps", study.DefaultTemps(), "temperatures to try")
	outputFlags(c, &format, &out, &asJSON)
	c.Flags().Lookup("format").Usage = "md, csv or json"
	return c
}

func checkTemps(flag string, list []float64) error {
	if len(list) == 0 {
		return fmt.Errorf("%s is empty", flag)
	}
	for i, t := range list {
		if !(t > 0) || math.IsInf(t, 0) {
			return fmt.Errorf("%s: %v is not a temperature above 0", flag, t)
		}
		if slices.Contains(list[:i], t) {
			return fmt.Errorf("%s: %v stands there twice", flag, t)
		}
	}
	return nil
}
