// Package operation has the ways to perturb numbers: a file and a row of the table for each. An operation is plain
// arithmetic on float32, without libtorch; package noise takes it to a model's parameters and activations, and replaces
// it by a fused kernel where it is always in use.
package operation

import (
	"strconv"

	"github.com/gsmeval/gsmeval/internal/keys"
	"github.com/gsmeval/gsmeval/noise/philox"
)

// Place is what of a model is perturbed, spelled as the key of a config.
type Place string

// The places.
const (
	Weights Place = "weights"     // parameters, once for a pass over the data
	Inputs  Place = "activations" // the input of every Linear
	Outputs Place = "outputs"     // the output of every Linear
	KV      Place = "kv"          // keys and values, as they enter the cache
)

// Places are all of them, in the order in which a label names them.
var Places = []Place{Weights, Inputs, Outputs, KV}

// Operation is a perturbation with its parameters, which are the fields of a structure with yaml tags.
type Operation interface {
	// Check reports parameters that are out of range, or that have no meaning in that place.
	Check(r keys.Report, at Place)
	// Label names the operation in tables, in a few words.
	Label() string
	// Random tells whether it draws random numbers. What is not random has no replicates and no chips.
	Random() bool
}

// OnWeights perturbs a parameter.
type OnWeights interface {
	Operation
	PerturbWeight(w Weight) Tally
}

// OnRows perturbs the rows of activations.
type OnRows interface {
	Operation
	// PerturbRow writes what row i of x becomes to y [D].
	PerturbRow(y []float32, x Rows, i int) Tally
}

// Scaled is an operation whose noise is a known multiple of what it is relative to.
type Scaled interface {
	// Ratio is the root mean square of the noise over that of the spread.
	Ratio() float64
}

// OverTensor is an operation that may need to know the range of all rows that belong together.
type OverTensor interface{ OverTensor() bool }

// Calibrated is an operation that may need the range of a site as calibration prompts have it, in place of that of the
// rows.
type Calibrated interface{ Calibrated() bool }

// Weight is a parameter [Out, In], changed in place; a vector is one row.
type Weight struct {
	Name   string
	Values []float32
	In     int
	Key    philox.Key // of its draws; element i takes number i mod 4 of block i / 4
	Type   string     // in which the model stores it: float32, bfloat16, float16
}

// Out is the number of rows.
func (w Weight) Out() int { return len(w.Values) / max(w.In, 1) }

// Rows are the rows of one forward pass at one Linear.
type Rows struct {
	Values []float32 // [R, D]
	D      int
	Type   string // that the model computes in: float32, bfloat16, float16
	Group  [2]int // rows [Group[0], Group[1]) belong with row i: a prompt, or one decode position
	Over   Range  // of the values of those rows, where the operation is OverTensor; of the site, where it is Calibrated
	// The draws of row i: Philox4x32-10 of the key, with the counter ((First + element) / 4, position, site, step).
	Key                  philox.Key
	First                uint32 // a multiple of 4
	Position, Site, Step uint32
}

// Row is row i of the values.
func (x Rows) Row(i int) []float32 { return x.Values[i*x.D : (i+1)*x.D] }

// Normals fills z with standard normals of row i's draws.
func (x Rows) Normals(z []float32) {
	for b := 0; b < len(z); b += 4 {
		n := philox.Normals(philox.Words(philox.Counter{x.First/4 + uint32(b/4), x.Position, x.Site, x.Step}, x.Key))
		for k := range min(4, len(z)-b) {
			z[b+k] = float32(n[k])
		}
	}
}

// Tally is what was done to some elements.
type Tally struct {
	Changed int64   // elements that are another number now
	Clipped int64   // elements that were out of a range
	Flipped int64   // elements with a bit turned over or a stuck cell
	Noise2  float64 // sum of the squares of what was added
	Spread2 float64 // sum over the elements of the squared spread that the noise is relative to
}

// row is a kind of operation.
type row struct {
	kind   string
	places []Place
	new    func() Operation // with its defaults
}

var everywhere = Places

// table is every kind. A config names it by "kind".
var table = []row{
	{"gaussian", []Place{Weights, Inputs, Outputs}, func() Operation { return &Gaussian{} }},
	{"int", everywhere, func() Operation { return &Int{} }},
	{"fp8", everywhere, func() Operation { return &FP8{} }},
	{"nf4", []Place{Weights}, func() Operation { return &NF4{} }},
	{"mxfp4", everywhere, func() Operation { return &MXFP4{} }},
	{"mxfp8", everywhere, func() Operation { return &MXFP8{} }},
	{"nvfp4", everywhere, func() Operation { return &NVFP4{} }},
	{"pcm", []Place{Weights}, func() Operation { return &PCM{} }},
	{"reram", []Place{Weights}, func() Operation { return &ReRAM{} }},
	{"afm_pcm", []Place{Weights}, func() Operation { return &AFMPCM{} }},
	{"stuck", []Place{Weights}, func() Operation { return &Stuck{} }},
	{"bit_flip", everywhere, func() Operation { return &BitFlip{} }},
	{"checkpoint", []Place{Weights}, func() Operation { return &Checkpoint{} }},
	{"converters", []Place{Inputs, Outputs}, func() Operation { return &Converters{} }},
}

// Table is the kinds as a config's mapping has them.
func Table() keys.Table {
	t := keys.Table{Key: "kind", New: func(kind string) any {
		if op, ok := New(kind); ok {
			return op
		}
		return nil
	}}
	for _, r := range table {
		t.Kinds = append(t.Kinds, r.kind)
	}
	return t
}

// New makes an operation of a kind.
func New(kind string) (Operation, bool) {
	for _, r := range table {
		if r.kind == kind {
			return r.new(), true
		}
	}
	return nil, false
}

// At lists the kinds that can act in a place.
func At(p Place) []string {
	var kinds []string
	for _, r := range table {
		for _, at := range r.places {
			if at == p {
				kinds = append(kinds, r.kind)
			}
		}
	}
	return kinds
}

// number writes the shortest text that reads back as the same number.
func number(x float64) string { return strconv.FormatFloat(x, 'g', -1, 64) }
