// Package noise perturbs a model's weights and activations, measures what it did, and measures what that does to the
// logits.
//
// Every draw is a pure function of what it is drawn for (package philox). A noise that changes nothing is an error.
package noise

import (
	"errors"
	"fmt"
	"math"
	"path"
	"strings"
)

// ErrNoEffect is returned where noise was asked for and nothing changed.
var ErrNoEffect = errors.New("the noise changed nothing")

// Kind says what is perturbed.
type Kind string

// The kinds of noise.
const (
	None       Kind = "none"
	Weight     Kind = "weight"     // the parameters, once for a noise seed: one programmed chip
	Activation Kind = "activation" // the input of every Linear
	Combined   Kind = "combined"   // both
	Output     Kind = "output"     // the output of every Linear, as the analog literature has it
)

// Spec is one noise condition. Scales are multiples of the spread of what is perturbed.
type Spec struct {
	Kind            Kind
	WeightScale     float64
	ActivationScale float64  // inputs of Linears, or their outputs under Output
	AbsMax          bool     // spread is the largest magnitude, not the standard deviation
	PerRow          bool     // weights: a spread for each output row, not one for the tensor
	Include         []string // patterns of names that are perturbed; none means all
	Exclude         []string // patterns of names that are not
}

// OnWeights tells whether parameters are perturbed.
func (s Spec) OnWeights() bool { return s.Kind == Weight || s.Kind == Combined }

// OnActivations tells whether the inputs or outputs of Linears are perturbed.
func (s Spec) OnActivations() bool {
	return s.Kind == Activation || s.Kind == Combined || s.Kind == Output
}

// Check refuses scales that are not positive and patterns that do not parse.
func (s Spec) Check() error {
	switch s.Kind {
	case None, Weight, Activation, Combined, Output:
	default:
		return fmt.Errorf("unknown noise kind %q", s.Kind)
	}
	if math.IsInf(s.WeightScale, 0) || math.IsInf(s.ActivationScale, 0) {
		return fmt.Errorf("%s noise of an infinite scale", s.Kind)
	}
	if s.OnWeights() && !(s.WeightScale > 0) {
		return fmt.Errorf("%s noise with weight scale %v: %w", s.Kind, s.WeightScale, ErrNoEffect)
	}
	if s.OnActivations() && !(s.ActivationScale > 0) {
		return fmt.Errorf("%s noise with activation scale %v: %w", s.Kind, s.ActivationScale, ErrNoEffect)
	}
	for _, p := range append(append([]string{}, s.Include...), s.Exclude...) {
		if _, err := path.Match(p, ""); err != nil {
			return fmt.Errorf("pattern %q: %w", p, err)
		}
	}
	return nil
}

// Touches tells whether a parameter or Linear of this name is perturbed. A pattern with *, ? or [ matches the whole name,
// any other matches a part of it.
func (s Spec) Touches(name string) bool {
	match := func(patterns []string) bool {
		for _, p := range patterns {
			if !strings.ContainsAny(p, "*?[") {
				if strings.Contains(name, p) {
					return true
				}
			} else if ok, err := path.Match(p, name); err == nil && ok {
				return true
			}
		}
		return false
	}
	return (len(s.Include) == 0 || match(s.Include)) && !match(s.Exclude)
}
