package alpha

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"gonum.org/v1/gonum/stat/distuv"
)

// TestTwoCandidates holds the forms against a simulation of two tokens whose logits differ by g, under noise N(0,
// 0.6^2) on each: the table was made elsewhere, with 800,000 antithetic draws and temperatures in steps of 0.005 up to
// 2.2. What matters is the difference of the noises, which here takes normal values of equal probability.
func TestTwoCandidates(t *testing.T) {
	t.Parallel()
	const sigma, draws = 0.6, 4000
	for _, want := range []struct{ g, fitted, marginal, fisher float64 }{
		{0.5, 2.20, 0.820, 3.88},
		{1, 1.675, 0.830, 1.72},
		{2, 1.080, 0.855, 1.18},
		{3, 0.985, 0.885, 1.08},
		{4.6, 0.960, 0.920, 1.03},
	} {
		c := NewCollector([]int{1}, draws, 1, Needs{Fit: true, Marginal: true})
		for d := range draws {
			e := sigma * math.Sqrt2 * normalAt(d, draws)
			c.Add(0, d, 0, []float32{float32(want.g), 0}, []float32{float32(want.g + e/2), float32(-e / 2)})
		}
		curve := c.Curve()
		if want.fitted == 2.20 { // the edge of the table's grid
			if got := constant(t, curve, Fitted); got < 2.2 {
				t.Errorf("g = %g: fitted T is %.4f, and lies beyond 2.2", want.g, got)
			}
		} else {
			closeTo(t, want.g, Fitted, constant(t, curve, Fitted), want.fitted, 0.01)
		}
		closeTo(t, want.g, Marginal, constant(t, curve, Marginal), want.marginal, 0.01)
		closeTo(t, want.g, Fisher, constant(t, curve, Fisher), want.fisher, 0.01)
		closeTo(t, want.g, Probit, constant(t, curve, Probit), 0.847, 0.001) // whatever g
		if got := curve.Points[0]; math.Abs(got.VarPair-2*sigma*sigma) > 0.005 || math.Abs(got.Beta-1) > 1e-6 {
			t.Errorf("g = %g: Var(e1 - e2) is %.4f, beta %.4f", want.g, got.VarPair, got.Beta)
		}
	}
}

// TestTwoCandidatesAtAnotherBase scales logits, noise and T_base together: every form's temperature scales with them.
func TestTwoCandidatesAtAnotherBase(t *testing.T) {
	t.Parallel()
	const draws, base = 500, 0.6
	curves := make([]*Curve, 2)
	for i, scale := range []float64{1, base} {
		c := NewCollector([]int{1}, draws, scale, Needs{Fit: true, Marginal: true})
		for d := range draws {
			e := 0.6 * math.Sqrt2 * normalAt(d, draws) * scale
			c.Add(0, d, 0, []float32{float32(2 * scale), 0}, []float32{float32(2*scale + e/2), float32(-e / 2)})
		}
		curves[i] = c.Curve()
	}
	for _, form := range Forms() {
		if one, scaled := constant(t, curves[0], form), constant(t, curves[1],
			form); math.Abs(scaled-base*one) > 2e-3*base {
			t.Errorf("%s: T is %.4f at T_base 1 and %.4f at %g, want %.4f", form, one, scaled, base, base*one)
		}
	}
	// Noise that alone is more random than T_base allows: there is no temperature, and the most likely token is taken.
	c := NewCollector([]int{1}, draws, base, Needs{Marginal: true})
	for d := range draws {
		e := 3 * normalAt(d, draws)
		c.Add(0, d, 0, []float32{1, 0}, []float32{float32(1 + e/2), float32(-e / 2)})
	}
	for _, form := range []Form{Marginal, Probit} {
		if got := constant(t, c.Curve(), form); got != 0 {
			t.Errorf("%s: T is %g where there is none", form, got)
		}
	}
}

