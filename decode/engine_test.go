package decode

import (
	"context"
	"errors"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/gsmeval/gsmeval/decode/model"
	"github.com/gsmeval/gsmeval/internal/condition"
	"github.com/gsmeval/gsmeval/internal/finish"
	"github.com/gsmeval/gsmeval/internal/torch"
	"github.com/gsmeval/gsmeval/noise"
	"github.com/gsmeval/gsmeval/noise/philox"
)

// list hands out requests in order, with their index as the tag.
func list(reqs ...*Request) Source[any] {
	i := 0
	return func() (*Request, any, bool) {
		if i == len(reqs) {
			return nil, nil, false
		}
		i++
		return reqs[i-1], i - 1, true
	}
}

// under decodes the requests under an injector's noise on a fresh engine.
func under(t testing.TB, f *fixture, o Options, in *noise.Injector, reqs ...*Request) []Completion {
	t.Helper()
	e := engine(t, f, o)
	out := make([]Completion, len(reqs))
	if err := Generate(context.Background(), e, in, list(reqs...), func(tag any, r Completion) error {
		out[tag.(int)] = r
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

func engine(t testing.TB, f *fixture, o Options) *Engine {
	t.Helper()
	e, err := NewEngine(f.worker, f.model, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

// prompt is n token ids that depend on salt.
func prompt(f *fixture, n, salt int) []int {
	ids := make([]int, n)
	for i := range ids {
		ids[i] = (i*31 + salt*17 + 5) % f.model.Config.VocabSize
	}
	return ids
}

// overwrite changes a parameter of the model until the test ends.
func overwrite(t testing.TB, f *fixture, name string, change func([]float32)) {
	t.Helper()
	if err := f.worker.Do(func(s *torch.Scope) error {
		_, err := f.model.Perturb(s, func(s *torch.Scope, params []noise.Param) (condition.Effect, error) {
			i := slices.IndexFunc(params, func(p noise.Param) bool { return p.Name == name })
			if i < 0 {
				return nil, errors.New("no parameter " + name)
			}
			params[i].Change(s, func(w torch.Tensor) { change(s.FloatView(w)) })
			return nil, nil
		})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.worker.Do(f.model.Restore); err != nil {
			t.Error(err)
		}
	})
}

// sameResults compares every field; NaN equals NaN.
func sameResults(t *testing.T, what string, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateNaNs(), cmpopts.EquateErrors()); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestFinish(t *testing.T) {
	f := load(t, "qwen2-tied-gqa2")
	req := &Request{Prompt: prompt(f, 9, 1), MaxNew: 30, Schedule: condition.ConstantT(1), SampleKey: 5, Logprobs: true}
	long := under(t, f, Options{Slots: 2, Capacity: 39}, nil, req)[0] // just fits
	if long.Finish != finish.Length || len(long.IDs) != 30 || len(long.Logprobs) != 30 {
		t.Fatalf("%s after %d tokens and %d log probabilities, want length after 30", long.Finish, len(long.IDs),
			len(long.Logprobs))
	}
	at := 11
	for slices.Index(long.IDs, long.IDs[at]) != at {
		at++
	}
	ends := func(id int) bool { return id == long.IDs[at] }
	stopped := under(t, f, Options{Slots: 2, Capacity: 39, Ends: ends}, nil, req)[0]
	if stopped.Finish != finish.Stop {
		t.Errorf("finish %s, want stop", stopped.Finish)
	}
	// The end token belongs to what was generated, and what came before it is what would have been generated without
	// it.
	sameResults(t, "tokens up to the end token", long.IDs[:at+1], stopped.IDs)
	sameResults(t, "their log probabilities", long.Logprobs[:at+1], stopped.Logprobs)

	// An end token at the limit is an end, not a truncation.
	exact := *req
	exact.MaxNew = at + 1
	if r := under(t, f, Options{Slots: 1, Capacity: 39, Ends: ends}, nil, &exact)[0]; r.Finish != finish.Stop ||
		len(r.IDs) != at+1 {
		t.Errorf("an end token at the limit: %s after %d tokens, want stop after %d", r.Finish, len(r.IDs), at+1)
	}
	first := under(t, f, Options{Slots: 1, Capacity: 39, Ends: func(int) bool { return true }}, nil, req)[0]
	if first.Finish != finish.Stop || len(first.IDs) != 1 {
		t.Errorf("an end token at once: %s after %d tokens, want stop after 1", first.Finish, len(first.IDs))
	}
	one := *req
	one.MaxNew, one.Logprobs = 1, false
	if r := under(t, f, Options{Slots: 1, Capacity: 39}, nil, &one)[0]; r.Finish != finish.Length || len(r.IDs) != 1 ||
		r.Logprobs != nil {
		t.Errorf("one token: %s after %d tokens, log probabilities %v", r.Finish, len(r.IDs), r.Logprobs)
	}
}

func TestTemperaturesAreAccountedFor(t *testing.T) {
	f := load(t, "qwen2-tied-gqa2")
	req := func(s condition.Schedule) *Request {
		return &Request{Prompt: prompt(f, 4, 2), MaxNew: 6, Schedule: s, SampleKey: 9}
	}
	type temperatures struct{ Min, Max, Mean float64 }
	nan := math.NaN()
	for _, c := range []struct {
		name     string
		schedule condition.Schedule
		stopAt   int // tokens until an end token; 0: none
		want     temperatures
	}{
		{"greedy", condition.Greedy(), 0, temperatures{nan, nan, nan}},
		{"constant", condition.ConstantT(0.75), 0, temperatures{0.75, 0.75, 0.75}},
		{"falling", condition.Schedule{T: []float64{1.5, 1.25, 1}}, 0, temperatures{1, 1.5, (1.5 + 1.25 + 4) / 6}},
		{
			"longer than the text",
			condition.Schedule{T: []float64{1, 2, 4, 8, 16, 32, 64, 128}},
			0,
			temperatures{1, 32, 63.0 / 6},
		},
		{"stopped", condition.Schedule{T: []float64{1, 2, 4, 8}}, 2, temperatures{1, 2, 1.5}},
		{"stopped at once", condition.Schedule{T: []float64{3, 2}}, 1, temperatures{3, 3, 3}},
	} {
		var calls atomic.Int32
		o := Options{Slots: 1, Capacity: 10, Ends: func(int) bool { return int(calls.Add(1)) == c.stopAt }}
		r := under(t, f, o, nil, req(c.schedule))[0]
		sameResults(t, c.name, c.want, temperatures{r.TMin, r.TMax, r.TMean})
	}
}

func TestSequencesShareABatchWhateverTheirSchedules(t *testing.T) {
	f := load(t, "qwen2-gqa7-theta1e6")
	var reqs []*Request
	for i, s := range []condition.Schedule{
		condition.Greedy(), condition.ConstantT(1), condition.ConstantT(2.5),
		{T: []float64{2, 0.5}},
		condition.Greedy(),
	} {
		reqs = append(reqs, &Request{
			Prompt: prompt(f, 3+4*i, i), MaxNew: 12 + 3*i, Schedule: s, SampleKey: 3,
			Logprobs: true,
		})
	}
	reqs[3].Filter = Filter{TopK: 5}
	reqs[4].Filter = Filter{RepetitionPenalty: 1.4}
	o := Options{Slots: 4, Capacity: 60}
	together := under(t, f, o, nil, reqs...)
	for i, r := range reqs {
		sameResults(t, "a request alone and with others", under(t, f, o, nil, r)[0], together[i])
	}
	// A penalty for what was said changes what is said, greedily too.
	plain := *reqs[4]
	plain.Filter = Filter{}
	if slices.Equal(under(t, f, o, nil, &plain)[0].IDs, together[4].IDs) {
		t.Error("the repetition penalty changed nothing")
	}
}

func TestNonfiniteFromTheFirstToken(t *testing.T) {
	for _, bad := range []float64{math.NaN(), math.Inf(1), math.MaxFloat32} {
		f := load(t, "qwen2-untied-gqa1")
		overwrite(t, f, "model.norm.weight", func(w []float32) {
			for i := range w {
				w[i] = float32(bad)
			}
		})
		for name, s := range map[string]condition.Schedule{
			"greedy":  condition.Greedy(),
			"sampled": condition.ConstantT(1),
		} {
			req := &Request{Prompt: prompt(f, 5, 1), MaxNew: 8, Schedule: s, Logprobs: true}
			for _, r := range under(t, f, Options{Slots: 1, Capacity: 20}, nil, req, req) {
				nan := math.NaN()
				sameResults(t, name, Completion{Finish: finish.Nonfinite, TMin: nan, TMax: nan, TMean: nan}, r)
			}
		}
	}
}

// TestNonfiniteEndsOneSequenceOnly gives one token an embedding that is not a number: the sequence that says it ends
// there, with what it had, its neighbours and whoever gets its slot go on as if nothing had been.
func TestNonfiniteEndsOneSequenceOnly(t *testing.T) {
	f := load(t, "qwen2-untied-gqa1")
	request := func(salt int) *Request {
		return &Request{
			Prompt: prompt(f, 6, salt), MaxNew: 25, Schedule: condition.ConstantT(1.5), SampleKey: 4,
			Logprobs: true,
		}
	}
	o := Options{Slots: 2, Capacity: 40}
	reqs := []*Request{request(1), request(2), request(3), request(4)}
	clean := under(t, f, o, nil, reqs...)
	says := func(i, id int) bool { return slices.Contains(reqs[i].Prompt, id) || slices.Contains(clean[i].IDs, id) }
	at := slices.IndexFunc(clean[0].IDs, func(id int) bool {
		return !slices.Contains(reqs[0].Prompt, id) && !says(1, id) && !says(2, id) && !says(3, id)
	})
	if at < 1 || at > 22 {
		t.Fatalf("no token that only the first sequence says (%d)", at)
	}
	poison, d := clean[0].IDs[at], f.model.Config.HiddenSize
	overwrite(t, f, "model.embed_tokens.weight", func(w []float32) {
		for i := range d {
			w[poison*d+i] = float32(math.NaN())
		}
	})
	got := under(t, f, o, nil, reqs...)
	r := got[0]
	if r.Finish != finish.Nonfinite || r.TMin != 1.5 || r.TMax != 1.5 || r.TMean != 1.5 {
		t.Errorf("finish %s with temperatures %v, %v, %v, want nonfinite and 1.5", r.Finish, r.TMin, r.TMax, r.TMean)
	}
	sameResults(t, "tokens until the poisoned one", clean[0].IDs[:at+1], r.IDs)
	sameResults(t, "their log probabilities", clean[0].Logprobs[:at+1], r.Logprobs)
	sameResults(t, "the other sequences", clean[1:], got[1:])
}

func TestNonfiniteByHugeWeightNoise(t *testing.T) {
	f := load(t, "qwen2-tied-gqa2")
	// Norms between layers would make huge weights harmless; the last one stands before the logits alone.
	spec := condition.Noise{Kind: condition.Weight, Scale: 1e39, Include: []string{"model.norm.weight"}}
	programWeights(t, f, spec, 0)
	r := under(t, f, Options{Slots: 1, Capacity: 20}, nil, &Request{
		Prompt: prompt(f, 5, 1), MaxNew: 8,
		Schedule: condition.ConstantT(1),
	})[0]
	if r.Finish != finish.Nonfinite || len(r.IDs) != 0 {
		t.Errorf("%s after %d tokens, want nonfinite after none", r.Finish, len(r.IDs))
	}
}

func TestCancelledBetweenTwoSteps(t *testing.T) {
	f := load(t, "qwen2-tied-gqa2")
	for _, recompute := range []bool{false, true} {
		reqs := []*Request{
			{Prompt: prompt(f, 8, 1), MaxNew: 40, Schedule: condition.ConstantT(1), SampleKey: 1},
			{Prompt: prompt(f, 5, 2), MaxNew: 40, Schedule: condition.ConstantT(1), SampleKey: 2},
			{Prompt: prompt(f, 3, 3), MaxNew: 40, Schedule: condition.ConstantT(1), SampleKey: 3},
		}
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		var tokens atomic.Int32
		const enough = 12
		e := engine(t, f, Options{Slots: 3, Capacity: 50, Recompute: recompute, Ends: func(int) bool {
			if tokens.Add(1) == enough {
				cancel()
			}
			return false
		}})
		err := Generate(ctx, e, nil, list(reqs...), func(any, Completion) error {
			t.Error("an unfinished sequence was handed over")
			return nil
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want context.Canceled", err)
		}
		if n := tokens.Load(); n >= enough+3 {
			t.Errorf("%d tokens were chosen, %d of them after the step that was cancelled in", n, n-enough)
		}
		want := generate(t, f.worker, f.model, Options{Slots: 3, Capacity: 50, Recompute: recompute}, reqs...)
		var again []Completion
		order := map[int]int{}
		if err := Generate(t.Context(), e, nil, list(reqs...), func(tag any, r Completion) error {
			order[tag.(int)] = len(again)
			again = append(again, r)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		// Three results, not the cancelled ones too.
		if len(again) != len(reqs) || len(order) != len(reqs) {
			t.Fatalf("%d results after a cancelled generation, want %d", len(again), len(reqs))
		}
		for i, r := range want {
			sameResults(t, "a request after a cancelled generation", r, again[order[i]])
		}

		// Cancelled while prompts are taken up: no more are asked for.
		ctx, cancel = context.WithCancel(context.Background())
		defer cancel()
		asked := 0
		err = Generate(ctx, e, nil, func() (*Request, any, bool) {
			asked++
			if asked == 2 {
				cancel()
			}
			return reqs[0], nil, true
		}, func(any, Completion) error { return nil })
		if !errors.Is(err, context.Canceled) || asked != 2 {
			t.Errorf("error %v after %d requests, want context.Canceled after 2", err, asked)
		}
		if err := Generate(ctx, e, nil, func() (*Request, any, bool) {
			t.Error("a cancelled generation asked for a request")
			return nil, nil, false
		}, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled from the start: %v", err)
		}
	}
}

func TestImpossibleRequestsAreErrors(t *testing.T) {
	f := load(t, "qwen2-tied-gqa2")
	v := f.model.Config.VocabSize
	e := engine(t, f, Options{Slots: 2, Capacity: 20})
	good := &Request{Prompt: []int{0, v - 1}, MaxNew: 18, Schedule: condition.ConstantT(1)}
	want := collect(t, e, good)
	for name, c := range map[string]struct {
		req  Request
		want string
	}{
		"empty prompt":        {Request{MaxNew: 1}, "without tokens"},
		"nothing to generate": {Request{Prompt: []int{1}}, "limit of 0 new tokens"},
		"negative limit":      {Request{Prompt: []int{1}, MaxNew: -3}, "limit of -3 new tokens"},
		"too long": {
			Request{Prompt: []int{1, 2}, MaxNew: 19},
			"a prompt of 2 tokens with 19 new ones does not fit the 20 positions",
		},
		"long prompt": {Request{Prompt: prompt(f, 25, 0), MaxNew: 1}, "25 tokens"},
		"id too large": {
			Request{Prompt: []int{1, v, 2}, MaxNew: 1},
			"token id 160 is outside the model's vocabulary of 160",
		},
		"negative id": {Request{Prompt: []int{-1}, MaxNew: 1}, "token id -1"},
	} {
		err := Generate(context.Background(), e, nil, list(good, &c.req), func(any, Completion) error { return nil })
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, c.want)
		}
		sameResults(t, name+": the engine afterwards", want, collect(t, e, good))
	}
	for _, o := range []Options{{Slots: 0, Capacity: 9}, {Slots: -1, Capacity: 9}, {Slots: 1, Capacity: 1}} {
		if _, err := NewEngine(f.worker, f.model, o); err == nil || !strings.Contains(err.Error(), "too small") {
			t.Errorf("an engine of %d slots and %d positions: %v", o.Slots, o.Capacity, err)
		}
	}
	if _, err := NewEngine(f.worker, f.model, Options{Slots: 1, Capacity: 1025}); err == nil ||
		!strings.Contains(err.Error(), "1024 positions") {
		t.Errorf("more positions than the model has: %v", err)
	}
}

func TestSinkEndsTheGeneration(t *testing.T) {
	f := load(t, "qwen2-tied-gqa2")
	e := engine(t, f, Options{Slots: 2, Capacity: 20})
	req := func(n int) *Request {
		return &Request{Prompt: prompt(f, 3, n), MaxNew: n, Schedule: condition.ConstantT(1)}
	}
	full := errors.New("no space left on device")
	taken := 0
	if err := Generate(context.Background(), e, nil, list(req(9), req(4), req(5), req(2)), func(any, Completion) error {
		taken++
		return full
	}); !errors.Is(err, full) || taken != 1 {
		t.Errorf("error %v after %d results, want the sink's after 1", err, taken)
	}
	if err := Generate(context.Background(), e, nil, list(), nil); err != nil {
		t.Errorf("no requests: %v", err)
	}
	tags := map[any]int{}
	names := []string{"a", "b", "c", "d", "e"}
	i := 0
	if err := Generate(context.Background(), e, nil, func() (*Request, any, bool) {
		if i == len(names) {
			return nil, nil, false
		}
		i++
		return req(2 + (i*5)%7), names[i-1], true
	}, func(tag any, r Completion) error {
		tags[tag] = len(r.IDs)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[any]int{"a": 7, "b": 5, "c": 3, "d": 8, "e": 6}, tags); diff != "" {
		t.Errorf("tokens by tag (-want +got):\n%s", diff)
	}
}

// TestFailedOperationIsTheSamples lets sequences run past the cache's end: the operation's error is theirs, and those
// that follow are as ever.
func TestFailedOperationIsTheSamples(t *testing.T) {
	f := load(t, "qwen2-tied-gqa2")
	e := engine(t, f, Options{Slots: 1, Capacity: 20})
	good := &Request{Prompt: prompt(f, 4, 1), MaxNew: 16, Schedule: condition.ConstantT(1), Logprobs: true}
	want := collect(t, e, good)[0]
	e.opt.Capacity = 100 // more than was reserved
	late := *good
	late.MaxNew = 30
	early := &Request{Prompt: prompt(f, 21, 2), MaxNew: 5, Schedule: condition.ConstantT(1)}
	got := collect(t, e, &late, good, early, good)
	for i, tokens := range map[int]int{0: 17, 2: 0} { // the 17th token comes of position 19, the last that there is
		r := got[i]
		if r.Finish != finish.Failed || r.Err == nil || !strings.Contains(r.Err.Error(), "libtorch ") ||
			len(r.IDs) != tokens {
			t.Errorf("sequence %d: %s after %d tokens, error %v, want a failed operation after %d", i, r.Finish,
				len(r.IDs), r.Err, tokens)
		}
	}
	sameResults(t, "tokens before the failure", want.IDs, got[0].IDs[:16])
	sameResults(t, "the sequence after a failed step", want, got[1])
	sameResults(t, "the sequence after a failed prompt", want, got[3])
}

func BenchmarkDecodeStep(b *testing.B) {
	dir := filepath.Join("..", "models", "gsm-tiny")
	if m, err := filepath.Glob(filepath.Join(dir, "*.safetensors")); err != nil || len(m) == 0 {
		b.Skipf("%s has no weights", dir)
	}
	f := &fixture{}
	f.worker, f.model = open(b, dir, 0, model.Options{DType: torch.Float32, Device: torch.CPU})
	spec := condition.Noise{Kind: condition.Activation, Scale: 0.05}
	for _, c := range []struct {
		name  string
		slots int
		in    *noise.Injector
	}{
		{"slots=1/clean", 1, nil},
		{"slots=1/noise", 1, noise.NewInjector(spec, false)},
		{"slots=8/clean", 8, nil},
		{"slots=8/noise", 8, noise.NewInjector(spec, false)},
		{"slots=32/clean", 32, nil},
		{"slots=32/noise", 32, noise.NewInjector(spec, false)},
	} {
		b.Run(c.name, func(b *testing.B) {
			const length = 200
			e := engine(b, f, Options{Slots: c.slots, Capacity: 50 + length})
			for i := range c.slots {
				req := &Request{
					Prompt: prompt(f, 50, i), MaxNew: length, Schedule: condition.ConstantT(1),
					SampleKey: 1,
				}
				if err := e.start(i, -1, req, c.in, nil); err != nil {
					b.Fatal(err)
				}
			}
			for b.Loop() {
				for i := range e.slots { // always about the same length of context
					if sl := &e.slots[i]; sl.pos >= 150 {
						sl.pos, sl.res.IDs = 100, sl.res.IDs[:50]
					}
				}
				if err := e.step(c.in, nil); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(c.slots*b.N)/b.Elapsed().Seconds(), "tokens/s")
		})
	}
}

// draws are the keys of a sample whose noise has one key in every place.
func draws(key philox.Key) noise.Draws { return noise.Draws{Inputs: key, Outputs: key, KV: key} }
