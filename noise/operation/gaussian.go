package operation

import (
	"math"
	"slices"
	"strconv"

	"github.com/gsmeval/gsmeval/internal/keys"
)

// MaxScale is the largest scale believed: far above every use.
const MaxScale = 1000

// ButFirst is a spread over the whole tensor of an activation but its sequence's first token, which many models make an
// attention sink: alone it can be all of the standard deviation.
const ButFirst = "tensor_but_first"

// Gaussian adds scale * spread * N, N standard normal and drawn anew for every element. The spread is the standard
// deviation (unbiased) or the largest magnitude, of the whole tensor, of each output row of a weight, or of each token
// of an activation.
type Gaussian struct {
	Scale      float64 `yaml:"scale"`
	RelativeTo string  `yaml:"relative_to,omitempty"` // std, absmax
	Per        string  `yaml:"per,omitempty"`         // tensor; row, tile; token, tensor_but_first
	Tile       int     `yaml:"tile,omitempty"`        // the widest tile of a row
}

// AbsMax tells whether the spread is the largest magnitude.
func (g *Gaussian) AbsMax() bool { return g.RelativeTo == "absmax" }

// PerRow tells whether each output row of a weight has a spread of its own.
func (g *Gaussian) PerRow() bool { return g.Per == "row" }

// PerTile tells whether each tile of a row has a spread of its own.
func (g *Gaussian) PerTile() bool { return g.Per == "tile" }

// PerToken tells whether each position has a spread of its own, in a prompt too.
func (g *Gaussian) PerToken() bool { return g.Per == "token" }

// ButFirst tells whether the first token of a sequence is left out of the spread; it gets the noise of the others.
func (g *Gaussian) ButFirst() bool { return g.Per == ButFirst }

// Check reports parameters that are out of range.
func (g *Gaussian) Check(r keys.Report, at Place) {
	r.Required("scale", "gaussian noise", g.Scale, 0, MaxScale)
	r.OneOf("relative_to", g.RelativeTo, "std", "absmax")
	if g.PerTile() && at == Weights {
		checkPer(r, g.Per, g.Tile, "tile", "tile", "tensor", "row")
		return
	}
	CheckPer(r, g.Per, at)
	if g.Tile != 0 || r.Given("tile") {
		r.Bad("tile", "this is a key of per: tile, of weights")
	}
}

// CheckPer checks over what a spread is taken in a place.
func CheckPer(r keys.Report, per string, at Place) {
	words := []string{"tensor", "row"}
	if at != Weights {
		words = []string{"tensor", "token", ButFirst}
	}
	switch {
	case per == "" || slices.Contains(words, per):
	case per == "row":
		r.Bad("per", "%s have no rows; expected tensor, token or %s", at, ButFirst)
	case OfTokens(per):
		r.Bad("per", "%s have no tokens; expected tensor or row", at)
	default:
		r.OneOf("per", per, words...)
	}
}

// OfTokens tells whether a word says over which tokens of an activation a spread is taken.
func OfTokens(per string) bool { return per == "token" || per == ButFirst }

// Label is "0.05", "0.05 absmax", "0.05 std/row".
func (g *Gaussian) Label() string { return "gaussian " + g.amount() }

func (g *Gaussian) amount() string {
	relative := g.RelativeTo
	if relative == "" {
		relative = "std"
	}
	switch {
	case g.PerTile():
		return number(g.Scale) + " " + relative + "/tile " + strconv.Itoa(g.Tile)
	case g.Per == "row" || OfTokens(g.Per):
		return number(g.Scale) + " " + relative + "/" + g.Per
	case relative != "std":
		return number(g.Scale) + " " + relative
	}
	return number(g.Scale)
}

// Ratio is the scale.
func (g *Gaussian) Ratio() float64 { return g.Scale }

// Random is true.
func (*Gaussian) Random() bool { return true }

// PerturbWeight is the definition that package noise's kernel is held against.
func (g *Gaussian) PerturbWeight(w Weight) Tally {
	d := w.draws(0)
	width := len(w.Values)
	if g.PerRow() || g.PerTile() {
		width = max(w.In, 1)
	}
	var t Tally
	for row := 0; row < len(w.Values); row += width {
		tiles(width, g.Tile, func(from, to int) {
			part := w.Values[row+from : row+to]
			spread := g.spread(part)
			for i, v := range part {
				part[i] = t.add(v, g.Scale*spread*d.normal(row+from+i), spread)
			}
		})
	}
	return t
}

// PerturbRow is the definition that package noise's kernel is held against.
func (g *Gaussian) PerturbRow(y []float32, x Rows, i int) Tally {
	var t Tally
	group := x.Group
	switch {
	case g.PerToken():
		group = [2]int{i, i + 1}
	case g.ButFirst() && int(x.Position) == i-group[0] && group[1]-group[0] > 1: // the group begins with position 0
		group[0]++
	}
	spread := g.spread(x.Values[group[0]*x.D : group[1]*x.D])
	x.Normals(y)
	for j, v := range x.Row(i) {
		y[j] = t.add(v, g.Scale*spread*float64(y[j]), spread)
	}
	return t
}

// add is v + noise, counted.
func (t *Tally) add(v float32, noise, spread float64) float32 {
	y := float32(float64(v) + noise)
	if y != v {
		t.Changed++
	}
	d := float64(y) - float64(v)
	t.Noise2 += d * d
	t.Spread2 += spread * spread
	return y
}

func (g *Gaussian) spread(v []float32) float64 {
	if g.AbsMax() {
		most := 0.0
		for _, x := range v {
			most = math.Max(most, math.Abs(float64(x)))
		}
		return most
	}
	if len(v) < 2 {
		return 0
	}
	mean, sum := 0.0, 0.0
	for _, x := range v {
		mean += float64(x)
	}
	mean /= float64(len(v))
	for _, x := range v {
		sum += (float64(x) - mean) * (float64(x) - mean)
	}
	return math.Sqrt(sum / float64(len(v)-1))
}
