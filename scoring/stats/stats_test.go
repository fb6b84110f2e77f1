package stats

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

type golden struct {
	Made     string            `json:"made"`
	Versions map[string]string `json:"versions"`
	Wilson   []struct {
		K, N     float64
		Level    float64
		Interval [2]float64
	}
	McNemar []struct {
		Gained, Lost int
		P            float64
	}
	Holm []struct {
		P, Adjusted []float64
	}
	Cluster []struct {
		Sums      []float64
		Counts    []int
		Mean, SE  float64
		Bootstrap [2]float64
	}
	NewChips []struct {
		Values   [][]int // missingCell is none
		Interval [2]float64
	} `json:"new_chips"`
	SignFlip []struct {
		D []int
		P float64
	} `json:"sign_flip"`
	TwoProportion []struct {
		K1, N1, K2, N2, P float64
		Interval          [2]float64
	} `json:"two_proportion"`
	Normal    []struct{ P, Q float64 }
	T         []struct{ P, DF, Q float64 }
	PairedMDE []struct {
		MeanSquare float64 `json:"mean_square"`
		N          int
		D          float64
	} `json:"paired_mde"`
}

const missingCell = -9

func readGolden(t *testing.T) golden {
	t.Helper()
	data, err := os.ReadFile("testdata/stats.json")
	if err != nil {
		t.Fatal(err)
	}
	var g golden
	if err := json.Unmarshal(data, &g); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{
		len(g.Wilson), len(g.McNemar), len(g.Holm), len(g.Cluster), len(g.NewChips), len(g.SignFlip),
		len(g.TwoProportion), len(g.Normal), len(g.T), len(g.PairedMDE),
	} {
		if n == 0 {
			t.Fatal("a part of testdata/stats.json is missing")
		}
	}
	t.Logf("goldens made %s with %v", g.Made, g.Versions)
	return g
}

// near compares with a tolerance relative to 1 or to want, whichever is larger.
func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tolerance*math.Max(1, math.Abs(want))) {
		t.Errorf("%s = %v, want %v within %g", what, got, want, tolerance)
	}
}

func TestAgainstScipyAndStatsmodels(t *testing.T) {
	t.Parallel()
	g := readGolden(t)
	for _, c := range g.Wilson {
		in := Wilson(c.K/c.N, c.N, c.Level)
		name := fmt.Sprintf("Wilson(%v of %v, %v)", c.K, c.N, c.Level)
		near(t, name+" low", in.Lo, c.Interval[0], 1e-12)
		near(t, name+" high", in.Hi, c.Interval[1], 1e-12)
	}
	for _, c := range g.McNemar {
		near(t, fmt.Sprintf("McNemarExact(%d, %d)", c.Gained, c.Lost), McNemarExact(c.Gained, c.Lost)/c.P, 1, 1e-9)
	}
	for _, c := range g.Holm {
		for i, got := range Holm(c.P) {
			near(t, fmt.Sprintf("Holm(%v)[%d]", c.P, i), got, c.Adjusted[i], 1e-14)
		}
	}
	for i, c := range g.Cluster {
		clusters := make([]Cluster, len(c.Sums))
		for i := range clusters {
			clusters[i] = Cluster{c.Sums[i], c.Counts[i]}
		}
		name := fmt.Sprintf("cluster case %d: ", i)
		near(t, name+"mean", Mean(clusters), c.Mean, 1e-12)
		near(t, name+"SE", ClusterSE(clusters), c.SE, 1e-12)
		// Two bootstraps agree up to their own noise: an end of a 10,000-fold interval has a standard error of about
		// 0.04 SE.
		in := ClusterBootstrap(clusters, Resamples, Level, 1, 0)
		near(t, name+"bootstrap low", in.Lo, c.Bootstrap[0], 0.15*c.SE)
		near(t, name+"bootstrap high", in.Hi, c.Bootstrap[1], 0.15*c.SE)
	}
	for i, c := range g.NewChips {
		rows := make([][]Cluster, len(c.Values))
		for q, row := range c.Values {
			for _, v := range row {
				if v == missingCell {
					rows[q] = append(rows[q], Cluster{})
					continue
				}
				rows[q] = append(rows[q], Cluster{float64(v), 1})
			}
		}
		in := NewChips(rows, Level)
		near(t, fmt.Sprintf("new chips, case %d: low", i), in.Lo, c.Interval[0], 1e-12)
		near(t, fmt.Sprintf("new chips, case %d: high", i), in.Hi, c.Interval[1], 1e-12)
	}
	for _, c := range g.SignFlip {
		p, exact := SignFlip(c.D, 0, 0, 0)
		near(t, fmt.Sprintf("SignFlip(%v)", c.D), p, c.P, 1e-12)
		if !exact {
			t.Errorf("SignFlip(%v) is not exact", c.D)
		}
	}
	for _, c := range g.TwoProportion {
		name := fmt.Sprintf("%v of %v against %v of %v: ", c.K1, c.N1, c.K2, c.N2)
		near(t, name+"p", TwoProportion(c.K1/c.N1, c.N1, c.K2/c.N2, c.N2), c.P, 1e-12)
		in := Newcombe(c.K1/c.N1, c.N1, c.K2/c.N2, c.N2, Level)
		near(t, name+"low", in.Lo, c.Interval[0], 1e-12)
		near(t, name+"high", in.Hi, c.Interval[1], 1e-12)
	}
	for _, c := range g.Normal {
		near(t, fmt.Sprintf("NormalQuantile(%v)", c.P), NormalQuantile(c.P), c.Q, 1e-12)
	}
	for _, c := range g.T {
		near(t, fmt.Sprintf("TQuantile(%v, %v)", c.P, c.DF), TQuantile(c.P, c.DF), c.Q, 1e-6)
	}
	for _, c := range g.PairedMDE {
		near(t, fmt.Sprintf("PairedMDE(%v, %d)", c.MeanSquare, c.N), PairedMDE(c.MeanSquare, c.N, Alpha, Power), c.D,
			1e-9)
	}
}

