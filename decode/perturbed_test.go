package decode

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/gsmeval/gsmeval/internal/condition"
	"github.com/gsmeval/gsmeval/internal/config"
	"github.com/gsmeval/gsmeval/internal/torch"
	"github.com/gsmeval/gsmeval/noise/philox"
)

// perturbed are models and noises whose weights are written: a model of every architecture in GGUF files is among them.
func perturbed(t *testing.T) map[string][]condition.Noise {
	t.Helper()
	noises := make([]condition.Noise, 0, 3)
	for _, text := range []string{
		"{weights: {kind: int, bits: 4, per: group, group: 32}}", "{weights: {kind: pcm, time: 3600}, scope: analog}",
		"{kind: weight, scale: 0.05}",
	} {
		n, err := config.ParseNoise("noise", text)
		if err != nil {
			t.Fatal(err)
		}
		noises = append(noises, n)
	}
	all := map[string][]condition.Noise{filepath.Join("..", "models", "gsm-tiny"): noises}
	for path := range ggufGoldens(t) {
		all[path] = noises[1:]
	}
	if path, err := filepath.EvalSymlinks(filepath.Join("..", "models", "smollm2.gguf")); err == nil {
		all[path] = noises[:1]
	}
	return all
}

var perturbedPrompt = []int{5, 6, 7, 8, 9, 10, 11, 12}

// TestPerturbedCheckpointIsTheNoiseInPlace writes noisy weights and loads them again: the logits are those of the noise
// in place, bit for bit, in every compute type, and the model that was written from is what it was.
func TestPerturbedCheckpointIsTheNoiseInPlace(t *testing.T) {
	for path, noises := range perturbed(t) {
		for i, n := range noises {
			for _, dtype := range []string{"float32", "bfloat16", "float16"}[:1+2*(i/2)] {
				t.Run(fmt.Sprintf("%s/%s/%s", filepath.Base(path), n.Label(), dtype), func(t *testing.T) {
					lm := loaded(t, path, dtype)
					clean := lm.fixture().forward(t, perturbedPrompt, 0)
					out := filepath.Join(t.TempDir(), "out")
					if _, err := lm.WritePerturbed(out, n, 7, 2); err != nil {
						t.Fatal(err)
					}
					same(t, "the model after it was written from", clean, lm.fixture().forward(t, perturbedPrompt, 0))
					same(t, "written and loaded", lm.under(t, n),
						loaded(t, out, dtype).fixture().forward(t, perturbedPrompt, 0))
				})
			}
		}
	}
}

// TestTransformersLoadsWhatIsWritten has transformers compute the logits of the written checkpoints, and tokenize with
// what lies beside them.
func TestTransformersLoadsWhatIsWritten(t *testing.T) {
	python := os.Getenv("GSMEVAL_TEST_TORCH_PYTHON")
	if python == "" {
		t.Skip("GSMEVAL_TEST_TORCH_PYTHON names no Python with torch and transformers")
	}
	const script = `
import json, sys, torch, transformers
ids, text = json.loads(sys.argv[2]), sys.argv[3]
model = transformers.AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32, attn_implementation="eager")
tokens = transformers.AutoTokenizer.from_pretrained(sys.argv[1]).encode(text)
print(json.dumps({"logits": model(torch.tensor([ids])).logits[0, -1].tolist(), "ids": tokens}))
`
	const text = "Tom has 3 apples and buys 4 more."
	ids, err := json.Marshal(perturbedPrompt)
	if err != nil {
		t.Fatal(err)
	}
	for path, noises := range perturbed(t) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			n := noises[0]
			lm, out := loaded(t, path, "float32"), filepath.Join(t.TempDir(), "out")
			if _, err := lm.WritePerturbed(out, n, 7, 2); err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), python, "-c", script, out, string(ids), text)
			cmd.Stderr = os.Stderr
			data, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			var got struct {
				Logits []float64
				IDs    []int
			}
			if err := json.Unmarshal(data, &got); err != nil {
				t.Fatal(err)
			}
			want := lm.under(t, n)
			rel := relative(want[len(want)-1], got.Logits)
			t.Logf("%s: logits differ by %.2g of the largest", n.Label(), rel)
			if rel > tolerance {
				t.Errorf("logits differ by %.2g of the largest", rel)
			}
			if plain, err := lm.Plain(text); err != nil || !slices.Equal(plain, got.IDs) {
				t.Errorf("%q is %v, and %v for transformers (%v)", text, plain, got.IDs, err)
			}
		})
	}
}

type loadedLM struct{ *LM }

func loaded(t *testing.T, path, dtype string) loadedLM {
	t.Helper()
	lm, err := Load(path, LoadOptions{DType: dtype, Device: "cpu", Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := lm.Close(); err != nil {
			t.Error(err)
		}
	})
	return loadedLM{lm}
}

func (lm loadedLM) fixture() *fixture { return &fixture{worker: lm.Worker, model: lm.Model} }

// under are the logits with the noise in place.
func (lm loadedLM) under(t *testing.T, n condition.Noise) [][]float64 {
	t.Helper()
	do := func(f func(s *torch.Scope) error) {
		t.Helper()
		if err := lm.Worker.Do(f); err != nil {
			t.Fatal(err)
		}
	}
	do(func(s *torch.Scope) error {
		_, err := lm.PerturbWeights(s, n, philox.Weight, 7, 2)
		return err
	})
	defer do(lm.Model.Restore)
	return lm.fixture().forward(t, perturbedPrompt, 0)
}

func same(t *testing.T, what string, want, got [][]float64) {
	t.Helper()
	for i := range want {
		if !slices.Equal(want[i], got[i]) {
			t.Fatalf("%s: the logits of token %d are others", what, i)
		}
	}
}
