package jinja

import (
	"slices"
	"strings"
)

// parser builds the tree rule by rule as jinja2.parser does.
type parser struct {
	tokens []token
	pos    int
	depth  int
	loops  int // for loops around the current statement, within its macro
}

func (p *parser) peek() token { return p.tokens[p.pos] }

func (p *parser) next() token {
	t := p.tokens[p.pos]
	if t.kind != tokEOF {
		p.pos++
	}
	return t
}

func (p *parser) line() line { return line(p.peek().line) }

func (p *parser) fail(format string, args ...any) error {
	return errorAt(p.peek().line, format, args...)
}

// enter counts one level of nesting; the caller defers leave.
func (p *parser) enter() error {
	if p.depth++; p.depth > maxNest {
		return errorAt(p.peek().line, "%w: nested more than %d deep", ErrLimit, maxNest)
	}
	return nil
}

func (p *parser) leave() { p.depth-- }

func (p *parser) isOp(op string) bool {
	t := p.peek()
	return t.kind == tokOperator && t.text == op
}

func (p *parser) isName(names ...string) bool {
	t := p.peek()
	return t.kind == tokName && slices.Contains(names, t.text)
}

func (p *parser) skipOp(op string) bool {
	if !p.isOp(op) {
		return false
	}
	p.pos++
	return true
}

func (p *parser) skipName(name string) bool {
	if !p.isName(name) {
		return false
	}
	p.pos++
	return true
}

func (p *parser) expectOp(op string) error {
	if !p.skipOp(op) {
		return p.fail("expected %q, got %s", op, p.peek())
	}
	return nil
}

func (p *parser) expectKind(kind tokenKind) (token, error) {
	if p.peek().kind != kind {
		return token{}, p.fail("expected %s, got %s", kindName(kind), p.peek())
	}
	return p.next(), nil
}

func kindName(kind tokenKind) string {
	if kind == tokName {
		return "a name"
	}
	return token{kind: kind}.String()
}

func (p *parser) template() ([]stmt, error) {
	return p.statements()
}

// statements parses up to a block tag with one of the given names, whose name
// is then the current token, or to the end of the template.
func (p *parser) statements(ends ...string) ([]stmt, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.leave()
	var body []stmt
	for {
		switch t := p.next(); t.kind {
		case tokData:
			body = append(body, dataStmt(t.text))
		case tokVariableBegin:
			value, err := p.tuple(tupleRules{condExpr: true})
			if err != nil {
				return nil, err
			}
			if _, err := p.expectKind(tokVariableEnd); err != nil {
				return nil, err
			}
			body = append(body, outputStmt{value: unsafe(value)})
		case tokBlockBegin:
			if p.isName(ends...) {
				return body, nil
			}
			s, err := p.statement()
			if err != nil {
				return nil, err
			}
			if _, err := p.expectKind(tokBlockEnd); err != nil {
				return nil, err
			}
			body = append(body, s)
		default:
			if len(ends) > 0 {
				return nil, p.fail("unexpected end of template, expected tag %q", ends[len(ends)-1])
			}
			return body, nil
		}
	}
}

// unsafe removes a "safe" filter that is applied last before printing. With
// autoescape off it changes nothing there; anywhere else it would make a string
// that escapes what is added to it, which this package does not have.
func unsafe(e expr) expr {
	for {
		f, ok := e.(*filterExpr)
		if !ok || f.name != "safe" {
			return e
		}
		e = f.operand
	}
}

// block parses the rest of a tag and the statements up to the first of ends,
// which is left as the current token.
func (p *parser) block(ends ...string) ([]stmt, error) {
	p.skipOp(":")
	if _, err := p.expectKind(tokBlockEnd); err != nil {
		return nil, err
	}
	return p.statements(ends...)
}

// lastBlock is block for a single end, which it consumes.
func (p *parser) lastBlock(end string) ([]stmt, error) {
	body, err := p.block(end)
	if err != nil {
		return nil, err
	}
	p.next()
	return body, nil
}

