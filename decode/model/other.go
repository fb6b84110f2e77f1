package model

import (
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/gsmeval/gsmeval/decode/checkpoint"
	"github.com/gsmeval/gsmeval/internal/torch"
)

// errNotOffered is a noise's checkpoint that nobody opened.
var errNotOffered = errors.New("the checkpoint is not open")

// Offer makes another checkpoint of the same architecture known under a path, for noise that puts its weights in place
// of the model's. w stays open as long as the model.
func (m *Model) Offer(path string, cfg checkpoint.Config, w *checkpoint.Weights) error {
	if key := differs(m.Config, cfg); key != "" {
		return fmt.Errorf("%s is another architecture than the model: they differ in %s", path, key)
	}
	l := &loader{cfg: cfg, weights: w, seen: map[string]bool{}}
	for _, p := range m.params {
		stored := l.stored(p.name)
		l.seen[stored] = true
		t, ok := w.Tensor(stored)
		if !ok {
			return fmt.Errorf("%s has no tensor %q, which the model has", path, p.name)
		}
		if !slices.Equal(t.Shape, p.source.Shape) {
			return fmt.Errorf("%s: tensor %q has shape %v, that of the model %v", path, p.name, t.Shape, p.source.Shape)
		}
		if _, ok := dtypes[t.DType]; !ok {
			return fmt.Errorf("%s: tensor %q is %s, not a floating-point type that can be computed with", path, p.name,
				t.DType)
		}
	}
	if !l.tied() && !slices.ContainsFunc(m.params, func(p *param) bool { return p.name == headWeight }) {
		return fmt.Errorf("%s has an lm_head of its own, that of the model is its embedding", path)
	}
	if err := l.finish(); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if m.others == nil {
		m.others = map[string]*loader{}
	}
	m.others[path] = l
	return nil
}

// differs names what two architectures do not have in common, "" for nothing. How weights are stored, and what ends a
// text, is no part of it.
func differs(a, b checkpoint.Config) string {
	same := func(c checkpoint.Config) checkpoint.Config {
		c.Raw, c.Architectures, c.Quantization, c.DType, c.EOS, c.BOS, c.Pad = nil, nil, "", "", nil, nil, nil
		c.TieEmbeddings = false // what matters is whether the matrices differ
		return c
	}
	va, vb := reflect.ValueOf(same(a)), reflect.ValueOf(same(b))
	for i := range va.NumField() {
		if x, y := va.Field(i).Interface(), vb.Field(i).Interface(); !reflect.DeepEqual(x, y) {
			return fmt.Sprintf("%s (%v and %v)", va.Type().Field(i).Name, reflect.Indirect(va.Field(i)),
				reflect.Indirect(vb.Field(i)))
		}
	}
	return ""
}

// replacement is what the checkpoint at a path has in place of a parameter.
func (m *Model) replacement(s *torch.Scope, p *param, path string) []float32 {
	l, ok := m.others[path]
	if !ok {
		s.Fail(fmt.Errorf("%s: %w", path, errNotOffered))
		return nil
	}
	other := *p
	other.source, _ = l.weights.Tensor(l.stored(p.name))
	other.dtype, other.device = torch.Float32, torch.CPU
	dst := other.empty(s)
	if s.Err() == nil {
		if err := other.fill(s, dst, nil); err != nil {
			s.Fail(fmt.Errorf("%s: %w", path, err))
		}
	}
	if s.Err() != nil {
		return nil
	}
	return s.FloatView(dst)
}
