// Package philox is the counter-based random number generator behind every draw of gsmeval.
//
// A draw is a pure function of a key and a counter: nothing is taken from a shared stream, so numbers do not depend on
// batch, order, restart, machine or device. The generator is Philox4x32-10 of Salmon, Moraes, Dror and Shaw, "Parallel
// random numbers: as easy as 1, 2, 3" (SC 2011), with the constants of the Random123 library.
package philox

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
)

const (
	mul0, mul1   = 0xD2511F53, 0xCD9E8D57
	weyl0, weyl1 = 0x9E3779B9, 0xBB67AE85
)

// Key is the 64-bit key of a stream of draws; its low word is Philox's first key word.
type Key uint64

// Counter addresses one block of four 32-bit words within a key's stream.
type Counter [4]uint32

// Domain separates uses of randomness, so that the same seed never feeds two of them.
type Domain string

// The domains of a run. Calibration domains are distinct from the evaluated ones: T* is never fitted on a draw that is
// scored.
const (
	Weight                Domain = "weight"
	Activation            Domain = "activation"
	Output                Domain = "output"
	KV                    Domain = "kv"
	Sample                Domain = "sample"
	CalibrationWeight     Domain = "calibration/weight"
	CalibrationActivation Domain = "calibration/activation"
	CalibrationOutput     Domain = "calibration/output"
	CalibrationKV         Domain = "calibration/kv"
	CalibrationSample     Domain = "calibration/sample"
)

// NewKey derives the key of a stream from the run's seed, the noise seed (replicate) and the thing that is drawn for:
// an example's identity, or a parameter's name. It is the first eight bytes, little endian, of a SHA-256 over the four.
func NewKey(d Domain, seed uint64, replicate int, of string) Key {
	sum := sha256.Sum256(fmt.Appendf(nil, "gsmeval/1\x00%s\x00%d\x00%d\x00%s", d, seed, replicate, of))
	return Key(binary.LittleEndian.Uint64(sum[:8]))
}

// Words returns the four words of block c under key k.
func Words(c Counter, k Key) [4]uint32 {
	k0, k1 := uint32(k), uint32(k>>32)
	for range 10 {
		p0 := uint64(mul0) * uint64(c[0])
		p1 := uint64(mul1) * uint64(c[2])
		c = Counter{uint32(p1>>32) ^ c[1] ^ k0, uint32(p1), uint32(p0>>32) ^ c[3] ^ k1, uint32(p0)}
		k0 += weyl0
		k1 += weyl1
	}
	return c
}

// Uniform maps a word to the open interval (0, 1): (w + 0.5) / 2^32, exact in float64.
func Uniform(w uint32) float64 { return (float64(w) + 0.5) * 0x1p-32 }

// Gumbel maps a word to a standard Gumbel variate, -ln(-ln u).
func Gumbel(w uint32) float64 { return -math.Log(-math.Log(Uniform(w))) }

// Normals maps the four words of a block to four standard normals (Box and Muller, 1958), two from each pair of words:
// r cos(2 pi u2), r sin(2 pi u2) with r = sqrt(-2 ln u1), u1 = (floor(w/2^8)+1)/2^24 in (0, 1], u2 = floor(w'/2^8)/2^24
// in [0, 1). Both are exact in float32, so that every device starts from the same bits; |normal| is at most 5.77.
// This float64 form is what the vectorised ones are tested against.
func Normals(w [4]uint32) [4]float64 {
	var n [4]float64
	for i := 0; i < 4; i += 2 {
		u1 := float64(w[i]>>8+1) * 0x1p-24
		u2 := float64(w[i+1]>>8) * 0x1p-24
		r := math.Sqrt(-2 * math.Log(u1))
		sin, cos := math.Sincos(2 * math.Pi * u2)
		n[i], n[i+1] = r*cos, r*sin
	}
	return n
}
