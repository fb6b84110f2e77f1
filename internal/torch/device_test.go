package torch

import (
	"math"
	"math/rand/v2"
	"testing"
)

// device_test checks the operations of a decode step on a device, in their plain form, against the CPU's own kernels.

func gaussians(r *rand.Rand, n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(r.NormFloat64())
	}
	return v
}

func worst(t *testing.T, what string, want, got []float32, most float64) {
	t.Helper()
	if len(want) != len(got) {
		t.Fatalf("%s: %d elements, want %d", what, len(got), len(want))
	}
	for i := range want {
		if d := math.Abs(float64(want[i]) - float64(got[i])); !(d <= most) {
			t.Fatalf("%s: element %d is %v, want %v", what, i, got[i], want[i])
		}
	}
}

func TestDecodeStepOnDeviceAgreesWithCPU(t *testing.T) {
	t.Parallel()
	const rows, heads, kv, hd, capacity = 3, 4, 2, 8, 40
	r := rand.New(rand.NewPCG(1, 2))
	slots, positions := []int32{0, 1, 2}, []int32{0, 17, 39}
	wide := []int64{0, 17, 39}
	w := start(t, 1)
	err := w.Do(func(s *Scope) error {
		cos, sin := s.Floats(gaussians(r, capacity*hd), []int64{capacity, hd}, CPU), s.Floats(gaussians(r, capacity*hd), []int64{capacity, hd}, CPU)
		at, slot := s.Ints(wide, CPU), s.Ints([]int64{0, 1, 2}, CPU)
		q, kvals := gaussians(r, rows*heads*hd), gaussians(r, rows*kv*hd)
		past := gaussians(r, rows*kv*capacity*hd)
		shape := []int64{rows, kv, capacity, hd}

		q1, q2 := s.Floats(q, []int64{rows, heads, hd}, CPU), s.Floats(q, []int64{rows, heads, hd}, CPU)
		s.Rope(q1, cos, sin, positions)
		s.RopeAt(q2, cos, sin, at)
		k1, k2 := s.Floats(past, shape, CPU), s.Floats(past, shape, CPU)
		x := s.Floats(kvals, []int64{rows, kv, hd}, CPU)
		s.StoreKV(k1, x, slots, positions)
		s.StoreKVAt(k2, x, slot, at)
		a1 := s.Attention(q1, k1, k1, slots, positions, 0.3, 5)
		a2 := s.AttentionAt(q2, k2, k2, at, capacity, 0.3, 5)
		read := func(x Tensor, n int) []float32 {
			out := make([]float32, n)
			s.ReadFloats(x, out)
			return out
		}
		if err := s.Err(); err != nil {
			return err
		}
		worst(t, "rope", read(q1, rows*heads*hd), read(q2, rows*heads*hd), 1e-6)
		worst(t, "the cache", read(k1, rows*kv*capacity*hd), read(k2, rows*kv*capacity*hd), 0)
		worst(t, "attention", read(a1, rows*heads*hd), read(a2, rows*heads*hd), 2e-6)
		return s.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestNoiseOnDeviceAgreesWithCPU(t *testing.T) {
	t.Parallel()
	const rows, d, together = 5, 70, 3
	const site, scale = 11, 0.25
	r := rand.New(rand.NewPCG(3, 4))
	x := gaussians(r, rows*d)
	for i := range x {
		x[i] = x[i]*float32(1+i/d) + float32(i/d) // every row has a spread and a mean of its own
	}
	keys, wideKeys := make([]uint64, rows), make([]int64, rows)
	positions, widePositions := make([]uint32, rows), make([]int64, rows)
	for i := range rows {
		keys[i], positions[i] = r.Uint64(), uint32(i+7)
		wideKeys[i], widePositions[i] = int64(keys[i]), int64(i+7)
	}
	groups := []int32{0, together, 4, 5} // a prompt and two positions after it
	bounds := []int64{0, together, 0, together, 0, together, 3, 4, 4, 5}
	w := start(t, 1)
	for _, absmax := range []bool{false, true} {
		err := w.Do(func(s *Scope) error {
			in := s.Floats(x, []int64{rows, d}, CPU)
			spread := make([]float32, len(groups)-1)
			s.Spread(spread, in, groups, absmax)
			each := []float32{spread[0], spread[0], spread[0], spread[1], spread[2]}
			sumsq := make([]float64, rows)
			want := s.Noise(in, scale, site, NoiseRows{Spread: each, Keys: keys, Positions: positions, Steps: make([]uint32, rows)}, sumsq, false)

			sums := s.Zeros([]int64{rows, 2}, Float64, CPU)
			group := s.View(s.Ints(bounds, CPU), rows, 2)
			got := s.NoiseAt(in, s.RowStats(in, absmax), absmax, scale, site, NoiseRowsAt{
				Keys: s.Ints(wideKeys, CPU), Positions: s.Ints(widePositions, CPU), Groups: group, Sums: sums,
			}, true)
			a, b, c := make([]float32, rows*d), make([]float32, rows*d), make([]float64, 2*rows)
			s.ReadFloats(want, a)
			s.ReadFloats(got, b)
			ReadAll(s, sums, c)
			if err := s.Err(); err != nil {
				return err
			}
			worst(t, "noise", a, b, 2e-6*scale*20)
			for i := range rows {
				if d := math.Abs(c[2*i]-sumsq[i]) / sumsq[i]; !(d < 1e-4) {
					t.Errorf("row %d: the sum of squares is %v, want %v", i, c[2*i], sumsq[i])
				}
				if want := float64(each[i]) * float64(each[i]) * 70; !(math.Abs(c[2*i+1]-want) < 1e-5*want) {
					t.Errorf("row %d: the spread's square is %v, want %v", i, c[2*i+1], want)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
