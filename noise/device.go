package noise

import (
	"fmt"

	"github.com/gsmeval/gsmeval/internal/torch"
)

// RowsAt is Rows on a device: what the noise of the rows is drawn for, and what was done to them, summed there until Gather fetches it.
type RowsAt struct {
	torch.NoiseRowsAt              // Sums is not set here: every site has a part of Sites
	Sites             torch.Tensor // [sites, R, 2] float64: sums of squares of the noise and of the spread

	rows    int
	touched []touch        // in the order of Sites
	index   map[uint32]int // of a site in touched
}

// touch is a site whose rows [from, to) were perturbed, d elements each.
type touch struct {
	site     Site
	d        int64
	from, to int
}

// NewRowsAt makes room for n rows and so many sites at most; the tensors belong to the scope.
func NewRowsAt(s *torch.Scope, d torch.Device, sites, n int) *RowsAt {
	return &RowsAt{Sites: s.Zeros([]int64{int64(sites), int64(n), 2}, torch.Float64, d), rows: n, index: map[uint32]int{}}
}

// PlaceRows copies rows to a device, for one forward pass with so many sites at most.
func PlaceRows(s *torch.Scope, rows *Rows, d torch.Device, sites int) *RowsAt {
	n := len(rows.Keys)
	at := NewRowsAt(s, d, sites, n)
	keys, positions, steps, groups := make([]int64, n), make([]int64, n), make([]int64, n), make([]int64, 2*n)
	for i := range n {
		keys[i], positions[i], steps[i] = int64(rows.Keys[i]), int64(rows.Positions[i]), int64(rows.Steps[i])
	}
	for g := range len(rows.Groups) - 1 {
		for r := rows.Groups[g]; r < rows.Groups[g+1]; r++ {
			groups[2*r], groups[2*r+1] = int64(rows.Groups[g]), int64(rows.Groups[g+1])
		}
	}
	at.Keys, at.Positions, at.Steps = s.Ints(keys, d), s.Ints(positions, d), s.Ints(steps, d)
	at.Groups = s.View(s.Ints(groups, d), int64(n), 2)
	return at
}

// Forget makes the rows ready for another injector.
func (at *RowsAt) Forget() {
	at.touched = nil
	clear(at.index)
}

// perturbAt is Perturb on a device.
func (in *Injector) perturbAt(s *torch.Scope, x, stats torch.Tensor, at *RowsAt, from, to int, site Site) torch.Tensor {
	if s.Err() != nil {
		return torch.Tensor{}
	}
	i, known := at.index[site.ID]
	if !known {
		i = len(at.touched)
		at.index[site.ID] = i
		at.touched = append(at.touched, touch{site, x.Shape()[1], from, to})
	}
	rows := at.NoiseRowsAt
	rows.Sums = s.View(s.Slice(s.Slice(at.Sites, 0, i, i+1), 1, from, to), int64(to-from), 2)
	if from != 0 || to != at.rows {
		rows.Keys, rows.Positions = s.Slice(rows.Keys, 0, from, to), s.Slice(rows.Positions, 0, from, to)
		for _, t := range []*torch.Tensor{&rows.Steps, &rows.Groups, &rows.Live} {
			if t.Defined() {
				*t = s.Slice(*t, 0, from, to)
			}
		}
	}
	return s.NoiseAt(x, stats, in.spec.AbsMax, in.spec.ActivationScale, site.ID, rows, in.reference)
}

// Gather fetches what was done to rows on a device since their sums were cleared, and adds it to rows and to the injector's
// effect. passes says of each row how many forward passes it has been through; rows with 0 are left out.
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
		e := in.effectOf(t.site)
		for r := t.from; r < t.to; r++ {
			if passes[r] == 0 {
				continue
			}
			n2, s2, elements := sums[2*(i*at.rows+r)], sums[2*(i*at.rows+r)+1], int64(passes[r])*t.d
			rows.Noise2[r] += n2
			rows.Spread2[r] += s2
			rows.Elements[r] += elements
			e.Noise2 += n2
			e.Spread2 += s2
			e.Elements += elements
		}
	}
}
