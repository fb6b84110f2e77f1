package model

import (
	"fmt"

	"github.com/gsmeval/gsmeval/internal/torch"
)

// dense is the decoder that Llama, Mistral, Qwen2 and Qwen3 share: RMSNorm, grouped queries, RoPE, SwiGLU, two
// residuals.
type dense struct {
	embed  torch.Tensor // [V, D]
	layers []denseLayer
	norm   torch.Tensor // [D]
	head   linear
}

type denseLayer struct {
	norm1, norm2   torch.Tensor // [D]
	q, k, v, o     linear
	qNorm, kNorm   torch.Tensor // [hd], or none
	gate, up, down linear
}

// variant is where they differ.
type variant struct {
	qkvBias, oBias, mlpBias bool
	headNorm                bool // RMSNorm of each query and key head
}

func (l *loader) dense(has variant) *dense {
	c := l.cfg
	l.requireSupported("hidden_act", c.HiddenAct, c.HiddenAct == "silu", "silu")
	l.requireSupported("partial_rotary_factor", c.PartialRotaryFactor, c.PartialRotaryFactor == 1, "1")
	d, q, kv, ff := c.HiddenSize, c.NumHeads*c.HeadDim, c.NumKVHeads*c.HeadDim, c.IntermediateSize
	m := &dense{embed: l.tensor("model.embed_tokens.weight", c.VocabSize, d)}
	for i := range c.NumLayers {
		at, site := fmt.Sprintf("model.layers.%d.", i), uint32(sitesPerLayer*i)
		layer := denseLayer{
			norm1: l.tensor(at+"input_layernorm.weight", d),
			norm2: l.tensor(at+"post_attention_layernorm.weight", d),
			q:     l.linear(site+siteQ, at+"self_attn.q_proj", q, d, has.qkvBias),
			k:     l.linear(site+siteK, at+"self_attn.k_proj", kv, d, has.qkvBias),
			v:     l.linear(site+siteV, at+"self_attn.v_proj", kv, d, has.qkvBias),
			o:     l.linear(site+siteO, at+"self_attn.o_proj", d, q, has.oBias),
			gate:  l.linear(site+siteGate, at+"mlp.gate_proj", ff, d, has.mlpBias),
			up:    l.linear(site+siteUp, at+"mlp.up_proj", ff, d, has.mlpBias),
			down:  l.linear(site+siteDown, at+"mlp.down_proj", d, ff, has.mlpBias),
		}
		if has.headNorm {
			layer.qNorm = l.tensor(at+"self_attn.q_norm.weight", c.HeadDim)
			layer.kNorm = l.tensor(at+"self_attn.k_norm.weight", c.HeadDim)
		}
		m.layers = append(m.layers, layer)
	}
	m.norm = l.tensor("model.norm.weight", d)
	m.head = l.head(m.embed)
	return m
}

func (m *dense) forward(p *pass) torch.Tensor {
	s, c := p.s, p.m.Config
	x := p.embed(m.embed) // [R, D]
	for i := range m.layers {
		l, mark := &m.layers[i], s.Mark()
		h := &activation{x: s.RMSNorm(x, l.norm1, c.RMSNormEps)}
		q := p.heads(p.linear(h, l.q), c.NumHeads)   // [R, H, hd]
		k := p.heads(p.linear(h, l.k), c.NumKVHeads) // [R, KV, hd]
		v := p.heads(p.linear(h, l.v), c.NumKVHeads)
		if l.qNorm.Defined() {
			q, k = s.RMSNorm(q, l.qNorm, c.RMSNormEps), s.RMSNorm(k, l.kNorm, c.RMSNormEps)
		}
		a := &activation{x: p.attend(i, q, k, v)} // [R, H*hd]
		s.AddTo(x, p.linear(a, l.o))
		h = &activation{x: s.RMSNorm(x, l.norm2, c.RMSNormEps)}
		f := &activation{x: s.SiluMul(p.linear(h, l.gate), p.linear(h, l.up))} // [R, FF]
		s.AddTo(x, p.linear(f, l.down))
		s.Release(mark)
	}
	return p.logits(s.RMSNorm(x, m.norm, c.RMSNormEps), m.head)
}

// says reads a switch of config.json that is off where the file is silent.
func says(b *bool) bool { return b != nil && *b }
