package fidelity

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// gather collects positions of two texts of random logits under a number of draws.
func gather(t *testing.T, draws int, noise, base float64, temperatures []float64, fresh bool) (*Collector,
	[][][]float32, [][][][]float32,
) {
	t.Helper()
	rng := rand.New(rand.NewPCG(7, 8))
	flat := make([]float32, 30)
	texts := [][]int{{4, 2, 9, 11, 0}, {7, 7, 29}}
	c := NewCollector(texts, draws, base, temperatures, fresh)
	clean, noisy := make([][][]float32, 2), make([][][][]float32, 2)
	for i, tokens := range texts {
		for at := range tokens {
			z := normals(rng, flat, 2)
			list := several(rng, draws, z, noise)
			clean[i], noisy[i] = append(clean[i], z), append(noisy[i], list)
			if fresh {
				c.Add(i, at, 0, z, list...)
				continue
			}
			for d, zd := range list {
				c.Add(i, at, d, z, zd)
			}
		}
	}
	return c, clean, noisy
}

func softmaxOf(z []float32, t float64) []float64 {
	p, sum := make([]float64, len(z)), 0.0
	for i, x := range z {
		p[i] = math.Exp(float64(x) / t)
		sum += p[i]
	}
	for i := range p {
		p[i] /= sum
	}
	return p
}

func TestRowsAgreeWithTheirDefinitions(t *testing.T) {
	const base = 0.9
	temperatures := []float64{0.7, 1, 1.3}
	for _, fresh := range []bool{false, true} {
		c, clean, noisy := gather(t, 6, 0.8, base, temperatures, fresh)
		both := []int{0, 1}
		rows, spreads, err := c.Rows(both)
		if err != nil {
			t.Fatal(err)
		}
		for k, temperature := range temperatures {
			var kls, dps []float64
			var dlog, same, plugin float64
			for i := range clean {
				for at, z := range clean[i] {
					p := softmaxOf(z, base)
					token := c.texts[i].tokens[at]
					for _, zd := range noisy[i][at] {
						q := softmaxOf(zd, temperature)
						kl := 0.0
						for v := range p {
							kl += p[v] * math.Log(p[v]/q[v])
						}
						kls, dps = append(kls, kl), append(dps, q[token]-p[token])
						dlog += math.Log(p[token] / q[token])
						if slices.Index(zd, slices.Max(zd)) == slices.Index(z, slices.Max(z)) {
							same++
						}
					}
					plugin += direct(z, noisy[i][at], base, temperature)
				}
			}
			n := float64(len(kls))
			slices.Sort(kls)
			mean, square, change := 0.0, 0.0, 0.0
			for i := range kls {
				mean += kls[i] / n
				square += dps[i] * dps[i] / n
				change += dps[i] / n
			}
			r, s := rows[k], spreads[k]
			for _, q := range []struct {
				what      string
				got, want float64
			}{
				{"t", r.T, temperature},
				{"mean", r.KLD.Mean, mean},
				{"p50", r.KLD.P50, (kls[23] + kls[24]) / 2}, // of 48 values
				{"max", r.KLD.Max, kls[47]},
				{"p90", r.KLD.P90, kls[42] + 0.3*(kls[43]-kls[42])},
				{"p99", r.KLD.P99, kls[46] + 0.53*(kls[47]-kls[46])},
				{"p999", r.KLD.P999, kls[46] + 0.953*(kls[47]-kls[46])},
				{"same top", r.SameTop, same / n},
				{"rms dp", r.RMSdP, math.Sqrt(square)},
				{"mean dp", s.MeanDP, change},
				{"ppl ratio", r.PPLRatio, math.Exp(dlog / n)},
				{"interval's mean", s.OverTexts.Mean, mean},
			} {
				if math.Abs(q.got-q.want) > 1e-12*max(1, math.Abs(q.want)) {
					t.Errorf("T %g: %s is %.15g, want %.15g", temperature, q.what, q.got, q.want)
				}
			}
			if !fresh {
				if r.Marginal != nil || s.MarginalOverTexts != nil {
					t.Error("a frozen noise has a marginal law")
				}
				continue
			}
			if math.Abs(r.Marginal.Plugin-plugin/8) > 1e-12 || r.Marginal.Mean >= r.Marginal.Plugin ||
				r.Marginal.SE <= 0 ||
				math.Abs(s.MarginalOverTexts.Mean-r.Marginal.Mean) > 1e-12 {
				t.Errorf("T %g: marginal %+v, want a plugin of %g and less", temperature, *r.Marginal, plugin/8)
			}
		}
	}
}

