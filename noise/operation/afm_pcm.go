package operation

import (
	"math"

	"github.com/gsmeval/gsmeval/internal/keys"
)

// AFMPCM is the phase-change memory of the analog foundation models (add_PCM_noise in their apply_noise_model.py): the
// absmax of a row, or of a tile of it, is 180 levels; a level gets gaussian noise whose spread is a cubic of it, one
// below 0.6 becomes 0. The spread is computed in float64, where the reference rounds it to half precision.
type AFMPCM struct {
	Tile int `yaml:"tile,omitempty"` // the widest tile of a row; 0, the default, for the row
}

// Check reports parameters that are out of range.
func (p *AFMPCM) Check(r keys.Report, _ Place) {
	if p.Tile != 0 || r.Given("tile") {
		r.Whole("tile", p.Tile, 1, 1<<20)
	}
}

// Label is "afm_pcm", "afm_pcm /tile 512".
func (p *AFMPCM) Label() string {
	if p.Tile == 0 {
		return "afm_pcm"
	}
	return words("afm_pcm", perWord("tile", "", p.Tile))
}

// Random is true.
func (*AFMPCM) Random() bool { return true }

// PerturbWeight perturbs a parameter.
func (p *AFMPCM) PerturbWeight(w Weight) Tally {
	const top = 180.0
	return eachRow(w, func(row int, y, x []float32) (t Tally) {
		d := w.draws(0)
		tiles(len(x), p.Tile, func(from, to int) {
			scale := top / (float64(extent(x[from:to]).Most()) + 0x1p-14) // half precision's least normal number, as there
			for i := from; i < to; i++ {
				level := float64(x[i]) * scale
				y[i] = 0
				if g := math.Abs(level); g >= 0.6 {
					y[i] = float32((level + afmSpread(g)*d.normal(row*w.In+i)) / scale)
				}
			}
		})
		t.count(y, x)
		return t
	})
}

// afmSpread is the standard deviation at a level.
func afmSpread(g float64) float64 {
	if g > 52.5 {
		return ((1.2329755395573392e-05*g-0.003054993405157235)*g+0.2453487119885723)*g + 2.110295720240385
	}
	return ((2.939751381126213e-05*g-0.00371581208142707)*g+0.22419685954327148)*g + 2.5797410660159494
}
