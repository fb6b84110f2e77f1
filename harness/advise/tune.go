package advise

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"github.com/gsmeval/gsmeval/decode"
	"github.com/gsmeval/gsmeval/internal/condition"
	"github.com/gsmeval/gsmeval/noise"
)

// Tuning is one way to compute a model on this machine, and how fast it was.
type Tuning struct {
	Threads   int     `json:"threads"`
	BatchSize int     `json:"batch_size"`
	Rate      float64 `json:"tokens_per_second"` // decoding under activation noise; prompts are not counted
}

// Keys are the config keys that choose it, as --set takes them.
func (t Tuning) Keys() string {
	return fmt.Sprintf("--set threads=%d --set generation.batch_size=%d", t.Threads, t.BatchSize)
}

const (
	tunePrompt = 64 // tokens of each prompt
	tuneWarm   = 4  // decode steps before the clock runs
	tuneSteps  = 24 // decode steps that are timed
)

// Tune decodes with the model in dir for a moment in every way that the config can choose, the fastest first. It only
// measures: a run takes what its config says, so that its fingerprint does not depend on how busy a machine was.
func Tune(ctx context.Context, dir, dtype string, stderr io.Writer) ([]Tuning, error) {
	threads := []int{1}
	for n := 2; n <= runtime.NumCPU(); n *= 2 {
		threads = append(threads, n)
	}
	var found []Tuning
	for _, n := range threads {
		rates, err := tuneOne(ctx, dir, dtype, n, stderr)
		if err != nil {
			return nil, err
		}
		found = append(found, rates...)
	}
	slices.SortStableFunc(found, func(a, b Tuning) int { return cmp.Compare(b.Rate, a.Rate) })
	return found, nil
}

// tuneOne measures the batch sizes on so many threads.
func tuneOne(ctx context.Context, dir, dtype string, threads int, stderr io.Writer) (found []Tuning, err error) {
	lm, err := decode.Load(dir, decode.LoadOptions{Device: "cpu", DType: dtype, Threads: threads})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, lm.Close()) }()
	for _, batch := range []int{1, 8, 32, 64} {
		t := Tuning{Threads: threads, BatchSize: batch}
		if t.Rate, err = decodeRate(ctx, lm, batch); err != nil {
			return nil, fmt.Errorf("decoding %d sequences on %d threads: %w", batch, threads, err)
		}
		_, _ = fmt.Fprintf(stderr, "threads %d, batch_size %d: %.0f tokens/s\n", threads, batch, t.Rate)
		found = append(found, t)
	}
	return found, nil
}

// decodeRate is how many tokens a second the engine decodes in so many slots, all of them busy.
func decodeRate(ctx context.Context, lm *decode.LM, slots int) (rate float64, err error) {
	// Ends is asked about every token that is chosen, from several goroutines: it is a clock of tokens. The first of
	// each slot comes of its prompt.
	var chosen atomic.Int64
	var begin, end time.Time
	first, last := int64(slots*(1+tuneWarm)), int64(slots*(1+tuneWarm+tuneSteps))
	e, err := decode.NewEngine(lm.Worker, lm.Model, decode.Options{
		Slots: slots, Capacity: tunePrompt + tuneWarm + tuneSteps + 1,
		Ends: func(int) bool {
			switch chosen.Add(1) {
			case first:
				begin = time.Now()
			case last:
				end = time.Now()
			}
			return false
		},
	})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	prompt := make([]int, tunePrompt)
	for i := range prompt {
		prompt[i] = (31*i + 5) % lm.Config.VocabSize
	}
	i := 0
	in := noise.NewInjector(condition.Noise{Kind: condition.Activation, Scale: 0.05}, false)
	err = decode.Generate(ctx, e, in, func() (*decode.Request, int, bool) {
		i++
		return &decode.Request{Prompt: prompt, MaxNew: 1 + tuneWarm + tuneSteps, Schedule: condition.ConstantT(1)}, i,
			i <= slots
	}, func(_ int, c decode.Completion) error { return c.Err })
	return float64(slots*tuneSteps) / end.Sub(begin).Seconds(), err
}
