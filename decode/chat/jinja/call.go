package jinja

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

type namedValue struct {
	name  string
	value Value
}

// arguments are the evaluated arguments of a call.
type arguments struct {
	positional []Value
	keywords   []namedValue
}

// take removes and returns a keyword argument.
func (a *arguments) take(name string) (Value, bool) {
	for i, k := range a.keywords {
		if k.name == name {
			a.keywords = slices.Delete(slices.Clone(a.keywords), i, i+1)
			return k.value, true
		}
	}
	return nil, false
}

// absent stands for an optional argument that was not given.
type absent struct{}

// bind orders arguments by parameter name. Those after the first required ones may be absent.
func (a arguments) bind(what string, params []string, required int) ([]Value, error) {
	if len(a.positional) > len(params) {
		return nil, fmt.Errorf("%s takes at most %d arguments, got %d", what, len(params), len(a.positional))
	}
	bound := make([]Value, len(params))
	for i, name := range params {
		v, given := a.take(name)
		switch {
		case i < len(a.positional) && given:
			return nil, fmt.Errorf("%s got two values for argument %q", what, name)
		case i < len(a.positional):
			v = a.positional[i]
		case !given && i < required:
			return nil, fmt.Errorf("%s needs argument %q", what, name)
		case !given:
			v = absent{}
		}
		bound[i] = v
	}
	if len(a.keywords) > 0 {
		return nil, fmt.Errorf("%s: argument %q is not supported", what, a.keywords[0].name)
	}
	return bound, nil
}

func (r *run) args(e callArgs, s *scope) (arguments, error) {
	var a arguments
	var err error
	if a.positional, err = r.evalAll(e.positional, s); err != nil {
		return a, err
	}
	for _, k := range e.keywords {
		v, err := r.eval(k.value, s)
		if err != nil {
			return a, err
		}
		a.keywords = append(a.keywords, namedValue{k.name, v})
	}
	if e.star != nil {
		v, err := r.eval(e.star, s)
		if err != nil {
			return a, err
		}
		items, err := r.items(v)
		if err != nil {
			return a, err
		}
		a.positional = append(a.positional, items...)
		if err := r.charge(itemCost * len(items)); err != nil {
			return a, err
		}
	}
	if e.doubleStar != nil {
		v, err := r.eval(e.doubleStar, s)
		if err != nil {
			return a, err
		}
		d, ok := v.(*Dict)
		if !ok || len(d.keys) > maxNest {
			return a, fmt.Errorf("** needs a dict of at most %d entries, got %s", maxNest, typeName(v))
		}
		for i, key := range d.keys {
			name, ok := key.(string)
			if !ok || slices.ContainsFunc(a.keywords, func(k namedValue) bool { return k.name == name }) {
				return a, errors.New("** needs distinct strings as keys")
			}
			a.keywords = append(a.keywords, namedValue{name, d.values[i]})
		}
	}
	return a, nil
}

// builtin is a global function of Jinja.
type builtin struct {
	name string
	call func(r *run, args arguments) (Value, error)
}

func builtins() map[string]Value {
	return map[string]Value{
		"range":     &builtin{"range", callRange},
		"dict":      &builtin{"dict", callDict},
		"namespace": &builtin{"namespace", callNamespace},
	}
}

func (r *run) call(callee Value, args arguments) (Value, error) {
	if err := r.charge(callCost); err != nil {
		return nil, err
	}
	switch f := callee.(type) {
	case undefined:
		return nil, errors.New(f.message)
	case *macro:
		return r.callMacro(f, args)
	case *builtin:
		return f.call(r, args)
	case method:
		return r.callMethod(f, args)
	case *loop:
		if f.recurse == nil {
			return nil, errors.New("the loop must be marked recursive to be called")
		}
		bound, err := args.bind("loop", []string{"iterable"}, 1)
		if err != nil {
			return nil, err
		}
		return f.recurse(bound[0])
	case Function:
		bound, err := args.bind(f.Name, f.Params, len(f.Params))
		if err != nil {
			return nil, err
		}
		return f.Call(bound)
	}
	return nil, fmt.Errorf("%s is not callable", typeName(callee))
}

func callRange(r *run, args arguments) (Value, error) {
	if n := len(args.positional); n < 1 || n > 3 || len(args.keywords) > 0 {
		return nil, errors.New("range takes one to three numbers")
	}
	bounds := [3]int64{0, 0, 1}
	for i, v := range args.positional {
		n, ok := index(v)
		if !ok {
			return nil, fmt.Errorf("range takes integers, got %s", typeName(v))
		}
		bounds[i] = n
	}
	start, stop, step := bounds[0], bounds[1], bounds[2]
	if len(args.positional) == 1 {
		start, stop = 0, start
	}
	if step == 0 {
		return nil, errors.New("range step may not be zero")
	}
	var items []Value
	for i := start; step > 0 && i < stop || step < 0 && i > stop; {
		if len(items) == maxRange {
			return nil, fmt.Errorf("%w: a range has at most %d elements", ErrLimit, maxRange)
		}
		items = append(items, i)
		next := i + step
		if (next > i) != (step > 0) {
			break
		}
		i = next
	}
	return &seq{kind: rangeKind, items: items}, r.charge(itemCost * len(items))
}

