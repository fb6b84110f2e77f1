package noise

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gonum.org/v1/gonum/stat"

	"github.com/gsmeval/gsmeval/internal/condition"
	"github.com/gsmeval/gsmeval/internal/torch"
	"github.com/gsmeval/gsmeval/noise/operation"
	"github.com/gsmeval/gsmeval/noise/philox"
)

// pass is a small activation and what its rows stand for.
func pass(seed uint64, rows, d int) ([]float32, *Rows) {
	r := random(seed)
	rr := NewRows(rows)
	for i := range rows {
		rr.Keys.Set(i, Draws{Inputs: 0xabcdef0123456789, Outputs: 0xabcdef0123456789})
		rr.Positions[i] = uint32(i)
	}
	x := make([]float32, 0, rows*d)
	for i := range rows {
		x = append(x, gaussian(r, d, 0, float64(1+i))...) // every row has a spread of its own
	}
	return x, rr
}

// perturb runs rows [from, to) of x through the injector at a site, and returns what was added.
func perturb(t *testing.T, w *torch.Worker, in *Injector, x []float32, rows *Rows, from, to int,
	site Site,
) (added []float64, spread []float32) {
	t.Helper()
	n := len(rows.Positions)
	d := len(x) / n
	added = make([]float64, (to-from)*d)
	do(t, w, func(s *torch.Scope) {
		a := s.Floats(x, []int64{int64(n), int64(d)}, torch.CPU)
		place := operation.Inputs
		if in.On(operation.Outputs) {
			place = operation.Outputs
		}
		var found *Spread
		y := make([]float32, len(added))
		s.ReadFloats(in.Perturb(s, place, a, &found, rows, from, to, site), y)
		spread = found.rows
		for i := range y {
			added[i] = float64(y[i]) - float64(x[from*d+i])
		}
	})
	return added, spread
}

