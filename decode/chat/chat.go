// Package chat renders a conversation as the prompt text a model was trained on, by the chat template that comes with
// the model, byte for byte as transformers' apply_chat_template(tokenize=False) does.
//
// A template is somebody else's program. It is run by package jinja, which gives it no file, no clock and no more than
// a bounded amount of work.
package chat

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/gsmeval/gsmeval/decode/chat/jinja"
)

// Message is one turn of a conversation.
type Message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// Tokens are the special tokens a template may name, such as "bos_token", and their texts. A token the tokenizer does
// not have is left out.
type Tokens map[string]string

// ErrNoDate is the error of a template whose text depends on today's date where none was given by WithDate.
var ErrNoDate = errors.New("the chat template prints today's date; give one, in a config as prompt.date and " +
	"to a command as --date YYYY-MM-DD, so that the prompt is the same on another day")

// Two days that differ in everything a date format can print: a text that prints the date differs between them.
var (
	oneDay     = time.Date(1987, 3, 4, 5, 6, 7, 0, time.UTC)
	anotherDay = time.Date(2042, 11, 29, 18, 38, 59, 0, time.UTC)
)

// RefusedError is the error of a template that rejects the messages, for instance because it knows no system role. The
// message is the template's own.
type RefusedError struct{ Message string }

// Error implements error.
func (e *RefusedError) Error() string { return "the chat template refuses the messages: " + e.Message }

// Template is a parsed chat template with the special tokens of its model. It is immutable and may be used by several
// goroutines at a time.
type Template struct {
	source string
	parsed *jinja.Template
	tokens Tokens
	date   time.Time
}

// Parse parses the source of a chat template. An error names the line and what is wrong there or not supported.
func Parse(source string, tokens Tokens) (t *Template, err error) {
	defer panicToError("parsing the chat template", &err)
	parsed, err := jinja.Parse(source)
	if err != nil {
		return nil, fmt.Errorf("parsing the chat template: %w", err)
	}
	return &Template{source: source, parsed: parsed, tokens: maps.Clone(tokens)}, nil
}

// panicToError turns a panic into an error: a flaw in the interpreter must not take down a run because of somebody's
// template.
func panicToError(doing string, err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("%s: internal error: %v", doing, p)
	}
}

// Source returns the text of the template.
func (t *Template) Source() string { return t.source }

// SHA256 returns the hash of the source in lower-case hex.
func (t *Template) SHA256() string {
	sum := sha256.Sum256([]byte(t.source))
	return hex.EncodeToString(sum[:])
}

// Tokens returns the special tokens the template is given.
func (t *Template) Tokens() Tokens { return maps.Clone(t.tokens) }

// UsesClock reports whether the template asks for the date, be it to print it or not.
func (t *Template) UsesClock() bool { return t.parsed.Mentions("strftime_now") }

// WithDate returns the template with a fixed date and time in place of now.
func (t *Template) WithDate(date time.Time) *Template {
	dated := *t
	dated.date = date
	return &dated
}

// On returns the template with midnight of a day, YYYY-MM-DD, in place of now; the empty day leaves it as it is.
func (t *Template) On(day string) (*Template, error) {
	if day == "" {
		return t, nil
	}
	date, err := time.Parse(time.DateOnly, day)
	if err != nil {
		return nil, fmt.Errorf("the date %q is not a day, YYYY-MM-DD", day)
	}
	return t.WithDate(date), nil
}

// Render returns the prompt for the messages, with the beginning of the assistant's turn at its end where
// addGenerationPrompt is set. A *RefusedError is the template's own complaint about the messages. Without a date, a
// text that depends on it is ErrNoDate; one that does not is rendered.
func (t *Template) Render(messages []Message, addGenerationPrompt bool) (text string, err error) {
	defer panicToError("rendering the chat template", &err)
	if !t.date.IsZero() || !t.UsesClock() {
		return t.render(messages, addGenerationPrompt, t.date)
	}
	text, err = t.render(messages, addGenerationPrompt, oneDay)
	other, otherErr := t.render(messages, addGenerationPrompt, anotherDay)
	if text != other || (err == nil) != (otherErr == nil) {
		return "", ErrNoDate
	}
	return text, err
}

func (t *Template) render(messages []Message, addGenerationPrompt bool, now time.Time) (string, error) {
	turns := make([]jinja.Value, len(messages))
	for i, m := range messages {
		turns[i] = jinja.NewDict("role", m.Role, "content", m.Content)
	}
	vars := map[string]jinja.Value{}
	for name, token := range t.tokens {
		vars[name] = token
	}
	vars["messages"] = jinja.List(turns...)
	vars["add_generation_prompt"] = addGenerationPrompt
	vars["tools"] = nil
	vars["documents"] = nil
	vars["raise_exception"] = jinja.Function{Name: "raise_exception", Params: []string{"message"}, Call: raiseException}
	vars["strftime_now"] = jinja.Function{Name: "strftime_now", Params: []string{"format"}, Call: strftimeNow(now)}
	text, err := t.parsed.Render(vars)
	if refused := (*RefusedError)(nil); errors.As(err, &refused) {
		return "", refused
	}
	if err != nil {
		return "", fmt.Errorf("rendering the chat template: %w", err)
	}
	return text, nil
}

func raiseException(args []jinja.Value) (jinja.Value, error) {
	message, ok := args[0].(string)
	if !ok {
		return nil, errors.New("raise_exception needs a message")
	}
	return nil, &RefusedError{Message: message}
}

// strftimeNow is the function that gives a template the date in a format.
func strftimeNow(now time.Time) func([]jinja.Value) (jinja.Value, error) {
	return func(args []jinja.Value) (jinja.Value, error) {
		format, ok := args[0].(string)
		if !ok {
			return nil, errors.New("strftime_now needs a format")
		}
		return strftime(now, format)
	}
}
