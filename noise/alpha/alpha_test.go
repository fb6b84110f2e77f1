package alpha

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

type golden struct {
	Made, Torch, Numpy, Scipy string

	Temperatures []float64
	Divergences  []struct {
		Name         string
		Base         float64
		Clean, Noisy []float32
		Alpha, Beta  float64
		Alpha32      float64
		VarE         float64 `json:"var_e"`
		VarP         float64 `json:"var_p"`
		// KL, JS, probability of clean's argmax and cross entropy by temperature; nil where the notebook's is not
		// finite.
		Notebook, Notebook32 [][]*float64
		Reference            [][]float64
		Fitted               float64
	}
	Pooled struct {
		Clean, Noisy [][]float32
		Fitted       float64
	}
	Exponentials []struct {
		Y       []float64
		A, B, C float64
		SSE     float64
	}
	Averages []struct {
		Y      []float64
		Window int
		Smooth []float64
		Valid  []float64
	}
	Intervals []struct {
		Y                []float64
		Mean, SE, Lo, Hi float64
	}
	Crossed []struct {
		Y                [][]float64
		Mean, SE, Lo, Hi float64
	}
	Ratios []struct {
		Y, X        []float64
		Ratio       float64
		JackknifeSE float64 `json:"jackknife_se"`
	}
}

func readGolden(t *testing.T) golden {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "alpha.json"))
	if err != nil {
		t.Fatal(err)
	}
	var g golden
	if err := json.Unmarshal(data, &g); err != nil {
		t.Fatal(err)
	}
	t.Logf("goldens made %s with torch %s, numpy %s, scipy %s", g.Made, g.Torch, g.Numpy, g.Scipy)
	return g
}

// near tells whether got is want within a relative tolerance, and an absolute one for values near 0.
func near(got, want, tolerance float64) bool {
	return math.Abs(got-want) <= tolerance*math.Max(math.Abs(want), 1e-3)
}

func TestMeasureAgreesWithTheNotebook(t *testing.T) {
	t.Parallel()
	for _, c := range readGolden(t).Divergences {
		m := Measure(c.Clean, c.Noisy, c.Base)
		for _, v := range []struct {
			name      string
			got, want float64
			tolerance float64
		}{
			{"alpha", m.Alpha, c.Alpha, 1e-10},
			{"alpha in float32", m.Alpha, c.Alpha32, 1e-5},
			{"beta", m.Beta, c.Beta, 1e-10},
			{"Var(e)", m.VarE, c.VarE, 1e-10},
			{"Var_p(z)", m.VarP, c.VarP, 1e-9},
		} {
			if !near(v.got, v.want, v.tolerance) {
				t.Errorf("%s: %s is %.12g, torch has %.12g", c.Name, v.name, v.got, v.want)
			}
		}
	}
}

// Of a model that is sure the variance under p is that of one rare token: its probability times its distance, squared.
func TestVarianceUnderPWhereTheModelIsSure(t *testing.T) {
	t.Parallel()
	clean := []float32{9000, 8960}
	p := math.Exp(-40) / (1 + math.Exp(-40))
	if got, want := Measure(clean, clean, 1).VarP, p*(1-p)*40*40; math.Abs(got-want) > 1e-9*want {
		t.Errorf("Var_p(z) is %.12g, want %.12g", got, want)
	}
}

func TestDivergeAgreesWithTheNotebook(t *testing.T) {
	t.Parallel()
	g := readGolden(t)
	underflows := 0
	for _, c := range g.Divergences {
		for k, d := range Diverge(c.Clean, c.Noisy, c.Base, g.Temperatures) {
			got := []float64{d.KL, d.JS, d.ProbCorrect, d.CrossEntropy}
			for i, name := range []string{"KL", "JS", "probability", "cross entropy"} {
				if want := c.Reference[k][i]; !near(got[i], want, 1e-9) {
					t.Errorf("%s at T=%g: %s is %.12g, the reference %.12g", c.Name, g.Temperatures[k], name, got[i],
						want)
				}
				// The notebook's own formulas, wherever they give a number: in float32 they lose digits as they
				// subtract.
				if want := c.Notebook[k][i]; want == nil {
					underflows++
				} else if !near(got[i], *want, 1e-7) {
					t.Errorf("%s at T=%g: %s is %.12g, the notebook has %.12g", c.Name, g.Temperatures[k], name, got[i],
						*want)
				}
				if want := c.Notebook32[k][i]; want != nil &&
					math.Abs(got[i]-*want) > 2e-5*math.Max(math.Abs(*want), 1) {
					t.Errorf("%s at T=%g: %s is %.9g, the notebook in float32 has %.9g", c.Name, g.Temperatures[k],
						name, got[i], *want)
				}
			}
		}
	}
	if underflows == 0 {
		t.Error("no case of the goldens underflows")
	}
}

