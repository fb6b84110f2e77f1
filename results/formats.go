package results

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// Format is the name of a way to write a table or a comparison; it is also the ending of a table's file.
type Format string

// The formats.
const (
	FormatMarkdown Format = "md"
	FormatCSV      Format = "csv"
	FormatJSON     Format = "json"
	FormatTeX      Format = "tex"
)

// formats are all that there are. A new one is a file with its writer, and a row here.
var formats = []struct {
	name  Format
	write func(io.Writer, *document) error
}{
	{FormatMarkdown, writeMarkdown},
	{FormatCSV, writeCSV},
	{FormatJSON, func(w io.Writer, d *document) error { return writeJSON(w, d.value) }},
	{FormatTeX, writeTeX},
}

// Formats returns the names of the formats.
func Formats() []Format {
	names := make([]Format, len(formats))
	for i, f := range formats {
		names[i] = f.name
	}
	return names
}

// FormatNames lists the formats for help and messages: "md, csv, json or tex".
func FormatNames() string {
	var list strings.Builder
	for i, f := range formats {
		switch {
		case i > 0 && i == len(formats)-1:
			list.WriteString(" or ")
		case i > 0:
			list.WriteString(", ")
		}
		list.WriteString(string(f.name))
	}
	return list.String()
}

// ParseFormat reads the name of a format.
func ParseFormat(s string) (Format, error) {
	if slices.Contains(Formats(), Format(s)) {
		return Format(s), nil
	}
	return "", fmt.Errorf("unknown format %q: it can be %s", s, FormatNames())
}

// document is a table or a comparison, ready to be written in any format.
type document struct {
	value   any        // itself, for formats that keep its structure
	cells   Cells      // for people: rounded
	notes   []string   // for people, below the cells
	records [][]string // for programs: a heading and a line for each row, nothing rounded
}

func (d *document) write(w io.Writer, format Format) error {
	for _, f := range formats {
		if f.name == format {
			return f.write(w, d)
		}
	}
	return fmt.Errorf("unknown format %q: it can be %s", format, FormatNames())
}

// Cells are a table as people read it: every cell is text, rounded, and not escaped for any format.
type Cells struct {
	Head []string
	// Left is how many columns are names; the others hold numbers.
	Left int
	Rows [][]string
}
