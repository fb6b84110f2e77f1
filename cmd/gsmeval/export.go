package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gsmeval/gsmeval/datasets"
	"github.com/gsmeval/gsmeval/harness/session"
	"github.com/gsmeval/gsmeval/internal/config"
	"github.com/gsmeval/gsmeval/results"
	"github.com/gsmeval/gsmeval/results/export"
)

func exportCommand(a *app) *cobra.Command {
	var format, out, dataset string
	var noQuestions bool
	c := &cobra.Command{
		Use:   "export RUN --format FORMAT",
		Short: "Write a run in the formats of other tools",
		Long: `Export writes the samples of a run for lm-evaluation-harness (results_*.json and samples_*.jsonl), for inspect_ai (its JSON log),
or as one flat table for pandas and its like (csv, parquet). Every row of the run's table is a task, a log or a group of lines.

The questions are read from the run's data set, which must be the very one that was evaluated; --dataset says where it lies now.
The names of the files that were written go to stdout.`,
		Example: `  gsmeval export runs/dyn_tstar --format parquet
  gsmeval export runs/dyn_tstar --format csv --out - --no-questions
  gsmeval export runs/dyn_tstar --format lm-eval --out lm-eval-results
  gsmeval export runs/dyn_tstar --format inspect --dataset data/gsm-synth`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := export.ParseFormat(format)
			switch {
			case err != nil:
				return usageError{fmt.Errorf("--format: %w", err)}
			case noQuestions && f.NeedsQuestions():
				return usageError{fmt.Errorf("--no-questions does not go with --format %s", f)}
			case noQuestions && dataset != "":
				return usageError{errors.New("give either --dataset or --no-questions")}
			case out == "-" && f != export.CSV:
				return usageError{errors.New("only csv can be written to stdout")}
			}
			if f == export.CSV || f == export.Parquet {
				if err := noDirectory("out", out); err != nil {
					return err
				}
			}
			r, err := a.openExport(cmd.Context(), args[0], dataset, !noQuestions)
			if err != nil {
				return err
			}
			if n := r.Missing(); n > 0 {
				a.logf("the run is not complete: %s missing", plural(n, "sample"))
			}
			if n := r.Failed(); n > 0 && f == export.LMEval {
				a.logf("%s without a verdict left out: lm-evaluation-harness has no place for them",
					plural(n, "sample"))
			}
			if out == "-" {
				return r.WriteCSV(a.stdout)
			}
			if out == "" {
				out = f.DefaultOut(args[0])
			}
			paths, err := r.Write(f, out)
			if err != nil {
				return err
			}
			return a.println(strings.Join(paths, "\n"))
		},
	}
	fl := c.Flags()
	fl.StringVar(&format, "format", "", strings.Join(export.Formats(), ", "))
	fl.StringVar(&out, "out", "",
		"`PATH` of the file (csv, parquet) or directory (lm-eval, inspect); default RUN/export, - is stdout (csv)")
	fl.StringVar(&dataset, "dataset", "", "where the run's data set is (default: where it was)")
	fl.BoolVar(&noQuestions, "no-questions", false, "leave the columns question and gold empty (csv, parquet)")
	required(c, "format")
	return c
}

// openExport reads a run and, unless it is not wanted, the text of its questions.
func (a *app) openExport(ctx context.Context, dir, dataset string, questions bool) (*export.Run, error) {
	info, err := results.ReadRun(dir)
	if err != nil {
		return nil, err
	}
	cfg, err := config.Parse(filepath.Join(dir, results.RunFile), info.Config, config.Options{})
	if err != nil {
		return nil, err
	}
	var examples map[int]datasets.Example
	if questions {
		if examples, err = a.questionsOf(ctx, cfg, info, dataset); err != nil {
			return nil, err
		}
	}
	batch := "auto"
	if cfg.Generation.BatchSize != config.BatchAuto {
		batch = strconv.Itoa(int(cfg.Generation.BatchSize))
	}
	return export.Load(dir, info, export.Setup{
		Model: cfg.Model.Path, Revision: cfg.Model.Revision, DType: cfg.Model.DType, Device: cfg.Model.Device,
		Dataset: cfg.Dataset.Path, Subset: cfg.Dataset.Config, Split: cfg.Dataset.Split,
		Shuffled: cfg.Dataset.ShuffleSeed != nil,
		Limit:    cfg.Dataset.Limit, FewShot: cfg.Prompt.FewShot, MaxNewTokens: cfg.Generation.MaxNewTokens,
		BatchSize: batch,
		TopK:      cfg.Generation.TopK, TopP: cfg.Generation.TopP, Seed: cfg.Seed, System: cfg.Prompt.System,
		Ladder: cfg.Scoring.Ladder,
	}, examples)
}

// questionsOf reads the examples of a run by row number, from the data that was evaluated and no other.
func (a *app) questionsOf(ctx context.Context, cfg *config.Config, info *results.RunInfo,
	path string,
) (map[int]datasets.Example, error) {
	d := cfg.Dataset
	if path != "" {
		d.Path, d.Revision = path, ""
	}
	set, err := session.NewLocator(a.stderr).Load(ctx, d.Spec(), d.Revision)
	if err != nil {
		return nil, fmt.Errorf("%w; name the run's data set with --dataset", err)
	}
	if want := info.Hashes["data"]; set.SHA256 != want {
		return nil, fmt.Errorf("%s (split %s) is not the data that was evaluated: its sha256 is %.12s, the run's %.12s; name the right one with --dataset",
			d.Path, d.Split, set.SHA256, want)
	}
	examples := make(map[int]datasets.Example, len(set.Examples))
	for _, e := range set.Examples {
		examples[e.ID] = e
	}
	return examples, nil
}
