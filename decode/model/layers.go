package model

import (
	"fmt"
	"math"

	"github.com/gsmeval/gsmeval/internal/torch"
	"github.com/gsmeval/gsmeval/noise"
	"github.com/gsmeval/gsmeval/noise/operation"
)

// The Linears of a layer in their fixed order: site = 8 * layer + index. Architectures whose checkpoint has q, k and v
// (or gate and up) in one Linear use the first index.
const (
	siteQ = iota
	siteK
	siteV
	siteO
	siteGate
	siteUp
	siteDown
	sitesPerLayer = 8

	headSite = math.MaxUint32
)

// linear is y = x w^T + b: w [out, in], b [out] or none.
type linear struct {
	site noise.Site
	w    *weight
	b    torch.Tensor
}

// pass is one forward pass: the batch, and where its noise comes from.
type pass struct {
	s  *torch.Scope
	b  *Batch
	kv *Cache
	in *noise.Injector
	m  *Model
	at *Placed // the batch on the device; nil on the CPU
}

// activation is the input of one or more Linears, [R, D]. They share its spread; each has noise of its own.
type activation struct {
	x      torch.Tensor
	spread *noise.Spread // found when first needed
}

// embed looks the rows' tokens up in w [V, D]: [R, D], float32 on the CPU.
func (p *pass) embed(w torch.Tensor) torch.Tensor {
	if p.at != nil {
		return p.s.Embedding(w, p.at.Tokens)
	}
	x := p.s.Embedding(w, p.s.Ints(p.b.Tokens, p.m.Device))
	if p.m.Device == torch.CPU {
		return p.s.To(x, torch.Float32)
	}
	return x
}

// linear applies a Linear to rows [0, R).
func (p *pass) linear(a *activation, l linear) torch.Tensor {
	return p.linearRows(a, l, 0, len(p.b.Tokens))
}

// linearRows applies a Linear to rows [from, to). What the noise is relative to is over all rows all the same.
func (p *pass) linearRows(a *activation, l linear, from, to int) torch.Tensor {
	all := from == 0 && to == len(p.b.Tokens)
	part := func(x torch.Tensor) torch.Tensor {
		if all {
			return x
		}
		return p.s.Rows(x, from, to)
	}
	if !p.in.Acts(operation.Outputs, l.site) {
		if p.in.Acts(operation.Inputs, l.site) {
			return l.w.multiply(p.s, p.in.Perturb(p.s, operation.Inputs, a.x, &a.spread, p.b.Rows, from, to, l.site),
				l.b)
		}
		return l.w.multiply(p.s, part(a.x), l.b)
	}
	// The outputs of all rows are needed to know what their noise is relative to.
	x := a.x
	if p.in.Acts(operation.Inputs, l.site) {
		x = p.in.Perturb(p.s, operation.Inputs, x, &a.spread, p.b.Rows, 0, len(p.b.Tokens), l.site)
	}
	return p.in.Perturb(p.s, operation.Outputs, l.w.multiply(p.s, x, l.b), nil, p.b.Rows, from, to, l.site)
}

// heads splits [R, n*hd] into [R, n, hd].
func (p *pass) heads(x torch.Tensor, n int) torch.Tensor {
	return p.s.View(x, int64(len(p.b.Tokens)), int64(n), int64(p.m.Config.HeadDim))
}

// attend rotates q [R, H, hd] and k [R, KV, hd] to the rows' positions, stores k and v and attends: [R, H*hd].
func (p *pass) attend(layer int, q, k, v torch.Tensor) torch.Tensor {
	return p.attendScaled(layer, q, k, v, 1/math.Sqrt(float64(p.m.Config.HeadDim)), 0)
}

// attendScaled is attend with another scale of the scores, and a soft bound on them where softcap is not 0.
func (p *pass) attendScaled(layer int, q, k, v torch.Tensor, scale, softcap float64) torch.Tensor {
	s, b, rope := p.s, p.b, p.m.ropeOf(layer)
	if at := p.at; at != nil {
		s.RopeAt(q, rope.cos, rope.sin, at.Positions)
		s.RopeAt(k, rope.cos, rope.sin, at.Positions)
		k, v = p.cached(layer, siteK, k), p.cached(layer, siteV, v)
		s.StoreKVAt(p.kv.k[layer], k, at.Slots, at.Positions)
		s.StoreKVAt(p.kv.v[layer], v, at.Slots, at.Positions)
		if at.Length > 0 {
			return s.AttentionAt(q, p.kv.k[layer], p.kv.v[layer], at.Positions, at.Length, scale, softcap)
		}
		return s.Attention(q, p.kv.k[layer], p.kv.v[layer], b.Slots, b.Positions, scale, softcap)
	}
	s.Rope(q, rope.cos, rope.sin, b.Positions)
	s.Rope(k, rope.cos, rope.sin, b.Positions)
	k, v = p.cached(layer, siteK, k), p.cached(layer, siteV, v)
	s.StoreKV(p.kv.k[layer], k, b.Slots, b.Positions)
	s.StoreKV(p.kv.v[layer], v, b.Slots, b.Positions)
	return s.Attention(q, p.kv.k[layer], p.kv.v[layer], b.Slots, b.Positions, scale, softcap)
}

// cached is what keys or values x [R, KV, hd] of a layer become on their way into the cache. Their draws are told from
// those of the Linears, which have the same sites, by their key.
func (p *pass) cached(layer int, which uint32, x torch.Tensor) torch.Tensor {
	if !p.in.On(operation.KV) {
		return x
	}
	name := "k"
	if which == siteV {
		name = "v"
	}
	site := noise.Site{
		ID:   uint32(sitesPerLayer*layer) + which,
		Name: fmt.Sprintf("model.layers.%d.self_attn.%s_cache", layer, name),
	}
	if !p.in.Acts(operation.KV, site) {
		return x
	}
	return p.in.PerturbKV(p.s, x, p.b.Rows, site)
}

// logits projects only the rows that are wanted: [To-From, V].
func (p *pass) logits(x torch.Tensor, head linear) torch.Tensor {
	return p.linearRows(&activation{x: x}, head, p.b.From, p.b.To)
}
