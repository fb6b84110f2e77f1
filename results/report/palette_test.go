package report

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// colours reads the variables of the style sheet: light ones, and those that are different in the dark.
func colours(t *testing.T) map[string]map[string][3]float64 {
	t.Helper()
	light, dark, ok := strings.Cut(styleText, "prefers-color-scheme: dark")
	if !ok {
		t.Fatal("the style sheet knows no dark scheme")
	}
	dark, _, _ = strings.Cut(dark, "\n* {")
	read := func(text string, into map[string][3]float64) {
		for _, m := range regexp.MustCompile(`--([a-z0-9-]+): #([0-9a-f]{6});`).FindAllStringSubmatch(text, -1) {
			n, err := strconv.ParseUint(m[2], 16, 32)
			if err != nil {
				t.Fatal(err)
			}
			into[m[1]] = [3]float64{float64(n >> 16 & 255), float64(n >> 8 & 255), float64(n & 255)}
		}
	}
	out := map[string]map[string][3]float64{"light": {}, "dark": {}}
	read(light, out["light"])
	read(dark, out["dark"])
	if len(out["light"]) < 20 || len(out["light"]) != len(out["dark"]) {
		t.Fatalf("%d light colours, %d dark ones", len(out["light"]), len(out["dark"]))
	}
	return out
}

// linear is a colour in linear light, 0 to 1.
func linear(c [3]float64) (out [3]float64) {
	for i, v := range c {
		if v /= 255; v <= 0.04045 {
			out[i] = v / 12.92
		} else {
			out[i] = math.Pow((v+0.055)/1.055, 2.4)
		}
	}
	return out
}

// contrast is that of WCAG 2.
func contrast(a, b [3]float64) float64 {
	luminance := func(c [3]float64) float64 {
		l := linear(c)
		return 0.2126*l[0] + 0.7152*l[1] + 0.0722*l[2]
	}
	x, y := luminance(a), luminance(b)
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}

// TestContrast computes WCAG's AA: 4.5 for text, 3 for curves and for the edges of controls.
func TestContrast(t *testing.T) {
	t.Parallel()
	if got := contrast([3]float64{}, [3]float64{255, 255, 255}); math.Abs(got-21) > 1e-9 {
		t.Fatalf("black on white is %v, want 21", got)
	}
	if got := contrast([3]float64{0x77, 0x77, 0x77}, [3]float64{255, 255, 255}); math.Abs(got-4.478) > 1e-3 {
		t.Fatalf("#777 on white is %v, want 4.478", got)
	}
	for scheme, c := range colours(t) {
		check := func(front, back string, least float64) {
			if got := contrast(c[front], c[back]); got < least {
				t.Errorf("%s: %s on %s is %.2f, want %.1f", scheme, front, back, got, least)
			}
		}
		for _, back := range []string{"back", "panel"} {
			for _, text := range []string{"text", "muted", "link", "good", "bad"} {
				check(text, back, 4.5)
			}
			check("edge", back, 3)
		}
		check("mark-text", "mark-back", 4.5)
		check("warn-text", "warn-back", 4.5)
		check("link", "back", 4.5)
		for i := range 7 {
			check(fmt.Sprint("s", i), "back", 3)
		}
		check("sg", "back", 3)
	}
}

// The simulations of Machado, Oliveira and Fernandes (2009) for complete colour blindness, in linear light.
var blindness = map[string][3][3]float64{
	"none":         {{1, 0, 0}, {0, 1, 0}, {0, 0, 1}},
	"protanopia":   {{0.152286, 1.052583, -0.204868}, {0.114503, 0.786281, 0.099216}, {-0.003882, -0.048116, 1.051998}},
	"deuteranopia": {{0.367322, 0.860646, -0.227968}, {0.280085, 0.672501, 0.047413}, {-0.011820, 0.042940, 0.968881}},
	"tritanopia":   {{1.255528, -0.076749, -0.178779}, {-0.078411, 0.930809, 0.147602}, {0.004733, 0.691367, 0.303900}},
}

// lab is a colour in CIE L*a*b* (D65), as somebody with that blindness sees it.
func lab(c [3]float64, m [3][3]float64) [3]float64 {
	l := linear(c)
	var seen [3]float64
	for i := range seen {
		seen[i] = min(max(m[i][0]*l[0]+m[i][1]*l[1]+m[i][2]*l[2], 0), 1)
	}
	x := (0.4124564*seen[0] + 0.3575761*seen[1] + 0.1804375*seen[2]) / 0.95047
	y := 0.2126729*seen[0] + 0.7151522*seen[1] + 0.0721750*seen[2]
	z := (0.0193339*seen[0] + 0.1191920*seen[1] + 0.9503041*seen[2]) / 1.08883
	f := func(v float64) float64 {
		if v > 216.0/24389 {
			return math.Cbrt(v)
		}
		return (24389.0/27*v + 16) / 116
	}
	return [3]float64{116*f(y) - 16, 500 * (f(x) - f(y)), 200 * (f(y) - f(z))}
}

// TestColoursAreToldApart computes how far apart the colours of curves are, also for the colour-blind: at least 12 in
// CIE76, where about 2.3 is just noticeable. Shapes and dashes differ besides.
func TestColoursAreToldApart(t *testing.T) {
	t.Parallel()
	for scheme, c := range colours(t) {
		for name, m := range blindness {
			for i := range 7 {
				for k := range i {
					a, b := lab(c[fmt.Sprint("s", i)], m), lab(c[fmt.Sprint("s", k)], m)
					if d := math.Sqrt((a[0]-b[0])*(a[0]-b[0]) + (a[1]-b[1])*(a[1]-b[1]) +
						(a[2]-b[2])*(a[2]-b[2])); d < 12 {
						t.Errorf("%s, %s: s%d and s%d are %.1f apart", scheme, name, k, i, d)
					}
				}
			}
		}
	}
}
