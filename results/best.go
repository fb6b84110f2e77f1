package results

import (
	"fmt"

	"github.com/gsmeval/gsmeval/scoring/stats"
)

// Measure is what conditions are ranked by: the accuracy of single samples, or what K of them are worth together.
type Measure struct {
	what score // none for accuracy
	K    int
}

// String is "accuracy", "pass@4" or "maj@4".
func (m Measure) String() string {
	if m.K == 0 {
		return "accuracy"
	}
	return fmt.Sprintf("%s@%d", m.what.name, m.K)
}

// Measures are those of the run: accuracy, and pass@k and maj@k for every k above 1.
func (s *Set) Measures() []Measure {
	all := []Measure{{}}
	for _, what := range []score{passAtK, majAtK} {
		for _, k := range s.meta.K {
			if k > 1 {
				all = append(all, Measure{what, k})
			}
		}
	}
	return all
}

// Value is a measure of a row, with its intervals.
func (r *Row) Value(m Measure) Score {
	for _, at := range r.AtK {
		switch {
		case m.K != at.K:
		case m.what.name == passAtK.name:
			return at.Pass
		case m.what.name == majAtK.name:
			return at.Maj
		}
	}
	return Score{
		Value: r.Accuracy, SE: r.SE, CI: r.CI, NewChips: r.NewChips, Diff: r.Diff, DiffCI: r.DiffCI,
		DiffNewChips: r.DiffNewChips,
	}
}

// BestShares tells, for temperatures of one noise in the order of preference, in which share of resamples of its
// questions each has the highest value of a measure. A question counts at a temperature with the samples that are
// there.
func (s *Set) BestShares(m Measure, noise int, temps []int) []float64 {
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
		rows := c.verdicts(together)
		if m.K > 0 {
			rows = together.grouped(s.valuesAtK(c, m.what, m.K, len(c.samples)))
		}
		for group, row := range rows {
			for _, one := range row {
				arms[a][group].Sum += one.Sum
				arms[a][group].N += one.N
			}
		}
	}
	if m.K > 0 {
		labels = append(labels, m.String())
	}
	return stats.BestShares(arms, stats.Resamples, DefaultSeed, streamOf(labels))
}
