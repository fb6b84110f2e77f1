package jinja

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

type tokenKind int

const (
	tokEOF tokenKind = iota
	tokData
	tokVariableBegin
	tokVariableEnd
	tokBlockBegin
	tokBlockEnd
	tokName
	tokString
	tokInteger
	tokFloat
	tokOperator
)

type token struct {
	kind  tokenKind
	text  string // data, name, operator or decoded string
	value Value  // integer or float
	line  int
}

// String describes the token for an error.
func (t token) String() string {
	switch t.kind {
	case tokEOF:
		return "end of template"
	case tokData:
		return "template data"
	case tokVariableBegin:
		return "begin of print statement"
	case tokVariableEnd:
		return "end of print statement"
	case tokBlockBegin:
		return "begin of statement block"
	case tokBlockEnd:
		return "end of statement block"
	case tokInteger, tokFloat:
		return fmt.Sprintf("number %v", t.value)
	case tokName, tokString, tokOperator:
	}
	return strconv.Quote(t.text)
}

// The number patterns are jinja2's, without its look-behind.
var (
	floatPattern   = regexp.MustCompile(`^(?:\d+_)*\d+(?:(?:\.(?:\d+_)*\d+)?[eE][+\-]?(?:\d+_)*\d+|\.(?:\d+_)*\d+)`)
	integerPattern = regexp.MustCompile(`^(?i:0b(?:_?[01])+|0o(?:_?[0-7])+|0x(?:_?[\da-f])+|[1-9](?:_?\d)*|0(?:_?0)*)`)
)

type lexer struct {
	src    string
	pos    int
	line   int
	tokens []token
	// lineStart says whether the last thing matched ended in a newline, the condition of lstrip_blocks for a tag that
	// no text precedes.
	lineStart bool
}

// lex splits a template into tokens. It follows jinja2.lexer with trim_blocks and lstrip_blocks on and
// keep_trailing_newline off.
func lex(source string) ([]token, error) {
	source = strings.ReplaceAll(source, "\r\n", "\n")
	source = strings.ReplaceAll(source, "\r", "\n")
	source = strings.TrimSuffix(source, "\n")
	l := &lexer{src: source, line: 1, lineStart: true}
	for l.pos < len(l.src) {
		if err := l.root(); err != nil {
			return nil, err
		}
	}
	l.emit(token{kind: tokEOF})
	return l.tokens, nil
}

func (l *lexer) emit(t token) {
	t.line = l.line
	l.tokens = append(l.tokens, t)
}

// advance moves past n bytes.
func (l *lexer) advance(n int) {
	matched := l.src[l.pos : l.pos+n]
	l.line += strings.Count(matched, "\n")
	l.pos += n
	l.lineStart = strings.HasSuffix(matched, "\n")
}

func (l *lexer) emitData(text string) {
	if text != "" {
		l.emit(token{kind: tokData, text: text})
	}
}

// root lexes the text up to the next tag, and the tag.
func (l *lexer) root() error {
	rest := l.src[l.pos:]
	i := nextTag(rest)
	if i < 0 {
		l.emitData(rest)
		l.advance(len(rest))
		return nil
	}
	opener := rest[i : i+2]
	if opener == "{%" {
		if n, sign, ok := rawTag(rest[i:], "raw"); ok {
			l.emitData(l.lstrip(rest[:i], sign, opener))
			l.advance(i + n)
			return l.raw()
		}
	}
	n, sign := i+2, byte(0)
	if n < len(rest) && (rest[n] == '-' || rest[n] == '+') {
		sign = rest[n]
		n++
	}
	l.emitData(l.lstrip(rest[:i], sign, opener))
	l.advance(n)
	switch opener {
	case "{#":
		return l.comment()
	case "{{":
		l.emit(token{kind: tokVariableBegin})
		return l.tag(tokVariableEnd)
	default:
		l.emit(token{kind: tokBlockBegin})
		return l.tag(tokBlockEnd)
	}
}

func nextTag(s string) int {
	for i := 0; ; {
		j := strings.IndexByte(s[i:], '{')
		if j < 0 || i+j+1 >= len(s) {
			return -1
		}
		i += j
		if c := s[i+1]; c == '{' || c == '%' || c == '#' {
			return i
		}
		i++
	}
}

// lstrip takes from the text before a tag what the tag's sign or lstrip_blocks removes.
func (l *lexer) lstrip(text string, sign byte, opener string) string {
	if sign == '-' {
		return strings.TrimRightFunc(text, isSpace)
	}
	if sign == '+' || opener == "{{" {
		return text
	}
	lineStart := strings.LastIndexByte(text, '\n') + 1
	if (lineStart > 0 || l.lineStart) && strings.TrimLeftFunc(text[lineStart:], isSpace) == "" {
		return text[:lineStart]
	}
	return text
}

