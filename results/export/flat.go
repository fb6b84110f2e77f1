package export

import (
	"encoding/csv"
	"fmt"
	"io"
	"iter"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/parquet-go/parquet-go"

	"github.com/gsmeval/gsmeval/results"
)

// flat is a line of the flat formats: one sample of one condition. CSV has the same columns in the same order; a
// pointer that is nil is an empty cell there and null in parquet.
type flat struct {
	Run         string   `parquet:"run,dict"`
	Noise       string   `parquet:"noise,dict"`
	NoiseKind   string   `parquet:"noise_kind,dict"`
	NoiseIndex  int32    `parquet:"noise_index"`
	Replicate   int32    `parquet:"replicate"`
	Temperature string   `parquet:"temperature,dict"`
	TempIndex   int32    `parquet:"temp_index"`
	SamplesOf   *string  `parquet:"samples_of,optional,dict"` // the temperature whose samples these are
	ID          int32    `parquet:"id"`
	Order       int32    `parquet:"order"`
	QuestionSHA string   `parquet:"question_sha,dict"`
	PromptSHA   string   `parquet:"prompt_sha,dict"`
	Question    *string  `parquet:"question,optional,dict"`
	Gold        *string  `parquet:"gold,optional,dict"`
	Text        string   `parquet:"text"`
	Tokens      int32    `parquet:"tokens"`
	Finish      string   `parquet:"finish,dict"`
	Answer      *string  `parquet:"answer,optional,dict"`
	Rung        *string  `parquet:"rung,optional,dict"`
	Status      string   `parquet:"status,dict"`
	Counted     bool     `parquet:"counted"` // whether the sample is in the n of an accuracy
	Correct     bool     `parquet:"correct"`
	TMin        *float64 `parquet:"t_min,optional"`
	TMax        *float64 `parquet:"t_max,optional"`
	TMean       *float64 `parquet:"t_mean,optional"`
	TSHA        *string  `parquet:"t_sha,optional,dict"`
	MeanAlpha   *float64 `parquet:"mean_alpha,optional"`
	Sites       *int32   `parquet:"noise_sites,optional"`
	Elements    *int64   `parquet:"noise_elements,optional"`
	RMSRatio    *float64 `parquet:"noise_rms_ratio,optional"`
	Error       *string  `parquet:"error,optional"`
}

// flats yields the lines condition by condition, in the order of the table.
func (r *Run) flats() iter.Seq[flat] {
	return func(yield func(flat) bool) {
		for _, a := range r.arms {
			for i := range a.records {
				if !yield(r.flat(a, &a.records[i])) {
					return
				}
			}
		}
	}
}

func (r *Run) flat(a arm, rec *results.Record) flat {
	f := flat{
		Run: rec.Run, Noise: a.row.Noise, NoiseKind: a.kind, NoiseIndex: int32(rec.NoiseIndex),
		Replicate:   int32(rec.Replicate),
		Temperature: a.row.Temperature, TempIndex: int32(a.row.TempIndex), SamplesOf: text(a.row.SamplesOf),
		ID: int32(rec.ID), Order: int32(rec.Order), QuestionSHA: rec.QuestionSHA, PromptSHA: rec.PromptSHA,
		Text: rec.Text, Tokens: int32(rec.Tokens), Finish: string(rec.Finish), Status: string(rec.Status),
		Counted: rec.Status.Counted(), Correct: rec.Correct,
		TMin: finite(rec.TMin), TMax: finite(rec.TMax), TMean: finite(rec.TMean), TSHA: text(a.cond.TSHA),
		MeanAlpha: finite(a.cond.MeanAlpha), Error: text(rec.Error),
	}
	if rec.Rung != "" {
		f.Answer, f.Rung = &rec.Answer, &rec.Rung
	}
	if e, ok := r.Questions[rec.ID]; ok {
		f.Question, f.Gold = &e.Question, &e.Gold
	}
	if rec.Effect != nil {
		sites := int32(rec.Effect.Sites)
		f.Sites, f.Elements, f.RMSRatio = &sites, &rec.Effect.Elements, finite(rec.Effect.RMSRatio)
	}
	return f
}

// text is nil for an empty text.
func text(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// finite is nil for what is no number.
func finite(f results.Float) *float64 {
	if !f.Finite() {
		return nil
	}
	v := float64(f)
	return &v
}

// sampledFlat is a line of a run that has several samples of a question.
type sampledFlat struct {
	flat
	Sample int32 `parquet:"sample"`
}

// sampledFlats are flats with their samples.
func (r *Run) sampledFlats() iter.Seq[sampledFlat] {
	return func(yield func(sampledFlat) bool) {
		for _, a := range r.arms {
			for i := range a.records {
				if !yield(sampledFlat{r.flat(a, &a.records[i]), int32(a.records[i].Sample)}) {
					return
				}
			}
		}
	}
}

// sampled reports whether the run has several samples of a question.
func (r *Run) sampled() bool {
	return slices.ContainsFunc(r.arms, func(a arm) bool { return a.cond.PerQuestion() > 1 })
}

// WriteParquet writes the flat format as parquet.
func (r *Run) WriteParquet(w io.Writer) error {
	if r.sampled() {
		return writeParquet(w, r, r.sampledFlats())
	}
	return writeParquet(w, r, r.flats())
}

func writeParquet[T any](w io.Writer, r *Run, lines iter.Seq[T]) error {
	out := parquet.NewGenericWriter[T](w, parquet.Compression(&parquet.Zstd),
		parquet.KeyValueMetadata("gsmeval.fingerprint", r.Info.Fingerprint),
		parquet.KeyValueMetadata("gsmeval.config", string(r.Info.Config)))
	for f := range lines {
		if _, err := out.Write([]T{f}); err != nil {
			return err
		}
	}
	return out.Close()
}

// WriteCSV writes the flat format as CSV with a header. Texts are as they are, line breaks included, in quotes.
func (r *Run) WriteCSV(w io.Writer) error {
	if r.sampled() {
		return writeCSV(w, r.sampledFlats())
	}
	return writeCSV(w, r.flats())
}

func writeCSV[T any](w io.Writer, lines iter.Seq[T]) error {
	out := csv.NewWriter(w)
	var fields [][]int
	var line []string
	for _, f := range reflect.VisibleFields(reflect.TypeFor[T]()) {
		if f.Anonymous {
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("parquet"), ",")
		fields, line = append(fields, f.Index), append(line, name)
	}
	if err := out.Write(line); err != nil {
		return err
	}
	for f := range lines {
		v := reflect.ValueOf(f)
		for i, index := range fields {
			line[i] = cell(v.FieldByIndex(index))
		}
		if err := out.Write(line); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

// cell prints a value so that it reads back as the same one.
func cell(v reflect.Value) string {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return ""
		}
		v = v.Elem()
	}
	if v.Kind() == reflect.Float64 {
		return strconv.FormatFloat(v.Float(), 'g', -1, 64)
	}
	return fmt.Sprint(v.Interface())
}
