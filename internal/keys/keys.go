// Package keys is what the mappings of a config share: a report of what is wrong with them, key by key, and mappings of
// which one key decides what the others are, such as {kind: gaussian, scale: 0.05}.
package keys

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Report takes what is wrong with a mapping. Keys are relative to it.
type Report struct {
	Bad   func(key, format string, args ...any)
	Given func(key string) bool // whether the key stands in the config
}

// In is the report of a mapping inside.
func (r Report) In(section string) Report {
	return Report{
		Bad:   func(key, format string, args ...any) { r.Bad(section+"."+key, format, args...) },
		Given: func(key string) bool { return r.Given(section + "." + key) },
	}
}

// Above checks a number that is above lo and at most hi.
func (r Report) Above(key string, x, lo, hi float64) {
	if !(x > lo && x <= hi) {
		r.Bad(key, "expected a number above %g and at most %g, found %g", lo, hi, x)
	}
}

// Required is Above for a number that has no default.
func (r Report) Required(key, whose string, x, lo, hi float64) {
	if x == 0 && !r.Given(key) {
		r.Bad(key, "the key is missing; %s needs a number above %g", whose, lo)
		return
	}
	r.Above(key, x, lo, hi)
}

// Whole checks a whole number from lo to hi.
func (r Report) Whole(key string, n, lo, hi int) {
	if n < lo || n > hi {
		r.Bad(key, "expected a whole number from %d to %d, found %d", lo, hi, n)
	}
}

// OneOf checks a word. The empty word is one that is not set, and is right.
func (r Report) OneOf(key, value string, words ...string) {
	if value != "" && !slices.Contains(words, value) {
		r.Bad(key, "expected one of %s, found %q", strings.Join(words, ", "), Shorten(value))
	}
}

// Texts checks a list of texts: none empty, none twice.
func (r Report) Texts(key string, list []string) {
	for i, text := range list {
		if text == "" {
			r.Bad(fmt.Sprintf("%s[%d]", key, i), "expected text, found none")
		} else if first := slices.Index(list, text); first < i {
			r.Bad(fmt.Sprintf("%s[%d]", key, i), "%q is already entry %d of the list", Shorten(text), first)
		}
	}
}

// Table is the kinds of a mapping whose keys depend on the value of one of them.
type Table struct {
	Key   string   // that one
	Kinds []string // its values, in the order of the documentation
	// New is a pointer to the structure that holds the other keys of a kind, defaults filled in.
	New func(kind string) any
}

// Choice is such a mapping: a structure that holds the keys of every kind, and in a field with the tag yaml:"-" what
// Table.New made.
type Choice interface {
	Table() Table
}

// Node writes a Choice: its own keys, then those of its kind.
func Node(common, own any) (*yaml.Node, error) {
	var all yaml.Node
	if err := all.Encode(common); err != nil {
		return nil, err
	}
	if own == nil {
		return &all, nil
	}
	var rest yaml.Node
	if err := rest.Encode(own); err != nil {
		return nil, err
	}
	all.Content = append(all.Content, rest.Content...)
	if len(all.Content) > 0 {
		all.Style = 0
	}
	return &all, nil
}

// Shorten cuts a long value for a message.
func Shorten(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	cut := strings.ToValidUTF8(s[:most], "")
	return cut + "..."
}
