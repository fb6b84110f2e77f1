package gguf

import (
	"fmt"
	"math"
)

// Has tells whether a key is there.
func (m Meta) Has(key string) bool {
	_, ok := m[key]
	return ok
}

// Int reads a whole number of at least 0, and whether the key is there.
func (m Meta) Int(key string) (int, bool, error) {
	switch v := m[key].(type) {
	case nil:
		return 0, false, nil
	case uint64:
		if v <= math.MaxInt32 {
			return int(v), true, nil
		}
	case int64:
		if v >= 0 && v <= math.MaxInt32 {
			return int(v), true, nil
		}
	}
	return 0, true, fmt.Errorf("%s: expected a whole number from 0 to %d, found %s", key, math.MaxInt32,
		describe(m[key]))
}

// Float reads a finite number.
func (m Meta) Float(key string) (float64, bool, error) {
	switch v := m[key].(type) {
	case nil:
		return 0, false, nil
	case uint64:
		return float64(v), true, nil
	case int64:
		return float64(v), true, nil
	case float64:
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			return v, true, nil
		}
	}
	return 0, true, fmt.Errorf("%s: expected a finite number, found %s", key, describe(m[key]))
}

// Text reads a text, "" where the key is absent.
func (m Meta) Text(key string) (string, error) { return valueOf[string](m, key, "a text") }

// Texts reads a list of texts, nil where the key is absent.
func (m Meta) Texts(key string) ([]string, error) {
	return valueOf[[]string](m, key, "a list of texts")
}

// Floats reads a list of finite numbers, nil where the key is absent.
func (m Meta) Floats(key string) ([]float64, error) {
	list, err := valueOf[[]float64](m, key, "a list of numbers")
	for i, v := range list {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, fmt.Errorf("%s: element %d is not finite", key, i)
		}
	}
	return list, err
}

// Ints reads a list of whole numbers, signed or not, nil where the key is absent.
func (m Meta) Ints(key string) ([]int64, error) {
	if list, ok := m[key].([]uint64); ok {
		out := make([]int64, len(list))
		for i, v := range list {
			if v > math.MaxInt64 {
				return nil, fmt.Errorf("%s: element %d is too large", key, i)
			}
			out[i] = int64(v)
		}
		return out, nil
	}
	return valueOf[[]int64](m, key, "a list of whole numbers")
}

// Bool reads a truth value, and whether the key is there.
func (m Meta) Bool(key string) (value, found bool, err error) {
	value, err = valueOf[bool](m, key, "true or false")
	return value, m.Has(key), err
}

func valueOf[T any](m Meta, key, want string) (T, error) {
	v, ok := m[key].(T)
	if !ok && m.Has(key) {
		return v, fmt.Errorf("%s: expected %s, found %s", key, want, describe(m[key]))
	}
	return v, nil
}

// describe names a value for a message.
func describe(v any) string {
	switch v := v.(type) {
	case string:
		const most = 60
		if len(v) > most {
			return fmt.Sprintf("the text %.60q...", v)
		}
		return fmt.Sprintf("the text %q", v)
	case bool, int64, uint64, float64:
		return fmt.Sprint(v)
	}
	return "a list of another kind"
}
