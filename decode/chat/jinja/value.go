package jinja

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Value is a value of the template language: nil (None), bool, int64, float64, string, *Dict, a list made by List, a
// Function, or one of this package's own.
type Value any

type seqKind int

const (
	listKind  seqKind = iota
	tupleKind         // immutable list
	rangeKind         // what range returns
	viewKind          // what a dict's items, keys and values return
	iterKind          // iterator: gives each element once, has no length
)

func (k seqKind) String() string {
	return [...]string{"list", "tuple", "range", "dict view", "iterator"}[k]
}

// seq is every sequence but a string.
//
// One of iterKind is lazy, as Python's are: it takes its elements from items, or from another iterator, and passes them
// through a function, none before it is asked for.
type seq struct {
	kind      seqKind
	items     []Value
	source    *seq                             // iterKind: in place of items, or nil
	transform func(Value) (Value, bool, error) // iterKind: the element to give, if any; or nil
}

// List makes a list.
func List(items ...Value) Value { return &seq{items: items} }

func tupleOf(items ...Value) *seq { return &seq{kind: tupleKind, items: items} }

func iterOf(items []Value) *seq { return &seq{kind: iterKind, items: items} }

// next takes the next element from an iterator.
func (r *run) next(s *seq) (Value, bool, error) {
	if err := r.enter(); err != nil {
		return nil, false, err
	}
	defer r.leave()
	for {
		var v Value
		switch {
		case s.source != nil:
			var ok bool
			var err error
			if v, ok, err = r.next(s.source); err != nil || !ok {
				return nil, false, err
			}
		case len(s.items) == 0:
			return nil, false, nil
		default:
			v = s.items[0]
			s.items = s.items[1:]
		}
		if s.transform == nil {
			return v, true, nil
		}
		passed, ok, err := s.transform(v)
		if err != nil || ok {
			return passed, ok, err
		}
	}
}

// iterate returns an iterator over a value: the value itself if it is one.
func (r *run) iterate(v Value) (*seq, error) {
	if s, ok := v.(*seq); ok && s.kind == iterKind {
		return s, nil
	}
	items, err := r.items(v)
	return iterOf(items), err
}

// mapLazily passes the elements of a value through a function. As in jinja2's filters a false value has no elements.
func (r *run) mapLazily(v Value, transform func(Value) (Value, bool, error)) (Value, error) {
	if !truth(v) {
		return iterOf(nil), nil
	}
	from, err := r.iterate(v)
	return &seq{kind: iterKind, source: from, transform: transform}, err
}

// Dict is a dictionary that keeps the order of insertion.
type Dict struct {
	keys   []Value
	values []Value
	index  map[Value]int
}

// NewDict makes a dictionary of pairs of a string key and a value.
func NewDict(pairs ...Value) *Dict {
	d := &Dict{}
	for i := 0; i+1 < len(pairs); i += 2 {
		d.set(pairs[i], pairs[i], pairs[i+1])
	}
	return d
}

// hashable returns the form under which Python would find a key: equal numbers are one key.
func hashable(key Value) (Value, error) {
	switch k := key.(type) {
	case nil, string, int64:
		return k, nil
	case bool:
		return asInt(k), nil
	case float64:
		if n := int64(k); float64(n) == k && math.Abs(k) < 1<<62 {
			return n, nil
		}
		return k, nil
	default:
		return nil, fmt.Errorf("%s as a dictionary key is not supported", typeName(key))
	}
}

// unhashable fails for what Python takes for no key at all.
func unhashable(v Value) error {
	switch v := v.(type) {
	case *Dict:
		return errors.New("a dict is no dictionary key")
	case *seq:
		if v.kind == listKind {
			return errors.New("a list is no dictionary key")
		}
	}
	return nil
}

func (d *Dict) set(hash, key, value Value) {
	if d.index == nil {
		d.index = map[Value]int{}
	}
	if i, ok := d.index[hash]; ok {
		d.values[i] = value
		return
	}
	d.index[hash] = len(d.keys)
	d.keys = append(d.keys, key)
	d.values = append(d.values, value)
}

func (d *Dict) get(key Value) (Value, bool) {
	hash, err := hashable(key)
	if err != nil {
		return nil, false
	}
	i, ok := d.index[hash]
	if !ok {
		return nil, false
	}
	return d.values[i], true
}

func (d *Dict) pairs() []Value {
	items := make([]Value, len(d.keys))
	for i := range d.keys {
		items[i] = tupleOf(d.keys[i], d.values[i])
	}
	return items
}

// undefined is what a missing variable or attribute gives. It prints as nothing; most other uses fail with its message.
type undefined struct{ message string }

// namespace is the one mutable value.
type namespace struct{ attrs map[string]Value }

// method is a method of a builtin type, bound to its receiver.
type method struct {
	receiver Value
	name     string
}

// macro is a macro or the caller of a call block.
type macro struct {
	signature
	name       string
	body       []stmt
	scope      *scope
	usesCaller bool
}

