package decode

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/stat/distuv"

	"github.com/gsmeval/gsmeval/internal/condition"
	"github.com/gsmeval/gsmeval/noise/philox"
)

func random(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

func gaussian(r *rand.Rand, n int, std float64) []float32 {
	z := make([]float32, n)
	for i := range z {
		z[i] = float32(std * r.NormFloat64())
	}
	return z
}

func gumbelOf(i int, step uint32, key philox.Key) float64 {
	return philox.Gumbel(philox.Words(philox.Counter{uint32(i / 4), step, 0, 0}, key)[i%4])
}

// naiveMax draws for every token of the list.
func naiveMax(z []float32, tokens []int, temperature float64, step uint32, key philox.Key) int {
	best, at := math.Inf(-1), -1
	for _, i := range tokens {
		if x := float64(z[i])/temperature + gumbelOf(i, step, key); x > best || (x == best && i < at) {
			best, at = x, i
		}
	}
	return at
}

func every(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

// TestSkippingChangesNothing: tokens that gumbelMax leaves out could not have won.
func TestSkippingChangesNothing(t *testing.T) {
	t.Parallel()
	r := random(1)
	wins := 0 // not by the largest logit
	for _, v := range []int{1, 2, 3, 4, 5, 7, 64, 160, 1023, 3000} {
		for _, temperature := range []float64{0.05, 0.3, 0.7, 1, 1.3, 2, 5} {
			for _, std := range []float64{0, 0.5, 3, 12} {
				z := gaussian(r, v, std)
				top, _ := scan(z)
				for range 4 {
					step, key := r.Uint32(), philox.Key(r.Uint64())
					want := naiveMax(z, every(v), temperature, step, key)
					if got := gumbelMax(z, top, temperature, step, key); got != want {
						t.Fatalf("%d logits of spread %v at T = %v: token %d, with all draws %d", v, std, temperature,
							got, want)
					}
					if want != top {
						wins++
					}
				}
			}
		}
	}
	if wins < 300 {
		t.Errorf("a token other than the likeliest won %d times: the cases test nothing", wins)
	}
	// Where gaps are wide the draws decide seldom; here nearly every token is within reach of the best.
	z := make([]float32, 3000)
	for i := range z {
		z[i] = -float32(i%24) * 0.999
	}
	for step := range uint32(200) {
		if got, want := gumbelMax(z, 0, 1, step, 5), naiveMax(z, every(len(z)), 1, step, 5); got != want {
			t.Fatalf("step %d: token %d, with all draws %d", step, got, want)
		}
	}
}

func TestMaxGumbelIsABound(t *testing.T) {
	t.Parallel()
	if g := philox.Gumbel(math.MaxUint32); g > maxGumbel || g < maxGumbel-0.01 {
		t.Errorf("the largest Gumbel variate is %v, the bound %v", g, maxGumbel)
	}
	// The skip by tail: a word whose uniform is below tail[n] has a variate below n.
	for n := 1; n < len(tail); n++ {
		w := uint32(tail[n] * 0x1p32)
		for philox.Uniform(w) >= tail[n] {
			w--
		}
		if g := philox.Gumbel(w); g >= float64(n) {
			t.Errorf("a word below tail[%d] has the variate %v", n, g)
		}
	}
}

// chiSquare is Pearson's statistic and its critical value at a false alarm of 1e-7, over the tokens that are expected
// often enough; the rest are one class.
func chiSquare(t *testing.T, counts []int, p []float64, n int) (statistic, critical float64) {
	t.Helper()
	classes, restCount, restP := 0, 0, 0.0
	for i, c := range counts {
		if e := p[i] * float64(n); e >= 10 {
			statistic += (float64(c) - e) * (float64(c) - e) / e
			classes++
		} else {
			restCount, restP = restCount+c, restP+p[i]
		}
	}
	if e := restP * float64(n); e > 1 {
		statistic += (float64(restCount) - e) * (float64(restCount) - e) / e
		classes++
	}
	if classes < 2 {
		t.Fatal("one class tests nothing")
	}
	return statistic, distuv.ChiSquared{K: float64(classes - 1)}.Quantile(1 - 1e-7)
}

// TestSamplesFollowTheSoftmax counts 20,000 draws over steps, and over keys.
func TestSamplesFollowTheSoftmax(t *testing.T) {
	t.Parallel()
	const n = 20_000
	z := gaussian(random(2), 40, 1)
	top, _ := scan(z)
	for _, temperature := range []float64{0.4, 1, 1.7} {
		for name, f := range map[string]Filter{
			"all": {}, "top-k": {TopK: 6}, "top-p": {TopP: 0.8},
			"min-p": {MinP: 0.1},
		} {
			order := survivors(z, temperature, f)
			p := make([]float64, len(z))
			for i, q := range softmax(z, order, temperature) {
				p[order[i]] = q
			}
			for what, at := range map[string]func(int) (uint32, philox.Key){
				"steps": func(i int) (uint32, philox.Key) { return uint32(i), 99 },
				"examples": func(i int) (uint32, philox.Key) {
					return 3,
						philox.NewKey(philox.Sample, 42, 0, fmt.Sprint(i))
				},
			} {
				counts := make([]int, len(z))
				for i := range n {
					step, key := at(i)
					if f.narrows() {
						counts[filteredMax(z, temperature, f, step, key)]++
					} else {
						counts[gumbelMax(z, top, temperature, step, key)]++
					}
				}
				for i := range counts {
					if counts[i] > 0 && !slices.Contains(order, i) {
						t.Errorf("%s: token %d was drawn and does not survive", name, i)
					}
				}
				x, limit := chiSquare(t, counts, p, n)
				if !(x <= limit) {
					t.Errorf("%s at T = %v over %s: chi-square is %.1f, beyond %.1f", name, temperature, what, x, limit)
				}
			}
		}
	}
}

func TestTemperaturesShareTheirRandomNumbers(t *testing.T) {
	t.Parallel()
	r := random(3)
	const n = 3000
	same, independent := 0, 0
	for i := range n {
		z, step, key := gaussian(r, 50, 2), uint32(i), philox.Key(r.Uint64())
		top, _ := scan(z)
		a, b := gumbelMax(z, top, 1, step, key), gumbelMax(z, top, 1.2, step, key)
		if a == b {
			same++
		}
		if a == gumbelMax(z, top, 1.2, step, key+1) {
			independent++
		}
		// A doubled temperature of doubled logits is the same distribution, and must be the same token.
		twice := make([]float32, len(z))
		for j, v := range z {
			twice[j] = 2 * v
		}
		if c := gumbelMax(twice, top, 2, step, key); c != a {
			t.Fatalf("draw %d: token %d at T = 1, %d for doubled logits at T = 2", i, a, c)
		}
	}
	if same < n*8/10 || independent > n*3/10 {
		t.Errorf("T = 1 and T = 1.2 agree in %d of %d draws with shared numbers, in %d with independent ones", same, n,
			independent)
	}
	// Of equal logits the numbers alone decide, whatever T is.
	flat := make([]float32, 50)
	for step := range uint32(100) {
		want := gumbelMax(flat, 0, 1, step, 7)
		for _, temperature := range []float64{0.05, 0.5, 3, 100} {
			if got := gumbelMax(flat, 0, temperature, step, 7); got != want {
				t.Fatalf("step %d of equal logits: token %d at T = 1, %d at %v", step, want, got, temperature)
			}
		}
	}
}

func TestFiltersKeepWhatTransformersKeeps(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(filepath.Join("testdata", "sampler.json"))
	if err != nil {
		t.Fatal(err)
	}
	var g struct {
		Made, Torch, Transformers string
		Filters                   []struct {
			Z           []float32
			Temperature float64
			TopK        int     `json:"top_k"`
			TopP        float64 `json:"top_p"`
			MinP        float64 `json:"min_p"`
			Survivors   []int
		}
		Penalties []struct {
			Z, Out  []float32
			Penalty float64
			Seen    []int
		}
	}
	if err := json.Unmarshal(data, &g); err != nil {
		t.Fatal(err)
	}
	narrowed := 0
	for i, c := range g.Filters {
		f := Filter{TopK: c.TopK, TopP: c.TopP, MinP: c.MinP}
		got := survivors(c.Z, c.Temperature, f)
		for j := range got {
			if j > 0 && c.Z[got[j]] > c.Z[got[j-1]] {
				t.Errorf("case %d: the survivors are not in falling order: %v", i, got)
			}
		}
		slices.Sort(got)
		if diff := cmp.Diff(c.Survivors, got); diff != "" {
			t.Errorf("case %d: %+v at T = %v keeps other tokens than transformers (-want +got):\n%s", i, f,
				c.Temperature, diff)
		}
		if len(got) < len(c.Z) {
			narrowed++
		}
		for step := range uint32(20) {
			key := philox.Key(i)
			if got, want := filteredMax(c.Z, c.Temperature, f, step, key),
				naiveMax(c.Z, c.Survivors, c.Temperature, step, key); got != want {
				t.Errorf("case %d: token %d of the survivors, want %d", i, got, want)
			}
		}
	}
	if narrowed < 50 || len(g.Penalties) == 0 {
		t.Fatalf("%d filters and %d penalties test nothing", narrowed, len(g.Penalties))
	}
	for i, c := range g.Penalties {
		got := slices.Clone(c.Z)
		penalize(got, c.Penalty, c.Seen)
		for j := range got {
			if d := math.Abs(float64(got[j] - c.Out[j])); !(d <= 2e-7*math.Abs(float64(c.Out[j]))) {
				t.Errorf("penalty case %d: logit %d is %v, transformers has %v", i, j, got[j], c.Out[j])
			}
		}
		same := slices.Clone(c.Z)
		penalize(same, c.Penalty, []int{-1, len(c.Z)}) // not of this vocabulary
		if !slices.Equal(same, c.Z) {
			t.Errorf("penalty case %d: tokens outside the vocabulary changed something", i)
		}
	}
	t.Logf("%d filters and %d penalties as in transformers %s, torch %s (%s)", len(g.Filters), len(g.Penalties),
		g.Transformers, g.Torch, g.Made)
}

func TestFilterThatKeepsAllSamplesTheSame(t *testing.T) {
	t.Parallel()
	r := random(4)
	for i := range 300 {
		z, key := gaussian(r, 1+r.IntN(200), 2), philox.Key(r.Uint64())
		top, _ := scan(z)
		want := gumbelMax(z, top, 0.9, uint32(i), key)
		for _, f := range []Filter{{TopK: len(z)}, {TopK: 1 << 30}, {MinP: 1e-300}} {
			if !f.narrows() {
				t.Fatalf("%+v is off", f)
			}
			if got := filteredMax(z, 0.9, f, uint32(i), key); got != want {
				t.Fatalf("%+v: token %d, without a filter %d", f, got, want)
			}
		}
		if got := filteredMax(z, 0.9, Filter{TopK: 1}, uint32(i), key); got != top {
			t.Fatalf("top-1: token %d, the likeliest is %d", got, top)
		}
	}
	for _, f := range []Filter{{}, {TopP: 1}, {RepetitionPenalty: 1.1}} {
		if f.narrows() {
			t.Errorf("%+v narrows the tokens", f)
		}
	}
}

func TestTopKKeepsTiesWithTheKth(t *testing.T) {
	t.Parallel()
	z := []float32{1, 3, 2, 3, 2, 2, 0}
	for k, want := range map[int][]int{
		1: {1, 3}, 2: {1, 3}, 3: {1, 2, 3, 4, 5}, 5: {1, 2, 3, 4, 5},
		6: {0, 1, 2, 3, 4, 5}, 7: {0, 1, 2, 3, 4, 5, 6},
	} {
		got := survivors(z, 1, Filter{TopK: k})
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("top-%d (-want +got):\n%s", k, diff)
		}
	}
}

func TestScan(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		z   []float32
		top int
	}{
		{[]float32{0}, 0},
		{[]float32{-1, -1, -2}, 0}, // the first of equals
		{[]float32{1, 5, 5, 5}, 1},
		{[]float32{-3, -2, -1}, 2},
		{[]float32{math.MaxFloat32, -math.MaxFloat32, math.MaxFloat32}, 0},
		{[]float32{float32(math.Copysign(0, -1)), 0}, 0},
	} {
		if top, finite := scan(c.z); top != c.top || !finite {
			t.Errorf("scan(%v) = %d, %v, want %d and finite", c.z, top, finite, c.top)
		}
	}
	z := gaussian(random(5), 37, 3)
	for i := range z {
		for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
			was := z[i]
			z[i] = float32(bad)
			if _, finite := scan(z); finite {
				t.Errorf("%v at %d is taken for finite", bad, i)
			}
			z[i] = was
		}
	}
	z[3], z[30] = float32(math.Inf(1)), float32(math.Inf(-1))
	if _, finite := scan(z); finite {
		t.Error("two infinities cancel")
	}
}

