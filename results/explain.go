package results

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/gsmeval/gsmeval/scoring/stats"
)

// Explain says in three to ten sentences what the run found, each with its numbers and what weakens them. Every number
// is one of the table's or of a paired comparison of two of its rows; "shows" and "no ... shows" go by p-values that
// are adjusted for all the comparisons of their kind.
func (s *Set) Explain() []string {
	e := &explanation{set: s, table: s.Table()}
	e.costs()
	e.changes()
	for _, limit := range limits {
		e.limit, e.sentences = limit, nil
		e.completeness()
		e.baseline()
		e.noise()
		e.temperatures()
		e.samples()
		e.alpha()
		e.chips()
		e.cut()
		e.size()
		if len(e.sentences) <= atMost {
			break
		}
	}
	return e.sentences
}

const (
	atMost = 10 // sentences
	// atMostConditions are told with their numbers for a temperature; of more, the one where it does most.
	atMostConditions = 2
	adjustedLevel    = 0.05
)

// limit is how many sentences are made on single noises and on single temperatures; where there are more, they are
// summed up.
type limit struct{ noises, temperatures int }

// limits are tried until there are at most ten sentences, which the last one makes sure of.
var limits = []limit{{2, 3}, {2, 2}, {1, 2}, {1, 1}}

// effect is a paired difference of accuracy: of a noise from none at the first temperature, or of a temperature from
// the first.
type effect struct {
	row *Row
	paired
	pHolm float64
}

// shows tells whether the difference is one after the adjustment for all of its kind.
func (f *effect) shows() bool {
	return f.pHolm < adjustedLevel && f.leavesZero()
}

// leavesZero tells whether the interval alone, adjusted for nothing, would say that there is a difference.
func (f *effect) leavesZero() bool { return f.diff.CI.Lo > 0 || f.diff.CI.Hi < 0 }

// explanation collects the sentences about one run.
type explanation struct {
	set       *Set
	table     *Table
	clean     *Row     // without noise at the first temperature, or nil
	cost      []effect // of each noise
	change    []effect // of each temperature under each noise
	limit     limit
	sentences []string
}

func (e *explanation) say(format string, args ...any) {
	e.sentences = append(e.sentences, fmt.Sprintf(format, args...))
}

func (e *explanation) kind(r *Row) string { return e.set.meta.Noises[r.NoiseIndex].Kind }

func (e *explanation) pair(a, b *Row) paired {
	x, y := e.set.cells[[2]int{a.NoiseIndex, a.TempIndex}], e.set.cells[[2]int{b.NoiseIndex, b.TempIndex}]
	chips := e.set.meta.Noises[a.NoiseIndex].Chips || e.set.meta.Noises[b.NoiseIndex].Chips
	labels := []string{a.Noise, a.Temperature, b.Noise, b.Temperature}
	if a.NoiseIndex == b.NoiseIndex { // a pair of the table's and of compare's, with their numbers
		labels = []string{a.Noise, a.Temperature, b.Temperature}
	}
	return pairUp(arm{e.set, x}, arm{e.set, y}, chips, DefaultSeed, labels...)
}

// costs are what each noise does at the first temperature.
func (e *explanation) costs() {
	for i := range e.table.Rows {
		if r := &e.table.Rows[i]; r.Reference && e.kind(r) == KindNone {
			e.clean = r
		}
	}
	for i := range e.table.Rows {
		if r := &e.table.Rows[i]; e.clean != nil && r.Reference && e.kind(r) != KindNone {
			e.cost = append(e.cost, effect{row: r, paired: e.pair(e.clean, r)})
		}
	}
	adjust(e.cost)
}

// changes are what each temperature does against the first one.
func (e *explanation) changes() {
	for i := range e.table.Rows {
		r := &e.table.Rows[i]
		if r.Reference || r.SamplesOf != "" {
			continue
		}
		k := slices.IndexFunc(e.table.Rows, func(x Row) bool { return x.Reference && x.NoiseIndex == r.NoiseIndex })
		if k >= 0 {
			e.change = append(e.change, effect{row: r, paired: e.pair(&e.table.Rows[k], r)})
		}
	}
	adjust(e.change)
}

