package torch

/*
#include "device.h"
*/
import "C"

import lib "github.com/sugarme/gotch/libtch"

// Operations of a decode step on a device. Their arguments lie on it, and they neither wait for it nor read from it, so that
// a CUDA graph can hold them. Indices are int64 tensors.

// RopeAt is Rope by positions [R] on the device.
func (s *Scope) RopeAt(x, cos, sin, positions Tensor) {
	s.do("rope", func() *C.char { return C.gsm_rope_at(x.shim(), cos.shim(), sin.shim(), positions.shim()) })
}

// StoreKVAt is StoreKV by slots [R] and positions [R] on the device: cache [slots, KV, capacity, hd].
func (s *Scope) StoreKVAt(cache, x, slots, positions Tensor) {
	s.do("store kv", func() *C.char { return C.gsm_store_at(cache.shim(), x.shim(), slots.shim(), positions.shim()) })
}

// AttentionAt lets row r of q [R, H, hd] attend to positions 0..positions[r] of slot r: [R, H*hd]. No position is length or more.
func (s *Scope) AttentionAt(q, k, v, positions Tensor, length int, scale, softcap float64) Tensor {
	return s.shim("attention", func(out *C.gsm_tensor) *C.char {
		return C.gsm_attend_at(out, q.shim(), k.shim(), v.shim(), positions.shim(), C.int64_t(length), C.double(scale), C.double(softcap))
	})
}

// RowStats is, for each row of x [R, D], the mean and the sum of squared deviations, or the largest magnitude and 0: [R, 2] float64.
func (s *Scope) RowStats(x Tensor, absmax bool) Tensor {
	return s.shim("row stats", func(out *C.gsm_tensor) *C.char { return C.gsm_row_stats(out, x.shim(), cbool(absmax)) })
}

// NoiseRowsAt says how the rows of an activation on a device are perturbed. Steps may be missing (0), and so may Groups (each row
// alone), Live (all) and Sums.
type NoiseRowsAt struct {
	Keys, Positions, Steps Tensor // [R]
	Groups                 Tensor // [R, 2] rows [first, end) whose statistics make row r's spread
	Live                   Tensor // [R] int32: rows that count in Sums
	Sums                   Tensor // [R, 2] float64: gets the sums of squares of what was added and of the spread
}

// NoiseAt is Noise on a device, with stats from RowStats.
func (s *Scope) NoiseAt(x, stats Tensor, absmax bool, scale float64, site uint32, rows NoiseRowsAt, reference bool) Tensor {
	r := &C.gsm_noise_rows{
		keys: rows.Keys.shim(), pos: rows.Positions.shim(), step: rows.Steps.shim(),
		group: rows.Groups.shim(), live: rows.Live.shim(), sums: rows.Sums.shim(),
	}
	return s.shim("noise", func(out *C.gsm_tensor) *C.char {
		return C.gsm_noise_at(out, x.shim(), stats.shim(), cbool(absmax), C.double(scale), C.uint32_t(site), r, cbool(reference))
	})
}

// DecodeState is a decode loop's state on a device, a row for each slot. ChooseAt changes all but Limits, Temps, Keys and Ends.
type DecodeState struct {
	Tokens    Tensor // [R] the token that the next step feeds
	Positions Tensor // [R] its position
	Counts    Tensor // [R] tokens generated so far
	Limits    Tensor // [R] tokens to generate at most
	Live      Tensor // [R] int32: 1 while the sequence goes on
	Status    Tensor // [R] int32, one of the Decode constants
	Out       Tensor // [R, N] int32 generated tokens
	Temps     Tensor // [R, N] float64 temperature of each token, 0 for greedy
	Keys      Tensor // [R] Philox keys of the sampling
	Ends      Tensor // [V] uint8: 1 for end tokens
}

// What Status says of a sequence.
const (
	DecodeGoesOn = iota
	DecodeStopped
	DecodeFull
	DecodeNonfinite
)

// ChooseAt picks the next token of every live row from logits z [R, V], float32, and ends the sequences that have to.
func (s *Scope) ChooseAt(z Tensor, d DecodeState, reference bool) {
	state := &C.gsm_decode_state{
		tokens: d.Tokens.shim(), pos: d.Positions.shim(), count: d.Counts.shim(), limit: d.Limits.shim(), live: d.Live.shim(),
		status: d.Status.shim(), out: d.Out.shim(), temps: d.Temps.shim(), keys: d.Keys.shim(), ends: d.Ends.shim(),
	}
	s.do("choose", func() *C.char { return C.gsm_choose_at(z.shim(), state, cbool(reference)) })
}

// PhiloxAt writes the words [n, 4] int64 and normals [n, 4] float32 of consecutive blocks, for tests of a device's generator.
func (s *Scope) PhiloxAt(words, normals Tensor, block0, c1, c2, c3 uint32, key uint64, reference bool) {
	s.do("philox", func() *C.char {
		return C.gsm_philox_at(words.shim(), normals.shim(), C.uint32_t(block0), C.uint32_t(c1), C.uint32_t(c2), C.uint32_t(c3), C.uint64_t(key), cbool(reference))
	})
}

// Slice is the view of indices [from, to) of dimension dim of t.
func (s *Scope) Slice(t Tensor, dim, from, to int) Tensor {
	return s.run("slice", func(out *lib.Ctensor) { lib.AtgNarrow(out, t.c, int64(dim), int64(from), int64(to-from)) })
}

// AttentionIgnoresLength tells whether AttentionAt computes the same bits whatever length it is given on a device: its kernel does.
func AttentionIgnoresLength(d Device) bool { return C.gsm_attention_ignores_length(C.int(d)) != 0 }

// Assign copies the elements of src to dst, of the same shape.
func (s *Scope) Assign(dst, src Tensor) {
	s.do("assign", func() *C.char { return C.gsm_assign(dst.shim(), src.shim()) })
}

// Clear makes every element of t zero, in place.
func (s *Scope) Clear(t Tensor) {
	s.run("clear", func(out *lib.Ctensor) { lib.AtgZero_(out, t.c) })
}
