package noise

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"

	"github.com/gsmeval/gsmeval/internal/torch"
	"github.com/gsmeval/gsmeval/noise/philox"
)

// draw names a stream of normals by what it is drawn for.
type draw struct {
	position, site, step uint32
	key                  uint64
}

// float64s are the first n normals of a stream, by the Go reference.
func (d draw) float64s(n int) []float64 {
	x := make([]float64, 0, n+3)
	for b := range (n + 3) / 4 {
		block := philox.Normals(philox.Words(philox.Counter{uint32(b), d.position, d.site, d.step}, philox.Key(d.key)))
		x = append(x, block[:]...)
	}
	return x[:n]
}

// fused are the first n normals of a stream, by the kernel that perturbs.
func (d draw) fused(t testing.TB, w *torch.Worker, n int) []float64 {
	t.Helper()
	v := make([]float32, (n+3)/4*4)
	do(t, w, func(s *torch.Scope) { s.Fail(torch.Normals(v, 0, d.position, d.site, d.step, d.key, false)) })
	x := make([]float64, n)
	for i := range x {
		x[i] = float64(v[i])
	}
	return x
}

// kolmogorov is the one-sample Kolmogorov-Smirnov statistic against the standard normal, sup |F_n - F|.
func kolmogorov(x []float64) float64 {
	sorted := slices.Clone(x)
	slices.Sort(sorted)
	d, n := 0.0, float64(len(x))
	for i, v := range sorted {
		f := distuv.UnitNormal.CDF(v)
		d = max(d, f-float64(i)/n, float64(i+1)/n-f)
	}
	return d
}

// TestNormalsAgainstScipy holds the statistics of whole streams against scipy's of a generator written in numpy.
func TestNormalsAgainstScipy(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(filepath.Join("testdata", "stats.json"))
	if err != nil {
		t.Fatal(err)
	}
	var g struct {
		Made, Scipy, Numpy string
		N                  int
		KSCritical         float64 `json:"ks_critical"`
		Streams            []struct {
			Key                                          uint64
			Position, Site, Step                         uint32
			First                                        []float64
			Last, Mean, Variance, Skewness, Kurtosis, KS float64
		}
		Pairs []struct {
			A, B [4]uint64 // position, site, step, key
			R    float64
		}
	}
	if err := json.Unmarshal(data, &g); err != nil {
		t.Fatal(err)
	}
	if len(g.Streams) == 0 || len(g.Pairs) == 0 {
		t.Fatal("the golden file is empty")
	}
	w := start(t, 1)
	near := func(what string, want, got, tolerance float64) {
		t.Helper()
		if !(math.Abs(want-got) <= tolerance) {
			t.Errorf("%s is %.12g, scipy has %.12g", what, got, want)
		}
	}
	for _, c := range g.Streams {
		d := draw{c.Position, c.Site, c.Step, c.Key}
		for name, x := range map[string][]float64{"Go": d.float64s(g.N), "fused": d.fused(t, w, g.N)} {
			tolerance := 1e-10
			if name == "fused" {
				tolerance = normalTolerance
			}
			for i, v := range c.First {
				near(name+" normal", v, x[i], tolerance)
			}
			near(name+" last normal", c.Last, x[g.N-1], tolerance)
			near(name+" mean", c.Mean, stat.Mean(x, nil), tolerance)
			near(name+" variance", c.Variance, stat.Variance(x, nil), tolerance)
			ks := kolmogorov(x)
			near(name+" KS statistic", c.KS, ks, 1e-6)
			if ks > g.KSCritical {
				t.Errorf("%s: the KS statistic %v of %+v is above scipy's critical value %v", name, ks, d, g.KSCritical)
			}
		}
	}
	for _, p := range g.Pairs {
		of := func(v [4]uint64) []float64 { return draw{uint32(v[0]), uint32(v[1]), uint32(v[2]), v[3]}.float64s(g.N) }
		near("correlation", p.R, stat.Correlation(of(p.A), of(p.B), nil), 1e-10)
	}
	t.Logf("%d streams of %d normals agree with scipy %s, numpy %s (%s)", len(g.Streams), g.N, g.Scipy, g.Numpy, g.Made)
}

