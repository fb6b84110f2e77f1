package scoring

import (
	"math"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/gsmeval/gsmeval/scoring/latex"
)

// maxGroups bounds the groups of three digits in one number, so that a text of
// nothing but digits and commas is read in linear time.
const maxGroups = 10

// number is a number as a person reads it in a text.
type number struct {
	value      string // in plain decimal digits; empty where what stands there has no value that can be read whole
	start, end int    // byte range, with the sign
}

// whole makes a number of a value that was computed; there may be none.
func whole(r *big.Rat, end int) number {
	if r == nil {
		return number{end: end}
	}
	return number{value: formatRat(r), end: end}
}

// rat is the number's value, nil where it has none that can be computed with.
func (n number) rat() *big.Rat {
	const longest = 60
	if n.value == "" || len(n.value) > longest {
		return nil
	}
	r, _ := new(big.Rat).SetString(n.value)
	return r
}

// numberAt reads the number whose first digit, decimal point, vulgar fraction,
// \frac or root stands at byte i of t: thousands, decimals, powers, fractions,
// mixed numbers and words such as million. The sign is taken from before i. It
// is read whole or has no value: 3:30 is neither 3 nor 30.
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
	if n := latex.Repeating(t[i:]); n > 0 {
		r, _ := latex.Rational(t[i : i+n])
		return whole(r, i+n), true
	}
	digits, end, ok := decimalAt(t, i)
	if !ok {
		return fractionAt(t, i)
	}
	n := number{value: canonical(digits), end: end}
	for _, step := range []func(string, number, int) (number, bool){
		exponentAt, slashAt, mixedAt, overAt, powerAt, factorialAt, colonAt, dotsAt,
	} {
		if next, ok := step(t, n, i); ok {
			n = next
			break
		}
	}
	n = rootFactorAt(t, n)
	if scaled := scaleAt(t, n, i); scaled.end > n.end {
		n = moreScaleAt(t, scaled)
	}
	return compoundAt(t, n, i), true
}

// decimalAt reads digits with their thousands separators and decimals and
// returns them as ASCII digits and at most one point.
func decimalAt(t string, i int) (digits string, end int, ok bool) {
	if digits, end, ok = europeanAt(t, i); ok {
		return digits, end, true
	}
	end = skipDigits(t, i, math.MaxInt)
	if end > i {
		end = groupsEnd(t, i, end)
	} else if last := lastRune(t[:i]); isDigit(last) || unicode.IsLetter(last) {
		return "", i, false // the third part of 1.2.3, or Fig.5
	}
	digits = asciiDigits(t[i:end])
	for _, point := range []string{".", "\u066b", "{,}"} { // what separates thousands is read already
		if !strings.HasPrefix(t[end:], point) {
			continue
		}
		if e := skipDigits(t, end+len(point), math.MaxInt); e > end+len(point) {
			digits, end = digits+"."+asciiDigits(t[end+len(point):e]), e
		}
		break
	}
	return digits, end, digits != ""
}