// callDict makes a dict of another one, or of pairs, and of keyword arguments.
func callDict(r *run, args arguments) (Value, error) {
	d := &Dict{}
	if len(args.positional) > 1 {
		return nil, errors.New("dict takes at most one positional argument")
	}
	if len(args.positional) == 1 {
		v := args.positional[0]
		if from, ok := v.(*Dict); ok {
			v = &seq{items: from.pairs()}
		}
		if err := defined(v); err != nil {
			return nil, err
		}
		pairs, err := r.items(v)
		if err != nil {
			return nil, err
		}
		if err := r.charge(itemCost * len(pairs)); err != nil {
			return nil, err
		}
		for _, p := range pairs {
			pair, err := r.items(p)
			if err != nil {
				return nil, err
			}
			if len(pair) != 2 {
				return nil, errors.New("dict takes pairs of a key and a value")
			}
			hash, err := hashable(pair[0])
			if err != nil {
				return nil, err
			}
			d.set(hash, pair[0], pair[1])
		}
	}
	for _, k := range args.keywords {
		d.set(k.name, k.name, k.value)
	}
	return d, nil
}

func callNamespace(r *run, args arguments) (Value, error) {
	v, err := callDict(r, args)
	if err != nil {
		return nil, fmt.Errorf("namespace: %w", err)
	}
	ns := &namespace{attrs: map[string]Value{}}
	d, ok := v.(*Dict)
	if !ok {
		return nil, errors.New("namespace: no dict")
	}
	for i, key := range d.keys {
		name, ok := key.(string)
		if !ok || strings.HasPrefix(name, "_") {
			return nil, errors.New("namespace attributes are names that do not begin with an underscore")
		}
		ns.attrs[name] = d.values[i]
	}
	return ns, nil
}

// objectName names a value's type as jinja2's messages do.
func objectName(v Value) string {
	if v == nil {
		return "None"
	}
	return typeName(v) + " object"
}

func missing(object Value, name string) undefined {
	return undefined{fmt.Sprintf("'%s' has no attribute '%s'", objectName(object), name)}
}

// attribute evaluates object.name: a method, else an item of that name.
func (r *run) attribute(object Value, name string) (Value, error) {
	var methods map[string]methodSpec
	unsupported := ""
	switch o := object.(type) {
	case undefined:
		return nil, errors.New(o.message)
	case *loop:
		return o.attribute(name)
	case *namespace:
		if v, ok := o.attrs[name]; ok {
			return v, nil
		}
		return missing(object, name), nil
	case string:
		methods, unsupported = strMethods, otherStrMethods
	case *Dict:
		methods, unsupported = dictMethods, " copy fromkeys "
		if v, ok := o.get(name); ok && !dictMethods[name].known() && !isMutator(name) {
			return v, nil
		}
	case *seq:
		if o.kind <= tupleKind {
			methods, unsupported = seqMethods, " copy "
		}
	case *macro, *builtin, method, Function:
		return nil, fmt.Errorf("attributes of a %s are not supported", typeName(object))
	}
	switch {
	case methods[name].known():
		return method{receiver: object, name: name}, nil
	case strings.Contains(unsupported, " "+name+" "):
		return nil, fmt.Errorf("method %s of %s is not supported", name, typeName(object))
	case isMutator(name) && methods != nil && unsupported != otherStrMethods, strings.HasPrefix(name, "_"):
		return undefined{fmt.Sprintf("access to attribute '%s' of '%s' object is unsafe", name, typeName(object))}, nil
	}
	return missing(object, name), nil
}

// isMutator names the methods that change a list or a dict, which jinja2's immutable sandbox does not give out.
func isMutator(name string) bool {
	switch name {
	case "append", "clear", "extend", "insert", "pop", "popitem", "remove", "reverse", "setdefault", "sort", "update":
		return true
	}
	return false
}

func (r *run) callMethod(m method, args arguments) (Value, error) {
	if l, ok := m.receiver.(*loop); ok {
		if len(args.keywords) > 0 {
			return nil, fmt.Errorf("loop.%s takes no keyword arguments", m.name)
		}
		return l.call(m.name, args.positional)
	}
	methods := seqMethods
	switch o := m.receiver.(type) {
	case string:
		methods = strMethods
		if err := r.charge(len(o)); err != nil {
			return nil, err
		}
	case *Dict:
		methods = dictMethods
	}
	spec := methods[m.name]
	bound, err := args.bind(m.name, spec.params, spec.required)
	if err != nil {
		return nil, err
	}
	v, err := spec.call(r, m.receiver, bound)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", m.name, err)
	}
	return v, nil
}

// methodSpec describes a method of a builtin type.
type methodSpec struct {
	params   []string
	required int
	call     func(r *run, receiver Value, args []Value) (Value, error)
}

func (m methodSpec) known() bool { return m.call != nil }

func stringArg(v Value) (string, error) {
	if s, ok := v.(string); ok {
		return s, nil
	}
	if err := defined(v); err != nil {
		return "", err
	}
	return "", fmt.Errorf("expected a string, got %s", typeName(v))
}

func intArg(v Value, otherwise int64) (int64, error) {
	if _, ok := v.(absent); ok {
		return otherwise, nil
	}
	if n, ok := index(v); ok {
		return n, nil
	}
	if err := defined(v); err != nil {
		return 0, err
	}
	return 0, fmt.Errorf("expected an integer, got %s", typeName(v))
}

func boolArg(v Value) bool {
	if _, ok := v.(absent); ok {
		return false
	}
	return truth(v)
}
