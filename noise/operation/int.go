package operation

import (
	"math"
	"strconv"

	"github.com/gsmeval/gsmeval/internal/keys"
)

// Int rounds to whole multiples of a scale, of 2 to 8 bits, as torchao's choose_qparams_affine, quantize_affine and
// dequantize_affine do in float32, to the bit. Symmetric: the scale is absmax over half the span of the levels,
// -2^(b-1) to 2^(b-1)-1, and zero is a level. Asymmetric: the range, widened to hold zero, is spread over the levels.
type Int struct {
	Bits       int     `yaml:"bits"`
	Per        string  `yaml:"per,omitempty"`        // tensor; row (the default), of a weight; token (the default), of activations; group
	Group      int     `yaml:"group,omitempty"`      // neighbours in a row that share a scale
	Asymmetric bool    `yaml:"asymmetric,omitempty"` // a zero point too
	Offset     bool    `yaml:"offset,omitempty"`     // asymmetric: the least value is the lowest level, as in Q4_1
	Narrow     bool    `yaml:"narrow,omitempty"`     // symmetric, without the lowest level: -127 to 127
	Clip       string  `yaml:"clip,omitempty"`       // absmax (the default); search, for the ratio of least squared error
	Rounding   string  `yaml:"rounding,omitempty"`   // nearest (the default, ties to even), stochastic
	Range      float64 `yaml:"range,omitempty"`      // of activations: static, the largest magnitude that is represented
	Static     bool    `yaml:"static,omitempty"`     // of activations: the range of each site on calibration prompts
}

// Check reports parameters that are out of range.
func (q *Int) Check(r keys.Report, at Place) {
	if q.Bits == 0 && !r.Given("bits") {
		r.Bad("bits", "the key is missing; int needs a number from 2 to 8")
	} else {
		r.Whole("bits", q.Bits, 2, 8)
	}
	checkPer(r, q.Per, q.Group, "group", "group", "tensor", rowWord(at))
	r.OneOf("clip", q.Clip, "absmax", "search")
	checkRounding(r, q.Rounding)
	checkStatic(r, q.Range, q.Static, q.Per, at)
	if q.Narrow && q.Asymmetric {
		r.Bad("narrow", "only symmetric levels have a side too many; leave out narrow or asymmetric")
	}
	if q.Offset && !q.Asymmetric {
		r.Bad("offset", "symmetric levels have none; set asymmetric too")
	}
	if q.Range != 0 && q.Asymmetric {
		r.Bad("range", "a range of so much to both sides is symmetric; leave out asymmetric")
	}
	if at != Weights && q.Clip == "search" {
		r.Bad("clip", "a search at every token is not for activations; expected absmax")
	}
}

// rowWord is what a row of a place is called.
func rowWord(at Place) string {
	if at == Weights {
		return "row"
	}
	return "token"
}

// Label is "int4", "int8 /tensor", "int4 /group 128 asymmetric search".
func (q *Int) Label() string {
	return words("int"+strconv.Itoa(q.Bits), finer(q.Per, q.Group), flag(q.Asymmetric, "asymmetric"),
		flag(q.Offset, "offset"), flag(q.Narrow, "narrow"),
		other(q.Clip, "absmax"), other(q.Rounding, "nearest"), static(q.Range, q.Static))
}

func finer(per string, group int) string {
	if per == "row" || per == "token" {
		return ""
	}
	return perWord(per, "", group)
}

func flag(on bool, word string) string {
	if on {
		return word
	}
	return ""
}

func other(word, usual string) string { return flag(word != usual, word) }

func static(x float64, calibrated bool) string {
	switch {
	case calibrated:
		return "static"
	case x == 0:
		return ""
	}
	return "range " + number(x)
}

// Random tells whether rounding is stochastic.
func (q *Int) Random() bool { return q.Rounding == "stochastic" }

