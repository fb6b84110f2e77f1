package results

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"strconv"

	"github.com/gsmeval/gsmeval/internal/files"
)

// Write writes the table in a format; the same table gives the same bytes.
func (t *Table) Write(w io.Writer, format Format) error {
	switch format {
	case FormatMarkdown:
		return t.grid().markdown(w)
	case FormatCSV:
		return writeCSV(w, t.csv())
	case FormatJSON:
		return writeJSON(w, t)
	case FormatTeX:
		return t.grid().tex(w)
	}
	return fmt.Errorf("writing the table: unknown format %q", format)
}

// WriteAll puts table.csv, table.md, table.json and table.tex into dir, each of
// them whole or not at all.
func (t *Table) WriteAll(dir string) error { return t.writeAll(osFS{}, dir) }

func (t *Table) writeAll(fsys fileSystem, dir string) error {
	for _, format := range []Format{FormatCSV, FormatMarkdown, FormatJSON, FormatTeX} {
		var buf bytes.Buffer
		if err := t.Write(&buf, format); err != nil {
			return err
		}
		if err := writeBytes(fsys, filepath.Join(dir, "table."+string(format)), buf.Bytes()); err != nil {
			return err
		}
	}
	return nil
}

// maxTable bounds a table.json that is read: a row takes about 2 kB.
const maxTable = 256 << 20

// ReadTable reads a table.json.
func ReadTable(path string) (*Table, error) {
	data, err := files.Read(path, maxTable)
	if err != nil {
		return nil, fmt.Errorf("reading the table: %w", err)
	}
	t, err := parseTable(data)
	if err != nil {
		return nil, fmt.Errorf("reading the table %s: %w", path, err)
	}
	return t, nil
}

func parseTable(data []byte) (*Table, error) {
	var version struct {
		Schema int `json:"schema"`
	}
	if err := json.Unmarshal(data, &version); err != nil {
		return nil, err
	}
	if version.Schema != TableSchema {
		return nil, fmt.Errorf("its schema is %d, this version reads %d: write the table anew", version.Schema, TableSchema)
	}
	t := &Table{}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(t); err != nil {
		return nil, err
	}
	seen := map[[2]string]bool{}
	for i := range t.Rows {
		r := &t.Rows[i]
		at := [2]string{r.Noise, r.Temperature}
		switch {
		case seen[at]:
			return nil, fmt.Errorf("row %d: %s stands there twice", i, rowName(r))
		case r.N < 0 || r.Correct < 0 || r.Correct > r.N:
			return nil, fmt.Errorf("row %d: %d of %d are correct", i, r.Correct, r.N)
		case r.N > 0 && !(r.Accuracy >= 0 && r.Accuracy <= 1):
			return nil, fmt.Errorf("row %d: the accuracy is %v", i, float64(r.Accuracy))
		case r.N > 0 && !(r.EffectiveN > 0 && r.EffectiveN <= Float(r.N)):
			return nil, fmt.Errorf("row %d: the effective n is %v of %d", i, float64(r.EffectiveN), r.N)
		}
		seen[at] = true
	}
	return t, nil
}

