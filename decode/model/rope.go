package model

import (
	"fmt"
	"math"

	"github.com/gsmeval/gsmeval/decode/checkpoint"
	"github.com/gsmeval/gsmeval/internal/torch"
)

// ropeTable holds cos and sin of position * frequency, [P, hd] each, for as many positions as were asked for.
type ropeTable struct {
	invFreq  []float32 // [hd/2]
	cos, sin torch.Tensor
	length   int
}

func newRopeTable(s *torch.Scope, cfg checkpoint.Config) (*ropeTable, error) {
	if cfg.RopeScaling != nil {
		return nil, fmt.Errorf("rope scaling of type %q is not supported for model_type %q", cfg.RopeScaling.Type, cfg.ModelType)
	}
	r := &ropeTable{invFreq: make([]float32, cfg.HeadDim/2)}
	s.ReadFloats(s.InvFreq(cfg.RopeTheta, cfg.HeadDim), r.invFreq)
	return r, s.Err()
}

// reserve makes the table at least n positions long.
func (r *ropeTable) reserve(s *torch.Scope, n int, d torch.Device) {
	if n <= r.length {
		return
	}
	half := len(r.invFreq)
	cos, sin := make([]float32, 2*half*n), make([]float32, 2*half*n)
	for p := range n {
		for i, f := range r.invFreq {
			// The angle is rounded to float32, as transformers computes it.
			sn, cs := math.Sincos(float64(float32(p) * f))
			row := 2 * half * p
			cos[row+i], cos[row+half+i] = float32(cs), float32(cs)
			sin[row+i], sin[row+half+i] = float32(sn), float32(sn)
		}
	}
	r.free()
	shape := []int64{int64(n), int64(2 * half)}
	r.cos, r.sin, r.length = s.Keep(s.Floats(cos, shape, d)), s.Keep(s.Floats(sin, shape, d)), n
}

func (r *ropeTable) free() {
	r.cos.Free()
	r.sin.Free()
	*r = ropeTable{invFreq: r.invFreq}
}
