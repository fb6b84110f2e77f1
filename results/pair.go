package results

import (
	"hash/fnv"

	"github.com/gsmeval/gsmeval/scoring/stats"
)

// Interval is a 95 % interval, low end first.
type Interval [2]Float

func intervalOf(in stats.Interval) Interval { return Interval{Float(in.Lo), Float(in.Hi)} }

// maybeInterval is nil where there is no interval.
func maybeInterval(in stats.Interval) *Interval {
	if !in.Valid() {
		return nil
	}
	out := intervalOf(in)
	return &out
}

// Valid reports whether both ends are numbers.
func (i Interval) Valid() bool { return i[0].Finite() && i[1].Finite() }

func (i Interval) noWidth() bool { return i.Valid() && i[0] == i[1] }

// DefaultSeed seeds the bootstraps of tables and comparisons.
const DefaultSeed = 1

// SampleID names a sample of a condition.
type SampleID struct {
	ID        int `json:"id"`
	Replicate int `json:"replicate"`
	Sample    int `json:"sample,omitempty"`
}

// The tests behind a p-value.
const (
	MethodMcNemar         = "mcnemar-exact"
	MethodSignFlip        = "sign-flip-exact"
	MethodSignFlipSampled = "sign-flip-sampled"
	MethodTwoProportion   = "two-proportion-z"
)

// arm is one side of a paired comparison.
type arm struct {
	set  *Set
	cell *cell
}

// paired is what a comparison of two conditions found. All differences are b - a.
type paired struct {
	chips                    bool // whether replicates are chips
	n, questions, replicates int
	clusters                 int // that the questions form; 0 where each stands alone
	dropped                  int // samples present on a side and not counted on both
	otherQuestion            int // examples whose ids agree and whose questions do not
	accA, accB               float64
	diff                     stats.Estimate
	p                        float64
	method                   string
	mde                      float64
	gained, lost             []SampleID // wrong in a and right in b; the reverse
}

// pairUp compares two conditions sample by sample, pairing by example id, replicate and sample. chips asks for the
// interval over questions and noise seeds too. The labels choose the stream of the bootstrap, so that what else is
// compared does not matter.
func pairUp(a, b arm, chips bool, seed uint64, labels ...string) paired {
	var (
		out        paired
		diffs      []int
		sumA, sumB int
		meanSquare float64
	)
	out.chips = chips
	replicates, samples := replicatesOf(a.cell, b.cell), perQuestionOf(a.cell, b.cell)
	used := make([]bool, replicates)
	together := a.set.groups()
	rows := make([][]stats.Cluster, together.count) // of each group of questions, by replicate
	for orderA, ex := range a.set.examples {
		orderB, ok := b.set.byID[ex.id]
		if !ex.known || !ok {
			out.dropped += a.present(orderA, replicates, samples)
			continue
		}
		if ex.question != b.set.examples[orderB].question {
			out.otherQuestion++
		}
		n := 0
		group := together.of[orderA]
		if rows[group] == nil {
			rows[group] = make([]stats.Cluster, replicates)
		}
		for i := range replicates * samples {
			r, number := i/samples, i%samples
			va, vb := a.cell.at(r, orderA, number).verdict, b.cell.at(r, orderB, number).verdict
			if !va.counted() || !vb.counted() {
				if va != missing || vb != missing {
					out.dropped++
				}
				continue
			}
			used[r] = true
			d := vb.right() - va.right()
			sumA += va.right()
			sumB += vb.right()
			n++
			rows[group][r].Sum += float64(d)
			rows[group][r].N++
			switch d {
			case 1:
				out.gained = append(out.gained, SampleID{ex.id, r, number})
			case -1:
				out.lost = append(out.lost, SampleID{ex.id, r, number})
			}
		}
		if n == 0 {
			continue
		}
		out.n += n
		out.questions++
	}
	for orderB, ex := range b.set.examples {
		if _, ok := a.set.byID[ex.id]; ex.known && !ok {
			out.dropped += b.present(orderB, replicates, samples)
		}
	}
	for _, u := range used {
		if u {
			out.replicates++
		}
	}
	for _, row := range rows {
		sum, n := 0, 0
		for _, cell := range row {
			sum += int(cell.Sum)
			n += cell.N
		}
		if n > 0 {
			diffs = append(diffs, sum)
			mean := float64(sum) / float64(n)
			meanSquare += mean * mean
		}
	}
	if together.shared {
		out.clusters = len(diffs)
	}
	out.accA, out.accB = ratio(sumA, out.n), ratio(sumB, out.n)
	stream := streamOf(labels)
	out.diff = stats.EstimateMean(rows, chips, seed, stream)
	out.diff.NewChips = out.diff.NewChips.Within(-1, 1)
	out.mde = stats.PairedMDE(ratioOf(meanSquare, len(diffs)), len(diffs), stats.Alpha, stats.Power)
	if out.replicates > 1 || samples > 1 || together.shared {
		var exact bool
		out.p, exact = stats.SignFlip(diffs, stats.Resamples, seed, stream)
		out.method = MethodSignFlip
		if !exact {
			out.method = MethodSignFlipSampled
		}
	} else {
		out.method = MethodMcNemar
		out.p = stats.McNemarExact(len(out.gained), len(out.lost))
	}
	if out.n == 0 {
		out.p = nan
	}
	return out
}

// present counts the samples of an example that are there.
func (a arm) present(order, replicates, samples int) int {
	n := 0
	for r := range replicates {
		for number := range samples {
			if a.cell.at(r, order, number).verdict != missing {
				n++
			}
		}
	}
	return n
}

// replicatesOf returns how many replicates there are to pair: a deterministic condition has as many as the other.
func replicatesOf(a, b *cell) int {
	switch {
	case a.cond.Deterministic:
		return len(b.samples)
	case b.cond.Deterministic:
		return len(a.samples)
	default:
		return max(len(a.samples), len(b.samples))
	}
}

// perQuestionOf returns how many samples of a question there are to pair in a replicate.
func perQuestionOf(a, b *cell) int { return max(a.cond.PerQuestion(), b.cond.PerQuestion()) }

// streamOf turns labels into the number of a random stream.
func streamOf(labels []string) uint64 {
	h := fnv.New64a()
	for _, l := range labels {
		h.Write([]byte(l))
		h.Write([]byte{0})
	}
	return h.Sum64()
}

func ratio(a, n int) float64 { return ratioOf(float64(a), n) }

func ratioOf(a float64, n int) float64 {
	if n == 0 {
		return nan
	}
	return a / float64(n)
}
