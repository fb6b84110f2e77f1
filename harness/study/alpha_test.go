package study

import (
	"bytes"
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gsmeval/gsmeval/decode"
	"github.com/gsmeval/gsmeval/decode/checkpoint"
	"github.com/gsmeval/gsmeval/decode/model"
	"github.com/gsmeval/gsmeval/internal/condition"
	"github.com/gsmeval/gsmeval/internal/torch"
	"github.com/gsmeval/gsmeval/noise/alpha"
	"github.com/gsmeval/gsmeval/results"
)

// openModel loads a checkpoint without its text side: prompts are ids.
func openModel(t *testing.T, dir string) *decode.LM {
	t.Helper()
	cfg, err := checkpoint.ReadConfig(dir)
	if err != nil {
		t.Fatal(err)
	}
	weights, err := checkpoint.OpenWeights(dir)
	if err != nil {
		t.Fatal(err)
	}
	w, err := torch.Start(1)
	if err != nil {
		t.Fatal(err)
	}
	lm := &decode.LM{Worker: w}
	if err := w.Do(func(s *torch.Scope) (err error) {
		lm.Model, err = model.Load(s, cfg, weights, model.Options{DType: torch.Float32, Device: torch.CPU})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Do(func(*torch.Scope) error { lm.Model.Free(); return nil }); err != nil {
			t.Error(err)
		}
		w.Close()
		if err := weights.Close(); err != nil {
			t.Error(err)
		}
	})
	return lm
}

func parity(t *testing.T, name string) *decode.LM {
	t.Helper()
	return openModel(t, filepath.Join("..", "..", "decode", "testdata", "parity", name))
}