func (p *parser) statement() (stmt, error) {
	t, err := p.expectKind(tokName)
	if err != nil {
		return nil, err
	}
	switch at := line(t.line); t.text {
	case "set":
		return p.set(at)
	case "for":
		return p.forLoop(at)
	case "if":
		return p.ifBlock()
	case "with":
		return p.with(at)
	case "macro":
		return p.macro(at)
	case "call":
		return p.callBlock(at)
	case "filter":
		return p.filterBlock(at)
	case "generation":
		body, err := p.function("endgeneration")
		return generationStmt{body: body}, err
	case "break", "continue":
		if p.loops == 0 {
			return nil, errorAt(t.line, "%q outside of a loop", t.text)
		}
		if t.text == "break" {
			return breakStmt{}, nil
		}
		return continueStmt{}, nil
	case "include", "import", "from", "extends":
		return nil, errorAt(t.line, "tag %q is refused: a chat template may not load other templates", t.text)
	case "block", "autoescape", "print", "do", "trans", "debug":
		return nil, errorAt(t.line, "tag %q is not supported in chat templates", t.text)
	default:
		return nil, errorAt(t.line, "unknown tag %q", t.text)
	}
}

func (p *parser) set(at line) (stmt, error) {
	to, err := p.target(true)
	if err != nil {
		return nil, err
	}
	if p.skipOp("=") {
		value, err := p.tuple(tupleRules{condExpr: true})
		return &setStmt{line: at, target: to, value: value}, err
	}
	filter, err := p.filters(nil, false)
	if err != nil {
		return nil, err
	}
	body, err := p.lastBlock("endset")
	return &setBlockStmt{line: at, target: to, filter: filter, body: body}, err
}

func (p *parser) forLoop(at line) (stmt, error) {
	s := &forStmt{line: at}
	var err error
	if s.target, err = p.target(false, "in"); err != nil {
		return nil, err
	}
	if namesLoop(s.target) {
		return nil, errorAt(int(at), "the target of a for loop may not be named loop")
	}
	if !p.skipName("in") {
		return nil, p.fail("expected \"in\", got %s", p.peek())
	}
	if s.iter, err = p.tuple(tupleRules{ends: []string{"recursive"}}); err != nil {
		return nil, err
	}
	if p.skipName("if") {
		if s.test, err = p.expression(); err != nil {
			return nil, err
		}
	}
	s.recursive = p.skipName("recursive")
	p.loops++
	s.body, err = p.block("endfor", "else")
	p.loops--
	if err != nil {
		return nil, err
	}
	if p.next().text == "else" {
		s.otherwise, err = p.lastBlock("endfor")
	}
	return s, err
}

func namesLoop(t target) bool {
	switch t := t.(type) {
	case nameTarget:
		return t == "loop"
	case tupleTarget:
		return slices.ContainsFunc(t, namesLoop)
	}
	return false
}

func (p *parser) ifBlock() (stmt, error) {
	s := &ifStmt{}
	for {
		test, err := p.tuple(tupleRules{})
		if err != nil {
			return nil, err
		}
		body, err := p.block("elif", "else", "endif")
		if err != nil {
			return nil, err
		}
		s.branches = append(s.branches, branch{test: test, body: body})
		switch p.next().text {
		case "elif":
			continue
		case "else":
			s.otherwise, err = p.lastBlock("endif")
		}
		return s, err
	}
}

func (p *parser) with(at line) (stmt, error) {
	s := &withStmt{line: at}
	for p.peek().kind != tokBlockEnd {
		if len(s.targets) > 0 {
			if err := p.expectOp(","); err != nil {
				return nil, err
			}
		}
		to, err := p.target(false)
		if err != nil {
			return nil, err
		}
		if err := p.expectOp("="); err != nil {
			return nil, err
		}
		value, err := p.expression()
		if err != nil {
			return nil, err
		}
		s.targets = append(s.targets, to)
		s.values = append(s.values, value)
	}
	var err error
	s.body, err = p.lastBlock("endwith")
	return s, err
}

