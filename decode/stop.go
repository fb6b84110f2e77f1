package decode

import (
	"strings"

	"github.com/gsmeval/gsmeval/internal/thought"
)

// InThink tells whether a text leaves its reader inside a thought, as some reasoning models' templates do.
func (t *Text) InThink(text string) bool { return t.thoughts.Inside(text) }

// Stops end a text at the first of some strings that stands outside of thoughts: a model may write what it likes while
// it reasons. Where a text ends depends on its tokens alone. A nil Stops ends nothing.
type Stops struct {
	strings  []string
	longest  int // bytes
	decode   func(ids []int) string
	thoughts *thought.Marks
}

// Stops makes the Stops of a list of strings; nil for none.
func (t *Text) Stops(list []string) *Stops { return newStops(list, t.Completion, t.thoughts) }

func newStops(list []string, decode func(ids []int) string, thoughts *thought.Marks) *Stops {
	if len(list) == 0 {
		return nil
	}
	s := &Stops{strings: list, decode: decode, thoughts: thoughts}
	for _, text := range list {
		s.longest = max(s.longest, len(text))
	}
	return s
}

// Cut returns the text up to the first stop string, which is left out, and whether there is one. inThink says that the
// text begins inside a block that the prompt has opened.
func (s *Stops) Cut(text string, inThink bool) (before string, found bool) {
	if s == nil {
		return text, false
	}
	before = text
	s.thoughts.Outside(text, inThink, func(start, end int) bool {
		if i := s.first(text[start:end]); i >= 0 {
			before, found = text[:start+i], true
		}
		return !found
	})
	return before, found
}

// first is the index of the first stop string in text, or -1.
func (s *Stops) first(text string) int {
	at := -1
	for _, stop := range s.strings {
		if i := strings.Index(text, stop); i >= 0 && (at < 0 || i < at) {
			at = i
		}
	}
	return at
}

// reached tells whether the last of the tokens completes a stop string. Most tokens are settled by decoding the last
// few; the whole text is decoded only when those hold a stop string, which may still stand in a block.
func (s *Stops) reached(ids []int, inThink bool) bool {
	if s == nil || len(ids) == 0 {
		return false
	}
	// A token may be a part of a character, or nothing at all; the first of a decoded text may lose a space.
	from := len(ids)
	before, after := "", ""
	for from > 0 && len(before) < s.longest+8 {
		from = max(0, from-s.longest-8)
		before, after = s.decode(ids[from:len(ids)-1]), s.decode(ids[from:])
	}
	same := 0
	for same < len(before) && same < len(after) && before[same] == after[same] {
		same++
	}
	if s.first(after[max(0, same-s.longest+1):]) < 0 {
		return false
	}
	_, found := s.Cut(s.decode(ids), inThink)
	return found
}