func TestRootAgreesWithDirectMinimisation(t *testing.T) {
	t.Parallel()
	g := readGolden(t)
	for _, c := range g.Divergences {
		if got := Slope(c.Clean, c.Noisy, c.Base).Root(); !near(got, c.Fitted, 5e-4) {
			t.Errorf("%s: T of least KL is %.6g, scipy has %.6g", c.Name, got, c.Fitted)
		}
	}
	pooled := make(Slopes, len(Grid))
	for i := range g.Pooled.Clean {
		pooled.add(Slope(g.Pooled.Clean[i], g.Pooled.Noisy[i], 1))
	}
	if got := pooled.Root(); !near(got, g.Pooled.Fitted, 5e-4) {
		t.Errorf("T of least pooled KL is %.6g, scipy has %.6g", got, g.Pooled.Fitted)
	}
}

func TestRootStaysOnTheGrid(t *testing.T) {
	t.Parallel()
	rising, falling := make(Slopes, len(Grid)), make(Slopes, len(Grid))
	for i := range Grid {
		rising[i], falling[i] = 1, -1
	}
	if got := rising.Root(); got != Grid[0] {
		t.Errorf("slopes above 0: T = %g, want %g", got, Grid[0])
	}
	if got := falling.Root(); got != Grid[len(Grid)-1] {
		t.Errorf("slopes below 0: T = %g, want %g", got, Grid[len(Grid)-1])
	}
}

func TestMovingAverageAgreesWithNumpy(t *testing.T) {
	t.Parallel()
	for _, c := range readGolden(t).Averages {
		got := Smooth(c.Y, MovingAverage, c.Window)
		if d := cmp.Diff(c.Smooth, got, cmpopts.EquateApprox(0, 1e-12)); d != "" {
			t.Errorf("window %d over %d values (-numpy +ours):\n%s", c.Window, len(c.Y), d)
		}
		if len(c.Valid) == 0 {
			continue
		}
		// The notebook's mode="valid" is what is left without the shortened ends.
		from := c.Window / 2
		if d := cmp.Diff(c.Valid, got[from:from+len(c.Valid)], cmpopts.EquateApprox(0, 1e-12)); d != "" {
			t.Errorf("window %d over %d values, within (-numpy +ours):\n%s", c.Window, len(c.Y), d)
		}
	}
}

func TestFitExponentialAgreesWithCurveFit(t *testing.T) {
	t.Parallel()
	for i, c := range readGolden(t).Exponentials {
		a, b, k := FitExponential(c.Y)
		sse := 0.0
		for t, v := range Smooth(c.Y, Exponential, 0) {
			sse += (v - c.Y[t]) * (v - c.Y[t])
		}
		if sse > c.SSE*(1+1e-6) {
			t.Errorf("curve %d: the sum of squares is %.9g, scipy's %.9g", i, sse, c.SSE)
		}
		if !near(a, c.A, 1e-3) || !near(b, c.B, 1e-3) || !near(k, c.C, 1e-3) {
			t.Errorf("curve %d: %.6g exp(-%.6g t) + %.6g, scipy has %.6g exp(-%.6g t) + %.6g", i, a, b, k, c.A, c.B,
				c.C)
		}
	}
}

