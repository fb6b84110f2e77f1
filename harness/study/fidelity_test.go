package study

import (
	"bytes"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/gsmeval/gsmeval/decode"
	"github.com/gsmeval/gsmeval/harness/calibrate"
	"github.com/gsmeval/gsmeval/internal/condition"
	"github.com/gsmeval/gsmeval/internal/config"
	"github.com/gsmeval/gsmeval/noise/fidelity"
)

// fidelityGolden is what scripts/goldens/fidelity.py measured on one model with transformers, in float64.
type fidelityGolden struct {
	Made, Torch, Transformers, Model, SHA256 string

	Prompt, Continuation []int
	Cases                []struct {
		Noise         string
		Draws         int
		Base          float64
		ByTemperature []struct {
			T            float64
			KLD          fidelity.KLD
			KLDError     float64                `json:"kld_se"`
			Marginal     *fidelity.MarginalMean `json:"marginal_kld"`
			SameTop      float64                `json:"same_top"`
			SameTopError float64                `json:"same_top_se"`
			SquareDP     float64                `json:"mean_square_dp"`
			SquareDPErr  float64                `json:"mean_square_dp_se"`
			LogPPL       float64                `json:"log_ppl_ratio"`
			LogPPLError  float64                `json:"log_ppl_ratio_se"`
		} `json:"by_temperature"`
	}
}

// open loads the golden's model, or skips where it was not fetched.
func (g fidelityGolden) open(t *testing.T) *decode.LM {
	t.Helper()
	path, err := filepath.EvalSymlinks(filepath.Join("..", "..", filepath.FromSlash(g.Model)))
	if err != nil {
		t.Skipf("%s is not there; make smollm2 fetches SmolLM2", g.Model)
	}
	weights := path
	if !strings.HasSuffix(path, ".gguf") {
		weights = filepath.Join(path, "model.safetensors")
	}
	data, err := os.ReadFile(weights)
	if err != nil {
		t.Fatal(err)
	}
	if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != g.SHA256 {
		t.Fatalf("%s has other weights than the golden was made of; run scripts/goldens/fidelity.py %s", g.Model,
			g.Model)
	}
	return openModel(t, path)
}

func (g fidelityGolden) options(t *testing.T, noise string, draws int, base float64,
	temperatures ...float64,
) FidelityOptions {
	t.Helper()
	n, err := config.ParseNoise("noise", noise)
	if err != nil {
		t.Fatal(err)
	}
	return FidelityOptions{
		Prompts: [][]int{g.Prompt}, Texts: []Continuations{{fidelity.Given, [][]int{g.Continuation}}},
		Noises: []condition.Noise{n},
		Draws:  draws, KVCache: true, Seed: 5, Base: base, Temperatures: temperatures,
	}
}

func quietly(string, ...any) {}

// fidelityGoldens are those of the bundled model and of SmolLM2, by name.
func fidelityGoldens(t *testing.T) map[string]fidelityGolden {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "fidelity", "*.json"))
	if err != nil || len(files) < 2 {
		t.Fatalf("found %d goldens (%v); run scripts/goldens/fidelity.py", len(files), err)
	}
	all := map[string]fidelityGolden{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var g fidelityGolden
		if err := json.Unmarshal(data, &g); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all[strings.TrimSuffix(filepath.Base(file), ".json")] = g
	}
	return all
}