// europeanAt reads 1.234,50 and 12,50 € and 0,5 and 12,5 as the continent means
// them. What may be English stays English: 1.234 but for euros, 70,000, and a
// list in brackets such as (3,5).
func europeanAt(t string, i int) (digits string, end int, ok bool) {
	const longest = 48
	after := i
	for after < len(t) && after < i+longest && '0' <= t[after] && t[after] <= '9' {
		after++
	}
	if after == i || after == len(t) || !strings.ContainsRune(",. \xc2\xe2", rune(t[after])) {
		return "", i, false
	}
	m := european.FindStringSubmatchIndex(t[i:min(i+longest, len(t))])
	if m == nil || m[6] < m[7] { // it goes on
		return "", i, false
	}
	head, _ := trimOne(trimBlanks(t[:i]), []string{"-", "\u2212"})
	whole, decimals := t[i+m[2]:i+m[3]], ""
	if m[4] >= 0 {
		decimals = t[i+m[4]+1 : i+m[5]]
	}
	points := strings.Count(whole, ".")
	spaced := strings.ContainsAny(whole, " \u00a0\u202f")
	money := m[8] < m[9] || strings.HasSuffix(trimBlanks(head), "€")
	last := lastRune(head)
	switch {
	case isDigit(lastRune(t[:i])) || strings.HasSuffix(t[:i], ".") || strings.HasSuffix(t[:i], ",") ||
		strings.HasPrefix(whole, "0") && points > 0:
		return "", i, false
	case decimals != "" && points > 0, points > 1: // 1.234,50 and 1.234.567
	case points == 1 && money: // 1.234 €
	case spaced && (decimals == "" || len(decimals) > 2), points > 0 || decimals == "":
		return "", i, false
	case whole == "0": // 0,125
	case len(decimals) > 2: // thousands
		return "", i, false
	case !money && (strings.ContainsRune("[({", last) && !strings.HasSuffix(head, `\boxed{`)):
		return "", i, false
	}
	digits = asciiDigits(whole)
	end = i + m[3]
	if decimals != "" {
		digits, end = digits+"."+decimals, i+m[5]
	}
	return digits, end, true
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

// commas, ticks and spaces are what may separate thousands. A list in English
// has a space after its commas, so digits on both sides make a comma a separator.
var (
	commas = []string{"{,}", `,\!`, ",", "\u066c"}
	ticks  = []string{"'", "\u2019", "_"}
	spaces = []string{" ", "\u00a0", "\u2009", "\u202f", `\,`, `\ `, `\!`, `\;`, "&nbsp;", "~"}
)

// groupsEnd returns where the number from start on ends whose first digits end at
// end: 70,000 or 1,00,000 or 70'000 or 70 000 is one. What is not grouped like a
// number is left alone.
func groupsEnd(t string, start, end int) int {
	if e := skipGroups(t, end, commas, 2); e > end {
		return e
	}
	if skipDigits(t, start, 3) < end {
		return end
	}
	if e := skipGroups(t, end, ticks, 3); e > end {
		return e
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

// exponent is a power of ten as programs write it.
var exponent = regexp.MustCompile(`^[eE]([+-]?[0-9]{1,3})(?:[^\p{L}\p{Nd}]|$)`)

// exponentAt reads on in 1.2e6.
func exponentAt(t string, n number, _ int) (number, bool) {
	if n.end == len(t) || t[n.end]|0x20 != 'e' {
		return n, false
	}
	m := exponent.FindStringSubmatchIndex(t[n.end:min(n.end+8, len(t))])
	if m == nil {
		return n, false
	}
	e, _ := strconv.ParseInt(t[n.end+m[2]:n.end+m[3]], 10, 64)
	return whole(product(n.rat(), powerOf(big.NewRat(10, 1), e)), n.end+m[3]), true
}

// product is nil where a factor is.
func product(a, b *big.Rat) *big.Rat {
	if a == nil || b == nil {
		return nil
	}
	return new(big.Rat).Mul(a, b)
}

// quotient is nil where there is none.
func quotient(a, b *big.Rat) *big.Rat {
	if a == nil || b == nil || b.Sign() == 0 {
		return nil
	}
	return new(big.Rat).Quo(a, b)
}

// powerOf is nil where the power is too large to be an answer.
func powerOf(a *big.Rat, e int64) *big.Rat {
	const mostBits = 1 << 10
	if a == nil || (a.Sign() == 0 && e <= 0) || int64(a.Num().BitLen()+a.Denom().BitLen())*max(e, -e) > mostBits {
		return nil
	}
	num := new(big.Int).Exp(a.Num(), big.NewInt(max(e, -e)), nil)
	den := new(big.Int).Exp(a.Denom(), big.NewInt(max(e, -e)), nil)
	if e < 0 {
		num, den = den, num
	}
	return new(big.Rat).SetFrac(num, den)
}

var slashes = []string{" / ", "/", "\u2044"}

// slashAt reads the rest of a fraction such as 7/14 after its first number. A
// chain of them, such as a date, has no value.
func slashAt(t string, n number, _ int) (number, bool) {
	parts, end, value := 0, n.end, n.rat()
	for parts < maxGroups {
		i, ok := skipOne(t, end, slashes)
		if !ok || skipDigits(t, i, 1) == i {
			break
		}
		digits, e, ok := decimalAt(t, i)
		if !ok {
			break
		}
		parts++
		value, end = quotient(value, number{value: digits}.rat()), e
	}
	if parts > 1 {
		value = nil
	}
	return whole(value, end), parts > 0
}

// halves are fractions in words, behind a whole number.
var halves = regexp.MustCompile(`^ and (?:(?:a|one)[ -](half|third|quarter|fourth)|(two thirds|three quarters|three fourths))\b`)

var ofWords = map[string][2]int64{
	"half": {1, 2}, "third": {1, 3}, "quarter": {1, 4}, "fourth": {1, 4}, "two thirds": {2, 3},
	"three quarters": {3, 4}, "three fourths": {3, 4},
}

var ands = []string{" and ", " & ", " ", "-", `\,`, `\ `, `\;`, "~", "\u00a0", ""}

// mixedAt reads the fraction of a mixed number: 2½, 2 1/2, 2\frac{1}{2}, 3 and 1/2.
func mixedAt(t string, n number, _ int) (number, bool) {
	if strings.Contains(n.value, ".") {
		return n, false
	}
	if m := halves.FindStringSubmatch(t[n.end:min(n.end+24, len(t))]); m != nil && n.value != "" {
		f := ofWords[m[1]+m[2]]
		return whole(new(big.Rat).Add(n.rat(), big.NewRat(f[0], f[1])), n.end+len(m[0])), true
	}
	i, _ := skipOne(t, n.end, ands)
	f, ok := fractionAt(t, i)
	if !ok {
		return n, false
	}
	a, b := n.rat(), f.rat()
	if a == nil || b == nil || b.Sign() <= 0 || b.Cmp(big.NewRat(1, 1)) >= 0 {
		return n, false
	}
	// A fraction of a computed value has lost digits that do not count.
	return number{value: formatRat(new(big.Rat).Add(a, b)), end: f.end}, true
}

var over = regexp.MustCompile(`^\s{0,2}\\over\s{0,2}\{?\s{0,2}`)

// overAt reads the rest of {1 \over 2}.
func overAt(t string, n number, _ int) (number, bool) {
	if !strings.HasPrefix(strings.TrimLeft(t[n.end:min(n.end+16, len(t))], " \n"), `\over`) {
		return n, false
	}
	loc := over.FindStringIndex(t[n.end:min(n.end+16, len(t))])
	if loc == nil {
		return n, false
	}
	digits, end, ok := decimalAt(t, n.end+loc[1])
	if !ok {
		return number{end: n.end + loc[1]}, true
	}
	return whole(quotient(n.rat(), number{value: digits}.rat()), end), true
}

// raised is what may stand behind a number that is raised to a power.
var (
	raised = regexp.MustCompile(`^(?:\^|\*\*)(?:([0-9]{1,4})|\{\s?(-?[0-9]{1,4})\s?\}|\(\s?(-?[0-9]{1,4})\s?\))`)
	// A degree and the ending of an ordinal are no powers.
	notRaised = regexp.MustCompile(`^\^\s?(?:\\circ|\{\s?\\circ\s?\}|\{?\s?(?:\\(?:text|mathrm|textsuperscript)\s?\{)?\s?(?:st|nd|rd|th)\b)`)
)

// superscripts are digits that stand for a power.
const superscripts = "⁰¹²³⁴⁵⁶⁷⁸⁹"

// powerAt reads on in 2^5, 10^{6}, 2**3 and 10⁶. A power that is not a whole
// number has no value.
func powerAt(t string, n number, _ int) (number, bool) {
	rest := t[n.end:min(n.end+40, len(t))]
	if rest == "" || rest[0] != '^' && rest[0] != '*' && rest[0] < utf8.RuneSelf {
		return n, false
	}
	if m := raised.FindStringSubmatchIndex(rest); m != nil {
		for g := 2; g < len(m); g += 2 {
			if m[g] >= 0 {
				e, _ := strconv.ParseInt(rest[m[g]:m[g+1]], 10, 64)
				return whole(powerOf(n.rat(), e), n.end+m[1]), true
			}
		}
	}
	if strings.HasPrefix(rest, "^") && !notRaised.MatchString(rest) {
		return number{end: n.end + 1 + len(group(t[n.end+1:]))}, true
	}
	e, size := int64(0), 0
	for _, r := range rest {
		i := strings.IndexRune(superscripts, r)
		if i < 0 || size > 8 {
			break
		}
		e, size = 10*e+int64(utf8.RuneCountInString(superscripts[:i])), size+utf8.RuneLen(r)
	}
	return whole(powerOf(n.rat(), e), n.end+size), size > 0
}

// group is the group in braces at the start of t, or nothing. What is not closed
// soon is none.
func group(t string) string {
	const longest = 96
	if !strings.HasPrefix(t, "{") {
		return ""
	}
	depth := 0
	for i := range min(len(t), longest) {
		switch t[i] {
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				return t[:i+1]
			}
		}
	}
	return ""
}

// exclaimed is a factorial, and not joy: it stands in formulas.
var exclaimed = regexp.MustCompile(`^!(?:\$|\\\)|\\\]|\}| ?[=/*+\x{d7}^-])`)

// factorialAt reads on in $5!$ and 5! = 120.
func factorialAt(t string, n number, _ int) (number, bool) {
	if !strings.HasPrefix(t[n.end:], "!") || !exclaimed.MatchString(t[n.end:min(n.end+4, len(t))]) {
		return n, false
	}
	r, ok := latex.Rational(n.value + "!")
	if !ok {
		r = nil
	}
	return whole(r, n.end+1), true
}

// colonAt finds that a number is a time or a ratio, such as 3:30, which has no
// value.
func colonAt(t string, n number, _ int) (number, bool) {
	end := n.end
	if m := clock.FindString(t[end:min(end+4, len(t))]); m != "" {
		return number{end: end + len("h30")}, true
	}
	for range 3 {
		i, ok := skipOne(t, end, []string{":"})
		e := skipDigits(t, i, 8)
		if !ok || e == i {
			break
		}
		end = e
	}
	return number{end: end}, end > n.end
}

// clock is what follows the hours in 2h30.
var clock = regexp.MustCompile(`^h[0-5][0-9](?:[^\p{L}\p{Nd}]|$)`)

// dotsAt finds that a number is a version or a date, such as 1.2.3, which has no
// value.
func dotsAt(t string, n number, i int) (number, bool) {
	end := n.end
	for range maxGroups {
		e := skipDigits(t, min(end+1, len(t)), math.MaxInt)
		if !strings.HasPrefix(t[end:], ".") || e == end+1 {
			break
		}
		end = e
	}
	if end == n.end {
		if e := n.end; strings.HasPrefix(t[e:], "-") && isoDate.MatchString(t[i:min(i+12, len(t))]) {
			return number{end: e + len("-MM-DD")}, true
		}
	}
	return number{end: end}, end > n.end
}

var isoDate = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[^0-9]|$)`)

// irrational is a factor that follows a number without a sign of multiplication.
var irrational = regexp.MustCompile(`^ ?(?:\\?[*·] ?|\\cdot ?|\\times ?)?(?:(\\sqrt|√)|\\pi\b|π)`)

// rootFactorAt reads on in 3\sqrt{4}; of 2\pi there is no value.
func rootFactorAt(t string, n number) number {
	rest := t[n.end:min(n.end+24, len(t))]
	if !strings.ContainsAny(rest, `\√π`) {
		return n
	}
	m := irrational.FindStringSubmatchIndex(rest)
	if m == nil {
		return n
	}
	if m[2] >= 0 {
		if f, ok := rootAt(t, n.end+m[2]); ok {
			return whole(product(n.rat(), f.rat()), f.end)
		}
	}
	return number{end: n.end + m[1]}
}

// rootAt reads a root whose value is a fraction.
func rootAt(t string, i int) (number, bool) {
	j, ok := skipOne(t, i, []string{`\sqrt`, "√"})
	if !ok {
		return number{}, false
	}
	e := j
	if t[i] == '\\' {
		if strings.HasPrefix(t[e:], "[") {
			shut := strings.IndexByte(t[e:min(e+8, len(t))], ']')
			if shut < 0 {
				return number{end: e}, true
			}
			e += shut + 1
		}
		e = skipBlanks(t, e)
	}
	if g := group(t[e:]); g != "" {
		e += len(g)
	} else if d := skipDigits(t, e, 18); d > e {
		e = d
	} else {
		return number{end: e}, true
	}
	r, ok := latex.Rational(t[i:e])
	if !ok {
		r = nil
	}
	return whole(r, e), true
}

// vulgar lists the fractions that are one character.
var vulgar = map[rune][2]int64{
	'¼': {1, 4}, '½': {1, 2}, '¾': {3, 4}, '⅐': {1, 7}, '⅑': {1, 9}, '⅒': {1, 10}, '⅓': {1, 3}, '⅔': {2, 3},
	'⅕': {1, 5}, '⅖': {2, 5},
	'⅗': {3, 5}, '⅘': {4, 5}, '⅙': {1, 6}, '⅚': {5, 6}, '⅛': {1, 8}, '⅜': {3, 8}, '⅝': {5, 8}, '⅞': {7, 8},
}

// fractionAt reads ½, \frac{1}{2}, 1/2, or a root.
func fractionAt(t string, i int) (number, bool) {
	if r, size := utf8.DecodeRuneInString(t[i:]); vulgar[r][1] != 0 {
		return whole(big.NewRat(vulgar[r][0], vulgar[r][1]), i+size), true
	}
	if j, ok := skipOne(t, i, []string{`\frac`, `\dfrac`, `\tfrac`, `\cfrac`}); ok {
		for range 2 {
			if j = skipBlanks(t, j); j == len(t) {
				return number{}, false
			}
			if g := group(t[j:]); g != "" {
				j += len(g)
			} else if e := skipDigits(t, j, 1); e > j {
				j = e
			} else {
				return number{}, false
			}
		}
		r, ok := latex.Rational(t[i:j])
		if !ok {
			r = nil
		}
		return whole(r, j), true
	}
	if n, ok := rootAt(t, i); ok {
		return n, true
	}
	if a, j := digitsAt(t, i, 4); a != "" {
		j, ok := skipOne(t, j, slashes[1:])
		b, end := digitsAt(t, j, 4)
		if !ok || b == "" || strings.HasPrefix(t[end:], "/") {
			return number{}, false
		}
		return whole(quotient(number{value: a}.rat(), number{value: b}.rat()), end), true
	}
	return number{}, false
}

// moneyScale is a scale that is a letter, of money.
var moneyScale = regexp.MustCompile(`^ ?([kKmMbB]|MM|mil)(?:[^\p{L}\p{Nd}]|$)`)

var scales = map[string]int64{
	"k": 1e3, "m": 1e6, "b": 1e9, "bn": 1e9, "mn": 1e6, "mln": 1e6, "mm": 1e6, "mil": 1e6, "mio": 1e6, "hundred": 100,
	"thousand": 1e3, "million": 1e6, "billion": 1e9, "trillion": 1e12,
	"lakh": 1e5, "crore": 1e7,
}

// scaleAt reads on in 1.2 million, 70k and $5M. A lone letter is a unit, but for
// k and M, and of money.
func scaleAt(t string, n number, i int) number {
	for range 2 { // three hundred thousand
		rest := t[n.end:min(n.end+40, len(t))]
		if first := strings.TrimLeft(rest, " \u00a0~-*\\,;:"); first == "" || !isLetter(first[0]) {
			return n
		}
		m := scale.FindStringSubmatch(rest)
		word := ""
		if m != nil && m[1] != "B" {
			word = m[1] + m[2]
		}
		if _, money := trimOne(trimBlanks(t[:i]), currencies); money && word == "" {
			if m = moneyScale.FindStringSubmatch(rest); m != nil {
				word = m[1]
			}
		}
		if word == "" {
			return n
		}
		factor := scales[strings.TrimSuffix(strings.ToLower(word[strings.LastIndexAny(word, "{ ")+1:]), "s")]
		at := strings.Index(rest, word) + len(word)
		n = whole(product(n.rat(), big.NewRat(factor, 1)), n.end+at)
	}
	return n
}

// smaller is a quantity of a smaller scale behind one of a larger.
var smaller = regexp.MustCompile(`^(?: and|,)? ([0-9]{1,3}) (hundred|thousand)(?:[^\p{L}\p{Nd}]|$)`)

// moreScaleAt reads on in 1 million 200 thousand.
func moreScaleAt(t string, n number) number {
	m := smaller.FindStringSubmatchIndex(t[n.end:min(n.end+32, len(t))])
	if a := n.rat(); m != nil && a != nil {
		b := product(number{value: t[n.end+m[2] : n.end+m[3]]}.rat(), big.NewRat(scales[t[n.end+m[4]:n.end+m[5]]], 1))
		return whole(a.Add(a, b), n.end+m[5])
	}
	return n
}

// units are names of units of one kind, from the largest down.
type units struct {
	names    []*regexp.Regexp
	compound *regexp.Regexp // two quantities in a row
}

// kinds are the units that are read one after another. The last kind is money.
var kinds = func() []units {
	const gap = `(?:[ \x{a0}~-]|\\[,; ])?`
	var list []units
	for _, names := range [][]string{
		{"years?|yrs?", "months?", "weeks?|wks?", "days?", "hours?|hrs?|h", "minutes?|mins?|m", "seconds?|secs?|s"},
		{
			"miles?|mi", "kilomet(?:er|re)s?|km", "met(?:er|re)s?|m", "yards?|yds?", "feet|foot|ft|'|′",
			"inch(?:es)?|in|\"|″", "centimet(?:er|re)s?|cm", "millimet(?:er|re)s?|mm",
		},
		{"tons?|tonnes?", "kilograms?|kgs?", "pounds?|lbs?", "ounces?|oz", "grams?|g"},
		{"gallons?|gal", "quarts?|qts?", "pints?|pts?", "cups?", "lit(?:er|re)s?|l", "millilit(?:er|re)s?|ml"},
		{"dollars?|euros?|pounds?", "cents?|pence|p|c"},
	} {
		unit := `(?:\\(?:text|mathrm)\s?\{\s?)?(` + strings.Join(names, "|") + `)\.?\s?\}?`
		u := units{compound: regexp.MustCompile(`^` + gap + unit + `(?:,? (?:and )?|, )?` + gap +
			`([0-9]+(?:\.[0-9]+)?)` + gap + unit + `(?:[^\p{L}\p{Nd}]|$)`)}
		for _, n := range names {
			u.names = append(u.names, regexp.MustCompile(`^(?:`+n+`)$`))
		}
		list = append(list, u)
	}
	return list
}()

// rank is the place of a unit among those of its kind.
func (u units) rank(name string) int {
	return slices.IndexFunc(u.names, func(re *regexp.Regexp) bool { return re.MatchString(name) })
}

var fewCents = regexp.MustCompile(`^,? and ([0-9]{1,2}) cents?\b`)

// compoundAt finds that a quantity goes on in a smaller unit: 5 feet 6 inches and
// 1 hour 30 minutes are no one number. Dollars and cents are.
func compoundAt(t string, n number, i int) number {
	rest := t[n.end:min(n.end+64, len(t))]
	if rest == "" {
		return n
	}
	if m := fewCents.FindStringSubmatchIndex(rest); m != nil {
		if _, money := trimOne(trimBlanks(t[:i]), currencies); money {
			return n.withCents(rest[m[2]:m[3]], n.end+m[1])
		}
	}
	// Most numbers have no unit, and most units no other number after them.
	if first := strings.TrimLeft(rest, " \u00a0~-\\,;"); first == "" || !isLetter(first[0]) &&
		!strings.ContainsRune(`'"′″`, rune(first[0])) && first[0] < utf8.RuneSelf ||
		strings.IndexFunc(first, isDigit) < 0 {
		return n
	}
	for k, u := range kinds {
		m := u.compound.FindStringSubmatchIndex(rest)
		if m == nil {
			continue
		}
		if u.rank(rest[m[2]:m[3]]) >= u.rank(rest[m[6]:m[7]]) ||
			perOne.MatchString(t[n.end+m[7]:min(n.end+m[7]+8, len(t))]) {
			return n
		}
		if k == len(kinds)-1 {
			return n.withCents(rest[m[4]:m[5]], n.end+m[7])
		}
		return number{end: n.end + m[7]}
	}
	return n
}

