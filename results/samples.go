package results

import (
	"math"
	"slices"
	"strconv"

	"github.com/gsmeval/gsmeval/scoring"
	"github.com/gsmeval/gsmeval/scoring/stats"
)

// AtK is what k samples of a question are worth together, by the estimators of stats.PassAtK and stats.MajAtK. A
// replicate gives its own k samples, so that those of a chip are all from that chip.
type AtK struct {
	K int `json:"k"`
	// Pass is the chance that one of k samples is right, Maj that the most frequent of their answers is.
	Pass Score `json:"pass"`
	Maj  Score `json:"maj"`
}

// Score is a mean over questions and replicates, as the accuracy of a row is, and its difference from the reference's.
type Score struct {
	Value        Float     `json:"value"`
	SE           Float     `json:"se"`
	CI           Interval  `json:"ci"`
	NewChips     *Interval `json:"ci_new_chips"`
	Diff         Float     `json:"diff"`
	DiffCI       *Interval `json:"diff_ci"`
	DiffNewChips *Interval `json:"diff_ci_new_chips"`
}

// score is pass@k or maj@k of the votes of one question.
type score struct {
	name string
	of   func(v stats.Votes, k int) float64
}

var (
	passAtK = score{"pass", func(v stats.Votes, k int) float64 { return stats.PassAtK(v.N(), v.Right(), k) }}
	majAtK  = score{"maj", stats.MajAtK}
)

// stream is the random stream of a score's bootstrap.
func (s score) stream(labels []string, k int) uint64 {
	return streamOf(append(slices.Clone(labels), s.name, strconv.Itoa(k)))
}

// class numbers the answers of a set, 0 standing for none.
func (s *Set) class(r *Record) uint32 {
	if s.perQuestion == 1 {
		return 0 // nothing is voted on
	}
	name := scoring.VoteClass(r.Answer)
	if name == "" {
		return 0
	}
	if s.classes == nil {
		s.classes = map[string]uint32{}
	}
	if _, ok := s.classes[name]; !ok {
		s.classes[name] = uint32(len(s.classes) + 1)
	}
	return s.classes[name]
}

// reached tells whether a sample that is wrong came past the right answer.
func (s *Set) reached(r *Record) bool {
	return !r.Correct && r.Status.Counted() && s.meta.Golds != nil && scoring.Reached(r.Text, s.meta.Golds[r.Order])
}

// votes counts the answers of a question in a replicate.
func (s *Set) votes(c *cell, replicate, order int) stats.Votes {
	class, right := make([]uint32, 0, s.perQuestion), make([]bool, 0, s.perQuestion)
	for number := range s.perQuestion {
		if x := c.at(replicate, order, number); x.verdict.counted() {
			class, right = append(class, x.class), append(right, x.verdict.right() == 1)
		}
	}
	return stats.Count(class, right)
}

// valuesAtK is a score of every question in every replicate; NaN where there are fewer than k samples.
func (s *Set) valuesAtK(c *cell, what score, k, replicates int) [][]float64 {
	out := make([][]float64, len(s.examples))
	for order := range out {
		out[order] = make([]float64, replicates)
		for r := range replicates {
			out[order][r] = what.of(s.votes(c, r, order), k)
		}
	}
	return out
}

// grouped adds up values by group of questions and replicate.
func (g groups) grouped(values [][]float64) [][]stats.Cluster {
	rows := make([][]stats.Cluster, g.count)
	for order, group := range g.of {
		if rows[group] == nil {
			rows[group] = make([]stats.Cluster, len(values[order]))
		}
		for r, v := range values[order] {
			if !math.IsNaN(v) {
				rows[group][r].Sum += v
				rows[group][r].N++
			}
		}
	}
	return rows
}

// atK computes pass@k and maj@k of a condition for every k of the run; reference is nil where there is nothing to
// compare with.
func (s *Set) atK(c, reference *cell, chips bool, labels ...string) []AtK {
	var out []AtK
	for _, k := range s.meta.K {
		out = append(out, AtK{
			K:    k,
			Pass: s.scoreAtK(c, reference, passAtK, k, chips, labels...),
			Maj:  s.scoreAtK(c, reference, majAtK, k, chips, labels...),
		})
	}
	return out
}