func TestEqualLogitsDoNotDivergeAtAll(t *testing.T) {
	c, _, _ := gather(t, 1, 0, 0.7, []float64{0.7, 1}, false)
	rows, _, err := c.Rows([]int{0, 1})
	if err != nil {
		t.Fatal(err)
	}
	if r := rows[0]; r.KLD != (KLD{}) || r.SameTop != 1 || r.RMSdP != 0 || r.PPLRatio != 1 {
		t.Errorf("without noise at the base temperature: %+v", r)
	}
	if rows[1].KLD.Mean < 0.01 {
		t.Errorf("without noise at another temperature the divergence is %g", rows[1].KLD.Mean)
	}
}

func TestBinsAddUp(t *testing.T) {
	c, _, _ := gather(t, 4, 0.8, 1, []float64{1}, true)
	both := []int{0, 1}
	rows, _, err := c.Rows(both)
	if err != nil {
		t.Fatal(err)
	}
	for _, bins := range [][]Bin{c.ByEntropy(both, 0), c.ByPosition(both, 0)} {
		n, kl, marginal, same := 0, 0.0, 0.0, 0.0
		for _, b := range bins {
			n += b.Positions
			kl += b.KLD * float64(b.Positions) / 8
			same += b.SameTop * float64(b.Positions) / 8
			marginal += b.Marginal.Mean * float64(b.Positions) / 8
		}
		if n != 8 || math.Abs(kl-rows[0].KLD.Mean) > 1e-12 || math.Abs(same-rows[0].SameTop) > 1e-12 ||
			math.Abs(marginal-rows[0].Marginal.Mean) > 1e-12 {
			t.Errorf("bins of %d positions add up to %g, %g and %g; the row is %+v", n, kl, marginal, same, rows[0])
		}
	}
	if b := c.ByPosition(both, 0); len(b) != 2 || b[0].Positions != 2 || b[1].Positions != 6 || *b[0].To != 1 {
		t.Errorf("bins by position: %+v", b)
	}
}

func TestFirstDivergentToken(t *testing.T) {
	text := []int{1, 1, 1, 1}
	one, two := []float32{0, 1, 0}, []float32{0, 0, 1}
	c := NewCollector([][]int{text, text}, 2, 1, []float64{1}, false)
	leave := [][]int{{2, 0}, {4, 3}} // by text and draw; 4: never
	for i := range leave {
		for d, first := range leave[i] {
			for at := range text {
				z := one
				if at == first {
					z = two
				}
				c.Add(i, at, d, one, z)
			}
		}
	}
	d := c.Divergent([]int{0, 1})
	if d.Texts != 4 || d.Leaves != 3 || *d.P10 != 0 || *d.P50 != 2 || d.P90 != nil {
		t.Errorf("got %+v", d)
	}
}

func TestLogitsOutOfRangeAreAnError(t *testing.T) {
	c := NewCollector([][]int{{0}}, 1, 1, []float64{1}, false)
	c.Add(0, 0, 0, []float32{1, 2}, []float32{float32(math.Inf(1)), 0})
	if _, _, err := c.Rows([]int{0}); !errors.Is(err, ErrNotFinite) {
		t.Errorf("got %v", err)
	}
}
