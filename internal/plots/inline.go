package plots

import (
	"fmt"
	"html"
	"math"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
)

// Sizes of an inline panel, in its own units: on a phone one unit is about one pixel.
const (
	inlineWidth  = 360.0
	inlineHeight = 250.0
	inlineTop    = 26.0
	inlineRight  = 12.0
	inlineBottom = 42.0
	rowHead      = 19.0 // height of a row's name
	rowLine      = 15.0 // height of a series in a row
	rowGap       = 7.0
)

// Inline draws every panel as an svg element for an HTML page. They carry no colours and no style, only classes: s0, s1
// and so on, or sg, for what has the colour of a series, with line, bar, dot, band or part; grid, axis, tick, label,
// rowname and title for the rest. So one page may be light or dark. id must be unique in the page; summary says in
// words what a panel shows.
func (f *Figure) Inline(id string, summary func(*Panel) string) ([]string, error) {
	boxes, err := f.bounds()
	if err != nil {
		return nil, err
	}
	out := make([]string, len(f.Panels))
	for i := range f.Panels {
		p := &f.Panels[i]
		out[i] = p.inline(boxes[i], fmt.Sprintf("%s-%d", id, i), summary(p))
	}
	return out, nil
}

func (p *Panel) inline(box bounds, id, summary string) string {
	d := &inline{p: p, box: box, left: inlineRight, height: inlineHeight}
	if p.Rows != nil {
		d.height = inlineTop + inlineBottom + float64(len(p.Rows))*d.rowHeight()
	} else {
		widest := 0
		for _, t := range d.yTicks() {
			widest = max(widest, len([]rune(t.Label)))
		}
		d.left = 26 + 6.6*float64(widest)
	}
	d.printf(`<svg class="plot" viewBox="0 0 %s %s" role="img" aria-labelledby="%s-t %s-d">`, num(inlineWidth),
		num(d.height), id, id)
	d.printf(`<title id="%s-t">%s</title><desc id="%s-d">%s</desc>`, id, html.EscapeString(p.Title), id,
		html.EscapeString(summary))
	d.axes()
	for i := range p.Marks {
		d.mark(&p.Marks[i])
	}
	for i, name := range p.Rows { // over grid and marks
		d.printf(`<text class="rowname" x="%s" y="%s">%s</text>`, num(d.left),
			num(inlineTop+float64(i)*d.rowHeight()+15), html.EscapeString(short(name)))
	}
	for i := range p.Series {
		if p.Series[i].Lo != nil && !p.Series[i].Points {
			d.band(&p.Series[i])
		}
	}
	for i := range p.Series {
		d.series(&p.Series[i])
	}
	d.printf("</svg>")
	return d.b.String()
}

// Legend is the figure's legend as an HTML list; it is empty where nothing has a name.
func (f *Figure) Legend() string {
	entries := f.entries()
	if len(entries) == 0 {
		return ""
	}
	d := &inline{}
	d.printf(`<ul class="legend">`)
	for _, e := range entries {
		d.printf(`<li><svg class="key" viewBox="0 0 30 12" aria-hidden="true">`)
		class := classOf(e.colour)
		if e.band {
			d.printf(`<rect class="%s band" x="0" y="1" width="30" height="10"/>`, class)
		}
		if e.line != NoLine {
			d.printf(`<line class="%s line"%s x1="0" y1="6" x2="30" y2="6"/>`, class, dashes(e.line))
		}
		if e.points {
			d.dot(class, e.shape, 15, 6)
		}
		d.printf(`</svg>%s</li>`, html.EscapeString(e.name))
	}
	d.printf("</ul>")
	return d.b.String()
}

// inline is a panel that is being drawn.
type inline struct {
	b      strings.Builder
	p      *Panel
	box    bounds
	left   float64
	height float64
}

func (d *inline) printf(format string, args ...any) { fmt.Fprintf(&d.b, format, args...) }

// num prints a coordinate with one decimal at most.
func num(v float64) string { return strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64) }

// short cuts a name that is wider than a panel; the page's tables have it whole.
func short(name string) string {
	const most = 48
	if r := []rune(name); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return name
}

func classOf(colour int) string {
	if colour < 0 {
		return "sg"
	}
	return "s" + strconv.Itoa(colour%len(palette))
}

func dashes(l Line) string {
	switch l {
	case Dashed:
		return ` stroke-dasharray="6 4"`
	case Dotted:
		return ` stroke-dasharray="2 3"`
	case Solid, NoLine:
	}
	return ""
}

func (d *inline) x(v float64) float64 {
	return d.left + (v-d.box.x0)/(d.box.x1-d.box.x0)*(inlineWidth-inlineRight-d.left)
}

func (d *inline) y(v float64) float64 {
	bottom := d.height - inlineBottom
	if d.p.LogY {
		return bottom - math.Log(v/d.box.y0)/math.Log(d.box.y1/d.box.y0)*(bottom-inlineTop)
	}
	return bottom - (v-d.box.y0)/(d.box.y1-d.box.y0)*(bottom-inlineTop)
}

func (d *inline) yTicks() []plot.Tick {
	if d.p.LogY {
		return logTicks{}.Ticks(d.box.y0, d.box.y1)
	}
	return ticks{}.Ticks(d.box.y0, d.box.y1)
}

func (d *inline) rowHeight() float64 { return rowHead + rowLine*float64(len(d.p.Series)) + rowGap }

// line is where a series lies in a row: under the row's name, in the order of the series.
func (d *inline) line(row, series int) float64 {
	return inlineTop + float64(row)*d.rowHeight() + rowHead + rowLine*(float64(series)+0.5)
}

