package stats

import (
	"encoding/json"
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
	"os"
	"testing"
)

// subsets calls f with every subset of k of n samples.
func subsets(n, k int, f func(in func(i int) bool)) (count int) {
	for set := range uint64(1) << n {
		if bits.OnesCount64(set) == k {
			count++
			f(func(i int) bool { return set>>i&1 == 1 })
		}
	}
	return count
}

// TestAgainstAllSubsets draws samples of up to 10 and compares with the vote of every subset.
func TestAgainstAllSubsets(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	for range 400 {
		n := 1 + rng.IntN(10)
		names := []string{"", "4", "5", "6", "7", "8"}[:2+rng.IntN(5)]
		class, right := make([]string, n), make([]bool, n)
		for i := range class {
			class[i] = names[rng.IntN(len(names))]
			right[i] = class[i] == "4" || class[i] == "7" // two that are right, as within a tolerance
		}
		v := Count(class, right)
		for k := 1; k <= n; k++ {
			pass, maj := 0.0, 0.0
			count := subsets(n, k, func(in func(int) bool) {
				votes, anyRight := map[string]int{}, false
				for i := range class {
					if in(i) && class[i] != "" {
						votes[class[i]]++
					}
					anyRight = anyRight || in(i) && right[i]
				}
				if anyRight {
					pass++
				}
				most := 0
				for _, c := range votes {
					most = max(most, c)
				}
				winners, rightWinners := 0.0, 0.0
				for name, c := range votes {
					if c == most {
						winners++
						if name == "4" || name == "7" {
							rightWinners++
						}
					}
				}
				if winners > 0 {
					maj += rightWinners / winners
				}
			})
			name := fmt.Sprintf("%q, k = %d: ", class, k)
			near(t, name+"pass@k", PassAtK(n, v.Right(), k), pass/float64(count), 1e-12)
			near(t, name+"maj@k", MajAtK(v, k), maj/float64(count), 1e-12)
		}
		if _, all := v.Majority(); math.Abs(all-MajAtK(v, n)) > 1e-12 {
			t.Errorf("%q: the majority of all is right with %g, maj@%d is %g", class, all, n, MajAtK(v, n))
		}
	}
}

type samplesGolden struct {
	Made     string
	Versions map[string]string
	PassAtK  []struct {
		N, Right, K int
		Value       float64
	} `json:"pass_at_k"`
	MajAtK []struct {
		Classes []string // "" is no answer, "right" the right one
		K       int
		Value   float64
	} `json:"maj_at_k"`
	ECE []struct {
		Share, Right []float64
		Bins         int
		Value        float64
	}
}

// TestSamplesAgainstPublishedCode compares with what OpenAI's, inspect's and torchmetrics' own functions return.
func TestSamplesAgainstPublishedCode(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/samples.json")
	if err != nil {
		t.Fatal(err)
	}
	var g samplesGolden
	if err := json.Unmarshal(data, &g); err != nil {
		t.Fatal(err)
	}
	if len(g.PassAtK) < 20 || len(g.MajAtK) < 20 || len(g.ECE) < 3 {
		t.Fatal("a part of testdata/samples.json is missing")
	}
	t.Logf("goldens made %s with %v", g.Made, g.Versions)
	for _, c := range g.PassAtK {
		near(t, fmt.Sprintf("PassAtK(%d, %d, %d)", c.N, c.Right, c.K), PassAtK(c.N, c.Right, c.K), c.Value, 1e-12)
	}
	for _, c := range g.MajAtK {
		right := make([]bool, len(c.Classes))
		for i, name := range c.Classes {
			right[i] = name == "right"
		}
		near(t, fmt.Sprintf("MajAtK(%q, %d)", c.Classes, c.K), MajAtK(Count(c.Classes, right), c.K), c.Value, 1e-12)
	}
	for i, c := range g.ECE {
		near(t, fmt.Sprintf("ECE %d", i), ECE(Calibration(c.Share, c.Right, c.Bins)), c.Value,
			1e-6) // theirs is in float32
	}
}

