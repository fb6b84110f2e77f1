// Package study has the experiments on a noise: alpha by position and context, what a temperature restores, accuracy
// against temperature, and the proof that a noise acts.
package study

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/gsmeval/gsmeval/decode"
	"github.com/gsmeval/gsmeval/harness/calibrate"
	"github.com/gsmeval/gsmeval/harness/session"
	"github.com/gsmeval/gsmeval/internal/condition"
	"github.com/gsmeval/gsmeval/noise/alpha"
)

// NotebookPrompts are the prompts of the notebook, for a model without data of its own. They are shown as they are.
func NotebookPrompts() []string {
	return []string{"The capital of France is", "In mathematics, the number pi is approximately"}
}

// alphaSchema is the version of alpha.json.
const alphaSchema = 1

const (
	smoothWindow   = 10  // of 6a's moving average
	endWindow      = 10  // positions of "first 10" and "last 10"
	dilutionFactor = 1.5 // above it the notebook reads 6b as attention dilution
)

var (
	notebookContexts = []int{5, 10, 20, 50, 100, 150}
	lastTokens       = []int{5, 20, 50} // of the control's contexts
)

// NotebookNoises are the noises of the notebook's experiment 6.
func NotebookNoises() []condition.Noise {
	return []condition.Noise{{Kind: condition.Activation, Scale: 0.05}, {Kind: condition.Weight, Scale: 0.05}}
}

// AlphaOptions describe experiments 6a, 6b and 6c.
type AlphaOptions struct {
	Prompts   [][]int // token ids
	Noises    []condition.Noise
	Positions int // generated tokens
	Draws     int // of each noise, for each prompt
	KVCache   bool
	Seed      uint64
	Base      float64 // T_base
	Contexts  []int   // lengths of 6b's contexts, rising, and the positions of its control; nil for the notebook's
}

// AlphaOf are the experiments that a config describes: its noises, if it has any, on its calibration prompts.
func AlphaOf(ctx context.Context, s *session.Session) (AlphaOptions, error) {
	cal := s.Cfg.Calibration
	o := AlphaOptions{
		Noises: noisesOf(s), Positions: cal.Positions, Draws: cal.Draws,
		KVCache: s.Cfg.Generation.KVCache, Seed: s.Cfg.Seed, Base: cal.Base,
	}
	var err error
	o.Prompts, err = calibrate.New(s).ReadPrompts(ctx)
	return o, err
}

// noisesOf are the config's that do something.
func noisesOf(s *session.Session) []condition.Noise {
	return slices.DeleteFunc(slices.Clone(s.Cfg.Noise), condition.Noise.Empty)
}

// AlphaReport is what experiments 6a, 6b and 6c measured.
type AlphaReport struct {
	Schema        int          `json:"schema"`
	Prompts       [][]int      `json:"prompts"`
	Continuations [][]int      `json:"continuations"` // clean and greedy, going on past an end token
	Positions     int          `json:"positions"`
	Draws         int          `json:"draws"`
	KVCache       bool         `json:"kv_cache"`
	Seed          uint64       `json:"seed"`
	Base          float64      `json:"base"`
	Noises        []NoiseAlpha `json:"noises"`
}

// NoiseAlpha is the experiments under one noise.
type NoiseAlpha struct {
	Noise        string         `json:"noise"`
	SharedDraws  bool           `json:"shared_draws"` // weight noise: every prompt meets the same draws, so intervals are for these
	ByPosition   ByPosition     `json:"6a"`
	FixedContext FixedContext   `json:"6b"`
	LastTokens   LastTokens     `json:"6b_control"`
	Temperatures []Temperatures `json:"6c"`
}

// ByPosition is experiment 6a: alpha at each position, by teacher forcing. Intervals are over prompts, or over draws
// where there is one prompt.
type ByPosition struct {
	Curve    alpha.Curve      `json:"curve"`
	Smoothed []alpha.Interval `json:"smoothed"` // centred moving average, shortened at the ends
	Window   int              `json:"window"`
	First    alpha.Interval   `json:"first_10"` // mean of the first ten positions
	Last     alpha.Interval   `json:"last_10"`
	Ratio    *alpha.Interval  `json:"ratio"` // first over last; null where last is 0
}

