package jinja

import (
	"errors"
	"fmt"
	"math"
)

// loop is the special variable of a for loop, and its iterator. The next element is fetched no earlier than jinja2
// does, because the loop's condition may read what its body changes.
type loop struct {
	run     *run
	source  *seq // elements not yet tested
	ahead   []Value
	index   int // of the current element, from 0
	size    int // number of elements, -1 until it is asked for
	depth   int // of recursion, from 0
	current Value
	before  Value
	changed []Value
	test    func(Value) (bool, error) // or nil
	recurse func(Value) (Value, error)
}

// fetch moves elements that pass the test ahead until there are n. It reports whether there are.
func (l *loop) fetch(n int) (bool, error) {
	for len(l.ahead) < n {
		item, ok, err := l.run.next(l.source)
		if err != nil || !ok {
			return false, err
		}
		if l.test != nil {
			if ok, err = l.test(item); err != nil {
				return false, err
			}
		}
		if ok {
			l.ahead = append(l.ahead, item)
		}
	}
	return true, nil
}

func (l *loop) next() (bool, error) {
	if ok, err := l.fetch(1); err != nil || !ok {
		return false, err
	}
	l.index++
	l.before, l.current = l.current, l.ahead[0]
	l.ahead = l.ahead[1:]
	return true, nil
}

func (l *loop) length() (int64, error) {
	if l.size < 0 {
		if _, err := l.fetch(math.MaxInt); err != nil {
			return 0, err
		}
		l.size = l.index + 1 + len(l.ahead)
	}
	return int64(l.size), nil
}

// attribute returns an attribute of the loop variable.
func (l *loop) attribute(name string) (Value, error) {
	i := int64(l.index)
	switch name {
	case "index":
		return i + 1, nil
	case "index0":
		return i, nil
	case "first":
		return i == 0, nil
	case "depth":
		return int64(l.depth + 1), nil
	case "depth0":
		return int64(l.depth), nil
	case "length":
		return l.length()
	case "revindex":
		n, err := l.length()
		return n - i, err
	case "revindex0":
		n, err := l.length()
		return n - i - 1, err
	case "last":
		more, err := l.fetch(1)
		return !more, err
	case "previtem":
		if l.index == 0 {
			return undefined{"there is no previous item"}, nil
		}
		return l.before, nil
	case "nextitem":
		if ok, err := l.fetch(1); err != nil || !ok {
			return undefined{"there is no next item"}, err
		}
		return l.ahead[0], nil
	case "cycle", "changed":
		return method{receiver: l, name: name}, nil
	}
	return missing(l, name), nil
}

func (l *loop) call(name string, args []Value) (Value, error) {
	if name == "cycle" {
		if len(args) == 0 {
			return nil, errors.New("no items for cycling given")
		}
		return args[l.index%len(args)], nil
	}
	same := l.changed != nil
	if same {
		var err error
		if same, err = l.run.equal(tupleOf(l.changed...), tupleOf(args...), 0); err != nil {
			return nil, err
		}
	}
	l.changed = append([]Value{}, args...)
	return !same, nil
}

// loop runs a for loop over a value, depth levels down in a recursive one, whose next level recurse renders.
func (r *run) loop(
	st *forStmt, over Value, s *scope, out *buffer, recurse func(Value, int) (Value, error), depth int,
) (signal, error) {
	source, err := r.iterate(over)
	if err != nil {
		return done, withLine(st.lineNumber(), err)
	}
	l := &loop{run: r, source: source, index: -1, size: -1, depth: depth}
	if recurse != nil {
		l.recurse = func(v Value) (Value, error) { return recurse(v, depth+1) }
	}
	if st.test != nil {
		l.test = func(item Value) (bool, error) {
			inner := &scope{parent: s}
			if err := r.assign(st.target, item, inner); err != nil {
				return false, withLine(st.lineNumber(), err)
			}
			v, err := r.eval(st.test, inner)
			return truth(v), err
		}
	}
	finished := false // some turn ran to its end: jinja2's condition of else
	for {
		more, err := l.next()
		if err != nil {
			return done, withLine(st.lineNumber(), err)
		}
		if !more {
			break
		}
		if err := r.charge(8 * nodeCost); err != nil {
			return done, withLine(st.lineNumber(), err)
		}
		inner := &scope{parent: s, vars: map[string]Value{"loop": l}}
		if err := r.assign(st.target, l.current, inner); err != nil {
			return done, withLine(st.lineNumber(), err)
		}
		sig, err := r.exec(st.body, inner, out)
		if err != nil {
			return done, err
		}
		if sig == broke {
			break
		}
		finished = finished || sig == done
	}
	if finished {
		return done, nil
	}
	return r.exec(st.otherwise, &scope{parent: s}, out)
}

// recursiveLoop runs a loop whose body may call loop(...) with what to loop over one level deeper.
func (r *run) recursiveLoop(st *forStmt, s *scope, out *buffer) error {
	iter, err := r.eval(st.iter, s)
	if err != nil {
		return err
	}
	var level func(Value, int) (Value, error)
	level = func(over Value, depth int) (Value, error) {
		var text buffer
		_, err := r.loop(st, over, s, &text, level, depth)
		return text.text.String(), err
	}
	text, err := level(iter, 0)
	if err != nil {
		return fmt.Errorf("in a recursive loop: %w", err)
	}
	return r.write(text, out)
}
