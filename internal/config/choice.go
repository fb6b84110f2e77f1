package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/go-viper/mapstructure/v2"
	"go.yaml.in/yaml/v3"

	"github.com/gsmeval/gsmeval/internal/keys"
)

// Where one key of a mapping decides what the others are (keys.Choice), the structure that it is checked against is put
// together from the keys that all kinds share and those of the kind.

// choiceOf is the table of a structure that is a choice.
func choiceOf(t reflect.Type) (keys.Table, bool) {
	if t.Kind() != reflect.Struct {
		return keys.Table{}, false
	}
	c, ok := reflect.Zero(t).Interface().(keys.Choice)
	if !ok {
		return keys.Table{}, false
	}
	return c.Table(), true
}

// chosen is the structure of a mapping, and its kind: of a choice the common keys and those of the kind that get names,
// or of all kinds where it names none.
func chosen(t reflect.Type, get func(key string) string) (fields reflect.Type, kind string) {
	table, ok := choiceOf(t)
	if !ok {
		return t, ""
	}
	kind = get(table.Key)
	if !slices.Contains(table.Kinds, kind) {
		return t, ""
	}
	return reflect.StructOf(append(commonFields(t), ownFields(table, kind)...)), kind
}

// commonFields are the fields that have a key.
func commonFields(t reflect.Type) []reflect.StructField {
	var fields []reflect.StructField
	for i := range t.NumField() {
		if f := t.Field(i); f.IsExported() && keyOf(f) != "-" {
			fields = append(fields, reflect.StructField{Name: f.Name, Type: f.Type, Tag: f.Tag})
		}
	}
	return fields
}

func ownFields(table keys.Table, kind string) []reflect.StructField {
	return commonFields(reflect.TypeOf(table.New(kind)).Elem())
}

// fieldsOf are the fields of a structure that have a key; of a choice those of every kind, each key once.
func fieldsOf(t reflect.Type) []reflect.StructField {
	fields := commonFields(t)
	table, ok := choiceOf(t)
	if !ok {
		return fields
	}
	for _, kind := range table.Kinds {
		for _, f := range ownFields(table, kind) {
			if !slices.ContainsFunc(fields, func(other reflect.StructField) bool { return keyOf(other) == keyOf(f) }) {
				fields = append(fields, f)
			}
		}
	}
	return fields
}

// filledField is a field with its value.
type filledField struct {
	field reflect.StructField
	value reflect.Value
}

// filled are the fields of a value that are set or not optional; of a choice those of its kind too.
func filled(v reflect.Value) []filledField {
	var out []filledField
	for i := range v.NumField() {
		f := v.Type().Field(i)
		switch {
		case keyOf(f) == "-":
			if own := v.Field(i); !own.IsNil() {
				out = append(out, filled(own.Elem().Elem())...)
			}
		case !omitted(f, v.Field(i)):
			out = append(out, filledField{f, v.Field(i)})
		}
	}
	return out
}

// scalarOf reads the plain values of a mapping.
func scalarOf(n *yaml.Node) func(key string) string {
	return func(key string) string {
		for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == key && n.Content[i+1].Kind == yaml.ScalarNode {
				return n.Content[i+1].Value
			}
		}
		return ""
	}
}

// unknown says that a mapping has no such key, and what may have been meant. A key of other kinds is named as theirs.
func unknown(t reflect.Type, kind, path, key string) string {
	table, ok := choiceOf(t)
	if !ok || kind == "" {
		return "unknown key" + suggest(t, path, key)
	}
	var with []string
	for _, other := range table.Kinds {
		if slices.ContainsFunc(ownFields(table, other), func(f reflect.StructField) bool { return keyOf(f) == key }) {
			with = append(with, other)
		}
	}
	switch len(with) {
	case 0:
		own, _ := chosen(t, func(string) string { return kind })
		return "unknown key" + suggest(own, path, key)
	case 1:
		return fmt.Sprintf("only %s has this key, and this is %s", with[0], kind)
	}
	return fmt.Sprintf("only %s have this key, and this is %s", strings.Join(with, " and "), kind)
}

// choices fills a choice: its common keys, and the structure of its kind.
func choices(from, to reflect.Type, data any) (any, error) {
	table, ok := choiceOf(to)
	if !ok || from.Kind() != reflect.Map {
		return data, nil
	}
	values, ok := data.(map[string]any)
	if !ok {
		return data, nil
	}
	kind, _ := values[table.Key].(string)
	own := table.New(kind)
	common, rest := map[string]any{}, map[string]any{}
	shares := commonFields(to)
	for key, value := range values {
		if slices.ContainsFunc(shares, func(f reflect.StructField) bool { return keyOf(f) == key }) {
			common[key] = value
		} else {
			rest[key] = value
		}
	}
	out, shared := reflect.New(to), reflect.New(reflect.StructOf(shares))
	if err := decodeExact(common, shared.Interface()); err != nil {
		return nil, err
	}
	for i := range shared.Elem().NumField() {
		out.Elem().FieldByName(shared.Elem().Type().Field(i).Name).Set(shared.Elem().Field(i))
	}
	if own == nil { // the checks that follow say that there is no such kind
		return out.Elem().Interface(), nil
	}
	if err := decodeExact(rest, own); err != nil {
		return nil, err
	}
	for i := range to.NumField() {
		if keyOf(to.Field(i)) == "-" {
			out.Elem().Field(i).Set(reflect.ValueOf(own))
		}
	}
	return out.Elem().Interface(), nil
}

// decodeExact fills a structure, and refuses what does not fit.
func decodeExact(values map[string]any, to any) error {
	d, err := mapstructure.NewDecoder(&mapstructure.DecoderConfig{
		TagName: "yaml", ErrorUnused: true, Result: to, DecodeHook: mapstructure.ComposeDecodeHookFunc(twoTypes,
			choices),
	})
	if err != nil {
		return err
	}
	return d.Decode(values)
}
