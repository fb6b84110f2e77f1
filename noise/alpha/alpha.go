// Package alpha turns clean and noisy logits into the noise-to-signal ratio alpha, the temperatures that theory derives
// from it, and the measures of how well a temperature restores the clean distribution. It is plain arithmetic, without
// libtorch.
package alpha

import (
	"math"
)

// Moments are what one position's clean and noisy logits say about the noise. Variances are over the vocabulary,
// unbiased.
type Moments struct {
	Alpha float64 // Var(noisy - clean) / Var(clean)
	Beta  float64 // Cov(noisy, clean) / Var(clean): 1 if the noise is uncorrelated with the logits
	VarE  float64 // Var(noisy - clean)
	VarP  float64 // variance of the clean logits, weighted by p = softmax(clean/base)

	VarN    float64 // variance of the noisy logits, weighted by p
	CovP    float64 // covariance of clean and noisy logits, weighted by p
	Pair    float64 // e1 - e2, the noise of the most likely token less that of the next
	Weight  float64 // p1 p2: how undecided the model is between the two
	Entropy float64 // of softmax(noisy), in nats
}

// Measure computes the moments at one position; base is the temperature of the weights of VarP.
func Measure(clean, noisy []float32, base float64) Moments {
	n := float64(len(clean))
	var meanC, meanE float64
	top := math.Inf(-1)
	for i, c := range clean {
		meanC += float64(c)
		meanE += float64(noisy[i]) - float64(c)
		top = max(top, float64(c))
	}
	meanC /= n
	meanE /= n
	var varC, varE, cov float64
	mass := 0.0
	for i, c := range clean {
		dc, de := float64(c)-meanC, float64(noisy[i])-float64(c)-meanE
		varC += dc * dc
		varE += de * de
		cov += dc * (dc + de)
		mass += math.Exp((float64(c) - top) / base)
	}
	m := Moments{VarE: varE / (n - 1)}
	if varC > 0 {
		m.Alpha, m.Beta = varE/varC, cov/varC
	}
	m.weighted(clean, noisy, base, mass)
	m.Entropy = Entropy(noisy)
	return m
}

// weighted fills in what is weighted by p, whose largest term is 1/mass. Logits are taken from those of the most likely
// token: where the model is sure, the variances are small numbers, and no small difference of large ones.
func (m *Moments) weighted(clean, noisy []float32, base, mass float64) {
	first, second := topTwo(clean)
	var meanC, meanN, varC, varN, cov float64
	each := func(f func(p, c, n float64)) {
		for i, v := range clean {
			c := float64(v) - float64(clean[first])
			if p := math.Exp(c/base) / mass; p > 0 {
				f(p, c, float64(noisy[i])-float64(noisy[first]))
			}
		}
	}
	each(func(p, c, n float64) { meanC, meanN = meanC+p*c, meanN+p*n })
	each(func(p, c, n float64) {
		varC += p * (c - meanC) * (c - meanC)
		varN += p * (n - meanN) * (n - meanN)
		cov += p * (c - meanC) * (n - meanN)
	})
	m.VarP, m.VarN, m.CovP = varC, varN, cov
	gap := float64(clean[first]) - float64(clean[second])
	m.Pair = float64(noisy[first]) - float64(noisy[second]) - gap
	m.Weight = math.Exp(-gap/base) / (mass * mass)
}

// topTwo are the indices of the largest logit and of the next; of a single one, it twice.
func topTwo(z []float32) (first, second int) {
	for i, v := range z {
		switch {
		case v > z[first]:
			first, second = i, first
		case i > 0 && (second == first || v > z[second]):
			second = i
		}
	}
	return first, second
}

// Entropy is that of softmax(z), in nats. Probabilities count as 1e-10 at least within the logarithm.
func Entropy(z []float32) float64 {
	lse, _ := logNormalizer(z, 1)
	h := 0.0
	for _, v := range z {
		l := float64(v) - lse
		if l > -60 { // less likely tokens together count for less than the last bit
			h -= math.Exp(l) * max(l, leastLog)
		}
	}
	return h
}

// leastLog is log 1e-10.
var leastLog = math.Log(1e-10)

// Divergence compares softmax(clean/base) with softmax(noisy/T), in nats.
type Divergence struct {
	KL           float64 // KL(clean || noisy)
	JS           float64 // Jensen-Shannon
	ProbCorrect  float64 // noisy probability of clean's most likely token
	CrossEntropy float64 // -sum clean log noisy
}

