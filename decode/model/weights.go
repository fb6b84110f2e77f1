package model

import (
	"fmt"

	"github.com/gsmeval/gsmeval/decode/checkpoint"
	"github.com/gsmeval/gsmeval/internal/torch"
	"github.com/gsmeval/gsmeval/noise"
)

// weight is a parameter's value: dense, streamed for a Linear, or both, where a tied embedding is looked up and
// multiplied by.
type weight struct {
	dense, streamed torch.Tensor
	out             int // outputs of the streamed Linear
}

// multiply is x w^T + b: x [R, in], b [out] or none.
func (w *weight) multiply(s *torch.Scope, x, b torch.Tensor) torch.Tensor {
	if w.streamed.Defined() {
		return s.StreamedLinear(x, w.streamed, w.out, b)
	}
	return s.Linear(x, w.dense, b)
}

func (w *weight) free() {
	w.dense.Free()
	w.streamed.Free()
	*w = weight{}
}

// stream makes or renews the copy for Linears from a dense tensor [out, in].
func (w *weight) stream(s *torch.Scope, dense torch.Tensor) {
	streamed := s.Keep(s.StreamWeight(dense))
	if s.Err() == nil {
		w.streamed.Free()
		w.streamed = streamed
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

// fill copies the parameter from the mapped file to a tensor, piece by piece, checking and converting on the way:
// beside the weights themselves a load needs the memory of one piece. copied, if not nil, is called with the bytes of
// each piece.
func (p *param) fill(s *torch.Scope, dst torch.Tensor, copied func(n int)) error {
	dt := dtypes[p.source.DType]
	return p.source.Stream(make([]byte, min(pieceBytes, max(16, p.source.Size()))),
		func(first int, piece []byte) error {
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

// clean is the dense tensor with what the file holds: the parameter's own, or one of the scope's where only a copy for
// Linears is kept.
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
	if err == nil && p.value.streamed.Defined() {
		p.value.stream(s, dense)
		err = s.Err()
	}
	if err != nil {
		return fmt.Errorf("restoring %s: %w", p.name, err)
	}
	p.dirty = false
	return nil
}

// noisy is the parameter as weight noise sees it: a dense tensor, from which the copy for Linears is made anew. The
// parameter is clean before.
func (p *param) noisy() noise.Param {
	change := func(s *torch.Scope, f func(dense torch.Tensor)) {
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
		if p.value.streamed.Defined() {
			p.value.stream(s, dense)
		}
	}
	return noise.Param{Name: p.name, Shape: p.source.Shape, DType: p.dtype, Change: change}
}

// hash is a hash of the parameter's bytes as they are now, of both copies where there are two.
func (p *param) hash(s *torch.Scope) uint64 {
	mark := s.Mark()
	defer s.Release(mark)
	var h uint64
	if p.value.dense.Defined() {
		h = s.Hash(p.value.dense)
	}
	if p.value.streamed.Defined() {
		h = 31*h + s.Hash(p.value.streamed)
	}
	return h
}
