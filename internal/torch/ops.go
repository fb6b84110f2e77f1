package torch

/*
#include "shim.h"
*/
import "C"

import (
	"fmt"
	"unsafe"

	lib "github.com/sugarme/gotch/libtch"
)

// FromBytes makes a tensor of the shape and dtype dst on a device from the raw bytes of exactly as many elements of dtype src.
func (s *Scope) FromBytes(data []byte, shape []int64, src, dst DType, d Device) Tensor {
	dims := shape
	if len(dims) == 0 {
		dims = []int64{0} // never read: the number of dimensions is 0
	}
	return s.shim("from bytes", func(out *C.gsm_tensor) *C.char {
		return C.gsm_from_bytes(out, unsafe.Pointer(unsafe.SliceData(data)), C.int64_t(len(data)), (*C.int64_t)(unsafe.Pointer(&dims[0])),
			C.int(len(shape)), C.int(src), C.int(dst), C.int(d))
	})
}

// Floats makes a float32 tensor.
func (s *Scope) Floats(v []float32, shape []int64, d Device) Tensor {
	return s.FromBytes(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(v))), 4*len(v)), shape, Float32, Float32, d)
}

// Ints makes a vector of int64.
func (s *Scope) Ints(v []int64, d Device) Tensor {
	return s.FromBytes(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(v))), 8*len(v)), []int64{int64(len(v))}, Int64, Int64, d)
}

// CopyBytes overwrites the elements of the flattened t from first on with raw bytes of elements of dtype src. On a GPU the copy may
// still go on when it returns, but data is free.
func (s *Scope) CopyBytes(t Tensor, first int, data []byte, src DType) {
	if s.err == nil && s.onGPU && t.onGPU() {
		s.copyPinned(t, first, data, src)
	} else if s.err == nil {
		s.Fail(failure("copy bytes", C.gsm_copy_bytes_(t.shim(), C.int64_t(first), unsafe.Pointer(unsafe.SliceData(data)), C.int64_t(len(data)), C.int(src))))
	}
}

// ReadFloats copies a tensor's elements, as float32, into out, which must be as long.
func (s *Scope) ReadFloats(t Tensor, out []float32) {
	if s.err == nil && len(out) > 0 {
		s.Fail(failure("read floats", C.gsm_read_floats(t.shim(), (*C.float)(unsafe.Pointer(&out[0])), C.int64_t(len(out)))))
	}
}

// ReadAll copies a tensor's elements, of just that type, from any device into out, which must be as long.
func ReadAll[E int32 | int64 | float64](s *Scope, t Tensor, out []E) {
	if s.err == nil && len(out) > 0 {
		size := int(unsafe.Sizeof(out[0]))
		s.Fail(failure("read all", C.gsm_read_bytes(t.shim(), unsafe.Pointer(&out[0]), C.int64_t(size*len(out)), C.int(size))))
	}
}

// Write overwrites the elements of the flattened t from first on, of just that type, on any device.
func Write[E uint8 | int32 | int64 | float64](s *Scope, t Tensor, first int, values []E) {
	types := map[int]DType{1: Uint8, 4: Int32, 8: Int64}
	var e E
	dt := types[int(unsafe.Sizeof(e))]
	if _, double := any(e).(float64); double {
		dt = Float64
	}
	s.CopyBytes(t, first, unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(values))), int(unsafe.Sizeof(e))*len(values)), dt)
}

// Host is t where it is on the CPU, else a copy of it there.
func (s *Scope) Host(t Tensor) Tensor {
	return s.run("to host", func(out *lib.Ctensor) { lib.AtgTo(out, t.c, int32(CPU)) })
}

// FloatView is the memory of a contiguous float32 tensor on the CPU, valid until the tensor is freed.
func (s *Scope) FloatView(t Tensor) []float32 {
	if s.err != nil {
		return nil
	}
	n := int64(1)
	for _, d := range t.Shape() {
		n *= d
	}
	if t.onGPU() || DType(lib.AtScalarType(t.c)) != Float32 || !lib.AtIsContiguous(t.c) {
		s.Fail(opError("float view", "the tensor is not contiguous float32 on the CPU"))
		return nil
	}
	return unsafe.Slice((*float32)(lib.AtDataPtr(t.c)), n)
}

