package scoring

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxGroups bounds the groups of three digits in one number, so that a text of
// nothing but digits and commas is read in linear time.
const maxGroups = 10

// number is a number as a person reads it in a text.
type number struct {
	value      string // in plain decimal digits; empty where there is no value, as of 1/0
	start, end int    // byte range, with the sign
}

// numberAt reads the number whose first digit, decimal point, vulgar fraction or
// \frac stands at byte i of t: thousands, decimals, powers of ten, fractions and
// mixed numbers. The sign is taken from before i.
func numberAt(t string, i int) (number, bool) {
	n, ok := unsignedAt(t, i)
	if !ok {
		return number{}, false
	}
	start, negative := signBefore(t, i)
	n.start = start
	if negative {
		n.value = negated(n.value)
	}
	return n, true
}

func unsignedAt(t string, i int) (number, bool) {
	whole, end, ok := decimalAt(t, i)
	if !ok {
		f, end, ok := fractionAt(t, i)
		return number{value: formatFloat(f), end: end}, ok
	}
	if e, exp := powerOfTen(t, end); e > end {
		f, _ := strconv.ParseFloat(whole, 64)
		return number{value: formatFloat(f * math.Pow10(exp)), end: e}, true
	}
	if strings.Contains(whole, ".") {
		return number{value: canonical(whole), end: end}, true
	}
	if f, e, ok := slashAt(t, whole, end); ok {
		return number{value: f, end: e}, true
	}
	space := end
	if strings.HasPrefix(t[end:], " ") {
		space++
	}
	if f, e, ok := fractionAt(t, space); ok && 0 < f && f < 1 {
		w, _ := strconv.ParseFloat(whole, 64)
		return number{value: formatFloat(w + f), end: e}, true
	}
	return number{value: canonical(whole), end: end}, true
}

// decimalAt reads digits with their thousands separators and decimals and
// returns them as ASCII digits and at most one point.
func decimalAt(t string, i int) (digits string, end int, ok bool) {
	end = skipDigits(t, i, math.MaxInt)
	if end > i {
		end = groupsEnd(t, i, end)
	} else if last := lastRune(t[:i]); isDigit(last) || unicode.IsLetter(last) {
		return "", i, false // the third part of 1.2.3, or Fig.5
	}
	digits = asciiDigits(t[i:end])
	if strings.HasPrefix(t[end:], ".") {
		if e := skipDigits(t, end+1, math.MaxInt); e > end+1 {
			digits, end = digits+"."+asciiDigits(t[end+1:e]), e
		}
	}
	return digits, end, digits != ""
}

// digitsAt reads up to most decimal digits of any script.
func digitsAt(t string, i, most int) (digits string, end int) {
	end = skipDigits(t, i, most)
	return asciiDigits(t[i:end]), end
}

// skipDigits returns where up to most digits end.
func skipDigits(t string, i, most int) int {
	for n := 0; n < most && i < len(t); n++ {
		r, size := utf8.DecodeRuneInString(t[i:])
		if !isDigit(r) {
			break
		}
		i += size
	}
	return i
}

// asciiDigits keeps the decimal digits of a text, in ASCII.
func asciiDigits(t string) string {
	return strings.Map(func(r rune) rune {
		if d, ok := digit(r); ok {
			return rune('0' + d)
		}
		return -1
	}, t)
}

// commas and spaces are what may separate thousands. A list in English has a
// space after its commas, so digits on both sides make a comma a separator.
var (
	commas = []string{"{,}", `,\!`, ","}
	spaces = []string{" ", "\u00a0", "\u2009", "\u202f", `\,`, `\ `}
)

// groupsEnd returns where the number from start on ends whose first digits end at
// end: 70,000 or 1,00,000 or 70 000 is one. What is not grouped like a number is
// left alone.
func groupsEnd(t string, start, end int) int {
	if e := skipGroups(t, end, commas, 2); e > end {
		return e
	}
	if skipDigits(t, start, 3) < end {
		return end
	}
	return skipGroups(t, end, spaces, 3)
}

