package jinja

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"strconv"
	"strings"
)

var (
	errIntRange = errors.New("integer out of the range of 64 bits")
	errZeroDiv  = errors.New("division by zero")
)

// binary applies an operator.
func (r *run) binary(op string, a, b Value) (Value, error) {
	if op == "~" {
		x, err := r.str(a)
		if err != nil {
			return nil, err
		}
		y, err := r.str(b)
		if err != nil {
			return nil, err
		}
		return r.join(x, y)
	}
	if x, ok := a.(string); ok && op == "%" {
		return r.percent(x, b)
	}
	if err := defined(a, b); err != nil {
		return nil, err
	}
	n, aInt := index(a)
	m, bInt := index(b)
	if aInt && bInt {
		return intOp(op, n, m)
	}
	x, aNum := number(a)
	y, bNum := number(b)
	if aNum && bNum {
		return floatOp(op, x, y)
	}
	switch op {
	case "+":
		if v, err := r.concat(a, b); v != nil || err != nil {
			return v, err
		}
	case "*":
		if bInt {
			if v, err := r.repeat(a, m); v != nil || err != nil {
				return v, err
			}
		} else if aInt {
			if v, err := r.repeat(b, n); v != nil || err != nil {
				return v, err
			}
		}
	}
	return nil, fmt.Errorf("unsupported operand types for %s: %s and %s", op, typeName(a), typeName(b))
}

func (r *run) join(a, b string) (Value, error) {
	if err := r.charge(len(a) + len(b)); err != nil {
		return nil, err
	}
	return a + b, nil
}

// concat adds two strings, lists or tuples; nil for anything else.
func (r *run) concat(a, b Value) (Value, error) {
	switch a := a.(type) {
	case string:
		if b, ok := b.(string); ok {
			return r.join(a, b)
		}
	case *seq:
		b, ok := b.(*seq)
		if !ok || a.kind != b.kind || a.kind > tupleKind {
			return nil, nil
		}
		if err := r.charge(itemCost * (len(a.items) + len(b.items))); err != nil {
			return nil, err
		}
		return &seq{kind: a.kind, items: append(a.items[:len(a.items):len(a.items)], b.items...)}, nil
	}
	return nil, nil
}

// repeat multiplies a string, list or tuple; nil for anything else.
func (r *run) repeat(v Value, n int64) (Value, error) {
	n = max(n, 0)
	pay := func(size int) error {
		if size > 0 && n > maxWork/int64(size) {
			return r.charge(maxWork)
		}
		return r.charge(size * int(n))
	}
	switch v := v.(type) {
	case string:
		if err := pay(len(v)); err != nil || v == "" {
			return "", err
		}
		return strings.Repeat(v, int(n)), nil
	case *seq:
		if v.kind > tupleKind {
			return nil, nil
		}
		if err := pay(itemCost * len(v.items)); err != nil {
			return nil, err
		}
		var items []Value
		for ; n > 0 && len(v.items) > 0; n-- {
			items = append(items, v.items...)
		}
		return &seq{kind: v.kind, items: items}, nil
	}
	return nil, nil
}

func intOp(op string, a, b int64) (Value, error) {
	switch op {
	case "+":
		if c := a + b; (c > a) == (b > 0) {
			return c, nil
		}
		return nil, errIntRange
	case "-":
		if c := a - b; (c < a) == (b > 0) {
			return c, nil
		}
		return nil, errIntRange
	case "*":
		return mul(a, b)
	case "/":
		return floatOp(op, float64(a), float64(b))
	case "//", "%":
		if b == 0 {
			return nil, errZeroDiv
		}
		if a == math.MinInt64 && b == -1 {
			return nil, errIntRange
		}
		q, m := a/b, a%b
		if m != 0 && (m < 0) != (b < 0) {
			q, m = q-1, m+b
		}
		if op == "%" {
			return m, nil
		}
		return q, nil
	}
	if b < 0 {
		return floatOp(op, float64(a), float64(b))
	}
	result := int64(1)
	for base := a; b > 0; b >>= 1 {
		var err error
		if b&1 == 1 {
			if result, err = mul(result, base); err != nil {
				return nil, err
			}
		}
		if b > 1 {
			if base, err = mul(base, base); err != nil {
				return nil, err
			}
		}
	}
	return result, nil
}

