package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gsmeval/gsmeval/internal/config"
)

// app is what every command needs.
type app struct {
	stdout, stderr io.Writer
}

// newRoot builds the command tree. Results go to stdout, everything else to stderr.
func newRoot(stdout, stderr io.Writer) *cobra.Command {
	a := &app{stdout, stderr}
	root := &cobra.Command{
		Use:   "gsmeval",
		Short: "Measure how a noisy language model reasons",
		Long: `gsmeval measures GSM8K accuracy of a language model under injected weight, activation or combined noise,
sampling at a constant temperature, at a constant T* or at a T*(t) that follows the noise by position.`,
		Example: `  gsmeval run configs/first_light.yaml
  gsmeval generate --model models/gsm-tiny --prompt "Tom has 3 apples and buys 4. How many?" --greedy`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          unknownCommand,
		Version:       versionLine(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return cmd.Help()
		},
		SuggestionsMinimumDistance: 2,
	}
	root.PersistentPreRunE = checkOutputs
	root.SetVersionTemplate("gsmeval {{.Version}}\n")
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w; %s", err, flagHint(cmd, err))}
	})
	for _, build := range commands {
		c := build(a)
		c.Args = usageArgs(c.Args)
		root.AddCommand(c)
	}
	completions(root)
	return root
}

// commands is every command, in the order of the help text.
var commands = []func(*app) *cobra.Command{
	runCommand, resumeCommand, watchCommand, statusCommand, submitCommand, mergeCommand,
	compareCommand, explainCommand, reportCommand, viewCommand, scoreCommand, exportCommand,
	calibrateCommand, verifyNoiseCommand, perturbCommand,
	alphaCommand, tempsCommand, fidelityCommand, curveCommand,
	generateCommand, promptCommand, initCommand, doctorCommand, versionCommand, workerCommand,
}

// unknownCommand refuses what is no command, with the nearest one that is.
func unknownCommand(root *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := "see " + root.CommandPath() + " --help"
	if near := root.SuggestionsFor(args[0]); len(near) > 0 {
		hint = "did you mean " + strings.Join(near, " or ") + "?"
	}
	return usageError{fmt.Errorf("unknown command %q; %s", args[0], hint)}
}

// flagHint names the flag that an unknown one may have meant.
func flagHint(cmd *cobra.Command, err error) string {
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) {
		var names []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
		if near := config.Nearest(unknown.GetSpecifiedName(), names); near != "" {
			return "did you mean --" + near + "?"
		}
	}
	return "see " + cmd.CommandPath() + " --help"
}

// usageArgs makes a wrong number of arguments and a missing flag usage errors.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		err := check(cmd, args)
		if err == nil {
			err = cmd.ValidateRequiredFlags()
		}
		if err != nil {
			return usageError{fmt.Errorf("%w; see %s --help", err, cmd.CommandPath())}
		}
		return nil
	}
}

// printJSON writes one JSON value on a line of its own, with HTML characters as they are.
func (a *app) printJSON(v any) error {
	enc := json.NewEncoder(a.stdout)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("writing the result: %w", err)
	}
	return nil
}

// println writes a line of the result.
func (a *app) println(line string) error {
	if _, err := io.WriteString(a.stdout, strings.TrimSuffix(line, "\n")+"\n"); err != nil {
		return fmt.Errorf("writing the result: %w", err)
	}
	return nil
}
