// Package plots draws the figures of gsmeval, as PNG and SVG, in one style: panels side by side with axes in units,
// bands or bars for intervals, the colour-blind safe palette of Okabe and Ito, and one legend below, outside of the
// data. Equal figures give equal bytes.
package plots

import (
	"bytes"
	"errors"
	"fmt"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Figure is one or more panels under a title. Series of the same name are one entry of its legend.
type Figure struct {
	Title   string
	Note    string // a line under the title: what was measured, and what the bands are
	Columns int    // panels side by side; 0 for all of them, up to three
	Same    bool   // all panels have the same axes
	Panels  []Panel
}

// Panel is one pair of axes.
type Panel struct {
	Title string
	X, Y  string // labels, with units
	LogY  bool
	Zero  bool // the y axis begins at 0
	// Rows names the whole numbers of the y axis, 0 at the top: a series then has intervals along x, and its points lie
	// in the row nearest to their y. Y is not labelled.
	Rows   []string
	Series []Series
	Marks  []Mark
}

// Series is a curve, with an interval where Lo and Hi are given.
type Series struct {
	Name   string
	X, Y   []float64
	Lo, Hi []float64
	Colour int // of the palette
	Line   Line
	Points bool // a point at each value, and bars, not a band, for the interval
	Shape  Shape
}

// Shape is how a point looks.
type Shape int

// The shapes.
const (
	Circle Shape = iota
	Square
	Triangle
	Cross
)

// Line says how points are joined.
type Line int

// The lines.
const (
	Solid Line = iota
	Dashed
	Dotted
	NoLine
)

// Mark is a vertical line with a name in the legend.
type Mark struct {
	Name   string
	X      float64
	Colour int
	Line   Line
}

// ErrNoData is returned for a figure without a finite point.
var ErrNoData = errors.New("there is nothing to draw")

const (
	panelWidth  = 9.5 * vg.Centimeter
	panelHeight = 7 * vg.Centimeter
	margin      = 0.35 * vg.Centimeter
	dpi         = 160
)

// PNG draws the figure at 160 dots per inch.
func (f *Figure) PNG() ([]byte, error) {
	l, err := f.layout()
	if err != nil {
		return nil, err
	}
	c := vgimg.NewWith(vgimg.UseWH(l.width, l.height), vgimg.UseDPI(dpi))
	l.draw(draw.New(c))
	var b bytes.Buffer
	if _, err := (vgimg.PngCanvas{Canvas: c}).WriteTo(&b); err != nil {
		return nil, fmt.Errorf("drawing %q: %w", f.Title, err)
	}
	return b.Bytes(), nil
}

// SVG draws the figure with texts as texts.
func (f *Figure) SVG() ([]byte, error) {
	l, err := f.layout()
	if err != nil {
		return nil, err
	}
	c := vgsvg.New(l.width, l.height)
	l.draw(draw.New(c))
	var b bytes.Buffer
	if _, err := c.WriteTo(&b); err != nil {
		return nil, fmt.Errorf("drawing %q: %w", f.Title, err)
	}
	// A reader without the Liberation fonts falls back to another of the same widths, not to its serif default.
	return bytes.ReplaceAll(b.Bytes(), []byte("font-family:Liberation Sans"),
		[]byte("font-family:'Liberation Sans',Arial,Helvetica,sans-serif")), nil
}

// layout is a figure with its sizes.
type layout struct {
	title, note   string
	width, height vg.Length
	panel         vg.Length // height of a panel
	head          vg.Length // of title and note
	columns, rows int
	plots         []*plot.Plot
	legend        [][]entry // by line
}

func (f *Figure) layout() (*layout, error) {
	l := &layout{title: f.Title, note: f.Note, columns: f.Columns}
	if l.columns < 1 {
		l.columns = min(len(f.Panels), 3)
	}
	l.columns = min(max(l.columns, 1), max(len(f.Panels), 1))
	boxes, err := f.bounds()
	if err != nil {
		return nil, err
	}
	for i := range f.Panels {
		p, err := f.Panels[i].plot(boxes[i])
		if err != nil {
			return nil, fmt.Errorf("drawing %q, panel %q: %w", f.Title, f.Panels[i].Title, err)
		}
		l.plots = append(l.plots, p)
	}
	if len(l.plots) == 0 {
		return nil, fmt.Errorf("drawing %q: %w", f.Title, ErrNoData)
	}
	l.rows = (len(l.plots) + l.columns - 1) / l.columns
	l.width = vg.Length(l.columns)*panelWidth + 2*margin
	if l.columns == 1 {
		l.width += 3 * vg.Centimeter
	}
	l.legend = legendLines(f.entries(), l.width-2*margin)
	l.head = margin
	if f.Title != "" {
		l.head += titleStyle.Height(f.Title) + margin
	}
	if f.Note != "" {
		l.head += vg.Length(len(l.noteLines()))*lineHeight + margin/2
	}
	for i := range f.Panels {
		l.panel = max(l.panel, f.Panels[i].height())
	}
	l.height = l.head + vg.Length(l.rows)*l.panel + l.foot()
	return l, nil
}

// foot is the height of the legend, with space around it.
func (l *layout) foot() vg.Length { return vg.Length(len(l.legend))*lineHeight + 2*margin }

func (l *layout) noteLines() []string { return wrap(noteStyle, l.note, l.width-2*margin) }

func (l *layout) draw(c draw.Canvas) {
	c.SetColor(white)
	c.Fill(c.Path())
	y := c.Max.Y - margin
	if l.title != "" {
		c.FillText(titleStyle, vg.Point{X: c.Min.X + margin, Y: y}, l.title)
		y -= titleStyle.Height(l.title) + margin/2
	}
	if l.note != "" {
		for _, line := range l.noteLines() {
			c.FillText(noteStyle, vg.Point{X: c.Min.X + margin, Y: y}, line)
			y -= lineHeight
		}
	}
	panels := draw.Crop(c, margin, -margin, l.foot(), -l.head)
	grid := make([][]*plot.Plot, l.rows)
	for r := range grid {
		grid[r] = make([]*plot.Plot, l.columns)
		copy(grid[r], l.plots[r*l.columns:min((r+1)*l.columns, len(l.plots))])
	}
	tiles := draw.Tiles{Rows: l.rows, Cols: l.columns, PadX: margin, PadY: margin}
	canvases := plot.Align(grid, tiles, panels)
	for r, row := range grid {
		for k, p := range row {
			if p != nil {
				p.Draw(canvases[r][k])
			}
		}
	}
	y = c.Min.Y + l.foot() - margin
	for _, line := range l.legend {
		y -= lineHeight
		x := c.Min.X + margin
		for _, e := range line {
			e.draw(c, x, y)
			x += e.width()
		}
	}
}

// height is that of a panel, with its axes; rows ask for room.
func (p *Panel) height() vg.Length {
	if p.Rows == nil {
		return panelHeight
	}
	return 2.2*vg.Centimeter + vg.Length(len(p.Rows))*(0.35+0.3*vg.Length(len(p.Series)))*vg.Centimeter
}

// finite tells whether every value is a number of a size that can be drawn.
func finite(values ...float64) bool {
	for _, v := range values {
		if math.IsNaN(v) || math.Abs(v) > 1e100 {
			return false
		}
	}
	return true
}

// Add appends a point with its interval.
func (s *Series) Add(x, y, lo, hi float64) {
	s.X, s.Y, s.Lo, s.Hi = append(s.X, x), append(s.Y, y), append(s.Lo, lo), append(s.Hi, hi)
}
