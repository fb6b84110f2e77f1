package model

import (
	"fmt"

	"github.com/gsmeval/gsmeval/internal/torch"
)

// phi3 is Phi-3, Phi-3.5 and Phi-4 mini. The checkpoint has q, k and v in one Linear and gate and up in another, and so
// noise treats them: one draw on the input of each.
type phi3 struct {
	embed  torch.Tensor // [V, D]
	layers []phi3Layer
	norm   torch.Tensor // [D]
	head   linear
}

type phi3Layer struct {
	norm1, norm2         torch.Tensor // [D]
	qkv, o, gateUp, down linear
}

func newPhi3(l *loader) network {
	c := l.cfg
	l.requireSupported("hidden_act", c.HiddenAct, c.HiddenAct == "silu", "silu")
	d, q, kv, ff := c.HiddenSize, c.NumHeads*c.HeadDim, c.NumKVHeads*c.HeadDim, c.IntermediateSize
	m := &phi3{embed: l.tensor("model.embed_tokens.weight", c.VocabSize, d)}
	for i := range c.NumLayers {
		at, site := fmt.Sprintf("model.layers.%d.", i), uint32(sitesPerLayer*i)
		m.layers = append(m.layers, phi3Layer{
			norm1:  l.tensor(at+"input_layernorm.weight", d),
			norm2:  l.tensor(at+"post_attention_layernorm.weight", d),
			qkv:    l.linear(site+siteQ, at+"self_attn.qkv_proj", q+2*kv, d, false),
			o:      l.linear(site+siteO, at+"self_attn.o_proj", d, q, false),
			gateUp: l.linear(site+siteGate, at+"mlp.gate_up_proj", 2*ff, d, false),
			down:   l.linear(site+siteDown, at+"mlp.down_proj", d, ff, false),
		})
	}
	m.norm = l.tensor("model.norm.weight", d)
	m.head = l.head(m.embed)
	return m
}

func (m *phi3) forward(p *pass) torch.Tensor {
	s, c := p.s, p.m.Config
	q, kv, ff := c.NumHeads*c.HeadDim, c.NumKVHeads*c.HeadDim, c.IntermediateSize
	x := p.embed(m.embed) // [R, D]
	for i := range m.layers {
		l, mark := &m.layers[i], s.Mark()
		y := p.linear(&activation{x: s.RMSNorm(x, l.norm1, c.RMSNormEps)}, l.qkv) // [R, (H+2KV)*hd]
		a := &activation{x: p.attend(i,
			p.heads(s.Columns(y, 0, q), c.NumHeads),
			p.heads(s.Columns(y, q, q+kv), c.NumKVHeads),
			p.heads(s.Columns(y, q+kv, q+2*kv), c.NumKVHeads))} // [R, H*hd]
		s.AddTo(x, p.linear(a, l.o))
		y = p.linear(&activation{x: s.RMSNorm(x, l.norm2, c.RMSNormEps)}, l.gateUp) // [R, 2*FF]
		f := &activation{x: s.SiluMul(s.Columns(y, 0, ff), s.Columns(y, ff, 2*ff))} // [R, FF]
		s.AddTo(x, p.linear(f, l.down))
		s.Release(mark)
	}
	return p.logits(s.RMSNorm(x, m.norm, c.RMSNormEps), m.head)
}
