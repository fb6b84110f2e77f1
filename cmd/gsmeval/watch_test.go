package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/gsmeval/gsmeval/results"
)

// TestWatchFollows watches a run of another process from its beginning to its end.
func TestWatchFollows(t *testing.T) {
	t.Parallel()
	root, dir := moduleRoot(t), filepath.Join(t.TempDir(), "run")
	worker := exec.CommandContext(t.Context(), "gsmeval", "run", filepath.Join(root, "configs", "first_light.yaml"),
		"--quiet",
		"--set", "model.path="+filepath.Join(root, "models", "gsm-tiny"), "--set",
		"dataset.path="+filepath.Join(root, "data", "gsm-synth"),
		"--set", "dataset.limit=12", "--set", "threads=1", "--set", "generation.batch_size=2", "--set",
		"generation.max_new_tokens=40", "--set", "output="+dir)
	if err := worker.Start(); err != nil {
		t.Fatal(err)
	}
	for { // until there is something to watch
		if _, err := results.ReadRun(dir); err == nil {
			break
		}
		select {
		case <-t.Context().Done():
			t.Fatal("the run did not begin")
		case <-time.After(20 * time.Millisecond):
		}
	}
	code, stdout, stderr := invoke(t, "watch", dir, "--every", "100ms")
	if err := worker.Wait(); err != nil {
		t.Fatal(err)
	}
	if code != 0 || stderr != "" {
		t.Fatalf("exit code %d, stderr %q", code, stderr)
	}
	if !strings.Contains(stdout, ": running, ") || !strings.Contains(stdout, ": complete, 36 of 36 samples") {
		t.Errorf("from running to complete:\n%s", stdout)
	}
}

// TestWatchStops checks that who watches a run that stands still may stop watching, without an error.
func TestWatchStops(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	meta := results.Meta{
		Name: "still", Fingerprint: "f", Examples: 3, Noises: []results.Noise{{Label: "none", Kind: "none"}},
		Temps:      []results.Temp{{Label: "T=1"}},
		Conditions: []results.Condition{{Replicates: 1}},
	}
	info := results.RunInfo{
		Schema: results.RunSchema, Name: "still", Fingerprint: "f", Status: results.RunRunning,
		Config: []byte("{}"), Meta: meta,
	}
	if err := info.Write(dir); err != nil {
		t.Fatal(err)
	}
	j, err := results.Open(filepath.Join(dir, results.JournalFile), "f") // somebody is at it
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close() //nolint:errcheck // nothing was written
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	var out, errs bytes.Buffer
	if code := exitCode(run(ctx, &out, &errs, []string{"watch", dir, "--every", "100ms"}), &errs); code != 0 {
		t.Errorf("exit code %d, stderr %q", code, errs.String())
	}
	if !strings.Contains(out.String(), "running, 0 of 3 samples") {
		t.Errorf("stdout %q", out.String())
	}
}

// TestWatched checks the drawing: columns in line, lines no wider than the screen, no more of them than it has.
func TestWatched(t *testing.T) {
	t.Parallel()
	now := time.Now()
	p := &results.Progress{
		Run: "runs/x", Status: results.RunRunning, Done: 5, Total: 16, Time: now, TokensPerSecond: 123.4,
		SecondsLeft: 62,
		Conditions: []results.LiveProgress{
			{
				Noise: "none", Temperature: "T=1", Done: 5, Total: 8, N: 4, Correct: 3, Accuracy: 0.75,
				CI: results.Interval{0.3, 0.95}, Truncated: 1, Failed: 1, MeanTokens: 9.5,
			},
			{Noise: "weight 0.1", Temperature: "T*(t)", SamplesOf: "T=1", Total: 8},
		},
	}
	lines := watched(p, 0)
	want := []string{
		"runs/x: running, 5 of 16 samples, 123 tok/s, 1m2s left",
		"Noise       Temperature              Samples  Accuracy       95 % CI  Truncated  Failed  Tokens",
		"none        T=1          ██████░░░░      5/8      75.0  [30.0, 95.0]     25.0 %       1     9.5",
		"weight 0.1  T*(t)        ░░░░░░░░░░   as T=1         –             –          –       0       –",
	}
	if strings.Join(lines, "\n") != strings.Join(want, "\n") {
		t.Errorf("%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
	for _, line := range watched(p, 40) {
		if utf8.RuneCountInString(line) > 40 {
			t.Errorf("a line of %d characters: %s", utf8.RuneCountInString(line), line)
		}
	}
	var out bytes.Buffer
	s := screen{out: &out, terminal: true, width: 80, height: 4}
	for range 2 {
		if err := s.show([]string{"a", "b", "c", "d", "e"}); err != nil {
			t.Fatal(err)
		}
	}
	if want := "a\nb\n… and 3 more; see --once\n"; out.String() != want+"\x1b[3A\x1b[J"+want {
		t.Errorf("on a small screen: %q", out.String())
	}
	if _, err := os.Stat("runs"); err == nil {
		t.Error("watching wrote something")
	}
}
