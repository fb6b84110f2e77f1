package jinja

import (
	"errors"
	"fmt"
	"math"
	"strings"
)

// run is the state of one rendering.
type run struct {
	work  int // units spent
	depth int // nested evaluations
}

// charge spends n units of work.
func (r *run) charge(n int) error {
	if n > maxWork-r.work || n < 0 {
		r.work = maxWork
		return fmt.Errorf("%w: rendering takes too much work", ErrLimit)
	}
	r.work += n
	return nil
}

func (r *run) enter() error {
	if r.depth++; r.depth > maxDepth {
		return fmt.Errorf("%w: evaluation nested more than %d deep", ErrLimit, maxDepth)
	}
	return r.charge(nodeCost)
}

func (r *run) leave() { r.depth-- }

// buffer collects rendered text.
type buffer struct{ text strings.Builder }

func (b *buffer) write(r *run, s string) error {
	if b.text.Len()+len(s) > MaxOutput {
		return fmt.Errorf("%w: more than %d bytes of output", ErrLimit, MaxOutput)
	}
	b.text.WriteString(s)
	return r.charge(len(s))
}

// scope holds the variables of a block; a name not in it is looked up in the
// scopes around it at the time of the lookup.
type scope struct {
	vars   map[string]Value
	parent *scope
}

func (s *scope) set(name string, v Value) {
	if s.vars == nil {
		s.vars = map[string]Value{}
	}
	s.vars[name] = v
}

func (r *run) lookup(s *scope, name string) (Value, error) {
	for ; s != nil; s = s.parent {
		if err := r.charge(2); err != nil {
			return nil, err
		}
		if v, ok := s.vars[name]; ok {
			return v, nil
		}
	}
	switch name {
	case "cycler", "joiner", "lipsum", "self":
		return nil, fmt.Errorf("%q is not supported in chat templates", name)
	}
	return undefined{fmt.Sprintf("'%s' is undefined", name)}, nil
}

// signal says how a block of statements ended.
type signal int

const (
	done signal = iota
	broke
	continued
)

func (r *run) exec(body []stmt, s *scope, out *buffer) (signal, error) {
	if err := r.enter(); err != nil {
		return done, err
	}
	defer r.leave()
	for _, st := range body {
		if err := r.charge(nodeCost); err != nil {
			return done, err
		}
		if sig, err := r.stmt(st, s, out); err != nil || sig != done {
			return sig, err
		}
	}
	return done, nil
}

func (r *run) stmt(st stmt, s *scope, out *buffer) (signal, error) {
	switch st := st.(type) {
	case dataStmt:
		return done, out.write(r, string(st))
	case outputStmt:
		return done, at(st.value.where(), r.print(st.value, s, out))
	case *ifStmt:
		return r.ifBlock(st, s, out)
	case *forStmt:
		if st.recursive {
			return done, at(st.where(), r.recursiveLoop(st, s, out))
		}
		iter, err := r.eval(st.iter, s)
		if err != nil {
			return done, err
		}
		return r.loop(st, iter, s, out, nil)
	case *setStmt:
		v, err := r.eval(st.value, s)
		if err != nil {
			return done, err
		}
		return done, at(st.where(), r.assign(st.target, v, s))
	case *setBlockStmt:
		text, sig, err := r.capture(st.body, &scope{parent: s})
		if err != nil || sig != done {
			return sig, err
		}
		v, err := r.filterChain(st.filter, text, s)
		if err != nil {
			return done, err
		}
		return done, at(st.where(), r.assign(st.target, v, s))
	case *withStmt:
		inner := &scope{parent: s}
		for i, e := range st.values {
			v, err := r.eval(e, s)
			if err != nil {
				return done, err
			}
			if err := r.assign(st.targets[i], v, inner); err != nil {
				return done, at(st.where(), err)
			}
		}
		return r.exec(st.body, inner, out)
	case *macroStmt:
		s.set(st.name, &macro{signature: st.signature, name: st.name, body: st.body, scope: s, usesCaller: st.usesCaller})
		return done, nil
	case *callStmt:
		return done, at(st.where(), r.callBlock(st, s, out))
	case *filterStmt:
		inner := &scope{parent: s}
		text, sig, err := r.capture(st.body, inner)
		if err != nil || sig != done {
			return sig, err
		}
		v, err := r.filterChain(st.filter, text, inner)
		if err != nil {
			return done, err
		}
		return done, at(st.where(), r.write(v, out))
	case generationStmt:
		return r.exec(st.body, &scope{parent: s}, out)
	case breakStmt:
		return broke, nil
	case continueStmt:
		return continued, nil
	}
	return done, fmt.Errorf("unknown statement %T", st)
}

func (r *run) print(e expr, s *scope, out *buffer) error {
	v, err := r.eval(e, s)
	if err != nil {
		return err
	}
	return r.write(v, out)
}

