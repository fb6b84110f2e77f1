package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/gsmeval/gsmeval/internal/keys"
)

// checkFile checks the file's YAML against the structure: known keys, each once,
// in lower case, values of the right type and nothing else.
func (s *source) checkFile(data []byte) {
	if !utf8.Valid(data) {
		s.fail(s.file, "", "not valid UTF-8; expected a config in YAML")
		return
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, more yaml.Node
	err := dec.Decode(&doc)
	switch {
	case errors.Is(err, io.EOF):
		s.fail(s.file, "", "the file is empty; expected at least model.path and dataset.path")
		return
	case err != nil:
		s.fail(s.file, "", "not valid YAML: %s", strings.TrimPrefix(err.Error(), "yaml: "))
		return
	}
	if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
		s.fail(s.file, "", "a second document follows the first; expected one")
		return
	}
	s.check(doc.Content[0], reflect.TypeFor[Config](), "", func(n *yaml.Node) string {
		return fmt.Sprintf("%s:%d", s.file, n.Line)
	})
}

// check compares a node with the type that its path has, and records its place.
func (s *source) check(n *yaml.Node, t reflect.Type, path string, at func(*yaml.Node) string) {
	place := at(n)
	s.places[path] = place
	switch {
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		s.fail(place, path, "anchors and aliases are not supported; write the value out")
		return
	case n.Style&yaml.TaggedStyle != 0:
		s.fail(place, path, "the tag %s is not supported; write the value without it", n.Tag)
		return
	case n.ShortTag() == "!!null" && nullable(t, path):
		return
	}
	switch {
	case t.Kind() == reflect.Struct:
		s.checkMapping(n, t, path, at)
	case t.Kind() == reflect.Slice:
		if n.Kind != yaml.SequenceNode {
			s.fail(place, path, "expected %s, found %s", typeName(t), nodeName(n))
			return
		}
		for i, item := range n.Content {
			s.check(item, t.Elem(), fmt.Sprintf("%s[%d]", path, i), at)
		}
	default:
		if !fits(n, t) {
			hint := ""
			if t.Kind() == reflect.String && t != reflect.TypeFor[Date]() && n.Kind == yaml.ScalarNode &&
				n.Value != "" {
				hint = "; put it in quotes"
			}
			s.fail(place, path, "expected %s, found %s%s", typeName(t), nodeName(n), hint)
		}
	}
}

func (s *source) checkMapping(n *yaml.Node, t reflect.Type, path string, at func(*yaml.Node) string) {
	if n.Kind != yaml.MappingNode {
		s.fail(at(n), path, "expected %s, found %s", typeName(t), nodeName(n))
		return
	}
	seen := map[string]int{}
	own, kind := chosen(t, scalarOf(n))
	for i := 0; i+1 < len(n.Content); i += 2 {
		keyNode, value := n.Content[i], n.Content[i+1]
		place := at(keyNode)
		if keyNode.Kind != yaml.ScalarNode || keyNode.Anchor != "" || keyNode.Style&yaml.TaggedStyle != 0 {
			s.fail(place, path, "expected a plain key, found %s", nodeName(keyNode))
			continue
		}
		key := keyNode.Value
		child := join(path, key)
		if line, dup := seen[key]; dup {
			s.fail(place, child, "the key stands twice (first in line %d); keep one", line)
			continue
		}
		seen[key] = keyNode.Line
		field, ok := fieldOf(own, key)
		if !ok {
			s.fail(place, shorten(child), "%s", unknown(t, kind, path, key))
			continue
		}
		s.check(value, field, child, at)
	}
}

// nullable lists where null may stand for "none": keys that have no other way to
// say it, and limit, where it means all.
func nullable(t reflect.Type, path string) bool {
	return t.Kind() == reflect.Pointer || path == "dataset.limit"
}

