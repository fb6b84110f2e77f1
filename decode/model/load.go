package model

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gsmeval/gsmeval/decode/checkpoint"
	"github.com/gsmeval/gsmeval/internal/torch"
	"github.com/gsmeval/gsmeval/noise"
)

// loader copies the tensors that an architecture asks for by name. Its first error sticks.
type loader struct {
	s       *torch.Scope
	cfg     checkpoint.Config
	weights *checkpoint.Weights
	opt     Options

	params      []*param
	seen        map[string]bool
	notes       []string
	done, total int64
	err         error
}

var dtypes = map[checkpoint.DType]torch.DType{
	checkpoint.F32: torch.Float32, checkpoint.F16: torch.Float16, checkpoint.BF16: torch.BFloat16,
	checkpoint.F64: torch.Float64,
}

// tensor loads one parameter of exactly this shape. On the CPU what is not a matrix is float32: only Linears compute in
// another dtype there.
func (l *loader) tensor(name string, shape ...int) torch.Tensor {
	dt := l.opt.DType
	if l.opt.Device == torch.CPU && len(shape) == 1 {
		dt = torch.Float32
	}
	return l.load(name, dt, shape...).value.dense
}

// load reads a parameter in a dtype. After an error the parameter has no value.
func (l *loader) load(name string, dt torch.DType, shape ...int) *param {
	p := &param{name: name, value: &weight{}, dtype: dt, device: l.opt.Device}
	stored := l.stored(name)
	l.seen[stored] = true
	if l.err != nil {
		return p
	}
	var ok bool
	if p.source, ok = l.weights.Tensor(stored); !ok {
		l.err = fmt.Errorf("the checkpoint has no tensor %q, which a %s model needs", name, l.cfg.ModelType)
		return p
	}
	if !slices.Equal(p.source.Shape, shape) {
		l.err = fmt.Errorf("tensor %q has shape %v, config.json makes it %v", name, p.source.Shape, shape)
		return p
	}
	if _, ok := dtypes[p.source.DType]; !ok {
		l.err = fmt.Errorf("tensor %q is %s, not a floating-point type that can be computed with", name, p.source.DType)
		return p
	}
	dense := l.s.Keep(p.empty(l.s))
	if l.err = l.s.Err(); l.err != nil {
		return p
	}
	p.value.dense = dense
	l.params = append(l.params, p)
	l.err = p.fill(l.s, dense, func(n int) {
		l.done += int64(n)
		if l.opt.Progress != nil {
			l.opt.Progress(l.done, l.total)
		}
	})
	return p
}

// linear loads the weight [out, in] of a Linear, and its bias [out] where it has one.
func (l *loader) linear(id uint32, name string, out, in int, bias bool) linear {
	p := l.load(name+".weight", l.opt.DType, out, in)
	if l.stream(p, out) {
		p.value.dense.Free() // the copy replaces it
		p.value.dense = torch.Tensor{}
	}
	lin := linear{site: noise.Site{ID: id, Name: name}, w: p.value}
	if bias {
		lin.b = l.load(name+".bias", l.opt.DType, out).value.dense
	}
	return lin
}

// stream adds the copy of a weight [out, in] that Linears read, where the CPU computes them.
func (l *loader) stream(p *param, out int) bool {
	if l.err != nil || l.opt.onDevice() {
		return false
	}
	p.value.out = out
	p.value.stream(l.s, p.value.dense)
	l.err = l.s.Err()
	return l.err == nil
}

// stored is the name under which the checkpoint has a parameter. As in transformers, a checkpoint of the decoder alone
// has names without "model.", and of two tied matrices either may be stored.
func (l *loader) stored(name string) string {
	bare := strings.TrimPrefix(name, "model.")
	if !l.has("model.embed_tokens.weight") && l.has("embed_tokens.weight") {
		name = bare
	}
	if bare == "embed_tokens.weight" && l.cfg.TieEmbeddings && !l.has(name) && l.has(headWeight) {
		return headWeight
	}
	return name
}

func (l *loader) has(name string) bool {
	_, ok := l.weights.Tensor(name)
	return ok
}

const headWeight = "lm_head.weight"

// head loads lm_head, which is the embedding where the two are tied. A copy for the Linear then stands beside the
// embedding that tokens are looked up in: one more matrix [V, D] in memory.
func (l *loader) head(embed torch.Tensor) linear {
	if !l.tied() {
		return l.linear(headSite, "lm_head", l.cfg.VocabSize, l.cfg.HiddenSize, false)
	}
	tied := linear{site: noise.Site{ID: headSite, Name: "lm_head"}, w: &weight{}}
	for _, p := range l.params {
		if p.value.dense == embed {
			l.stream(p, l.cfg.VocabSize)
			tied.w = p.value
		}
	}
	return tied
}

// tied tells whether lm_head is the embedding: where config.json says so and the checkpoint has no other lm_head. One
// that differs is used, as by transformers 5.
func (l *loader) tied() bool {
	if l.err != nil || !l.cfg.TieEmbeddings || !l.has(headWeight) {
		return l.cfg.TieEmbeddings
	}
	head, _ := l.weights.Tensor(headWeight)
	embed, _ := l.weights.Tensor(l.stored("model.embed_tokens.weight"))
	var same bool
	if same, l.err = checkpoint.Equal(head, embed); !same {
		l.notes = append(l.notes,
			headWeight+" is used, though config.json ties it to the embedding: the two differ in the checkpoint")
		return false
	}
	l.seen[headWeight] = true
	if head.Name != embed.Name {
		l.notes = append(l.notes, headWeight+" is not used: it is the embedding once more, as config.json says")
	}
	return true
}

// requireSupported refuses a value of config.json that the architecture does not compute, by name, value and what is
// supported.
func (l *loader) requireSupported(key string, value any, ok bool, supported string) {
	if !ok && l.err == nil {
		l.err = fmt.Errorf("config.json: %s %v is not supported for model_type %s; supported: %s", key, value,
			l.cfg.ModelType, supported)
	}
}

// finish reports the first error, or tensors of the checkpoint that nobody asked for: a model that ignores some of its
// weights is another model. Those that cannot matter are named in the notes.
func (l *loader) finish() error {
	if l.err != nil {
		return l.err
	}
	unused := map[string][]string{} // by the reason why that is right
	for _, n := range l.weights.Names() {
		if l.seen[n] {
			continue
		}
		reason, err := l.needless(n)
		if err != nil {
			return err
		}
		if reason == "" {
			return fmt.Errorf("the checkpoint has a tensor %q that a %s model of this config does not use; it is another model than config.json says", n, l.cfg.ModelType)
		}
		unused[reason] = append(unused[reason], n)
	}
	for _, reason := range slices.Sorted(maps.Keys(unused)) {
		names := unused[reason]
		more := ""
		if len(names) > 1 {
			more = fmt.Sprintf(" and %d like it", len(names)-1)
		}
		l.notes = append(l.notes, fmt.Sprintf("%s%s: not used, %s", names[0], more, reason))
	}
	return nil
}

// needless says why a tensor that no architecture asks for changes nothing; "" is a tensor that might.
func (l *loader) needless(name string) (reason string, err error) {
	if strings.HasSuffix(name, ".rotary_emb.inv_freq") {
		return "since these frequencies follow from config.json", nil
	}
	if t, _ := l.weights.Tensor(name); strings.HasSuffix(name, ".bias") && len(t.Shape) == 1 {
		zero, err := checkpoint.Zero(t)
		if zero {
			reason = "since it is a bias of zeros, where this model has none"
		}
		return reason, err
	}
	return "", nil
}
