package operation

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gsmeval/gsmeval/internal/keys"
)

// ReRAM is resistive memory as aihwkit fits it to Wan et al., Nature 2022 (ReRamWan2022NoiseModel in
// inference/noise/reram.py, with its 40 uS as the largest conductance). A weight is a pair of devices, of which one is
// at 0 and the other at 40 uS |w|/absmax; at one of three times each deviates from its target by a normal number whose
// spread is a polynomial of the target, and no conductance is below 0. There is no drift, and no data for 1/f noise.
type ReRAM struct {
	Time float64 `yaml:"time,omitempty"` // seconds after programming: 1 (the default), 86400, 172800
	Per  string  `yaml:"per,omitempty"`  // of absmax: tensor (the default), row, tile
	Tile int     `yaml:"tile,omitempty"` // the widest tile of a row
}

// polynomial has the coefficients of a spread in uS, from that of (g/gmax)^4 down to the constant.
type polynomial [5]float64

// reramSpread are the spreads by seconds.
var reramSpread = map[float64]polynomial{
	1:      {-16.815, 45.393, -43.853, 16.030, 0.348},
	86400:  {-16.458, 47.095, -50.773, 22.086, 0.701},
	172800: {-11.934, 37.062, -43.507, 20.274, 0.782},
}

const reramMax = 40.0 // uS

// Check reports parameters that are out of range.
func (p *ReRAM) Check(r keys.Report, _ Place) {
	if _, known := reramSpread[p.Time]; !known && (p.Time != 0 || r.Given("time")) {
		var times []string
		for _, t := range slices.Sorted(maps.Keys(reramSpread)) {
			times = append(times, number(t))
		}
		r.Bad("time", "there is data for %s seconds, found %g", strings.Join(times, ", "), p.Time)
	}
	checkPer(r, p.Per, p.Tile, "tile", "tile", "tensor", "row")
}

// Label is "reram", "reram 86400s /row".
func (p *ReRAM) Label() string {
	t := ""
	if p.Time > 1 {
		t = fmt.Sprintf("%gs", p.Time)
	}
	return words("reram", t, perWord(p.Per, "tensor", p.Tile))
}

// Random is true.
func (*ReRAM) Random() bool { return true }

// PerturbWeight programs a parameter and reads it at the time.
func (p *ReRAM) PerturbWeight(w Weight) Tally {
	tensor := extent(w.Values).Most()
	return eachRow(w, func(row int, y, x []float32) (t Tally) {
		tiles(len(x), p.Tile, func(from, to int) {
			most := tensor
			if p.Per == "row" || p.Per == "tile" {
				most = extent(x[from:to]).Most()
			}
			p.array(w, y[from:to], x[from:to], row*w.In+from, most)
		})
		t.count(y, x)
		return t
	})
}

// array writes what x is read as to y: element 0 is number first of the parameter.
func (p *ReRAM) array(w Weight, y, x []float32, first int, most float32) {
	if most == 0 {
		copy(y, x)
		return
	}
	above, below := w.draws(0), w.draws(1)
	spread := reramSpread[max(p.Time, 1)]
	for i, v := range x {
		r := float64(v) / float64(most)
		up := spread.device(max(r, 0), above.normal(first+i))
		down := spread.device(max(-r, 0), below.normal(first+i))
		y[i] = float32((up - down) * float64(most))
	}
}

// device is a conductance of target r as it is read, in units of the largest.
func (c polynomial) device(r, normal float64) float64 {
	spread := 0.0
	for _, x := range c {
		spread = spread*r + x
	}
	return max(r+spread/reramMax*normal, 0)
}
