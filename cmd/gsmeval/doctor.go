package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/gsmeval/gsmeval/harness/advise"
	"github.com/gsmeval/gsmeval/harness/session"
)

func versionCommand(a *app) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:     "version",
		Short:   "Print the versions of the program and its parts",
		Long:    `Version prints the versions of gsmeval, of libtorch and of Go, which are part of a run's fingerprint, and the platform.`,
		Example: "  gsmeval version --json",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if asJSON {
				return a.printJSON(map[string]string{
					"gsmeval": session.Version, "libtorch": session.LibtorchVersion,
					"go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH,
				})
			}
			return a.println("gsmeval " + versionLine())
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// versionLine is what version and --version print.
func versionLine() string {
	return fmt.Sprintf("%s (libtorch %s, %s, %s/%s)", session.Version, session.LibtorchVersion, runtime.Version(),
		runtime.GOOS, runtime.GOARCH)
}

func doctorCommand(a *app) *cobra.Command {
	var asJSON, tune bool
	var dtype, date string
	c := &cobra.Command{
		Use:   "doctor [MODEL]",
		Short: "Check this machine, and a model directory",
		Long: `Doctor reports on this machine, what would run on it and which command to type next, and on a model (a directory, or an id on the hub): architecture, sizes, weights, the memory that it needs against what
is free, tokenizer, end tokens, begin token, chat template, and a test generation. What is broken is named, with exit code 1. A model whose chat template prints today's date is
tried with --date.

With --tune it decodes with the model for some seconds in every way that a config can choose (threads, model.linears,
generation.batch_size) and prints the rates and the keys of the fastest. These keys are part of what a run is: runs that are to be
compared need the same.`,
		Example: `  gsmeval doctor
  gsmeval doctor models/gsm-tiny
  gsmeval doctor models/gsm-tiny --json
  gsmeval doctor models/gsm-tiny --tune`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if tune {
				if len(args) == 0 {
					return usageError{errors.New("doctor --tune needs a model: gsmeval doctor MODEL --tune")}
				}
				if date != "" {
					return usageError{errors.New("--tune puts no prompt; leave --date out")}
				}
				return a.tune(cmd.Context(), args[0], dtype, asJSON)
			}
			if dtype != "" {
				return usageError{errors.New("--dtype goes with --tune")}
			}
			if date != "" && len(args) == 0 {
				return usageError{errors.New("--date is for the chat template of a model: gsmeval doctor MODEL --date YYYY-MM-DD")}
			}
			if err := checkDate(date, false); err != nil {
				return err
			}
			found := advise.ExamineMachine()
			if len(args) == 0 {
				found = append(found, whatNext(found)...)
			} else {
				found = append(found, advise.ExamineModel(cmd.Context(), args[0], date,
					session.NewLocator(a.stderr))...)
			}
			if asJSON {
				if err := a.printJSON(found); err != nil {
					return err
				}
			} else if err := a.printFindings(found); err != nil {
				return err
			}
			bad := 0
			for _, f := range found {
				if !f.OK {
					bad++
				}
			}
			if bad > 0 {
				return fmt.Errorf("%s found", plural(bad, "problem"))
			}
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	dateFlag(c, &date)
	c.Flags().BoolVar(&tune, "tune", false, "measure which threads, Linears and batch size are fastest here")
	c.Flags().StringVar(&dtype, "dtype", "", "with --tune, the compute type: float32 (default), bfloat16, float16")
	return c
}

// tune prints how fast the model is in every way to compute it, the fastest first.
func (a *app) tune(ctx context.Context, model, dtype string, asJSON bool) error {
	found, err := advise.Tune(ctx, model, dtype, a.stderr)
	if err != nil {
		return err
	}
	if asJSON {
		return a.printJSON(found)
	}
	for _, t := range found {
		if err := a.println(fmt.Sprintf("%8.0f tokens/s  %s", t.Rate, t.Keys())); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) printFindings(found []advise.Finding) error {
	for _, f := range found {
		mark := "ok  "
		if !f.OK {
			mark = "BAD "
		}
		if err := a.println(mark + fmt.Sprintf("%-14s ", f.Name) + f.Value); err != nil {
			return err
		}
	}
	return nil
}
