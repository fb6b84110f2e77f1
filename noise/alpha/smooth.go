package alpha

import (
	"math"
)

// Smoothing is a way of smoothing a curve over positions.
type Smoothing string

// The ways of smoothing.
const (
	None          Smoothing = "none"
	MovingAverage Smoothing = "moving_average" // centred, shortened at the edges
	Exponential   Smoothing = "exponential"    // least squares a exp(-b t) + c
)

// Smoothings lists them.
var Smoothings = []Smoothing{None, MovingAverage, Exponential}

// Smooth smooths a curve; window is the moving average's.
func Smooth(y []float64, how Smoothing, window int) []float64 {
	switch how {
	case MovingAverage:
		return movingAverage(y, window)
	case Exponential:
		a, b, c := FitExponential(y)
		out := make([]float64, len(y))
		for t := range out {
			out[t] = a*math.Exp(-b*float64(t)) + c
		}
		return out
	default:
		return y
	}
}

// movingAverage is the mean over window positions around each: an even window has one more before than after.
func movingAverage(y []float64, window int) []float64 {
	out := make([]float64, len(y))
	for t := range y {
		from, to := max(0, t-window/2), min(len(y), t-window/2+max(window, 1))
		sum := 0.0
		for _, v := range y[from:to] {
			sum += v
		}
		out[t] = sum / float64(to-from)
	}
	return out
}

// FitExponential fits a exp(-b t) + c, b > 0, to y[t] by least squares: a and c are linear given b, and b is searched
// on a logarithmic grid, then by golden section. A curve of fewer than three points, or a flat one, is its mean.
func FitExponential(y []float64) (a, b, c float64) {
	if len(y) < 3 {
		return 0, 1, mean(y)
	}
	cost := func(logB float64) float64 {
		a, c := linearFit(y, math.Exp(logB))
		sum := 0.0
		for t, v := range y {
			r := a*math.Exp(-math.Exp(logB)*float64(t)) + c - v
			sum += r * r
		}
		return sum
	}
	lo, hi := math.Log(0.01/float64(len(y))), math.Log(10)
	const steps = 200
	width := (hi - lo) / steps
	best := lo
	for i := range steps + 1 {
		if x := lo + float64(i)*width; cost(x) < cost(best) {
			best = x
		}
	}
	x := goldenSection(cost, best-width, best+width)
	b = math.Exp(x)
	a, c = linearFit(y, b)
	return a, b, c
}

// linearFit is the least-squares a and c of a exp(-b t) + c at a given b.
func linearFit(y []float64, b float64) (a, c float64) {
	var sx, sxx, sy, sxy float64
	n := float64(len(y))
	for t, v := range y {
		x := math.Exp(-b * float64(t))
		sx, sxx, sy, sxy = sx+x, sxx+x*x, sy+v, sxy+x*v
	}
	det := n*sxx - sx*sx
	if det <= 1e-14*n*sxx {
		return 0, sy / n
	}
	a = (n*sxy - sx*sy) / det
	return a, (sy - a*sx) / n
}

func goldenSection(f func(float64) float64, lo, hi float64) float64 {
	const ratio = 0.6180339887498949
	x1, x2 := hi-ratio*(hi-lo), lo+ratio*(hi-lo)
	f1, f2 := f(x1), f(x2)
	for range 60 {
		if f1 < f2 {
			hi, x2, f2 = x2, x1, f1
			x1 = hi - ratio*(hi-lo)
			f1 = f(x1)
		} else {
			lo, x1, f1 = x1, x2, f2
			x2 = lo + ratio*(hi-lo)
			f2 = f(x2)
		}
	}
	return (lo + hi) / 2
}

func mean(y []float64) float64 {
	sum := 0.0
	for _, v := range y {
		sum += v
	}
	return sum / math.Max(float64(len(y)), 1)
}
