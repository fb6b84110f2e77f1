package plots

import (
	"fmt"
	"html"
)

// Stack is bars that are divided into parts, such as the statuses of samples; each bar is as long as any other.
type Stack struct {
	Title, X string
	Parts    []Part
	Rows     []StackRow
}

// Part is what a stretch of every bar stands for.
type Part struct {
	Name   string
	Colour int
}

// StackRow is one bar: a value for each part.
type StackRow struct {
	Name   string
	Values []float64
}

// Inline draws the bars as Figure.Inline draws panels.
func (s *Stack) Inline(id, summary string) string {
	const bar = 13.0
	rows := rowHead + bar + rowGap
	d := &inline{
		left: inlineRight, height: inlineTop + inlineBottom + float64(len(s.Rows))*rows,
		box: bounds{0, 100, 0, 1},
	}
	d.printf(`<svg class="plot" viewBox="0 0 %s %s" role="img" aria-labelledby="%s-t %s-d">`, num(inlineWidth),
		num(d.height), id, id)
	d.printf(`<title id="%s-t">%s</title><desc id="%s-d">%s</desc>`, id, html.EscapeString(s.Title), id,
		html.EscapeString(summary))
	d.p = &Panel{Title: s.Title, X: s.X, Rows: []string{}}
	d.axes()
	for i, r := range s.Rows {
		total := 0.0
		for _, v := range r.Values {
			total += v
		}
		y := inlineTop + float64(i)*rows
		d.printf(`<text class="rowname" x="%s" y="%s">%s</text>`, num(d.left), num(y+14),
			html.EscapeString(short(r.Name)))
		from := 0.0
		for k, v := range r.Values {
			if v == 0 {
				continue
			}
			share := 100 * v / total
			d.printf(`<rect class="%s part" x="%s" y="%s" width="%s" height="%s"><title>%s</title></rect>`,
				classOf(s.Parts[k].Colour), num(d.x(from)), num(y+rowHead), num(d.x(from+share)-d.x(from)), num(bar),
				html.EscapeString(fmt.Sprintf("%s: %.1f %%", s.Parts[k].Name, share)))
			from += share
		}
	}
	d.printf("</svg>")
	return d.b.String()
}

// Legend names the parts, as an HTML list.
func (s *Stack) Legend() string {
	d := &inline{}
	d.printf(`<ul class="legend">`)
	for _, p := range s.Parts {
		d.printf(`<li><svg class="key" viewBox="0 0 30 12" aria-hidden="true"><rect class="%s part" x="8" y="0" width="14" height="12"/></svg>%s</li>`,
			classOf(p.Colour), html.EscapeString(p.Name))
	}
	d.printf("</ul>")
	return d.b.String()
}
