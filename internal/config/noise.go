package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"
)

// ParseNoise reads one noise of a command line, in the YAML of an entry of the list noise: {kind: activation, scale:
// 0.05}. It is checked as in a file; from names the flag in errors.
func ParseNoise(from, text string) (Noise, error) {
	s := &source{file: from, places: map[string]string{}}
	dec := yaml.NewDecoder(strings.NewReader(text))
	var doc, more yaml.Node
	var n Noise
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
		return n, fmt.Errorf("%s: the noise is empty; expected YAML such as {kind: activation, scale: 0.05}", from)
	} else if err != nil {
		return n, fmt.Errorf("%s: not valid YAML: %s", from, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
		return n, fmt.Errorf("%s: a second document follows the first; expected one noise", from)
	}
	s.check(doc.Content[0], reflect.TypeFor[Noise](), "noise", func(*yaml.Node) string { return from })
	if err := s.err(); err != nil {
		return n, err
	}
	var values map[string]any
	if err := yaml.NewDecoder(bytes.NewReader([]byte(text))).Decode(&values); err != nil {
		return n, fmt.Errorf("%s: %w", from, err)
	}
	if err := decodeExact(values, &n); err != nil {
		return n, fmt.Errorf("%s: %w", from, err)
	}
	n.Check(s.report("noise"))
	n.Normalise()
	return n, s.err()
}
