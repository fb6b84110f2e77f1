package operation

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/gsmeval/gsmeval/noise/philox"
)

// made is an operation of a kind, with parameters as a config has them.
func made(t *testing.T, text string) Operation {
	t.Helper()
	var kind struct{ Kind string }
	if err := yaml.Unmarshal([]byte(text), &kind); err != nil {
		t.Fatal(err)
	}
	op, ok := New(kind.Kind)
	if !ok {
		t.Fatalf("no operation %q", kind.Kind)
	}
	if err := yaml.Unmarshal([]byte(text), op); err != nil {
		t.Fatal(err)
	}
	return op
}

func floats(t *testing.T, text string) []float32 {
	t.Helper()
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	v := make([]float32, len(data)/4)
	for i := range v {
		v[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
	}
	return v
}

func TestQuantisersGiveTheOraclesBits(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/quantisers.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Columns int
		X       string
		Cases   []struct {
			Operation json.RawMessage
			Y         string
		}
	}
	if err := json.Unmarshal(data, &golden); err != nil {
		t.Fatal(err)
	}
	x := floats(t, golden.X)
	kinds := map[string]bool{}
	for _, c := range golden.Cases {
		op, want := made(t, string(c.Operation)), floats(t, c.Y)
		kinds[op.Label()] = true
		got := slices.Clone(x)
		tally := op.(OnWeights).PerturbWeight(Weight{Values: got, In: golden.Columns})
		same(t, string(c.Operation)+" of weights", x, got, want, tally)
		rows, ok := op.(OnRows)
		if !ok {
			continue
		}
		clear(got)
		var sum Tally
		for i := range len(x) / golden.Columns {
			r := Rows{Values: x, D: golden.Columns, Group: [2]int{0, len(x) / golden.Columns}, Over: RangeOf(x)}
			sum.add2(rows.PerturbRow(got[i*golden.Columns:(i+1)*golden.Columns], r, i))
		}
		same(t, string(c.Operation)+" of activations", x, got, want, sum)
	}
	if len(kinds) != len(golden.Cases) {
		t.Errorf("%d labels of %d operations", len(kinds), len(golden.Cases))
	}
}

func same(t *testing.T, what string, x, got, want []float32, tally Tally) {
	t.Helper()
	wrong, changed, noise := 0, int64(0), 0.0
	for i := range want {
		if got[i] != want[i] {
			if wrong++; wrong < 4 {
				t.Errorf("%s: [%d] %v becomes %v, want %v", what, i, x[i], got[i], want[i])
			}
		}
		if want[i] != x[i] {
			changed++
		}
		noise += (float64(want[i]) - float64(x[i])) * (float64(want[i]) - float64(x[i]))
	}
	if wrong > 0 {
		t.Errorf("%s: %d of %d differ", what, wrong, len(want))
	}
	if tally.Changed != changed || math.Abs(tally.Noise2-noise) > 1e-9*noise {
		t.Errorf("%s: counted %d changes, squared noise %v; want %d, %v", what, tally.Changed, tally.Noise2, changed,
			noise)
	}
}

// Of numbers that lie at a quarter of a step, a quarter is rounded up: the mean is the number itself.
func TestStochasticRoundingIsUnbiased(t *testing.T) {
	t.Parallel()
	const n = 40000
	for _, text := range []string{
		"{kind: int, bits: 8, rounding: stochastic}", "{kind: fp8, rounding: stochastic}",
		"{kind: mxfp4, rounding: stochastic}",
		"{kind: mxfp8, rounding: stochastic}", "{kind: nvfp4, rounding: stochastic}",
	} {
		op := made(t, text)
		if !op.Random() {
			t.Errorf("%s is not random", text)
		}
		v := make([]float32, n)
		for i := range v {
			v[i] = 0.3701
			if i%16 == 0 {
				v[i] = 1
			}
		}
		again := slices.Clone(v)
		op.(OnWeights).PerturbWeight(Weight{Values: v, In: n, Key: philox.NewKey(philox.Weight, 1, 0, "w")})
		op.(OnWeights).PerturbWeight(Weight{Values: again, In: n, Key: philox.NewKey(philox.Weight, 1, 0, "w")})
		if !slices.Equal(v, again) {
			t.Errorf("%s: the same key gave other numbers", text)
		}
		sum, squares, m := 0.0, 0.0, 0.0
		for i, x := range v {
			if i%16 != 0 {
				sum += float64(x)
				squares += float64(x) * float64(x)
				m++
			}
		}
		mean := sum / m
		se := math.Sqrt((squares/m - mean*mean) / m)
		if se == 0 || math.Abs(mean-0.3701) > 4*se {
			t.Errorf("%s: the mean is %v, off by %.1f standard errors", text, mean, (mean-0.3701)/se)
		}
	}
}

