package runner

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/gsmeval/gsmeval/results"
)

// gridMeta is a grid of noises by temperatures; letters are noises: w weight, a activation, n none (greedy, the last of
// the temperatures, runs once there).
func gridMeta(noises string, seeds, temps, examples int) *results.Meta {
	m := &results.Meta{Fingerprint: "f", Examples: examples}
	for t := range temps {
		m.Temps = append(m.Temps, results.Temp{Label: fmt.Sprint("T", t)})
	}
	for i, n := range noises {
		m.Noises = append(m.Noises, results.Noise{Label: fmt.Sprintf("%c%d", n, i), Kind: string(n), Chips: n == 'w'})
		for t := range temps {
			c := results.Condition{NoiseIndex: i, TempIndex: t, Replicates: seeds}
			if n == 'n' && t == temps-1 {
				c.Replicates = 1
			}
			m.Conditions = append(m.Conditions, c)
		}
	}
	return m
}

func TestCut(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		meta   *results.Meta
		n      int
		uneven float64 // largest over mean share
		draws  int     // of the shard with most, at most
	}{
		{"a chip each", gridMeta("wwww", 5, 4, 100), 20, 1, 1},
		{"three shards a chip", gridMeta("wwww", 5, 4, 99), 60, 1, 1},
		{"two chips each", gridMeta("wwww", 5, 4, 100), 10, 1, 2},
		{"chips that nearly divide", gridMeta("wn", 3, 8, 1000), 6, 1.05, 2},
		{"chips that do not divide", gridMeta("wwww", 5, 4, 1000), 64, 1.02, 2},
		{"no chips", gridMeta("naa", 5, 4, 1000), 64, 1.02, 0},
		{"the issue's study", gridMeta("wwwwwwaaaaaa", 10, 4, 1319), 64, 1.02, 3},
		{"the same, a shard for each chip", gridMeta("wwwwwwaaaaaa", 10, 4, 1319), 120, 1.01, 1},
		{"one shard", gridMeta("nwa", 2, 2, 7), 1, 1, 2},
		{"a few questions", gridMeta("nwa", 2, 2, 7), 13, 2.5, 2},
		{"more shards than questions", gridMeta("a", 1, 1, 3), 7, 7. / 3, 0},
	} {
		samples, questions := make([]int, tt.n), map[string]int{}
		own := owners(tt.meta, tt.n)
		total := 0
		for k := range canonical(tt.meta) {
			i := own(k)
			if i < 0 || i >= tt.n {
				t.Fatalf("%s: %s belongs to shard %d", tt.name, k, i)
			}
			samples[i]++
			total++
			replicate := k.Replicate
			if !tt.meta.Noises[k.NoiseIndex].Chips {
				replicate = -1
			}
			q := fmt.Sprint(k.NoiseIndex, replicate, k.Order)
			if of, ok := questions[q]; ok && of != i {
				t.Fatalf("%s: %s belongs to shard %d, another sample of its question to %d", tt.name, k, i, of)
			}
			questions[q] = i
		}
		shares := Shares(tt.meta, tt.n)
		draws := 0
		for i, s := range shares {
			if s.Samples != samples[i] {
				t.Errorf("%s: shard %d has %d samples, its share is %d", tt.name, i, samples[i], s.Samples)
			}
			draws = max(draws, s.Draws)
		}
		if got := float64(slices.Max(samples)) * float64(tt.n) / float64(total); got > tt.uneven+1e-9 {
			t.Errorf("%s: the largest shard is %.3f of the mean, want at most %.3f: %v", tt.name, got, tt.uneven,
				samples)
		}
		if draws > tt.draws {
			t.Errorf("%s: a shard draws the weights %d times, want at most %d", tt.name, draws, tt.draws)
		}
	}
}

// A run that was cut by one version is merged by another: the cut must not change.
func TestCutStaysAsItIs(t *testing.T) {
	t.Parallel()
	c := newCut(gridMeta("wn", 3, 8, 1000), 6) // three chips of 8000 samples, the first end is moved there
	if got, want := fmt.Sprint(c.bounds, c.total), "[0 8000 15333 23000 30666 38333] 46000"; got != want {
		t.Errorf("bounds and total are %s, want %s", got, want)
	}
}

func TestShardFlag(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ flag, slurm, kubernetes, want string }{
		{"3/8", "1", "1", "3/8"},
		{"auto/8", "8", "", "8/8"},
		{"auto/8", "", "0", "1/8"},
		{"auto/8", "", "7", "8/8"},
		{"auto/8", "0", "", "numbered from 1 to 8"},
		{"auto/8", "9", "", "numbered from 1 to 8"},
		{"auto/8", "", "8", "numbered from 0 to 7"},
		{"auto/8", "", "x", `JOB_COMPLETION_INDEX is "x"`},
		{"auto/8", "", "", "no task of a job array"},
		{"auto/8", "1", "0", "are set; say which shard"},
		{"auto/0", "1", "", "n from 1 to 100000"},
		{"auto/100001", "1", "", "n from 1 to 100000"},
		{"auto", "1", "", "is not i/n"},
		{"0/8", "", "", "is not i/n"},
	} {
		env := map[string]string{"SLURM_ARRAY_TASK_ID": tt.slurm, "JOB_COMPLETION_INDEX": tt.kubernetes}
		s, err := ShardFlag(tt.flag, func(k string) string { return env[k] })
		if got := s.String(); got != tt.want && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%+v: %q, %v", tt, got, err)
		}
	}
}
