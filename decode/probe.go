package decode

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"strconv"
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
	Clean *Clean // keeps the logits without noise for other probings; nil for none
}

// Clean keeps the logits of probes without noise, in a temporary file.
type Clean struct {
	*spool
	at map[string]int // row where the logits of a sequence begin, by its tokens and From
}

// NewClean has no logits yet.
func (lm *LM) NewClean() (*Clean, error) {
	s, err := newSpool(lm.Model.Config.VocabSize)
	return &Clean{s, map[string]int{}}, err
}

// Close frees the file.
func (c *Clean) Close() { c.close() }

// key is what the clean logits of a probe depend on.
func (p Probe) key() string { return fmt.Sprint(p.From, p.IDs) }

// Visit gets the clean and noisy logits [V] of one row of a probe; the slices are valid until it returns. Rows of one
// pass are visited at the same time, from several goroutines.
type Visit func(probe, draw, row int, clean, noisy []float32)

// VisitDraws gets the clean logits [V] of one row of a probe and those of all draws, as Visit does.
type VisitDraws func(probe, row int, clean []float32, draws [][]float32)

// Probe computes every probe once without noise and Draws times under noise, from the calibration's own random numbers.
func (lm *LM) Probe(ctx context.Context, probes []Probe, p Probing, visit Visit) (condition.Effect, error) {
	b, err := lm.newProber(ctx, probes, p)
	if err != nil {
		return nil, err
	}
	defer b.close()
	v := lm.Model.Config.VocabSize
	for draw := range p.Draws {
		if err := b.programmed(draw, func() error {
			for i, pr := range probes {
				n := len(pr.IDs) - pr.From
				clean, err := b.clean.read(b.first[i], n)
				if err != nil {
					return err
				}
				if err := b.noisy(ctx, i, draw, func(z []float32) error {
					parallel(n, func(row int) { visit(i, draw, row, clean[row*v:(row+1)*v], z[row*v:(row+1)*v]) })
					return nil
				}); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return nil, err
		}
	}
	return b.done()
}

// ProbeDraws is Probe with all draws of a row at once, for a noise whose weights are the same in every draw. The noisy
// logits of one probe at a time lie in a temporary file.
func (lm *LM) ProbeDraws(ctx context.Context, probes []Probe, p Probing, visit VisitDraws) (condition.Effect, error) {
	if p.Noise.Chips() {
		return nil, fmt.Errorf("%s has other weights in every draw: its draws cannot be put together", p.Noise.Label())
	}
	b, err := lm.newProber(ctx, probes, p)
	if err != nil {
		return nil, err
	}
	defer b.close()
	noisy, err := newSpool(lm.Model.Config.VocabSize)
	if err != nil {
		return nil, err
	}
	defer noisy.close()
	if err := b.programmed(0, func() error {
		for i, pr := range probes {
			noisy.rows = 0
			for draw := range p.Draws {
				if err := b.noisy(ctx, i, draw, noisy.append); err != nil {
					return err
				}
			}
			n := len(pr.IDs) - pr.From
			failed := make([]error, n)
			parallel(n, func(row int) {
				clean, err := b.clean.read(b.first[i]+row, 1)
				draws := make([][]float32, p.Draws)
				for d := range draws {
					if err == nil {
						draws[d], err = noisy.read(d*n+row, 1)
					}
				}
				if failed[row] = err; err == nil {
					visit(i, row, clean, draws)
				}
			})
			if err := errors.Join(failed...); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return nil, err
	}
	return b.done()
}

// prober computes probes: all of them without noise at first, and then each under draws of it.
type prober struct {
	lm     *LM
	probes []Probe
	p      Probing
	cache  *model.Cache
	clean  *Clean
	first  []int // row of clean where a probe's logits begin
	in     *noise.Injector
	effect condition.Effect // on the weights

	tokens, total int64 // computed, and in all
}

func (lm *LM) newProber(ctx context.Context, probes []Probe, p Probing) (*prober, error) {
	longest := 0
	for i, pr := range probes {
		if len(pr.IDs) == 0 || pr.From < 0 || pr.From >= len(pr.IDs) || pr.Together < 1 || pr.Together > len(pr.IDs) {
			return nil, fmt.Errorf("probe %d of %d tokens from %d with %d together is not possible", i, len(pr.IDs),
				pr.From, pr.Together)
		}
		longest = max(longest, len(pr.IDs))
	}
	b := &prober{
		lm: lm, probes: probes, p: p, first: make([]int, len(probes)), in: lm.Injector(p.Noise), clean: p.Clean,
	}
	var err error
	if b.clean == nil {
		if b.clean, err = lm.NewClean(); err != nil {
			return nil, err
		}
	}
	keys, missing := make([]string, len(probes)), map[string]bool{}
	for i, pr := range probes {
		keys[i] = pr.key()
		b.total += int64(len(pr.IDs)) * int64(p.Draws)
		if _, known := b.clean.at[keys[i]]; !known && !missing[keys[i]] {
			missing[keys[i]] = true
			b.total += int64(len(pr.IDs))
		}
	}
	err = lm.Worker.Do(func(s *torch.Scope) (err error) {
		b.cache, err = lm.Model.NewCache(s, 1, longest)
		return err
	})
	for i := 0; i < len(probes) && err == nil; i++ {
		at, known := b.clean.at[keys[i]]
		if !known {
			at = b.clean.rows
			if err = b.pass(ctx, probes[i], noise.Draws{}, nil, b.clean.append); err == nil {
				b.clean.at[keys[i]] = at
			}
		}
		b.first[i] = at
	}
	if err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

func (b *prober) close() {
	if b.p.Clean == nil {
		b.clean.close()
	}
	if b.cache != nil {
		_ = b.lm.Worker.Do(func(*torch.Scope) error { b.cache.Free(); return nil }) // freeing memory does not fail
	}
}

// pass computes one probe.
func (b *prober) pass(ctx context.Context, pr Probe, draws noise.Draws, in *noise.Injector,
	use func(z []float32) error,
) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	batch := Prefix(pr.IDs, 0)
	batch.From = pr.From
	batch.Rows = NoiseRows(draws, len(pr.IDs), pr.Step)
	batch.Rows.Together(pr.Together)
	defer func() {
		b.tokens += int64(len(pr.IDs))
		b.lm.tell("tokens with and without "+b.p.Noise.Label(), b.tokens, b.total)
	}()
	return b.lm.Worker.Do(func(s *torch.Scope) error {
		z := s.FloatView(s.Host(b.lm.Model.Forward(s, batch, b.cache, in)))
		if s.Err() != nil {
			return s.Err()
		}
		return use(z)
	})
}

// noisy computes probe i under a draw.
func (b *prober) noisy(ctx context.Context, i, draw int, use func(z []float32) error) error {
	return b.pass(ctx, b.probes[i], noise.CalibrationDraws(b.p.Seed, draw, b.probes[i].Sample), b.in, use)
}

// programmed calls f with the weights of a draw.
func (b *prober) programmed(draw int, f func() error) error {
	if !b.p.Noise.On(operation.Weights) {
		return f()
	}
	if err := b.lm.Worker.Do(func(s *torch.Scope) (err error) {
		b.effect, err = b.lm.PerturbWeights(s, b.p.Noise, philox.CalibrationWeight, b.p.Seed, draw)
		return err
	}); err != nil {
		return err
	}
	return errors.Join(f(), b.lm.Worker.Do(b.lm.Model.Restore))
}

// done is the effect of all draws.
func (b *prober) done() (condition.Effect, error) {
	effect := b.effect
	if b.in != nil {
		effect = append(effect, b.in.Effect()...)
	}
	return effect, effect.Check()
}

// PerturbWeights programs one chip: the weight noise of a seed and replicate. Model.Restore undoes it.
func (lm *LM) PerturbWeights(s *torch.Scope, n condition.Noise, domain philox.Domain, seed uint64,
	replicate int,
) (condition.Effect, error) {
	return lm.Model.Perturb(s, func(s *torch.Scope, params []noise.Param) (condition.Effect, error) {
		return noise.PerturbWeights(s, n, params, func(name string) philox.Key {
			return philox.NewKey(domain, seed, replicate, name)
		}, false)
	})
}

// Continue returns the clean greedy continuation of each prompt, up to n tokens; with pastEnd it goes on past an end
// token.
func (lm *LM) Continue(ctx context.Context, prompts [][]int, n int, pastEnd bool) ([][]int, error) {
	return lm.continuations(ctx, prompts, n, pastEnd, func(i int) *Request { return &Request{Prompt: prompts[i]} })
}

// ContinueSampled returns a clean continuation of each prompt that is sampled at a temperature, up to n tokens or its
// end. Its random numbers are the calibration's own.
func (lm *LM) ContinueSampled(ctx context.Context, prompts [][]int, n int, temperature float64, seed uint64) ([][]int,
	error,
) {
	return lm.continuations(ctx, prompts, n, false, func(i int) *Request {
		return &Request{
			Prompt: prompts[i], Schedule: condition.ConstantT(temperature),
			SampleKey: philox.NewKey(philox.CalibrationSample, seed, 0, strconv.Itoa(i)),
		}
	})
}

func (lm *LM) continuations(ctx context.Context, prompts [][]int, n int, pastEnd bool,
	request func(i int) *Request,
) ([][]int, error) {
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
		r := request(i - 1)
		r.MaxNew = n
		return r, i - 1, true
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