// perOne follows the second of two quantities that have nothing to do with each
// other: 3 days, 8 hours each.
var perOne = regexp.MustCompile(`^ (?:each|per|a|every|/)\b`)

func (n number) withCents(cents string, end int) number {
	a, b := n.rat(), number{value: cents}.rat()
	if a == nil || b == nil {
		return number{end: end}
	}
	return whole(new(big.Rat).Add(a, b.Quo(b, big.NewRat(100, 1))), end)
}

var (
	currencies = []string{`US\$`, "US$", `\$`, "$", "€", "£", "¥", "₹", `\pounds`, `\text{€}`, "&euro;", "&pound;"}
	minuses    = []string{
		"-", "$-$", "\u2212", "\u2010", "\u2011", "\u2013", "\uff0d", `\text{-}`, "\\text{\u2212}",
		"{-}", "&minus;", "&#8722;", "&#x2212;", "&ndash;",
	}
	// minusWord is a minus in words, with what stands before it.
	minusWord = regexp.MustCompile(`(?i)(?:^|[^\p{L}])(minus|negative)[*_ }]{1,3}$`)
)

// signBefore returns where the number whose digits begin at i begins with its
// sign, and whether it is negative. A minus after a number, a word or a closing
// bracket is a range or a subtraction, as in 10-15.
func signBefore(t string, i int) (start int, negative bool) {
	const longest = 16
	head, _ := trimOne(t[:i], currencies)
	minus := trimBlanks(head)
	before, ok := trimOne(minus, minuses)
	if !ok {
		from := max(0, len(head)-longest)
		if word := strings.TrimRight(head, "*_ }"); word == "" ||
			!strings.ContainsRune("sSeE", rune(word[len(word)-1])) {
			return i, false
		}
		m := minusWord.FindStringSubmatchIndex(head[from:])
		if m == nil || head[from+m[2]]|0x20 == 'm' && endsInOperand(trimBlanks(head[:from+m[2]]), false) {
			return i, false
		}
		return from + m[2], true
	}
	left := trimBlanks(before)
	if endsInOperand(left, len(left) == len(before)) {
		return i, false
	}
	// A hyphen on its own is a bullet or a dash, but in formulas, and where an answer stands alone.
	if len(minus) < len(head) && !bindsSign(minus, head[len(minus):], left) {
		return i, false
	}
	return len(before), true
}

