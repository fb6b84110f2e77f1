package stats

import (
	"math"
	"math/rand/v2"
	"slices"
)

// Resamples is the number of resamples behind every bootstrap interval.
const Resamples = 10_000

// index draws a whole number below n from the upper half of a PCG word by multiplication; numbers differ in probability
// by less than n/2^32.
func index(rng *rand.PCG, n uint64) int { return int(rng.Uint64() >> 32 * n >> 32) }

// ClusterBootstrap returns the percentile interval of Mean over resamples of whole clusters (B. Efron, Ann. Stat. 7
// (1979) 1; clusters as in A. C. Cameron, J. B. Gelbach and D. L. Miller, Rev. Econ. Stat. 90 (2008) 414, pairs cluster
// bootstrap). With each cluster holding a question's paired differences it is the interval of a paired difference. The
// resamples come from PCG(seed, stream); quantiles interpolate linearly (type 7 of R. J. Hyndman and Y. Fan, Am. Stat.
// 50 (1996) 361). There is no interval for fewer than two clusters.
func ClusterBootstrap(clusters []Cluster, resamples int, level float64, seed, stream uint64) Interval {
	clusters = nonEmpty(clusters)
	if len(clusters) < 2 || resamples < 1 {
		return NoInterval()
	}
	rng := rand.NewPCG(seed, stream)
	n := uint64(len(clusters))
	means := make([]float64, resamples)
	for b := range means {
		sum, count := 0.0, 0
		for range clusters {
			c := clusters[index(rng, n)]
			sum += c.Sum
			count += c.N
		}
		means[b] = sum / float64(count)
	}
	return percentile(means, level)
}

// percentile returns the central interval that holds level of x; it sorts x.
func percentile(x []float64, level float64) Interval {
	if len(x) == 0 {
		return NoInterval()
	}
	slices.Sort(x)
	return Interval{quantile(x, 0.5-level/2), quantile(x, 0.5+level/2)}
}

// quantile interpolates linearly between the sorted values of x.
func quantile(x []float64, p float64) float64 {
	at := p * float64(len(x)-1)
	i := min(int(math.Floor(at)), len(x)-1)
	if i == len(x)-1 {
		return x[i]
	}
	return x[i] + (at-float64(i))*(x[i+1]-x[i])
}
