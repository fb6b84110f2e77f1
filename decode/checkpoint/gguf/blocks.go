package gguf

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/gsmeval/gsmeval/decode/checkpoint/half"
)

// Type is how the elements of a tensor are stored: in blocks of so many elements and bytes.
type Type struct {
	Name            string
	Elements, Bytes int
	decode          func(dst, block []byte) // one block to float32
}

// super is the number of elements of the "K" types' blocks.
const super = 256

// types are what can be read, by the number that stands for the type in a file. A block's layout is that of
// ggml-common.h, and its numbers those of the Python package gguf, operation by operation, so that they are equal bit
// for bit.
var types = map[uint32]Type{
	0:  {"F32", 1, 4, func(dst, b []byte) { copy(dst, b[:4]) }},
	1:  {"F16", 1, 2, func(dst, b []byte) { put(dst, 0, float16(b)) }},
	2:  {"Q4_0", 32, 18, q4v0},
	3:  {"Q4_1", 32, 20, q4v1},
	6:  {"Q5_0", 32, 22, q5v0},
	7:  {"Q5_1", 32, 24, q5v1},
	8:  {"Q8_0", 32, 34, q8v0},
	10: {"Q2_K", super, 84, q2k},
	11: {"Q3_K", super, 110, q3k},
	12: {"Q4_K", super, 144, q4k},
	13: {"Q5_K", super, 176, q5k},
	14: {"Q6_K", super, 210, q6k},
	20: {"IQ4_NL", 32, 18, iq4nl},
	30: {"BF16", 1, 2, func(dst, b []byte) { copy(dst, []byte{0, 0, b[0], b[1]}) }},
}

// otherTypes are those that have a name and are not read.
var otherTypes = map[uint32]string{
	9: "Q8_1", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S", 21: "IQ3_S", 22: "IQ2_S",
	23: "IQ4_XS",
	24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64", 29: "IQ1_M", 34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4",
}

func unsupported(code uint32) string {
	name, ok := otherTypes[code]
	if !ok {
		name = fmt.Sprintf("number %d", code)
	}
	var read []string
	for _, c := range slices.Sorted(maps.Keys(types)) {
		read = append(read, types[c].Name)
	}
	return fmt.Sprintf("type %s is not supported; supported are %s", name, strings.Join(read, ", "))
}

// Decode turns whole blocks into float32, little-endian.
func (t Type) Decode(dst, blocks []byte) {
	size := 4 * t.Elements
	for len(dst) > 0 {
		t.decode(dst[:size], blocks[:t.Bytes])
		dst, blocks = dst[size:], blocks[t.Bytes:]
	}
}

func put(dst []byte, i int, v float32) { binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(v)) }

func float16(b []byte) float32 { return half.Float16(binary.LittleEndian.Uint16(b)) }

// Products that are added to are rounded first, by the conversion: a fused multiply-add would give other bits.

// q4v0: d, and 4 bits less 8; the low halves of the bytes are the first 16 elements.
func q4v0(dst, b []byte) {
	d := float16(b)
	for i, q := range b[2:18] {
		put(dst, i, d*float32(int(q&15)-8))
		put(dst, i+16, d*float32(int(q>>4)-8))
	}
}

// q4v1: d, m and 4 bits.
func q4v1(dst, b []byte) {
	d, m := float16(b), float16(b[2:])
	for i, q := range b[4:20] {
		put(dst, i, float32(d*float32(q&15))+m)
		put(dst, i+16, float32(d*float32(q>>4))+m)
	}
}

// q5v0: d, the fifth bits of all elements, and 4 bits each; less 16.
func q5v0(dst, b []byte) {
	d, high := float16(b), binary.LittleEndian.Uint32(b[2:])
	for i, q := range b[6:22] {
		put(dst, i, d*float32(int(q&15)|int(high>>i&1)<<4-16))
		put(dst, i+16, d*float32(int(q>>4)|int(high>>(i+16)&1)<<4-16))
	}
}