func near(t *testing.T, what string, want, got, relative float64) {
	t.Helper()
	if !(math.Abs(want-got) <= relative*math.Abs(want)) {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}

func TestEverySiteHasADrawOfItsOwn(t *testing.T) {
	t.Parallel()
	w := start(t, 1)
	const d = 4000
	x, rows := pass(1, 3, d)
	rows.Each()
	in := NewInjector(condition.Noise{Kind: condition.Activation, Scale: 0.1}, false)
	sites := []Site{{0, "q_proj"}, {1, "k_proj"}, {2, "v_proj"}, {math.MaxUint32, "lm_head"}}
	noises := make([][]float64, len(sites))
	for i, site := range sites {
		noises[i], _ = perturb(t, w, in, x, rows, 0, 3, site)
	}
	for i := range noises {
		for j := range i {
			for r := range 3 {
				// 5.5 standard deviations of the correlation of independent draws.
				if c := stat.Correlation(noises[i][r*d:(r+1)*d], noises[j][r*d:(r+1)*d],
					nil); !(math.Abs(c) < 5.5/math.Sqrt(d)) {
					t.Errorf("row %d: the noises of %s and %s correlate by %v", r, sites[i].Name, sites[j].Name, c)
				}
			}
		}
	}
	again, _ := perturb(t, w, in, x, rows, 0, 3, sites[1])
	if !slices.Equal(again, noises[1]) {
		t.Error("the same site drew other numbers the second time")
	}
	e := in.Effect()
	want := []string{"q_proj", "k_proj", "v_proj", "lm_head"}
	var names []string
	for i, s := range e {
		names = append(names, s.Name)
		calls := map[bool]int64{false: 1, true: 2}[i == 1]
		if s.Elements != calls*3*d {
			t.Errorf("%s: %d elements, want %d", s.Name, s.Elements, calls*3*d)
		}
		near(t, s.Name+": ratio", 0.1, s.Ratio(), 0.05)
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("sites (-want +got):\n%s", diff)
	}
}

func TestSpreadIsOverThePromptTogetherAndEachLaterRowAlone(t *testing.T) {
	t.Parallel()
	w := start(t, 1)
	const n, d = 7, 33
	x, rows := pass(2, n, d)
	in := NewInjector(condition.Noise{Kind: condition.Activation, Scale: 0.1}, false)
	row := func(from, to int) float64 { return spreadOf(x[from*d:to*d], false) }
	for _, c := range []struct {
		name   string
		group  func()
		groups []int32
		want   []float64
	}{
		{"prompt", func() { rows.Together(n) }, []int32{0, n}, slices.Repeat([]float64{row(0, n)}, n)},
		{
			"prompt and continuation", func() { rows.Together(4) },
			[]int32{0, 4, 5, 6, 7},
			[]float64{row(0, 4), row(0, 4), row(0, 4), row(0, 4), row(4, 5), row(5, 6), row(6, 7)},
		},
		{
			"decode step", rows.Each,
			[]int32{0, 1, 2, 3, 4, 5, 6, 7},
			[]float64{row(0, 1), row(1, 2), row(2, 3), row(3, 4), row(4, 5), row(5, 6), row(6, 7)},
		},
		{
			"prompt of one", func() { rows.Together(1) },
			[]int32{0, 1, 2, 3, 4, 5, 6, 7},
			[]float64{row(0, 1), row(1, 2), row(2, 3), row(3, 4), row(4, 5), row(5, 6), row(6, 7)},
		},
	} {
		c.group()
		if diff := cmp.Diff(c.groups, rows.Groups); diff != "" {
			t.Errorf("%s: groups (-want +got):\n%s", c.name, diff)
		}
		_, spread := perturb(t, w, in, x, rows, 0, n, Site{})
		for r, want := range c.want {
			near(t, c.name+": spread", want, float64(spread[r]), 1e-6)
		}
	}
	rows.Together(n)
	_, spread := perturb(t, w, NewInjector(condition.Noise{
		Kind: condition.Activation, Scale: 0.1,
		RelativeTo: "absmax",
	}, false), x, rows, 0, n, Site{})
	near(t, "largest magnitude of the prompt", spreadOf(x, true), float64(spread[3]), 0)
}

// TestHeadOfAPromptIsPerturbedByThePromptsSpread is what lm_head does in prefill: only the last row is projected, and
// its noise is that which it would have had among all.
func TestHeadOfAPromptIsPerturbedByThePromptsSpread(t *testing.T) {
	t.Parallel()
	w := start(t, 1)
	const n, d = 5, 64
	x, rows := pass(3, n, d)
	rows.Together(n)
	head := Site{math.MaxUint32, "lm_head"}
	in := NewInjector(condition.Noise{Kind: condition.Activation, Scale: 0.2}, false)
	all, _ := perturb(t, w, in, x, rows, 0, n, head)
	rows.Reset()
	in = NewInjector(in.noise, false)
	last, spread := perturb(t, w, in, x, rows, n-1, n, head)
	if !slices.Equal(all[(n-1)*d:], last) {
		t.Error("the last row's noise is another when the row is projected alone")
	}
	near(t, "spread", spreadOf(x, false), float64(spread[n-1]), 1e-6)
	if diff := cmp.Diff([]int64{0, 0, 0, 0, d}, rows.Elements); diff != "" {
		t.Errorf("elements of each row (-want +got):\n%s", diff)
	}
	if e := in.Effect(); len(e) != 1 || e[0].Elements != d {
		t.Errorf("effect %+v, want %d elements of one row", e, d)
	}
	// The draw is that of the row's own position, whatever its place in the tensor.
	c := philox.Counter{0, n - 1, math.MaxUint32, 0}
	want := 0.2 * float64(spread[n-1]) * philox.Normals(philox.Words(c, philox.Key(rows.Keys.Inputs[n-1])))[0]
	if d := math.Abs(last[0] - want); !(d <= 1e-5) {
		t.Errorf("the first element's noise is %v, want %v", last[0], want)
	}
}

func TestEffectIsAccountedForByRowAndSite(t *testing.T) {
	t.Parallel()
	w := start(t, 1)
	const n, d = 4, 50
	x, rows := pass(4, n, d)
	rows.Each()
	rows.Dead = []bool{false, true, false, true}
	copy(x[2*d:3*d], make([]float32, d)) // a row without spread
	in := NewInjector(condition.Noise{Kind: condition.Activation, Scale: 0.3, Exclude: []string{"v_proj"}}, false)
	var noise2 [n]float64
	for _, site := range []Site{{8, "q_proj"}, {9, "k_proj"}} {
		if !in.Acts(operation.Inputs, site) {
			t.Fatalf("%s is not touched", site.Name)
		}
		added, _ := perturb(t, w, in, x, rows, 0, n, site)
		for i, v := range added {
			noise2[i/d] += v * v
		}
	}
	if in.Acts(operation.Inputs, Site{10, "v_proj"}) {
		t.Error("an excluded site is touched")
	}
	if diff := cmp.Diff([]int64{2 * d, 0, 2 * d, 0}, rows.Elements); diff != "" {
		t.Errorf("elements of each row (-want +got):\n%s", diff)
	}
	near(t, "noise of row 0", noise2[0], rows.Noise2[0], 1e-5)
	spread := spreadOf(x[:d], false)
	near(t, "spread of row 0", 2*d*spread*spread, rows.Spread2[0], 1e-5)
	if noise2[1] == 0 {
		t.Error("a dead row was not computed: the test shows nothing")
	}
	for _, r := range []int{1, 2, 3} {
		if rows.Noise2[r] != 0 || rows.Spread2[r] != 0 {
			t.Errorf("row %d: noise %v and spread %v are counted", r, rows.Noise2[r], rows.Spread2[r])
		}
	}
	e := in.Effect()
	if len(e) != 2 || e[0].Elements != 2*d || e[1].Elements != 2*d {
		t.Fatalf("effect %+v, want %d elements at each of two sites", e, 2*d)
	}
	if err := e.Check(); err != nil {
		t.Errorf("a row without spread is an error: %v", err)
	}
	near(t, "the sites' noise", rows.Noise2[0], e.Total().Noise2, 1e-12)
	near(t, "the sites' spread", rows.Spread2[0], e.Total().Spread2, 1e-12)
	rows.Reset()
	if rows.Noise2[0] != 0 || rows.Spread2[0] != 0 || rows.Elements[0] != 0 {
		t.Error("Reset left something")
	}
}

func TestInjectorAfterAnErrorCountsNothing(t *testing.T) {
	t.Parallel()
	w := start(t, 1)
	x, rows := pass(5, 2, 8)
	rows.Each()
	in := NewInjector(condition.Noise{Kind: condition.Activation, Scale: 1}, false)
	failed := errors.New("an earlier failure")
	if err := w.Do(func(s *torch.Scope) error {
		a := s.Floats(x, []int64{2, 8}, torch.CPU)
		s.Fail(failed)
		in.Perturb(s, operation.Inputs, a, nil, rows, 0, 2, Site{})
		return nil
	}); !errors.Is(err, failed) {
		t.Errorf("error %v, want the earlier one", err)
	}
	if len(in.Effect()) != 0 || rows.Elements[0] != 0 {
		t.Error("noise was counted that was never added")
	}
}

func TestReferenceInjectorAgrees(t *testing.T) {
	t.Parallel()
	w := start(t, 1)
	x, rows := pass(6, 5, 129)
	rows.Together(3)
	spec := condition.Noise{Kind: condition.Output, Scale: 0.5}
	fused, _ := perturb(t, w, NewInjector(spec, false), x, rows, 0, 5, Site{ID: 7})
	plain, spread := perturb(t, w, NewInjector(spec, true), x, rows, 0, 5, Site{ID: 7})
	for i := range fused {
		if tol := 0.5*float64(spread[i/129])*2*normalTolerance +
			2.4e-7*math.Abs(float64(x[i])); !(math.Abs(fused[i]-plain[i]) <= tol+2.4e-7*math.Abs(plain[i])) {
			t.Fatalf("element %d: %v fused, %v by plain operations", i, fused[i], plain[i])
		}
	}
}

// parameters are three weights and a bias, and their tensors.
func parameters(s *torch.Scope) []Param {
	r := random(7)
	ones := slices.Repeat([]float32{1}, 96)
	return []Param{
		dense("model.embed_tokens.weight", s.Floats(gaussian(r, 250*96, 0, 0.02), []int64{250, 96}, torch.CPU)),
		dense("model.layers.0.self_attn.q_proj.weight", s.Floats(gaussian(r, 96*96, 0.01, 0.3), []int64{96, 96},
			torch.CPU)),
		dense("model.layers.0.self_attn.q_proj.bias", s.Floats(gaussian(r, 96, 0, 1), []int64{96}, torch.CPU)),
		dense("model.norm.weight", s.Floats(ones, []int64{96}, torch.CPU)),
		dense("model.layers.0.input_layernorm.weight", s.Floats(gaussian(r, 96, 1, 0.2), []int64{96}, torch.CPU)),
	}
}

// dense is a parameter that is its tensor.
func dense(name string, t torch.Tensor) Param {
	var shape []int
	for _, d := range t.Shape() {
		shape = append(shape, int(d))
	}
	return Param{Name: name, Shape: shape, Change: func(_ *torch.Scope, f func(torch.Tensor)) { f(t) }}
}

// held is the tensor of a parameter.
func held(s *torch.Scope, p Param) (t torch.Tensor) {
	p.Change(s, func(dense torch.Tensor) { t = dense })
	return t
}

func keyOf(replicate int) func(string) philox.Key {
	return func(name string) philox.Key { return philox.NewKey(philox.Weight, 42, replicate, name) }
}

// TestWeightNoiseHasTheSizeItShould measures the RMS of what was added to each parameter: the scale times the spread,
// within the larger of 1 % and 4/sqrt(2n) for n elements.
func TestWeightNoiseHasTheSizeItShould(t *testing.T) {
	t.Parallel()
	w := start(t, 1)
	for _, spec := range []condition.Noise{
		{Kind: condition.Weight, Scale: 0.05},
		{Kind: condition.Combined, WeightScale: 0.5, ActivationScale: 1},
		{Kind: condition.Weight, Scale: 0.02, RelativeTo: "absmax"},
		{Kind: condition.Weight, Scale: 0.05, Per: "row"},
		{Kind: condition.Weight, Scale: 0.02, RelativeTo: "absmax", Per: "row"},
	} {
		for name, reference := range implementations {
			do(t, w, func(s *torch.Scope) {
				params := parameters(s)
				before := make([][]float32, len(params))
				for i, p := range params {
					before[i] = slices.Clone(s.FloatView(held(s, p)))
				}
				effect, err := PerturbWeights(s, spec, params, keyOf(0), reference)
				if err != nil {
					t.Errorf("%+v: %v", spec, err)
					return
				}
				touched := map[string]condition.SiteEffect{}
				for _, e := range effect {
					touched[e.Name] = e
				}
				if len(touched) != 4 {
					t.Errorf("%+v: %d parameters were touched, want 4", spec, len(touched))
				}
				for i, p := range params {
					after := s.FloatView(held(s, p))
					sum := 0.0
					for j := range after {
						sum += math.Pow(float64(after[j])-float64(before[i][j]), 2)
					}
					e, ok := touched[p.Name]
					flat := p.Name == "model.norm.weight" && spec.RelativeTo != "absmax"
					switch {
					case p.Name == "model.layers.0.self_attn.q_proj.bias":
						if ok || sum != 0 {
							t.Errorf("%+v: a bias was touched", spec)
						}
						continue
					case flat:
						// A fresh norm has no spread: it is reported, and stays as it is.
						if !ok || sum != 0 || e.Noise2 != 0 || e.Spread2 != 0 || e.Elements != 96 {
							t.Errorf("%+v: a norm of ones changed by %v, reported as %+v", spec, sum, e)
						}
						continue
					}
					n := float64(len(after))
					near(t, p.Name+": reported noise", sum, e.Noise2, 1e-5)
					if int(e.Elements) != len(after) {
						t.Errorf("%s: %d elements are reported of %d", p.Name, e.Elements, len(after))
					}
					spread2, rows := 0.0, 1
					if shape := held(s, p).Shape(); (spec.Per == "row") && len(shape) > 1 {
						rows = int(shape[0])
					}
					for r := range rows {
						spread2 += math.Pow(spreadOf(before[i][r*len(after)/rows:(r+1)*len(after)/rows],
							spec.RelativeTo == "absmax"), 2) / float64(rows)
					}
					near(t, p.Name+": spread", math.Sqrt(spread2), e.Spread(), 1e-6)
					if ratio := e.RMS() / (max(spec.WeightScale,
						spec.Scale) * math.Sqrt(spread2)); !(math.Abs(ratio-1) <= max(0.01, 4/math.Sqrt(2*n))) {
						t.Errorf("%s, %s: the RMS of the noise is %v of scale times spread over %v elements", name,
							p.Name, ratio, n)
					}
				}
			})
		}
	}
}

func TestWeightNoiseOfAParameterIsItsOwn(t *testing.T) {
	t.Parallel()
	w := start(t, 1)
	spec := condition.Noise{Kind: condition.Weight, Scale: 0.1}
	run := func(order []int, spec condition.Noise, replicate int) map[string][]float32 {
		out := map[string][]float32{}
		do(t, w, func(s *torch.Scope) {
			all := parameters(s)
			var params []Param
			for _, i := range order {
				params = append(params, all[i])
			}
			_, err := PerturbWeights(s, spec, params, keyOf(replicate), false)
			s.Fail(err)
			for _, p := range params {
				out[p.Name] = slices.Clone(s.FloatView(held(s, p)))
			}
		})
		return out
	}
	base := run([]int{0, 1, 2, 3, 4}, spec, 0)
	if diff := cmp.Diff(base, run([]int{4, 2, 0, 3, 1}, spec, 0)); diff != "" {
		t.Error("the order of the parameters changes what is drawn")
	}
	alone := run([]int{0, 1, 2, 3, 4}, condition.Noise{
		Kind: condition.Weight, Scale: 0.1,
		Include: []string{"*.q_proj.weight"},
	}, 0)
	const q = "model.layers.0.self_attn.q_proj.weight"
	if !slices.Equal(alone[q], base[q]) {
		t.Error("a parameter's noise depends on whether others are perturbed")
	}
	if slices.Equal(alone["model.embed_tokens.weight"], base["model.embed_tokens.weight"]) {
		t.Error("a parameter that is not included was perturbed")
	}
	if other := run([]int{0, 1, 2, 3, 4}, spec, 1); slices.Equal(other[q], base[q]) {
		t.Error("another noise seed draws the same")
	}
}

func TestNoiseWithoutEffectIsAnError(t *testing.T) {
	t.Parallel()
	w := start(t, 1)
	for name, spec := range map[string]condition.Noise{
		"nothing included":       {Kind: condition.Weight, Scale: 0.1, Include: []string{"w_proj"}},
		"everything excluded":    {Kind: condition.Weight, Scale: 0.1, Exclude: []string{"model."}},
		"only a bias included":   {Kind: condition.Weight, Scale: 0.1, Include: []string{"bias"}},
		"only a norm of ones":    {Kind: condition.Weight, Scale: 0.1, Include: []string{"model.norm.weight"}},
		"scale 0":                {Kind: condition.Weight},
		"a scale that underruns": {Kind: condition.Weight, Scale: 1e-30},
	} {
		do(t, w, func(s *torch.Scope) {
			if _, err := PerturbWeights(s, spec, parameters(s), keyOf(0), false); !errors.Is(err,
				condition.ErrNoEffect) {
				t.Errorf("%s: error %v, want condition.ErrNoEffect", name, err)
			}
		})
	}
	in := NewInjector(condition.Noise{Kind: condition.Activation, Scale: 0.1, Include: []string{"nowhere"}}, false)
	if in.Acts(operation.Inputs, Site{1, "q_proj"}) || !errors.Is(in.Effect().Check(), condition.ErrNoEffect) {
		t.Error("an activation noise that touches nothing is no error")
	}
}

// TestKernelsAreTheDefinition holds the fused kernels against the operation as package operation writes it down.
func TestKernelsAreTheDefinition(t *testing.T) {
	t.Parallel()
	w := start(t, 2)
	const n, d, key = 5, 48, 0xabcdef0123456789
	for _, per := range []string{"", "token", operation.ButFirst} {
		for _, relative := range []string{"std", "absmax"} {
			noise := condition.Noise{Kind: condition.Activation, Scale: 0.3, RelativeTo: relative, Per: per}
			x, rows := pass(7, n, d)
			rows.Together(3) // a prompt of three, and two decoded positions
			site := Site{ID: 11}
			added, _ := perturb(t, w, NewInjector(noise, false), x, rows, 0, n, site)
			op := noise.At(operation.Inputs).(operation.OnRows)
			noise2 := 0.0
			for i := range n {
				y, group := make([]float32, d), [2]int{0, 3}
				if i >= 3 {
					group = [2]int{i, i + 1}
				}
				tally := op.PerturbRow(y, operation.Rows{
					Values: x, D: d, Group: group, Key: key, Position: uint32(i),
					Site: site.ID,
				}, i)
				noise2 += tally.Noise2
				for j := range d {
					want := float64(y[j]) - float64(x[i*d+j])
					if got := added[i*d+j]; math.Abs(want-got) > 2e-5*math.Max(1, math.Abs(want)) {
						t.Fatalf("per %q, %s, row %d, element %d: noise %v, want %v", per, relative, i, j, got, want)
					}
				}
				near(t, "the row's account", tally.Noise2, rows.Noise2[i], 1e-4)
				near(t, "the row's spread", tally.Spread2, rows.Spread2[i], 1e-5)
			}
			if noise2 == 0 {
				t.Error("nothing was added")
			}
		}
	}
	for _, c := range []struct{ relative, per string }{
		{"std", "tensor"},
		{"std", "row"},
		{"absmax", "tensor"},
		{"absmax", "row"},
	} {
		noise := condition.Noise{Kind: condition.Weight, Scale: 0.3, RelativeTo: c.relative, Per: c.per}
		x, _ := pass(9, n, d)
		want := slices.Clone(x)
		tally := noise.At(operation.Weights).(operation.OnWeights).PerturbWeight(operation.Weight{
			Values: want, In: d,
			Key: key,
		})
		got := make([]float32, n*d)
		do(t, w, func(s *torch.Scope) {
			dense := s.Floats(x, []int64{n, d}, torch.CPU)
			e, err := PerturbWeights(s, noise, []Param{{
				Name:   "weight",
				Change: func(_ *torch.Scope, f func(torch.Tensor)) { f(dense) },
			}},
				func(string) philox.Key { return key }, false)
			if err != nil {
				t.Fatal(err)
			}
			near(t, "the account of the weight", tally.Noise2, e[0].Noise2, 1e-4)
			s.ReadFloats(dense, got)
		})
		for i := range want {
			if math.Abs(float64(want[i]-got[i])) > 2e-5 {
				t.Fatalf("%s per %s, element %d is %v, want %v", c.relative, c.per, i, got[i], want[i])
			}
		}
	}
}

// negate is an operation without a kernel: it looks at the whole group and changes the sign of what is above its mean.
type negate struct{ operation.Operation }

func (negate) Label() string { return "negate" }
func (negate) Random() bool  { return false }

func (negate) PerturbRow(y []float32, x operation.Rows, i int) (t operation.Tally) {
	mean := 0.0
	for _, v := range x.Values[x.Group[0]*x.D : x.Group[1]*x.D] {
		mean += float64(v) / float64((x.Group[1]-x.Group[0])*x.D)
	}
	for j, v := range x.Row(i) {
		y[j] = v
		if float64(v) > mean {
			y[j] = -v
			t.Changed++
			t.Noise2 += 4 * float64(v) * float64(v)
		}
		t.Spread2 += float64(v) * float64(v)
	}
	return t
}

// TestOperationsWithoutAKernel takes an operation to inputs, outputs and the cache by the path that all but gaussian
// noise go.
func TestOperationsWithoutAKernel(t *testing.T) {
	t.Parallel()
	w := start(t, 2)
	const n, heads, d = 5, 3, 8
	part := condition.Part{Kind: "negate", Operation: negate{}}
	in := NewInjector(condition.Noise{Activations: part, KV: part}, false)
	if !in.OnHost() || !in.On(operation.KV) || in.On(operation.Outputs) || in.Acts(operation.Outputs, Site{}) ||
		!in.Acts(operation.Inputs, Site{}) {
		t.Fatal("the injector does not act where the noise says")
	}
	x, rows := pass(3, n, heads*d)
	rows.Together(3)
	rows.Dead = []bool{false, false, false, false, true}
	site := Site{ID: 2, Name: "q"}
	got, cached := make([]float32, 2*heads*d), make([]float32, n*heads*d)
	do(t, w, func(s *torch.Scope) {
		a := s.Floats(x, []int64{n, heads * d}, torch.CPU)
		s.ReadFloats(in.Perturb(s, operation.Inputs, a, nil, rows, 2, 4, site), got)
		s.ReadFloats(in.PerturbKV(s, s.View(a, n, heads, d), rows, site), cached)
	})
	want := make([]float32, heads*d)
	for i := range 2 {
		group := [][2]int{{0, 3}, {3, 4}}[i]
		negate{}.PerturbRow(want, operation.Rows{Values: x, D: heads * d, Group: group}, 2+i)
		if !slices.Equal(want, got[i*heads*d:(i+1)*heads*d]) {
			t.Errorf("row %d is %v, want %v", 2+i, got[i*heads*d:(i+1)*heads*d], want)
		}
	}
	for r := range n * heads {
		group := [2]int{0, 3 * heads}
		if r >= 3*heads {
			group = [2]int{r / heads * heads, (r/heads + 1) * heads}
		}
		negate{}.PerturbRow(want[:d], operation.Rows{Values: x, D: d, Group: group}, r)
		if !slices.Equal(want[:d], cached[r*d:(r+1)*d]) {
			t.Errorf("head %d of row %d is %v, want %v", r%heads, r/heads, cached[r*d:(r+1)*d], want[:d])
		}
	}
	if e := in.Effect(); len(e) != 2 || e[0].Elements != 2*heads*d || e[1].Elements != 4*heads*d || e[0].Changed == 0 {
		t.Errorf("effect %+v, want two places, and no dead row in them", e)
	}
}

// TestStaticRangesComeFromTheSite gives a static quantiser the range of each site, and refuses a site that has none.
func TestStaticRangesComeFromTheSite(t *testing.T) {
	t.Parallel()
	w := start(t, 1)
	part := condition.Part{Kind: "int", Operation: &operation.Int{Bits: 8, Static: true}}
	ranges := func(_ operation.Place, site uint32) (operation.Range, bool) {
		return operation.Range{Lo: -float32(site), Hi: 1}, site < 9
	}
	in := NewInjector(condition.Noise{Activations: part, KV: part}, false).With(ranges)
	x, rows := pass(3, 4, 8)
	rows.Together(4)
	for _, site := range []uint32{2, 7, 9} {
		got, want := make([]float32, len(x)), make([]float32, len(x))
		err := w.Do(func(s *torch.Scope) error {
			y := in.Perturb(s, operation.Inputs, s.Floats(x, []int64{4, 8}, torch.CPU), nil, rows, 0, 4,
				Site{ID: site, Name: "q"})
			if s.Err() == nil {
				s.ReadFloats(y, got)
			}
			// After an error there is no tensor, and nothing looks into it.
			y = in.Perturb(s, operation.Inputs, y, nil, rows, 0, 4, Site{ID: 2, Name: "after"})
			in.PerturbKV(s, s.View(y, 4, 2, 4), rows, Site{ID: 2, Name: "cache"})
			return s.Err()
		})
		if site == 9 {
			if err == nil || !strings.Contains(err.Error(), "activations int8 static at q: no calibration prompt") {
				t.Errorf("no range: %v", err)
			}
			continue
		}
		(&operation.Int{Bits: 8, Range: float64(site)}).PerturbRow(want, operation.Rows{Values: x, D: len(x)}, 0)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("site %d: %v (%v), want %v", site, got, err, want)
		}
	}
}

