package decode

import (
	"fmt"
	"slices"
	"testing"

	"github.com/gsmeval/gsmeval/decode/model"
	"github.com/gsmeval/gsmeval/internal/condition"
	"github.com/gsmeval/gsmeval/internal/torch"
	"github.com/gsmeval/gsmeval/noise"
	"github.com/gsmeval/gsmeval/noise/philox"
)

// What a GPU has to show. scripts/gpu_check.sh runs these where there is one; elsewhere they are skipped.

// loadCUDA is a checkpoint of testdata on the first GPU.
func loadCUDA(t *testing.T, name string, dt torch.DType) *fixture {
	t.Helper()
	if _, err := torch.CUDADevices(); err != nil {
		t.Skipf("no GPU: %v", err)
	}
	return loadWith(t, name, 2, model.Options{DType: dt, Device: 0})
}

// onDevice holds logits and greedy tokens of a checkpoint on a device against transformers.
func onDevice(t *testing.T, f *fixture) {
	t.Helper()
	g, worst := f.golden, 0.0
	for i, got := range f.forward(t, g.All.Prompt, 0) {
		worst = max(worst, relative(g.All.Logits[i], got))
	}
	t.Logf("largest |difference| / largest |logit|: %.1e", worst)
	if !(worst < tolerance) {
		t.Errorf("logits differ by %.1e of the largest", worst)
	}
	req := &Request{Prompt: g.Greedy.Prompt, MaxNew: len(g.Greedy.IDs)}
	got := generate(t, f.worker, f.model, Options{Slots: 2, Capacity: len(req.Prompt) + req.MaxNew}, req)[0]
	if n := agreeing(g.Greedy.IDs, got.IDs); n < len(g.Greedy.IDs) {
		t.Errorf("greedy tokens agree with transformers' for %d of %d", n, len(g.Greedy.IDs))
	}
}

func TestCUDAParity(t *testing.T) {
	if _, err := torch.CUDADevices(); err != nil {
		t.Skipf("no GPU: %v", err)
	}
	for _, name := range parityCases(t) {
		t.Run(name, func(t *testing.T) { onDevice(t, loadCUDA(t, name, torch.Float32)) })
	}
}

func TestPlainDeviceParity(t *testing.T) {
	for _, name := range parityCases(t) {
		t.Run(name, func(t *testing.T) { onDevice(t, loadWith(t, name, 2, plainDevice)) })
	}
}

// TestCUDADecodesLikeTheCPU compares texts, noise and accounts with the CPU's, from graphs and without them.
func TestCUDADecodesLikeTheCPU(t *testing.T) {
	for _, name := range []string{"qwen2-gqa7-theta1e6", "qwen3-tied", "gemma2", "gemma3", "phi3"} {
		gpu, cpu := loadCUDA(t, parityCase(t, name), torch.Float32), load(t, parityCase(t, name))
		for _, spec := range []condition.Noise{
			{},
			{Kind: condition.Activation, Scale: 0.1},
			{Kind: condition.Output, Scale: 0.1},
		} {
			o := Options{Slots: 4, Capacity: 80}
			want := under(t, cpu, o, noise.NewInjector(spec, false), mixed(cpu, false)...)
			graphs := under(t, gpu, o, noise.NewInjector(spec, false), mixed(gpu, false)...)
			sameTexts(t, fmt.Sprintf("%s under %q", name, spec.Kind), want, graphs)
			o.Eager = true
			sameResults(t, name+" without graphs", graphs, under(t, gpu, o, noise.NewInjector(spec, false),
				mixed(gpu, false)...))
		}
	}
}

