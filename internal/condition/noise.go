package condition

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/gsmeval/gsmeval/internal/keys"
	"github.com/gsmeval/gsmeval/noise/alpha"
	"github.com/gsmeval/gsmeval/noise/operation"
)

// The short forms of a noise: the reference notebook's kinds, which are all gaussian, and none.
const (
	None       = "none"
	Weight     = "weight"     // the parameters, once for a noise seed: one programmed chip
	Activation = "activation" // the input of every Linear
	Combined   = "combined"   // both
	Output     = "output"     // the output of every Linear, as the analog literature has it
)

// Noise is one noise of the grid: a short form, {kind: activation, scale: 0.05}, or an operation for each place that is
// perturbed, {weights: {kind: gaussian, scale: 0.02}, outputs: {...}}.
type Noise struct {
	Kind            string   `yaml:"kind,omitempty"`
	Scale           float64  `yaml:"scale,omitempty"`            // weight, activation, output
	WeightScale     float64  `yaml:"weight_scale,omitempty"`     // combined
	ActivationScale float64  `yaml:"activation_scale,omitempty"` // combined
	RelativeTo      string   `yaml:"relative_to,omitempty"`      // std, absmax; "" for none
	Per             string   `yaml:"per,omitempty"`              // tensor; row of a weight; token, tensor_but_first of an activation; "" for none
	Scope           string   `yaml:"scope,omitempty"`            // all, linears, analog
	Include         []string `yaml:"include,omitempty"`          // parameters and Linears by name, empty for all
	Exclude         []string `yaml:"exclude,omitempty"`
	Checkpoint      string   `yaml:"checkpoint,omitempty"` // short for weights: {kind: checkpoint, path: ...}
	Weights         Part     `yaml:"weights,omitempty"`
	Activations     Part     `yaml:"activations,omitempty"`
	Outputs         Part     `yaml:"outputs,omitempty"`
	KV              Part     `yaml:"kv,omitempty"`
}

// Part is an operation as a config spells it: {kind: gaussian, scale: 0.05}.
type Part struct {
	Kind                string `yaml:"kind,omitempty"`
	operation.Operation `yaml:"-"`
}

// Table is the kinds of operation.
func (Part) Table() keys.Table { return operation.Table() }

// MarshalYAML writes the kind and then the operation's parameters.
func (p Part) MarshalYAML() (any, error) {
	return keys.Node(struct {
		Kind string `yaml:"kind,omitempty"`
	}{p.Kind}, p.Operation)
}

// IsZero tells whether no operation is there.
func (p Part) IsZero() bool { return p.Kind == "" && p.Operation == nil }

// short is a short form: the places it perturbs, the keys of their scales, and the letter of each in its label.
type short struct {
	kind   string
	scales []scale
}

type scale struct {
	at     operation.Place
	key    string
	letter string
}

var shortForms = []short{
	{None, nil},
	{Weight, []scale{{operation.Weights, "scale", ""}}},
	{Activation, []scale{{operation.Inputs, "scale", ""}}},
	{Combined, []scale{{operation.Weights, "weight_scale", "w"}, {operation.Inputs, "activation_scale", "a"}}},
	{Output, []scale{{operation.Outputs, "scale", ""}}},
}

// Kinds lists the short forms.
func Kinds() []string {
	kinds := make([]string, len(shortForms))
	for i, f := range shortForms {
		kinds[i] = f.kind
	}
	return kinds
}

// form is the noise's short form, or nil.
func (n *Noise) form() *short {
	for i := range shortForms {
		if shortForms[i].kind == n.Kind {
			return &shortForms[i]
		}
	}
	return nil
}

// amount is the value of a short form's scale.
func (n *Noise) amount(key string) float64 {
	switch key {
	case "weight_scale":
		return n.WeightScale
	case "activation_scale":
		return n.ActivationScale
	}
	return n.Scale
}