// FixedContext is experiment 6b as the notebook has it: the context is the prompt and L tokens of its continuation.
type FixedContext struct {
	Lengths []FixedLength `json:"lengths"`
	// TeacherForcing is 6a's first-10 over last-10, Fixed is the shortest context's alpha over the longest's.
	TeacherForcing *float64 `json:"teacher_forcing_decrease"`
	Fixed          *float64 `json:"fixed_context_decrease"`
	Reading        string   `json:"notebook_reading"` // what the notebook concludes at a ratio of 1.5
	// MaxDifference is the largest |difference| of 6b from 6a at t = L, in standard errors; null for a single draw.
	MaxDifference *float64 `json:"max_difference_se"`
}

// FixedLength is 6b at one length of context.
type FixedLength struct {
	Length int            `json:"length"`
	Alpha  alpha.Interval `json:"alpha"`
	Std    float64        `json:"std"` // over draws, as numpy's: not the error of the mean
	// ByPosition is 6a at t = Length, recomputed without a cache from draws of its own; Difference is this alpha minus
	// that one, in standard errors over draws (null for a single draw).
	ByPosition alpha.Interval `json:"6a"`
	Difference *float64       `json:"difference_se"`
}

// LastTokens is the control that 6b lacks: the context is only the last L generated tokens before position t, computed
// in one pass.
type LastTokens struct {
	Cells     []LastCell     `json:"cells"`
	Decreases []LastDecrease `json:"decreases"`
}

// LastCell is alpha with a context of the last L tokens; L is 0 for all of them.
type LastCell struct {
	L     int            `json:"last"`
	T     int            `json:"t"`
	Alpha alpha.Interval `json:"alpha"`
}

// LastDecrease is alpha at the first position over alpha at the last one, the length of the context being the same.
type LastDecrease struct {
	L     int             `json:"last"`
	From  int             `json:"from_t"`
	To    int             `json:"to_t"`
	Ratio *alpha.Interval `json:"ratio"`
}

// Temperatures is experiment 6c: T*(t) and the constant T* of a form.
type Temperatures struct {
	Form     alpha.Form `json:"form"`
	ByT      []float64  `json:"t_star"`
	Constant float64    `json:"constant"`
	Min      float64    `json:"min"`
	Max      float64    `json:"max"`
	Mean     float64    `json:"mean"`
}

// MeasureAlpha does the experiments; logf says what is being done.
func MeasureAlpha(ctx context.Context, lm *decode.LM, o AlphaOptions,
	logf func(format string, args ...any),
) (*AlphaReport, error) {
	r := &AlphaReport{
		Schema: alphaSchema, Prompts: o.Prompts, Positions: o.Positions, Draws: o.Draws, KVCache: o.KVCache,
		Seed: o.Seed, Base: o.Base,
	}
	clean, err := lm.NewClean()
	if err != nil {
		return nil, err
	}
	defer clean.Close()
	if o.Contexts == nil {
		o.Contexts = notebookContexts
	}
	if r.Continuations, err = lm.Continue(ctx, o.Prompts, o.Positions, true); err != nil {
		return nil, fmt.Errorf("continuing the prompts without noise: %w", err)
	}
	for i, n := range o.Noises {
		logf("alpha under %s (%d of %d): %d prompts, %d draws, %d positions", n.Label(), i+1, len(o.Noises),
			len(o.Prompts), o.Draws, o.Positions)
		m := alphaMeasurement{AlphaOptions: o, lm: lm, clean: clean, continuations: r.Continuations}
		a, err := m.measure(ctx, n)
		if err != nil {
			return nil, fmt.Errorf("alpha under %q: %w", n.Label(), err)
		}
		r.Noises = append(r.Noises, *a)
	}
	return r, nil
}

// alphaMeasurement measures under one noise.
type alphaMeasurement struct {
	AlphaOptions
	lm            *decode.LM
	clean         *decode.Clean
	continuations [][]int
}