// TestCUDANeighboursDoNotMatter is TestNeighboursDoNotMatter on the GPU, by graphs; TestCUDAAnotherShapeGivesOtherBits
// its inverse.
func TestCUDANeighboursDoNotMatter(t *testing.T) {
	for _, dt := range []torch.DType{torch.Float32, torch.BFloat16} {
		f := loadCUDA(t, "qwen2-tied-gqa2", dt)
		in := func() *noise.Injector {
			return noise.NewInjector(condition.Noise{Kind: condition.Activation, Scale: 0.1}, false)
		}
		o := Options{Slots: 5, Capacity: 400}
		alone := under(t, f, o, in(), needle(f, 23, 1, 60))[0]
		for round := range 4 {
			var reqs []*Request
			for i := range 4 + 3*round {
				r := needle(f, 1+(37*i+11*round)%300, i+round, 5+(13*i)%50)
				r.Draws = draws(philox.Key(i + 1))
				reqs = append(reqs, r)
			}
			at := (5 * round) % len(reqs)
			if got := under(t, f, o, in(), slices.Insert(reqs, at, needle(f, 23, 1, 60))...)[at]; !sameBits(alone,
				got) {
				t.Fatalf("%s, round %d: the needle differs among neighbours", dt, round)
			}
		}
	}
}

func TestCUDAAnotherShapeGivesOtherBits(t *testing.T) {
	f := loadCUDA(t, "qwen2-tied-gqa2", torch.Float32)
	fixed := generate(t, f.worker, f.model, Options{Slots: 64, Capacity: 400}, needle(f, 23, 1, 60))[0]
	other := generate(t, f.worker, f.model, Options{Slots: 1, Capacity: 400}, needle(f, 23, 1, 60))[0]
	if sameBits(fixed, other) {
		t.Error("1 row and 64 rows give the same bits; then nothing shows that the fixed shape is needed")
	}
}

// TestCUDANoiseIsTheReference holds the kernels against the plain operations on the same GPU and on the CPU.
func TestCUDANoiseIsTheReference(t *testing.T) {
	gpu := loadCUDA(t, "qwen2-tied-gqa2", torch.Float32)
	const blocks = 5000
	read := func(w *torch.Worker, d torch.Device, reference bool) (words []int64, normals []float32) {
		words, normals = make([]int64, 4*blocks), make([]float32, 4*blocks)
		if err := w.Do(func(s *torch.Scope) error {
			a, b := s.Zeros([]int64{blocks, 4}, torch.Int64, d), s.Zeros([]int64{blocks, 4}, torch.Float32, d)
			s.PhiloxAt(a, b, 0xfffffff0, 7, 8, 9, 0x0123456789abcdef, reference)
			torch.ReadAll(s, a, words)
			s.ReadFloats(b, normals)
			return s.Err()
		}); err != nil {
			t.Fatal(err)
		}
		return words, normals
	}
	want, wantNormals := read(load(t, "qwen2-tied-gqa2").worker, torch.CPU, true)
	for _, reference := range []bool{true, false} {
		words, normals := read(gpu.worker, 0, reference)
		if !slices.Equal(want, words) {
			t.Errorf("reference %v: the Philox words differ from the CPU's", reference)
		}
		for i := range normals {
			if d := float64(normals[i] - wantNormals[i]); !(d < 2e-6 && d > -2e-6) {
				t.Fatalf("reference %v: normal %d is %v, want %v", reference, i, normals[i], wantNormals[i])
			}
		}
	}
}

// TestCUDAMemoryStandsStill decodes for a while: what the allocator holds after the first sequences is all it ever
// holds.
func TestCUDAMemoryStandsStill(t *testing.T) {
	f := loadCUDA(t, "qwen2-tied-gqa2", torch.Float32)
	e := engine(t, f, Options{Slots: 8, Capacity: 200})
	reserved := func() (r int64) {
		if err := f.worker.Do(func(s *torch.Scope) error { _, r, _ = s.CUDAMemory(); return s.Err() }); err != nil {
			t.Fatal(err)
		}
		return r
	}
	var reqs []*Request
	for i := range 64 {
		reqs = append(reqs, &Request{
			Prompt: prompt(f, 1+(37*i)%120, i), MaxNew: 1 + (53*i)%80,
			Schedule: condition.ConstantT(1), SampleKey: philox.Key(i),
		})
	}
	collect(t, e, reqs...)
	before := reserved()
	for range 5 {
		collect(t, e, reqs...)
	}
	if after := reserved(); after > before {
		t.Errorf("%d bytes reserved after the first pass, %d after five more", before, after)
	}
}
