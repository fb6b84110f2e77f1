package results

import (
	"math"
	"strings"
	"testing"

	"github.com/gsmeval/gsmeval/internal/finish"
	"github.com/gsmeval/gsmeval/scoring"
	"github.com/gsmeval/gsmeval/scoring/stats"
)

// Questions of one cluster are right and wrong together: the standard error is that of the clusters, not of the
// questions.
func TestClusters(t *testing.T) {
	t.Parallel()
	const questions, each = 40, 4
	se := map[bool]float64{}
	for _, clustered := range []bool{false, true} {
		meta := Meta{
			Fingerprint: "f", Name: "n", Examples: questions, Noises: []Noise{{Label: "none"}},
			Temps:      []Temp{{Label: "greedy"}},
			Conditions: []Condition{{Replicates: 1, Deterministic: true}},
		}
		s, err := newSet(meta)
		if err != nil {
			t.Fatal(err)
		}
		for order := range questions {
			r := Record{
				Run: "f", Noise: "none", Temperature: "greedy", ID: order, Order: order, Finish: finish.Stop,
				Status: scoring.StatusOK, Correct: order/each%2 == 0,
			}
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
		table := s.Table()
		c, err := Compare([]Source{{Name: "a", Set: s}, {Name: "b", Set: s}}, CompareOptions{})
		if err != nil {
			t.Fatal(err)
		}
		notes := strings.Join(append(table.Notes, c.Notes...), "\n")
		for _, words := range []string{
			"SE clustered by cluster", "bootstrap resamples of clusters",
			"sign-flip test by cluster", "columns.cluster in common: there are 10.",
		} {
			if strings.Contains(notes, words) != clustered {
				t.Errorf("clustered %v: the notes say %q: %v\n%s", clustered, words, !clustered, notes)
			}
		}
		if want := map[bool]int{true: questions / each}[clustered]; table.Clusters != want ||
			c.Pairs[0].Clusters != want {
			t.Errorf("%d and %d clusters, want %d", table.Clusters, c.Pairs[0].Clusters, want)
		}
	}
	// Ten clusters of which five are right have the standard error of ten questions.
	if want := 0.5 / math.Sqrt(10-1); math.Abs(se[true]-want) > 1e-12 && math.Abs(se[true]-0.5/math.Sqrt(10)) > 1e-12 ||
		se[true] <= se[false] {
		t.Errorf("standard errors %v; want about %g for clusters", se, want)
	}
}
