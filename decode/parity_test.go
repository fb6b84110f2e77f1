package decode

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"os/exec"
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
)

// tolerance bounds max |difference| / max |logit| against transformers in float32.
const tolerance = 1e-4

type golden struct {
	Made, Torch, Transformers string
	Last                      []struct {
		Prompt []int
		Logits []float64
	}
	All struct {
		Prompt []int
		Logits [][]float64
	}
	Greedy struct{ Prompt, IDs []int }
}

// fixture is a model from testdata/parity on a worker of its own.
type fixture struct {
	worker *torch.Worker
	model  *model.Model
	golden golden
}

func load(t testing.TB, name string) *fixture {
	t.Helper()
	return loadOn(t, name, 2)
}

func loadOn(t testing.TB, name string, threads int) *fixture {
	t.Helper()
	return loadWith(t, name, threads, model.Options{DType: torch.Float32, Device: torch.CPU})
}

func loadWith(t testing.TB, name string, threads int, o model.Options) *fixture {
	t.Helper()
	dir := filepath.Join("testdata", "parity", name)
	data, err := os.ReadFile(filepath.Join(dir, "golden.json"))
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{}
	if err := json.Unmarshal(data, &f.golden); err != nil {
		t.Fatal(err)
	}
	f.worker, f.model = open(t, dir, threads, o)
	return f
}

func open(t testing.TB, dir string, threads int, o model.Options) (*torch.Worker, *model.Model) {
	t.Helper()
	cfg, err := checkpoint.ReadConfig(dir)
	if err != nil {
		t.Fatal(err)
	}
	weights, err := checkpoint.OpenWeights(dir)
	if err != nil {
		t.Fatal(err)
	}
	w, err := torch.StartOn(threads, o.Device, false)
	if err != nil {
		t.Fatal(err)
	}
	var m *model.Model
	if err := w.Do(func(s *torch.Scope) (err error) {
		m, err = model.Load(s, cfg, weights, o)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Do(func(*torch.Scope) error { m.Free(); return nil }); err != nil {
			t.Error(err)
		}
		w.Close()
		if err := weights.Close(); err != nil {
			t.Error(err)
		}
	})
	return w, m
}

// forward returns the logits of rows [from, len(ids)) of one sequence in a fresh cache.
func (f *fixture) forward(t testing.TB, ids []int, from int) [][]float64 {
	t.Helper()
	var rows [][]float64
	if err := f.worker.Do(func(s *torch.Scope) error {
		kv, err := f.model.NewCache(s, 1, len(ids))
		if err != nil {
			return err
		}
		defer kv.Free()
		b := Prefix(ids, 0)
		b.From = from
		z := s.FloatView(s.Host(f.model.Forward(s, b, kv, nil)))
		for v := f.model.Config.VocabSize; len(z) > 0; z = z[v:] {
			row := make([]float64, v)
			for i := range row {
				row[i] = float64(z[i])
			}
			rows = append(rows, row)
		}
		return s.Err()
	}); err != nil {
		t.Fatal(err)
	}
	return rows
}

func relative(want, got []float64) float64 {
	diff, top := 0.0, 0.0
	for i := range want {
		diff, top = max(diff, math.Abs(want[i]-got[i])), max(top, math.Abs(want[i]))
	}
	if len(want) != len(got) || math.IsNaN(diff) {
		return math.Inf(1)
	}
	return diff / top
}

func generate(t testing.TB, w *torch.Worker, m *model.Model, o Options, reqs ...*Request) []Completion {
	t.Helper()
	e, err := NewEngine(w, m, o)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}()
	return collect(t, e, reqs...)
}

