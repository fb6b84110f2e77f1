package decode

import (
	"path/filepath"
	"slices"
	"sync"
	"testing"
)

// TestCleanLogitsAreComputedOnce probes a sequence twice and a part of it under two noises: what is clean is computed
// once for each sequence and From, and what is seen is what probes see that share nothing.
func TestCleanLogitsAreComputedOnce(t *testing.T) {
	lm := loaded(t, filepath.Join("..", "models", "gsm-tiny"), "float32")
	ids := []int{5, 17, 99, 4, 8, 31}
	probes := []Probe{
		{IDs: ids, From: 3, Together: 6, Sample: "a"},
		{IDs: ids, From: 3, Together: 6, Sample: "b"},
		{IDs: ids[:4], From: 3, Together: 4, Sample: "a"},
		{IDs: ids, From: 5, Together: 6, Sample: "a"},
	}
	var tokens int64
	lm.Working = func(_ string, done, total int64) {
		if tokens = done; done > total {
			t.Errorf("%d of %d tokens", done, total)
		}
	}
	type place struct{ probe, draw, row int }
	run := func(clean *Clean, seed uint64) map[place][]float32 {
		var mu sync.Mutex
		seen := map[place][]float32{}
		if _, err := lm.Probe(t.Context(), probes, Probing{Noise: activation, Draws: 2, Seed: seed, Clean: clean},
			func(probe, draw, row int, clean, noisy []float32) {
				mu.Lock()
				defer mu.Unlock()
				seen[place{probe, draw, row}] = slices.Concat(clean, noisy)
			}); err != nil {
			t.Fatal(err)
		}
		return seen
	}
	shared, err := lm.NewClean()
	if err != nil {
		t.Fatal(err)
	}
	defer shared.Close()
	const noisy, clean = 2 * (6 + 6 + 4 + 6), 6 + 4 + 6
	for _, c := range []struct {
		clean *Clean
		seed  uint64
		want  int64
	}{{nil, 1, noisy + clean}, {shared, 1, noisy + clean}, {shared, 2, noisy}} {
		got := run(c.clean, c.seed)
		if tokens != c.want {
			t.Errorf("seed %d: computed %d tokens, want %d", c.seed, tokens, c.want)
		}
		alone := run(nil, c.seed)
		if len(got) != 2*(3+3+1+1) {
			t.Errorf("seed %d: %d rows", c.seed, len(got))
		}
		for at, want := range alone {
			if !slices.Equal(got[at], want) {
				t.Errorf("seed %d, %+v: the logits are others than those of probes alone", c.seed, at)
			}
		}
	}
}
