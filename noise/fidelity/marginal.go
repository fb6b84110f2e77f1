// Package fidelity tells how near a noisy model's next-token distribution is to the clean model's. The clean law is
// softmax(z/base), the noisy one softmax(z'/T). It is plain arithmetic, float64 on float32 logits, without libtorch.
package fidelity

import (
	"math"
)

// MarginalKL is KL(clean || law of fresh noise) at one position and temperature, in nats. Where the noise is drawn anew
// for every token, what is sampled is not softmax(z'/T) of one draw but its mean over draws, M = E softmax(z'/T).
//
// The mean of D draws in the place of M makes the divergence too large, because -log is convex (Jensen): to second
// order by the sum over tokens of p Var(q)/(2 D M^2). The jackknife removes the terms of order 1/D without assuming a
// size of the noise: with f the divergence from the mean of all draws and f(-d) that from the mean of all but d, Mean
// is D f - (D-1) mean f(-d). Its terms of order 1/D^2 stay.
type MarginalKL struct {
	Plugin float64 // from the mean of the draws as it is
	Mean   float64 // corrected for few draws; it may be below 0. Not a number for a single draw
	SE     float64 // of Mean, over draws; not a number for a single draw
	// Pseudo is the jackknife's value for each draw, D f - (D-1) f(-d): their mean is Mean. Average them over the
	// positions of one text before taking an error, because a draw's positions share what it left in the key-value
	// cache.
	Pseudo []float64
}

// tiny is where a mean of probabilities is taken in logarithms instead, lest it lose digits or vanish.
const tiny = 1e-280

// Marginal computes the divergence for each temperature; clean is [V], draws [D][V].
func Marginal(clean []float32, draws [][]float32, base float64, temperatures []float64) []MarginalKL {
	var l law
	var m mixture
	l.set(clean, base)
	out := make([]MarginalKL, len(temperatures))
	for k, t := range temperatures {
		m.set(draws, t)
		out[k] = m.divergence(l)
	}
	return out
}

// law is softmax(z/T): probabilities and their logarithms, [V].
type law struct{ p, log []float64 }

// set computes it, in the memory of the last.
func (l *law) set(z []float32, t float64) {
	if len(l.p) != len(z) {
		l.p, l.log = make([]float64, len(z)), make([]float64, len(z))
	}
	norm := softmax(l.p, z, t)
	for i, x := range z {
		l.log[i] = float64(x)/t - norm
	}
}

// divergence is KL(l || softmax(z/T)), whose normaliser is known. It is 0 to the bit where both are the same.
func (l *law) divergence(z []float32, t, norm float64) float64 {
	kl := 0.0
	for i, p := range l.p {
		if p > 0 {
			kl += p * (l.log[i] - (float64(z[i])/t - norm))
		}
	}
	return max(kl, 0)
}

func (l *law) entropy() float64 {
	h := 0.0
	for i, p := range l.p {
		if p > 0 {
			h -= p * l.log[i]
		}
	}
	return h
}

// softmax puts softmax(z/T) into p and returns the normaliser log sum exp(z/T).
func softmax(p []float64, z []float32, t float64) float64 {
	top, sum := math.Inf(-1), 0.0
	for _, x := range z {
		top = max(top, float64(x))
	}
	for i, x := range z {
		p[i] = math.Exp((float64(x) - top) / t)
		sum += p[i]
	}
	for i := range p {
		p[i] /= sum
	}
	return top/t + math.Log(sum)
}

// mixture is the softmax of each draw at one temperature.
type mixture struct {
	draws [][]float32
	t     float64
	norms []float64   // log sum exp(z'/T) of each draw
	q     [][]float64 // [D][V]
}

// set computes the softmax of each draw, in the memory of the last.
func (m *mixture) set(draws [][]float32, t float64) {
	m.draws, m.t = draws, t
	for len(m.q) < len(draws) {
		m.q, m.norms = append(m.q, make([]float64, len(draws[0]))), append(m.norms, 0)
	}
	for d, z := range draws {
		m.norms[d] = softmax(m.q[d], z, t)
	}
}

// divergence is KL(clean || mean of the draws), and its jackknife.
func (m *mixture) divergence(clean law) MarginalKL {
	draws := len(m.draws)
	n := float64(draws)
	out := MarginalKL{Pseudo: make([]float64, draws), Mean: math.NaN(), SE: math.NaN()}
	without := make([]float64, draws) // f(-d) - f
	for i, p := range clean.p {
		if p == 0 {
			continue
		}
		sum := 0.0
		for d := range draws {
			sum += m.q[d][i]
		}
		all := math.Log(sum)
		if sum < tiny {
			all = m.logSum(i, -1)
		}
		out.Plugin += p * (clean.log[i] - (all - math.Log(n)))
		if draws == 1 {
			continue
		}
		for d := range draws {
			// A draw that holds nearly all of the sum would leave the rest without digits.
			rest := sum - m.q[d][i]
			if rest > 1e-6*sum && sum >= tiny {
				without[d] -= p * math.Log(rest/sum)
			} else {
				without[d] -= p * (m.logSum(i, d) - all)
			}
		}
	}
	if draws == 1 {
		out.Pseudo[0] = math.NaN()
		return out
	}
	// A mean of D-1 draws divides by D-1, not by D.
	share, mean := math.Log((n-1)/n), 0.0
	for d := range draws {
		out.Pseudo[d] = out.Plugin - (n-1)*(without[d]+share)
		mean += out.Pseudo[d] / n
	}
	out.Mean, out.SE = mean, standardError(out.Pseudo)
	return out
}

// logSum is the logarithm of the sum of token i's probabilities over all draws but one.
func (m *mixture) logSum(i, but int) float64 {
	at := func(d int) float64 { return float64(m.draws[d][i])/m.t - m.norms[d] }
	top := math.Inf(-1)
	for d := range m.draws {
		if d != but {
			top = max(top, at(d))
		}
	}
	sum := 0.0
	for d := range m.draws {
		if d != but {
			sum += math.Exp(at(d) - top)
		}
	}
	return top + math.Log(sum)
}

// standardError is that of the mean of independent values.
func standardError(values []float64) float64 {
	n, mean, sum := float64(len(values)), 0.0, 0.0
	for _, v := range values {
		mean += v / n
	}
	for _, v := range values {
		sum += (v - mean) * (v - mean)
	}
	return math.Sqrt(sum / (n - 1) / n)
}