func (m *alphaMeasurement) measure(ctx context.Context, n condition.Noise) (*NoiseAlpha, error) {
	var set, fixed calibrate.ProbeSet
	collector := alpha.NewCollector(calibrate.Lengths(m.continuations), m.Draws, m.Base, alpha.Needs{})
	collector.Chips = n.Chips()
	set.TeacherForcing(m.Prompts, m.continuations, m.KVCache, collector.Add)
	var reference, contexts []*sample
	for _, l := range m.fixedLengths() {
		a, b := m.newSample(), m.newSample()
		for i, prompt := range m.Prompts {
			set.Prefix(prompt, m.continuations[i], i, l, a.visit(i))
			fixed.Prefix(prompt, m.continuations[i], i, l, b.visit(i))
		}
		reference, contexts = append(reference, a), append(contexts, b)
	}
	control := m.addControl(&set, reference)

	probing := decode.Probing{Noise: n, Draws: m.Draws, Seed: m.Seed, Clean: m.clean}
	if _, err := set.Run(ctx, m.lm, probing); err != nil {
		return nil, err
	}
	if len(fixed.Probes) > 0 {
		// 6b draws its own noise: with 6a's it would be 6a to the last bit, and the agreement would show nothing.
		probing.Seed ^= 0x6b6b6b6b6b6b6b6b
		if _, err := fixed.Run(ctx, m.lm, probing); err != nil {
			return nil, err
		}
	}
	curve, err := calibrate.FiniteCurve(collector)
	if err != nil {
		return nil, err
	}
	for _, s := range append(append([]*sample{}, reference...), contexts...) {
		if err := s.check(); err != nil {
			return nil, err
		}
	}
	out := &NoiseAlpha{Noise: n.Label(), SharedDraws: n.Chips(), ByPosition: m.byPosition(collector, curve)}
	out.FixedContext = fixedContext(m.fixedLengths(), contexts, reference, out.ByPosition.Ratio)
	if out.LastTokens, err = control.report(); err != nil {
		return nil, err
	}
	out.Temperatures, err = temperatures(curve)
	return out, err
}

// fixedLengths are the lengths of 6b for which there are tokens.
func (m *alphaMeasurement) fixedLengths() []int {
	var list []int
	for _, l := range m.Contexts {
		if l <= m.Positions {
			list = append(list, l)
		}
	}
	return list
}

// byPosition reads 6a's numbers off the collected draws.
func (m *alphaMeasurement) byPosition(c *alpha.Collector, curve *alpha.Curve) ByPosition {
	b := ByPosition{Curve: *curve, Window: smoothWindow}
	// A cluster is a prompt's mean curve, or a draw's where there is one prompt.
	var clusters [][]float64
	for i := range m.Prompts {
		var sum []float64
		for d := range m.Draws {
			a := c.Alphas(i, d)
			if len(m.Prompts) == 1 {
				clusters = append(clusters, a)
				continue
			}
			if sum == nil {
				sum = make([]float64, len(a))
			}
			for t, v := range a {
				sum[t] += v / float64(m.Draws)
			}
		}
		if sum != nil {
			clusters = append(clusters, sum)
		}
	}
	w := min(endWindow, m.Positions)
	at := make([][]float64, m.Positions) // [t][cluster], smoothed
	var first, last []float64
	for _, a := range clusters {
		first, last = append(first, meanOf(a[:w])), append(last, meanOf(a[len(a)-w:]))
		for t, v := range alpha.Smooth(a, alpha.MovingAverage, smoothWindow) {
			at[t] = append(at[t], v)
		}
	}
	for _, values := range at {
		b.Smoothed = append(b.Smoothed, alpha.Mean(values))
	}
	b.First, b.Last, b.Ratio = alpha.Mean(first), alpha.Mean(last), ratio(first, last)
	return b
}

