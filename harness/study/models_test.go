package study

import (
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/gsmeval/gsmeval/harness/session"
	"github.com/gsmeval/gsmeval/internal/condition"
	"github.com/gsmeval/gsmeval/internal/config"
	"github.com/gsmeval/gsmeval/noise/alpha"
)

// TestModelsUnderFreshNoise holds gsmeval against a table that was made elsewhere, by forward pre-hooks in transformers
// along other texts: activation noise relative to each position's own standard deviation, sampled continuations at
// T = 1, divergences of the sampled law in nats a position. Here each is a mean over texts with its standard error.
func TestModelsUnderFreshNoise(t *testing.T) {
	for _, want := range []struct {
		model                   string
		scale                   float64
		texts, positions, draws int
		sqrt, ratio             float64 // sqrt(1 + alpha), std(z')/std(z)
		least                   float64 // T of least divergence, of temperatures in steps of 0.05
		atLeast, atOne, atSqrt  float64 // the divergence there, at T = 1, and at sqrt's T
		perDraw                 float64 // T of least mean divergence of single draws, within a step
	}{
		{"gsm-tiny", 0.2, 20, 40, 16, 1.054, 1.026, 0.90, 0.0043, 0.0048, 0.0055, 1.025},
		{"smollm2.gguf", 0.05, 5, 16, 8, 1.017, 0.998, 0.95, 0.0086, 0.0107, 0.014, 1},
		{"smollm2.gguf", 0.1, 5, 16, 8, 1.066, 0.990, 0.85, 0.0705, 0.0941, 0.122, 1},
	} {
		t.Run(fmt.Sprint(want.model, " ", want.scale), func(t *testing.T) {
			s := openSession(t, want.model, want.texts)
			prompts, err := s.Prompts()
			if err != nil {
				t.Fatal(err)
			}
			o := FidelityOptions{Draws: want.draws, KVCache: true, Seed: 18, Base: 1}
			for _, p := range prompts {
				o.Prompts = append(o.Prompts, p.IDs)
			}
			texts, err := s.LM.ContinueSampled(t.Context(), o.Prompts, want.positions, 1, 18)
			if err != nil {
				t.Fatal(err)
			}
			const one = 5 // T = 1 among the temperatures
			for k := range 9 {
				o.Temperatures = append(o.Temperatures, 0.75+0.05*float64(k))
			}
			o.Temperatures = append(o.Temperatures, want.sqrt)
			noise := condition.Noise{Kind: condition.Activation, Scale: want.scale, Per: "token"}
			c, _, err := measureFidelity(t.Context(), s.LM, noise, want.draws, o, o.Prompts, texts)
			if err != nil {
				t.Fatal(err)
			}
			marginals := make([][]float64, len(o.Temperatures)) // by temperature and text
			var sqrts, ratios []float64
			for i := range texts {
				rows, _, err := c.Rows([]int{i})
				if err != nil {
					t.Fatal(err)
				}
				for k, row := range rows {
					marginals[k] = append(marginals[k], row.Marginal.Mean)
				}
				a, b := c.Moments([]int{i})
				sqrts, ratios = append(sqrts, math.Sqrt(1+a)), append(ratios, math.Sqrt(1+a+2*(b-1)))
			}
			rows, _, err := c.Rows(every(len(texts)))
			if err != nil {
				t.Fatal(err)
			}
			least, perDraw := 0, 0
			for k := range o.Temperatures[:len(o.Temperatures)-1] {
				if alpha.Mean(marginals[k]).Mean < alpha.Mean(marginals[least]).Mean {
					least = k
				}
				if rows[k].KLD.Mean < rows[perDraw].KLD.Mean {
					perDraw = k
				}
			}
			at := func(temperature float64) []float64 {
				return marginals[int(math.Round((temperature-0.75)/0.05))]
			}
			for _, v := range []struct {
				what   string
				ours   []float64
				theirs float64
			}{
				{"sqrt(1 + alpha)", sqrts, want.sqrt},
				{"std ratio", ratios, want.ratio},
				{"divergence at its least", at(want.least), want.atLeast},
				{"divergence at T = 1", marginals[one], want.atOne},
				{"divergence at sqrt's T", marginals[len(marginals)-1], want.atSqrt},
			} {
				m := alpha.Mean(v.ours)
				t.Logf("%-24s %.4f ± %.4f, %.4f elsewhere", v.what, m.Mean, m.SE, v.theirs)
				if !(math.Abs(m.Mean-v.theirs) <= 4*m.SE) {
					t.Errorf("%s is %.4f ± %.4f (standard error), want %.4f", v.what, m.Mean, m.SE, v.theirs)
				}
			}
			t.Logf("least at T = %.2f, of single draws at T = %.2f", o.Temperatures[least], o.Temperatures[perDraw])
			if math.Abs(o.Temperatures[least]-want.least) > 0.051 || math.Abs(o.Temperatures[perDraw]-want.perDraw) > 0.051 {
				t.Errorf("the divergence is least at T = %.2f, that of single draws at %.2f, want %.2f and %.2f",
					o.Temperatures[least], o.Temperatures[perDraw], want.least, want.perDraw)
			}
		})
	}
}

// every is 0, ..., n-1.
func every(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = i
	}
	return list
}

// openSession opens a model of the project's on questions of its data, or skips where the model was not fetched.
func openSession(t *testing.T, model string, questions int) *session.Session {
	t.Helper()
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, "models", model)); err != nil {
		t.Skipf("models/%s is not there; make smollm2 fetches SmolLM2", model)
	}
	path := filepath.Join(t.TempDir(), "models.yaml")
	text := fmt.Sprintf("model: {path: %s/models/%s}\ndataset: {path: %[1]s/data/gsm-synth, limit: %[3]d}\n"+
		"prompt: {style: plain}\n", root, model, questions)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(path, config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := session.Open(t.Context(), cfg, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}
