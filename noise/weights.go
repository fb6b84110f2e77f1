package noise

import (
	"fmt"
	"strings"

	"github.com/gsmeval/gsmeval/internal/torch"
	"github.com/gsmeval/gsmeval/noise/philox"
)

// Param is a parameter of a model, by its Hugging Face name.
type Param struct {
	Name string
	// Change gives f the parameter as a dense tensor, which f may change in place, and puts what it became to use.
	Change func(s *torch.Scope, f func(dense torch.Tensor))
}

// PerturbWeights adds W' = W + scale * spread(W) * N in place to every parameter with "weight" in its name that the spec
// touches; key gives the Philox key of a parameter. The caller restores the parameters, whatever is returned.
// reference chooses plain libtorch operations over the fused kernel.
func PerturbWeights(s *torch.Scope, spec Spec, params []Param, key func(name string) philox.Key, reference bool) (Effect, error) {
	var effect Effect
	for _, p := range params {
		if !strings.Contains(p.Name, "weight") || !spec.Touches(p.Name) {
			continue
		}
		e := SiteEffect{Name: p.Name, Weight: true, Elements: 1}
		p.Change(s, func(w torch.Tensor) {
			sumsq, spread := s.WeightNoise(w, spec.WeightScale, spec.AbsMax, spec.PerRow, uint64(key(p.Name)), reference)
			for _, d := range w.Shape() {
				e.Elements *= d
			}
			e.Noise2, e.Spread2 = sumsq, spread*spread*float64(e.Elements)
		})
		if err := s.Err(); err != nil {
			return effect, fmt.Errorf("perturbing %s: %w", p.Name, err)
		}
		effect = append(effect, e)
	}
	return effect, effect.Check()
}
