package scoring

import (
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/gsmeval/gsmeval/internal/finish"
	"github.com/gsmeval/gsmeval/scoring/latex"
)

// robustRungs are the ways a person reads an answer. Every Find returns the
// last answer of its kind, since models restate and correct themselves; its
// value is empty where that cannot be read whole.
func robustRungs() []Rung {
	return []Rung{
		{Name: "hash", Explicit: true, Find: findHash},
		{Name: "boxed", Explicit: true, Find: findBoxed},
		{Name: "answer_tag", Explicit: true, Find: findTagged},
		{Name: "answer_is", Explicit: true, Find: findStated},
		{Name: "emphasis", Find: findEmphasised},
		{Name: "last_number", Find: findLastNumber},
	}
}

// readLast reads what stands outside thoughts, up to where the model runs on to
// a new question. The explicit answer that comes last wins. Only in a finished
// text does a number count that nothing announces, and only behind an explicit
// answer that has no value.
func readLast(rungs []Rung, c Text) reading {
	start, end, unfinished := c.thoughts.Answer(c.Text, c.InThink)
	start += restated(c.Text[start:end], c.Question)
	text := c.Text[start:end]
	r := reading{unfinished: unfinished}
	recital := c.FewShot && c.Question == ""
	if !recital {
		text = cutRunOn(text, runOn, c.Asks, func(from int, at []int) bool {
			_, ok := lastOf(rungs, text[from:at[0]])
			return ok || endsInBareNumber(text[:at[0]])
		})
	}
	r.answer, r.found = lastOf(rungs, text)
	if (!r.found || r.answer.Value == "") && !unfinished && c.Finish != finish.Length {
		if !recital {
			text = cutRunOn(text, runOnLine, c.Asks, func(from int, at []int) bool {
				_, ok := findLastNumber(text[from:at[0]])
				return ok && !isEntry(text, at)
			})
		}
		from := min(r.answer.End, len(text)) // 0 where nothing is found
		r.answer, r.found = firstOf(rungs, text[from:])
		r.answer.Start += from
		r.answer.End += from
	}
	if r.found = r.found && r.answer.Value != ""; !r.found {
		r.answer = Answer{}
		return r
	}
	r.answer.Start += start
	r.answer.End += start
	return r
}

// lastOf returns the last answer in text that an explicit rung finds.
func lastOf(rungs []Rung, text string) (last Answer, found bool) {
	for _, rung := range rungs {
		if !rung.Explicit {
			continue
		}
		if a, ok := rung.Find(text); ok && (!found || a.Start > last.Start) {
			last, found = a, true
			last.Rung = rung.Name
		}
	}
	return last, found
}

// firstOf returns the answer in text of the first rung that finds one without an
// announcement.
func firstOf(rungs []Rung, text string) (Answer, bool) {
	for _, rung := range rungs {
		if rung.Explicit {
			continue
		}
		if a, ok := rung.Find(text); ok {
			a.Rung = rung.Name
			return a, true
		}
	}
	return Answer{}, false
}

// restated returns where a text goes on behind the question that was asked, if
// the model writes it again, as one that recites the whole prompt does.
func restated(text, question string) int {
	const shortest, longest = 20, 80
	question = strings.TrimSpace(question)
	if len(question) < shortest {
		return 0
	}
	head := strings.ToValidUTF8(question[:min(len(question), longest)], "")
	if i := strings.LastIndex(text, head); i >= 0 {
		return i + len(head)
	}
	return 0
}

// AskedBy returns the line before the question in the form of a prompt, such as
// "Problem:" in "Solve this.\nProblem: {question}". What could as well begin a
// line of an answer is none.
func AskedBy(form string) string {
	const shortest = 2
	head, _, found := strings.Cut(form, "{question}")
	head = strings.TrimSpace(head)
	head = strings.TrimSpace(head[strings.LastIndexByte(head, '\n')+1:])
	if last := lastRune(head); !found || len(head) < shortest || unicode.IsLetter(last) || unicode.IsDigit(last) {
		return ""
	}
	return head
}

// cutRunOn cuts text at the first new question at a place where what stands from
// a byte on is answered. A line that begins with asks is a question, too.
func cutRunOn(text string, marker *regexp.Regexp, asks string, answered func(from int, at []int) bool) string {
	places := append(marker.FindAllStringIndex(text, -1), linesWith(text, asks)...)
	slices.SortStableFunc(places, func(a, b []int) int { return a[0] - b[0] })
	from := 0
	for _, m := range places {
		if m[0] < from {
			continue
		}
		if answered(from, m) {
			return text[:m[0]]
		}
		from = m[1]
	}
	return text
}

