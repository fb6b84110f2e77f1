package advise

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/gsmeval/gsmeval/decode"
	"github.com/gsmeval/gsmeval/harness/session"
	"github.com/gsmeval/gsmeval/internal/condition"
	"github.com/gsmeval/gsmeval/internal/config"
	"github.com/gsmeval/gsmeval/noise"
	"github.com/gsmeval/gsmeval/noise/operation"
)

// The measurement of a dry run: so many decode steps, and again while it is quick, since the machine may be busy.
const (
	trialSteps = 8
	trialTimes = 3
	trialQuick = 2 * time.Second
)

// estimate measures prefill and decode steps and extrapolates to the whole run.
func estimate(ctx context.Context, cfg *config.Config, dir string, f *Forecast, prompts []session.Prompt,
	capacity int,
) (*TimeEstimate, error) {
	lm, err := decode.Load(dir, decode.LoadOptions{
		DType: cfg.Model.DType, Device: cfg.Model.Device, Threads: cfg.Threads, TF32: cfg.Model.TF32,
	})
	if err != nil {
		return nil, err
	}
	defer lm.Close() //nolint:errcheck // freeing memory does not fail
	slots := cached(cfg)
	e, err := decode.NewEngine(lm.Worker, lm.Model, decode.Options{
		Slots: slots, Capacity: capacity,
		Recompute: !cfg.Generation.KVCache, Eager: !cfg.Model.Graphs,
	})
	if err != nil {
		return nil, err
	}
	defer e.Close() //nolint:errcheck // freeing memory does not fail
	s := stopwatch{ctx, e, costliest(cfg.Noise), noise.CalibrationDraws(cfg.Seed, 0, "dry run")}
	prompt := middling(prompts, capacity-cfg.Generation.MaxNewTokens)
	if _, err := s.decodeEqual(1, prompt, 1); err != nil { // the first pass sets libtorch up
		return nil, err
	}
	prefill, err := s.best(1, prompt, 1)
	if err != nil {
		return nil, err
	}
	t := &TimeEstimate{PrefillSeconds: prefill}
	if cfg.Generation.KVCache {
		steps := min(trialSteps, cfg.Generation.MaxNewTokens)
		short, err1 := s.best(slots, prompt[:1], 1)
		long, err2 := s.best(slots, prompt[:1], 1+steps)
		if err := errors.Join(err1, err2); err != nil {
			return nil, err
		}
		t.StepSeconds = max(long-short, 0) / float64(steps)
	}
	t.MostSeconds = f.seconds(t, cfg, slots, float64(len(prompt)))
	return t, nil
}

// stopwatch times an engine.
type stopwatch struct {
	ctx    context.Context //nolint:containedctx // of one measurement
	engine *decode.Engine
	noise  condition.Noise
	draws  noise.Draws
}

// best is the shortest time of some.
func (s stopwatch) best(sequences int, prompt []int, maxNew int) (float64, error) {
	begin, best := time.Now(), math.Inf(1)
	for i := 0; i < trialTimes && (i == 0 || time.Since(begin) < trialQuick); i++ {
		seconds, err := s.decodeEqual(sequences, prompt, maxNew)
		if err != nil {
			return 0, err
		}
		best = min(best, seconds)
	}
	return best, nil
}

// decodeEqual decodes equal sequences and returns the seconds that it took.
func (s stopwatch) decodeEqual(sequences int, prompt []int, maxNew int) (float64, error) {
	r := &decode.Request{Prompt: prompt, MaxNew: maxNew, Schedule: condition.Greedy(), Draws: s.draws}
	var failed error
	begin := time.Now()
	in := noise.NewInjector(s.noise, false).With(anyRange)
	err := decode.Generate(s.ctx, s.engine, in, func() (*decode.Request, int, bool) {
		sequences--
		return r, sequences, sequences >= 0
	}, func(_ int, c decode.Completion) error {
		failed = errors.Join(failed, c.Err)
		return nil
	})
	return time.Since(begin).Seconds(), errors.Join(err, failed)
}

// anyRange stands for what calibration prompts would give static quantisers: it takes no less time.
func anyRange(operation.Place, uint32) (operation.Range, bool) {
	return operation.Range{Lo: -1, Hi: 1}, true
}

// seconds is the time of the whole run, were every text as long as the limit.
func (f *Forecast) seconds(t *TimeEstimate, cfg *config.Config, slots int, promptTokens float64) float64 {
	maxNew := float64(cfg.Generation.MaxNewTokens)
	samples := float64(f.TokensMost) / maxNew   // two for one that takes two rows
	perToken := t.PrefillSeconds / promptTokens // of a prefill
	run := samples*t.PrefillSeconds + math.Ceil(samples/float64(slots))*maxNew*t.StepSeconds
	if !cfg.Generation.KVCache { // a step computes the whole prefix, which grows to promptTokens + maxNew
		run = samples * perToken * maxNew * (promptTokens + maxNew/2)
	}
	if c := f.Calibration; c != nil {
		run += float64(c.TokensAtMost) * perToken
	}
	return run
}

// middling is the prompt of middle length among those that fit, so that one prefill stands for all.
func middling(prompts []session.Prompt, most int) []int {
	best, mean, n := []int(nil), 0.0, 0.0
	for _, p := range prompts {
		if len(p.IDs) <= most {
			mean, n = mean+float64(len(p.IDs)), n+1
		}
	}
	mean /= n
	for _, p := range prompts {
		if len(p.IDs) <= most &&
			(best == nil || math.Abs(float64(len(p.IDs))-mean) < math.Abs(float64(len(best))-mean)) {
			best = p.IDs
		}
	}
	return best
}

// costliest is the noise that a step takes longest with: one on activations, where there is one.
func costliest(noises []condition.Noise) condition.Noise {
	for _, n := range noises {
		if n.OnRows() {
			return n
		}
	}
	return condition.Noise{Kind: condition.None}
}
