package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gsmeval/gsmeval/results"
)

// resumeConfig has every way of drawing: no noise, one draw of the weights for each seed, noise for each sample;
// sampled and greedy; answers that end at different steps, so that batch slots are refilled.
const resumeConfig = `name: resume
model: {path: %[1]s/models/gsm-tiny}
dataset: {path: %[1]s/data/gsm-synth, limit: 8}
generation: {max_new_tokens: 24, batch_size: 4}
noise:
  - {kind: none}
  - {kind: weight, scale: 0.05}
  - {kind: activation, scale: 0.1}
noise_seeds: 2
temperature:
  - {policy: constant, value: 1.0}
  - {policy: greedy}
threads: 1
`

// resumeSamples is 8 questions x 2 seeds x 2 temperatures x 3 noises, but greedy without noise once.
const resumeSamples = 88

// runFiles must be the same bytes however a run came to its end.
var runFiles = []string{
	results.JournalFile, "table.csv", "table.md", "table.json", "table.tex", "report.html",
	"accuracy.png", "accuracy.svg", "differences.png", "differences.svg", "dose_response.png", "dose_response.svg",
}

// program is a real binary, a config, and the files of a run of it that nothing interrupted.
type program struct {
	binary, config string
	reference      string        // run directory
	took           time.Duration // by the reference
	changes        []string      // --set of the reference and of what is compared with it
}

func newProgram(t *testing.T, changes ...string) *program {
	t.Helper()
	if testing.Short() {
		t.Skip("builds the program and runs it many times")
	}
	dir := t.TempDir()
	p := &program{
		binary: filepath.Join(dir, "gsmeval"), config: filepath.Join(dir, "resume.yaml"),
		reference: filepath.Join(dir, "reference"), changes: changes,
	}
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", p.binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("building the program: %v\n%s", err, out)
	}
	if err := os.WriteFile(p.config, fmt.Appendf(nil, resumeConfig, moduleRoot(t)), 0o600); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if code, stderr := p.exec(t, p.run(p.reference)...); code != 0 {
		t.Fatalf("the reference run: exit code %d\n%s", code, stderr)
	}
	p.took = time.Since(begin)
	if n := lineCount(t, p.reference); n != resumeSamples {
		t.Fatalf("the reference run has %d samples, want %d", n, resumeSamples)
	}
	return p
}

// run are the arguments of a run to dir.
func (p *program) run(dir string) []string {
	return append([]string{"run", p.config, "--set", "output=" + dir}, p.changes...)
}

// command is the program with arguments, not started yet, and what it will say on stderr.
func (p *program) command(t *testing.T, args ...string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), p.binary, args...)
	cmd.Stderr = &stderr
	cmd.Env = append(cmd.Environ(), "OMP_NUM_THREADS=1")
	return cmd, &stderr
}

func (p *program) exec(t *testing.T, args ...string) (code int, stderr string) {
	t.Helper()
	cmd, errs := p.command(t, args...)
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), errs.String()
}

// arguments of the command that starts the run in dir, or goes on with it.
func (p *program) arguments(dir string) []string {
	if _, err := os.Stat(filepath.Join(dir, results.RunFile)); err == nil {
		return []string{"resume", dir}
	}
	return []string{"run", p.config, "--set", "output=" + dir}
}

// sameAsReference compares the files of a run byte for byte.
func (p *program) sameAsReference(t *testing.T, dir string) {
	t.Helper()
	for _, name := range runFiles {
		want, err := os.ReadFile(filepath.Join(p.reference, name))
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s differs from that of the run that was not interrupted", name)
		}
	}
}

// lineCount counts the whole lines of a run's journal, 0 where there is none.
func lineCount(t *testing.T, dir string) int {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, results.JournalFile))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return bytes.Count(data, []byte("\n"))
}

// TestResume kills, interrupts and doubles real runs of the program.
func TestResume(t *testing.T) {
	t.Parallel()
	p := newProgram(t)
	t.Run("killed", p.testKilled)
	t.Run("interrupted", p.testInterrupted)
	t.Run("locked", p.testLocked)
}

// testKilled ends runs with SIGKILL at seeded random moments and resumes them. Runs that get to their end are compared
// with the reference and followed by new ones, until there were enough kills: GSMEVAL_TEST_KILLS, or 6.
func (p *program) testKilled(t *testing.T) {
	kills := 6
	if s := os.Getenv("GSMEVAL_TEST_KILLS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatalf("GSMEVAL_TEST_KILLS: %v", err)
		}
		kills = n
	}
	rng := rand.New(rand.NewPCG(1, 2))
	killed, early, partial, runs := 0, 0, 0, 0
	for killed < kills || partial == 0 {
		if runs++; runs > 20*kills {
			t.Fatalf("after %d runs only %d kills, %d of them between the first and the last sample", runs, killed,
				partial)
		}
		dir := filepath.Join(t.TempDir(), "run")
		for done := false; !done; {
			cmd, stderr := p.command(t, p.arguments(dir)...)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			moment := time.AfterFunc(time.Duration(rng.Float64()*float64(p.took)), func() { _ = cmd.Process.Kill() })
			err := cmd.Wait()
			moment.Stop()
			switch status := cmd.ProcessState.Sys().(syscall.WaitStatus); {
			case status.Signaled() && status.Signal() == syscall.SIGKILL:
				killed++
				switch n := lineCount(t, dir); {
				case n == 0:
					early++
				case n < resumeSamples:
					partial++
				}
			case err != nil:
				t.Fatalf("%v: %v\n%s", cmd.Args, err, stderr)
			default:
				done = true
			}
			if killed >= kills && partial > 0 && !done {
				if code, stderr := p.exec(t, p.arguments(dir)...); code != 0 {
					t.Fatalf("the last resume: exit code %d\n%s", code, stderr)
				}
				done = true
			}
		}
		p.sameAsReference(t, dir)
	}
	t.Logf("%d kills in %d runs: %d before the first sample was on disk, %d between the first and the last", killed,
		runs, early, partial)
}

