package main

import (
	"errors"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/gsmeval/gsmeval/harness/study"
)

func curveCommand(a *app) *cobra.Command {
	var asJSON, values bool
	var out, measure string
	c := &cobra.Command{
		Use:   "curve RUN",
		Short: "Show accuracy, pass@k and maj@k against constant temperature, and which one is best",
		Long: `Curve reads a run with several constant temperatures and shows accuracy against T under each noise, with greedy decoding as a line
and the constant T* marked. It prints the best temperature with an interval and writes curve.json and the plot as PNG and SVG. A run on
train problems tunes the temperature in this way: --values prints the best ones as a list for a condition of policy constant, whose
values are one temperature for each noise. Where the run has several samples of a question (samples) there is a curve for pass@k and
maj@k too, and a plot over k.`,
		Example: `  gsmeval curve runs/study_sweep
  gsmeval run configs/study_tuned.yaml --set temperature.1.values="$(gsmeval curve runs/study_tune --values)"`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !values && cmd.Flags().Changed("measure") {
				return usageError{errors.New("--measure goes with --values; without it every measure is shown")}
			}
			if values && (asJSON || out != "") {
				return usageError{errors.New("--values goes with neither --json nor --out")}
			}
			report, err := study.ReadCurve(args[0])
			if err != nil {
				return err
			}
			if values {
				list, err := report.Values(measure)
				if err != nil {
					return usageError{err}
				}
				return a.println(list)
			}
			if out == "" {
				out = filepath.Join(args[0], "curve")
			}
			if err := report.Write(out); err != nil {
				return err
			}
			a.logf("wrote curve.json and the plot to %s", out)
			if asJSON {
				return a.printJSON(report)
			}
			return a.println(report.Markdown())
		},
	}
	c.Flags().StringVar(&out, "out", "", "`directory` for curve.json and the plot (default: curve in the run)")
	c.Flags().StringVar(&measure, "measure", "accuracy", "what --values goes by: accuracy, pass@`K` or maj@K")
	c.Flags().BoolVar(&values, "values", false, "print the best temperatures as a list, and write nothing")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}
