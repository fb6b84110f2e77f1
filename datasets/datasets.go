// Package datasets reads GSM8K and data sets like it: rows of a question and an
// answer whose last line is "#### " and a number.
package datasets

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gsmeval/gsmeval/internal/files"
	"github.com/gsmeval/gsmeval/scoring"
)

// Bounds on a data set. GSM8K has 8,792 rows and 5 MB of text.
const (
	maxFileBytes = 256 << 20
	maxRows      = 1_000_000
	maxTextBytes = 256 << 20 // of questions and answers in one file
	maxCellBytes = 1 << 20
)

var errTooMuchText = fmt.Errorf("more than %d MB of text in one file", maxTextBytes>>20)

// Example is one problem.
type Example struct {
	ID       int // row number in the whole data set, from 0; stable under every selection
	Question string
	Answer   string // the worked solution, with its "#### number", or the gold answer alone
	Gold     string // the number in Answer, or the text that is the answer
	Label    string // the row's own id; empty where there is none
	Cluster  string // what it has in common with other rows; empty where there is nothing
}

// Spec says which data set and which rows of it.
type Spec struct {
	Path   string // a .parquet, .jsonl or .json file, a glob of such files, or a directory
	Split  string // of a directory: test, train; empty means test
	Config string // subset of a directory: main, socratic; empty means main
	// Exact refuses a split other than test, where names show another, and a subset other than main that they do not show. Without
	// it a file and a glob stand for every split, and files that lie in no subset for each of them.
	Exact bool

	Columns Columns  // what a row is made of
	Gold    GoldForm // where the gold answer stands; empty means auto

	From, To    int     // rows From up to, not including, To; To 0 means to the end
	IDs         []int   // only these rows, in this order; empty means all
	ShuffleSeed *uint64 // shuffle, before Limit is applied
	Limit       int     // rows at most, 0 for all
}

// File is a file that a set was read from.
type File struct {
	Path   string
	Size   int64
	SHA256 string // in hexadecimal
	Rows   int
}

// Set is a data set, or a selection of its rows.
type Set struct {
	Examples []Example
	Files    []File
	SHA256   string // of the files' hashes in order: names the data, whatever the selection
}

// Load reads a data set. Every row of it is checked, also the ones that are not
// selected.
func Load(ctx context.Context, s Spec) (*Set, error) {
	layout, err := s.Columns.layout()
	if err != nil {
		return nil, err
	}
	paths, err := find(s.Path, cmp.Or(s.Split, "test"), cmp.Or(s.Config, "main"))
	if err == nil && s.Exact {
		err = checkExact(s.Path, paths, cmp.Or(s.Split, "test"), cmp.Or(s.Config, "main"))
	}
	if err != nil {
		return nil, err
	}
	set := new(Set)
	var places []place
	for _, path := range paths {
		more, err := set.add(ctx, path, layout)
		if err != nil {
			return nil, fmt.Errorf("reading data set %s: %w", path, err)
		}
		places = append(places, more...)
	}
	if err := set.readGolds(s.Gold, places); err != nil {
		return nil, err
	}
	var hashes strings.Builder
	for _, f := range set.Files {
		hashes.WriteString(f.SHA256 + "\n")
	}
	set.SHA256 = hexSum([]byte(hashes.String()))
	if set.Examples, err = s.choose(set.Examples); err != nil {
		return nil, fmt.Errorf("data set %s: %w", s.Path, err)
	}
	return set, nil
}

