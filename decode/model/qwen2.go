package model

import (
	"fmt"

	"github.com/gsmeval/gsmeval/internal/torch"
)

// qwen2 is Qwen2, Qwen2.5 and the Qwen distillations of DeepSeek-R1: biases on q, k and v, grouped queries, RoPE, RMSNorm, SwiGLU.
type qwen2 struct {
	embed  torch.Tensor // [V, D]
	layers []qwen2Layer
	norm   torch.Tensor // [D]
	head   linear
}

type qwen2Layer struct {
	norm1, norm2   torch.Tensor // [D]
	q, k, v, o     linear
	gate, up, down linear
}

func newQwen2(l *loader) network {
	c := l.cfg
	if c.HiddenAct != "silu" {
		l.err = fmt.Errorf("hidden_act %q is not supported for qwen2; supported: silu", c.HiddenAct)
	}
	if c.UseSlidingWindow {
		l.err = fmt.Errorf("use_sliding_window true is not supported")
	}
	d, q, kv, ff := c.HiddenSize, c.NumHeads*c.HeadDim, c.NumKVHeads*c.HeadDim, c.IntermediateSize
	m := &qwen2{embed: l.tensor("model.embed_tokens.weight", c.VocabSize, d)}
	for i := range c.NumLayers {
		at, site := fmt.Sprintf("model.layers.%d.", i), uint32(sitesPerLayer*i)
		m.layers = append(m.layers, qwen2Layer{
			norm1: l.tensor(at+"input_layernorm.weight", d),
			norm2: l.tensor(at+"post_attention_layernorm.weight", d),
			q:     l.linear(site+siteQ, at+"self_attn.q_proj", q, d, true),
			k:     l.linear(site+siteK, at+"self_attn.k_proj", kv, d, true),
			v:     l.linear(site+siteV, at+"self_attn.v_proj", kv, d, true),
			o:     l.linear(site+siteO, at+"self_attn.o_proj", d, q, false),
			gate:  l.linear(site+siteGate, at+"mlp.gate_proj", ff, d, false),
			up:    l.linear(site+siteUp, at+"mlp.up_proj", ff, d, false),
			down:  l.linear(site+siteDown, at+"mlp.down_proj", d, ff, false),
		})
	}
	m.norm = l.tensor("model.norm.weight", d)
	m.head = l.head(m.embed)
	return m
}

func (m *qwen2) forward(p *pass) torch.Tensor {
	s, c := p.s, p.m.Config
	x := p.embed(m.embed) // [R, D]
	for i := range m.layers {
		l, mark := &m.layers[i], s.Mark()
		h := &activation{x: s.RMSNorm(x, l.norm1, c.RMSNormEps)}
		q := p.heads(p.linear(h, l.q), c.NumHeads)   // [R, H, hd]
		k := p.heads(p.linear(h, l.k), c.NumKVHeads) // [R, KV, hd]
		v := p.heads(p.linear(h, l.v), c.NumKVHeads)
		a := &activation{x: p.attend(i, q, k, v)} // [R, H*hd]
		s.AddTo(x, p.linear(a, l.o))
		h = &activation{x: s.RMSNorm(x, l.norm2, c.RMSNormEps)}
		f := &activation{x: s.SiluMul(p.linear(h, l.gate), p.linear(h, l.up))} // [R, FF]
		s.AddTo(x, p.linear(f, l.down))
		s.Release(mark)
	}
	return p.logits(s.RMSNorm(x, m.norm, c.RMSNormEps), m.head)
}
