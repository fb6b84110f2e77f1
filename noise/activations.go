package noise

import (
	"fmt"
	"runtime"
	"slices"
	"sync"

	"github.com/gsmeval/gsmeval/internal/condition"
	"github.com/gsmeval/gsmeval/internal/torch"
	"github.com/gsmeval/gsmeval/noise/operation"
	"github.com/gsmeval/gsmeval/noise/philox"
)

// Site is a Linear: ID is its place in the model's fixed order (the third counter word of its draws), Name its Hugging
// Face name.
type Site struct {
	ID   uint32
	Name string
}

// Draws are the Philox keys of one sample's noise, for each place where it is drawn row by row.
type Draws struct{ Inputs, Outputs, KV philox.Key }

// RunDraws are the draws of a sample: of a run's seed, a replicate and what the sample is of.
func RunDraws(seed uint64, replicate int, of string) Draws {
	return Draws{
		philox.NewKey(philox.Activation, seed, replicate, of), philox.NewKey(philox.Output, seed, replicate, of),
		philox.NewKey(philox.KV, seed, replicate, of),
	}
}

// CalibrationDraws are RunDraws that no run shares.
func CalibrationDraws(seed uint64, draw int, of string) Draws {
	return Draws{
		philox.NewKey(philox.CalibrationActivation, seed, draw, of),
		philox.NewKey(philox.CalibrationOutput, seed, draw, of),
		philox.NewKey(philox.CalibrationKV, seed, draw, of),
	}
}

// Keys are the Philox keys of rows, for each place.
type Keys struct{ Inputs, Outputs, KV []uint64 }

// Set gives row i its keys.
func (k *Keys) Set(i int, d Draws) {
	k.Inputs[i], k.Outputs[i], k.KV[i] = uint64(d.Inputs), uint64(d.Outputs), uint64(d.KV)
}

// At are the keys of a place.
func (k *Keys) At(p operation.Place) []uint64 {
	switch p {
	case operation.Outputs:
		return k.Outputs
	case operation.KV:
		return k.KV
	default:
		return k.Inputs
	}
}

// Rows says what the rows of an activation [R, D] are drawn for, and collects what was done to each.
type Rows struct {
	Keys      Keys     // Philox keys of the row's sample
	Positions []uint32 // token position in the sequence
	Steps     []uint32 // decode step when the prefix is recomputed under fresh noise, else 0
	Dead      []bool   // rows that stand for nothing (an empty batch slot); nil means none
	Groups    []int32  // spread is over rows [Groups[g], Groups[g+1]) together: a prompt, or one decode position

	// Per row, over all sites of the forward pass: sums of squares of the noise and of the spread, and elements.
	Noise2, Spread2 []float64
	Elements        []int64

	At *RowsAt // the same on the device that computes, if that is another than the CPU
}

// NewRows makes room for n rows in groups that the caller fills.
func NewRows(n int) *Rows {
	return &Rows{
		Keys: Keys{make([]uint64, n), make([]uint64, n), make([]uint64, n)}, Positions: make([]uint32, n),
		Steps:  make([]uint32, n),
		Noise2: make([]float64, n), Spread2: make([]float64, n), Elements: make([]int64, n),
	}
}

// Each makes every row its own group, as in a decode step.
func (r *Rows) Each() {
	r.Groups = r.Groups[:0]
	for i := range len(r.Positions) + 1 {
		r.Groups = append(r.Groups, int32(i))
	}
}

// Together makes the first n rows one group and every later row one of its own: a prompt, and what is decoded after it.
func (r *Rows) Together(n int) {
	r.Groups = append(r.Groups[:0], 0)
	for i := n; i <= len(r.Positions); i++ {
		r.Groups = append(r.Groups, int32(i))
	}
}

// Reset clears what was collected.
func (r *Rows) Reset() {
	clear(r.Noise2)
	clear(r.Spread2)
	clear(r.Elements)
}

// Injector perturbs the inputs and outputs of Linears, and what enters the key-value cache. A nil Injector does
// nothing. It is used on the torch worker's thread.
type Injector struct {
	noise     condition.Noise
	ranges    Ranges // of static quantisers, or nil
	ops       map[operation.Place]operation.OnRows
	reference bool
	touched   map[at]bool
	effect    map[at]*condition.SiteEffect
	order     []at
}

// at is a place at a site.
type at struct {
	place operation.Place
	site  uint32
}

// NewInjector makes an injector of what a noise does to activations, or nil where it does nothing to them.
// reference chooses plain libtorch operations over the fused kernel.
func NewInjector(n condition.Noise, reference bool) *Injector {
	in := &Injector{
		noise: n, ops: map[operation.Place]operation.OnRows{}, reference: reference, touched: map[at]bool{},
		effect: map[at]*condition.SiteEffect{},
	}
	for _, p := range []operation.Place{operation.Inputs, operation.Outputs, operation.KV} {
		if op, ok := n.At(p).(operation.OnRows); ok {
			in.ops[p] = op
		}
	}
	if len(in.ops) == 0 {
		return nil
	}
	return in
}