// add appends the rows of a file and returns their places in it.
func (set *Set) add(ctx context.Context, path string, l layout) ([]place, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	data, err := files.Read(path, maxFileBytes)
	if err != nil {
		return nil, err
	}
	if bytes.HasPrefix(data, []byte(pointerHead)) {
		return nil, errPointer
	}
	var rows [][]string
	var lines []int // of JSONL
	of := place{name: "record"}
	switch filepath.Ext(path) {
	case ".parquet":
		of.name = "row"
		rows, err = readParquet(ctx, data, l.columns)
	case ".json":
		rows, lines, err = readJSON(ctx, data, l.columns)
	default:
		rows, lines, err = readJSONL(ctx, data, l.columns)
	}
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		return nil, errors.New("the file holds no rows")
	}
	if len(rows) > maxRows-len(set.Examples) {
		return nil, fmt.Errorf("it brings the data set to more than the %d rows that are read", maxRows)
	}
	places := make([]place, len(rows))
	for i, r := range rows {
		if of.number = i; lines != nil {
			of = place{name: "line", number: lines[i]}
		}
		places[i] = of
		e := Example{
			ID: len(set.Examples), Question: l.fill(l.question, r), Answer: l.fill(l.answer, r), Label: l.fill(l.id, r),
			Cluster: l.fill(l.cluster, r),
		}
		if strings.TrimSpace(e.Question) == "" {
			return nil, fmt.Errorf("%s %d: the question is empty", of.name, of.number)
		}
		set.Examples = append(set.Examples, e)
	}
	set.Files = append(set.Files, File{Path: path, Size: int64(len(data)), SHA256: hexSum(data), Rows: len(rows)})
	return places, nil
}

// place is what a row is called in its file: a row of parquet and a record of JSON count from 0, a line of JSONL
// from 1.
type place struct {
	name   string
	number int
}

// readGolds reads the gold answer of every row; places are where the rows stand in their files.
func (set *Set) readGolds(form GoldForm, places []place) error {
	answers := make([]string, len(set.Examples))
	for i, e := range set.Examples {
		answers[i] = e.Answer
	}
	form, err := goldForm(form, answers)
	if err != nil {
		return err
	}
	read := scoring.Gold
	if form == GoldBare {
		read = scoring.BareGold
	}
	next := 0
	for _, f := range set.Files {
		for range f.Rows {
			e, at := &set.Examples[next], places[next]
			if e.Gold, err = read(e.Answer); err != nil {
				return fmt.Errorf("reading data set %s: %s %d: %w", f.Path, at.name, at.number, err)
			}
			next++
		}
	}
	return nil
}

// pointerHead is how the file begins that git-lfs leaves in place of a large one.
const pointerHead = "version https://git-lfs.github.com/spec/"

var errPointer = errors.New("it is a git-lfs pointer and not the data; run git lfs pull where it was cloned, or download the file")

func hexSum(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// choose applies the selection to all rows of the data set.
func (s Spec) choose(all []Example) ([]Example, error) {
	switch {
	case s.Limit < 0:
		return nil, fmt.Errorf("a limit of %d", s.Limit)
	case len(s.IDs) > 0 && (s.From != 0 || (s.To != 0 && s.To != math.MaxInt)):
		return nil, errors.New("both a range and ids: choose one")
	}
	var chosen []Example
	if len(s.IDs) > 0 {
		seen := make(map[int]bool)
		for _, id := range s.IDs {
			if id < 0 || id >= len(all) {
				return nil, fmt.Errorf("no row %d: rows are 0 to %d", id, len(all)-1)
			}
			if seen[id] {
				return nil, fmt.Errorf("row %d is listed twice", id)
			}
			seen[id] = true
			chosen = append(chosen, all[id])
		}
	} else {
		to := len(all)
		if s.To != 0 && s.To != math.MaxInt {
			to = s.To
		}
		if s.From < 0 || s.From >= to || to > len(all) {
			return nil, fmt.Errorf("no rows %d up to %d: rows are 0 to %d", s.From, to, len(all)-1)
		}
		chosen = slices.Clone(all[s.From:to])
	}
	if s.ShuffleSeed != nil {
		shuffle(chosen, *s.ShuffleSeed)
	}
	if s.Limit > 0 && s.Limit < len(chosen) {
		chosen = chosen[:s.Limit]
	}
	return chosen, nil
}

// shuffle orders the examples by a hash of seed and row number. So a row's
// place among others does not depend on which others were selected, and a
// larger limit adds rows to a smaller one's.
func shuffle(examples []Example, seed uint64) {
	keys := make(map[int][sha256.Size]byte, len(examples))
	for _, e := range examples {
		var b [16]byte
		binary.LittleEndian.PutUint64(b[:8], seed)
		binary.LittleEndian.PutUint64(b[8:], uint64(e.ID))
		keys[e.ID] = sha256.Sum256(b[:])
	}
	slices.SortFunc(examples, func(a, b Example) int {
		ka, kb := keys[a.ID], keys[b.ID]
		return bytes.Compare(ka[:], kb[:])
	})
}