// Hash is a hash of a tensor's bytes: equal for bit-equal tensors.
func (s *Scope) Hash(t Tensor) uint64 {
	var h C.uint64_t
	if s.err == nil {
		s.Fail(failure("hash", C.gsm_hash(t.shim(), &h)))
	}
	return uint64(h)
}

// Zeros makes a tensor of zeros.
func (s *Scope) Zeros(shape []int64, dt DType, d Device) Tensor {
	return s.run("zeros", func(out *lib.Ctensor) { lib.AtgZeros(out, shape, len(shape), int32(dt), int32(d)) })
}

// Empty makes a tensor of whatever the memory holds.
func (s *Scope) Empty(shape []int64, dt DType, d Device) Tensor {
	return s.run("empty", func(out *lib.Ctensor) { lib.AtgEmpty(out, shape, len(shape), int32(dt), int32(d)) })
}

// To converts a tensor's elements; one that has the dtype already is not copied.
func (s *Scope) To(t Tensor, dt DType) Tensor {
	return s.run("to", func(out *lib.Ctensor) { lib.AtgToDtype(out, t.c, int32(dt), 0, 0) })
}

// Embedding picks the rows of w [V, D] that ids [R] name: [R, D].
func (s *Scope) Embedding(w, ids Tensor) Tensor {
	return s.run("embedding", func(out *lib.Ctensor) { lib.AtgIndexSelect(out, w.c, 0, ids.c) })
}

// Linear is x w^T + b: x [R, in], w [out, in], b [out] or none, by libtorch: in the dtype of w, returned in that of x. The bits of a row
// depend on its place among the rows and on their number.
func (s *Scope) Linear(x, w, b Tensor) Tensor {
	return s.shim("linear", func(out *C.gsm_tensor) *C.char { return C.gsm_linear(out, x.shim(), w.shim(), b.shim()) })
}

// StreamWeight copies a Linear's weight w [out, in], on the CPU, into the order in which StreamedLinear reads it.
func (s *Scope) StreamWeight(w Tensor) Tensor {
	return s.shim("stream weight", func(out *C.gsm_tensor) *C.char { return C.gsm_stream_weight(out, w.shim()) })
}

// StreamedLinear is Linear on a weight [n, in] that StreamWeight laid out, with float32 sums. The bits of a row do not depend on the
// other rows, nor on how many there are.
func (s *Scope) StreamedLinear(x, w Tensor, n int, b Tensor) Tensor {
	return s.shim("streamed linear", func(out *C.gsm_tensor) *C.char {
		return C.gsm_streamed_linear(out, x.shim(), w.shim(), C.int64_t(n), b.shim())
	})
}

// AddTo adds y to x in place.
func (s *Scope) AddTo(x, y Tensor) {
	s.run("add", func(out *lib.Ctensor) { lib.AtgAdd_(out, x.c, y.c) })
}

// View gives a contiguous tensor another shape without copying.
func (s *Scope) View(t Tensor, shape ...int64) Tensor {
	return s.run("view", func(out *lib.Ctensor) { lib.AtgView(out, t.c, shape, len(shape)) })
}

// Mul is x y, broadcast.
func (s *Scope) Mul(x, y Tensor) Tensor {
	return s.run("mul", func(out *lib.Ctensor) { lib.AtgMul(out, x.c, y.c) })
}

// Columns copies columns [from, to) of t [R, D].
func (s *Scope) Columns(t Tensor, from, to int) Tensor {
	part := s.run("columns", func(out *lib.Ctensor) { lib.AtgNarrow(out, t.c, 1, int64(from), int64(to-from)) })
	return s.run("columns", func(out *lib.Ctensor) { lib.AtgContiguous(out, part.c) })
}

// Rows is the view of rows [from, to) of t.
func (s *Scope) Rows(t Tensor, from, to int) Tensor {
	return s.run("rows", func(out *lib.Ctensor) { lib.AtgNarrow(out, t.c, 0, int64(from), int64(to-from)) })
}

// RopePowers is theta^(2i/dim), of which the rotary embedding's frequencies are made, in float32: [dim/2].
func (s *Scope) RopePowers(theta float64, dim int) Tensor {
	return s.shim("rope powers", func(out *C.gsm_tensor) *C.char {
		return C.gsm_rope_powers(out, C.double(theta), C.int64_t(dim))
	})
}