func (r *run) write(v Value, out *buffer) error {
	text, err := r.str(v)
	if err != nil {
		return err
	}
	return out.write(r, text)
}

// capture renders a body to a string. A body that breaks or continues a loop
// around it gives no text.
func (r *run) capture(body []stmt, s *scope) (string, signal, error) {
	var out buffer
	sig, err := r.exec(body, s, &out)
	return out.text.String(), sig, err
}

func (r *run) ifBlock(st *ifStmt, s *scope, out *buffer) (signal, error) {
	for _, b := range st.branches {
		test, err := r.eval(b.test, s)
		if err != nil {
			return done, err
		}
		if truth(test) {
			return r.exec(b.body, s, out)
		}
	}
	return r.exec(st.otherwise, s, out)
}

// assign sets the target to the value in the scope.
func (r *run) assign(to target, v Value, s *scope) error {
	switch to := to.(type) {
	case nameTarget:
		s.set(string(to), v)
	case attrTarget:
		object, err := r.lookup(s, to.namespace)
		if err != nil {
			return err
		}
		ns, ok := object.(*namespace)
		if !ok {
			return fmt.Errorf("cannot assign attribute %q: %q is no namespace", to.attr, to.namespace)
		}
		if strings.HasPrefix(to.attr, "_") {
			return fmt.Errorf("namespace attribute %q may not begin with an underscore", to.attr)
		}
		ns.attrs[to.attr] = v
	case tupleTarget:
		if err := defined(v); err != nil {
			return fmt.Errorf("not enough values to unpack: %w", err)
		}
		items, err := r.items(v)
		if err != nil {
			return fmt.Errorf("cannot unpack: %w", err)
		}
		if len(items) != len(to) {
			return fmt.Errorf("cannot unpack %d values into %d names", len(items), len(to))
		}
		for i := range to {
			if err := r.assign(to[i], items[i], s); err != nil {
				return err
			}
		}
	}
	return nil
}

// filterChain applies the filters of a set or filter block to its text.
func (r *run) filterChain(chain expr, text string, s *scope) (Value, error) {
	f, ok := chain.(*filterExpr)
	if !ok {
		return text, nil
	}
	v, err := r.filterChain(f.operand, text, s)
	if err != nil {
		return nil, err
	}
	args, err := r.args(f.args, s)
	if err != nil {
		return nil, err
	}
	v, err = r.filter(f.name, v, args)
	return v, at(f.where(), err)
}

func (r *run) callBlock(st *callStmt, s *scope, out *buffer) error {
	callee, err := r.eval(st.call.callee, s)
	if err != nil {
		return err
	}
	args, err := r.args(st.call.args, s)
	if err != nil {
		return err
	}
	caller := &macro{signature: st.signature, name: "caller", body: st.body, scope: s}
	args.keywords = append(args.keywords, namedValue{"caller", caller})
	v, err := r.call(callee, args)
	if err != nil {
		return err
	}
	return r.write(v, out)
}

// callMacro renders a macro's body in a scope of its own, inside the scope the
// macro was defined in.
func (r *run) callMacro(m *macro, args arguments) (Value, error) {
	inner := &scope{parent: m.scope}
	if len(args.positional) > len(m.params) {
		return nil, fmt.Errorf("macro %q takes not more than %d arguments, got %d", m.name, len(m.params), len(args.positional))
	}
	required := len(m.params) - len(m.defaults)
	for i, name := range m.params {
		v, given := args.take(name)
		switch {
		case i < len(args.positional):
			if given {
				return nil, fmt.Errorf("macro %q got two values for %q", m.name, name)
			}
			v = args.positional[i]
		case given:
		case i < required:
			v = undefined{fmt.Sprintf("parameter '%s' was not provided", name)}
		default:
			var err error
			if v, err = r.eval(m.defaults[i-required], inner); err != nil {
				return nil, err
			}
		}
		inner.set(name, v)
	}
	if _, ok := inner.vars["caller"]; m.usesCaller && !ok {
		caller, ok := args.take("caller")
		if !ok {
			caller = undefined{"No caller defined"}
		}
		inner.set("caller", caller)
	}
	if len(args.keywords) > 0 {
		return nil, fmt.Errorf("macro %q takes no keyword argument %q", m.name, args.keywords[0].name)
	}
	text, _, err := r.capture(m.body, inner) // the parser lets no loop be broken from in here
	return text, err
}

// eval evaluates an expression. Its errors carry a line.
func (r *run) eval(e expr, s *scope) (Value, error) {
	err := r.enter()
	defer r.leave()
	var v Value
	if err == nil {
		v, err = r.evalNode(e, s)
	}
	return v, at(e.where(), err)
}