func measureAlpha(t *testing.T, lm *decode.LM, o AlphaOptions) *AlphaReport {
	t.Helper()
	r, err := MeasureAlpha(t.Context(), lm, o, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestFixedContextIsTeacherForcingAtThatPosition shows that the notebook's 6b measures what its 6a does at t = L.
func TestFixedContextIsTeacherForcingAtThatPosition(t *testing.T) {
	t.Parallel()
	r := measureAlpha(t, parity(t, "qwen2-tied-gqa2"), AlphaOptions{
		Prompts: [][]int{{5, 17, 99}, {1, 2, 3, 4, 5, 6, 7}}, Noises: NotebookNoises(), Positions: 50, Draws: 40,
		KVCache: true, Seed: 3, Base: 1,
	})
	for _, n := range r.Noises {
		var lengths []int
		for _, l := range n.FixedContext.Lengths {
			lengths = append(lengths, l.Length)
			if l.Difference == nil || math.Abs(*l.Difference) > 4 {
				t.Errorf("%s: 6b at L = %d is %.5f, 6a at t = L is %.5f: %v standard errors", n.Noise, l.Length,
					l.Alpha.Mean, l.ByPosition.Mean, *l.Difference)
			}
			if l.Alpha == l.ByPosition {
				t.Errorf("%s: 6b at L = %d has 6a's own random numbers", n.Noise, l.Length)
			}
		}
		if d := cmp.Diff([]int{5, 10, 20, 50}, lengths); d != "" {
			t.Errorf("lengths (-want +got):\n%s", d)
		}
	}
}

// TestReferenceOfFixedContextIsTheCurve shows that what 6b is compared with is 6a's own curve, where that has no cache.
func TestReferenceOfFixedContextIsTheCurve(t *testing.T) {
	t.Parallel()
	r := measureAlpha(t, parity(t, "qwen2-tied-gqa2"), AlphaOptions{
		Prompts: [][]int{{5, 17, 99}, {1, 2, 3}}, Noises: NotebookNoises(), Positions: 11, Draws: 2, Seed: 3, Base: 1,
	})
	for _, n := range r.Noises {
		for _, l := range n.FixedContext.Lengths {
			if p := n.ByPosition.Curve.Points[l.Length]; !closeTo(p.Alpha, l.ByPosition.Mean) ||
				!closeTo(p.SE, l.ByPosition.SE) {
				t.Errorf("%s: the curve at t = %d is %g ± %g, the reference %g ± %g", n.Noise, l.Length, p.Alpha, p.SE,
					l.ByPosition.Mean, l.ByPosition.SE)
			}
		}
	}
}

func closeTo(a, b float64) bool { return math.Abs(a-b) <= 1e-9*math.Abs(b) }

func TestAlphaReportIsConsistent(t *testing.T) {
	t.Parallel()
	o := AlphaOptions{
		Prompts: [][]int{{5, 17, 99}, {1, 2, 3, 4, 5, 6, 7}, {8}}, Noises: NotebookNoises(), Positions: 25, Draws: 2,
		KVCache: true, Seed: 3, Base: 0.5,
	}
	lm := parity(t, "qwen2-untied-gqa1")
	r := measureAlpha(t, lm, o)
	for i, ids := range r.Continuations {
		if len(ids) != o.Positions {
			t.Errorf("continuation %d has %d tokens, want %d", i, len(ids), o.Positions)
		}
	}
	for _, n := range r.Noises {
		a := n.ByPosition.Curve.Alphas()
		if len(a) != o.Positions || len(n.ByPosition.Smoothed) != o.Positions {
			t.Fatalf("%s: %d positions, %d smoothed, want %d", n.Noise, len(a), len(n.ByPosition.Smoothed), o.Positions)
		}
		for at, v := range alpha.Smooth(a, alpha.MovingAverage, 10) {
			if !closeTo(n.ByPosition.Smoothed[at].Mean, v) {
				t.Errorf("%s: smoothed alpha at %d is %g, want %g", n.Noise, at, n.ByPosition.Smoothed[at].Mean, v)
			}
		}
		first, last := meanOf(a[:10]), meanOf(a[len(a)-10:])
		if !closeTo(n.ByPosition.First.Mean, first) || !closeTo(n.ByPosition.Last.Mean, last) ||
			!closeTo(n.ByPosition.Ratio.Mean, first/last) {
			t.Errorf("%s: first %v, last %v, ratio %v; want %g, %g", n.Noise, n.ByPosition.First, n.ByPosition.Last,
				n.ByPosition.Ratio, first, last)
		}
		for _, c := range n.LastTokens.Cells {
			if c.T < c.L {
				t.Errorf("%s: a context of %d tokens at t = %d reaches into the prompt", n.Noise, c.L, c.T)
			}
		}
		if d := cmp.Diff([]int{5, 20, 0}, n.LastTokens.lengths()); d != "" {
			t.Errorf("%s: lengths of the control (-want +got):\n%s", n.Noise, d)
		}
		for _, f := range n.Temperatures {
			if len(f.ByT) != o.Positions || f.Min > f.Constant || f.Max < f.Constant || f.Min < o.Base {
				t.Errorf("%s: T* %s of %d positions, from %g to %g, constant %g", n.Noise, f.Form, len(f.ByT), f.Min,
					f.Max, f.Constant)
			}
		}
		if sqrt := n.Temperatures[0]; !closeTo(sqrt.ByT[3], 0.5*math.Sqrt(1+a[3])) {
			t.Errorf("%s: T*(3) is %g at alpha %g", n.Noise, sqrt.ByT[3], a[3])
		}
	}
	if again := measureAlpha(t, lm, o); !cmp.Equal(r, again) {
		t.Errorf("measured again, the report differs:\n%s", cmp.Diff(r, again))
	}
}

func TestAlphaReportIsWritten(t *testing.T) {
	t.Parallel()
	lm := parity(t, "qwen2-untied-gqa1")
	for name, c := range map[string]struct {
		o     AlphaOptions
		files []string
		text  []string
	}{
		"prompts": {
			AlphaOptions{
				Prompts: [][]int{{5, 17, 99}, {1, 2}}, Noises: NotebookNoises(), Positions: 12, Draws: 2,
				KVCache: true, Base: 1,
			},
			[]string{"6a_alpha_vs_position", "6b_control_last_tokens", "6b_fixed_context", "6c_temperature"},
			[]string{
				"First 10", "| activation 0.05 | 5 |", "controls for nothing (measured", "| weight 0.05 | exact |",
				"interval over prompts",
			},
		},
		"one value": {
			AlphaOptions{Prompts: [][]int{{5}}, Noises: NotebookNoises()[:1], Positions: 1, Draws: 1, Base: 1},
			[]string{"6a_alpha_vs_position", "6c_temperature"},
			[]string{"First 1 |", "No context of 6b fits into 1 positions."},
		},
		"one draw": {
			AlphaOptions{Prompts: [][]int{{5}}, Noises: NotebookNoises()[1:], Positions: 11, Draws: 1, Base: 1},
			[]string{"6a_alpha_vs_position", "6b_control_last_tokens", "6b_fixed_context", "6c_temperature"},
			[]string{"controls for nothing.\n"},
		},
	} {
		dir := filepath.Join(t.TempDir(), "alpha")
		r := measureAlpha(t, lm, c.o)
		if err := r.Write(dir); err != nil {
			t.Fatal(err)
		}
		want := []string{"alpha.json"}
		for _, f := range c.files {
			want = append(want, f+".png", f+".svg")
		}
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range entries {
			got = append(got, e.Name())
		}
		slices.Sort(want)
		slices.Sort(got)
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: files (-want +got):\n%s", name, d)
		}
		data, err := os.ReadFile(filepath.Join(dir, "alpha.json"))
		if err != nil {
			t.Fatal(err)
		}
		back := &AlphaReport{}
		if err := json.Unmarshal(data, back); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(r, back); d != "" {
			t.Errorf("%s: alpha.json (-measured +read):\n%s", name, d)
		}
		text := r.Markdown()
		for _, part := range c.text {
			if !strings.Contains(text, part) {
				t.Errorf("%s: %q is not in\n%s", name, part, text)
			}
		}
		if strings.Contains(text, "NaN") || c.o.Draws == 1 && strings.Contains(text, "± 0.0000 |") &&
			!strings.Contains(text, "standard deviation") {
			t.Errorf("%s: an interval of one value, or no number, in\n%s", name, text)
		}
	}
}

func TestAlphaCurveOfOnePrompt(t *testing.T) {
	t.Parallel()
	lm := parity(t, "qwen2-tied-gqa2")
	o := AlphaOptions{
		Prompts: [][]int{{5, 17, 99}}, Noises: NotebookNoises(), Positions: 6, Draws: 4, KVCache: true,
		Seed: 9,
	}
	c, err := MeasureAlphaCurve(t.Context(), lm, o)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Alpha) != 6 || len(c.SE) != 6 || len(c.IDs) != 6 || !closeTo(c.AlphaMean, meanOf(c.Alpha)) ||
		!closeTo(c.TStar, math.Sqrt(1+c.AlphaMean)) {
		t.Errorf("curve %+v", c)
	}
	report := measureAlpha(t, lm, AlphaOptions{
		Prompts: o.Prompts, Noises: o.Noises[:1], Positions: 6, Draws: 4,
		KVCache: true, Seed: 9, Base: 1,
	})
	if d := cmp.Diff(report.Noises[0].ByPosition.Curve.Alphas(), c.Alpha); d != "" {
		t.Errorf("the report's curve is another (-report +curve):\n%s", d)
	}
	o.Draws = 1
	if c, err = MeasureAlphaCurve(t.Context(), lm, o); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(make([]float64, 6), c.SE); d != "" {
		t.Errorf("standard errors of one draw (-want +got):\n%s", d)
	}
}

