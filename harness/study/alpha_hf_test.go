package study

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path"
	"path/filepath"
	"slices"
	"testing"

	"github.com/gsmeval/gsmeval/decode"
	"github.com/gsmeval/gsmeval/harness/calibrate"
	"github.com/gsmeval/gsmeval/internal/condition"
	"github.com/gsmeval/gsmeval/noise/alpha"
)

// alphaGolden is what scripts/goldens/alpha_hf.py measured on one model with transformers.
type alphaGolden struct {
	Made, Torch, Transformers, Model, SHA256 string

	Scale         float64
	Draws         int
	Prompts       [][]int
	Continuations [][]int
	Cases         []alphaCase
}

type alphaCase struct {
	Noise     string
	KVCache   *bool `json:"kv_cache"` // nil where it makes no difference
	Prompt    int
	Positions []int
	Alpha, SE []float64
	MeanAlpha float64 `json:"mean_alpha"` // over the positions
	MeanSE    float64 `json:"mean_se"`    // over draws of that mean
}

func readAlphaGoldens(t *testing.T) []alphaGolden {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "alpha_hf", "*.json"))
	if err != nil || len(files) < 2 {
		t.Fatalf("found %d goldens (%v), want at least 2; run scripts/goldens/alpha_hf.py", len(files), err)
	}
	goldens := make([]alphaGolden, len(files))
	for i, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(data, &goldens[i]); err != nil {
			t.Fatalf("%s: %v", f, err)
		}
	}
	return goldens
}

// open loads the golden's model without its text side: prompts are ids.
func (g alphaGolden) open(t *testing.T) *decode.LM {
	t.Helper()
	dir := filepath.Join("..", "..", filepath.FromSlash(g.Model))
	data, err := os.ReadFile(filepath.Join(dir, "model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != g.SHA256 {
		t.Fatalf("%s has other weights than the golden was made of; run scripts/goldens/alpha_hf.py %s", g.Model,
			g.Model)
	}
	return openModel(t, dir)
}

// byPosition keeps the numbers of one prompt's curve at chosen positions.
type byPosition map[int]alpha.Point

// measure is our alpha at the case's positions, from as many draws as the golden has.
func (g alphaGolden) measure(t *testing.T, lm *decode.LM, c alphaCase, kvCache bool) byPosition {
	t.Helper()
	prompt, continuation := g.Prompts[c.Prompt], g.Continuations[c.Prompt]
	probing := decode.Probing{Noise: condition.Noise{Kind: c.Noise, Scale: g.Scale}, Draws: g.Draws, Seed: 7}
	points := byPosition{}
	curve := func(prompt, continuation []int, at int) {
		got, _, err := calibrate.AlphaCurve(t.Context(), lm, [][]int{prompt}, [][]int{continuation}, probing, kvCache,
			1, alpha.Needs{})
		if err != nil {
			t.Fatal(err)
		}
		for i, p := range got.Points {
			points[at+i] = p
		}
	}
	if kvCache {
		curve(prompt, continuation[:slices.Max(c.Positions)+1], 0)
		return points
	}
	// Without a cache every position is a prefix of its own, which costs: the first ones go together as in a
	// calibration, a later one alone, as the first position behind a longer prompt, which is the same experiment.
	const together = 5
	curve(prompt, continuation[:together], 0)
	for _, p := range c.Positions {
		if p >= together {
			curve(slices.Concat(prompt, continuation[:p]), continuation[p:p+1], p)
		}
	}
	return points
}

// TestAlphaAgreesWithTransformers holds alpha(t) against forward pre-hooks in transformers: two implementations with
// two random number generators must agree within four standard errors of their difference, at every position.
func TestAlphaAgreesWithTransformers(t *testing.T) {
	for _, g := range readAlphaGoldens(t) {
		t.Run(path.Base(g.Model), func(t *testing.T) {
			t.Parallel()
			lm := g.open(t)
			for _, c := range g.Cases {
				name := fmt.Sprintf("%s/prompt=%d", c.Noise, c.Prompt)
				kvCache := c.KVCache == nil || *c.KVCache
				if c.KVCache != nil {
					name += fmt.Sprintf("/kv_cache=%t", kvCache)
				}
				t.Run(name, func(t *testing.T) { g.compare(t, c, g.measure(t, lm, c, kvCache), kvCache) })
			}
		})
	}
}

// compare holds the measured points against the case.
func (g alphaGolden) compare(t *testing.T, c alphaCase, points byPosition, kvCache bool) {
	t.Helper()
	worst, sum, sumSE := 0.0, 0.0, 0.0
	for i, at := range c.Positions {
		p := points[at]
		z := (p.Alpha - c.Alpha[i]) / math.Hypot(p.SE, c.SE[i])
		worst, sum, sumSE = max(worst, math.Abs(z)), sum+p.Alpha, sumSE+p.SE
		if !(math.Abs(z) <= 4) {
			t.Errorf("alpha(%d) is %.5f +- %.5f here, %.5f +- %.5f in transformers: %.1f standard errors apart",
				at, p.Alpha, p.SE, c.Alpha[i], c.SE[i], z)
		}
	}
	// Positions of one draw hang together. With a cache they do so here as there, so that as many draws have the same
	// standard error; without one, the measurements here share numbers, and the mean of the errors bounds that of the
	// mean.
	n := float64(len(c.Positions))
	se := c.MeanSE
	if !kvCache {
		se = sumSE / n
	}
	if z := (sum/n - c.MeanAlpha) / math.Hypot(se, c.MeanSE); !(math.Abs(z) <= 4) {
		t.Errorf("mean alpha is %.5f here, %.5f in transformers: %.1f standard errors apart", sum/n, c.MeanAlpha, z)
	}
	t.Logf("mean alpha %.5f here, %.5f +- %.5f in transformers; largest difference %.1f standard errors at %d positions (%d draws; transformers %s, torch %s, %s)",
		sum/n, c.MeanAlpha, c.MeanSE, worst, len(c.Positions), g.Draws, g.Transformers, g.Torch, g.Made)
}

// TestAlphaFollowsTheGreedyPath decodes the continuations along which transformers was forced.
func TestAlphaFollowsTheGreedyPath(t *testing.T) {
	for _, g := range readAlphaGoldens(t) {
		lm := g.open(t)
		for i, prompt := range g.Prompts {
			got, err := lm.Continue(t.Context(), [][]int{prompt}, len(g.Continuations[i]), true)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got[0], g.Continuations[i]) {
				t.Errorf("%s: the clean greedy continuation of prompt %d differs:\nhere         %v\ntransformers %v",
					g.Model, i, got[0], g.Continuations[i])
			}
		}
	}
}

// TestWeightNoiseIgnoresTheCache measures the same draws of weight noise with and without a key-value cache: one
// programmed chip gives the same logits either way.
func TestWeightNoiseIgnoresTheCache(t *testing.T) {
	for _, g := range readAlphaGoldens(t)[:1] {
		lm := g.open(t)
		g.Draws = 3
		c := alphaCase{Noise: string(condition.Weight), Positions: []int{0, 1, 2, 3, 4}}
		with, without := g.measure(t, lm, c, true), g.measure(t, lm, c, false)
		for _, at := range c.Positions {
			a, b := with[at].Alpha, without[at].Alpha
			if !(a > 0) || math.Abs(a-b) > 1e-3*a {
				t.Errorf("alpha(%d) under weight noise is %v with a cache, %v without", at, a, b)
			}
		}
	}
}
