package results

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/gsmeval/gsmeval/scoring/stats"
)

// CompareSchema is the version of a comparison's JSON form.
const CompareSchema = 1

// Source is one side of a comparison: the samples of a run or, where only that is at hand, its table.
type Source struct {
	// Name names the run in the comparison; it should differ from the others'.
	Name string
	// Set is used where it is not nil, else Table.
	Set   *Set
	Table *Table
}

func (s Source) settings() map[string]string {
	if s.Set != nil {
		return s.Set.meta.Settings
	}
	return s.Table.Settings
}

// table returns the source as a table.
func (s Source) table() *Table {
	if s.Set != nil {
		return s.Set.Table()
	}
	return s.Table
}

// samples returns how many samples there are and how many were to be; those that conditions share count once.
func (s Source) samples() (there, planned int) {
	if s.Set == nil {
		for i := range s.Table.Rows {
			if r := &s.Table.Rows[i]; r.SamplesOf == "" {
				there += r.Samples
				planned += r.Planned
			}
		}
		return there, planned
	}
	for _, c := range s.Set.cells {
		if c.cond.SamplesOf != nil {
			continue
		}
		planned += c.cond.planned(s.Set.meta.Examples)
		for _, samples := range c.samples {
			for _, x := range samples {
				if x.verdict != missing {
					there++
				}
			}
		}
	}
	return there, planned
}

// CompareOptions says how to compare.
type CompareOptions struct {
	// Allow lists the settings (see SettingData and its like) that may differ between runs. A difference stands in the
	// notes.
	Allow []string
	// IDs asks for the samples that were gained and lost.
	IDs bool
	// Seed seeds the bootstraps; 0 stands for DefaultSeed.
	Seed uint64
}

// Comparison holds every pair that was compared.
//
// A difference is B's accuracy minus A's. A gained sample is wrong in A and right in B, a lost one the reverse.
type Comparison struct {
	Schema    int      `json:"schema"`
	Seed      uint64   `json:"seed"`
	Resamples int      `json:"resamples"`
	Pairs     []Pair   `json:"pairs"`
	Notes     []string `json:"notes"`
	Warnings  []string `json:"warnings"`
}

// Pair is the comparison of two conditions: two temperatures of one run under one noise, or one condition in two runs.
type Pair struct {
	Noise string `json:"noise"`
	// A and B name what is compared: temperatures, or runs.
	A string `json:"a"`
	B string `json:"b"`
	// Temperature is what both sides share where A and B are runs.
	Temperature string `json:"temperature,omitempty"`
	// Paired says that the same samples were compared; else N is the smaller of the two sides' NA and NB, and Gained,
	// Lost and MDE's pairing do not exist.
	Paired bool `json:"paired"`
	// SameSamples says that both conditions share their samples, so that there was nothing to find; such a pair has no
	// part in PHolm.
	SameSamples bool `json:"same_samples,omitempty"`
	N           int  `json:"n"`
	NA          int  `json:"n_a"`
	NB          int  `json:"n_b"`
	// Questions and Replicates are what N samples are made of.
	Questions int `json:"questions,omitempty"`
	// Clusters is how many groups the questions form that have something in common; absent where each stands alone.
	Clusters   int `json:"clusters,omitempty"`
	Replicates int `json:"replicates,omitempty"`
	// Dropped samples are present on one side at least and do not count on both.
	Dropped int      `json:"dropped"`
	AccA    Float    `json:"acc_a"`
	AccB    Float    `json:"acc_b"`
	Diff    Float    `json:"diff"`
	SE      Float    `json:"se"`
	CI      Interval `json:"ci"`
	// NewChips is the interval over questions and noise seeds, where seeds cross questions and there are at least two.
	NewChips *Interval `json:"ci_new_chips"`
	Gained   *int      `json:"gained"`
	Lost     *int      `json:"lost"`
	P        Float     `json:"p"`
	// AtK is what k samples of a question are worth on both sides, where both runs made several.
	AtK []PairAtK `json:"at_k,omitempty"`
	// PHolm is P adjusted for all pairs of the comparison.
	PHolm  Float  `json:"p_holm"`
	Method string `json:"method"`
	// MDE is the smallest difference that so many samples show with 80 % power at a two-sided level of 5 %.
	MDE       Float      `json:"mde"`
	GainedIDs []SampleID `json:"gained_ids,omitempty"`
	LostIDs   []SampleID `json:"lost_ids,omitempty"`
	// Warnings are what weakens the pair's numbers; the comparison says them in sentences.
	Warnings []Warning `json:"warnings,omitempty"`
	chips    bool      // whether replicates are chips
}

// DifferentError says that runs differ in what must agree.
type DifferentError struct {
	A, B string
	// Keys are the settings that differ; ValuesA and ValuesB what they are.
	Keys             []string
	ValuesA, ValuesB []string
}

