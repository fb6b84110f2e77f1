package model

import (
	"errors"
	"fmt"

	"github.com/gsmeval/gsmeval/decode/checkpoint"
	"github.com/gsmeval/gsmeval/internal/torch"
	"github.com/gsmeval/gsmeval/noise"
)

// Linears says how Linears are computed on the CPU.
type Linears string

// The ways to compute a Linear. What auto chooses depends on the dtype, the shape and the processor alone, never on a timing: the
// same config computes the same bits on the same machine.
const (
	LinearsAuto     Linears = "auto"
	LinearsStreamed Linears = "streamed" // our own, on weights in the order of reading: float32 with AVX-512, bfloat16 with AMX
	LinearsPacked   Linears = "packed"   // oneDNN, on weights that were packed at load
	LinearsPlain    Linears = "plain"    // libtorch's own
)

// packRows is the number of rows that packed weights are laid out for. oneDNN computes other numbers of rows from the same
// layout, at full speed from 8 to 100 rows; laid out for one row it takes twice the time at 8.
const packRows = 32

// packFrom is the number of elements from which auto packs a float32 weight: below it the 10 us that oneDNN takes to look up
// a kernel cost more than packing saves.
const packFrom = 1 << 18

// processor is what of a CPU the choice of a layout looks at.
type processor struct {
	avx512  bool                   // libtorch uses it
	streams func(torch.DType) bool // whether Linears can be streamed
}

// layout is how the weight [out, in] of a Linear stands in memory, where a decode step has batch rows (0: not known): streamed,
// packed or plain. float32 and bfloat16 are streamed wherever they can be.
func (l Linears) layout(dt torch.DType, out, in, batch int, cpu processor) (Linears, error) {
	if l == "" {
		l = LinearsAuto
	}
	switch {
	case l == LinearsStreamed && !cpu.streams(dt):
		return "", errors.New("model.linears: streamed needs a processor with AVX-512 for float32 and with AMX for bfloat16 (float16 is never streamed); " +
			"use auto, which chooses what this processor can do")
	case l == LinearsStreamed, l == LinearsAuto && cpu.streams(dt):
		return LinearsStreamed, nil
	case l == LinearsPlain, dt == torch.Float16, dt == torch.BFloat16 && !cpu.avx512: // oneDNN has no float16 without AMX-FP16, no bfloat16 without AVX-512
		return LinearsPlain, nil
	case l == LinearsPacked, dt == torch.BFloat16, batch != 1 && out*in >= packFrom: // one row is all about reading the weights, which a plain product does faster
		return LinearsPacked, nil
	}
	return LinearsPlain, nil
}

// weight is a parameter's value: dense, laid out for a Linear, or both, where a tied embedding is looked up and multiplied by.
type weight struct {
	dense, laid torch.Tensor
	layout      Linears // of laid: streamed or packed
	out         int     // outputs of the streamed Linear
}

// multiply is x w^T + b: x [R, in], b [out] or none.
func (w *weight) multiply(s *torch.Scope, x, b torch.Tensor) torch.Tensor {
	switch {
	case !w.laid.Defined():
		return s.Linear(x, w.dense, b)
	case w.layout == LinearsStreamed:
		return s.StreamedLinear(x, w.laid, w.out, b)
	}
	return s.Linear(x, w.laid, b)
}

func (w *weight) free() {
	w.dense.Free()
	w.laid.Free()
	*w = weight{}
}

// lay makes or renews the copy for Linears from a dense tensor [out, in].
func (w *weight) lay(s *torch.Scope, dense torch.Tensor) {
	var laid torch.Tensor
	if w.layout == LinearsStreamed {
		laid = s.Keep(s.StreamWeight(dense))
	} else {
		laid = s.Keep(s.PackLinear(dense, packRows))
	}
	if s.Err() == nil {
		w.laid.Free()
		w.laid = laid
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

// clean is the dense tensor with what the file holds: the parameter's own, or one of the scope's where only a copy for Linears is kept.
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
	if err == nil && p.value.laid.Defined() {
		p.value.lay(s, dense)
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
		if p.value.laid.Defined() {
			p.value.lay(s, dense)
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
	if laid := p.value.laid; laid.Defined() {
		if p.value.layout == LinearsPacked {
			laid = s.UnpackLinear(laid) // what oneDNN makes has no bytes to look at
		}
		h = 31*h + s.Hash(laid)
	}
	return h
}