func collect(t testing.TB, e *Engine, reqs ...*Request) []Completion {
	t.Helper()
	out := make([]Completion, len(reqs))
	i := 0
	err := Generate(context.Background(), e, nil, func() (*Request, any, bool) {
		if i == len(reqs) {
			return nil, nil, false
		}
		i++
		return reqs[i-1], i - 1, true
	}, func(tag any, r Completion) error {
		out[tag.(int)] = r
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func parityCases(t *testing.T) []string {
	t.Helper()
	dirs, err := filepath.Glob(filepath.Join("testdata", "parity", "*"))
	if err != nil || len(dirs) < 20 {
		t.Fatalf("found %d parity checkpoints (%v), want at least 20", len(dirs), err)
	}
	names := make([]string, len(dirs))
	for i, d := range dirs {
		names[i] = filepath.Base(d)
	}
	return names
}

// TestParityWithTransformers holds every checkpoint of scripts/goldens/parity.py against what transformers computed,
// and prints the table of what was compared (go test -v).
func TestParityWithTransformers(t *testing.T) {
	table := []string{"checkpoint                   logits (max rel. error)  greedy tokens  rope        longest  context  stored"}
	seen := map[string]map[string]bool{}
	for _, name := range parityCases(t) {
		t.Run(name, func(t *testing.T) {
			f := loadOn(t, name, 1)
			g := f.golden
			worst, longest := 0.0, 0
			for _, c := range g.Last {
				rel := relative(c.Logits, f.forward(t, c.Prompt, len(c.Prompt)-1)[0])
				worst, longest = max(worst, rel), max(longest, len(c.Prompt))
				if rel > tolerance {
					t.Errorf("last logits of a prompt of %d tokens differ by %.2g of the largest", len(c.Prompt), rel)
				}
			}
			for i, got := range f.forward(t, g.All.Prompt, 0) {
				rel := relative(g.All.Logits[i], got)
				worst = max(worst, rel)
				if rel > tolerance {
					t.Errorf("logits at position %d differ by %.2g of the largest", i, rel)
				}
			}
			req := &Request{Prompt: g.Greedy.Prompt, MaxNew: len(g.Greedy.IDs)}
			o := Options{Slots: 1, Capacity: len(req.Prompt) + req.MaxNew}
			cached := generate(t, f.worker, f.model, o, req)[0]
			if !slices.Equal(g.Greedy.IDs, cached.IDs) {
				t.Errorf("greedy tokens differ from transformers':\nwant %v\ngot  %v", g.Greedy.IDs, cached.IDs)
			}
			o.Recompute = true
			if again := generate(t, f.worker, f.model, o, req)[0]; !slices.Equal(g.Greedy.IDs, again.IDs) {
				t.Errorf("greedy tokens without a cache differ from transformers':\nwant %v\ngot  %v", g.Greedy.IDs,
					again.IDs)
			}
			// The same by the other kernels, and by libtorch's own operations.
			o.Recompute = false
			for way, other := range computations() {
				if other.DType != torch.Float32 {
					continue
				}
				by := other.load(t, name, 1)
				for _, c := range g.Last {
					rel := relative(c.Logits, by.forward(t, c.Prompt, len(c.Prompt)-1)[0])
					worst = max(worst, rel)
					if rel > tolerance {
						t.Errorf("last logits of a prompt of %d tokens differ by %.2g of the largest, %s",
							len(c.Prompt), rel, way)
					}
				}
				if again := generate(t, by.worker, by.model, o, req)[0]; !slices.Equal(g.Greedy.IDs, again.IDs) {
					t.Errorf("greedy tokens differ from transformers', %s:\nwant %v\ngot  %v", way, g.Greedy.IDs,
						again.IDs)
				}
			}
			cfg := f.model.Config
			kind, context := "default", cfg.MaxPositions
			if r := cfg.RopeScaling; r != nil {
				kind = r.Type
				if r.OriginalMaxPositions > 0 {
					context = r.OriginalMaxPositions
				}
				if limit, _ := cfg.Context(); longest <= context && limit > context {
					t.Errorf("the longest prompt has %d tokens, which does not leave the original context of %d",
						longest, context)
				}
			}
			if seen[cfg.ModelType] == nil {
				seen[cfg.ModelType] = map[string]bool{}
			}
			seen[cfg.ModelType][fmt.Sprintf("tied %v", cfg.TieEmbeddings)] = true
			seen[cfg.ModelType][fmt.Sprintf("rope %s %g", kind, cfg.RopeTheta)] = true
			greedy := fmt.Sprintf("%d of %d", agreeing(g.Greedy.IDs, cached.IDs), len(g.Greedy.IDs))
			table = append(table, fmt.Sprintf("%-28s %-24.1e %-14s %-11s %-8d %-8d %s", name, worst, greedy, kind,
				longest, context, cfg.DType))
		})
	}
	t.Logf("parity with transformers 5.23.0, torch 2.11.0, in float32 (the largest error of all kernels):\n%s",
		strings.Join(table, "\n"))
	for _, arch := range model.Supported() {
		settings := slices.Sorted(maps.Keys(seen[arch]))
		if len(settings) < 4 {
			t.Errorf("%s was compared in the settings %v only; want tied and untied, and two settings of the rotary embedding", arch, settings)
		}
	}
}

// agreeing counts the tokens before the first difference.
func agreeing(want, got []int) int {
	for i := range want {
		if i >= len(got) || got[i] != want[i] {
			return i
		}
	}
	return len(want)
}

// lowTolerance bounds max |difference| / max |logit| against transformers computing in the same dtype: some 40 times
// half a unit in the last place, 2^-9 and 2^-12. It has to allow for transformers' own error, the larger one: it rounds
// after every operation, where gsmeval on a CPU computes everything between the Linears in float32.
var lowTolerance = map[torch.DType]float64{torch.BFloat16: 8e-2, torch.Float16: 8e-3}

// TestParityInOtherTypes compares logits with those of transformers in the same dtype, along the same tokens: greedy
// paths of low precision part at the first near tie, so each position gets the tokens of the float32 path before it.
// Where transformers' best token leads by more than the tolerance, it is our best too. And we lose no more precision
// than transformers does: the error against float32 logits, in the mean over the positions, is not larger.
func TestParityInOtherTypes(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "parity", "*", "dtypes.json"))
	if err != nil || len(files) < len(model.Supported()) {
		t.Fatalf("found %d checkpoints with other dtypes (%v), want one for each of %v", len(files), err,
			model.Supported())
	}
	table := []string{"checkpoint                   dtype     logits  their error  our error  leads  same best"}
	for _, file := range files {
		name := filepath.Base(filepath.Dir(file))
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var g struct {
			Every             int
			BFloat16, Float16 [][]float64
		}
		if err := json.Unmarshal(data, &g); err != nil {
			t.Fatal(err)
		}
		exact := loadOn(t, name, 1)
		ids := append(slices.Clone(exact.golden.Greedy.Prompt), exact.golden.Greedy.IDs...)
		ids = ids[:len(ids)-1]
		reference := exact.forward(t, ids, 0)
		for dt, want := range map[torch.DType][][]float64{torch.BFloat16: g.BFloat16, torch.Float16: g.Float16} {
			got := loadWith(t, name, 1, model.Options{DType: dt, Device: torch.CPU}).forward(t, ids, 0)
			limit := lowTolerance[dt]
			worst, theirs, ours, leads, same := 0.0, 0.0, 0.0, 0, 0
			for i, w := range want {
				z, r := got[i*g.Every], reference[i*g.Every]
				rel := relative(w, z)
				if rel > limit {
					t.Errorf("%s in %s: logits at position %d differ by %.2g of the largest", name, dt, i*g.Every, rel)
				}
				worst, theirs, ours = max(worst, rel), theirs+relative(r, w)/float64(len(want)),
					ours+relative(r, z)/float64(len(want))
				if best, lead := leading(w); lead > limit {
					leads++
					if b, _ := leading(z); b == best {
						same++
					} else {
						t.Errorf("%s in %s: token %d leads by %.2g at position %d, ours is %d", name, dt, best, lead,
							i*g.Every, b)
					}
				}
			}
			if ours > theirs {
				t.Errorf("%s in %s: the error against float32 is %.2g, transformers' is %.2g", name, dt, ours, theirs)
			}
			if len(want) < 20 || leads < 8 {
				t.Errorf("%s in %s: %d positions with %d clear leads show little", name, dt, len(want), leads)
			}
			table = append(table, fmt.Sprintf("%-28s %-9s %-7.1e %-12.1e %-10.1e %-6d %d", name, dt, worst, theirs,
				ours, leads, same))
		}
	}
	slices.Sort(table[1:])
	t.Logf("parity with transformers in other dtypes (logits: max |difference| / max |logit|; errors: the same against float32, mean over the positions):\n%s", strings.Join(table, "\n"))
}

// leading is the best token and its lead over the second, relative to the largest logit.
func leading(z []float64) (best int, lead float64) {
	top, second, largest := math.Inf(-1), math.Inf(-1), 0.0
	for i, v := range z {
		largest = max(largest, math.Abs(v))
		switch {
		case v > top:
			best, top, second = i, v, top
		case v > second:
			second = v
		}
	}
	return best, (top - second) / largest
}

// computation is a dtype and the kernels that compute in it.
type computation struct {
	model.Options
	kernels string
}

// load makes the kernels compute until the test is over, on a model of its own.
func (c computation) load(t *testing.T, name string, threads int) *fixture {
	t.Helper()
	use(t, c.kernels)
	return loadWith(t, name, threads, c.Options)
}

// use makes kernels compute until the test is over. The levels that this processor has are tested one after the other:
// no test of this package is parallel.
func use(t *testing.T, kernels string) {
	t.Helper()
	before := torch.Kernels()
	if err := torch.UseKernels(kernels); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := torch.UseKernels(before); err != nil {
			t.Error(err)
		}
	})
}