// fits reports whether a scalar is of the type. Nothing is converted: "5" is no
// number. A whole number will do for a number.
func fits(n *yaml.Node, t reflect.Type) bool {
	if n.Kind != yaml.ScalarNode {
		return false
	}
	if t == reflect.TypeFor[BatchSize]() {
		var x int
		return n.ShortTag() == "!!str" && n.Value == "auto" || n.ShortTag() == "!!int" && !octal(n.Value) &&
			n.Decode(&x) == nil && x > 0
	}
	if t == reflect.TypeFor[Device]() {
		var x uint8
		return n.ShortTag() == "!!str" || n.ShortTag() == "!!int" && !octal(n.Value) && n.Decode(&x) == nil
	}
	if t == reflect.TypeFor[Date]() && n.ShortTag() == "!!timestamp" {
		_, err := time.Parse(time.DateOnly, n.Value)
		return err == nil
	}
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if n.ShortTag() == "!!int" && octal(n.Value) {
		return false
	}
	switch t.Kind() {
	case reflect.String:
		return n.ShortTag() == "!!str" && !strings.ContainsRune(n.Value, 0)
	case reflect.Bool:
		return n.ShortTag() == "!!bool"
	case reflect.Int:
		var x int
		return n.ShortTag() == "!!int" && n.Decode(&x) == nil
	case reflect.Uint64:
		var x uint64
		return n.ShortTag() == "!!int" && n.Decode(&x) == nil
	case reflect.Float64:
		var x float64
		ok := n.ShortTag() == "!!int" || n.ShortTag() == "!!float"
		return ok && n.Decode(&x) == nil && !math.IsInf(x, 0) && !math.IsNaN(x)
	default:
		return false
	}
}

// octal reports a number that begins with a zero: YAML 1.1 reads 010 as eight,
// YAML 1.2 as ten, so here it is neither.
func octal(s string) bool {
	s = strings.TrimLeft(s, "+-")
	return len(s) > 1 && s[0] == '0' && (s[1] == '_' || s[1] >= '0' && s[1] <= '9')
}

// typeName says what is expected of a key.
func typeName(t reflect.Type) string {
	if t == reflect.TypeFor[BatchSize]() {
		return `a whole number from 1 on or "auto"`
	}
	if t == reflect.TypeFor[Device]() {
		return "a GPU's number, cuda:N or cpu"
	}
	if t == reflect.TypeFor[Date]() {
		return "a date, YYYY-MM-DD"
	}
	switch t.Kind() {
	case reflect.Struct:
		return "a mapping with the keys " + strings.Join(keysOf(t), ", ")
	case reflect.Slice:
		switch t.Elem().Kind() {
		case reflect.Struct:
			return "a list of mappings"
		case reflect.Int:
			return "a list of whole numbers"
		case reflect.Float64:
			return "a list of numbers"
		default:
			return "a list of texts"
		}
	case reflect.Pointer:
		return "a whole number from 0 on, or null"
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "true or false"
	case reflect.Uint64:
		return "a whole number from 0 on"
	case reflect.Int:
		return "a whole number"
	default:
		return "a finite number"
	}
}

// nodeName says what stands there instead.
func nodeName(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	case yaml.ScalarNode:
		switch n.ShortTag() {
		case "!!null":
			return "nothing"
		case "!!str":
			return fmt.Sprintf("the text %q", shorten(n.Value))
		}
		return shorten(n.Value)
	default:
		return "something else"
	}
}

func shorten(s string) string { return keys.Shorten(s) }

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// keyOf returns a field's key.
func keyOf(f reflect.StructField) string {
	key, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	return key
}

func keysOf(t reflect.Type) []string {
	var names []string
	for _, f := range fieldsOf(t) {
		names = append(names, keyOf(f))
	}
	return names
}

// fieldOf returns the type of a structure's key.
func fieldOf(t reflect.Type, key string) (reflect.Type, bool) {
	for _, f := range fieldsOf(t) {
		if keyOf(f) == key {
			return f.Type, true
		}
	}
	return nil, false
}

