// Package model computes logits: one short file for each architecture, on the layers of layers.go.
//
// Activations are rows [R, D], a row for each token: the positions of one prompt in prefill, one position of each
// sequence in a decode step. Every layer works row by row, and attention reads the key-value cache of the row's own
// slot, so that a row means the same whatever stands beside it.
package model

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gsmeval/gsmeval/decode/checkpoint"
	"github.com/gsmeval/gsmeval/internal/condition"
	"github.com/gsmeval/gsmeval/internal/torch"
	"github.com/gsmeval/gsmeval/internal/torch/heap"
	"github.com/gsmeval/gsmeval/noise"
)

// Batch is the rows of one forward pass.
type Batch struct {
	Tokens    []int64 // [R] token ids
	Slots     []int32 // [R] cache slot of the row's sequence
	Positions []int32 // [R] position in the sequence
	From, To  int     // rows whose logits are wanted

	Rows *noise.Rows // what the rows' noise is drawn for; needed with an injector

	// At is the batch on the model's device, for a decode step whose tokens are chosen there. Then Tokens, Slots and
	// Positions say only how many rows there are. Without it a device gets a copy.
	At *Placed
}

// Placed is a batch on a device, int64 [R] each.
type Placed struct {
	Tokens, Slots, Positions torch.Tensor
	Length                   int // if not 0: row r is slot r, and no position is Length or more
}

// Cache is the key-value cache: a tensor for the keys and one for the values of each layer, [slots, KV heads, capacity,
// head dim]; on the CPU the keys are [slots, KV heads, capacity/16, head dim, 16].
type Cache struct {
	Slots, Capacity int
	blocks          int // of keys, on the CPU
	k, v            []torch.Tensor
}

// Free frees the cache's tensors.
func (c *Cache) Free() {
	for i := range c.k {
		c.k[i].Free()
		c.v[i].Free()
	}
	c.k, c.v = nil, nil
}

// Copy gives slot to the first n positions of slot from.
func (c *Cache) Copy(s *torch.Scope, from, to, n int) {
	for i := range c.k {
		for _, t := range []torch.Tensor{c.k[i], c.v[i]} {
			part := n // of the positions, or on the CPU of the blocks of keys
			if t == c.k[i] && c.blocks > 0 {
				part = (n + torch.KeyBlock - 1) / torch.KeyBlock
			}
			src, dst := s.Slice(t, 0, from, from+1), s.Slice(t, 0, to, to+1)
			s.Assign(s.Slice(dst, 2, 0, part), s.Slice(src, 2, 0, part))
		}
	}
}

// network is what an architecture's file provides.
type network interface {
	// forward returns the logits [To-From, V] of the batch's rows [From, To), in the compute dtype.
	forward(p *pass) torch.Tensor
}

// architectures is the literal table of what can be loaded, by config.json's model_type.
var architectures = map[string]func(*loader) network{
	"gemma2":      newGemma2,
	"gemma3_text": newGemma3,
	"llama":       newLlama,
	"mistral":     newMistral,
	"phi3":        newPhi3,
	"qwen2":       newQwen2,
	"qwen3":       newQwen3,
}

