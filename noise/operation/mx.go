package operation

import (
	"math"

	"github.com/gsmeval/gsmeval/internal/keys"
)

// MXFP4 rounds to e2m1 as the OCP Microscaling specification 1.0 has it, section 6.3: blocks of 32 neighbours share a
// power of two, 2^(floor(log2 absmax) - the exponent of the element's largest number); elements saturate, and ties go
// to even. To the bit what torchao's to_mx (scaling mode FLOOR) and to_dtype give in float32.
type MXFP4 struct {
	Rounding string `yaml:"rounding,omitempty"` // nearest (the default, ties to even), stochastic
}

// MXFP8 is MXFP4 with elements of 8 bits.
type MXFP8 struct {
	Format   string `yaml:"format,omitempty"`   // e4m3 (the default), e5m2
	Rounding string `yaml:"rounding,omitempty"` // nearest (the default, ties to even), stochastic
}

// Check reports parameters that are out of range.
func (q *MXFP4) Check(r keys.Report, _ Place) { checkRounding(r, q.Rounding) }

// Label is "mxfp4".
func (q *MXFP4) Label() string { return words("mxfp4", other(q.Rounding, "nearest")) }

// Random tells whether rounding is stochastic.
func (q *MXFP4) Random() bool { return q.Rounding == "stochastic" }

// PerturbWeight rounds a parameter.
func (q *MXFP4) PerturbWeight(w Weight) Tally { return mxSharing(q).weight(mx(e2m1), w) }

// PerturbRow rounds a row.
func (q *MXFP4) PerturbRow(y []float32, x Rows, i int) Tally {
	return mxSharing(q).activation(mx(e2m1), y, x, i)
}

// Check reports parameters that are out of range.
func (q *MXFP8) Check(r keys.Report, _ Place) {
	r.OneOf("format", q.Format, "e4m3", "e5m2")
	checkRounding(r, q.Rounding)
}

// Label is "mxfp8", "mxfp8 e5m2".
func (q *MXFP8) Label() string {
	return words("mxfp8", other(q.Format, "e4m3"), other(q.Rounding, "nearest"))
}

// Random tells whether rounding is stochastic.
func (q *MXFP8) Random() bool { return q.Rounding == "stochastic" }

// PerturbWeight rounds a parameter.
func (q *MXFP8) PerturbWeight(w Weight) Tally { return mxSharing(q).weight(mx(fp8(q.Format)), w) }

// PerturbRow rounds a row.
func (q *MXFP8) PerturbRow(y []float32, x Rows, i int) Tally {
	return mxSharing(q).activation(mx(fp8(q.Format)), y, x, i)
}

func mxSharing(q Operation) sharing { return sharing{each: 32, random: q.Random()} }

// mx are the elements of a block.
type mx minifloat

func (m mx) round(y, x []float32, over Range, d *draws, i int) (clipped int64) {
	element := minifloat(m)
	scale := pow2(int(math.Float32bits(over.Most())>>23&0xff) - 127 - element.top)
	for k, v := range x {
		r, beyond := element.nearest(v/scale, d, i+k)
		if beyond {
			clipped++
		}
		y[k] = r * scale
	}
	return clipped
}
