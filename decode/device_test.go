package decode

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gsmeval/gsmeval/decode/model"
	"github.com/gsmeval/gsmeval/internal/condition"
	"github.com/gsmeval/gsmeval/internal/finish"
	"github.com/gsmeval/gsmeval/internal/torch"
	"github.com/gsmeval/gsmeval/noise"
	"github.com/gsmeval/gsmeval/noise/operation"
	"github.com/gsmeval/gsmeval/noise/philox"
)

// The decode loop of other devices, tested on the CPU by the plain operations: all but the kernels and the graphs.

var plainDevice = model.Options{DType: torch.Float32, Device: torch.CPU, Plain: true}

// mixed is requests of every kind of schedule, lengths that are and are not multiples of lookEvery, more than there are
// slots.
func mixed(f *fixture, logprobs bool) []*Request {
	schedules := []condition.Schedule{condition.Greedy(), condition.ConstantT(0.7), {T: []float64{1.3, 1.1, 0.9}}}
	var reqs []*Request
	for i := range 9 {
		reqs = append(reqs, &Request{
			Prompt: prompt(f, 2+(17*i)%40, i), MaxNew: 1 + (7*i)%30, Schedule: schedules[i%3], Logprobs: logprobs,
			SampleKey: philox.Key(3 + i), Draws: draws(philox.Key(0xffffffff00000000) + philox.Key(i)),
		})
	}
	return reqs
}

// sameTexts compares all but what rounding may change, and that up to rounding.
func sameTexts(t *testing.T, what string, want, got []Completion) {
	t.Helper()
	for i := range want {
		a, b := want[i], got[i]
		if !slices.Equal(a.IDs, b.IDs) || a.Finish != b.Finish || a.Effect.Elements != b.Effect.Elements {
			t.Errorf("%s, sequence %d:\nwant %v, %s, %d elements\ngot  %v, %s, %d elements", what, i, a.IDs, a.Finish,
				a.Effect.Elements, b.IDs, b.Finish, b.Effect.Elements)
		}
		for _, p := range [][2]float64{{a.TMin, b.TMin}, {a.TMax, b.TMax}, {a.TMean, b.TMean}} {
			if p[0] != p[1] && !(math.IsNaN(p[0]) && math.IsNaN(p[1])) {
				t.Errorf("%s, sequence %d: a temperature is %v, want %v", what, i, p[1], p[0])
			}
		}
		for _, p := range [][2]float64{{a.Effect.Noise2, b.Effect.Noise2}, {a.Effect.Spread2, b.Effect.Spread2}} {
			if !(math.Abs(p[0]-p[1]) <= 1e-3*p[0]) {
				t.Errorf("%s, sequence %d: a sum of squares is %v, want %v", what, i, p[1], p[0])
			}
		}
	}
}

func TestDeviceLoopDecodesTheSame(t *testing.T) {
	for i, name := range []string{"qwen2-gqa7-theta1e6", "qwen3-tied", "gemma2", "gemma3", "phi3"} {
		cpu, device := load(t, parityCase(t, name)), loadWith(t, parityCase(t, name), 2, plainDevice)
		for _, spec := range []condition.Noise{
			{},
			{Kind: condition.Activation, Scale: 0.1},
			{Kind: condition.Activation, Scale: 0.02, RelativeTo: "absmax", Exclude: []string{"*down_proj"}},
			{Kind: condition.Output, Scale: 0.1},
			{Kind: condition.Activation, Scale: 0.1, Per: "token"},
			{Kind: condition.Activation, Scale: 0.1, Per: operation.ButFirst},
			{Activations: gaussianPart(0.1), Outputs: gaussianPart(0.05)},
		} {
			for _, o := range []Options{{Slots: 4, Capacity: 80}, {Slots: 4, Capacity: 80, Recompute: true}} {
				if (o.Recompute || i > 0) && (spec.Scale != 0.1 || spec.Per == "token") {
					continue
				}
				requests := func(logprobs bool) []*Request {
					if o.Recompute {
						return mixed(cpu, logprobs)[1:4]
					}
					return mixed(cpu, logprobs)
				}
				what := fmt.Sprintf("%s under %q, recompute %v", name, spec.Kind, o.Recompute)
				stop := under(t, cpu, o, noise.NewInjector(spec, false), mixed(cpu, false)[2])[0].IDs
				o.Ends = func(id int) bool { return id == stop[len(stop)/2] } // one sequence at least ends early
				a, b := noise.NewInjector(spec, false), noise.NewInjector(spec, false)
				want := under(t, cpu, o, a, requests(false)...)
				sameTexts(t, what, want, under(t, device, o, b, requests(false)...))
				sameTexts(t, what+", tokens chosen by the host", want,
					under(t, device, o, noise.NewInjector(spec, false), requests(true)...))
				if !slices.ContainsFunc(want, func(r Completion) bool { return r.Finish == finish.Stop }) {
					t.Errorf("%s: no sequence ends with an end token", what)
				}
				for i, e := range a.Effect() {
					if g := b.Effect()[i]; e.Name != g.Name || e.Elements != g.Elements ||
						!(math.Abs(e.RMS()-g.RMS()) <= 1e-3*e.RMS()) {
						t.Errorf("%s: the effect is %+v, want %+v", what, g, e)
					}
				}
			}
		}
	}
}

