package tokenizer

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/gsmeval/gsmeval/decode/checkpoint/gguf/gguftest"
)

// TestPreTokenizers cuts texts in every way that GGUF files name, against transformers.
func TestPreTokenizers(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("testdata", "pretokenizers.json"))
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Tokens, Merges, Texts []string
		IDs                   map[string][][]int
	}
	if err := json.Unmarshal(data, &golden); err != nil {
		t.Fatal(err)
	}
	if len(golden.IDs) < 8 {
		t.Fatalf("%d ways to cut", len(golden.IDs))
	}
	for pre, want := range golden.IDs {
		path := filepath.Join(t.TempDir(), "t.gguf")
		file := gguftest.Keys(map[string]any{
			"general.architecture": "llama", "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": pre,
			"tokenizer.ggml.add_bos_token": false,
			"tokenizer.ggml.tokens":        golden.Tokens, "tokenizer.ggml.merges": golden.Merges,
		})
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		tk, err := Load(path)
		if err != nil {
			t.Fatal(err)
		}
		for i, text := range golden.Texts {
			got, err := tk.Encode(text, true)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, want[i]) {
				t.Errorf("%s: %q is %v, want %v", pre, text, got, want[i])
			}
		}
		if err := tk.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
