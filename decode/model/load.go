package model

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gsmeval/gsmeval/decode/checkpoint"
	"github.com/gsmeval/gsmeval/internal/torch"
	"github.com/gsmeval/gsmeval/noise"
)

// loader copies the tensors that an architecture asks for by name. Its first error sticks.
type loader struct {
	s        *torch.Scope
	cfg      checkpoint.Config
	weights  *checkpoint.Weights
	dtype    torch.DType
	device   torch.Device
	progress func(done, total int64)

	buf         []byte // a piece of the tensor that is being copied
	params      []param
	seen        map[string]bool
	done, total int64
	err         error
}

var dtypes = map[checkpoint.DType]torch.DType{
	checkpoint.F32: torch.Float32, checkpoint.F16: torch.Float16, checkpoint.BF16: torch.BFloat16, checkpoint.F64: torch.Float64,
}

// tensor loads one parameter of exactly this shape.
func (l *loader) tensor(name string, shape ...int) torch.Tensor {
	l.seen[name] = true
	if l.err != nil {
		return torch.Tensor{}
	}
	src, ok := l.weights.Tensor(name)
	if !ok {
		l.err = fmt.Errorf("the checkpoint has no tensor %q, which a %s model needs", name, l.cfg.ModelType)
		return torch.Tensor{}
	}
	if !slices.Equal(src.Shape, shape) {
		l.err = fmt.Errorf("tensor %q has shape %v, config.json makes it %v", name, src.Shape, shape)
		return torch.Tensor{}
	}
	if _, ok := dtypes[src.DType]; !ok {
		l.err = fmt.Errorf("tensor %q is %s, not a floating-point type that can be computed with", name, src.DType)
		return torch.Tensor{}
	}
	dims := make([]int64, len(shape))
	for i, d := range shape {
		dims[i] = int64(d)
	}
	t := l.s.Keep(l.s.Empty(dims, l.dtype, l.device))
	if l.err = l.s.Err(); l.err != nil {
		return torch.Tensor{}
	}
	p := param{noise.Param{Name: name, Tensor: t}, src}
	l.params = append(l.params, p)
	if l.buf == nil {
		l.buf = make([]byte, pieceBytes)
	}
	l.err = p.fill(l.s, l.buf, func(n int) {
		l.done += int64(n)
		if l.progress != nil {
			l.progress(l.done, l.total)
		}
	})
	return t
}

// linear loads the weight [out, in] of a Linear, and its bias [out] where it has one.
func (l *loader) linear(id uint32, name string, out, in int, bias bool) linear {
	lin := linear{site: noise.Site{ID: id, Name: name}, w: l.tensor(name+".weight", out, in)}
	if bias {
		lin.b = l.tensor(name+".bias", out)
	}
	return lin
}

// head loads lm_head, which is the embedding where the two are tied.
func (l *loader) head(embed torch.Tensor) linear {
	if l.cfg.TieEmbeddings {
		l.seen["lm_head.weight"] = true // some checkpoints store it all the same; transformers ignores it too
		return linear{site: noise.Site{ID: headSite, Name: "lm_head"}, w: embed}
	}
	return l.linear(headSite, "lm_head", l.cfg.VocabSize, l.cfg.HiddenSize, false)
}

// only refuses a value of config.json that the architecture does not compute, by name, value and what is supported.
func (l *loader) only(key string, value any, ok bool, supported string) {
	if !ok && l.err == nil {
		l.err = fmt.Errorf("config.json: %s %v is not supported for model_type %s; supported: %s", key, value, l.cfg.ModelType, supported)
	}
}

// finish reports the first error, or tensors of the checkpoint that nobody asked for: a model that ignores some of its
// weights is another model.
func (l *loader) finish() error {
	if l.err != nil {
		return l.err
	}
	for _, n := range l.weights.Names() {
		if !l.seen[n] && !strings.HasSuffix(n, ".rotary_emb.inv_freq") {
			return fmt.Errorf("the checkpoint has a tensor %q that a %s model of this config does not use; it is another model than config.json says", n, l.cfg.ModelType)
		}
	}
	return nil
}

// pieceBytes is how much of a tensor is copied at once: it stays in the processor's cache between the steps.
const pieceBytes = 1 << 20

// fill copies the parameter from the mapped file to its place, piece by piece, checking and converting on the way: beside
// the weights themselves a load needs the memory of one piece. copied, if not nil, is called with the bytes of each piece.
func (p *param) fill(s *torch.Scope, buf []byte, copied func(n int)) error {
	dt := dtypes[p.source.DType]
	return p.source.Stream(buf, func(first int, piece []byte) error {
		s.CopyBytes(p.Tensor, first, piece, dt)
		if err := s.Err(); err != nil {
			return fmt.Errorf("tensor %q: %w", p.Name, err)
		}
		if copied != nil {
			copied(len(piece))
		}
		return nil
	})
}