// linesWith returns where lines begin with a text, decoration aside.
func linesWith(text, start string) (places [][]int) {
	if start == "" {
		return nil
	}
	for from := 0; ; {
		i := strings.Index(text[from:], start)
		if i < 0 {
			return places
		}
		i += from
		from = i + len(start)
		if line := strings.TrimRight(text[:i], " *_#>"); line == "" || strings.HasSuffix(line, "\n") {
			places = append(places, []int{i, from})
		}
	}
}

// counted is the mark of a question with its number.
var counted = regexp.MustCompile(`(?i)^[ *_#>]{0,8}(\pL[\pL ]{0,30}?) ?#?([0-9]{1,4})`)

// isEntry reports whether what looks like a new question is an entry of a list:
// "Task 2" after "Task 1", or "Student: 10 dollars" right below another line.
func isEntry(text string, at []int) bool {
	const shortest = 3
	mark := text[at[0]:at[1]]
	if !questionLine.MatchString(mark) {
		return false
	}
	if m := counted.FindStringSubmatch(mark); m != nil && m[2] != "1" {
		for first := range strings.Lines(text[:at[0]]) {
			if f := counted.FindStringSubmatch(first); f != nil && strings.EqualFold(f[1], m[1]) && f[2] == "1" {
				return true
			}
		}
	}
	if before := text[:at[0]]; strings.HasSuffix(before, "\n\n") || strings.ContainsAny(mark, "#[<") {
		return false
	}
	rest, _, _ := strings.Cut(strings.TrimLeft(text[at[1]:min(at[1]+200, len(text))], " *_\n"), "\n")
	first, _ := utf8.DecodeRuneInString(rest)
	return !unicode.IsLetter(first) || len(words.FindAllString(rest, shortest)) < shortest
}

var words = regexp.MustCompile(`\p{Han}|\p{Hangul}|[\p{L}\p{Nd}'’]+`)

// bareNumber is a line that holds nothing but a number, a unit and decoration.
var bareNumber = regexp.MustCompile(`^[^\p{L}\p{Nd}]{0,8}(?:A:|Answer:)?[^\p{L}\p{Nd}]{0,8}[\p{Nd}][\p{Nd}.,/ ]{0,30}[^\p{L}\p{Nd}]{0,8}\p{L}{0,12}[^\p{L}\p{Nd}]{0,8}$`)

// listed is the number of a list's entry.
var listed = regexp.MustCompile(`^ {0,4}[0-9]{1,2}[.)][ *_]+$`)

// endsInBareNumber reports whether the last line that is not blank is an answer
// all by itself.
func endsInBareNumber(part string) bool {
	if listed.MatchString(part[strings.LastIndexByte(part, '\n')+1:]) {
		return false
	}
	part = strings.TrimSpace(strings.TrimRight(part, "*_# \n"))
	return bareNumber.MatchString(part[strings.LastIndexByte(part, '\n')+1:])
}

// hashMark is GSM8K's own announcement of an answer.
var hashMark = regexp.MustCompile(`#{4,}`)

// findHash reads "#### 18".
func findHash(text string) (last Answer, found bool) {
	for _, m := range hashMark.FindAllStringIndex(text, -1) {
		if n, ok := statedAt(text, m[1]); ok && !isListItem(text, n) {
			last, found = n.answer(), true
		}
	}
	return last, found
}

// Other announcements of an answer.
var (
	// quoted is the key of an object in JSON.
	quoted = regexp.MustCompile(`(?i)["'](?:final_?)?answer["']\s?:`)
	// heading is a line that says no more than that the answer follows.
	heading = regexp.MustCompile(`(?im)^[^\p{L}\p{Nd}\n]{0,12}(?:the )?(?:final |correct )?answer[ \t*_:]{0,8}$`)
	// clause is a sentence that says the answer: "that Tom has 18".
	clause = regexp.MustCompile(`^[ *_]{1,3}(?:that |[A-Z])[^=+*×]*$`)
	// final is what stands before "answer" where the whole line is the answer and no solution.
	final = regexp.MustCompile(`(?i:final )$`)
	bold  = regexp.MustCompile(`(?:^|\n)[ \t#>]{0,8}\*\*(?:The )?(?:[Ff]inal )?$`)
)