func TestLogProb(t *testing.T) {
	t.Parallel()
	r := random(6)
	for _, std := range []float64{0, 0.3, 3, 30, 1000} {
		for _, n := range []int{1, 2, 100, 700} {
			z := gaussian(r, n, std)
			wide := make([]float64, n)
			for i, v := range z {
				wide[i] = float64(v)
			}
			top, _ := scan(z)
			lse, sum := floats.LogSumExp(wide), 0.0
			for i := range z {
				got := logProb(z, top, i)
				if want := wide[i] - lse; !(math.Abs(got-want) <= 1e-12*(1+math.Abs(lse)+math.Abs(wide[i]))) {
					t.Fatalf("%d logits of spread %v: log probability %v, want %v", n, std, got, want)
				}
				sum += math.Exp(got)
			}
			if math.Abs(sum-1) > 1e-9 {
				t.Errorf("%d logits of spread %v: the probabilities sum to %v", n, std, sum)
			}
		}
	}
	if got := logProb([]float32{math.MaxFloat32, -math.MaxFloat32}, 0, 1); math.IsInf(got, 0) {
		t.Errorf("the log probability of finite logits is %v", got)
	}
}

func TestScheduleSHA256(t *testing.T) {
	t.Parallel()
	sha := func(v ...float64) string { return condition.Schedule{T: v}.SHA256() }
	if sha() != "" || condition.Greedy().SHA256() != "" {
		t.Error("greedy decoding has a schedule")
	}
	for _, same := range [][2]string{
		{sha(1), sha(1, 1, 1)},
		{sha(1), condition.ConstantT(1).SHA256()},
		{sha(1.3, 1.2), sha(1.3, 1.2, 1.2, 1.2)},
	} {
		if same[0] != same[1] {
			t.Error("trailing repeats change the hash")
		}
	}
	seen := map[string][]float64{}
	for _, v := range [][]float64{
		{1},
		{1.3, 1.2},
		{1.2, 1.3},
		{1.3},
		{1.3, 1.3, 1.2},
		{1, 2, 1},
		{1, 2},
		{math.Nextafter(1, 2)},
	} {
		h := sha(v...)
		if was, dup := seen[h]; dup || len(h) != 64 {
			t.Errorf("schedules %v and %v have the hash %q", was, v, h)
		}
		seen[h] = v
	}
	s := condition.Schedule{T: []float64{2, 1, 1}}
	s.SHA256()
	if diff := cmp.Diff([]float64{2, 1, 1}, s.T); diff != "" {
		t.Errorf("hashing changed the schedule:\n%s", diff)
	}
}

