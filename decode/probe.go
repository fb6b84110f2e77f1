package decode

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"runtime"
	"sync"

	"github.com/gsmeval/gsmeval/decode/model"
	"github.com/gsmeval/gsmeval/internal/condition"
	"github.com/gsmeval/gsmeval/internal/finish"
	"github.com/gsmeval/gsmeval/internal/torch"
	"github.com/gsmeval/gsmeval/noise"
	"github.com/gsmeval/gsmeval/noise/operation"
	"github.com/gsmeval/gsmeval/noise/philox"
)

// Probe is a sequence whose logits are wanted with and without noise.
type Probe struct {
	IDs      []int
	From     int    // logits are wanted at positions From, From+1, ..., len(IDs)-1
	Together int    // the spread of the noise is over the first Together positions, then over each later one alone
	Sample   string // what the noise is drawn for
	Step     uint32 // set where a longer prefix is recomputed under fresh noise
}

// Probing says what noise the probes are put under.
type Probing struct {
	Noise condition.Noise
	Draws int
	Seed  uint64
}

// Visit gets the clean and noisy logits [V] of one row of a probe; the slices are valid until it returns. Rows of one
// pass are visited at the same time, from several goroutines.
type Visit func(probe, draw, row int, clean, noisy []float32)

// Probe computes every probe once without noise and Draws times under noise, from the calibration's own random numbers.
func (lm *LM) Probe(ctx context.Context, probes []Probe, p Probing, visit Visit) (condition.Effect, error) {
	longest := 0
	for i, pr := range probes {
		if len(pr.IDs) == 0 || pr.From < 0 || pr.From >= len(pr.IDs) || pr.Together < 1 || pr.Together > len(pr.IDs) {
			return nil, fmt.Errorf("probe %d of %d tokens from %d with %d together is not possible", i, len(pr.IDs), pr.From, pr.Together)
		}
		longest = max(longest, len(pr.IDs))
	}
	spool, err := newSpool(lm.Model.Config.VocabSize)
	if err != nil {
		return nil, err
	}
	defer spool.close()
	var cache *model.Cache
	if err := lm.Worker.Do(func(s *torch.Scope) (err error) {
		cache, err = lm.Model.NewCache(s, 1, longest)
		return err
	}); err != nil {
		return nil, err
	}
	defer lm.Worker.Do(func(*torch.Scope) error { cache.Free(); return nil }) //nolint:errcheck // freeing memory does not fail

	total, done := int64(0), int64(0)
	for _, pr := range probes {
		total += int64(len(pr.IDs)) * int64(1+p.Draws)
	}
	pass := func(pr Probe, draws noise.Draws, in *noise.Injector, use func(z []float32) error) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		b := Prefix(pr.IDs, 0)
		b.From = pr.From
		b.Rows = NoiseRows(draws, len(pr.IDs), pr.Step)
		b.Rows.Together(pr.Together)
		defer func() {
			done += int64(len(pr.IDs))
			lm.tell("tokens with and without "+p.Noise.Label(), done, total)
		}()
		return lm.Worker.Do(func(s *torch.Scope) error {
			z := s.FloatView(s.Host(lm.Model.Forward(s, b, cache, in)))
			if s.Err() != nil {
				return s.Err()
			}
			return use(z)
		})
	}
	first := make([]int, len(probes)) // row of the spool where a probe's logits begin
	for i, pr := range probes {
		first[i] = spool.rows
		if err := pass(pr, noise.Draws{}, nil, spool.append); err != nil {
			return nil, err
		}
	}
	v := lm.Model.Config.VocabSize
	var effect condition.Effect
	in := noise.NewInjector(p.Noise, false)
	for draw := range p.Draws {
		restore := func() error { return nil }
		if p.Noise.On(operation.Weights) {
			if err := lm.Worker.Do(func(s *torch.Scope) (err error) {
				effect, err = lm.PerturbWeights(s, p.Noise, philox.CalibrationWeight, p.Seed, draw)
				return err
			}); err != nil {
				return nil, err
			}
			restore = func() error { return lm.Worker.Do(lm.Model.Restore) }
		}
		for i, pr := range probes {
			clean, err := spool.read(first[i], len(pr.IDs)-pr.From)
			if err == nil {
				err = pass(pr, noise.CalibrationDraws(p.Seed, draw, pr.Sample), in, func(z []float32) error {
					parallel(len(pr.IDs)-pr.From, func(row int) {
						visit(i, draw, row, clean[row*v:(row+1)*v], z[row*v:(row+1)*v])
					})
					return nil
				})
			}
			if err != nil {
				_ = restore()
				return nil, err
			}
		}
		if err := restore(); err != nil {
			return nil, err
		}
	}
	if in != nil {
		effect = append(effect, in.Effect()...)
	}
	return effect, effect.Check()
}

