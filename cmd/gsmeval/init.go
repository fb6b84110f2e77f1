package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/gsmeval/gsmeval/internal/builtin"
	"github.com/gsmeval/gsmeval/internal/files"
	"github.com/gsmeval/gsmeval/results"
)

func initCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "init [DIR]",
		Short: "Lay out a working folder: configs to start from",
		Long: `Init puts configs to start from into DIR/configs (default: here). They name the bundled model and data by builtin:gsm-tiny and
builtin:gsm-synth, which come with the program and are not copied. A config that is there already and differs is never touched.`,
		Example: `  gsmeval init
  gsmeval init my-experiments`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			dir := "."
			if len(args) == 1 {
				dir = args[0]
			}
			if err := layOut(dir); err != nil {
				return err
			}
			next := "gsmeval run configs/" + firstConfig
			if dir != "." {
				next = "cd " + dir + " && " + next
			}
			return a.println(filepath.Join(dir, "configs") + "\nnext: " + next)
		},
	}
}

// firstConfig is the run that a newcomer is led to.
const firstConfig = "first_light.yaml"

// layOut writes the bundled configs to a folder, all or none.
func layOut(dir string) error {
	configs, err := builtin.Configs()
	if err != nil {
		return err
	}
	dir = filepath.Join(dir, "configs")
	names := slices.Sorted(maps.Keys(configs))
	for _, name := range names {
		path := filepath.Join(dir, name)
		have, err := files.Read(path, 1<<20)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return fmt.Errorf("looking whether there is a config already: %w", err)
		case bytes.Equal(have, configs[name]):
			delete(configs, name)
		default:
			return fmt.Errorf("%s is there and is another one; move it, or give another folder: gsmeval init DIR", path)
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("making the folder: %w", err)
	}
	for _, name := range names {
		if text, wanted := configs[name]; wanted {
			if err := results.WriteFile(filepath.Join(dir, name), text); err != nil {
				return err
			}
		}
	}
	return nil
}