// RMSNorm is w * x / sqrt(mean(x^2) + eps) over the last dimension (Zhang and Sennrich, 2019).
func (s *Scope) RMSNorm(x, w Tensor, eps float64) Tensor {
	return s.shim("rms norm", func(out *C.gsm_tensor) *C.char {
		return C.gsm_rms_norm(out, x.shim(), w.shim(), C.double(eps), 0)
	})
}

// RMSNorm1 is RMSNorm with 1 + w for w, as Gemma stores it.
func (s *Scope) RMSNorm1(x, w Tensor, eps float64) Tensor {
	return s.shim("rms norm", func(out *C.gsm_tensor) *C.char {
		return C.gsm_rms_norm(out, x.shim(), w.shim(), C.double(eps), 1)
	})
}

// Rope rotates the first rot dimensions of each head of x [R, H, hd] in place to the rows' positions: cos and sin are tables
// [P, rot] (Su et al., 2021; halves, as in Llama).
func (s *Scope) Rope(x, cos, sin Tensor, positions []int32) {
	s.do("rope", func() *C.char {
		return C.gsm_rope_(x.shim(), cos.shim(), sin.shim(), int32s(positions), C.int64_t(len(positions)))
	})
}

// KeyBlock is how many positions of keys lie together in a cache on the CPU.
const KeyBlock = 16

// StoreKV writes row r of x [R, KV, hd] to slot slots[r], position positions[r] of a cache [slots, KV, capacity, hd], or, for
// keys on the CPU, [slots, KV, capacity/KeyBlock, hd, KeyBlock].
func (s *Scope) StoreKV(cache, x Tensor, slots, positions []int32) {
	s.do("store kv", func() *C.char {
		return C.gsm_kv_store(cache.shim(), x.shim(), int32s(slots), int32s(positions), C.int64_t(len(slots)))
	})
}

// Attention lets row r of q [R, H, hd] attend to positions 0..positions[r] of its slot: [R, H*hd]. Query heads share
// key-value heads in groups of H/KV. softcap c makes a score x into c tanh(x/c), 0 leaves it. A row's result depends on that
// row and its slot alone.
func (s *Scope) Attention(q, k, v Tensor, slots, positions []int32, scale, softcap float64) Tensor {
	return s.shim("attention", func(out *C.gsm_tensor) *C.char {
		return C.gsm_attention(out, q.shim(), k.shim(), v.shim(), int32s(slots), int32s(positions), C.int64_t(len(slots)), C.double(scale), C.double(softcap))
	})
}

// SiluMul is silu(gate) * up.
func (s *Scope) SiluMul(gate, up Tensor) Tensor {
	return s.shim("silu mul", func(out *C.gsm_tensor) *C.char { return C.gsm_silu_mul(out, gate.shim(), up.shim()) })
}

// GeluMul is gelu(gate) * up, in gelu's tanh form.
func (s *Scope) GeluMul(gate, up Tensor) Tensor {
	return s.shim("gelu mul", func(out *C.gsm_tensor) *C.char { return C.gsm_gelu_mul(out, gate.shim(), up.shim()) })
}

// Softcap makes every x of t into c tanh(x/c), in place.
func (s *Scope) Softcap(t Tensor, c float64) {
	if s.err == nil {
		s.Fail(failure("softcap", C.gsm_softcap_(t.shim(), C.double(c))))
	}
}

// Spread writes, for each group g of rows [groups[g], groups[g+1]) of x [R, D], the unbiased standard deviation of all its
// elements to out[g], or their largest magnitude.
func (s *Scope) Spread(out []float32, x Tensor, groups []int32, absmax bool) {
	if s.err != nil {
		return
	}
	if len(groups) != len(out)+1 || len(out) == 0 {
		s.Fail(fmt.Errorf("spread: %d bounds for %d groups", len(groups), len(out)))
		return
	}
	s.do("spread", func() *C.char {
		return C.gsm_spread((*C.float)(unsafe.Pointer(&out[0])), x.shim(), int32s(groups), C.int64_t(len(out)), cbool(absmax))
	})
}

// NoiseRows says how the rows of an activation are perturbed.
type NoiseRows struct {
	Spread    []float32 // the standard deviation that the scale refers to
	Keys      []uint64  // Philox keys
	Positions []uint32  // the second counter word
	Steps     []uint32  // the fourth counter word
}