// rawTag matches {% raw %} or {% endraw %} at the start of s: its length and the sign at its beginning.
func rawTag(s, name string) (n int, sign byte, ok bool) {
	rest := s[2:]
	if rest != "" && (rest[0] == '-' || rest[0] == '+') {
		sign, rest = rest[0], rest[1:]
	}
	rest, ok = strings.CutPrefix(trimLeft(rest), name)
	if !ok {
		return 0, 0, false
	}
	rest = trimLeft(rest)
	n = len(s) - len(rest)
	switch {
	case strings.HasPrefix(rest, "-%}"):
		return len(s) - len(trimLeft(rest[3:])), sign, true
	case strings.HasPrefix(rest, "%}"):
		n += 2
		if name == "endraw" && strings.HasPrefix(rest[2:], "\n") {
			n++
		}
		return n, sign, true
	case name == "endraw" && strings.HasPrefix(rest, "+%}"):
		return n + 3, sign, true
	}
	return 0, 0, false
}

func (l *lexer) raw() error {
	rest := l.src[l.pos:]
	for i := 0; ; i += 2 {
		j := strings.Index(rest[i:], "{%")
		if j < 0 {
			return errorAt(l.line, "missing end of raw directive")
		}
		i += j
		if n, sign, ok := rawTag(rest[i:], "endraw"); ok {
			l.emitData(l.lstrip(rest[:i], sign, "{%"))
			l.advance(i + n)
			return nil
		}
	}
}

func (l *lexer) comment() error {
	rest := l.src[l.pos:]
	i := strings.Index(rest, "#}")
	if i < 0 {
		return errorAt(l.line, "missing end of comment tag")
	}
	end := i + 2
	switch {
	case i > 0 && rest[i-1] == '-':
		end = len(rest) - len(trimLeft(rest[end:]))
	case i > 0 && rest[i-1] == '+':
	case strings.HasPrefix(rest[end:], "\n"):
		end++
	}
	l.advance(end)
	return nil
}

// tag lexes the inside of a tag up to and including its end.
func (l *lexer) tag(end tokenKind) error {
	var open []byte // the closers of the brackets that are open
	for l.pos < len(l.src) {
		rest := l.src[l.pos:]
		if len(open) == 0 {
			if n := tagEnd(rest, end); n > 0 {
				l.emit(token{kind: end})
				l.advance(n)
				return nil
			}
		}
		if n := len(rest) - len(trimLeft(rest)); n > 0 {
			l.advance(n)
			continue
		}
		n, err := l.tagToken(rest, &open)
		if err != nil {
			return err
		}
		l.advance(n)
	}
	return errorAt(l.line, "unexpected end of template inside a tag")
}

// tagEnd returns the length of a tag's end at the start of s, with the whitespace it takes along, or 0.
func tagEnd(s string, end tokenKind) int {
	closer := "%}"
	if end == tokVariableEnd {
		closer = "}}"
	}
	switch {
	case strings.HasPrefix(s, "-"+closer):
		return len(s) - len(trimLeft(s[3:]))
	case strings.HasPrefix(s, closer):
		if end == tokBlockEnd && strings.HasPrefix(s[2:], "\n") {
			return 3
		}
		return 2
	case end == tokBlockEnd && strings.HasPrefix(s, "+%}"):
		return 3
	}
	return 0
}

// tagToken emits the token at the start of rest and returns its length.
func (l *lexer) tagToken(rest string, open *[]byte) (int, error) {
	if rest[0] >= '0' && rest[0] <= '9' {
		return l.number(rest)
	}
	if c := rest[0]; c == '"' || c == '\'' {
		return l.str(rest)
	}
	if n := nameLen(rest); n > 0 {
		l.emit(token{kind: tokName, text: rest[:n]})
		return n, nil
	}
	op := operatorAt(rest)
	if op == "" {
		r, _ := utf8.DecodeRuneInString(rest)
		return 0, errorAt(l.line, "unexpected character %q", r)
	}
	switch op {
	case "(":
		*open = append(*open, ')')
	case "[":
		*open = append(*open, ']')
	case "{":
		*open = append(*open, '}')
	case ")", "]", "}":
		last := len(*open) - 1
		if last < 0 {
			return 0, errorAt(l.line, "unexpected %q", op)
		}
		if want := (*open)[last]; op[0] != want {
			return 0, errorAt(l.line, "unexpected %q, expected %q", op, string(want))
		}
		*open = (*open)[:last]
	}
	l.emit(token{kind: tokOperator, text: op})
	return len(op), nil
}

