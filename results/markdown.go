package results

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// writeMarkdown writes the cells with their columns aligned, so that they read well as they are, and the notes as a
// list.
func writeMarkdown(w io.Writer, d *document) error {
	cells := make([][]string, 0, 1+len(d.cells.Rows))
	for _, row := range append([][]string{d.cells.Head}, d.cells.Rows...) {
		escaped := make([]string, len(row))
		for i, c := range row {
			escaped[i] = escapeMarkdown(c)
		}
		cells = append(cells, escaped)
	}
	width := make([]int, len(d.cells.Head))
	for _, row := range cells {
		for i, c := range row {
			width[i] = max(width[i], utf8.RuneCountInString(c), 3)
		}
	}
	out := bufio.NewWriter(w)
	for n, row := range cells {
		for i, c := range row {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(c))
			if i < d.cells.Left {
				c += pad
			} else {
				c = pad + c
			}
			fmt.Fprintf(out, "| %s ", c) //nolint:errcheck // Flush reports it
		}
		out.WriteString("|\n") //nolint:errcheck // Flush reports it
		if n > 0 {
			continue
		}
		for i := range row {
			rule := strings.Repeat("-", width[i]+1)
			if i < d.cells.Left {
				rule = "-" + rule
			} else {
				rule += ":"
			}
			out.WriteString("|" + rule) //nolint:errcheck // Flush reports it
		}
		out.WriteString("|\n") //nolint:errcheck // Flush reports it
	}
	for i, note := range d.notes {
		if i == 0 {
			out.WriteString("\n") //nolint:errcheck // Flush reports it
		}
		fmt.Fprintf(out, "- %s\n", escapeMarkdown(note)) //nolint:errcheck // Flush reports it
	}
	return out.Flush()
}

func escapeMarkdown(s string) string {
	var b strings.Builder
	for _, r := range strings.Map(printable, s) {
		if strings.ContainsRune("\\|`*<>", r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	// Brackets mean something only where they begin a link.
	return strings.TrimSpace(strings.ReplaceAll(b.String(), "](", `]\(`))
}

// printable puts a space in place of what would break a line or hide text.
func printable(r rune) rune {
	if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || unicode.Is(unicode.Bidi_Control, r) {
		return ' '
	}
	return r
}