// TestNormalsAreIndependentStandardNormals looks at the numbers that perturb, over everything that they are drawn for.
//
// Bounds: with m checks in all and a false alarm of 1e-6 for the whole test, each has delta = 1e-6/m and the two-sided
// normal quantile z = Phi^-1(1 - delta/2). For n numbers: |mean| < z/sqrt(n), |variance - 1| < z sqrt(2/(n-1)),
// |skewness| < z sqrt(6/n), |excess kurtosis| < z sqrt(24/n), |correlation| < z/sqrt(n), and by Dvoretzky, Kiefer, Wolfowitz and
// Massart KS < sqrt(ln(2/delta)/(2n)). The draws are a pure function of the keys, so that the test always ends the
// same.
func TestNormalsAreIndependentStandardNormals(t *testing.T) {
	t.Parallel()
	const n = 100_000
	w := start(t, 1)
	key := func(seed uint64, replicate int, example string) uint64 {
		return uint64(philox.NewKey(philox.Activation, seed, replicate, example))
	}
	base := draw{position: 41, site: 8, key: key(42, 0, "7")}
	with := func(change func(*draw)) draw {
		d := base
		change(&d)
		return d
	}
	streams := map[string]draw{
		"base":                  base,
		"next position":         with(func(d *draw) { d.position++ }),
		"first position":        with(func(d *draw) { d.position = 0 }),
		"far position":          with(func(d *draw) { d.position += 1 << 16 }),
		"next site (k after q)": with(func(d *draw) { d.site++ }),
		"v":                     with(func(d *draw) { d.site += 2 }),
		"next layer":            with(func(d *draw) { d.site += 8 }),
		"lm_head":               with(func(d *draw) { d.site = math.MaxUint32 }),
		"next step":             with(func(d *draw) { d.step++ }),
		"next example":          with(func(d *draw) { d.key = key(42, 0, "8") }),
		"next noise seed":       with(func(d *draw) { d.key = key(42, 1, "7") }),
		"next seed":             with(func(d *draw) { d.key = key(43, 0, "7") }),
		"adjacent key":          with(func(d *draw) { d.key++ }),
		"position and site":     with(func(d *draw) { d.position, d.site = d.site, d.position }),
	}
	lags := []int{1, 2, 3, 4, 5, 127, 128, 896}
	checks := len(streams)*5 + len(streams)*(len(streams)-1)/2 + 2*len(lags)
	delta := 1e-6 / float64(checks)
	z := distuv.UnitNormal.Quantile(1 - delta/2)
	bound := func(what string, got, limit float64) {
		t.Helper()
		if !(math.Abs(got) < limit) {
			t.Errorf("%s is %v, beyond %v", what, got, limit)
		}
	}
	x, names := map[string][]float64{}, []string{}
	for name, d := range streams {
		v := d.fused(t, w, n)
		x[name], names = v, append(names, name)
		bound(name+": mean", stat.Mean(v, nil), z/math.Sqrt(n))
		bound(name+": variance - 1", stat.Variance(v, nil)-1, z*math.Sqrt(2/float64(n-1)))
		bound(name+": skewness", stat.Skew(v, nil), z*math.Sqrt(6.0/n))
		bound(name+": excess kurtosis", stat.ExKurtosis(v, nil), z*math.Sqrt(24.0/n))
		bound(name+": KS", kolmogorov(v), math.Sqrt(math.Log(2/delta)/(2*n)))
	}
	slices.Sort(names)
	for i, a := range names {
		for _, b := range names[:i] {
			bound("correlation of "+a+" and "+b, stat.Correlation(x[a], x[b], nil), z/math.Sqrt(n))
		}
	}
	squares := make([]float64, n)
	for i, v := range x["base"] {
		squares[i] = v * v
	}
	for _, lag := range lags {
		m := float64(n - lag)
		bound("correlation of elements at a distance", stat.Correlation(x["base"][lag:], x["base"][:n-lag], nil),
			z/math.Sqrt(m))
		// Box-Muller's pairs share a radius: their squares must be uncorrelated too.
		bound("correlation of squares at a distance", stat.Correlation(squares[lag:], squares[:n-lag], nil),
			z/math.Sqrt(m))
	}
	t.Logf("%d checks of %d normals each: z = %.2f, |mean| and |correlation| below %.4f, KS below %.4f", checks, n, z,
		z/math.Sqrt(n), math.Sqrt(math.Log(2/delta)/(2*n)))
}