func TestAlphaNeedsANoiseThatActs(t *testing.T) {
	t.Parallel()
	nothing := condition.Noise{Kind: condition.Weight, Scale: 0.1, Include: []string{"no_such_name"}}
	o := AlphaOptions{Prompts: [][]int{{5}}, Noises: []condition.Noise{nothing}, Positions: 3, Draws: 1, Base: 1}
	lm := parity(t, "qwen2-untied-gqa1")
	if _, err := MeasureAlpha(t.Context(), lm, o, t.Logf); err == nil ||
		!strings.Contains(err.Error(), `"weight 0.1 include no_such_name"`) {
		t.Errorf("error %v", err)
	}
	o.Noises, o.Positions = NotebookNoises(), 2000
	if _, err := MeasureAlpha(t.Context(), lm, o, t.Logf); err == nil ||
		!strings.Contains(err.Error(), "longer than the 1024 positions") {
		t.Errorf("past the model's context: error %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	o.Positions = 3
	if _, err := MeasureAlpha(ctx, lm, o, t.Logf); err == nil {
		t.Error("a cancelled measurement went on")
	}
}

func TestTempsFindTheTemperatureOfLeastKL(t *testing.T) {
	t.Parallel()
	lm := parity(t, "qwen2-tied-gqa2")
	prompts := [][]int{{5, 17, 99}, {1, 2, 3, 4, 5, 6, 7}, {8, 9}}
	continuations, err := lm.Continue(t.Context(), prompts, 8, true)
	if err != nil {
		t.Fatal(err)
	}
	continuations[2] = continuations[2][:5] // one that ends early: the curve ends with it
	for _, name := range []string{"three prompts", "one prompt"} {
		if name == "one prompt" {
			prompts, continuations = prompts[:1], continuations[:1]
		}
		r := &TempsReport{Prompts: len(prompts), Draws: 3, KVCache: true, Base: 1}
		n := condition.Noise{Kind: condition.Activation, Scale: 0.4}
		if r.Rows, err = r.measure(t.Context(), lm, n, prompts, continuations, []float64{0.4, 1, 1.1, 3}); err != nil {
			t.Fatal(err)
		}
		if len(r.Rows) != 8 || !slices.IsSortedFunc(r.Rows, func(a,
			b TempsRow,
		) int {
			return int(math.Copysign(1, a.Temperature-b.Temperature))
		}) {
			t.Fatalf("%s: rows %+v", name, r.Rows)
		}
		var fitted TempsRow
		for _, row := range r.Rows {
			if row.TStar == alpha.Fitted {
				fitted = row
			}
		}
		for _, row := range r.Rows {
			if row.KL.Mean < fitted.KL.Mean {
				t.Errorf("%s: KL at T = %g is %g, at the fitted %g it is %g", name, row.Temperature, row.KL.Mean,
					fitted.Temperature, fitted.KL.Mean)
			}
			want := map[string]int{"three prompts": 15, "one prompt": 8}[name]
			if row.Positions != want {
				t.Errorf("%s: averaged over %d positions, want %d", name, row.Positions, want)
			}
			if !(row.KL.Lo < row.KL.Mean && row.KL.Mean < row.KL.Hi) || row.JS.Mean > math.Ln2 ||
				row.ProbArgmax.Mean > 1 || row.CrossEntropy.Mean < row.KL.Mean {
				t.Errorf("%s: row %+v", name, row)
			}
		}
		for format, part := range map[results.Format]string{
			results.FormatMarkdown: "| T* fitted |", results.FormatCSV: "noise,temperature,t_star,positions,kl,kl_se",
			results.FormatJSON: `"t_star": "fitted"`,
		} {
			var b bytes.Buffer
			if err := r.Write(&b, format); err != nil || !strings.Contains(b.String(), part) {
				t.Errorf("%s, %s: error %v, %q is not in\n%s", name, format, err, part, b.String())
			}
		}
		if err := r.Write(&bytes.Buffer{}, results.FormatTeX); err == nil {
			t.Error("tex is written")
		}
		if err := r.WriteFigure(filepath.Join(t.TempDir(), "temps")); err != nil {
			t.Error(err)
		}
	}
}