// levels are the kernels that this processor has, the best last.
func levels() []string {
	best := torch.Kernels()
	return torch.KernelLevels[:slices.Index(torch.KernelLevels, best)+1]
}

// computations are the ways a model is computed on this CPU.
func computations() map[string]computation {
	ways := map[string]computation{}
	for _, dt := range []torch.DType{torch.Float32, torch.BFloat16, torch.Float16} {
		for _, l := range levels() {
			ways[fmt.Sprintf("%s %s", dt, l)] = computation{model.Options{DType: dt, Device: torch.CPU}, l}
		}
	}
	return ways
}

// needle is a request that a test decodes among others.
func needle(f *fixture, n, salt, limit int) *Request {
	return &Request{
		Prompt: prompt(f, n, salt), MaxNew: limit, Logprobs: true, Schedule: condition.ConstantT(0.8),
		SampleKey: 77,
	}
}

// sameBits tells whether two sequences have the same tokens and the same bits of log probabilities.
func sameBits(a, b Completion) bool {
	return slices.Equal(a.IDs, b.IDs) && slices.EqualFunc(a.Logprobs, b.Logprobs, func(x, y float64) bool {
		return math.Float64bits(x) == math.Float64bits(y)
	})
}

// TestNeighboursDoNotMatter decodes a needle alone and among changing neighbours, slots and orders: its tokens and the
// bits of its log probabilities are the same, whatever Linears are computed with.
func TestNeighboursDoNotMatter(t *testing.T) {
	for name, c := range computations() {
		t.Run(name, func(t *testing.T) {
			f := c.load(t, "qwen2-tied-gqa2", 2)
			e := engine(t, f, Options{Slots: 5, Capacity: 400})
			alone := collect(t, e, needle(f, 23, 1, 60))[0]
			for round := range 4 {
				var reqs []*Request
				for i := range 4 + 3*round {
					reqs = append(reqs, needle(f, 1+(37*i+11*round)%300, i+round, 5+(13*i)%50))
				}
				at := (5 * round) % len(reqs)
				reqs = slices.Insert(reqs, at, needle(f, 23, 1, 60))
				if got := collect(t, e, reqs...)[at]; !sameBits(alone, got) {
					t.Fatalf("round %d: the needle differs among neighbours:\nalone %v\ngot   %v", round, alone, got)
				}
			}
		})
	}
}

