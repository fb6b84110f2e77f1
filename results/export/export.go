// Package export writes a run in the formats of other tools: lm-evaluation-harness, inspect_ai, and flat CSV and
// parquet.
//
// Every condition of the run's table is written, also one that shares the samples of another (same noise, same T(t)):
// whoever groups a flat file by noise and temperature gets the rows of the table. Nothing is computed anew: verdicts
// are the journal's, accuracies and standard errors the table's.
package export

import (
	"cmp"
	"fmt"
	"iter"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gsmeval/gsmeval/datasets"
	"github.com/gsmeval/gsmeval/internal/files"
	"github.com/gsmeval/gsmeval/results"
)

// Setup is what the formats want to know of a run's config.
type Setup struct {
	Model, Revision, DType, Device string
	Dataset, Subset, Split         string
	Shuffled                       bool
	Limit, FewShot, MaxNewTokens   int
	BatchSize                      string // a number, or auto
	TopK                           int
	TopP                           float64
	Seed                           uint64
	System, Ladder                 string
}

// Run is a run to be exported.
type Run struct {
	Info  *results.RunInfo
	Setup Setup
	// Questions are the examples by row number; nil leaves question and gold out of a flat file.
	Questions map[int]datasets.Example
	table     *results.Table
	arms      []arm
}

// arm is one condition: a row of the table and its samples.
type arm struct {
	row     results.Row
	cond    results.Condition
	kind    string // of the noise
	records []results.Record
}

// Load reads the samples of a run directory, in canonical order. A run that is not complete is read as far as it goes.
func Load(dir string, info *results.RunInfo, setup Setup, questions map[int]datasets.Example) (*Run, error) {
	r := &Run{Info: info, Setup: setup, Questions: questions}
	var records []results.Record
	tee := func(all iter.Seq2[results.Record, error]) iter.Seq2[results.Record, error] {
		return func(yield func(results.Record, error) bool) {
			for rec, err := range all {
				if err == nil {
					records = append(records, rec)
				}
				if !yield(rec, err) {
					return
				}
			}
		}
	}
	set, err := results.Collect(info.Meta, tee(results.Read(filepath.Join(dir, results.JournalFile), info.Fingerprint)))
	if err != nil {
		return nil, fmt.Errorf("reading the samples of %s: %w", dir, err)
	}
	if len(records) == 0 {
		return nil, fmt.Errorf("%s has no samples yet", dir)
	}
	r.table = set.Table()
	slices.SortFunc(records, func(a, b results.Record) int {
		return cmp.Or(cmp.Compare(a.NoiseIndex, b.NoiseIndex), cmp.Compare(a.TempIndex, b.TempIndex),
			cmp.Compare(a.Replicate, b.Replicate), cmp.Compare(a.Order, b.Order), cmp.Compare(a.Sample, b.Sample))
	})
	for _, row := range r.table.Rows {
		a := arm{row: row, kind: info.Meta.Noises[row.NoiseIndex].Kind}
		for _, c := range info.Meta.Conditions {
			if c.NoiseIndex == row.NoiseIndex && c.TempIndex == row.TempIndex {
				a.cond = c
			}
		}
		from := row.TempIndex
		if a.cond.SamplesOf != nil {
			from = *a.cond.SamplesOf
		}
		a.records = records[firstAt(records, row.NoiseIndex, from):firstAt(records, row.NoiseIndex, from+1)]
		r.arms = append(r.arms, a)
	}
	return r, r.checkQuestions()
}

// firstAt is the index of the first sorted record that is not before (noise, temperature).
func firstAt(records []results.Record, noise, temp int) int {
	i, _ := slices.BinarySearchFunc(records, [2]int{noise, temp}, func(r results.Record, at [2]int) int {
		if c := cmp.Or(cmp.Compare(r.NoiseIndex, at[0]), cmp.Compare(r.TempIndex, at[1])); c != 0 {
			return c
		}
		return 1 // the first of equals
	})
	return i
}

