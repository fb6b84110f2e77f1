// Package noise perturbs a model's weights and activations: it takes the operations of a noise (package operation) to
// its parameters and to the rows of a forward pass, by fused kernels where there are some, and accounts for what they
// did.
//
// Every draw is a pure function of what it is drawn for (package philox). A noise that changes nothing is an error.
package noise

import (
	"fmt"
	"slices"
	"strings"
	"unsafe"

	"github.com/gsmeval/gsmeval/internal/condition"
	"github.com/gsmeval/gsmeval/internal/torch"
	"github.com/gsmeval/gsmeval/noise/operation"
	"github.com/gsmeval/gsmeval/noise/philox"
)

// Param is a parameter of a model, by its Hugging Face name.
type Param struct {
	Name  string
	Shape []int
	DType torch.DType // of its elements as the model has them
	// Change gives f the parameter as a dense tensor, which f may change in place, and puts what it became to use.
	Change func(s *torch.Scope, f func(dense torch.Tensor))
	// Replacement is what the checkpoint at a path has in its place, float32 on the host, as long as the scope lives.
	Replacement func(s *torch.Scope, path string) []float32
}

// PerturbWeights applies the noise's operation in place to every parameter with "weight" in its name that the noise
// touches; key gives the Philox key of a parameter. The caller restores the parameters, whatever is returned. reference
// chooses plain libtorch operations over the fused kernel.
func PerturbWeights(s *torch.Scope, n condition.Noise, params []Param, key func(name string) philox.Key,
	reference bool,
) (condition.Effect, error) {
	op := n.At(operation.Weights)
	var effect condition.Effect
	for _, p := range params {
		other, replaced := op.(*operation.Checkpoint)
		if !replaced && !strings.Contains(p.Name, "weight") || !n.TouchesWeight(p.Name, len(p.Shape) == 2) {
			continue
		}
		e := condition.SiteEffect{Name: p.Name, Weight: true, Place: operation.Weights}
		p.Change(s, func(w torch.Tensor) {
			elements := int64(1)
			for _, d := range w.Shape() {
				elements *= d
			}
			if g, ok := op.(*operation.Gaussian); ok && !g.PerTile() {
				sumsq, spread := s.WeightNoise(w, g.Scale, g.AbsMax(), g.PerRow(), uint64(key(p.Name)), reference)
				e.Add(elements, operation.Tally{Noise2: sumsq, Spread2: spread * spread * float64(elements)})
				return
			}
			if replaced {
				e.Add(elements, replace(s, w, p.Replacement(s, other.Path)))
				return
			}
			e.Add(elements, onHost(s, w, op, p.Name, key(p.Name)))
		})
		if err := s.Err(); err != nil {
			return effect, fmt.Errorf("perturbing %s: %w", p.Name, err)
		}
		effect = append(effect, e)
	}
	return effect, effect.Check()
}

// replace gives a parameter other values and tells what that changed; the spread is the parameter's own size.
func replace(s *torch.Scope, w torch.Tensor, values []float32) (t operation.Tally) {
	if s.Err() != nil {
		return t
	}
	before := slices.Clone(s.FloatView(s.Host(s.To(w, torch.Float32))))
	s.CopyBytes(w, 0, bytesOf(values), torch.Float32)
	after := s.FloatView(s.Host(s.To(w, torch.Float32)))
	if s.Err() != nil {
		return t
	}
	for i, v := range before {
		d := float64(after[i]) - float64(v)
		if d != 0 {
			t.Changed++
		}
		t.Noise2 += d * d
		t.Spread2 += float64(v) * float64(v)
	}
	return t
}

func bytesOf(values []float32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(values))), 4*len(values))
}

// onHost applies an operation to a parameter in float32 on the host: drawn once for a pass over the data, it needs no
// kernel.
func onHost(s *torch.Scope, w torch.Tensor, op operation.Operation, name string, key philox.Key) operation.Tally {
	o, ok := op.(operation.OnWeights)
	if !ok {
		s.Fail(fmt.Errorf("%s cannot be applied to weights", op.Label()))
		return operation.Tally{}
	}
	mark := s.Mark()
	defer s.Release(mark)
	values := s.FloatView(s.Host(s.To(w, torch.Float32)))
	if s.Err() != nil {
		return operation.Tally{}
	}
	shape := w.Shape()
	t := o.PerturbWeight(operation.Weight{
		Name: name, Values: values, In: int(shape[len(shape)-1]), Key: key,
		Type: w.DType().String(),
	})
	s.CopyBytes(w, 0, bytesOf(values), torch.Float32)
	return t
}