// TestWeightsWithoutAKernel takes an operation to parameters on the host, in the parameters' own type.
func TestWeightsWithoutAKernel(t *testing.T) {
	t.Parallel()
	w := start(t, 1)
	noise := condition.Noise{Weights: condition.Part{Kind: "half", Operation: half{}}, Scope: "all"}
	for _, dt := range []torch.DType{torch.Float32, torch.BFloat16} {
		got := make([]float32, 6)
		do(t, w, func(s *torch.Scope) {
			dense := s.To(s.Floats([]float32{1, 2, 3, 4, 5, 6}, []int64{2, 3}, torch.CPU), dt)
			e, err := PerturbWeights(s, noise, []Param{{
				Name:   "a.weight",
				Change: func(_ *torch.Scope, f func(torch.Tensor)) { f(dense) },
			}},
				func(string) philox.Key { return 0 }, false)
			if err != nil || len(e) != 1 || e[0].Elements != 6 || e[0].Changed != 6 {
				t.Errorf("effect %+v, %v", e, err)
			}
			s.ReadFloats(dense, got)
		})
		if want := []float32{0.5, 1, 1.5, 2, 2.5, 3}; !slices.Equal(want, got) {
			t.Errorf("%v, want %v", got, want)
		}
	}
}

type half struct{ operation.Operation }