// The sign-flip test of differences of -1, 0 and 1 is McNemar's exact test.
func TestSignFlipIsMcNemar(t *testing.T) {
	t.Parallel()
	for gained := range 40 {
		for lost := range 40 {
			d := slices.Concat(slices.Repeat([]int{1}, gained), slices.Repeat([]int{-1}, lost), []int{0, 0})
			p, _ := SignFlip(d, 0, 0, 0)
			near(t, fmt.Sprintf("gained %d lost %d", gained, lost), p, McNemarExact(gained, lost), 1e-12)
		}
	}
}

// What is sampled agrees with what is exact, and repeats.
func TestSignFlipSampled(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(3, 4))
	d := make([]int, 100)
	observed := 0
	for i := range d {
		d[i] = rng.IntN(6) - 2
		observed += d[i]
	}
	exact, _ := SignFlip(d, 0, 0, 0)
	const draws = 20000
	got := signFlipSampled(d, observed, draws, 1, 2)
	near(t, "sampled p", got, exact, 5*math.Sqrt(exact*(1-exact)/draws)+1.0/draws)
	if again := signFlipSampled(d, observed, draws, 1, 2); again != got {
		t.Errorf("the same seed gives %v and %v", got, again)
	}
	// Beyond the limit of exact work the test says that it sampled.
	huge := slices.Repeat([]int{1000}, 1001)
	if p, exact := SignFlip(huge, 99, 1, 2); exact || p != 0.01 {
		t.Errorf("p = %v, exact %v; want 0.01 from samples", p, exact)
	}
}

func TestBootstrapRepeatsAndIsPinned(t *testing.T) {
	t.Parallel()
	clusters := make([]Cluster, 40)
	for i := range clusters {
		clusters[i] = Cluster{Sum: float64(i % 4), N: 3}
	}
	got := []Interval{
		ClusterBootstrap(clusters, 1000, Level, 42, 7),
		ClusterBootstrap(clusters, 1000, Level, 42, 8),
	}
	want := []Interval{
		{0.38333333333333336, 0.6166666666666667},
		{0.38333333333333336, 0.6085416666666664},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("intervals (-want +got):\n%s", diff)
	}
}

