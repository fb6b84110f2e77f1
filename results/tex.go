package results

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// writeTeX writes the cells as a LaTeX tabular with the rules of the booktabs package, and the notes as footnotes.
func writeTeX(w io.Writer, d *document) error {
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
	line(`\begin{tabular}{%s%s}`, strings.Repeat("l", d.cells.Left),
		strings.Repeat("r", len(d.cells.Head)-d.cells.Left))
	line(`\toprule`)
	row(d.cells.Head)
	line(`\midrule`)
	for i, r := range d.cells.Rows {
		// A little space where the first column changes, to group its rows.
		if i > 0 && r[0] != d.cells.Rows[i-1][0] {
			line(`\addlinespace`)
		}
		row(r)
	}
	line(`\bottomrule`)
	line(`\end{tabular}`)
	for _, note := range d.notes {
		line(`\par\noindent{\footnotesize %s}`, escapeTeX(note))
	}
	return out.Flush()
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
