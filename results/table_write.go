package results

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"

	"github.com/gsmeval/gsmeval/internal/files"
)

// Write writes the table in a format; the same table gives the same bytes.
func (t *Table) Write(w io.Writer, format Format) error {
	if err := t.document().write(w, format); err != nil {
		return fmt.Errorf("writing the table: %w", err)
	}
	return nil
}

// Cells returns the table's cells; Notes and Warnings are not among them.
func (t *Table) Cells() Cells { return t.document().cells }

func (t *Table) document() *document {
	return layOut(t, slices.Concat(tableColumns, samplesColumns(t.Rows)), t.Rows, notesOf(t.Warnings, t.Notes))
}

// notesOf puts warnings before notes, as people read them.
func notesOf(warnings, notes []string) []string {
	all := make([]string, 0, len(warnings)+len(notes))
	for _, w := range warnings {
		all = append(all, "Warning: "+w)
	}
	return append(all, notes...)
}

// WriteAll puts the table into dir in every format, as table.csv, table.md and so on, each of them whole or not at all.
func (t *Table) WriteAll(dir string) error { return t.writeAll(osFS{}, dir) }

func (t *Table) writeAll(fsys fileSystem, dir string) error {
	for _, format := range Formats() {
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

// roundedOff is how far an accuracy may be from its quotient: as far as the same division on another machine.
const roundedOff = 1e-12

func parseTable(data []byte) (*Table, error) {
	var version struct {
		Schema int `json:"schema"`
	}
	if err := json.Unmarshal(data, &version); err != nil {
		return nil, fmt.Errorf("it is neither a run directory nor a table.json: %w", err)
	}
	if version.Schema != TableSchema {
		return nil, fmt.Errorf("its schema is %d, this version reads %d: write the table anew", version.Schema,
			TableSchema)
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
		case len(r.AtK) != len(t.Rows[0].AtK):
			return nil, fmt.Errorf("row %d has pass@k of %d numbers of samples, the first row of %d", i, len(r.AtK),
				len(t.Rows[0].AtK))
		case r.N > 0 && !(r.Accuracy >= 0 && r.Accuracy <= 1):
			return nil, fmt.Errorf("row %d: the accuracy is %v", i, float64(r.Accuracy))
		case r.N > 0 && math.Abs(float64(r.Accuracy)-float64(r.Correct)/float64(r.N)) > roundedOff:
			return nil, fmt.Errorf("row %d: the accuracy is %v, but %d of %d are correct: the file was changed", i,
				float64(r.Accuracy), r.Correct, r.N)
		case r.N > 0 && !(r.EffectiveN > 0 && r.EffectiveN <= Float(r.N)):
			return nil, fmt.Errorf("row %d: the effective n is %v of %d", i, float64(r.EffectiveN), r.N)
		}
		seen[at] = true
	}
	return t, nil
}