func TestSmoothingOfShortAndFlatCurves(t *testing.T) {
	t.Parallel()
	for name, y := range map[string][]float64{
		"empty": {}, "one": {0.5}, "two": {0.5, 0.5},
		"flat": {0.5, 0.5, 0.5, 0.5, 0.5},
	} {
		for _, how := range []Smoothing{None, MovingAverage, Exponential} {
			if d := cmp.Diff(y, Smooth(y, how, 10), cmpopts.EquateApprox(0, 1e-12), cmpopts.EquateEmpty()); d != "" {
				t.Errorf("%s, %s (-want +got):\n%s", name, how, d)
			}
		}
	}
}

func TestMeanAgreesWithScipy(t *testing.T) {
	t.Parallel()
	for _, c := range readGolden(t).Intervals {
		got := Mean(c.Y)
		if d := cmp.Diff(Interval{c.Mean, c.SE, c.Lo, c.Hi}, got, cmpopts.EquateApprox(1e-9, 0)); d != "" {
			t.Errorf("%d values (-scipy +ours):\n%s", len(c.Y), d)
		}
	}
	if d := cmp.Diff(Interval{2, 0, 2, 2}, Mean([]float64{2})); d != "" {
		t.Errorf("one value (-want +got):\n%s", d)
	}
}

func TestCrossedAgreesWithNumpyAndScipy(t *testing.T) {
	t.Parallel()
	for _, c := range readGolden(t).Crossed {
		got, ok := Crossed(c.Y)
		if d := cmp.Diff(Interval{c.Mean, c.SE, c.Lo, c.Hi}, got, cmpopts.EquateApprox(1e-9, 0)); d != "" || !ok {
			t.Errorf("%d rows, %d columns (-numpy +ours):\n%s", len(c.Y), len(c.Y[0]), d)
		}
	}
	for _, y := range [][][]float64{nil, {{1, 2}}, {{1}, {2}}} {
		if got, ok := Crossed(y); ok {
			t.Errorf("%v has an interval %v", y, got)
		}
	}
}

// TestCrossedCoversNewChips draws prompts and chips from known distributions: the interval for new chips holds the mean
// as often as it says, and the one over prompts alone does not.
func TestCrossedCoversNewChips(t *testing.T) {
	t.Parallel()
	const trials, prompts, chips, mean = 2000, 16, 3, 0.05
	rng := rand.New(rand.NewPCG(3, 4))
	covered, promptsOnly := 0, 0
	for range trials {
		y := make([][]float64, prompts)
		byPrompt := make([]float64, prompts)
		var chip [chips]float64
		for k := range chip {
			chip[k] = 0.02 * rng.NormFloat64()
		}
		for i := range y {
			p := 0.01 * rng.NormFloat64()
			for k := range chips {
				v := mean + p + chip[k] + 0.005*rng.NormFloat64()
				y[i] = append(y[i], v)
				byPrompt[i] += v / chips
			}
		}
		if in, ok := Crossed(y); ok && in.Lo <= mean && mean <= in.Hi {
			covered++
		}
		if in := Mean(byPrompt); in.Lo <= mean && mean <= in.Hi {
			promptsOnly++
		}
	}
	if covered < trials*93/100 || covered > trials*99/100 {
		t.Errorf("the interval for new chips holds the mean in %d of %d trials, want about 95 %%", covered, trials)
	}
	if promptsOnly > trials*70/100 {
		t.Errorf("the interval over prompts holds the mean in %d of %d trials: the chips should keep it from that",
			promptsOnly, trials)
	}
}

// TestCurveHasAnIntervalForNewChips checks where the second interval stands and what it is of.
func TestCurveHasAnIntervalForNewChips(t *testing.T) {
	t.Parallel()
	c, _ := collected(t, []int{2, 2, 2, 2}, Needs{})
	if p := c.Curve().Points[0]; p.NewChips != nil {
		t.Errorf("draws that are no chips have an interval for new ones: %v", p.NewChips)
	}
	c.Chips = true
	for at, p := range c.Curve().Points {
		var y [][]float64
		for prompt := range 4 {
			y = append(y, nil)
			for draw := range 4 {
				y[prompt] = append(y[prompt], c.Alphas(prompt, draw)[at])
			}
		}
		want, _ := Crossed(y)
		if p.NewChips == nil || *p.NewChips != want || !near(p.NewChips.Mean, p.Alpha, 1e-12) || p.NewChips.SE < p.SE {
			t.Errorf("position %d: %v, want %v around %g", at, p.NewChips, want, p.Alpha)
		}
	}
}