// function parses the body of a macro or a call block, in which an outer loop
// cannot be broken.
func (p *parser) function(end string) ([]stmt, error) {
	loops := p.loops
	p.loops = 0
	defer func() { p.loops = loops }()
	return p.lastBlock(end)
}

func (p *parser) macro(at line) (stmt, error) {
	name, err := p.expectKind(tokName)
	if err != nil {
		return nil, err
	}
	s := &macroStmt{line: at, name: name.text}
	if s.signature, err = p.signature(); err != nil {
		return nil, err
	}
	start := p.pos
	if s.body, err = p.function("endmacro"); err != nil {
		return nil, err
	}
	for i := start; i < p.pos; i++ {
		t, before := p.tokens[i], p.tokens[i-1]
		if t.kind != tokName || before.kind == tokOperator && before.text == "." {
			continue
		}
		switch t.text {
		case "caller":
			s.usesCaller = true
		case "varargs", "kwargs":
			return nil, errorAt(t.line, "%q in a macro is not supported", t.text)
		}
	}
	return s, nil
}

func (p *parser) callBlock(at line) (stmt, error) {
	s := &callStmt{line: at}
	var err error
	if p.isOp("(") {
		if s.signature, err = p.signature(); err != nil {
			return nil, err
		}
	}
	e, err := p.expression()
	if err != nil {
		return nil, err
	}
	call, ok := e.(*callExpr)
	if !ok {
		return nil, errorAt(int(at), "expected a call in the call tag")
	}
	s.call = call
	s.body, err = p.function("endcall")
	return s, err
}

func (p *parser) filterBlock(at line) (stmt, error) {
	s := &filterStmt{line: at}
	var err error
	if s.filter, err = p.filters(nil, true); err != nil {
		return nil, err
	}
	s.body, err = p.lastBlock("endfilter")
	return s, err
}

func (p *parser) signature() (signature, error) {
	var s signature
	if err := p.expectOp("("); err != nil {
		return s, err
	}
	for !p.isOp(")") {
		if len(s.params) > 0 {
			if err := p.expectOp(","); err != nil {
				return s, err
			}
		}
		name, err := p.expectKind(tokName)
		if err != nil {
			return s, err
		}
		if p.skipOp("=") {
			value, err := p.expression()
			if err != nil {
				return s, err
			}
			s.defaults = append(s.defaults, value)
		} else if len(s.defaults) > 0 {
			return s, p.fail("parameter without a default follows one with a default")
		}
		if slices.Contains(s.params, name.text) {
			return s, p.fail("parameter %q is named twice", name.text)
		}
		s.params = append(s.params, name.text)
	}
	return s, p.expectOp(")")
}

// target parses what is assigned to; attributes of namespaces only where
// attrs is set.
func (p *parser) target(attrs bool, ends ...string) (target, error) {
	e, err := p.tuple(tupleRules{simple: true, attrs: attrs, ends: ends})
	if err != nil {
		return nil, err
	}
	return toTarget(e)
}

func toTarget(e expr) (target, error) {
	switch e := e.(type) {
	case *nameExpr:
		return nameTarget(e.name), nil
	case *attrExpr:
		if object, ok := e.object.(*nameExpr); ok {
			return attrTarget{namespace: object.name, attr: e.name}, nil
		}
	case *seqExpr:
		if !e.tuple {
			break
		}
		items := make(tupleTarget, len(e.items))
		for i, item := range e.items {
			var err error
			if items[i], err = toTarget(item); err != nil {
				return nil, err
			}
		}
		return items, nil
	}
	return nil, errorAt(e.where(), "cannot assign to this expression")
}

// tupleRules are the ways in which jinja2's parse_tuple is called.
type tupleRules struct {
	simple   bool     // names and literals only
	attrs    bool     // with simple: also attributes of namespaces
	condExpr bool     // conditional expressions are allowed
	parens   bool     // within parentheses, where an empty tuple is legal
	ends     []string // names that end the tuple
}

func (p *parser) tupleEnd(ends []string) bool {
	t := p.peek()
	return t.kind == tokVariableEnd || t.kind == tokBlockEnd || p.isOp(")") || p.isName(ends...)
}