func (r *run) evalNode(e expr, s *scope) (Value, error) {
	switch e := e.(type) {
	case *constExpr:
		return e.value, nil
	case *nameExpr:
		return r.lookup(s, e.name)
	case *seqExpr:
		items, err := r.evalAll(e.items, s)
		if e.tuple {
			return tupleOf(items...), err
		}
		return List(items...), err
	case *dictExpr:
		return r.dict(e, s)
	case *condExpr:
		return r.cond(e, s)
	case *logicExpr:
		left, err := r.eval(e.left, s)
		if err != nil || truth(left) == e.or {
			return left, err
		}
		return r.eval(e.right, s)
	case *notExpr:
		v, err := r.eval(e.operand, s)
		return !truth(v), err
	case *compareExpr:
		return r.comparisons(e, s)
	case *binaryExpr:
		left, err := r.eval(e.left, s)
		if err != nil {
			return nil, err
		}
		right, err := r.eval(e.right, s)
		if err != nil {
			return nil, err
		}
		return r.binary(e.op, left, right)
	case *unaryExpr:
		return r.unary(e, s)
	case *attrExpr:
		object, err := r.eval(e.object, s)
		if err != nil {
			return nil, err
		}
		return r.attribute(object, e.name)
	case *itemExpr:
		return r.item(e, s)
	case *callExpr:
		callee, err := r.eval(e.callee, s)
		if err != nil {
			return nil, err
		}
		args, err := r.args(e.args, s)
		if err != nil {
			return nil, err
		}
		return r.call(callee, args)
	case *filterExpr:
		v, err := r.eval(e.operand, s)
		if err != nil {
			return nil, err
		}
		args, err := r.args(e.args, s)
		if err != nil {
			return nil, err
		}
		return r.filter(e.name, v, args)
	case *testExpr:
		v, err := r.eval(e.operand, s)
		if err != nil {
			return nil, err
		}
		args, err := r.args(e.args, s)
		if err != nil {
			return nil, err
		}
		return r.test(e.name, v, args)
	case *sliceExpr:
		return nil, errors.New("a slice is only a subscript")
	}
	return nil, fmt.Errorf("unknown expression %T", e)
}

func (r *run) evalAll(es []expr, s *scope) ([]Value, error) {
	values := make([]Value, len(es))
	for i, e := range es {
		var err error
		if values[i], err = r.eval(e, s); err != nil {
			return nil, err
		}
	}
	return values, r.charge(itemCost * len(es))
}

func (r *run) dict(e *dictExpr, s *scope) (Value, error) {
	keys, err := r.evalAll(e.keys, s)
	if err != nil {
		return nil, err
	}
	values, err := r.evalAll(e.values, s)
	if err != nil {
		return nil, err
	}
	d := &Dict{}
	for i := range keys {
		hash, err := hashable(keys[i])
		if err != nil {
			return nil, err
		}
		d.set(hash, keys[i], values[i])
	}
	return d, nil
}

func (r *run) cond(e *condExpr, s *scope) (Value, error) {
	test, err := r.eval(e.test, s)
	switch {
	case err != nil:
		return nil, err
	case truth(test):
		return r.eval(e.then, s)
	case e.otherwise != nil:
		return r.eval(e.otherwise, s)
	}
	return undefined{"the inline if-expression evaluated to false and no else section was defined"}, nil
}

func (r *run) comparisons(e *compareExpr, s *scope) (Value, error) {
	left, err := r.eval(e.first, s)
	if err != nil {
		return nil, err
	}
	for _, c := range e.rest {
		right, err := r.eval(c.right, s)
		if err != nil {
			return nil, err
		}
		ok, err := r.holds(c.op, left, right)
		if err != nil || !ok {
			return false, err
		}
		left = right
	}
	return true, nil
}

// holds evaluates one comparison.
func (r *run) holds(op string, left, right Value) (bool, error) {
	switch op {
	case "==":
		return r.equal(left, right, 0)
	case "!=":
		same, err := r.equal(left, right, 0)
		return !same, err
	case "in":
		return r.contains(right, left)
	case "notin":
		found, err := r.contains(right, left)
		return !found, err
	}
	c, ordered, err := r.compare(op, left, right, 0)
	if err != nil || !ordered {
		return false, err
	}
	switch op {
	case "<":
		return c < 0, nil
	case "<=":
		return c <= 0, nil
	case ">":
		return c > 0, nil
	default:
		return c >= 0, nil
	}
}

func (r *run) unary(e *unaryExpr, s *scope) (Value, error) {
	v, err := r.eval(e.operand, s)
	if err != nil {
		return nil, err
	}
	if err := defined(v); err != nil {
		return nil, err
	}
	if n, ok := index(v); ok {
		if e.op == "+" {
			return n, nil
		}
		if n == math.MinInt64 {
			return nil, errIntRange
		}
		return -n, nil
	}
	f, ok := v.(float64)
	if !ok {
		return nil, fmt.Errorf("unary %s of %s", e.op, typeName(v))
	}
	if e.op == "-" {
		f = -f
	}
	return f, nil
}