// findStated reads "the answer is 18" and "Answer: 18".
func findStated(text string) (last Answer, found bool) {
	const before = 24
	keep := func(n number, ok bool) {
		if ok && !isListItem(text, n) && (!found || n.start > last.Start) {
			last, found = n.answer(), true
		}
	}
	for _, m := range announced.FindAllStringSubmatchIndex(text, -1) {
		head := text[max(0, m[0]-before):m[0]]
		if m[2] < 0 {
			n, ok := statedAt(text, m[1])
			if rest := sentence(text, m[1], false); !ok && clause.MatchString(rest) {
				n, ok = onlyNumber(rest)
				n.start, n.end = n.start+m[1], n.end+m[1]
			}
			keep(n, ok)
			continue
		}
		// What follows "Answer:" is often the whole solution: a number that opens a sentence or a calculation is part
		// of that.
		n, ok := valueAt(text, m[1])
		if ok = ok && (endsLine(text, n.end) || endsSentence(text, n.end)); !ok &&
			(final.MatchString(head) || bold.MatchString(head)) {
			closed := strings.HasPrefix(text[m[1]:], "**")
			from := m[1]
			if closed {
				from += len("**")
			}
			n, ok = onlyNumber(sentence(text, from, !closed && bold.MatchString(head)))
			n.start, n.end = n.start+from, n.end+from
		}
		keep(n, ok)
	}
	for _, m := range quoted.FindAllStringIndex(text, -1) {
		keep(statedAt(text, m[1]))
	}
	for _, m := range heading.FindAllStringIndex(text, -1) {
		n, ok := valueAt(text, m[1])
		if ok = ok && endsLine(text, n.end); !ok {
			from := m[1] + len(text[m[1]:]) - len(strings.TrimLeft(text[m[1]:], " \n"))
			if n, ok = onlyNumber(sentence(text, from, false)); ok {
				n.start, n.end = n.start+from, n.end+from
			}
		}
		keep(n, ok)
	}
	return last, found
}

// sentence is the rest of the line at byte i, or of what is bold there.
func sentence(text string, i int, bold bool) string {
	const longest = 400
	line := text[i:min(i+longest, len(text))]
	line, _, _ = strings.Cut(strings.TrimRight(line, "\n"), "\n")
	if bold {
		line, _, _ = strings.Cut(line, "**")
	}
	if m := nextSentence.FindStringIndex(line); m != nil {
		line = line[:m[0]]
	}
	return line
}

// nextSentence is where a sentence ends and another begins.
var nextSentence = regexp.MustCompile(`[\p{L})*]{2}[.!]\*{0,2} {1,2}[A-Z(]`)

var (
	emphasised = regexp.MustCompile(`\*\*[^*]{1,60}\*\*`)
	ofMoney    = regexp.MustCompile(`\\?[$€£]`)
)

// onlyNumber reads the number in a sentence: the only one, or the only one that
// is bold or an amount of money.
func onlyNumber(s string) (number, bool) {
	if n, count := numbersIn(s, 0); count == 1 {
		return n, n.value != ""
	}
	for _, special := range []*regexp.Regexp{emphasised, ofMoney} {
		if places := special.FindAllStringIndex(s, 2); len(places) == 1 {
			to := places[0][1]
			if special == ofMoney {
				to = len(s)
			}
			if n, count := numbersIn(s[:to], places[0][0]); count == 1 || special == ofMoney && count > 0 {
				return n, n.value != ""
			}
		}
	}
	return number{}, false
}

// numbersIn returns the first number from byte i on, and how many there are.
func numbersIn(s string, i int) (first number, count int) {
	for n, found := nextNumber(s, i); found; n, found = nextNumber(s, n.end) {
		if count++; count == 1 {
			first = n
		}
	}
	return first, count
}

// nextNumber returns the first number from byte i on.
func nextNumber(t string, i int) (number, bool) {
	for ; i < len(t); i++ {
		if startsNumber(t, i) {
			if n, ok := numberAt(t, i); ok {
				return n, true
			}
		}
	}
	return number{}, false
}

// tagged is an answer in tags of its own; the last one may lack its end.
var tagged = compiled(
	`(?is)(?:[<\[]`+tagNames+`[>\]]|<\|begin_of_box\|>)`,
	`(.{0,400}?)(?:[<\[]/`+tagNames+`[>\]]|<\|end_of_box\|>|$)`,
)

const tagNames = `(?:(?:final_?)?answer|ans|final|result|solution|output)`

