package latex

import "testing"

func TestRational(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]string{
		"18": "18", `3 \times 6`: "18", `2^5`: "32", `10^6`: "1000000", `\sqrt{16}`: "4",
		`\frac{\text{1}}{\text{2}}`: "1/2", `{1 \over 2}`: "1/2", `\cfrac{1}{2}`: "1/2",
		`5!`: "120", `-\,3`: "-3", `\text{-}3`: "-3", `2\frac{1}{2}`: "5/2", `2 1/2`: "5/2", `\$18.00`: "18",
		`18\%`: "18", `(3+5)\times 2`: "16", `\frac12`: "1/2",
		`70{,}000`: "70000", `1,234`: "1234", `-3^{\circ}\text{C}`: "-3", `\left(\frac{1}{2}\right)^{2}`: "1/4",
		`2^10`: "1024", `1 000`: "", `\sqrt{17}`: "", `x`: "", `2, 3`: "", ``: "",
	} {
		r, ok := Rational(s)
		got := ""
		if ok {
			got = r.RatString()
		}
		if got != want {
			t.Errorf("%s: %q, want %q", s, got, want)
		}
	}
}
