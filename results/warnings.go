package results

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gsmeval/gsmeval/scoring/stats"
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
	WarnNoWidth      Warning = "no_width"

	WarnNothingCounts  Warning = "nothing_counts"
	WarnNothingDiffers Warning = "nothing_differs"
	WarnLeftOut        Warning = "left_out"
)

// The sizes below which, or above which, a table warns.
const (
	fewQuestions  = 100
	manyTruncated = 0.05
)

// caution says when something has a warning, and how a person is told: of everything that has it by itself, or once of
// all together.
type caution[R any] struct {
	warning  Warning
	applies  func(*R) bool
	each     func(*R) string
	together func([]*R) string
}

// warn fills in the warnings of list and puts them into sentences.
func warn[R any](list []R, cautions []caution[R], warnings func(*R) *[]Warning) []string {
	var sentences []string
	having := map[Warning][]*R{}
	for i := range list {
		r := &list[i]
		for _, c := range cautions {
			if !c.applies(r) {
				continue
			}
			*warnings(r) = append(*warnings(r), c.warning)
			having[c.warning] = append(having[c.warning], r)
			if c.each != nil {
				sentences = append(sentences, c.each(r))
			}
		}
	}
	for _, c := range cautions {
		if c.together != nil && len(having[c.warning]) > 0 {
			sentences = append(sentences, c.together(having[c.warning]))
		}
	}
	return sentences
}

// rowCautions are those of a table.
var rowCautions = []caution[Row]{
	{
		warning: WarnIncomplete,
		applies: func(r *Row) bool { return r.Samples < r.Planned },
		each: func(r *Row) string {
			return fmt.Sprintf("%s: %d of %d samples are there; the run is not complete.", rowName(r), r.Samples,
				r.Planned)
		},
	},
	{
		warning: WarnFailed,
		applies: func(r *Row) bool { return r.Failed() > 0 },
		each: func(r *Row) string {
			return fmt.Sprintf("%s: %s in no accuracy (%d with logits that were not finite, "+
				"%d with an error).",
				rowName(r), FailedAre(r.Failed()), r.Nonfinite, r.Errors)
		},
	},
	{
		warning: WarnFewQuestions,
		applies: func(r *Row) bool { return r.N > 0 && r.Questions < fewQuestions },
		together: func(rows []*Row) string {
			fewest, widest := rows[0].Questions, 0.0
			for _, r := range rows {
				fewest = min(fewest, r.Questions)
				if half := float64(r.CI[1]-r.CI[0]) / 2; half > widest {
					widest = half
				}
			}
			only := fmt.Sprintf("There are only %d questions", fewest)
			if fewest == 1 {
				only = "There is only 1 question"
			}
			return fmt.Sprintf("%s: a 95 %% interval reaches up to %s points to either side.", only, fixed(100*widest, 0))
		},
	},
	{
		warning: WarnOneSeed,
		applies: func(r *Row) bool { return r.noise.Drawn() && r.Seeds == 1 },
		together: func(rows []*Row) string {
			return fmt.Sprintf("One noise seed under %s: the intervals say nothing about other draws of the noise.",
				noisesOf(rows, func(r *Row) string { return r.Noise }))
		},
	},
	{
		warning:  WarnFewChips,
		applies:  func(r *Row) bool { return r.noise.Chips && r.Seeds > 1 && r.Seeds < stats.MinChips },
		together: func(rows []*Row) string { return fewChips(noisesOf(rows, func(r *Row) string { return r.Noise })) },
	},
	{
		warning: WarnTruncated,
		applies: func(r *Row) bool { return r.TruncatedShare > manyTruncated },
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
	{
		warning: WarnNoWidth,
		applies: func(r *Row) bool { return len(r.noWidth()) > 0 },
		together: func(rows []*Row) string {
			names := make([]string, len(rows))
			for i, r := range rows {
				names[i] = strings.Join(r.noWidth(), ", ") + " under " + rowName(r)
			}
			return fmt.Sprintf("No question differs from the others in %s: the interval there has no width, "+
				"and says nothing about other questions.", strings.Join(names, "; "))
		},
	},
}

// noWidth lists the scores of k samples whose interval has no width: a bootstrap of questions that are all alike knows
// nothing of others, as Wilson's interval of an accuracy does.
func (r *Row) noWidth() []string {
	var names []string
	for i := range r.AtK {
		at := &r.AtK[i]
		if at.Pass.CI.noWidth() {
			names = append(names, Measure{passAtK, at.K}.String())
		}
		if at.Maj.CI.noWidth() {
			names = append(names, Measure{majAtK, at.K}.String())
		}
	}
	return names
}

// noisesOf lists the noises of rows or pairs, each once.
func noisesOf[R any](list []*R, noise func(*R) string) string {
	var names []string
	for _, r := range list {
		if !slices.Contains(names, noise(r)) {
			names = append(names, noise(r))
		}
	}
	return strings.Join(names, "; ")
}

func fewChips(noises string) string {
	return fmt.Sprintf("Fewer than %d noise seeds under %s: there is no interval for new chips.", stats.MinChips,
		noises)
}

// pairCautions are those of a comparison.
var pairCautions = []caution[Pair]{
	{
		warning: WarnNothingCounts,
		applies: func(p *Pair) bool { return !p.SameSamples && p.N == 0 },
		each:    func(p *Pair) string { return pairName(p) + ": no sample counts on both sides." },
	},
	{
		warning: WarnNothingDiffers,
		applies: func(p *Pair) bool { return !p.SameSamples && p.N > 0 && p.Paired && *p.Gained+*p.Lost == 0 },
		each: func(p *Pair) string {
			return pairName(p) + ": no verdict differs, " +
				"so the interval has no width and the smallest visible difference is unknown."
		},
	},
	{
		warning: WarnLeftOut,
		applies: func(p *Pair) bool { return p.N > 0 && p.Dropped > 0 },
		each: func(p *Pair) string {
			return pairName(p) + ": " + samplesAre(p.Dropped) + " not counted on both sides and left out."
		},
	},
	{
		warning: WarnFewChips,
		applies: func(p *Pair) bool { return p.chips && p.N > 0 && p.Replicates < stats.MinChips },
		together: func(pairs []*Pair) string {
			return fewChips(noisesOf(pairs, func(p *Pair) string { return p.Noise }))
		},
	},
}

// pairName names a pair in sentences.
func pairName(p *Pair) string {
	name := p.Noise
	if p.Temperature != "" {
		name += ", " + p.Temperature
	}
	return name + ": " + p.A + " against " + p.B
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// FailedAre begins a sentence about n samples without a verdict: "1 sample failed and is".
func FailedAre(n int) string {
	if n == 1 {
		return "1 sample failed and is"
	}
	return fmt.Sprintf("%d samples failed and are", n)
}

func samplesAre(n int) string {
	if n == 1 {
		return "1 sample is"
	}
	return fmt.Sprintf("%d samples are", n)
}
