package latex

import (
	"errors"
	"math/big"
	"strings"
)

// Bounds on a formula.
const (
	maxBytes = 2048
	maxDepth = 40
)

// op is what a node does with its parts.
type op byte

const (
	opNumber   op = iota // rat
	opSymbol             // name
	opWords              // name
	opAdd                // all parts
	opMul                // all parts
	opDiv                // part 0 over part 1
	opNeg                // part 0
	opPow                // part 0 to part 1
	opRoot               // part 1 of the degree part 0
	opFunc               // name of part 0; log has its base as part 1
	opFact               // part 0
	opAbs                // part 0
	opPercent            // part 0
	opPlus               // part 0 plus or minus part 1
	opList               // parts within the brackets in name, as "(]"; "" for none
	opUnion              // all parts
	opMinusSet           // part 0 without part 1
	opRelate             // part 0, then name, part 1; a chain is a list of relations
	opMatrix             // parts are the rows, which are lists
)

// node is a part of a formula.
type node struct {
	op      op
	rat     *big.Rat
	name    string
	decimal bool // the number is written with a point
	parts   []*node
}

func newNumber(r *big.Rat) *node { return &node{op: opNumber, rat: r} }

var (
	errLong  = errors.New("the formula is too long")
	errDeep  = errors.New("the formula is nested too deeply")
	errParse = errors.New("not a formula that can be read")
)

// parser reads tokens by recursive descent. The first error stays.
type parser struct {
	tokens []token
	at     int
	depth  int
	bars   int // how many | are open
	err    error
}

// parse reads a whole formula.
func parse(s string) (*node, error) {
	if len(s) > maxBytes {
		return nil, errLong
	}
	p := &parser{tokens: lex(s)}
	n := p.list("")
	if p.err == nil && p.at < len(p.tokens) {
		p.fail(errParse)
	}
	return n, p.err
}

func (p *parser) fail(err error) *node {
	if p.err == nil {
		p.err = err
	}
	p.at = len(p.tokens)
	return newNumber(new(big.Rat))
}

func (p *parser) peek() token {
	if p.at < len(p.tokens) {
		return p.tokens[p.at]
	}
	return token{}
}

func (p *parser) next() token {
	t := p.peek()
	p.at++
	return t
}

// accept takes the next token if it is that one.
func (p *parser) accept(k kind, text string) bool {
	if t := p.peek(); t.kind == k && t.text == text {
		p.at++
		return true
	}
	return false
}

// list reads relations with commas between them. One of them alone is itself, but within brackets that are not
// parentheses.
func (p *parser) list(brackets string) *node {
	if p.depth++; p.depth > maxDepth {
		return p.fail(errDeep)
	}
	defer func() { p.depth-- }()
	n := &node{op: opList, name: brackets}
	for p.err == nil {
		if t := p.peek(); t.kind == end || closes(t) {
			break
		}
		n.parts = append(n.parts, p.relation())
		if !p.accept(mark, ",") && !p.accept(mark, ";") {
			break
		}
		for p.accept(mark, ",") { // ", and"
			continue
		}
	}
	if len(n.parts) == 1 && (brackets == "" || brackets == "(") {
		return n.parts[0]
	}
	return n
}

