// Package jinja interprets the part of the Jinja template language that chat templates are written in, as Python's
// jinja2 does and within hard limits.
//
// A chat template is a program that arrives with a model's weights, and its output is the prompt: a rendering that
// differs by one byte from the one the model was trained on is a silently different experiment. So this package follows
// jinja2's own lexer and parser rule by rule and evaluates with Python's semantics. What it does not know it refuses by
// name; it never guesses.
//
// A template sees plain values only: no files, no other templates, no Go methods. The limits are constants of this
// package: size of the source, depth of nesting, amount of work and length of the output.
package jinja

import (
	"errors"
	"fmt"
	"unicode/utf8"
)

// Limits on a template. Work counts about one unit per byte produced or scanned, nodeCost per node evaluated, callCost
// per filter or call and itemCost per element of a list, so it bounds both time and memory.
const (
	MaxSource = 256 << 10 // bytes of template source
	MaxOutput = 1 << 20   // bytes of rendered text
	maxNest   = 200       // nested expressions and blocks in the source
	maxDepth  = 1000      // nested evaluations, macro calls included
	maxWork   = 32 << 20  // units of work in one rendering
	maxRange  = 100_000   // elements of a range, as in jinja2's sandbox
	nodeCost  = 16
	callCost  = 160
	itemCost  = 32
)

// ErrLimit is matched by the error of a template that exceeds a limit.
var ErrLimit = errors.New("template exceeds a limit")

// Error is an error in a template or of its rendering, with the line of the template source (from 1) it comes from.
type Error struct {
	Line int
	Err  error
}

// Error implements error.
func (e *Error) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Err) }

// Unwrap returns the error without its line.
func (e *Error) Unwrap() error { return e.Err }

func errorAt(line int, format string, args ...any) error {
	return &Error{Line: line, Err: fmt.Errorf(format, args...)}
}

// withLine gives err the line, unless it has one from deeper down already.
func withLine(line int, err error) error {
	if e := (*Error)(nil); err == nil || errors.As(err, &e) {
		return err
	}
	return &Error{Line: line, Err: err}
}

// Template is a parsed template. It is immutable and may be rendered by several goroutines at a time.
type Template struct {
	body  []stmt
	names map[string]bool
}

// Parse parses a template as jinja2 does with trim_blocks, lstrip_blocks and the loop controls extension. Tags that
// would load other templates are refused.
func Parse(source string) (*Template, error) {
	if len(source) > MaxSource {
		return nil, fmt.Errorf("%w: %d bytes of source, at most %d", ErrLimit, len(source), MaxSource)
	}
	if !utf8.ValidString(source) {
		return nil, errors.New("the source is not valid UTF-8")
	}
	tokens, err := lex(source)
	if err != nil {
		return nil, err
	}
	p := &parser{tokens: tokens}
	body, err := p.template()
	if err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for _, t := range tokens {
		if t.kind == tokName {
			names[t.text] = true
		}
	}
	return &Template{body: body, names: names}, nil
}

// Mentions reports whether an identifier occurs anywhere in the template's tags, be it reached in a rendering or not.
func (t *Template) Mentions(name string) bool { return t.names[name] }

// Function is a global function a template may call. All its parameters are required; they may be passed by position or
// by name.
type Function struct {
	Name   string
	Params []string
	Call   func(args []Value) (Value, error)
}

// Render renders the template with the given variables, which may include Functions.
func (t *Template) Render(vars map[string]Value) (string, error) {
	root := &scope{vars: map[string]Value{}}
	for name, fn := range builtins() {
		root.vars[name] = fn
	}
	for name, v := range vars {
		root.vars[name] = v
	}
	r := &run{}
	out := &buffer{}
	if _, err := r.exec(t.body, &scope{parent: root}, out); err != nil {
		return "", err
	}
	return out.text.String(), nil
}
