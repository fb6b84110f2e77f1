package jinja

import (
	"slices"
	"strings"
)

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

// binaryLevels are the binary operators from weak to strong. All of them associate to the left, ** too, as in jinja2.
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

// list parses comma-separated elements, a comma after the last one allowed, up to and including the closing bracket.
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

// filters parses a chain of filters. inline says that the first one has no pipe before it, as in the filter tag.
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
