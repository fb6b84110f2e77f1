package stats

import "math"

// MinChips is the number of chips below which there is no interval for new ones: the spread of two says next to
// nothing.
const MinChips = 3

// NewChips returns the interval of the mean over all cells when both questions (rows) and chips (columns) are draws
// from a larger set and every question meets every chip. With the standard errors clustered by question and by chip it
// is
//
//	mean +- sqrt((t_{G-1} SE_questions)^2 + (t_{C-1} SE_chips)^2)
//
// for G questions and C chips, where t is the quantile of Student's t. Each part of the variance has the degrees of
// freedom that it was estimated with, so that few chips widen the interval by as much as chips matter, and the whole
// covers at least what is asked for (S. K. Banerjee, Sankhya 22 (1960) 357). The two parts are those of the two-way
// random model (A. C. Cameron, J. B. Gelbach and D. L. Miller, J. Bus. Econ. Stat. 29 (2011) 238); the variance of the
// rest is in both and not subtracted, which errs to the wide side. Holes are left out.
//
// There is no interval for fewer than two questions or MinChips chips that hold anything. It may reach beyond the range
// of the values, and has no width where no chip differs from another and no question either; see Interval.Union.
func NewChips(rows [][]Cluster, level float64) Interval {
	questions, chips := byRow(rows), byColumn(rows)
	g, c := len(nonEmpty(questions)), len(nonEmpty(chips))
	if g < 2 || c < MinChips {
		return NoInterval()
	}
	p := 0.5 + level/2
	half := math.Hypot(TQuantile(p, float64(g-1))*ClusterSE(questions), TQuantile(p, float64(c-1))*ClusterSE(chips))
	mean := Mean(questions)
	return Interval{mean - half, mean + half}
}

// byRow adds up the cells of each row.
func byRow(rows [][]Cluster) []Cluster {
	sums := make([]Cluster, len(rows))
	for i, row := range rows {
		for _, cell := range row {
			sums[i].Sum += cell.Sum
			sums[i].N += cell.N
		}
	}
	return sums
}

// byColumn adds up the cells of each column.
func byColumn(rows [][]Cluster) []Cluster {
	var sums []Cluster
	for _, row := range rows {
		for c, cell := range row {
			if c == len(sums) {
				sums = append(sums, Cluster{})
			}
			sums[c].Sum += cell.Sum
			sums[c].N += cell.N
		}
	}
	return sums
}

// Union returns the smallest interval that holds both; one that is not valid holds nothing.
func (i Interval) Union(other Interval) Interval {
	switch {
	case !i.Valid():
		return other
	case !other.Valid():
		return i
	}
	return Interval{math.Min(i.Lo, other.Lo), math.Max(i.Hi, other.Hi)}
}

// Within returns the part of the interval that lies between two values.
func (i Interval) Within(lo, hi float64) Interval {
	return Interval{math.Max(i.Lo, lo), math.Min(i.Hi, hi)}
}