// q5v1: d, m, the fifth bits and 4 bits each.
func q5v1(dst, b []byte) {
	d, m, high := float16(b), float16(b[2:]), binary.LittleEndian.Uint32(b[4:])
	for i, q := range b[8:24] {
		put(dst, i, float32(d*float32(uint32(q&15)|high>>i&1<<4))+m)
		put(dst, i+16, float32(d*float32(uint32(q>>4)|high>>(i+16)&1<<4))+m)
	}
}

// q8v0: d and 8 bits with a sign.
func q8v0(dst, b []byte) {
	d := float16(b)
	for i, q := range b[2:34] {
		put(dst, i, float32(int8(q))*d)
	}
}

// q2k: 16 bytes with 4 bits of scale and of minimum for each 16 elements, 2 bits each, d and dmin. A byte holds
// elements of four groups of 32.
func q2k(dst, b []byte) {
	scales, qs, d, dmin := b[:16], b[16:80], float16(b[80:]), float16(b[82:])
	for i := range super {
		s := scales[i/16]
		q := qs[i/128*32+i%32] >> (i % 128 / 32 * 2) & 3
		put(dst, i, float32(float32(d*float32(s&15))*float32(q))-float32(dmin*float32(s>>4)))
	}
}

// q3k: a high bit each (set: nothing is taken off), 2 low bits each, 16 scales of 6 bits, d.
func q3k(dst, b []byte) {
	high, qs, scales, d := b[:32], b[32:96], b[96:108], float16(b[108:])
	for i := range super {
		g := i / 16
		low := scales[g%8] >> (g / 8 * 4) & 15
		top := scales[8+g%4] >> (g / 4 * 2) & 3
		q := int(qs[i/128*32+i%32]>>(i%128/32*2)&3) - int(high[i%32]>>(i/32)&1^1)<<2
		put(dst, i, float32(d*float32(int(low|top<<4)-32))*float32(q))
	}
}

// scaleMin unpacks the 6 bits of scale and of minimum of each of 8 groups from 12 bytes.
func scaleMin(s []byte, g int) (scale, least byte) {
	if g < 4 {
		return s[g] & 63, s[4+g] & 63
	}
	return s[4+g]&15 | s[g-4]>>2&0x30, s[4+g]>>4 | s[g]>>2&0x30
}

// q4k: d, dmin, scales and minima of 8 groups of 32, 4 bits each; a byte holds elements of two groups.
func q4k(dst, b []byte) {
	d, dmin, qs := float16(b), float16(b[2:]), b[16:144]
	for g := range 8 {
		s, m := scaleMin(b[4:16], g)
		scale, least := d*float32(s), dmin*float32(m)
		for i, q := range qs[g/2*32 : g/2*32+32] {
			put(dst, 32*g+i, float32(scale*float32(q>>(g%2*4)&15))-least)
		}
	}
}

// q5k: q4k with a fifth bit of each element in 32 bytes, bit g for group g.
func q5k(dst, b []byte) {
	d, dmin, high, qs := float16(b), float16(b[2:]), b[16:48], b[48:176]
	for g := range 8 {
		s, m := scaleMin(b[4:16], g)
		scale, least := d*float32(s), dmin*float32(m)
		for i, q := range qs[g/2*32 : g/2*32+32] {
			put(dst, 32*g+i, float32(scale*float32(q>>(g%2*4)&15|high[i]>>g&1<<4))-least)
		}
	}
}

// q6k: 4 low bits and 2 high bits each, less 32; 16 scales with a sign, d.
func q6k(dst, b []byte) {
	low, high, scales, d := b[:128], b[128:192], b[192:208], float16(b[208:])
	for i := range super {
		l := low[i/128*64+i%64] >> (i % 128 / 64 * 4) & 15
		h := high[i/128*32+i%32] >> (i % 128 / 32 * 2) & 3
		put(dst, i, float32(d*float32(int8(scales[i/16])))*float32(int(l|h<<4)-32))
	}
}

// levels are the sixteen values of IQ4_NL.
var levels = [16]float32{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113}

func iq4nl(dst, b []byte) {
	d := float16(b)
	for i, q := range b[2:18] {
		put(dst, i, d*levels[q&15])
		put(dst, i+16, d*levels[q>>4])
	}
}
