// Package latex compares answers that are formulas in LaTeX: numbers, fractions, radicals, expressions in variables,
// tuples, sets, intervals, equations, matrices and words.
//
// Two formulas are equal if they have the same structure and every expression in them has the same value, exactly where
// it is made of whole numbers and fractions, otherwise at several values of its variables. Nothing is simplified, so
// the work is linear in the length of the formulas, which is bounded.
package latex

import (
	"math"
	"math/big"
	"math/cmplx"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// Rational computes a formula that is plain arithmetic of numbers. Units after it, and per cent, are left out.
func Rational(s string) (*big.Rat, bool) {
	n, err := parse(s)
	if err != nil {
		return nil, false
	}
	for n.op == opPercent {
		n = n.parts[0]
	}
	r, ok := n.exact()
	if !ok || r.Num().BitLen()+r.Denom().BitLen() > maxBits {
		return nil, false
	}
	return r, true
}

// Equal reports whether two answers mean the same.
func Equal(a, b string) bool {
	a, b = Trim(a), Trim(b)
	if p := plain(a); p == plain(b) {
		return p != ""
	}
	x, errX := parse(a)
	y, errY := parse(b)
	if errX != nil || errY != nil {
		return false
	}
	return equal(x, y)
}

// Trim takes an answer out of the signs of mathematics, of a box and of a sentence that stand around it.
func Trim(s string) string {
	for {
		before := s
		s = strings.TrimSpace(s)
		s = strings.TrimSpace(strings.TrimRight(s, ".,;:"))
		for _, pair := range [][2]string{{"$$", "$$"}, {"$", "$"}, {`\(`, `\)`}, {`\[`, `\]`}, {"**", "**"}} {
			if inner, ok := strings.CutPrefix(s, pair[0]); ok && len(inner) >= len(pair[1]) &&
				strings.HasSuffix(inner, pair[1]) {
				inner = strings.TrimSuffix(inner, pair[1])
				if !strings.Contains(inner, pair[0]) {
					s = inner
				}
			}
		}
		for _, box := range []string{`\boxed`, `\fbox`} {
			if rest, ok := strings.CutPrefix(s, box); ok {
				if inner, n := argument(rest); n == len(rest) && n > 0 {
					s = inner
				}
			}
		}
		if strings.HasSuffix(s, `\`) && !strings.HasSuffix(s, `\\`) {
			s = strings.TrimSuffix(s, `\`)
		}
		if s == before {
			return s
		}
	}
}

var looks = regexp.MustCompile(`\\(?:left|right|displaystyle|,|;|!|:| |quad|qquad)|\\(?:text|mathrm|textbf|mathbf|mbox|textit|textrm|mathbb|mathit)\b|[\s{}$~*]`)

// plain is a formula as text, without what only changes its looks.
func plain(s string) string {
	s = strings.NewReplacer(`\dfrac`, `\frac`, `\tfrac`, `\frac`, `\{`, "\x01", `\}`, "\x02", `\$`, "", `\%`, "%",
		`^\circ`, "", `^{\circ}`, "").Replace(s)
	// Braces around an argument count: \frac{1}{23} is not \frac{12}{3}.
	if strings.Contains(s, `\frac`) || strings.Contains(s, `\sqrt`) || strings.ContainsAny(s, "^_") {
		return strings.Join(strings.Fields(s), "")
	}
	return strings.ToLower(looks.ReplaceAllString(s, ""))
}

// equal compares two formulas by their structure, then by their values.
func equal(a, b *node) bool {
	if a.op == opRelate || b.op == opRelate || isChain(a) || isChain(b) {
		return equalRelations(a, b)
	}
	if hasPlus(a) || hasPlus(b) {
		a, b = spread(a), spread(b)
	}
	switch {
	case a.op == opWords || b.op == opWords:
		return a.op == opWords && b.op == opWords && letters(a.name) == letters(b.name) || oneLetter(a, b)
	case a.op == opList || b.op == opList:
		return equalLists(a, b)
	case a.op == opUnion || b.op == opUnion:
		return sameParts(unions(a), unions(b), equal)
	case a.op == opMinusSet || b.op == opMinusSet:
		return a.op == b.op && equal(a.parts[0], b.parts[0]) && equal(a.parts[1], b.parts[1])
	case a.op == opMatrix || b.op == opMatrix:
		return a.op == b.op && inOrder(a.parts, b.parts)
	case a.op == opSymbol && b.op == opSymbol:
		return a.name == b.name
	}
	return equalValues(a, b)
}

// letters is a text as it is compared: letters and digits, in lower case.
func letters(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return unicode.ToLower(r)
		}
		return -1
	}, s)
}

// oneLetter compares a choice such as \text{(B)} with B.
func oneLetter(a, b *node) bool {
	if b.op == opWords {
		a, b = b, a
	}
	return b.op == opSymbol && letters(a.name) == letters(b.name)
}

// equalLists compares tuples, intervals and sets. Without brackets, or with those of a set, the order does not matter.
func equalLists(a, b *node) bool {
	if a.op != opList || b.op != opList {
		// A set of one is its element, to those who leave the braces out.
		if a.op == opList && a.name == "{}" && len(a.parts) == 1 {
			return equal(a.parts[0], b)
		}
		if b.op == opList && b.name == "{}" && len(b.parts) == 1 {
			return equal(a, b.parts[0])
		}
		return isEmptySet(a) && isEmptySet(b)
	}
	if len(a.parts) != len(b.parts) {
		return false
	}
	set := func(n *node) bool { return n.name == "" || n.name == "{}" || n.name == "pm" }
	switch {
	case set(a) && set(b):
		return sameParts(a.parts, b.parts, equal)
	case a.name == b.name || a.name == "" || b.name == "":
		return inOrder(a.parts, b.parts)
	default:
		return false
	}
}

func isEmptySet(n *node) bool {
	return n.op == opSymbol && n.name == "emptyset" || n.op == opList && n.name == "{}" && len(n.parts) == 0
}

func inOrder(a, b []*node) bool { return slices.EqualFunc(a, b, equal) }

// sameParts reports whether the parts are the same in some order.
func sameParts(a, b []*node, same func(a, b *node) bool) bool {
	const most = 64
	if len(a) != len(b) || len(a) > most {
		return false
	}
	left := slices.Clone(b)
	for _, x := range a {
		i := slices.IndexFunc(left, func(y *node) bool { return same(x, y) })
		if i < 0 {
			return false
		}
		left = slices.Delete(left, i, i+1)
	}
	return true
}

func unions(n *node) []*node {
	if n.op != opUnion {
		return []*node{n}
	}
	return append(unions(n.parts[0]), unions(n.parts[1])...)
}

// hasPlus reports a plus-or-minus that stands in an expression.
func hasPlus(n *node) bool {
	return n.op == opPlus || n.op != opList && slices.ContainsFunc(n.parts, hasPlus)
}

// spread makes a set of the two values of an expression with a plus-or-minus.
func spread(n *node) *node {
	if !hasPlus(n) {
		return n
	}
	return &node{op: opList, name: "pm", parts: []*node{n.signedAs(false), n.signedAs(true)}}
}

func (n *node) signedAs(minus bool) *node {
	if len(n.parts) == 0 {
		return n
	}
	c := *n
	c.parts = make([]*node, len(n.parts))
	for i, p := range n.parts {
		c.parts[i] = p.signedAs(minus)
	}
	if c.op == opPlus {
		c.op = opAdd
		if minus {
			c.parts[1] = negative(c.parts[1])
		}
	}
	return &c
}

func isChain(n *node) bool { return n.op == opList && n.name == "&" }

// equalRelations compares equations and inequalities, or an equation "x = 5" with its side.
func equalRelations(a, b *node) bool {
	if a.op == opRelate && b.op == opRelate {
		if a.name == "=" && b.name == "=" {
			return equal(a.parts[0], b.parts[0]) && equal(a.parts[1], b.parts[1]) || sameZero(a, b, false)
		}
		x, y := a.less(), b.less()
		if x.name != y.name {
			return false
		}
		if x.name == "in" || x.name == ":" {
			return equal(x.parts[0], y.parts[0]) && equal(x.parts[1], y.parts[1])
		}
		return sameZero(x, y, x.name != "!=")
	}
	if isChain(a) && isChain(b) {
		return sameParts(a.parts, b.parts, equal)
	}
	if b.op == opRelate {
		a, b = b, a
	}
	switch {
	case a.op == opRelate && (a.name == "=" && named(a) || a.name == "in"):
		return equal(a.parts[1], b)
	case isChain(a) || isChain(b):
		if isChain(b) {
			a, b = b, a
		}
		return chainSide(a, b) || b.op == opList && equalInterval(a.parts, b)
	case a.op == opRelate && b.op == opList:
		return equalInterval([]*node{a}, b)
	default:
		return false
	}
}

// chainSide compares a chain of equations such as 2 + 3 = 5 with a value: its last side.
func chainSide(a, b *node) bool {
	if isChain(b) || len(a.parts) == 0 {
		return false
	}
	last := a.parts[len(a.parts)-1]
	return last.name == "=" && equal(last.parts[1], b)
}

// equalInterval compares inequalities in one variable, such as 1 < x <= 3, with an interval.
func equalInterval(relations []*node, interval *node) bool {
	ends := []*node{negative(&node{op: opSymbol, name: "infty"}), {op: opSymbol, name: "infty"}}
	brackets := []byte("()")
	for _, r := range relations {
		r = r.less()
		at, value := 0, r.parts[0] // a < x
		if _, constant := value.exact(); !constant && value.op == opSymbol {
			at, value = 1, r.parts[1] // x < b
		}
		if r.name != "<" && r.name != "<=" || r.parts[1-at].op != opSymbol {
			return false
		}
		ends[at] = value
		if r.name == "<=" {
			brackets[at] = "[]"[at]
		}
	}
	return len(interval.parts) == 2 && interval.name == string(brackets) && inOrder(ends, interval.parts)
}

// named reports an equation whose first side only names something, as x or f(x) do.
func named(n *node) bool {
	first := n.parts[0]
	switch first.op {
	case opSymbol, opWords:
		return true
	case opMul:
		return first.parts[0].op == opSymbol && (first.parts[1].op == opSymbol || first.parts[1].op == opNumber)
	case opList:
		return true
	case opPow:
		return first.parts[0].op == opSymbol && first.parts[1].op == opNeg // f^{-1}(x)
	default:
		return false
	}
}

// less turns > and >= around.
func (n *node) less() *node {
	switch n.name {
	case ">":
		return &node{op: opRelate, name: "<", parts: []*node{n.parts[1], n.parts[0]}}
	case ">=":
		return &node{op: opRelate, name: "<=", parts: []*node{n.parts[1], n.parts[0]}}
	default:
		return n
	}
}

// sameZero reports whether the differences of the sides are the same but for a factor, which must be positive where the
// direction counts.
func sameZero(a, b *node, positive bool) bool {
	var first complex128
	for trial := range uint64(trials) {
		x := a.parts[0].at(trial, 1) - a.parts[1].at(trial, 1)
		y := b.parts[0].at(trial, 1) - b.parts[1].at(trial, 1)
		ratio := x / y
		if trial == 0 {
			first = ratio
		}
		if !finite(ratio) || ratio == 0 || positive && real(ratio) <= 0 || !near(ratio, first, 1e-9) {
			return false
		}
	}
	return true
}

// trials is how many values each variable takes.
const trials = 4

// equalValues compares two expressions.
func equalValues(a, b *node) bool {
	x, okX := a.exact()
	y, okY := b.exact()
	if okX && okY {
		if x.Cmp(y) == 0 {
			return true
		}
		return rounded(a, x, b, y) || rounded(b, y, a, x) || percentOff(a, b, x, y)
	}
	// A decimal is as good as its six digits; a formula must be the same.
	tolerance := 1e-9
	if a.hasDecimal() != b.hasDecimal() {
		tolerance = 0
	}
	for trial := range uint64(trials) {
		u, v := a.at(trial, 1), b.at(trial, 1)
		if cmplx.IsInf(u) || cmplx.IsInf(v) || cmplx.IsNaN(u) || cmplx.IsNaN(v) {
			return infinite(a, b)
		}
		if tolerance == 0 {
			if cmplx.Abs(u-v) > 1e-6 {
				return false
			}
		} else if !near(u, v, tolerance) {
			return false
		}
	}
	return true
}

// infinite compares infinities, by their signs.
func infinite(a, b *node) bool {
	sign := func(n *node) int {
		switch {
		case n.op == opSymbol && n.name == "infty":
			return 1
		case n.op == opNeg && n.parts[0].op == opSymbol && n.parts[0].name == "infty":
			return -1
		default:
			return 0
		}
	}
	return sign(a) != 0 && sign(a) == sign(b)
}

func (n *node) hasDecimal() bool {
	return n.decimal || slices.ContainsFunc(n.parts, (*node).hasDecimal)
}

func percent(n *node) bool { return n.op == opPercent }

// percentOff compares 50% with 50.
func percentOff(a, b *node, x, y *big.Rat) bool {
	if percent(a) == percent(b) {
		return false
	}
	if percent(b) {
		x, y = y, x
	}
	return new(big.Rat).Mul(x, big.NewRat(100, 1)).Cmp(y) == 0
}

// rounded reports whether the first is a decimal for a fraction that has none that ends.
func rounded(a *node, x *big.Rat, b *node, y *big.Rat) bool {
	_, ends := y.FloatPrec()
	return a.hasDecimal() && !b.hasDecimal() && !ends && nearRat(x, y)
}

func nearRat(x, y *big.Rat) bool {
	d, _ := new(big.Rat).Sub(x, y).Float64()
	return math.Abs(d) < 1e-6
}

func near(u, v complex128, tolerance float64) bool {
	return cmplx.Abs(u-v) <= tolerance*max(1, cmplx.Abs(u), cmplx.Abs(v))
}

func finite(c complex128) bool { return !cmplx.IsNaN(c) && !cmplx.IsInf(c) }
