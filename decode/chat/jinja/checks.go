package jinja

import (
	"errors"
	"fmt"
	"unicode"
)

// test applies a test by name; its value is a bool.
func (r *run) test(name string, v Value, args arguments) (Value, error) {
	if err := r.charge(callCost); err != nil {
		return nil, err
	}
	holds, err := r.applyTest(name, v, args)
	if err != nil {
		return nil, fmt.Errorf("test %s: %w", name, err)
	}
	return holds, nil
}

func (r *run) applyTest(name string, v Value, args arguments) (bool, error) {
	switch name {
	case "eq", "equalto", "==", "ne", "!=", "lt", "lessthan", "<", "le", "<=", "gt", "greaterthan", ">", "ge", ">=",
		"in",
		"sameas", "divisibleby":
		bound, err := args.bind("the test", []string{"other"}, 1)
		if err != nil {
			return false, err
		}
		return r.testWithArgument(name, v, bound[0])
	}
	if _, err := args.bind("the test", nil, 0); err != nil {
		return false, err
	}
	_, isUndefined := v.(undefined)
	switch name {
	case "defined":
		return !isUndefined, nil
	case "undefined":
		return isUndefined, nil
	case "none":
		return v == nil, nil
	case "true":
		return v == true, nil
	case "false":
		return v == false, nil
	case "boolean":
		_, ok := v.(bool)
		return ok, nil
	case "integer":
		_, ok := v.(int64)
		return ok, nil
	case "float":
		_, ok := v.(float64)
		return ok, nil
	case "number":
		_, ok := number(v)
		return ok, nil
	case "string":
		_, ok := v.(string)
		return ok, nil
	case "mapping":
		_, ok := v.(*Dict)
		return ok, nil
	case "iterable":
		return isIterable(v), nil
	case "sequence":
		if s, ok := v.(*seq); ok {
			return s.kind <= rangeKind, nil
		}
		return isIterable(v) && !isLoop(v), nil
	case "callable":
		switch v.(type) {
		case *macro, *builtin, method, Function, *loop, undefined:
			return true, nil
		}
		return false, nil
	case "odd", "even":
		m, err := r.binary("%", v, int64(2))
		if err != nil {
			return false, err
		}
		want := asInt(name == "odd")
		return r.equal(m, want, 0)
	case "lower", "upper":
		s, err := r.str(v)
		if err != nil {
			return false, err
		}
		if name == "lower" {
			return hasOneCase(s, unicode.IsLower, unicode.IsUpper), r.charge(len(s))
		}
		return hasOneCase(s, unicode.IsUpper, unicode.IsLower), r.charge(len(s))
	}
	return false, errors.New("there is no such test, or it is not supported in chat templates")
}

func (r *run) testWithArgument(name string, v, other Value) (bool, error) {
	switch name {
	case "eq", "equalto":
		name = "=="
	case "ne":
		name = "!="
	case "lt", "lessthan":
		name = "<"
	case "le":
		name = "<="
	case "gt", "greaterthan":
		name = ">"
	case "ge":
		name = ">="
	case "divisibleby":
		m, err := r.binary("%", v, other)
		if err != nil {
			return false, err
		}
		return r.equal(m, int64(0), 0)
	case "sameas":
		return sameAs(v, other)
	}
	return r.compareOne(name, v, other)
}

// sameAs is Python's "is" where that does not depend on how Python happens to store a value.
func sameAs(a, b Value) (bool, error) {
	switch a := a.(type) {
	case nil, bool:
		return a == b, nil
	case *seq, *Dict, *namespace, *macro, *loop:
		return a == b, nil
	}
	switch b.(type) {
	case nil, bool:
		return false, nil
	}
	if typeName(a) != typeName(b) {
		return false, nil
	}
	return false, fmt.Errorf("not supported for %s", typeName(a))
}

func isIterable(v Value) bool {
	switch v.(type) {
	case string, *seq, *Dict, undefined, *loop:
		return true
	}
	return false
}

func isLoop(v Value) bool {
	_, ok := v.(*loop)
	return ok
}
