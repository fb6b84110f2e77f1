package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/gsmeval/gsmeval/harness/advise"
	"github.com/gsmeval/gsmeval/results"
)

// whatNext says what would run on this machine, and the command to type next in this folder.
func whatNext(machine []advise.Finding) []advise.Finding {
	var out []advise.Finding
	for _, f := range machine {
		if free, ok := f.Data.(int64); ok && f.Name == "memory" {
			// A gigabyte is left for the cache of a run and the program; doctor MODEL counts exactly.
			billions := max(0, float64(free-1<<30)) / 1e9
			out = append(out, advise.Finding{
				Name: "fits", OK: true,
				Value: fmt.Sprintf("a model of up to about %.1f billion parameters in float32, %.1f in bfloat16",
					billions/4, billions/2),
			})
		}
	}
	return append(out, advise.Finding{Name: "next", OK: true, Value: nextCommand()})
}

// nextCommand leads from an empty folder over the first run to one's own.
func nextCommand() string {
	config := filepath.Join("configs", firstConfig)
	if _, err := os.Stat(config); err != nil {
		return "gsmeval init"
	}
	const run = "runs/first_light"
	info, err := results.ReadRun(run)
	switch {
	case err != nil:
		return "gsmeval run " + config
	case info.Status != results.RunComplete:
		return "gsmeval resume " + run
	default:
		return "gsmeval explain " + run
	}
}