func (half) Random() bool { return false }

func (half) PerturbWeight(w operation.Weight) (t operation.Tally) {
	for i, v := range w.Values {
		w.Values[i] = v / 2
		t.Changed++
		t.Noise2 += float64(v) * float64(v) / 4
	}
	return t
}

// TestFirstTokensAreLeftOutOfTheSpread makes the first tokens of two sequences of a batch sinks. Left out, they do not
// size the noise of the others, nor their own, and a sequence in a batch has the spread that it has alone, on the host
// and on a device; a sequence of a single token has its own.
func TestFirstTokensAreLeftOutOfTheSpread(t *testing.T) {
	t.Parallel()
	w := start(t, 2)
	const n, d = 7, 48
	x, rows := pass(9, n, d)
	rows.Groups = []int32{0, 3, 5, 6, 7} // prompts of three, two and one token, and a decoded position
	copy(rows.Positions, []uint32{0, 1, 2, 0, 1, 0, 9})
	for _, first := range []int{0, 3} {
		for j := range d {
			x[first*d+j] *= 1000
		}
	}
	std := func(from, to int) float64 { return float64(operation.RangeOf(x[from*d : to*d]).Std) }
	want := []float64{std(1, 3), std(1, 3), std(1, 3), std(4, 5), std(4, 5), std(5, 6), std(6, 7)}
	noise := condition.Noise{Kind: condition.Activation, Scale: 0.3, Per: operation.ButFirst}
	added, spread := perturb(t, w, NewInjector(noise, false), x, rows, 0, n, Site{ID: 11})
	for i, v := range want {
		near(t, "a row's spread", v, float64(spread[i]), 1e-5)
	}
	do(t, w, func(s *torch.Scope) {
		rows.At = PlaceRows(s, rows, torch.CPU, 1)
		y := make([]float32, n*d)
		s.ReadFloats(NewInjector(noise, false).Perturb(s, operation.Inputs, s.Floats(x, []int64{n, d}, torch.CPU), nil,
			rows, 0, n, Site{ID: 11}), y)
		for i := range y {
			if got := float64(y[i]) - float64(x[i]); math.Abs(got-added[i]) > 1e-5*math.Max(1, math.Abs(float64(x[i]))) {
				t.Fatalf("row %d, element %d: a device adds %v, the host %v", i/d, i%d, got, added[i])
			}
		}
		rows.At = nil
	})
	tensor := noise
	tensor.Per = ""
	_, spread = perturb(t, w, NewInjector(tensor, false), x, rows, 0, n, Site{ID: 11})
	if float64(spread[1]) < 100*want[1] {
		t.Errorf("with the sink the spread is %v, without it %v", spread[1], want[1])
	}
}