// fixedContext compares 6b with 6a at t = L, and reads it as the notebook does.
func fixedContext(lengths []int, contexts, reference []*sample, decrease *alpha.Interval) FixedContext {
	var f FixedContext
	if decrease != nil {
		f.TeacherForcing = &decrease.Mean
	}
	for k, l := range lengths {
		b, a := contexts[k], reference[k]
		p := FixedLength{Length: l, Alpha: b.interval(), Std: b.std(), ByPosition: a.interval()}
		if se := math.Hypot(a.drawError(), b.drawError()); se > 0 {
			d := (p.Alpha.Mean - p.ByPosition.Mean) / se
			p.Difference = &d
			if f.MaxDifference == nil || math.Abs(d) > *f.MaxDifference {
				most := math.Abs(d)
				f.MaxDifference = &most
			}
		}
		f.Lengths = append(f.Lengths, p)
	}
	if n := len(f.Lengths); n > 1 && f.Lengths[n-1].Alpha.Mean > 0 {
		r := f.Lengths[0].Alpha.Mean / f.Lengths[n-1].Alpha.Mean
		f.Fixed = &r
		f.Reading = "LayerNorm is the main cause of α decrease"
		if r > dilutionFactor {
			f.Reading = "Attention dilution contributes to α decrease"
		}
	}
	return f
}

// control is the samples of the last L tokens before t.
type control struct {
	lengths []int
	at      map[int][]int // positions by length
	samples map[[2]int]*sample
}

// addControl adds the contexts of the last L tokens at positions from L on, so that each holds generated tokens alone;
// those of all tokens are there for comparison.
func (m *alphaMeasurement) addControl(set *calibrate.ProbeSet, all []*sample) *control {
	c := &control{at: map[int][]int{}, samples: map[[2]int]*sample{}}
	for _, l := range append(append([]int{}, lastTokens...), 0) {
		for k, t := range m.fixedLengths() {
			if t < l {
				continue
			}
			s := all[k]
			if l > 0 {
				s = m.newSample()
				for i, prompt := range m.Prompts {
					ids := calibrate.Join(prompt, m.continuations[i][:t])
					set.Whole(ids[len(ids)-l:], fmt.Sprintf("%d last %d", i, l), t, s.visit(i))
				}
			}
			c.at[l] = append(c.at[l], t)
			c.samples[[2]int{l, t}] = s
		}
		if len(c.at[l]) > 0 {
			c.lengths = append(c.lengths, l)
		}
	}
	return c
}

func (c *control) report() (LastTokens, error) {
	var out LastTokens
	for _, l := range c.lengths {
		ts := c.at[l]
		for _, t := range ts {
			s := c.samples[[2]int{l, t}]
			if err := s.check(); err != nil {
				return out, err
			}
			out.Cells = append(out.Cells, LastCell{L: l, T: t, Alpha: s.interval()})
		}
		if from, to := ts[0], ts[len(ts)-1]; from != to {
			out.Decreases = append(out.Decreases, LastDecrease{
				L: l, From: from, To: to,
				Ratio: ratio(c.samples[[2]int{l, from}].clusters(), c.samples[[2]int{l, to}].clusters()),
			})
		}
	}
	return out, nil
}

// temperatures is 6c.
func temperatures(curve *alpha.Curve) ([]Temperatures, error) {
	var list []Temperatures
	for _, form := range []alpha.Form{alpha.Sqrt, alpha.Linear, alpha.Exact} {
		byT, err := curve.Dynamic(form, alpha.None, 1)
		if err != nil {
			return nil, err
		}
		constant, err := curve.Constant(form)
		if err != nil {
			return nil, err
		}
		t := Temperatures{
			Form: form, ByT: byT, Constant: constant, Min: math.Inf(1), Max: math.Inf(-1),
			Mean: meanOf(byT),
		}
		for _, v := range byT {
			t.Min, t.Max = min(t.Min, v), max(t.Max, v)
		}
		list = append(list, t)
	}
	return list, nil
}

// sample is alpha of one context, by prompt and draw.
type sample struct{ alpha [][]float64 }

