package study

import (
	"math"
	"testing"

	"github.com/gsmeval/gsmeval/internal/condition"
	"github.com/gsmeval/gsmeval/results"
)

// curveOf is a curve of temperatures and accuracies, added in the given order.
func curveOf(points ...[2]float64) *NoiseCurve {
	c := &NoiseCurve{Noise: "activation 0.2", Measure: "accuracy"}
	for i, p := range points {
		c.add(&results.Row{TempIndex: i, N: 10, Accuracy: results.Float(p[1])}, results.Measure{},
			&condition.Constant{}, p[0])
	}
	return c
}

func TestCurveChoosesTheBestTemperature(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		points [][2]float64
		shares []float64 // of the points by distance from 1
		order  []int     // the points' indices by distance from 1
		best   float64
		ci     [2]float64
	}{
		{
			"clear",
			[][2]float64{{1, 0.5}, {0.4, 0.7}, {1.4, 0.2}},
			[]float64{0, 0, 1},
			[]int{0, 2, 1},
			0.4,
			[2]float64{0.4, 0.4},
		},
		{
			"a tie goes to the nearest to 1",
			[][2]float64{{0.4, 0.7}, {0.8, 0.7}, {1.4, 0.7}},
			[]float64{0.5, 0.3, 0.2},
			[]int{1, 2, 0},
			0.8,
			[2]float64{0.4, 1.4},
		},
		{
			"tails are cut",
			[][2]float64{{0.4, 0.1}, {0.8, 0.6}, {1, 0.7}, {1.2, 0.2}},
			[]float64{0.6, 0.36, 0.02, 0.02},
			[]int{2, 1, 3, 0},
			1,
			[2]float64{0.8, 1},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := curveOf(tc.points...)
			c.choose(func(temps []int) []float64 {
				for i, at := range temps {
					if at != tc.order[i] {
						t.Fatalf("asked for the temperatures %v, want %v", temps, tc.order)
					}
				}
				return tc.shares
			})
			if float64(c.Best.T) != tc.best || c.BestT != tc.ci {
				t.Errorf("best %v in %v, want %v in %v", c.Best.T, c.BestT, tc.best, tc.ci)
			}
			for i := 1; i < len(c.Points); i++ {
				if c.Points[i].T <= c.Points[i-1].T {
					t.Errorf("points are not in order: %v", c.Points)
				}
			}
		})
	}
}

func TestCurveKeepsKindsApart(t *testing.T) {
	t.Parallel()
	c := curveOf([2]float64{1, 0.5}, [2]float64{1, 0.5}, [2]float64{0.5, 0.4})
	c.add(&results.Row{Accuracy: 0.9}, results.Measure{}, &condition.ConstantTStar{}, 1.1)
	c.add(&results.Row{Accuracy: 0.8}, results.Measure{}, &condition.GreedyPolicy{}, 0)
	c.add(&results.Row{Accuracy: 0.7}, results.Measure{}, &condition.DynamicTStar{}, 0)
	if len(c.Points) != 2 || len(c.TStar) != 1 || c.Greedy == nil || !math.IsNaN(float64(c.Greedy.T)) {
		t.Errorf("%d points, %d T*, greedy %v", len(c.Points), len(c.TStar), c.Greedy)
	}
	r := CurveReport{Curves: []NoiseCurve{*c, *c}}
	r.Curves[0].Best, r.Curves[1].Best = c.Points[0], c.Points[1]
	if got, err := r.Values("accuracy"); err != nil || got != "[1, 0.5]" {
		t.Errorf("values %s, %v", got, err)
	}
	if _, err := r.Values("pass@4"); err == nil {
		t.Error("values of a measure that is not there")
	}
}
