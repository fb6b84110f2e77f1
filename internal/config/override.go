package config

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

const envPrefix = "GSMEVAL_"

// ReservedEnv reports whether a GSMEVAL_ variable has a meaning other than a
// config key: GSMEVAL_CACHE is where the build keeps its dependencies,
// GSMEVAL_SHARED names a folder of test inputs, GSMEVAL_TEST_* steer tests,
// GSMEVAL_CUDA_KERNELS=0 leaves out the kernels of the CUDA library,
// GSMEVAL_CPU_KERNELS says which instructions the CPU's kernels may use,
// GSMEVAL_HOME is the folder of the bundled model and data.
func ReservedEnv(name string) bool {
	reserved := []string{
		"GSMEVAL_CACHE", "GSMEVAL_SHARED", "GSMEVAL_HOME", "GSMEVAL_CUDA_KERNELS",
		"GSMEVAL_CPU_KERNELS",
	}
	return slices.Contains(reserved, name) || strings.HasPrefix(name, "GSMEVAL_TEST_")
}

// applyEnv lays the GSMEVAL_ variables over the tree, in the order of their names,
// so that GSMEVAL_NOISE comes before GSMEVAL_NOISE__0__SCALE.
func (s *source) applyEnv(tree map[string]any, env []string) {
	values := map[string]string{}
	var names []string
	for _, entry := range env {
		name, value, ok := strings.Cut(entry, "=")
		if !ok || !strings.HasPrefix(name, envPrefix) || ReservedEnv(name) {
			continue
		}
		if _, dup := values[name]; !dup {
			names = append(names, name)
		}
		values[name] = value
	}
	slices.Sort(names)
	for _, name := range names {
		key := strings.TrimPrefix(name, envPrefix)
		if key != strings.ToUpper(key) {
			s.fail("environment variable "+name, "", "expected capital letters: %s", strings.ToUpper(name))
			continue
		}
		keys := strings.Split(strings.ToLower(key), "__")
		if right := rightVariable(keys); right != "" {
			s.fail("environment variable "+name, "",
				"unknown key; did you mean %s? Two underscores lead into a section", right)
			continue
		}
		s.apply(tree, "environment variable "+name, keys, values[name])
	}
}

// rightVariable returns the variable that differs from an unknown one in its
// underscores alone, as GSMEVAL_MODEL__PATH does from GSMEVAL_MODEL_PATH.
func rightVariable(keys []string) string {
	config := reflect.TypeFor[Config]()
	if _, known := fieldOf(config, keys[0]); known {
		return ""
	}
	bare := strings.ReplaceAll(strings.Join(keys, ""), "_", "")
	for _, section := range keysOf(config) {
		t, _ := fieldOf(config, section)
		if strings.ReplaceAll(section, "_", "") == bare {
			return envPrefix + strings.ToUpper(section)
		}
		if t.Kind() != reflect.Struct {
			continue
		}
		for _, key := range keysOf(t) {
			if strings.ReplaceAll(section+key, "_", "") == bare {
				return envPrefix + strings.ToUpper(section+"__"+key)
			}
		}
	}
	return ""
}

// applySet lays the --set values over the tree.
func (s *source) applySet(tree map[string]any, set []string) {
	for _, entry := range set {
		key, value, ok := strings.Cut(entry, "=")
		if !ok || key == "" {
			s.fail("--set "+shorten(entry), "", "expected key=value, such as noise.1.scale=0.1")
			continue
		}
		// noise[1].scale, as messages and diffs spell it, is noise.1.scale.
		plain := strings.NewReplacer("[", ".", "]", "").Replace(key)
		s.apply(tree, "--set "+shorten(key), strings.Split(plain, "."), value)
	}
}

// override is one value on its way into the tree.
type override struct {
	s     *source
	place string
	raw   string
}

func (s *source) apply(tree map[string]any, place string, keys []string, raw string) {
	o := override{s: s, place: place, raw: raw}
	o.into(tree, reflect.TypeFor[Config](), "", keys)
}

// into goes down the tree along the keys and returns the value that belongs there,
// nil for null. Sections missing on the way are made.
func (o override) into(tree any, t reflect.Type, path string, keys []string) any {
	if len(keys) == 0 {
		return o.leaf(tree, t, path)
	}
	key, rest := keys[0], keys[1:]
	switch {
	case t.Kind() == reflect.Struct:
		section, ok := tree.(map[string]any)
		if !ok {
			section = map[string]any{}
		}
		own, kind := chosen(t, func(key string) string {
			word, _ := section[key].(string)
			return word
		})
		field, ok := fieldOf(own, key)
		if !ok {
			o.s.fail(o.place, shorten(join(path, key)), "%s", unknown(t, kind, path, key))
			return tree
		}
		if value := o.into(section[key], field, join(path, key), rest); value != nil {
			section[key] = value
		} else {
			delete(section, key)
		}
		return section
	case t.Kind() == reflect.Slice:
		list, _ := tree.([]any)
		i, err := strconv.Atoi(key)
		if err != nil || i < 0 || i >= len(list) {
			o.s.fail(o.place, path, "the list has no entry %s; it has %d, counted from 0", shorten(key), len(list))
			return tree
		}
		list[i] = o.into(list[i], t.Elem(), fmt.Sprintf("%s[%d]", path, i), rest)
		return list
	default:
		o.s.fail(o.place, path, "the key holds %s and has no %s in it", typeName(t), shorten(key))
		return tree
	}
}

// leaf parses and checks the value itself; on a problem the old value stays.
func (o override) leaf(old any, t reflect.Type, path string) any {
	if t.Kind() == reflect.Struct {
		o.s.fail(o.place, path, "this is a section; set its keys one by one: %s", strings.Join(keysOf(t), ", "))
		return old
	}
	var doc yaml.Node
	err := yaml.Unmarshal([]byte(o.raw), &doc)
	parsed := err == nil && len(doc.Content) == 1
	if t.Kind() == reflect.String {
		return o.text(old, path, parsed, &doc)
	}
	if !parsed {
		o.s.fail(o.place, path, "expected %s, found %q", typeName(t), shorten(o.raw))
		return old
	}
	n := doc.Content[0]
	for known := range o.s.places {
		if strings.HasPrefix(known, path+"[") {
			delete(o.s.places, known) // the list that stood there is replaced
		}
	}
	before := len(o.s.problems)
	o.s.check(n, t, path, func(*yaml.Node) string { return o.place })
	if len(o.s.problems) > before {
		return old
	}
	var value any
	if err := n.Decode(&value); err != nil {
		o.s.fail(o.place, path, "expected %s, found %q", typeName(t), shorten(o.raw))
		return old
	}
	return value
}

// text takes a text as it stands, so that neither a colon nor a number needs
// quotes in the shell; a value that is quoted as a whole is YAML.
func (o override) text(old any, path string, parsed bool, doc *yaml.Node) any {
	value := o.raw
	if parsed && doc.Content[0].Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0 {
		value = doc.Content[0].Value
	}
	if strings.ContainsRune(value, 0) || !validText(value) {
		o.s.fail(o.place, path, "expected text in UTF-8")
		return old
	}
	o.s.places[path] = o.place
	return value
}
