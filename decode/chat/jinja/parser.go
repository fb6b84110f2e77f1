package jinja

import "slices"

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

// statements parses up to a block tag with one of the given names, whose name is then the current token, or to the end
// of the template.
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

// unsafe removes a "safe" filter that is applied last before printing. With autoescape off it changes nothing there;
// anywhere else it would make a string that escapes what is added to it, which this package does not have.
func unsafe(e expr) expr {
	for {
		f, ok := e.(*filterExpr)
		if !ok || f.name != "safe" {
			return e
		}
		e = f.operand
	}
}

// block parses the rest of a tag and the statements up to the first of ends, which is left as the current token.
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

// function parses the body of a macro or a call block, in which an outer loop cannot be broken.
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

// target parses what is assigned to; attributes of namespaces only where attrs is set.
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
	return nil, errorAt(e.lineNumber(), "cannot assign to this expression")
}
