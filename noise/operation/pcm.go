package operation

import (
	"math"

	"github.com/gsmeval/gsmeval/internal/keys"
)

// PCM is phase-change memory as aihwkit models it (PCMLikeNoiseModel in inference/noise/pcm.py,
// SinglePairConductanceConverter, the global drift compensation in inference/compensation/drift.py; Nandakumar et al.,
// ICECS 2019). A weight is a pair of devices, of which one is at 0 and the other at 25 uS |w|/absmax. Each device is
// programmed with an error, drifts until Time, and is read once with the 1/f noise that has gathered by then; no
// conductance is below 0.
type PCM struct {
	Time         float64 `yaml:"time,omitempty"`         // seconds since the 20th after programming
	Compensation string  `yaml:"compensation,omitempty"` // of drift: global (the default), none
	Per          string  `yaml:"per,omitempty"`          // of absmax and compensation: tensor (the default), row, tile
	Tile         int     `yaml:"tile,omitempty"`         // the widest tile of a row
}

// Check reports parameters that are out of range.
func (p *PCM) Check(r keys.Report, _ Place) {
	if !(p.Time >= 0 && p.Time <= 1e12) {
		r.Bad("time", "expected seconds from 0 to 1e12, found %g", p.Time)
	}
	r.OneOf("compensation", p.Compensation, "global", "none")
	checkPer(r, p.Per, p.Tile, "tile", "tile", "tensor", "row")
}

// Label is "pcm", "pcm 3600s uncompensated /row".
func (p *PCM) Label() string {
	t := ""
	if p.Time > 0 {
		t = number(p.Time) + "s"
	}
	return words("pcm", t, flag(p.Compensation == "none", "uncompensated"), perWord(p.Per, "tensor", p.Tile))
}

// Random is true.
func (*PCM) Random() bool { return true }

// What is drawn for a device; the second one of a pair has numbers of its own.
const (
	programming = iota
	drift
	reading
	perDevice
)

const gMax = 25.0 // uS

// PerturbWeight programs a parameter, lets it drift and reads it.
func (p *PCM) PerturbWeight(w Weight) Tally {
	if p.Per == "row" || p.Per == "tile" {
		return eachRow(w, func(row int, y, x []float32) (t Tally) {
			tiles(len(x), p.Tile, func(from, to int) {
				p.array(w, y[from:to], x[from:to], row*w.In+from,
					extent(x[from:to]).Most())
			})
			t.count(y, x)
			return t
		})
	}
	most := extent(w.Values).Most()
	sums := make([][2]float64, w.Out())
	clean := append([]float32(nil), w.Values...)
	eachRow(w, func(row int, y, x []float32) Tally {
		sums[row] = p.devices(w, y, x, row*w.In, most)
		return Tally{}
	})
	var all [2]float64
	for _, s := range sums {
		all[0] += s[0]
		all[1] += s[1]
	}
	p.compensate(w.Values, all)
	var t Tally
	t.count(w.Values, clean)
	return t
}

// array is one array with an absmax and a compensation of its own.
func (p *PCM) array(w Weight, y, x []float32, first int, most float32) {
	p.compensate(y, p.devices(w, y, x, first, most))
}

// compensate multiplies by how much the mean magnitude has fallen since programming.
func (p *PCM) compensate(y []float32, sums [2]float64) {
	if p.Compensation == "none" || sums[1] == 0 {
		return
	}
	factor := float32(sums[0] / sums[1])
	for i := range y {
		y[i] *= factor
	}
}

// devices writes what x is read as to y: element 0 is number first of the parameter. It returns the sums of the
// magnitudes as programmed and as read.
func (p *PCM) devices(w Weight, y, x []float32, first int, most float32) (sums [2]float64) {
	if most == 0 {
		copy(y, x)
		return sums
	}
	var d [2][perDevice]draws
	for side := range d {
		for k := range d[side] {
			d[side][k] = w.draws(uint32(side*perDevice + k))
		}
	}
	scale := gMax / float64(most)
	const t0, tRead = 20.0, 250e-9
	aged := math.Log((p.Time + t0) / t0)
	gathered := math.Sqrt(math.Log((p.Time + t0 + tRead) / (2 * tRead)))
	for i, v := range x {
		g := float64(v) * scale
		var programmed, read float64
		for side, sign := range []float64{1, -1} {
			prog, now := device(max(sign*g, 0), aged, gathered, &d[side], first+i)
			programmed += sign * prog
			read += sign * now
		}
		y[i] = float32(read / scale)
		sums[0] += math.Abs(programmed)
		sums[1] += math.Abs(read)
	}
	return sums
}

// device is a conductance of target g, in uS, as programmed and as read at a time: aged is the logarithm of that time
// over the 20 s, gathered the part of the 1/f noise that is the same for all.
func device(g, aged, gathered float64, d *[perDevice]draws, i int) (programmed, read float64) {
	r := g / gMax
	programmed = max(g+(0.26348+1.9650*r-1.1731*r*r)*d[programming].normal(i), 0)
	read = programmed
	if programmed == 0 {
		return 0, 0
	}
	if aged > 0 {
		l := math.Log(max(r, 1e-7))
		mean, sd := clamp(-0.0155*l+0.0244, 0.049, 0.1), clamp(-0.0125*l-0.0059, 0.008, 0.045)
		read *= math.Exp(-aged * math.Abs(mean+sd*d[drift].normal(i)))
	}
	q := min(0.0088/max(math.Exp(0.65*math.Log(programmed/gMax)), 1e-3), 0.2)
	read += read * q * gathered * d[reading].normal(i)
	return programmed, max(read, 0)
}

func clamp(x, lo, hi float64) float64 { return min(max(x, lo), hi) }
