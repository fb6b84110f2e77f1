// Package thought knows how reasoning models mark their thoughts off from their answers.
package thought

import (
	"regexp"
	"strings"
)

// Mark is a pair of strings that a thought stands between. ASCII letters match in either case.
type Mark struct {
	Open  string `yaml:"open"`
	Close string `yaml:"close"`
}

// known lists the marks that models write.
var known = append(tags(
	"think", "thinking", "thinking_process", "thought", "thoughts", "thought_process", "chain_of_thought", "cot",
	"reasoning", "reasoning_process", "reasoning_content", "reason", "rationale", "reflection", "analysis",
	"scratchpad", "scratch_pad", "inner_thought", "inner_thoughts", "inner_monologue", "internal_monologue", "internal",
	"seed:think", "mm:think", "longcat_think", "antthinking",
), []Mark{
	{"[think]", "[/think]"},
	{"[thinking]", "[/thinking]"},
	{"[thought]", "[/thought]"},
	{"[reasoning]", "[/reasoning]"},
	{"<|think|>", "<|/think|>"},
	{"<|thinking|>", "<|/thinking|>"},
	{"<|thought|>", "<|/thought|>"},
	{"<|start_thinking|>", "<|end_thinking|>"},
	{"<|begin_of_thought|>", "<|end_of_thought|>"},
	{"<|begin_of_reasoning|>", "<|end_of_reasoning|>"},
	{"<|startofthought|>", "<|endofthought|>"},
	{"<|inner_prefix|>", "<|inner_suffix|>"},
	{"<|channel>thought", "<channel|>"},
	{"◁think▷", "◁/think▷"},
	{"<unused94>thought", "<unused95>"},
	// A model's channel for its analysis ends where that for its answer begins, also where the control tokens are lost.
	{"<|channel|>analysis", "<|channel|>final"},
	{"", "assistantfinal"},
}...)

// tags are pairs such as <think> and </think>.
func tags(names ...string) []Mark {
	var pairs []Mark
	for _, name := range names {
		pairs = append(pairs, Mark{"<" + name + ">", "</" + name + ">"})
	}
	return pairs
}

// Marks finds thoughts in texts.
type Marks struct {
	pairs []Mark
	first [256]bool // the bytes that marks begin with
}

// Known finds the thoughts whose marks are known.
var Known = New(nil)

// New finds the thoughts whose marks are known, and others.
func New(others []Mark) *Marks {
	m := &Marks{pairs: append(append([]Mark(nil), known...), others...)}
	for _, p := range m.pairs {
		for _, s := range []string{p.Open, p.Close} {
			if s == "" {
				continue
			}
			m.first[s[0]] = true
			m.first[strings.ToLower(s)[0]] = true
			m.first[strings.ToUpper(s)[0]] = true
		}
	}
	return m
}

// controlToken is the spelling of control tokens within a mark.
var controlToken = regexp.MustCompile(`<\|[^|]*\|>|<unused[0-9]+>`)

// Tokens lists the strings that a tokenizer may know as control tokens: every mark, and the control tokens within one.
func (m *Marks) Tokens() []string {
	var out []string
	for _, p := range m.pairs {
		for _, s := range []string{p.Open, p.Close} {
			if s == "" {
				continue
			}
			out = append(out, s)
			if part := controlToken.FindString(s); part != "" && part != s {
				out = append(out, part)
			}
		}
	}
	return out
}

// In tells whether a text has a mark of a thought.
func (m *Marks) In(text string) bool { return m.next(text, 0, nil).size > 0 }

// Inside tells whether a text leaves its reader inside a thought, as some models' prompts do.
func (m *Marks) Inside(text string) bool {
	inside := false
	for at := 0; ; {
		mark := m.next(text, at, nil)
		if mark.size == 0 {
			return inside
		}
		inside = mark.opens
		at = mark.end()
	}
}

// Answer returns where the part of a text that is the answer stands: behind the last thought. inside says that the text
// begins within a thought. A thought that does not end makes the text unfinished; then the answer is what stands before
// it.
func (m *Marks) Answer(text string, inside bool) (start, end int, unfinished bool) {
	if inside {
		mark := m.closing(text, 0, nil)
		if mark.size == 0 {
			return 0, 0, true
		}
		start = mark.end()
	}
	for {
		mark := m.next(text, start, nil)
		switch {
		case mark.size == 0:
			return start, len(text), false
		case !mark.opens: // the thought has begun in the prompt
			start = mark.end()
			continue
		}
		shut := m.closing(text, mark.end(), mark.pair)
		if shut.size == 0 {
			return start, mark.at, true
		}
		start = shut.end()
	}
}

// Outside calls visit with the parts of a text that are not thoughts, until it returns false. inside says that the text
// begins within a thought. Only what has been opened is a thought here: it is read as it is written.
func (m *Marks) Outside(text string, inside bool, visit func(start, end int) bool) {
	at := 0
	if inside {
		mark := m.closing(text, 0, nil)
		if mark.size == 0 {
			return
		}
		at = mark.end()
	}
	for {
		mark := m.opening(text, at)
		if mark.size == 0 {
			visit(at, len(text))
			return
		}
		if !visit(at, mark.at) {
			return
		}
		shut := m.closing(text, mark.end(), mark.pair)
		if shut.size == 0 {
			return
		}
		at = shut.end()
	}
}

// found is a mark in a text; its size is 0 where there is none.
type found struct {
	at, size int
	pair     *Mark
	opens    bool
}

func (f found) end() int { return f.at + f.size }

// opening finds the first opening mark from a place on.
func (m *Marks) opening(text string, from int) found {
	for {
		f := m.next(text, from, nil)
		if f.size == 0 || f.opens {
			return f
		}
		from = f.end()
	}
}

// closing finds the first closing mark from a place on: that of a pair, or any.
func (m *Marks) closing(text string, from int, pair *Mark) found {
	for {
		f := m.next(text, from, pair)
		if f.size == 0 || !f.opens {
			return f
		}
		from = f.end()
	}
}

// next finds the first mark from a place on: of a pair, or any.
func (m *Marks) next(text string, from int, pair *Mark) found {
	for i := from; i < len(text); i++ {
		if !m.first[text[i]] {
			continue
		}
		for k := range m.pairs {
			p := &m.pairs[k]
			if pair != nil && p != pair {
				continue
			}
			if hasPrefixFold(text[i:], p.Close) {
				return found{i, len(p.Close), p, false}
			}
			if hasPrefixFold(text[i:], p.Open) {
				return found{i, len(p.Open), p, true}
			}
		}
	}
	return found{}
}

// hasPrefixFold is strings.HasPrefix that does not mind the case of ASCII letters.
func hasPrefixFold(s, prefix string) bool {
	if len(s) < len(prefix) || prefix == "" {
		return false
	}
	for i := range len(prefix) {
		if lower(s[i]) != lower(prefix[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
