package main

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/gsmeval/gsmeval/harness"
	"github.com/gsmeval/gsmeval/harness/config"
	"github.com/gsmeval/gsmeval/results"
)

func runCommand(a *app) *cobra.Command {
	var set []string
	var show bool
	c := &cobra.Command{
		Use:   "run CONFIG",
		Short: "Do the run of a config, or go on with it",
		Long: `Run loads the model and the data, decodes every condition of the config, scores the answers and writes samples.jsonl
and the tables to the run directory. Where the directory holds the same run already, it goes on; a run that differs is refused.`,
		Example: `  gsmeval run configs/first_light.yaml
  gsmeval run configs/dyn_tstar.yaml --set dataset.limit=50 --set output=runs/try
  gsmeval run configs/dyn_tstar.yaml --show-config`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := config.Load(args[0], config.Options{Set: set, Env: os.Environ()})
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
			return a.run(cmd, cfg)
		},
	}
	c.Flags().StringArrayVar(&set, "set", nil, "`key=value` that overrides the config, for example noise.0.scale=0.1 (repeatable)")
	c.Flags().BoolVar(&show, "show-config", false, "print the effective config and stop")
	return c
}

func resumeCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "resume RUN",
		Short:   "Go on with an interrupted run",
		Long:    `Resume goes on with the run of a run directory, from the config that is stored in it. A complete run only gets its tables again.`,
		Example: `  gsmeval resume runs/dyn_tstar`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			info, err := results.ReadRun(args[0])
			if err != nil {
				return err
			}
			cfg, err := config.Parse(filepath.Join(args[0], results.RunFile), info.Config, config.Options{})
			if err != nil {
				return err
			}
			cfg.Output = args[0] // the directory may have been moved
			return a.run(cmd, cfg)
		},
	}
}

func (a *app) run(cmd *cobra.Command, cfg *config.Config) error {
	table, err := harness.Run(cmd.Context(), cfg, harness.Options{Stderr: a.stderr})
	if err != nil {
		return err
	}
	if err := table.Write(a.stdout, results.FormatMarkdown); err != nil {
		return err
	}
	if n := table.Failed(); n > 0 {
		return errors.New(plural(n, "sample") + " failed; they are in no accuracy, see the table and status in samples.jsonl")
	}
	return nil
}
