package config

import (
	"strconv"
	"strings"
)

// Label names a noise condition in tables: "none", "activation 0.05", "weight 0.02
// absmax/row", "combined w0.02 a0.05 include q_proj exclude lm_head". Two
// conditions of one config never share a label.
func (n Noise) Label() string {
	if n.Kind == NoiseNone {
		return n.Kind
	}
	parts := []string{n.Kind}
	if n.Kind == NoiseCombined {
		parts = append(parts, "w"+number(n.WeightScale), "a"+number(n.ActivationScale))
	} else {
		parts = append(parts, number(n.Scale))
	}
	relative := n.RelativeTo
	if relative == "" {
		relative = "std"
	}
	switch {
	case n.Per == "row":
		parts = append(parts, relative+"/row")
	case relative != "std":
		parts = append(parts, relative)
	}
	if len(n.Include) > 0 {
		parts = append(parts, "include "+strings.Join(n.Include, ","))
	}
	if len(n.Exclude) > 0 {
		parts = append(parts, "exclude "+strings.Join(n.Exclude, ","))
	}
	return strings.Join(parts, " ")
}

// Label names a temperature condition in tables: its own name, or "T=1", "greedy",
// "T*", "T*(t)", followed by what deviates from the calibration: "T* linear",
// "T*(t) exact base=0.8 smooth=exponential", "T*(t) from activation 0.2". A
// constant with a value for each noise is "T by noise".
func (t Temperature) Label() string {
	if t.Name != "" {
		return t.Name
	}
	var parts []string
	switch t.Policy {
	case PolicyConstant:
		if len(t.Values) > 0 {
			return "T by noise"
		}
		return "T=" + number(t.Value)
	case PolicyConstantTStar:
		parts = append(parts, "T*")
	case PolicyDynamicTStar:
		parts = append(parts, "T*(t)")
	default:
		return t.Policy
	}
	if t.Form != "" {
		parts = append(parts, t.Form)
	}
	if t.Base != 0 {
		parts = append(parts, "base="+number(t.Base))
	}
	if t.Smooth != "" {
		parts = append(parts, "smooth="+t.Smooth)
	}
	if t.From.Kind != "" {
		parts = append(parts, "from "+t.From.Label())
	}
	return strings.Join(parts, " ")
}

// number writes the shortest text that reads back as the same number.
func number(x float64) string { return strconv.FormatFloat(x, 'g', -1, 64) }
