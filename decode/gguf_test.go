package decode

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gsmeval/gsmeval/decode/chat"
	"github.com/gsmeval/gsmeval/decode/model"
	"github.com/gsmeval/gsmeval/internal/condition"
	"github.com/gsmeval/gsmeval/internal/torch"
	"github.com/gsmeval/gsmeval/noise"
	"github.com/gsmeval/gsmeval/noise/philox"
)

// ggufGolden is what transformers makes of a GGUF file.
type ggufGolden struct {
	golden
	Chat  []int
	Texts []struct {
		Text       string
		IDs, Whole []int
		Decoded    string
	}
}

func ggufGoldens(t *testing.T) map[string]ggufGolden {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "gguf", "*.gguf"))
	if err != nil || len(files) < 7 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	goldens := map[string]ggufGolden{}
	for _, f := range files {
		data, err := os.ReadFile(strings.TrimSuffix(f, ".gguf") + ".json")
		if err != nil {
			t.Fatal(err)
		}
		var g ggufGolden
		if err := json.Unmarshal(data, &g); err != nil {
			t.Fatal(err)
		}
		goldens[f] = g
	}
	return goldens
}

// TestGGUFParity holds logits and greedy tokens of GGUF files of every architecture against transformers', which
// dequantises them.
func TestGGUFParity(t *testing.T) {
	for path, g := range ggufGoldens(t) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			f := &fixture{golden: g.golden}
			f.worker, f.model = open(t, path, 2, model.Options{DType: torch.Float32, Device: torch.CPU})
			for _, c := range g.Last {
				if rel := relative(c.Logits, f.forward(t, c.Prompt, len(c.Prompt)-1)[0]); rel > tolerance {
					t.Errorf("last logits of a prompt of %d tokens differ by %.2g of the largest", len(c.Prompt), rel)
				}
			}
			req := &Request{Prompt: g.Greedy.Prompt, MaxNew: len(g.Greedy.IDs)}
			o := Options{Slots: 1, Capacity: len(req.Prompt) + req.MaxNew}
			if got := generate(t, f.worker, f.model, o, req)[0]; !slices.Equal(got.IDs, g.Greedy.IDs) {
				t.Errorf("greedy tokens %v, want %v", got.IDs, g.Greedy.IDs)
			}
		})
	}
}

// TestGGUFText holds token ids and decoded texts against transformers' conversion of the tokenizer in the file.
func TestGGUFText(t *testing.T) {
	for path, g := range ggufGoldens(t) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			text, err := OpenText(path)
			if err != nil {
				t.Fatal(err)
			}
			defer text.Close() //nolint:errcheck // it was only read
			for _, c := range g.Texts {
				bare, err1 := text.Tokenizer.Encode(c.Text, false)
				whole, err2 := text.Tokenizer.Encode(c.Text, true)
				if err1 != nil || err2 != nil {
					t.Fatal(err1, err2)
				}
				if diff := cmp.Diff(c.IDs, bare); diff != "" {
					t.Errorf("%q: %s", c.Text, diff)
				}
				if diff := cmp.Diff(c.Whole, whole); diff != "" {
					t.Errorf("%q with special tokens: %s", c.Text, diff)
				}
				if got := text.Tokenizer.Decode(c.IDs, false); got != c.Decoded {
					t.Errorf("%v decode to %q, want %q", c.IDs, got, c.Decoded)
				}
			}
			_, ids, err := text.Chat([]chat.Message{{Role: "user", Content: "What is 48 + 24?"}}, true)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(g.Chat, ids); diff != "" {
				t.Errorf("chat: %s", diff)
			}
			if len(text.Ends) == 0 {
				t.Error("no end tokens")
			}
		})
	}
}

// TestGGUFRestore perturbs the weights of a quantised file and undoes it, bit for bit, from the file.
func TestGGUFRestore(t *testing.T) {
	for path := range ggufGoldens(t) {
		w, m := open(t, path, 2, model.Options{DType: torch.Float32, Device: torch.CPU})
		err := w.Do(func(s *torch.Scope) error {
			before := m.Hashes(s)
			if _, err := m.Perturb(s, func(s *torch.Scope, params []noise.Param) (condition.Effect, error) {
				return noise.PerturbWeights(s, condition.Noise{Kind: condition.Weight, Scale: 0.1}, params,
					func(string) philox.Key { return 1 }, false)
			}); err != nil {
				return err
			}
			if cmp.Equal(before, m.Hashes(s)) {
				t.Errorf("%s: the noise changed nothing", path)
			}
			if err := m.Restore(s); err != nil {
				return err
			}
			if diff := cmp.Diff(before, m.Hashes(s)); diff != "" {
				t.Errorf("%s: %s", path, diff)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
