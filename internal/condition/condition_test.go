package condition

import (
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/gsmeval/gsmeval/internal/keys"
	"github.com/gsmeval/gsmeval/noise/alpha"
	"github.com/gsmeval/gsmeval/noise/operation"
)

func gaussian(scale float64) Part {
	return Part{Kind: "gaussian", Operation: &operation.Gaussian{Scale: scale}}
}

func TestNoiseLabels(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		noise        Noise
		want, family string
	}{
		{Noise{Kind: None}, "none", "none"},
		{Noise{Kind: Activation, Scale: 0.05}, "activation 0.05", "activation"},
		{Noise{Kind: Activation, Scale: 0.05, Per: "token"}, "activation 0.05 std/token", "activation"},
		{Noise{Kind: Output, Scale: 0.05, Per: operation.ButFirst}, "output 0.05 std/tensor_but_first", "output"},
		{Noise{Kind: Weight, Scale: 1e-7, RelativeTo: "absmax", Per: "tensor"}, "weight 1e-07 absmax", "weight"},
		{Noise{Kind: Weight, Scale: 0.1, RelativeTo: "std", Per: "row"}, "weight 0.1 std/row", "weight"},
		{
			Noise{Kind: Combined, WeightScale: 1, ActivationScale: 0.5, Exclude: []string{"norm", "embed"}},
			"combined w1 a0.5 exclude norm,embed", "combined",
		},
		{
			Noise{Weights: gaussian(0.1), Outputs: gaussian(0.2), Exclude: []string{"lm_head"}},
			"weights gaussian 0.1, outputs gaussian 0.2 exclude lm_head", "gaussian weights, gaussian outputs",
		},
	} {
		if got := tc.noise.Label(); got != tc.want {
			t.Errorf("label %q, want %q", got, tc.want)
		}
		if got := tc.noise.Family(); got != tc.family {
			t.Errorf("family %q, want %q", got, tc.family)
		}
	}
}

func TestTemperatureLabels(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		policy Policy
		want   string
	}{
		{&Constant{Value: 1}, "T=1"},
		{&GreedyPolicy{}, "greedy"},
		{&ConstantTStar{}, "T*"},
		{&DynamicTStar{}, "T*(t)"},
		{&DynamicTStar{Form: "exact", Base: 0.8, Smooth: "none"}, "T*(t) exact base=0.8 smooth=none"},
		{&Constant{Values: []float64{0.4, 1}}, "T by noise"},
		{&DynamicTStar{Form: "exact", From: Noise{Kind: Activation, Scale: 0.2}}, "T*(t) exact from activation 0.2"},
	} {
		if got := NewTemperature(tc.policy).Label(); got != tc.want {
			t.Errorf("label %q, want %q", got, tc.want)
		}
	}
	if got := (Temperature{Name: "mine", Policy: &Constant{Value: 1}}).Label(); got != "mine" {
		t.Errorf("a name of its own became %q", got)
	}
}

// TestWhatANoiseIs says of every short form and of compositions where it acts, and whether a replicate of it is a chip.
func TestWhatANoiseIs(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		noise                     Noise
		weights, rows, rand, chip bool
	}{
		{Noise{Kind: None}, false, false, false, false},
		{Noise{Kind: Weight, Scale: 1}, true, false, true, true},
		{Noise{Kind: Activation, Scale: 1}, false, true, true, false},
		{Noise{Kind: Combined, WeightScale: 1, ActivationScale: 1}, true, true, true, true},
		{Noise{Kind: Output, Scale: 1}, false, true, true, false},
		{Noise{Weights: gaussian(1)}, true, false, true, true},
		{Noise{Activations: gaussian(1), Outputs: gaussian(1)}, false, true, true, false},
		{Noise{Weights: Part{Kind: "fixed", Operation: fixed{}}}, true, false, false, false},
		{Noise{Weights: Part{Kind: "fixed", Operation: fixed{}}, Activations: gaussian(1)}, true, true, true, false},
	} {
		n := tc.noise
		got := []bool{n.On(operation.Weights), n.OnRows(), n.Random(), n.Chips(), n.Empty()}
		want := []bool{tc.weights, tc.rows, tc.rand, tc.chip, !tc.weights && !tc.rows}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: on weights, on rows, random, chips, empty (-want +got):\n%s", n.Label(), diff)
		}
	}
}

// fixed is an operation that draws nothing.
type fixed struct{}

func (fixed) Check(keys.Report, operation.Place) {}
func (fixed) Label() string                      { return "fixed" }
func (fixed) Random() bool                       { return false }

