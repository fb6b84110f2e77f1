package results

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

var nan = math.NaN()

// Format is a way to write a table or a comparison.
type Format string

// The formats.
const (
	FormatMarkdown Format = "md"
	FormatCSV      Format = "csv"
	FormatJSON     Format = "json"
	FormatTeX      Format = "tex"
)

// ParseFormat reads the name of a format.
func ParseFormat(s string) (Format, error) {
	switch f := Format(s); f {
	case FormatMarkdown, FormatCSV, FormatJSON, FormatTeX:
		return f, nil
	}
	return "", fmt.Errorf("unknown format %q: it can be md, csv, json or tex", s)
}

// grid is a table for people: cells are text, rounded and ready to be escaped.
type grid struct {
	head  []string
	left  int // how many columns are aligned to the left; the others hold numbers
	rows  [][]string
	notes []string
}

// markdown writes the grid with its columns aligned, so that it reads well raw.
func (g grid) markdown(w io.Writer) error {
	cells := make([][]string, 0, 1+len(g.rows))
	for _, row := range append([][]string{g.head}, g.rows...) {
		escaped := make([]string, len(row))
		for i, c := range row {
			escaped[i] = escapeMarkdown(c)
		}
		cells = append(cells, escaped)
	}
	width := make([]int, len(g.head))
	for _, row := range cells {
		for i, c := range row {
			width[i] = max(width[i], utf8.RuneCountInString(c), 3)
		}
	}
	out := bufio.NewWriter(w)
	for n, row := range cells {
		for i, c := range row {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(c))
			if i < g.left {
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
			if i < g.left {
				rule = "-" + rule
			} else {
				rule += ":"
			}
			out.WriteString("|" + rule) //nolint:errcheck // Flush reports it
		}
		out.WriteString("|\n") //nolint:errcheck // Flush reports it
	}
	for i, note := range g.notes {
		if i == 0 {
			out.WriteString("\n") //nolint:errcheck // Flush reports it
		}
		fmt.Fprintf(out, "- %s\n", escapeMarkdown(note)) //nolint:errcheck // Flush reports it
	}
	return out.Flush()
}

// tex writes the grid as a LaTeX tabular with the rules of the booktabs package.
func (g grid) tex(w io.Writer) error {
	out := bufio.NewWriter(w)
	line := func(format string, args ...any) {
		fmt.Fprintf(out, format+"\n", args...) //nolint:errcheck // Flush reports it
	}
	row := func(cells []string) {
		escaped := make([]string, len(cells))
		for i, c := range cells {
			escaped[i] = escapeTeX(c)
		}
		line(`%s \\`, strings.Join(escaped, " & "))
	}
	line(`%% needs \usepackage{booktabs}`)
	line(`\begin{tabular}{%s%s}`, strings.Repeat("l", g.left), strings.Repeat("r", len(g.head)-g.left))
	line(`\toprule`)
	row(g.head)
	line(`\midrule`)
	for i, r := range g.rows {
		// A little space where the first column changes, to group its rows.
		if i > 0 && r[0] != g.rows[i-1][0] {
			line(`\addlinespace`)
		}
		row(r)
	}
	line(`\bottomrule`)
	line(`\end{tabular}`)
	for _, note := range g.notes {
		line(`\par\noindent{\footnotesize %s}`, escapeTeX(note))
	}
	return out.Flush()
}

// printable puts a space in place of what would break a line or hide text.
func printable(r rune) rune {
	if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || unicode.Is(unicode.Bidi_Control, r) {
		return ' '
	}
	return r
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

var texRunes = map[rune]string{
	'\\': `\textbackslash{}`, '{': `\{`, '}': `\}`, '&': `\&`, '%': `\%`, '$': `\$`, '#': `\#`, '_': `\_`,
	'~': `\textasciitilde{}`, '^': `\textasciicircum{}`, '<': `\textless{}`, '>': `\textgreater{}`, '|': `\textbar{}`,
	'"': `\char34{}`, '`': "{`}", '[': `{[}`, ']': `{]}`,
	'–': `--`, '—': `---`, '±': `$\pm$`, '−': `$-$`, 'Δ': `$\Delta$`, 'α': `$\alpha$`, '·': `$\cdot$`, '×': `$\times$`,
}

func escapeTeX(s string) string {
	s = strings.TrimSpace(strings.Map(printable, s))
	var b strings.Builder
	for i, r := range s {
		next, _ := utf8.DecodeRuneInString(s[i+utf8.RuneLen(r):])
		switch t, ok := texRunes[r]; {
		case ok:
			b.WriteString(t)
		case r == '-' && unicode.IsDigit(next) && (i == 0 || s[i-1] == '[' || s[i-1] == ' '):
			b.WriteString(`$-$`) // a sign, not a hyphen
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// writeCSV writes rows as RFC 4180 CSV with newlines alone.
func writeCSV(w io.Writer, rows [][]string) error {
	out := csv.NewWriter(w)
	return out.WriteAll(rows)
}

// writeJSON writes v indented, with one newline at the end.
func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

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

func percentInterval(in *Interval) string {
	if in == nil || !in.Valid() {
		return none
	}
	return "[" + percent(in[0], 1) + ", " + percent(in[1], 1) + "]"
}

func pointsInterval(in *Interval) string {
	if in == nil || !in.Valid() {
		return none
	}
	return "[" + points(in[0]) + ", " + points(in[1]) + "]"
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

// exact prints a number for CSV: the shortest form that reads back as the same
// bits, and nothing where there is no number.
func exact(v Float) string {
	if !v.Finite() {
		return ""
	}
	return strconv.FormatFloat(float64(v), 'g', -1, 64)
}

func exactInterval(in *Interval) []string {
	if in == nil {
		return []string{"", ""}
	}
	return []string{exact(in[0]), exact(in[1])}
}
