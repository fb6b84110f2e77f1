package operation

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"testing"

	"github.com/gsmeval/gsmeval/noise/philox"
)

// moments are means and standard deviations of columns.
type moments struct {
	Time     float64
	Mean, SD []float64
}

func analogGolden(t *testing.T) (golden struct {
	Weights       []float32
	PCM           []moments
	ReRAM         []moments
	AFMPCM        moments `json:"afm_pcm"`
	AdditiveRow   moments `json:"additive_row"`
	AdditiveTile5 moments `json:"additive_tile_5"`
},
) {
	t.Helper()
	data, err := os.ReadFile("testdata/analog.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &golden); err != nil {
		t.Fatal(err)
	}
	return golden
}

// columns repeats a row and then a 1, and gives the moments of each column after an operation.
func columns(op OnWeights, row []float32, sign float32, rows int) (m moments) {
	row = append(slices.Clone(row), 1)
	for i := range row {
		row[i] *= sign
	}
	w := Weight{
		Values: slices.Repeat(row, rows), In: len(row), Key: philox.NewKey(philox.Weight, 9, 0, op.Label()),
		Type: "float32",
	}
	op.PerturbWeight(w)
	for c := range len(row) - 1 {
		sum, squares := 0.0, 0.0
		for r := range rows {
			v := float64(sign) * float64(w.Values[r*len(row)+c])
			sum += v
			squares += v * v
		}
		mean := sum / float64(rows)
		m.Mean = append(m.Mean, mean)
		m.SD = append(m.SD, math.Sqrt(squares/float64(rows)-mean*mean))
	}
	return m
}

func (m moments) near(t *testing.T, what string, want moments) {
	t.Helper()
	for i := range want.Mean {
		if math.Abs(m.Mean[i]/want.Mean[i]-1) > 0.01 || math.Abs(m.SD[i]/want.SD[i]-1) > 0.01 {
			t.Errorf("%s: bin %d has mean %.5g and standard deviation %.5g, want %.5g and %.5g", what, i, m.Mean[i],
				m.SD[i], want.Mean[i], want.SD[i])
		}
	}
}

func TestAnalogWeightsHaveTheReferencesMoments(t *testing.T) {
	t.Parallel()
	golden := analogGolden(t)
	const rows = 100_000 // a million weights in ten bins
	for _, want := range golden.PCM {
		op := made(t, fmt.Sprintf("{kind: pcm, time: %g, compensation: none}", want.Time)).(OnWeights)
		columns(op, golden.Weights, 1, rows).near(t, op.Label(), want)
	}
	columns(made(t, "{kind: pcm, compensation: none, time: 3600}").(OnWeights), golden.Weights, -1, rows).near(t,
		"negative", golden.PCM[2])
	columns(made(t, "{kind: pcm, compensation: none, time: 3600, per: tile, tile: 64}").(OnWeights), golden.Weights, 1,
		rows).near(t, "tiles", golden.PCM[2])
	for _, want := range golden.ReRAM {
		op := made(t, fmt.Sprintf("{kind: reram, time: %g}", want.Time)).(OnWeights)
		columns(op, golden.Weights, 1, rows).near(t, op.Label(), want)
		columns(op, golden.Weights, -1, rows).near(t, op.Label()+", negative", want)
	}
	columns(made(t, "{kind: reram, per: tile, tile: 64}").(OnWeights), golden.Weights, 1, rows).near(t, "reram by tile",
		golden.ReRAM[0])
	columns(made(t, "{kind: afm_pcm}").(OnWeights), golden.Weights, 1, rows).near(t, "afm_pcm", golden.AFMPCM)
	additive := "{kind: gaussian, relative_to: absmax, scale: 0.05, per: "
	columns(made(t, additive+"row}").(OnWeights), golden.Weights, 1, rows).near(t, "additive by row",
		golden.AdditiveRow)
	columns(made(t, additive+"tile, tile: 5}").(OnWeights), golden.Weights, 1, rows).near(t, "additive by tile",
		golden.AdditiveTile5)
}

// Global compensation puts the mean magnitude back to what it was after programming.
func TestGlobalCompensationUndoesTheMeanDrift(t *testing.T) {
	t.Parallel()
	golden := analogGolden(t)
	const rows = 20_000
	mean := func(text string) (sum float64) {
		for _, v := range columns(made(t, text).(OnWeights), golden.Weights, 1, rows).Mean {
			sum += v
		}
		return sum
	}
	fresh := mean("{kind: pcm, compensation: none}")
	for _, per := range []string{"tensor", "row"} {
		drifted, compensated := mean("{kind: pcm, time: 3.15576e7, compensation: none, per: "+per+"}"),
			mean("{kind: pcm, time: 3.15576e7, per: "+per+"}")
		if !(drifted < 0.6*fresh) || math.Abs(compensated/fresh-1) > 0.02 {
			t.Errorf("per %s: the mean is %v after programming, %v after a year, %v compensated", per, fresh, drifted,
				compensated)
		}
	}
}

// limits are those within which a binomial count lies in 99 % of cases.
func limits(n, p float64) (lo, hi float64) {
	half := 2.5758 * math.Sqrt(n*p*(1-p))
	return n*p - half, n*p + half
}

