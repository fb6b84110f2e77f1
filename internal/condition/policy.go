package condition

import (
	"math"
	"reflect"
	"slices"
	"strings"

	"github.com/gsmeval/gsmeval/internal/keys"
	"github.com/gsmeval/gsmeval/noise/alpha"
)

// maxT is the largest temperature believed.
const maxT = 1000

// Policy is a way to come to the temperature of a step, with its parameters, which are the fields of a structure with
// yaml tags.
type Policy interface {
	// Check reports parameters that are out of range; noises is the number of noises in the grid.
	Check(r keys.Report, noises int)
	// Label names the policy in tables. What equals the theory's defaults is left out.
	Label() string
	// Schedule is the temperatures under a noise. curve is what Calibration asked for, or nil.
	Schedule(under Under, curve *alpha.Curve) (Schedule, error)
}

// Calibrated is a policy whose temperatures follow from a measurement.
type Calibrated interface {
	Policy
	// Calibration is what has to be measured for a noise; needed is false where the temperature is known without.
	Calibration(under Under) (c Calibration, needed bool)
	// Normalise clears parameters that only repeat the theory's.
	Normalise(t Theory)
}

// Choosy is a policy that some noises are wrong for, which is known before anything is measured.
type Choosy interface {
	Policy
	Suits(under Under) error
}

// Noted is a policy with something to say about a condition, which stands under its table.
type Noted interface {
	Policy
	Notes(under Under, s Schedule) []string
}

// Under is the noise that a schedule is for, and the theory that holds where a policy says nothing else.
type Under struct {
	Index  int // of the noise in the grid
	Noise  Noise
	Theory Theory
}

// Theory is what temperature follows from a measured alpha.
type Theory struct {
	Form   alpha.Form
	Base   float64 // T_base
	Smooth alpha.Smoothing
	Window int // positions in the moving average
}

// Calibration is what is measured under a noise.
type Calibration struct {
	Noise Noise
	Base  float64
	Needs alpha.Needs // what beside the moments
}

// row is a policy of the table.
type row struct {
	name string
	new  func() Policy
}

// policies is every way to sample. A config names it by "policy".
var policies = []row{
	{"constant", func() Policy { return &Constant{} }},
	{"constant_tstar", func() Policy { return &ConstantTStar{} }},
	{"dynamic_tstar", func() Policy { return &DynamicTStar{} }},
	{"greedy", func() Policy { return &GreedyPolicy{} }},
	{"reset", func() Policy { return &Reset{} }},
	{"entropy", func() Policy { return &Entropy{} }},
	{"top_n_sigma", func() Policy { return &TopNSigma{} }},
	{"min_p", func() Policy { return &MinP{} }},
	{"average", func() Policy { return &Average{} }},
	{"online", func() Policy { return &Online{} }},
}

// Policies lists the policies.
func Policies() []string {
	names := make([]string, len(policies))
	for i, r := range policies {
		names[i] = r.name
	}
	return names
}

// Temperature is one temperature of the grid: {policy: constant, value: 1}.
type Temperature struct {
	Name   string `yaml:"name,omitempty"` // label in tables, if the usual one will not do
	Kind   string `yaml:"policy"`
	Policy `yaml:"-"`
}

// Table is the policies.
func (Temperature) Table() keys.Table {
	return keys.Table{Key: "policy", Kinds: Policies(), New: func(name string) any {
		for _, r := range policies {
			if r.name == name {
				return r.new()
			}
		}
		return nil
	}}
}

// NewTemperature is a temperature of a policy.
func NewTemperature(p Policy) Temperature {
	for _, r := range policies {
		if reflect.TypeOf(r.new()) == reflect.TypeOf(p) {
			return Temperature{Kind: r.name, Policy: p}
		}
	}
	return Temperature{}
}

// MarshalYAML writes name, policy and the policy's parameters.
func (t Temperature) MarshalYAML() (any, error) {
	return keys.Node(struct {
		Name string `yaml:"name,omitempty"`
		Kind string `yaml:"policy"`
	}{t.Name, t.Kind}, t.Policy)
}

// Label names a temperature in tables: its own name, or "T=1", "greedy", "T*", "T*(t)", followed by what deviates from
// the theory of the config: "T* linear", "T*(t) exact base=0.8 smooth=exponential", "T*(t) from activation 0.2".
func (t Temperature) Label() string {
	if t.Name != "" {
		return t.Name
	}
	return t.Policy.Label()
}

// Check reports what is wrong; noises is the number of noises in the grid.
func (t Temperature) Check(r keys.Report, noises int) {
	switch {
	case t.Kind == "":
		r.Bad("policy", "the key is missing; expected one of %s", strings.Join(Policies(), ", "))
	case !slices.Contains(Policies(), t.Kind):
		r.OneOf("policy", t.Kind, Policies()...)
	default:
		t.Policy.Check(r, noises)
	}
}

// Normalise gives equal temperatures one spelling.
func (t *Temperature) Normalise(th Theory) {
	if c, ok := t.Policy.(Calibrated); ok {
		c.Normalise(th)
	}
}

// Calibration is what has to be measured before the temperatures under a noise are known.
func (t Temperature) Calibration(under Under) (c Calibration, needed bool) {
	if p, ok := t.Policy.(Calibrated); ok {
		return p.Calibration(under)
	}
	return Calibration{}, false
}

// Twice tells whether the policy computes every token in two rows, where the noise has two draws.
func (t Temperature) Twice() bool {
	switch t.Policy.(type) {
	case *Average, *Online:
		return true
	}
	return false
}

// From is the noise that the policy takes its calibration from, whatever noise it is used under; ok is false where it
// names none.
func (t Temperature) From() (n Noise, ok bool) {
	c, ok := t.Calibration(Under{Noise: Noise{Kind: None}})
	return c.Noise, ok
}

// IsCalibrated tells whether the policy's temperatures follow from a measurement, under noise.
func (t Temperature) IsCalibrated() bool {
	_, ok := t.Policy.(Calibrated)
	return ok
}

// Notes say what is special about the temperatures under a noise.
func (t Temperature) Notes(under Under, s Schedule) []string {
	if p, ok := t.Policy.(Noted); ok {
		return p.Notes(under, s)
	}
	return nil
}

// Resolve is the schedule under a noise and the mean alpha behind it, NaN where none was measured. measure is asked for
// what Calibration needs.
func (t Temperature) Resolve(under Under, measure func(Calibration) (*alpha.Curve, error)) (Schedule, float64, error) {
	c, needed := t.Calibration(under)
	if !needed {
		mean := math.NaN()
		if t.IsCalibrated() && under.Noise.Empty() {
			mean = 0 // without noise there is nothing to measure
		}
		s, err := t.Schedule(under, nil)
		return s, mean, err
	}
	if p, ok := t.Policy.(Choosy); ok {
		if err := p.Suits(under); err != nil {
			return Schedule{}, 0, err
		}
	}
	curve, err := measure(c)
	if err != nil {
		return Schedule{}, 0, err
	}
	s, err := t.Schedule(under, curve)
	return s, curve.Mean(), err
}