// Noise returns x + scale * spread[r] * N for x [R, D], N from Philox of (key, element, position, site, step); sumsq[r] gets
// the sum of squares of what was added. reference chooses plain libtorch operations over the fused kernel.
func (s *Scope) Noise(x Tensor, scale float64, site uint32, rows NoiseRows, sumsq []float64, reference bool) Tensor {
	n := len(sumsq)
	if s.err == nil && (n == 0 || len(rows.Spread) != n || len(rows.Keys) != n || len(rows.Positions) != n || len(rows.Steps) != n) {
		s.Fail(fmt.Errorf("noise: rows of different lengths for %d rows", n))
	}
	return s.shim("noise", func(out *C.gsm_tensor) *C.char {
		return C.gsm_noise(out, x.shim(), C.double(scale), (*C.float)(unsafe.Pointer(&rows.Spread[0])), (*C.uint64_t)(unsafe.Pointer(&rows.Keys[0])),
			(*C.uint32_t)(unsafe.Pointer(&rows.Positions[0])), (*C.uint32_t)(unsafe.Pointer(&rows.Steps[0])), C.uint32_t(site), C.int64_t(n),
			cbool(reference), (*C.double)(unsafe.Pointer(&sumsq[0])))
	})
}

// WeightNoise adds scale * spread * N to w in place, spread over the tensor or over each row. It returns the sum of squares
// of the change and the root mean square of the spread.
func (s *Scope) WeightNoise(w Tensor, scale float64, absmax, perRow bool, key uint64, reference bool) (sumsq, spread float64) {
	if s.err == nil {
		s.Fail(failure("weight noise", C.gsm_weight_noise_(w.shim(), C.double(scale), cbool(absmax), cbool(perRow), C.uint64_t(key),
			cbool(reference), (*C.double)(unsafe.Pointer(&sumsq)), (*C.double)(unsafe.Pointer(&spread)))))
	}
	return sumsq, spread
}

// Scan returns the index of the largest of z (the first of equals), and whether all are finite. Unlike the other operations it
// may be called from any goroutine.
func Scan(z []float32) (top int, finite bool) {
	if len(z) == 0 {
		return 0, false
	}
	var at C.int64_t
	ok := C.gsm_scan((*C.float)(unsafe.Pointer(&z[0])), C.int64_t(len(z)), &at)
	return int(at), ok != 0
}

// MayWin returns, in order, the indices of z that could win argmax(z/T + Gumbel(key, step, index)) against a best so far: all that
// could, and few that could not. buf must be as long as z. Like Scan it may be called from any goroutine.
func MayWin(z []float32, temperature, best float64, step uint32, key uint64, buf []int32) []int32 {
	if len(z) == 0 || len(buf) < len(z) {
		return nil
	}
	n := C.gsm_may_win((*C.float)(unsafe.Pointer(&z[0])), C.int64_t(len(z)), C.float(1/temperature), C.float(best),
		C.uint32_t(step), C.uint64_t(key), (*C.int32_t)(unsafe.Pointer(&buf[0])))
	return buf[:n]
}

// PhiloxWords writes the words of consecutive blocks from block0 on, four each, for tests of the generators.
func PhiloxWords(out []uint32, block0, c1, c2, c3 uint32, key uint64, reference bool) error {
	return failure("philox words", C.gsm_philox_words((*C.uint32_t)(unsafe.Pointer(&out[0])), C.int64_t(len(out)/4), C.uint32_t(block0),
		C.uint32_t(c1), C.uint32_t(c2), C.uint32_t(c3), C.uint64_t(key), cbool(reference)))
}

// Normals writes the standard normals of consecutive blocks from block0 on, four each.
func Normals(out []float32, block0, c1, c2, c3 uint32, key uint64, reference bool) error {
	return failure("normals", C.gsm_normals((*C.float)(unsafe.Pointer(&out[0])), C.int64_t(len(out)/4), C.uint32_t(block0),
		C.uint32_t(c1), C.uint32_t(c2), C.uint32_t(c3), C.uint64_t(key), cbool(reference)))
}

func int32s(v []int32) *C.int32_t { return (*C.int32_t)(unsafe.Pointer(unsafe.SliceData(v))) }

func cbool(b bool) C.int {
	if b {
		return 1
	}
	return 0
}
