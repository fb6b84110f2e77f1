package decode

import (
	"fmt"
	"math"

	"github.com/gsmeval/gsmeval/decode/model"
	"github.com/gsmeval/gsmeval/internal/finish"
	"github.com/gsmeval/gsmeval/internal/torch"
	"github.com/gsmeval/gsmeval/noise"
)

// lookEvery is how many decode steps a device takes between two looks at which sequences have ended. A sequence that
// ends in between stands still; what it is does not depend on when anybody looks.
const lookEvery = 8

// deviceLoop takes decode steps on a device: tokens, positions and the keys of all random numbers lie there, the next
// token is chosen there, and the host looks only at times. A step is a program, made once for each length of the
// attention; on a GPU it is a CUDA graph.
//
// Filters, repetition penalties, stop strings and log probabilities need the host. Sequences with one of them get their
// logits read after every step and their tokens chosen by Engine.choose. All sequences of a run are alike in this.
type deviceLoop struct {
	e        *Engine
	capture  capturer
	buckets  []int // lengths of the attention, the last is the capacity
	programs map[programKey]program

	state  torch.DecodeState
	draws  noise.KeysAt // Philox keys of the noise
	slots  torch.Tensor // [R] 0, 1, ...
	logits torch.Tensor // [R, V] of the last step, where the host chooses
	rows   *noise.Rows  // of a step; rows.At lies on the device
	in     *noise.Injector
	stale  bool // the host's slots say something else than the device
}

// programKey is what a program is made for.
type programKey struct {
	length int
	choose bool // on the device
}

// program is a step that was made once and can be taken again and again.
type program interface {
	run(s *torch.Scope) error
	free()
}

// capturer makes a program of a step. The step has been taken before, so that everything it needs is there.
type capturer func(s *torch.Scope, step func(*torch.Scope) error) (program, error)

// eager is a program that makes its calls anew every time.
type eager struct{ step func(*torch.Scope) error }

func (p eager) run(s *torch.Scope) error { return p.step(s) }
func (p eager) free()                    {}

func runEagerly(_ *torch.Scope, step func(*torch.Scope) error) (program, error) {
	return eager{step}, nil
}

// graph is a program that a CUDA graph holds.
type graph struct{ g *torch.Graph }

func (p graph) run(*torch.Scope) error { return p.g.Replay() }
func (p graph) free()                  { p.g.Free() }

func captureGraph(s *torch.Scope, step func(*torch.Scope) error) (program, error) {
	g, err := s.Capture(step)
	if err != nil {
		return nil, fmt.Errorf("%w; model.graphs: false decodes without CUDA graphs", err)
	}
	return graph{g}, nil
}

// lengths are the lengths that the attention of a step is computed for: doubling from 256 to the capacity. Where an
// operation's bits may depend on the length there is one for all, or a sample would depend on its neighbours.
func lengths(capacity int, exact bool) []int {
	var all []int
	for n := 256; exact && n < capacity; n *= 2 {
		all = append(all, n)
	}
	return append(all, capacity)
}

// length is the smallest of the lengths that holds n positions.
func length(all []int, n int) int {
	for _, l := range all {
		if n <= l {
			return l
		}
	}
	return all[len(all)-1]
}

// newDeviceLoop takes the memory of the state.
func newDeviceLoop(s *torch.Scope, e *Engine, capture capturer) (*deviceLoop, error) {
	d, n, long, v := e.model.Device, e.opt.Slots, e.opt.Capacity, e.model.Config.VocabSize
	l := &deviceLoop{
		e: e, capture: capture, buckets: lengths(long, torch.AttentionIgnoresLength(d)),
		programs: map[programKey]program{}, stale: true,
	}
	rows, table := []int64{int64(n)}, []int64{int64(n), int64(long)}
	index := func() torch.Tensor { return s.Keep(s.Zeros(rows, torch.Int64, d)) }
	l.state = torch.DecodeState{
		Tokens: index(), Positions: index(), Counts: index(), Limits: index(), Keys: index(),
		Live: s.Keep(s.Zeros(rows, torch.Int32, d)), Status: s.Keep(s.Zeros(rows, torch.Int32, d)),
		Out: s.Keep(s.Zeros(table, torch.Int32, d)), Temps: s.Keep(s.Zeros(table, torch.Float64, d)),
		Ends: s.Keep(s.Zeros([]int64{int64(v)}, torch.Uint8, d)),
	}
	l.draws, l.slots = noise.KeysAt{Inputs: index(), Outputs: index()}, index()
	l.logits = s.Keep(s.Zeros([]int64{int64(n), int64(v)}, torch.Float32, d))
	slots, ends := make([]int64, n), make([]uint8, v)
	for i := range slots {
		slots[i] = int64(i)
	}
	for id := range ends {
		if e.opt.Ends != nil && e.opt.Ends(id) {
			ends[id] = 1
		}
	}
	torch.Write(s, l.slots, 0, slots)
	torch.Write(s, l.state.Ends, 0, ends)
	l.rows = noise.NewRows(n)
	l.rows.Each()
	l.rows.At = noise.NewRowsAt(s, d, e.model.Sites(), n)
	s.Keep(l.rows.At.Sites)
	l.rows.At.Keys, l.rows.At.Positions, l.rows.At.Live = l.draws, l.state.Positions, l.state.Live
	return l, s.Err()
}