// TestNeedleAtEverySlot sweeps: for every number of slots from 1 to 33 the needle stands in the first, the last and
// other slots, every one of them up to 9 slots, all others live, and has the bits that it has with one slot.
func TestNeedleAtEverySlot(t *testing.T) {
	for name, c := range computations() {
		t.Run(name, func(t *testing.T) {
			f := c.load(t, "qwen2-tied-gqa2", 2)
			want := generate(t, f.worker, f.model, Options{Slots: 1, Capacity: 40}, needle(f, 9, 1, 8))[0]
			places := 0
			for slots := 1; slots <= 33; slots++ {
				e := engine(t, f, Options{Slots: slots, Capacity: 40})
				for at := range slots {
					if slots > 9 && at != 0 && at != slots-1 && at != slots/2 && at != slots/4*3 {
						continue
					}
					reqs := make([]*Request, slots)
					for i := range reqs {
						reqs[i] = needle(f, 1+(5*i+slots)%12, 2+i, 8+i%3)
					}
					reqs[at] = needle(f, 9, 1, 8)
					if got := collect(t, e, reqs...)[at]; !sameBits(want, got) {
						t.Errorf("%d slots, the needle in slot %d:\nalone %v\ngot   %v", slots, at, want, got)
					}
					places++
				}
				if err := e.Close(); err != nil {
					t.Fatal(err)
				}
			}
			t.Logf("%s: the needle has the same bits in %d places of 1 to 33 slots", name, places)
		})
	}
}

