package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gsmeval/gsmeval/harness/advise"
	"github.com/gsmeval/gsmeval/harness/runner"
	"github.com/gsmeval/gsmeval/harness/session"
	"github.com/gsmeval/gsmeval/harness/study"
	"github.com/gsmeval/gsmeval/internal/config"
	"github.com/gsmeval/gsmeval/noise/fidelity"
	"github.com/gsmeval/gsmeval/results"
)

func runCommand(a *app) *cobra.Command {
	var set []string
	var show, extend, noReport, noGraphs, dry, asJSON bool
	var shard string
	var shown loudness
	c := &cobra.Command{
		Use:   "run CONFIG",
		Short: "Do the run of a config, or go on with it",
		Long: `Run loads the model and the data, decodes every condition of the config, scores the answers and writes samples.jsonl,
the tables and report.html to the run directory. Where the directory holds the same run already, it goes on; a run that differs is refused.`,
		Example: `  gsmeval run configs/first_light.yaml
  gsmeval run configs/dyn_tstar.yaml --set dataset.limit=50 --set output=runs/try
  gsmeval run configs/dyn_tstar.yaml --set dataset.limit=100 --extend
  gsmeval run configs/dyn_tstar.yaml --shard 2/8
  gsmeval run configs/dyn_tstar.yaml --quiet > table.md
  gsmeval run configs/dyn_tstar.yaml --progress json 2> progress.jsonl
  gsmeval run configs/dyn_tstar.yaml --dry-run
  gsmeval run configs/dyn_tstar.yaml --show-config`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			loud, err := shown.set()
			if err != nil {
				return err
			}
			if noGraphs {
				loud = append(loud, "model.graphs=false")
			}
			cfg, err := config.Load(args[0], config.Options{Set: append(set, loud...), Env: os.Environ()})
			if err != nil {
				return usageError{err}
			}
			if show {
				text, err := cfg.YAML()
				if err != nil {
					return err
				}
				return a.println(string(text))
			}
			switch {
			case dry && (extend || shard != ""):
				return usageError{errors.New("--dry-run is of a whole run; leave out --extend and --shard")}
			case dry:
				return a.dryRun(cmd, cfg, asJSON)
			case extend && shard != "":
				return usageError{errors.New("--extend adds to a whole run; merge the shards first, or make the larger run under another output")}
			case asJSON:
				return usageError{errors.New("--json needs --dry-run; the tables of a run are in its directory as JSON")}
			}
			o := runner.Options{Stderr: a.stderr, Fidelity: runFidelity, Extend: extend, NoReport: noReport}
			if shard != "" {
				if len(cfg.Devices) > 1 {
					return usageError{errors.New("--shard does a part on one device, and devices names several; add --set devices=[] --set model.device=NAME")}
				}
				if o.Shard, err = runner.ShardFlag(shard, os.Getenv); err != nil {
					return usageError{fmt.Errorf("--shard: %w", err)}
				}
			}
			return a.run(cmd, cfg, o)
		},
	}
	setFlag(c, &set)
	shown.flags(c)
	c.Flags().BoolVar(&extend, "extend", false,
		"raise dataset.limit, noise_seeds or samples of a finished run and keep its samples")
	c.Flags().BoolVar(&noReport, "no-report", false, "leave report.html and the figures out; gsmeval report makes them")
	c.Flags().BoolVar(&noGraphs, "no-graphs", false,
		"decode without CUDA graphs, to check that they change nothing (model.graphs: false)")
	c.Flags().StringVar(&shard, "shard", "",
		"do part `i/n` of the run only, in OUTPUT/shards; auto/n takes i from the job array; gsmeval merge joins the parts")
	c.Flags().BoolVar(&dry, "dry-run", false,
		"print conditions, samples, memory and an estimate of the time, and make nothing")
	c.Flags().BoolVar(&asJSON, "json", false, "with --dry-run: print JSON")
	c.Flags().BoolVar(&show, "show-config", false, "print the effective config and stop")
	return c
}

// loudness is how much a run says on stderr while it is at work.
type loudness struct {
	progress string
	quiet    bool
}

func (l *loudness) flags(c *cobra.Command) {
	c.Flags().StringVar(&l.progress, "progress", "",
		"how progress is shown: auto, bar, plain, json or none (default: the config's)")
	c.Flags().BoolVar(&l.quiet, "quiet", false, "say nothing on stderr but warnings and errors")
}

// set is what the flags mean as --set values.
func (l *loudness) set() ([]string, error) {
	switch {
	case l.quiet && l.progress != "":
		return nil, usageError{errors.New("give either --progress or --quiet")}
	case l.quiet:
		return []string{"progress=none", "log_level=warn"}, nil
	case l.progress != "" && !slices.Contains(config.ProgressModes, l.progress):
		return nil, usageError{fmt.Errorf("--progress %q: expected one of %s", l.progress,
			strings.Join(config.ProgressModes, ", "))}
	case l.progress != "":
		return []string{"progress=" + l.progress}, nil
	default:
		return nil, nil
	}
}

