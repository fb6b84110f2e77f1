package operation

import (
	"math"

	"github.com/gsmeval/gsmeval/internal/keys"
)

// Converters are the digital-to-analog converters of a Linear's inputs, or the analog-to-digital ones of its outputs:
// numbers are clipped to a range and rounded to 2^bits - 2 steps over it, symmetric about 0 (UniformQuantize of aihwkit
// and aihwkit-lightning).
type Converters struct {
	Bits       int     `yaml:"bits"`
	Range      float64 `yaml:"range"`                 // the largest magnitude
	RelativeTo string  `yaml:"relative_to,omitempty"` // in units of 1 (the default), std or absmax
	Per        string  `yaml:"per,omitempty"`         // of std and absmax: token (the default), tensor
}

// Check reports parameters that are out of range.
func (c *Converters) Check(r keys.Report, _ Place) {
	if c.Bits == 0 && !r.Given("bits") {
		r.Bad("bits", "the key is missing; converters need a number from 2 to 16")
	} else {
		r.Whole("bits", c.Bits, 2, 16)
	}
	r.Required("range", "converters", c.Range, 0, 1e9)
	r.OneOf("relative_to", c.RelativeTo, "one", "std", "absmax")
	r.OneOf("per", c.Per, "token", "tensor")
	if c.Per != "" && !c.relative() {
		r.Bad("per", "this is a key of a range relative to std or absmax")
	}
}

func (c *Converters) relative() bool { return c.RelativeTo == "std" || c.RelativeTo == "absmax" }

// Label is "converters 8 bit range 3 std".
func (c *Converters) Label() string {
	unit := ""
	if c.relative() {
		unit = c.RelativeTo
	}
	return words("converters", number(float64(c.Bits)), "bit range", number(c.Range), unit, perWord(c.Per, "token", 0))
}

// Random is false.
func (*Converters) Random() bool { return false }

// OverTensor tells whether the range of all rows is needed.
func (c *Converters) OverTensor() bool { return c.Per == "tensor" }

// PerturbRow converts a row.
func (c *Converters) PerturbRow(y []float32, x Rows, i int) (t Tally) {
	v, over := x.Row(i), x.Over
	if c.relative() && c.Per != "tensor" {
		over = RangeOf(v)
	}
	bound := float32(c.Range)
	switch c.RelativeTo {
	case "std":
		bound *= over.Std
	case "absmax":
		bound *= over.Most()
	}
	step := 2 * bound / float32(math.Exp2(float64(c.Bits))-2)
	for k, e := range v {
		in := min(max(e, -bound), bound)
		if in != e {
			t.Clipped++
		}
		y[k] = in
		if step > 0 {
			y[k] = even(in/step) * step
		}
	}
	t.count(y, v)
	return t
}
