// Package half converts the narrow floating-point formats that weights are stored in.
package half

import (
	"encoding/binary"
	"math"
)

// Float16 is the value of an IEEE half.
func Float16(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	exponent, fraction := uint32(h>>10&31), uint32(h&0x3ff)
	switch {
	case exponent == 31:
		return math.Float32frombits(sign | 0x7f800000 | fraction<<13)
	case exponent != 0:
		return math.Float32frombits(sign | (exponent+112)<<23 | fraction<<13)
	}
	v := float32(fraction) * (1.0 / (1 << 24)) // subnormal: a multiple of 2^-24
	return math.Float32frombits(sign | math.Float32bits(v))
}

// BFloat16 is the value of a bfloat16.
func BFloat16(h uint16) float32 { return math.Float32frombits(uint32(h) << 16) }

// ToFloat16 rounds to the nearest IEEE half, ties to even; what is too large becomes infinite.
func ToFloat16(v float32) uint16 {
	bits := math.Float32bits(v)
	sign, abs := uint16(bits>>16&0x8000), bits&0x7fffffff
	switch {
	case abs > 0x7f800000:
		return sign | 0x7e00
	case abs >= 0x477ff000: // 65520, from where everything rounds to infinity
		return sign | 0x7c00
	case abs < 0x38800000: // less than 2^-14: a multiple of 2^-24
		return sign | uint16(math.RoundToEven(float64(math.Float32frombits(abs))*(1<<24)))
	}
	abs += 0xfff + abs>>13&1
	return sign | uint16((abs-(112<<23))>>13)
}

// ToBFloat16 rounds to the nearest bfloat16, ties to even.
func ToBFloat16(v float32) uint16 {
	bits := math.Float32bits(v)
	if bits&0x7fffffff > 0x7f800000 {
		return uint16(bits>>16) | 0x40
	}
	return uint16((bits + 0x7fff + bits>>16&1) >> 16)
}

// Float32 is the little-endian float32 that b begins with.
func Float32(b []byte) float32 { return math.Float32frombits(binary.LittleEndian.Uint32(b)) }

// PutFloat32 writes a float32 to where b begins, little-endian.
func PutFloat32(b []byte, v float32) { binary.LittleEndian.PutUint32(b, math.Float32bits(v)) }
