package results

import (
	"fmt"
	"slices"
	"strings"
)

// Warning names something that weakens a number.
type Warning string

// The warnings of a table's row and of a comparison's pair.
const (
	WarnIncomplete   Warning = "incomplete"
	WarnFailed       Warning = "failed"
	WarnFewQuestions Warning = "few_questions"
	WarnOneSeed      Warning = "one_seed"
	WarnFewChips     Warning = "few_chips"
	WarnTruncated    Warning = "truncated"

	WarnNothingCounts  Warning = "nothing_counts"
	WarnNothingDiffers Warning = "nothing_differs"
	WarnLeftOut        Warning = "left_out"
)

// The sizes below which, or above which, a table warns.
const (
	fewQuestions  = 100
	fewSeeds      = 5
	manyTruncated = 0.05
)

// rowCautions say when a row has a warning and how a table says it: of every row by itself, or once of all that have
// it.
var rowCautions = []struct {
	warning  Warning
	applies  func(*Row, Noise) bool
	each     func(*Row) string
	together func([]*Row) string
}{
	{
		warning: WarnIncomplete,
		applies: func(r *Row, _ Noise) bool { return r.Samples < r.Planned },
		each: func(r *Row) string {
			return fmt.Sprintf("%s: %d of %d samples are there; the run is not complete.", rowName(r), r.Samples,
				r.Planned)
		},
	},
	{
		warning: WarnFailed,
		applies: func(r *Row, _ Noise) bool { return r.Failed() > 0 },
		each: func(r *Row) string {
			return fmt.Sprintf("%s: %s failed and in no accuracy (%d with logits that were not finite, "+
				"%d with an error).",
				rowName(r), plural(r.Failed(), "sample"), r.Nonfinite, r.Errors)
		},
	},
	{
		warning: WarnFewQuestions,
		applies: func(r *Row, _ Noise) bool { return r.N > 0 && r.Questions < fewQuestions },
		together: func(rows []*Row) string {
			fewest, widest := rows[0].Questions, 0.0
			for _, r := range rows {
				fewest = min(fewest, r.Questions)
				if half := float64(r.CI[1]-r.CI[0]) / 2; half > widest {
					widest = half
				}
			}
			return fmt.Sprintf("There are only %d questions: a 95 %% interval reaches up to %s points to either side.",
				fewest, fixed(100*widest, 0))
		},
	},
	{
		warning: WarnOneSeed,
		applies: func(r *Row, n Noise) bool { return n.Kind != KindNone && r.Seeds == 1 },
		together: func(rows []*Row) string {
			return fmt.Sprintf("One noise seed under %s: the intervals say nothing about other draws of the noise.",
				noisesOf(rows))
		},
	},
	{
		warning: WarnFewChips,
		applies: func(r *Row, n Noise) bool { return n.Chips && r.Seeds > 1 && r.Seeds < fewSeeds },
		together: func(rows []*Row) string {
			return fmt.Sprintf("Fewer than %d noise seeds under %s: "+
				"the interval for new chips rests on very few chips and may be too narrow.",
				fewSeeds, noisesOf(rows))
		},
	},
	{
		warning: WarnTruncated,
		applies: func(r *Row, _ Noise) bool { return r.TruncatedShare > manyTruncated },
		together: func(rows []*Row) string {
			names := make([]string, len(rows))
			for i, r := range rows {
				names[i] = rowName(r)
			}
			return fmt.Sprintf("More than %s %% of the samples are truncated under %s: "+
				"accuracy there depends on the token limit.",
				fixed(100*manyTruncated, 0), strings.Join(names, "; "))
		},
	},
}

// warningsOf returns the warnings of a row under a noise.
func warningsOf(r *Row, n Noise) []Warning {
	var list []Warning
	for _, c := range rowCautions {
		if c.applies(r, n) {
			list = append(list, c.warning)
		}
	}
	return list
}

// rowWarnings puts the warnings of rows into sentences.
func rowWarnings(rows []Row) []string {
	var sentences []string
	having := map[Warning][]*Row{}
	for i := range rows {
		for _, c := range rowCautions {
			if !slices.Contains(rows[i].Warnings, c.warning) {
				continue
			}
			having[c.warning] = append(having[c.warning], &rows[i])
			if c.each != nil {
				sentences = append(sentences, c.each(&rows[i]))
			}
		}
	}
	for _, c := range rowCautions {
		if c.together != nil && len(having[c.warning]) > 0 {
			sentences = append(sentences, c.together(having[c.warning]))
		}
	}
	return sentences
}

// noisesOf lists the noises of rows, each once.
func noisesOf(rows []*Row) string {
	var names []string
	for _, r := range rows {
		if !slices.Contains(names, r.Noise) {
			names = append(names, r.Noise)
		}
	}
	return strings.Join(names, "; ")
}

// pairCautions say when a pair has a warning and how a comparison says it.
var pairCautions = []struct {
	warning Warning
	applies func(*Pair) bool
	text    func(*Pair) string
}{
	{
		warning: WarnNothingCounts,
		applies: func(p *Pair) bool { return !p.SameSamples && p.N == 0 },
		text:    func(*Pair) string { return "no sample counts on both sides." },
	},
	{
		warning: WarnNothingDiffers,
		applies: func(p *Pair) bool { return !p.SameSamples && p.N > 0 && p.Paired && *p.Gained+*p.Lost == 0 },
		text: func(*Pair) string {
			return "no verdict differs, so the interval has no width and the smallest visible difference is unknown."
		},
	},
	{
		warning: WarnLeftOut,
		applies: func(p *Pair) bool { return p.N > 0 && p.Dropped > 0 },
		text: func(p *Pair) string {
			return samplesAre(p.Dropped) + " not counted on both sides and left out."
		},
	},
}

// warn fills in the pair's warnings and returns them as sentences.
func (p *Pair) warn(name string) []string {
	var sentences []string
	for _, c := range pairCautions {
		if c.applies(p) {
			p.Warnings = append(p.Warnings, c.warning)
			sentences = append(sentences, name+": "+c.text(p))
		}
	}
	return sentences
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func samplesAre(n int) string {
	if n == 1 {
		return "1 sample is"
	}
	return fmt.Sprintf("%d samples are", n)
}
