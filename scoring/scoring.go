// Package scoring reads the answer out of a generated text and decides
// whether it is right.
//
// A ladder is a list of rungs, each of which knows one way of stating an
// answer. The seed ladder is the reference notebook's extraction to the letter,
// faults included; the robust ladder reads what a person would read; the math
// ladder takes answers as formulas.
package scoring

import (
	"fmt"
	"strings"

	"github.com/gsmeval/gsmeval/internal/finish"
	"github.com/gsmeval/gsmeval/internal/thought"
)

// Answer is what a rung read in a text.
type Answer struct {
	Value string // as it is compared with the gold answer
	Rung  string // the name of the rung that fired
	// Start and End are the byte range of the matched answer in the text, for
	// highlighting.
	Start, End int
}

// Rung is one way of stating an answer.
type Rung struct {
	Name string
	// Explicit marks a statement such as "the answer is": it counts even in a
	// truncated text, where the last number is only where the text was cut.
	Explicit bool
	// Find returns the answer in text and whether there is one. It need not
	// set the answer's Rung. Its time is linear in the length of text.
	Find func(text string) (Answer, bool)
}

// Ladder is a named way of reading answers.
type Ladder struct {
	Name  string
	Rungs []Rung
	// Thoughts are the marks of the thoughts that are left out.
	Thoughts *thought.Marks
	// read applies the rungs to a completion.
	read func(rungs []Rung, c Text) reading
	// equal compares an answer with the gold answer.
	equal func(pred, gold string) bool
	// text are the rungs for a gold answer that is no number; nil where they are the same.
	text []Rung
}

// reading is what a ladder made of a text. Unfinished says that the text ends
// inside a block that should have been closed.
type reading struct {
	answer     Answer
	found      bool
	unfinished bool
}

// ladders lists every ladder by name.
func ladders() []Ladder {
	return []Ladder{
		{Name: "seed", Rungs: seedRungs(), read: readFirst, equal: Match},
		{Name: "robust", Rungs: robustRungs(), read: readLast, equal: Match, text: mathRungs()},
		{Name: "math", Rungs: mathRungs(), read: readLast, equal: equalText},
	}
}

// LadderNames returns the names LadderByName knows.
func LadderNames() []string {
	var names []string
	for _, l := range ladders() {
		names = append(names, l.Name)
	}
	return names
}

// LadderByName returns the ladder of that name.
func LadderByName(name string) (Ladder, error) {
	for _, l := range ladders() {
		if l.Name == name {
			l.Thoughts = thought.Known
			return l, nil
		}
	}
	return Ladder{}, fmt.Errorf("unknown ladder %q: choose one of %s", name, strings.Join(LadderNames(), ", "))
}

// Text is a generated text and the circumstances that matter for reading
// it.
type Text struct {
	Text   string
	Finish finish.Reason // empty means finish.Stop
	// FewShot says that solved examples stood in the prompt. Without them a new
	// "Question:" after an answer is a run-on; with them it may be a recital.
	FewShot bool
	// Question is what was asked, if it is known: a model that recites its prompt
	// comes to it again, and reading starts there.
	Question string
	// Asks is the line that comes before a question in the prompt, of AskedBy: where
	// the model writes it after an answer, it asks itself a new question.
	Asks string
	// InThink says that the prompt itself opened a thought, so that the text
	// begins inside it.
	InThink  bool
	thoughts *thought.Marks // the ladder's
}

// Verdict is the score of one completion.
type Verdict struct {
	Status  Status
	Answer  Answer
	Found   bool // whether Answer holds one
	Correct bool // whether it is the gold answer
}

// Score reads the answer of c and compares it with gold. Completions that
// failed are not read at all.
func (l Ladder) Score(c Text, gold string) Verdict {
	switch c.Finish {
	case finish.Nonfinite:
		return Verdict{Status: StatusNonfinite}
	case finish.Stop, finish.Length, "":
	default: // finish.Failed, and anything this package does not know
		return Verdict{Status: StatusError}
	}
	c.thoughts = l.Thoughts
	rungs, equal := l.Rungs, l.equal
	if l.text != nil {
		if n, ok := goldNumber(gold); ok {
			gold = n
		} else {
			rungs, equal = l.text, equalText
		}
	}
	r := l.read(rungs, c)
	v := Verdict{Status: StatusOK, Answer: r.answer, Found: r.found}
	switch {
	case c.Finish == finish.Length || r.unfinished:
		v.Status = StatusTruncated
	case !r.found:
		v.Status = StatusNoAnswer
	}
	v.Correct = r.found && equal(r.answer.Value, gold)
	return v
}

// readFirst takes the answer of the first rung that finds one.
func readFirst(rungs []Rung, c Text) reading {
	for _, rung := range rungs {
		if a, ok := rung.Find(c.Text); ok {
			a.Rung = rung.Name
			return reading{answer: a, found: true}
		}
	}
	return reading{}
}
