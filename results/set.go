package results

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"

	"github.com/gsmeval/gsmeval/scoring"
	"github.com/gsmeval/gsmeval/scoring/stats"
)

// Set is what tables and comparisons need of a run's records: the verdict, the length and the mean temperature of every
// sample, a few bytes each, and no text.
type Set struct {
	meta     Meta
	examples []example        // by order
	byID     map[int]int      // order of each id
	cells    map[[2]int]*cell // by noise and temperature index
	partial  bool             // the last line of the journal was torn

	perQuestion int               // samples of a question in a replicate, at most
	classes     map[string]uint32 // the number of each answer that was given
}

type example struct {
	known    bool
	id       int
	question string
	cluster  string // what it has in common with others; empty where there is nothing
}

// cell holds the samples of one condition.
type cell struct {
	cond    Condition
	samples [][]sample // by replicate and place, as far as there are records; see place
}

type sample struct {
	verdict verdict
	reached bool // the right answer stands in the text of a sample that is wrong
	tokens  int32
	class   uint32 // of its answer, for votes; 0 is none
	tmean   float64
}

// verdict is a status and whether the answer was right; zero is a missing sample.
type verdict uint8

const (
	missing verdict = iota
	okWrong
	okRight
	noAnswer
	noAnswerRight
	truncatedWrong
	truncatedRight
	nonfinite
	failed
)

func verdictOf(s scoring.Status, correct bool) verdict {
	var v verdict
	switch s {
	case scoring.StatusOK:
		v = okWrong
	case scoring.StatusNoAnswer:
		v = noAnswer
	case scoring.StatusTruncated:
		v = truncatedWrong
	case scoring.StatusNonfinite:
		return nonfinite
	default:
		return failed
	}
	if correct {
		v++
	}
	return v
}

// counted reports whether the sample is in the n of an accuracy.
func (v verdict) counted() bool { return v >= okWrong && v <= truncatedRight }

// right is 1 for a correct answer and 0 for any other.
func (v verdict) right() int {
	if v == okRight || v == noAnswerRight || v == truncatedRight {
		return 1
	}
	return 0
}

// at returns the sample of a replicate, missing where there is none.
func (c *cell) at(replicate, order, number int) sample {
	if c.cond.Deterministic {
		replicate, number = 0, 0
	}
	if c.cond.OneSample {
		number = 0
	}
	if number >= c.cond.PerQuestion() || replicate >= len(c.samples) {
		return sample{}
	}
	if place := c.place(order, number); place < len(c.samples[replicate]) {
		return c.samples[replicate][place]
	}
	return sample{}
}

// place is where the sample of that number of a question stands: the samples of one question stand together.
func (c *cell) place(order, number int) int { return order*c.cond.PerQuestion() + number }

// sum adds up the counted samples of a question in a replicate.
func (c *cell) sum(replicate, order int) stats.Cluster {
	var q stats.Cluster
	for number := range c.cond.PerQuestion() {
		if v := c.at(replicate, order, number).verdict; v.counted() {
			q.Sum += float64(v.right())
			q.N++
		}
	}
	return q
}

// clusters returns what the counted samples of each group of questions add up to.
func (c *cell) clusters(g groups) []stats.Cluster {
	out := make([]stats.Cluster, g.count)
	for order, group := range g.of {
		for r := range c.samples {
			one := c.sum(r, order)
			out[group].Sum += one.Sum
			out[group].N += one.N
		}
	}
	return slices.DeleteFunc(out, func(q stats.Cluster) bool { return q.N == 0 })
}

// questions is how many questions have a counted sample.
func (c *cell) questions(examples int) int {
	n := 0
	for order := range examples {
		for r := range c.samples {
			if c.sum(r, order).N > 0 {
				n++
				break
			}
		}
	}
	return n
}

// groups says which questions belong together for errors and intervals.
type groups struct {
	of     []int // the group of each order
	count  int
	shared bool // some group has more than one question
}

// groups puts questions of one cluster together; without one each is by itself.
func (s *Set) groups() groups {
	g := groups{of: make([]int, len(s.examples))}
	byName := map[string]int{}
	for order, e := range s.examples {
		group, seen := byName[e.cluster]
		if !seen || e.cluster == "" {
			group = g.count
			g.count++
			byName[e.cluster] = group
		} else {
			g.shared = true
		}
		g.of[order] = group
	}
	return g
}

// clusters is how many groups the questions form that have something in common; 0 where each stands alone.
func (s *Set) clusters() int {
	g, seen := s.groups(), map[int]bool{}
	for order, e := range s.examples {
		if e.known {
			seen[g.of[order]] = true
		}
	}
	if !g.shared {
		return 0
	}
	return len(seen)
}