func TestFidelityAgreesWithTransformers(t *testing.T) {
	for name, g := range fidelityGoldens(t) {
		t.Run(name, func(t *testing.T) {
			lm := g.open(t)
			for _, c := range g.Cases {
				var ts []float64
				for _, want := range c.ByTemperature {
					ts = append(ts, want.T)
				}
				draws := c.Draws
				if strings.HasSuffix(g.Model, ".gguf") { // a large model: a minute is enough
					draws = min(draws, 12)
				}
				r, err := MeasureFidelity(t.Context(), lm, g.options(t, c.Noise, draws, c.Base, ts...), quietly)
				if err != nil {
					t.Fatal(err)
				}
				for k, want := range c.ByTemperature {
					got := r.Rows[k]
					check := func(what string, ours, theirs, tolerance float64) {
						t.Helper()
						if !(math.Abs(ours-theirs) <= tolerance) {
							t.Errorf("%s, base %g, T %g: %s is %.6g, want %.6g ± %.2g", c.Noise, c.Base, want.T, what,
								ours, theirs, tolerance)
						}
					}
					q, w := got.KLD, want.KLD
					quantiles := [][2]float64{
						{q.Mean, w.Mean},
						{q.P50, w.P50},
						{q.P90, w.P90},
						{q.P99, w.P99},
						{q.P999, w.P999},
						{q.Max, w.Max},
					}
					if want.T == c.Base && c.Noise == "{kind: none}" {
						check("clean divergence", q.Max, 0, 0)
					}
					if c.Draws == 1 { // quantised, or nothing: only rounding is between both
						for i, v := range quantiles {
							check([]string{"mean", "p50", "p90", "p99", "p999", "max"}[i], v[0], v[1], 0.01*v[1]+1e-9)
						}
						check("same top", got.SameTop, want.SameTop, 0)
						check("rms dp", got.RMSdP, math.Sqrt(want.SquareDP), 0.01*math.Sqrt(want.SquareDP))
						check("ppl ratio", math.Log(got.PPLRatio), want.LogPPL, 0.01*math.Abs(want.LogPPL)+1e-6)
						continue
					}
					check("mean", q.Mean, w.Mean, 4*math.Hypot(got.OverTexts.SE, want.KLDError))
					errors := 4 * math.Sqrt(1+float64(c.Draws)/float64(draws)) // of both, by what the golden says of its own
					check("same top", got.SameTop, want.SameTop, errors*want.SameTopError)
					check("squared dp", got.RMSdP*got.RMSdP, want.SquareDP, errors*want.SquareDPErr)
					check("ppl ratio", math.Log(got.PPLRatio), want.LogPPL, errors*want.LogPPLError)
					if (got.Marginal == nil) != (want.Marginal == nil) {
						t.Fatalf("%s: marginal is %v, want %v", c.Noise, got.Marginal, want.Marginal)
					}
					if m := got.Marginal; m != nil {
						check("marginal", m.Mean, want.Marginal.Mean, 4*math.Hypot(m.SE, want.Marginal.SE))
						t.Logf("%s, base %g, T %g: per draw %.5f ± %.5f, transformers %.5f ± %.5f; marginal %.5f ± %.5f (plug-in %.5f), transformers %.5f ± %.5f",
							c.Noise, c.Base, want.T, q.Mean, got.OverTexts.SE, w.Mean, want.KLDError, m.Mean, m.SE,
							m.Plugin, want.Marginal.Mean, want.Marginal.SE)
					}
				}
			}
		})
	}
}

func tinyGolden(t *testing.T) (fidelityGolden, *decode.LM) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "fidelity", "gsm-tiny.json"))
	if err != nil {
		t.Fatal(err)
	}
	var g fidelityGolden
	if err := json.Unmarshal(data, &g); err != nil {
		t.Fatal(err)
	}
	return g, g.open(t)
}

// All draws of a row at once are to the bit those that come one by one.
func TestDrawsTogetherAreTheDraws(t *testing.T) {
	g, lm := tinyGolden(t)
	o := g.options(t, "{weights: {kind: int, bits: 4}, activations: {kind: gaussian, scale: 0.1}}", 3, 1, 1)
	for _, cached := range []bool{true, false} {
		probes, _ := calibrate.Forced(o.Prompts, [][]int{g.Continuation[:6]}, cached)
		type place struct{ probe, draw, row int }
		var mu sync.Mutex
		sums := map[place]float64{}
		sum := func(clean, noisy []float32) (s float64) {
			for i, v := range noisy {
				s += float64(i+1) * float64(v-clean[i])
			}
			return s
		}
		p := decode.Probing{Noise: o.Noises[0], Draws: o.Draws, Seed: o.Seed}
		if _, err := lm.Probe(t.Context(), probes, p, func(probe, draw, row int, clean, noisy []float32) {
			mu.Lock()
			defer mu.Unlock()
			sums[place{probe, draw, row}] = sum(clean, noisy)
		}); err != nil {
			t.Fatal(err)
		}
		visited := 0
		if _, err := lm.ProbeDraws(t.Context(), probes, p, func(probe, row int, clean []float32, draws [][]float32) {
			mu.Lock()
			defer mu.Unlock()
			for d, noisy := range draws {
				visited++
				if got, want := sum(clean, noisy), sums[place{probe, d, row}]; got != want || got == 0 {
					t.Errorf("cached %v, probe %d, draw %d, row %d: %g together, %g alone", cached, probe, d, row, got,
						want)
				}
			}
		}); err != nil {
			t.Fatal(err)
		}
		if visited != len(sums) || visited != 18 {
			t.Errorf("%d rows together, %d one by one, want 18", visited, len(sums))
		}
	}
	if _, err := lm.ProbeDraws(t.Context(), nil, decode.Probing{Noise: condition.Noise{
		Kind:  condition.Weight,
		Scale: 1,
	}, Draws: 1}, nil); err == nil {
		t.Error("draws of the weights were put together")
	}
	one := g.options(t, "{kind: activation, scale: 0.1}", 1, 1, 1)
	if r, err := MeasureFidelity(t.Context(), lm, one, quietly); err != nil || r.Rows[0].Marginal != nil {
		t.Errorf("one draw has a law of fresh noise (%v)", err)
	}
}

