package decode

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
)

// Schedule is a temperature for every decode step. The zero Schedule is greedy.
type Schedule struct {
	// T[t] is the temperature of generated token t; past the end the last value holds. Empty means greedy: no temperature at all.
	T []float64
}

// Greedy takes the most likely token at every step.
func Greedy() Schedule { return Schedule{} }

// Constant is one temperature for every step.
func Constant(t float64) Schedule { return Schedule{T: []float64{t}} }

// IsGreedy tells whether tokens are chosen by argmax.
func (s Schedule) IsGreedy() bool { return len(s.T) == 0 }

// At is the temperature of generated token t; NaN when greedy.
func (s Schedule) At(t int) float64 {
	if s.IsGreedy() {
		return math.NaN()
	}
	return s.T[min(t, len(s.T)-1)]
}

// SHA256 identifies a schedule by its values; "" when greedy.
func (s Schedule) SHA256() string {
	if s.IsGreedy() {
		return ""
	}
	// Trailing repeats of the last value do not change what a schedule means.
	n := len(s.T)
	for n > 1 && s.T[n-1] == s.T[n-2] {
		n--
	}
	buf := make([]byte, 0, 8*n)
	for _, t := range s.T[:n] {
		buf = binary.LittleEndian.AppendUint64(buf, math.Float64bits(t))
	}
	sum := sha256.Sum256(buf)
	return hex.EncodeToString(sum[:])
}
