package jinja

import (
	"errors"
	"strings"
	"testing"
)

// TestLimits gives the interpreter templates that would run for ever, fill the memory or overflow the stack. Each must
// end in the error of a limit.
func TestLimits(t *testing.T) {
	t.Parallel()
	loops := func(n int, body string) string {
		return strings.Repeat("{% for i in range(100000) %}", n) + body + strings.Repeat("{% endfor %}", n)
	}
	for name, source := range map[string]string{
		"range":                 "{{ range(10**9) }}",
		"range of a huge step":  "{{ range(0, -(10**18), -1)|length }}",
		"nested loops":          loops(5, ""),
		"loop with output":      loops(2, "0123456789"),
		"output":                "{% for i in range(100000) %}0123456789abcdef{% endfor %}",
		"loop over a string":    "{% set s = 'a' * 30000000 %}{% for c in s %}{% endfor %}",
		"string times number":   "{{ 'a' * 10**10 }}",
		"number times string":   "{{ 10**15 * 'a' }}",
		"list times number":     "{{ [1] * 10**10 }}",
		"repeated in a loop":    "{% set ns = namespace(s='a') %}{% for i in range(99) %}{% set ns.s = ns.s * 1000 %}{% endfor %}",
		"doubling with tilde":   "{% set ns = namespace(s='abcd') %}{% for i in range(99) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
		"doubling with plus":    "{% set ns = namespace(s='abcd') %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
		"doubling a list":       "{% set ns = namespace(s=[1]) %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
		"doubling with replace": "{% set ns = namespace(s='aa') %}{% for i in range(99) %}{% set ns.s = ns.s.replace('a', ns.s) %}{% endfor %}",
		"doubling with join":    "{% set ns = namespace(s='aa') %}{% for i in range(99) %}{% set ns.s = ns.s.join([ns.s, ns.s, ns.s]) %}{% endfor %}",
		"doubling with format":  "{% set ns = namespace(s='aa') %}{% for i in range(99) %}{% set ns.s = '%s%s' % (ns.s, ns.s) %}{% endfor %}",
		"doubling with set":     "{% set s = 'aa' %}" + strings.Repeat("{% set s %}{{ s }}{{ s }}{% endset %}", 40),
		"doubling with indent":  "{% set ns = namespace(s='a\n') %}{% for i in range(99) %}{% set ns.s = (ns.s * 1000)|indent(1000) %}{% endfor %}",
		"doubling with tojson":  "{% set ns = namespace(s='\"') %}{% for i in range(99) %}{% set ns.s = ns.s|tojson %}{% endfor %}",
		"indent":                "{{ ('a\n' * 1000)|indent(10**9) }}",
		"json indent":           "{{ [1]|tojson(indent=10**9) }}",
		"shared list printed":   "{% set ns = namespace(l=[]) %}{% for i in range(99) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l }}",
		"shared list compared":  "{% set ns = namespace(l=[], m=[]) %}{% for i in range(99) %}{% set ns.l = [ns.l, ns.l] %}{% set ns.m = [ns.m, ns.m] %}{% endfor %}{{ ns.l == ns.m }}",
		"shared list as json":   "{% set ns = namespace(l=[]) %}{% for i in range(99) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l|tojson }}",
		"deep list printed":     "{% set ns = namespace(l=[]) %}{% for i in range(9999) %}{% set ns.l = [ns.l] %}{% endfor %}{{ ns.l }}",
		"deep list compared":    "{% set ns = namespace(l=[], m=[]) %}{% for i in range(9999) %}{% set ns.l = [ns.l] %}{% set ns.m = [ns.m] %}{% endfor %}{{ ns.l == ns.m }}",
		"deep list ordered":     "{% set ns = namespace(l=[], m=[]) %}{% for i in range(9999) %}{% set ns.l = [ns.l] %}{% set ns.m = [ns.m] %}{% endfor %}{{ ns.l < ns.m }}",
		"deep list as json":     "{% set ns = namespace(l=[]) %}{% for i in range(9999) %}{% set ns.l = [ns.l] %}{% endfor %}{{ ns.l|tojson }}",
		"deep dict as json":     "{% set ns = namespace(l={}) %}{% for i in range(9999) %}{% set ns.l = {'a': ns.l} %}{% endfor %}{{ ns.l|tojson }}",
		"chained iterators":     "{% set ns = namespace(l=[1]) %}{% for i in range(9999) %}{% set ns.l = ns.l|map('string') %}{% endfor %}{{ ns.l|list }}",
		"recursive macro":       "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
		"branching macros":      "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(60) }}",
		"macro and caller":      "{% macro m() %}{% call m() %}{{ caller() }}{% endcall %}{{ caller() }}{% endmacro %}{% call m() %}{% endcall %}",
		"macro default":         "{% macro m(a=m()) %}{% endmacro %}{{ m() }}",
		"recursive loop":        "{% for x in [[1]] recursive %}{{ loop([[1]]) }}{% endfor %}",
		"parentheses":           "{{ " + strings.Repeat("(", 50000) + "1" + strings.Repeat(")", 50000) + " }}",
		"brackets":              "{{ " + strings.Repeat("[", 50000) + strings.Repeat("]", 50000) + " }}",
		"subscripts":            "{{ " + strings.Repeat("a[", 50000) + strings.Repeat("]", 50000) + " }}",
		"calls":                 "{{ " + strings.Repeat("a(", 50000) + strings.Repeat(")", 50000) + " }}",
		"signs":                 "{{ " + strings.Repeat("-", 100000) + "1 }}",
		"not":                   "{{ " + strings.Repeat("not ", 50000) + "1 }}",
		"else":                  "{{ " + strings.Repeat("1 if 0 else ", 20000) + "1 }}",
		"for targets": "{% for " + strings.Repeat("(", 50000) + "a" + strings.Repeat(")", 50000) +
			" in x %}{% endfor %}",
		"blocks":                   strings.Repeat("{% if 1 %}", 20000) + strings.Repeat("{% endif %}", 10000),
		"long sum":                 "{{ 1" + strings.Repeat("+1", 100000) + " }}",
		"long chain of ands":       "{{ 1" + strings.Repeat(" and 1", 40000) + " }}",
		"long chain of filters":    "{{ 1" + strings.Repeat("|abs", 60000) + " }}",
		"long chain of tests":      "{{ 1" + strings.Repeat("|d is defined", 15000) + " }}",
		"long chain of subscripts": "{{ x" + strings.Repeat("[0]", 60000) + " }}",
		"source":                   strings.Repeat("a", MaxSource+1),
		"work in filters": loops(1,
			"{{ 'abc'|map('upper')|join|replace('a', 'b')|title|length }}"+strings.Repeat("{{ 'x'|upper|lower|trim|title|length }}", 100)),
		"work in lookups": loops(1, strings.Repeat("{% with %}", 150)+strings.Repeat("{{ x }}",
			1000)+strings.Repeat("{% endwith %}", 150)),
		"work in comparisons":     "{% set s = 'a' * 1000000 %}{% set t = 'a' * 1000000 %}" + loops(1, "{{ s == t }}"),
		"work in searching":       "{% set s = 'a' * 1000000 %}" + loops(1, "{{ 'b' in s }}"),
		"work in indexing":        "{% set s = 'a' * 1000000 %}" + loops(1, "{{ s[-1] }}"),
		"work in slicing":         "{% set s = range(100000)|list %}" + loops(1, "{% set t = s[1:] %}"),
		"work in splitting":       "{{ ('a,' * 10000000).split(',')|length }}",
		"work in splitting words": "{{ ('a ' * 10000000).split()|length }}",
		"work in splitting lines": "{{ ('a\n' * 10000000).splitlines()|length }}",
		"work in sorting":         "{% set s = range(100000)|list %}" + loops(1, "{% set t = s|sort %}"),
		"work in dict views":      "{% set d = {1: 2, 2: 3} %}" + loops(2, "{% set t = d.items() %}"),
		"unpacked arguments":      "{% macro m() %}{% endmacro %}" + loops(2, "{{ m(*range(0)) }}"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text, err := renderSource(source, nil)
			if !errors.Is(err, ErrLimit) {
				t.Errorf("%d bytes, error %.200v; want a limit", len(text), err)
			}
		})
	}
}