// part is what the keys of the composition say of a place.
func (n *Noise) part(p operation.Place) Part {
	switch p {
	case operation.Weights:
		return n.Weights
	case operation.Inputs:
		return n.Activations
	case operation.Outputs:
		return n.Outputs
	case operation.KV:
		return n.KV
	}
	return Part{}
}

// At is the operation that acts in a place, or nil.
func (n Noise) At(p operation.Place) operation.Operation {
	f := n.form()
	if f == nil {
		return n.part(p).Operation
	}
	for _, s := range f.scales {
		if s.at != p {
			continue
		}
		g := &operation.Gaussian{Scale: n.amount(s.key), RelativeTo: n.RelativeTo, Per: n.Per}
		if p != operation.Weights && g.Per == "row" { // of combined noise, per says over what the weights' spread is
			g.Per = ""
		}
		if p == operation.Weights && operation.OfTokens(g.Per) {
			g.Per = ""
		}
		return g
	}
	return nil
}

// On tells whether a place is perturbed.
func (n Noise) On(p operation.Place) bool { return n.At(p) != nil }

// OnRows tells whether anything but weights is perturbed: what is drawn, or rounded, for every sample anew.
func (n Noise) OnRows() bool {
	return slices.ContainsFunc(operation.Places, func(p operation.Place) bool {
		return p != operation.Weights &&
			n.On(p)
	})
}

// Empty tells whether nothing is perturbed.
func (n Noise) Empty() bool { return !n.On(operation.Weights) && !n.OnRows() }

// Random tells whether random numbers enter. A noise that is not random has one replicate under greedy decoding, and no
// chips.
func (n Noise) Random() bool {
	return slices.ContainsFunc(operation.Places, n.randomAt)
}

// Fresh tells whether every sample draws noise of its own, beside what a replicate draws.
func (n Noise) Fresh() bool {
	return slices.ContainsFunc(operation.Places, func(p operation.Place) bool {
		return p != operation.Weights &&
			n.randomAt(p)
	})
}

// Chips tells whether a replicate is a random chip: a draw of the weights, which all questions share.
func (n Noise) Chips() bool { return n.randomAt(operation.Weights) }

// Calibrated tells whether some quantiser takes its range from the calibration prompts.
func (n Noise) Calibrated() bool {
	return slices.ContainsFunc(operation.Places, func(p operation.Place) bool {
		op, ok := n.At(p).(operation.Calibrated)
		return ok && op.Calibrated()
	})
}

// Law is the law that tokens are sampled from under the noise: that of one draw for the whole text, or the mean over
// draws.
func (n Noise) Law() alpha.Law {
	switch fresh := n.Fresh(); {
	case fresh && n.Chips():
		return alpha.Both
	case fresh:
		return alpha.MeanDraws
	}
	return alpha.OneDraw
}

func (n Noise) randomAt(p operation.Place) bool {
	op := n.At(p)
	return op != nil && op.Random()
}

// Family names what kind of noise it is, whatever the parameters: the short form, or "int weights, int activations".
func (n Noise) Family() string {
	if n.Kind != "" {
		return n.Kind
	}
	var parts []string
	for _, p := range operation.Places {
		if part := n.part(p); part.Kind != "" {
			parts = append(parts, part.Kind+" "+string(p))
		}
	}
	return strings.Join(parts, ", ")
}

// Label names a noise in tables: "none", "activation 0.05", "weight 0.02 absmax/row", "combined w0.02 a0.05 include
// q_proj exclude lm_head", "weights gaussian 0.02, outputs gaussian 0.1". Two noises of one config never share a label.
func (n Noise) Label() string {
	var parts []string
	if f := n.form(); f != nil {
		parts = append(parts, f.kind)
		for _, s := range f.scales {
			parts = append(parts, s.letter+strconv.FormatFloat(n.amount(s.key), 'g', -1, 64))
		}
		switch relative := n.relativeTo(); {
		case n.Per == "row" || operation.OfTokens(n.Per):
			parts = append(parts, relative+"/"+n.Per)
		case relative != "std":
			parts = append(parts, relative)
		}
	} else {
		var ops []string
		for _, p := range operation.Places {
			if op := n.part(p).Operation; op != nil {
				ops = append(ops, string(p)+" "+op.Label())
			}
		}
		parts = append(parts, strings.Join(ops, ", "))
	}
	if n.Scope != "" {
		parts = append(parts, n.Scope)
	}
	if len(n.Include) > 0 {
		parts = append(parts, "include "+strings.Join(n.Include, ","))
	}
	if len(n.Exclude) > 0 {
		parts = append(parts, "exclude "+strings.Join(n.Exclude, ","))
	}
	return strings.Join(parts, " ")
}

