package results

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gsmeval/gsmeval/internal/files"
)

// RunSchema is the version of run.json; it changes when a key changes meaning.
const RunSchema = 1

// The names of the files in a run directory.
const (
	RunFile     = "run.json"
	JournalFile = "samples.jsonl"
)

// RunStatus says how far a run has come.
type RunStatus string

// The states of a run.
const (
	RunRunning     RunStatus = "running" // or killed: only the journal's lock tells
	RunInterrupted RunStatus = "interrupted"
	RunFailed      RunStatus = "failed"
	RunComplete    RunStatus = "complete"

	// These stand in no run.json: a shard has not begun; nobody is at a run that has (it was killed, or waits in a
	// queue).
	RunPending RunStatus = "pending"
	RunStopped RunStatus = "stopped"
)

// RunInfo is run.json: what a run is and how it went. Everything that varies between equal runs (times, the machine's
// load) stands here and not in the journal.
type RunInfo struct {
	Schema      int       `json:"schema"`
	Name        string    `json:"name"`
	Fingerprint string    `json:"fingerprint"`
	Status      RunStatus `json:"status"`
	// Cause is why the run was interrupted or has failed.
	Cause string `json:"cause,omitempty"`
	// Shard is "i/n" for a part of a run, else empty.
	Shard string `json:"shard,omitempty"`
	// Config is the effective config.
	Config json.RawMessage `json:"config"`
	// Hashes are the sha256 of weights, tokenizer, template and data, by name.
	Hashes map[string]string `json:"hashes"`
	// Versions are those of the build, the libraries and the instruction set.
	Versions map[string]string `json:"versions"`
	// Sources are the commits of what came from the hub, by "model org/name" or "data set org/name". They are not part
	// of the fingerprint: the hashes are.
	Sources map[string]string `json:"sources,omitempty"`
	Device  string            `json:"device"`
	Threads int               `json:"threads"`
	// Meta is what tables and comparisons need to read the journal.
	Meta Meta `json:"meta"`
	// Schedules are the T(t) that conditions used.
	Schedules []Schedule `json:"schedules,omitempty"`
	Started   time.Time  `json:"started"`
	Finished  time.Time  `json:"finished,omitzero"`
	// Timings are seconds by name, summed over all attempts.
	Timings map[string]float64 `json:"timings,omitempty"`
	// Attempts counts how often the run was started.
	Attempts int `json:"attempts,omitempty"`
}

// Schedule is a temperature by generated token; past its end the last value holds.
type Schedule struct {
	SHA string    `json:"sha"`
	T   []float64 `json:"t"`
}

// Write puts run.json into dir, whole or not at all.
func (r *RunInfo) Write(dir string) error { return r.write(osFS{}, dir) }

func (r *RunInfo) write(fsys fileSystem, dir string) error {
	if err := r.check(); err != nil {
		return fmt.Errorf("writing %s: %w", filepath.Join(dir, RunFile), err)
	}
	var buf bytes.Buffer
	if err := writeJSON(&buf, r); err != nil {
		return fmt.Errorf("writing %s: %w", filepath.Join(dir, RunFile), err)
	}
	return writeBytes(fsys, filepath.Join(dir, RunFile), buf.Bytes())
}

// maxRun bounds a run.json that is read; it holds a temperature for every step of every condition.
const maxRun = 256 << 20

// ReadRun reads the run.json of a run directory. Where a run has begun and has none yet, the error is a *BegunError.
func ReadRun(dir string) (*RunInfo, error) {
	path := filepath.Join(dir, RunFile)
	data, err := files.Read(path, maxRun)
	if errors.Is(err, fs.ErrNotExist) {
		if begun := readBegun(dir); begun != nil {
			return nil, begun
		}
		if n, shardErr := ShardCount(dir); shardErr == nil && n > 0 {
			return nil, fmt.Errorf("%s has shards of a run that are not merged; when all %d are complete "+
				"(gsmeval status %s), join them with: gsmeval merge %s: %w", dir, n, dir, dir, err)
		}
		return nil, fmt.Errorf("%s is not a run directory: %w", dir, err)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the run: %w", err)
	}
	r, err := parseRun(data)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return r, nil
}

func parseRun(data []byte) (*RunInfo, error) {
	// The schema first: a newer file may hold keys that this version lacks.
	var version struct {
		Schema int `json:"schema"`
	}
	if err := json.Unmarshal(data, &version); err != nil {
		return nil, err
	}
	if version.Schema != RunSchema {
		return nil, fmt.Errorf("its schema is %d, this version reads %d", version.Schema, RunSchema)
	}
	r := &RunInfo{}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(r); err != nil {
		return nil, err
	}
	return r, r.check()
}

func (r *RunInfo) check() error {
	switch r.Status {
	case RunRunning, RunInterrupted, RunFailed, RunComplete:
	default:
		return fmt.Errorf("its status %q is none of running, interrupted, failed, complete", r.Status)
	}
	if r.Schema != RunSchema {
		return fmt.Errorf("its schema is %d, this version writes %d", r.Schema, RunSchema)
	}
	if r.Fingerprint != r.Meta.Fingerprint {
		return fmt.Errorf("its fingerprint is %s, that of its description %s", r.Fingerprint, r.Meta.Fingerprint)
	}
	return r.Meta.Validate()
}

// OwnFile tells whether a path is, or would be, a file that a run consists of: its description, its journal, a
// calibration. What can be made from these anew is not meant.
func OwnFile(path string) bool {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	} else if dir, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil {
		path = filepath.Join(dir, filepath.Base(path))
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return false
	}
	name := filepath.Base(path)
	if name == RunFile || name == BegunFile || strings.HasPrefix(name, "samples") && strings.Contains(name, ".jsonl") {
		return holdsRun(filepath.Dir(path))
	}
	for at := path; at != filepath.Dir(at); at = filepath.Dir(at) {
		if filepath.Base(at) == "calibration" && holdsRun(filepath.Dir(at)) {
			return true
		}
	}
	return false
}

// holdsRun tells whether a directory has a run in it, or shards of one.
func holdsRun(dir string) bool {
	for _, name := range []string{RunFile, BegunFile} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			return true
		}
	}
	n, err := ShardCount(dir)
	return n > 0 || err != nil && !errors.Is(err, fs.ErrNotExist)
}

// LoadSet reads the samples of a run directory.
func LoadSet(dir string) (*Set, error) {
	info, err := ReadRun(dir)
	if err != nil {
		return nil, err
	}
	s, err := Collect(info.Meta, Read(filepath.Join(dir, JournalFile), info.Fingerprint))
	if err != nil {
		return nil, fmt.Errorf("reading the samples of %s: %w", dir, err)
	}
	return s, nil
}

// LoadSource reads what a path names for a comparison: the samples of a run directory, or a table.json. The path is the
// source's name.
func LoadSource(path string) (Source, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Source{}, fmt.Errorf("reading the run: %w", err)
	}
	s := Source{Name: filepath.Clean(path)}
	if info.IsDir() {
		s.Set, err = LoadSet(path)
	} else {
		s.Table, err = ReadTable(path)
	}
	return s, err
}
