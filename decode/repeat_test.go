package decode

import (
	"testing"

	"github.com/gsmeval/gsmeval/decode/model"
	"github.com/gsmeval/gsmeval/internal/condition"
	"github.com/gsmeval/gsmeval/internal/torch"
	"github.com/gsmeval/gsmeval/noise"
	"github.com/gsmeval/gsmeval/noise/operation"
	"github.com/gsmeval/gsmeval/noise/philox"
)

// Equal prompts are computed once, and what follows is what it would be alone: with the same bits, whatever slots they
// take, and whatever stands between them.
func TestEqualPromptsAreComputedOnce(t *testing.T) {
	cpu := model.Options{Device: torch.CPU, DType: torch.Float32}
	rounded := condition.Noise{Activations: condition.Part{Kind: "int", Operation: &operation.Int{Bits: 8}}}
	for _, way := range []struct {
		name string
		o    model.Options
		in   func() *noise.Injector
		once bool
	}{
		{"clean", cpu, func() *noise.Injector { return nil }, true},
		{"on a device", plainDevice, func() *noise.Injector { return nil }, true},
		{"rounded inputs", cpu, func() *noise.Injector { return noise.NewInjector(rounded, false) }, true},
		{"fresh noise", cpu, func() *noise.Injector {
			return noise.NewInjector(condition.Noise{Kind: condition.Activation, Scale: 0.1}, false)
		}, false},
	} {
		t.Run(way.name, func(t *testing.T) {
			f := loadWith(t, "qwen2-tied-gqa2", 2, way.o)
			request := func(salt, sample int) *Request {
				return &Request{
					Prompt: prompt(f, 23+salt, salt), MaxNew: 8 + 7*(sample%3), Schedule: condition.ConstantT(1.2),
					SampleKey: philox.Key(sample), Draws: draws(philox.Key(sample)),
				}
			}
			var reqs []*Request
			for _, r := range [][2]int{
				{1, 0},
				{1, 1},
				{1, 2},
				{1, 3},
				{2, 4},
				{1, 5},
				{1, 6},
				{2, 7},
				{2, 8},
				{2, 9},
				{2, 10},
			} {
				reqs = append(reqs, request(r[0], r[1]))
			}
			for _, slots := range []int{1, 3} {
				e := engine(t, f, Options{Slots: slots, Capacity: 60})
				got := make([]Completion, len(reqs))
				if err := Generate(t.Context(), e, way.in(), list(reqs...), func(tag any, c Completion) error {
					got[tag.(int)] = c
					return nil
				}); err != nil {
					t.Fatal(err)
				}
				if kept := len(e.prompt.ids) > 0; kept != way.once {
					t.Errorf("%d slots: the last prompt is kept: %v", slots, kept)
				}
				for i, r := range reqs {
					alone := under(t, f, Options{Slots: slots, Capacity: 60}, way.in(), r)[0]
					if !sameBits(alone, got[i]) || alone.Effect != got[i].Effect {
						t.Errorf("%d slots: request %d differs from itself alone:\nalone %+v\ngot   %+v", slots, i,
							alone, got[i])
					}
				}
			}
		})
	}
}
