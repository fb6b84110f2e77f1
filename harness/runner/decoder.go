package runner

import (
	"context"
	"fmt"
	"strings"

	"github.com/gsmeval/gsmeval/decode"
	"github.com/gsmeval/gsmeval/harness/session"
	"github.com/gsmeval/gsmeval/internal/condition"
	"github.com/gsmeval/gsmeval/internal/torch"
	"github.com/gsmeval/gsmeval/noise/operation"
	"github.com/gsmeval/gsmeval/noise/philox"
)

// decoder turns requests into completions. It is the model, or a stub in tests of runs.
type decoder interface {
	// decode produces what next hands out under one noise and gives it to sink.
	decode(ctx context.Context, p pass, next decode.Source[todo], sink decode.Sink[todo]) error
	close() error
}

// pass is the noise of one pass over samples that share their weights.
type pass struct {
	noise     condition.Noise
	seed      uint64
	replicate int // of the weights
	// programmed is told what the weight noise did, before the first sample.
	programmed func(condition.Effect)
}

// lmDecoder decodes with a model.
type lmDecoder struct {
	lm     *decode.LM
	engine *decode.Engine
}

func newLMDecoder(lm *decode.LM, o decode.Options) (*lmDecoder, error) {
	engine, err := decode.NewEngine(lm.Worker, lm.Model, o)
	if err != nil && lm.GPU != nil && strings.Contains(err.Error(), "out of memory") {
		err = fmt.Errorf("%w; %s", err, roomOn(lm, o))
	}
	if err != nil {
		return nil, err
	}
	return &lmDecoder{lm, engine}, nil
}

// roomOn says which batch size would fit a model's GPU.
func roomOn(lm *decode.LM, o decode.Options) string {
	p, err := session.CountParameters(lm.Dir)
	if err != nil {
		return "set a smaller generation.batch_size"
	}
	weights, slot, logits := session.GPUNeed(lm.Config, p.Parameters, lm.Model.DType.String(), 1, o.Capacity)
	return session.Fitting(lm.GPU.Free, weights, slot, logits, o.Slots)
}

func (d *lmDecoder) close() error { return d.engine.Close() }

// decode programs the chip, decodes and restores the weights. Activation noise that changed nothing is
// condition.ErrNoEffect.
func (d *lmDecoder) decode(ctx context.Context, p pass, next decode.Source[todo], sink decode.Sink[todo]) (err error) {
	if p.noise.On(operation.Weights) {
		var effect condition.Effect
		if err := d.lm.Worker.Do(func(s *torch.Scope) (err error) {
			effect, err = d.lm.PerturbWeights(s, p.noise, philox.Weight, p.seed, p.replicate)
			return err
		}); err != nil {
			return err
		}
		defer func() {
			if restoreErr := d.lm.Worker.Do(d.lm.Model.Restore); restoreErr != nil && err == nil {
				err = fmt.Errorf("undoing the weight noise: %w", restoreErr)
			}
		}()
		p.programmed(effect)
	}
	injector := d.lm.Injector(p.noise)
	return decode.Generate(ctx, d.engine, injector, next, func(t todo, c decode.Completion) error {
		// Checked before a sample is kept: what the journal holds is not decoded, and so not checked, again.
		if injector != nil && c.Err == nil && c.Effect.Noise2 == 0 {
			if err := injector.Effect().Check(); err != nil {
				return err
			}
		}
		return sink(t, c)
	})
}
