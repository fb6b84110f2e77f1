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
		var sum, count int
		for range clusters {
			c := clusters[index(rng, n)]
			sum += c.Sum
			count += c.N
		}
		means[b] = float64(sum) / float64(count)
	}
	return percentile(means, level)
}

// Cell is the value of one question under one noise seed; it counts only where OK.
type Cell struct {
	Value int8
	OK    bool
}

// TwoWayBootstrap returns the percentile interval of the mean over all cells when both questions (rows) and noise seeds
// (columns) are draws from a larger set and every question meets every seed: rows and columns are resampled
// independently (P. McCullagh, Bernoulli 6 (2000) 285; A. B. Owen, Ann. Appl. Stat. 1 (2007) 386, the pigeonhole
// bootstrap, which errs to the wide side). With few seeds it knows little of how seeds vary: a resample of 2 seeds is
// the same seed twice half of the time. There is no interval for fewer than two rows or columns that hold anything.
// Randomness and quantiles are as in ClusterBootstrap.
func TwoWayBootstrap(rows [][]Cell, resamples int, level float64, seed, stream uint64) Interval {
	kinds, kindOf, columns := rowKinds(rows)
	if len(kindOf) < 2 || columns < 2 || resamples < 1 {
		return NoInterval()
	}
	rng := rand.NewPCG(seed, stream)
	n := uint64(len(kindOf))
	weights := make([]int, columns)
	totals := make([]Cluster, len(kinds))
	means := make([]float64, 0, resamples)
	for range resamples {
		clear(weights)
		for range columns {
			weights[index(rng, uint64(columns))]++
		}
		for k, row := range kinds {
			var t Cluster
			for c, cell := range row {
				if cell.OK {
					t.Sum += weights[c] * int(cell.Value)
					t.N += weights[c]
				}
			}
			totals[k] = t
		}
		var sum, count int
		for range kindOf {
			t := totals[kindOf[index(rng, n)]]
			sum += t.Sum
			count += t.N
		}
		if count > 0 { // a resample of holes only has no mean
			means = append(means, float64(sum)/float64(count))
		}
	}
	return percentile(means, level)
}

// rowKinds sorts rows by what they hold: with a few seeds a thousand questions show a few dozen patterns, and each is
// weighed once a resample. Empty rows and columns are left out.
func rowKinds(rows [][]Cell) (kinds [][]Cell, kindOf []int, columns int) {
	var used []int
	width := 0
	for _, row := range rows {
		width = max(width, len(row))
	}
	for c := range width {
		if slices.ContainsFunc(rows, func(row []Cell) bool { return c < len(row) && row[c].OK }) {
			used = append(used, c)
		}
	}
	seen := map[string]int{}
	for _, row := range rows {
		cells := make([]Cell, len(used))
		name := make([]byte, 0, len(used))
		empty := true
		for i, c := range used {
			if c < len(row) && row[c].OK {
				cells[i] = row[c]
				empty = false
				name = append(name, byte(row[c].Value), 1)
			} else {
				name = append(name, 0, 0)
			}
		}
		if empty {
			continue
		}
		kind, ok := seen[string(name)]
		if !ok {
			kind = len(kinds)
			seen[string(name)] = kind
			kinds = append(kinds, cells)
		}
		kindOf = append(kindOf, kind)
	}
	return kinds, kindOf, len(used)
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
