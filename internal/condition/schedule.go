package condition

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
)

// Schedule is how the temperature of every decode step comes about. The zero Schedule is greedy.
type Schedule struct {
	// T[t] is the temperature of generated token t, 0 for the most likely one; past the end the last value holds. Empty
	// means greedy, unless Adaptive is set.
	T []float64
	// Adaptive follows a sequence and gives its temperatures from what the model says, where they are not known before:
	// it makes the state of one sequence. Name tells such schedules apart.
	Adaptive func() Stepper
	Name     string
	// TopNSigma and MinP narrow the tokens that may be sampled, 0: not. They take the place of the run's own filter of
	// that name.
	TopNSigma, MinP float64
	// Twice computes every step twice, in rows with caches and noise of their own that are fed the same tokens. Average
	// samples from the mean of their logits, otherwise the first row's logits are sampled and a Stepper sees both.
	Twice, Average bool
}

// Stepper gives the temperature of each step of one sequence, from the first on. 0 takes the most likely token.
type Stepper interface {
	Temperature(s Step) float64
}

// Step is what a Stepper may look at.
type Step struct {
	IDs    []int                  // generated so far
	Logits []float32              // [V], of the token that is chosen now, before any temperature
	Second []float32              // [V], of the second row, where the schedule computes twice
	Text   func(ids []int) string // what tokens say
}

// Greedy takes the most likely token at every step.
func Greedy() Schedule { return Schedule{} }

// ConstantT is one temperature for every step.
func ConstantT(t float64) Schedule { return Schedule{T: []float64{t}} }

// IsGreedy tells whether tokens are chosen by argmax.
func (s Schedule) IsGreedy() bool { return len(s.T) == 0 && s.Adaptive == nil }

// At is the temperature of generated token t where it is known before; NaN when greedy or adaptive.
func (s Schedule) At(t int) float64 {
	if len(s.T) == 0 {
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
	buf := make([]byte, 0, 8*n+len(s.Name)+32)
	for _, t := range s.T[:n] {
		buf = binary.LittleEndian.AppendUint64(buf, math.Float64bits(t))
	}
	if s.Adaptive != nil {
		buf = append(buf, s.Name...)
	}
	if s.TopNSigma > 0 || s.MinP > 0 || s.Twice {
		buf = fmt.Appendf(buf, " top_n_sigma %v min_p %v twice %v average %v", s.TopNSigma, s.MinP, s.Twice, s.Average)
	}
	sum := sha256.Sum256(buf)
	return hex.EncodeToString(sum[:])
}