// adjust drops what has no samples and adjusts the p-values of the rest for one another.
func adjust(effects []effect) {
	p := make([]float64, len(effects))
	for i := range effects {
		p[i] = effects[i].p
	}
	for i, adjusted := range stats.Holm(p) {
		effects[i].pHolm = adjusted
	}
}

func (e *explanation) completeness() {
	there, planned, failed := 0, 0, 0
	for i := range e.table.Rows {
		if r := &e.table.Rows[i]; r.SamplesOf == "" {
			there, planned, failed = there+r.Samples, planned+r.Planned, failed+r.Failed()
		}
	}
	of := fmt.Sprintf("%d of %d samples are there", there, planned)
	fails := fmt.Sprintf("%d failed and count%s nowhere", failed, map[bool]string{true: "s"}[failed == 1])
	switch {
	case there < planned && failed > 0:
		e.say("The run is not complete: %s, and what follows may change; %s.", of, fails)
	case there < planned:
		e.say("The run is not complete: %s, and what follows may change.", of)
	case failed > 0:
		e.say("Of %s %s.", plural(there, "sample"), fails)
	}
}

// model is the name of the run's model, for the first sentence.
func (e *explanation) model() string {
	name, _, _ := strings.Cut(e.table.Settings["model"], " ")
	if name == "" {
		return "the model"
	}
	return strings.TrimPrefix(name, "builtin:")
}

func (e *explanation) baseline() {
	if e.clean != nil {
		if e.clean.N == 0 {
			e.say("There are no samples without noise yet.")
			return
		}
		e.say("Without noise, %s, %s answers %s %% of %s correctly (95 %% interval %s).", how(e.clean.Temperature), e.model(),
			points100(e.clean.Accuracy), plural(e.clean.Questions, "question"), share(e.clean.CI))
		return
	}
	var rows []*Row
	for i := range e.table.Rows {
		if r := &e.table.Rows[i]; r.Reference && r.N > 0 {
			rows = append(rows, r)
		}
	}
	if len(rows) == 0 {
		e.say("There are no samples yet.")
		return
	}
	slices.SortFunc(rows, func(a, b *Row) int { return cmp.Compare(b.Accuracy, a.Accuracy) })
	best, worst := rows[0], rows[len(rows)-1]
	text := fmt.Sprintf("The run has no condition without noise, so it cannot say what noise costs %s; "+
		"accuracy %s is %s %% (95 %% interval %s) under %s", e.model(), with(best.Temperature),
		points100(best.Accuracy), share(best.CI), best.Noise)
	if worst != best {
		between := ""
		if len(rows) > 2 {
			between = ", the highest,"
		}
		text += fmt.Sprintf("%s and %s %% %s under %s", between, points100(worst.Accuracy), share(worst.CI), worst.Noise)
		if between != "" {
			text += ", the lowest"
		}
	}
	e.say("%s.", text)
}

func (e *explanation) noise() {
	counted := slices.DeleteFunc(slices.Clone(e.cost), func(f effect) bool { return f.n == 0 })
	if len(counted) <= e.limit.noises {
		for i := range counted {
			e.oneNoise(&counted[i])
		}
		return
	}
	slices.SortStableFunc(counted, func(a, b effect) int { return cmp.Compare(b.diff.Value, a.diff.Value) })
	falls := slices.DeleteFunc(slices.Clone(counted), func(f effect) bool { return !f.shows() || f.diff.Value > 0 })
	switch len(falls) {
	case 0:
		f := counted[len(counted)-1]
		chance := ""
		if f.leavesZero() && !f.shows() {
			chance = f.doubt()
		}
		e.say("Under none of the %d noises does a fall of accuracy show; "+
			"the lowest difference is %s points %s, under %s%s.", len(counted), signed(f.diff.Value), interval(f.diff.CI), f.row.Noise, chance)
	case 1:
		f := &falls[0]
		e.say("Under %s accuracy falls by %s points %s, to %s %%; under the other %s no fall shows.", f.row.Noise,
			points100(-f.diff.Value), interval(negative(f.diff.CI)), points100(f.row.Accuracy), plural(len(counted)-1, "noise"))
	default:
		least, most := falls[0], falls[len(falls)-1]
		text := fmt.Sprintf("Accuracy falls under %d of %d noises, least under %s, by %s points %s, "+
			"and most under %s, by %s points %s, to %s %%", len(falls), len(counted),
			least.row.Noise, points100(-least.diff.Value), interval(negative(least.diff.CI)),
			most.row.Noise, points100(-most.diff.Value), interval(negative(most.diff.CI)), points100(most.row.Accuracy))
		if rest := len(counted) - len(falls); rest > 0 {
			text += "; under " + others(rest) + " no fall shows"
		}
		e.say("%s.", text)
	}
}

