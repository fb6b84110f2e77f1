package scoring

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The expressions of the notebook's extract_answer, with Python's Unicode
// meaning of \s and \d spelled out. The notebook lowers the text before it
// looks for "answer is"; since the only other letter whose lower case begins
// with one of these is İ (to i and a combining dot, which cannot match),
// ignoring case in ASCII is the same, and offsets stay those of the text.
// Go's own (?i) would be wrong: it takes ſ for s.
var (
	seedHash   = regexp.MustCompile(`####[` + pySpace + `]*([\p{Nd},.\-]+)`)
	seedStated = regexp.MustCompile(`[aA][nN][sS][wW][eE][rR] [iI][sS][:` + pySpace + `]*([\p{Nd},.\-]+)`)
	seedBoxed  = regexp.MustCompile(`\\boxed\{([\p{Nd},.\-]+)\}`)
)

// pySpace is the inside of a character class equal to Python's \s for str.
const pySpace = `\t-\r\x1c-\x20\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}`

// isPySpace is Python's str.isspace for one character.
func isPySpace(r rune) bool {
	return unicode.IsSpace(r) || (0x1c <= r && r <= 0x1f)
}

// seedRungs is the notebook's extract_answer, rung by rung.
func seedRungs() []Rung {
	return []Rung{
		{Name: "hash", Explicit: true, Find: func(t string) (Answer, bool) { return firstGroup(seedHash, t) }},
		{Name: "answer_is", Explicit: true, Find: func(t string) (Answer, bool) { return firstGroup(seedStated, t) }},
		{Name: "boxed", Explicit: true, Find: func(t string) (Answer, bool) { return firstGroup(seedBoxed, t) }},
		{Name: "last_number", Find: seedLastNumber},
	}
}

// firstGroup is re.search(...).group(1) without its commas.
func firstGroup(re *regexp.Regexp, text string) (Answer, bool) {
	m := re.FindStringSubmatchIndex(text)
	if m == nil {
		return Answer{}, false
	}
	return seedAnswer(text, m[2], m[3]), true
}

// seedLastNumber is re.findall(r'[\d,]+\.?\d*', text)[-1] without its commas,
// scanned by hand: a regular expression is slow at half a million matches.
func seedLastNumber(text string) (Answer, bool) {
	start, end := -1, 0
	for i := 0; i < len(text); {
		first := i
		if i = skipWhile(text, i, isDigitOrComma); i == first {
			_, size := utf8.DecodeRuneInString(text[i:])
			i += size
			continue
		}
		if strings.HasPrefix(text[i:], ".") {
			i = skipWhile(text, i+1, isDigit)
		}
		start, end = first, i
	}
	if start < 0 {
		return Answer{}, false
	}
	return seedAnswer(text, start, end), true
}

func isDigitOrComma(r rune) bool { return r == ',' || isDigit(r) }

// skipWhile returns the place of the first character from byte i on that is not
// of the kind.
func skipWhile(t string, i int, kind func(rune) bool) int {
	for i < len(t) {
		r, size := utf8.DecodeRuneInString(t[i:])
		if !kind(r) {
			break
		}
		i += size
	}
	return i
}

func seedAnswer(text string, start, end int) Answer {
	return Answer{Value: strings.ReplaceAll(text[start:end], ",", ""), Start: start, End: end}
}