func (m *alphaMeasurement) newSample() *sample {
	s := &sample{make([][]float64, len(m.Prompts))}
	for i := range s.alpha {
		s.alpha[i] = make([]float64, m.Draws)
	}
	return s
}

func (s *sample) visit(prompt int) func(draw, row int, clean, noisy []float32) {
	return func(draw, _ int, clean, noisy []float32) {
		s.alpha[prompt][draw] = alpha.Measure(clean, noisy, 1).Alpha
	}
}

func (s *sample) check() error {
	for _, draws := range s.alpha {
		for _, v := range draws {
			if math.IsNaN(v) || math.IsInf(v, 0) {
				return errors.New("alpha is not finite: the noise drives the logits out of range")
			}
		}
	}
	return nil
}

// clusters are independent values: the prompts' means, or the draws of a single prompt.
func (s *sample) clusters() []float64 {
	if len(s.alpha) == 1 {
		return s.alpha[0]
	}
	means := make([]float64, len(s.alpha))
	for i, draws := range s.alpha {
		means[i] = meanOf(draws)
	}
	return means
}

func (s *sample) interval() alpha.Interval { return alpha.Mean(s.clusters()) }

// std is the population standard deviation over draws, pooled over prompts.
func (s *sample) std() float64 {
	sum, n := 0.0, 0
	for _, draws := range s.alpha {
		mean := meanOf(draws)
		for _, v := range draws {
			sum += (v - mean) * (v - mean)
			n++
		}
	}
	return math.Sqrt(sum / float64(n))
}

// drawError is the standard error of the mean over these very prompts: that of the draws alone. 0 for a single draw. A
// draw is one value, whatever the number of prompts, because they share its weights.
func (s *sample) drawError() float64 {
	draws := make([]float64, len(s.alpha[0]))
	for _, values := range s.alpha {
		for d, v := range values {
			draws[d] += v / float64(len(s.alpha))
		}
	}
	return alpha.Mean(draws).SE
}

// ratio is that of two means over the same clusters; nil where the second is 0.
func ratio(y, x []float64) *alpha.Interval {
	r := alpha.Ratio(y, x)
	if math.IsNaN(r.Mean) || math.IsInf(r.Mean, 0) || math.IsNaN(r.SE) || math.IsInf(r.SE, 0) {
		return nil
	}
	return &r
}

func meanOf(v []float64) float64 {
	sum := 0.0
	for _, x := range v {
		sum += x
	}
	return sum / float64(len(v))
}

// AlphaCurve is alpha along one continuation.
type AlphaCurve struct {
	Alpha     []float64 `json:"alpha"` // by position, mean over draws
	SE        []float64 `json:"se"`    // its standard error over draws; 0 for a single draw
	AlphaMean float64   `json:"alpha_mean"`
	TStar     float64   `json:"t_star"` // sqrt(1 + alpha_mean)
	IDs       []int     `json:"ids"`    // the clean greedy continuation, going on past an end token
}

// MeasureAlphaCurve measures alpha along the clean greedy continuation of one prompt, under the first of the noises.
func MeasureAlphaCurve(ctx context.Context, lm *decode.LM, o AlphaOptions) (*AlphaCurve, error) {
	continuations, err := lm.Continue(ctx, o.Prompts[:1], o.Positions, true)
	if err != nil {
		return nil, fmt.Errorf("continuing the prompt without noise: %w", err)
	}
	curve, _, err := calibrate.AlphaCurve(ctx, lm, o.Prompts[:1], continuations, decode.Probing{
		Noise: o.Noises[0], Draws: o.Draws, Seed: o.Seed,
	}, o.KVCache, 1, alpha.Needs{})
	if err != nil {
		return nil, fmt.Errorf("alpha under %q: %w", o.Noises[0].Label(), err)
	}
	out := &AlphaCurve{IDs: continuations[0], Alpha: curve.Alphas(), AlphaMean: curve.Mean()}
	for _, p := range curve.Points {
		out.SE = append(out.SE, p.SE)
	}
	out.TStar = math.Sqrt(1 + out.AlphaMean)
	return out, nil
}