func resumeCommand(a *app) *cobra.Command {
	var shown loudness
	c := &cobra.Command{
		Use:   "resume RUN",
		Short: "Go on with an interrupted run",
		Long:  `Resume goes on with the run of a run directory, from the config that is stored in it. A complete run only gets its tables again.`,
		Example: `  gsmeval resume runs/dyn_tstar
  gsmeval resume runs/dyn_tstar --progress plain`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			loud, err := shown.set()
			if err != nil {
				return err
			}
			info, err := results.ReadRun(args[0])
			var begun *results.BegunError
			if errors.As(err, &begun) { // it was interrupted before its first sample
				info, err = &results.RunInfo{Config: begun.Config, Shard: begun.Shard}, nil
			}
			if errors.Is(err, fs.ErrNotExist) {
				if cfg, shardErr := runner.ShardedConfig(args[0], loud); shardErr == nil {
					cfg.Output = filepath.Clean(args[0])
					return a.run(cmd, cfg, runner.Options{Stderr: a.stderr, Fidelity: runFidelity})
				} else if !errors.Is(shardErr, fs.ErrNotExist) {
					return shardErr
				}
			}
			if err != nil {
				return err
			}
			cfg, err := config.Parse(filepath.Join(args[0], results.RunFile), info.Config, config.Options{Set: loud})
			switch {
			case err != nil && loud != nil:
				return usageError{err}
			case err != nil:
				return err
			}
			o := runner.Options{Stderr: a.stderr, Fidelity: runFidelity}
			cfg.Output = filepath.Clean(args[0]) // the directory may have been moved
			if info.Shard != "" {
				if o.Shard, err = runner.ParseShard(info.Shard); err != nil {
					return err
				}
				cfg.Output = filepath.Dir(filepath.Dir(cfg.Output))
			}
			return a.run(cmd, cfg, o)
		},
	}
	shown.flags(c)
	return c
}

func mergeCommand(a *app) *cobra.Command {
	var wait time.Duration
	var noReport bool
	c := &cobra.Command{
		Use:   "merge RUN",
		Short: "Join the shards of a run",
		Long: `Merge joins the complete shards in RUN/shards into RUN: samples and tables are byte for byte what one run would have written.
Shards that are missing, incomplete, foreign or overlapping are named and nothing is written.`,
		Example: `  gsmeval run configs/dyn_tstar.yaml --shard 1/2
  gsmeval run configs/dyn_tstar.yaml --shard 2/2
  gsmeval merge runs/dyn_tstar`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			output := filepath.Clean(args[0])
			if wait < 0 {
				return usageError{fmt.Errorf("--wait %v is below 0", wait)}
			}
			if wait > 0 {
				say := func(format string, args ...any) { _, _ = fmt.Fprintf(a.stderr, format+"\n", args...) }
				if err := runner.AwaitShards(cmd.Context(), output, wait, say); err != nil {
					return err
				}
			}
			table, err := runner.Merge(cmd.Context(), output, noReport)
			if err != nil {
				return err
			}
			return table.Write(a.stdout, results.FormatMarkdown)
		},
	}
	c.Flags().BoolVar(&noReport, "no-report", false, "leave report.html and the figures out; gsmeval report makes them")
	c.Flags().DurationVar(&wait, "wait", 0, "wait up to this `time`, such as 72h, until all shards are complete")
	return c
}

// runFidelity measures fidelity for a run, at the temperatures of its conditions too.
func runFidelity(ctx context.Context, s *session.Session, w runner.Wanted) (*fidelity.Report, error) {
	o, err := study.FidelityOf(ctx, s, s.Cfg.Calibration.Base)
	if err != nil {
		return nil, err
	}
	o.Temperatures = append(o.Temperatures, w.Temperatures...)
	slices.Sort(o.Temperatures)
	o.Temperatures = slices.Compact(o.Temperatures)
	report, err := study.MeasureFidelity(ctx, s.LM, o, s.Logf)
	if err != nil {
		return nil, err
	}
	report.Run = w.Run
	return report, study.WriteFidelity(w.Dir, report)
}

func (a *app) dryRun(cmd *cobra.Command, cfg *config.Config, asJSON bool) error {
	f, err := advise.Foresee(cmd.Context(), cfg, a.stderr)
	if err != nil {
		return err
	}
	if asJSON {
		return a.printJSON(f)
	}
	return a.println(f.Markdown())
}

// runWhere runs on the config's device, or on its devices. What is merged already has nothing for several to do, and
// what extends it is done on the first.
func runWhere(ctx context.Context, cfg *config.Config, o runner.Options) (*results.Table, error) {
	merged := false
	if info, err := results.ReadRun(cfg.Output); err == nil {
		merged = info.Status == results.RunComplete
	}
	if len(cfg.Devices) < 2 || merged || o.Extend || o.Shard.N > 0 {
		return runner.Run(ctx, cfg, o)
	}
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding the program file: %w", err)
	}
	return runner.RunDevices(ctx, cfg, o, []string{program, "worker"})
}

func (a *app) run(cmd *cobra.Command, cfg *config.Config, o runner.Options) error {
	table, err := runWhere(cmd.Context(), cfg, o)
	if err != nil {
		return err
	}
	if o.Shard.N > 0 {
		_, err := fmt.Fprintf(a.stderr, "shard %s is complete; when all are: gsmeval merge %s\n", o.Shard, cfg.Output)
		return err
	}
	if err := table.Write(a.stdout, results.FormatMarkdown); err != nil {
		return err
	}
	if n := table.Failed(); n > 0 {
		return failedSamples(n)
	}
	return nil
}

// failedSamples is the error of a complete run in which samples have no verdict.
func failedSamples(n int) error {
	return fmt.Errorf("%s in no accuracy; see the table and status in samples.jsonl", results.FailedAre(n))
}
