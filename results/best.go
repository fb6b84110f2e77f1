package results

import "github.com/gsmeval/gsmeval/scoring/stats"

// BestShares tells, for temperatures of one noise in the order of preference, in which share of resamples of its
// questions each has the highest accuracy. A question counts at a temperature with the samples that are there.
func (s *Set) BestShares(noise int, temps []int) []float64 {
	labels := []string{s.meta.Noises[noise].Label}
	together := s.groups()
	arms := make([][]stats.Cluster, len(temps))
	for a, temp := range temps {
		labels = append(labels, s.meta.Temps[temp].Label)
		arms[a] = make([]stats.Cluster, together.count)
		c, ok := s.cells[[2]int{noise, temp}]
		if !ok {
			continue
		}
		for order, group := range together.of {
			for r := range c.samples {
				one := c.sum(r, order)
				arms[a][group].Sum += one.Sum
				arms[a][group].N += one.N
			}
		}
	}
	return stats.BestShares(arms, stats.Resamples, DefaultSeed, streamOf(labels))
}
