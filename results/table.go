package results

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gsmeval/gsmeval/scoring/stats"
)

// TableSchema is the version of table.json; it changes when a key changes meaning.
const TableSchema = 1

// Table is the result of a run: one row for each noise and temperature. Its JSON form is table.json, in which nothing
// is rounded and null means that there is no such number. Shares are fractions of 1.
type Table struct {
	Schema      int    `json:"schema"`
	Name        string `json:"name"`
	Fingerprint string `json:"fingerprint"`
	// Seed and Resamples made the bootstrap intervals.
	Seed      uint64 `json:"seed"`
	Resamples int    `json:"resamples"`
	// Clusters is how many groups the questions form that have something in common; 0 where each stands alone.
	Clusters int               `json:"clusters,omitempty"`
	Settings map[string]string `json:"settings"`
	Rows     []Row             `json:"rows"`
	// Notes explain the numbers; Warnings say what weakens them.
	Notes    []string `json:"notes"`
	Warnings []string `json:"warnings"`
}

// Row is one condition.
type Row struct {
	Noise       string `json:"noise"`
	Temperature string `json:"temperature"`
	NoiseIndex  int    `json:"noise_index"`
	TempIndex   int    `json:"temp_index"`
	// Reference marks the row that the others under its noise are compared with.
	Reference bool `json:"reference"`
	// Samples is how many samples there are and Planned how many there were to be; N of them count (ok, no answer,
	// truncated), over Questions and Seeds.
	Samples   int `json:"samples"`
	Planned   int `json:"planned"`
	N         int `json:"n"`
	Questions int `json:"questions"`
	Seeds     int `json:"seeds"`
	Correct   int `json:"correct"`
	// Accuracy is Correct/N; SE is its standard error, clustered by question, or by what questions have in common.
	Accuracy Float `json:"accuracy"`
	SE       Float `json:"se"`
	// EffectiveN is the number of independent samples that N are worth, and CI the Wilson interval of Accuracy with it:
	// for these noise seeds ("these chips").
	EffectiveN Float    `json:"effective_n"`
	CI         Interval `json:"ci"`
	// NewChips is the interval over questions and noise seeds, where seeds cross questions and there are at least two.
	NewChips *Interval `json:"ci_new_chips"`
	// SeedMean and SeedStd are over the accuracies of single noise seeds.
	SeedMean Float `json:"seed_mean"`
	SeedStd  Float `json:"seed_std"`
	// Diff is Accuracy minus the reference's over the PairedN samples that count in both, with its interval and the
	// p-value of PMethod; null in the reference.
	Diff         Float     `json:"diff"`
	DiffCI       *Interval `json:"diff_ci"`
	DiffNewChips *Interval `json:"diff_ci_new_chips"`
	P            Float     `json:"p"`
	PMethod      string    `json:"p_method,omitempty"`
	PairedN      int       `json:"paired_n"`
	Gained       int       `json:"gained"`
	Lost         int       `json:"lost"`
	// Counts by status. Nonfinite and Errors are in no accuracy.
	OK               int   `json:"ok"`
	Truncated        int   `json:"truncated"`
	TruncatedCorrect int   `json:"truncated_correct"`
	TruncatedShare   Float `json:"truncated_share"`
	NoAnswer         int   `json:"no_answer"`
	NoAnswerShare    Float `json:"no_answer_share"`
	Nonfinite        int   `json:"nonfinite"`
	Errors           int   `json:"error"`
	// MeanTokens is over counted samples; MeanT over their generated tokens.
	MeanTokens Float `json:"mean_tokens"`
	MeanT      Float `json:"mean_t"`
	MeanAlpha  Float `json:"mean_alpha"`
	// Flips compares with the noise that is none at the same temperature; nil where there is none or the row is of it.
	Flips *Flips `json:"flips"`
	// Reached is in how many of the Wrong counted samples the right answer stands somewhere in the text, and
	// ReachedShare that share of them; it is null where the run does not tell the right answers.
	Wrong        int   `json:"wrong"`
	Reached      int   `json:"reached"`
	ReachedShare Float `json:"reached_share"`
	// Fidelity is how near the condition is to the clean model; nil where it was not measured.
	Fidelity *Fidelity `json:"fidelity,omitempty"`
	// AtK is what k samples of a question are worth, where several were made; ECE is the expected calibration error of
	// the share that their majority has.
	AtK []AtK `json:"at_k,omitempty"`
	ECE Float `json:"ece"`
	// SamplesOf names the temperature whose samples the row shares.
	SamplesOf string   `json:"samples_of,omitempty"`
	Notes     []string `json:"notes,omitempty"`
	// Warnings are what weakens the numbers of the row; a table says them in sentences.
	Warnings []Warning `json:"warnings,omitempty"`
	noise    Noise
}