func TestTouches(t *testing.T) {
	t.Parallel()
	names := []string{
		"model.embed_tokens.weight", "model.layers.1.self_attn.q_proj", "model.layers.1.self_attn.q_proj.weight",
		"model.layers.11.mlp.down_proj", "model.norm.weight", "lm_head",
	}
	for _, c := range []struct {
		include, exclude []string
		want             []int
	}{
		{nil, nil, []int{0, 1, 2, 3, 4, 5}},
		{[]string{"q_proj"}, nil, []int{1, 2}},
		{[]string{"q_proj", "lm_head"}, nil, []int{1, 2, 5}},
		{[]string{"*.q_proj"}, nil, []int{1}}, // a pattern is of the whole name
		{[]string{"model.layers.1.*"}, nil, []int{1, 2}},
		{[]string{"model.layers.1"}, nil, []int{1, 2, 3}}, // a part of the name
		{[]string{"model.layers.1?.*"}, nil, []int{3}},
		{[]string{"model.layers.[0-9].*"}, nil, []int{1, 2}},
		{nil, []string{"norm", "embed", "lm_head"}, []int{1, 2, 3}},
		{[]string{"model."}, []string{"*.weight"}, []int{1, 3}},
		{[]string{"lm_head"}, []string{"lm_head"}, nil},
		{[]string{"k_proj"}, nil, nil},
		{[]string{"LM_HEAD"}, nil, nil},
	} {
		n := Noise{Kind: Weight, Scale: 1, Include: c.include, Exclude: c.exclude}
		var got []int
		for i, name := range names {
			if n.Touches(operation.Inputs, name) {
				got = append(got, i)
			}
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("include %q, exclude %q touches other names (-want +got):\n%s", c.include, c.exclude, diff)
		}
	}
}

// problems is what Check says, a line for each.
func problems(check func(keys.Report)) string {
	var all []string
	check(keys.Report{
		Bad: func(key, format string, args ...any) {
			all = append(all, key+": "+fmt.Sprintf(format, args...))
		},
		Given: func(string) bool { return false },
	})
	return strings.Join(all, "\n")
}

func TestNoiseCheck(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		noise Noise
		want  string // "": accepted
	}{
		{Noise{Kind: None}, ""},
		{Noise{Kind: Activation, Scale: 0.1, Include: []string{"q_proj", "model.layers.[0-3].*"}}, ""},
		{Noise{Kind: Combined, WeightScale: 0.1, ActivationScale: 0.1, Per: "row"}, ""},
		{Noise{Kind: Output, Scale: 0.1, Per: "token"}, ""},
		{Noise{Weights: gaussian(0.1), Activations: gaussian(0.2)}, ""},
		{Noise{}, "kind: the key is missing; expected one of none, weight"},
		{Noise{Kind: Weight}, "scale: the key is missing"},
		{Noise{Kind: Weight, Scale: math.NaN()}, "scale: expected a number above 0 and at most 1000, found NaN"},
		{Noise{Kind: Weight, Scale: math.Inf(1)}, "scale: expected a number above 0"},
		{Noise{Kind: Weight, Scale: 1, Per: "token"}, "per: weight noise has no tokens"},
		{Noise{Kind: Weight, Scale: 1, Per: operation.ButFirst}, "per: weight noise has no tokens"},
		{
			Noise{Kind: Weight, Scale: 1, Weights: gaussian(1)},
			"kind: weight is a short form, and an operation stands beside it",
		},
		{Noise{Kind: Weight, Scale: 1, Exclude: []string{"a[b"}}, `exclude[0]: expected a part of a name or a pattern`},
		{Noise{Weights: gaussian(1), Scale: 1}, "scale: this is a key of the short forms"},
		{Noise{Weights: gaussian(0)}, "weights.scale: the key is missing"},
		{Noise{Weights: Part{Kind: "guassian"}}, `weights.kind: expected one of gaussian`},
		{
			Noise{Activations: Part{Kind: "gaussian", Operation: &operation.Gaussian{Scale: 1, Per: "row"}}},
			"activations.per: activations have no rows",
		},
		{Noise{KV: gaussian(1)}, "kv"},
	} {
		got := problems(tc.noise.Check)
		if (got == "") != (tc.want == "") || !strings.Contains(got, tc.want) {
			t.Errorf("%+v: %q, want %q", tc.noise, got, tc.want)
		}
	}
}