func (e *DifferentError) Error() string {
	parts := make([]string, len(e.Keys))
	for i, k := range e.Keys {
		parts[i] = fmt.Sprintf("%s (%s, %s)", k, e.ValuesA[i], e.ValuesB[i])
	}
	return fmt.Sprintf("%s and %s differ in %s: a difference in accuracy would mean nothing; "+
		"allow %s to differ to compare them all the same",
		e.A, e.B, strings.Join(parts, ", "), strings.Join(e.Keys, ", "))
}

// Compare compares every two temperatures under each noise of a single run, or the equal conditions of every two of
// several runs. Samples pair by example id and replicate; where one side is a table only, the pair is unpaired and
// marked so. Runs that differ in data, prompt, ladder or token limit are refused with a *DifferentError unless that is
// allowed.
func Compare(sources []Source, o CompareOptions) (*Comparison, error) {
	if len(sources) == 0 {
		return nil, errors.New("comparing: no run is given")
	}
	for _, key := range o.Allow {
		if !slices.Contains(comparableSettings, key) {
			return nil, fmt.Errorf("comparing: %q is no setting that can be allowed to differ; it can be %s", key,
				strings.Join(comparableSettings, ", "))
		}
	}
	if o.Seed == 0 {
		o.Seed = DefaultSeed
	}
	c := &Comparison{
		Schema: CompareSchema, Seed: o.Seed, Resamples: stats.Resamples,
		Pairs: []Pair{}, Notes: []string{}, Warnings: []string{},
	}
	if len(sources) == 1 {
		c.compareWithin(sources[0], o)
		if line := settingsLine(sources[0].settings()); line != "" {
			c.Notes = append(c.Notes, line)
		}
		if len(c.Pairs) == 0 {
			return nil, fmt.Errorf("comparing: run %s has no two temperatures under the same noise; give a second run",
				sources[0].Name)
		}
	}
	names := map[string]bool{}
	for i, s := range sources {
		if there, planned := s.samples(); there < planned {
			c.Warnings = append(c.Warnings, fmt.Sprintf("%s is not complete: %d of %d samples are there.", s.Name,
				there, planned))
		}
		if names[s.Name] {
			return nil, fmt.Errorf("comparing: two runs are called %s", s.Name)
		}
		names[s.Name] = true
		for _, other := range sources[i+1:] {
			if err := c.compareAcross(s, other, o); err != nil {
				return nil, err
			}
		}
	}
	if len(c.Pairs) == 0 {
		return nil, fmt.Errorf("comparing: the runs have no condition in common: %s", strings.Join(c.Notes, " "))
	}
	c.adjustP()
	c.explain()
	return c, nil
}

// compareWithin compares every two temperatures under each noise.
func (c *Comparison) compareWithin(s Source, o CompareOptions) {
	if s.Set == nil {
		rows := s.Table.Rows
		for i := range rows {
			for k := i + 1; k < len(rows); k++ {
				if rows[i].Noise == rows[k].Noise {
					c.Pairs = append(c.Pairs, unpaired(&rows[i], &rows[k], rows[i].Temperature, rows[k].Temperature))
				}
			}
		}
		return
	}
	set := s.Set
	conds := set.conditions()
	for i, a := range conds {
		for _, b := range conds[i+1:] {
			if a.NoiseIndex != b.NoiseIndex {
				continue
			}
			noise := set.meta.Noises[a.NoiseIndex]
			labelA, labelB := set.meta.Temps[a.TempIndex].Label, set.meta.Temps[b.TempIndex].Label
			p := pairUp(set.arm(a), set.arm(b), noise.Chips, o.Seed, noise.Label, labelA, labelB)
			pair := p.pair(o)
			pair.Noise, pair.A, pair.B = noise.Label, labelA, labelB
			pair.AtK = pairAtK(set.arm(a), set.arm(b), noise.Chips, o.Seed, noise.Label, labelA, labelB)
			pair.SameSamples = samplesOf(a) == samplesOf(b)
			c.Pairs = append(c.Pairs, pair)
		}
	}
	c.Notes = append(c.Notes, set.meta.Notes...)
}

func (s *Set) arm(c Condition) arm {
	return arm{set: s, cell: s.cells[[2]int{c.NoiseIndex, c.TempIndex}]}
}

// samplesOf returns the index of the temperature that a condition's samples were made under.
func samplesOf(c Condition) int {
	if c.SamplesOf != nil {
		return *c.SamplesOf
	}
	return c.TempIndex
}

