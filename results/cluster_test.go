package results

import (
	"math"
	"testing"

	"github.com/gsmeval/gsmeval/internal/finish"
	"github.com/gsmeval/gsmeval/scoring"
	"github.com/gsmeval/gsmeval/scoring/stats"
)

// Questions of one cluster are right and wrong together: the standard error is that of the clusters, not of the questions.
func TestClusters(t *testing.T) {
	t.Parallel()
	const questions, each = 40, 4
	se := map[bool]float64{}
	for _, clustered := range []bool{false, true} {
		meta := Meta{
			Fingerprint: "f", Name: "n", Examples: questions, Noises: []Noise{{Label: "none"}}, Temps: []Temp{{Label: "greedy"}},
			Conditions: []Condition{{Replicates: 1, Deterministic: true}},
		}
		s, err := newSet(meta)
		if err != nil {
			t.Fatal(err)
		}
		for order := range questions {
			r := Record{Run: "f", Noise: "none", Temperature: "greedy", ID: order, Order: order, Finish: finish.Stop, Status: scoring.StatusOK, Correct: order/each%2 == 0}
			if clustered {
				r.Cluster = string(rune('a' + order/each))
			}
			if err := s.add(&r); err != nil {
				t.Fatal(err)
			}
		}
		g := s.groups()
		if g.shared != clustered {
			t.Errorf("shared is %v", g.shared)
		}
		clusters := s.cells[[2]int{0, 0}].clusters(g)
		if want := map[bool]int{false: questions, true: questions / each}[clustered]; len(clusters) != want {
			t.Errorf("%d clusters, want %d", len(clusters), want)
		}
		se[clustered] = stats.ClusterSE(clusters)
	}
	// Ten clusters of which five are right have the standard error of ten questions.
	if want := 0.5 / math.Sqrt(10-1); math.Abs(se[true]-want) > 1e-12 && math.Abs(se[true]-0.5/math.Sqrt(10)) > 1e-12 || se[true] <= se[false] {
		t.Errorf("standard errors %v; want about %g for clusters", se, want)
	}
}
