package plots

import (
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// plot makes gonum's plot of a panel.
func (p *Panel) plot(box bounds) (*plot.Plot, error) {
	g := plot.New()
	g.BackgroundColor = white
	g.Title.Text, g.X.Label.Text, g.Y.Label.Text = p.Title, p.X, p.Y
	sans(&g.Title.TextStyle, 10, true)
	g.Title.Padding = vg.Points(4)
	for _, a := range []*plot.Axis{&g.X, &g.Y} {
		sans(&a.Label.TextStyle, 9.5, false)
		sans(&a.Tick.Label, 8.5, false)
		a.Padding = vg.Points(2)
		a.Label.Padding = vg.Points(3)
		a.Width, a.Tick.Width = vg.Points(0.6), vg.Points(0.6)
	}
	g.X.Min, g.X.Max, g.Y.Min, g.Y.Max = box.x0, box.x1, box.y0, box.y1
	g.X.Tick.Marker, g.Y.Tick.Marker = ticks{}, ticks{}
	if p.Rows != nil {
		g.Y.Scale, g.Y.Tick.Marker = plot.InvertedScale{Normalizer: plot.LinearScale{}}, rowTicks(p.Rows)
		g.Y.Tick.Length = 0
	}
	if p.LogY {
		g.Y.Scale, g.Y.Tick.Marker = plot.LogScale{}, logTicks{}
	}
	grid := plotter.NewGrid()
	grid.Vertical.Color, grid.Horizontal.Color = faint, faint
	grid.Vertical.Dashes, grid.Horizontal.Dashes = nil, nil
	g.Add(grid)
	for _, m := range p.Marks {
		if m.X < box.x0 || m.X > box.x1 {
			continue
		}
		if err := addLine(g, plotter.XYs{{X: m.X, Y: box.y0}, {X: m.X, Y: box.y1}},
			lineStyle(m.Colour, m.Line, vg.Points(1.2))); err != nil {
			return nil, err
		}
	}
	for _, s := range p.Series {
		if s.Lo != nil && !s.Points {
			if err := addBand(g, s, box); err != nil {
				return nil, err
			}
		}
	}
	for _, s := range p.Series {
		if err := addSeries(g, s, box, p.Rows != nil); err != nil {
			return nil, err
		}
	}
	// Adding a curve widens the axes; they were settled with the intervals in view.
	g.X.Min, g.X.Max, g.Y.Min, g.Y.Max = box.x0, box.x1, box.y0, box.y1
	return g, nil
}

// bounds are the ends of the axes.
type bounds struct{ x0, x1, y0, y1 float64 }

// clamp brings a value into the axes: the end of an interval may lie outside, and on a logarithmic axis below 0.
func (b bounds) clamp(y float64) float64 { return min(max(y, b.y0), b.y1) }

// bounds are the ends of the axes of every panel.
func (f *Figure) bounds() ([]bounds, error) {
	boxes := make([]bounds, len(f.Panels))
	all := bounds{math.Inf(1), math.Inf(-1), math.Inf(1), math.Inf(-1)}
	for i := range f.Panels {
		b, err := f.Panels[i].bounds()
		if err != nil {
			return nil, fmt.Errorf("drawing %q, panel %q: %w", f.Title, f.Panels[i].Title, err)
		}
		boxes[i] = b
		all = bounds{min(all.x0, b.x0), max(all.x1, b.x1), min(all.y0, b.y0), max(all.y1, b.y1)}
	}
	for i := range boxes {
		switch {
		case f.Same && f.Panels[i].Rows != nil: // every panel has rows of its own
			boxes[i].x0, boxes[i].x1 = all.x0, all.x1
		case f.Same:
			boxes[i] = all
		}
	}
	return boxes, nil
}

// bounds are those of the values and intervals, with a margin.
func (p *Panel) bounds() (bounds, error) {
	b := bounds{math.Inf(1), math.Inf(-1), math.Inf(1), math.Inf(-1)}
	see := func(x, y float64) {
		if finite(x, y) && (!p.LogY || y > 0) {
			b.x0, b.x1, b.y0, b.y1 = min(b.x0, x), max(b.x1, x), min(b.y0, y), max(b.y1, y)
		}
	}
	for _, s := range p.Series {
		if len(s.X) != len(s.Y) || s.Lo != nil && (len(s.Lo) != len(s.Y) || len(s.Hi) != len(s.Y)) {
			return b, fmt.Errorf("series %q has %d x, %d y and %d, %d ends of intervals", s.Name, len(s.X), len(s.Y),
				len(s.Lo), len(s.Hi))
		}
		for i := range s.X {
			see(s.X[i], s.Y[i])
			if s.Lo != nil && p.Rows != nil {
				see(s.Lo[i], s.Y[i])
				see(s.Hi[i], s.Y[i])
			} else if s.Lo != nil {
				see(s.X[i], s.Hi[i])
				if !p.LogY {
					see(s.X[i], s.Lo[i])
				}
			}
		}
	}
	if b.x0 > b.x1 {
		return b, ErrNoData
	}
	if same(b.x0, b.x1) {
		b.x0, b.x1 = b.x0-0.5, b.x1+0.5
	}
	if p.Rows == nil && slices.ContainsFunc(p.Series, func(s Series) bool { return s.Points }) {
		pad := 0.03 * (b.x1 - b.x0) // a bar on the edge would be taken for the axis
		b.x0, b.x1 = b.x0-pad, b.x1+pad
	}
	switch {
	case p.Rows != nil:
		pad := 0.04 * (b.x1 - b.x0)
		b = bounds{b.x0 - pad, b.x1 + pad, -0.5, float64(len(p.Rows)) - 0.5}
	case p.LogY:
		b.y0, b.y1 = b.y0/1.3, b.y1*1.3
	default:
		pad := 0.05 * (b.y1 - b.y0)
		if same(b.y0, b.y1) {
			pad = max(0.05*math.Abs(b.y1), 1e-3)
		}
		b.y0, b.y1 = b.y0-pad, b.y1+pad
		if p.Zero && b.y0 > -pad*1.5 {
			b.y0 = min(0, b.y0+pad)
		}
	}
	return b, nil
}

// same tells whether two ends of an axis differ by rounding only.
func same(a, b float64) bool { return math.Abs(b-a) <= 1e-9*math.Max(math.Abs(a), math.Abs(b)) }

func addLine(g *plot.Plot, xys plotter.XYs, style draw.LineStyle) error {
	l, err := plotter.NewLine(xys)
	if err != nil {
		return fmt.Errorf("drawing a line: %w", err)
	}
	l.LineStyle = style
	g.Add(l)
	return nil
}

// pieces are the stretches of a series without a gap.
func (s *Series) pieces(ok func(i int) bool) [][]int {
	var list [][]int
	open := false
	for i := range s.X {
		if !finite(s.X[i], s.Y[i]) || !ok(i) {
			open = false
			continue
		}
		if !open {
			list = append(list, nil)
			open = true
		}
		list[len(list)-1] = append(list[len(list)-1], i)
	}
	return list
}

func addBand(g *plot.Plot, s Series, box bounds) error {
	for _, piece := range s.pieces(func(i int) bool { return finite(s.Lo[i], s.Hi[i]) }) {
		var outline plotter.XYs
		for _, i := range piece {
			outline = append(outline, plotter.XY{X: s.X[i], Y: box.clamp(s.Hi[i])})
		}
		for k := len(piece) - 1; k >= 0; k-- {
			outline = append(outline, plotter.XY{X: s.X[piece[k]], Y: box.clamp(s.Lo[piece[k]])})
		}
		if len(piece) < 2 {
			continue // a band of one position has no area
		}
		band, err := plotter.NewPolygon(outline)
		if err != nil {
			return fmt.Errorf("drawing a band: %w", err)
		}
		band.Color, band.Width = bandOf(s.Colour), 0
		g.Add(band)
	}
	return nil
}

// addSeries draws a series; rows says that its intervals lie along x.
func addSeries(g *plot.Plot, s Series, box bounds, rows bool) error {
	inside := func(i int) bool { return s.Y[i] >= box.y0 && s.Y[i] <= box.y1 }
	for _, piece := range s.pieces(inside) {
		var xys plotter.XYs
		for _, i := range piece {
			xys = append(xys, plotter.XY{X: s.X[i], Y: s.Y[i]})
			if s.Points && s.Lo != nil && finite(s.Lo[i], s.Hi[i]) {
				bar := plotter.XYs{{X: s.X[i], Y: box.clamp(s.Lo[i])}, {X: s.X[i], Y: box.clamp(s.Hi[i])}}
				if rows {
					bar = plotter.XYs{{X: s.Lo[i], Y: s.Y[i]}, {X: s.Hi[i], Y: s.Y[i]}}
				}
				if err := addLine(g, bar, lineStyle(s.Colour, Solid, vg.Points(1.1))); err != nil {
					return err
				}
			}
		}
		if s.Line != NoLine && len(xys) > 1 {
			if err := addLine(g, xys, lineStyle(s.Colour, s.Line, vg.Points(1.6))); err != nil {
				return err
			}
		}
		if s.Points || len(xys) == 1 {
			dots, err := plotter.NewScatter(xys)
			if err != nil {
				return fmt.Errorf("drawing points: %w", err)
			}
			dots.GlyphStyle = glyph(s.Colour, s.Shape)
			g.Add(dots)
		}
	}
	return nil
}

func glyph(colour int, shape Shape) draw.GlyphStyle {
	g := draw.GlyphStyle{Color: colourOf(colour), Radius: vg.Points(2.6), Shape: draw.CircleGlyph{}}
	switch shape {
	case Circle:
	case Square:
		g.Shape = draw.BoxGlyph{}
	case Triangle:
		g.Shape, g.Radius = draw.PyramidGlyph{}, vg.Points(3.4)
	case Cross:
		g.Shape, g.Radius = draw.CrossGlyph{}, vg.Points(3.8)
	}
	return g
}