// findTagged reads <answer>18</answer>.
func findTagged(text string) (last Answer, found bool) {
	for _, m := range tagged.FindAllStringSubmatchIndex(text, -1) {
		if a, ok := readBox(text[m[2]:m[3]]); ok {
			last, found = Answer{Value: a.Value, Start: a.Start + m[2], End: a.End + m[2]}, true
		}
	}
	return last, found
}

// maxBox bounds what is read in one \boxed{}: no answer is longer.
const maxBox = 256

// boxes are the commands whose argument is the answer. A model's \b may have
// become a backspace on the way.
var boxes = []string{"boxed", `\fbox`, `\framebox`, "\boxed"}

// bareBox is a box around what stands there without braces.
var bareBox = regexp.MustCompile(`\\f?box(?:ed)?( {0,2}\$?-?[0-9])`)

// findBoxed reads \boxed{18} with whatever braces are inside, and \boxed 18.
func findBoxed(text string) (last Answer, found bool) {
	for _, m := range bareBox.FindAllStringSubmatchIndex(text, -1) {
		if n, ok := statedAt(text, m[2]); ok {
			last, found = n.answer(), true
		}
	}
	eachBox(text, func(start, end int) {
		if found && start < last.Start {
			return
		}
		if a, ok := readBox(text[start:end]); ok {
			a.Start += start
			a.End += start
			last, found = a, true
		}
	})
	return last, found
}

// eachBox calls visit with the range of what stands in each box, in the order of
// their ends.
func eachBox(text string, visit func(start, end int)) {
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
			head := text[max(0, start-16) : start-1]
			if _, boxed := trimOne(strings.TrimRight(head, " \n"), boxes); boxed && i-start <= maxBox {
				visit(start, i)
			}
		}
	}
}

var (
	// wordy is a text of words, or an equation, whose last number may be its answer.
	wordy = regexp.MustCompile(`\\text|=|\p{L}{3}[^\p{L}{\\]`)
	// scaled is a value with a word that is no unit.
	scaled = regexp.MustCompile(`(?i)hundred|thousand|[mb]illion|trillion|lakh|crore|[0-9][km]\b|\{ ?(?-i:[kM]) ?\}`)
	// command is a command of LaTeX, which is no word.
	command = regexp.MustCompile(`\\[a-zA-Z]+`)
)

// readBox reads the content of a box: arithmetic, a value, an equation, or a
// number among words. A formula that is none of these has no value.
func readBox(content string) (Answer, bool) {
	if r, ok := latex.Rational(content); ok && !scaled.MatchString(content) {
		trimmed := strings.TrimSpace(content)
		start := strings.Index(content, trimmed)
		if n, ok := valueAt(content, 0); ok && n.value == formatRat(r) {
			start, trimmed = n.start, content[n.start:n.end] // without its units
		}
		return Answer{Value: formatRat(r), Start: start, End: start + len(trimmed)}, true
	}
	if first, ok := valueAt(content, 0); ok {
		n, end := equationAt(content, first)
		rest := content[end:min(end+32, len(content))]
		if n.value == "" || goesOn.MatchString(rest) && !notRaised.MatchString(rest) {
			return Answer{End: len(content)}, true
		}
		return n.answer(), true
	}
	a, ok := findLastNumber(content)
	if ok && !wordy.MatchString(command.ReplaceAllString(content, " ")+content) {
		return Answer{End: len(content)}, true
	}
	return a, ok
}

// boldNumber is a number with its unit in bold.
var boldNumber = regexp.MustCompile(`\*\*((?:\\?[$€£] ?)?[-−]?[0-9][^*\n:=]{0,40})\*\*`)

// findEmphasised reads the one number in bold in the last line, if no
// calculation follows it.
func findEmphasised(text string) (Answer, bool) {
	text = strings.TrimRight(text, " \n")
	from := strings.LastIndexByte(text, '\n') + 1
	m := boldNumber.FindAllStringSubmatchIndex(text[from:], 2)
	if len(m) != 1 || strings.Contains(text[from+m[0][1]:], "=") {
		return Answer{}, false
	}
	inner := text[from+m[0][2] : from+m[0][3]]
	n, count := numbersIn(inner, 0)
	if count != 1 || n.value == "" || isListItem(text, number{start: from + m[0][2] + n.start, end: from + m[0][2] +
		n.end}) {
		return Answer{}, false
	}
	n.start, n.end = n.start+from+m[0][2], n.end+from+m[0][2]
	return n.answer(), true
}