// skipGroups returns where groups of shortest to three digits end, each behind
// one of separators and the last of exactly three.
func skipGroups(t string, end int, separators []string, shortest int) int {
	last := end
	for range maxGroups {
		i, found := skipOne(t, end, separators)
		if !found {
			break
		}
		e := skipDigits(t, i, 4)
		n := utf8.RuneCountInString(t[i:e])
		if n < shortest || n > 3 {
			break
		}
		if shortest == 3 && strings.HasPrefix(t[e:], ",") && skipDigits(t, e+1, 1) > e+1 {
			break // 150 195,000 are two numbers
		}
		end = e
		if n == 3 {
			last = end
		}
	}
	return last
}

// skipOne returns the place after the one of words that stands at i.
func skipOne(t string, i int, words []string) (int, bool) {
	for _, w := range words {
		if strings.HasPrefix(t[i:], w) {
			return i + len(w), true
		}
	}
	return i, false
}

// tenPower is an exponent as programs and as people write it.
var tenPower = regexp.MustCompile(`^(?:[eE]([+-]?[0-9]{1,3})|\s?(?:\\times|×|x|\*)\s?10\s?\^\s?\{?([+-]?[0-9]{1,3})\}?)(?:[^\p{L}\p{Nd}]|$)`)

// powerOfTen reads a power of ten that multiplies the number before i, and
// returns where it ends: i where there is none.
func powerOfTen(t string, i int) (end, exp int) {
	const longest = 24
	m := tenPower.FindStringSubmatchIndex(t[i:min(i+longest, len(t))])
	for _, g := range []int{2, 4} {
		if m != nil && m[g] >= 0 {
			exp, _ = strconv.Atoi(t[i+m[g] : i+m[g+1]])
			end = i + m[g+1]
			if strings.HasPrefix(t[end:], "}") {
				end++
			}
			return end, exp
		}
	}
	return i, 0
}

// slashAt reads the rest of a fraction such as 7/14 after its first number. Of
// a chain such as a date it takes the last number.
func slashAt(t, numerator string, end int) (value string, e int, ok bool) {
	for {
		i := end
		if strings.HasPrefix(t[i:], " / ") {
			i += 3
		} else if i, ok = skipOne(t, i, []string{"/", "\u2044"}); !ok {
			break
		}
		next := skipDigits(t, i, math.MaxInt)
		if next == i {
			break
		}
		next = groupsEnd(t, i, next)
		d := asciiDigits(t[i:next])
		if e == 0 {
			a, _ := strconv.ParseFloat(numerator, 64)
			b, _ := strconv.ParseFloat(d, 64)
			value = formatFloat(a / b)
		} else {
			value = canonical(d)
		}
		end, e = next, next
	}
	return value, e, e > 0
}

// vulgar lists the fractions that are one character.
var vulgar = map[rune]float64{
	'¼': 1. / 4, '½': 1. / 2, '¾': 3. / 4, '⅐': 1. / 7, '⅑': 1. / 9, '⅒': 1. / 10, '⅓': 1. / 3, '⅔': 2. / 3, '⅕': 1. / 5, '⅖': 2. / 5,
	'⅗': 3. / 5, '⅘': 4. / 5, '⅙': 1. / 6, '⅚': 5. / 6, '⅛': 1. / 8, '⅜': 3. / 8, '⅝': 5. / 8, '⅞': 7. / 8,
}

// fractionAt reads ½, \frac{1}{2} or 1/2.
func fractionAt(t string, i int) (f float64, end int, ok bool) {
	if r, size := utf8.DecodeRuneInString(t[i:]); vulgar[r] != 0 {
		return vulgar[r], i + size, true
	}
	if j, ok := skipOne(t, i, []string{`\frac`, `\dfrac`, `\tfrac`}); ok {
		a, j, okA := argumentAt(t, j)
		b, j, okB := argumentAt(t, j)
		return a / b, j, okA && okB
	}
	if a, j := digitsAt(t, i, 4); a != "" {
		if j, ok = skipOne(t, j, []string{"/", "\u2044"}); !ok {
			return 0, i, false
		}
		b, j := digitsAt(t, j, 4)
		na, _ := strconv.ParseFloat(a, 64)
		nb, _ := strconv.ParseFloat(b, 64)
		return na / nb, j, b != "" && !strings.HasPrefix(t[j:], "/")
	}
	return 0, i, false
}