// TestWithinLimits makes sure that the limits leave room for what templates really do with long conversations.
func TestWithinLimits(t *testing.T) {
	t.Parallel()
	const source = "{% for m in messages[::-1] %}" +
		"{{ m.content.split('</think>')[-1].strip() | trim | replace('a', 'b') }}{{ '<|im_end|>' in m.content }}{% endfor %}"
	var messages []Value
	for range 200 {
		messages = append(messages, NewDict("role", "user", "content", strings.Repeat("some text, ", 400)))
	}
	text, err := renderSource(source, map[string]Value{"messages": List(messages...)})
	if err != nil {
		t.Fatal(err)
	}
	if len(text) < 800_000 {
		t.Errorf("rendered %d bytes", len(text))
	}
}

// FuzzParse checks that parsing never panics and that what it accepts renders without a panic.
func FuzzParse(f *testing.F) {
	golden := readSnippets(f)
	for _, c := range golden.Cases {
		f.Add(c.Source)
	}
	vars := snippetVariables(f, golden.Variables)
	f.Fuzz(func(t *testing.T, source string) {
		tmpl, err := Parse(source)
		if err != nil {
			return
		}
		text, err := tmpl.Render(vars)
		if err == nil && len(text) > MaxOutput {
			t.Errorf("%d bytes of output", len(text))
		}
	})
}