// findLastNumber reads the last number, leaving out exponents and indexes, or
// the value of the calculation that comes last.
func findLastNumber(text string) (last Answer, found bool) {
	for n, more := nextNumber(text, 0); more; {
		end := n.end
		if !isIndex(text, n.start) {
			var value number
			value, end = equationAt(text, n)
			if value.value != "" || last.Value == "" || !restates.MatchString(text[last.End:value.start]) {
				last, found = value.answer(), true
			}
		}
		n, more = nextNumber(text, end)
	}
	return last, found
}

// restates stands between a value and what says it again in units of several sizes.
var restates = regexp.MustCompile(`^[^.;\n\p{Nd}]{0,24}?(?:\bor|which is|that is|i\.e\.,?|\bequals|\bis equal to|\()\s{1,2}(?:about )?$|^ \p{L}{1,12} \($`)

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
		return isDigit(r) || vulgar[r][1] != 0 || r == '√'
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

// statedAt reads the value stated at byte i: a number, an expression, or the side
// of an equation that is a number.
func statedAt(t string, i int) (number, bool) {
	first, ok := valueAt(t, i)
	if !ok {
		return number{}, false
	}
	n, end := equationAt(t, first)
	if amid.MatchString(t[end:min(end+48, len(t))]) {
		n.value = "" // a part of what is stated
	}
	return n, true
}

// amid is what goes on in words behind a value that is not the whole of it.
var amid = regexp.MustCompile(`^ (?:(?:\p{L}{1,12} )?(?:plus|minus|times|multiplied by|divided by)|to|or) \\?\$?[0-9]`)

// valueAt reads the number that follows byte i, past white space, emphasis,
// currency, LaTeX commands and "x =".
func valueAt(t string, i int) (number, bool) {
	i, ok := skipLead(t, i)
	if !ok {
		if i < len(t) && t[i] == '\\' && formula.MatchString(t[i:]) {
			shut := strings.IndexAny(t[i:min(i+maxLead, len(t))], "$\n")
			return number{start: i, end: i + max(shut, 1)}, true
		}
		return number{}, false
	}
	return numberAt(t, i)
}

// formula begins an answer that is a formula and no number.
var formula = regexp.MustCompile(`^\\(?:pm|mp|log|ln|sin|cos|tan|pi|theta|infty|binom|sum|int|le|ge|lt|gt|leq|geq|neq?)(?:[^a-zA-Z]|$)`)

// htmlTag is an opening tag that changes how a text looks.
var htmlTag = regexp.MustCompile(`^<[a-zA-Z]{1,6}>`)

// leadWord is a word that may stand before the number of an answer.
var leadWord = regexp.MustCompile(`^(?i:the|an?|minus|negative|approximately|about|around|roughly|exactly|only|just|usd|eur|rs\.?|a total of)[*_]{0,2} `)

// choice is the letter of an answer among several.
var choice = regexp.MustCompile(`^\([A-E]\)\s{0,2}`)

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
		case choice.MatchString(t[i:limit]):
			i += len(choice.FindString(t[i:limit]))
		case r == '\\' && formula.MatchString(t[i:limit]):
			return i, false
		case r == '\\':
			i++
			for i < limit && isLetter(t[i]) {
				i++
			}
			if i < limit && !isLetter(t[i-1]) {
				i++ // \$, \(, \, and the like
			}
		case unicode.IsSpace(r) || strings.ContainsRune("*_`'\"“”‘’:=~≈$€£¥₹([{}+-\u2212\u2013", r):
			i += size
		case r == '&':
			entity := strings.IndexByte(t[i:min(i+10, limit)], ';')
			if entity < 0 {
				return i, false
			}
			i += entity + 1
		case r == '<' && htmlTag.MatchString(t[i:limit]):
			i += len(htmlTag.FindString(t[i:limit]))
		case leadWord.MatchString(t[i:limit]):
			i += len(leadWord.FindString(t[i:limit]))
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

// side is one side of an equation: numbers and the operators between them.
type side struct {
	numbers []number
	signs   []byte // + - * /
	broken  bool   // something is in it that cannot be computed
}

// value is the side's number, or what its numbers come to.
func (s side) value() number {
	n := s.numbers[0]
	if len(s.numbers) == 1 {
		if s.broken {
			n.value = ""
		}
		return n
	}
	n.end = s.numbers[len(s.numbers)-1].end
	n.value = ""
	sum, term := new(big.Rat), s.numbers[0].rat()
	for i, sign := range s.signs {
		next := s.numbers[i+1].rat()
		if s.broken || term == nil || next == nil {
			return n
		}
		switch sign {
		case '*':
			term = product(term, next)
		case '/':
			term = quotient(term, next)
		default:
			sum.Add(sum, term)
			if term = next; sign == '-' {
				term = new(big.Rat).Neg(next)
			}
		}
	}
	if s.broken || term == nil {
		return n
	}
	n.value = formatRat(sum.Add(sum, term))
	return n
}