// warmUp takes the longest pass over a prompt that can come, and a decode step at the longest length, without noise and
// under each of the injectors': what they need, the device's allocator has from here on. Running out is for the start.
// All rows count as dead, and of the cache nothing is left that is read before it is written.
func (e *Engine) warmUp(s *torch.Scope, injectors ...*noise.Injector) error {
	long := e.opt.Capacity
	for _, in := range append([]*noise.Injector{nil}, injectors...) {
		mark := s.Mark()
		b := Prefix(make([]int, long), 0)
		b.Rows = NoiseRows(noise.Draws{}, long, 0)
		e.model.Forward(s, b, e.cache, in)
		if e.device != nil && !in.OnHost() && s.Err() == nil {
			e.device.begin(in)
			s.Fail(e.device.step(programKey{long, true})(s))
			e.device.begin(nil)
		}
		s.Release(mark)
	}
	if s.Err() != nil {
		return fmt.Errorf("taking the memory for prompts of %d positions and %d rows: %w", long, e.opt.Slots, s.Err())
	}
	return nil
}

func (l *deviceLoop) free() {
	l.drop()
	st := &l.state
	for _, t := range []torch.Tensor{
		st.Tokens, st.Positions, st.Counts, st.Limits, st.Keys, st.Live, st.Status, st.Out, st.Temps, st.Ends,
		l.draws.Inputs, l.draws.Outputs, l.slots, l.logits, l.rows.At.Sites,
	} {
		t.Free()
	}
}

// drop forgets the programs.
func (l *deviceLoop) drop() {
	for _, p := range l.programs {
		p.free()
	}
	clear(l.programs)
}

// begin prepares for the steps of one Generate: an injector is part of the programs.
func (l *deviceLoop) begin(in *noise.Injector) {
	l.drop()
	l.in, l.stale = in, true
	l.rows.At.Forget()
}

// onHost tells whether the host has to choose the request's tokens.
func (r *Request) onHost() bool {
	p := r.Filter.RepetitionPenalty
	return r.filter().narrows() || (p > 0 && p != 1) || r.Stops != nil || r.Logprobs || r.Schedule.Adaptive != nil ||
		r.Schedule.Twice
}

// started puts a new sequence into slot i, its first token chosen from the prompt.
func (l *deviceLoop) started(s *torch.Scope, i int) {
	req, long := l.e.slots[i].req, l.e.opt.Capacity
	temps := make([]float64, long)
	if !req.Schedule.IsGreedy() {
		for t := range min(long, req.MaxNew) {
			temps[t] = req.Schedule.At(t)
		}
	}
	torch.Write(s, l.state.Temps, i*long, temps)
	s.Clear(s.Slice(l.rows.At.Sites, 1, i, i+1))
	l.stale = true
}

// upload makes the device's rows what the host's slots say. Dead rows feed token 0 to position 0.
func (l *deviceLoop) upload(s *torch.Scope) {
	if !l.stale {
		return
	}
	n := len(l.e.slots)
	tokens, positions, counts, limits, keys := make([]int64, n), make([]int64, n), make([]int64, n), make([]int64, n),
		make([]int64, n)
	inputs, outputs := make([]int64, n), make([]int64, n)
	live := make([]int32, n)
	for i := range l.e.slots {
		if sl := &l.e.slots[i]; sl.live {
			tokens[i], positions[i], counts[i], limits[i] = int64(sl.next), int64(sl.pos+1),
				int64(len(sl.owner().res.IDs)), int64(sl.req.MaxNew)
			keys[i], live[i] = int64(sl.req.SampleKey), 1
			inputs[i], outputs[i] = int64(sl.draws().Inputs), int64(sl.draws().Outputs)
		}
	}
	st := &l.state
	torch.Write(s, st.Tokens, 0, tokens)
	torch.Write(s, st.Positions, 0, positions)
	torch.Write(s, st.Counts, 0, counts)
	torch.Write(s, st.Limits, 0, limits)
	torch.Write(s, st.Keys, 0, keys)
	torch.Write(s, l.draws.Inputs, 0, inputs)
	torch.Write(s, l.draws.Outputs, 0, outputs)
	torch.Write(s, st.Live, 0, live)
	s.Clear(st.Status)
	l.stale = false
}

