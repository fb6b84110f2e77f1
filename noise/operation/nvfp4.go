package operation

import "github.com/gsmeval/gsmeval/internal/keys"

// NVFP4 rounds to e2m1 by blocks of 16 neighbours, whose scales are e4m3 numbers times a float32 scale of the tensor,
// absmax/(448 x 6): to the bit what torchao's nvfp4_quantize and NVFP4Tensor.dequantize give in float32. The tensor of
// an activation is one sequence in one forward call, never its neighbours in a batch.
type NVFP4 struct {
	Rounding string  `yaml:"rounding,omitempty"` // nearest (the default, ties to even), stochastic
	Range    float64 `yaml:"range,omitempty"`    // of activations: static, the largest magnitude of the tensor
	Static   bool    `yaml:"static,omitempty"`   // of activations: that of each site on calibration prompts
}

// Check reports parameters that are out of range.
func (q *NVFP4) Check(r keys.Report, at Place) {
	checkRounding(r, q.Rounding)
	checkStatic(r, q.Range, q.Static, "", at)
}

// Label is "nvfp4".
func (q *NVFP4) Label() string {
	return words("nvfp4", other(q.Rounding, "nearest"), static(q.Range, q.Static))
}

// Random tells whether rounding is stochastic.
func (q *NVFP4) Random() bool { return q.Rounding == "stochastic" }

// OverTensor tells whether the range of all rows is needed.
func (q *NVFP4) OverTensor() bool { return q.Range == 0 && !q.Static }

// Calibrated tells whether the range of the tensor is that of calibration prompts.
func (q *NVFP4) Calibrated() bool { return q.Static }

func (q *NVFP4) sharing() sharing { return sharing{each: 16, tensor: true, random: q.Random()} }

// PerturbWeight rounds a parameter.
func (q *NVFP4) PerturbWeight(w Weight) Tally { return q.sharing().weight(q, w) }

// PerturbRow rounds a row.
func (q *NVFP4) PerturbRow(y []float32, x Rows, i int) Tally {
	return q.sharing().activation(q, y, x, i)
}

func (q *NVFP4) round(y, x []float32, over Range, d *draws, i int) (clipped int64) {
	most := over.Most()
	if q.Range > 0 {
		most = float32(q.Range)
	}
	tensor := most / (e4m3.most * e2m1.most)
	if tensor == 0 {
		copy(y, x)
		return 0
	}
	const leastScale = 0x1p-6 // the least normal e4m3
	block := extent(x).Most() / e2m1.most
	s, _ := e4m3.nearest(min(max(block/tensor, leastScale), e4m3.most), nil, 0)
	scale := tensor * s
	for k, v := range x {
		r, beyond := e2m1.nearest(v/scale, d, i+k)
		if beyond {
			clipped++
		}
		y[k] = r * scale
	}
	return clipped
}
