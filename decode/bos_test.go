package decode

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gsmeval/gsmeval/decode/chat"
)

// TestBOS holds plain texts and chats against transformers (scripts/goldens/bos.py): the post-processor of
// tokenizer.json decides for plain texts, whatever add_bos_token says, and the template alone for chats, so that no
// chat has two.
func TestBOS(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("testdata", "bos.json"))
	if err != nil {
		t.Fatal(err)
	}
	var g struct {
		Text, Message string
		Tokenizers    map[string]json.RawMessage
		Cases         []struct {
			Name        string
			Post        bool
			Config      json.RawMessage
			Plain, Chat []int
		}
	}
	if err := json.Unmarshal(data, &g); err != nil {
		t.Fatal(err)
	}
	if len(g.Cases) != 18 {
		t.Fatalf("%d cases, want 18", len(g.Cases))
	}
	const config = `{"model_type":"llama","vocab_size":100,"hidden_size":8,"intermediate_size":8,"num_hidden_layers":1,"num_attention_heads":2}`
	for _, c := range g.Cases {
		dir := t.TempDir()
		tokenizer := g.Tokenizers["false"]
		if c.Post {
			tokenizer = g.Tokenizers["true"]
		}
		for name, content := range map[string][]byte{
			"config.json": []byte(config), "tokenizer_config.json": c.Config,
			"tokenizer.json": tokenizer,
		} {
			if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		text, err := OpenText(dir)
		if err != nil {
			t.Fatalf("%s: %v", c.Name, err)
		}
		plain, err := text.Plain(g.Text)
		if err != nil {
			t.Fatalf("%s: %v", c.Name, err)
		}
		if diff := cmp.Diff(c.Plain, plain); diff != "" {
			t.Errorf("%s: a plain text (-want +got):\n%s", c.Name, diff)
		}
		_, ids, err := text.Chat([]chat.Message{{Role: "user", Content: g.Message}}, true)
		if err != nil {
			t.Fatalf("%s: %v", c.Name, err)
		}
		if diff := cmp.Diff(c.Chat, ids); diff != "" {
			t.Errorf("%s: a chat (-want +got):\n%s", c.Name, diff)
		}
		if err := text.Close(); err != nil {
			t.Error(err)
		}
	}
}
