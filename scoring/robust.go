package scoring

import (
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// robustRungs are the ways a person reads an answer. Every Find returns the
// last answer of its kind, since models restate and correct themselves.
func robustRungs() []Rung {
	return []Rung{
		{Name: "hash", Explicit: true, Find: findHash},
		{Name: "boxed", Explicit: true, Find: findBoxed},
		{Name: "answer_is", Explicit: true, Find: findStated},
		{Name: "last_number", Find: findLastNumber},
	}
}

// readLast reads what stands outside <think> blocks, up to where the model runs
// on to a new question. The explicit answer that comes last wins. Only in a
// finished text does a number count that nothing announces.
func readLast(rungs []Rung, c Completion) reading {
	text, offset, unfinished := outsideThink(c)
	r := reading{unfinished: unfinished}
	if !c.FewShot {
		text = cutRunOn(text, question, func(part string) bool {
			_, ok := lastOf(rungs, true, part)
			return ok || endsInBareNumber(part)
		})
	}
	r.answer, r.found = lastOf(rungs, true, text)
	if !r.found && !unfinished && c.Finish != FinishLength {
		if !c.FewShot {
			text = cutRunOn(text, questionLine, func(part string) bool {
				_, ok := lastOf(rungs, false, part)
				return ok
			})
		}
		r.answer, r.found = lastOf(rungs, false, text)
	}
	if r.found {
		r.answer.Start += offset
		r.answer.End += offset
	}
	return r
}

// lastOf returns the last answer in text that an explicit, or another, rung
// finds.
func lastOf(rungs []Rung, explicit bool, text string) (last Answer, found bool) {
	for _, rung := range rungs {
		if rung.Explicit != explicit {
			continue
		}
		if a, ok := rung.Find(text); ok && (!found || a.Start > last.Start) {
			last, found = a, true
			last.Rung = rung.Name
		}
	}
	return last, found
}

// outsideThink returns the part of the text that is not reasoning, and where it
// begins: what follows the last block. A block that does not end makes the text
// unfinished.
func outsideThink(c Completion) (text string, offset int, unfinished bool) {
	const open, closing = "<think>", "</think>"
	text = c.Text
	if i := strings.LastIndex(text, closing); i >= 0 {
		offset = i + len(closing)
		text = text[offset:]
	} else if c.InThink {
		return "", 0, true
	}
	text, _, unfinished = strings.Cut(text, open)
	return text, offset, unfinished
}

// A new question, anywhere and at the start of a line.
var (
	question     = regexp.MustCompile(`\bQuestion(?: [0-9]{1,4})?[*_]{0,3}:|(?m:^[ *_#]{0,8}Q[0-9]{0,4}[*_]{0,3}:)`)
	questionLine = regexp.MustCompile(`(?m)^[ *_#]{0,8}(?:Question(?: [0-9]{1,4})?|Q[0-9]{0,4})[*_]{0,3}:`)
)

// cutRunOn cuts text at the first new question that follows an answered part.
func cutRunOn(text string, marker *regexp.Regexp, answered func(part string) bool) string {
	from := 0
	for _, m := range marker.FindAllStringIndex(text, -1) {
		if answered(text[from:m[0]]) {
			return text[:m[0]]
		}
		from = m[1]
	}
	return text
}

// bareNumber is a line that holds nothing but a number, a unit and decoration.
var bareNumber = regexp.MustCompile(`^[^\p{L}\p{Nd}]{0,8}(?:A:|Answer:)?[^\p{L}\p{Nd}]{0,8}[\p{Nd}][\p{Nd}.,/ ]{0,30}[^\p{L}\p{Nd}]{0,8}\p{L}{0,12}[^\p{L}\p{Nd}]{0,8}$`)

// endsInBareNumber reports whether the last line that is not blank is an answer
// all by itself.
func endsInBareNumber(part string) bool {
	part = strings.TrimSpace(strings.TrimRight(part, "*_# \n"))
	return bareNumber.MatchString(part[strings.LastIndexByte(part, '\n')+1:])
}

var (
	hashMark = regexp.MustCompile(`#{4,}`)
	// statedMark announces an answer: the answer is, **Answer:**, answer =.
	statedMark = regexp.MustCompile(`(?i:\banswer)[*_]{0,3}(?:\s{1,3}(?i:is)\b|\s{0,3}[*_]{0,3}\s?[:=])`)
)

// findHash reads "#### 18", GSM8K's own form.
func findHash(text string) (last Answer, found bool) {
	for _, m := range hashMark.FindAllStringIndex(text, -1) {
		if n, ok := statedAt(text, m[1]); ok && !isListItem(text, n) {
			last, found = n.answer(), true
		}
	}
	return last, found
}

// findStated reads "the answer is 18" and "Answer: 18".
func findStated(text string) (last Answer, found bool) {
	for _, m := range statedMark.FindAllStringIndex(text, -1) {
		var n number
		var ok bool
		if sign := text[m[1]-1]; sign == ':' || sign == '=' {
			// What follows "Answer:" is often the whole solution: a number that
			// opens a sentence or a calculation is part of that.
			n, ok = valueAt(text, m[1])
			ok = ok && endsLine(text, n.end)
		} else {
			n, ok = statedAt(text, m[1])
		}
		if ok && !isListItem(text, n) {
			last, found = n.answer(), true
		}
	}
	return last, found
}

// maxBox bounds what is read in one \boxed{}: no answer is longer.
const maxBox = 256

// findBoxed reads \boxed{18} with whatever braces are inside.
func findBoxed(text string) (last Answer, found bool) {
	var open []int // where the content of each open brace begins
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '\\':
			if i+1 < len(text) && strings.IndexByte("{}\\", text[i+1]) >= 0 {
				i++ // an escaped brace
			}
		case '{':
			open = append(open, i+1)
		case '}':
			if len(open) == 0 {
				continue
			}
			start := open[len(open)-1]
			open = open[:len(open)-1]
			if _, boxed := trimOne(text[:start-1], []string{`\boxed`, `\fbox`}); !boxed || i-start > maxBox || (found && start < last.Start) {
				continue
			}
			if a, ok := readBox(text[start:i]); ok {
				a.Start += start
				a.End += start
				last, found = a, true
			}
		}
	}
	return last, found
}

