package stats

import "math/rand/v2"

// BestShares returns, for each arm, the share of resamples of whole clusters in which its Mean is the largest; of equal
// ones the earliest wins, so the order of the arms is that of preference. arms[a][q] is what the samples of cluster q
// add up to in arm a, and a resample takes the same clusters in every arm (the bootstrap of a ranking, B. Efron and R.
// Tibshirani, An Introduction to the Bootstrap, 1993, chapter 7). Randomness is as in ClusterBootstrap.
func BestShares(arms [][]Cluster, resamples int, seed, stream uint64) []float64 {
	shares := make([]float64, len(arms))
	if len(arms) == 0 || len(arms[0]) == 0 || resamples < 1 {
		return shares
	}
	rng := rand.NewPCG(seed, stream)
	n := uint64(len(arms[0]))
	for range resamples {
		total := make([]Cluster, len(arms))
		for range n {
			q := index(rng, n)
			for a := range arms {
				total[a].Sum += arms[a][q].Sum
				total[a].N += arms[a][q].N
			}
		}
		best := 0
		for a := range total {
			// Of whole numbers, as sums of verdicts are, equal means compare as equal when compared crosswise.
			ahead := total[a].Sum*float64(total[best].N) > total[best].Sum*float64(total[a].N)
			if ahead || total[best].N == 0 && total[a].N > 0 {
				best = a
			}
		}
		if total[best].N > 0 { // a resample of holes only has no best arm
			shares[best] += 1 / float64(resamples)
		}
	}
	return shares
}
