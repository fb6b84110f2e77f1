// Package stats holds the statistics of accuracy tables and paired comparisons: intervals for proportions, standard
// errors clustered by question, exact paired tests, bootstraps over questions and noise seeds, and power.
//
// Everything is a pure function. What is random takes an explicit seed and draws from math/rand/v2's PCG, whose stream
// is specified, so that the resamples are the same on every machine.
package stats

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/stat/distuv"
)

// Level is the coverage of every interval in tables and comparisons.
const Level = 0.95

// Interval is a confidence interval; both ends are NaN where there is none.
type Interval struct{ Lo, Hi float64 }

// NoInterval stands where an interval cannot be computed.
func NoInterval() Interval { return Interval{math.NaN(), math.NaN()} }

// Valid reports whether there is an interval.
func (i Interval) Valid() bool { return !math.IsNaN(i.Lo) && !math.IsNaN(i.Hi) }

// NormalQuantile returns the p-quantile of the standard normal distribution.
func NormalQuantile(p float64) float64 { return distuv.UnitNormal.Quantile(p) }

// TQuantile returns the p-quantile of Student's t with df degrees of freedom.
func TQuantile(p, df float64) float64 {
	return distuv.StudentsT{Mu: 0, Sigma: 1, Nu: df}.Quantile(p)
}

// MeanStd returns the mean of x and its unbiased (n-1) standard deviation, which is NaN for fewer than two values.
func MeanStd(x []float64) (mean, std float64) {
	if len(x) == 0 {
		return math.NaN(), math.NaN()
	}
	for _, v := range x {
		mean += v
	}
	mean /= float64(len(x))
	if len(x) < 2 {
		return mean, math.NaN()
	}
	ss := 0.0
	for _, v := range x {
		ss += (v - mean) * (v - mean)
	}
	return mean, math.Sqrt(ss / float64(len(x)-1))
}

// Wilson returns the score interval of a proportion p observed in n trials (E. B. Wilson, J. Am. Stat. Assoc. 22 (1927)
// 209, without continuity correction). n need not be whole: an effective number of trials gives the interval for
// clustered data (N. Dean and M. Pagano, J. Surv. Stat. Methodol. 3 (2015) 484).
func Wilson(p, n, level float64) Interval {
	if n <= 0 || math.IsNaN(p) || math.IsNaN(n) {
		return NoInterval()
	}
	z := NormalQuantile(0.5 + level/2)
	z2 := z * z
	centre := (p + z2/(2*n)) / (1 + z2/n)
	half := z / (1 + z2/n) * math.Sqrt(p*(1-p)/n+z2/(4*n*n))
	in := Interval{math.Max(0, centre-half), math.Min(1, centre+half)}
	// At the ends the bound is the proportion itself, but for rounding.
	if p == 0 {
		in.Lo = 0
	}
	if p == 1 {
		in.Hi = 1
	}
	return in
}

// Cluster is what the samples of one question add up to: the sum of their values and their number.
type Cluster struct {
	Sum float64
	N   int
}

// Mean returns the mean over all samples of all clusters, NaN where there are none.
func Mean(clusters []Cluster) float64 {
	sum, n := totals(clusters)
	if n == 0 {
		return math.NaN()
	}
	return sum / float64(n)
}

func totals(clusters []Cluster) (sum float64, n int) {
	for _, c := range clusters {
		sum += c.Sum
		n += c.N
	}
	return sum, n
}

// nonEmpty drops the clusters without samples.
func nonEmpty(clusters []Cluster) []Cluster {
	return slices.DeleteFunc(slices.Clone(clusters), func(c Cluster) bool { return c.N == 0 })
}

// ClusterSE returns the standard error of Mean when samples within a cluster may depend on each other: with G clusters,
// N samples and residual sums r_g = Sum_g - Mean*N_g,
//
//	SE = sqrt(G/(G-1) * sum_g r_g^2) / N.
//
// This is the sandwich estimator of a regression on a constant (K.-Y. Liang and S. L. Zeger, Biometrika 73 (1986) 13)
// with the small-sample factor G/(G-1) * (N-1)/(N-K), K = 1, that Stata and statsmodels use (A. C. Cameron and D. L.
// Miller, J. Hum. Resour. 50 (2015) 317, eq. 12). With one sample a cluster it is the ordinary standard error
// std/sqrt(n). It is NaN for fewer than two clusters.
func ClusterSE(clusters []Cluster) float64 {
	clusters = nonEmpty(clusters)
	g := float64(len(clusters))
	if g < 2 {
		return math.NaN()
	}
	mean := Mean(clusters)
	_, n := totals(clusters)
	ss := 0.0
	for _, c := range clusters {
		r := c.Sum - mean*float64(c.N)
		ss += r * r
	}
	return math.Sqrt(g/(g-1)*ss) / float64(n)
}

// EffectiveN returns the number of independent trials that are worth as much as the clustered samples of a proportion:
// p(1-p)/SE^2 (L. Kish, Survey Sampling (1965), section 8.2), and at most the number of samples. Where SE says nothing,
// because every sample has the same value or there is one cluster only, it is the number of clusters, as if samples of
// one cluster were copies.
func EffectiveN(clusters []Cluster) float64 {
	clusters = nonEmpty(clusters)
	_, n := totals(clusters)
	if n == len(clusters) {
		return float64(n)
	}
	p, se := Mean(clusters), ClusterSE(clusters)
	if se > 0 && p > 0 && p < 1 {
		return math.Min(float64(n), p*(1-p)/(se*se))
	}
	return float64(len(clusters))
}

// Holm returns the p-values adjusted for the family of all of them by S. Holm's step-down method (Scand. J. Stat. 6
// (1979) 65). NaNs stay NaN and are no part of the family.
func Holm(p []float64) []float64 {
	order := make([]int, 0, len(p))
	out := make([]float64, len(p))
	for i, v := range p {
		out[i] = v
		if !math.IsNaN(v) {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case p[a] < p[b]:
			return -1
		case p[a] > p[b]:
			return 1
		}
		return 0
	})
	last := 0.0
	for rank, i := range order {
		last = math.Max(last, math.Min(1, p[i]*float64(len(order)-rank)))
		out[i] = last
	}
	return out
}