// waitForSamples waits until a run that goes on has written more samples than it had.
func waitForSamples(t *testing.T, dir string, had int, ended <-chan error) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for lineCount(t, dir) <= had {
		select {
		case err := <-ended:
			t.Fatalf("the run ended before it had a new sample: %v", err)
		case <-tick.C:
		}
	}
}

// start starts a command and waits until it has written samples to dir; the run must be long enough to go on then.
func (p *program) start(t *testing.T, dir string, args ...string) (cmd *exec.Cmd, stderr *bytes.Buffer,
	ended <-chan error,
) {
	t.Helper()
	had := lineCount(t, dir)
	cmd, stderr = p.command(t, args...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	waitForSamples(t, dir, had, done)
	return cmd, stderr, done
}

func readInfo(t *testing.T, dir string) (info results.RunInfo) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, results.RunFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &info); err != nil {
		t.Fatal(err)
	}
	return info
}

// testInterrupted checks that a run ends in good order on SIGINT, SIGTERM and SIGUSR1, says how to resume it, and can
// be.
func (p *program) testInterrupted(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGUSR1} {
		dir := filepath.Join(t.TempDir(), "run")
		cmd, stderr, ended := p.start(t, dir, p.arguments(dir)...)
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		<-ended
		if code := cmd.ProcessState.ExitCode(); code != exitInterrupted {
			t.Fatalf("%v: exit code %d, want %d\n%s", sig, code, exitInterrupted, stderr)
		}
		kept := lineCount(t, dir)
		want := fmt.Sprintf("gsmeval: interrupted: %d of %d samples are kept; go on with: gsmeval resume %s\n", kept,
			resumeSamples, dir)
		if !strings.HasSuffix(stderr.String(), want) {
			t.Errorf("%v: stderr is %q, want %q at its end", sig, stderr, want)
		}
		if info := readInfo(t, dir); info.Status != results.RunInterrupted || info.Cause != "" {
			t.Errorf("%v: status %q with cause %q, want %q", sig, info.Status, info.Cause, results.RunInterrupted)
		}
		if _, err := os.Stat(filepath.Join(dir, "table.md")); err == nil {
			t.Errorf("%v: an interrupted run has a table", sig)
		}
		code, errs := p.exec(t, "resume", dir)
		if code != 0 || !strings.Contains(errs, fmt.Sprintf("%d of %d samples are there", kept, resumeSamples)) {
			t.Errorf("%v: resuming: exit code %d\n%s", sig, code, errs)
		}
		if info := readInfo(t, dir); info.Status != results.RunComplete || info.Attempts != 2 {
			t.Errorf("%v: status %q after %d attempts, want %q after 2", sig, info.Status, info.Attempts,
				results.RunComplete)
		}
		p.sameAsReference(t, dir)
	}
}

// testLocked checks that a run directory has one writer, and that a second one is told who that is and leaves
// everything as it was.
func (p *program) testLocked(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	first, _, ended := p.start(t, dir, "run", p.config, "--set", "output="+dir, "--set", "dataset.limit=400")
	before := readInfo(t, dir)
	for _, args := range [][]string{
		{"resume", dir},
		{"run", p.config, "--set", "output=" + dir, "--set", "dataset.limit=400"},
	} {
		code, stderr := p.exec(t, args...)
		holder := fmt.Sprintf("process %d on ", first.Process.Pid)
		if code != exitFailed || !strings.Contains(stderr, holder) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%s: exit code %d, want %d; stderr is %q, want one line with %q", args[0], code, exitFailed,
				stderr, holder)
		}
	}
	if after := readInfo(t, dir); after.Attempts != before.Attempts || !after.Started.Equal(before.Started) ||
		after.Status != results.RunRunning {
		t.Errorf("run.json was changed by a run that was refused: %+v", after)
	}
	if err := first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-ended
	// The lock of a dead process holds nobody up.
	cmd, stderr, ended := p.start(t, dir, "resume", dir)
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	<-ended
	if code := cmd.ProcessState.ExitCode(); code != exitInterrupted {
		t.Errorf("resuming after the holder's death: exit code %d, want %d\n%s", code, exitInterrupted, stderr)
	}
}