func (e *explanation) oneNoise(f *effect) {
	switch {
	case f.shows() && f.diff.Value < 0:
		e.say("Under %s accuracy falls by %s points %s, to %s %%.", f.row.Noise, points100(-f.diff.Value),
			interval(negative(f.diff.CI)), points100(f.row.Accuracy))
	case f.shows():
		e.say("Under %s accuracy rises by %s points %s, to %s %%.", f.row.Noise, points100(f.diff.Value),
			interval(f.diff.CI), points100(f.row.Accuracy))
	default:
		e.say("Under %s no difference shows: %s points %s%s.", f.row.Noise, signed(f.diff.Value),
			interval(f.diff.CI), f.doubt())
	}
}

// doubt says why a difference does not show: too few samples for one of its size, or too many comparisons for its
// p-value.
func (f *effect) doubt() string {
	switch {
	case f.leavesZero():
		return fmt.Sprintf(", which chance alone may bring (p = %.2f, adjusted for all comparisons of this kind)", f.pHolm)
	case math.IsNaN(f.mde) || f.mde <= 0:
		return ", since no verdict differs"
	default:
		return fmt.Sprintf(", and one of less than %s points could hide among so few samples", points100(f.mde))
	}
}

// temperatures says what each other temperature does, those first that do most.
func (e *explanation) temperatures() {
	by := map[int][]effect{}
	for _, f := range e.change {
		if f.n > 0 {
			by[f.row.TempIndex] = append(by[f.row.TempIndex], f)
		}
	}
	var order []int
	for temp, effects := range by {
		slices.SortStableFunc(effects, func(a, b effect) int {
			return cmp.Or(boolLast(!a.shows(), !b.shows()), cmp.Compare(math.Abs(b.diff.Value), math.Abs(a.diff.Value)),
				cmp.Compare(a.row.NoiseIndex, b.row.NoiseIndex))
		})
		order = append(order, temp)
	}
	slices.Sort(order)
	if len(order) == 0 {
		switch {
		case len(e.change) > 0:
			e.say("There is no sample yet that compares another way to sample with %s.", way(e.set.meta.Temps[0].Label))
		case len(e.set.meta.Temps) > 1:
			e.say("All temperatures came out the same, so their samples are shared and there is nothing to compare.")
		default:
			e.say("Only one way to sample was tried, %s, so the run says nothing about temperatures.",
				way(e.set.meta.Temps[0].Label))
		}
		return
	}
	more := 0
	if len(order) > e.limit.temperatures {
		more = len(order) - e.limit.temperatures
		slices.SortStableFunc(order, func(a, b int) int {
			return cmp.Or(boolLast(!by[a][0].shows(), !by[b][0].shows()),
				cmp.Compare(math.Abs(by[b][0].diff.Value), math.Abs(by[a][0].diff.Value)))
		})
		order = order[:e.limit.temperatures]
	}
	for i, temp := range order {
		text := e.oneTemperature(by[temp])
		if more > 0 && i == len(order)-1 {
			text += fmt.Sprintf(" (%s less)", map[bool]string{
				true: "the other temperature does", false: fmt.Sprintf("the other %d temperatures do", more),
			}[more == 1])
		}
		e.say("%s.", text)
	}
}

// boolLast orders false before true.
func boolLast(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	default:
		return -1
	}
}

