package checkpoint

import (
	"encoding/json"
	"maps"
	"math"
	"slices"
)

// RopeScaling is a change of the rotary frequencies, with the defaults of
// transformers' modeling_rope_utils.py filled in. Kinds that are not known here
// arrive with Type, Factor and Raw alone; whether a kind is computed is for the model to say.
type RopeScaling struct {
	Type   string  // "linear", "dynamic", "yarn", "llama3", "longrope", or another as written
	Factor float64 // 0 where a longrope file leaves it out

	OriginalMaxPositions int // yarn, llama3, longrope: positions before scaling

	LowFreqFactor, HighFreqFactor float64 // llama3

	AttentionFactor      *float64 // yarn, longrope: nil where it follows from Factor
	BetaFast, BetaSlow   float64  // yarn: 32 and 1 by default
	MScale, MScaleAllDim *float64 // yarn
	Truncate             bool     // yarn: round the correction range to whole dimensions

	ShortFactor, LongFactor []float64 // longrope: one for each rotated pair

	// Raw holds every key as it was written.
	Raw map[string]json.RawMessage
}

const (
	minTheta, maxTheta   = 1e-3, 1e15
	minFactor, maxFactor = 1e-3, 1e6
)

// readRope finds the rotary embedding's parameters in whichever place the file's
// spelling has them.
func (c *Config) readRope(f *fields, fam family) {
	c.RopeTheta = fam.theta
	c.RopeLocalTheta = fam.localTheta
	c.PartialRotaryFactor = f.number("partial_rotary_factor", 1, 1e-3, 1)
	if fam.initial != 0 {
		c.InitialContextLength = f.integer("original_max_position_embeddings", fam.initial, 1, maxPositions)
	}
	theta := f.optionalNumber("rope_theta", minTheta, maxTheta)
	if fam.localTheta != 0 {
		c.RopeLocalTheta = f.number("rope_local_base_freq", fam.localTheta, minTheta, maxTheta)
	}
	params, scaling := f.sub("rope_parameters"), f.sub("rope_scaling")
	if params != nil && len(params.values) > 0 && scaling != nil && len(scaling.values) > 0 {
		f.fail("rope_scaling", "it stands beside rope_parameters, and only one of the two can hold; remove one")
		return
	}
	if params != nil && (fam.localTheta != 0 || params.present(FullAttention) || params.present(SlidingAttention)) {
		params = c.splitRope(f, params, fam)
	}
	if scaling != nil && len(scaling.values) > 0 {
		params = scaling
	}
	if params != nil {
		if own := params.optionalNumber("rope_theta", minTheta, maxTheta); own != nil {
			if theta != nil && *theta != *own {
				f.fail("rope_theta", "%g does not agree with %srope_theta %g; remove one", *theta, params.prefix, *own)
			}
			theta = own
		}
		c.PartialRotaryFactor = params.number("partial_rotary_factor", c.PartialRotaryFactor, 1e-3, 1)
	}
	if theta != nil {
		c.RopeTheta = *theta
	}
	rotated := c.RotaryDim()
	if rotated < 2 || rotated%2 != 0 {
		f.fail("partial_rotary_factor",
			"%g of head_dim %d leaves %d rotated dimensions; expected an even number of at least 2",
			c.PartialRotaryFactor, c.HeadDim, rotated)
	}
	if params != nil {
		c.RopeScaling = c.readScaling(params)
		f.take(params)
	}
}

// RotaryDim is the number of leading dimensions of a head that are rotated.
func (c *Config) RotaryDim() int {
	return int(float64(c.HeadDim) * c.PartialRotaryFactor)
}

