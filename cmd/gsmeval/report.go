package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/gsmeval/gsmeval/datasets"
	"github.com/gsmeval/gsmeval/harness/session"
	"github.com/gsmeval/gsmeval/results/report"
)

func reportCommand(a *app) *cobra.Command {
	var out, figures, dataset string
	var o report.Options
	c := &cobra.Command{
		Use:   "report RUN...",
		Short: "Write the report of a run, or of several together",
		Long: `Report writes one HTML file that needs no network: accuracy, dose response, temperatures, paired differences, statuses, lengths and
a browser of the samples. Of one run it goes to RUN/report.html, where run and resume put it too, with the figures as PNG and SVG
beside it. Of several runs it compares equal conditions.`,
		Example: `  gsmeval report runs/dyn_tstar
  gsmeval report runs/a runs/b --out both.html
  gsmeval report runs/a runs/b --out both.html --figures figures`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 && out == "" {
				return usageError{errors.New("several runs need --out FILE; see gsmeval report --help")}
			}
			find := session.FindData(a.stderr)
			if dataset != "" {
				find = func(ctx context.Context, from report.Source) (*datasets.Set, error) {
					from.Path = dataset
					return datasets.Load(ctx, from.Spec)
				}
			}
			var runs []*report.Run
			for _, dir := range args {
				r, err := report.Load(cmd.Context(), dir, find)
				if err != nil {
					return err
				}
				if len(args) > 1 {
					r.Name = filepath.Clean(dir)
				}
				runs = append(runs, r)
			}
			p, err := report.New(runs, o)
			if err != nil {
				return err
			}
			path := out
			if path == "" {
				path = filepath.Join(args[0], report.HTMLFile)
				if figures == "" {
					figures = args[0]
				}
			}
			if err := p.Write(path); err != nil {
				return err
			}
			if figures != "" {
				if err := p.WriteFigures(figures); err != nil {
					return err
				}
			}
			return a.println(path)
		},
	}
	f := c.Flags()
	f.StringVar(&out, "out", "", "write to a `FILE`; without it, to RUN/report.html")
	f.StringVar(&figures, "figures", "", "write the figures as PNG and SVG to a `DIR`")
	f.StringVar(&dataset, "dataset", "", "where the runs' data set is, for the questions (default: where it was)")
	f.StringSliceVar(&o.Allow, "allow-different", nil,
		"settings that may differ between the runs: data, prompt, ladder, max_new_tokens")
	return c
}

func viewCommand(a *app) *cobra.Command {
	var port int
	c := &cobra.Command{
		Use:   "view RUN",
		Short: "Show the report of a run in a browser, and follow a run in progress",
		Long: `View serves the report of a run on 127.0.0.1, to this machine only, and makes it anew when the run has more samples. It ends on
Ctrl-C. The run may be in progress: nothing is written to its directory.`,
		Example: `  gsmeval view runs/dyn_tstar
  gsmeval view runs/dyn_tstar --port 8080`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if port < 0 || port > 65535 {
				return usageError{fmt.Errorf("--port %d is not between 0 and 65535", port)}
			}
			s, err := report.Listen(cmd.Context(), args[0], port, session.FindData(a.stderr))
			if err != nil {
				return err
			}
			if err := a.println(s.URL()); err != nil {
				return err
			}
			return s.Serve(cmd.Context())
		},
	}
	c.Flags().IntVar(&port, "port", 0, "port of 127.0.0.1; 0 is any free one")
	return c
}