func (p *parser) tuple(rules tupleRules) (expr, error) {
	at := p.line()
	var items []expr
	isTuple := false
	for {
		if len(items) > 0 {
			if err := p.expectOp(","); err != nil {
				return nil, err
			}
		}
		if p.tupleEnd(rules.ends) {
			break
		}
		var e expr
		var err error
		switch {
		case rules.simple:
			e, err = p.primary(rules.attrs)
		case rules.condExpr:
			e, err = p.expression()
		default:
			e, err = p.or()
		}
		if err != nil {
			return nil, err
		}
		items = append(items, e)
		if !p.isOp(",") {
			break
		}
		isTuple = true
	}
	if !isTuple {
		if len(items) == 1 {
			return items[0], nil
		}
		if !rules.parens {
			return nil, p.fail("expected an expression, got %s", p.peek())
		}
	}
	return &seqExpr{line: at, items: items, tuple: true}, nil
}

// expression parses a conditional expression, the weakest kind there is.
func (p *parser) expression() (expr, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.leave()
	at := p.line()
	e, err := p.or()
	if err != nil {
		return nil, err
	}
	for p.skipName("if") {
		c := &condExpr{line: at, then: e}
		if c.test, err = p.or(); err != nil {
			return nil, err
		}
		if p.skipName("else") {
			if c.otherwise, err = p.expression(); err != nil {
				return nil, err
			}
		}
		e = c
	}
	return e, nil
}

func (p *parser) or() (expr, error) {
	at := p.line()
	left, err := p.and()
	for err == nil && p.skipName("or") {
		var right expr
		right, err = p.and()
		left = &logicExpr{line: at, or: true, left: left, right: right}
	}
	return left, err
}

func (p *parser) and() (expr, error) {
	at := p.line()
	left, err := p.not()
	for err == nil && p.skipName("and") {
		var right expr
		right, err = p.not()
		left = &logicExpr{line: at, left: left, right: right}
	}
	return left, err
}

func (p *parser) not() (expr, error) {
	at := p.line()
	if !p.skipName("not") {
		return p.compare()
	}
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.leave()
	operand, err := p.not()
	return &notExpr{line: at, operand: operand}, err
}

func (p *parser) compare() (expr, error) {
	c := &compareExpr{line: p.line()}
	var err error
	if c.first, err = p.binary(0); err != nil {
		return nil, err
	}
	for {
		op := ""
		switch t := p.peek(); {
		case t.kind == tokOperator && slices.Contains([]string{"==", "!=", "<", "<=", ">", ">="}, t.text):
			op = t.text
		case p.isName("in"):
			op = "in"
		case p.isName("not") && p.tokens[p.pos+1].kind == tokName && p.tokens[p.pos+1].text == "in":
			op = "notin"
			p.next()
		}
		if op == "" {
			break
		}
		p.next()
		right, err := p.binary(0)
		if err != nil {
			return nil, err
		}
		c.rest = append(c.rest, comparison{op: op, right: right})
	}
	if len(c.rest) == 0 {
		return c.first, nil
	}
	return c, nil
}

// binaryLevels are the binary operators from weak to strong. All of them
// associate to the left, ** too, as in jinja2.
var binaryLevels = [...][]string{{"+", "-"}, {"~"}, {"*", "/", "//", "%"}, {"**"}}

func (p *parser) binary(level int) (expr, error) {
	if level == len(binaryLevels) {
		return p.unary(true)
	}
	at := p.line()
	left, err := p.binary(level + 1)
	for err == nil && p.peek().kind == tokOperator && slices.Contains(binaryLevels[level], p.peek().text) {
		op := p.next().text
		var right expr
		if right, err = p.binary(level + 1); err != nil {
			break
		}
		left = &binaryExpr{line: at, op: op, left: left, right: right}
	}
	return left, err
}

