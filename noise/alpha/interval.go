package alpha

import (
	"math"

	"gonum.org/v1/gonum/stat/distuv"
)

// Interval is an estimate with its standard error and 95 % interval. An estimate from one value has no spread to speak of:
// its standard error is 0.
type Interval struct {
	Mean float64 `json:"mean"`
	SE   float64 `json:"se"`
	Lo   float64 `json:"lo"`
	Hi   float64 `json:"hi"`
}

// Mean is the mean of independent values, with Student's t for the interval.
func Mean(values []float64) Interval {
	ones := make([]float64, len(values))
	for i := range ones {
		ones[i] = 1
	}
	return Ratio(values, ones)
}

// Ratio is sum(y)/sum(x) over independent clusters, each with a sum y[i] and a size or sum x[i]: the mean over all of what
// the clusters hold, or a ratio of two means. Its standard error is the linearised one (Cochran, Sampling Techniques,
// section 6), and Student's t has as many degrees of freedom as clusters less one. Not a number where sum(x) is 0.
func Ratio(y, x []float64) Interval {
	var sy, sx float64
	for i := range y {
		sy, sx = sy+y[i], sx+x[i]
	}
	r := sy / sx
	n := float64(len(y))
	if n < 2 {
		return Interval{r, 0, r, r}
	}
	sum := 0.0
	for i := range y {
		e := y[i] - r*x[i]
		sum += e * e
	}
	se := math.Sqrt(n/(n-1)*sum) / math.Abs(sx)
	half := distuv.StudentsT{Mu: 0, Sigma: 1, Nu: n - 1}.Quantile(0.975) * se
	return Interval{r, se, r - half, r + half}
}
