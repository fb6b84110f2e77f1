// Package decode generates: a fixed number of batch slots, a key-value cache, and for each sequence its own noise keys,
// temperatures and random numbers.
//
// A sample depends on its request and on nothing else: not on its neighbours in the batch, its slot, the order of the
// requests or what was done before. Three rules make it so. A prompt is computed alone, in one pass of its own length.
// A decode step always has the same number of rows, dead slots included, because on a GPU a matrix product's bits may
// depend on the number of rows but not on what stands in the others. And every kernel between the products works row by
// row.
package decode

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/gsmeval/gsmeval/decode/model"
	"github.com/gsmeval/gsmeval/internal/condition"
	"github.com/gsmeval/gsmeval/internal/finish"
	"github.com/gsmeval/gsmeval/internal/torch"
	"github.com/gsmeval/gsmeval/noise"
	"github.com/gsmeval/gsmeval/noise/philox"
)

// Request is one sequence to generate.
type Request struct {
	Prompt    []int
	MaxNew    int
	Schedule  condition.Schedule
	Filter    Filter
	SampleKey philox.Key  // random numbers of the sampling
	Draws     noise.Draws // random numbers of the noise on activations
	Second    noise.Draws // those of the second row, where the schedule computes twice
	Stops     *Stops      // strings that end the text too, or nil
	InThink   bool        // the prompt ends inside a thought, where they do not
	Logprobs  bool        // report the log probability of each token
}

// Completion is a generated sequence.
type Completion struct {
	Text     string    // what the tokens say, up to the first stop string
	IDs      []int     // generated tokens, the end token included
	Logprobs []float64 // log softmax of the untempered logits, for each id
	Finish   finish.Reason
	Err      error // why an operation failed; it is the sample's, not the run's

	TMin, TMax, TMean float64 // temperatures used; NaN when greedy

	Effect condition.SiteEffect // of the noise on the sequence's own rows, over all sites
}

// Options configure an Engine.
type Options struct {
	Slots     int  // sequences decoded together; every decode step has this many rows
	Capacity  int  // longest sequence, prompt and generated tokens together
	Recompute bool // no key-value cache: each step computes the whole prefix anew, under noise of its own
	Ends      func(id int) bool
	Text      func(ids []int) string // what tokens say; nil leaves Completion.Text empty
	Eager     bool                   // no CUDA graphs
	Stepped   func()                 // if not nil, is called after every decode step
	// Noise is what there will be decoding under: its memory on a device is taken at the start too.
	Noise []condition.Noise
}

// Engine decodes on one model. It is used by one goroutine at a time.
type Engine struct {
	worker *torch.Worker
	model  *model.Model
	opt    Options
	cache  *model.Cache
	slots  []slot
	rows   *noise.Rows // of a decode step
	batch  model.Batch // of a decode step
	device *deviceLoop // for decode steps that another device than the CPU computes
	loop   *deviceLoop // what takes them under the noise at hand: device, or nil
	prompt prefilled   // the last prompt that was computed, for others that are equal

	held    *Request // waits in the slot holding until a second one is free
	holding int
}

// prefilled is a prompt that stands in the cache, with what computing it gave.
type prefilled struct {
	ids    []int
	slot   int                  // whose cache holds its keys and values
	logits []float32            // [V], of its last position
	effect condition.SiteEffect // of the noise on its rows
}

type slot struct {
	live    bool
	req     *Request
	res     Completion
	stepper condition.Stepper // where the schedule is adaptive
	next    int               // token that the next step feeds
	pos     int               // its position
	sampled int               // tokens that were sampled at a temperature
	filter  Filter

	// Where the schedule computes twice, a second slot computes the same tokens under noise of its own. The first
	// chooses.
	second, first *slot
}

// draws are the random numbers of the slot's noise.
func (sl *slot) draws() noise.Draws {
	if sl.first != nil {
		return sl.req.Second
	}
	return sl.req.Draws
}

// owner is the slot whose sequence this one computes.
func (sl *slot) owner() *slot {
	if sl.first != nil {
		return sl.first
	}
	return sl
}

// chooses tells whether the slot's sequence is chosen here.
func (sl *slot) chooses() bool { return sl.live && sl.first == nil }