// TestMajAtKOfManySamples compares with draws where there are too many subsets to list, beyond the range of float64
// too.
func TestMajAtKOfManySamples(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(3, 4))
	for _, tt := range []struct {
		v Votes
		k int
	}{
		{Votes{Classes: []Class{{20, true}, {18, false}, {10, false}, {4, false}}, None: 12}, 16},
		{Votes{Classes: []Class{{500, true}, {520, false}, {80, false}}, None: 948}, 32},
		{Votes{Classes: []Class{{40, false}, {24, true}}}, 64},
	} {
		n := tt.v.N()
		var pool []int
		for c, class := range tt.v.Classes {
			for range class.N {
				pool = append(pool, c)
			}
		}
		for range tt.v.None {
			pool = append(pool, -1)
		}
		const draws = 40_000
		won := 0.0
		for range draws {
			drawn := Votes{Classes: make([]Class, len(tt.v.Classes))}
			for c := range drawn.Classes {
				drawn.Classes[c].Right = tt.v.Classes[c].Right
			}
			for i := range tt.k {
				j := i + rng.IntN(n-i)
				pool[i], pool[j] = pool[j], pool[i]
				if pool[i] < 0 {
					drawn.None++
				} else {
					drawn.Classes[pool[i]].N++
				}
			}
			_, right := drawn.Majority()
			won += right
		}
		near(t, fmt.Sprintf("%+v", tt), MajAtK(tt.v, tt.k), won/draws, 5*0.5/math.Sqrt(draws))
	}
}

func TestSamplesAtTheirEnds(t *testing.T) {
	t.Parallel()
	for _, k := range []int{-1, 0, 4} {
		if p, m := PassAtK(3, 1, k), MajAtK(Votes{Classes: []Class{{3, true}}}, k); !math.IsNaN(p) || !math.IsNaN(m) {
			t.Errorf("of 3 samples pass@%d is %g and maj@%d is %g, want none", k, p, k, m)
		}
	}
	if m := MajAtK(Votes{None: 5}, 2); m != 0 {
		t.Errorf("without an answer maj@2 is %g", m)
	}
	// One right answer wins against any number of samples without one.
	if m := MajAtK(Votes{Classes: []Class{{1, true}}, None: 3}, 4); m != 1 {
		t.Errorf("a single answer wins with %g", m)
	}
	v := Count([]string{"4", "4", "5"}, []bool{true, false, false})
	if len(v.Classes) != 3 || v.Right() != 1 || v.N() != 3 {
		t.Errorf("samples that disagree on what is right: %+v", v)
	}
	if share, right := (Votes{None: 2}).Majority(); share != 0 || right != 0 {
		t.Errorf("a majority of nothing: %g, %g", share, right)
	}
	if share, right := (Votes{Classes: []Class{{2, true}, {2, false}}, None: 1}).Majority(); share != 0.4 ||
		right != 0.5 {
		t.Errorf("a tie: %g, %g", share, right)
	}
	bins := Calibration([]float64{0, 0.1, 0.1000001, 1}, []float64{0, 1, 1, 1}, 10)
	if bins[0].N != 2 || bins[1].N != 1 || bins[9].N != 1 || bins[0].Right != 0.5 {
		t.Errorf("bins %+v", bins)
	}
	if !math.IsNaN(ECE(Calibration(nil, nil, 10))) {
		t.Error("there is a calibration error of nothing")
	}
}

// Differences of pass@k, question by question and chip by chip, have the intervals of any paired difference.
func TestEstimateMean(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(5, 6))
	rows := make([][]Cluster, 80)
	for q := range rows {
		for range 4 {
			d := PassAtK(8, rng.IntN(9), 4) - PassAtK(8, rng.IntN(9), 4)
			rows[q] = append(rows[q], Cluster{d, 1})
		}
	}
	e := EstimateMean(rows, true, 1, 2)
	if !(e.CI.Lo < e.Value && e.Value < e.CI.Hi && e.SE > 0) || e.NewChips.Lo > e.CI.Lo || e.NewChips.Hi < e.CI.Hi {
		t.Errorf("estimate %+v", e)
	}
	near(t, "half a bootstrap interval in standard errors", (e.CI.Hi-e.CI.Lo)/2/e.SE, 1.96, 0.08)
	if other := EstimateMean(rows, false, 1, 2); other.NewChips.Valid() || other.CI != e.CI {
		t.Errorf("without chips %+v, with %+v", other, e)
	}
}
