package operation

import (
	"math"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/gsmeval/gsmeval/internal/keys"
	"github.com/gsmeval/gsmeval/noise/philox"
)

// Range is what a scale can be taken from.
type Range struct{ Lo, Hi, Std float32 }

// RangeOf looks at all values.
func RangeOf(v []float32) Range {
	r := Range{}
	if len(v) > 0 {
		r.Lo, r.Hi = v[0], v[0]
	}
	sum, n := 0.0, float64(len(v))
	for _, x := range v {
		r.Lo, r.Hi = min(r.Lo, x), max(r.Hi, x)
		sum += float64(x)
	}
	if len(v) > 1 {
		mean, squares := sum/n, 0.0
		for _, x := range v {
			squares += (float64(x) - mean) * (float64(x) - mean)
		}
		r.Std = float32(math.Sqrt(squares / (n - 1)))
	}
	return r
}

// extent is RangeOf without the standard deviation.
func extent(v []float32) Range {
	var lo, hi float32
	if len(v) > 0 {
		lo, hi = v[0], v[0]
	}
	for _, x := range v {
		lo, hi = min(lo, x), max(hi, x)
	}
	return Range{Lo: lo, Hi: hi}
}

// Most is the largest magnitude.
func (r Range) Most() float32 { return max(r.Hi, -r.Lo) }

// draws are the random words of the elements of a parameter or row: word i mod 4 of block i / 4.
type draws struct {
	key   philox.Key
	at    philox.Counter // of element 0
	block int            // the one in words, from 1 on
	words [4]uint32
	gauss int // the block in normals
	norms [4]float64
}

// draws are those of a parameter; n numbers several draws of one element.
func (w Weight) draws(n uint32) draws { return draws{key: w.Key, at: philox.Counter{0, n}} }

func (x Rows) draws() draws {
	return draws{key: x.Key, at: philox.Counter{x.First / 4, x.Position, x.Site, x.Step}}
}

func (d *draws) word(i int) uint32 {
	if b := i/4 + 1; b != d.block {
		c := d.at
		c[0] += uint32(b - 1)
		d.block, d.words = b, philox.Words(c, d.key)
	}
	return d.words[i%4]
}

// unit is a number from 0 to below 1.
func (d *draws) unit(i int) float64 { return float64(d.word(i)) * 0x1p-32 }

// normal is a standard normal number.
func (d *draws) normal(i int) float64 {
	d.word(i)
	if d.gauss != d.block {
		d.gauss, d.norms = d.block, philox.Normals(d.words)
	}
	return d.norms[i%4]
}

// rounder rounds numbers that share a scale onto a grid.
type rounder interface {
	// round writes x rounded to y, and tells how many were beyond the grid; over is the range of the whole tensor or,
	// where scales are finer, of x. d has the draws of stochastic rounding, from element i on, or is nil.
	round(y, x []float32, over Range, d *draws, i int) (clipped int64)
}

// sharing says which numbers share a scale: each of them in a row, or 0 for all of the tensor.
type sharing struct {
	each   int
	tensor bool // the range of the whole tensor is asked for too
	random bool
}

func (s sharing) row(q rounder, y, x []float32, over Range, d *draws, first int) (t Tally) {
	each := s.each
	if each == 0 {
		each = len(x)
	}
	for from := 0; from < len(x); from += each {
		to := min(from+each, len(x))
		if !s.tensor {
			over = extent(x[from:to])
		}
		t.Clipped += q.round(y[from:to], x[from:to], over, d, first+from)
	}
	t.count(y, x)
	return t
}

// count adds what became of x.
func (t *Tally) count(y, x []float32) {
	y = y[:len(x)]
	var noise, signal float64
	var changed int64
	for i, v := range x {
		e := float64(y[i]) - float64(v)
		if e != 0 {
			changed++
		}
		noise += e * e
		signal += float64(v) * float64(v)
	}
	t.Changed += changed
	t.Noise2 += noise
	t.Spread2 += signal
}

func (t *Tally) add2(o Tally) {
	t.Changed += o.Changed
	t.Clipped += o.Clipped
	t.Flipped += o.Flipped
	t.Noise2 += o.Noise2
	t.Spread2 += o.Spread2
}

