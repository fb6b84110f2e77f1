package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gsmeval/gsmeval/decode"
	"github.com/gsmeval/gsmeval/decode/checkpoint"
	"github.com/gsmeval/gsmeval/decode/model"
	"github.com/gsmeval/gsmeval/harness"
	"github.com/gsmeval/gsmeval/internal/torch"
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
			v := map[string]string{"gsmeval": harness.Version, "libtorch": harness.LibtorchVersion, "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH}
			if asJSON {
				return a.printJSON(v)
			}
			return a.println(fmt.Sprintf("gsmeval %s (libtorch %s, %s, %s)", v["gsmeval"], v["libtorch"], v["go"], v["platform"]))
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// finding is one line of doctor's report.
type finding struct {
	Name  string `json:"name"`
	OK    bool   `json:"ok"`
	Value string `json:"value"`
}

func doctorCommand(a *app) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "doctor [MODEL]",
		Short: "Check this machine, and a model directory",
		Long: `Doctor reports what a run would find: libtorch, instruction set, cores, memory. Of a model directory it reads everything that a run
needs (config, weights, tokenizer, chat template, end tokens), says what is missing, and does one test generation. It fails if it finds
a problem.`,
		Example: `  gsmeval doctor
  gsmeval doctor models/gsm-tiny`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			found := machine()
			if len(args) == 1 {
				dir, err := a.locate(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				found = append(found, examine(cmd, dir)...)
			}
			bad := 0
			for _, f := range found {
				if !f.OK {
					bad++
				}
			}
			if asJSON {
				if err := a.printJSON(found); err != nil {
					return err
				}
			} else {
				for _, f := range found {
					mark := "ok  "
					if !f.OK {
						mark = "BAD "
					}
					if err := a.println(mark + fmt.Sprintf("%-14s ", f.Name) + f.Value); err != nil {
						return err
					}
				}
			}
			if bad > 0 {
				return fmt.Errorf("%s found", plural(bad, "problem"))
			}
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func machine() []finding {
	isa, err := torch.CPUCapability()
	return []finding{
		{"program", true, "gsmeval " + harness.Version + ", " + runtime.Version()},
		result("libtorch", harness.LibtorchVersion+", CPU kernels "+isa, err),
		{"cores", true, fmt.Sprint(runtime.NumCPU())},
		result("memory", fmt.Sprintf("%.1f GiB available", float64(availableMemory())/(1<<30)), nil),
	}
}

func result(name, value string, err error) finding {
	if err != nil {
		return finding{name, false, err.Error()}
	}
	return finding{name, true, value}
}

// examine reports on a model directory, as far as it can be read.
func examine(cmd *cobra.Command, dir string) []finding {
	cfg, err := checkpoint.ReadConfig(dir)
	if err != nil {
		return []finding{{"config", false, err.Error()}}
	}
	arch := fmt.Sprintf("%s: %d layers, hidden %d, %d query and %d key-value heads of %d, vocabulary %d, %d positions",
		cfg.ModelType, cfg.NumLayers, cfg.HiddenSize, cfg.NumHeads, cfg.NumKVHeads, cfg.HeadDim, cfg.VocabSize, cfg.MaxPositions)
	found := []finding{{"architecture", true, arch}}
	weights, err := checkpoint.OpenWeights(dir)
	if err != nil {
		return append(found, finding{"weights", false, err.Error()})
	}
	var elements, bytes int64
	for _, name := range weights.Names() {
		t, _ := weights.Tensor(name)
		elements += int64(t.Elements())
		bytes += int64(len(t.Data))
	}
	cacheBytes := 2 * 4 * int64(cfg.NumLayers) * int64(cfg.NumKVHeads) * int64(cfg.HeadDim)
	need := 4*elements + 300<<20
	found = append(found,
		result("weights", fmt.Sprintf("%d parameters in %d tensors, %.1f MB on disk", elements, len(weights.Names()), float64(bytes)/1e6), weights.Close()),
		finding{"memory need", need < availableMemory(), fmt.Sprintf("%.2f GiB in float32, and %d bytes of cache for each position of each sequence", float64(need)/(1<<30), cacheBytes)})
	text, err := decode.OpenText(dir)
	if err != nil {
		return append(found, finding{"tokenizer", false, err.Error()})
	}
	defer text.Close() //nolint:errcheck // the process ends here
	found = append(found, finding{"tokenizer", text.Tokenizer.Vocab() <= cfg.VocabSize, fmt.Sprintf("%d tokens for %d embeddings", text.Tokenizer.Vocab(), cfg.VocabSize)},
		finding{"end tokens", len(text.Ends) > 0, text.Ends.String()})
	if text.Template == nil {
		found = append(found, finding{"chat template", true, "none; prompts are plain"})
	} else {
		found = append(found, finding{"chat template", true, text.Template.SHA256()[:12]})
	}
	return append(found, trial(cmd, dir))
}

// trial generates a few tokens.
func trial(cmd *cobra.Command, dir string) finding {
	const name = "generation"
	lm, err := decode.Load(dir, decode.LoadOptions{})
	if err != nil {
		return finding{name, false, err.Error() + " (supported: " + strings.Join(model.Supported(), ", ") + ")"}
	}
	defer lm.Close() //nolint:errcheck // the process ends here
	_, ids, err := promptOf(lm.Text, "What is 2+2?", false)
	if err != nil {
		return finding{name, false, err.Error()}
	}
	g, err := harness.Generate(cmd.Context(), lm, harness.GenerateOptions{PromptIDs: ids, MaxNewTokens: 8, Schedule: decode.Greedy()})
	if err != nil {
		return finding{name, false, err.Error()}
	}
	return finding{name, g.Finish != decode.Nonfinite, fmt.Sprintf("%q", g.Text)}
}

// availableMemory is MemAvailable of /proc/meminfo in bytes, 0 if it cannot be read.
func availableMemory() int64 {
	data, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(data)) {
		var kb int64
		if n, err := fmt.Sscanf(line, "MemAvailable: %d kB", &kb); n == 1 && err == nil {
			return kb << 10
		}
	}
	return 0
}
