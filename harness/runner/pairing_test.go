package runner

import (
	"fmt"
	"io"
	"path/filepath"
	"testing"

	"github.com/gsmeval/gsmeval/internal/config"
	"github.com/gsmeval/gsmeval/results"
)

// pairingQuestions and pairingSeeds are the samples of each arm below.
const pairingQuestions, pairingSeeds = 24, 2

// armsOf runs the bundled model under activation noise at temperatures and returns its records by temperature's label
// and by question and noise seed.
func armsOf(t *testing.T, seed int, temperatures string) map[string]map[[2]int]results.Record {
	t.Helper()
	cfg, err := config.Parse("pairing.yaml", fmt.Appendf(nil, `
model: {path: ../../models/gsm-tiny}
dataset: {path: ../../data/gsm-synth, limit: %d}
generation: {max_new_tokens: 200}
noise: [{kind: activation, scale: 0.15}]
noise_seeds: %d
temperature: %s
seed: %d
threads: 1
progress: none
`, pairingQuestions, pairingSeeds, temperatures, seed), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Output = filepath.Join(t.TempDir(), "run")
	if _, err := Run(t.Context(), cfg, Options{Stderr: io.Discard}); err != nil {
		t.Fatal(err)
	}
	arms := map[string]map[[2]int]results.Record{}
	for r, err := range results.Read(filepath.Join(cfg.Output, results.JournalFile), "") {
		if err != nil {
			t.Fatal(err)
		}
		if arms[r.Temperature] == nil {
			arms[r.Temperature] = map[[2]int]results.Record{}
		}
		arms[r.Temperature][[2]int{r.Order, r.Replicate}] = r
	}
	return arms
}

// TestPoliciesShareTheirRandomNumbers shows what pairing rests on: policies that differ only in T draw the same
// numbers. The same T gives the same text, whatever else stands in the run, and the difference between two temperatures
// varies less than with a seed of its own for each.
func TestPoliciesShareTheirRandomNumbers(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("decodes 240 answers")
	}
	one := armsOf(t, 42, "[{policy: constant, value: 1}, {policy: constant, value: 0.9}]")
	two := armsOf(t, 42, "[{policy: greedy}, {policy: constant, values: [1]}]")
	for at, r := range one["T=1"] {
		if other := two["T by noise"][at]; r.Text != other.Text || r.Tokens != other.Tokens || other.Text == "" {
			t.Fatalf("question %d, seed %d: T = 1 gives another text in another run:\n%q\n%q", at[0], at[1], r.Text,
				other.Text)
		}
	}
	apart := armsOf(t, 7, "[{policy: constant, value: 0.9}]")
	shared := variance(one["T=1"], one["T=0.9"])
	independent := variance(one["T=1"], apart["T=0.9"])
	t.Logf("variance of the difference in correctness between T = 1 and T = 0.9: %.4f with shared numbers, %.4f with independent ones (n = %d)",
		shared, independent, pairingQuestions*pairingSeeds)
	if !(shared < independent) {
		t.Errorf("the paired variance is %.4f with shared random numbers and %.4f with independent ones", shared,
			independent)
	}
}

// variance is the unbiased variance over samples of the difference in correctness.
func variance(a, b map[[2]int]results.Record) float64 {
	var sum, squares float64
	for at, r := range a {
		d := float64(right(b[at]) - right(r))
		sum, squares = sum+d, squares+d*d
	}
	n := float64(len(a))
	return (squares - sum*sum/n) / (n - 1)
}

func right(r results.Record) int {
	if r.Correct {
		return 1
	}
	return 0
}
