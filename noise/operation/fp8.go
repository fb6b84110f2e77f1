package operation

import "github.com/gsmeval/gsmeval/internal/keys"

// FP8 rounds to an 8-bit floating-point format, scaled so that the largest magnitude is the format's largest number: as
// torchao's _choose_scale_float8, _quantize_affine_float8 and _dequantize_affine_float8 do in float32, to the bit.
type FP8 struct {
	Format   string  `yaml:"format,omitempty"`   // e4m3 (the default), e5m2
	Per      string  `yaml:"per,omitempty"`      // tensor; row (the default), of a weight; token (the default), of activations; group
	Group    int     `yaml:"group,omitempty"`    // neighbours in a row that share a scale
	Rounding string  `yaml:"rounding,omitempty"` // nearest (the default, ties to even), stochastic
	Range    float64 `yaml:"range,omitempty"`    // of activations: static, the largest magnitude that is represented
	Static   bool    `yaml:"static,omitempty"`   // of activations: the range of each site on calibration prompts
}

// Check reports parameters that are out of range.
func (q *FP8) Check(r keys.Report, at Place) {
	r.OneOf("format", q.Format, "e4m3", "e5m2")
	checkPer(r, q.Per, q.Group, "group", "group", "tensor", rowWord(at))
	checkRounding(r, q.Rounding)
	checkStatic(r, q.Range, q.Static, q.Per, at)
}

// Label is "fp8", "fp8 e5m2 /tensor".
func (q *FP8) Label() string {
	return words("fp8", other(q.Format, "e4m3"), finer(q.Per, q.Group), other(q.Rounding, "nearest"),
		static(q.Range, q.Static))
}

// Random tells whether rounding is stochastic.
func (q *FP8) Random() bool { return q.Rounding == "stochastic" }

func (q *FP8) sharing() sharing {
	return sharing{each: q.Group, tensor: q.Per == "tensor" || q.Static, random: q.Random()}
}

// OverTensor tells whether the range of all rows is needed.
func (q *FP8) OverTensor() bool { return q.Per == "tensor" }

// Calibrated tells whether the range is that of calibration prompts.
func (q *FP8) Calibrated() bool { return q.Static }

// PerturbWeight rounds a parameter.
func (q *FP8) PerturbWeight(w Weight) Tally { return q.sharing().weight(q, w) }

// PerturbRow rounds a row.
func (q *FP8) PerturbRow(y []float32, x Rows, i int) Tally { return q.sharing().activation(q, y, x, i) }

func (q *FP8) round(y, x []float32, over Range, d *draws, i int) (clipped int64) {
	f := fp8(q.Format)
	most := over.Most()
	if q.Range > 0 {
		most = float32(q.Range)
	}
	scale := most / f.most
	if scale == 0 {
		copy(y, x)
		return 0
	}
	for k, v := range x {
		r, beyond := f.nearest(v/scale, d, i+k)
		if beyond {
			clipped++
		}
		y[k] = r * scale
	}
	return clipped
}