// compareAcross compares the conditions that two runs have in common.
func (c *Comparison) compareAcross(a, b Source, o CompareOptions) error {
	if err := c.checkSettings(a, b, o.Allow); err != nil {
		return err
	}
	if a.Set == nil || b.Set == nil {
		c.compareTables(a, b)
		return nil
	}
	byLabel, matched := map[[2]string]Condition{}, map[[2]string]bool{}
	for _, cond := range b.Set.conditions() {
		byLabel[b.Set.labels(cond)] = cond
	}
	var onlyA, onlyB []string
	for _, condA := range a.Set.conditions() {
		labels := a.Set.labels(condA)
		condB, ok := byLabel[labels]
		if !ok {
			onlyA = append(onlyA, labels[0]+", "+labels[1])
			continue
		}
		matched[labels] = true
		chips := a.Set.meta.Noises[condA.NoiseIndex].Chips || b.Set.meta.Noises[condB.NoiseIndex].Chips
		p := pairUp(a.Set.arm(condA), b.Set.arm(condB), chips, o.Seed, a.Name, b.Name, labels[0], labels[1])
		if p.otherQuestion > 0 {
			if !slices.Contains(o.Allow, SettingData) {
				return &DifferentError{
					A: a.Name, B: b.Name, Keys: []string{SettingData},
					ValuesA: []string{fmt.Sprintf("%d examples ask", p.otherQuestion)},
					ValuesB: []string{"another question under the same id"},
				}
			}
			c.Warnings = append(c.Warnings, fmt.Sprintf(
				"%s and %s under %s, %s: %d of the paired ids belong to different questions.",
				a.Name, b.Name, labels[0], labels[1], p.otherQuestion))
		}
		pair := p.pair(o)
		pair.AtK = pairAtK(a.Set.arm(condA), b.Set.arm(condB), chips, o.Seed, a.Name, b.Name, labels[0], labels[1])
		pair.Noise, pair.Temperature, pair.A, pair.B = labels[0], labels[1], a.Name, b.Name
		c.Pairs = append(c.Pairs, pair)
	}
	for _, cond := range b.Set.conditions() {
		if labels := b.Set.labels(cond); !matched[labels] {
			onlyB = append(onlyB, labels[0]+", "+labels[1])
		}
	}
	c.noteOnly(a.Name, b.Name, onlyA)
	c.noteOnly(b.Name, a.Name, onlyB)
	return nil
}

// labels returns the labels of a condition's noise and temperature.
func (s *Set) labels(c Condition) [2]string {
	return [2]string{s.meta.Noises[c.NoiseIndex].Label, s.meta.Temps[c.TempIndex].Label}
}

// compareTables compares the rows that two tables have in common, unpaired.
func (c *Comparison) compareTables(a, b Source) {
	rowsA, rowsB := a.table().Rows, b.table().Rows
	same := func(x *Row) func(Row) bool {
		return func(y Row) bool { return y.Noise == x.Noise && y.Temperature == x.Temperature }
	}
	var onlyA, onlyB []string
	for i := range rowsA {
		k := slices.IndexFunc(rowsB, same(&rowsA[i]))
		if k < 0 {
			onlyA = append(onlyA, rowName(&rowsA[i]))
			continue
		}
		pair := unpaired(&rowsA[i], &rowsB[k], a.Name, b.Name)
		pair.Temperature = rowsA[i].Temperature
		c.Pairs = append(c.Pairs, pair)
	}
	for i := range rowsB {
		if !slices.ContainsFunc(rowsA, same(&rowsB[i])) {
			onlyB = append(onlyB, rowName(&rowsB[i]))
		}
	}
	c.noteOnly(a.Name, b.Name, onlyA)
	c.noteOnly(b.Name, a.Name, onlyB)
}

func (c *Comparison) noteOnly(has, lacks string, conditions []string) {
	if len(conditions) > 0 {
		c.Notes = append(c.Notes, fmt.Sprintf("Only in %s, not in %s: %s.", has, lacks, strings.Join(conditions, "; ")))
	}
}

// checkSettings refuses runs whose comparable settings differ and notes every other setting that does.
func (c *Comparison) checkSettings(a, b Source, allow []string) error {
	setA, setB := a.settings(), b.settings()
	refused := &DifferentError{A: a.Name, B: b.Name}
	var others []string
	keys := slices.Collect(maps.Keys(setA))
	keys = slices.AppendSeq(keys, maps.Keys(setB))
	slices.Sort(keys)
	for _, key := range slices.Compact(keys) {
		va, vb := orUnknown(setA, key), orUnknown(setB, key)
		if va == vb {
			continue
		}
		if slices.Contains(comparableSettings, key) && !slices.Contains(allow, key) {
			refused.Keys = append(refused.Keys, key)
			refused.ValuesA, refused.ValuesB = append(refused.ValuesA, va), append(refused.ValuesB, vb)
			continue
		}
		others = append(others, fmt.Sprintf("%s (%s, %s)", key, va, vb))
	}
	if len(refused.Keys) > 0 {
		return refused
	}
	if len(others) > 0 {
		c.Notes = append(c.Notes, fmt.Sprintf("%s and %s differ in %s.", a.Name, b.Name, strings.Join(others, ", ")))
	}
	return nil
}