func TestStuckCellsAreAsManyAsAsked(t *testing.T) {
	t.Parallel()
	const n = 1_000_000
	w := Weight{Values: slices.Repeat([]float32{0.5, 0.5, -0.5, 1}, n/4), In: 1000, Key: 5}
	tally := made(t, "{kind: stuck, zero: 0.01, max: 0.002}").(OnWeights).PerturbWeight(w)
	if lo, hi := limits(n, 1-0.988*0.988); float64(tally.Flipped) < lo || float64(tally.Flipped) > hi {
		t.Errorf("%d weights have a stuck cell, want %.0f to %.0f", tally.Flipped, lo, hi)
	}
	counts := map[float32]float64{}
	for i, v := range w.Values {
		if i%4 < 2 {
			counts[v]++
		}
	}
	// Above zero the cell holds 0.5, 0 or 1; below it is 0 or 1.
	for v, p := range map[float32]float64{
		0.5: 0.988 * 0.998, 0: 0.01*0.998 + 0.002*0.002, 1: 0.002 * 0.998, -0.5: 0.988 * 0.002, -1: 0.01 * 0.002,
	} {
		if lo, hi := limits(n/2, p); counts[v] < lo || counts[v] > hi {
			t.Errorf("%v becomes of 0.5 in %v cases, want %.0f to %.0f", v, counts[v], lo, hi)
		}
	}
}

func TestBitsFlipAtTheRate(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		format string
		bits   int
		rate   float64
	}{
		{"float32", 32, 1e-3},
		{"bfloat16", 16, 1e-4},
		{"float16", 16, 0.01},
		{"int8", 8, 1e-3},
		{"int4", 4, 0.2},
		{"int2", 2, 1},
	} {
		const in, rows = 1000, 1000
		op := &BitFlip{Rate: c.rate, Format: c.format}
		s := stored(c.format)
		x := make([]float32, in*rows)
		for i := range x {
			x[i] = []float32{1, -1, 0.5, 0.25}[i%4]
		}
		op2, l := slices.Clone(x), levels{}
		if s.levels != nil {
			l = s.levels.levels(extent(x[:in]), 1)
		}
		// What the format holds is read back before the flips are counted, bit by bit.
		perBit := make([]float64, c.bits)
		flips := op.flips(Weight{Key: 77}.draws(0), c.bits)
		for e, b := flips(); e < in*rows; e, b = flips() {
			perBit[b]++
		}
		for b, n := range perBit {
			if half := 3.9 * math.Sqrt(in*rows*c.rate*(1-c.rate)); math.Abs(n-in*rows*c.rate) > half {
				t.Errorf("%s: bit %d flipped %v times of %v", c.format, b, n, in*rows*c.rate)
			}
		}
		tally := op.PerturbWeight(Weight{Values: op2, In: in, Key: 77, Type: "float32"})
		few, many := limits(in*rows, 1-math.Pow(1-c.rate, float64(c.bits)))
		if n := float64(tally.Flipped); n < few || n > many {
			t.Errorf("%s: %v elements have a bit turned over, want %.0f to %.0f", c.format, n, few, many)
		}
		flipped, lost := 0.0, 0.0
		for i, v := range op2 {
			was, is := s.encode(x[i], l), s.encode(v, l)
			if v == 0 && s.levels == nil {
				lost++ // no longer finite, or a flip to 0: neither happens to a single bit of these numbers but the exponent's
				continue
			}
			for d := was ^ is; d != 0; d &= d - 1 {
				flipped++
			}
		}
		lo, hi := limits(in*rows*float64(c.bits), c.rate)
		if flipped+lost*float64(c.bits) < lo || flipped > hi {
			t.Errorf("%s: %v bits flipped and %v numbers lost, want %.0f to %.0f flips", c.format, flipped, lost, lo, hi)
		}
	}
}

func TestHalfPrecisionIsIEEE(t *testing.T) {
	t.Parallel()
	for h := range uint32(0x10000) {
		if v := fromHalf(h); h>>10&0x1f == 31 {
			if d := float64(v); !math.IsInf(d, 0) && !math.IsNaN(d) {
				t.Fatalf("%#x is %v", h, v)
			}
		} else if got := half(v); got != h {
			t.Fatalf("%#x is %v, and that is %#x", h, v, got)
		}
	}
	for v, want := range map[float32]uint32{
		1: 0x3c00, -2: 0xc000, 65504: 0x7bff, 0x1p-24: 1, 0.333251953125: 0x3555,
		1 + 0x1p-11: 0x3c00, 1 + 0x3p-11: 0x3c02,
	} {
		if got := half(v); got != want {
			t.Errorf("%v is %#x, want %#x", v, got, want)
		}
	}
}

func TestConvertersClipAndRound(t *testing.T) {
	t.Parallel()
	x := []float32{-9, -1, -0.4, 0, 0.1, 0.17, 0.5, 1, 2}
	y := make([]float32, len(x))
	tally := made(t, "{kind: converters, bits: 3, range: 1}").(OnRows).PerturbRow(y, Rows{Values: x, D: len(x)}, 0)
	// Six steps from -1 to 1: thirds.
	third := float32(2) / 6
	if want := []float32{-3 * third, -3 * third, -third, 0, 0, third, 2 * third, 3 * third, 3 * third}; !slices.Equal(y,
		want) || tally.Clipped != 2 {
		t.Errorf("got %v, %d clipped; want %v, 2", y, tally.Clipped, want)
	}
	op := made(t, "{kind: converters, bits: 8, range: 0.5, relative_to: absmax}").(OnRows)
	if tally = op.PerturbRow(y, Rows{Values: x, D: len(x)}, 0); tally.Clipped != 1 || y[0] != -4.5 || y[8] == 0 {
		t.Errorf("half of absmax: %v, %d clipped", y, tally.Clipped)
	}
}
