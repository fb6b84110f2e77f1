package thought

import (
	"strings"
	"testing"
)

func TestAnswer(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text       string
		inside     bool
		want       string
		unfinished bool
	}{
		{"18", false, "18", false},
		{"<think>5</think>18", false, "18", false},
		{"<THINK>5</Think>18", false, "18", false},
		{"<thinking>5</thinking> 18", false, " 18", false},
		{"[THINK]5[/THINK]18", false, "18", false},
		{"<seed:think>5</seed:think>18", false, "18", false},
		{"<|begin_of_thought|>5<|end_of_thought|>18", false, "18", false},
		{
			"<|channel|>analysis<|message|>5<|end|><|start|>assistant<|channel|>final<|message|>18", false,
			"<|message|>18", false,
		},
		{"<|channel|>analysis<|message|>5", false, "", true},
		{"analysis5assistantfinal18", false, "18", false},
		{"<chain_of_thought>5</chain_of_thought>18", false, "18", false},
		{"◁think▷5◁/think▷18", false, "18", false},
		{"<reasoning>5</reasoning>18<reasoning>6</reasoning>20", false, "20", false},
		{"so 18 <think>or 5", false, "so 18 ", true},
		{"<think>a <thinking>b</thinking> c", false, "", true}, // the outer one does not end
		{"<think>a <thinking>b</thinking> c</think>18", false, "18", false},
		{"opened by the prompt 5</think>18", false, "18", false},
		{"opened by the prompt 5</think>18", true, "18", false},
		{"opened by the prompt 5", true, "", true},
		{"<thinker>5", false, "<thinker>5", false},
		{"a < b", false, "a < b", false},
	} {
		start, end, unfinished := Known.Answer(c.text, c.inside)
		if got := c.text[start:end]; got != c.want || unfinished != c.unfinished {
			t.Errorf("%q: %q, %v; want %q, %v", c.text, got, unfinished, c.want, c.unfinished)
		}
	}
}

func TestOtherMarks(t *testing.T) {
	t.Parallel()
	m := New([]Mark{{"(hm", "so)"}, {"Ößa", "ß"}})
	for text, want := range map[string]string{"(HM 5 so)18": "18", "<think>5</think>18": "18", "Ößa 5 ß18": "18"} {
		if start, end, _ := m.Answer(text, false); text[start:end] != want {
			t.Errorf("%q: %q, want %q", text, text[start:end], want)
		}
	}
}

func TestInside(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"": false, "<think>\n": true, "<think>\n</think>\n": false, "write <think> and </think>\n<Thinking>": true,
		"[THINK]": true, "</think>": false,
	} {
		if got := Known.Inside(text); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

// Every mark that is known is read, and no thought is taken for a part of another.
func TestEveryMark(t *testing.T) {
	t.Parallel()
	for _, p := range known {
		if p.Open == "" {
			continue // it ends a thought whose beginning is lost
		}
		text := p.Open + " 5 " + p.Close + "18"
		if start, end, unfinished := Known.Answer(text, false); text[start:end] != "18" || unfinished {
			t.Errorf("%q: %q", text, text[start:end])
		}
		if !Known.Inside("x" + strings.ToUpper(p.Open)) {
			t.Errorf("%q opens nothing", p.Open)
		}
	}
	tokens := strings.Join(Known.Tokens(), " ")
	for _, want := range []string{"<think>", "</think>", "<|channel|> ", "<unused94> "} {
		if !strings.Contains(tokens, want) {
			t.Errorf("no %q among the tokens %s", want, tokens)
		}
	}
}

func FuzzMarks(f *testing.F) {
	f.Add("<think>a</think>b<THINK>", true)
	f.Add("<|channel|>analysis", false)
	f.Fuzz(func(t *testing.T, text string, inside bool) {
		start, end, unfinished := Known.Answer(text, inside)
		if start < 0 || start > end || end > len(text) || (!unfinished && end != len(text)) {
			t.Errorf("%q: %d to %d, unfinished %v", text, start, end, unfinished)
		}
		at := 0
		Known.Outside(text, inside, func(start, end int) bool {
			if start < at || end < start || end > len(text) {
				t.Errorf("%q: a part from %d to %d after %d", text, start, end, at)
			}
			at = end
			return true
		})
	})
}