func TestRatioAgreesWithTheJackknife(t *testing.T) {
	t.Parallel()
	for _, c := range readGolden(t).Ratios {
		got := Ratio(c.Y, c.X)
		if !near(got.Mean, c.Ratio, 1e-12) || !near(got.SE, c.JackknifeSE, 2/float64(len(c.Y))) {
			t.Errorf("%d clusters: %.6g ± %.6g, want %.6g ± %.6g", len(c.Y), got.Mean, got.SE, c.Ratio, c.JackknifeSE)
		}
	}
	if got := Ratio([]float64{1, 2}, []float64{0, 0}); !math.IsInf(got.Mean, 0) && !math.IsNaN(got.Mean) {
		t.Errorf("a ratio over 0 is %g", got.Mean)
	}
}

// collected is a collector of three prompts of different lengths and four draws, from the golden's logits.
func collected(t *testing.T, lengths []int, needs Needs) (*Collector, [][]float32) {
	t.Helper()
	g := readGolden(t).Pooled
	c := NewCollector(lengths, 4, 1, needs)
	for prompt, n := range lengths {
		for draw := range 4 {
			for at := range n {
				noisy := make([]float32, len(g.Clean[0]))
				for i, v := range g.Clean[prompt] {
					e := g.Noisy[(prompt+draw+at)%len(g.Noisy)][i] - g.Clean[(prompt+draw+at)%len(g.Clean)][i]
					noisy[i] = v + e/float32(at+1)
				}
				c.Add(prompt, draw, at, g.Clean[prompt], noisy)
			}
		}
	}
	return c, g.Clean
}

func TestCurveAveragesPromptsThatAreAlive(t *testing.T) {
	t.Parallel()
	lengths := []int{3, 5, 5, 4, 2}
	c, _ := collected(t, lengths, Needs{Fit: true})
	curve := c.Curve()
	if len(curve.Points) != 3 { // four prompts of five are alive up to position 2
		t.Fatalf("%d positions, want 3", len(curve.Points))
	}
	for at, p := range curve.Points {
		var means []float64
		for prompt, n := range lengths {
			if at >= n {
				continue
			}
			sum := 0.0
			for draw := range 4 {
				sum += c.Alphas(prompt, draw)[at]
			}
			means = append(means, sum/4)
		}
		want := Mean(means)
		if d := cmp.Diff(want, Interval{p.Alpha, p.SE, p.Lo, p.Hi}, cmpopts.EquateApprox(1e-12, 0)); d != "" ||
			p.N != len(means) {
			t.Errorf("position %d, n = %d, want %d (-want +got):\n%s", at, p.N, len(means), d)
		}
		if at > 0 && p.Fit >= curve.Points[at-1].Fit {
			t.Errorf("position %d: fitted T is %g after %g, though the noise is smaller", at, p.Fit,
				curve.Points[at-1].Fit)
		}
	}
	if curve.Fit <= curve.Points[2].Fit || curve.Fit >= curve.Points[0].Fit {
		t.Errorf("the pooled T %g is not between those of the positions", curve.Fit)
	}
}

func TestCurveOfOnePromptIsOverItsDraws(t *testing.T) {
	t.Parallel()
	c, _ := collected(t, []int{3}, Needs{})
	for at, p := range c.Curve().Points {
		var draws []float64
		for d := range 4 {
			draws = append(draws, c.Alphas(0, d)[at])
		}
		if d := cmp.Diff(Mean(draws), Interval{p.Alpha, p.SE, p.Lo, p.Hi}); d != "" {
			t.Errorf("position %d (-want +got):\n%s", at, d)
		}
	}
}

