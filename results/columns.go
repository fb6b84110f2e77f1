package results

import (
	"math"
	"strconv"
	"strings"
)

var nan = math.NaN()

// column is a column of a table in all its formats, declared once.
type column[R any] struct {
	// csv has the names of its columns for programs, parted by commas: an interval has two. "" leaves it to people.
	csv string
	// head is its heading for people. "" leaves it to programs.
	head string
	// label says that it names what the row is about; labels come first and stand on the left.
	label bool
	// shown tells whether people see it in a table of these rows, so that none is empty; nil is always.
	shown func(rows []R) bool
	cell  func(*R) value
}

// value is what a cell holds, as programs read it, a string for each of the column's CSV names, and as people do.
type value struct {
	exact []string
	shown string
}

// layOut puts rows into columns.
func layOut[R any](whole any, columns []column[R], rows []R, notes []string) *document {
	d := &document{value: whole, notes: notes, records: make([][]string, 1+len(rows))}
	d.cells.Rows = make([][]string, len(rows))
	for _, c := range columns {
		names := c.csv != ""
		shown := c.head != "" && (c.shown == nil || c.shown(rows))
		if names {
			d.records[0] = append(d.records[0], strings.Split(c.csv, ",")...)
		}
		if shown {
			d.cells.Head = append(d.cells.Head, c.head)
		}
		if shown && c.label {
			d.cells.Left++
		}
		for i := range rows {
			v := c.cell(&rows[i])
			if names {
				d.records[1+i] = append(d.records[1+i], v.exact...)
			}
			if shown {
				d.cells.Rows[i] = append(d.cells.Rows[i], v.shown)
			}
		}
	}
	return d
}

// anyOf shows a column where it has something to say about one of the rows.
func anyOf[R any](has func(*R) bool) func([]R) bool {
	return func(rows []R) bool {
		for i := range rows {
			if has(&rows[i]) {
				return true
			}
		}
		return false
	}
}

// The kinds of values.

func textValue(s string) value { return value{[]string{s}, s} }

func flagValue(b bool) value { return textValue(strconv.FormatBool(b)) }

func countValue(n int) value { return textValue(strconv.Itoa(n)) }

// maybeCountValue is a count that there may not be.
func maybeCountValue(n *int) value {
	if n == nil {
		return value{[]string{""}, none}
	}
	return countValue(*n)
}

// shareValue is a fraction of 1, in % for people.
func shareValue(v Float) value { return value{[]string{exact(v)}, percent(v, 1)} }

// pointsValue is a difference of two shares.
func pointsValue(v Float) value { return value{[]string{exact(v)}, points(v)} }

func numberValue(v Float, digits int) value { return value{[]string{exact(v)}, number(v, digits)} }

func testValue(p Float) value { return value{[]string{exact(p)}, pValue(p)} }

// intervalValue is an interval of shares, or of differences where bound is points.
func intervalValue(in *Interval, bound func(Float) string) value {
	if in == nil {
		return value{[]string{"", ""}, none}
	}
	c := value{[]string{exact(in[0]), exact(in[1])}, none}
	if in.Valid() {
		c.shown = "[" + bound(in[0]) + ", " + bound(in[1]) + "]"
	}
	return c
}

// percentBound is a bound of an interval of shares.
func percentBound(v Float) string { return percent(v, 1) }

// The formatting of cells for people; "–" stands for what there is not.
const none = "–"

func percent(v Float, digits int) string {
	if !v.Finite() {
		return none
	}
	return fixed(100*float64(v), digits)
}

// fixed prints without a sign before a zero.
func fixed(v float64, digits int) string {
	s := strconv.FormatFloat(v, 'f', digits, 64)
	if strings.Trim(s, "-0.") == "" {
		return strings.TrimPrefix(s, "-")
	}
	return s
}

func number(v Float, digits int) string {
	if !v.Finite() {
		return none
	}
	return fixed(float64(v), digits)
}

// points prints a difference of proportions in percentage points, with its sign.
func points(v Float) string {
	s := percent(v, 1)
	if s != none && s[0] != '-' && strings.Trim(s, "0.") != "" {
		return "+" + s
	}
	return s
}

func pValue(p Float) string {
	switch {
	case !p.Finite():
		return none
	case p < 0.0001:
		return "<0.0001"
	default:
		return fixed(float64(p), 4)
	}
}

// exact prints a number for CSV: the shortest form that reads back as the same bits, and nothing where there is no
// number.
func exact(v Float) string {
	if !v.Finite() {
		return ""
	}
	return strconv.FormatFloat(float64(v), 'g', -1, 64)
}