// oneTemperature says in which conditions a temperature is better, in which it is worse, and where nothing shows.
func (e *explanation) oneTemperature(effects []effect) string {
	var better, worse, same []effect
	for _, f := range effects {
		switch {
		case f.shows() && f.diff.Value > 0:
			better = append(better, f)
		case f.shows():
			worse = append(worse, f)
		default:
			same = append(same, f)
		}
	}
	var parts []string
	if len(better) > 0 {
		parts = append(parts, "raises accuracy "+e.where(better, len(effects), 1))
	}
	if len(worse) > 0 {
		parts = append(parts, "lowers accuracy "+e.where(worse, len(effects), -1))
	}
	verb, rest := strings.Join(parts, "; it "), ""
	if verb == "" {
		verb = "shows no difference"
		if len(same) > 1 {
			rest = fmt.Sprintf(" in any of %d conditions", len(same))
		}
		if len(same) == 2 {
			rest = " in either condition"
		}
	}
	switch {
	case len(same) == 1:
		f := same[0]
		if len(parts) > 0 {
			rest = "; no difference shows"
		}
		rest += fmt.Sprintf(" %s: %s points %s%s", under(f.row.Noise), signed(f.diff.Value), interval(f.diff.CI), f.doubt())
	case len(same) > 1:
		if len(parts) > 0 {
			rest = fmt.Sprintf("; in the other %d conditions no difference shows", len(same))
		}
		widest := slices.MaxFunc(same, func(a, b effect) int {
			return cmp.Compare(a.diff.CI.Hi-a.diff.CI.Lo, b.diff.CI.Hi-b.diff.CI.Lo)
		})
		if widest.diff.CI.Hi == widest.diff.CI.Lo {
			rest += ", since no verdict differs"
		} else {
			rest += fmt.Sprintf(" (the widest interval is %s, %s)", interval(widest.diff.CI), under(widest.row.Noise)) +
				chanceOf(same)
		}
	}
	return fmt.Sprintf("%s instead of %s %s%s", capital(way(effects[0].row.Temperature)),
		way(e.set.meta.Temps[0].Label), verb, rest)
}

// chanceOf names what chance alone may bring among several differences that do not show.
func chanceOf(same []effect) string {
	likely := slices.DeleteFunc(slices.Clone(same), func(f effect) bool { return !f.leavesZero() })
	if len(likely) == 0 {
		return ""
	}
	f := slices.MinFunc(likely, func(a, b effect) int { return cmp.Compare(a.pHolm, b.pHolm) })
	text := "; "
	if len(likely) > 1 {
		text += fmt.Sprintf("%d intervals leave 0 out, as ", len(likely))
	}
	return text + fmt.Sprintf("%s points %s %s%s", signed(f.diff.Value), interval(f.diff.CI), under(f.row.Noise),
		f.doubt())
}

// where says by how much accuracy changes in some of all conditions, in the direction of sign: in each of a few, and
// else where it does most.
func (e *explanation) where(fs []effect, all int, sign float64) string {
	by := func(f *effect) string {
		diff, in := f.diff.Value, f.diff.CI
		if sign < 0 {
			diff, in = -diff, negative(in)
		}
		text := fmt.Sprintf("by %s points %s %s", points100(diff), interval(in), under(f.row.Noise))
		if lost := e.lostTo(f.row.NoiseIndex); lost > 0 && sign > 0 {
			text += fmt.Sprintf(", where the noise costs %s", points100(lost))
		}
		return text
	}
	if len(fs) > atMostConditions {
		return fmt.Sprintf("in %d of %d conditions, most %s", len(fs), all, by(&fs[0]))
	}
	parts := make([]string, len(fs))
	for i := range fs {
		parts[i] = by(&fs[i])
	}
	return strings.Join(parts, ", and ")
}

// lostTo is how many points a noise costs, or 0 where that does not show.
func (e *explanation) lostTo(noise int) float64 {
	for i := range e.cost {
		if f := &e.cost[i]; f.row.NoiseIndex == noise && f.shows() && f.diff.Value < 0 {
			return -f.diff.Value
		}
	}
	return 0
}