// Collect reads the records of the run that meta describes. A record that has no place in it, or stands twice, is an
// error; a last line that is torn, as in a run in progress, is not, and stands in the table's warnings.
func Collect(meta Meta, records iter.Seq2[Record, error]) (*Set, error) {
	s, err := newSet(meta)
	if err != nil {
		return nil, err
	}
	for r, err := range records {
		var torn *TornError
		if errors.As(err, &torn) {
			s.partial = true
			break
		}
		if err != nil {
			return nil, err
		}
		if err := s.take(&r); err != nil {
			return nil, err
		}
	}
	s.shareSamples()
	return s, nil
}

// Checker returns what refuses a record as [Collect] would, one at a time, for [OpenContext].
func (m *Meta) Checker() (func(*Record) error, error) {
	s, err := newSet(*m)
	if err != nil {
		return nil, err
	}
	return s.take, nil
}

// take is add, with the record's name in its error.
func (s *Set) take(r *Record) error {
	if err := s.add(r); err != nil {
		return fmt.Errorf("the record of %s: %w", r.Key(), err)
	}
	return nil
}

// newSet is a set without records yet.
func newSet(meta Meta) (*Set, error) {
	if err := meta.Validate(); err != nil {
		return nil, err
	}
	s := &Set{meta: meta, byID: map[int]int{}, cells: map[[2]int]*cell{}, perQuestion: meta.perQuestion()}
	for _, c := range meta.Conditions {
		s.cells[[2]int{c.NoiseIndex, c.TempIndex}] = &cell{cond: c}
	}
	return s, nil
}

// shareSamples gives conditions without samples of their own those of the condition that ran.
func (s *Set) shareSamples() {
	for at, c := range s.cells {
		if c.cond.SamplesOf != nil {
			c.samples = s.cells[[2]int{at[0], *c.cond.SamplesOf}].samples
		}
	}
}

// has reports whether a sample is there.
func (s *Set) has(k Key) bool {
	c, ok := s.cells[[2]int{k.NoiseIndex, k.TempIndex}]
	return ok && k.Replicate >= 0 && k.Order >= 0 && k.Sample >= 0 &&
		c.at(k.Replicate, k.Order, k.Sample).verdict != missing
}

func (s *Set) add(r *Record) error {
	if r.Run != s.meta.Fingerprint {
		return fmt.Errorf("it belongs to the run with fingerprint %s, not to %s", r.Run, s.meta.Fingerprint)
	}
	c, ok := s.cells[[2]int{r.NoiseIndex, r.TempIndex}]
	if !ok || c.cond.SamplesOf != nil || r.Replicate < 0 || r.Replicate >= c.cond.Replicates || r.Order < 0 ||
		r.Order >= s.meta.Examples || r.Sample < 0 || r.Sample >= c.cond.PerQuestion() {
		return errors.New("the run's description has no place for it")
	}
	if r.TSHA != "" && c.cond.TSHA != "" && r.TSHA != c.cond.TSHA {
		return fmt.Errorf("it was sampled at the temperatures %.8s, and its condition has %.8s now: was a calibration changed or measured again?",
			r.TSHA, c.cond.TSHA)
	}
	if labels := s.labels(c.cond); r.Noise != labels[0] || r.Temperature != labels[1] {
		return fmt.Errorf("its condition is called %q, %q there and %q, %q in the run's description",
			r.Noise, r.Temperature, labels[0], labels[1])
	}
	s.examples = grown(s.examples, r.Order)
	if e := &s.examples[r.Order]; !e.known {
		if order, ok := s.byID[r.ID]; ok {
			return fmt.Errorf("example id %d is also example %d of the run", r.ID, order)
		}
		*e = example{known: true, id: r.ID, question: r.QuestionSHA, cluster: r.Cluster}
		s.byID[r.ID] = r.Order
	} else if e.id != r.ID || e.question != r.QuestionSHA {
		return fmt.Errorf("it is about example id %d, question %s, and another record of the same place about id "+
			"%d, question %s", r.ID, r.QuestionSHA, e.id, e.question)
	}
	c.samples = grown(c.samples, r.Replicate)
	place := c.place(r.Order, r.Sample)
	c.samples[r.Replicate] = grown(c.samples[r.Replicate], place)
	at := &c.samples[r.Replicate][place]
	if at.verdict != missing {
		return errors.New("the sample stands there twice")
	}
	*at = sample{
		verdict: verdictOf(r.Status, r.Correct), tokens: int32(min(r.Tokens, math.MaxInt32)),
		tmean: float64(r.TMean), class: s.class(r), reached: s.reached(r),
	}
	return nil
}

// grown returns x with a place for index i: memory follows the records, not what a description claims.
func grown[T any](x []T, i int) []T {
	if i < len(x) {
		return x
	}
	return append(x, make([]T, i+1-len(x))...)
}

// conditions returns the conditions in the order of the table's rows.
func (s *Set) conditions() []Condition {
	return slices.SortedFunc(slices.Values(s.meta.Conditions), func(a, b Condition) int {
		return cmp.Or(cmp.Compare(a.NoiseIndex, b.NoiseIndex), cmp.Compare(a.TempIndex, b.TempIndex))
	})
}

// Meta returns the description that the set was collected under.
func (s *Set) Meta() Meta { return s.meta }
