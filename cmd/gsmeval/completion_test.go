package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// TestEveryCommandExplainsItself demands a long text and an example of every command, down to those that cobra adds.
func TestEveryCommandExplainsItself(t *testing.T) {
	t.Parallel()
	n := 0
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		n++
		if len(c.Long) <= len(c.Short) {
			t.Errorf("%s has no text that is longer than %q", c.CommandPath(), c.Short)
		}
		if !strings.Contains(c.Example, "gsmeval ") {
			t.Errorf("%s has no example", c.CommandPath())
		}
		for _, sub := range c.Commands() {
			if sub.Name() != "help" {
				walk(sub)
			}
		}
	}
	walk(newRoot(nil, nil))
	if n < len(commands)+1 {
		t.Errorf("%d commands were looked at", n)
	}
}

// complete asks the program how the last word of a command line can go on.
func complete(t *testing.T, words ...string) (proposed []string, directive string) {
	t.Helper()
	code, stdout, _ := invoke(t, append([]string{cobra.ShellCompRequestCmd}, words...)...)
	if code != 0 {
		t.Fatalf("completing %q: exit code %d", words, code)
	}
	for line := range strings.Lines(stdout) {
		word, _, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		proposed = append(proposed, word)
	}
	last := len(proposed) - 1
	return proposed[:last], proposed[last]
}

func TestCompletion(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, path := range []string{
		"runs/one/run.json", "runs/deep/two/run.json", "models/m/config.json",
		"runs/.hidden/run.json",
	} {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// The directives of cobra: 2 no space after it, 4 no files, 8 files with these extensions.
	tests := []struct {
		words     []string
		directive string
		want      []string
	}{
		{[]string{"run", "confi"}, ":8", []string{"yaml", "yml"}},
		{[]string{"run", "a.yaml", ""}, ":4", nil},
		{[]string{"submit", "slurm", "confi"}, ":8", []string{"yaml", "yml"}},
		{[]string{"submit", "slurm", "a.yaml", "--set", "see"}, ":6", []string{"seed="}},
		{[]string{"resume", dir + "/runs/"}, ":6", []string{dir + "/runs/deep/", dir + "/runs/one"}},
		{[]string{"resume", dir + "/runs/o"}, ":4", []string{dir + "/runs/one"}},
		{[]string{"compare", "a", dir + "/runs/deep/"}, ":4", []string{dir + "/runs/deep/two"}},
		{[]string{"watch", dir + "/runs/one", ""}, ":4", nil},
		{[]string{"doctor", dir + "/models/"}, ":4", []string{dir + "/models/m"}},
		{[]string{"generate", "--model", dir + "/m"}, ":6", []string{dir + "/models/"}},
		{[]string{"run", "x.yaml", "--set", "dataset.l"}, ":6", []string{"dataset.limit="}},
		{[]string{"run", "x.yaml", "--set", "noise.0.s"}, ":6", []string{"noise.0.scale=", "noise.0.scope="}},
		{[]string{"run", "x.yaml", "--progress", ""}, ":4", []string{"auto", "bar", "plain", "json", "none"}},
		{[]string{"export", "x", "--format", ""}, ":4", []string{"lm-eval", "inspect", "csv", "parquet"}},
		{[]string{"compare", "x", "--format", ""}, ":4", []string{"md", "csv", "json", "tex"}},
		{[]string{"resu"}, ":4", []string{"resume"}},
	}
	for _, tt := range tests {
		got, directive := complete(t, tt.words...)
		if !slices.Equal(got, tt.want) || directive != tt.directive {
			t.Errorf("%q: %q %s, want %q %s", tt.words, got, directive, tt.want, tt.directive)
		}
	}
}

// TestCompletionScripts checks that each shell that is there takes its script.
func TestCompletionScripts(t *testing.T) {
	t.Parallel()
	for _, shell := range []string{"bash", "zsh", "fish"} {
		code, script, stderr := invoke(t, "completion", shell)
		if code != 0 || stderr != "" || !strings.Contains(script, "gsmeval __complete") &&
			!strings.Contains(script, "__complete") {
			t.Errorf("%s: exit code %d, stderr %q, %d bytes", shell, code, stderr, len(script))
		}
		path, err := exec.LookPath(shell)
		if err != nil {
			t.Logf("%s is not installed; its script is not tried", shell)
			continue
		}
		check := exec.CommandContext(t.Context(), path, "-n")
		check.Stdin = strings.NewReader(script)
		if out, err := check.CombinedOutput(); err != nil {
			t.Errorf("%s -n: %v\n%s", shell, err, out)
		}
	}
}

// TestSuggestions checks that what is nearly right is named: commands, flags, keys, values.
func TestSuggestions(t *testing.T) {
	t.Parallel()
	config := filepath.Join(moduleRoot(t), "configs", "first_light.yaml")
	for _, tt := range []struct{ args, want string }{
		{"exprot x", "did you mean export?"},
		{"run " + config + " --shwo-config", "did you mean --show-config?"},
		{"compare x --fromat csv", "did you mean --format?"},
		{"run " + config + " --set dataset.limt=3", "did you mean dataset.limit?"},
		{"run " + config + " --set generation.temperature=3", "did you mean temperature?"},
		{"run " + config + " --set scoring.ladder=robst", "seed, robust"},
		{"export x --format parkuet", "lm-eval, inspect, csv, parquet"},
	} {
		code, _, stderr := invoke(t, strings.Split(tt.args, " ")...)
		if code != exitUsage || !strings.Contains(stderr, tt.want) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%s: exit code %d, %q, want one line with %q", tt.args, code, stderr, tt.want)
		}
	}
}