func typeName(v Value) string {
	switch v := v.(type) {
	case nil:
		return "NoneType"
	case bool:
		return "bool"
	case int64:
		return "int"
	case float64:
		return "float"
	case string:
		return "str"
	case *seq:
		return v.kind.String()
	case *Dict:
		return "dict"
	case undefined:
		return "Undefined"
	case *namespace:
		return "namespace"
	case *loop:
		return "loop"
	case *macro:
		return "macro"
	default:
		return "function"
	}
}

func asInt(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// index returns v as an integer where Python would take it as one.
func index(v Value) (int64, bool) {
	switch v := v.(type) {
	case int64:
		return v, true
	case bool:
		return asInt(v), true
	}
	return 0, false
}

func number(v Value) (float64, bool) {
	if f, ok := v.(float64); ok {
		return f, true
	}
	n, ok := index(v)
	return float64(n), ok
}

func truth(v Value) bool {
	switch v := v.(type) {
	case nil, undefined:
		return false
	case bool:
		return v
	case int64:
		return v != 0
	case float64:
		return v != 0
	case string:
		return v != ""
	case *Dict:
		return len(v.keys) > 0
	case *seq:
		return v.kind == iterKind || len(v.items) > 0
	}
	return true
}

var errTooDeep = fmt.Errorf("%w: values nested more than %d deep", ErrLimit, maxNest)

// str is Python's str of a value.
func (r *run) str(v Value) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case undefined:
		return "", nil
	}
	var b strings.Builder
	err := r.repr(&b, v, 0)
	return b.String(), err
}

// repr writes Python's repr of a value.
func (r *run) repr(b *strings.Builder, v Value, depth int) error {
	if depth > maxNest {
		return errTooDeep
	}
	if err := r.charge(itemCost); err != nil {
		return err
	}
	switch v := v.(type) {
	case nil:
		b.WriteString("None")
	case bool:
		if v {
			b.WriteString("True")
		} else {
			b.WriteString("False")
		}
	case int64:
		b.WriteString(strconv.FormatInt(v, 10))
	case float64:
		b.WriteString(floatString(v))
	case string:
		if err := r.charge(4 * len(v)); err != nil {
			return err
		}
		reprString(b, v)
	case undefined:
		b.WriteString("Undefined")
	case *seq:
		return r.reprSeq(b, v, depth)
	case *Dict:
		b.WriteByte('{')
		for i := range v.keys {
			if i > 0 {
				b.WriteString(", ")
			}
			if err := r.repr(b, v.keys[i], depth+1); err != nil {
				return err
			}
			b.WriteString(": ")
			if err := r.repr(b, v.values[i], depth+1); err != nil {
				return err
			}
		}
		b.WriteByte('}')
	default:
		return fmt.Errorf("printing a %s is not supported", typeName(v))
	}
	return nil
}

func (r *run) reprSeq(b *strings.Builder, s *seq, depth int) error {
	brackets := "[]"
	switch s.kind {
	case listKind:
	case tupleKind:
		brackets = "()"
	case rangeKind, viewKind, iterKind:
		return fmt.Errorf("printing a %s is not supported; make it a list first", s.kind)
	}
	b.WriteByte(brackets[0])
	for i, item := range s.items {
		if i > 0 {
			b.WriteString(", ")
		}
		if err := r.repr(b, item, depth+1); err != nil {
			return err
		}
	}
	if s.kind == tupleKind && len(s.items) == 1 {
		b.WriteByte(',')
	}
	b.WriteByte(brackets[1])
	return nil
}

func reprString(b *strings.Builder, s string) {
	quote := byte('\'')
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		quote = '"'
	}
	b.WriteByte(quote)
	for _, c := range s {
		switch {
		case c == rune(quote) || c == '\\':
			b.WriteByte('\\')
			b.WriteRune(c)
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\r':
			b.WriteString(`\r`)
		case c == '\t':
			b.WriteString(`\t`)
		case !unicode.IsPrint(c):
			b.WriteString(backslashReplace(c))
		default:
			b.WriteRune(c)
		}
	}
	b.WriteByte(quote)
}

