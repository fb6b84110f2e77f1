package model

import (
	"fmt"
	"math"

	"github.com/gsmeval/gsmeval/decode/checkpoint"
	"github.com/gsmeval/gsmeval/internal/torch"
)

// ropeTable holds cos and sin of position * frequency, [P, rot] each, for as many positions as were asked for. rot is
// the head's dimension, or the part of it that is rotated.
type ropeTable struct {
	invFreq  []float32 // [rot/2]
	scale    float32   // of cos and sin, yarn's attention factor; 1 elsewhere
	cos, sin torch.Tensor
	length   int
}

// newRopeTables are the table of the model, and that of its sliding layers where they have a base of their own, which
// is never scaled.
func newRopeTables(s *torch.Scope, cfg checkpoint.Config) (all, local *ropeTable, err error) {
	if all, err = newRopeTable(s, cfg); err != nil || cfg.RopeLocalTheta == 0 {
		return all, nil, err
	}
	cfg.RopeTheta, cfg.RopeScaling = cfg.RopeLocalTheta, nil
	local, err = newRopeTable(s, cfg)
	return all, local, err
}

func newRopeTable(s *torch.Scope, cfg checkpoint.Config) (*ropeTable, error) {
	powers := make([]float32, cfg.RotaryDim()/2)
	s.ReadFloats(s.RopePowers(cfg.RopeTheta, cfg.RotaryDim()), powers)
	if s.Err() != nil {
		return nil, s.Err()
	}
	freq, scale, err := frequencies(cfg, powers)
	if err != nil {
		return nil, err
	}
	return &ropeTable{invFreq: freq, scale: float32(scale)}, nil
}

// frequencies are the inverse frequencies of the config's kind of scaling, from powers theta^(2i/rot), and the factor
// on cos and sin. Everything is rounded where transformers (modeling_rope_utils.py) rounds it: the products are taken
// with positions up to a hundred thousand, where the last bit of a frequency is visible.
func frequencies(cfg checkpoint.Config, powers []float32) (freq []float32, scale float64, err error) {
	freq = make([]float32, len(powers))
	for i, p := range powers {
		freq[i] = 1 / p
	}
	r := cfg.RopeScaling
	if r == nil {
		return freq, 1, nil
	}
	factor := float32(r.Factor)
	switch r.Type {
	case "linear":
		for i := range freq {
			freq[i] /= factor
		}
		return freq, 1, nil
	case "llama3":
		return llama3(r, freq), 1, nil
	case "yarn":
		low, high := yarnRange(r, cfg.RopeTheta, cfg.RotaryDim())
		for i, p := range powers {
			keep := 1 - ramp(i, low, high) // share of the unscaled frequency
			freq[i] = float32((1/float32(factor*p))*float32(1-keep)) + float32(freq[i]*keep)
		}
		return freq, yarnScale(r), nil
	case "longrope":
		// Past the original context transformers changes all frequencies, those of cached keys included; Config.Context
		// keeps sequences below it.
		for i, p := range powers {
			freq[i] = 1 / float32(float32(r.ShortFactor[i])*p)
		}
		return freq, longScale(r, cfg.MaxPositions), nil
	case "dynamic":
		return nil, 0,
			fmt.Errorf("rope scaling of type %q is not supported: its frequencies change with the length of the text, "+
				"so that decoding with a cache and without would differ; supported: linear, yarn, llama3", r.Type)
	}
	return nil, 0,
		fmt.Errorf("rope scaling of type %q is not supported; supported: linear, yarn, llama3, and longrope within the original context", r.Type)
}

// llama3 leaves short wavelengths, divides long ones by the factor and blends between (Llama 3.1's model card).
func llama3(r *checkpoint.RopeScaling, freq []float32) []float32 {
	factor, old := float32(r.Factor), float32(r.OriginalMaxPositions)
	low, span := float32(r.LowFreqFactor), float32(r.HighFreqFactor-r.LowFreqFactor)
	lowWave := float32(float64(r.OriginalMaxPositions) / r.LowFreqFactor)
	highWave := float32(float64(r.OriginalMaxPositions) / r.HighFreqFactor)
	out := make([]float32, len(freq))
	for i, f := range freq {
		wave := float32(float32(1/f) * (2 * math.Pi))
		switch {
		case wave > lowWave:
			out[i] = f / factor
		case wave < highWave:
			out[i] = f
		default:
			smooth := (float32(float32(1/wave)*old) - low) / span
			out[i] = float32(float32((1-smooth)*f)/factor) + float32(smooth*f)
		}
	}
	return out
}

// yarnRange is where yarn's ramp begins and ends, in pairs of dimensions (Peng et al., 2023).
func yarnRange(r *checkpoint.RopeScaling, theta float64, dim int) (low, high float64) {
	at := func(rotations float64) float64 {
		return float64(dim) * math.Log(float64(r.OriginalMaxPositions)/(rotations*2*math.Pi)) / (2 * math.Log(theta))
	}
	low, high = at(r.BetaFast), at(r.BetaSlow)
	if r.Truncate {
		low, high = math.Floor(low), math.Ceil(high)
	}
	low, high = max(low, 0), min(high, float64(dim-1))
	if low == high {
		high += 0.001
	}
	return low, high
}

func ramp(i int, low, high float64) float32 {
	return min(max((float32(i)-float32(low))/float32(high-low), 0), 1)
}

// yarnScale is the factor on cos and sin.
func yarnScale(r *checkpoint.RopeScaling) float64 {
	if r.AttentionFactor != nil {
		return *r.AttentionFactor
	}
	mscale := func(m float64) float64 {
		if r.Factor <= 1 {
			return 1
		}
		return 0.1*m*math.Log(r.Factor) + 1
	}
	if m, all := r.MScale, r.MScaleAllDim; m != nil && all != nil && *m != 0 && *all != 0 {
		return mscale(*m) / mscale(*all)
	}
	return mscale(1)
}

// longScale is longrope's factor on cos and sin.
func longScale(r *checkpoint.RopeScaling, positions int) float64 {
	if r.AttentionFactor != nil {
		return *r.AttentionFactor
	}
	factor := r.Factor
	if factor == 0 {
		factor = float64(positions) / float64(r.OriginalMaxPositions)
	}
	if factor <= 1 {
		return 1
	}
	return math.Sqrt(1 + math.Log(factor)/math.Log(float64(r.OriginalMaxPositions)))
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
			c, s := float32(cs)*r.scale, float32(sn)*r.scale
			cos[row+i], cos[row+half+i] = c, c
			sin[row+i], sin[row+half+i] = s, s
		}
	}
	r.free()
	shape := []int64{int64(n), int64(2 * half)}
	r.cos, r.sin, r.length = s.Keep(s.Floats(cos, shape, d)), s.Keep(s.Floats(sin, shape, d)), n
}

func (r *ropeTable) free() {
	r.cos.Free()
	r.sin.Free()
	r.cos, r.sin, r.length = torch.Tensor{}, torch.Tensor{}, 0
}
