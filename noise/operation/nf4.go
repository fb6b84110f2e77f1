package operation

import (
	"strconv"

	"github.com/gsmeval/gsmeval/internal/keys"
)

// NF4 rounds to the sixteen quantiles of a normal distribution, by blocks of the flat parameter that share an absmax in
// float32: as bitsandbytes' quantize_4bit and dequantize_4bit do, to the bit. Its double quantisation of the absmax is
// not done.
type NF4 struct {
	Block int `yaml:"block,omitempty"` // 64 by default
}

// nf4 is the codebook of QLoRA (Dettmers et al., 2023, appendix E).
var nf4 = [16]float32{
	-1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
	-0.09105003625154495, 0,
	0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224, 0.44070982933044434,
	0.5626170039176941,
	0.7229568362236023, 1,
}

// Check reports parameters that are out of range.
func (q *NF4) Check(r keys.Report, _ Place) {
	if q.Block != 0 || r.Given("block") {
		r.Whole("block", q.Block, 1, 1<<20)
	}
}

func (q *NF4) block() int {
	if q.Block == 0 {
		return 64
	}
	return q.Block
}

// Label is "nf4", "nf4 /block 128".
func (q *NF4) Label() string {
	if q.block() == 64 {
		return "nf4"
	}
	return "nf4 /block " + strconv.Itoa(q.Block)
}

// Random is false.
func (*NF4) Random() bool { return false }

// PerturbWeight rounds a parameter.
func (q *NF4) PerturbWeight(w Weight) Tally {
	flat, n := w, q.block()
	if len(w.Values)%n == 0 {
		flat.In = n
		return sharing{}.weight(q, flat)
	}
	y := make([]float32, len(w.Values))
	t := sharing{each: n}.row(q, y, w.Values, Range{}, nil, 0)
	copy(w.Values, y)
	return t
}

func (q *NF4) round(y, x []float32, over Range, _ *draws, _ int) int64 {
	most := over.Most()
	if most == 0 {
		copy(y, x)
		return 0
	}
	inverse := 1 / most
	for k, v := range x {
		s := min(max(v*inverse, -1), 1)
		best, code := abs(s-nf4[0]), nf4[0]
		for _, c := range nf4[1:] {
			if e := abs(s - c); e < best {
				best, code = e, c
			}
		}
		y[k] = code * most
	}
	return 0
}

func abs(x float32) float32 {
	if x < 0 {
		return -x
	}
	return x
}