// step is one decode step, for a program.
func (l *deviceLoop) step(key programKey) func(*torch.Scope) error {
	n := l.e.opt.Slots
	batch := &model.Batch{
		Tokens: make([]int64, n), Slots: make([]int32, n), Positions: make([]int32, n), To: n, Rows: l.rows,
		At: &model.Placed{Tokens: l.state.Tokens, Slots: l.slots, Positions: l.state.Positions, Length: key.length},
	}
	return func(s *torch.Scope) error {
		z := l.e.model.Forward(s, batch, l.e.cache, l.in)
		if key.choose {
			s.ChooseAt(z, l.state, false)
		} else {
			s.Assign(l.logits, z)
		}
		return s.Err()
	}
}

// program finds or makes the program of a key. It is made while all rows count as dead: a dead row's step writes what
// its next step will write again, and nothing else.
func (l *deviceLoop) program(s *torch.Scope, key programKey) (program, error) {
	if p := l.programs[key]; p != nil {
		return p, nil
	}
	step := l.step(key)
	s.Clear(l.state.Live)
	l.stale = true
	err := step(s)
	var p program
	if err == nil {
		p, err = l.capture(s, step)
	}
	if err != nil {
		return nil, fmt.Errorf("preparing the decode step for %d positions: %w", key.length, err)
	}
	l.programs[key] = p
	l.upload(s)
	return p, s.Err()
}

// steps takes as many decode steps as may be taken without a look.
func (l *deviceLoop) steps(s *torch.Scope) error {
	longest, n, choose := 0, lookEvery, true
	for i := range l.e.slots {
		if sl := &l.e.slots[i]; sl.live {
			longest = max(longest, sl.pos+1)
			choose = choose && !sl.req.onHost()
		}
	}
	if !choose {
		n = 1
	}
	l.upload(s)
	p, err := l.program(s, programKey{length(l.buckets, longest+n), choose})
	for range n {
		if err == nil {
			err = p.run(s)
		}
	}
	switch {
	case err != nil:
		return err
	case choose:
		return l.look(s)
	}
	return l.chooseOnHost(s)
}

// look reads what the device has chosen since the last look.
func (l *deviceLoop) look(s *torch.Scope) error {
	n, long := l.e.opt.Slots, l.e.opt.Capacity
	status, counts, out := make([]int32, n), make([]int64, n), make([]int32, n*long)
	torch.ReadAll(s, l.state.Status, status)
	torch.ReadAll(s, l.state.Counts, counts)
	torch.ReadAll(s, l.state.Out, out)
	if s.Err() != nil {
		return s.Err()
	}
	passes, ended := make([]int, n), false
	for i := range l.e.slots {
		sl := &l.e.slots[i]
		if !sl.live {
			continue
		}
		count := int(counts[i])
		for t := len(sl.res.IDs); t < count; t++ {
			if at := sl.req.Schedule.At(t); at > 0 { // NaN where greedy
				sl.addTemperature(at)
			}
			sl.next = int(out[i*long+t])
			sl.res.IDs = append(sl.res.IDs, sl.next)
			sl.pos++
		}
		if status[i] == torch.DecodeGoesOn {
			continue
		}
		ended, passes[i] = true, count-1 // the first token is the prompt's
		switch status[i] {
		case torch.DecodeStopped:
			sl.res.Finish = finish.Stop
		case torch.DecodeFull:
			sl.res.Finish = finish.Length
		default:
			sl.res.Finish = finish.Nonfinite
			passes[i]++
		}
	}
	if ended {
		l.gather(s, passes)
	}
	return s.Err()
}

// gather adds the noise of rows that have ended to their results.
func (l *deviceLoop) gather(s *torch.Scope, passes []int) {
	l.stale = true
	if l.in == nil {
		return
	}
	l.rows.Reset()
	l.in.Gather(s, l.rows, passes)
	for i, n := range passes {
		if n > 0 {
			l.e.slots[i].owner().collect(l.rows, i, i+1)
		}
	}
}

// chooseOnHost reads the logits of one step and chooses there.
func (l *deviceLoop) chooseOnHost(s *torch.Scope) error {
	z := s.FloatView(s.Host(l.logits))
	if s.Err() != nil {
		return s.Err()
	}
	if l.e.model.Device == torch.CPU {
		z = append([]float32{}, z...) // choose changes what it is given
	}
	for i := range l.e.slots {
		if sl := &l.e.slots[i]; sl.live {
			sl.pos++
		}
	}
	l.e.chooseAll(z)
	passes := make([]int, len(l.e.slots))
	for i := range l.e.slots {
		if sl := &l.e.slots[i]; sl.live && sl.owner().res.Finish != "" {
			passes[i] = len(sl.owner().res.IDs) - 1
			if sl.owner().res.Finish == finish.Nonfinite {
				passes[i]++
			}
		}
	}
	l.gather(s, passes)
	return s.Err()
}

// addTemperature notes the temperature of a sampled token.
func (sl *slot) addTemperature(t float64) {
	sl.sampled++
	r := &sl.res
	r.TMin, r.TMax, r.TMean = math.Min(r.TMin, t), math.Max(r.TMax, t), r.TMean+t
}