func TestScheduleAt(t *testing.T) {
	t.Parallel()
	s := condition.Schedule{T: []float64{1.3, 1.2, 1.1}}
	for step, want := range map[int]float64{0: 1.3, 1: 1.2, 2: 1.1, 3: 1.1, 1 << 40: 1.1} {
		if got := s.At(step); got != want {
			t.Errorf("T(%d) = %v, want %v", step, got, want)
		}
	}
	if !math.IsNaN(condition.Greedy().At(0)) || !condition.Greedy().IsGreedy() || s.IsGreedy() ||
		condition.ConstantT(0.7).At(9) != 0.7 {
		t.Error("greedy or constant schedules are not what they say")
	}
}

func BenchmarkGumbelMax(b *testing.B) {
	for _, v := range []int{1024, 151936} {
		b.Run(fmt.Sprint(v), func(b *testing.B) {
			z := gaussian(random(7), v, 3)
			step := uint32(0)
			for b.Loop() {
				top, _ := scan(z)
				gumbelMax(z, top, 1, step, 42)
				step++
			}
		})
	}
}

// TestTopNSigma keeps what is within n standard deviations of the largest logit, whatever the temperature, before any
// other filter.
func TestTopNSigma(t *testing.T) {
	t.Parallel()
	r := random(9)
	for range 50 {
		z := gaussian(r, 200, 3)
		mean, square, top := 0.0, 0.0, math.Inf(-1)
		for _, v := range z {
			mean += float64(v) / 200
		}
		for _, v := range z {
			square, top = square+(float64(v)-mean)*(float64(v)-mean), max(top, float64(v))
		}
		n := 0.5 + 2*r.Float64()
		var want []int
		for i, v := range z {
			if float64(v) >= top-n*math.Sqrt(square/199) {
				want = append(want, i)
			}
		}
		for _, temperature := range []float64{0.3, 2} {
			got := survivors(z, temperature, Filter{TopNSigma: n})
			slices.Sort(got)
			if !slices.Equal(want, got) {
				t.Errorf("n = %g, T = %g: %v survive, want %v", n, temperature, got, want)
			}
		}
		if got := survivors(z, 1, Filter{TopNSigma: n, TopK: 1}); len(got) != 1 {
			t.Errorf("%d tokens survive top-k 1", len(got))
		}
	}
	if got := survivors([]float32{1}, 1, Filter{TopNSigma: 1}); len(got) != 1 {
		t.Errorf("of one token %d survive", len(got))
	}
}