// readBox reads the content of a box: a value, an equation, or a number among
// words.
func readBox(content string) (Answer, bool) {
	if n, ok := statedAt(content, 0); ok {
		return n.answer(), true
	}
	return findLastNumber(content)
}

// findLastNumber reads the last number, leaving out exponents and indexes.
func findLastNumber(text string) (last Answer, found bool) {
	for i := 0; i < len(text); {
		n, ok := number{}, false
		if startsNumber(text, i) {
			n, ok = numberAt(text, i)
		}
		if !ok {
			_, size := utf8.DecodeRuneInString(text[i:])
			i += size
			continue
		}
		if n.value != "" && !isIndex(text, n.start) {
			last, found = n.answer(), true
		}
		i = n.end
	}
	return last, found
}

func (n number) answer() Answer {
	return Answer{Value: n.value, Start: n.start, End: n.end}
}

// startsNumber reports whether a number may begin at byte i.
func startsNumber(t string, i int) bool {
	switch c := t[i]; {
	case c == '.' || c == '\\':
		return true
	case c < utf8.RuneSelf:
		return '0' <= c && c <= '9'
	default:
		r, _ := utf8.DecodeRuneInString(t[i:])
		return isDigit(r) || vulgar[r] != 0
	}
}

// isIndex reports whether the number at i is an exponent or an index, as in m^2
// or x_{1}.
func isIndex(t string, i int) bool {
	head := strings.TrimSuffix(t[:i], "{")
	if base, ok := strings.CutSuffix(head, "_"); ok {
		last := lastRune(base)
		return isDigit(last) || unicode.IsLetter(last) || last == '}' // and not emphasis
	}
	return strings.HasSuffix(head, "^")
}

// maxLead bounds what may stand between the mark of an answer and its number.
const maxLead = 64

// statedAt reads the value stated at byte i: a number, or the side of an equation
// that is one.
func statedAt(t string, i int) (number, bool) {
	first, ok := valueAt(t, i)
	if !ok {
		return number{}, false
	}
	return equationAt(t, first)
}

// valueAt reads the number that follows byte i, past white space, emphasis,
// currency, LaTeX commands and "x =".
func valueAt(t string, i int) (number, bool) {
	i, ok := skipLead(t, i)
	if !ok {
		return number{}, false
	}
	n, ok := numberAt(t, i)
	return n, ok && n.value != ""
}