// number emits the number at the start of rest. After a dot it is an index, as in a.0.1, and no float.
func (l *lexer) number(rest string) (int, error) {
	afterDot := l.src[l.pos-1] == '.'
	if m := floatPattern.FindString(rest); m != "" && !afterDot {
		f, err := strconv.ParseFloat(strings.ReplaceAll(m, "_", ""), 64)
		if err != nil {
			return 0, errorAt(l.line, "number %s is out of range", m)
		}
		l.emit(token{kind: tokFloat, value: f})
		return len(m), nil
	}
	m := integerPattern.FindString(rest)
	n, err := strconv.ParseInt(strings.ReplaceAll(m, "_", ""), 0, 64)
	if err != nil {
		return 0, errorAt(l.line, "integer %s is out of range", m)
	}
	l.emit(token{kind: tokInteger, value: n})
	return len(m), nil
}

func operatorAt(s string) string {
	if len(s) >= 2 {
		switch s[:2] {
		case "//", "**", "==", "!=", ">=", "<=":
			return s[:2]
		}
	}
	if strings.IndexByte("+-/*%~[](){}><=.:|,;", s[0]) >= 0 {
		return s[:1]
	}
	return ""
}

func nameLen(s string) int {
	for i, r := range s {
		if r == '_' || unicode.IsLetter(r) || i > 0 && (unicode.IsDigit(r) || unicode.IsMark(r)) {
			continue
		}
		return i
	}
	return len(s)
}

// str emits the string literal at the start of rest.
func (l *lexer) str(rest string) (int, error) {
	for i := 1; i < len(rest); i++ {
		switch rest[i] {
		case '\\':
			i++
		case rest[0]:
			s, err := unescape(rest[1:i])
			if err != nil {
				return 0, errorAt(l.line, "string literal: %w", err)
			}
			l.emit(token{kind: tokString, text: s})
			return i + 1, nil
		}
	}
	return 0, errorAt(l.line, "unterminated string literal")
}

// unescape decodes a literal as Python's "unicode-escape" codec does: unknown escapes stay as they are.
func unescape(s string) (string, error) {
	if strings.IndexByte(s, '\\') < 0 {
		return s, nil
	}
	var b strings.Builder
	for s != "" {
		i := strings.IndexByte(s, '\\')
		if i < 0 || i+1 == len(s) {
			b.WriteString(s)
			break
		}
		b.WriteString(s[:i])
		escape := s[i+1:]
		c := escape[0]
		s = escape[1:]
		switch {
		case strings.IndexByte(`\'"`, c) >= 0:
			b.WriteByte(c)
		case c == '\n': // a continued line
		case strings.IndexByte("abfnrtv", c) >= 0:
			b.WriteByte("\a\b\f\n\r\t\v"[strings.IndexByte("abfnrtv", c)])
		case c >= '0' && c <= '7':
			n := int(c - '0')
			for k := 0; k < 2 && s != "" && s[0] >= '0' && s[0] <= '7'; k++ {
				n = n*8 + int(s[0]-'0')
				s = s[1:]
			}
			b.WriteRune(rune(n))
		case c == 'x' || c == 'u' || c == 'U':
			digits := map[byte]int{'x': 2, 'u': 4, 'U': 8}[c]
			if len(s) < digits {
				return "", fmt.Errorf("truncated \\%c escape", c)
			}
			n, err := strconv.ParseUint(s[:digits], 16, 32)
			if err != nil || n > unicode.MaxRune || !utf8.ValidRune(rune(n)) {
				return "", fmt.Errorf("escape \\%c%s is no character", c, s[:digits])
			}
			b.WriteRune(rune(n))
			s = s[digits:]
		case c == 'N':
			return "", fmt.Errorf("escape \\N is not supported")
		case c >= utf8.RuneSelf:
			// jinja2 first writes non-ASCII characters as escapes, so that the backslash in front escapes the escape's
			// own backslash.
			r, n := utf8.DecodeRuneInString(escape)
			b.WriteString(backslashReplace(r))
			s = escape[n:]
		default:
			b.WriteByte('\\')
			b.WriteByte(c)
		}
	}
	return b.String(), nil
}

func backslashReplace(r rune) string {
	switch {
	case r < 0x100:
		return fmt.Sprintf(`\x%02x`, r)
	case r < 0x10000:
		return fmt.Sprintf(`\u%04x`, r)
	}
	return fmt.Sprintf(`\U%08x`, r)
}

// isSpace is Python's str.isspace for one character.
func isSpace(r rune) bool {
	return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f
}

func trimLeft(s string) string { return strings.TrimLeftFunc(s, isSpace) }
