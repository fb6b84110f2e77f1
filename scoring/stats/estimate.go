package stats

// Estimate is a mean with how far it may be off.
type Estimate struct {
	Value, SE float64
	// CI is the interval for these chips: it knows of questions that were not asked.
	CI Interval
	// NewChips is the interval for chips that were not tried either; NoInterval where there are too few or where the
	// columns are no chips.
	NewChips Interval
}

// MeanOf returns the mean over all cells.
func MeanOf(rows [][]Cluster) float64 { return Mean(byRow(rows)) }

// EstimateMean estimates the mean over all cells of questions (rows) by replicates (columns), clustered by question: CI
// is that of ClusterBootstrap. chips says that the replicates are chips, which all questions share; NewChips is then at
// least as wide as CI. Cells that hold differences of two conditions give the estimate of a paired difference, and
// cells that hold pass@k or maj@k of several samples that of their mean.
func EstimateMean(rows [][]Cluster, chips bool, seed, stream uint64) Estimate {
	questions := byRow(rows)
	e := Estimate{
		Value: Mean(questions), SE: ClusterSE(questions),
		CI:       ClusterBootstrap(questions, Resamples, Level, seed, stream),
		NewChips: NoInterval(),
	}
	if chips {
		if e.NewChips = NewChips(rows, Level); e.NewChips.Valid() {
			e.NewChips = e.NewChips.Union(e.CI)
		}
	}
	return e
}
