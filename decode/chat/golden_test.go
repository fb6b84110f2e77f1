package chat

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

type templateGolden struct {
	Made     string            `json:"made"`
	Versions map[string]string `json:"versions"`
	Now      string            `json:"now"`
	Date     struct {
		Format string `json:"format"`
		Text   string `json:"text"`
	} `json:"date"`
	Tokens        Tokens               `json:"tokens"`
	Conversations map[string][]Message `json:"conversations"`
	Templates     []struct {
		Name  string       `json:"name"`
		Cases []goldenCase `json:"cases"`
	} `json:"templates"`
}

type goldenCase struct {
	Conversation        string  `json:"conversation"`
	AddGenerationPrompt bool    `json:"add_generation_prompt"`
	Rendered            *string `json:"rendered"`
	Error               string  `json:"error"`
	Refused             *string `json:"refused"` // the template's own message
	Dated               bool    `json:"dated"`   // the text is another one on another day
}

func readGolden(t testing.TB, path string, into any) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatal(err)
	}
}

func templateGoldens(t testing.TB) (golden templateGolden, now time.Time) {
	t.Helper()
	readGolden(t, filepath.Join("testdata", "templates.json"), &golden)
	t.Logf("goldens made %s with %v", golden.Made, golden.Versions)
	now, err := time.Parse("2006-01-02T15:04:05", golden.Now)
	if err != nil {
		t.Fatal(err)
	}
	return golden, now
}

func readTemplate(t testing.TB, name string) string {
	t.Helper()
	source, err := os.ReadFile(filepath.Join("testdata", "templates", name+".jinja"))
	if err != nil {
		t.Fatal(err)
	}
	return string(source)
}

// TestFamilies renders templates in the styles of the common model families as transformers does: the same text, the
// same refusal, or an error of both; and without a date, those texts alone are refused that are others on another day.
func TestFamilies(t *testing.T) {
	t.Parallel()
	golden, now := templateGoldens(t)
	for _, g := range golden.Templates {
		t.Run(g.Name, func(t *testing.T) {
			t.Parallel()
			tmpl, err := Parse(readTemplate(t, g.Name), golden.Tokens)
			if err != nil {
				t.Fatal(err)
			}
			dated := tmpl.WithDate(now)
			for _, c := range g.Cases {
				messages := golden.Conversations[c.Conversation]
				got, err := dated.Render(messages, c.AddGenerationPrompt)
				checkGolden(t, c, got, err)
				got, err = tmpl.Render(messages, c.AddGenerationPrompt)
				if !c.Dated {
					checkGolden(t, c, got, err)
				} else if !errors.Is(err, ErrNoDate) {
					t.Errorf("%s, without a date: %q, %v; want ErrNoDate", c.Conversation, got, err)
				}
			}
		})
	}
}

func checkGolden(t *testing.T, c goldenCase, got string, err error) {
	t.Helper()
	if c.Rendered != nil {
		if err != nil {
			t.Errorf("%s: %v", c.Conversation, err)
		} else if diff := cmp.Diff(*c.Rendered, got); diff != "" {
			t.Errorf("%s, generation prompt %t (-transformers +got):\n%s", c.Conversation, c.AddGenerationPrompt, diff)
		}
		return
	}
	if err == nil {
		t.Errorf("%s: rendered %q, transformers fails: %s", c.Conversation, got, c.Error)
	}
	if c.Refused == nil {
		return
	}
	var refused *RefusedError
	if !errors.As(err, &refused) || refused.Message != *c.Refused {
		t.Errorf("%s: error %v does not carry the template's message %q", c.Conversation, err, *c.Refused)
	}
}

// TestRealTemplates renders templates published with models, which are not part of this repository.
func TestRealTemplates(t *testing.T) {
	t.Parallel()
	shared := os.Getenv("GSMEVAL_SHARED")
	if shared == "" {
		t.Skip("GSMEVAL_SHARED names no folder with chat_templates/templates.json")
	}
	var golden []struct {
		Name     string  `json:"name"`
		BOS      *string `json:"bos_token"`
		EOS      *string `json:"eos_token"`
		Template string  `json:"chat_template"`
		Cases    []struct {
			Messages            []Message `json:"messages"`
			AddGenerationPrompt bool      `json:"add_generation_prompt"`
			Rendered            string    `json:"rendered"`
		} `json:"cases"`
	}
	readGolden(t, filepath.Join(shared, "chat_templates", "templates.json"), &golden)
	if len(golden) == 0 {
		t.Fatal("no templates in the file")
	}
	for _, g := range golden {
		t.Run(g.Name, func(t *testing.T) {
			t.Parallel()
			tokens := Tokens{}
			if g.BOS != nil {
				tokens["bos_token"] = *g.BOS
			}
			if g.EOS != nil {
				tokens["eos_token"] = *g.EOS
			}
			tmpl, err := Parse(g.Template, tokens)
			if err != nil {
				t.Fatal(err)
			}
			if len(g.Cases) == 0 {
				t.Fatal("no cases")
			}
			for i, c := range g.Cases {
				got, err := tmpl.Render(c.Messages, c.AddGenerationPrompt)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(c.Rendered, got); diff != "" {
					t.Errorf("case %d (-transformers +got):\n%s", i, diff)
				}
			}
		})
	}
}

func TestStrftime(t *testing.T) {
	t.Parallel()
	golden, now := templateGoldens(t)
	got, err := strftime(now, golden.Date.Format)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(golden.Date.Text, got); diff != "" {
		t.Errorf("strftime(%q) (-python +got):\n%s", golden.Date.Format, diff)
	}
	for _, format := range []string{"%", "%-", "%Q", "a %s"} {
		if got, err := strftime(now, format); err == nil {
			t.Errorf("strftime(%q) = %q, want an error", format, got)
		}
	}
}
