// Package imports reads the answers that other evaluators have kept: lm-evaluation-harness' samples_*.jsonl,
// inspect_ai's logs in JSON and lighteval's details in parquet. Their samples become records of a run, so that scores,
// tables and comparisons are ours.
package imports

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gsmeval/gsmeval/datasets"
	"github.com/gsmeval/gsmeval/internal/files"
	"github.com/gsmeval/gsmeval/internal/finish"
	"github.com/gsmeval/gsmeval/results"
	"github.com/gsmeval/gsmeval/scoring"
)

// Bounds on a file and on a line of it.
const (
	maxFileBytes = 1 << 30
	maxSamples   = 4_000_000
)

// Sample is an answer that another evaluator has kept.
type Sample struct {
	ID        int    // the row's number: its own, or its place among the ids
	Label     string // its own id, where that is no row number
	Replicate int    // its number among the answers to the question
	Question  string // empty where the file has none
	Gold      string
	Text      string
	Finish    finish.Reason
}

// File is a file of another evaluator.
type File struct {
	Path    string
	Tool    string // lm-eval, inspect, lighteval
	Task    string
	Model   string
	Samples []Sample // in the order of their rows, then of their replicates
	Twice   int      // samples left out because another of the same row and replicate is there
}

// tools are the evaluators whose files are known, by the ending of a file and the keys of its first object, or its
// columns.
var tools = []struct {
	name, ext string
	keys      []string
	read      func(f *File, data []byte) error
}{
	{"lm-eval", ".jsonl", []string{"doc_id", "resps"}, readLMEval},
	{"inspect", ".json", []string{"version", "eval"}, readInspect},
	{"lighteval", ".parquet", []string{"doc", "model_response"}, readLighteval},
}

// Is reports whether a file is one that another evaluator wrote. Parquet is nothing else: what is wrong with it, Read
// says.
func Is(path string) bool {
	_, _, err := open(path)
	return err == nil || filepath.Ext(path) == ".parquet"
}

var errUnknown = errors.New("not a file that lm-evaluation-harness (samples_*.jsonl), inspect_ai (a log in .json) or lighteval (details_*.parquet, since 0.11) wrote")

// open reads a file and finds the tool that wrote it.
func open(path string) (tool int, data []byte, err error) {
	ext := filepath.Ext(path)
	if ext != ".jsonl" && ext != ".json" && ext != ".parquet" {
		return 0, nil, errUnknown
	}
	if data, err = files.Read(path, maxFileBytes); err != nil {
		return 0, nil, err
	}
	var keys []string
	switch ext {
	case ".parquet":
		if keys, err = datasets.TopColumns(data); err != nil {
			return 0, nil, err
		}
	case ".jsonl":
		first, _, _ := bytes.Cut(data, []byte("\n"))
		keys = topKeys(first)
	default:
		keys = topKeys(data)
	}
	for i, t := range tools {
		missing := func(key string) bool { return !slices.Contains(keys, key) }
		if t.ext == ext && !slices.ContainsFunc(t.keys, missing) {
			return i, data, nil
		}
	}
	return 0, nil, errUnknown
}

// topKeys are the keys of an object, as far as it can be read; what is no object has none.
func topKeys(data []byte) (keys []string) {
	d := json.NewDecoder(bytes.NewReader(data))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil
	}
	for d.More() {
		t, err := d.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return keys
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return keys
		}
		keys = append(keys, name)
	}
	return keys
}

// Read reads a file of another evaluator.
func Read(path string) (*File, error) {
	tool, data, err := open(path)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	f := &File{Path: path, Tool: tools[tool].name}
	if err = tools[tool].read(f, data); err == nil && len(f.Samples) == 0 {
		err = errors.New("the file holds no samples")
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s, a file of %s: %w", path, f.Tool, err)
	}
	slices.SortStableFunc(f.Samples, func(a, b Sample) int { return cmp.Or(a.ID-b.ID, a.Replicate-b.Replicate) })
	n := len(f.Samples)
	f.Samples = slices.CompactFunc(f.Samples, func(a, b Sample) bool {
		return a.ID == b.ID &&
			a.Replicate == b.Replicate
	})
	f.Twice = n - len(f.Samples)
	return f, nil
}

// add takes a sample.
func (f *File) add(s Sample) error {
	if len(f.Samples) == maxSamples {
		return fmt.Errorf("more than %d samples", maxSamples)
	}
	if s.ID < 0 || s.Replicate < 0 || s.Replicate >= results.MaxReplicates {
		return fmt.Errorf("a sample of row %d, replicate %d", s.ID, s.Replicate)
	}
	if s.Finish == "" {
		s.Finish = finish.Stop
	}
	f.Samples = append(f.Samples, s)
	return nil
}

// goldOf reads the gold answer of a target: what follows "####" in it, or all of it.
func goldOf(target string) (string, error) {
	if strings.Contains(target, "####") {
		return scoring.Gold(target)
	}
	return scoring.BareGold(target)
}

// condition is what the samples of other evaluators are called in tables.
const condition = "as generated"

// Set scores the samples by a ladder, as a run of one condition.
func (f *File) Set(l scoring.Ladder) (*results.Set, error) {
	meta := results.Meta{
		Name: cmp.Or(f.Task, filepath.Base(f.Path)), Fingerprint: shortSHA(f.Path),
		Noises: []results.Noise{{Label: "none", Kind: results.KindNone}}, Temps: []results.Temp{{Label: condition}},
		Settings: map[string]string{results.SettingLadder: l.Name},
	}
	order := map[int]int{}
	replicates := 0
	for _, s := range f.Samples {
		if _, ok := order[s.ID]; !ok {
			order[s.ID] = len(order)
		}
		replicates = max(replicates, s.Replicate+1)
	}
	meta.Examples = len(order)
	meta.Conditions = []results.Condition{{Replicates: replicates}}
	return results.Collect(meta, func(yield func(results.Record, error) bool) {
		for _, s := range f.Samples {
			v := s.Score(l)
			if !yield(results.Record{
				Run: meta.Fingerprint, Noise: "none", Temperature: condition, Replicate: s.Replicate, ID: s.ID,
				Order: order[s.ID], Label: s.Label,
				QuestionSHA: shortSHA(s.Question), Text: s.Text, Finish: s.Finish,
				Answer: v.Answer.Value, Rung: v.Answer.Rung, Status: v.Status, Correct: v.Correct,
			}, nil) {
				return
			}
		}
	})
}

// Score scores a sample by its own gold answer.
func (s Sample) Score(l scoring.Ladder) scoring.Verdict {
	return l.Score(scoring.Text{Text: s.Text, Finish: s.Finish, Question: s.Question}, s.Gold)
}

func shortSHA(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:6])
}

// lines calls visit with every line that is not blank. Errors name the line, from 1.
func lines(data []byte, visit func(line []byte) error) error {
	number := 0
	for line := range bytes.Lines(data) {
		number++
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		if err := visit(line); err != nil {
			return fmt.Errorf("line %d: %w", number, notJSON(err))
		}
	}
	return nil
}

func notJSON(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("not JSON: the object is not closed")
	}
	return err
}