// parityCase is the first checkpoint whose name begins so.
func parityCase(t *testing.T, prefix string) string {
	t.Helper()
	for _, name := range parityCases(t) {
		if len(name) >= len(prefix) && name[:len(prefix)] == prefix {
			return name
		}
	}
	t.Fatalf("there is no checkpoint %s", prefix)
	return ""
}

func TestNeighboursDoNotMatterOnADevice(t *testing.T) {
	f := loadWith(t, "qwen2-tied-gqa2", 2, plainDevice)
	in := func() *noise.Injector {
		return noise.NewInjector(condition.Noise{Kind: condition.Activation, Scale: 0.1}, false)
	}
	for _, logprobs := range []bool{false, true} {
		request := func(n, salt, limit int) *Request {
			r := needle(f, n, salt, limit)
			r.Logprobs, r.Draws = logprobs, draws(philox.Key(salt))
			return r
		}
		o := Options{Slots: 5, Capacity: 400}
		alone := under(t, f, o, in(), request(23, 1, 60))[0]
		for round := range 3 {
			var reqs []*Request
			for i := range 4 + 3*round {
				reqs = append(reqs, request(1+(37*i+11*round)%300, i+round, 5+(13*i)%50))
			}
			at := (5 * round) % len(reqs)
			got := under(t, f, o, in(), slices.Insert(reqs, at, request(23, 1, 60))...)[at]
			if !sameBits(alone, got) || alone.Effect.Noise2 != got.Effect.Noise2 {
				t.Fatalf("round %d: the needle differs among neighbours:\nalone %v\ngot   %v", round, alone, got)
			}
		}
	}
}

func TestNonfiniteOnADevice(t *testing.T) {
	f := loadWith(t, "qwen2-untied-gqa1", 2, plainDevice)
	o := Options{Slots: 2, Capacity: 40}
	req := &Request{Prompt: prompt(f, 6, 1), MaxNew: 25, Schedule: condition.ConstantT(1.5), SampleKey: 4}
	clean := under(t, f, o, nil, req)[0]
	at := slices.IndexFunc(clean.IDs, func(id int) bool { return !slices.Contains(req.Prompt, id) })
	d := f.model.Config.HiddenSize
	overwrite(t, f, "model.embed_tokens.weight", func(w []float32) {
		for i := range d {
			w[clean.IDs[at]*d+i] = float32(math.NaN())
		}
	})
	got := under(t, f, o, nil, req)[0]
	if got.Finish != finish.Nonfinite || got.TMean != 1.5 {
		t.Errorf("finish %s at a mean temperature of %v, want nonfinite and 1.5", got.Finish, got.TMean)
	}
	sameResults(t, "tokens until the poisoned one", clean.IDs[:at+1], got.IDs)
}

// recorder counts what a capturer is asked for, and holds what a graph would: a step that is run again as it is.
type recorder struct{ captured, ran, freed int }

type recorded struct {
	r    *recorder
	step func(*torch.Scope) error
}

func (p recorded) run(s *torch.Scope) error { p.r.ran++; return p.step(s) }
func (p recorded) free()                    { p.r.freed++ }

