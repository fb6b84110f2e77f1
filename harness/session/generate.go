package session

import (
	"context"

	"github.com/gsmeval/gsmeval/decode"
	"github.com/gsmeval/gsmeval/internal/condition"
	"github.com/gsmeval/gsmeval/internal/finish"
	"github.com/gsmeval/gsmeval/internal/torch"
	"github.com/gsmeval/gsmeval/noise"
	"github.com/gsmeval/gsmeval/noise/operation"
	"github.com/gsmeval/gsmeval/noise/philox"
)

// GenerateOptions describe one prompt to continue.
type GenerateOptions struct {
	Model        string
	PromptIDs    []int
	MaxNewTokens int
	Seed         uint64
	Schedule     condition.Schedule
	Noise        condition.Noise
	Recompute    bool
	Stop         []string // strings that end the text
}

// Generated is a continued prompt.
type Generated struct {
	PromptIDs []int         `json:"prompt_ids"`
	IDs       []int         `json:"ids"`
	Text      string        `json:"text"`
	Finish    finish.Reason `json:"finish"`
	Logprobs  []float64     `json:"logprobs"`
}

// Generate continues one prompt, as example 0, replicate 0 of a run with that seed.
func Generate(ctx context.Context, lm *decode.LM, o GenerateOptions) (*Generated, error) {
	capacity := len(o.PromptIDs) + o.MaxNewTokens
	if longest, _ := lm.Config.Context(); capacity > longest && len(o.PromptIDs) < longest {
		capacity = longest // the model's context ends the text earlier
		o.MaxNewTokens = longest - len(o.PromptIDs)
	}
	e, err := decode.NewEngine(lm.Worker, lm.Model, decode.Options{
		Slots: 1, Capacity: capacity, Recompute: o.Recompute,
		Ends: lm.Ends.Has, Text: lm.Completion,
	})
	if err != nil {
		return nil, err
	}
	defer e.Close() //nolint:errcheck // freeing memory does not fail
	if o.Noise.On(operation.Weights) {
		if err := lm.Worker.Do(func(s *torch.Scope) error {
			_, err := lm.PerturbWeights(s, o.Noise, philox.Weight, o.Seed, 0)
			return err
		}); err != nil {
			return nil, err
		}
		defer lm.Worker.Do(lm.Model.Restore) //nolint:errcheck // the model is not used again under this noise
	}
	in := lm.Injector(o.Noise)
	req := &decode.Request{
		Prompt: o.PromptIDs, MaxNew: o.MaxNewTokens, Schedule: o.Schedule, Logprobs: true,
		SampleKey: philox.NewKey(philox.Sample, o.Seed, 0, "0"),
		Draws:     noise.RunDraws(o.Seed, 0, "0"),
		Stops:     lm.Stops(o.Stop), InThink: lm.InThink(lm.Tokenizer.Decode(o.PromptIDs, false)),
	}
	var out decode.Completion
	if err := decode.Generate(ctx, e, in, func() (*decode.Request, struct{}, bool) {
		next := req
		req = nil
		return next, struct{}{}, next != nil
	}, func(_ struct{}, c decode.Completion) error {
		out = c
		return nil
	}); err != nil {
		return nil, err
	}
	if out.Err != nil {
		return nil, out.Err
	}
	if in != nil {
		if err := in.Effect().Check(); err != nil {
			return nil, err
		}
	}
	return &Generated{PromptIDs: o.PromptIDs, IDs: out.IDs, Text: out.Text, Finish: out.Finish, Logprobs: out.Logprobs}, nil
}