// skipLead returns where the number begins that follows i, if nothing but
// decoration lies between.
func skipLead(t string, i int) (int, bool) {
	for limit := min(i+maxLead, len(t)); i < limit; {
		if startsNumber(t, i) {
			if _, ok := unsignedAt(t, i); ok {
				return i, true
			}
		}
		if strings.HasPrefix(t[i:], "<<") { // the calculator's note in <<9*2=18>>18
			note := strings.Index(t[i:limit], ">>")
			if note < 0 {
				return i, false
			}
			i += note + len(">>")
			continue
		}
		r, size := utf8.DecodeRuneInString(t[i:])
		switch {
		case r == '\\':
			i++
			for i < limit && isLetter(t[i]) {
				i++
			}
			if i < limit && !isLetter(t[i-1]) {
				i++ // \$, \(, \, and the like
			}
		case unicode.IsSpace(r) || strings.ContainsRune("*_`'\"“”‘’:=~≈$€£¥₹([{+-\u2212\u2013", r):
			i += size
		case isLetter(t[i]):
			j := skipBlanks(t, i+1)
			if !strings.HasPrefix(t[j:], "=") { // a variable
				return i, false
			}
			i = j + 1
		default:
			return i, false
		}
	}
	return i, false
}

func isLetter(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// maxSides bounds the numbers in one equation.
const maxSides = 32

// operation is what may stand between two numbers of an equation: a unit, then
// an operator, then a currency.
var operation = regexp.MustCompile(`^(?:[ ]?(?:(?:/|per )?\p{L}{1,20}|%|\\%))?[ \t*]{0,3}([-=+*/x×·÷−–≈]|\\times|\\cdot|\\div)[ \t]{0,3}(?:\\?[$€£])?[-−]?(?:<<[^<>]{0,60}>>)?`)

// equationAt reads on from the first number of what may be an equation: of 9 * 2
// = $18 and of 18 = 9 * 2 it returns 18, and of a range its upper end. An
// expression without an equals sign has no value.
func equationAt(t string, first number) (number, bool) {
	const longest = 120
	n := first
	var side number // the last side that is a single number
	single := true
	for sides := range maxSides {
		m := operation.FindStringSubmatchIndex(t[n.end:min(n.end+longest, len(t))])
		if m == nil {
			break
		}
		next, ok := numberAt(t, n.end+m[1])
		if !ok {
			break
		}
		switch t[n.end+m[2] : n.end+m[3]] {
		case "=", "≈":
			if single && n.value != "" {
				side = n
			}
			single = true
		case "-", "–":
			if sides == 0 && below(n, next) {
				side = next
			}
			single = false
		default:
			single = false
		}
		n = next
	}
	if single && n.value != "" {
		return n, true
	}
	return side, side.value != ""
}

// below compares two numbers by value.
func below(a, b number) bool {
	x, errX := strconv.ParseFloat(a.value, 64)
	y, errY := strconv.ParseFloat(b.value, 64)
	return errX == nil && errY == nil && x < y
}

// isListItem reports whether the number begins a line and numbers it, as in
// "2. Add the eggs".
func isListItem(t string, n number) bool {
	const longest = 16
	head := strings.TrimRight(t[max(0, n.start-longest):n.start], "#*_ \t-")
	return (head == "" || strings.HasSuffix(head, "\n")) && listItem.MatchString(t[n.end:min(n.end+longest, len(t))])
}

var listItem = regexp.MustCompile(`^[*_]{0,3}[.)][*_]{0,3}[ \t]{1,3}[*_]{0,3}\p{L}`)

// lineEnd is the rest of a line after an answer: a unit of a few words.
var lineEnd = regexp.MustCompile(`^[^\p{L}\p{Nd}\n]{0,16}(?:\p{L}[\p{L}'’/-]{0,20}[^\p{L}\p{Nd}\n]{1,4}){0,3}(?:\p{L}[\p{L}'’/-]{0,20}[^\p{L}\p{Nd}\n]{0,8})?(?:\n|$)`)

func endsLine(t string, i int) bool {
	const longest = 160
	return lineEnd.MatchString(t[i:min(i+longest, len(t))])
}
