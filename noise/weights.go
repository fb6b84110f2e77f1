package noise

import (
	"strings"

	"github.com/gsmeval/gsmeval/internal/torch"
	"github.com/gsmeval/gsmeval/noise/philox"
)

// Param is a parameter of a model, by its Hugging Face name.
type Param struct {
	Name   string
	Tensor torch.Tensor
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
		sumsq, spread := s.WeightNoise(p.Tensor, spec.WeightScale, spec.AbsMax, spec.PerRow, uint64(key(p.Name)), reference)
		if err := s.Err(); err != nil {
			return effect, err
		}
		n := int64(1)
		for _, d := range p.Tensor.Shape() {
			n *= d
		}
		effect = append(effect, SiteEffect{Name: p.Name, Weight: true, Elements: n, Spread2: spread * spread * float64(n), Noise2: sumsq})
	}
	return effect, effect.Check()
}