// The search never does worse than absmax, and does better on numbers with an outlier.
func TestClipSearchLessensTheError(t *testing.T) {
	t.Parallel()
	w := make([]float32, 4096)
	for i := range w {
		w[i] = float32(philox.Normals(philox.Words(philox.Counter{uint32(i)}, 7))[0])
	}
	noise := func(text string) float64 {
		return made(t, text).(OnWeights).PerturbWeight(Weight{Values: slices.Clone(w), In: 1024}).Noise2
	}
	for _, bits := range []string{"2", "3", "4"} {
		plain, searched := noise("{kind: int, bits: "+bits+"}"), noise("{kind: int, bits: "+bits+", clip: search}")
		if !(searched < 0.9*plain) {
			t.Errorf("%s bits: squared error %v with the search, %v without", bits, searched, plain)
		}
	}
}

// A ratio that is searched for a tensor is one for all of its rows: the numbers lie on one grid.
func TestClipSearchOfATensorIsOneGrid(t *testing.T) {
	t.Parallel()
	const in, rows = 64, 32
	w := make([]float32, in*rows)
	for i := range w {
		w[i] = float32(philox.Normals(philox.Words(philox.Counter{uint32(i)}, 7))[0]) * float32(1+i/in)
	}
	searched := slices.Clone(w)
	tally := made(t, "{kind: int, bits: 3, per: tensor, clip: search}").(OnWeights).PerturbWeight(
		Weight{Values: searched, In: in})
	plain := made(t, "{kind: int, bits: 3, per: tensor}").(OnWeights).PerturbWeight(Weight{Values: slices.Clone(w), In: in})
	levels := map[float32]bool{}
	for _, v := range searched {
		levels[v] = true
	}
	if len(levels) > 8 || tally.Noise2 >= plain.Noise2 {
		t.Errorf("%d levels of 3 bits, squared error %v; %v without the search", len(levels), tally.Noise2, plain.Noise2)
	}
}

// A static range that was measured is one that was given.
func TestStaticRangesAreThoseThatWereMeasured(t *testing.T) {
	t.Parallel()
	x := []float32{-3, -0.7, 0.001, 0.3, 1.4, 1.6, 2.2, 9, 0.01, -0.2, 0.5, 0.25, -1.25, 0.75, 1, -2}
	for _, kind := range []string{"int, bits: 4", "int, bits: 8, narrow: true", "fp8", "fp8, format: e5m2", "nvfp4"} {
		given, static := make([]float32, len(x)), make([]float32, len(x))
		rows := Rows{Values: x, D: len(x), Over: Range{Lo: -1.5, Hi: 1}}
		op := made(t, "{kind: "+kind+", static: true}")
		if c, ok := op.(Calibrated); !ok || !c.Calibrated() || op.(OverTensor).OverTensor() {
			t.Fatalf("%s does not ask for a measured range alone", kind)
		}
		if !strings.HasSuffix(op.Label(), " static") {
			t.Errorf("%s is labelled %q", kind, op.Label())
		}
		was := made(t, "{kind: "+kind+", range: 1.5}").(OnRows).PerturbRow(given, rows, 0)
		is := op.(OnRows).PerturbRow(static, rows, 0)
		if !slices.Equal(given, static) || was != is || kind != "nvfp4" && is.Clipped == 0 {
			t.Errorf("%s: %v and %+v with a measured range, %v and %+v with a given one", kind, static, is, given, was)
		}
	}
	// Asymmetric levels lie between both ends of what was measured.
	y := make([]float32, len(x))
	made(t, "{kind: int, bits: 2, asymmetric: true, static: true}").(OnRows).PerturbRow(y,
		Rows{Values: x, D: len(x), Over: Range{Lo: -1, Hi: 2}}, 0)
	if lo, hi := slices.Min(y), slices.Max(y); lo != -1 || hi != 2 {
		t.Errorf("levels from %v to %v, want -1 to 2", lo, hi)
	}
}

// Weights that are a grid of sixteen levels in groups, as those of GGUF's Q4_1, stay what they are with an offset of the group's own; a
// whole zero point moves them.
func TestOffsetKeepsAGridOfItsOwn(t *testing.T) {
	t.Parallel()
	const group = 32
	x := make([]float32, 8*group)
	for i := range x {
		g := i / group
		step, least := 0.01+0.003*float32(g), -0.031-0.017*float32(g)
		level := (i*7 + g) % 16
		if i%group < 2 {
			level = 15 * (i % group) // both ends of the grid are in use
		}
		x[i] = step*float32(level) + least
	}
	worst := func(q *Int) (most float64) {
		y := slices.Clone(x)
		q.PerturbWeight(Weight{Name: "w", Values: y, In: 2 * group})
		for i, v := range y {
			most = max(most, math.Abs(float64(v-x[i])))
		}
		return most
	}
	if e := worst(&Int{Bits: 4, Per: "group", Group: group, Asymmetric: true, Offset: true}); e > 1e-7 {
		t.Errorf("with an offset numbers of the grid move by %g", e)
	}
	if e := worst(&Int{Bits: 4, Per: "group", Group: group, Asymmetric: true}); e < 1e-3 {
		t.Errorf("with a whole zero point they move by %g only", e)
	}
}