// Supported lists the model types that can be loaded.
func Supported() []string {
	names := make([]string, 0, len(architectures))
	for n := range architectures {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// Options say how a model computes.
type Options struct {
	// DType is what Linears compute in. On the CPU everything between them is float32 whatever it is.
	DType    torch.DType
	Device   torch.Device
	Plain    bool                    // on the CPU: by the operations that other devices compute with, for tests of those
	Progress func(done, total int64) // if not nil, is told of bytes loaded and in all
}

func (o Options) onDevice() bool { return o.Device != torch.CPU || o.Plain }

// Model is a loaded checkpoint. Its methods run on the torch worker's thread.
type Model struct {
	Config checkpoint.Config
	Options

	// Notes say which tensors of the checkpoint are not used, or used in another way than its config.json says, and
	// why.
	Notes []string

	net     network
	weights *checkpoint.Weights
	params  []*param
	rope    *ropeTable
	others  map[string]*loader // checkpoints that noise puts in place of the weights, by path
	local   *ropeTable         // of layers that slide, where they rotate by another base; else nil
}

// Load reads the weights of a checkpoint to a device. w stays open until Close: perturbed weights are restored from it.
func Load(s *torch.Scope, cfg checkpoint.Config, w *checkpoint.Weights, o Options) (*Model, error) {
	build, ok := architectures[cfg.ModelType]
	if !ok {
		return nil, fmt.Errorf("model_type %q is not supported; supported: %s", cfg.ModelType,
			strings.Join(Supported(), ", "))
	}
	rope, local, err := newRopeTables(s, cfg)
	if err != nil {
		return nil, err
	}
	l := &loader{s: s, cfg: cfg, weights: w, opt: o, seen: map[string]bool{}}
	for _, name := range w.Names() {
		t, _ := w.Tensor(name)
		l.total += int64(t.Size())
	}
	m := &Model{Config: cfg, Options: o, weights: w, rope: rope, local: local}
	err = heap.Returning(func() error {
		m.net = build(l)
		m.params = l.params
		err := l.finish()
		m.Notes = append(slices.Clone(w.Notes), l.notes...)
		return err
	})
	if err != nil {
		m.Free()
		return nil, err
	}
	return m, nil
}

// Free frees the weights.
func (m *Model) Free() {
	for _, p := range m.params {
		p.value.free()
	}
	m.params = nil
	m.rope.free()
	if m.local != nil {
		m.local.free()
	}
}

// ropeOf is the rotary table of a layer.
func (m *Model) ropeOf(layer int) *ropeTable {
	if m.local != nil && m.Config.LayerTypes[layer] == checkpoint.SlidingAttention {
		return m.local
	}
	return m.rope
}

// NewCache makes a cache of slots sequences of up to capacity positions.
func (m *Model) NewCache(s *torch.Scope, slots, capacity int) (*Cache, error) {
	if n, key := m.Config.Context(); capacity > n {
		return nil, fmt.Errorf("a sequence of %d tokens is longer than the %d positions of the model (%s)", capacity, n,
			key)
	}
	c := &Cache{Slots: slots, Capacity: capacity}
	shape := []int64{int64(slots), int64(m.Config.NumKVHeads), int64(capacity), int64(m.Config.HeadDim)}
	keys := shape
	if !m.OnDevice() {
		c.blocks = (capacity + torch.KeyBlock - 1) / torch.KeyBlock
		keys = []int64{shape[0], shape[1], int64(c.blocks), shape[3], torch.KeyBlock}
	}
	// Zeros, and not Empty: the system hands memory out when it is first written to, and running out is for the start.
	for range m.Config.NumLayers {
		c.k = append(c.k, s.Keep(s.Zeros(keys, m.cacheType(), m.Device)))
		c.v = append(c.v, s.Keep(s.Zeros(shape, m.cacheType(), m.Device)))
	}
	m.rope.reserve(s, capacity, m.Device)
	if m.local != nil {
		m.local.reserve(s, capacity, m.Device)
	}
	if s.Err() != nil {
		c.Free()
		return nil, fmt.Errorf("making a key-value cache of %d x %d positions: %w", slots, capacity, s.Err())
	}
	return c, nil
}

// OnDevice tells whether the model computes by the operations for devices other than the CPU.
func (m *Model) OnDevice() bool { return m.onDevice() }

// Sites is how many Linears the model has at most.
func (m *Model) Sites() int { return sitesPerLayer*m.Config.NumLayers + 1 }

// cacheType is the dtype of keys and values: what Linears compute in, but float32 for float16 on the CPU, which has no
// arithmetic for it.
func (m *Model) cacheType() torch.DType {
	if m.Device == torch.CPU && m.DType != torch.BFloat16 {
		return torch.Float32
	}
	return m.DType
}

// CacheBytes is the size of a cache of that shape.
func (m *Model) CacheBytes(slots, capacity int) int64 {
	size := int64(2)
	if m.cacheType() == torch.Float32 {
		size = 4
	}
	return 2 * size * int64(slots) * int64(capacity) * int64(m.Config.NumKVHeads) * int64(m.Config.HeadDim) * int64(m.Config.NumLayers)
}

// Forward computes the logits [To-From, V], float32, of the batch's rows, and writes the rows' keys and values to the
// cache.
func (m *Model) Forward(s *torch.Scope, b *Batch, kv *Cache, in *noise.Injector) torch.Tensor {
	p := &pass{s: s, b: b, kv: kv, in: in, m: m, at: b.At}
	if m.OnDevice() && p.at == nil {
		p.at = m.toDevice(s, b)
	}
	if m.OnDevice() && in != nil && b.Rows.At == nil {
		n := len(b.Tokens)
		b.Rows.At = noise.PlaceRows(s, b.Rows, m.Device, m.Sites())
		defer func() {
			in.Gather(s, b.Rows, slices.Repeat([]int{1}, n))
			b.Rows.At = nil
		}()
	}
	return s.To(m.net.forward(p), torch.Float32)
}

// toDevice copies a batch to the model's device.
func (m *Model) toDevice(s *torch.Scope, b *Batch) *Placed {
	wide := func(v []int32) torch.Tensor {
		w := make([]int64, len(v))
		for i, x := range v {
			w[i] = int64(x)
		}
		return s.Ints(w, m.Device)
	}
	return &Placed{Tokens: s.Ints(b.Tokens, m.Device), Slots: wide(b.Slots), Positions: wide(b.Positions)}
}

// Perturb adds weight noise in place; Restore undoes it. A noise that changes nothing is condition.ErrNoEffect.
func (m *Model) Perturb(s *torch.Scope, perturb func(*torch.Scope, []noise.Param) (condition.Effect,
	error),
) (condition.Effect, error) {
	if err := m.Restore(s); err != nil {
		return nil, err
	}
	params := make([]noise.Param, len(m.params))
	for i, p := range m.params {
		params[i] = p.noisy()
		params[i].Replacement = func(s *torch.Scope, path string) []float32 { return m.replacement(s, p, path) }
	}
	var effect condition.Effect
	err := heap.Returning(func() (err error) {
		effect, err = perturb(s, params)
		return err
	})
	return effect, err
}

// Restore puts back, from the mapped file, every parameter that noise touched: bit for bit what was loaded.
func (m *Model) Restore(s *torch.Scope) error {
	return heap.Returning(func() error {
		for _, p := range m.params {
			if err := p.restore(s); err != nil {
				return err
			}
		}
		return s.Err()
	})
}

// Hashes returns a hash of every parameter's bytes as they are now.
func (m *Model) Hashes(s *torch.Scope) map[string]uint64 {
	h := make(map[string]uint64, len(m.params))
	for _, p := range m.params {
		h[p.name] = p.hash(s)
	}
	return h
}