// suggest finds what an unknown key may have meant: another key of the same
// section, or the same key in its right place.
func suggest(t reflect.Type, path, key string) string {
	for _, known := range keysOf(t) {
		if strings.EqualFold(known, key) {
			return fmt.Sprintf("; did you mean %s? Keys are in lower case", join(path, known))
		}
	}
	if near := Nearest(key, keysOf(t)); near != "" {
		return fmt.Sprintf("; did you mean %s?", join(path, near))
	}
	if places := find(reflect.TypeFor[Config](), "", strings.ToLower(key)); len(places) > 0 {
		return fmt.Sprintf("; did you mean %s?", strings.Join(places, " or "))
	}
	where := "here"
	if path != "" {
		where = "in " + path
	}
	return fmt.Sprintf("; known keys %s are %s", where, strings.Join(keysOf(t), ", "))
}

// Nearest is the first of the known words that is the fewest edits away from word,
// or "" where none is near.
func Nearest(word string, known []string) string {
	best, bestDistance := "", 1+min(3, len(word)/3+1)
	for _, k := range known {
		if d := distance(word, k); d < bestDistance {
			best, bestDistance = k, d
		}
	}
	return best
}

// Complete lists how the key of a --set value can go on: whole keys with "=" after
// them, sections and lists with ".".
func Complete(prefix string) []string {
	t := reflect.TypeFor[Config]()
	path, _ := cutLast(prefix)
	for key := range strings.SplitSeq(path, ".") {
		if path == "" {
			break
		}
		switch {
		case t.Kind() == reflect.Struct:
			field, ok := fieldOf(t, key)
			if !ok {
				return nil
			}
			t = field
		case t.Kind() == reflect.Slice:
			t = t.Elem()
		default:
			return nil
		}
	}
	if t.Kind() == reflect.Slice {
		if t.Elem().Kind() == reflect.Struct {
			return []string{path + ".0."}
		}
		return []string{path + ".0="}
	}
	if t.Kind() != reflect.Struct {
		return nil
	}
	var out []string
	for _, key := range keysOf(t) {
		field, _ := fieldOf(t, key)
		full := join(path, key)
		switch field.Kind() {
		case reflect.Struct:
			full += "."
		case reflect.Slice:
			out = append(out, full+".")
			full += "="
		default:
			full += "="
		}
		out = append(out, full)
	}
	return slices.DeleteFunc(out, func(s string) bool { return !strings.HasPrefix(s, prefix) })
}

// cutLast cuts a path before its last key.
func cutLast(path string) (section, key string) {
	i := strings.LastIndex(path, ".")
	return path[:max(i, 0)], path[i+1:]
}

// find lists the paths that end in a key.
func find(t reflect.Type, path, key string) []string {
	var found []string
	for _, f := range fieldsOf(t) {
		child := join(path, keyOf(f))
		if keyOf(f) == key {
			found = append(found, child)
		}
		switch {
		case f.Type.Kind() == reflect.Struct:
			found = append(found, find(f.Type, child, key)...)
		case f.Type.Kind() == reflect.Slice && f.Type.Elem().Kind() == reflect.Struct:
			found = append(found, find(f.Type.Elem(), child+"[0]", key)...)
		}
	}
	return found
}

// distance is the number of edits between two keys, where swapping two neighbours
// is one edit. Long unknown keys are not worth the work.
func distance(a, b string) int {
	if len(a) > 40 {
		return len(a)
	}
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			replace := rows[i-1][j-1]
			if a[i-1] != b[j-1] {
				replace++
			}
			rows[i][j] = min(replace, rows[i-1][j]+1, rows[i][j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}

// oneOf reports a value that is none of a few words.
func (s *source) oneOf(path, value string, words ...string) {
	if !slices.Contains(words, value) {
		s.fail(s.place(path), path, "expected one of %s, found %q", strings.Join(words, ", "), shorten(value))
	}
}
