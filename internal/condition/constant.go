package condition

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/gsmeval/gsmeval/internal/keys"
	"github.com/gsmeval/gsmeval/noise/alpha"
)

// Constant is one temperature for all steps.
type Constant struct {
	Value  float64   `yaml:"value,omitempty"`
	Values []float64 `yaml:"values,omitempty"` // instead of value: one for each noise, in their order
}

// Check reports temperatures that are out of range.
func (c *Constant) Check(r keys.Report, noises int) {
	hasValue, hasValues := c.Value != 0 || r.Given("value"), len(c.Values) > 0 || r.Given("values")
	switch {
	case hasValue && hasValues:
		r.Bad("values", "value and values are both given; keep one")
	case hasValues:
		if len(c.Values) != noises {
			r.Bad("values", "expected a temperature for each noise, %d in the order of the list noise; found %d",
				noises, len(c.Values))
		}
		for i, v := range c.Values {
			r.Above(fmt.Sprintf("values[%d]", i), v, 0, maxT)
		}
	default:
		r.Required("value", "policy constant", c.Value, 0, maxT)
	}
}

// Label is "T=1"; of a value for each noise "T by noise".
func (c *Constant) Label() string {
	if len(c.Values) > 0 {
		return "T by noise"
	}
	return "T=" + number(c.Value)
}

// Schedule is the constant.
func (c *Constant) Schedule(under Under, _ *alpha.Curve) (Schedule, error) {
	if len(c.Values) > 0 {
		return ConstantT(c.Values[under.Index]), nil
	}
	return ConstantT(c.Value), nil
}

// GreedyPolicy takes the most likely token.
type GreedyPolicy struct{}

// Check has nothing to check.
func (*GreedyPolicy) Check(keys.Report, int) {}

// Label is "greedy".
func (*GreedyPolicy) Label() string { return "greedy" }

// Schedule is greedy.
func (*GreedyPolicy) Schedule(Under, *alpha.Curve) (Schedule, error) { return Greedy(), nil }

// number writes the shortest text that reads back as the same number.
func number(x float64) string { return strconv.FormatFloat(x, 'g', -1, 64) }

// words spells a list of names of any text type.
func words[T ~string](list []T) []string {
	out := make([]string, len(list))
	for i, w := range list {
		out[i] = string(w)
	}
	return slices.Clip(out)
}
