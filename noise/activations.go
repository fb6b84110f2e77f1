package noise

import (
	"github.com/gsmeval/gsmeval/internal/torch"
)

// Site is a Linear: ID is its place in the model's fixed order (the third counter word of its draws), Name its Hugging Face name.
type Site struct {
	ID   uint32
	Name string
}

// Rows says what the rows of an activation [R, D] are drawn for, and collects what was done to each.
type Rows struct {
	Keys      []uint64 // Philox key of the row's sample
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
		Keys: make([]uint64, n), Positions: make([]uint32, n), Steps: make([]uint32, n),
		Noise2: make([]float64, n), Spread2: make([]float64, n), Elements: make([]int64, n),
	}
}

// Each makes every row its own group, as in a decode step.
func (r *Rows) Each() {
	r.Groups = r.Groups[:0]
	for i := range len(r.Keys) + 1 {
		r.Groups = append(r.Groups, int32(i))
	}
}

// Together makes the first n rows one group and every later row one of its own: a prompt, and what is decoded after it.
func (r *Rows) Together(n int) {
	r.Groups = append(r.Groups[:0], 0)
	for i := n; i <= len(r.Keys); i++ {
		r.Groups = append(r.Groups, int32(i))
	}
}

// Reset clears what was collected.
func (r *Rows) Reset() {
	clear(r.Noise2)
	clear(r.Spread2)
	clear(r.Elements)
}

// Injector perturbs the inputs (or, under Output, the outputs) of Linears. A nil Injector does nothing. It is used on the
// torch worker's thread.
type Injector struct {
	spec      Spec
	reference bool
	touched   map[uint32]bool
	effect    map[uint32]*SiteEffect
	order     []uint32
}

// NewInjector makes an injector of the spec's activation noise, or nil where it has none.
// reference chooses plain libtorch operations over the fused kernel.
func NewInjector(spec Spec, reference bool) *Injector {
	if !spec.OnActivations() {
		return nil
	}
	return &Injector{spec: spec, reference: reference, touched: map[uint32]bool{}, effect: map[uint32]*SiteEffect{}}
}

// Effect is what the injector has done since it was made, site by site.
func (in *Injector) Effect() Effect {
	if in == nil {
		return nil
	}
	e := make(Effect, 0, len(in.order))
	for _, id := range in.order {
		e = append(e, *in.effect[id])
	}
	return e
}

// Input tells whether the input of a Linear is perturbed.
func (in *Injector) Input(site Site) bool {
	return in != nil && in.spec.Kind != Output && in.touches(site)
}

// Output tells whether the output of a Linear is perturbed.
func (in *Injector) Output(site Site) bool {
	return in != nil && in.spec.Kind == Output && in.touches(site)
}

func (in *Injector) touches(site Site) bool {
	t, known := in.touched[site.ID]
	if !known {
		t = in.spec.Touches(site.Name)
		in.touched[site.ID] = t
	}
	return t
}

// Spread is what the noise of an activation is relative to, row by row.
type Spread struct {
	rows  []float32    // the spread of the row's group
	stats torch.Tensor // on a device: of each row, [R, 2]; groups join them
}

// Spread finds the spread of the groups of x [R, D].
func (in *Injector) Spread(s *torch.Scope, x torch.Tensor, rows *Rows) *Spread {
	if rows.At != nil {
		return &Spread{stats: s.RowStats(x, in.spec.AbsMax)}
	}
	return &Spread{rows: in.spreadOnHost(s, x, rows)}
}

func (in *Injector) spreadOnHost(s *torch.Scope, x torch.Tensor, rows *Rows) []float32 {
	groups := make([]float32, len(rows.Groups)-1)
	s.Spread(groups, x, rows.Groups, in.spec.AbsMax)
	if len(groups) == len(rows.Keys) {
		return groups
	}
	spread := make([]float32, len(rows.Keys))
	for g, v := range groups {
		for r := rows.Groups[g]; r < rows.Groups[g+1]; r++ {
			spread[r] = v
		}
	}
	return spread
}

// Perturb returns x + scale * spread * N. x [to-from, D] is rows [from, to) of the pass; spread has one value for every
// row of the pass.
func (in *Injector) Perturb(s *torch.Scope, x torch.Tensor, sp *Spread, rows *Rows, from, to int, site Site) torch.Tensor {
	if rows.At != nil {
		return in.perturbAt(s, x, sp.stats, rows.At, from, to, site)
	}
	spread := sp.rows
	sumsq := make([]float64, to-from)
	y := s.Noise(x, in.spec.ActivationScale, site.ID, torch.NoiseRows{
		Spread: spread[from:to], Keys: rows.Keys[from:to], Positions: rows.Positions[from:to], Steps: rows.Steps[from:to],
	}, sumsq, in.reference)
	if s.Err() != nil {
		return y
	}
	e := in.effectOf(site)
	d := y.Shape()[1]
	for i, n2 := range sumsq {
		if rows.Dead != nil && rows.Dead[from+i] {
			continue
		}
		v := float64(spread[from+i])
		s2 := v * v * float64(d)
		rows.Noise2[from+i] += n2
		rows.Spread2[from+i] += s2
		rows.Elements[from+i] += d
		e.Noise2 += n2
		e.Spread2 += s2
		e.Elements += d
	}
	return y
}

// effectOf is the record of what is done at a site.
func (in *Injector) effectOf(site Site) *SiteEffect {
	e := in.effect[site.ID]
	if e == nil {
		e = &SiteEffect{Name: site.Name}
		in.effect[site.ID] = e
		in.order = append(in.order, site.ID)
	}
	return e
}