// item evaluates a subscript: as in jinja2 the attribute of that name is tried
// where there is no such item.
func (r *run) item(e *itemExpr, s *scope) (Value, error) {
	object, err := r.eval(e.object, s)
	if err != nil {
		return nil, err
	}
	if sl, ok := e.key.(*sliceExpr); ok {
		return r.sliceOf(object, sl, s)
	}
	key, err := r.eval(e.key, s)
	if err != nil {
		return nil, err
	}
	return r.getItem(object, key)
}

func (r *run) getItem(object, key Value) (Value, error) {
	if err := defined(object); err != nil {
		return nil, err
	}
	if err := r.chargeItem(object); err != nil {
		return nil, err
	}
	if v, ok := subscript(object, key); ok {
		return v, nil
	}
	name, ok := key.(string)
	if !ok {
		repr, err := r.keyName(key)
		return undefined{fmt.Sprintf("%s has no element %s", objectName(object), repr)}, err
	}
	if _, ok := object.(*Dict); ok && !dictMethods[name].known() {
		return missing(object, name), nil
	}
	return r.attribute(object, name)
}

// keyName shows a key that was not found.
func (r *run) keyName(key Value) (string, error) {
	if _, ok := index(key); ok {
		return r.str(key)
	}
	return "of type " + typeName(key), nil
}

// chargeItem pays for finding a character by its position.
func (r *run) chargeItem(object Value) error {
	if text, ok := object.(string); ok {
		return r.charge(len(text))
	}
	return nil
}

func subscript(object, key Value) (Value, bool) {
	if d, ok := object.(*Dict); ok {
		return d.get(key)
	}
	i, ok := index(key)
	if !ok {
		return nil, false
	}
	switch o := object.(type) {
	case string:
		runes := []rune(o)
		if i < 0 {
			i += int64(len(runes))
		}
		if i >= 0 && i < int64(len(runes)) {
			return string(runes[i]), true
		}
	case *seq:
		if i < 0 {
			i += int64(len(o.items))
		}
		if o.kind <= rangeKind && i >= 0 && i < int64(len(o.items)) {
			return o.items[i], true
		}
	}
	return nil, false
}

func (r *run) sliceOf(object Value, e *sliceExpr, s *scope) (Value, error) {
	if err := defined(object); err != nil {
		return nil, err
	}
	var bounds [3]*int64
	for i, part := range []expr{e.start, e.stop, e.step} {
		if part == nil {
			continue
		}
		v, err := r.eval(part, s)
		if err != nil {
			return nil, err
		}
		if v == nil {
			continue
		}
		n, ok := index(v)
		if !ok {
			return nil, fmt.Errorf("slice bound is %s, not an integer", typeName(v))
		}
		bounds[i] = &n
	}
	switch o := object.(type) {
	case string:
		if err := r.charge(4 * len(o)); err != nil {
			return nil, err
		}
		runes := []rune(o)
		positions, err := slicePositions(len(runes), bounds)
		picked := make([]rune, len(positions))
		for i, p := range positions {
			picked[i] = runes[p]
		}
		return string(picked), err
	case *seq:
		if o.kind > rangeKind {
			break
		}
		if err := r.charge(itemCost * len(o.items)); err != nil {
			return nil, err
		}
		positions, err := slicePositions(len(o.items), bounds)
		picked := make([]Value, len(positions))
		for i, p := range positions {
			picked[i] = o.items[p]
		}
		return &seq{kind: o.kind, items: picked}, err
	}
	return nil, fmt.Errorf("%s cannot be sliced", objectName(object))
}

// slicePositions lists the positions Python's start:stop:step picks from n
// elements.
func slicePositions(n int, bounds [3]*int64) ([]int, error) {
	step := int64(1)
	if bounds[2] != nil {
		step = *bounds[2]
	}
	if step == 0 {
		return nil, errors.New("slice step cannot be zero")
	}
	size := int64(n)
	low, high := int64(0), size
	start, stop := low, high
	if step < 0 {
		low, high = -1, size-1
		start, stop = high, low
	}
	clamp := func(p *int64, otherwise int64) int64 {
		if p == nil {
			return otherwise
		}
		i := *p
		if i < 0 {
			i = max(i, -size-1) + size
		}
		return max(low, min(i, high))
	}
	start, stop = clamp(bounds[0], start), clamp(bounds[1], stop)
	var positions []int
	for i := start; step > 0 && i < stop || step < 0 && i > stop; {
		positions = append(positions, int(i))
		if step > size || step < -size {
			break
		}
		i += step
	}
	return positions, nil
}