func (p *parser) unary(filters bool) (expr, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.leave()
	at := p.line()
	var e expr
	var err error
	if p.isOp("-") || p.isOp("+") {
		op := p.next().text
		var operand expr
		operand, err = p.unary(false)
		e = &unaryExpr{line: at, op: op, operand: operand}
	} else {
		e, err = p.primary(false)
	}
	if err != nil {
		return nil, err
	}
	if e, err = p.postfix(e); err != nil || !filters {
		return e, err
	}
	for {
		switch {
		case p.isOp("|"):
			e, err = p.filters(e, false)
		case p.isName("is"):
			e, err = p.test(e)
		case p.isOp("("):
			e, err = p.call(e)
		default:
			return e, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

func (p *parser) primary(attrs bool) (expr, error) {
	at := p.line()
	switch t := p.peek(); {
	case t.kind == tokName:
		p.next()
		switch t.text {
		case "true", "True":
			return &constExpr{line: at, value: true}, nil
		case "false", "False":
			return &constExpr{line: at, value: false}, nil
		case "none", "None":
			return &constExpr{line: at}, nil
		}
		name := &nameExpr{line: at, name: t.text}
		if attrs && p.skipOp(".") {
			attr, err := p.expectKind(tokName)
			return &attrExpr{line: at, object: name, name: attr.text}, err
		}
		return name, nil
	case t.kind == tokString:
		var text strings.Builder
		for p.peek().kind == tokString {
			text.WriteString(p.next().text)
		}
		return &constExpr{line: at, value: text.String()}, nil
	case t.kind == tokInteger || t.kind == tokFloat:
		p.next()
		return &constExpr{line: at, value: t.value}, nil
	case p.skipOp("("):
		e, err := p.tuple(tupleRules{condExpr: true, parens: true})
		if err != nil {
			return nil, err
		}
		return e, p.expectOp(")")
	case p.skipOp("["):
		items, err := p.list("]", p.expression)
		return &seqExpr{line: at, items: items}, err
	case p.skipOp("{"):
		d := &dictExpr{line: at}
		var err error
		d.keys, err = p.list("}", func() (expr, error) {
			key, err := p.expression()
			if err != nil {
				return nil, err
			}
			if err := p.expectOp(":"); err != nil {
				return nil, err
			}
			value, err := p.expression()
			d.values = append(d.values, value)
			return key, err
		})
		return d, err
	default:
		return nil, p.fail("unexpected %s", t)
	}
}

// list parses comma-separated elements, a comma after the last one allowed, up
// to and including the closing bracket.
func (p *parser) list(closer string, element func() (expr, error)) ([]expr, error) {
	var items []expr
	for !p.isOp(closer) {
		if len(items) > 0 {
			if err := p.expectOp(","); err != nil {
				return nil, err
			}
			if p.isOp(closer) {
				break
			}
		}
		item, err := element()
		if err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	p.next()
	return items, nil
}

func (p *parser) postfix(e expr) (expr, error) {
	for {
		var err error
		switch {
		case p.isOp("."):
			e, err = p.attribute(e)
		case p.isOp("["):
			e, err = p.subscript(e)
		case p.isOp("("):
			e, err = p.call(e)
		default:
			return e, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

func (p *parser) attribute(object expr) (expr, error) {
	at := p.line()
	p.next()
	switch t := p.peek(); t.kind {
	case tokName:
		p.next()
		return &attrExpr{line: at, object: object, name: t.text}, nil
	case tokInteger:
		p.next()
		return &itemExpr{line: at, object: object, key: &constExpr{line: at, value: t.value}}, nil
	default:
		return nil, p.fail("expected a name or a number after the dot, got %s", t)
	}
}

func (p *parser) subscript(object expr) (expr, error) {
	at := p.line()
	p.next()
	var keys []expr
	for !p.isOp("]") {
		if len(keys) > 0 {
			if err := p.expectOp(","); err != nil {
				return nil, err
			}
		}
		key, err := p.subscriptKey()
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	p.next()
	if len(keys) == 1 {
		return &itemExpr{line: at, object: object, key: keys[0]}, nil
	}
	return nil, errorAt(int(at), "a subscript takes one key, got %d", len(keys))
}

func (p *parser) subscriptKey() (expr, error) {
	s := &sliceExpr{line: p.line()}
	var err error
	if !p.isOp(":") {
		if s.start, err = p.expression(); err != nil || !p.isOp(":") {
			return s.start, err
		}
	}
	p.next()
	for _, part := range []*expr{&s.stop, &s.step} {
		if !p.isOp(":") && !p.isOp("]") && !p.isOp(",") {
			if *part, err = p.expression(); err != nil {
				return nil, err
			}
		}
		if part == &s.step || !p.skipOp(":") {
			break
		}
	}
	return s, nil
}

func (p *parser) call(callee expr) (expr, error) {
	at := p.line()
	args, err := p.callArgs()
	return &callExpr{line: at, callee: callee, args: args}, err
}

func (p *parser) callArgs() (callArgs, error) {
	var args callArgs
	p.next()
	for first := true; !p.isOp(")"); first = false {
		if !first {
			if err := p.expectOp(","); err != nil {
				return args, err
			}
			if p.isOp(")") {
				break
			}
		}
		if err := p.callArg(&args); err != nil {
			return args, err
		}
	}
	p.next()
	return args, nil
}

func (p *parser) callArg(args *callArgs) error {
	misplaced := func() error { return p.fail("misplaced argument in a call") }
	var err error
	next := p.tokens[min(p.pos+1, len(p.tokens)-1)]
	switch {
	case p.isOp("*"):
		if args.star != nil || args.doubleStar != nil {
			return misplaced()
		}
		p.next()
		args.star, err = p.expression()
	case p.isOp("**"):
		if args.doubleStar != nil {
			return misplaced()
		}
		p.next()
		args.doubleStar, err = p.expression()
	case p.peek().kind == tokName && next.kind == tokOperator && next.text == "=":
		if args.doubleStar != nil {
			return misplaced()
		}
		k := keyword{name: p.next().text}
		p.next()
		for _, other := range args.keywords {
			if other.name == k.name {
				return p.fail("keyword argument %q is given twice", k.name)
			}
		}
		k.value, err = p.expression()
		args.keywords = append(args.keywords, k)
	default:
		if args.star != nil || args.doubleStar != nil || len(args.keywords) > 0 {
			return misplaced()
		}
		var e expr
		e, err = p.expression()
		args.positional = append(args.positional, e)
	}
	return err
}

// filters parses a chain of filters. inline says that the first one has no
// pipe before it, as in the filter tag.
func (p *parser) filters(operand expr, inline bool) (expr, error) {
	for inline || p.isOp("|") {
		if !inline {
			p.next()
		}
		inline = false
		f := &filterExpr{line: p.line(), operand: operand}
		var err error
		if f.name, err = p.dottedName(); err != nil {
			return nil, err
		}
		if p.isOp("(") {
			if f.args, err = p.callArgs(); err != nil {
				return nil, err
			}
		}
		operand = f
	}
	return operand, nil
}

func (p *parser) dottedName() (string, error) {
	t, err := p.expectKind(tokName)
	if err != nil {
		return "", err
	}
	name := t.text
	for p.skipOp(".") {
		if t, err = p.expectKind(tokName); err != nil {
			return "", err
		}
		name += "." + t.text
	}
	return name, nil
}

func (p *parser) test(operand expr) (expr, error) {
	at := p.line()
	p.next()
	negated := p.skipName("not")
	t := &testExpr{line: at, operand: operand}
	var err error
	if t.name, err = p.dottedName(); err != nil {
		return nil, err
	}
	switch next := p.peek(); {
	case p.isOp("("):
		t.args, err = p.callArgs()
	case p.isName("is"):
		err = p.fail("tests cannot be chained with \"is\"")
	case p.isName("else", "or", "and"):
	case next.kind == tokName || next.kind == tokString || next.kind == tokInteger || next.kind == tokFloat ||
		p.isOp("[") || p.isOp("{"):
		var arg expr
		if arg, err = p.primary(false); err == nil {
			arg, err = p.postfix(arg)
		}
		t.args.positional = []expr{arg}
	}
	if err != nil {
		return nil, err
	}
	if negated {
		return &notExpr{line: at, operand: t}, nil
	}
	return t, nil
}