// samples says what several samples of a question are worth, without noise and under the noise that costs most of it.
func (e *explanation) samples() {
	if len(e.set.meta.K) == 0 {
		return
	}
	k := e.set.meta.K[len(e.set.meta.K)-1]
	best := func(noise int, m Measure) *Row {
		var best *Row
		for i := range e.table.Rows {
			if r := &e.table.Rows[i]; r.NoiseIndex == noise && r.N > 0 &&
				(best == nil || r.Value(m).Value > best.Value(m).Value) {
				best = r
			}
		}
		return best
	}
	for _, what := range []score{passAtK, majAtK} {
		m := Measure{what, k}
		words := fmt.Sprintf("%s, the share of questions that at least one of %d samples gets right, is", m, k)
		if what.name == majAtK.name {
			words = fmt.Sprintf("%s, the share of questions whose most frequent answer of %d is right, is", m, k)
		}
		var parts []string
		worst := -1
		for n := range e.set.meta.Noises {
			if r := best(n, m); r != nil && e.kind(r) != KindNone &&
				(worst < 0 || r.Value(m).Value < best(worst, m).Value(m).Value) {
				worst = n
			}
		}
		for n, noise := range e.set.meta.Noises {
			if r := best(n, m); r != nil && (noise.Kind == KindNone || n == worst) {
				v := r.Value(m)
				in := share(v.CI)
				if v.CI.noWidth() {
					in += ", without width as no question differs,"
				}
				parts = append(parts, fmt.Sprintf("%s %% %s %s (%s)", points100(v.Value), in,
					under(r.Noise), way(r.Temperature)))
			}
		}
		if len(e.set.meta.Temps) > 1 {
			words += " at best"
		}
		if len(parts) > 0 {
			e.say("%s %s.", words, strings.Join(parts, " and "))
		}
	}
}

// alpha says what the calibration measured.
func (e *explanation) alpha() {
	var least, most *Row
	for i := range e.table.Rows {
		r := &e.table.Rows[i]
		if !r.MeanAlpha.Finite() || !r.MeanT.Finite() || e.kind(r) == KindNone {
			continue
		}
		if least == nil || r.MeanAlpha < least.MeanAlpha {
			least = r
		}
		if most == nil || r.MeanAlpha > most.MeanAlpha {
			most = r
		}
	}
	switch {
	case least == nil:
	case least.NoiseIndex == most.NoiseIndex:
		e.say("The noise-to-signal ratio of the logits, alpha, is %s under %s, and %s is %s on average.",
			significant(least.MeanAlpha, 3), least.Noise, least.Temperature, significant(least.MeanT, 4))
	default:
		e.say("The noise-to-signal ratio of the logits, alpha, goes from %s under %s to %s under %s, and %s from %s to %s on average.",
			significant(least.MeanAlpha, 3), least.Noise, significant(most.MeanAlpha, 3), most.Noise, least.Temperature,
			significant(least.MeanT, 4), significant(most.MeanT, 4))
	}
}

// chips says for which draws of the noise the intervals hold.
func (e *explanation) chips() {
	var one, once, few, several []*Row
	for i := range e.table.Rows {
		r := &e.table.Rows[i]
		if !r.Reference || !r.noise.Drawn() || r.N == 0 {
			continue
		}
		switch chips := e.set.meta.Noises[r.NoiseIndex].Chips; {
		case chips && r.Seeds == 1:
			one = append(one, r)
		case r.Seeds == 1:
			once = append(once, r)
		case chips && r.Seeds < stats.MinChips:
			few = append(few, r)
		case chips && r.NewChips != nil:
			several = append(several, r)
		}
	}
	switch {
	case len(one) > 0:
		e.say("One chip was drawn (noise_seeds: 1), and nothing is said about others.")
	case len(few) > 0:
		e.say("Only %s were drawn, too few to say what others would do: the intervals are for these.",
			plural(few[0].Seeds, "chip"))
	case len(several) > 0:
		r := slices.MaxFunc(several, func(a, b *Row) int {
			return cmp.Compare(a.NewChips[1]-a.NewChips[0],
				b.NewChips[1]-b.NewChips[0])
		})
		e.say("The intervals are for the %s that were drawn; for new ones the interval of accuracy under %s is %s instead of %s.",
			plural(r.Seeds, "chip"), r.Noise, share(*r.NewChips), share(r.CI))
	case len(once) > 0:
		e.say("The noise of each question was drawn once (noise_seeds: 1), so how much draws differ is not known.")
	}
}

