package decode

import (
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gsmeval/gsmeval/internal/condition"
	"github.com/gsmeval/gsmeval/internal/finish"
	"github.com/gsmeval/gsmeval/internal/thought"
)

func TestCut(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text    string
		inThink bool
		want    string
		found   bool
	}{
		{"a b", false, "a b", false},
		{"a STOP b", false, "a ", true},
		{"STOP", false, "", true},
		{"a END b STOP", false, "a ", true},
		{"<think>STOP</think>a", false, "<think>STOP</think>a", false},
		{"<think>STOP</think>a STOP b", false, "<think>STOP</think>a ", true},
		{"STOP <think>x</think>", false, "", true},
		{"a<think>STOP", false, "a<think>STOP", false},
		{"STOP </think> b", true, "STOP </think> b", false},
		{"STOP </think> b END c", true, "STOP </think> b ", true},
		{"no end STOP", true, "no end STOP", false},
		{"</think><think>END</think>STOP", true, "</think><think>END</think>", true},
		{"ST<think>OP</think>", false, "ST<think>OP</think>", false},
		{"a</think>STOP", false, "a</think>", true}, // a mark that closes nothing
	} {
		got, found := newStops([]string{"STOP", "END"}, nil, thought.Known).Cut(c.text, c.inThink)
		if got != c.want || found != c.found {
			t.Errorf("Cut(%q, %v) = %q, %v; want %q, %v", c.text, c.inThink, got, found, c.want, c.found)
		}
	}
	if got, found := newStops(nil, nil, thought.Known).Cut("a", false); got != "a" || found {
		t.Errorf("no stop strings cut a text to %q, %v", got, found)
	}
}

// TestReachedIsCut puts random texts together from tokens that are pieces of marks and stop strings, single bytes of
// characters and nothing at all: a step ends the text if and only if the whole text has a stop string then.
func TestReachedIsCut(t *testing.T) {
	t.Parallel()
	vocabulary := []string{
		"", "a", "\n", "\n\n", "S", "ST", "OP", "STOP", "TOP S", "Que", "stion:", " ", "<", "think>", "<think>",
		"</think>", "</", "é", "é"[:1], "é"[1:], "x\n", "longer piece of text",
	}
	decode := func(ids []int) string {
		var b strings.Builder
		for _, id := range ids {
			b.WriteString(vocabulary[id])
		}
		return strings.ToValidUTF8(b.String(), "\uFFFD")
	}
	r := rand.New(rand.NewPCG(1, 2))
	stopped := 0
	for range 3000 {
		s := newStops([]string{"STOP", "\n\n\n", "Question:", "é é"}, decode, thought.Known)
		inThink := r.IntN(2) == 0
		var ids []int
		for range 80 {
			ids = append(ids, r.IntN(len(vocabulary)))
			_, want := s.Cut(decode(ids), inThink)
			if got := s.reached(ids, inThink); got != want {
				t.Fatalf("%q (in a block: %v): reached %v, want %v", decode(ids), inThink, got, want)
			}
			if want {
				stopped++
				break
			}
		}
	}
	if stopped < 500 || stopped > 2900 {
		t.Errorf("%d of 3000 texts were stopped; the test shows little", stopped)
	}
}

// TestStopStrings decodes with the bundled model: a stop string ends a text where it is complete, whatever its
// neighbours are.
func TestStopStrings(t *testing.T) {
	lm, err := Load(filepath.Join("..", "models", "gsm-tiny"), LoadOptions{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := lm.Close(); err != nil {
			t.Error(err)
		}
	}()
	prompt, err := lm.Plain("Question: Tom has 3 apples and buys 4. How many?\nLet me solve this step by step:\n")
	if err != nil {
		t.Fatal(err)
	}
	req := func(stop ...string) *Request {
		return &Request{
			Prompt: prompt, MaxNew: 60, Schedule: condition.ConstantT(1), SampleKey: 3,
			Stops: lm.Stops(stop),
		}
	}
	o := Options{Slots: 3, Capacity: len(prompt) + 60}
	whole := generate(t, lm.Worker, lm.Model, o, req())[0]
	text := lm.Completion(whole.IDs)
	if len(text) < 60 {
		t.Fatalf("a text of %d bytes is too short for this test: %q", len(text), text)
	}
	stop := text[30:37]
	at := strings.Index(text, stop)
	ended := generate(t, lm.Worker, lm.Model, o, req("\x01", stop))[0]
	if ended.Finish != finish.Stop || !slices.Equal(ended.IDs, whole.IDs[:len(ended.IDs)]) {
		t.Fatalf("finish %s after %v, want stop after a part of %v", ended.Finish, ended.IDs, whole.IDs)
	}
	if got, found := lm.Stops([]string{stop}).Cut(lm.Completion(ended.IDs), false); !found || got != text[:at] {
		t.Errorf("the text is %q, want %q", got, text[:at])
	}
	if shorter := lm.Completion(ended.IDs[:len(ended.IDs)-1]); strings.Contains(shorter, stop) {
		t.Errorf("the text went on after %q", shorter)
	}
	// Neighbours with other stop strings, and none.
	among := generate(t, lm.Worker, lm.Model, o, req(), req(text[5:8]), req("\x01", stop), req(), req("\x01"))
	sameResults(t, "among neighbours", ended, among[2])
	sameResults(t, "a neighbour without a stop string", whole, among[3])
	sameResults(t, "a stop string that does not come", whole, among[4])
	// In a block that the prompt has opened nothing ends the text.
	thinking := req(stop)
	thinking.InThink = true
	sameResults(t, "inside a block", whole, generate(t, lm.Worker, lm.Model, o, thinking)[0])
	// At the limit the stop string counts, not the limit.
	exact := req(stop)
	exact.MaxNew = len(ended.IDs)
	if r := generate(t, lm.Worker, lm.Model, o, exact)[0]; r.Finish != finish.Stop {
		t.Errorf("finish %s at the limit, want stop", r.Finish)
	}
}