func (q *Int) sharing() sharing {
	return sharing{each: q.Group, tensor: q.Per == "tensor" || q.Static, random: q.Random()}
}

// OverTensor tells whether the range of all rows is needed.
func (q *Int) OverTensor() bool { return q.Per == "tensor" }

// Calibrated tells whether the range is that of calibration prompts.
func (q *Int) Calibrated() bool { return q.Static }

// PerturbWeight rounds a parameter. What is searched for a tensor is searched over all of its rows.
func (q *Int) PerturbWeight(w Weight) Tally {
	if q.Per == "tensor" && q.Clip == "search" {
		return q.sharing().weight(q.search(w.Values, extent(w.Values)), w)
	}
	return q.sharing().weight(q, w)
}

// PerturbRow rounds a row.
func (q *Int) PerturbRow(y []float32, x Rows, i int) Tally { return q.sharing().activation(q, y, x, i) }

func (q *Int) round(y, x []float32, over Range, d *draws, i int) int64 {
	if q.Range > 0 {
		over = Range{Lo: -float32(q.Range), Hi: float32(q.Range)}
	}
	l := q.levels(over, 1)
	if q.Clip == "search" {
		l = q.search(x, over)
	}
	return l.round(y, x, over, d, i)
}

// search finds the share of the range that gives the least squared error.
func (q *Int) search(x []float32, over Range) levels {
	const steps, least = 24, 0.4
	best, all := math.Inf(1), q.levels(over, 1)
	for k := range steps + 1 {
		l := q.levels(over, 1-float32(float32(k)/steps*(1-least)))
		sum := 0.0
		for _, v := range x {
			e := float64(l.nearest(v)) - float64(v)
			sum += e * e
		}
		if sum < best {
			best, all = sum, l
		}
	}
	return all
}

// levels are lo to hi, times scale, after zero is taken away, and base on top.
type levels struct{ scale, inverse, zero, lo, hi, base float32 }

func (q *Int) levels(over Range, share float32) levels {
	const eps = 0x1p-23 // torchao's least scale
	half := float32(int(1) << (q.Bits - 1))
	l := levels{lo: -half, hi: half - 1}
	if q.Narrow {
		l.lo++
	}
	switch {
	case q.Offset:
		l.base, l.zero = float32(over.Lo*share), l.lo
		l.scale = max((over.Hi-over.Lo)*share/(l.hi-l.lo), eps)
	case q.Asymmetric:
		lo := min(over.Lo*share, 0)
		l.scale = max((max(over.Hi*share, 0)-lo)/(l.hi-l.lo), eps)
		l.zero = min(max(l.lo-even(lo/l.scale), l.lo), l.hi)
	default:
		l.scale = max(over.Most()*share/((l.hi-l.lo)/2), eps)
	}
	l.inverse = 1 / l.scale
	return l
}

func (l levels) nearest(v float32) float32 {
	return float32((min(max(even((v-l.base)*l.inverse)+l.zero, l.lo), l.hi)-l.zero)*l.scale) + l.base
}

func (l levels) round(y, x []float32, _ Range, d *draws, i int) (clipped int64) {
	for k, v := range x {
		var q float32
		if d == nil {
			q = even((v-l.base)*l.inverse) + l.zero
		} else {
			q = float32(math.Floor(float64(v-l.base)/float64(l.scale)+d.unit(i+k))) + l.zero
		}
		in := min(max(q, l.lo), l.hi)
		if in != q {
			clipped++
		}
		y[k] = float32((in-l.zero)*l.scale) + l.base
	}
	return clipped
}

// even rounds to the nearest whole number, ties to even. Here and in levels a conversion to float32 keeps a processor that
// has fused multiply-adds, as aarch64, from leaving a product unrounded.
func even(x float32) float32 {
	const shift = 1.5 * 0x1p23
	if x > 0x1p21 || x < -0x1p21 {
		return float32(math.RoundToEven(float64(x)))
	}
	return float32(float32(x)+shift) - shift
}