// cut says where accuracy depends on the limit of tokens or on what was read as an answer.
func (e *explanation) cut() {
	var worst *Row
	for i := range e.table.Rows {
		r := &e.table.Rows[i]
		if r.TruncatedShare+r.NoAnswerShare > manyTruncated &&
			(worst == nil || r.TruncatedShare+r.NoAnswerShare > worst.TruncatedShare+worst.NoAnswerShare) {
			worst = r
		}
	}
	if worst == nil {
		return
	}
	where := capital(under(worst.Noise)) + " and " + with(worst.Temperature)
	switch truncated, silent := points100(worst.TruncatedShare), points100(worst.NoAnswerShare); {
	case silent == "0.0":
		e.say("%s, %s %% of the samples end at the limit of tokens; they count as wrong unless an answer was there already, "+
			"so accuracy depends on that limit.", where, truncated)
	case truncated == "0.0":
		e.say("%s, %s %% of the samples give no answer that can be read, and count as wrong.", where, silent)
	default:
		e.say("%s, %s %% of the samples end at the limit of tokens and %s %% give no answer that can be read; they count as wrong "+
			"unless an answer was there already, so accuracy depends on that limit.", where, truncated, silent)
	}
}

// size says how much the run can see, and of what it speaks.
func (e *explanation) size() {
	questions, widest := 0, 0.0
	for i := range e.table.Rows {
		if r := &e.table.Rows[i]; r.N > 0 {
			questions, widest = max(questions, r.Questions), max(widest, float64(r.CI[1]-r.CI[0])/2)
		}
	}
	if questions == 0 {
		e.say("There is nothing to say about accuracy before the first sample.")
		return
	}
	verdict := ""
	if questions < fewQuestions {
		verdict = ", too wide to conclude much"
	}
	these := "these "
	if questions == 1 {
		these = "this "
	}
	e.say("All of this holds for %s, %s and these settings; the widest 95 %% interval of an accuracy is ± %s points%s.",
		e.model(), these+plural(questions, "question"), points100(widest), verdict)
}

// how is a temperature within a sentence.
func how(temperature string) string {
	if temperature == "greedy" {
		return "decoding greedily"
	}
	return "at " + temperature
}

func way(temperature string) string {
	if temperature == "greedy" {
		return "greedy decoding"
	}
	return temperature
}

// with is the end of a clause that says how samples were made.
func with(temperature string) string {
	if temperature == "greedy" {
		return "with greedy decoding"
	}
	return "at " + temperature
}

func under(noise string) string {
	if noise == "none" {
		return "without noise"
	}
	return "under " + noise
}

// others is what is left of a count.
func others(n int) string {
	if n == 1 {
		return "the other one"
	}
	return fmt.Sprintf("the other %d", n)
}

// points100 is a share of 1 in hundredths.
func points100[F ~float64](x F) string { return fmt.Sprintf("%.1f", unsignedZero(100*float64(x))) }

func signed[F ~float64](x F) string {
	if text := points100(x); text == "0.0" || text[0] == '-' {
		return text
	}
	return "+" + points100(x)
}

// unsignedZero keeps what rounds to zero from being "-0.0".
func unsignedZero(x float64) float64 {
	if math.Abs(x) < 0.05 {
		return 0
	}
	return x
}

func significant(x Float, digits int) string { return fmt.Sprintf("%.*g", digits, float64(x)) }

func share(in Interval) string {
	return interval(stats.Interval{Lo: float64(in[0]), Hi: float64(in[1])})
}

func interval(in stats.Interval) string {
	if !in.Valid() {
		return "(too few for an interval)"
	}
	return "[" + points100(in.Lo) + ", " + points100(in.Hi) + "]"
}

func negative(in stats.Interval) stats.Interval { return stats.Interval{Lo: -in.Hi, Hi: -in.Lo} }

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
