package chat

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gsmeval/gsmeval/decode/chat/jinja"
)

func TestDate(t *testing.T) {
	t.Parallel()
	day := time.Date(2024, 7, 26, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct{ source, undated, dated string }{
		{"{{ strftime_now('%Y-%m-%d') }}", "", "2024-07-26"},
		{"{% set today = strftime_now('%d %B %Y') %}{{ today|upper }}", "", "26 JULY 2024"},
		{"{% if strftime_now('%p') == 'AM' %}Good morning{% endif %}", "", "Good morning"},
		{"{{ strftime_now('%H:%M') }}", "", "00:00"},
		{"{{ 'x' * strftime_now('%d')|int }}", "", "xxxxxxxxxxxxxxxxxxxxxxxxxx"},
		{"{{ raise_exception('too old') if strftime_now('%Y')|int < 2000 }}", "", ""},
		{"{% set today = strftime_now('%d %b %Y') %}plain", "plain", "plain"},
		{
			"{% set default = 'Today is ' ~ strftime_now('%F') %}{{ messages[0].content if messages else default }}", "",
			"Today is 2024-07-26",
		},
		{"{{ strftime_now is defined }}", "True", "True"},
		{"strftime_now {{ 'strftime_now' }}", "strftime_now strftime_now", "strftime_now strftime_now"},
	} {
		tmpl, err := Parse(c.source, nil)
		if err != nil {
			t.Fatal(err)
		}
		dated := tmpl.WithDate(day)
		if got, err := tmpl.Render(nil, false); (c.undated == "") != errors.Is(err, ErrNoDate) || got != c.undated {
			t.Errorf("%s without a date: %q, %v; want %q", c.source, got, err, c.undated)
		}
		if got, err := dated.Render(nil, false); err != nil || got != c.dated {
			t.Errorf("%s on %v: %q, %v; want %q", c.source, day, got, err, c.dated)
		}
	}
	tmpl, err := Parse("{% set today = strftime_now('%Y') %}{{ raise_exception('no messages') }}", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tmpl.Render(nil, false); !errors.As(err, new(*RefusedError)) {
		t.Errorf("a refusal that has nothing to do with the date: %v", err)
	}
	if !tmpl.UsesClock() {
		t.Error("UsesClock is false for a template that asks for the date")
	}
	plain, err := Parse("strftime_now {{ 'strftime_now' }}", nil)
	if err != nil {
		t.Fatal(err)
	}
	if plain.UsesClock() {
		t.Error("UsesClock is true for a template that only has the word in its text")
	}
}

// The two days that tell whether a text depends on the date differ in every directive.
func TestDaysDifferInEveryDirective(t *testing.T) {
	t.Parallel()
	for _, directive := range append(slices.Collect(maps.Keys(layouts)), "-H", "-y", "-M") {
		one, err := strftime(oneDay, "%"+directive)
		other, otherErr := strftime(anotherDay, "%"+directive)
		if err != nil || otherErr != nil || one == other {
			t.Errorf("%%%s is %q (%v) and %q (%v)", directive, one, err, other, otherErr)
		}
	}
}

func TestVariables(t *testing.T) {
	t.Parallel()
	const source = "{{ bos_token is defined }} {{ eos_token }} {{ tools }} {{ documents }} {{ add_generation_prompt }} {{ messages }}"
	tmpl, err := Parse(source, Tokens{"eos_token": "</s>"})
	if err != nil {
		t.Fatal(err)
	}
	got, err := tmpl.Render([]Message{{"user", "it's"}}, true)
	if err != nil {
		t.Fatal(err)
	}
	want := `False </s> None None True [{'role': 'user', 'content': "it's"}]`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := tmpl.Source(); got != source {
		t.Errorf("Source() = %q", got)
	}
	plain, err := Parse("abc", nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := plain.SHA256(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"; got != want {
		t.Errorf("SHA256() = %s, want %s", got, want)
	}
}

// TestErrorsAreClear checks that an error names what is wrong and where.
func TestErrorsAreClear(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ source, want string }{
		{"a\n{% include '/etc/passwd' %}", `line 2: tag "include" is refused`},
		{"{% import 'x' as y %}", `tag "import" is refused`},
		{"{% from 'x' import y %}", `tag "from" is refused`},
		{"{% extends 'x' %}", `tag "extends" is refused`},
		{"{% block x %}{% endblock %}", `tag "block" is not supported`},
		{"{{ 'a' }}\xda", "the source is not valid UTF-8"},
		{"{% frobnicate %}", `unknown tag "frobnicate"`},
		{"{% if true %}x", `unexpected end of template, expected tag "endif"`},
		{"{{ x", "unexpected end of template inside a tag"},
		{"{{ messages[0].content }}", "line 1: list object has no element 0"},
		{"\n\n{{ nope.x }}", "line 3: 'nope' is undefined"},
		{"{{ 'a'.encode() }}", "method encode of str is not supported"},
		{"{{ messages.append(1) }}", "access to attribute 'append' of 'list' object is unsafe"},
		{"{{ 'a'.__class__.__mro__ }}", "access to attribute '__class__' of 'str' object is unsafe"},
		{"{{ raise_exception.Call }}", "attributes of a function are not supported"},
		{"{{ 'a'|pprint }}", "filter pprint: there is no such filter"},
		{"{{ 'a' is filter }}", "test filter: there is no such test"},
		{"{{ cycler(1) }}", `"cycler" is not supported`},
		{"{{ raise_exception('bad\nrole') }}", "the chat template refuses the messages: bad\nrole"},
		{
			"{% macro m() %}{{ raise_exception('deep') }}{% endmacro %}{{ m() }}",
			"the chat template refuses the messages: deep",
		},
	} {
		tmpl, err := Parse(c.source, nil)
		if err == nil {
			_, err = tmpl.Render(nil, true)
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s\nerror %v\nwant  %s", c.source, err, c.want)
		}
	}
}

func TestPanicsBecomeErrors(t *testing.T) {
	t.Parallel()
	var tmpl Template // has no parsed template: rendering it panics inside
	if _, err := tmpl.Render(nil, true); err == nil || !strings.Contains(err.Error(), "internal error") {
		t.Errorf("error %v, want an internal error", err)
	}
}

func TestLoad(t *testing.T) {
	t.Parallel()
	const tokens = `"bos_token": {"__type": "AddedToken", "content": "<s>"}, "eos_token": "</s>", "pad_token": null`
	for _, c := range []struct {
		name  string
		files map[string]string
		want  string // rendered
		err   string
	}{
		{
			name: "tokenizer_config.json",
			files: map[string]string{"tokenizer_config.json": `{` + tokens +
				`, "chat_template": "{{ bos_token }}a{{ eos_token }}{{ pad_token is defined }}"}`},
			want: "<s>a</s>False",
		},
		{
			name: "chat_template.jinja comes first",
			files: map[string]string{
				"tokenizer_config.json": `{` + tokens + `, "chat_template": "old"}`,
				"chat_template.jinja":   "new {{ bos_token }}\n",
			},
			want: "new <s>",
		},
		{
			name:  "chat_template.jinja alone",
			files: map[string]string{"chat_template.jinja": "alone{{ bos_token }}"},
			want:  "alone",
		},
		{
			name: "tokens from special_tokens_map.json",
			files: map[string]string{
				"tokenizer_config.json":   `{"eos_token": "E", "bos_token": null, "chat_template": "{{ bos_token }}{{ eos_token }}{{ unk_token }}"}`,
				"special_tokens_map.json": `{"bos_token": "B", "eos_token": "no", "unk_token": {"content": "U", "lstrip": false}}`,
			},
			want: "BEU",
		},
		{
			name: "list of templates",
			files: map[string]string{
				"tokenizer_config.json": `{"chat_template": [{"name": "tool_use", "template": "t"}, {"name": "default", "template": "d"}]}`,
			},
			want: "d",
		},
		{
			name:  "list without default",
			files: map[string]string{"tokenizer_config.json": `{"chat_template": [{"name": "rag", "template": "t"}]}`},
			err:   "none of the named templates (rag) is called default",
		},
		{name: "no files", err: ErrNoTemplate.Error()},
		{
			name: "no template", files: map[string]string{"tokenizer_config.json": `{` + tokens + `}`},
			err: ErrNoTemplate.Error(),
		},
		{
			name: "null template", files: map[string]string{"tokenizer_config.json": `{"chat_template": null}`},
			err: ErrNoTemplate.Error(),
		},
		{
			name: "number", files: map[string]string{"tokenizer_config.json": `{"chat_template": 5}`},
			err: "neither a string nor a list",
		},
		{name: "broken JSON", files: map[string]string{"tokenizer_config.json": `{"chat_template`}, err: "tokenizer_config.json: unexpected end"},
		{name: "not an object", files: map[string]string{"tokenizer_config.json": `[]`}, err: "tokenizer_config.json: json: cannot unmarshal"},
		{name: "token", files: map[string]string{"tokenizer_config.json": `{"bos_token": 5}`}, err: "bos_token: it is neither a string nor an object"},
		{name: "token object", files: map[string]string{"tokenizer_config.json": `{"eos_token": {}}`}, err: "eos_token: it is neither a string nor an object"},
		{name: "syntax", files: map[string]string{"chat_template.jinja": "\n{% if %}"}, err: "chat_template.jinja: parsing the chat template: line 2: expected an expression"},
		{name: "size", files: map[string]string{"chat_template.jinja": strings.Repeat("a", jinja.MaxSource+1)}, err: "more than the"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			for name, text := range c.files {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			tmpl, err := Load(dir)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("error %v, want %s", err, c.err)
				}
				if c.err == ErrNoTemplate.Error() && !errors.Is(err, ErrNoTemplate) {
					t.Errorf("%v does not match ErrNoTemplate", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got, err := tmpl.Render(nil, false)
			if err != nil {
				t.Fatal(err)
			}
			if got != c.want {
				t.Errorf("rendered %q, want %q", got, c.want)
			}
		})
	}
}