func (n *Noise) relativeTo() string {
	if n.RelativeTo == "" {
		return "std"
	}
	return n.RelativeTo
}

// The scopes: which parameters and Linears a noise is for, before include and exclude narrow it.
const (
	All     = "all"     // everything; the default of gaussian and checkpoint
	Linears = "linears" // the matrices of Linears: not embeddings, nor a tied lm_head, nor norms; the default of every other operation
	Analog  = "analog"  // as linears, and no lm_head: what the analog literature leaves digital
)

// inScope tells whether the scope has a parameter or a Linear.
func (n *Noise) inScope(p operation.Place, name string, matrix bool) bool {
	scope := n.Scope
	if scope == "" {
		switch n.At(p).(type) {
		case *operation.Gaussian, *operation.Checkpoint:
			return true
		}
		scope = Linears
	}
	switch {
	case scope == All:
		return true
	case scope == Analog && strings.HasPrefix(name, "lm_head"):
		return false
	}
	return p != operation.Weights || matrix && !strings.Contains(name, "embed")
}

// TouchesWeight tells whether a parameter of this name, a matrix or not, is perturbed.
func (n Noise) TouchesWeight(name string, matrix bool) bool {
	return n.inScope(operation.Weights, name, matrix) && n.matches(name)
}

// Touches tells whether the Linear or cache of this name is perturbed in a place other than its weights.
func (n Noise) Touches(p operation.Place, name string) bool {
	return n.inScope(p, name, false) && n.matches(name)
}

// matches tells whether include and exclude leave a name. A pattern with *, ? or [ matches the whole name, any other
// matches a part of it.
func (n *Noise) matches(name string) bool {
	match := func(patterns []string) bool {
		for _, p := range patterns {
			if !strings.ContainsAny(p, "*?[") {
				if strings.Contains(name, p) {
					return true
				}
			} else if ok, err := path.Match(p, name); err == nil && ok {
				return true
			}
		}
		return false
	}
	return (len(n.Include) == 0 || match(n.Include)) && !match(n.Exclude)
}

// Check reports what is wrong.
func (n Noise) Check(r keys.Report) {
	if n.Checkpoint != "" && !r.Given("weights") {
		n.Weights = Part{"checkpoint", &operation.Checkpoint{Path: n.Checkpoint}}
	} else if n.Checkpoint != "" {
		r.Bad("checkpoint",
			"the weights are another checkpoint's, and an operation for weights stands beside it; leave out either")
	}
	composed := n.checkParts(r)
	switch f := n.form(); {
	case n.Kind == "" && composed:
		n.noShortKeys(r)
	case n.Kind == "":
		r.Bad("kind", "the key is missing; expected one of %s, or an operation for weights, activations, outputs or kv",
			strings.Join(Kinds(), ", "))
		return
	case f == nil:
		r.OneOf("kind", n.Kind, Kinds()...)
	case composed:
		r.Bad("kind", "%s is a short form, and an operation stands beside it; leave out either", n.Kind)
	default:
		n.checkShort(r, f)
	}
	r.OneOf("scope", n.Scope, All, Linears, Analog)
	n.checkPatterns(r)
}

