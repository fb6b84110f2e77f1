// Package model computes logits: one short file for each architecture, on the layers of layers.go.
//
// Activations are rows [R, D], a row for each token: the positions of one prompt in prefill, one position of each sequence
// in a decode step. Every layer works row by row, and attention reads the key-value cache of the row's own slot, so that a
// row means the same whatever stands beside it.
package model

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gsmeval/gsmeval/decode/checkpoint"
	"github.com/gsmeval/gsmeval/internal/torch"
	"github.com/gsmeval/gsmeval/noise"
)

// Batch is the rows of one forward pass.
type Batch struct {
	Tokens    []int64 // [R] token ids
	Slots     []int32 // [R] cache slot of the row's sequence
	Positions []int32 // [R] position in the sequence
	From, To  int     // rows whose logits are wanted

	Rows *noise.Rows // what the rows' noise is drawn for; needed with an injector
}

// Cache is the key-value cache: a tensor [slots, KV heads, capacity, head dim] for the keys and one for the values of each layer.
type Cache struct {
	Slots, Capacity int
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

// network is what an architecture's file provides.
type network interface {
	// forward returns the logits [To-From, V] of the batch's rows [From, To), in the compute dtype.
	forward(p *pass) torch.Tensor
}

// architectures is the literal table of what can be loaded, by config.json's model_type.
var architectures = map[string]func(*loader) network{
	"gemma2":  newGemma2,
	"llama":   newLlama,
	"mistral": newMistral,
	"phi3":    newPhi3,
	"qwen2":   newQwen2,
	"qwen3":   newQwen3,
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

// Model is a loaded checkpoint. Its methods run on the torch worker's thread.
type Model struct {
	Config checkpoint.Config
	DType  torch.DType
	Device torch.Device

	net     network
	weights *checkpoint.Weights
	params  []param
	rope    *ropeTable
	dirty   map[int]bool
}

type param struct {
	noise.Param
	source checkpoint.Tensor
}

// Load reads the weights of the checkpoint in dir to a device, in the dtype that is computed in. w stays open until Close:
// perturbed weights are restored from it. progress, if not nil, is called with bytes done and in all.
func Load(s *torch.Scope, cfg checkpoint.Config, w *checkpoint.Weights, dt torch.DType, d torch.Device, progress func(done, total int64)) (*Model, error) {
	build, ok := architectures[cfg.ModelType]
	if !ok {
		return nil, fmt.Errorf("model_type %q is not supported; supported: %s", cfg.ModelType, strings.Join(Supported(), ", "))
	}
	rope, err := newRopeTable(s, cfg)
	if err != nil {
		return nil, err
	}
	l := &loader{s: s, cfg: cfg, weights: w, dtype: dt, device: d, progress: progress, seen: map[string]bool{}}
	for _, f := range w.Files() {
		l.total += f.Size
	}
	m := &Model{Config: cfg, DType: dt, Device: d, weights: w, rope: rope, dirty: map[int]bool{}}
	m.net = build(l)
	m.params = l.params
	if err := l.finish(); err != nil {
		m.Free()
		return nil, err
	}
	return m, nil
}

// Free frees the weights.
func (m *Model) Free() {
	for _, p := range m.params {
		p.Tensor.Free()
	}
	m.params = nil
	m.rope.free()
}

// NewCache makes a cache of slots sequences of up to capacity positions.
func (m *Model) NewCache(s *torch.Scope, slots, capacity int) (*Cache, error) {
	if n, key := m.Config.Context(); capacity > n {
		return nil, fmt.Errorf("a sequence of %d tokens is longer than the %d positions of the model (%s)", capacity, n, key)
	}
	c := &Cache{Slots: slots, Capacity: capacity}
	shape := []int64{int64(slots), int64(m.Config.NumKVHeads), int64(capacity), int64(m.Config.HeadDim)}
	for range m.Config.NumLayers {
		c.k = append(c.k, s.Keep(s.Empty(shape, m.DType, m.Device)))
		c.v = append(c.v, s.Keep(s.Empty(shape, m.DType, m.Device)))
	}
	m.rope.reserve(s, capacity, m.Device)
	if s.Err() != nil {
		c.Free()
		return nil, fmt.Errorf("making a key-value cache of %d x %d positions: %w", slots, capacity, s.Err())
	}
	return c, nil
}

// CacheBytes is the size of a cache of that shape.
func (m *Model) CacheBytes(slots, capacity int) int64 {
	size := int64(2)
	if m.DType == torch.Float32 {
		size = 4
	}
	return 2 * size * int64(slots) * int64(capacity) * int64(m.Config.NumKVHeads) * int64(m.Config.HeadDim) * int64(m.Config.NumLayers)
}

// Forward computes the logits [To-From, V], float32, of the batch's rows, and writes the rows' keys and values to the cache.
func (m *Model) Forward(s *torch.Scope, b *Batch, kv *Cache, in *noise.Injector) torch.Tensor {
	return s.To(m.net.forward(&pass{s: s, b: b, kv: kv, in: in, m: m}), torch.Float32)
}

// Perturb adds weight noise in place; Restore undoes it. A noise that changes nothing is noise.ErrNoEffect.
func (m *Model) Perturb(s *torch.Scope, perturb func(*torch.Scope, []noise.Param) (noise.Effect, error)) (noise.Effect, error) {
	if err := m.Restore(s); err != nil {
		return nil, err
	}
	params := make([]noise.Param, len(m.params))
	for i, p := range m.params {
		params[i] = p.Param
		m.dirty[i] = true
	}
	return perturb(s, params)
}

// Restore puts back, from the mapped file, every parameter that noise may have touched: bit for bit what was loaded.
func (m *Model) Restore(s *torch.Scope) error {
	var buf []byte
	for i := range m.params {
		if m.dirty[i] {
			if buf == nil {
				buf = make([]byte, pieceBytes)
			}
			if err := m.params[i].fill(s, buf, nil); err != nil {
				return fmt.Errorf("restoring %s: %w", m.params[i].Name, err)
			}
		}
	}
	clear(m.dirty)
	return s.Err()
}

// Hashes returns a hash of every parameter's bytes as they are now.
func (m *Model) Hashes(s *torch.Scope) map[string]uint64 {
	h := make(map[string]uint64, len(m.params))
	for _, p := range m.params {
		h[p.Name] = s.Hash(p.Tensor)
	}
	return h
}
