package model

import (
	"fmt"
	"math"

	"github.com/gsmeval/gsmeval/internal/torch"
)

// gemma is Gemma 2 and the text model of Gemma 3: norms before and after each block with weights 1 + w, scaled
// embeddings. Gemma 2 soft-caps scores and logits; Gemma 3 normalises query and key heads instead, and rotates by
// another base in layers that slide. Every second layer of the one and five of six layers of the other slide their
// attention; sequences are kept inside the window (checkpoint.Config.Context).
type gemma struct {
	embed  torch.Tensor // [V, D]
	layers []gemmaLayer
	norm   torch.Tensor // [D]
	head   linear
}

type gemmaLayer struct {
	norm1, norm2, norm3, norm4 torch.Tensor // [D]: before and after the attention, before and after the MLP
	qNorm, kNorm               torch.Tensor // [hd], or none
	q, k, v, o                 linear
	gate, up, down             linear
}

func newGemma2(l *loader) network { return l.gemma(false) }

func newGemma3(l *loader) network { return l.gemma(true) }

func (l *loader) gemma(headNorm bool) network {
	c := l.cfg
	l.requireSupported("hidden_activation", c.HiddenAct, c.HiddenAct == "gelu_pytorch_tanh", "gelu_pytorch_tanh")
	l.requireSupported("partial_rotary_factor", c.PartialRotaryFactor, c.PartialRotaryFactor == 1, "1")
	bias := says(c.AttentionBias)
	d, q, kv, ff := c.HiddenSize, c.NumHeads*c.HeadDim, c.NumKVHeads*c.HeadDim, c.IntermediateSize
	m := &gemma{embed: l.tensor("model.embed_tokens.weight", c.VocabSize, d)}
	for i := range c.NumLayers {
		at, site := fmt.Sprintf("model.layers.%d.", i), uint32(sitesPerLayer*i)
		layer := gemmaLayer{
			norm1: l.tensor(at+"input_layernorm.weight", d),
			norm2: l.tensor(at+"post_attention_layernorm.weight", d),
			norm3: l.tensor(at+"pre_feedforward_layernorm.weight", d),
			norm4: l.tensor(at+"post_feedforward_layernorm.weight", d),
			q:     l.linear(site+siteQ, at+"self_attn.q_proj", q, d, bias),
			k:     l.linear(site+siteK, at+"self_attn.k_proj", kv, d, bias),
			v:     l.linear(site+siteV, at+"self_attn.v_proj", kv, d, bias),
			o:     l.linear(site+siteO, at+"self_attn.o_proj", d, q, bias),
			gate:  l.linear(site+siteGate, at+"mlp.gate_proj", ff, d, false),
			up:    l.linear(site+siteUp, at+"mlp.up_proj", ff, d, false),
			down:  l.linear(site+siteDown, at+"mlp.down_proj", d, ff, false),
		}
		if headNorm {
			layer.qNorm = l.tensor(at+"self_attn.q_norm.weight", c.HeadDim)
			layer.kNorm = l.tensor(at+"self_attn.k_norm.weight", c.HeadDim)
		}
		m.layers = append(m.layers, layer)
	}
	m.norm = l.tensor("model.norm.weight", d)
	m.head = l.head(m.embed)
	return m
}

func (m *gemma) forward(p *pass) torch.Tensor {
	s, c := p.s, p.m.Config
	// The scale is rounded to the compute dtype, as in transformers.
	root := s.To(s.Floats([]float32{float32(math.Sqrt(float64(c.HiddenSize)))}, []int64{1}, p.m.Device), p.m.DType)
	x := s.Mul(p.embed(m.embed), root) // [R, D]
	for i := range m.layers {
		l, mark := &m.layers[i], s.Mark()
		h := &activation{x: s.RMSNorm1(x, l.norm1, c.RMSNormEps)}
		q := p.heads(p.linear(h, l.q), c.NumHeads)   // [R, H, hd]
		k := p.heads(p.linear(h, l.k), c.NumKVHeads) // [R, KV, hd]
		v := p.heads(p.linear(h, l.v), c.NumKVHeads)
		if l.qNorm.Defined() {
			q, k = s.RMSNorm1(q, l.qNorm, c.RMSNormEps), s.RMSNorm1(k, l.kNorm, c.RMSNormEps)
		}
		a := &activation{x: p.attendScaled(i, q, k, v, 1/math.Sqrt(c.QueryPreAttnScalar), c.AttnLogitSoftcap)} // [R, H*hd]
		s.AddTo(x, s.RMSNorm1(p.linear(a, l.o), l.norm2, c.RMSNormEps))
		h = &activation{x: s.RMSNorm1(x, l.norm3, c.RMSNormEps)}
		f := &activation{x: s.GeluMul(p.linear(h, l.gate), p.linear(h, l.up))} // [R, FF]
		s.AddTo(x, s.RMSNorm1(p.linear(f, l.down), l.norm4, c.RMSNormEps))
		s.Release(mark)
	}
	z := p.logits(s.RMSNorm1(x, m.norm, c.RMSNormEps), m.head)
	if c.FinalLogitSoftcap > 0 {
		s.Softcap(z, c.FinalLogitSoftcap)
	}
	return z
}
