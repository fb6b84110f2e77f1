package study

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"

	"github.com/gsmeval/gsmeval/decode"
	"github.com/gsmeval/gsmeval/harness/calibrate"
	"github.com/gsmeval/gsmeval/harness/session"
	"github.com/gsmeval/gsmeval/internal/condition"
	"github.com/gsmeval/gsmeval/noise/alpha"
	"github.com/gsmeval/gsmeval/noise/fidelity"
)

// fidelitySchema is the version of fidelity.json.
const fidelitySchema = 1

// FidelityOptions say what is compared with the clean model, along which of its texts.
type FidelityOptions struct {
	Prompts      [][]int // token ids
	Texts        []Continuations
	Noises       []condition.Noise
	Draws        int // of each random noise, for each text
	KVCache      bool
	Seed         uint64
	Base         float64 // the clean law is softmax(z/base)
	Temperatures []float64
	// Forms, if not nil, gives each noise temperatures of its own: those of the forms of T*, that of its law first.
	Forms func(n condition.Noise) ([]FormTemperature, error)
}

// FormTemperature is the constant T* of a form, or the base where no form is named.
type FormTemperature struct {
	Form alpha.Form
	T    float64
}

// Continuations are the clean model's texts of one kind, one for each prompt.
type Continuations struct {
	Kind string // sampled, greedy or given
	IDs  [][]int
}

// DefaultFidelityTemperatures are around a base.
func DefaultFidelityTemperatures(base float64) []float64 {
	list := []float64{0.7, 0.8, 0.85, 0.9, 0.95, 1, 1.05, 1.1, 1.2, 1.4}
	for i := range list {
		list[i] = math.Round(list[i]*base*1e6) / 1e6
	}
	return list
}

// FidelityOf is what a config describes: its noises, along sampled and greedy continuations of its calibration prompts.
func FidelityOf(ctx context.Context, s *session.Session, base float64) (FidelityOptions, error) {
	cal := s.Cfg.Calibration
	o := FidelityOptions{
		Noises: s.Cfg.Noise, Draws: cal.Draws, KVCache: s.Cfg.Generation.KVCache, Seed: s.Cfg.Seed, Base: base,
		Temperatures: DefaultFidelityTemperatures(base),
	}
	c := calibrate.New(s)
	if err := c.Prepare(ctx); err != nil {
		return o, err
	}
	o.Prompts = c.Prompts
	sampled, err := s.LM.ContinueSampled(ctx, c.Prompts, cal.Positions, base, s.Cfg.Seed)
	if err != nil {
		return o, fmt.Errorf("continuing the calibration prompts without noise: %w", err)
	}
	greedy, err := c.Continuations(ctx)
	o.Texts = []Continuations{{fidelity.Sampled, sampled}, {fidelity.Greedy, greedy}}
	return o, err
}

// FidelityOfForms compares the forms of T*: each calibrated on the calibration prompts, and measured along sampled
// continuations of the evaluated questions under other draws, so that no form is measured on what it was fitted to.
func FidelityOfForms(ctx context.Context, s *session.Session, base float64) (FidelityOptions, error) {
	cal := s.Cfg.Calibration
	o := FidelityOptions{
		Noises: noisesOf(s), Draws: cal.Draws, KVCache: s.Cfg.Generation.KVCache, Seed: s.Cfg.Seed + 1, Base: base,
	}
	prompts, err := s.Prompts()
	if err != nil {
		return o, err
	}
	for _, p := range prompts {
		o.Prompts = append(o.Prompts, p.IDs)
	}
	sampled, err := s.LM.ContinueSampled(ctx, o.Prompts, cal.Positions, base, o.Seed)
	if err != nil {
		return o, fmt.Errorf("continuing the evaluated questions without noise: %w", err)
	}
	o.Texts = []Continuations{{fidelity.Sampled, sampled}}
	measure := calibrate.New(s).Measurer(ctx)
	o.Forms = func(n condition.Noise) ([]FormTemperature, error) {
		var first, rest []FormTemperature
		// One calibration for all forms.
		needs := alpha.Needs{Fit: true, Marginal: marginal(n)}
		curve, err := measure(condition.Calibration{Noise: n, Base: base, Needs: needs})
		if err != nil {
			return nil, err
		}
		for _, form := range alpha.Forms() {
			if form == alpha.Probit && !marginal(n) || form == alpha.Marginal && !marginal(n) {
				continue // they are of fresh noise
			}
			t, err := curve.Constant(form)
			switch {
			case err != nil:
				return nil, fmt.Errorf("form %s: %w", form, err)
			case t <= 0:
				s.Logf("form %s has no temperature under %s", form, n.Label())
			case form == alpha.Marginal || form == alpha.Fitted && !marginal(n):
				first = append(first, FormTemperature{form, t})
			default:
				rest = append(rest, FormTemperature{form, t})
			}
		}
		if len(first) == 0 {
			return nil, fmt.Errorf("the form that is right for %s has no temperature there", n.Label())
		}
		return slices.Concat(first, []FormTemperature{{"", base}}, rest), nil
	}
	return o, nil
}

