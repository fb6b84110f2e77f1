package main

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/gsmeval/gsmeval/harness/runner"
)

func statusCommand(a *app) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "status RUN",
		Short: "Say how far a run and its shards are",
		Long: `Status counts the samples in the journals of a run, or of its shards, while they are written. It only reads, so it can be
asked on any machine that sees the folder. A shard is pending, running, interrupted or stopped (nobody is at it; resume it, or let
the queue), failed or complete.`,
		Example: `  gsmeval status runs/dyn_tstar
  gsmeval status runs/dyn_tstar --json`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			p, err := runner.Status(filepath.Clean(args[0]))
			if err != nil {
				return err
			}
			if asJSON {
				return a.printJSON(p)
			}
			return a.printStatus(p)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// printStatus prints a line for the run, one for the numbers of its shards and one for each shard that is neither
// pending nor complete.
func (a *app) printStatus(p *runner.Progress) error {
	if len(p.Shards) == 1 && p.Shards[0].Doing != "" {
		s := p.Shards[0]
		return a.println(fmt.Sprintf("%s: %s, %s, no sample yet", p.Run, p.State, s.Doing))
	}
	line := fmt.Sprintf("%s: %s, %d of %d samples (%.1f %%)", p.Run, p.State, p.Samples, p.Total,
		100*float64(p.Samples)/float64(max(p.Total, 1)))
	if p.PerHour > 0 {
		line += fmt.Sprintf(", %.0f an hour, %v left at this rate", p.PerHour,
			(time.Duration(p.Left) * time.Second).Round(time.Second))
	}
	if err := a.println(line); err != nil {
		return err
	}
	count := map[runner.State]int{}
	for _, s := range p.Shards {
		count[s.State]++
	}
	if len(p.Shards) > 1 {
		line = fmt.Sprintf("%d shards:", len(p.Shards))
		for _, s := range []runner.State{
			runner.StateComplete, runner.StateRunning, runner.StateInterrupted, runner.StateStopped, runner.StateFailed,
			runner.StatePending,
		} {
			if count[s] > 0 {
				line += fmt.Sprintf(" %d %s", count[s], s)
			}
		}
		if err := a.println(line); err != nil {
			return err
		}
	}
	for _, s := range p.Shards {
		if s.Shard == "" || s.State == runner.StatePending || s.State == runner.StateComplete {
			continue
		}
		line = fmt.Sprintf("  %-9s %-11s %d of %d", s.Shard, s.State, s.Samples, s.Total)
		if s.Host != "" {
			line += fmt.Sprintf("  process %d on %s", s.PID, s.Host)
		}
		if s.Cause != "" {
			line += "  " + s.Cause
		}
		if err := a.println(line); err != nil {
			return err
		}
	}
	return nil
}
