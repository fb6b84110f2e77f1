package plots

import (
	"bytes"
	"encoding/xml"
	"errors"
	"image/png"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func demo() *Figure {
	wave := func(scale float64) (x, y, lo, hi []float64) {
		for t := range 150 {
			a := scale * (0.02 + 0.3*math.Exp(-float64(t)/20)*(1+0.3*math.Sin(float64(t))))
			x, y, lo, hi = append(x, float64(t)), append(y, a), append(lo, a*0.7), append(hi, a*1.3)
		}
		return x, y, lo, hi
	}
	f := &Figure{Title: "6a: α against token position", Note: strings.Repeat("bands: 95 % intervals over prompts ", 8)}
	for _, title := range []string{"raw", "moving average"} {
		p := Panel{Title: title, X: "generated token t", Y: "α = Var(e) / Var(z)", Zero: true}
		for i, name := range []string{"activation 0.05", "weight 0.05", "combined w0.02 a0.05"} {
			x, y, lo, hi := wave(float64(i + 1))
			p.Series = append(p.Series, Series{Name: name, X: x, Y: y, Lo: lo, Hi: hi, Colour: i})
		}
		p.Series = append(p.Series, Series{
			Name: "points", X: []float64{5, 50, 100}, Y: []float64{0.6, 0.5, 0.7},
			Lo: []float64{0.5, 0.4, 0.5}, Hi: []float64{0.7, 0.6, 0.9}, Points: true, Colour: 3, Line: Dashed,
		})
		p.Marks = []Mark{{"T*", 75, Grey, Dotted}}
		f.Panels = append(f.Panels, p)
	}
	return f
}

func TestFigureIsDrawnTheSameEveryTime(t *testing.T) {
	t.Parallel()
	for name, render := range map[string]func(*Figure) ([]byte, error){"png": (*Figure).PNG, "svg": (*Figure).SVG} {
		a, err := render(demo())
		if err != nil {
			t.Fatal(err)
		}
		b, err := render(demo())
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(a, b) {
			t.Errorf("%s: two drawings of one figure differ", name)
		}
		if dir := os.Getenv("GSMEVAL_PLOTS"); dir != "" { // for looking at
			if err := os.WriteFile(filepath.Join(dir, "demo."+name), a, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestPNGHasTheColoursOfItsSeries(t *testing.T) {
	t.Parallel()
	data, err := demo().PNG()
	if err != nil {
		t.Fatal(err)
	}
	img, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	count := map[int]int{}
	for y := range img.Bounds().Dy() {
		for x := range img.Bounds().Dx() {
			r, g, b, _ := img.At(x, y).RGBA()
			for i := range 4 {
				c := colourOf(i)
				if uint8(r>>8) == c.R && uint8(g>>8) == c.G && uint8(b>>8) == c.B {
					count[i]++
				}
			}
		}
	}
	for i := range 4 {
		if count[i] < 100 {
			t.Errorf("%d pixels have colour %d", count[i], i)
		}
	}
}

func TestSVGNamesEverySeriesOnce(t *testing.T) {
	t.Parallel()
	data, err := demo().SVG()
	if err != nil {
		t.Fatal(err)
	}
	dec := xml.NewDecoder(bytes.NewReader(data))
	texts := map[string]int{}
	for {
		tok, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("not well-formed: %v", err)
		}
		if c, ok := tok.(xml.CharData); ok {
			texts[strings.TrimSpace(string(c))]++
		}
	}
	for text, want := range map[string]int{
		"activation 0.05": 1, "weight 0.05": 1, "points": 1, "T*": 1, "generated token t": 2,
		"6a: α against token position": 1,
	} {
		if texts[text] != want {
			t.Errorf("%q stands there %d times, want %d", text, texts[text], want)
		}
	}
}

func TestWhatCannotBeDrawn(t *testing.T) {
	t.Parallel()
	nan := math.NaN()
	for name, f := range map[string]*Figure{
		"no panel":   {},
		"no series":  {Panels: []Panel{{}}},
		"no number":  {Panels: []Panel{{Series: []Series{{X: []float64{1}, Y: []float64{nan}}}}}},
		"only below": {Panels: []Panel{{LogY: true, Series: []Series{{X: []float64{1}, Y: []float64{-1}}}}}},
	} {
		if _, err := f.PNG(); !errors.Is(err, ErrNoData) {
			t.Errorf("%s: error %v", name, err)
		}
	}
	f := &Figure{Panels: []Panel{{Series: []Series{{X: []float64{1, 2}, Y: []float64{1}}}}}}
	if _, err := f.SVG(); err == nil || !strings.Contains(err.Error(), "2 x, 1 y") {
		t.Errorf("lengths that differ: error %v", err)
	}
}

func TestOddSeriesAreDrawn(t *testing.T) {
	t.Parallel()
	nan, inf := math.NaN(), math.Inf(1)
	for name, s := range map[string]Series{
		"one point":       {X: []float64{3}, Y: []float64{2}},
		"one point, band": {X: []float64{3}, Y: []float64{2}, Lo: []float64{1}, Hi: []float64{3}},
		"constant":        {X: []float64{0, 1}, Y: []float64{1, 1}},
		"rounding":        {X: []float64{1e9, 1e9 + 1e-7}, Y: []float64{1, math.Nextafter(1, 2)}},
		"zero":            {X: []float64{0, 1}, Y: []float64{0, 0}},
		"a gap":           {X: []float64{0, 1, 2, 3}, Y: []float64{1, nan, 2, 3}},
		"endless intervals": {
			X: []float64{0, 1, 2}, Y: []float64{1, 2, 3}, Lo: []float64{-inf, 1, -inf},
			Hi: []float64{inf, 3, inf},
		},
		"points and bars": {
			X: []float64{0, 1}, Y: []float64{1, 2}, Lo: []float64{0, nan}, Hi: []float64{3, nan},
			Points: true,
		},
	} {
		for _, log := range []bool{false, true} {
			if name == "zero" && log {
				continue
			}
			f := &Figure{Panels: []Panel{{LogY: log, Zero: true, Series: []Series{s}}}}
			if _, err := f.PNG(); err != nil {
				t.Errorf("%s (logarithmic: %v): %v", name, log, err)
			}
			svg, err := f.SVG()
			if err != nil {
				t.Errorf("%s (logarithmic: %v): %v", name, log, err)
			}
			if bytes.Contains(svg, []byte("NaN")) || bytes.Contains(svg, []byte("Inf")) {
				t.Errorf("%s (logarithmic: %v): a coordinate is not finite", name, log)
			}
		}
	}
}