// checkParts checks the operations of a composition, and tells whether there are any.
func (n *Noise) checkParts(r keys.Report) (composed bool) {
	for _, p := range operation.Places {
		part := n.part(p)
		if part.IsZero() && !r.Given(string(p)) {
			continue
		}
		composed = true
		in, kinds := r.In(string(p)), operation.At(p)
		switch {
		case len(kinds) == 0:
			r.Bad(string(p), "there is no operation for this place")
		case part.Kind == "":
			in.Bad("kind", "the key is missing; expected one of %s", strings.Join(kinds, ", "))
		case !slices.Contains(kinds, part.Kind):
			in.OneOf("kind", part.Kind, kinds...)
		default:
			part.Check(in, p)
		}
	}
	return composed
}

// noShortKeys refuses the keys of short forms beside a composition.
func (n *Noise) noShortKeys(r keys.Report) {
	for _, k := range []struct {
		key string
		set bool
	}{
		{"scale", n.Scale != 0},
		{"weight_scale", n.WeightScale != 0},
		{"activation_scale", n.ActivationScale != 0},
		{"relative_to", n.RelativeTo != ""},
		{"per", n.Per != ""},
	} {
		if k.set {
			r.Bad(k.key, "this is a key of the short forms (%s); give it to an operation", strings.Join(Kinds(), ", "))
		}
	}
}

func (n *Noise) checkShort(r keys.Report, f *short) {
	for _, key := range []string{"scale", "weight_scale", "activation_scale"} {
		i := slices.IndexFunc(f.scales, func(s scale) bool { return s.key == key })
		switch value := n.amount(key); {
		case i >= 0:
			r.Required(key, n.Kind+" noise", value, 0, operation.MaxScale)
		case value != 0:
			r.Bad(key, "%s noise has no %s; expected %s", n.Kind, key, f.scaleKeys())
		}
	}
	r.OneOf("relative_to", n.RelativeTo, "std", "absmax")
	switch weights, rows := f.on(operation.Weights), f.on(operation.Inputs) || f.on(operation.Outputs); {
	case n.Per == "row" && !weights:
		r.Bad("per", "%s noise has no rows; expected tensor, token or %s", n.Kind, operation.ButFirst)
	case operation.OfTokens(n.Per) && !rows:
		r.Bad("per", "%s noise has no tokens; expected tensor or row", n.Kind)
	default:
		r.OneOf("per", n.Per, "tensor", "row", "token", operation.ButFirst)
	}
	if len(f.scales) == 0 && (n.RelativeTo != "" || n.Per != "" || n.Scope != "" || len(n.Include) > 0 ||
		len(n.Exclude) > 0) {
		r.Bad("", "kind none takes no other key")
	}
}

func (f *short) on(p operation.Place) bool {
	return slices.ContainsFunc(f.scales, func(s scale) bool { return s.at == p })
}

func (f *short) scaleKeys() string {
	if len(f.scales) == 0 {
		return "none at all"
	}
	var names []string
	for _, s := range f.scales {
		names = append(names, s.key)
	}
	return strings.Join(names, " and ")
}

func (n *Noise) checkPatterns(r keys.Report) {
	for _, l := range []struct {
		key  string
		list []string
	}{{"include", n.Include}, {"exclude", n.Exclude}} {
		r.Texts(l.key, l.list)
		for i, p := range l.list {
			if _, err := path.Match(p, ""); err != nil {
				r.Bad(fmt.Sprintf("%s[%d]", l.key, i),
					"expected a part of a name or a pattern with *, ? or [...], found %q", keys.Shorten(p))
			}
		}
	}
}

// Normalise gives equal noises one spelling.
func (n *Noise) Normalise() {
	if len(n.Include) == 0 {
		n.Include = nil
	}
	if len(n.Exclude) == 0 {
		n.Exclude = nil
	}
	if n.Checkpoint != "" {
		n.Weights, n.Checkpoint = Part{"checkpoint", &operation.Checkpoint{Path: n.Checkpoint}}, ""
	}
	if f := n.form(); f == nil || len(f.scales) == 0 {
		return
	}
	n.RelativeTo = n.relativeTo()
	if n.Per == "" {
		n.Per = "tensor"
	}
}
