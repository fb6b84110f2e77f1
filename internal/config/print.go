package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// YAML is the effective config. Loading it again gives the same config.
func (c *Config) YAML() ([]byte, error) {
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(c); err != nil {
		return nil, fmt.Errorf("writing the config: %w", err)
	}
	if err := enc.Close(); err != nil {
		return nil, fmt.Errorf("writing the config: %w", err)
	}
	return b.Bytes(), nil
}

// JSON is the effective config with the keys of the YAML file, sorted. Load and
// Parse read it too and give the same config.
func (c *Config) JSON() ([]byte, error) {
	text, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("writing the config: %w", err)
	}
	return append(text, '\n'), nil
}

// MarshalJSON gives a config inside a larger document the keys of its file.
func (c Config) MarshalJSON() ([]byte, error) {
	text, err := json.Marshal(tree(reflect.ValueOf(c)))
	if err != nil {
		return nil, err
	}
	// JSON lets these characters stand in a text, YAML does not.
	var b bytes.Buffer
	for _, r := range string(text) {
		if r >= 0x7f && r <= 0x9f || r == 0xfeff || r == 0xfffe || r == 0xffff {
			_, _ = fmt.Fprintf(&b, "\\u%04x", r)
		} else {
			_, _ = b.WriteRune(r)
		}
	}
	return b.Bytes(), nil
}

// tree turns a value into maps, lists and scalars under the keys of the file.
func tree(v reflect.Value) any {
	if b, ok := v.Interface().(BatchSize); ok {
		if b == BatchAuto {
			return "auto"
		}
		return int(b)
	}
	switch v.Kind() {
	case reflect.Struct:
		m := map[string]any{}
		for _, f := range filled(v) {
			m[keyOf(f.field)] = tree(f.value)
		}
		return m
	case reflect.Slice:
		list := make([]any, v.Len())
		for i := range list {
			list[i] = tree(v.Index(i))
		}
		return list
	case reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		return v.Elem().Interface()
	default:
		return v.Interface()
	}
}

// omitted reports whether an optional key of a condition is not set.
func omitted(f reflect.StructField, v reflect.Value) bool {
	optional := len(f.Tag.Get("yaml")) > len(keyOf(f))
	return optional && (v.IsZero() || v.Kind() == reflect.Slice && v.Len() == 0)
}

// neutral lists the keys that change no sample and no number of a table that a finished run could not have.
// model.device and devices are among them because the fingerprint has what the device is, and not which.
// scoring.k and fidelity are among them because the tables of a run can be made anew.
var neutral = []string{
	"name", "output", "progress", "log_level", "devices", "model.device", "model.graphs",
	"scoring.k", "fidelity",
}

// FingerprintFields is the effective config as flat keys ("noise[1].scale") without
// the neutral ones. Keys that are not set are left out.
func (c *Config) FingerprintFields() map[string]any {
	fields := map[string]any{}
	for _, f := range flatten(c) {
		key, _, _ := strings.Cut(f.path, "[")
		if !slices.Contains(neutral, key) {
			fields[f.path] = f.value
		}
	}
	return fields
}

// Diff lists the keys in which two effective configs differ, in the order of the
// file: "noise[1].scale: 0.05 != 0.1". Equal configs give nil.
func Diff(a, b *Config) []string {
	left, right := flatten(a), flatten(b)
	rightAt := map[string]field{}
	for _, f := range right {
		rightAt[f.path] = f
	}
	leftHas := map[string]bool{}
	var diffs []string
	for _, f := range left {
		leftHas[f.path] = true
		other, ok := rightAt[f.path]
		switch {
		case !ok:
			diffs = append(diffs, fmt.Sprintf("%s: %s != (not set)", f.path, f.text()))
		case f.value != other.value:
			diffs = append(diffs, fmt.Sprintf("%s: %s != %s", f.path, f.text(), other.text()))
		}
	}
	for _, f := range right {
		if !leftHas[f.path] {
			diffs = append(diffs, fmt.Sprintf("%s: (not set) != %s", f.path, f.text()))
		}
	}
	return diffs
}

// Differences is Diff without the keys that change no sample.
func Differences(a, b *Config) []string {
	return slices.DeleteFunc(Diff(a, b), func(d string) bool {
		key, _, _ := strings.Cut(d, ":")
		key, _, _ = strings.Cut(key, "[")
		return slices.Contains(neutral, key)
	})
}

// field is one scalar of a config.
type field struct {
	path  string
	value any // string, bool, int, uint64 or float64
}

func (f field) text() string {
	switch x := f.value.(type) {
	case string:
		if x == "" || strconv.Quote(x) != `"`+x+`"` {
			return strconv.Quote(x)
		}
		return x
	case float64:
		return strconv.FormatFloat(x, 'g', -1, 64)
	default:
		return fmt.Sprint(x)
	}
}

// flatten lists a config's scalars in the order of its structure.
func flatten(c *Config) []field {
	var fields []field
	var walk func(path string, v reflect.Value)
	walk = func(path string, v reflect.Value) {
		switch v.Kind() {
		case reflect.Struct:
			for _, f := range filled(v) {
				walk(join(path, keyOf(f.field)), f.value)
			}
		case reflect.Slice:
			for i := range v.Len() {
				walk(fmt.Sprintf("%s[%d]", path, i), v.Index(i))
			}
		default:
			if value := tree(v); value != nil {
				fields = append(fields, field{path, value})
			}
		}
	}
	walk("", reflect.ValueOf(*c))
	return fields
}