// TestNearCertain lets the model be ever surer: fisher stays finite and goes to T_base, as its derivation says, where
// exact asks for any temperature at all.
func TestNearCertain(t *testing.T) {
	t.Parallel()
	const sigma, draws = 0.6, 2000
	for _, g := range []float64{5, 10, 20, 40, 100, 300} {
		c := NewCollector([]int{1}, draws, 1, Needs{})
		for d := range draws {
			e := sigma * math.Sqrt2 * normalAt(d, draws)
			c.Add(0, d, 0, []float32{float32(g), 0}, []float32{float32(g + e/2), float32(-e / 2)})
		}
		curve := c.Curve()
		closeTo(t, g, Fisher, constant(t, curve, Fisher), 1+2*sigma*sigma/(g*g), 1e-3)
		if exact := constant(t, curve, Exact); g >= 10 && exact < 50 {
			t.Errorf("g = %g: exact is %.3g", g, exact)
		}
	}
	c := NewCollector([]int{2}, 1, 1, Needs{})
	c.Add(0, 0, 0, []float32{2, 0}, []float32{1, 0})
	c.Add(0, 0, 1, []float32{2, 0}, []float32{-1, 0}) // the noise turns the model's choice round
	if _, err := c.Curve().Dynamic(Fisher, None, 1); err == nil || !strings.Contains(err.Error(), "position 1") {
		t.Errorf("a covariance below 0: error %v, want one that names position 1", err)
	}
	c.Add(0, 0, 0, []float32{2, 0}, []float32{0.5, 0}) // and now in the sum over positions too
	if _, err := c.Curve().Constant(Fisher); err == nil || !strings.Contains(err.Error(), "position 1") {
		t.Errorf("covariances below 0 in the sum: error %v, want one that names position 1", err)
	}
}

// TestZipf draws noise on a vocabulary of 1000 with Zipf's law: the forms are held against divergences on other draws
// than those they were calibrated on.
func TestZipf(t *testing.T) {
	t.Parallel()
	const v, draws, sigma = 1000, 96, 0.8
	rng := rand.New(rand.NewPCG(7, 18))
	clean := make([]float32, v)
	for i := range clean {
		clean[i] = float32(-1.5 * math.Log(float64(i+1)))
	}
	noisy := func() []float32 {
		z := make([]float32, v)
		for i := range z {
			z[i] = clean[i] + float32(sigma*rng.NormFloat64())
		}
		return z
	}
	c := NewCollector([]int{1}, draws, 1, Needs{Fit: true, Marginal: true})
	for d := range draws {
		c.Add(0, d, 0, clean, noisy())
	}
	curve := c.Curve()
	temps := []float64{1}
	for _, form := range Forms() {
		temps = append(temps, constant(t, curve, form))
	}
	meanKL := make([]float64, len(temps))
	law := make([][]float64, len(temps))
	for k := range law {
		law[k] = make([]float64, v)
	}
	const fresh = 240
	for range fresh {
		z := noisy()
		for k, d := range Diverge(clean, z, 1, temps) {
			meanKL[k] += d.KL / fresh
		}
		for k, at := range temps {
			lse, _ := logNormalizer(z, at)
			for i, x := range z {
				law[k][i] += math.Exp(float64(x)/at-lse) / fresh
			}
		}
	}
	marginalKL := make([]float64, len(temps))
	lc, _ := logNormalizer(clean, 1)
	for k := range temps {
		for i, x := range clean {
			p := float64(x) - lc
			marginalKL[k] += math.Exp(p) * (p - math.Log(law[k][i]))
		}
	}
	of := map[Form]int{"T = 1": 0}
	for i, form := range Forms() {
		of[form] = i + 1
	}
	for name, k := range of {
		t.Logf("%-15s T %.4f: mean KL of a draw %.5f, marginal KL %.5f", name, temps[k], meanKL[k], marginalKL[k])
		if marginalKL[k] < marginalKL[of[Marginal]] {
			t.Errorf("%s has a lower marginal KL, %.5f, than marginal, %.5f", name, marginalKL[k],
				marginalKL[of[Marginal]])
		}
		if meanKL[k] < meanKL[of[Fitted]] {
			t.Errorf("%s has a lower mean KL, %.5f, than fitted, %.5f", name, meanKL[k], meanKL[of[Fitted]])
		}
	}
	if temps[of[Marginal]] >= 1 || marginalKL[of[Sqrt]] < 2*marginalKL[0] {
		t.Errorf("marginal asks for %.4f, and sqrt has a marginal KL of %.5f where T = 1 has %.5f", temps[of[Marginal]],
			marginalKL[of[Sqrt]], marginalKL[0])
	}
	// Among many candidates the noises of the rest average out, which the pair knows nothing of: its T is too low.
	if temps[of[Probit]] > temps[of[Marginal]]-0.1 {
		t.Errorf("marginal_probit asks for %.4f, marginal for %.4f", temps[of[Probit]], temps[of[Marginal]])
	}
}