// weight rounds a parameter in place.
func (s sharing) weight(q rounder, w Weight) Tally {
	var over Range
	if s.tensor {
		over = extent(w.Values)
	}
	return eachRow(w, func(row int, y, x []float32) Tally {
		var d *draws
		if s.random {
			all := w.draws(0)
			d = &all
		}
		return s.row(q, y, x, over, d, row*w.In)
	})
}

// activation rounds row i of x to y.
func (s sharing) activation(q rounder, y []float32, x Rows, i int) Tally {
	if !s.random {
		return s.row(q, y, x.Row(i), x.Over, nil, 0)
	}
	d := x.draws()
	return s.row(q, y, x.Row(i), x.Over, &d, 0)
}

// eachRow gives f every row of a parameter in x, and puts what f writes to y in its place. Rows go to several
// goroutines; the tallies are summed in their order.
func eachRow(w Weight, f func(row int, y, x []float32) Tally) Tally {
	out := w.Out()
	tallies := make([]Tally, out)
	workers := max(1, min(runtime.GOMAXPROCS(0), out))
	var wg sync.WaitGroup
	for k := range workers {
		wg.Go(func() {
			y := make([]float32, w.In)
			for r := k * out / workers; r < (k+1)*out/workers; r++ {
				x := w.Values[r*w.In : (r+1)*w.In]
				tallies[r] = f(r, y, x)
				copy(x, y)
			}
		})
	}
	wg.Wait()
	var t Tally
	for _, row := range tallies {
		t.add2(row)
	}
	return t
}

// tiles cuts a row into as few tiles of at most so many numbers as it takes, of nearly equal widths, and calls f with
// each: as analog-foundation-models splits a matrix over crossbars. 0 is one tile.
func tiles(width, most int, f func(from, to int)) {
	n := 1
	if most > 0 {
		n = max(1, (width+most-1)/most)
	}
	from := 0
	for i := range n {
		to := from + width/n
		if i < width%n {
			to++
		}
		f(from, to)
		from = to
	}
}

// checkPer checks over what a scale is taken, among words; size is the key that the last of them needs.
func checkPer(r keys.Report, per string, size int, last, sizeKey string, words ...string) {
	all := words
	if last != "" {
		all = append(slices.Clone(words), last)
	}
	r.OneOf("per", per, all...)
	switch {
	case per == last && last != "":
		if size < 1 || size > 1<<20 {
			r.Bad(sizeKey, "per: %s needs the number of neighbours that share a scale, from 1 on; found %d", last, size)
		}
	case size != 0 || r.Given(sizeKey):
		r.Bad(sizeKey, "this is a key of per: %s", last)
	}
}

// checkRounding checks the way to round.
func checkRounding(r keys.Report, rounding string) {
	r.OneOf("rounding", rounding, "nearest", "stochastic")
}

// checkStatic checks a range that is known beforehand, of activations: a number, or that of the calibration prompts.
func checkStatic(r keys.Report, x float64, calibrated bool, per string, at Place) {
	given := x != 0 || r.Given("range")
	switch {
	case at == Weights && given:
		r.Bad("range", "weights have their range; leave the key out")
	case at == Weights && calibrated:
		r.Bad("static", "weights have their range; leave the key out")
	case given && calibrated:
		r.Bad("static", "the range is a number or that of the calibration prompts; leave out static or range")
	case given:
		r.Above("range", x, 0, 1e9)
	}
	if (given || calibrated) && per != "" {
		r.Bad("per", "a static range is the same for all; leave out per")
	}
}

// checkRate checks a probability.
func checkRate(r keys.Report, key string, p float64) {
	if !(p >= 0 && p <= 1) {
		r.Bad(key, "expected a probability from 0 to 1, found %g", p)
	}
}

// words joins what of a label is there.
func words(list ...string) string {
	return strings.Join(slices.DeleteFunc(list, func(s string) bool { return s == "" }), " ")
}

// perWord is the part of a label that says over what a scale is taken, "" for the usual.
func perWord(per, usual string, size int) string {
	switch {
	case per == "" || per == usual:
		return ""
	case size > 0:
		return "/" + per + " " + strconv.Itoa(size)
	}
	return "/" + per
}
