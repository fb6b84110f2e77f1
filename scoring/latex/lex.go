package latex

import (
	"math/big"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// kind says what a token is.
type kind byte

const (
	number  kind = 'n' // digits, at most one point
	letter  kind = 'a' // a variable
	command kind = 'c' // \name, without its backslash
	mark    kind = 'p' // a single character
	text    kind = 't' // words
	end     kind = 0
)

type token struct {
	kind kind
	text string
	gap  bool // white space stands before it
}

// spelled maps characters and commands to the tokens that they are other spellings of.
var spelled = map[string]token{
	"−": {mark, "-", false}, "–": {mark, "-", false}, "×": {command, "times", false}, "·": {command, "cdot", false},
	"⋅": {command, "cdot", false},
	"÷": {command, "div", false}, "√": {command, "sqrt", false}, "π": {command, "pi", false},
	"∞": {command, "infty", false}, "≤": {command, "le", false},
	"≥": {command, "ge", false}, "≠": {command, "ne", false}, "∪": {command, "cup", false},
	"∩": {command, "cap", false}, "∈": {command, "in", false},
	"≈": {mark, "=", false}, "±": {command, "pm", false}, "°": {command, "degree", false}, "²": {command, "^2", false},
	"³": {command, "^3", false},
	"θ": {command, "theta", false}, "∅": {command, "emptyset", false},
	`\dfrac`: {command, "frac", false}, `\tfrac`: {command, "frac", false}, `\cfrac`: {command, "frac", false},
	`\leq`:      {command, "le", false},
	`\leqslant`: {command, "le", false}, `\geq`: {command, "ge", false}, `\geqslant`: {command, "ge", false},
	`\neq`: {command, "ne", false},
	`\lt`:  {mark, "<", false}, `\gt`: {mark, ">", false}, `\approx`: {mark, "=", false}, `\equiv`: {mark, "=", false},
	`\ast`:    {command, "times", false},
	`\lbrace`: {command, "{", false}, `\rbrace`: {command, "}", false}, `\lvert`: {mark, "|", false},
	`\rvert`: {mark, "|", false}, `\vert`: {mark, "|", false},
	`\mid`: {mark, "|", false}, `\lbrack`: {mark, "[", false}, `\rbrack`: {mark, "]", false},
	`\circ`: {command, "degree", false}, `\varnothing`: {command, "emptyset", false},
	`\wedge`: {mark, ",", false}, `\land`: {mark, ",", false}, `\lor`: {mark, ",", false}, `\vee`: {mark, ",", false},
	`\arcsin`: {command, "asin", false},
	`\arccos`: {command, "acos", false}, `\arctan`: {command, "atan", false}, `\infin`: {command, "infty", false},
	`\backslash`: {command, "setminus", false},
	`\lg`:        {command, "log", false},
}

// words are names that may stand without a backslash.
var words = map[string]token{
	"sqrt": {command, "sqrt", false}, "pi": {command, "pi", false}, "sin": {command, "sin", false},
	"cos": {command, "cos", false}, "tan": {command, "tan", false},
	"log": {command, "log", false}, "ln": {command, "ln", false}, "infinity": {command, "infty", false},
	"infty": {command, "infty", false}, "inf": {command, "infty", false},
	"and": {mark, ",", false}, "or": {mark, ",", false}, "exp": {command, "exp", false},
	"frac": {command, "frac", false},
}

// silent lists the commands that only say how a formula looks.
var silent = map[string]bool{
	"left": true, "right": true, "displaystyle": true, "textstyle": true, "limits": true, "big": true, "Big": true,
	"bigl": true, "bigr": true, "Bigl": true,
	"Bigr": true, "bigg": true, "Bigg": true, "quad": true, "qquad": true, ",": true, ";": true, ":": true, "!": true,
	" ": true, ">": true, "(": true, ")": true,
	"[": true, "]": true, "\n": true, "$": true, "boxed": true, "fbox": true, "mathbf": true, "mathit": true,
	"mathsf": true, "boldsymbol": true, "bf": true,
	"rm": true, "mathcal": true, "underline": true, "overline": true, "hfill": true, "thinspace": true, "phantom": true,
	"enspace": true, "space": true,
	"vec": true, "hat": true, "bar": true, "operatorname": true, "ensuremath": true, "small": true, "large": true,
}

// wordy lists the commands whose argument is words.
var wordy = map[string]bool{
	"text": true, "textbf": true, "textit": true, "textrm": true, "texttt": true, "textsf": true, "textnormal": true,
	"mbox": true, "hbox": true, "mathrm": true, "mathtt": true,
}

// repeating is a decimal fraction whose last digits repeat.
var repeating = regexp.MustCompile(`^([0-9]{1,9})\.(?:([0-9]{0,9})\\(?:overline|bar|dot)\s?(?:\{\s?([0-9]{1,9})\s?\}|([0-9]))|\(([0-9]{1,9})\))`)

// Repeating is how many bytes a decimal fraction whose last digits repeat takes
// at the start of s, such as 0.1\overline{6} or 3.(3); 0 where there is none.
func Repeating(s string) int {
	const longest = 64
	return len(repeating.FindString(s[:min(len(s), longest)]))
}

// repeated writes such a fraction as a quotient of whole numbers.
func repeated(s string) string {
	m := repeating.FindStringSubmatch(s)
	once, again := m[1]+m[2], m[3]+m[4]+m[5]
	whole, _ := new(big.Int).SetString(once+again, 10)
	part, _ := new(big.Int).SetString(once, 10)
	return `\frac{` + whole.Sub(whole, part).String() + `}{` + strings.Repeat("9", len(again)) +
		strings.Repeat("0", len(m[2])) + `}`
}

// lex splits a formula. Braces, which group, are marks; set braces are the commands { and }.
func lex(s string) []token {
	var out []token
	gap := false
	add := func(t token) {
		t.gap, gap = gap, false
		out = append(out, t)
	}
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == '\\':
			name := commandAt(s, i+1)
			i += 1 + len(name)
			t, known := spelled[`\`+name]
			switch {
			case known:
				add(t)
			case wordy[name]:
				words, n := argument(s[i:])
				i += n
				for _, t := range lexWords(words) {
					add(t)
				}
			case silent[name]:
				gap = true
			default:
				add(token{kind: command, text: name})
			}
		case unicode.IsSpace(r) || r == '~' || r == '$':
			gap = true
			i += size
		case isDigit(r) && Repeating(s[i:]) > 0:
			n := Repeating(s[i:])
			for _, t := range lex(repeated(s[i : i+n])) {
				add(t)
			}
			i += n
		case isDigit(r) || r == '.' && i+1 < len(s) && isDigit(rune(s[i+1])):
			n := numberLen(s[i:])
			add(token{kind: number, text: clean(s[i : i+n])})
			i += n
		case isLetter(r):
			n := i
			for n < len(s) && isLetter(rune(s[n])) {
				n++
			}
			for _, t := range lexLetters(s[i:n]) {
				add(t)
			}
			i = n
		default:
			if t, known := spelled[string(r)]; known {
				add(t)
			} else if v, ok := vulgar[r]; ok {
				for _, t := range lex(v) {
					add(t)
				}
			} else {
				add(token{kind: mark, text: string(r)})
			}
			i += size
		}
	}
	return out
}

// vulgar lists the fractions that are one character.
var vulgar = map[rune]string{
	'¼': `\frac14`, '½': `\frac12`, '¾': `\frac34`, '⅓': `\frac13`, '⅔': `\frac23`, '⅕': `\frac15`, '⅖': `\frac25`,
	'⅗': `\frac35`, '⅘': `\frac45`,
	'⅙': `\frac16`, '⅚': `\frac56`, '⅛': `\frac18`, '⅜': `\frac38`, '⅝': `\frac58`, '⅞': `\frac78`, '⅐': `\frac17`,
	'⅑': `\frac19`, '⅒': `\frac1{10}`,
}

func isDigit(r rune) bool  { return '0' <= r && r <= '9' }
func isLetter(r rune) bool { return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' }

// commandAt is the name of the command whose backslash stands before byte i.
func commandAt(s string, i int) string {
	n := i
	for n < len(s) && isLetter(rune(s[n])) {
		n++
	}
	if n == i && i < len(s) {
		_, size := utf8.DecodeRuneInString(s[i:])
		n += size
	}
	return s[i:n]
}

// argument returns what stands in the braces at the start of s, and how long it is with them.
func argument(s string) (inner string, size int) {
	start := len(s) - len(strings.TrimLeft(s, " \t\n*"))
	if start == len(s) || s[start] != '{' {
		return "", 0
	}
	depth := 0
	for i := start; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				return s[start+1 : i], i + 1
			}
		}
	}
	return s[start+1:], len(s)
}

// lexWords makes tokens of what is written as words: "and" and "or" separate, a number is one.
func lexWords(words string) []token {
	plain := strings.TrimSpace(words)
	switch strings.ToLower(plain) {
	case "and", "or", ",", ", and", ", or":
		return []token{{kind: mark, text: ","}}
	case "":
		return nil
	}
	if strings.IndexFunc(plain, isLetter) < 0 || strings.ContainsRune(plain, '\\') {
		return lex(plain)
	}
	return []token{{kind: text, text: plain}}
}

// lexLetters makes tokens of letters in a row: a name, a word, or variables.
func lexLetters(s string) []token {
	if t, ok := words[strings.ToLower(s)]; ok {
		return []token{t}
	}
	if len(s) >= 3 || units[s] {
		return []token{{kind: text, text: s}}
	}
	var out []token
	for i := range len(s) {
		out = append(out, token{kind: letter, text: s[i : i+1]})
	}
	return out
}

// units that are two letters, which otherwise are a product of two variables.
var units = map[string]bool{
	"cm": true, "mm": true, "km": true, "kg": true, "mg": true, "ml": true, "mL": true, "ft": true, "yd": true,
	"mi": true, "oz": true, "lb": true, "hr": true,
	"pm": true, "am": true, "No": true, "no": true,
}

// numberLen is the length of the number at the start of s: digits in groups of three, and decimals.
func numberLen(s string) int {
	n := digits(s)
	if n > 0 && n <= 3 {
		for {
			group := 0
			for _, sep := range []string{"{,}", `,\!`, `\,`, `\!`, ","} {
				if strings.HasPrefix(s[n:], sep) && digits(s[n+len(sep):]) == 3 {
					group = len(sep) + 3
					break
				}
			}
			if group == 0 {
				break
			}
			n += group
		}
	}
	if strings.HasPrefix(s[n:], ".") {
		if d := digits(s[n+1:]); d > 0 {
			return n + 1 + d
		}
		if n > 0 && n+1 < len(s) && !isLetter(rune(s[n+1])) && s[n+1] != ' ' {
			return n + 1
		}
	}
	return n
}

func digits(s string) int {
	n := 0
	for n < len(s) && isDigit(rune(s[n])) {
		n++
	}
	return n
}

// clean keeps digits and the point.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if isDigit(r) || r == '.' {
			return r
		}
		return -1
	}, s)
}