func (r *Run) checkQuestions() error {
	if r.Questions == nil {
		return nil
	}
	for _, a := range r.arms {
		for _, rec := range a.records {
			if _, ok := r.Questions[rec.ID]; !ok {
				return fmt.Errorf("the run has a sample of row %d, which the data set lacks (it has %d rows)", rec.ID,
					len(r.Questions))
			}
		}
	}
	return nil
}

// Failed is how many samples have no verdict. They are in no accuracy, and lm-evaluation-harness has no place for them.
func (r *Run) Failed() int { return r.table.Failed() }

// Missing is how many samples the run still lacks.
func (r *Run) Missing() int {
	n := 0
	for _, row := range r.table.Rows {
		n += row.Planned - row.Samples
	}
	return n
}

// Format is a format of another tool.
type Format string

// The formats.
const (
	LMEval  Format = "lm-eval"
	Inspect Format = "inspect"
	CSV     Format = "csv"
	Parquet Format = "parquet"
)

// Formats lists the formats by name.
func Formats() []string {
	return []string{string(LMEval), string(Inspect), string(CSV), string(Parquet)}
}

// ParseFormat reads the name of a format.
func ParseFormat(s string) (Format, error) {
	if !slices.Contains(Formats(), s) {
		return "", fmt.Errorf("unknown format %q: it can be %s", s, strings.Join(Formats(), ", "))
	}
	return Format(s), nil
}

// DefaultOut is where a format goes by default within the run directory.
func (f Format) DefaultOut(dir string) string {
	switch f {
	case CSV, Parquet:
		return filepath.Join(dir, "export", "samples."+string(f))
	default:
		return filepath.Join(dir, "export", string(f))
	}
}

// NeedsQuestions tells whether the format is nothing without the text of the questions.
func (f Format) NeedsQuestions() bool { return f == LMEval || f == Inspect }

// Write writes the run: a file in the flat formats, a directory of files in the others. It returns what it wrote.
func (r *Run) Write(f Format, out string) ([]string, error) {
	if f.NeedsQuestions() && r.Questions == nil {
		return nil, fmt.Errorf("the format %s needs the questions", f)
	}
	switch f {
	case LMEval:
		return r.writeLMEval(out)
	case Inspect:
		return r.writeInspect(out)
	case CSV:
		return []string{out}, files.Replace(out, r.WriteCSV)
	case Parquet:
		return []string{out}, files.Replace(out, r.WriteParquet)
	default:
		return nil, fmt.Errorf("unknown format %q", f)
	}
}

// when is the time of a run in file names: its end, or its beginning where it has not ended.
func (r *Run) when() time.Time {
	if r.Info.Finished.IsZero() {
		return r.Info.Started
	}
	return r.Info.Finished
}

// temperature is the one temperature of a condition, 0 for greedy decoding, nil where it follows the position.
func (r *Run) temperature(a arm) *float64 {
	if a.cond.TSHA == "" {
		return new(float64)
	}
	for _, s := range r.Info.Schedules {
		if s.SHA == a.cond.TSHA && len(s.T) == 1 {
			return &s.T[0]
		}
	}
	return nil
}

// slugs names every arm by letters that file names and tools take.
func (r *Run) slugs() []string {
	dataset := slug(strings.TrimSuffix(filepath.Base(r.Setup.Dataset), filepath.Ext(r.Setup.Dataset)))
	var out []string
	for _, a := range r.arms {
		s := dataset + "_" + slug(a.row.Noise) + "_" + slug(a.row.Temperature)
		if slices.Contains(out, s) {
			s += fmt.Sprintf("_%d-%d", a.row.NoiseIndex, a.row.TempIndex)
		}
		out = append(out, s)
	}
	return out
}

func slug(label string) string {
	var b strings.Builder
	for _, c := range strings.ReplaceAll(label, "*", "star") {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '-':
			b.WriteRune(c)
		case !strings.HasSuffix(b.String(), "_"):
			b.WriteByte('_')
		}
	}
	return strings.Trim(b.String(), "_")
}