// floatString is Python's repr of a float.
func floatString(f float64) string {
	switch {
	case math.IsNaN(f):
		return "nan"
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	}
	if a := math.Abs(f); a != 0 && (a < 1e-4 || a >= 1e16) {
		return strconv.FormatFloat(f, 'e', -1, 64)
	}
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

// equal is Python's ==.
func (r *run) equal(a, b Value, depth int) (bool, error) {
	if depth > maxNest {
		return false, errTooDeep
	}
	if err := r.charge(nodeCost); err != nil {
		return false, err
	}
	if x, ok := number(a); ok {
		if n, ok := index(a); ok {
			if m, ok := index(b); ok {
				return n == m, nil
			}
		}
		y, ok := number(b)
		return ok && x == y, nil
	}
	switch a := a.(type) {
	case nil:
		return b == nil, nil
	case string:
		b, ok := b.(string)
		if ok && len(a) == len(b) {
			if err := r.charge(len(a)); err != nil {
				return false, err
			}
		}
		return ok && a == b, nil
	case undefined:
		_, ok := b.(undefined)
		return ok, nil
	case *seq:
		b, ok := b.(*seq)
		if !ok || a == b {
			return ok, nil
		}
		if a.kind != b.kind || a.kind >= viewKind || len(a.items) != len(b.items) {
			return false, nil
		}
		for i := range a.items {
			if same, err := r.equal(a.items[i], b.items[i], depth+1); err != nil || !same {
				return false, err
			}
		}
		return true, nil
	case *Dict:
		b, ok := b.(*Dict)
		if !ok || len(a.keys) != len(b.keys) {
			return false, nil
		}
		for i, key := range a.keys {
			other, ok := b.get(key)
			if !ok {
				return false, nil
			}
			if same, err := r.equal(a.values[i], other, depth+1); err != nil || !same {
				return false, err
			}
		}
		return true, nil
	case *namespace, *loop, *macro:
		return a == b, nil
	}
	return false, fmt.Errorf("comparing a %s is not supported", typeName(a))
}

// compare orders two values as Python's < does: -1, 0 or 1, and false where they are unordered because of a NaN.
func (r *run) compare(op string, a, b Value, depth int) (int, bool, error) {
	if depth > maxNest {
		return 0, false, errTooDeep
	}
	if err := r.charge(nodeCost); err != nil {
		return 0, false, err
	}
	if err := defined(a, b); err != nil {
		return 0, false, err
	}
	if n, ok := index(a); ok {
		if m, ok := index(b); ok {
			return cmpOrdered(n, m), true, nil
		}
	}
	if x, ok := number(a); ok {
		if y, ok := number(b); ok {
			return cmpOrdered(x, y), !math.IsNaN(x) && !math.IsNaN(y), nil
		}
	}
	if x, ok := a.(string); ok {
		if y, ok := b.(string); ok {
			err := r.charge(min(len(x), len(y)))
			return strings.Compare(x, y), true, err
		}
	}
	x, ok := a.(*seq)
	y, ok2 := b.(*seq)
	if !ok || !ok2 || x.kind != y.kind || x.kind > tupleKind {
		return 0, false, fmt.Errorf("%q is not supported between %s and %s", op, typeName(a), typeName(b))
	}
	for i := range min(len(x.items), len(y.items)) {
		same, err := r.equal(x.items[i], y.items[i], depth+1)
		if err != nil {
			return 0, false, err
		}
		if !same {
			return r.compare(op, x.items[i], y.items[i], depth+1)
		}
	}
	return cmpOrdered(len(x.items), len(y.items)), true, nil
}

func cmpOrdered[T int | int64 | float64](a, b T) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// defined fails with the message of the first undefined value.
func defined(values ...Value) error {
	for _, v := range values {
		if u, ok := v.(undefined); ok {
			return errors.New(u.message)
		}
	}
	return nil
}

// contains is Python's "needle in haystack".
func (r *run) contains(haystack, needle Value) (bool, error) {
	switch h := haystack.(type) {
	case string:
		n, ok := needle.(string)
		if !ok {
			if err := defined(needle); err != nil {
				return false, err
			}
			return false, fmt.Errorf("\"in\" a string needs a string on its left, got %s", typeName(needle))
		}
		if err := r.charge(len(h) + len(n)); err != nil {
			return false, err
		}
		return strings.Contains(h, n), nil
	case *Dict:
		if err := unhashable(needle); err != nil {
			return false, err
		}
		_, ok := h.get(needle)
		return ok, nil
	}
	it, err := r.iterate(haystack)
	if err != nil {
		return false, err
	}
	for {
		item, ok, err := r.next(it)
		if err != nil || !ok {
			return false, err
		}
		if same, err := r.equal(item, needle, 0); err != nil || same {
			return same, err
		}
	}
}

// items returns what iterating over a value gives. An iterator is used up.
func (r *run) items(v Value) ([]Value, error) {
	switch v := v.(type) {
	case undefined:
		return nil, nil
	case string:
		if err := r.charge(itemCost * utf8.RuneCountInString(v)); err != nil {
			return nil, err
		}
		var items []Value
		for _, c := range v {
			items = append(items, string(c))
		}
		return items, nil
	case *seq:
		if v.kind != iterKind {
			return v.items, nil
		}
		var items []Value
		for {
			item, ok, err := r.next(v)
			if err != nil || !ok {
				return items, err
			}
			items = append(items, item)
		}
	case *Dict:
		return v.keys, nil
	}
	return nil, fmt.Errorf("%s is not iterable", typeName(v))
}

// length is Python's len.
func (r *run) length(v Value) (int, error) {
	switch v := v.(type) {
	case undefined:
		return 0, nil
	case string:
		return utf8.RuneCountInString(v), r.charge(len(v))
	case *Dict:
		return len(v.keys), nil
	case *seq:
		if v.kind != iterKind {
			return len(v.items), nil
		}
	}
	return 0, fmt.Errorf("%s has no length", typeName(v))
}
