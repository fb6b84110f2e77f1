package plots

import (
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

const (
	sampleWidth = 0.9 * vg.Centimeter // of the piece of line in front of a name
	gap         = 0.5 * vg.Centimeter // between entries
)

// entry is a name in the legend and how it is drawn.
type entry struct {
	name   string
	colour int
	line   Line
	points bool
	shape  Shape
	band   bool
}

// entries are the figure's names, each once, in the order of the panels.
func (f *Figure) entries() []entry {
	var list []entry
	seen := map[string]int{}
	add := func(e entry) {
		if e.name == "" {
			return
		}
		if at, ok := seen[e.name]; !ok {
			seen[e.name] = len(list)
			list = append(list, e)
		} else if list[at].colour != e.colour {
			list[at].colour = Grey // a name that several colours share is of none of them
		}
	}
	for _, p := range f.Panels {
		for _, s := range p.Series {
			add(entry{
				name: s.Name, colour: s.Colour, line: s.Line, points: s.Points, shape: s.Shape,
				band: s.Lo != nil && !s.Points,
			})
		}
		for _, m := range p.Marks {
			add(entry{name: m.Name, colour: m.Colour, line: m.Line})
		}
	}
	return list
}

func (e entry) width() vg.Length {
	return sampleWidth + 0.15*vg.Centimeter + legendStyle.Width(e.name) + gap
}

// legendLines breaks the entries into lines of at most a width.
func legendLines(list []entry, width vg.Length) [][]entry {
	var lines [][]entry
	used := width
	for _, e := range list {
		if used+e.width()-gap > width {
			lines = append(lines, nil)
			used = 0
		}
		lines[len(lines)-1] = append(lines[len(lines)-1], e)
		used += e.width()
	}
	return lines
}

// draw puts an entry with its lower left corner at x, y.
func (e entry) draw(c draw.Canvas, x, y vg.Length) {
	mid := y + lineHeight/2
	if e.band {
		c.FillPolygon(bandOf(e.colour), []vg.Point{
			{X: x, Y: mid - lineHeight/4},
			{X: x + sampleWidth, Y: mid - lineHeight/4},
			{X: x + sampleWidth, Y: mid + lineHeight/4},
			{X: x, Y: mid + lineHeight/4},
		})
	}
	if e.line != NoLine {
		c.StrokeLine2(lineStyle(e.colour, e.line, vg.Points(1.6)), x, mid, x+sampleWidth, mid)
	}
	if e.points {
		c.DrawGlyph(glyph(e.colour, e.shape), vg.Point{X: x + sampleWidth/2, Y: mid})
	}
	style := legendStyle
	style.YAlign = draw.YCenter
	c.FillText(style, vg.Point{X: x + sampleWidth + 0.15*vg.Centimeter, Y: mid}, e.name)
}