// Failed is how many samples of the row have no verdict.
func (r *Row) Failed() int { return r.Nonfinite + r.Errors }

// Table computes the table of the run.
func (s *Set) Table() *Table {
	t := &Table{
		Schema:      TableSchema,
		Name:        s.meta.Name,
		Fingerprint: s.meta.Fingerprint,
		Seed:        DefaultSeed,
		Resamples:   stats.Resamples,
		Settings:    s.meta.Settings,
		Notes:       []string{},
		Warnings:    []string{},
	}
	if t.Settings == nil {
		t.Settings = map[string]string{}
	}
	t.Clusters = s.clusters()
	for _, c := range s.conditions() {
		t.Rows = append(t.Rows, s.row(c))
	}
	t.Notes = append(t.Notes, s.notes(t)...)
	if s.partial {
		t.Warnings = append(t.Warnings, "The last line of the journal is not whole: "+
			"the run was cut short or is still at work.")
	}
	t.Warnings = append(t.Warnings, warn(t.Rows, rowCautions, func(r *Row) *[]Warning { return &r.Warnings })...)
	return t
}

// outcome is the row without what bootstraps and comparisons say.
func (s *Set) outcome(cond Condition) (Row, *cell) {
	noise := s.meta.Noises[cond.NoiseIndex]
	c := s.cells[[2]int{cond.NoiseIndex, cond.TempIndex}]
	row := Row{
		noise: noise, Noise: noise.Label, Temperature: s.meta.Temps[cond.TempIndex].Label,
		NoiseIndex: cond.NoiseIndex, TempIndex: cond.TempIndex,
		Planned:   cond.planned(s.meta.Examples),
		MeanAlpha: cond.MeanAlpha,
		Fidelity:  cond.Fidelity,
		Notes:     cond.Notes,
		Diff:      Float(nan), P: Float(nan),
	}
	if cond.SamplesOf != nil {
		row.SamplesOf = s.meta.Temps[*cond.SamplesOf].Label
	}
	s.count(&row, c)
	clusters := c.clusters(s.groups())
	row.Questions = c.questions(len(s.examples))
	row.Accuracy = Float(stats.Mean(clusters))
	row.SE = Float(stats.ClusterSE(clusters))
	row.EffectiveN = Float(stats.EffectiveN(clusters))
	row.CI = intervalOf(stats.Wilson(float64(row.Accuracy), float64(row.EffectiveN), stats.Level))
	return row, c
}

func (s *Set) row(cond Condition) Row {
	noise := s.meta.Noises[cond.NoiseIndex]
	row, c := s.outcome(cond)
	if noise.Chips {
		row.NewChips = maybeInterval(newChips(c.verdicts(s.groups()), row.CI))
	}
	if flips, ok := s.Flips(cond.NoiseIndex, cond.TempIndex); ok {
		row.Flips = &flips
	}
	row.ECE = Float(s.ece(c))
	row.Reference = cond.TempIndex == 0
	ref, ok := s.cells[[2]int{cond.NoiseIndex, 0}]
	if row.Reference || !ok {
		ref = nil
	}
	row.AtK = s.atK(c, ref, noise.Chips, noise.Label, row.Temperature)
	if ref == nil {
		return row
	}
	p := pairUp(arm{s, ref}, arm{s, c}, noise.Chips, DefaultSeed, noise.Label, s.meta.Temps[0].Label, row.Temperature)
	row.PairedN, row.Gained, row.Lost = p.n, len(p.gained), len(p.lost)
	row.Diff, row.P, row.PMethod = Float(p.diff.Value), Float(p.p), p.method
	in := intervalOf(p.diff.CI)
	row.DiffCI = &in
	row.DiffNewChips = maybeInterval(p.diff.NewChips)
	return row
}