// Ranges gives what the activations in a place of a site span on calibration prompts, without noise.
type Ranges func(p operation.Place, site uint32) (r operation.Range, measured bool)

// With gives static quantisers their ranges.
func (in *Injector) With(r Ranges) *Injector {
	if in != nil {
		in.ranges = r
	}
	return in
}

// static are the ranges of a site for all groups.
func (in *Injector) static(p operation.Place, site Site, all []operation.Range) error {
	var r operation.Range
	measured := false
	if in.ranges != nil {
		r, measured = in.ranges(p, site.ID)
	}
	if !measured {
		return fmt.Errorf("%s %s at %s: no calibration prompt has given its range; static goes with a config, "+
			"and elsewhere range: NUMBER does", p, in.ops[p].Label(), site.Name)
	}
	for g := range all {
		all[g] = r
	}
	return nil
}

// Effect is what the injector has done since it was made, site by site.
func (in *Injector) Effect() condition.Effect {
	if in == nil {
		return nil
	}
	e := make(condition.Effect, 0, len(in.order))
	for _, id := range in.order {
		e = append(e, *in.effect[id])
	}
	return e
}

// Acts tells whether a place of a site is perturbed.
func (in *Injector) Acts(p operation.Place, site Site) bool {
	if !in.On(p) {
		return false
	}
	id := at{p, site.ID}
	t, known := in.touched[id]
	if !known {
		t = in.noise.Touches(p, site.Name)
		in.touched[id] = t
	}
	return t
}

// On tells whether a place is perturbed at any site.
func (in *Injector) On(p operation.Place) bool { return in != nil && in.ops[p] != nil }

// Random tells whether every sequence gets noise of its own, so that equal prompts do not give equal keys and values.
func (in *Injector) Random() bool { return in != nil && in.noise.Fresh() }

// OnHost tells whether some operation has no kernel: its rows are computed on the host, whatever the device.
func (in *Injector) OnHost() bool {
	if in != nil {
		for _, op := range in.ops {
			if _, fused := op.(*operation.Gaussian); !fused {
				return true
			}
		}
	}
	return false
}

// Spread is what gaussian noise of an activation is relative to, row by row. Linears that share an input share it.
type Spread struct {
	rows  []float32    // the spread of the row's group
	stats torch.Tensor // on a device: of each row, [R, 2]; groups join them
}

// spread finds the spread of the groups of x [R, D].
func (in *Injector) spread(s *torch.Scope, g *operation.Gaussian, x torch.Tensor, rows *Rows) *Spread {
	if rows.At != nil {
		return &Spread{stats: s.RowStats(x, g.AbsMax())}
	}
	bounds := rows.Groups
	var firsts []int
	switch n := len(rows.Positions); {
	case g.PerToken() && len(bounds) != n+1:
		bounds = make([]int32, n+1)
		for i := range bounds {
			bounds[i] = int32(i)
		}
	case g.ButFirst():
		bounds, firsts = rows.apart()
	}
	groups := make([]float32, len(bounds)-1)
	s.Spread(groups, x, bounds, g.AbsMax())
	for _, i := range firsts {
		groups[i] = groups[i+1]
	}
	if len(groups) == len(rows.Positions) {
		return &Spread{rows: groups}
	}
	spread := make([]float32, len(rows.Positions))
	for g, v := range groups {
		for r := bounds[g]; r < bounds[g+1]; r++ {
			spread[r] = v
		}
	}
	return &Spread{rows: spread}
}

// Perturb returns what rows [from, to) of x [R, D], all rows of the pass, become in a place of a site. sp keeps the
// spread of x for its next use, or is nil.
func (in *Injector) Perturb(s *torch.Scope, p operation.Place, x torch.Tensor, sp **Spread, rows *Rows, from, to int,
	site Site,
) torch.Tensor {
	g, fused := in.ops[p].(*operation.Gaussian)
	if !fused {
		return in.onHost(s, p, x, 1, rows, from, to, site)
	}
	if sp == nil {
		sp = new(*Spread)
	}
	if *sp == nil {
		*sp = in.spread(s, g, x, rows)
	}
	if from != 0 || to != len(rows.Positions) {
		x = s.Rows(x, from, to)
	}
	if rows.At != nil {
		return in.perturbAt(s, g, p, x, (*sp).stats, rows.At, from, to, site)
	}
	spread, sumsq := (*sp).rows, make([]float64, to-from)
	y := s.Noise(x, g.Scale, site.ID, torch.NoiseRows{
		Spread: spread[from:to], Keys: rows.Keys.At(p)[from:to], Positions: rows.Positions[from:to],
		Steps: rows.Steps[from:to],
	}, sumsq, in.reference)
	if s.Err() != nil {
		return y
	}
	e := in.effectOf(p, site)
	d := y.Shape()[1]
	for i, n2 := range sumsq {
		v := float64(spread[from+i])
		rows.count(from+i, e, d, operation.Tally{Noise2: n2, Spread2: v * v * float64(d)})
	}
	return y
}

