package jinja

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf16"
)

// jsonWriter writes values as Python's json.dumps does.
type jsonWriter struct {
	r          *run
	b          strings.Builder
	ascii      bool
	sortKeys   bool
	indent     string
	lines      bool // indent is on
	item, pair string
}

// filterJSON is the tojson filter of transformers: json.dumps without HTML escapes, ensure_ascii off by default.
func filterJSON(r *run, v Value, args []Value) (Value, error) {
	w := &jsonWriter{r: r, ascii: boolArg(args[0]), sortKeys: boolArg(args[3]), item: ", ", pair: ": "}
	switch indent := args[1].(type) {
	case absent, nil:
	case string:
		w.lines, w.indent = true, indent
	default:
		n, err := intArg(indent, 0)
		if err != nil {
			return nil, err
		}
		if n > maxNest {
			return nil, fmt.Errorf("%w: indent of %d", ErrLimit, n)
		}
		w.lines, w.indent = true, strings.Repeat(" ", max(0, int(n)))
	}
	if w.lines {
		w.item = ","
	}
	switch separators := args[2].(type) {
	case absent, nil:
	case *seq:
		if len(separators.items) != 2 {
			return nil, errors.New("separators are a pair of strings")
		}
		var err error
		if w.item, err = stringArg(separators.items[0]); err != nil {
			return nil, err
		}
		if w.pair, err = stringArg(separators.items[1]); err != nil {
			return nil, err
		}
	default:
		return nil, errors.New("separators are a pair of strings")
	}
	if err := w.value(v, 0); err != nil {
		return nil, err
	}
	return w.b.String(), nil
}

func (w *jsonWriter) write(s string) error {
	w.b.WriteString(s)
	return w.r.charge(len(s))
}

func (w *jsonWriter) value(v Value, depth int) error {
	if depth > maxNest {
		return errTooDeep
	}
	if err := w.r.charge(nodeCost); err != nil {
		return err
	}
	switch v := v.(type) {
	case nil, bool, int64, float64:
		return w.write(jsonScalar(v))
	case string:
		return w.str(v)
	case *seq:
		if v.kind <= tupleKind {
			return w.container('[', ']', len(v.items), depth, func(i int) error { return w.value(v.items[i], depth+1) })
		}
	case *Dict:
		return w.dict(v, depth)
	}
	return fmt.Errorf("%s is not JSON serializable", typeName(v))
}

func jsonScalar(v Value) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		return fmt.Sprint(v)
	case float64:
		switch {
		case math.IsNaN(v):
			return "NaN"
		case math.IsInf(v, 1):
			return "Infinity"
		case math.IsInf(v, -1):
			return "-Infinity"
		}
		return floatString(v)
	default:
		return fmt.Sprint(v)
	}
}

func (w *jsonWriter) dict(d *Dict, depth int) error {
	order := make([]int, len(d.keys))
	for i := range order {
		order[i] = i
	}
	if w.sortKeys {
		var failed error
		slices.SortStableFunc(order, func(i, j int) int {
			c, _, err := w.r.compare("<", d.keys[i], d.keys[j], 0)
			if err != nil {
				failed = err
			}
			return c
		})
		if failed != nil {
			return failed
		}
	}
	return w.container('{', '}', len(order), depth, func(i int) error {
		key := d.keys[order[i]]
		name, ok := key.(string)
		if !ok {
			name = jsonScalar(key)
		}
		if err := w.str(name); err != nil {
			return err
		}
		if err := w.write(w.pair); err != nil {
			return err
		}
		return w.value(d.values[order[i]], depth+1)
	})
}

func (w *jsonWriter) container(begin, end byte, n, depth int, element func(int) error) error {
	w.b.WriteByte(begin)
	for i := range n {
		if i > 0 {
			if err := w.write(w.item); err != nil {
				return err
			}
		}
		if err := w.newLine(depth + 1); err != nil {
			return err
		}
		if err := element(i); err != nil {
			return err
		}
	}
	if n > 0 {
		if err := w.newLine(depth); err != nil {
			return err
		}
	}
	w.b.WriteByte(end)
	return nil
}

func (w *jsonWriter) newLine(depth int) error {
	if !w.lines {
		return nil
	}
	if err := w.r.charge(depth * len(w.indent)); err != nil {
		return err
	}
	return w.write("\n" + strings.Repeat(w.indent, depth))
}

func (w *jsonWriter) str(s string) error {
	if err := w.r.charge(4 * len(s)); err != nil {
		return err
	}
	w.b.WriteByte('"')
	for _, c := range s {
		switch {
		case c == '"' || c == '\\':
			w.b.WriteByte('\\')
			w.b.WriteByte(byte(c))
		case c < 0x20:
			w.control(c)
		case w.ascii && c >= 0x10000:
			high, low := utf16.EncodeRune(c)
			fmt.Fprintf(&w.b, `\u%04x\u%04x`, high, low)
		case w.ascii && c > 0x7e:
			fmt.Fprintf(&w.b, `\u%04x`, c)
		default:
			w.b.WriteRune(c)
		}
	}
	w.b.WriteByte('"')
	return nil
}

// control writes a control character: five have names.
func (w *jsonWriter) control(c rune) {
	if i := strings.IndexRune("\n\r\t\b\f", c); i >= 0 {
		w.b.WriteByte('\\')
		w.b.WriteByte("nrtbf"[i])
		return
	}
	fmt.Fprintf(&w.b, `\u%04x`, c)
}
