package plots

import (
	"math"
	"strconv"

	"gonum.org/v1/plot"
)

// ticks puts five to eight labels at multiples of 1, 2 or 5 times a power of ten.
type ticks struct{}

// Ticks implements plot.Ticker.
func (ticks) Ticks(lo, hi float64) []plot.Tick {
	step := math.Pow(10, math.Floor(math.Log10((hi-lo)/4)))
	for _, m := range []float64{1, 2, 5, 10} {
		if (hi-lo)/(m*step) <= 8 {
			step *= m
			break
		}
	}
	var list []plot.Tick
	decimals := max(0, int(-math.Floor(math.Log10(step)+1e-9)))
	for k := math.Ceil(lo/step - 1e-9); k*step <= hi+1e-9*step; k++ {
		list = append(list, plot.Tick{Value: k * step, Label: strconv.FormatFloat(k*step+0, 'f', decimals, 64)})
	}
	return list
}

// logTicks puts labels at powers of ten, and at 2 and 5 times them where the axis spans less than three.
type logTicks struct{}

// Ticks implements plot.Ticker.
func (logTicks) Ticks(lo, hi float64) []plot.Tick {
	labelled := map[int]bool{1: true}
	if hi/lo < 1000 {
		labelled = map[int]bool{1: true, 2: true, 5: true}
	}
	var list []plot.Tick
	for e := math.Floor(math.Log10(lo)); e <= math.Ceil(math.Log10(hi)); e++ {
		for m := 1; m < 10; m++ {
			v := float64(m) * math.Pow(10, e)
			if v < lo || v > hi {
				continue
			}
			t := plot.Tick{Value: v}
			if labelled[m] {
				t.Label = strconv.FormatFloat(v, 'g', 3, 64)
			}
			list = append(list, t)
		}
	}
	return list
}

// rowTicks puts the names of rows at 0, 1, 2 and so on.
type rowTicks []string

// Ticks implements plot.Ticker.
func (r rowTicks) Ticks(float64, float64) []plot.Tick {
	list := make([]plot.Tick, len(r))
	for i, name := range r {
		list[i] = plot.Tick{Value: float64(i), Label: name}
	}
	return list
}