// PerturbKV returns what keys or values x [R, KV heads, head dim] become on their way into the cache.
func (in *Injector) PerturbKV(s *torch.Scope, x torch.Tensor, rows *Rows, site Site) torch.Tensor {
	if s.Err() != nil { // there is no x
		return torch.Tensor{}
	}
	shape := x.Shape()
	heads, d := int(shape[1]), shape[2]
	y := in.onHost(s, operation.KV, s.View(x, shape[0]*shape[1], d), heads, rows, 0, len(rows.Positions), site)
	return s.View(y, shape...)
}

// onHost applies an operation without a kernel to rows [from, to) of the pass, in float32 on the host. x has so many
// rows for each row of the pass.
func (in *Injector) onHost(s *torch.Scope, p operation.Place, x torch.Tensor, each int, rows *Rows, from, to int,
	site Site,
) torch.Tensor {
	if s.Err() != nil { // there is no x
		return torch.Tensor{}
	}
	op, d := in.ops[p], int(x.Shape()[1])
	values := s.FloatView(s.Host(s.To(x, torch.Float32)))
	if s.Err() != nil {
		return torch.Tensor{}
	}
	y := make([]float32, (to-from)*each*d)
	tallies := make([]operation.Tally, (to-from)*each)
	keys := rows.Keys.At(p)
	ranges := make([]operation.Range, len(rows.Groups))
	if o, ok := op.(operation.OverTensor); ok && o.OverTensor() {
		for g := range len(rows.Groups) - 1 {
			ranges[g] = operation.RangeOf(values[int(rows.Groups[g])*each*d : int(rows.Groups[g+1])*each*d])
		}
	}
	if o, ok := op.(operation.Calibrated); ok && o.Calibrated() {
		if err := in.static(p, site, ranges); err != nil {
			s.Fail(err)
			return torch.Tensor{}
		}
	}
	spans(len(tallies), d, func(i int) {
		r := from + i/each
		g := rows.groupOf(r)
		tallies[i] = op.PerturbRow(y[i*d:(i+1)*d], operation.Rows{
			Values: values, D: d, Type: x.DType().String(), Over: ranges[g],
			Group: [2]int{int(rows.Groups[g]) * each, int(rows.Groups[g+1]) * each},
			Key:   philox.Key(keys[r]), First: uint32(i % each * d), Position: rows.Positions[r], Site: site.ID,
			Step: rows.Steps[r],
		}, from*each+i)
	})
	e := in.effectOf(p, site)
	for i, t := range tallies {
		rows.count(from+i/each, e, int64(d), t)
	}
	return s.To(s.Floats(y, []int64{int64((to - from) * each), int64(d)}, x.Device()), x.DType())
}

// groupOf is the group of a row.
func (r *Rows) groupOf(row int) int {
	g, exact := slices.BinarySearch(r.Groups, int32(row))
	if !exact {
		g--
	}
	return g
}

// leads tells whether a group that begins in a row begins with the first token of a sequence, and has others.
func (r *Rows) leads(first, end int32) bool { return r.Positions[first] == 0 && end-first > 1 }

// apart are the groups, but that the first token of a sequence with others is one of its own, and which those are.
func (r *Rows) apart() (bounds []int32, firsts []int) {
	for g, first := range r.Groups {
		if g+1 < len(r.Groups) && r.leads(first, r.Groups[g+1]) {
			firsts = append(firsts, len(bounds))
			bounds = append(bounds, first, first+1)
			continue
		}
		bounds = append(bounds, first)
	}
	return bounds, firsts
}

// count adds what was done to d elements of a row to the row's and the site's account. Rows that stand for nothing do
// not count.
func (r *Rows) count(row int, e *condition.SiteEffect, d int64, t operation.Tally) {
	if r.Dead != nil && r.Dead[row] {
		return
	}
	r.Noise2[row] += t.Noise2
	r.Spread2[row] += t.Spread2
	r.Elements[row] += d
	e.Add(d, t)
}

// spans calls f(0), ..., f(n-1), each of so much work, from several goroutines where that is worth it.
func spans(n, work int, f func(i int)) {
	const least = 1 << 14 // elements for a goroutine
	workers := min(runtime.GOMAXPROCS(0), n*work/least)
	if workers < 2 {
		for i := range n {
			f(i)
		}
		return
	}
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := w * n / workers; i < (w+1)*n/workers; i++ {
				f(i)
			}
		})
	}
	wg.Wait()
}

// effectOf is the record of what is done in a place of a site.
func (in *Injector) effectOf(p operation.Place, site Site) *condition.SiteEffect {
	id := at{p, site.ID}
	e := in.effect[id]
	if e == nil {
		e = &condition.SiteEffect{Name: site.Name, Place: p}
		in.effect[id] = e
		in.order = append(in.order, id)
	}
	return e
}
