package calibrate

import (
	"context"
	"strconv"

	"github.com/gsmeval/gsmeval/decode"
	"github.com/gsmeval/gsmeval/internal/condition"
)

// ProbeSet is probes of several measurements, which share each draw of the weights, and what takes their logits.
type ProbeSet struct {
	Probes []decode.Probe
	visits []func(draw, row int, clean, noisy []float32)
}

func (s *ProbeSet) add(p decode.Probe, visit func(draw, row int, clean, noisy []float32)) {
	s.Probes, s.visits = append(s.Probes, p), append(s.visits, visit)
}

// Run computes the probes under a noise.
func (s *ProbeSet) Run(ctx context.Context, lm *decode.LM, p decode.Probing) (condition.Effect, error) {
	return lm.Probe(ctx, s.Probes, p, func(probe, draw, row int, clean, noisy []float32) {
		s.visits[probe](draw, row, clean, noisy)
	})
}

// RunTogether is Run with the draws of a row one after another, for noise whose weights are the same in every draw.
func (s *ProbeSet) RunTogether(ctx context.Context, lm *decode.LM, p decode.Probing) (condition.Effect, error) {
	return lm.ProbeDraws(ctx, s.Probes, p, func(probe, row int, clean []float32, noisy [][]float32) {
		for draw, z := range noisy {
			s.visits[probe](draw, row, clean, z)
		}
	})
}

// TeacherForcing adds every position along the continuations.
func (s *ProbeSet) TeacherForcing(prompts, continuations [][]int, kvCache bool,
	visit func(prompt, draw, t int, clean, noisy []float32),
) {
	probes, at := Forced(prompts, continuations, kvCache)
	for i, p := range probes {
		s.add(p, func(draw, row int, clean, noisy []float32) { visit(at[i].Prompt, draw, at[i].T+row, clean, noisy) })
	}
}

// Position is the first position of a probe: that of token T of a prompt's continuation.
type Position struct{ Prompt, T int }

// Forced are the probes of every position along the continuations. With a key-value cache one pass over prompt and
// continuation has them all; without one each position is a prefix of its own, under fresh noise.
func Forced(prompts, continuations [][]int, kvCache bool) (probes []decode.Probe, at []Position) {
	for i, prompt := range prompts {
		n := len(continuations[i])
		if !kvCache {
			for t := range n {
				probes, at = append(probes, whole(Join(prompt, continuations[i][:t]), strconv.Itoa(i), t)),
					append(at, Position{i, t})
			}
			continue
		}
		// The last continuation token is only predicted, never read.
		ids := Join(prompt, continuations[i][:n-1])
		probes = append(probes, decode.Probe{
			IDs: ids, From: len(prompt) - 1, Together: len(prompt),
			Sample: strconv.Itoa(i),
		})
		at = append(at, Position{i, 0})
	}
	return probes, at
}

// Prefix adds the position that follows prompt and t tokens of its continuation, recomputed under fresh noise.
func (s *ProbeSet) Prefix(prompt, continuation []int, i, t int, visit func(draw, row int, clean, noisy []float32)) {
	s.Whole(Join(prompt, continuation[:t]), strconv.Itoa(i), t, visit)
}

// Whole adds the last position of a sequence that is computed in one pass, its spread over the whole of it.
func (s *ProbeSet) Whole(ids []int, sample string, step int, visit func(draw, row int, clean, noisy []float32)) {
	s.add(whole(ids, sample, step), visit)
}

func whole(ids []int, sample string, step int) decode.Probe {
	return decode.Probe{IDs: ids, From: len(ids) - 1, Together: len(ids), Sample: sample, Step: uint32(step)}
}

// Join is a and then b, in memory of its own.
func Join(a, b []int) []int { return append(append(make([]int, 0, len(a)+len(b)), a...), b...) }