// newChips is the interval of an accuracy for chips that were not tried; it is at least as wide as the one for these.
func newChips(verdicts [][]stats.Cluster, these Interval) stats.Interval {
	in := stats.NewChips(verdicts, stats.Level)
	if !in.Valid() {
		return in
	}
	return in.Union(stats.Interval{Lo: float64(these[0]), Hi: float64(these[1])}).Within(0, 1)
}

// count fills in what is counted sample by sample. The order of the sums is that of replicate and example, whatever the
// order of the records was.
func (s *Set) count(row *Row, c *cell) {
	var (
		perSeed        []float64
		tokens         int
		tSum, tWeights float64
	)
	for _, samples := range c.samples {
		n, right := 0, 0
		for _, x := range samples {
			if x.verdict == missing {
				continue
			}
			row.Samples++
			switch x.verdict {
			case okWrong, okRight:
				row.OK++
			case noAnswer, noAnswerRight:
				row.NoAnswer++
			case truncatedWrong, truncatedRight:
				row.Truncated++
				row.TruncatedCorrect += x.verdict.right()
			case nonfinite:
				row.Nonfinite++
			default:
				row.Errors++
			}
			if !x.verdict.counted() {
				continue
			}
			if x.reached {
				row.Reached++
			}
			n++
			right += x.verdict.right()
			tokens += int(x.tokens)
			if Float(x.tmean).Finite() {
				tSum += x.tmean * float64(x.tokens)
				tWeights += float64(x.tokens)
			}
		}
		row.N += n
		row.Correct += right
		if n > 0 {
			perSeed = append(perSeed, float64(right)/float64(n))
		}
	}
	row.Seeds = len(perSeed)
	mean, std := stats.MeanStd(perSeed)
	row.SeedMean, row.SeedStd = Float(mean), Float(std)
	row.TruncatedShare = Float(ratio(row.Truncated, row.N))
	row.NoAnswerShare = Float(ratio(row.NoAnswer, row.N))
	row.MeanTokens = Float(ratio(tokens, row.N))
	row.Wrong, row.ReachedShare = row.N-row.Correct, Float(nan)
	if s.meta.Golds != nil {
		row.ReachedShare = Float(ratio(row.Reached, row.Wrong))
	}
	row.MeanT = Float(nan)
	if tWeights > 0 {
		row.MeanT = Float(tSum / tWeights)
	}
}

// verdicts adds up the counted samples by group of questions and replicate.
func (c *cell) verdicts(g groups) [][]stats.Cluster {
	out := make([][]stats.Cluster, g.count)
	for order, group := range g.of {
		if out[group] == nil {
			out[group] = make([]stats.Cluster, len(c.samples))
		}
		for r := range c.samples {
			one := c.sum(r, order)
			out[group][r].Sum += one.Sum
			out[group][r].N += one.N
		}
	}
	return out
}

