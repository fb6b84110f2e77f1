package kernels_test

import (
	"context"
	"slices"
	"testing"

	"github.com/gsmeval/gsmeval/decode"
	"github.com/gsmeval/gsmeval/decode/checkpoint"
	"github.com/gsmeval/gsmeval/decode/model"
	"github.com/gsmeval/gsmeval/internal/condition"
	"github.com/gsmeval/gsmeval/internal/torch"
	"github.com/gsmeval/gsmeval/internal/torch/kernels"
	"github.com/gsmeval/gsmeval/noise"
	"github.com/gsmeval/gsmeval/noise/philox"
)

// TestDecodeOnEmulatedKernels decodes with a small model by the kernels' own source, run by the emulation, and by plain operations: the
// same tokens, under noise, with greedy and sampled sequences that end at different times.
func TestDecodeOnEmulatedKernels(t *testing.T) {
	const dir = "../../../decode/testdata/parity/qwen2-gqa7-theta1e6"
	cfg, err := checkpoint.ReadConfig(dir)
	if err != nil {
		t.Fatal(err)
	}
	weights, err := checkpoint.OpenWeights(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer weights.Close() //nolint:errcheck // read only
	w, err := torch.Start(1)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	var m *model.Model
	if err := w.Do(func(s *torch.Scope) (err error) {
		m, err = model.Load(s, cfg, weights, model.Options{DType: torch.Float32, Device: torch.CPU, Plain: true})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer w.Do(func(*torch.Scope) error { m.Free(); return nil }) //nolint:errcheck // freeing memory does not fail
	run := func() []decode.Completion {
		e, err := decode.NewEngine(w, m, decode.Options{Slots: 2, Capacity: 160})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close() //nolint:errcheck // freeing memory does not fail
		out, i := make([]decode.Completion, 3), 0
		in := noise.NewInjector(condition.Noise{Kind: condition.Activation, Scale: 0.1}, false)
		if err := decode.Generate(context.Background(), e, in, func() (*decode.Request, any, bool) {
			if i == len(out) {
				return nil, nil, false
			}
			ids := make([]int, 5+65*i) // the last is longer than one chunk of the attention
			for p := range ids {
				ids[p] = (31*p + 17*i + 5) % cfg.VocabSize
			}
			i++
			req := &decode.Request{Prompt: ids, MaxNew: 6 + 4*i, SampleKey: philox.Key(i), Draws: noise.Draws{Inputs: philox.Key(100 + i)}}
			if i > 1 {
				req.Schedule = condition.ConstantT(0.9)
			}
			return req, i - 1, true
		}, func(tag any, r decode.Completion) error {
			out[tag.(int)] = r
			return r.Err
		}); err != nil {
			t.Fatal(err)
		}
		return out
	}
	plain := run()
	kernels.Emulate(true)
	defer kernels.Emulate(false)
	if !torch.AttentionIgnoresLength(torch.CPU) {
		t.Fatal("the emulated kernels are not in place")
	}
	for i, got := range run() {
		want := plain[i]
		if !slices.Equal(want.IDs, got.IDs) || want.Finish != got.Finish || want.Effect.Elements != got.Effect.Elements {
			t.Errorf("sequence %d:\nwant %v, %s, %d elements\ngot  %v, %s, %d elements", i, want.IDs, want.Finish, want.Effect.Elements, got.IDs, got.Finish, got.Effect.Elements)
		}
		if d := got.Effect.Noise2/want.Effect.Noise2 - 1; !(d > -1e-3 && d < 1e-3) {
			t.Errorf("sequence %d: the noise's sum of squares is %v, want %v", i, got.Effect.Noise2, want.Effect.Noise2)
		}
	}
}
