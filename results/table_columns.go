package results

import "fmt"

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

	{csv: "ok", cell: func(r *Row) value { return countValue(r.OK) }},
	{csv: "truncated", cell: func(r *Row) value { return countValue(r.Truncated) }},
	{csv: "truncated_correct", cell: func(r *Row) value { return countValue(r.TruncatedCorrect) }},
	{csv: "truncated_share", head: "Truncated %", cell: truncatedValue},
	{csv: "no_answer", cell: func(r *Row) value { return countValue(r.NoAnswer) }},
	{csv: "no_answer_share", head: "No answer %", cell: func(r *Row) value { return shareValue(r.NoAnswerShare) }},
	{csv: "nonfinite", cell: func(r *Row) value { return countValue(r.Nonfinite) }},
	{csv: "error", cell: func(r *Row) value { return countValue(r.Errors) }},
	{head: "Failed", cell: func(r *Row) value { return countValue(r.Failed()) }},

	{csv: "mean_tokens", head: "Tokens", cell: func(r *Row) value { return numberValue(r.MeanTokens, 1) }},
	{csv: "mean_t", head: "T", cell: func(r *Row) value { return numberValue(r.MeanT, 4) }},
	{
		csv: "mean_alpha", head: "alpha", shown: anyOf(measured),
		cell: func(r *Row) value { return numberValue(r.MeanAlpha, 4) },
	},
	{csv: "samples_of", cell: func(r *Row) value { return textValue(r.SamplesOf) }},
}

// What a row has to have for some of the columns to be shown.

func severalSeeds(r *Row) bool { return r.Seeds > 1 }

func hasNewChips(r *Row) bool { return r.NewChips != nil }

func compared(r *Row) bool { return !r.Reference }

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
