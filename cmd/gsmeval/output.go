package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gsmeval/gsmeval/results"
)

// outputs are the flags that name where a result goes.
var outputs = []string{"out", "figures"}

// checkOutputs refuses, before a command does anything, an output that must not be written to. Whether a flag names a
// file or a directory is what its help says.
func checkOutputs(cmd *cobra.Command, _ []string) error {
	for _, name := range outputs {
		f := cmd.Flags().Lookup(name)
		if f == nil || f.Value.String() == "" {
			continue
		}
		path := f.Value.String()
		if results.OwnFile(path) {
			return usageError{fmt.Errorf("--%s %s: it is a file that a run consists of; choose another place", name,
				path)}
		}
		if what, _ := pflag.UnquoteUsage(f); what != "FILE" {
			continue
		}
		if err := noDirectory(name, path); err != nil {
			return err
		}
	}
	return nil
}

// noDirectory refuses a directory where a file is to be written.
func noDirectory(flag, path string) error {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return usageError{fmt.Errorf("--%s %s: it is a directory; name a file", flag, path)}
	}
	return nil
}
