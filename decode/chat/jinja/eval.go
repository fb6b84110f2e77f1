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

// scope holds the variables of a block; a name not in it is looked up in the scopes around it at the time of the
// lookup.
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

// eval evaluates an expression. Its errors carry a line.
func (r *run) eval(e expr, s *scope) (Value, error) {
	err := r.enter()
	defer r.leave()
	var v Value
	if err == nil {
		v, err = r.evalNode(e, s)
	}
	return v, withLine(e.lineNumber(), err)
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
		ok, err := r.compareOne(c.op, left, right)
		if err != nil || !ok {
			return false, err
		}
		left = right
	}
	return true, nil
}

// compareOne evaluates one comparison.
func (r *run) compareOne(op string, left, right Value) (bool, error) {
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