func TestSchedules(t *testing.T) {
	t.Parallel()
	curve := &alpha.Curve{Base: 0.5, Points: []alpha.Point{{Alpha: 3}, {Alpha: 0}}}
	th := Theory{Form: alpha.Sqrt, Base: 1, Smooth: alpha.None, Window: 10}
	noisy, clean := Noise{Kind: Activation, Scale: 1}, Noise{Kind: None}
	for _, tc := range []struct {
		policy Policy
		under  Noise
		want   []float64
		mean   float64
		asks   *Calibration
	}{
		{&Constant{Value: 0.7}, noisy, []float64{0.7}, math.NaN(), nil},
		{&Constant{Values: []float64{0.7, 0.8}}, noisy, []float64{0.8}, math.NaN(), nil},
		{&GreedyPolicy{}, noisy, nil, math.NaN(), nil},
		{
			&ConstantTStar{Base: 0.5}, noisy,
			[]float64{0.5 * math.Sqrt(2.5)},
			1.5,
			&Calibration{noisy, 0.5, alpha.Needs{}},
		},
		{
			&DynamicTStar{Form: "linear", Base: 0.5}, noisy,
			[]float64{2, 0.5},
			1.5,
			&Calibration{noisy, 0.5, alpha.Needs{}},
		},
		{&ConstantTStar{Base: 0.5}, clean, []float64{0.5}, 0, nil},
		{&DynamicTStar{}, clean, []float64{1}, 0, nil},
		{
			&DynamicTStar{From: Noise{Kind: Weight, Scale: 2}}, clean,
			[]float64{1, 0.5},
			1.5,
			&Calibration{Noise{Kind: Weight, Scale: 2}, 1, alpha.Needs{}},
		},
	} {
		var asked *Calibration
		s, mean, err := NewTemperature(tc.policy).Resolve(Under{1, tc.under, th},
			func(c Calibration) (*alpha.Curve, error) {
				asked = &c
				return curve, nil
			})
		if err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(tc.want, s.T); diff != "" {
			t.Errorf("%s under %s (-want +got):\n%s", tc.policy.Label(), tc.under.Label(), diff)
		}
		if mean != tc.mean && !(math.IsNaN(mean) && math.IsNaN(tc.mean)) {
			t.Errorf("%s under %s: mean alpha %v, want %v", tc.policy.Label(), tc.under.Label(), mean, tc.mean)
		}
		if diff := cmp.Diff(tc.asks, asked); diff != "" {
			t.Errorf("%s under %s measures (-want +got):\n%s", tc.policy.Label(), tc.under.Label(), diff)
		}
	}
}

func TestScheduleIdentity(t *testing.T) {
	t.Parallel()
	hot := Schedule{Adaptive: func() Stepper { return nil }, Name: "hot"}
	cold := hot
	cold.Name = "cold"
	same := Schedule{T: []float64{1, 2, 2, 2}}
	seen := map[string]int{}
	for i, s := range []Schedule{ConstantT(1), ConstantT(2), {T: []float64{1, 2}}, hot, cold} {
		if first, dup := seen[s.SHA256()]; dup {
			t.Errorf("schedules %d and %d have one identity", first, i)
		}
		seen[s.SHA256()] = i
	}
	if _, known := seen[same.SHA256()]; !known {
		t.Error("repeats of the last temperature make another schedule")
	}
	if Greedy().SHA256() != "" || hot.IsGreedy() || !Greedy().IsGreedy() {
		t.Error("greedy is not told from adaptive")
	}
}

// TestTables holds the tables to what the rest relies on: every kind and policy is made, spelled and read back, and no
// two keys of a mapping are the same.
func TestTables(t *testing.T) {
	t.Parallel()
	for _, c := range []keys.Choice{Part{}, Temperature{}} {
		table := c.Table()
		if table.New("no such kind") != nil {
			t.Errorf("%T: an unknown kind is made", c)
		}
		for _, kind := range table.Kinds {
			own := reflect.TypeOf(table.New(kind)).Elem()
			seen := map[string]bool{table.Key: true, "name": true}
			for i := range own.NumField() {
				key, _, _ := strings.Cut(own.Field(i).Tag.Get("yaml"), ",")
				if key == "" || seen[key] {
					t.Errorf("%s %s: field %s has the key %q", table.Key, kind, own.Field(i).Name, key)
				}
				seen[key] = true
			}
		}
	}
	text, err := yaml.Marshal(Noise{Weights: gaussian(0.5)})
	if want := "weights:\n    kind: gaussian\n    scale: 0.5\n"; err != nil || string(text) != want {
		t.Errorf("%v: %q, want %q", err, text, want)
	}
}
