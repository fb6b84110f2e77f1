package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/gsmeval/gsmeval/results"
)

func explainCommand(a *app) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "explain RUN",
		Short: "Say in plain sentences what a run found",
		Long: `Explain says in three to ten sentences what a run found, each with its numbers and what weakens them: what noise costs, what each
temperature gives back or takes, for which chips that holds, and how small a difference could hide. The sentences are made from the
run's statistics, by rules; the report begins with them.`,
		Example: `  gsmeval explain runs/dyn_tstar
  gsmeval explain runs/dyn_tstar --json`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			set, err := results.LoadSet(args[0])
			if err != nil {
				return err
			}
			sentences := set.Explain()
			if asJSON {
				return a.printJSON(sentences)
			}
			return a.println(strings.Join(sentences, "\n"))
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}