// TestAnotherSlotGivesOtherBits is the inverse: by libtorch's own products, which compute as other devices do, the same
// needle comes out with other bits where a decode step has another number of rows. So the tests above can fail.
func TestAnotherSlotGivesOtherBits(t *testing.T) {
	f := loadWith(t, "qwen2-tied-gqa2", 2, plainDevice)
	fixed := generate(t, f.worker, f.model, Options{Slots: 32, Capacity: 400}, needle(f, 23, 1, 60))[0]
	other := generate(t, f.worker, f.model, Options{Slots: 1, Capacity: 400}, needle(f, 23, 1, 60))[0]
	if sameBits(fixed, other) {
		t.Error("1 row and 32 rows give the same bits; then nothing shows that the tests can fail")
	}
	for i := range min(20, len(other.Logprobs)) { // the same up to rounding
		if d := math.Abs(other.Logprobs[i] - fixed.Logprobs[i]); d > 1e-3 {
			t.Errorf("log probability %d with one slot differs by %v", i, d)
		}
	}
}

// TestKernelsGiveTheSameBits: in float32 it does not matter which vector instructions compute, under activation noise
// either.
func TestKernelsGiveTheSameBits(t *testing.T) {
	all := levels()
	vector := all[min(1, len(all)):]
	if len(vector) < 2 {
		t.Skipf("the best kernels of this processor are %s: there is nothing to compare with", all[len(all)-1])
	}
	var first Completion
	for i, kernels := range vector {
		use(t, kernels)
		f := load(t, "qwen2-tied-gqa2")
		req := needle(f, 23, 1, 60)
		req.Draws.Inputs = 5
		got := under(t, f, Options{Slots: 3, Capacity: 400},
			noise.NewInjector(condition.Noise{Kind: condition.Activation, Scale: 0.1}, false), req)[0]
		if i == 0 {
			first = got
		} else if !sameBits(first, got) || first.Effect.Noise2 != got.Effect.Noise2 {
			t.Errorf("%s: %v\n%s: %v", vector[0], first, kernels, got)
		}
	}
}