func mul(a, b int64) (int64, error) {
	high, low := bits.Mul64(uint64(abs(a)), uint64(abs(b)))
	if high != 0 || low > math.MaxInt64 {
		return 0, errIntRange
	}
	return a * b, nil
}

func abs(n int64) int64 {
	if n < 0 {
		return -n
	}
	return n
}

func floatOp(op string, a, b float64) (Value, error) {
	switch op {
	case "+":
		return a + b, nil
	case "-":
		return a - b, nil
	case "*":
		return a * b, nil
	case "**":
		if a == 0 && b < 0 {
			return nil, errZeroDiv
		}
		if a < 0 && b != math.Trunc(b) {
			return nil, errors.New("complex numbers are not supported")
		}
		p := math.Pow(a, b)
		if math.IsInf(p, 0) && !math.IsInf(a, 0) && !math.IsInf(b, 0) {
			return nil, errors.New("float out of range")
		}
		return p, nil
	}
	if b == 0 {
		return nil, errZeroDiv
	}
	if op == "/" {
		return a / b, nil
	}
	m := math.Mod(a, b)
	if m != 0 && (m < 0) != (b < 0) {
		m += b
	}
	if op == "%" {
		if m == 0 {
			m = math.Copysign(0, b)
		}
		return m, nil
	}
	return math.Floor((a-m)/b + 0.5), nil
}

// percent is Python's % formatting with the conversions %s, %d, %i, %f (with a precision) and %%, with one value or a
// tuple of values.
func (r *run) percent(format string, v Value) (Value, error) {
	args, all := []Value{v}, true
	switch v := v.(type) {
	case *Dict, undefined:
		all = false
	case *seq:
		all = v.kind >= viewKind // Python takes other sequences for mappings, which need not be used up
		if v.kind == tupleKind {
			args, all = v.items, true
		}
	}
	var b strings.Builder
	used := 0
	for format != "" {
		i := strings.IndexByte(format, '%')
		if i < 0 {
			b.WriteString(format)
			break
		}
		b.WriteString(format[:i])
		format = format[i+1:]
		if strings.HasPrefix(format, "%") {
			b.WriteByte('%')
			format = format[1:]
			continue
		}
		verb := strings.TrimLeft(format, ".0123456789")
		if verb == "" {
			return nil, errors.New("incomplete % format")
		}
		flags := format[:len(format)-len(verb)]
		format = verb[1:]
		if used == len(args) {
			return nil, errors.New("not enough arguments for % format")
		}
		text, err := r.percentVerb(verb[0], flags, args[used])
		if err != nil {
			return nil, err
		}
		if err := r.charge(len(text)); err != nil {
			return nil, err
		}
		b.WriteString(text)
		used++
	}
	if used < len(args) && all {
		return nil, errors.New("not all arguments are used by the % format")
	}
	return b.String(), r.charge(b.Len())
}

func (r *run) percentVerb(verb byte, flags string, v Value) (string, error) {
	switch {
	case verb == 's' && flags == "":
		return r.str(v)
	case (verb == 'd' || verb == 'i') && flags == "":
		if err := defined(v); err != nil {
			return "", err
		}
		if n, ok := index(v); ok {
			return strconv.FormatInt(n, 10), nil
		}
		if f, ok := v.(float64); ok && math.Abs(f) < 1<<53 {
			return strconv.FormatInt(int64(f), 10), nil
		}
		return "", fmt.Errorf("%%%c needs a number, got %s", verb, typeName(v))
	case verb == 'f' && (flags == "" || len(flags) == 2 && flags[0] == '.'):
		f, ok := number(v)
		if !ok {
			return "", fmt.Errorf("%%f needs a number, got %s", typeName(v))
		}
		digits := 6
		if flags != "" {
			digits = int(flags[1] - '0')
		}
		return strconv.FormatFloat(f, 'f', digits, 64), nil
	}
	return "", fmt.Errorf("conversion %%%s%c is not supported", flags, verb)
}
