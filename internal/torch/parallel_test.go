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

// TestEveryElementOnce asks for a loop to be over only when each of its elements has been computed once, however many threads look for
// work while it begins and ends. More threads than cores make the meetings that go wrong likely.
func TestEveryElementOnce(t *testing.T) {
	t.Parallel()
	for _, threads := range []int{2, 3, 8} {
		if err := start(t, threads).Do(func(s *Scope) error {
			if bad := s.checkLoops(threads, 100_000); bad > 0 {
				t.Errorf("%d threads: %d of 100,000 loops had an element that was not computed once", threads, bad)
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
	}
}
