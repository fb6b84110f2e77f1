package decode

import (
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/gsmeval/gsmeval/decode/model"
	"github.com/gsmeval/gsmeval/internal/condition"
	"github.com/gsmeval/gsmeval/internal/finish"
	"github.com/gsmeval/gsmeval/internal/torch"
	"github.com/gsmeval/gsmeval/noise"
	"github.com/gsmeval/gsmeval/noise/alpha"
	"github.com/gsmeval/gsmeval/noise/philox"
)

// stepper is one of a function.
type stepper func(condition.Step) float64

func (f stepper) Temperature(s condition.Step) float64 { return f(s) }

// forced is the logits [V] from which each of a sequence's tokens is chosen, computed in one pass under the noise of
// its draws.
func forced(t *testing.T, f *fixture, r *Request, ids []int, d noise.Draws) (rows [][]float32) {
	t.Helper()
	all := append(slices.Clone(r.Prompt), ids[:len(ids)-1]...)
	if err := f.worker.Do(func(s *torch.Scope) error {
		kv, err := f.model.NewCache(s, 1, len(all))
		if err != nil {
			return err
		}
		defer kv.Free()
		b := Prefix(all, 0)
		b.From = len(r.Prompt) - 1
		b.Rows = NoiseRows(d, len(all), 0)
		b.Rows.Together(len(r.Prompt))
		z := s.FloatView(f.model.Forward(s, b, kv, noise.NewInjector(activation, false)))
		v := f.model.Config.VocabSize
		for i := range ids {
			rows = append(rows, slices.Clone(z[i*v:(i+1)*v]))
		}
		return s.Err()
	}); err != nil {
		t.Fatal(err)
	}
	return rows
}

// TestTwoRowsHaveCachesAndNoiseOfTheirOwn holds what a sequence of two rows is chosen from against two passes over its
// tokens, each under noise of its own: average samples from their mean, and a stepper sees both.
func TestTwoRowsHaveCachesAndNoiseOfTheirOwn(t *testing.T) {
	f := load(t, "qwen2-tied-gqa2")
	first, second := draws(111), draws(222)
	average := &Request{
		Prompt: prompt(f, 19, 3), MaxNew: 40, Schedule: condition.Schedule{
			T: []float64{0.8}, Twice: true,
			Average: true,
		},
		SampleKey: 1, Draws: first, Second: second, Logprobs: true,
	}
	r := under(t, f, Options{Slots: 3, Capacity: 60}, noise.NewInjector(activation, false), average)[0]
	z1, z2 := forced(t, f, average, r.IDs, first), forced(t, f, average, r.IDs, second)
	far := 0.0
	for i, id := range r.IDs {
		mean := make([]float32, len(z1[i]))
		for k := range mean {
			mean[k] = (z1[i][k] + z2[i][k]) / 2
		}
		top, _ := scan(mean)
		if d := math.Abs(logProb(mean, top, id) - r.Logprobs[i]); !(d <= tolerance) {
			t.Fatalf("token %d of average: its log probability is %v off the mean of two passes", i, d)
		}
		top, _ = scan(z1[i])
		far = max(far, math.Abs(logProb(z1[i], top, id)-r.Logprobs[i]))
	}
	if far < 10*tolerance {
		t.Errorf("a single pass is within %v of average", far)
	}
	// Twice the rows have twice the noise.
	one := *average
	one.Schedule = condition.ConstantT(0.8)
	if alone := under(t, f, Options{Slots: 3, Capacity: 60}, noise.NewInjector(activation, false),
		&one)[0]; r.Effect.Elements != 2*alone.Effect.Elements {
		t.Errorf("%d elements of noise, %d in one row of the same length", r.Effect.Elements, alone.Effect.Elements)
	}

	var seen [][2][]float32
	compare := *average
	compare.Schedule = condition.Schedule{Twice: true, Name: "seen", Adaptive: func() condition.Stepper {
		return stepper(func(s condition.Step) float64 {
			seen = append(seen, [2][]float32{slices.Clone(s.Logits), slices.Clone(s.Second)})
			return 0.7
		})
	}}
	r = under(t, f, Options{Slots: 3, Capacity: 60}, noise.NewInjector(activation, false), &compare)[0]
	z1, z2 = forced(t, f, &compare, r.IDs, first), forced(t, f, &compare, r.IDs, second)
	for i := range r.IDs {
		for row, z := range [][]float32{z1[i], z2[i]} {
			for k, v := range z {
				if d := math.Abs(float64(v - seen[i][row][k])); !(d <= 10*tolerance*(1+math.Abs(float64(v)))) {
					t.Fatalf("token %d, row %d: a logit is %v off", i, row, d)
				}
			}
		}
	}
}

