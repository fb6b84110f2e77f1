package calibrate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/gsmeval/gsmeval/decode"
	"github.com/gsmeval/gsmeval/harness/session"
	"github.com/gsmeval/gsmeval/internal/condition"
	"github.com/gsmeval/gsmeval/internal/keys"
	"github.com/gsmeval/gsmeval/noise/operation"
)

// Offer gives a session's model what the noises of its config and other ones need beside it: the checkpoints that they
// put in place of its weights, and the ranges that static quantisers take from the calibration prompts.
func Offer(ctx context.Context, s *session.Session, others ...condition.Noise) error {
	noises := slices.Concat(s.Cfg.Noise, others)
	for _, t := range s.Cfg.Temperature {
		if from, ok := t.From(); ok {
			noises = append(noises, from)
		}
	}
	if err := session.OfferCheckpoints(ctx, s.LM, s.Locator, noises); err != nil {
		return err
	}
	if !slices.ContainsFunc(noises, condition.Noise.Calibrated) || s.LM.Ranges != nil {
		return nil
	}
	return measureRanges(ctx, s)
}

// measureRanges finds what activations span along the calibration prompts and their clean greedy continuations.
func measureRanges(ctx context.Context, s *session.Session) error {
	c := New(s)
	if err := c.Prepare(ctx); err != nil {
		return err
	}
	s.Logf("measuring the ranges of activations on %s", session.Count(len(c.Prompts), "calibration prompt"))
	continuations, err := c.Continuations(ctx)
	if err != nil {
		return err
	}
	all := map[operation.Place]*spans{}
	part := func(p operation.Place) condition.Part {
		all[p] = &spans{sites: map[uint32]operation.Range{}}
		return condition.Part{Kind: "spans", Operation: all[p]}
	}
	n := condition.Noise{
		Activations: part(operation.Inputs), Outputs: part(operation.Outputs), KV: part(operation.KV),
		Scope: condition.All,
	}
	probes, _ := Forced(c.Prompts, continuations, true)
	_, err = s.LM.Probe(ctx, probes, decode.Probing{Noise: n, Draws: 1}, func(_, _, _ int, _, _ []float32) {})
	if err != nil && !errors.Is(err, condition.ErrNoEffect) {
		return fmt.Errorf("measuring the ranges of activations: %w", err)
	}
	s.LM.Ranges = func(p operation.Place, site uint32) (operation.Range, bool) {
		r, ok := all[p].sites[site]
		return r, ok
	}
	s.ID.Hashes["calibration prompts"] = session.ShortSHA(fmt.Sprint(c.Prompts))
	return nil
}

// spans is an operation that changes nothing and remembers the range of each site.
type spans struct {
	mu    sync.Mutex
	sites map[uint32]operation.Range
}

func (*spans) Check(keys.Report, operation.Place) {}
func (*spans) Label() string                      { return "spans" }
func (*spans) Random() bool                       { return false }

func (m *spans) PerturbRow(y []float32, x operation.Rows, i int) (t operation.Tally) {
	copy(y, x.Row(i))
	lo, hi := slices.Min(y), slices.Max(y)
	m.mu.Lock()
	defer m.mu.Unlock()
	if r, known := m.sites[x.Site]; known {
		lo, hi = min(lo, r.Lo), max(hi, r.Hi)
	}
	m.sites[x.Site] = operation.Range{Lo: lo, Hi: hi}
	return t
}
