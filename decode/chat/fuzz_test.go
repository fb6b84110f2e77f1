package chat

import (
	"path/filepath"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/gsmeval/gsmeval/decode/chat/jinja"
)

func seedTemplates(f *testing.F) []string {
	f.Helper()
	paths, err := filepath.Glob(filepath.Join("testdata", "templates", "*.jinja"))
	if err != nil || len(paths) == 0 {
		f.Fatalf("no seed templates: %v", err)
	}
	var sources []string
	for _, path := range paths {
		name := filepath.Base(path)
		sources = append(sources, readTemplate(f, name[:len(name)-len(".jinja")]))
	}
	return append(sources,
		"{% set ns = namespace(s='ab') %}{% for i in range(99) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ ns.s }}",
		"{% macro m(a) %}{{ m(a) }}{% endmacro %}{{ m([1, {'b': 2.5}]|tojson(indent=2)) }}",
		"{{ messages|map(attribute='content')|select('in', 'ab')|sort|reverse|unique|join('%s' % 3)|indent }}",
		"{% raw %}{{ {% endraw %}{#- c -#}{{ messages[::-1][0]['role'].title().split(none, 1) }}",
	)
}

// FuzzRender checks that no template and no message makes rendering panic or exceed the limits.
func FuzzRender(f *testing.F) {
	for _, source := range seedTemplates(f) {
		f.Add(source, "user", "What is 2 + 3?")
	}
	now := time.Date(2026, 3, 7, 9, 5, 3, 0, time.UTC)
	f.Fuzz(func(t *testing.T, source, role, content string) {
		parsed, err := jinja.Parse(source) // not Parse, which would hide a panic
		if err != nil {
			return
		}
		tmpl := (&Template{source: source, parsed: parsed, tokens: Tokens{"bos_token": "<s>"}})
		text, err := tmpl.render([]Message{{"system", content}, {role, content}, {"assistant", role}}, true, now)
		if err != nil {
			return
		}
		if len(text) > jinja.MaxOutput {
			t.Errorf("%d bytes of output", len(text))
		}
		if !utf8.ValidString(text) && utf8.ValidString(role) && utf8.ValidString(content) {
			t.Errorf("rendered invalid UTF-8 %q", text)
		}
		again, err := tmpl.render([]Message{{"system", content}, {role, content}, {"assistant", role}}, true, now)
		if err != nil || again != text {
			t.Errorf("rendered %q, then %q, %v", text, again, err)
		}
	})
}
