package model

import (
	"fmt"

	"github.com/gsmeval/gsmeval/decode/checkpoint"
	"github.com/gsmeval/gsmeval/internal/torch"
	"github.com/gsmeval/gsmeval/noise"
)

// Linears says how Linears are computed on the CPU.
type Linears string

// The ways to compute a Linear. What auto chooses depends on the dtype, the shape and the instruction set alone, never on a
// timing: the same config computes the same bits on the same machine.
const (
	LinearsAuto   Linears = "auto"
	LinearsPacked Linears = "packed" // oneDNN, on weights that were packed at load
	LinearsPlain  Linears = "plain"  // libtorch's own
)

// packRows is the number of rows that packed weights are laid out for. oneDNN computes other numbers of rows from the same
// layout, at full speed from 8 to 100 rows; laid out for one row it takes twice the time at 8.
const packRows = 32

// packFrom is the number of elements from which auto packs a float32 weight: below it the 10 us that oneDNN takes to look up
// a kernel cost more than packing saves.
const packFrom = 1 << 18

// packs tells whether the weight [out, in] of a Linear is packed, where a decode step has batch rows (0: not known).
func (l Linears) packs(dt torch.DType, out, in, batch int, cpu string) bool {
	switch {
	case l == LinearsPlain || dt == torch.Float16: // oneDNN has no float16 without AMX-FP16
		return false
	case dt == torch.BFloat16:
		return cpu == "AVX512" // oneDNN has no bfloat16 without it
	case l == LinearsPacked:
		return true
	}
	return batch != 1 && out*in >= packFrom // one row is all about reading the weights, which a plain product does faster
}

// weight is a parameter's value: dense, packed for a Linear, or both, where a tied embedding is looked up and multiplied by.
type weight struct {
	dense, packed torch.Tensor
}

// operand is what a Linear multiplies by.
func (w *weight) operand() torch.Tensor {
	if w.packed.Defined() {
		return w.packed
	}
	return w.dense
}

func (w *weight) free() {
	w.dense.Free()
	w.packed.Free()
	*w = weight{}
}

// pack makes or renews the packed copy from a dense tensor.
func (w *weight) pack(s *torch.Scope, dense torch.Tensor) {
	packed := s.Keep(s.PackLinear(dense, packRows))
	if s.Err() == nil {
		w.packed.Free()
		w.packed = packed
	}
}

// param is a parameter, and where in the checkpoint it came from.
type param struct {
	name   string
	value  *weight
	source checkpoint.Tensor
	dtype  torch.DType
	device torch.Device
	dirty  bool // noise may have touched it
}

// empty is a tensor for the parameter, not filled.
func (p *param) empty(s *torch.Scope) torch.Tensor {
	shape := make([]int64, len(p.source.Shape))
	for i, d := range p.source.Shape {
		shape[i] = int64(d)
	}
	return s.Empty(shape, p.dtype, p.device)
}

// pieceBytes is how much of a tensor is copied at once: it stays in the processor's cache between the steps.
const pieceBytes = 1 << 20

// fill copies the parameter from the mapped file to a tensor, piece by piece, checking and converting on the way: beside the
// weights themselves a load needs the memory of one piece. copied, if not nil, is called with the bytes of each piece.
func (p *param) fill(s *torch.Scope, dst torch.Tensor, copied func(n int)) error {
	dt := dtypes[p.source.DType]
	return p.source.Stream(make([]byte, min(pieceBytes, max(16, len(p.source.Data)))), func(first int, piece []byte) error {
		s.CopyBytes(dst, first, piece, dt)
		if err := s.Err(); err != nil {
			return fmt.Errorf("tensor %q: %w", p.name, err)
		}
		if copied != nil {
			copied(len(piece))
		}
		return nil
	})
}

// clean is the dense tensor with what the file holds: the parameter's own, or one of the scope's where only a packed copy is kept.
func (p *param) clean(s *torch.Scope) (torch.Tensor, error) {
	dense := p.value.dense
	if !dense.Defined() {
		dense = p.empty(s)
	}
	if err := s.Err(); err != nil {
		return dense, err
	}
	return dense, p.fill(s, dense, nil)
}

// restore puts back what the file holds.
func (p *param) restore(s *torch.Scope) error {
	if !p.dirty {
		return nil
	}
	mark := s.Mark()
	defer s.Release(mark)
	dense, err := p.clean(s)
	if err == nil && p.value.packed.Defined() {
		p.value.pack(s, dense)
		err = s.Err()
	}
	if err != nil {
		return fmt.Errorf("restoring %s: %w", p.name, err)
	}
	p.dirty = false
	return nil
}

// noisy is the parameter as weight noise sees it: a dense tensor, and what it was packed into is packed anew from it. The
// parameter is clean before.
func (p *param) noisy() noise.Param {
	return noise.Param{Name: p.name, Change: func(s *torch.Scope, f func(dense torch.Tensor)) {
		mark := s.Mark()
		defer s.Release(mark)
		p.dirty = true
		dense := p.value.dense
		if !dense.Defined() {
			var err error
			if dense, err = p.clean(s); err != nil {
				s.Fail(err)
				return
			}
		}
		f(dense)
		if p.value.packed.Defined() {
			p.value.pack(s, dense)
		}
	}}
}

// hash is a hash of the parameter's bytes as they are now, of both copies where there are two.
func (p *param) hash(s *torch.Scope) uint64 {
	mark := s.Mark()
	defer s.Release(mark)
	var h uint64
	if p.value.dense.Defined() {
		h = s.Hash(p.value.dense)
	}
	if p.value.packed.Defined() {
		h = 31*h + s.Hash(s.UnpackLinear(p.value.packed))
	}
	return h
}
