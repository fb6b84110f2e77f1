package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/gsmeval/gsmeval/harness/runner"
)

// invoke runs a command line in this process and returns its exit code and output.
func invoke(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = exitCode(run(t.Context(), &out, &errs, args), &errs)
	return code, out.String(), errs.String()
}

// TestUsage checks that a mistake in the command line costs one line and exit code 2, before anything is loaded.
func TestUsage(t *testing.T) {
	t.Parallel()
	root := moduleRoot(t)
	model := filepath.Join(root, "models", "gsm-tiny")
	config := filepath.Join(root, "configs", "first_light.yaml")
	tests := []struct {
		args string // split at spaces
		want string // in the message
	}{
		{"frobnicate", `unknown command "frobnicate"; see gsmeval --help`},
		{"rum", `unknown command "rum"; did you mean run?`},
		{"--frobnicate", "unknown flag: --frobnicate; see gsmeval --help"},
		{"run", "see gsmeval run --help"},
		{"run a.yaml b.yaml", "see gsmeval run --help"},
		{"run " + config + " --frobnicate", "unknown flag: --frobnicate; see gsmeval run --help"},
		{"run missing.yaml", "missing.yaml"},
		{"run " + root, "not a regular file"},
		{"run " + config + " --set seeed=1", "--set seeed: seeed: unknown key; did you mean seed?"},
		{"run " + config + " --set dataset.limit", "expected key=value"},
		{"run " + config + " --set dataset.limit=-1", "dataset.limit"},
		{"run " + config + " --set model.dtype=float8", "model.dtype"},
		{"run " + config + " --set noise.7.scale=1", "noise"},
		{"run " + config + " --shard auto/4", "neither SLURM_ARRAY_TASK_ID nor JOB_COMPLETION_INDEX is set"},
		{"run " + config + " --shard 5/4", "--shard"},
		{"run " + config + " --progress foo", `gsmeval: --progress "foo": expected one of auto, bar, plain, json, none`},
		{"resume x --progress foo", `gsmeval: --progress "foo": expected one of auto, bar, plain, json, none`},
		{"merge x --wait -1s", "--wait -1s is below 0"},
		{"status", "see gsmeval status --help"},
		{"submit", "gsmeval submit slurm CONFIG, or gsmeval submit kubernetes CONFIG"},
		{"submit slurm " + config, `required flag(s) "shards" not set`},
		{"submit slurm " + config + " --shards 0 --set threads=1", "--shards 0 is not 1 to"},
		{"submit slurm " + config + " --shards 2 --set threads=0", "threads is not set"},
		{"submit kubernetes " + config + " --shards 2 --set threads=1 --set output=/tmp/x", "--set output=runs/NAME"},
		{"submit kubernetes " + config + " --shards 2 --set threads=1 --memory lots", `--memory "lots"`},
		{"resume", "see gsmeval resume --help"},
		{"resume a b", "see gsmeval resume --help"},
		{"compare", "see gsmeval compare --help"},
		{"compare x --format csv --json", "give either --format csv or --json"},
		{"temps " + config + " --format csv --json", "give either --format csv or --json"},
		{"curve x --measure pass@3", "--measure goes with --values"},
		{"report", "see gsmeval report --help"},
		{"report a b", "several runs need --out FILE"},
		{"view", "see gsmeval view --help"},
		{"view a --port -1", "--port -1"},
		{"score", "see gsmeval score --help"},
		{"score texts.jsonl", "--dataset is needed"},
		{"score texts.jsonl --dataset x --ladder best", "--ladder"},
		{"generate", `required flag(s) "model" not set`},
		{"generate x --model " + model, "see gsmeval generate --help"},
		{"generate --model " + model, "give either --prompt or --ids"},
		{"generate --model " + model + " --prompt x --ids 1", "give either --prompt or --ids"},
		{"generate --model " + model + " --ids ", "--ids is empty"},
		{"generate --model " + model + " --ids 1,x", `--ids: "x" is not a token id`},
		{"generate --model " + model + " --ids 99999999999999999999", "is not a token id"},
		{"generate --model " + model + " --prompt x --greedy --temperature 2", "--greedy has no temperature"},
		{"generate --model " + model + " --prompt x --temperature 0", "--temperature 0 is not above 0"},
		{"generate --model " + model + " --prompt x --temperature NaN", "--temperature NaN"},
		{"generate --model " + model + " --prompt x --temperature +Inf", "--temperature +Inf"},
		{"generate --model " + model + " --prompt x --temperature warm", "--temperature"},
		{"generate --model " + model + " --prompt x --max-new-tokens 0", "--max-new-tokens must be at least 1"},
		{"generate --model " + model + " --prompt x --seed -1", "--seed"},
		{"generate --model " + model + " --prompt x --noise-kind loud --noise-scale 1", `found "loud"`},
		{"generate --model " + model + " --prompt x --noise-kind activation", "expected a number above 0"},
		{"generate --model " + model + " --prompt x --noise-kind weight --noise-scale -1", "--noise-scale -1"},
		{"generate --model " + model + " --prompt x --noise-kind weight --noise-scale NaN", "--noise-scale NaN"},
		{"generate --model " + model + " --prompt x --noise-kind weight --noise-scale +Inf", "--noise-scale +Inf"},
		{"generate --model " + model + " --prompt x --noise-scale 0.1", "--noise-scale without --noise-kind"},
		{"generate --model " + model + " --prompt x --noise-weight-scale 0.1", "--noise-weight-scale"},
		{
			"generate --model " + model + " --prompt x --noise-kind activation --noise-scale 0.1 --noise-weight-scale 0.1",
			"--noise-weight-scale",
		},
		{"generate --model " + model + " --prompt \xff\xfe", `--prompt "\xff\xfe" is not UTF-8`},
		{"generate --model " + model + " --prompt x --stop y\xff", `--stop "y\xff" is not UTF-8`},
		{"alpha --model " + model + " --prompt \xff --noise-kind weight --noise-scale 1", `--prompt "\xff" is not UTF-8`},
		{"prompt --model " + model + " --question \xff", `--question "\xff" is not UTF-8`},
		{"prompt", "give either --model or --template"},
		{"prompt --model " + model + " --template x --question y", "give either --model or --template"},
		{"prompt --model " + model, "give either --question or --messages"},
		{"prompt --model " + model + " --question x --messages y", "give either --question or --messages"},
		{"prompt --model " + model + " --messages y --raw", "--raw takes a --question and a --model"},
		{"prompt --template x --question y --raw", "--raw takes a --question and a --model"},
		{"prompt --model " + model + " --question x --bos y", "--bos"},
		{"prompt --model " + model + " --question x --no-generation-prompt", "--no-generation-prompt takes"},
		{"prompt --model " + model + " --question x --style fancy", `--style "fancy" is not auto, chat or plain`},
		{"prompt --model " + model + " --messages x --style chat", "--style takes a --question"},
		{"version extra", "see gsmeval version --help"},
		{"doctor a b", "see gsmeval doctor --help"},
	}
	for _, tt := range tests {
		name := strings.ReplaceAll(strings.ReplaceAll(tt.args, model, "MODEL"), root, "ROOT")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, stdout, stderr := invoke(t, strings.Split(tt.args, " ")...)
			if code != exitUsage {
				t.Errorf("exit code %d, want %d", code, exitUsage)
			}
			if stdout != "" {
				t.Errorf("stdout is %q, want none", stdout)
			}
			if !strings.HasPrefix(stderr, "gsmeval: ") || strings.Count(stderr, "\n") != 1 ||
				!strings.Contains(stderr, tt.want) {
				t.Errorf("stderr is %q, want one line with %q", stderr, tt.want)
			}
		})
	}
}