// Diverge computes the notebook's four metrics for each temperature. Everything stays in logarithms, so that a
// probability that underflows costs nothing.
func Diverge(clean, noisy []float32, base float64, temperatures []float64) []Divergence {
	lc, top := logNormalizer(clean, base)
	out := make([]Divergence, len(temperatures))
	for k, t := range temperatures {
		ln, _ := logNormalizer(noisy, t)
		d := &out[k]
		for i, c := range clean {
			p := float64(c)/base - lc       // log p
			q := float64(noisy[i])/t - ln   // log q
			m := logAddExp(p, q) - math.Ln2 // log of the mixture
			ep, eq := math.Exp(p), math.Exp(q)
			d.KL += ep * (p - q)
			d.CrossEntropy -= ep * q
			d.JS += 0.5 * (ep*(p-m) + eq*(q-m))
		}
		d.KL, d.JS = max(d.KL, 0), max(d.JS, 0)
		d.ProbCorrect = math.Exp(float64(noisy[top])/t - ln)
	}
	return out
}

// logNormalizer is log sum exp(z/T), and the index of the largest logit.
func logNormalizer(z []float32, temperature float64) (lse float64, top int) {
	for i, v := range z {
		if v > z[top] {
			top = i
		}
	}
	most := float64(z[top]) / temperature
	sum := 0.0
	for _, v := range z {
		sum += math.Exp(float64(v)/temperature - most)
	}
	return most + math.Log(sum), top
}

func logAddExp(a, b float64) float64 {
	if a < b {
		a, b = b, a
	}
	return a + math.Log1p(math.Exp(b-a))
}

// Slopes are derivatives of KL(softmax(clean/base) || softmax(noisy/T)) by 1/T, on Grid. KL is convex in 1/T, so where
// their mean crosses zero is the T of least mean KL.
type Slopes []float64

const perOctave = 16

// Grid is the temperatures at which slopes are taken, falling: from 8 to 1/8 in steps of 4.4 %.
var Grid = func() (g [6*perOctave + 1]float64) {
	for i := range g {
		g[i] = 8 * math.Exp2(-float64(i)/perOctave)
	}
	return g
}()

// Slope computes the slopes at one position: E_q[noisy] - E_p[noisy] with q = softmax(noisy/T), p =
// softmax(clean/base).
func Slope(clean, noisy []float32, base float64) Slopes {
	lc, _ := logNormalizer(clean, base)
	target, most := 0.0, math.Inf(-1)
	for i, c := range clean {
		target += math.Exp(float64(c)/base-lc) * float64(noisy[i])
		most = max(most, float64(noisy[i]))
	}
	const nothing = 1e-30 // of the largest weight, which is 1
	var sums, means [len(Grid)]float64
	for k, t := range Grid[:perOctave] {
		for _, z := range noisy {
			d := float64(z) - most
			w := math.Exp(d / t)
			for at := k; at < len(Grid) && w > nothing; at += perOctave {
				sums[at] += w
				means[at] += w * d
				w *= w // exp(d/(t/2))
			}
		}
	}
	s := make(Slopes, len(Grid))
	for k := range s {
		s[k] = means[k]/sums[k] + most - target
	}
	return s
}

// Root is the temperature where the slopes cross zero, by cubic interpolation in 1/T between the points of Grid. Beyond
// the ends of Grid the end is returned.
func (s Slopes) Root() float64 {
	if s[0] >= 0 {
		return Grid[0]
	}
	for k := 1; k < len(s); k++ {
		if s[k] < 0 {
			continue
		}
		from := min(max(k-2, 0), len(s)-4)
		lo, hi := 1/Grid[k-1], 1/Grid[k]
		for range 60 {
			if mid := (lo + hi) / 2; s.cubic(from, mid) < 0 {
				lo = mid
			} else {
				hi = mid
			}
		}
		return 2 / (lo + hi)
	}
	return Grid[len(Grid)-1]
}

// cubic is the polynomial through the four slopes from index from on, at x = 1/T.
func (s Slopes) cubic(from int, x float64) float64 {
	sum := 0.0
	for i := from; i < from+4; i++ {
		w := s[i]
		for j := from; j < from+4; j++ {
			if j != i {
				w *= (x - 1/Grid[j]) / (1/Grid[i] - 1/Grid[j])
			}
		}
		sum += w
	}
	return sum
}

func (s Slopes) add(o Slopes) {
	for i, v := range o {
		s[i] += v
	}
}