// PerturbWeights programs one chip: the weight noise of a seed and replicate. Model.Restore undoes it.
func (lm *LM) PerturbWeights(s *torch.Scope, n condition.Noise, domain philox.Domain, seed uint64, replicate int) (condition.Effect, error) {
	return lm.Model.Perturb(s, func(s *torch.Scope, params []noise.Param) (condition.Effect, error) {
		return noise.PerturbWeights(s, n, params, func(name string) philox.Key {
			return philox.NewKey(domain, seed, replicate, name)
		}, false)
	})
}

// Continue returns the clean greedy continuation of each prompt, up to n tokens; with pastEnd it goes on past an end token.
func (lm *LM) Continue(ctx context.Context, prompts [][]int, n int, pastEnd bool) ([][]int, error) {
	longest := 0
	for _, p := range prompts {
		longest = max(longest, len(p))
	}
	o := Options{Slots: min(len(prompts), 16), Capacity: longest + n}
	var steps int64
	rounds := (len(prompts) + o.Slots - 1) / max(o.Slots, 1)
	o.Stepped = func() {
		steps++
		lm.tell("steps of the clean continuations at most", steps, int64(rounds*n))
	}
	if !pastEnd {
		o.Ends = lm.Ends.Has
	}
	e, err := NewEngine(lm.Worker, lm.Model, o)
	if err != nil {
		return nil, err
	}
	defer e.Close() //nolint:errcheck // freeing memory does not fail
	out := make([][]int, len(prompts))
	i := 0
	err = Generate(ctx, e, nil, func() (*Request, int, bool) {
		if i == len(prompts) {
			return nil, 0, false
		}
		i++
		return &Request{Prompt: prompts[i-1], MaxNew: n}, i - 1, true
	}, func(prompt int, c Completion) error {
		if c.Err != nil {
			return c.Err
		}
		if c.Finish == finish.Nonfinite {
			return fmt.Errorf("the clean logits of prompt %d are not finite", prompt)
		}
		out[prompt] = c.IDs
		return nil
	})
	return out, err
}

// tell says how far something is that may take long.
func (lm *LM) tell(what string, done, total int64) {
	if lm.Working != nil {
		lm.Working(what, done, total)
	}
}

// parallel calls f(0), ..., f(n-1) from as many goroutines as there are processors.
func parallel(n int, f func(i int)) {
	var wg sync.WaitGroup
	workers := min(n, runtime.GOMAXPROCS(0))
	for w := range workers {
		wg.Go(func() {
			for i := w; i < n; i += workers {
				f(i)
			}
		})
	}
	wg.Wait()
}

// spool keeps rows of logits in an unnamed file: at a large vocabulary the clean logits of a calibration take more room
// than the model.
type spool struct {
	file *os.File
	v    int
	rows int
}

func newSpool(v int) (*spool, error) {
	f, err := os.CreateTemp("", "gsmeval-logits-*")
	if err != nil {
		return nil, fmt.Errorf("making a temporary file for logits: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, fmt.Errorf("making a temporary file for logits: %w", err)
	}
	return &spool{file: f, v: v}, nil
}

func (s *spool) append(z []float32) error {
	buf := make([]byte, 4*len(z))
	for i, x := range z {
		binary.LittleEndian.PutUint32(buf[4*i:], math.Float32bits(x))
	}
	if _, err := s.file.WriteAt(buf, int64(s.rows)*int64(4*s.v)); err != nil {
		return fmt.Errorf("keeping logits in a temporary file: %w", err)
	}
	s.rows += len(z) / s.v
	return nil
}

func (s *spool) read(row, n int) ([]float32, error) {
	buf := make([]byte, 4*n*s.v)
	if _, err := s.file.ReadAt(buf, int64(row)*int64(4*s.v)); err != nil {
		return nil, fmt.Errorf("reading logits from a temporary file: %w", err)
	}
	z := make([]float32, n*s.v)
	for i := range z {
		z[i] = math.Float32frombits(binary.LittleEndian.Uint32(buf[4*i:]))
	}
	return z, nil
}

func (s *spool) close() { _ = s.file.Close() }
