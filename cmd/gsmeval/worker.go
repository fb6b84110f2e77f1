package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/gsmeval/gsmeval/harness/calibrate"
	"github.com/gsmeval/gsmeval/harness/runner"
	"github.com/gsmeval/gsmeval/harness/session"
	"github.com/gsmeval/gsmeval/internal/config"
)

// workerCommand is what a run on several devices starts for each of them; it is not for people.
func workerCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "worker SHARD",
		Short:   "Do a shard of a run whose config comes from stdin",
		Long:    `Worker does a shard of a run, or its calibrations, for a run on several devices. It ends when stdin does.`,
		Example: "  gsmeval worker 1/2",
		Hidden:  true,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var text json.RawMessage
			in := json.NewDecoder(os.Stdin)
			if err := in.Decode(&text); err != nil {
				return fmt.Errorf("reading the config from stdin: %w", err)
			}
			cfg, err := config.Parse("stdin", text, config.Options{})
			if err != nil {
				return err
			}
			progress := cfg.Progress
			cfg.Progress = "json" // which the other process reads
			ctx, stop := context.WithCancel(cmd.Context())
			defer stop()
			go func() { // who started the worker may be killed, and then nobody merges
				_, _ = io.Copy(io.Discard, os.Stdin)
				stop()
			}()
			if args[0] == runner.WorkerCalibrates {
				s, err := session.Open(ctx, cfg, a.stderr)
				if err != nil {
					return err
				}
				defer s.Close() //nolint:errcheck // freeing memory does not fail
				if err := calibrate.Offer(ctx, s); err != nil {
					return err
				}
				_, err = calibrate.Calibrate(ctx, s)
				return err
			}
			shard, err := runner.ParseShard(args[0])
			if err != nil {
				return usageError{err}
			}
			_, err = runner.Run(ctx, cfg, runner.Options{
				Stderr: a.stderr, Fidelity: runFidelity, Shard: shard, Progress: progress,
			})
			return err
		},
	}
}