// filter is the request's, with what its schedule narrows.
func (r *Request) filter() Filter {
	f := r.Filter
	f.TopNSigma = max(f.TopNSigma, r.Schedule.TopNSigma)
	if r.Schedule.MinP > 0 {
		f.MinP = r.Schedule.MinP
	}
	return f
}

// NewEngine takes the memory of the cache.
func NewEngine(w *torch.Worker, m *model.Model, o Options) (*Engine, error) {
	if o.Slots < 1 || o.Capacity < 2 {
		return nil, fmt.Errorf("an engine of %d slots and %d positions is too small", o.Slots, o.Capacity)
	}
	e := &Engine{worker: w, model: m, opt: o, slots: make([]slot, o.Slots)}
	cached := o.Slots
	if o.Recompute {
		cached = 1
	}
	if err := w.Do(func(s *torch.Scope) (err error) {
		e.cache, err = m.NewCache(s, cached, o.Capacity)
		if err == nil && m.OnDevice() && !o.Recompute {
			capture := runEagerly
			if m.Device != torch.CPU && !o.Eager {
				capture = captureGraph
			}
			e.device, err = newDeviceLoop(s, e, capture)
		}
		if err == nil && m.Device != torch.CPU {
			err = e.warmUp(s, injectors(o.Noise)...)
		}
		return err
	}); err != nil {
		return nil, err
	}
	e.rows = noise.NewRows(o.Slots)
	e.rows.Dead = make([]bool, o.Slots)
	e.rows.Each()
	e.batch = model.Batch{
		Tokens: make([]int64, o.Slots), Slots: make([]int32, o.Slots), Positions: make([]int32, o.Slots),
		To: o.Slots, Rows: e.rows,
	}
	for i := range e.batch.Slots {
		e.batch.Slots[i] = int32(i)
	}
	return e, nil
}

// injectors are those of the noises that act on activations.
func injectors(noises []condition.Noise) (all []*noise.Injector) {
	for _, n := range noises {
		if in := noise.NewInjector(n, false); in != nil {
			all = append(all, in)
		}
	}
	return all
}

// Close frees the cache.
func (e *Engine) Close() error {
	return e.worker.Do(func(*torch.Scope) error {
		if e.device != nil {
			e.device.free()
		}
		e.cache.Free()
		return nil
	})
}

// Source hands out requests until there are none; tag comes back with the completion.
type Source[T any] func() (req *Request, tag T, ok bool)

// Sink takes a finished sequence; an error ends the generation.
type Sink[T any] func(tag T, c Completion) error

// Generate decodes every request of next under the injector's noise (nil: none), and gives each completion to done as
// it ends. It returns between two steps when ctx is done.
func Generate[T any](ctx context.Context, e *Engine, in *noise.Injector, next Source[T], done Sink[T]) error {
	tags := make([]T, len(e.slots))
	return e.generate(ctx, in, func(slot int) (*Request, bool) {
		req, tag, ok := next()
		tags[slot] = tag
		return req, ok
	}, func(slot int, c Completion) error { return done(tags[slot], c) })
}

// finished takes the completion of a slot.
type finished func(slot int, c Completion) error

func (e *Engine) generate(ctx context.Context, in *noise.Injector, next func(slot int) (*Request, bool),
	done finished,
) error {
	for i := range e.slots {
		e.slots[i] = slot{}
	}
	e.prompt = prefilled{} // the weights may be others now
	e.held = nil
	e.loop = e.device
	if in.OnHost() {
		e.loop = nil // an operation without a kernel needs the host at every Linear
	}
	if e.loop != nil {
		if err := e.worker.Do(func(*torch.Scope) error {
			e.loop.begin(in)
			return nil
		}); err != nil {
			return err
		}
	}
	more := true
	for {
		if err := e.fill(ctx, in, &more, next, done); err != nil {
			return err
		}
		live := 0
		for i := range e.slots {
			if e.slots[i].live {
				live++
			}
		}
		switch {
		case live > 0:
			if err := e.step(in, done); err != nil {
				return err
			}
			if e.opt.Stepped != nil {
				e.opt.Stepped()
			}
		case e.held == nil:
			return nil
		}
	}
}

