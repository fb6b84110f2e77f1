package scoring

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// tolerance is how far an answer may lie from the gold answer.
const tolerance = 0.01

// Match is the notebook's check_answer: whether pred and gold differ by less
// than 0.01 as Python's float() reads them, or, where either is not a number,
// are equal once stripped of surrounding white space.
func Match(pred, gold string) bool {
	p, ok := parsePyFloat(pred)
	if g, gok := parsePyFloat(gold); ok && gok {
		return math.Abs(p-g) < tolerance
	}
	return strings.TrimFunc(pred, isPySpace) == strings.TrimFunc(gold, isPySpace)
}

// pyFloat is the grammar of Python's float() once digits are ASCII.
// Underscores may stand between digits only.
var pyFloat = regexp.MustCompile(
	`(?i)^[+-]?(?:inf|infinity|nan|(?:` + pyDigits + `(?:\.(?:` + pyDigits + `)?)?|\.` + pyDigits + `)(?:e[+-]?` +
		pyDigits + `)?)$`)

const pyDigits = `[0-9](?:_?[0-9])*`

// parsePyFloat is Python's float(s) for a string.
// https://docs.python.org/3/library/functions.html#float
func parsePyFloat(s string) (float64, bool) {
	s = pyDecimal(s)
	if !pyFloat.MatchString(s) {
		return 0, false
	}
	f, err := strconv.ParseFloat(strings.ReplaceAll(s, "_", ""), 64)
	// Out of range is infinity in Python too; the grammar leaves no other error.
	return f, err == nil || math.IsInf(f, 0)
}

// pyDecimal turns decimal digits of any script into ASCII and strips white
// space, as float() does before it parses. The control characters 0x1c to 0x1f
// are white space to str.strip but not to float().
func pyDecimal(s string) string {
	ascii := strings.Map(func(r rune) rune {
		if d, ok := digit(r); ok {
			return rune('0' + d)
		}
		if r > 127 && isPySpace(r) {
			return ' '
		}
		return r
	}, s)
	return strings.Trim(ascii, " \t\n\v\f\r")
}

// digit returns the value of a decimal digit of any script. Unicode keeps the
// ten digits of a script together and in order, so every range of category Nd
// begins with a zero.
func digit(r rune) (int, bool) {
	if r < utf8.RuneSelf {
		return int(r - '0'), '0' <= r && r <= '9'
	}
	if !unicode.IsDigit(r) {
		return 0, false
	}
	for _, rg := range unicode.Nd.R16 {
		if rune(rg.Lo) <= r && r <= rune(rg.Hi) {
			return int(r-rune(rg.Lo)) % 10, true
		}
	}
	for _, rg := range unicode.Nd.R32 {
		if rune(rg.Lo) <= r && r <= rune(rg.Hi) {
			return int(r-rune(rg.Lo)) % 10, true
		}
	}
	return 0, false
}

func isDigit(r rune) bool {
	_, ok := digit(r)
	return ok
}
