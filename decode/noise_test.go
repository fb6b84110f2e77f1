package decode

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gsmeval/gsmeval/decode/checkpoint"
	"github.com/gsmeval/gsmeval/decode/model"
	"github.com/gsmeval/gsmeval/internal/condition"
	"github.com/gsmeval/gsmeval/internal/torch"
	"github.com/gsmeval/gsmeval/noise"
	"github.com/gsmeval/gsmeval/noise/operation"
	"github.com/gsmeval/gsmeval/noise/philox"
)

// programWeights perturbs the weights until the test ends.
func programWeights(t testing.TB, f *fixture, spec condition.Noise, replicate int) condition.Effect {
	t.Helper()
	var effect condition.Effect
	if err := f.worker.Do(func(s *torch.Scope) (err error) {
		effect, err = f.model.Perturb(s, func(s *torch.Scope, params []noise.Param) (condition.Effect, error) {
			return noise.PerturbWeights(s, spec, params, func(name string) philox.Key {
				return philox.NewKey(philox.Weight, 42, replicate, name)
			}, false)
		})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { restore(t, f) })
	return effect
}

func restore(t testing.TB, f *fixture) {
	t.Helper()
	if err := f.worker.Do(f.model.Restore); err != nil {
		t.Error(err)
	}
}

func hashes(t testing.TB, f *fixture) map[string]uint64 {
	t.Helper()
	var h map[string]uint64
	if err := f.worker.Do(func(s *torch.Scope) error {
		h = f.model.Hashes(s)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return h
}

var activation = condition.Noise{Kind: condition.Activation, Scale: 0.1}

// TestNoiseIsUndoneBitExactly hashes every parameter before, during and after each kind of noise.
func TestNoiseIsUndoneBitExactly(t *testing.T) {
	specs := map[string]condition.Noise{
		"weight":         {Kind: condition.Weight, Scale: 0.1},
		"weight, tiny":   {Kind: condition.Weight, Scale: 1e-6},
		"weight, rows":   {Kind: condition.Weight, Scale: 0.1, Per: "row", RelativeTo: "absmax"},
		"weight, filter": {Kind: condition.Weight, Scale: 0.1, Include: []string{"mlp"}, Exclude: []string{"up_proj"}},
		"combined":       {Kind: condition.Combined, WeightScale: 0.1, ActivationScale: 0.1},
		"activation":     activation,
		"output":         {Kind: condition.Output, Scale: 0.1},
	}
	for _, name := range parityCases(t) {
		f := load(t, name)
		before := hashes(t, f)
		if len(before) < 14 { // phi3 has q, k and v in one
			t.Fatalf("%s: %d parameters", name, len(before))
		}
		req := &Request{Prompt: prompt(f, 6, 1), MaxNew: 4, Schedule: condition.ConstantT(1), Logprobs: true}
		clean := under(t, f, Options{Slots: 1, Capacity: 20}, nil, req)
		for kind, spec := range specs {
			if spec.On(operation.Weights) {
				programWeights(t, f, spec, 0)
				for p, h := range hashes(t, f) {
					// The bundled norms of these checkpoints are not constant: every weight that is touched changes.
					touched := strings.Contains(p, "weight") && spec.TouchesWeight(p, true)
					if (h != before[p]) != touched {
						t.Errorf("%s, %s: %s changed: %v, want %v", name, kind, p, h != before[p], touched)
					}
				}
			}
			noisy := under(t, f, Options{Slots: 1, Capacity: 20}, noise.NewInjector(spec, false), req)
			if slices.Equal(noisy[0].Logprobs, clean[0].Logprobs) {
				t.Errorf("%s, %s: the noise did not reach the logits", name, kind)
			}
			restore(t, f)
			if diff := cmp.Diff(before, hashes(t, f)); diff != "" {
				t.Errorf("%s, %s: parameters are not what they were (-before +after):\n%s", name, kind, diff)
			}
			sameResults(t, name+", "+kind+": results after the noise", clean,
				under(t, f, Options{Slots: 1, Capacity: 20}, nil, req))
		}
	}
}

func TestWeightNoiseReplacesWeightNoise(t *testing.T) {
	f := load(t, "qwen2-untied-gqa1")
	before := hashes(t, f)
	spec := condition.Noise{Kind: condition.Weight, Scale: 0.1}
	programWeights(t, f, spec, 1)
	want := hashes(t, f)
	programWeights(t, f, spec, 0)
	if maps.Equal(want, hashes(t, f)) {
		t.Error("two noise seeds give the same weights")
	}
	programWeights(t, f, spec, 1) // without a Restore in between
	if diff := cmp.Diff(want, hashes(t, f)); diff != "" {
		t.Errorf("a chip programmed over another is not itself (-want +got):\n%s", diff)
	}
	// A perturbation that fails half way is undone like any other.
	failed := errors.New("half way")
	if err := f.worker.Do(func(s *torch.Scope) error {
		_, err := f.model.Perturb(s, func(s *torch.Scope, params []noise.Param) (condition.Effect, error) {
			params[3].Change(s, func(w torch.Tensor) { s.WeightNoise(w, 1, false, false, 1, false) })
			return nil, failed
		})
		return err
	}); !errors.Is(err, failed) {
		t.Fatalf("error %v", err)
	}
	restore(t, f)
	if diff := cmp.Diff(before, hashes(t, f)); diff != "" {
		t.Errorf("after a failed perturbation (-want +got):\n%s", diff)
	}
}

func TestWeightNoiseIsUndoneInHalfPrecision(t *testing.T) {
	dir := filepath.Join("testdata", "parity", "qwen2-tied-gqa2")
	cfg, err := checkpoint.ReadConfig(dir)
	if err != nil {
		t.Fatal(err)
	}
	weights, err := checkpoint.OpenWeights(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := weights.Close(); err != nil {
			t.Error(err)
		}
	}()
	w, err := torch.Start(1)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for _, dt := range []torch.DType{torch.BFloat16, torch.Float16} {
		if err := w.Do(func(s *torch.Scope) error {
			m, err := model.Load(s, cfg, weights, model.Options{DType: dt, Device: torch.CPU})
			if err != nil {
				return err
			}
			defer m.Free()
			before := m.Hashes(s)
			effect, err := m.Perturb(s, func(s *torch.Scope, params []noise.Param) (condition.Effect, error) {
				return noise.PerturbWeights(s, condition.Noise{Kind: condition.Weight, Scale: 0.1}, params,
					func(string) philox.Key { return 1 }, false)
			})
			if err != nil {
				return err
			}
			if r := effect.Total().Ratio(); math.Abs(r-0.1) > 0.005 {
				t.Errorf("%v: the noise is %v of the spread, want 0.1", dt, r)
			}
			if maps.Equal(before, m.Hashes(s)) {
				t.Errorf("%v: nothing changed", dt)
			}
			if err := m.Restore(s); err != nil {
				return err
			}
			if diff := cmp.Diff(before, m.Hashes(s)); diff != "" {
				t.Errorf("%v: parameters are not what they were:\n%s", dt, diff)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
}

// TestNoiseTouchesEveryLinearAndEveryWeight counts sites, parameters and elements of one pass over a prompt.
func TestNoiseTouchesEveryLinearAndEveryWeight(t *testing.T) {
	for _, name := range []string{"qwen2-tied-gqa2", "qwen2-headdim"} {
		f := load(t, name)
		c := f.model.Config
		n, q, kv := int64(7), c.NumHeads*c.HeadDim, c.NumKVHeads*c.HeadDim
		for _, kind := range []string{condition.Activation, condition.Output} {
			want := condition.Effect{}
			for layer := range c.NumLayers {
				for _, l := range []struct {
					name    string
					in, out int
				}{
					{"self_attn.q_proj", c.HiddenSize, q},
					{"self_attn.k_proj", c.HiddenSize, kv},
					{"self_attn.v_proj", c.HiddenSize, kv},
					{"self_attn.o_proj", q, c.HiddenSize},
					{"mlp.gate_proj", c.HiddenSize, c.IntermediateSize},
					{"mlp.up_proj", c.HiddenSize, c.IntermediateSize},
					{"mlp.down_proj", c.IntermediateSize, c.HiddenSize},
				} {
					width := map[string]int{condition.Activation: l.in, condition.Output: l.out}[kind]
					want = append(want, condition.SiteEffect{
						Name:     fmt.Sprintf("model.layers.%d.%s", layer, l.name),
						Elements: n * int64(width),
					})
				}
			}
			// Only the last row of the head is projected, and so perturbed.
			want = append(want, condition.SiteEffect{
				Name: "lm_head",
				Elements: int64(map[string]int{
					condition.Activation: c.HiddenSize,
					condition.Output:     c.VocabSize,
				}[kind]),
			})
			in := noise.NewInjector(condition.Noise{Kind: kind, Scale: 0.1}, false)
			r := under(t, f, Options{Slots: 3, Capacity: 20}, in, &Request{Prompt: prompt(f, int(n), 1), MaxNew: 1})[0]
			got := in.Effect()
			total := got.Total()
			if r.Effect.Elements != total.Elements || math.Abs(r.Effect.Noise2/total.Noise2-1) > 1e-12 ||
				math.Abs(r.Effect.Spread2/total.Spread2-1) > 1e-12 {
				t.Errorf("%s, %s: the sequence reports %d elements, noise %v, spread %v, the sites %+v", name, kind,
					r.Effect.Elements, r.Effect.Noise2, r.Effect.Spread2, total)
			}
			for i := range got {
				if e := got[i]; math.Abs(e.Ratio()-0.1) > 0.1*max(0.01, 5/math.Sqrt(2*float64(e.Elements))) {
					t.Errorf("%s, %s: %s has noise of %v times its spread, want 0.1", name, kind, e.Name, e.Ratio())
				}
				got[i].Noise2, got[i].Spread2, got[i].Spread4, got[i].Place = 0, 0, 0, ""
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s, %s: sites and elements (-want +got):\n%s", name, kind, diff)
			}
		}
		effect := programWeights(t, f, condition.Noise{Kind: condition.Weight, Scale: 0.1}, 0)
		var names []string
		for _, e := range effect {
			names = append(names, e.Name)
		}
		var want []string
		for p := range hashes(t, f) {
			if strings.HasSuffix(p, ".weight") {
				want = append(want, p)
			}
		}
		slices.Sort(names)
		slices.Sort(want)
		if diff := cmp.Diff(want, names); diff != "" {
			t.Errorf("%s: perturbed parameters (-want +got):\n%s", name, diff)
		}
		// A tied lm_head is the embedding, and is perturbed once.
		if slices.Contains(names, "lm_head.weight") == c.TieEmbeddings {
			t.Errorf("%s: lm_head.weight is perturbed: %v", name, !c.TieEmbeddings)
		}
	}
}

// TestNeighboursDoNotMatterUnderNoise decodes a needle alone, the other slots dead, and among changing neighbours: its
// tokens, the bits of its log probabilities and its noise are the same.
func TestNeighboursDoNotMatterUnderNoise(t *testing.T) {
	f := load(t, "qwen2-gqa7-theta1e6")
	request := func(n, salt, limit int) *Request {
		return &Request{
			Prompt: prompt(f, n, salt), MaxNew: limit, Logprobs: true, Schedule: condition.ConstantT(0.8),
			SampleKey: philox.Key(salt), Draws: draws(philox.Key(100 * salt)),
		}
	}
	for _, kind := range []string{condition.Activation, condition.Output} {
		spec := condition.Noise{Kind: kind, Scale: 0.1}
		e := engine(t, f, Options{Slots: 5, Capacity: 120})
		run := func(in *noise.Injector, reqs ...*Request) []Completion {
			out := make([]Completion, len(reqs))
			if err := Generate(t.Context(), e, in, list(reqs...), func(tag any, r Completion) error {
				out[tag.(int)] = r
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			return out
		}
		in := noise.NewInjector(spec, false)
		alone := run(in, request(23, 1, 40))[0]
		if total := in.Effect().Total(); total.Elements != alone.Effect.Elements {
			t.Errorf("%s: the sites count %d elements, the only sequence has %d: dead slots are counted", kind,
				total.Elements, alone.Effect.Elements)
		}
		clean := run(nil, request(23, 1, 40))[0]
		if slices.Equal(clean.Logprobs, alone.Logprobs) || clean.Effect.Elements != 0 || clean.Effect.Noise2 != 0 {
			t.Fatalf("%s: the noise does nothing", kind)
		}
		for round := range 3 {
			var reqs []*Request
			for i := range 4 + 3*round {
				reqs = append(reqs, request(1+(37*i+11*round)%70, 2+i+round, 5+(13*i)%45))
			}
			at := (5 * round) % len(reqs)
			reqs = slices.Insert(reqs, at, request(23, 1, 40))
			in := noise.NewInjector(spec, false)
			got := run(in, reqs...)
			sameResults(t, fmt.Sprintf("%s, round %d: the needle among its neighbours", kind, round), alone, got[at])
			sum := int64(0)
			for _, r := range got {
				sum += r.Effect.Elements
			}
			if total := in.Effect().Total(); total.Elements != sum {
				t.Errorf("%s, round %d: the sites count %d elements, the sequences %d", kind, round, total.Elements,
					sum)
			}
		}
		// The same text for another example is under other noise.
		other := request(23, 1, 40)
		other.Draws = draws(1)
		if slices.Equal(run(noise.NewInjector(spec, false), other)[0].Logprobs, alone.Logprobs) {
			t.Errorf("%s: another noise key changes nothing", kind)
		}
	}
}

// TestOnePassMeansWhatDecodingMeans teacher-forces a sequence that was decoded under noise: one pass over prompt and
// continuation, the spread over the prompt together and over each later position alone. Calibration relies on it.
func TestOnePassMeansWhatDecodingMeans(t *testing.T) {
	f := load(t, "qwen2-tied-gqa2")
	const n, limit, key = 19, 60, 12345
	for _, kind := range []string{condition.Activation, condition.Output} {
		spec := condition.Noise{Kind: kind, Scale: 0.1}
		req := &Request{
			Prompt: prompt(f, n, 3), MaxNew: limit, Schedule: condition.ConstantT(1), SampleKey: 1,
			Draws: draws(key), Logprobs: true,
		}
		r := under(t, f, Options{Slots: 4, Capacity: n + limit}, noise.NewInjector(spec, false), req)[0]
		ids := append(slices.Clone(req.Prompt), r.IDs[:limit-1]...)
		// logprobs of the generated tokens by one pass, with the spread over the first so many positions together.
		force := func(together int) (logprobs []float64, total condition.SiteEffect) {
			in := noise.NewInjector(spec, false)
			if err := f.worker.Do(func(s *torch.Scope) error {
				kv, err := f.model.NewCache(s, 1, len(ids))
				if err != nil {
					return err
				}
				defer kv.Free()
				b := Prefix(ids, 0)
				b.From = n - 1
				b.Rows = NoiseRows(draws(key), len(ids), 0)
				b.Rows.Together(together)
				z := s.FloatView(f.model.Forward(s, b, kv, in))
				if s.Err() != nil {
					return s.Err()
				}
				v := f.model.Config.VocabSize
				for t, id := range r.IDs {
					row := z[t*v : (t+1)*v]
					top, _ := scan(row)
					logprobs = append(logprobs, logProb(row, top, id))
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			return logprobs, in.Effect().Total()
		}
		distance := func(logprobs []float64) (worst float64) {
			for i := range logprobs {
				worst = max(worst, math.Abs(logprobs[i]-r.Logprobs[i]))
			}
			return worst
		}
		got, total := force(n)
		if d := distance(got); !(d <= tolerance) {
			t.Errorf("%s: log probabilities differ by %v between decoding and one pass", kind, d)
		} else {
			t.Logf("%s: %d log probabilities within %.1e", kind, limit, d)
		}
		if total.Elements != r.Effect.Elements || math.Abs(total.Noise2/r.Effect.Noise2-1) > 1e-4 ||
			math.Abs(total.Spread2/r.Effect.Spread2-1) > 1e-4 {
			t.Errorf("%s: one pass did %+v, decoding %d elements, noise %v, spread %v", kind, total, r.Effect.Elements,
				r.Effect.Noise2, r.Effect.Spread2)
		}
		// The grouping is what does it.
		for _, together := range []int{1, len(ids)} {
			if logprobs, _ := force(together); distance(logprobs) < 10*tolerance {
				t.Errorf("%s: a spread over the first %d positions gives the same", kind, together)
			}
		}
	}
}

// TestRecomputingDrawsFreshNoise holds every step of a decoding without a cache against a pass of its own: the whole
// prefix under the noise of that step, with one spread over all of it.
func TestRecomputingDrawsFreshNoise(t *testing.T) {
	f := load(t, "qwen2-headdim")
	const n, limit, key = 7, 12, 99
	req := &Request{
		Prompt: prompt(f, n, 5), MaxNew: limit, Schedule: condition.ConstantT(1), SampleKey: 2,
		Draws: draws(key), Logprobs: true,
	}
	// A second sequence uses the same place of the cache in turn.
	other := &Request{
		Prompt: prompt(f, 4, 6), MaxNew: limit, Schedule: condition.ConstantT(1), SampleKey: 3,
		Draws: draws(100),
	}
	in := noise.NewInjector(activation, false)
	r := under(t, f, Options{Slots: 2, Capacity: 30, Recompute: true}, in, req, other)[0]
	stale := 0
	for step := range limit {
		ids := append(slices.Clone(req.Prompt), r.IDs[:step]...)
		fresh := logprobUnder(t, f, ids, key, uint32(step), r.IDs[step])
		if fresh != r.Logprobs[step] {
			t.Errorf("step %d: log probability %v, in a pass of its own %v", step, r.Logprobs[step], fresh)
		}
		if step > 0 && logprobUnder(t, f, ids, key, 0, r.IDs[step]) == r.Logprobs[step] {
			stale++
		}
	}
	if stale > 0 {
		t.Errorf("%d of %d steps are under the noise of the first", stale, limit-1)
	}
	cached := under(t, f, Options{Slots: 2, Capacity: 30}, noise.NewInjector(activation, false), req)[0]
	if cached.Logprobs[0] != r.Logprobs[0] {
		t.Error("the first token is under other noise than with a cache")
	}
	if slices.Equal(cached.Logprobs, r.Logprobs) {
		t.Error("decoding with and without a cache is the same experiment")
	}
}

// logprobUnder is the log probability of a token after ids, under one draw of activation noise.
func logprobUnder(t *testing.T, f *fixture, ids []int, key philox.Key, step uint32, next int) (logprob float64) {
	t.Helper()
	if err := f.worker.Do(func(s *torch.Scope) error {
		kv, err := f.model.NewCache(s, 1, len(ids))
		if err != nil {
			return err
		}
		defer kv.Free()
		b := Prefix(ids, 0)
		b.Rows = NoiseRows(draws(key), len(ids), step)
		z := s.FloatView(f.model.Forward(s, b, kv, noise.NewInjector(activation, false)))
		if s.Err() != nil {
			return s.Err()
		}
		top, _ := scan(z)
		logprob = logProb(z, top, next)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return logprob
}

func TestReferenceNoiseDecodesTheSame(t *testing.T) {
	f := load(t, "qwen2-tied-gqa2")
	req := &Request{Prompt: prompt(f, 15, 2), MaxNew: 30, Draws: draws(8), Logprobs: true}
	o := Options{Slots: 2, Capacity: 60}
	fused := under(t, f, o, noise.NewInjector(activation, false), req)[0]
	plain := under(t, f, o, noise.NewInjector(activation, true), req)[0]
	if !slices.Equal(fused.IDs, plain.IDs) {
		t.Fatalf("greedy tokens differ between the two kernels:\n%v\n%v", fused.IDs, plain.IDs)
	}
	for i := range fused.Logprobs {
		if d := math.Abs(fused.Logprobs[i] - plain.Logprobs[i]); !(d <= tolerance) {
			t.Errorf("log probability %d differs by %v", i, d)
		}
	}
}

func TestNoiseOnNothingHasNoEffect(t *testing.T) {
	f := load(t, "qwen2-tied-gqa2")
	spec := condition.Noise{
		Kind: condition.Combined, WeightScale: 0.1, ActivationScale: 0.1,
		Include: []string{"no_such_proj"},
	}
	if err := f.worker.Do(func(s *torch.Scope) error {
		_, err := f.model.Perturb(s, func(s *torch.Scope, params []noise.Param) (condition.Effect, error) {
			return noise.PerturbWeights(s, spec, params, func(string) philox.Key { return 1 }, false)
		})
		return err
	}); !errors.Is(err, condition.ErrNoEffect) {
		t.Errorf("weights: error %v, want ErrNoEffect", err)
	}
	restore(t, f)
	in := noise.NewInjector(spec, false)
	r := under(t, f, Options{Slots: 1, Capacity: 20}, in, &Request{Prompt: prompt(f, 5, 1), MaxNew: 5})[0]
	if err := in.Effect().Check(); !errors.Is(err, condition.ErrNoEffect) || r.Effect.Elements != 0 {
		t.Errorf("activations: error %v after %d elements, want ErrNoEffect after none", err, r.Effect.Elements)
	}
	// One site is enough.
	spec.Include = []string{"model.layers.2.mlp.down_proj"}
	in = noise.NewInjector(spec, false)
	under(t, f, Options{Slots: 1, Capacity: 20}, in, &Request{Prompt: prompt(f, 5, 1), MaxNew: 5})
	if e := in.Effect(); len(e) != 1 || e.Check() != nil {
		t.Errorf("one included site: %+v, %v", e, e.Check())
	}
}