func orUnknown(settings map[string]string, key string) string {
	if v, ok := settings[key]; ok {
		return v
	}
	return "unknown"
}

// pair puts what a paired comparison found into its public form.
func (p *paired) pair(o CompareOptions) Pair {
	gained, lost := len(p.gained), len(p.lost)
	out := Pair{
		Paired: true, chips: p.chips, N: p.n, NA: p.n, NB: p.n, Questions: p.questions, Clusters: p.clusters,
		Replicates: p.replicates, Dropped: p.dropped,
		AccA: Float(p.accA), AccB: Float(p.accB), Diff: Float(p.diff.Value), SE: Float(p.diff.SE),
		CI: intervalOf(p.diff.CI), NewChips: maybeInterval(p.diff.NewChips),
		Gained: &gained, Lost: &lost, P: Float(p.p), Method: p.method, MDE: Float(p.mde),
	}
	if o.IDs {
		out.GainedIDs, out.LostIDs = p.gained, p.lost
	}
	return out
}

// unpaired compares two rows of tables as independent proportions, each worth its effective number of samples.
func unpaired(a, b *Row, nameA, nameB string) Pair {
	pa, na, pb, nb := float64(a.Accuracy), float64(a.EffectiveN), float64(b.Accuracy), float64(b.EffectiveN)
	if a.N == 0 || b.N == 0 {
		pa, pb = nan, nan
	}
	pool := (pa*na + pb*nb) / (na + nb)
	return Pair{
		Noise: a.Noise, A: nameA, B: nameB,
		N: min(a.N, b.N), NA: a.N, NB: b.N,
		AccA: Float(pa), AccB: Float(pb), Diff: Float(pb - pa),
		SE:     Float(math.Hypot(float64(a.SE), float64(b.SE))),
		CI:     intervalOf(stats.Newcombe(pa, na, pb, nb, stats.Level)),
		P:      Float(stats.TwoProportion(pa, na, pb, nb)),
		Method: MethodTwoProportion,
		MDE:    Float(stats.UnpairedMDE(pool, na, nb, stats.Alpha, stats.Power)),
	}
}

// adjustP fills in the p-values that hold for all pairs together.
func (c *Comparison) adjustP() {
	p := make([]float64, len(c.Pairs))
	for i := range c.Pairs {
		p[i] = float64(c.Pairs[i].P)
		if c.Pairs[i].SameSamples {
			p[i] = nan
		}
	}
	for i, adjusted := range stats.Holm(p) {
		c.Pairs[i].PHolm = Float(adjusted)
		if c.Pairs[i].SameSamples {
			c.Pairs[i].PHolm = c.Pairs[i].P
		}
	}
}

// explain adds what a reader must know about the numbers.
func (c *Comparison) explain() {
	notes := []string{
		"Difference = accuracy of B minus accuracy of A, in percentage points; " +
			"gained: wrong in A and right in B; lost: the reverse.",
	}
	paired, tables, chips, family, clusters := false, false, false, 0, 0
	for i := range c.Pairs {
		p := &c.Pairs[i]
		if !p.SameSamples && p.P.Finite() {
			family++
		}
		paired = paired || p.Paired
		clusters = max(clusters, p.Clusters)
		tables = tables || !p.Paired
		chips = chips || p.NewChips != nil
		if p.SameSamples {
			notes = append(notes, pairName(p)+": both have the same T(t) and share their samples; "+
				"the pair is not counted in p (Holm).")
		}
	}
	c.Warnings = append(c.Warnings, warn(c.Pairs, pairCautions, func(p *Pair) *[]Warning { return &p.Warnings })...)
	if paired {
		notes = append(notes, fmt.Sprintf("Paired by example and replicate; "+
			"95 %% interval from %d bootstrap resamples of %ss (seed %d); p of %s.",
			c.Resamples, unit(clusters), c.Seed, testsBy("replicate", clusters)))
	}
	if chips {
		notes = append(notes, "The 95 % interval is for these chips; the one for new chips adds how chips differ, "+
			"by Student's t with as many degrees of freedom as chips less one.")
	}
	if tables {
		notes = append(notes, "Unpaired (from tables): Newcombe's interval and the two-proportion z-test with "+
			"effective numbers of samples; "+
			"on the same questions a paired comparison of the runs would see smaller differences.")
	}
	notes = append(notes,
		fmt.Sprintf("p (Holm) is adjusted for all pairs (%d).", family),
		"Visible: the smallest difference that so many samples show with 80 % power at a two-sided level of 5 %.")
	c.Notes = append(notes, c.Notes...)
}
