package operation

import (
	"cmp"
	"math"
	"strconv"
	"strings"

	"github.com/gsmeval/gsmeval/internal/keys"
	"github.com/gsmeval/gsmeval/noise/philox"
)

// BitFlip turns every stored bit over with the same probability, in the type that the model computes in, in another
// one, or in whole numbers of 2 to 8 bits (as the operation int has them, symmetric, by rows or tokens). What the
// format rounds is rounded first. A floating-point number that is no longer finite is read as 0 and counted as clipped.
type BitFlip struct {
	Rate   float64 `yaml:"rate"`
	Format string  `yaml:"format,omitempty"` // float32, bfloat16, float16, int2 to int8; the model's own by default
}

// Check reports parameters that are out of range.
func (b *BitFlip) Check(r keys.Report, _ Place) {
	r.Required("rate", "bit_flip", b.Rate, 0, 1)
	r.OneOf("format", b.Format, "float32", "bfloat16", "float16", "int2", "int3", "int4", "int5", "int6", "int7",
		"int8")
}

// Label is "bit_flip 1e-05 int8".
func (b *BitFlip) Label() string { return words("bit_flip", number(b.Rate), b.Format) }

// Random is true.
func (*BitFlip) Random() bool { return true }

// PerturbWeight flips bits of a parameter.
func (b *BitFlip) PerturbWeight(w Weight) Tally {
	s := b.stored(w.Type)
	flips := b.flips(w.draws(0), s.bits)
	next, bit := flips()
	var t Tally
	y := make([]float32, w.In)
	for row := range w.Out() {
		x := w.Values[row*w.In : (row+1)*w.In]
		next, bit = s.apply(&t, y, x, row*w.In, next, bit, flips)
		copy(x, y)
	}
	return t
}

// PerturbRow flips bits of a row.
func (b *BitFlip) PerturbRow(y []float32, x Rows, i int) Tally {
	s := b.stored(x.Type)
	d := x.draws()
	d.key, d.at[0] = d.key^philox.Key(x.First)*0x9e3779b97f4a7c15, 0 // a head takes as many draws as it needs
	flips := b.flips(d, s.bits)
	next, bit := flips()
	var t Tally
	s.apply(&t, y, x.Row(i), 0, next, bit, flips)
	return t
}

// flips gives the elements and bits that are turned over, in order: the distances between them are geometric, so that
// every bit is an independent Bernoulli trial.
func (b *BitFlip) flips(d draws, bits int) func() (element, bit int) {
	at, n, miss := -1, 0, math.Log1p(-b.Rate)
	return func() (int, int) {
		u := (float64(d.word(n)) + (float64(d.word(n+1))+0.5)*0x1p-32) * 0x1p-32
		n += 2
		skip := 0.0
		if b.Rate < 1 {
			skip = math.Floor(math.Log(u) / miss)
		}
		if skip > 1<<50 {
			return math.MaxInt, 0
		}
		at += 1 + int(skip)
		return at / bits, at % bits
	}
}

// format is how numbers are stored.
type format struct {
	bits   int
	levels *Int // of whole numbers
	kind   string
}

// stored is the format whose bits are turned over, of numbers that the model has in a type.
func (b *BitFlip) stored(own string) format { return stored(cmp.Or(b.Format, own)) }

func stored(name string) format {
	switch {
	case name == "bfloat16" || name == "float16":
		return format{bits: 16, kind: name}
	case strings.HasPrefix(name, "int"):
		n, _ := strconv.Atoi(strings.TrimPrefix(name, "int")) // Check has seen it
		return format{bits: n, levels: &Int{Bits: n}, kind: name}
	}
	return format{bits: 32, kind: "float32"}
}

// apply writes the row x, whose first element has that number, with its bits turned over to y, and returns the next
// flip after it.
func (s *format) apply(t *Tally, y, x []float32, first, next, bit int, flips func() (int, int)) (int, int) {
	var l levels
	if s.levels != nil {
		l = s.levels.levels(extent(x), 1)
	}
	for i, v := range x {
		word := s.encode(v, l)
		if next == first+i {
			t.Flipped++
		}
		for ; next == first+i; next, bit = flips() {
			word ^= 1 << bit
		}
		z := s.decode(word, l)
		if d := float64(z); math.IsInf(d, 0) || math.IsNaN(d) {
			z = 0
			t.Clipped++
		}
		y[i] = z
	}
	t.count(y, x)
	return next, bit
}

func (s *format) encode(v float32, l levels) uint32 {
	switch s.kind {
	case "float32":
		return math.Float32bits(v)
	case "bfloat16":
		b := math.Float32bits(v)
		return (b + 0x7fff + b>>16&1) >> 16
	case "float16":
		return half(v)
	}
	return uint32(int32(min(max(even(v*l.inverse), l.lo), l.hi))) & (1<<s.bits - 1)
}

func (s *format) decode(word uint32, l levels) float32 {
	switch s.kind {
	case "float32":
		return math.Float32frombits(word)
	case "bfloat16":
		return math.Float32frombits(word << 16)
	case "float16":
		return fromHalf(word)
	}
	shift := 32 - s.bits
	return float32(int32(word<<shift)>>shift) * l.scale
}

// half is v in binary16, saturating.
func half(v float32) uint32 {
	f := minifloat{10, -14, 15, 65504}
	r, _ := f.nearest(v, nil, 0)
	sign := math.Float32bits(v) >> 16 & 0x8000
	r = abs(r)
	if r < 0x1p-14 {
		return sign | uint32(r*0x1p24)
	}
	b := math.Float32bits(r)
	return sign | (b>>23-127+15)<<10 | b>>13&0x3ff
}

func fromHalf(h uint32) float32 {
	sign, e, m := h&0x8000<<16, h>>10&0x1f, h&0x3ff
	switch e {
	case 0:
		return math.Float32frombits(sign | math.Float32bits(float32(m)*0x1p-24))
	case 31:
		return math.Float32frombits(sign | 0x7f800000 | m<<13)
	}
	return math.Float32frombits(sign | (e-15+127)<<23 | m<<13)
}