func TestFidelityReportForms(t *testing.T) {
	g, lm := tinyGolden(t)
	o := g.options(t, "{kind: activation, scale: 0.1}", 3, 1, 0.9, 1)
	n, err := config.ParseNoise("noise", "{weights: {kind: int, bits: 4}, activations: {kind: int, bits: 8}}")
	if err != nil {
		t.Fatal(err)
	}
	o.Noises = append(o.Noises, n, condition.Noise{Kind: condition.None})
	o.Prompts = append(o.Prompts, g.Prompt[:20])
	o.Texts = []Continuations{
		{fidelity.Sampled, [][]int{g.Continuation, g.Continuation[:9]}},
		{fidelity.Greedy, [][]int{g.Continuation[:5], g.Continuation[:7]}},
	}
	r, err := MeasureFidelity(t.Context(), lm, o, quietly)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Rows) != 12 || len(r.Noises) != 6 || r.Rows[4].Draws != 1 || r.Rows[4].Marginal != nil ||
		r.Rows[11].KLD != (fidelity.KLD{}) {
		t.Errorf("%d rows and %d noises; quantised: %+v; clean: %+v", len(r.Rows), len(r.Noises), r.Rows[4], r.Rows[11])
	}
	if r.Noises[0].Divergent != nil || r.Noises[1].Divergent == nil || r.Noises[1].Divergent.Texts != 6 {
		t.Errorf("first divergent tokens: %+v and %+v", r.Noises[0].Divergent, r.Noises[1].Divergent)
	}
	dir := t.TempDir()
	if err := WriteFidelity(dir, r); err != nil {
		t.Fatal(err)
	}
	table, err := os.ReadFile(filepath.Join(dir, "fidelity.csv"))
	if err != nil {
		t.Fatal(err)
	}
	lines, err := csv.NewReader(bytes.NewReader(table)).ReadAll()
	if err != nil || len(lines) != 13 {
		t.Errorf("fidelity.csv has %d lines (%v), want 13", len(lines), err)
	}
	for _, name := range []string{"fidelity.json", "fidelity.png", "fidelity.svg"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Size() < 1000 {
			t.Errorf("%s: %v", name, err)
		}
	}
	if text := r.Markdown(); strings.Count(text, "\n## ") != 6 || !strings.Contains(text, "leaves the clean text in") {
		t.Error(text)
	}
}

// The fewer the bits of symmetric integers by output channel, the further from the clean model, on the bundled model and
// on SmolLM2.
func TestDivergenceRisesAsBitsFall(t *testing.T) {
	for name, g := range fidelityGoldens(t) {
		t.Run(name, func(t *testing.T) {
			lm := g.open(t)
			before := 0.0
			for _, bits := range []string{"8", "6", "4", "3", "2"} {
				r, err := MeasureFidelity(t.Context(), lm,
					g.options(t, "{weights: {kind: int, bits: "+bits+"}}", 1, 1, 1), quietly)
				if err != nil {
					t.Fatal(err)
				}
				kld := r.Rows[0].KLD.Mean
				t.Logf("%s bits: %.4g nats, SNR %.1f dB", bits, kld, *r.Noises[0].SNR)
				if !(kld > before) {
					t.Errorf("%s bits: a divergence of %g, and %g of more bits", bits, kld, before)
				}
				before = kld
			}
			grid := "{weights: {kind: int, bits: 4, per: group, group: 32, asymmetric: true, offset: true}}"
			_, err := MeasureFidelity(t.Context(), lm, g.options(t, grid, 1, 1, 1), quietly)
			if own := strings.HasSuffix(g.Model, ".gguf"); own != errors.Is(err, condition.ErrNoEffect) {
				t.Errorf("on the grid of the file itself: %v", err)
			}
		})
	}
}

func TestFidelityRefusesTexts(t *testing.T) {
	g, lm := tinyGolden(t)
	for _, c := range []struct {
		prompt, text []int
		want         string
	}{
		{[]int{1}, nil, "both need one"},
		{nil, []int{1}, "both need one"},
		{[]int{1, 2}, []int{3, 1 << 20}, "vocabulary"},
		{[]int{-1, 2}, []int{3}, "vocabulary"},
		{[]int{1}, make([]int, 1<<17), "position"},
	} {
		o := g.options(t, "{kind: none}", 1, 1, 1)
		o.Prompts, o.Texts[0].IDs = [][]int{c.prompt}, [][]int{c.text}
		if _, err := MeasureFidelity(t.Context(), lm, o, quietly); err == nil ||
			!strings.Contains(err.Error(), c.want) {
			t.Errorf("%d and %d tokens: %v, want %q", len(c.prompt), len(c.text), err, c.want)
		}
	}
}
