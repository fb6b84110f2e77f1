package fidelity

import (
	"math"
	"math/rand/v2"
	"testing"
)

// normals are logits z + s N.
func normals(rng *rand.Rand, z []float32, s float64) []float32 {
	out := make([]float32, len(z))
	for i := range out {
		out[i] = z[i] + float32(s*rng.NormFloat64())
	}
	return out
}

func several(rng *rand.Rand, n int, z []float32, s float64) [][]float32 {
	out := make([][]float32, n)
	for d := range out {
		out[d] = normals(rng, z, s)
	}
	return out
}

// direct is KL(clean || mean of the draws), in logarithms all the way and by no code of the package.
func direct(clean []float32, draws [][]float32, base, t float64) float64 {
	logSoftmax := func(z []float32, t float64) []float64 {
		top := math.Inf(-1)
		for _, x := range z {
			top = math.Max(top, float64(x)/t)
		}
		sum := 0.0
		for _, x := range z {
			sum += math.Exp(float64(x)/t - top)
		}
		out := make([]float64, len(z))
		for i, x := range z {
			out[i] = float64(x)/t - top - math.Log(sum)
		}
		return out
	}
	p := logSoftmax(clean, base)
	mixed := make([]float64, len(p))
	for i := range mixed {
		mixed[i] = math.Inf(-1)
	}
	for _, z := range draws {
		for i, q := range logSoftmax(z, t) {
			a, b := math.Max(mixed[i], q), math.Min(mixed[i], q)
			mixed[i] = a + math.Log1p(math.Exp(b-a))
		}
	}
	kl := 0.0
	for i := range p {
		kl += math.Exp(p[i]) * (p[i] - mixed[i] + math.Log(float64(len(draws))))
	}
	return kl
}

func without(draws [][]float32, d int) [][]float32 {
	return append(append([][]float32{}, draws[:d]...), draws[d+1:]...)
}

func TestMarginalAgreesWithItsDefinition(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	flat := make([]float32, 40)
	for _, c := range []struct {
		name          string
		spread, noise float64
		draws         int
	}{
		{"mild", 2, 0.3, 8},
		{"strong", 3, 2, 5},
		{"two draws", 2, 1, 2},
		{"one draw holds a token almost alone", 5, 40, 6},
		{"probabilities that vanish in float64", 900, 500, 4},
	} {
		clean := normals(rng, flat, c.spread)
		draws := several(rng, c.draws, clean, c.noise)
		temperatures := []float64{0.5, 1, 1.7}
		const base = 0.8
		for k, m := range Marginal(clean, draws, base, temperatures) {
			n := float64(c.draws)
			f := direct(clean, draws, base, temperatures[k])
			mean, sum := 0.0, 0.0
			for d := range draws {
				want := n*f - (n-1)*direct(clean, without(draws, d), base, temperatures[k])
				if math.Abs(m.Pseudo[d]-want) > 1e-9*max(1, math.Abs(want)) {
					t.Errorf("%s, T %g: pseudo-value %d is %g, want %g", c.name, temperatures[k], d, m.Pseudo[d], want)
				}
				mean += want / n
				sum += want * want
			}
			se := math.Sqrt((sum/n - mean*mean) / (n - 1))
			for _, q := range []struct {
				what      string
				got, want float64
			}{{"plugin", m.Plugin, f}, {"mean", m.Mean, mean}, {"standard error", m.SE, se}} {
				if math.Abs(q.got-q.want) > 1e-6*max(1, math.Abs(q.want)) || math.IsNaN(q.got) {
					t.Errorf("%s, T %g: %s %g, want %g", c.name, temperatures[k], q.what, q.got, q.want)
				}
			}
		}
	}
}

func TestMarginalWithoutNoiseIsNothing(t *testing.T) {
	z := normals(rand.New(rand.NewPCG(3, 4)), make([]float32, 1000), 3)
	m := Marginal(z, [][]float32{z, z, z}, 1, []float64{1})[0]
	if math.Abs(m.Plugin) > 1e-14 || math.Abs(m.Mean) > 1e-13 || m.SE > 1e-13 {
		t.Errorf("equal draws diverge by %g, corrected %g, error %g", m.Plugin, m.Mean, m.SE)
	}
	if m := Marginal(z, [][]float32{z}, 1, []float64{1})[0]; math.Abs(m.Plugin) > 1e-14 || !math.IsNaN(m.Mean) ||
		!math.IsNaN(m.SE) {
		t.Errorf("one draw: plugin %g, mean %g, error %g; expected nearly 0 and no numbers", m.Plugin, m.Mean, m.SE)
	}
}

// With few draws the mean of their probabilities makes the divergence too large. The corrected mean must lose most of
// that, and lie within its error of what very many draws say. That is asked of a text's mean: at a single position the
// estimate is a quadratic form that is far from normal where the noise leaves the marginal law nearly clean.
func TestFewDrawsAreCorrected(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	one := []float64{1}
	text := make([][]float32, 15)
	for i := range text {
		text[i] = normals(rng, make([]float32, 40), 2)
	}
	average := func(draws int, noise float64) (plugin, mean, se float64) {
		n := float64(len(text))
		pseudo := make([]float64, draws)
		for _, clean := range text {
			m := Marginal(clean, several(rng, draws, clean, noise), 1, one)[0]
			plugin += m.Plugin / n
			mean += m.Mean / n
			for d, v := range m.Pseudo {
				pseudo[d] += v / n
			}
		}
		return plugin, mean, standardError(pseudo)
	}
	for _, noise := range []float64{0.3, 0.6, 1} {
		_, truth, truthSE := average(5_000, noise)
		for _, draws := range []int{4, 8, 24} {
			const repeats = 200
			var plugin, mean, square, se, within float64
			for range repeats {
				p, m, e := average(draws, noise)
				plugin += p / repeats
				mean += m / repeats
				square += m * m / repeats
				se += e / repeats
				if math.Abs(m-truth) <= 4*e {
					within += 1.0 / repeats
				}
			}
			spread := math.Sqrt(square - mean*mean)
			before, after, doubt := plugin-truth, mean-truth, 3*math.Hypot(spread/math.Sqrt(repeats), truthSE)
			t.Logf("noise %g, %2d draws: true %.5f ± %.5f; plugin %+.5f, corrected %+.5f ± %.5f; %.1f %% within 4 errors; error %.5f, said to be %.5f",
				noise, draws, truth, truthSE, before, after, doubt, 100*within, spread, se)
			if math.Abs(after) > 0.15*before+doubt {
				t.Errorf("noise %g, %d draws: the bias is %.5f, and corrected still %.5f", noise, draws, before, after)
			}
			if least := map[int]float64{4: 0.96, 8: 0.98, 24: 0.98}[draws]; within < least {
				t.Errorf("noise %g, %d draws: only %.1f %% are within 4 standard errors of the truth", noise, draws,
					100*within)
			}
			if se < 0.9*spread {
				t.Errorf("noise %g, %d draws: the error is %.5f and is said to be %.5f", noise, draws, spread, se)
			}
		}
	}
}