// MeasureFidelity forces the model along the texts, clean and under each noise; logf says what is being done.
func MeasureFidelity(ctx context.Context, lm *decode.LM, o FidelityOptions,
	logf func(format string, args ...any),
) (*fidelity.Report, error) {
	r := &fidelity.Report{
		Schema: fidelitySchema, Prompts: len(o.Prompts), KVCache: o.KVCache, Seed: o.Seed,
		Base: o.Base,
	}
	var prompts, continuations [][]int // a text each, those of one kind together
	for _, of := range o.Texts {
		prompts, continuations = append(prompts, o.Prompts...), append(continuations, of.IDs...)
	}
	if err := checkTexts(prompts, continuations, lm.Model.Config.VocabSize); err != nil {
		return nil, err
	}
	for i, n := range o.Noises {
		draws := o.Draws
		if !n.Random() {
			draws = 1
		}
		if len(continuations) > 1 { // a single text is soon done
			logf("fidelity under %s (%d of %d): %s, %s", n.Label(), i+1, len(o.Noises),
				session.Count(len(continuations), "text"), session.Count(draws, "draw"))
		}
		if marginal(n) && draws == 1 {
			logf("one draw says nothing of the law of fresh noise; see --draws")
		}
		var forms []FormTemperature
		if o.Forms != nil {
			var err error
			if forms, err = o.Forms(n); err != nil {
				return nil, fmt.Errorf("temperatures under %q: %w", n.Label(), err)
			}
			o.Temperatures = nil
			for _, f := range forms {
				o.Temperatures = append(o.Temperatures, f.T)
			}
		}
		c, effect, err := measureFidelity(ctx, lm, n, draws, o, prompts, continuations)
		if err == nil {
			err = addFidelity(r, c, effect, n, draws, o, forms)
		}
		if err != nil {
			return nil, fmt.Errorf("fidelity under %q: %w", n.Label(), err)
		}
	}
	return r, nil
}

// marginal tells whether a noise has a law that is the mean over its draws: all random numbers are drawn anew for every
// token.
func marginal(n condition.Noise) bool { return n.Fresh() && !n.Chips() }

func checkTexts(prompts, continuations [][]int, vocab int) error {
	for i := range prompts {
		if len(prompts[i]) == 0 || len(continuations[i]) == 0 {
			return fmt.Errorf("text %d has %d prompt tokens and %d of a continuation; both need one", i,
				len(prompts[i]), len(continuations[i]))
		}
		for _, id := range calibrate.Join(prompts[i], continuations[i]) {
			if id < 0 || id >= vocab {
				return fmt.Errorf("token id %d is not between 0 and %d, the model's vocabulary", id, vocab-1)
			}
		}
	}
	return nil
}

func measureFidelity(
	ctx context.Context, lm *decode.LM, n condition.Noise, draws int, o FidelityOptions, prompts, continuations [][]int,
) (*fidelity.Collector, condition.Effect, error) {
	fresh := marginal(n) && draws > 1
	c := fidelity.NewCollector(continuations, draws, o.Base, o.Temperatures, fresh)
	probes, at := calibrate.Forced(prompts, continuations, o.KVCache)
	p := decode.Probing{Noise: n, Draws: draws, Seed: o.Seed}
	var effect condition.Effect
	var err error
	if fresh {
		effect, err = lm.ProbeDraws(ctx, probes, p, func(probe, row int, clean []float32, noisy [][]float32) {
			c.Add(at[probe].Prompt, at[probe].T+row, 0, clean, noisy...)
		})
	} else {
		effect, err = lm.Probe(ctx, probes, p, func(probe, draw, row int, clean, noisy []float32) {
			c.Add(at[probe].Prompt, at[probe].T+row, draw, clean, noisy)
		})
	}
	if n.Empty() && errors.Is(err, condition.ErrNoEffect) { // none is compared with itself
		err = nil
	}
	return c, effect, err
}

// addFidelity reads the rows of one noise off what was collected.
func addFidelity(r *fidelity.Report, c *fidelity.Collector, effect condition.Effect, n condition.Noise, draws int,
	o FidelityOptions, forms []FormTemperature,
) error {
	nearest := 0
	for k, t := range o.Temperatures {
		if math.Abs(t-o.Base) < math.Abs(o.Temperatures[nearest]-o.Base) {
			nearest = k
		}
	}
	first := 0
	for _, of := range o.Texts {
		texts := make([]int, len(of.IDs))
		for i := range texts {
			texts[i] = first + i
		}
		first += len(texts)
		rows, spreads, err := c.Rows(texts)
		if err != nil {
			return err
		}
		differences := c.Differences(texts, 0)
		for k, row := range rows {
			x := fidelity.ReportRow{
				Noise: n.Label(), Text: of.Kind, Positions: c.Positions(texts), Draws: draws, Row: row,
				Spread: spreads[k],
			}
			if forms != nil {
				x.Form, x.FromFirst = forms[k].Form, &differences[k]
			}
			r.Rows = append(r.Rows, x)
		}
		f := fidelity.ReportNoise{
			Noise: n.Label(), Text: of.Kind, T: o.Temperatures[nearest],
			ByEntropy: c.ByEntropy(texts, nearest), ByPosition: c.ByPosition(texts, nearest),
		}
		f.Alpha, f.Beta = c.Moments(texts)
		if snr := effect.Total().SNR(); !math.IsNaN(snr) && !math.IsInf(snr, 0) {
			f.SNR = &snr
		}
		if of.Kind == fidelity.Greedy {
			d := c.Divergent(texts)
			f.Divergent = &d
		}
		r.Noises = append(r.Noises, f)
	}
	return nil
}

// WriteFidelity puts fidelity.json, the rows as fidelity.csv and the plot, as PNG and SVG, into a directory.
func WriteFidelity(dir string, r *fidelity.Report) error {
	data, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return fmt.Errorf("writing the fidelity: %w", err)
	}
	base := filepath.Join(dir, fidelity.Name)
	if err := calibrate.WriteAtomic(base+".json", append(data, '\n')); err != nil {
		return err
	}
	table, err := r.CSV()
	if err != nil {
		return err
	}
	if err := calibrate.WriteAtomic(base+".csv", table); err != nil {
		return err
	}
	return writeFigure(base, r.Figure())
}
