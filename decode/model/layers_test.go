package model

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gsmeval/gsmeval/internal/condition"
	"github.com/gsmeval/gsmeval/internal/torch"
	"github.com/gsmeval/gsmeval/noise"
	"github.com/gsmeval/gsmeval/noise/philox"
)

// identity is a Linear that returns its input.
func identity(s *torch.Scope, id uint32, name string, d int) linear {
	w := make([]float32, d*d)
	for i := range d {
		w[i*d+i] = 1
	}
	return linear{site: noise.Site{ID: id, Name: name}, w: &weight{dense: s.Floats(w, []int64{int64(d), int64(d)},
		torch.CPU)}}
}

// std is the unbiased standard deviation.
func std(x []float32) float64 {
	mean, sq := 0.0, 0.0
	for _, v := range x {
		mean += float64(v) / float64(len(x))
	}
	for _, v := range x {
		sq += (float64(v) - mean) * (float64(v) - mean)
	}
	return math.Sqrt(sq / float64(len(x)-1))
}

// TestNoiseOfLinears sends rows through Linears that only copy, so that what comes out is the input and its noise.
func TestNoiseOfLinears(t *testing.T) {
	t.Parallel()
	const rows, d, key, scale = 6, 48, 0xfeedface12345678, 0.25
	w, err := torch.Start(1)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	r := rand.New(rand.NewPCG(1, 0))
	x := make([]float32, rows*d)
	for i := range x {
		x[i] = float32(float64(1+i/d) * r.NormFloat64())
	}
	for _, kind := range []string{condition.Activation, condition.Output} {
		batch := &Batch{Tokens: make([]int64, rows), Rows: noise.NewRows(rows)}
		for i := range rows {
			batch.Rows.Keys.Set(i, noise.Draws{Inputs: key, Outputs: key})
			batch.Rows.Positions[i] = uint32(10 + i)
		}
		batch.Rows.Together(4) // a prompt of four, and two decoded positions
		spread := []float64{std(x[:4*d]), std(x[:4*d]), std(x[:4*d]), std(x[:4*d]), std(x[4*d : 5*d]), std(x[5*d:])}
		if err := w.Do(func(s *torch.Scope) error {
			p := &pass{s: s, b: batch, in: noise.NewInjector(condition.Noise{Kind: kind, Scale: scale}, false)}
			check := func(l linear, y torch.Tensor, from, to int) {
				t.Helper()
				if diff := cmp.Diff([]int64{int64(to - from), d}, y.Shape()); diff != "" {
					t.Errorf("%s at %s: shape (-want +got):\n%s", kind, l.site.Name, diff)
					return
				}
				got := s.FloatView(y)
				for i := from; i < to; i++ {
					for e := range d {
						c := philox.Counter{uint32(e / 4), uint32(10 + i), l.site.ID, 0}
						want := float64(x[i*d+e]) + scale*spread[i]*philox.Normals(philox.Words(c, key))[e%4]
						if !(math.Abs(float64(got[(i-from)*d+e])-want) <= 1e-5*(1+math.Abs(want))) {
							t.Errorf("%s at %s: element %d of row %d is %v, want %v", kind, l.site.Name, e, i,
								got[(i-from)*d+e], want)
							return
						}
					}
				}
			}
			a := &activation{x: s.Floats(x, []int64{rows, d}, torch.CPU)}
			q, k, v := identity(s, siteQ, "q_proj", d), identity(s, siteK, "k_proj", d), identity(s, siteV, "v_proj", d)
			// q, k and v share an input and its spread; each has noise of its own.
			for _, l := range []linear{q, k, v} {
				check(l, p.linear(a, l), 0, rows)
			}
			// The head projects some rows only; the spread is over all of them.
			head := identity(s, headSite, "lm_head", d)
			for _, c := range [][2]int{{rows - 1, rows}, {3, 4}, {3, rows}, {0, rows}} {
				batch.From, batch.To = c[0], c[1]
				check(head, p.logits(a.x, head), c[0], c[1])
			}
			after := s.FloatView(a.x)
			if !slices.Equal(after, x) {
				t.Errorf("%s: the activation itself was perturbed, for the next Linear to see", kind)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLinearWithoutNoise(t *testing.T) {
	t.Parallel()
	w, err := torch.Start(1)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := w.Do(func(s *torch.Scope) error {
		p := &pass{s: s, b: &Batch{Tokens: make([]int64, 2), From: 1, To: 2}}
		l := linear{
			w: &weight{dense: s.Floats([]float32{1, 2, 3, 4, 5, 6}, []int64{3, 2}, torch.CPU)},
			b: s.Floats([]float32{10, 20, 30}, []int64{3}, torch.CPU),
		}
		x := s.Floats([]float32{1, 0, 1, 1}, []int64{2, 2}, torch.CPU)
		if diff := cmp.Diff([]float32{11, 23, 35, 13, 27, 41},
			s.FloatView(p.linear(&activation{x: x}, l))); diff != "" {
			t.Errorf("x w^T + b (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]float32{13, 27, 41}, s.FloatView(p.logits(x, l))); diff != "" {
			t.Errorf("logits of the last row (-want +got):\n%s", diff)
		}
		// An injector that does not touch the site changes nothing.
		p.in = noise.NewInjector(condition.Noise{Kind: condition.Activation, Scale: 1, Include: []string{"other"}},
			false)
		l.site = noise.Site{ID: 1, Name: "q_proj"}
		if diff := cmp.Diff([]float32{13, 27, 41}, s.FloatView(p.logits(x, l))); diff != "" {
			t.Errorf("a site that is not included (-want +got):\n%s", diff)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}