func TestDegenerate(t *testing.T) {
	t.Parallel()
	one := []Cluster{{Sum: 1, N: 2}}
	nan := func(what string, v float64) {
		t.Helper()
		if !math.IsNaN(v) {
			t.Errorf("%s = %v, want NaN", what, v)
		}
	}
	none := func(what string, in Interval) {
		t.Helper()
		if in.Valid() {
			t.Errorf("%s = %v, want none", what, in)
		}
	}
	nan("Mean of nothing", Mean(nil))
	nan("Mean of empty clusters", Mean([]Cluster{{}, {}}))
	nan("ClusterSE of one cluster", ClusterSE(one))
	nan("ClusterSE of one cluster and an empty one", ClusterSE(append(one, Cluster{})))
	none("Wilson of nothing", Wilson(0, 0, Level))
	none("Wilson of NaN", Wilson(math.NaN(), 10, Level))
	none("ClusterBootstrap of one cluster", ClusterBootstrap(one, 100, Level, 1, 1))
	row := []Cluster{{1, 1}, {0, 1}, {1, 1}}
	none("NewChips of two chips", NewChips([][]Cluster{row[:2], row[:2], row[:2]}, Level))
	none("NewChips of two chips and an empty one",
		NewChips([][]Cluster{append(row[:2:2], Cluster{}), row[:2], row[:2]}, Level))
	none("NewChips of one question", NewChips([][]Cluster{row}, Level))
	none("NewChips of nothing", NewChips(nil, Level))
	none("a union of nothing", NoInterval().Union(NoInterval()))
	none("Newcombe of nothing", Newcombe(0, 0, 0.5, 10, Level))
	nan("TwoProportion of nothing", TwoProportion(0, 0, 0.5, 10))
	nan("PairedMDE without a difference", PairedMDE(0, 100, Alpha, Power))
	nan("PairedMDE of one question", PairedMDE(0.5, 1, Alpha, Power))
	nan("PairedMDE of no question", PairedMDE(0.5, 0, Alpha, Power))
	nan("UnpairedMDE at the end", UnpairedMDE(1, 10, 10, Alpha, Power))
	nan("UnpairedMDE of nothing", UnpairedMDE(0.5, 0, 10, Alpha, Power))
	if _, std := MeanStd([]float64{1}); !math.IsNaN(std) {
		t.Errorf("std of one value is %v", std)
	}
	if p := TwoProportion(1, 10, 1, 20); p != 1 {
		t.Errorf("two proportions of 1: p = %v", p)
	}
	if n := EffectiveN([]Cluster{{5, 5}, {5, 5}}); n != 2 {
		t.Errorf("EffectiveN where all are right is %v, want the number of clusters", n)
	}
	if n := EffectiveN([]Cluster{{1, 1}, {0, 1}, {0, 0}}); n != 2 {
		t.Errorf("EffectiveN of single samples is %v, want their number", n)
	}
	if in := Wilson(1, 20, Level); in.Hi != 1 || in.Lo >= 1 {
		t.Errorf("Wilson of all right is %v", in)
	}
	if diff := cmp.Diff([]string{"NaN", "0.02"}, []string{
		fmt.Sprint(Holm([]float64{math.NaN(), 0.02})[0]),
		fmt.Sprint(Holm([]float64{math.NaN(), 0.02})[1]),
	}); diff != "" {
		t.Errorf("Holm with a NaN (-want +got):\n%s", diff)
	}
}

// A 95 % interval holds the truth about 95 times in 100, also when the samples of a question are copies of each other,
// where ignoring clusters would fail.
func TestCoverageUnderClustering(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(11, 12))
	const trials, questions, copies, truth = 400, 120, 5, 0.7
	wilson, naive, boot := 0, 0, 0
	for trial := range trials {
		clusters := make([]Cluster, questions)
		for i := range clusters {
			clusters[i].N = copies
			if rng.Float64() < truth {
				clusters[i].Sum = copies
			}
		}
		p := Mean(clusters)
		for _, c := range []struct {
			hits *int
			in   Interval
		}{
			{&wilson, Wilson(p, EffectiveN(clusters), Level)},
			{&naive, Wilson(p, questions*copies, Level)},
			{&boot, ClusterBootstrap(clusters, 500, Level, uint64(trial), 0)},
		} {
			if c.in.Lo <= truth && truth <= c.in.Hi {
				*c.hits++
			}
		}
	}
	if wilson < 365 || boot < 355 {
		t.Errorf("of %d intervals %d (Wilson) and %d (bootstrap) hold the truth", trials, wilson, boot)
	}
	if naive > 300 {
		t.Errorf("intervals that ignore clusters hold the truth %d times of %d: the test shows nothing", naive, trials)
	}
}
