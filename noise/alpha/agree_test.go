package alpha_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/gsmeval/gsmeval/noise/alpha"
	"github.com/gsmeval/gsmeval/noise/fidelity"
)

// TestMarginalAgreesWithTheJackknife finds the T of least marginal KL on a fine list of temperatures, by the divergence
// that fidelity computes and corrects in another way.
func TestMarginalAgreesWithTheJackknife(t *testing.T) {
	t.Parallel()
	const v, draws = 50, 64
	rng := rand.New(rand.NewPCG(11, 12))
	for _, base := range []float64{0.6, 1} {
		clean, noisy := make([]float32, v), make([][]float32, draws)
		for i := range clean {
			clean[i] = float32(-1.5 * base * math.Log(float64(i+1)))
		}
		c := alpha.NewCollector([]int{1}, draws, base, alpha.Needs{Marginal: true})
		for d := range noisy {
			for _, z := range clean {
				noisy[d] = append(noisy[d], z+float32(0.6*base*rng.NormFloat64()))
			}
			c.Add(0, d, 0, clean, noisy[d])
		}
		var temperatures []float64
		for k := range 121 {
			temperatures = append(temperatures, base*(0.6+float64(k)/200))
		}
		least, at := math.Inf(1), 0.0
		for k, m := range fidelity.Marginal(clean, noisy, base, temperatures) {
			if m.Mean < least {
				least, at = m.Mean, temperatures[k]
			}
		}
		if got, err := c.Curve().Constant(alpha.Marginal); err != nil || math.Abs(got-at) > 0.01 {
			t.Errorf("T_base %g: marginal is %.4f (%v), the jackknife's divergence is least at %.4f", base, got, err, at)
		}
	}
}