// TestMarginalOfFewDraws takes means of few draws many times: its divergence is far too large, and what is taken off
// leaves less than a tenth of that.
func TestMarginalOfFewDraws(t *testing.T) {
	t.Parallel()
	const sigma, few, trials = 0.8, 8, 3000
	clean := []float32{1, 0}
	rng := rand.New(rand.NewPCG(1, 2))
	draw := func() []float32 {
		return []float32{1 + float32(sigma*rng.NormFloat64()), float32(sigma * rng.NormFloat64())}
	}
	all, corrected := newMarginal(clean, 1), &kls{}
	var plain kls
	for range trials {
		m := newMarginal(clean, 1)
		for range few {
			z := draw()
			m.add(z)
			all.add(z)
		}
		got := m.divergences()
		corrected.add(got)
		for s, p := range m.p {
			for k := range plain {
				plain[k] += p * (math.Log(p) - math.Log(m.sum[s*xCount+k]/few)) / trials
			}
		}
	}
	want := all.divergences()
	const at = 10 // T = 1
	bias, left := plain[at]-want[at], corrected[at]/trials-want[at]
	if bias < 0.005 || math.Abs(left) > bias/10 {
		t.Errorf("the mean of %d draws is off by %.5f, corrected by %.5f", few, bias, left)
	}
	closeTo(t, few, Marginal, corrected.least(1), want.least(1), 0.02)
}

// normalAt is the normal value in the middle of the i-th of n parts of equal probability.
func normalAt(i, n int) float64 { return distuv.UnitNormal.Quantile((float64(i) + 0.5) / float64(n)) }

func constant(t *testing.T, c *Curve, form Form) float64 {
	t.Helper()
	got, err := c.Constant(form)
	if err != nil {
		t.Errorf("%s: %v", form, err)
	}
	return got
}

func closeTo(t *testing.T, g float64, form Form, got, want, tolerance float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tolerance) {
		t.Errorf("g = %g: T of %s is %.4f, want %.4f", g, form, got, want)
	}
}

// TestBins cuts positions by entropy: where the model is sure the two candidates' optimum is another than where it is
// not, and each bin has its own.
func TestBins(t *testing.T) {
	t.Parallel()
	const draws, sigma = 400, 0.6
	gaps := []float64{0.5, 0.5, 4.6, 4.6, 3, 3, 2, 2, 1, 1}
	c := NewCollector([]int{len(gaps)}, draws, 1, Needs{Fit: true, Marginal: true})
	frozen := NewCollector([]int{len(gaps)}, draws, 1, Needs{Fit: true})
	for at, g := range gaps {
		for d := range draws {
			e := sigma * math.Sqrt2 * normalAt(d, draws)
			clean, noisy := []float32{float32(g), 0}, []float32{float32(g + e/2), float32(-e / 2)}
			c.Add(0, d, at, clean, noisy)
			frozen.Add(0, d, at, clean, noisy)
		}
	}
	bins, ofDraws := c.Curve().Bins, frozen.Curve().Bins
	if len(bins) != 5 || len(ofDraws) != 5 {
		t.Fatalf("%d and %d bins", len(bins), len(ofDraws))
	}
	for i, want := range []struct{ g, marginal, fitted float64 }{
		{4.6, 0.920, 0.960},
		{3, 0.885, 0.985},
		{2, 0.855, 1.080},
		{1, 0.830, 1.675},
	} {
		closeTo(t, want.g, Marginal, bins[i].T, want.marginal, 0.01)
		closeTo(t, want.g, Fitted, ofDraws[i].T, want.fitted, 0.01)
		if bins[i].N != 2 || bins[i].From >= bins[i+1].From {
			t.Errorf("bin %d: %+v, the next %+v", i, bins[i], bins[i+1])
		}
	}
}