func TestProgramsAreMadeOnceForEachLength(t *testing.T) {
	f := loadWith(t, "qwen2-tied-gqa2", 2, plainDevice)
	e := engine(t, f, Options{Slots: 2, Capacity: 400})
	r := &recorder{}
	e.device.capture = func(_ *torch.Scope, step func(*torch.Scope) error) (program, error) {
		r.captured++
		return recorded{r, step}, nil
	}
	e.device.buckets = lengths(400, true)
	req := func() *Request {
		return &Request{Prompt: prompt(f, 220, 1), MaxNew: 100, Schedule: condition.ConstantT(1), SampleKey: 9}
	}
	want := collect(t, e, req())[0]
	// 99 steps after the prompt, in looks of 8; positions 220 to 318 are first below 256, then not.
	if diff := cmp.Diff(recorder{captured: 2, ran: 104}, *r, cmp.AllowUnexported(recorder{})); diff != "" {
		t.Errorf("captured, ran, freed (-want +got):\n%s", diff)
	}
	again := collect(t, e, req())[0]
	sameResults(t, "the same again", want, again)
	if r.captured != 4 || r.freed != 2 {
		t.Errorf("%d programs made and %d freed after a second run, want 4 and 2: another injector is another program",
			r.captured, r.freed)
	}
	plain := under(t, f, Options{Slots: 2, Capacity: 400}, nil, req())[0]
	sameResults(t, "with one length for all", plain.IDs, want.IDs)
}

// TestWarmUp takes the memory of the start where the logic can be seen: every Linear is perturbed at every position
// that there is room for, and what is decoded afterwards has the same bits.
func TestWarmUp(t *testing.T) {
	const long = 89 // a prime, which the dimensions of no Linear hold
	f := loadWith(t, "qwen2-tied-gqa2", 2, plainDevice)
	specs := []condition.Noise{
		{Kind: condition.Weight, Scale: 0.1}, // has no injector
		{Kind: condition.Activation, Scale: 0.1},
		{Kind: condition.Output, Scale: 0.1, RelativeTo: "absmax"},
		{
			Kind: condition.Combined, WeightScale: 0.1, ActivationScale: 0.1,
			Include: []string{"*lm_head*", "*down_proj*"},
		},
	}
	for _, o := range []Options{{Slots: 3, Capacity: long}, {Slots: 3, Capacity: long, Recompute: true}} {
		requests := func() []*Request { return mixed(f, false)[1:4] }
		spec := specs[1]
		want := under(t, f, o, noise.NewInjector(spec, false), requests()...)
		e := engine(t, f, o)
		all := injectors(specs)
		if err := f.worker.Do(func(s *torch.Scope) error { return e.warmUp(s, all...) }); err != nil {
			t.Fatal(err)
		}
		linears := 7*f.model.Config.NumLayers + 1
		for i, sites := range []int{linears, linears, f.model.Config.NumLayers + 1} {
			effect := all[i].Effect()
			if len(effect) != sites {
				t.Errorf("recompute %v, injector %d: %d Linears were perturbed, want %d", o.Recompute, i, len(effect),
					sites)
			}
			for _, site := range effect {
				rows := int64(long)
				if strings.Contains(site.Name, "lm_head") {
					rows = 1 // the last position's logits
				}
				if site.Elements == 0 || site.Elements%rows != 0 || !(site.Noise2 > 0) {
					t.Errorf("recompute %v, injector %d: %s has %d elements, noise %v, in %d positions", o.Recompute, i,
						site.Name, site.Elements, site.Noise2, rows)
				}
			}
		}
		if e.device != nil && len(e.device.programs) != 0 {
			t.Error("the warm-up left programs of another injector")
		}
		got := make([]Completion, len(want))
		if err := Generate(t.Context(), e, noise.NewInjector(spec, false), list(requests()...),
			func(tag any, r Completion) error {
				got[tag.(int)] = r
				return nil
			}); err != nil {
			t.Fatal(err)
		}
		sameResults(t, fmt.Sprintf("after the warm-up, recompute %v", o.Recompute), want, got)
	}
}

func TestLengths(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		capacity int
		exact    bool
		want     []int
	}{
		{100, true, []int{100}},
		{256, true, []int{256}},
		{257, true, []int{256, 257}},
		{1536, true, []int{256, 512, 1024, 1536}},
		{1536, false, []int{1536}},
	} {
		got := lengths(c.capacity, c.exact)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("lengths of %d (-want +got):\n%s", c.capacity, diff)
		}
		for n := 1; n <= c.capacity+lookEvery; n++ {
			l := length(got, n)
			if i := slices.Index(got, l); i < 0 || (l < n && l != c.capacity) || (i > 0 && got[i-1] >= n) {
				t.Fatalf("%d positions of %d are put into %d", n, c.capacity, l)
			}
		}
	}
}

// gaussianPart is gaussian noise in a composition.
func gaussianPart(scale float64) condition.Part {
	return condition.Part{Kind: "gaussian", Operation: &operation.Gaussian{Scale: scale}}
}