// TestBelowTheBest runs the tests of neighbours where libtorch and its libraries, too, are kept to AVX2, on a processor
// that has more.
func TestBelowTheBest(t *testing.T) {
	if os.Getenv("GSMEVAL_TEST_BELOW") != "" {
		isa, err := torch.CPUCapability()
		if err != nil || isa != "AVX2" || torch.Kernels() != "avx2" {
			t.Fatalf("libtorch computes with %s (%v), our kernels with %s; want AVX2", isa, err, torch.Kernels())
		}
		t.Logf("libtorch computes with %s, our kernels with %s", isa, torch.Kernels())
		return
	}
	if len(levels()) <= 2 {
		t.Skipf("the best kernels of this processor are %s: the tests compute with no more as it is", torch.Kernels())
	}
	cmd := exec.Command(os.Args[0], "-test.v", "-test.run",
		"^(TestBelowTheBest|TestNeighboursDoNotMatter|TestNeighboursDoNotMatterAnywhere|"+
			"TestNeighboursDoNotMatterUnderNoise|TestNeedleAtEverySlot|TestAnotherSlotGivesOtherBits)$")
	cmd.Env = append(os.Environ(), "GSMEVAL_TEST_BELOW=1", "GSMEVAL_CPU_KERNELS=avx2", "ATEN_CPU_CAPABILITY=avx2",
		"MKL_ENABLE_INSTRUCTIONS=AVX2", "ONEDNN_MAX_CPU_ISA=AVX2")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "libtorch computes with AVX2, our kernels with avx2") {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestWeightsComeBack: what Linears read is what it was after weight noise, and parity holds before and after.
func TestWeightsComeBack(t *testing.T) {
	for _, name := range []string{"qwen2-tied-gqa2", "qwen2-untied-gqa1"} {
		f := load(t, name)
		before := hashes(t, f)
		for round := range 2 {
			for _, c := range f.golden.Last {
				if rel := relative(c.Logits, f.forward(t, c.Prompt, len(c.Prompt)-1)[0]); rel > tolerance {
					t.Errorf("%s, round %d: last logits of a prompt of %d tokens differ by %.2g of the largest", name,
						round, len(c.Prompt), rel)
				}
			}
			req := &Request{Prompt: f.golden.Greedy.Prompt, MaxNew: len(f.golden.Greedy.IDs)}
			if got := generate(t, f.worker, f.model, Options{Slots: 3, Capacity: 400},
				req)[0].IDs; !slices.Equal(f.golden.Greedy.IDs, got) {
				t.Errorf("%s, round %d: greedy tokens differ from transformers':\nwant %v\ngot  %v", name, round,
					f.golden.Greedy.IDs, got)
			}
			programWeights(t, f, condition.Noise{Kind: condition.Weight, Scale: 0.2}, 0)
			noisy := hashes(t, f)
			for p, h := range before {
				if strings.Contains(p, "weight") && !strings.Contains(p, "norm") && noisy[p] == h {
					t.Errorf("%s: %s is as it was under weight noise", name, p)
				}
			}
			restore(t, f)
			if diff := cmp.Diff(before, hashes(t, f)); diff != "" {
				t.Errorf("%s: parameters are not what they were (-want +got):\n%s", name, diff)
			}
		}
	}
}

// TestNeighboursDoNotMatterAnywhere does the same, in short, for every architecture in every dtype.
func TestNeighboursDoNotMatterAnywhere(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "parity", "*", "dtypes.json"))
	if err != nil || len(files) < len(model.Supported()) {
		t.Fatalf("found %d checkpoints (%v), want one for each of %v", len(files), err, model.Supported())
	}
	for _, file := range files {
		for _, dt := range []torch.DType{torch.Float32, torch.BFloat16, torch.Float16} {
			name := filepath.Base(filepath.Dir(file))
			f := loadWith(t, name, 2, model.Options{DType: dt, Device: torch.CPU})
			request := func(n, salt, limit int) *Request {
				return &Request{
					Prompt: prompt(f, n, salt), MaxNew: limit, Logprobs: true,
					Schedule: condition.ConstantT(0.8), SampleKey: 77,
				}
			}
			e := engine(t, f, Options{Slots: 5, Capacity: 160})
			alone := collect(t, e, request(23, 1, 30))[0]
			got := collect(t, e, request(70, 2, 40), request(1, 3, 9), request(9, 4, 20), request(23, 1, 30),
				request(50, 5, 12), request(33, 6, 35), request(23, 1, 30))
			for _, i := range []int{3, 6} {
				sameResults(t, fmt.Sprintf("%s in %s, request %d", name, dt, i), alone, got[i])
			}
		}
	}
}

func ExampleSchedule_At() {
	s := condition.Schedule{T: []float64{1.3, 1.2, 1.1}}
	fmt.Println(s.At(0), s.At(2), s.At(500))
	// Output: 1.3 1.1 1.1
}