// equationAt reads on from the first number of what may be an equation, and
// returns where that ends: of 9 * 2 = $18 and of 18 = 9 * 2 it returns 18, and
// of a range its upper end. An expression without an equals sign is computed.
func equationAt(t string, first number) (value number, end int) {
	const longest = 160
	current := side{numbers: []number{first}}
	var single, computed number // the last sides that are a number, and an expression
	shut := func() {
		if v := current.value(); v.value != "" && len(current.numbers) == 1 {
			single = v
		} else {
			computed = v
		}
	}
	sides, equals := 0, false
	n := first
	for range maxSides {
		rest := t[n.end:min(n.end+longest, len(t))]
		if !strings.ContainsFunc(rest[:min(len(rest), 48)], operates) {
			break
		}
		m := operation.FindStringSubmatchIndex(rest)
		if m == nil {
			break
		}
		sign, closed := t[n.end+m[6]:n.end+m[7]], m[2] < m[3]
		before, after := m[4] < m[5], m[8] < m[9]
		next, ok := numberAt(t, n.end+m[1])
		if !ok {
			break
		}
		switch sign {
		case "=", "≈", `\approx`:
			shut()
			current = side{}
			equals = true
		case "-", "−", "–":
			touching := t[n.end+m[7]:next.start] != "" && t[n.end+m[1]-1] == '-' && m[1] > m[7]
			if before != after || touching || sign == "–" && before && !equals &&
				!strings.Contains(line(t[next.end:]), "=") {
				ok = false // a bullet, a dash
				break
			}
			if sides == 0 && below(n, next) && (!before || !inFormula(t, first.start)) {
				current = side{numbers: []number{next}} // a range
				n = next
				sides++
				continue
			}
			current.signs = append(current.signs, '-')
		case "*", `\*`, "x", "×", "·", `\times`, `\cdot`:
			if before != after && sign == "*" {
				ok = false // emphasis
				break
			}
			current.signs = append(current.signs, '*')
		case "/", "÷", `\div`:
			current.signs = append(current.signs, '/')
		default:
			current.signs = append(current.signs, '+')
		}
		if !ok {
			break
		}
		current.broken = current.broken || closed && len(current.numbers) > 0
		current.numbers = append(current.numbers, next)
		sides++
		n = next
	}
	shut()
	if single.value != "" {
		return single, n.end
	}
	return computed, n.end
}

// operates reports what an operator begins with.
func operates(r rune) bool { return strings.ContainsRune(`-=+*/x×·÷−–≈\`, r) }

// line is the rest of a line, as far as an equation may reach.
func line(t string) string {
	t, _, _ = strings.Cut(t[:min(len(t), 60)], "\n")
	return t
}

// inFormula reports whether what begins at byte i follows a sign of mathematics.
func inFormula(t string, i int) bool {
	_, ok := trimOne(trimBlanks(t[:i]), []string{"{", `\(`, `\[`, "="})
	return ok
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
var lineEnd = regexp.MustCompile(`^[^\p{L}\p{Nd}\n]{0,16}(?:\p{L}[\p{L}'’/-]{0,20}[^\p{L}\p{Nd}\n]{1,4}){0,3}(?:\p{L}[\p{L}'’/-]{0,20}[^\p{L}\p{Nd}\n]{0,8})?(?:\([^()\n=]{1,80}\)[^\p{L}\p{Nd}\n]{0,8})?(?:\n|$)`)

// sentenceEnd is the end of a sentence after an answer, and the rest of its line, which is no calculation.
var sentenceEnd = regexp.MustCompile(`^[^\p{L}\p{Nd}\n.]{0,4}(?:\p{L}[\p{L}'’/-]{0,20} ?){0,3}[.!]\*{0,2} {1,2}[A-Z(][^=\n]{0,200}(?:\n|$)`)

func endsSentence(t string, i int) bool {
	return sentenceEnd.MatchString(t[i:min(i+300, len(t))])
}

func endsLine(t string, i int) bool {
	const longest = 160
	return lineEnd.MatchString(t[i:min(i+longest, len(t))])
}
