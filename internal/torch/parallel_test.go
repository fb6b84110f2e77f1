package torch

import (
	"math"
	"sync"
	"testing"
)

// TestManyShortLoops drives the threads of several workers through many loops, some with a pause before them in which they fall asleep, and
// compares with one thread.
func TestManyShortLoops(t *testing.T) {
	t.Parallel()
	const rows, d, rounds = 64, 300, 400
	run := func(threads int) []float32 {
		out := make([]float32, rows*d)
		if err := start(t, threads).Do(func(s *Scope) error {
			x, w := s.Keep(s.Floats(waves(rows*d, 0.7), []int64{rows, d}, CPU)), s.Floats(waves(d, 0.2), []int64{d}, CPU)
			for i := range rounds {
				mark := s.Mark()
				y := s.Keep(s.RMSNorm(x, w, 1e-6))
				x.Free()
				s.Release(mark)
				if x = y; i%100 == 0 {
					Scan(make([]float32, 10_000_000)) // longer than threads look for work
				}
			}
			s.ReadFloats(x, out)
			x.Free()
			return s.Err()
		}); err != nil {
			t.Error(err)
		}
		return out
	}
	want := run(1)
	var wg sync.WaitGroup
	for _, threads := range []int{2, 3, 5, 8} {
		wg.Go(func() {
			for i, v := range run(threads) {
				if math.Float32bits(v) != math.Float32bits(want[i]) {
					t.Errorf("%d threads: number %d is %v, want %v", threads, i, v, want[i])
					return
				}
			}
		})
	}
	wg.Wait()
}
