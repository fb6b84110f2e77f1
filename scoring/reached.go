package scoring

import (
	"math"
	"strconv"
	"strings"
)

// Reached reports whether the gold answer stands anywhere in a text, as a number in any form that the robust ladder
// reads: 1,000 and 1000.00 are the same, 3:30 is neither 3 nor 30, and exponents and indexes are left out. Of a wrong
// or truncated sample it tells whether the calculation came past the answer. A gold answer that is no number has to
// stand there as it is. It takes linear time.
func Reached(text, gold string) bool {
	want, ok := parsePyFloat(gold)
	if !ok {
		gold = strings.TrimFunc(gold, isPySpace)
		return gold != "" && strings.Contains(text, gold)
	}
	for n, found := nextNumber(text, 0); found; n, found = nextNumber(text, n.end) {
		if value, ok := parsePyFloat(n.value); ok && !isIndex(text, n.start) && math.Abs(value-want) < tolerance {
			return true
		}
	}
	return false
}

// VoteClass returns the class of an answer in a majority vote: answers that are the same number, however they are
// written, are in one class, others where they are the same text but for the white space around it. Answers that differ
// by less than the tolerance of a gold answer are different votes.
func VoteClass(answer string) string {
	answer = strings.TrimFunc(answer, isPySpace)
	f, ok := parsePyFloat(answer)
	if !ok || math.IsNaN(f) {
		return answer
	}
	return strconv.FormatFloat(f+0, 'g', -1, 64) // -0 + 0 is 0
}
