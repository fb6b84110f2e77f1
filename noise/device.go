package noise

import (
	"fmt"

	"github.com/gsmeval/gsmeval/internal/torch"
	"github.com/gsmeval/gsmeval/noise/operation"
)

// RowsAt is Rows on a device: what the noise of the rows is drawn for, and what was done to them, summed there until
// Gather fetches it.
type RowsAt struct {
	torch.NoiseRowsAt // Keys and Sums are not set here: every place has keys, and every site a part of Sites

	Keys   KeysAt
	Others torch.Tensor // [R, 2] Groups without the first tokens of sequences that have others; missing where Groups is
	Sites  torch.Tensor // [2 sites, R, 2] float64: sums of squares of the noise and of the spread, of inputs and outputs

	rows    int
	touched []touch    // in the order of Sites
	index   map[at]int // of a site in touched
}

// KeysAt is Keys on a device, int64 [R] each.
type KeysAt struct{ Inputs, Outputs torch.Tensor }

// touch is a site whose rows [from, to) were perturbed in a place, d elements each.
type touch struct {
	place    operation.Place
	site     Site
	d        int64
	from, to int
}

// NewRowsAt makes room for n rows and so many sites at most; the tensors belong to the scope.
func NewRowsAt(s *torch.Scope, d torch.Device, sites, n int) *RowsAt {
	return &RowsAt{
		Sites: s.Zeros([]int64{2 * int64(sites), int64(n), 2}, torch.Float64, d), rows: n,
		index: map[at]int{},
	}
}

// PlaceRows copies rows to a device, for one forward pass with so many sites at most.
func PlaceRows(s *torch.Scope, rows *Rows, d torch.Device, sites int) *RowsAt {
	n := len(rows.Positions)
	at := NewRowsAt(s, d, sites, n)
	inputs, outputs, positions, steps := make([]int64, n), make([]int64, n), make([]int64, n), make([]int64, n)
	groups, others := make([]int64, 2*n), make([]int64, 2*n)
	for i := range n {
		inputs[i], outputs[i] = int64(rows.Keys.Inputs[i]), int64(rows.Keys.Outputs[i])
		positions[i], steps[i] = int64(rows.Positions[i]), int64(rows.Steps[i])
	}
	for g := range len(rows.Groups) - 1 {
		first, end := rows.Groups[g], rows.Groups[g+1]
		second := first
		if rows.leads(first, end) {
			second++
		}
		for r := first; r < end; r++ {
			groups[2*r], groups[2*r+1] = int64(first), int64(end)
			others[2*r], others[2*r+1] = int64(second), int64(end)
		}
	}
	at.Keys = KeysAt{s.Ints(inputs, d), s.Ints(outputs, d)}
	at.Positions, at.Steps = s.Ints(positions, d), s.Ints(steps, d)
	at.Groups, at.Others = s.View(s.Ints(groups, d), int64(n), 2), s.View(s.Ints(others, d), int64(n), 2)
	return at
}

// Forget makes the rows ready for another injector.
func (at *RowsAt) Forget() {
	at.touched = nil
	clear(at.index)
}

// perturbAt is Perturb on a device.
func (in *Injector) perturbAt(s *torch.Scope, g *operation.Gaussian, p operation.Place, x, stats torch.Tensor,
	rowsAt *RowsAt, from, to int, site Site,
) torch.Tensor {
	if s.Err() != nil {
		return torch.Tensor{}
	}
	id := at{p, site.ID}
	i, known := rowsAt.index[id]
	if !known {
		i = len(rowsAt.touched)
		rowsAt.index[id] = i
		rowsAt.touched = append(rowsAt.touched, touch{p, site, x.Shape()[1], from, to})
	}
	rows := rowsAt.NoiseRowsAt
	if rows.Keys = rowsAt.Keys.Inputs; p == operation.Outputs {
		rows.Keys = rowsAt.Keys.Outputs
	}
	switch {
	case g.PerToken(): // each row has the spread of its own statistics
		rows.Groups, stats = torch.Tensor{}, s.Slice(stats, 0, from, to)
	case g.ButFirst():
		rows.Groups = rowsAt.Others
	}
	rows.Sums = s.View(s.Slice(s.Slice(rowsAt.Sites, 0, i, i+1), 1, from, to), int64(to-from), 2)
	if from != 0 || to != rowsAt.rows {
		rows.Keys, rows.Positions = s.Slice(rows.Keys, 0, from, to), s.Slice(rows.Positions, 0, from, to)
		for _, t := range []*torch.Tensor{&rows.Steps, &rows.Groups, &rows.Live} {
			if t.Defined() {
				*t = s.Slice(*t, 0, from, to)
			}
		}
	}
	return s.NoiseAt(x, stats, g.AbsMax(), g.Scale, site.ID, rows, in.reference)
}

// Gather fetches what was done to rows on a device since their sums were cleared, and adds it to rows and to the
// injector's effect. passes says of each row how many forward passes it has been through; rows with 0 are left out.
func (in *Injector) Gather(s *torch.Scope, rows *Rows, passes []int) {
	at := rows.At
	if in == nil || len(at.touched) == 0 {
		return
	}
	if len(passes) != at.rows {
		s.Fail(fmt.Errorf("gathering the noise of %d rows of %d", len(passes), at.rows))
		return
	}
	n := len(at.touched)
	sums := make([]float64, 2*n*at.rows)
	torch.ReadAll(s, s.Slice(at.Sites, 0, 0, n), sums)
	if s.Err() != nil {
		return
	}
	for i, t := range at.touched {
		e := in.effectOf(t.place, t.site)
		for r := t.from; r < t.to; r++ {
			if passes[r] == 0 {
				continue
			}
			done := operation.Tally{Noise2: sums[2*(i*at.rows+r)], Spread2: sums[2*(i*at.rows+r)+1]}
			rows.count(r, e, int64(passes[r])*t.d, done)
		}
	}
}