// splitRope takes apart rope_parameters that hold one object for each kind of
// layer, as transformers 5 writes them for gemma3. It returns the full layers' part.
func (c *Config) splitRope(f, params *fields, fam family) *fields {
	if fam.localTheta == 0 {
		f.fail("rope_parameters", "one set for each kind of layer is not supported for model type %s", c.ModelType)
		return nil
	}
	for _, key := range slices.Sorted(maps.Keys(params.values)) {
		raw := params.values[key]
		if key != FullAttention && key != SlidingAttention {
			params.fail(key, "expected only %s and %s, found %s", FullAttention, SlidingAttention, kindOf(raw))
		}
	}
	local := params.sub(SlidingAttention)
	if local != nil {
		c.RopeLocalTheta = local.number("rope_theta", c.RopeLocalTheta, minTheta, maxTheta)
		if kind := local.kind(); kind != "default" {
			local.fail("rope_type", "scaling of the sliding layers is not supported, found %s", quote(kind))
		}
		params.take(local)
	}
	full := params.sub(FullAttention)
	f.take(params)
	return full
}

// kind reads the scaling's name, under its new key or its old one.
func (f *fields) kind() string {
	return f.text("rope_type", f.text("type", "default"))
}

func (c *Config) readScaling(f *fields) *RopeScaling {
	s := &RopeScaling{Type: f.kind(), Raw: f.values}
	if c.ModelType == "phi3" && (s.Type == "su" || s.Type == "yarn") {
		s.Type = "longrope" // phi3's older names for it
	}
	switch s.Type {
	case "default":
		return nil
	case "linear", "dynamic":
		s.Factor = f.factor()
	case "yarn":
		s.Factor = f.factor()
		s.OriginalMaxPositions = c.originalPositions(f)
		s.AttentionFactor = f.optionalNumber("attention_factor", 0, maxFactor)
		s.BetaFast = f.number("beta_fast", 32, minFactor, maxFactor)
		s.BetaSlow = f.number("beta_slow", 1, minFactor, maxFactor)
		if s.BetaFast < s.BetaSlow {
			f.fail("beta_fast", "%g is less than beta_slow %g", s.BetaFast, s.BetaSlow)
		}
		s.MScale = f.optionalNumber("mscale", 0, maxFactor)
		s.MScaleAllDim = f.optionalNumber("mscale_all_dim", 0, maxFactor)
		s.Truncate = f.boolean("truncate", true)
	case "llama3":
		s.Factor = f.factor()
		s.OriginalMaxPositions = c.originalPositions(f)
		s.LowFreqFactor = f.mustNumber("low_freq_factor", minFactor, maxFactor)
		s.HighFreqFactor = f.mustNumber("high_freq_factor", minFactor, maxFactor)
		if f.err == nil && s.HighFreqFactor <= s.LowFreqFactor {
			f.fail("high_freq_factor", "%g is not more than low_freq_factor %g", s.HighFreqFactor, s.LowFreqFactor)
		}
	case "longrope":
		if _, ok := f.get("factor"); ok {
			s.Factor = f.factor()
		}
		s.OriginalMaxPositions = c.originalPositions(f)
		s.AttentionFactor = f.optionalNumber("attention_factor", 0, maxFactor)
		s.ShortFactor = f.factors("short_factor", c.RotaryDim()/2)
		s.LongFactor = f.factors("long_factor", c.RotaryDim()/2)
	default:
		s.Factor = f.number("factor", 0, -math.MaxFloat64, math.MaxFloat64)
	}
	return s
}

// originalPositions follows transformers: phi3's key beside the scaling has
// priority over the one in it, and max_position_embeddings stands in for both.
func (c *Config) originalPositions(f *fields) int {
	n := f.integer("original_max_position_embeddings", c.MaxPositions, 1, maxPositions)
	if c.InitialContextLength != 0 {
		return c.InitialContextLength
	}
	return n
}

func (f *fields) factor() float64 { return f.mustNumber("factor", minFactor, maxFactor) }

func (f *fields) mustNumber(key string, lo, hi float64) float64 {
	if _, ok := f.get(key); !ok {
		f.fail(key, "the key is missing; expected a number from %g to %g", lo, hi)
		return lo
	}
	return f.number(key, lo, lo, hi)
}

func (f *fields) factors(key string, n int) []float64 {
	list := f.numbers(key, minFactor, maxFactor)
	if len(list) != n {
		f.fail(key, "expected %d numbers, one for each rotated pair, found %d", n, len(list))
	}
	return list
}
