package stats

import (
	"math"
	"math/rand/v2"

	"gonum.org/v1/gonum/stat/distuv"
)

// McNemarExact returns the two-sided p-value of McNemar's test for paired verdicts, from the binomial distribution of
// the discordant pairs: of gained+lost pairs each falls to either side with probability 1/2, and p is twice the smaller
// tail, at most 1 (Q. McNemar, Psychometrika 12 (1947) 153; exact form as in A. Agresti, Categorical Data Analysis,
// section 10.1). It is neither the chi-squared approximation nor the mid-p variant. Without discordant pairs p is 1.
func McNemarExact(gained, lost int) float64 {
	n, k := gained+lost, min(gained, lost)
	if n == 0 {
		return 1
	}
	ln2 := float64(n) * math.Ln2
	tail := 0.0
	for i := k; i >= 0; i-- {
		term := math.Exp(logChoose(n, i) - ln2)
		tail += term
		if term < tail*1e-17 {
			break
		}
	}
	return math.Min(1, 2*tail)
}

func logChoose(n, k int) float64 {
	a, _ := math.Lgamma(float64(n + 1))
	b, _ := math.Lgamma(float64(k + 1))
	c, _ := math.Lgamma(float64(n - k + 1))
	return a - b - c
}

// maxExactWork bounds the additions of an exact sign-flip test: about a second.
const maxExactWork = 1_000_000_000

// SignFlip returns the two-sided p-value of the permutation test for paired data clustered by question: under the null
// hypothesis the sign of each question's difference d is a fair coin (R. A. Fisher, The Design of Experiments (1935),
// section 21), and p is the probability that |sum of +-d| is at least the observed |sum of d|. All samples of a
// question flip together, so that dependence within a question does no harm.
//
// The differences are whole numbers (correct answers gained minus lost), so the distribution of the sum over all 2^n
// sign patterns is computed exactly, by convolution; with differences of -1, 0 and 1 it is McNemarExact. Only where
// that would take more than maxExactWork steps are draws patterns drawn instead, from PCG(seed, stream), and p = (1 +
// hits)/(1 + draws) (B. Phipson and G. K. Smyth, Stat. Appl. Genet. Mol. Biol. 9 (2010) 39); exact says which.
func SignFlip(d []int, draws int, seed, stream uint64) (p float64, exact bool) {
	// How often each size of difference occurs; zeros never matter.
	counts := map[int]int{}
	observed, reach, nonzero, largest := 0, 0, 0, 0
	for _, v := range d {
		observed += v
		if v < 0 {
			v = -v
		}
		if v > 0 {
			counts[v]++
			reach += v
			nonzero++
			largest = max(largest, v)
		}
	}
	if observed < 0 {
		observed = -observed
	}
	if nonzero == 0 {
		return 1, true
	}
	if reach > maxExactWork/nonzero {
		return signFlipSampled(d, observed, draws, seed, stream), false
	}
	// prob[s] is the probability that the flipped-down differences add up to s; the sum is then reach - 2s.
	prob := make([]float64, reach+1)
	prob[0] = 1
	top := 0
	for size := 1; size <= largest; size++ {
		for range counts[size] {
			top += size
			for s := top; s >= 0; s-- {
				half := prob[s] / 2
				if s >= size {
					half += prob[s-size] / 2
				}
				prob[s] = half
			}
		}
	}
	// By symmetry the two tails are equal; they are added from the small end.
	tail := 0.0
	for s := 0; reach-2*s >= observed && s <= reach; s++ {
		tail += prob[s]
	}
	return math.Min(1, 2*tail), true
}

func signFlipSampled(d []int, observed, draws int, seed, stream uint64) float64 {
	rng := rand.NewPCG(seed, stream)
	hits := 0
	for range draws {
		sum := 0
		var bits uint64
		for i, v := range d {
			if i%64 == 0 {
				bits = rng.Uint64()
			}
			if bits&1 == 0 {
				sum += v
			} else {
				sum -= v
			}
			bits >>= 1
		}
		if sum >= observed || -sum >= observed {
			hits++
		}
	}
	return float64(1+hits) / float64(1+draws)
}

// TwoProportion returns the two-sided p-value of the z-test that two independent proportions are equal, with the pooled
// variance (Agresti, Categorical Data Analysis, section 3.2). n1 and n2 may be effective numbers.
func TwoProportion(p1, n1, p2, n2 float64) float64 {
	pool := (p1*n1 + p2*n2) / (n1 + n2)
	variance := pool * (1 - pool) * (1/n1 + 1/n2)
	switch {
	case math.IsNaN(variance) || n1 <= 0 || n2 <= 0:
		return math.NaN()
	case variance <= 0:
		return 1 // both are all right or all wrong
	}
	return math.Min(1, 2*distuv.UnitNormal.Survival(math.Abs(p2-p1)/math.Sqrt(variance)))
}

// Newcombe returns the interval for p2 - p1 of two independent proportions from their Wilson intervals (R. G. Newcombe,
// Stat. Med. 17 (1998) 873, method 10). n1 and n2 may be effective numbers.
func Newcombe(p1, n1, p2, n2, level float64) Interval {
	a, b := Wilson(p1, n1, level), Wilson(p2, n2, level)
	if !a.Valid() || !b.Valid() {
		return NoInterval()
	}
	d := p2 - p1
	return Interval{
		d - math.Hypot(p2-b.Lo, a.Hi-p1),
		d + math.Hypot(b.Hi-p2, p1-a.Lo),
	}
}