// TestTwoRowsAmongOthers mixes sequences of one and of two rows: each is what it is alone, whatever slots it takes, on
// the device's loop too, and without a cache.
func TestTwoRowsAmongOthers(t *testing.T) {
	onHost := model.Options{DType: torch.Float32, Device: torch.CPU}
	for _, way := range []struct {
		name string
		load model.Options
		o    Options
	}{
		{"cached", onHost, Options{Capacity: 80}},
		{"recomputed", onHost, Options{Capacity: 80, Recompute: true}},
		{"on a device", plainDevice, Options{Capacity: 80}},
	} {
		t.Run(way.name, func(t *testing.T) {
			f := loadWith(t, "qwen2-tied-gqa2", 2, way.load)
			var reqs []*Request
			for i := range 6 {
				r := &Request{
					Prompt: prompt(f, 3+(17*i)%40, i), MaxNew: 1 + (7*i)%20, Schedule: condition.ConstantT(0.9),
					SampleKey: philox.Key(3 + i),
					Draws:     draws(philox.Key(10 + i)), Second: draws(philox.Key(100 + i)),
				}
				switch i % 3 {
				case 0:
					r.Schedule.Twice, r.Schedule.Average = true, true
				case 1:
					r.Schedule, _ = (&condition.Online{}).Schedule(condition.Under{
						Noise:  activation,
						Theory: condition.Theory{Base: 1},
					}, nil)
				}
				reqs = append(reqs, r)
			}
			if way.o.Recompute {
				reqs = reqs[1:5]
			}
			o := way.o
			for _, slots := range []int{2, 5} {
				o.Slots = slots
				got := under(t, f, o, noise.NewInjector(activation, false), reqs...)
				for i, r := range reqs {
					alone := under(t, f, o, noise.NewInjector(activation, false), r)[0]
					if !sameBits(alone, got[i]) || alone.Effect.Elements != got[i].Effect.Elements ||
						got[i].Finish != finish.Length || len(got[i].IDs) != r.MaxNew {
						t.Errorf("%d slots: request %d differs from itself alone:\nalone %+v\ngot   %+v", slots, i,
							alone, got[i])
					}
				}
			}
			o.Slots = 1
			err := Generate(t.Context(), engine(t, f, o), noise.NewInjector(activation, false), list(reqs...),
				func(any, Completion) error { return nil })
			if err == nil || !strings.Contains(err.Error(), "generation.batch_size") {
				t.Errorf("two rows in one slot: error %v", err)
			}
		})
	}
}

// TestOnlineAgreesWithManyDraws samples texts of the bundled model with two rows, and then draws the noise many times
// along the same tokens: the variance that two rows show is that over the draws about their mean. What they cannot see
// is the noise's mean.
func TestOnlineAgreesWithManyDraws(t *testing.T) {
	lm := loaded(t, filepath.Join("..", "models", "gsm-tiny"), "float32")
	const texts, tokens, many = 32, 40, 24
	questions := []string{
		"Tom has 3 boxes of 12 pens and gives 7 pens away. How many pens are left?",
		"Nina reads 14 pages a day for 6 days. How many pages does she read?",
	}
	online, mu := 0.0, sync.Mutex{}
	var reqs []*Request
	for i := range texts {
		ids, err := lm.Plain("Question: " + questions[i%2] + "\n")
		if err != nil {
			t.Fatal(err)
		}
		reqs = append(reqs, &Request{
			Prompt: ids, MaxNew: tokens, SampleKey: philox.Key(i), Draws: draws(philox.Key(1000 + i)),
			Second: draws(philox.Key(2000 + i)),
			Schedule: condition.Schedule{Twice: true, Name: "seen", Adaptive: func() condition.Stepper {
				return stepper(func(s condition.Step) float64 {
					v := alpha.Compare(s.Logits, s.Second, 1).VarE
					mu.Lock()
					defer mu.Unlock()
					online += v
					return 1
				})
			}},
		})
	}
	f := lm.fixture()
	var probes []Probe
	rows := 0
	for i, c := range under(t, f, Options{Slots: 16, Capacity: 200}, noise.NewInjector(activation, false), reqs...) {
		n := len(reqs[i].Prompt)
		all := append(slices.Clone(reqs[i].Prompt), c.IDs[:len(c.IDs)-1]...)
		probes = append(probes, Probe{IDs: all, From: n - 1, Together: n, Sample: strconv.Itoa(i)})
		rows += len(c.IDs)
	}
	v := lm.Model.Config.VocabSize
	type sums struct{ e, square []float64 } // of the noise less its mean over the vocabulary, over draws
	at := map[[2]int]*sums{}
	for i, p := range probes {
		for row := range len(p.IDs) - p.From {
			at[[2]int{i, row}] = &sums{make([]float64, v), make([]float64, v)}
		}
	}
	if _, err := lm.Probe(t.Context(), probes, Probing{Noise: activation, Draws: many, Seed: 9},
		func(probe, _, row int, clean, noisy []float32) {
			s, mean := at[[2]int{probe, row}], 0.0
			for i, z := range noisy {
				mean += float64(z-clean[i]) / float64(v)
			}
			for i, z := range noisy {
				e := float64(z-clean[i]) - mean
				s.e[i] += e
				s.square[i] += e * e
			}
		}); err != nil {
		t.Fatal(err)
	}
	about, ofMean := 0.0, 0.0
	for _, s := range at {
		for i := range v {
			variance := (s.square[i] - s.e[i]*s.e[i]/many) / (many - 1)
			about += variance / float64(v-1)
			ofMean += (s.e[i]*s.e[i]/many/many - variance/many) / float64(v-1) // the mean's square, without the draws' share in it
		}
	}
	n := float64(rows)
	t.Logf("%d tokens: two rows show a variance of %.4f, %d draws one of %.4f about their mean; Var(E[e]) is %.4f",
		rows, online/n, many, about/n, ofMean/n)
	if math.Abs(online/about-1) > 0.05 {
		t.Errorf("two rows show a variance of %.4f, %d draws %.4f", online/n, many, about/n)
	}
}