// TestHelp checks that every command explains itself and shows an example of itself.
func TestHelp(t *testing.T) {
	t.Parallel()
	code, general, stderr := invoke(t)
	if code != 0 || stderr != "" {
		t.Fatalf("gsmeval alone: exit code %d, stderr %q", code, stderr)
	}
	if _, help, _ := invoke(t, "--help"); help != general {
		t.Errorf("gsmeval and gsmeval --help differ:\n%s\n%s", general, help)
	}
	if !strings.Contains(general, "\nExamples:\n  gsmeval run ") {
		t.Errorf("the general help has no example:\n%s", general)
	}
	var names []string
	for _, c := range newRoot(nil, nil).Commands() {
		if isCobras(c) {
			continue
		}
		names = append(names, c.Name())
		t.Run(c.Name(), func(t *testing.T) {
			t.Parallel()
			code, help, stderr := invoke(t, c.Name(), "--help")
			if code != 0 || stderr != "" {
				t.Errorf("exit code %d, stderr %q", code, stderr)
			}
			if c.Short == "" || strings.Contains(general, c.Short) == c.Hidden {
				t.Errorf("the general help is wrong about %q (hidden: %v)", c.Short, c.Hidden)
			}
			for _, want := range []string{"Usage:\n  gsmeval " + c.Use, "\nExamples:\n  gsmeval "} {
				if !strings.Contains(help, want) {
					t.Errorf("no %q in:\n%s", want, help)
				}
			}
			if !strings.Contains(c.Example, "  gsmeval "+c.Name()+" ") && c.Example != "  gsmeval "+c.Name() {
				t.Errorf("no example of %s in %q", c.Name(), c.Example)
			}
			if strings.Contains(help, "no such flag") || strings.Contains(help, "does not exist") {
				t.Errorf("a flag that is required does not exist:\n%s", help)
			}
		})
	}
	if len(names) != len(commands) {
		t.Errorf("commands %v, want the %d of the table", names, len(commands))
	}
}

// TestExamples checks that the commands, flags and config keys of every example exist.
func TestExamples(t *testing.T) {
	t.Parallel()
	root := moduleRoot(t)
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		if isCobras(c) {
			return
		}
		for example := range strings.SplitSeq(c.Example, "\n") {
			text, indented := strings.CutPrefix(example, "  gsmeval ")
			if !indented {
				t.Errorf("the example %q is not an indented command", example)
			} else if err := parses(root, "gsmeval "+text); err != nil {
				t.Errorf("%s: %v", example, err)
			}
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(newRoot(nil, nil))
}

// isCobras tells whether a command is not ours but one that cobra adds.
func isCobras(c *cobra.Command) bool { return c.Name() == "help" || c.Name() == "completion" }

// Where a command without a run was when it was interrupted, loading or hashing, is no fault of what it names.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	for text, err := range map[string]error{
		"gsmeval: interrupted\n": fmt.Errorf("reading data set x: %w", context.Canceled),
		"gsmeval: interrupted: 3 of 8 samples are kept\n": errors.Join(
			fmt.Errorf("%w: 3 of 8 samples are kept", runner.ErrInterrupted)),
	} {
		var stderr bytes.Buffer
		if code := exitCode(err, &stderr); code != exitInterrupted || stderr.String() != text {
			t.Errorf("code %d, %q; want %q", code, stderr.String(), text)
		}
	}
}

func TestFailedSamples(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]string{1: "1 sample failed and is in", 2: "2 samples failed and are in"} {
		if err := failedSamples(n); !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%d: %v", n, err)
		}
	}
}