// notes say what the columns are and which settings stand behind all rows.
func (s *Set) notes(t *Table) []string {
	several, chips, shared := false, false, []string{}
	for i := range t.Rows {
		r := &t.Rows[i]
		several = several || r.Seeds > 1 || r.N > r.Questions
		chips = chips || r.NewChips != nil
		if r.SamplesOf != "" {
			shared = append(shared, fmt.Sprintf("%s shares the samples of %s (same noise, same T(t)).", rowName(r),
				r.SamplesOf))
		}
	}
	interval := "Wilson's interval"
	if several {
		interval = "Wilson's interval, for several seeds or samples with the effective number of samples"
	}
	notes := []string{
		"Accuracy in % of n = ok, no answer and truncated samples; SE clustered by " + unit(t.Clusters) + "; " +
			interval + " (95 %).",
		fmt.Sprintf("Difference in percentage points from the first temperature under the same noise, "+
			"paired by question and replicate; "+
			"95 %% interval from %d bootstrap resamples of %ss (seed %d); "+
			"p of %s, not adjusted for the number of rows.",
			t.Resamples, unit(t.Clusters), t.Seed, testsBy("seed", t.Clusters)),
		"Truncated: the token limit came before an end token; in brackets how many of them were right.",
	}
	if slices.ContainsFunc(t.Rows, func(r Row) bool { return r.noise.Deterministic && r.Seeds > 1 }) {
		notes = append(notes,
			"A noise that draws nothing has no chips: its noise seeds are seeds of the sampling alone.")
	}
	if slices.ContainsFunc(t.Rows, func(r Row) bool { return r.Flips != nil }) {
		notes = append(notes,
			"Flips: samples that are right without noise at the same temperature and wrong with it / the reverse, "+
				"by question, replicate and sample.")
	}
	if s.meta.Golds != nil {
		notes = append(notes,
			"Reached: wrong samples, truncated ones included, in whose text the right answer stands somewhere.")
	}
	if s.perQuestion > 1 {
		notes = append(notes,
			fmt.Sprintf("%d samples of each question in a replicate. pass@k: that one of k of them is right; maj@k: that "+
				"the most frequent of their answers is, ties drawn, no answer never winning; both over all subsets of k. "+
				"ECE: the majority's share against how often it is right.", s.perQuestion))
	}
	if t.Clusters > 0 {
		notes = append(notes, fmt.Sprintf("A cluster is the questions that have dataset.columns.cluster in common: "+
			"there are %d.", t.Clusters))
	}
	if several {
		notes = append(notes, "Over seeds: mean and standard deviation (n-1) of the accuracies of single noise seeds.")
	}
	if chips {
		notes = append(notes, "Under weight and combined noise all questions of a noise seed share one chip. "+
			"The 95 % interval is for these chips; the one for new chips adds how chips differ, "+
			"by Student's t with as many degrees of freedom as chips less one.")
	}
	notes = append(notes, shared...)
	for i := range t.Rows {
		for _, n := range t.Rows[i].Notes {
			notes = append(notes, rowName(&t.Rows[i])+": "+n)
		}
	}
	if line := settingsLine(t.Settings); line != "" {
		notes = append(notes, line)
	}
	return append(notes, s.meta.Notes...)
}

// unit is what standard errors and intervals are clustered by.
func unit(clusters int) string {
	if clusters > 0 {
		return "cluster"
	}
	return "question"
}

// testsBy names the tests of a difference, of which the first needs questions that stand alone and one of its
// replicates.
func testsBy(replicate string, clusters int) string {
	if clusters > 0 {
		return "the exact sign-flip test by cluster"
	}
	return "the exact McNemar test (one " + replicate + ") or the exact sign-flip test by question (several)"
}

func rowName(r *Row) string { return r.Noise + ", " + r.Temperature }

func settingsLine(settings map[string]string) string {
	parts := make([]string, 0, len(settings))
	for _, k := range slices.Sorted(maps.Keys(settings)) {
		parts = append(parts, k+" "+settings[k])
	}
	if len(parts) == 0 {
		return ""
	}
	return "Settings: " + strings.Join(parts, "; ") + "."
}

// Failed is how many samples of the run have no verdict; shared samples count once.
func (t *Table) Failed() int {
	n := 0
	for i := range t.Rows {
		if t.Rows[i].SamplesOf == "" {
			n += t.Rows[i].Failed()
		}
	}
	return n
}