func closes(t token) bool {
	return t.kind == mark && (t.text == ")" || t.text == "]" || t.text == "}" || t.text == "&") || t.kind == command &&
		(t.text == "}" || t.text == `\` || t.text == "end")
}

// relations are the signs that stand between two sides.
var relations = map[token]string{
	{mark, "=", false}: "=", {mark, "<", false}: "<", {mark, ">", false}: ">", {command, "le", false}: "<=",
	{command, "ge", false}: ">=",
	{command, "ne", false}: "!=", {command, "in", false}: "in", {mark, ":", false}: ":", {command, "to", false}: ":",
	{command, "colon", false}: ":",
}

func (p *parser) relation() *node {
	first := p.sum()
	var chain []*node
	for p.err == nil {
		t := p.peek()
		t.gap = false
		sign, ok := relations[t]
		if !ok {
			break
		}
		p.at++
		second := p.sum()
		chain = append(chain, &node{op: opRelate, name: sign, parts: []*node{first, second}})
		first = second
	}
	switch len(chain) {
	case 0:
		return first
	case 1:
		return chain[0]
	default:
		return &node{op: opList, name: "&", parts: chain}
	}
}

func (p *parser) sum() *node {
	n := p.signed()
	for p.err == nil {
		switch {
		case p.accept(mark, "+"):
			n = &node{op: opAdd, parts: []*node{n, p.signed()}}
		case p.accept(mark, "-"):
			n = &node{op: opAdd, parts: []*node{n, negative(p.signed())}}
		case p.accept(command, "pm"), p.accept(command, "mp"):
			n = &node{op: opPlus, parts: []*node{n, p.signed()}}
		case p.accept(command, "cup"):
			n = &node{op: opUnion, parts: []*node{n, p.signed()}}
		case p.accept(command, "setminus"):
			n = &node{op: opMinusSet, parts: []*node{n, p.signed()}}
		default:
			return n
		}
	}
	return n
}

func negative(n *node) *node { return &node{op: opNeg, parts: []*node{n}} }

// signed reads a product after its signs.
func (p *parser) signed() *node {
	if p.depth++; p.depth > maxDepth {
		return p.fail(errDeep)
	}
	defer func() { p.depth-- }()
	switch {
	case p.accept(mark, "-"):
		return negative(p.signed())
	case p.accept(mark, "+"):
		return p.signed()
	case p.accept(command, "pm"):
		return &node{op: opPlus, parts: []*node{newNumber(new(big.Rat)), p.signed()}}
	}
	return p.product()
}

func (p *parser) product() *node {
	n := p.factor()
	for p.err == nil {
		t := p.peek()
		switch {
		case p.accept(mark, "*"), p.accept(command, "times"), p.accept(command, "cdot"):
			n = &node{op: opMul, parts: []*node{n, p.operand()}}
		case p.accept(mark, "/"), p.accept(command, "div"):
			n = over(n, p.operand())
		case t.kind == text: // a unit
			p.at++
			p.unitPower()
		case t.kind == number && n.op == opNumber:
			fraction := p.mixed()
			if fraction == nil {
				return p.fail(errParse)
			}
			n = &node{op: opAdd, parts: []*node{n, fraction}}
		case startsFactor(t, p.bars):
			f := p.factor()
			if n.op == opNumber && n.rat.IsInt() && !n.decimal && isProper(f) {
				n = &node{op: opAdd, parts: []*node{n, f}} // 2\frac{1}{2}
			} else {
				n = &node{op: opMul, parts: []*node{n, f}}
			}
		default:
			return n
		}
	}
	return n
}

// operand is what follows a sign of multiplication: it may have a sign of its own.
func (p *parser) operand() *node {
	if p.accept(mark, "-") {
		return negative(p.factor())
	}
	return p.factor()
}

func over(a, b *node) *node { return &node{op: opDiv, parts: []*node{a, b}} }

// unitPower skips the power of a unit, as in \text{cm}^2.
func (p *parser) unitPower() {
	if p.accept(mark, "^") {
		p.group()
	} else if t := p.peek(); t.kind == command && strings.HasPrefix(t.text, "^") {
		p.at++
	}
}

// mixed reads the fraction of a mixed number such as 2 1/2.
func (p *parser) mixed() *node {
	if p.at+2 >= len(p.tokens) || p.tokens[p.at+1] != (token{mark, "/", false}) || p.tokens[p.at+2].kind != number {
		return nil
	}
	a := p.factor()
	p.at++
	f := over(a, p.factor())
	if !isProper(f) {
		return nil
	}
	return f
}

// isProper reports a fraction of whole numbers below one.
func isProper(n *node) bool {
	return n.op == opDiv && n.parts[0].op == opNumber && n.parts[1].op == opNumber &&
		n.parts[0].rat.Cmp(n.parts[1].rat) < 0
}

func startsFactor(t token, bars int) bool {
	switch t.kind {
	case letter, number:
		return true
	case mark:
		return t.text == "(" || t.text == "{" || t.text == "|" && bars == 0
	case command:
		return functions[t.text] || t.text == "frac" || t.text == "sqrt" || t.text == "pi" || t.text == "binom" ||
			isName(t.text)
	default:
		return false
	}
}

// functions have an argument that may stand without parentheses.
var functions = map[string]bool{
	"sin": true, "cos": true, "tan": true, "cot": true, "sec": true, "csc": true, "asin": true, "acos": true,
	"atan": true, "ln": true, "log": true, "exp": true,
	"sinh": true, "cosh": true, "tanh": true,
}

// notNames are commands that are no variables.
var notNames = map[string]bool{
	"times": true, "cdot": true, "div": true, "pm": true, "mp": true, "cup": true, "cap": true, "in": true, "le": true,
	"ge": true, "ne": true, "degree": true,
	"begin": true, "end": true, "{": true, "}": true, `\`: true, "%": true, "over": true, "infty": true,
	"emptyset": true, "setminus": true, "to": true, "colon": true,
}

func isName(s string) bool {
	return s != "" && isLetter(rune(s[0])) && !notNames[s] && !functions[s]
}

// factor reads a value with what stands behind it: powers, indexes, factorials, degrees and per cent.
func (p *parser) factor() *node {
	if p.depth++; p.depth > maxDepth {
		return p.fail(errDeep)
	}
	defer func() { p.depth-- }()
	n := p.base()
	for p.err == nil {
		switch t := p.peek(); {
		case p.accept(mark, "^"):
			if p.accept(command, "degree") {
				continue
			}
			e := p.group()
			if e.op == opSymbol && e.name == "degree" {
				continue
			}
			n = &node{op: opPow, parts: []*node{n, e}}
		case t.kind == command && strings.HasPrefix(t.text, "^"):
			p.at++
			n = &node{op: opPow, parts: []*node{n, newNumber(rat(t.text[1:]))}}
		case p.accept(mark, "_"):
			index := p.group()
			if n.op != opSymbol && n.op != opNumber || index.op != opSymbol && index.op != opNumber {
				return p.fail(errParse)
			}
			n = &node{op: opSymbol, name: n.spelling() + "_" + index.spelling()}
		case p.accept(mark, "!"):
			n = &node{op: opFact, parts: []*node{n}}
		case p.accept(command, "degree"), p.accept(mark, "'"):
		case p.accept(command, "%"), p.accept(mark, "%"):
			n = &node{op: opPercent, parts: []*node{n}}
		default:
			return n
		}
	}
	return n
}

func rat(s string) *big.Rat {
	r, ok := new(big.Rat).SetString(s)
	if !ok {
		return new(big.Rat)
	}
	return r
}

func (n *node) spelling() string {
	if n.op == opNumber {
		return n.rat.RatString()
	}
	return n.name
}

// group reads the argument of a command or a power: braces, or one token.
func (p *parser) group() *node {
	if p.accept(mark, "{") {
		return p.braced()
	}
	if p.accept(mark, "-") {
		return negative(p.group())
	}
	return p.base()
}

// digit reads the argument of \frac: braces, or one token, which of digits is the first one, as in \frac12.
func (p *parser) digit() *node {
	if t := p.peek(); t.kind == number && len(t.text) > 1 {
		p.tokens[p.at].text = t.text[1:]
		return newNumber(rat(t.text[:1]))
	}
	return p.group()
}

// braced reads on after an opening brace, to its closing one.
func (p *parser) braced() *node {
	bars := p.bars
	p.bars = 0
	n := p.list("")
	if p.accept(command, "over") {
		n = over(n, p.list(""))
	}
	p.bars = bars
	if !p.accept(mark, "}") {
		return p.fail(errParse)
	}
	return n
}

// base reads a value.
func (p *parser) base() *node {
	t := p.next()
	switch t.kind {
	case number:
		return &node{op: opNumber, rat: rat(t.text), decimal: strings.Contains(t.text, ".")}
	case letter:
		return &node{op: opSymbol, name: t.text}
	case text:
		words := t.text
		for p.peek().kind == text {
			words += " " + p.next().text
		}
		return &node{op: opWords, name: words}
	case mark:
		return p.bracketed(t.text)
	case command:
		return p.command(t.text)
	default:
		return p.fail(errParse)
	}
}

// bracketed reads what stands in brackets.
func (p *parser) bracketed(open string) *node {
	switch open {
	case "{":
		return p.braced()
	case "(", "[":
		bars := p.bars
		p.bars = 0
		n := p.list(open)
		p.bars = bars
		shut := p.next()
		if shut.kind != mark || shut.text != ")" && shut.text != "]" {
			return p.fail(errParse)
		}
		if n.op == opList && n.name == open {
			n.name += shut.text
		}
		return n
	case "|":
		p.bars++
		n := p.sum()
		p.bars--
		if !p.accept(mark, "|") {
			return p.fail(errParse)
		}
		return &node{op: opAbs, parts: []*node{n}}
	default:
		return p.fail(errParse)
	}
}

// command reads what a command stands for.
func (p *parser) command(name string) *node {
	switch {
	case name == "frac":
		a := p.digit()
		return over(a, p.digit())
	case name == "binom":
		a := p.group()
		return &node{op: opFunc, name: "binom", parts: []*node{a, p.group()}}
	case name == "sqrt":
		degree := newNumber(big.NewRat(2, 1))
		if p.accept(mark, "[") {
			degree = p.sum()
			if !p.accept(mark, "]") {
				return p.fail(errParse)
			}
		}
		return &node{op: opRoot, parts: []*node{degree, p.group()}}
	case functions[name]:
		return p.function(name)
	case name == "{":
		n := p.list("{}")
		if !p.accept(command, "}") {
			return p.fail(errParse)
		}
		return n
	case name == "begin":
		return p.matrix()
	case name == "infty", name == "emptyset", name == "degree":
		return &node{op: opSymbol, name: name}
	case isName(name):
		if p.accept(mark, "{") { // \mathbb{R}
			return &node{op: opSymbol, name: name + "{" + p.braced().name + "}"}
		}
		return &node{op: opSymbol, name: name}
	default:
		return p.fail(errParse)
	}
}

// function reads the power, base and argument of a function.
func (p *parser) function(name string) *node {
	n := &node{op: opFunc, name: name}
	var power, base *node
	for p.err == nil {
		if p.accept(mark, "^") {
			power = p.group()
		} else if p.accept(mark, "_") {
			base = p.group()
		} else {
			break
		}
	}
	var arg *node
	if p.peek().kind == mark && (p.peek().text == "(" || p.peek().text == "{") {
		arg = p.base()
	} else {
		arg = p.factor()
		for t := p.peek(); p.err == nil && (t.kind == letter || t.kind == command && t.text == "pi"); t = p.peek() {
			arg = &node{op: opMul, parts: []*node{arg, p.factor()}} // \sin 2x
		}
	}
	n.parts = []*node{arg}
	if base != nil {
		n.parts = append(n.parts, base)
	}
	if power != nil {
		return &node{op: opPow, parts: []*node{n, power}}
	}
	return n
}

// matrix reads rows after \begin.
func (p *parser) matrix() *node {
	p.environment()
	n := &node{op: opMatrix}
	row := &node{op: opList}
	for p.err == nil {
		switch {
		case p.accept(mark, "&"):
		case p.accept(command, `\`):
			n.parts = append(n.parts, row)
			row = &node{op: opList}
		case p.accept(command, "end"):
			p.environment()
			if len(row.parts) > 0 {
				n.parts = append(n.parts, row)
			}
			return n
		default:
			row.parts = append(row.parts, p.relation())
		}
	}
	return n
}

// environment skips the name in braces after \begin and \end, and the columns of an array.
func (p *parser) environment() {
	for first := true; p.accept(mark, "{"); first = false {
		for p.err == nil && !p.accept(mark, "}") {
			if p.next().kind == end {
				p.fail(errParse)
			}
		}
		if !first {
			break
		}
	}
}
