package stats

import (
	"math"
	"testing"
)

// TestBestSharesAgreeWithEnumeration compares the bootstrap with all 27 resamples of three clusters.
func TestBestSharesAgreeWithEnumeration(t *testing.T) {
	t.Parallel()
	arms := [][]Cluster{
		{{1, 2}, {0, 2}, {2, 2}},
		{{2, 2}, {0, 1}, {0, 2}},
		{{0, 2}, {2, 2}, {2, 2}},
	}
	want := make([]float64, len(arms))
	for i := range 27 {
		best, top := 0, -1.0
		for a, arm := range arms {
			sum, n := 0.0, 0
			for _, q := range []int{i % 3, i / 3 % 3, i / 9} {
				sum, n = sum+arm[q].Sum, n+arm[q].N
			}
			if m := sum / float64(n); m > top+1e-12 {
				best, top = a, m
			}
		}
		want[best] += 1.0 / 27
	}
	got := BestShares(arms, 40_000, 1, 2)
	sum := 0.0
	for a := range want {
		sum += got[a]
		if math.Abs(got[a]-want[a]) > 0.0125 { // five standard errors
			t.Errorf("arm %d is best in %.4f of the resamples, want %.4f", a, got[a], want[a])
		}
	}
	if math.Abs(sum-1) > 1e-9 {
		t.Errorf("shares add up to %g", sum)
	}
}

func TestBestSharesPreferTheEarlierOfEquals(t *testing.T) {
	t.Parallel()
	arm := []Cluster{{1, 2}, {2, 3}, {0, 1}}
	if got := BestShares([][]Cluster{arm, arm, arm}, 100, 1, 1); math.Abs(got[0]-1) > 1e-9 || got[1] != 0 {
		t.Errorf("%v", got)
	}
	if got := BestShares([][]Cluster{{}, {}}, 100, 1, 1); got[0] != 0 || got[1] != 0 {
		t.Errorf("without clusters: %v", got)
	}
}