// argumentAt reads a number that is an argument of a LaTeX command: in braces,
// or one digit.
func argumentAt(t string, i int) (f float64, end int, ok bool) {
	if !strings.HasPrefix(t[i:], "{") {
		d, end := digitsAt(t, i, 1)
		f, err := strconv.ParseFloat(d, 64)
		return f, end, err == nil
	}
	i = skipBlanks(t, i+1)
	negative := strings.HasPrefix(t[i:], "-")
	if negative {
		i++
	}
	d, end, ok := decimalAt(t, i)
	end = skipBlanks(t, end)
	if !ok || !strings.HasPrefix(t[end:], "}") {
		return 0, i, false
	}
	f, _ = strconv.ParseFloat(d, 64)
	if negative {
		f = -f
	}
	return f, end + 1, true
}

var (
	currencies = []string{`\$`, "$", "€", "£", "¥", "₹"}
	minuses    = []string{"-", "\u2212", "\u2010", "\u2011", "\u2013", "\uff0d"}
)

// signBefore returns where the number whose digits begin at i begins with its
// sign, and whether it is negative. A minus after a number, a word or a closing
// bracket is a range or a subtraction, as in 10-15.
func signBefore(t string, i int) (start int, negative bool) {
	head, _ := trimOne(t[:i], currencies)
	minus := trimBlanks(head)
	before, ok := trimOne(minus, minuses)
	left := trimBlanks(before)
	if !ok || endsInOperand(left, len(left) == len(before)) {
		return i, false
	}
	// A hyphen on its own is a bullet or a dash, but for = - 5.
	if len(minus) < len(head) && !strings.HasSuffix(minus, "\u2212") && !strings.HasSuffix(left, "=") {
		return i, false
	}
	return len(before), true
}

// endsInOperand reports whether a minus after t is between two things. A word is
// one only if the minus is attached to it.
func endsInOperand(t string, attached bool) bool {
	if t == "" {
		return false
	}
	last := lastRune(t)
	_, dash := trimOne(t, minuses)
	return isDigit(last) || vulgar[last] != 0 || strings.ContainsRune(")]}%", last) || attached && (dash || unicode.IsLetter(last))
}

// trimOne removes the one of words that t ends in.
func trimOne(t string, words []string) (string, bool) {
	for _, w := range words {
		if rest, ok := strings.CutSuffix(t, w); ok {
			return rest, true
		}
	}
	return t, false
}

func trimBlanks(t string) string { return strings.TrimRight(t, " \t\u00a0") }

func skipBlanks(t string, i int) int {
	for i < len(t) && (t[i] == ' ' || t[i] == '\t') {
		i++
	}
	return i
}

func lastRune(t string) rune {
	r, _ := utf8.DecodeLastRuneInString(t)
	return r
}

// negated changes the sign of a value; zero has none.
func negated(value string) string {
	if rest, ok := strings.CutPrefix(value, "-"); ok {
		return rest
	}
	if value == "" || value == "0" {
		return value
	}
	return "-" + value
}

// canonical drops the zeros that do not count.
func canonical(digits string) string {
	if strings.Contains(digits, ".") {
		digits = strings.TrimRight(strings.TrimRight(digits, "0"), ".")
	}
	digits = strings.TrimLeft(digits, "0")
	if digits == "" || digits[0] == '.' {
		digits = "0" + digits
	}
	return digits
}

// formatFloat writes f without an exponent, and nothing where it is no number.
func formatFloat(f float64) string {
	if math.IsInf(f, 0) || math.IsNaN(f) {
		return ""
	}
	return strconv.FormatFloat(f, 'f', -1, 64)
}
