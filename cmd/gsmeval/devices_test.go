package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gsmeval/gsmeval/internal/lease"
	"github.com/gsmeval/gsmeval/results"
)

// longAnswers make a run long enough for both of its workers to be at work for a while, however busy the machine is.
var longAnswers = []string{"--set", "generation.max_new_tokens=160"}

// TestDevicesResume kills one worker of a run on two devices, and interrupts another run: both go on to the bytes of
// one process.
func TestDevicesResume(t *testing.T) {
	t.Parallel()
	p := newProgram(t, longAnswers...)
	t.Run("killed", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "run")
		cmd, stderr, ended := p.startDevices(t, dir)
		owner, held := lease.ReadOwner(filepath.Join(dir, "shards", "1-of-2", results.JournalFile))
		if !held {
			t.Fatal("the first worker has no lock")
		}
		if err := syscall.Kill(owner.PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		<-ended
		if code := cmd.ProcessState.ExitCode(); code != exitFailed || !strings.Contains(stderr.String(), "killed") {
			t.Fatalf("exit code %d, want %d\n%s", code, exitFailed, stderr)
		}
		p.goesOn(t, dir)
	})
	t.Run("interrupted", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "run")
		cmd, stderr, ended := p.startDevices(t, dir)
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		<-ended
		if code := cmd.ProcessState.ExitCode(); code != exitInterrupted ||
			!strings.Contains(stderr.String(), "gsmeval resume "+dir) {
			t.Fatalf("exit code %d, want %d\n%s", code, exitInterrupted, stderr)
		}
		p.goesOn(t, dir)
	})
}

// TestDevicesParentKilled kills the process that started the workers: they end by themselves, in good order, and the
// run goes on to the bytes of one that was never interrupted.
func TestDevicesParentKilled(t *testing.T) {
	t.Parallel()
	p := newProgram(t, longAnswers...)
	dir := filepath.Join(t.TempDir(), "run")
	cmd, stderr, ended := p.startDevices(t, dir)
	var workers []string
	for _, name := range []string{"1-of-2", "2-of-2"} {
		shard := filepath.Join(dir, "shards", name)
		waitForSamples(t, shard, 0, ended)
		if _, held := lease.ReadOwner(filepath.Join(shard, results.JournalFile)); !held {
			t.Fatalf("the worker of %s has no lock", name)
		}
		workers = append(workers, shard)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-ended
	deadline := time.Now().Add(20 * time.Second)
	for _, shard := range workers {
		for {
			if _, held := lease.ReadOwner(filepath.Join(shard, results.JournalFile)); !held {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s is still worked on 20 s after the death of the process that began it\n%s", shard, stderr)
			}
			time.Sleep(5 * time.Millisecond)
		}
		info := readInfo(t, shard)
		t.Logf("%s: %s with %d samples", filepath.Base(shard), info.Status, lineCount(t, shard))
		if info.Status != results.RunInterrupted {
			t.Errorf("%s: status %q, want %q", shard, info.Status, results.RunInterrupted)
		}
	}
	p.goesOn(t, dir)
}

// TestDevicesStopWhileCalibrating interrupts a run on two devices before any shard of it has begun, and kills another
// one: resume goes on with both, to the bytes of one process.
func TestDevicesStopWhileCalibrating(t *testing.T) {
	t.Parallel()
	p := newProgram(t)
	p.changes = []string{
		"--set", "temperature=[{policy: constant, value: 1.0}, {policy: dynamic_tstar}]", "--set", "noise_seeds=1",
		"--set", "calibration.prompts=8", "--set", "calibration.positions=60", "--set", "calibration.draws=8",
	}
	p.reference = filepath.Join(t.TempDir(), "reference")
	if code, stderr := p.exec(t, p.run(p.reference)...); code != 0 {
		t.Fatalf("the reference run: exit code %d\n%s", code, stderr)
	}
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGKILL} {
		dir := filepath.Join(t.TempDir(), "run")
		cmd, stderr := p.commandOnDevices(t, dir)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		began := filepath.Join(dir, "shards", "devices.json")
		for begin := time.Now(); ; time.Sleep(time.Millisecond) {
			if _, err := os.Stat(began); err == nil {
				break
			}
			if time.Since(begin) > 20*time.Second {
				t.Fatalf("there is no %s", began)
			}
		}
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // not nil: it was stopped
		if code := cmd.ProcessState.ExitCode(); sig == syscall.SIGINT &&
			(code != exitInterrupted || !strings.Contains(stderr.String(), "gsmeval resume "+dir)) {
			t.Errorf("exit code %d, want %d\n%s", code, exitInterrupted, stderr)
		}
		if begun, err := filepath.Glob(filepath.Join(dir, "shards", "*", results.RunFile)); err != nil || begun != nil {
			t.Fatalf("it was stopped too late: %v, %v", begun, err)
		}
		p.goesOn(t, dir)
	}
}

// commandOnDevices is a run to dir on two devices, not started yet.
func (p *program) commandOnDevices(t *testing.T, dir string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	return p.command(t, append(p.run(dir), "--set", "devices=[cpu, cpu]")...)
}

// startDevices starts a run on two devices and waits until the first worker has samples.
func (p *program) startDevices(t *testing.T, dir string) (cmd *exec.Cmd, stderr *bytes.Buffer, ended <-chan error) {
	t.Helper()
	cmd, stderr = p.commandOnDevices(t, dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	waitForSamples(t, filepath.Join(dir, "shards", "1-of-2"), 0, done)
	return cmd, stderr, done
}

// goesOn resumes a run that lacks its end.
func (p *program) goesOn(t *testing.T, dir string) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(dir, results.JournalFile)); err == nil {
		t.Fatal("the run was merged before its end")
	}
	if code, stderr := p.exec(t, "resume", dir); code != 0 {
		t.Fatalf("resuming: exit code %d\n%s", code, stderr)
	}
	p.sameAsReference(t, dir)
}