func (d *inline) axes() {
	bottom := d.height - inlineBottom
	d.printf(`<text class="title" x="0" y="13">%s</text>`, html.EscapeString(short(d.p.Title)))
	for _, t := range (ticks{}).Ticks(d.box.x0, d.box.x1) {
		x := num(d.x(t.Value))
		d.printf(`<line class="grid" x1="%s" y1="%s" x2="%s" y2="%s"/><text class="tick mid" x="%s" y="%s">%s</text>`,
			x, num(inlineTop), x, num(bottom), x, num(bottom+15), t.Label)
	}
	d.printf(`<text class="label mid" x="%s" y="%s">%s</text>`, num((d.left+inlineWidth-inlineRight)/2),
		num(d.height-9), html.EscapeString(d.p.X))
	d.printf(`<line class="axis" x1="%s" y1="%s" x2="%s" y2="%s"/>`, num(d.left), num(bottom),
		num(inlineWidth-inlineRight), num(bottom))
	if d.p.Rows != nil {
		return
	}
	for _, t := range d.yTicks() {
		y := num(d.y(t.Value))
		if t.Label == "" {
			continue
		}
		d.printf(`<line class="grid" x1="%s" y1="%s" x2="%s" y2="%s"/><text class="tick end" x="%s" y="%s">%s</text>`,
			num(d.left), y, num(inlineWidth-inlineRight), y, num(d.left-5), num(d.y(t.Value)+4), t.Label)
	}
	middle := (inlineTop + bottom) / 2
	d.printf(`<line class="axis" x1="%s" y1="%s" x2="%s" y2="%s"/>`, num(d.left), num(inlineTop), num(d.left),
		num(bottom))
	d.printf(`<text class="label mid" transform="translate(11 %s) rotate(-90)">%s</text>`, num(middle),
		html.EscapeString(d.p.Y))
}

func (d *inline) mark(m *Mark) {
	if m.X < d.box.x0 || m.X > d.box.x1 {
		return
	}
	x := num(d.x(m.X))
	d.printf(`<line class="%s line"%s x1="%s" y1="%s" x2="%s" y2="%s"/>`, classOf(m.Colour), dashes(m.Line), x,
		num(inlineTop), x, num(d.height-inlineBottom))
}

func (d *inline) band(s *Series) {
	for _, piece := range s.pieces(func(i int) bool { return finite(s.Lo[i], s.Hi[i]) }) {
		if len(piece) < 2 {
			continue // a band of one position has no area
		}
		var points []string
		for _, i := range piece {
			points = append(points, num(d.x(s.X[i]))+","+num(d.y(d.box.clamp(s.Hi[i]))))
		}
		for k := len(piece) - 1; k >= 0; k-- {
			points = append(points, num(d.x(s.X[piece[k]]))+","+num(d.y(d.box.clamp(s.Lo[piece[k]]))))
		}
		d.printf(`<polygon class="%s band" points="%s"/>`, classOf(s.Colour), strings.Join(points, " "))
	}
}

func (d *inline) series(s *Series) {
	class := classOf(s.Colour)
	at := func(i int) (x, y float64) { return d.x(s.X[i]), d.y(s.Y[i]) }
	if d.p.Rows != nil {
		k := 0
		for k < len(d.p.Series) && &d.p.Series[k] != s {
			k++
		}
		at = func(i int) (x, y float64) { return d.x(s.X[i]), d.line(int(math.Round(s.Y[i])), k) }
	}
	for _, piece := range s.pieces(func(i int) bool { return s.Y[i] >= d.box.y0 && s.Y[i] <= d.box.y1 }) {
		var points []string
		for _, i := range piece {
			x, y := at(i)
			points = append(points, num(x)+","+num(y))
			if !s.Points || s.Lo == nil || !finite(s.Lo[i], s.Hi[i]) {
				continue
			}
			if d.p.Rows != nil {
				d.printf(`<line class="%s bar" x1="%s" y1="%s" x2="%s" y2="%s"/>`, class, num(d.x(s.Lo[i])), num(y),
					num(d.x(s.Hi[i])), num(y))
			} else {
				d.printf(`<line class="%s bar" x1="%s" y1="%s" x2="%s" y2="%s"/>`, class, num(x),
					num(d.y(d.box.clamp(s.Lo[i]))), num(x), num(d.y(d.box.clamp(s.Hi[i]))))
			}
		}
		if s.Line != NoLine && len(piece) > 1 {
			d.printf(`<polyline class="%s line"%s points="%s"/>`, class, dashes(s.Line), strings.Join(points, " "))
		}
		for _, i := range piece {
			if s.Points || len(piece) == 1 {
				x, y := at(i)
				d.dot(class, s.Shape, x, y)
			}
		}
	}
}

// dot draws a point.
func (d *inline) dot(class string, shape Shape, x, y float64) {
	switch shape {
	case Circle:
		d.printf(`<circle class="%s dot" cx="%s" cy="%s" r="3.6"/>`, class, num(x), num(y))
	case Square:
		d.printf(`<rect class="%s dot" x="%s" y="%s" width="6.6" height="6.6"/>`, class, num(x-3.3), num(y-3.3))
	case Triangle:
		d.printf(`<path class="%s dot" d="M%s %sl4.4 7.6h-8.8z"/>`, class, num(x), num(y-4.6))
	case Cross:
		d.printf(`<path class="%s bar" d="M%s %sl7 7m0 -7l-7 7"/>`, class, num(x-3.5), num(y-3.5))
	}
}
