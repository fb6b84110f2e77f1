package alpha

import (
	"math"

	"gonum.org/v1/gonum/stat/distuv"
)

// Interval is an estimate with its standard error and 95 % interval. An estimate from one value has no spread to speak
// of: its standard error is 0.
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

// Crossed is the mean of values[i][k] where both rows and columns are draws from a larger set and every row meets every
// column, as prompts meet chips: the interval is for new rows and new columns. Its variance is the unbiased one of the
// two-way random model, (MS_rows + MS_columns - MS_rest)/n (Searle, Casella and McCulloch, Variance Components, section
// 4.7), and never below that of rows or of columns alone. Student's t has the degrees of freedom of the fewer of both,
// which errs to the wide side. With a single row or column there is no spread over rows or columns to know: the zero
// Interval, false.
func Crossed(values [][]float64) (Interval, bool) {
	rows := len(values)
	if rows < 2 || len(values[0]) < 2 {
		return Interval{}, false
	}
	columns := len(values[0])
	byRow, byColumn := make([]float64, rows), make([]float64, columns)
	for i, row := range values {
		for k, v := range row {
			byRow[i] += v / float64(columns)
			byColumn[k] += v / float64(rows)
		}
	}
	r, c := Mean(byRow), Mean(byColumn)
	rest := 0.0
	for i, row := range values {
		for k, v := range row {
			e := v - byRow[i] - byColumn[k] + r.Mean
			rest += e * e
		}
	}
	rest /= float64((rows-1)*(columns-1)) * float64(rows*columns)
	se := math.Sqrt(max(r.SE*r.SE+c.SE*c.SE-rest, r.SE*r.SE, c.SE*c.SE))
	half := distuv.StudentsT{Mu: 0, Sigma: 1, Nu: float64(min(rows, columns) - 1)}.Quantile(0.975) * se
	return Interval{r.Mean, se, r.Mean - half, r.Mean + half}, true
}

// Ratio is sum(y)/sum(x) over independent clusters, each with a sum y[i] and a size or sum x[i]: the mean over all of
// what the clusters hold, or a ratio of two means. Its standard error is the linearised one (Cochran, Sampling
// Techniques, section 6), and Student's t has as many degrees of freedom as clusters less one. Not a number where
// sum(x) is 0.
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
