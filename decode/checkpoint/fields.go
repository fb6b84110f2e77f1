package checkpoint

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// fields reads typed values out of one JSON object and keeps the first problem,
// so that a list of reads needs one check at its end. A null counts as absent
// unless a method says otherwise: transformers writes null for "not set".
type fields struct {
	values map[string]json.RawMessage
	prefix string // "rope_parameters." in a nested object
	err    error
}

func (f *fields) fail(key, format string, args ...any) {
	if f.err == nil {
		f.err = fmt.Errorf("%s%s: %s", f.prefix, key, fmt.Sprintf(format, args...))
	}
}

// get returns the raw value, and false where it is absent or null.
func (f *fields) get(key string) (json.RawMessage, bool) {
	raw, ok := f.values[key]
	if !ok || isNull(raw) {
		return nil, false
	}
	return raw, true
}

// present reports whether the key is there, be it null.
func (f *fields) present(key string) bool {
	_, ok := f.values[key]
	return ok
}

// integer reads a whole number from lo to hi.
func (f *fields) integer(key string, def, lo, hi int) int {
	raw, ok := f.get(key)
	if !ok {
		return def
	}
	n, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil {
		f.fail(key, "expected a whole number, found %s", kindOf(raw))
		return def
	}
	if n < int64(lo) || n > int64(hi) {
		f.fail(key, "expected a whole number from %d to %d, found %d", lo, hi, n)
		return def
	}
	return int(n)
}

// required is integer for a key that must be there: a model whose size is left to
// a default is one whose config.json is broken.
func (f *fields) required(key string, lo, hi int) int {
	if _, ok := f.get(key); !ok {
		f.fail(key, "the key is missing; expected a whole number from %d to %d", lo, hi)
		return lo
	}
	return f.integer(key, lo, lo, hi)
}

// number reads a finite number from lo to hi; a whole one will do.
func (f *fields) number(key string, def, lo, hi float64) float64 {
	raw, ok := f.get(key)
	if !ok {
		return def
	}
	x, err := parseNumber(raw)
	if err != nil {
		f.fail(key, "expected a number, found %s", kindOf(raw))
		return def
	}
	if !(x >= lo && x <= hi) {
		f.fail(key, "expected a number from %g to %g, found %s", lo, hi, kindOf(raw))
		return def
	}
	return x
}

// optionalNumber is number without a default.
func (f *fields) optionalNumber(key string, lo, hi float64) *float64 {
	if _, ok := f.get(key); !ok {
		return nil
	}
	x := f.number(key, lo, lo, hi)
	return &x
}

func parseNumber(raw json.RawMessage) (float64, error) {
	x, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || math.IsInf(x, 0) || math.IsNaN(x) {
		return 0, fmt.Errorf("%s is not a finite number", kindOf(raw))
	}
	return x, nil
}

func (f *fields) boolean(key string, def bool) bool {
	if b := f.optionalBoolean(key); b != nil {
		return *b
	}
	return def
}

func (f *fields) optionalBoolean(key string) *bool {
	raw, ok := f.get(key)
	if !ok {
		return nil
	}
	b := string(raw) == "true"
	if !b && string(raw) != "false" {
		f.fail(key, "expected true or false, found %s", kindOf(raw))
		return nil
	}
	return &b
}

func (f *fields) text(key, def string) string {
	raw, ok := f.get(key)
	if !ok {
		return def
	}
	s, ok := asString(raw)
	if !ok {
		f.fail(key, "expected a string, found %s", kindOf(raw))
		return def
	}
	return s
}

func (f *fields) texts(key string) []string {
	raw, ok := f.get(key)
	if !ok {
		return nil
	}
	items, ok := asList(raw)
	if !ok {
		f.fail(key, "expected a list of strings, found %s", kindOf(raw))
		return nil
	}
	list := make([]string, len(items))
	for i, item := range items {
		if list[i], ok = asString(item); !ok {
			f.fail(key, "expected a list of strings, found %s in it", kindOf(item))
			return nil
		}
	}
	return list
}

func (f *fields) numbers(key string, lo, hi float64) []float64 {
	raw, ok := f.get(key)
	if !ok {
		return nil
	}
	items, ok := asList(raw)
	if !ok {
		f.fail(key, "expected a list of numbers, found %s", kindOf(raw))
		return nil
	}
	list := make([]float64, len(items))
	for i, item := range items {
		x, err := parseNumber(item)
		if err != nil || !(x >= lo && x <= hi) {
			f.fail(key, "expected a list of numbers from %g to %g, found %s in it", lo, hi, kindOf(item))
			return nil
		}
		list[i] = x
	}
	return list
}

// tokens reads token ids: one whole number or a list of them.
func (f *fields) tokens(key string) []int {
	raw, ok := f.get(key)
	if !ok {
		return nil
	}
	items, ok := asList(raw)
	if !ok {
		items = []json.RawMessage{raw}
	}
	ids := make([]int, len(items))
	for i, item := range items {
		n, err := strconv.ParseInt(string(item), 10, 64)
		if err != nil || n < 0 || n >= maxVocab {
			f.fail(key, "expected a token id from 0 to %d or a list of such, found %s", maxVocab-1, kindOf(item))
			return nil
		}
		ids[i] = int(n)
	}
	return ids
}

// sub returns the fields of a nested object, nil where it is absent or null.
func (f *fields) sub(key string) *fields {
	raw, ok := f.get(key)
	if !ok {
		return nil
	}
	var values map[string]json.RawMessage
	if !strings.HasPrefix(string(raw), "{") || json.Unmarshal(raw, &values) != nil {
		f.fail(key, "expected an object, found %s", kindOf(raw))
		return nil
	}
	return &fields{values: values, prefix: f.prefix + key + "."}
}

// take moves a nested object's problem up.
func (f *fields) take(sub *fields) {
	if f.err == nil && sub != nil {
		f.err = sub.err
	}
}

func asString(raw json.RawMessage) (string, bool) {
	var s string
	if !strings.HasPrefix(string(raw), `"`) || json.Unmarshal(raw, &s) != nil {
		return "", false
	}
	return s, true
}

func asList(raw json.RawMessage) ([]json.RawMessage, bool) {
	var items []json.RawMessage
	if !strings.HasPrefix(string(raw), "[") || json.Unmarshal(raw, &items) != nil {
		return nil, false
	}
	return items, true
}
