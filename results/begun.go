package results

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/gsmeval/gsmeval/internal/files"
	"github.com/gsmeval/gsmeval/internal/lease"
)

// BegunFile tells of a run that has no run.json yet: it loads its model, or measures what its temperatures follow from.
const BegunFile = "begun.json"

// Begun is begun.json.
type Begun struct {
	Schema int       `json:"schema"`
	Name   string    `json:"name"`
	Status RunStatus `json:"status"`
	// Doing is what the run is at, in words: "loading the model".
	Doing string `json:"doing"`
	// Shard is "i/n" for a part of a run, else empty.
	Shard string `json:"shard,omitempty"`
	// Process is at it.
	Process lease.Owner     `json:"process"`
	Config  json.RawMessage `json:"config"`
	Started time.Time       `json:"started"`
	made    []string        // folders that had to be made for it, the deepest first
}

// BegunError is what reading a run comes to that has no run.json yet. It is an fs.ErrNotExist.
type BegunError struct {
	Dir string
	Begun
}

func (e *BegunError) Error() string {
	if e.Status == RunRunning {
		return fmt.Sprintf("%s has no samples yet: it is %s since %s", e.Dir, e.Doing,
			e.Started.Local().Format(time.TimeOnly))
	}
	return fmt.Sprintf("%s was interrupted while %s, before its first sample; go on with: gsmeval resume %s", e.Dir,
		e.Doing, e.Dir)
}

// Unwrap is fs.ErrNotExist: there is no run to read.
func (e *BegunError) Unwrap() error { return fs.ErrNotExist }

// Progress is what watch shows of it.
func (e *BegunError) Progress(now time.Time) *Progress {
	return &Progress{
		Event: "snapshot", Time: now.UTC(), Run: e.Dir, Name: e.Name, Status: e.Status, Doing: e.Doing,
		SamplesPerSecond: Float(nan), TokensPerSecond: Float(nan), SecondsLeft: Float(nan),
		Conditions: []LiveProgress{},
	}
}

// Write puts begun.json into dir, which is made where it is missing.
func (b *Begun) Write(dir string) error {
	for missing := dir; ; missing = filepath.Dir(missing) {
		if _, err := os.Stat(missing); err == nil {
			break
		}
		b.made = append(b.made, missing)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("making the run directory: %w", err)
	}
	b.Schema, b.Process = RunSchema, lease.Self()
	var buf bytes.Buffer
	if err := writeJSON(&buf, b); err != nil {
		return fmt.Errorf("writing %s: %w", filepath.Join(dir, BegunFile), err)
	}
	return writeBytes(osFS{}, filepath.Join(dir, BegunFile), buf.Bytes())
}

// Ended takes begun.json away: run.json has taken over, or there is nothing to tell. Folders that were made for it go
// too, if they are empty then.
func (b *Begun) Ended(dir string) error {
	if err := os.Remove(filepath.Join(dir, BegunFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing %s: %w", BegunFile, err)
	}
	for _, made := range b.made {
		_ = os.Remove(made) // fails where it holds anything
	}
	return nil
}

// readBegun is a *BegunError where a directory has a begun.json, else nil.
func readBegun(dir string) error {
	data, err := files.Read(filepath.Join(dir, BegunFile), maxRun)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	e := &BegunError{Dir: dir}
	if err == nil {
		err = json.Unmarshal(data, &e.Begun)
	}
	if err == nil && e.Schema != RunSchema {
		err = fmt.Errorf("its schema is %d, this version reads %d", e.Schema, RunSchema)
	}
	if err != nil {
		return fmt.Errorf("reading %s: %w", filepath.Join(dir, BegunFile), err)
	}
	if e.Status == RunRunning && e.Process.PID != 0 && e.Process.Ended() {
		e.Status = RunInterrupted // killed
	}
	return e
}
