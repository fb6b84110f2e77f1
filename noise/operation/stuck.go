package operation

import "github.com/gsmeval/gsmeval/internal/keys"

// Stuck is cells that cannot be programmed. A weight is a pair of cells, for what is above and below zero, each from 0
// to the absmax; any cell is stuck at 0 or at the absmax, independently.
type Stuck struct {
	Zero float64 `yaml:"zero,omitempty"` // the share of cells that are stuck at 0
	Max  float64 `yaml:"max,omitempty"`  // the share that are stuck at the absmax
	Per  string  `yaml:"per,omitempty"`  // of the absmax: tensor (the default), row
}

// Check reports parameters that are out of range.
func (s *Stuck) Check(r keys.Report, _ Place) {
	checkRate(r, "zero", s.Zero)
	checkRate(r, "max", s.Max)
	switch sum := s.Zero + s.Max; {
	case sum > 1:
		r.Bad("max", "a cell is stuck in one state; zero and max add up to %g", sum)
	case sum == 0:
		r.Bad("", "no cell is stuck; give zero, max or both")
	}
	r.OneOf("per", s.Per, "tensor", "row")
}

// Label is "stuck zero 0.01 max 0.001".
func (s *Stuck) Label() string {
	return words("stuck", rate("zero", s.Zero), rate("max", s.Max), perWord(s.Per, "tensor", 0))
}

func rate(name string, p float64) string {
	if p == 0 {
		return ""
	}
	return name + " " + number(p)
}

// Random is true.
func (*Stuck) Random() bool { return true }

// PerturbWeight perturbs a parameter.
func (s *Stuck) PerturbWeight(w Weight) Tally {
	tensor := extent(w.Values).Most()
	return eachRow(w, func(row int, y, x []float32) (t Tally) {
		above, below := w.draws(0), w.draws(1)
		most := tensor
		if s.Per == "row" {
			most = extent(x).Most()
		}
		for i, v := range x {
			n := row*w.In + i
			up, down := above.unit(n), below.unit(n)
			y[i] = s.cell(max(v, 0), most, up) - s.cell(max(-v, 0), most, down)
			if min(up, down) < s.Zero+s.Max {
				t.Flipped++
			}
		}
		t.count(y, x)
		return t
	})
}

func (s *Stuck) cell(v, most float32, u float64) float32 {
	switch {
	case u < s.Zero:
		return 0
	case u < s.Zero+s.Max:
		return most
	}
	return v
}
