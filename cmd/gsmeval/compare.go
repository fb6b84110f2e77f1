package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gsmeval/gsmeval/results"
	"github.com/gsmeval/gsmeval/results/imports"
	"github.com/gsmeval/gsmeval/scoring"
)

func compareCommand(a *app) *cobra.Command {
	var o results.CompareOptions
	var format, out, ladder string
	var asJSON bool
	c := &cobra.Command{
		Use:   "compare RUN...",
		Short: "Tell whether differences in accuracy are real",
		Long: `Compare pairs samples of the same question and noise seed. Of one run it compares every two temperatures under each noise;
of several runs, equal conditions. The difference is B minus A: gained samples are wrong in A and right in B. It also takes table.json
files, whose samples cannot be paired any more; such rows say so. Files of lm-evaluation-harness, inspect_ai and lighteval are scored by
--ladder and compared as runs are.`,
		Example: `  gsmeval compare runs/dyn_tstar
  gsmeval compare runs/a runs/b --format csv --out diff.csv
  gsmeval compare runs/a runs/b --allow-different max_new_tokens
  gsmeval compare log_a.json log_b.json --ladder robust`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := formatOf(cmd, format, asJSON)
			if err != nil {
				return err
			}
			var sources []results.Source
			for _, path := range args {
				s, err := sourceOf(path, ladder)
				if err != nil {
					return err
				}
				sources = append(sources, s)
			}
			cmp, err := results.Compare(sources, o)
			if err != nil {
				return err
			}
			var buf bytes.Buffer
			if err := cmp.Write(&buf, f); err != nil {
				return err
			}
			return a.deliver(buf.Bytes(), out)
		},
	}
	f := c.Flags()
	f.StringSliceVar(&o.Allow, "allow-different", nil,
		"settings that may differ between the runs: data, prompt, ladder, max_new_tokens")
	f.BoolVar(&o.IDs, "ids", false, "list the samples that were gained and lost")
	f.Uint64Var(&o.Seed, "seed", 0, "seed of the bootstrap (default: a fixed one)")
	f.StringVar(&ladder, "ladder", "robust",
		"how answers are read in files of other evaluators: "+strings.Join(scoring.LadderNames(), " or "))
	outputFlags(c, &format, &out, &asJSON)
	return c
}

// sourceOf reads a run, its table, or a file of another evaluator.
func sourceOf(path, ladder string) (results.Source, error) {
	if !imports.Is(path) {
		return results.LoadSource(path)
	}
	l, err := scoring.LadderByName(ladder)
	if err != nil {
		return results.Source{}, usageError{fmt.Errorf("--ladder: %w", err)}
	}
	file, err := imports.Read(path)
	if err != nil {
		return results.Source{}, err
	}
	set, err := file.Set(l)
	return results.Source{Name: path, Set: set}, err
}

// outputFlags declares how a result is written.
func outputFlags(c *cobra.Command, format, out *string, asJSON *bool) {
	c.Flags().StringVar(format, "format", "md", results.FormatNames())
	c.Flags().StringVar(out, "out", "", "write to a `FILE` instead of stdout")
	c.Flags().BoolVar(asJSON, "json", false, "the same as --format json")
}

func formatOf(c *cobra.Command, name string, asJSON bool) (results.Format, error) {
	switch {
	case asJSON && c.Flags().Changed("format") && name != string(results.FormatJSON):
		return "", usageError{fmt.Errorf("give either --format %s or --json", name)}
	case asJSON:
		return results.FormatJSON, nil
	}
	f, err := results.ParseFormat(name)
	if err != nil {
		return f, usageError{fmt.Errorf("--format: %w", err)}
	}
	return f, nil
}

// deliver writes a result to a file, or to stdout where there is none.
func (a *app) deliver(data []byte, path string) error {
	if path == "" {
		if _, err := a.stdout.Write(data); err != nil {
			return fmt.Errorf("writing the result: %w", err)
		}
		return nil
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		return fmt.Errorf("writing the result: %w", err)
	}
	return nil
}
