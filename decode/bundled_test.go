package decode

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gsmeval/gsmeval/decode/chat"
)

// TestBundledModelAgreesWithTransformers holds tokenizer, template, logits, greedy tokens and texts of the bundled
// model against transformers (scripts/goldens/bundled.py).
func TestBundledModelAgreesWithTransformers(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("testdata", "bundled.json"))
	if err != nil {
		t.Fatal(err)
	}
	var g struct {
		Made, Torch, Transformers, Weights string
		Answers                            []struct {
			Question, Prompt, Text string
			PromptIDs              []int `json:"prompt_ids"`
			IDs                    []int
			Logits                 []float64
		}
		Texts []struct {
			Text, Decoded string
			IDs           []int
		}
	}
	if err := json.Unmarshal(data, &g); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join("..", "models", "gsm-tiny")
	weights, err := os.ReadFile(filepath.Join(dir, "model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	if sum := sha256.Sum256(weights); hex.EncodeToString(sum[:]) != g.Weights {
		t.Fatal("the goldens are of other weights; make them again with scripts/goldens/bundled.py")
	}
	lm, err := Load(dir, LoadOptions{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := lm.Close(); err != nil {
			t.Error(err)
		}
	}()
	for _, c := range g.Texts {
		ids, err := lm.Plain(c.Text)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(ids, c.IDs) || lm.Tokenizer.Decode(ids, false) != c.Text || c.Decoded != c.Text {
			t.Errorf("%q: ids %v, want %v; decoded %q", c.Text, ids, c.IDs, lm.Tokenizer.Decode(ids, false))
		}
	}
	f := &fixture{worker: lm.Worker, model: lm.Model}
	for _, c := range g.Answers {
		text, ids, err := lm.Chat([]chat.Message{{Role: "user", Content: "Solve this math problem step by step:\n" +
			c.Question}}, true)
		if err != nil {
			t.Fatal(err)
		}
		if text != c.Prompt || !slices.Equal(ids, c.PromptIDs) {
			t.Fatalf("prompt %q %v, want %q %v", text, ids, c.Prompt, c.PromptIDs)
		}
		if rel := relative(c.Logits, f.forward(t, ids, len(ids)-1)[0]); rel > tolerance {
			t.Errorf("logits differ by %.2g of the largest", rel)
		}
		r := generate(t, lm.Worker, lm.Model, Options{Slots: 1, Capacity: len(ids) + 256, Ends: lm.Ends.Has},
			&Request{Prompt: ids, MaxNew: 256})[0]
		if diff := cmp.Diff(c.IDs, r.IDs); diff != "" {
			t.Errorf("greedy tokens (-transformers +gsmeval):\n%s", diff)
		}
		if got := lm.Completion(r.IDs); got != c.Text {
			t.Errorf("text %q, want %q", got, c.Text)
		}
	}
	t.Logf("%d prompts, answers and texts identical (goldens of transformers %s, torch %s, %s)", len(g.Answers),
		g.Transformers, g.Torch, g.Made)
}