func TestTemperaturesOfTheForms(t *testing.T) {
	t.Parallel()
	curve := &Curve{Base: 0.5, Draws: 2, Fit: 0.7, Marginal: 0.4, Points: []Point{
		{Alpha: 0.44, Beta: 0.9, VarE: 1, VarP: 4, VarN: 3, CovP: 2, VarPair: 0, Weight: 1, Fit: 0.8, Marginal: 0.4},
		{
			Alpha: 0.21, Beta: 1, VarE: 1, VarP: 1, VarN: 4, CovP: 5, VarPair: 0.09 * 8 / math.Pi, Weight: 3, Fit: 0.6,
			Marginal: 0.5 / coldest,
		},
		{Alpha: 0, Beta: 0.5, VarE: 0, VarP: 0, VarN: 2, CovP: 2, VarPair: 8, Weight: 0, Fit: Grid[0], Marginal: 0.45},
	}}
	for _, c := range []struct {
		form     Form
		constant float64
		dynamic  []float64
	}{
		{Sqrt, 0.5 * math.Sqrt(1+0.65/3), []float64{0.6, 0.55, 0.5}},
		{Linear, 0.5 * (1 + 0.65/3), []float64{0.72, 0.605, 0.5}},
		{Exact, 0.5 * (1 + 2.0/5), []float64{0.625, 1, 0.5}},
		{Fitted, 0.7, []float64{0.8, 0.6, 0}}, // an end of the range is no temperature
		{StdRatio, 0.5 * math.Sqrt(1+(0.24+0.21-1)/3), []float64{0.5 * math.Sqrt(1.24), 0.55, 0}},
		{Fisher, 0.5, []float64{0.75, 0.4, 0.5}},
		{Marginal, 0.4, []float64{0.4, 0, 0.45}},
		{Probit, math.Sqrt(0.25 - 0.09*3/4), []float64{0.5, 0.4, 0}},
	} {
		constant, err := curve.Constant(c.form)
		if err != nil || !near(constant, c.constant, 1e-12) {
			t.Errorf("%s: constant T* is %g (%v), want %g", c.form, constant, err, c.constant)
		}
		dynamic, err := curve.Dynamic(c.form, None, 1)
		if d := cmp.Diff(c.dynamic, dynamic, cmpopts.EquateApprox(1e-12, 0)); err != nil || d != "" {
			t.Errorf("%s: T*(t), error %v (-want +got):\n%s", c.form, err, d)
		}
	}
	for name, ask := range map[string]func() error{
		"no positions, constant": func() error { _, err := (&Curve{}).Constant(Sqrt); return err },
		"no positions, dynamic":  func() error { _, err := (&Curve{}).Dynamic(Sqrt, None, 1); return err },
		"not fitted, constant": func() error {
			_,
				err := (&Curve{Points: curve.Points}).Constant(Fitted)
			return err
		},
		"not fitted, dynamic": func() error {
			_, err := (&Curve{Points: curve.Points}).Dynamic(Fitted, None,
				1)
			return err
		},
		"no marginal, constant": func() error {
			_,
				err := (&Curve{Points: curve.Points}).Constant(Marginal)
			return err
		},
		"one draw, constant": func() error {
			_,
				err := (&Curve{Points: curve.Points}).Constant(Probit)
			return err
		},
		"no covariance, dynamic": func() error {
			_, err := (&Curve{Points: make([]Point, 1)}).Dynamic(Fisher, None,
				1)
			return err
		},
		"unknown, constant": func() error { _, err := curve.Constant("cubic"); return err },
		"unknown, dynamic":  func() error { _, err := curve.Dynamic("cubic", None, 1); return err },
	} {
		if ask() == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestWithoutNoiseNothingIsCorrected(t *testing.T) {
	t.Parallel()
	z := readGolden(t).Pooled.Clean[0]
	m := Measure(z, z, 1)
	if m.Alpha != 0 || m.VarE != 0 || !near(m.Beta, 1, 1e-12) {
		t.Errorf("moments %+v", m)
	}
	if got := Slope(z, z, 1).Root(); !near(got, 1, 1e-6) {
		t.Errorf("fitted T is %g, want 1", got)
	}
	for _, d := range Diverge(z, z, 1, []float64{1}) {
		if d.KL > 1e-14 || d.JS > 1e-14 {
			t.Errorf("divergence %+v", d)
		}
	}
}
