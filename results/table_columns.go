package results

import (
	"fmt"
	"strconv"
)

// tableColumns are the columns of a table, from left to right.
var tableColumns = []column[Row]{
	{csv: "noise", head: "Noise", label: true, cell: func(r *Row) value { return textValue(r.Noise) }},
	{
		csv: "temperature", head: "Temperature", label: true,
		cell: func(r *Row) value { return textValue(r.Temperature) },
	},
	{csv: "reference", cell: func(r *Row) value { return flagValue(r.Reference) }},
	{csv: "samples", cell: func(r *Row) value { return countValue(r.Samples) }},
	{csv: "planned", cell: func(r *Row) value { return countValue(r.Planned) }},
	{csv: "n", head: "n", cell: func(r *Row) value { return countValue(r.N) }},
	{csv: "questions", cell: func(r *Row) value { return countValue(r.Questions) }},
	{csv: "seeds", head: "Seeds", shown: anyOf(severalSeeds), cell: func(r *Row) value { return countValue(r.Seeds) }},
	{csv: "correct", cell: func(r *Row) value { return countValue(r.Correct) }},

	{csv: "accuracy", head: "Accuracy", cell: func(r *Row) value { return shareValue(r.Accuracy) }},
	{csv: "se", head: "SE", cell: func(r *Row) value { return shareValue(r.SE) }},
	{csv: "effective_n", cell: func(r *Row) value { return numberValue(r.EffectiveN, 1) }},
	{csv: "ci_lo,ci_hi", head: "95 % CI", cell: func(r *Row) value { return intervalValue(&r.CI, percentBound) }},
	{
		csv: "ci_new_chips_lo,ci_new_chips_hi", head: "new chips", shown: anyOf(hasNewChips),
		cell: func(r *Row) value { return intervalValue(r.NewChips, percentBound) },
	},
	{csv: "seed_mean,seed_std", head: "Over seeds", shown: anyOf(severalSeeds), cell: overSeedsValue},

	{csv: "diff", head: "Difference", shown: anyOf(compared), cell: differenceValue},
	{
		csv: "diff_lo,diff_hi", head: "95 % CI", shown: anyOf(compared),
		cell: func(r *Row) value { return intervalValue(r.DiffCI, points) },
	},
	{
		csv: "diff_new_chips_lo,diff_new_chips_hi", head: "new chips",
		shown: func(rows []Row) bool { return anyOf(compared)(rows) && anyOf(hasNewChips)(rows) },
		cell:  func(r *Row) value { return intervalValue(r.DiffNewChips, points) },
	},
	{csv: "p", head: "p", shown: anyOf(compared), cell: func(r *Row) value { return testValue(r.P) }},
	{csv: "p_method", cell: func(r *Row) value { return textValue(r.PMethod) }},
	{csv: "paired_n", cell: func(r *Row) value { return countValue(r.PairedN) }},
	{csv: "gained", cell: func(r *Row) value { return countValue(r.Gained) }},
	{csv: "lost", cell: func(r *Row) value { return countValue(r.Lost) }},
	{
		csv: "flips_n,right_to_wrong,wrong_to_right,flips_p", head: "Flips",
		shown: anyOf(func(r *Row) bool { return r.Flips != nil }), cell: flipsValue,
	},

	{csv: "ok", cell: func(r *Row) value { return countValue(r.OK) }},
	{csv: "truncated", cell: func(r *Row) value { return countValue(r.Truncated) }},
	{csv: "truncated_correct", cell: func(r *Row) value { return countValue(r.TruncatedCorrect) }},
	{csv: "truncated_share", head: "Truncated %", cell: truncatedValue},
	{csv: "no_answer", cell: func(r *Row) value { return countValue(r.NoAnswer) }},
	{csv: "no_answer_share", head: "No answer %", cell: func(r *Row) value { return shareValue(r.NoAnswerShare) }},
	{
		csv: "wrong,reached,reached_share", head: "Reached %",
		shown: anyOf(func(r *Row) bool { return r.ReachedShare.Finite() }), cell: reachedValue,
	},
	{csv: "nonfinite", cell: func(r *Row) value { return countValue(r.Nonfinite) }},
	{csv: "error", cell: func(r *Row) value { return countValue(r.Errors) }},
	{head: "Failed", cell: func(r *Row) value { return countValue(r.Failed()) }},

	{csv: "mean_tokens", head: "Tokens", cell: func(r *Row) value { return numberValue(r.MeanTokens, 1) }},
	{csv: "mean_t", head: "T", cell: func(r *Row) value { return numberValue(r.MeanT, 4) }},
	{
		csv: "mean_alpha", head: "alpha", shown: anyOf(measured),
		cell: func(r *Row) value { return numberValue(r.MeanAlpha, 4) },
	},
	{
		csv: "kld", head: "KLD", shown: anyOf(faithful),
		cell: fidelityValue(nats, func(f *Fidelity) Float { return f.KLD }),
	},
	{
		csv: "marginal_kld", head: "Marginal KLD",
		shown: anyOf(func(r *Row) bool { return faithful(r) && r.Fidelity.Marginal.Finite() }),
		cell:  fidelityValue(nats, func(f *Fidelity) Float { return f.Marginal }),
	},
	{
		csv: "same_top", head: "Same top %", shown: anyOf(faithful),
		cell: fidelityValue(shareValue, func(f *Fidelity) Float { return f.SameTop }),
	},
	{csv: "samples_of", cell: func(r *Row) value { return textValue(r.SamplesOf) }},
	{
		csv: "ece", head: "ECE", shown: anyOf(func(r *Row) bool { return r.ECE.Finite() }),
		cell: func(r *Row) value { return numberValue(r.ECE, 3) },
	},
}

