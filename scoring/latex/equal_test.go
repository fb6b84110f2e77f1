package latex

import (
	"encoding/json"
	"os"
	"testing"
)

// disagreements lists the pairs on which math-verify and this package differ, and why.
var disagreements = map[[2]string]string{
	{`\{1,2\}`, "(1,2)"}:         "a set is no pair: math-verify is wrong",
	{"2,3", "(3,2)"}:             "a pair in another order: math-verify is wrong",
	{"12_3", "12"}:               "12 in base 3 is 5: math-verify, which drops the base, is wrong",
	{`10\,000`, "10000"}:         "a thin space between thousands: math-verify, which reads a product, is wrong",
	{`\sqrt{2}`, "2^{0.5}"}:      "the same number: math-verify, which compares a decimal with a root, is wrong",
	{`\emptyset`, `\varnothing`}: "two signs of one thing: math-verify is wrong",
	{"0.1", "0.1000001"}:         "two decimals: math-verify, which rounds to six digits, is wrong",
	{"2x=4", "x=2"}:              "equations with the same solutions: a matter of taste; math-verify wants the same sides",
}

// Answers in pairs, and whether math-verify takes them for the same.
func TestMathVerify(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/math_equal.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Made     string
		Versions map[string]string
		Pairs    [][3]any
	}
	if err := json.Unmarshal(data, &golden); err != nil {
		t.Fatal(err)
	}
	listed, agreed := 0, 0
	for _, p := range golden.Pairs {
		a, b, want := p[0].(string), p[1].(string), p[2].(bool)
		got := Equal(a, b)
		if got != Equal(b, a) {
			t.Errorf("%s and %s: the order matters", a, b)
		}
		if got == want {
			agreed++
		} else if _, known := disagreements[[2]string{a, b}]; known {
			listed++
		} else {
			t.Errorf("%s and %s: %v, math-verify says %v", a, b, got, want)
		}
	}
	if listed != len(disagreements) {
		t.Errorf("%d disagreements are listed, %d are there", len(disagreements), listed)
	}
	share := float64(agreed) / float64(len(golden.Pairs))
	t.Logf("agrees with math-verify %s of %s on %d of %d pairs, %.1f %%", golden.Versions["math-verify"], golden.Made,
		agreed, len(golden.Pairs), 100*share)
	if share < 0.98 {
		t.Errorf("agrees on %.4f", share)
	}
}

func FuzzEqual(f *testing.F) {
	for _, s := range []string{
		`\frac{1}{2}`, `(-\infty,3]\cup\{1,2\}`, `x^{2}+\sqrt[3]{y}`,
		`\begin{pmatrix} 1 \\ 2 \end{pmatrix}`, `1<x\le 3\pm 2`, `|x|!`, `\log_2 8`, `\text{a} 5\%`,
	} {
		f.Add(s, `2\frac12`)
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		if Equal(a, b) != Equal(b, a) {
			t.Errorf("%q and %q: the order matters", a, b)
		}
		if plain(Trim(a)) != "" && !Equal(a, a) {
			t.Errorf("%q is not itself", a)
		}
		if r, ok := Rational(a); ok && r == nil {
			t.Errorf("%q has no value", a)
		}
	})
}