// grid lays the table out for people. Columns that would be empty are left out.
func (t *Table) grid() grid {
	seeds, chips, alpha, refs := false, false, false, false
	for i := range t.Rows {
		r := &t.Rows[i]
		seeds = seeds || r.Seeds > 1
		chips = chips || r.NewChips != nil
		alpha = alpha || r.MeanAlpha.Finite()
		refs = refs || !r.Reference
	}
	type column struct {
		head string
		show bool
		cell func(r *Row) string
	}
	columns := []column{
		{"Noise", true, func(r *Row) string { return r.Noise }},
		{"Temperature", true, func(r *Row) string { return r.Temperature }},
		{"n", true, func(r *Row) string { return strconv.Itoa(r.N) }},
		{"Seeds", seeds, func(r *Row) string { return strconv.Itoa(r.Seeds) }},
		{"Accuracy", true, func(r *Row) string { return percent(r.Accuracy, 1) }},
		{"SE", true, func(r *Row) string { return percent(r.SE, 1) }},
		{"95 % CI", true, func(r *Row) string { return percentInterval(&r.CI) }},
		{"new chips", chips, func(r *Row) string { return percentInterval(r.NewChips) }},
		{"Over seeds", seeds, func(r *Row) string {
			if !r.SeedStd.Finite() {
				return none
			}
			return percent(r.SeedMean, 1) + " ± " + percent(r.SeedStd, 1)
		}},
		{"Difference", refs, func(r *Row) string {
			if r.Reference {
				return "reference"
			}
			return points(r.Diff)
		}},
		{"95 % CI", refs, func(r *Row) string { return pointsInterval(r.DiffCI) }},
		{"new chips", refs && chips, func(r *Row) string { return pointsInterval(r.DiffNewChips) }},
		{"p", refs, func(r *Row) string { return pValue(r.P) }},
		{"Truncated %", true, func(r *Row) string {
			if r.Truncated == 0 {
				return percent(r.TruncatedShare, 1)
			}
			return fmt.Sprintf("%s (%d right)", percent(r.TruncatedShare, 1), r.TruncatedCorrect)
		}},
		{"No answer %", true, func(r *Row) string { return percent(r.NoAnswerShare, 1) }},
		{"Failed", true, func(r *Row) string { return strconv.Itoa(r.Failed()) }},
		{"Tokens", true, func(r *Row) string { return number(r.MeanTokens, 1) }},
		{"T", true, func(r *Row) string { return number(r.MeanT, 4) }},
		{"alpha", alpha, func(r *Row) string { return number(r.MeanAlpha, 4) }},
	}
	g := grid{left: 2, rows: make([][]string, len(t.Rows))}
	for _, c := range columns {
		if !c.show {
			continue
		}
		g.head = append(g.head, c.head)
		for i := range t.Rows {
			g.rows[i] = append(g.rows[i], c.cell(&t.Rows[i]))
		}
	}
	for _, w := range t.Warnings {
		g.notes = append(g.notes, "Warning: "+w)
	}
	g.notes = append(g.notes, t.Notes...)
	return g
}

// csv returns all numbers unrounded, always in the same columns.
func (t *Table) csv() [][]string {
	rows := [][]string{{
		"noise", "temperature", "reference", "samples", "planned", "n", "questions", "seeds", "correct",
		"accuracy", "se", "effective_n", "ci_lo", "ci_hi", "ci_new_chips_lo", "ci_new_chips_hi", "seed_mean", "seed_std",
		"diff", "diff_lo", "diff_hi", "diff_new_chips_lo", "diff_new_chips_hi", "p", "p_method", "paired_n", "gained", "lost",
		"ok", "truncated", "truncated_correct", "truncated_share", "no_answer", "no_answer_share", "nonfinite", "error",
		"mean_tokens", "mean_t", "mean_alpha", "samples_of",
	}}
	for i := range t.Rows {
		r := &t.Rows[i]
		row := []string{r.Noise, r.Temperature, strconv.FormatBool(r.Reference)}
		row = append(row, whole(r.Samples, r.Planned, r.N, r.Questions, r.Seeds, r.Correct)...)
		row = append(row, exact(r.Accuracy), exact(r.SE), exact(r.EffectiveN))
		row = append(row, exactInterval(&r.CI)...)
		row = append(row, exactInterval(r.NewChips)...)
		row = append(row, exact(r.SeedMean), exact(r.SeedStd), exact(r.Diff))
		row = append(row, exactInterval(r.DiffCI)...)
		row = append(row, exactInterval(r.DiffNewChips)...)
		row = append(row, exact(r.P), r.PMethod)
		row = append(row, whole(r.PairedN, r.Gained, r.Lost, r.OK, r.Truncated, r.TruncatedCorrect)...)
		row = append(row, exact(r.TruncatedShare), strconv.Itoa(r.NoAnswer), exact(r.NoAnswerShare))
		row = append(row, whole(r.Nonfinite, r.Errors)...)
		row = append(row, exact(r.MeanTokens), exact(r.MeanT), exact(r.MeanAlpha), r.SamplesOf)
		rows = append(rows, row)
	}
	return rows
}

func whole(values ...int) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = strconv.Itoa(v)
	}
	return out
}
