package plots

import (
	"image/color"
	"strings"

	stdfont "golang.org/x/image/font"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// palette is the colours of Okabe and Ito, "Color Universal Design" (2008), without the yellow, which is too light for
// a line on white.
var palette = []color.NRGBA{
	{R: 0x00, G: 0x72, B: 0xB2, A: 0xFF}, // blue
	{R: 0xD5, G: 0x5E, B: 0x00, A: 0xFF}, // vermilion
	{R: 0x00, G: 0x9E, B: 0x73, A: 0xFF}, // bluish green
	{R: 0xCC, G: 0x79, B: 0xA7, A: 0xFF}, // reddish purple
	{R: 0xE6, G: 0x9F, B: 0x00, A: 0xFF}, // orange
	{R: 0x56, G: 0xB4, B: 0xE9, A: 0xFF}, // sky blue
	{R: 0x00, G: 0x00, B: 0x00, A: 0xFF}, // black
}

// Grey is the colour of what is only a reference.
const Grey = -1

var (
	grey  = color.NRGBA{R: 0x70, G: 0x70, B: 0x70, A: 0xFF}
	faint = color.NRGBA{R: 0xE4, G: 0xE4, B: 0xE4, A: 0xFF}
	black = color.NRGBA{A: 0xFF}
	white = color.NRGBA{R: 0xFF, G: 0xFF, B: 0xFF, A: 0xFF}
)

// colourOf is a colour of the palette, from the start again past its end.
func colourOf(i int) color.NRGBA {
	if i < 0 {
		return grey
	}
	return palette[i%len(palette)]
}

// bandOf is the colour for an interval behind a curve.
func bandOf(i int) color.NRGBA {
	c := colourOf(i)
	c.A = 0x38
	return c
}

func lineStyle(colour int, l Line, width vg.Length) draw.LineStyle {
	s := draw.LineStyle{Color: colourOf(colour), Width: width}
	switch l {
	case Dashed:
		s.Dashes = []vg.Length{vg.Points(5), vg.Points(3)}
	case Dotted:
		s.Dashes = []vg.Length{vg.Points(1.2), vg.Points(2.4)}
	case Solid, NoLine:
	}
	return s
}

const lineHeight = 0.48 * vg.Centimeter

var (
	titleStyle  = textStyle(12, true)
	noteStyle   = withColour(textStyle(9, false), grey)
	legendStyle = textStyle(9, false)
)

func textStyle(size float64, bold bool) draw.TextStyle {
	f := font.Font{Typeface: "Liberation", Variant: "Sans", Size: vg.Points(size)}
	if bold {
		f.Weight = stdfont.WeightBold
	}
	return draw.TextStyle{
		Color: black, Font: f, XAlign: draw.XLeft, YAlign: draw.YTop,
		Handler: plot.DefaultTextHandler,
	}
}

func withColour(s draw.TextStyle, c color.Color) draw.TextStyle {
	s.Color = c
	return s
}

// sans makes a style of gonum's one of ours, and keeps its alignment and rotation.
func sans(s *text.Style, size float64, bold bool) {
	own := textStyle(size, bold)
	s.Font, s.Color = own.Font, own.Color
}

// wrap breaks a text into lines of at most a width.
func wrap(s draw.TextStyle, t string, width vg.Length) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(t) {
		switch {
		case line == "":
			line = word
		case s.Width(line+" "+word) > width:
			lines = append(lines, line)
			line = word
		default:
			line += " " + word
		}
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}