func (s *Set) scoreAtK(c, reference *cell, what score, k int, chips bool, labels ...string) Score {
	own := stats.EstimateMean(s.groups().grouped(s.valuesAtK(c, what, k, len(c.samples))), chips, DefaultSeed,
		what.stream(labels, k))
	out := Score{
		Value: Float(own.Value), SE: Float(own.SE), CI: intervalOf(own.CI.Within(0, 1)),
		NewChips: maybeInterval(own.NewChips.Within(0, 1)), Diff: Float(nan),
	}
	if reference == nil {
		return out
	}
	diff := differenceAtK(arm{s, reference}, arm{s, c}, what, k, chips, DefaultSeed, labels...)
	in := intervalOf(diff.CI)
	out.Diff, out.DiffCI, out.DiffNewChips = Float(diff.Value), &in, maybeInterval(diff.NewChips.Within(-1, 1))
	return out
}

// differenceAtK is b's score minus a's over the questions and replicates that both have k samples of.
func differenceAtK(a, b arm, what score, k int, chips bool, seed uint64, labels ...string) stats.Estimate {
	replicates := replicatesOf(a.cell, b.cell)
	left, right := a.set.valuesAtK(a.cell, what, k, replicates), b.set.valuesAtK(b.cell, what, k, replicates)
	for orderA, row := range left {
		orderB, ok := b.set.byID[a.set.examples[orderA].id]
		for r := range row {
			if ok && a.set.examples[orderA].known {
				row[r] = right[orderB][r] - row[r]
			} else {
				row[r] = nan
			}
		}
	}
	return stats.EstimateMean(a.set.groups().grouped(left), chips, seed, what.stream(labels, k))
}

// eceBins is the number of bins of a majority's share.
const eceBins = 10

// ece is how far the share of the majority is from the frequency with which it is right; NaN where one sample of each
// question was made.
func (s *Set) ece(c *cell) float64 {
	if s.perQuestion == 1 || c.cond.OneSample {
		return nan
	}
	var shares, rights []float64
	for order := range s.examples {
		for r := range c.samples {
			if v := s.votes(c, r, order); v.N() > 1 {
				share, right := v.Majority()
				shares, rights = append(shares, share), append(rights, right)
			}
		}
	}
	return stats.ECE(stats.Calibration(shares, rights, eceBins))
}

// PairAtK is what k samples of a question are worth on both sides of a comparison.
type PairAtK struct {
	K    int       `json:"k"`
	Pass PairScore `json:"pass"`
	Maj  PairScore `json:"maj"`
}

// PairScore is a score of A and of B, each over what it has, and the paired difference B - A.
type PairScore struct {
	A        Float     `json:"a"`
	B        Float     `json:"b"`
	Diff     Float     `json:"diff"`
	SE       Float     `json:"se"`
	CI       Interval  `json:"ci"`
	NewChips *Interval `json:"ci_new_chips"`
}

// pairAtK compares two conditions at every k that both runs ask for.
func pairAtK(a, b arm, chips bool, seed uint64, labels ...string) []PairAtK {
	var out []PairAtK
	for _, k := range a.set.meta.K {
		if !slices.Contains(b.set.meta.K, k) {
			continue
		}
		out = append(out, PairAtK{
			K:    k,
			Pass: pairScoreAtK(a, b, passAtK, k, chips, seed, labels...),
			Maj:  pairScoreAtK(a, b, majAtK, k, chips, seed, labels...),
		})
	}
	return out
}

func pairScoreAtK(a, b arm, what score, k int, chips bool, seed uint64, labels ...string) PairScore {
	mean := func(x arm) Float {
		return Float(stats.MeanOf(x.set.groups().grouped(x.set.valuesAtK(x.cell, what, k, len(x.cell.samples)))))
	}
	diff := differenceAtK(a, b, what, k, chips, seed, labels...)
	return PairScore{
		A: mean(a), B: mean(b), Diff: Float(diff.Value), SE: Float(diff.SE), CI: intervalOf(diff.CI),
		NewChips: maybeInterval(diff.NewChips.Within(-1, 1)),
	}
}
