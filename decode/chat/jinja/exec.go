package jinja

import (
	"fmt"
	"strings"
)

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
		return done, withLine(st.value.lineNumber(), r.print(st.value, s, out))
	case *ifStmt:
		return r.ifBlock(st, s, out)
	case *forStmt:
		if st.recursive {
			return done, withLine(st.lineNumber(), r.recursiveLoop(st, s, out))
		}
		iter, err := r.eval(st.iter, s)
		if err != nil {
			return done, err
		}
		return r.loop(st, iter, s, out, nil, 0)
	case *setStmt:
		v, err := r.eval(st.value, s)
		if err != nil {
			return done, err
		}
		return done, withLine(st.lineNumber(), r.assign(st.target, v, s))
	case *setBlockStmt:
		text, sig, err := r.capture(st.body, &scope{parent: s})
		if err != nil || sig != done {
			return sig, err
		}
		v, err := r.filterChain(st.filter, text, s)
		if err != nil {
			return done, err
		}
		return done, withLine(st.lineNumber(), r.assign(st.target, v, s))
	case *withStmt:
		inner := &scope{parent: s}
		for i, e := range st.values {
			v, err := r.eval(e, s)
			if err != nil {
				return done, err
			}
			if err := r.assign(st.targets[i], v, inner); err != nil {
				return done, withLine(st.lineNumber(), err)
			}
		}
		return r.exec(st.body, inner, out)
	case *macroStmt:
		s.set(st.name, &macro{
			signature: st.signature, name: st.name, body: st.body, scope: s, usesCaller: st.usesCaller,
		})
		return done, nil
	case *callStmt:
		return done, withLine(st.lineNumber(), r.callBlock(st, s, out))
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
		return done, withLine(st.lineNumber(), r.write(v, out))
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

// capture renders a body to a string. A body that breaks or continues a loop around it gives no text.
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
	return v, withLine(f.lineNumber(), err)
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

// callMacro renders a macro's body in a scope of its own, inside the scope the macro was defined in.
func (r *run) callMacro(m *macro, args arguments) (Value, error) {
	inner := &scope{parent: m.scope}
	if len(args.positional) > len(m.params) {
		return nil, fmt.Errorf("macro %q takes not more than %d arguments, got %d",
			m.name, len(m.params), len(args.positional))
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