// samplesColumns are the columns of several samples of a question: those of each k that a row has, from left to right.
func samplesColumns(rows []Row) (out []column[Row]) {
	if len(rows) == 0 {
		return nil
	}
	for i, at := range rows[0].AtK {
		for _, what := range []struct {
			name string
			of   func(*AtK) *Score
		}{
			{"pass", func(a *AtK) *Score { return &a.Pass }},
			{"maj", func(a *AtK) *Score { return &a.Maj }},
		} {
			name := what.name + "_at_" + strconv.Itoa(at.K)
			score := func(r *Row) *Score { return what.of(&r.AtK[i]) }
			several := func([]Row) bool { return at.K > 1 } // of one sample both are the accuracy
			out = append(out,
				column[Row]{
					csv:   name + "," + name + "_se," + name + "_lo," + name + "_hi",
					head:  fmt.Sprintf("%s@%d", what.name, at.K),
					shown: several, cell: func(r *Row) value { return scoreValue(score(r)) },
				},
				column[Row]{
					csv: name + "_diff," + name + "_diff_lo," + name + "_diff_hi", head: "Difference",
					shown: func(rows []Row) bool { return several(rows) && anyOf(compared)(rows) },
					cell:  func(r *Row) value { return scoreDifferenceValue(r, score(r)) },
				},
				column[Row]{
					csv: name + "_diff_new_chips_lo," + name + "_diff_new_chips_hi", head: "new chips",
					shown: func(rows []Row) bool {
						return several(rows) && anyOf(compared)(rows) &&
							anyOf(hasNewChips)(rows)
					},
					cell: func(r *Row) value { return intervalValue(score(r).DiffNewChips, points) },
				})
		}
	}
	return out
}

// What a row has to have for some of the columns to be shown.

func severalSeeds(r *Row) bool { return r.Seeds > 1 }

func hasNewChips(r *Row) bool { return r.NewChips != nil }

func compared(r *Row) bool { return !r.Reference }

func faithful(r *Row) bool { return r.Fidelity != nil }

func nats(v Float) value { return numberValue(v, 4) }

// fidelityValue is a number of the row's fidelity, where that was measured.
func fidelityValue(show func(Float) value, of func(*Fidelity) Float) func(*Row) value {
	return func(r *Row) value {
		if r.Fidelity == nil {
			return show(Float(nan))
		}
		return show(of(r.Fidelity))
	}
}

func measured(r *Row) bool { return r.MeanAlpha.Finite() }

func overSeedsValue(r *Row) value {
	c := value{exact: []string{exact(r.SeedMean), exact(r.SeedStd)}, shown: none}
	if r.SeedStd.Finite() {
		c.shown = percent(r.SeedMean, 1) + " ± " + percent(r.SeedStd, 1)
	}
	return c
}

func differenceValue(r *Row) value {
	c := pointsValue(r.Diff)
	if r.Reference {
		c.shown = "reference"
	}
	return c
}

func truncatedValue(r *Row) value {
	c := shareValue(r.TruncatedShare)
	if r.Truncated > 0 {
		c.shown += fmt.Sprintf(" (%d right)", r.TruncatedCorrect)
	}
	return c
}

func flipsValue(r *Row) value {
	if r.Flips == nil {
		return value{[]string{"", "", "", ""}, none}
	}
	lost, gained := strconv.Itoa(r.Flips.RightToWrong), strconv.Itoa(r.Flips.WrongToRight)
	return value{[]string{strconv.Itoa(r.Flips.N), lost, gained, exact(r.Flips.P)}, lost + " / " + gained}
}

func reachedValue(r *Row) value {
	c := value{
		[]string{strconv.Itoa(r.Wrong), strconv.Itoa(r.Reached), exact(r.ReachedShare)},
		percent(r.ReachedShare, 1),
	}
	if !r.ReachedShare.Finite() {
		c.exact[1] = ""
	}
	return c
}

// scoreValue is a score with its standard error and interval; people see no standard error.
func scoreValue(s *Score) value {
	return value{
		[]string{exact(s.Value), exact(s.SE), exact(s.CI[0]), exact(s.CI[1])},
		percent(s.Value, 1) + " " + intervalValue(&s.CI, percentBound).shown,
	}
}

func scoreDifferenceValue(r *Row, s *Score) value {
	in := intervalValue(s.DiffCI, points)
	c := value{append([]string{exact(s.Diff)}, in.exact...), points(s.Diff) + " " + in.shown}
	if r.Reference {
		c.shown = "reference"
	}
	return c
}
