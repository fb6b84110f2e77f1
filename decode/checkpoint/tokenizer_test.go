package checkpoint

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const smallTokenizer = `{"added_tokens":[{"id":0,"content":"<s>"},{"id":1,"content":"</s>"}],"model":{"type":"BPE","dropout":null,"vocab":{"a":2},"merges":[]}}`

func TestReadTokenizer(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ text, want string }{
		"empty":     {"", "tokenizer.json is not a tokenizer: unexpected end of JSON input; download it again"},
		"cut":       {smallTokenizer[:60], "unexpected end of JSON input"},
		"a list":    {"[]", "not a tokenizer"},
		"not UTF-8": {"{\"model\":{\"type\":\"\xff\"}}", "not valid UTF-8"},
		"10,001 levels": {
			`{"model":{"a":` + strings.Repeat("[", 10001) + strings.Repeat("]", 10001) + `}}`,
			"exceeded max depth",
		},
		"no model":       {"{}", `it has no "model"`},
		"model null":     {`{"model":null}`, `it has no "model"`},
		"model a number": {`{"model":5}`, `it has no "model"`},
		"dropout": {
			strings.Replace(smallTokenizer, `"dropout":null`, `"dropout":0.1`, 1),
			"model.dropout is 0.1",
		},
		"dropout a string": {strings.Replace(smallTokenizer, `"dropout":null`, `"dropout":"x"`, 1), "model: "},
		"added a number":   {`{"added_tokens":7,"model":{}}`, "added_tokens: "},
		"added empty": {
			`{"added_tokens":[{"id":0,"content":"a"},{"id":1}],"model":{}}`,
			"added_tokens[1] has no content",
		},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, tokenizerFile), []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadTokenizer(dir); err == nil || !strings.Contains(err.Error(), c.want) ||
			!strings.Contains(err.Error(), dir) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if _, err := ReadTokenizer(t.TempDir()); err == nil || !strings.Contains(err.Error(), "tokenizer.json is missing") {
		t.Errorf("missing: %v", err)
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, tokenizerFile), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadTokenizer(dir); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("directory: %v", err)
	}
}

func TestTokenizerIsNeitherCutNorPadded(t *testing.T) {
	t.Parallel()
	plain, err := parseTokenizer([]byte(smallTokenizer))
	if err != nil || string(plain.Data) != smallTokenizer || !slices.Equal(plain.Control, []string{"<s>", "</s>"}) {
		t.Fatalf("%+v, %v", plain, err)
	}
	cutting := `{"truncation":{"max_length":2},"padding":{"strategy":{"Fixed":3000000000}},` + smallTokenizer[1:]
	got, err := parseTokenizer([]byte(cutting))
	if err != nil {
		t.Fatal(err)
	}
	var top map[string]any
	if err := json.Unmarshal(got.Data, &top); err != nil {
		t.Fatal(err)
	}
	if top["truncation"] != nil || top["padding"] != nil || top["model"] == nil || got.SHA256 == plain.SHA256 {
		t.Errorf("%s", got.Data)
	}
}

// FuzzTokenizer checks that what is handed to the library is JSON with a model, neither cuts nor pads, and names every
// control token.
func FuzzTokenizer(f *testing.F) {
	f.Add([]byte(smallTokenizer))
	f.Add([]byte(`{"truncation":{},"padding":[],` + smallTokenizer[1:]))
	f.Add([]byte(`{"model":{},"model":{"dropout":1e999}}`))
	f.Add([]byte(`{"added_tokens":[{"content":"\ud800"}],"model":{"Dropout":0}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := parseTokenizer(data)
		if err != nil {
			return
		}
		var top map[string]json.RawMessage
		if err := json.Unmarshal(got.Data, &top); err != nil {
			t.Fatalf("accepted %q: %v", data, err)
		}
		if !isNull(top["truncation"]) && len(top["truncation"]) > 0 || !isNull(top["padding"]) &&
			len(top["padding"]) > 0 || len(top["model"]) == 0 {
			t.Fatalf("accepted %q as %q", data, got.Data)
		}
		if slices.Contains(got.Control, "") {
			t.Fatalf("a control token without text in %q", data)
		}
	})
}
