package session

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gsmeval/gsmeval/datasets"
	"github.com/gsmeval/gsmeval/decode"
	"github.com/gsmeval/gsmeval/decode/chat"
	"github.com/gsmeval/gsmeval/internal/config"
)

// promptConfig is a config with a prompt and a data set.
func promptConfig(t *testing.T, prompt, dataset string) *config.Config {
	t.Helper()
	cfg, err := config.Parse("test.yaml", fmt.Appendf(nil, "model: {path: none}\nprompt: %s\ndataset: %s\n", prompt,
		dataset), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// tinyText is the tokenizer and the template of the bundled model.
func tinyText(t *testing.T) *decode.Text {
	t.Helper()
	text, err := decode.OpenText(filepath.Join("..", "..", "models", "gsm-tiny"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = text.Close() })
	return text
}

// Worked examples as plain text, as text in the user's message and as turns of the chat.
func TestFewShotPrompts(t *testing.T) {
	t.Parallel()
	text := tinyText(t)
	shots := []datasets.Example{
		{Question: "1+1?", Answer: "It is 2.\n#### 2"},
		{Question: "2+3?", Answer: "It is 5.\n#### 5"},
	}
	render := func(messages ...chat.Message) string {
		rendered, _, err := text.Chat(messages, true)
		if err != nil {
			t.Fatal(err)
		}
		return rendered
	}
	user := func(s string) chat.Message { return chat.Message{Role: "user", Content: s} }
	assistant := func(s string) chat.Message { return chat.Message{Role: "assistant", Content: s} }
	for _, tc := range []struct {
		name, prompt, want, describe string
		shots                        []datasets.Example
	}{
		{
			name: "plain", prompt: "{style: plain}", want: "Question: 4+4?\nLet me solve this step by step:\n",
			describe: "plain",
		},
		{
			name: "plain with examples", prompt: "{style: plain, few_shot: 2}", shots: shots,
			want: "Question: 1+1?\nLet me solve this step by step:\nIt is 2.\n#### 2\n\nQuestion: 2+3?\nLet me solve this step by step:\nIt is 5.\n#### 5\n\n" +
				"Question: 4+4?\nLet me solve this step by step:\n",
			describe: "plain 2-shot text",
		},
		{
			name: "chat", prompt: `{instruction: "Solve: {question}"}`, want: render(user("Solve: 4+4?")),
			describe: "chat template",
		},
		{
			name: "chat with examples as text", prompt: `{instruction: "Solve: {question}", few_shot: 2}`, shots: shots,
			want:     render(user("Question: 1+1?\nIt is 2.\n#### 2\n\nQuestion: 2+3?\nIt is 5.\n#### 5\n\nSolve: 4+4?")),
			describe: "2-shot text",
		},
		{
			name:   "chat with examples as turns",
			prompt: `{instruction: "Solve: {question}", few_shot: 2, few_shot_style: turns, system: "Be brief."}`,
			shots:  shots,
			want: render(chat.Message{Role: "system", Content: "Be brief."}, user("Solve: 1+1?"),
				assistant("It is 2.\n#### 2"), user("Solve: 2+3?"),
				assistant("It is 5.\n#### 5"), user("Solve: 4+4?")),
			describe: "2-shot turns",
		},
	} {
		p, err := NewPrompter(text, promptConfig(t, tc.prompt, "{path: none}").Prompt, tc.shots)
		if err != nil {
			t.Fatal(err)
		}
		got, err := p.Prompt("4+4?")
		if diff := cmp.Diff(tc.want, got.Text); diff != "" || err != nil {
			t.Errorf("%s: error %v, prompt (-want +got):\n%s", tc.name, err, diff)
		}
		if got.SHA() != ShortSHA(tc.want) || len(got.IDs) == 0 {
			t.Errorf("%s: hash %s, %d tokens", tc.name, got.SHA(), len(got.IDs))
		}
		if d := p.Describe(); !strings.Contains(d, tc.describe) {
			t.Errorf("%s: described as %q, want %q in it", tc.name, d, tc.describe)
		}
	}
	// What is shown names the experiment: other examples are another one.
	one, _ := NewPrompter(text, promptConfig(t, "{style: plain}", "{path: none}").Prompt, shots[:1])
	other, _ := NewPrompter(text, promptConfig(t, "{style: plain}", "{path: none}").Prompt, shots[1:])
	if one.Describe() == other.Describe() {
		t.Errorf("two sets of examples are both described as %s", one.Describe())
	}
	if one, _ := NewPrompter(text, promptConfig(t, "{date: 2026-03-07}", "{path: none}").Prompt,
		nil); strings.Contains(one.Describe(), "date") {
		t.Errorf("a template that asks for no date is described as %s", one.Describe())
	}
	if _, err := NewPrompter(text, promptConfig(t, "{style: plain, system: x}", "{path: none}").Prompt,
		nil); err == nil {
		t.Error("a system prompt without a chat template was taken")
	}
}

// The examples are the first rows of the train split or a seed's choice, whatever is evaluated, and never rows that
// are.
func TestShots(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, prefix string, n int) string {
		var b bytes.Buffer
		for i := range n {
			fmt.Fprintf(&b, `{"question": "%s%d", "answer": "#### %d"}`+"\n", prefix, i, i)
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("test.jsonl", "test", 10)
	write("train.jsonl", "train", 10)
	same := write("same.jsonl", "row", 10)
	shots := func(prompt, dataset string) ([]string, error) {
		s := &Session{Cfg: promptConfig(t, prompt, dataset), Locator: NewLocator(&bytes.Buffer{})}
		var err error
		if s.Data, err = s.LoadData(t.Context()); err != nil {
			t.Fatal(err)
		}
		examples, err := s.LoadShots(t.Context())
		var questions []string
		for _, e := range examples {
			questions = append(questions, e.Question)
		}
		return questions, err
	}
	for _, tc := range []struct {
		prompt, dataset string
		want            []string
		words           string
	}{
		{prompt: "{}", dataset: "{path: " + dir + "}"},
		{prompt: "{few_shot: 3}", dataset: "{path: " + dir + "}", want: []string{"train0", "train1", "train2"}},
		{
			prompt: "{few_shot: 3}", dataset: "{path: " + dir + ", limit: 2, shuffle_seed: 3}",
			want: []string{"train0", "train1", "train2"},
		},
		{
			prompt: "{few_shot: 3, few_shot_seed: 0}", dataset: "{path: " + dir + "}",
			want: []string{"train0", "train9", "train7"},
		},
		{
			prompt: "{few_shot: 4, few_shot_seed: 0}", dataset: "{path: " + dir + ", limit: 1}",
			want: []string{"train0", "train9", "train7", "train6"},
		},
		{prompt: "{few_shot: 3}", dataset: "{path: " + same + ", range: '3:'}", want: []string{"row0", "row1", "row2"}},

		{
			prompt: "{few_shot: 11}", dataset: "{path: " + dir + "}",
			words: "prompt.few_shot is 11, the train split has 10 rows",
		},
		{
			prompt: "{few_shot: 3}", dataset: "{path: " + dir + ", split: train}",
			words: `"train0" is row 0 of the evaluated data`,
		},
		{prompt: "{few_shot: 3}", dataset: "{path: " + same + "}", words: `the examples are rows 0, 1, 2)`},
		{
			prompt: "{few_shot: 3}", dataset: "{path: " + same + ", range: '2:'}",
			words: `"row2" is row 2 of the evaluated data`,
		},
		{
			prompt: "{few_shot: 2, few_shot_seed: 0}", dataset: "{path: " + same + ", ids: [1, 9]}",
			words: `"row9" is row 9 of the evaluated data`,
		},
	} {
		got, err := shots(tc.prompt, tc.dataset)
		if tc.words != "" {
			if err == nil || !strings.Contains(err.Error(), tc.words) {
				t.Errorf("%s of %s: error %v does not say %q", tc.prompt, tc.dataset, err, tc.words)
			}
			continue
		}
		if diff := cmp.Diff(tc.want, got); diff != "" || err != nil {
			t.Errorf("%s of %s: error %v, examples (-want +got):\n%s", tc.prompt, tc.dataset, err, diff)
		}
	}
}

// A template that leaves the question out would make all prompts the same.
func TestTemplateWithoutTheQuestion(t *testing.T) {
	t.Parallel()
	text := tinyText(t)
	for template, want := range map[string]string{
		"hello":                     `does not show the question "4+4?"`,
		"":                          `does not show the question "4+4?"`,
		"{{ messages[0].content }}": "",
	} {
		var err error
		if text.Template, err = chat.Parse(template, nil); err != nil {
			t.Fatal(err)
		}
		p, err := NewPrompter(text, promptConfig(t, "{style: chat}", "{path: none}").Prompt, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = p.Prompt("4+4?"); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", template, err, want)
		}
	}
}