// fill starts requests in the slots that are free. A request that needs two is held until a second one is free, and
// nothing else is started meanwhile; more is false from when there are no requests left.
func (e *Engine) fill(ctx context.Context, in *noise.Injector, more *bool, next func(slot int) (*Request, bool),
	done finished,
) error {
	for i := range e.slots {
		for !e.slots[i].live && (*more || e.held != nil) {
			if err := ctx.Err(); err != nil {
				return err
			}
			first, second, req := i, -1, e.held
			switch {
			case req != nil && i == e.holding:
			case req != nil:
				first, second, e.held = e.holding, i, nil
			default:
				var ok bool
				if req, ok = next(i); !ok {
					req, *more = nil, false
				} else if req.Schedule.Twice && len(e.slots) < 2 {
					return errors.New("computing every token twice takes two rows: set generation.batch_size to 2 or more")
				} else if req.Schedule.Twice {
					e.held, e.holding = req, i
				}
			}
			if req == nil || e.held != nil {
				break
			}
			if err := e.start(first, second, req, in, done); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

// start prefills slot i, and a second one unless that is -1, and chooses the first token.
func (e *Engine) start(i, second int, req *Request, in *noise.Injector, done finished) error {
	n := len(req.Prompt)
	if n == 0 {
		return errors.New("a prompt without tokens cannot be continued")
	}
	if req.MaxNew < 1 {
		return fmt.Errorf("a limit of %d new tokens leaves nothing to generate", req.MaxNew)
	}
	if n+req.MaxNew > e.opt.Capacity {
		return fmt.Errorf("a prompt of %d tokens with %d new ones does not fit the %d positions that were reserved", n,
			req.MaxNew, e.opt.Capacity)
	}
	for _, id := range req.Prompt {
		if id < 0 || id >= e.model.Config.VocabSize {
			return fmt.Errorf("token id %d is outside the model's vocabulary of %d", id, e.model.Config.VocabSize)
		}
	}
	sl := &e.slots[i]
	*sl = slot{live: true, req: req, pos: n - 1, filter: req.filter()}
	if second >= 0 {
		sl.second = &e.slots[second]
		*sl.second = slot{live: true, req: req, pos: n - 1, first: sl}
	}
	if req.Schedule.Adaptive != nil {
		sl.stepper = req.Schedule.Adaptive()
	}
	sl.res.TMin, sl.res.TMax, sl.res.TMean = math.Inf(1), math.Inf(-1), 0
	if req.Schedule.IsGreedy() {
		sl.res.TMin, sl.res.TMax, sl.res.TMean = math.NaN(), math.NaN(), math.NaN()
	}
	if from := e.holder(i, req.Prompt); from >= 0 && second < 0 {
		return e.repeat(i, from, done)
	}
	return e.prefix(i, req.Prompt, in, done)
}

// holder is a slot whose cache holds a prompt that slot i is to begin with, or -1. On the host a slot that has just
// ended still holds its own, because no step is taken before it begins anew; on a device steps may have been taken, so
// that only those of live slots are sure.
func (e *Engine) holder(i int, prompt []int) int {
	switch {
	case !slices.Equal(e.prompt.ids, prompt):
		return -1
	case e.loop == nil:
		return e.prompt.slot
	}
	for j := range e.slots {
		if sl := &e.slots[j]; j != i && sl.live && slices.Equal(sl.req.Prompt, prompt) {
			return j
		}
	}
	return -1
}

// repeat begins slot i with the prompt that was computed last: it gets a copy of the keys and values of a slot, and
// chooses by the same logits.
func (e *Engine) repeat(i, from int, done finished) error {
	sl, p := &e.slots[i], &e.prompt
	sl.res.Effect = p.effect
	if err := e.worker.Do(func(s *torch.Scope) error {
		if i != from {
			e.cache.Copy(s, from, i, len(p.ids))
		}
		e.choose(sl, slices.Clone(p.logits), nil)
		if e.loop != nil && sl.res.Finish == "" {
			e.loop.started(s, i)
		}
		return s.Err()
	}); err != nil {
		sl.fail(fmt.Errorf("copying %d tokens: %w", len(p.ids), err))
	}
	return e.flush(i, done)
}

// prefix runs a whole prefix through the model in one pass and chooses the next token of slot i.
func (e *Engine) prefix(i int, ids []int, in *noise.Injector, done finished) error {
	sl := &e.slots[i]
	err := e.worker.Do(func(s *torch.Scope) error {
		z := e.whole(s, sl, i, ids, in)
		var other []float32
		second := -1
		if sl.second != nil {
			second = e.index(sl.second)
			other = e.whole(s, sl.second, second, ids, in)
		}
		if s.Err() != nil {
			return s.Err()
		}
		e.choose(sl, z, other)
		if e.loop != nil && sl.res.Finish == "" {
			e.loop.started(s, i)
			if second >= 0 {
				e.loop.started(s, second)
			}
		}
		return s.Err()
	})
	if err != nil {
		sl.fail(fmt.Errorf("computing %d tokens: %w", len(ids), err))
	}
	return e.flush(i, done)
}

// whole is the logits after a whole prefix, under the noise of slot i.
func (e *Engine) whole(s *torch.Scope, sl *slot, i int, ids []int, in *noise.Injector) []float32 {
	cacheSlot, step := int32(i), uint32(0)
	if e.opt.Recompute {
		cacheSlot, step = 0, uint32(len(sl.owner().res.IDs))
	}
	if i == e.prompt.slot {
		e.prompt = prefilled{} // its keys and values go
	}
	b := Prefix(ids, cacheSlot)
	b.Rows = NoiseRows(sl.draws(), len(ids), step)
	z := s.FloatView(s.Host(e.model.Forward(s, b, e.cache, in)))
	if s.Err() != nil {
		return nil
	}
	sl.owner().collect(b.Rows, 0, len(ids))
	if !e.opt.Recompute && !in.Random() && sl.second == nil && sl.first == nil {
		e.prompt = prefilled{slices.Clone(ids), i, slices.Clone(z), sl.res.Effect}
	}
	return z
}

// index is that of a slot.
func (e *Engine) index(sl *slot) int {
	return slices.IndexFunc(e.batch.Slots, func(i int32) bool { return &e.slots[i] == sl })
}

// Prefix is the batch of one sequence's tokens from position 0 on, with the logits of the last.
func Prefix(ids []int, slot int32) *model.Batch {
	n := len(ids)
	b := &model.Batch{
		Tokens: make([]int64, n), Slots: make([]int32, n), Positions: make([]int32, n), From: n - 1,
		To: n,
	}
	for p, id := range ids {
		b.Tokens[p], b.Slots[p], b.Positions[p] = int64(id), slot, int32(p)
	}
	return b
}

// NoiseRows says what the noise of positions 0..n-1 of one sequence is drawn for, with one spread over all of them.
func NoiseRows(d noise.Draws, n int, step uint32) *noise.Rows {
	rows := noise.NewRows(n)
	for p := range n {
		rows.Keys.Set(p, d)
		rows.Positions[p], rows.Steps[p] = uint32(p), step
	}
	rows.Together(n)
	return rows
}

// step feeds the last token of every live slot and chooses the next.
func (e *Engine) step(in *noise.Injector, done finished) error {
	if e.opt.Recompute {
		for i := range e.slots {
			if sl := &e.slots[i]; sl.chooses() {
				ids := append(append([]int{}, sl.req.Prompt...), sl.res.IDs...)
				if err := e.prefix(i, ids, in, done); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if e.loop != nil {
		return e.flushAll(e.worker.Do(e.loop.steps), done)
	}
	b := &e.batch
	for i := range e.slots {
		sl := &e.slots[i]
		e.rows.Dead[i] = !sl.live
		b.Tokens[i], b.Positions[i], e.rows.Positions[i] = 0, 0, 0
		e.rows.Keys.Set(i, noise.Draws{})
		if sl.live {
			sl.pos++
			b.Tokens[i], b.Positions[i] = int64(sl.next), int32(sl.pos)
			e.rows.Keys.Set(i, sl.draws())
			e.rows.Positions[i] = uint32(sl.pos)
		}
	}
	e.rows.Reset()
	err := e.worker.Do(func(s *torch.Scope) error {
		z := s.FloatView(s.Host(e.model.Forward(s, b, e.cache, in)))
		if s.Err() != nil {
			return s.Err()
		}
		for i := range e.slots {
			if sl := &e.slots[i]; sl.live {
				sl.owner().collect(e.rows, i, i+1)
			}
		}
		e.chooseAll(z)
		return nil
	})
	return e.flushAll(err, done)
}

// chooseAll picks the next token of every live slot from logits z [slots, V].
func (e *Engine) chooseAll(z []float32) {
	v := e.model.Config.VocabSize
	var wg sync.WaitGroup
	for i := range e.slots {
		if sl := &e.slots[i]; sl.chooses() {
			var other []float32
			if sl.second != nil {
				k := e.index(sl.second)
				other = z[k*v : (k+1)*v]
			}
			wg.Go(func() { e.choose(sl, z[i*v:(i+1)*v], other) })
		}
	}
	wg.Wait()
}

// flushAll hands over what a step has finished; its error is that of every live sequence.
func (e *Engine) flushAll(err error, done finished) error {
	for i := range e.slots {
		if sl := &e.slots[i]; err != nil && sl.chooses() {
			sl.fail(fmt.Errorf("a decode step: %w", err))
		}
		if err := e.flush(i, done); err != nil {
			return err
		}
	}
	return nil
}

// fail ends the slot's sequence with an error of its own.
func (sl *slot) fail(err error) { sl.res.Finish, sl.res.Err = finish.Failed, err }

// collect adds up the noise of the slot's rows.
func (sl *slot) collect(rows *noise.Rows, from, to int) {
	for r := from; r < to; r++ {
		sl.res.Effect.Noise2 += rows.Noise2[r]
		sl.res.Effect.Spread2 += rows.Spread2[r]
		sl.res.Effect.Elements += rows.Elements[r]
	}
}

// choose picks the slot's next token from its logits z [V], and ends the sequence where it must. other are the logits
// of its second row, or nil.
func (e *Engine) choose(sl *slot, z, other []float32) {
	r, req := &sl.res, sl.req
	if req.Schedule.Average && other != nil {
		for i, v := range other {
			z[i] = (z[i] + v) / 2
		}
	}
	if p := req.Filter.RepetitionPenalty; p > 0 && p != 1 {
		penalize(z, p, append(append([]int{}, req.Prompt...), r.IDs...))
	}
	top, finite := scan(z)
	if !finite {
		r.Finish = finish.Nonfinite
		return
	}
	id, t := top, len(r.IDs)
	if temperature, sampled := sl.temperature(condition.Step{
		IDs: r.IDs, Logits: z, Second: other,
		Text: e.text,
	}); sampled {
		sl.addTemperature(temperature)
		if sl.filter.narrows() {
			id = filteredMax(z, temperature, sl.filter, uint32(t), req.SampleKey)
		} else {
			id = gumbelMax(z, top, temperature, uint32(t), req.SampleKey)
		}
	}
	r.IDs = append(r.IDs, id)
	if req.Logprobs {
		r.Logprobs = append(r.Logprobs, logProb(z, top, id))
	}
	switch {
	case e.opt.Ends != nil && e.opt.Ends(id):
		r.Finish = finish.Stop
	case req.Stops.reached(r.IDs, req.InThink):
		r.Finish = finish.Stop
	case len(r.IDs) == req.MaxNew:
		r.Finish = finish.Length
	default:
		sl.next = id
		if sl.second != nil {
			sl.second.next = id
		}
	}
}

// text is what tokens say, as far as the engine was told.
func (e *Engine) text(ids []int) string {
	if e.opt.Text == nil {
		return ""
	}
	return e.opt.Text(ids)
}

// temperature is that of the slot's next token; sampled is false where the most likely token is taken.
func (sl *slot) temperature(s condition.Step) (t float64, sampled bool) {
	switch {
	case sl.req.Schedule.IsGreedy():
		return 0, false
	case sl.stepper != nil:
		t = sl.stepper.Temperature(s)
		return t, t > 0
	}
	t = sl.req.Schedule.At(len(sl.res.IDs))
	return t, t > 0
}

// flush hands a finished sequence over and frees its slot.
func (e *Engine) flush(i int, done finished) error {
	sl := &e.slots[i]
	if !sl.chooses() || sl.res.Finish == "" {
		return nil
	}
	if n := sl.sampled; n > 0 {
		sl.res.TMean /= float64(n)
	} else {
		sl.res.TMin, sl.res.TMax, sl.res.TMean = math.NaN(), math.NaN(), math.NaN()
	}
	if e.opt.Text != nil {
		sl.res.Text, _ = sl.req.Stops.Cut(e.opt.Text(sl.res.IDs), sl.req.InThink)
	}
	res := sl.res
	if sl.second != nil {
		*sl.second = slot{}
	}
	*sl = slot{}
	return done(i, res)
}