// opensFormula is what a sign may follow that does not touch its number.
var opensFormula = []string{"=", "\u2248", "####", `\(`, `\[`, "(", "[", "{", "<", ">", `\approx`, `\to`}

// bindsSign reports whether a minus belongs to the number behind the gap.
func bindsSign(minus, gap, left string) bool {
	if strings.HasSuffix(minus, "\u2212") || strings.HasSuffix(minus, ";") || strings.Contains(gap, `\`) {
		return true
	}
	if strings.HasSuffix(left, "$") { // of a formula, not of dollars
		return true
	}
	if _, ok := trimOne(left, opensFormula); ok {
		return true
	}
	const longest = 16
	return strings.HasSuffix(minus, "-") && opensAnswer.MatchString(left[max(0, len(left)-longest):])
}

// opensAnswer is what a hyphen may follow that does not touch its number, where the answer comes on the same line.
var opensAnswer = regexp.MustCompile(`:[*_]{0,3}$|(?:^|\s)[*_]{2,3}$`)

// endsInOperand reports whether a minus after t is between two things. A word is
// one only if the minus is attached to it.
func endsInOperand(t string, attached bool) bool {
	if t == "" {
		return false
	}
	last := lastRune(t)
	_, dash := trimOne(t, minuses)
	return isDigit(last) || vulgar[last][1] != 0 || strings.ContainsRune(")]}%", last) || attached &&
		(dash || unicode.IsLetter(last))
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

// trimBlanks removes the white space, of texts and of formulas, that t ends in.
func trimBlanks(t string) string {
	for {
		rest, ok := trimOne(strings.TrimRight(t, " \t\u00a0\u2009\u202f"),
			[]string{`\,`, `\;`, `\!`, `\:`, `\ `, "~", "&nbsp;"})
		if !ok {
			return rest
		}
		t = rest
	}
}

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

// formatRat writes a value without an exponent: all of its decimals where they
// end soon, otherwise as many as a float64 has. It is empty of a value that is
// too large to be an answer.
func formatRat(r *big.Rat) string {
	const most = 20
	if r.Num().BitLen() > 1<<12 {
		return ""
	}
	if n, exact := r.FloatPrec(); exact && n <= most {
		return canonicalSigned(r.FloatString(n))
	}
	f, _ := r.Float64()
	return strconv.FormatFloat(f, 'f', -1, 64)
}

func canonicalSigned(s string) string {
	if rest, ok := strings.CutPrefix(s, "-"); ok {
		return negated(canonical(rest))
	}
	return canonical(s)
}
