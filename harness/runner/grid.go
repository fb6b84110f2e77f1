package runner

import (
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/gsmeval/gsmeval/results"
)

// block is the samples of one (noise, replicate, temperature): so many for each example.
type block struct{ noise, replicate, temp, samples int }

// blocks lists the blocks of a run that must be decoded, in the order in which a run decodes them: a chip (weight noise
// of one replicate) is programmed once.
func blocks(m *results.Meta) []block {
	var out []block
	add := func(n, replicate int) { // replicate < 0: all
		for _, c := range m.Conditions {
			if c.NoiseIndex != n || c.SamplesOf != nil {
				continue
			}
			for r := range c.Replicates {
				if replicate < 0 || r == replicate {
					out = append(out, block{n, r, c.TempIndex, c.PerQuestion()})
				}
			}
		}
	}
	for n, noise := range m.Noises {
		if !noise.Chips {
			add(n, -1)
			continue
		}
		for r := range replicates(m, n) {
			add(n, r)
		}
	}
	return out
}

// replicates is the largest number of replicates of a noise's conditions.
func replicates(m *results.Meta, n int) int {
	most := 0
	for _, c := range m.Conditions {
		if c.NoiseIndex == n {
			most = max(most, c.Replicates)
		}
	}
	return most
}

// Shard is part I of N of a run, I from 1. The zero Shard is the whole run.
type Shard struct{ I, N int }

// ParseShard reads "i/n".
func ParseShard(s string) (Shard, error) {
	a, b, ok := strings.Cut(s, "/")
	i, err1 := strconv.Atoi(a)
	n, err2 := strconv.Atoi(b)
	if !ok || err1 != nil || err2 != nil || n < 1 || i < 1 || i > n || n > results.MaxShards {
		return Shard{}, fmt.Errorf("shard %q is not i/n with i from 1 to n and n at most %d", s, results.MaxShards)
	}
	return Shard{i, n}, nil
}

// String is "i/n", or "" for the whole run.
func (s Shard) String() string {
	if s.N == 0 {
		return ""
	}
	return fmt.Sprintf("%d/%d", s.I, s.N)
}

// ShardFlag reads what --shard says: "i/n", or "auto/n" in a task of a Slurm job array (SLURM_ARRAY_TASK_ID, from 1) or
// in a pod of an indexed Kubernetes Job (JOB_COMPLETION_INDEX, from 0).
func ShardFlag(s string, getenv func(string) string) (Shard, error) {
	count, auto := strings.CutPrefix(s, "auto/")
	if !auto {
		return ParseShard(s)
	}
	n, err := strconv.Atoi(count)
	if err != nil || n < 1 || n > results.MaxShards {
		return Shard{}, fmt.Errorf("shard %q is not auto/n with n from 1 to %d", s, results.MaxShards)
	}
	const slurm, kubernetes = "SLURM_ARRAY_TASK_ID", "JOB_COMPLETION_INDEX"
	name, first := slurm, 1
	switch {
	case getenv(slurm) != "" && getenv(kubernetes) != "":
		return Shard{}, fmt.Errorf("shard %q: both %s and %s are set; say which shard with --shard i/%d", s, slurm,
			kubernetes, n)
	case getenv(kubernetes) != "":
		name, first = kubernetes, 0
	case getenv(slurm) == "":
		return Shard{}, fmt.Errorf("shard %q: neither %s nor %s is set; this is no task of a job array", s, slurm,
			kubernetes)
	}
	i, err := strconv.Atoi(getenv(name))
	if err != nil || i < first || i >= first+n {
		return Shard{}, fmt.Errorf("shard %q: %s is %q, %d shards are numbered from %d to %d there", s, name,
			getenv(name), n, first, first+n-1)
	}
	return Shard{i - first + 1, n}, nil
}

// stretch is the samples of a run that may share batches: one draw of the weights, or one noise that draws none. They
// are counted question by question, and under a question come all of its replicates and temperatures.
type stretch struct {
	first int // number of its first sample
	each  int // samples of one question
}

// cut is how a run is cut into shards. The samples are numbered stretch by stretch in decoding order; a shard is a
// range of that order, as long as any other, whose ends are moved to the end of a stretch where one is near: a few
// questions more are cheaper than another draw of the weights. The samples of a question in a stretch stay together, so
// that every shard has all temperatures, and with them an even share of the long answers. A cut depends on the grid and
// n alone.
type cut struct {
	meta      *results.Meta
	stretches map[[2]int]stretch // by noise and replicate, -1 for all
	bounds    []int              // number of the first sample of each shard
	total     int
}

// nearEnd is the part of a shard by which its ends may be moved to that of a stretch.
const nearEnd = 20

func newCut(m *results.Meta, n int) *cut {
	c := &cut{meta: m, stretches: map[[2]int]stretch{}}
	each := map[[2]int]int{}
	var order [][2]int
	for _, b := range blocks(m) {
		k := c.key(b.noise, b.replicate)
		if each[k] == 0 {
			order = append(order, k)
		}
		each[k] += b.samples
	}
	var ends []int
	for _, k := range order {
		c.stretches[k] = stretch{first: c.total, each: each[k]}
		c.total += each[k] * m.Examples
		ends = append(ends, c.total)
	}
	for i := range n {
		at := i * c.total / n
		near, _ := slices.BinarySearch(ends, at)
		for _, e := range ends[max(near-1, 0):min(near+1, len(ends))] {
			if distance := max(e-at, at-e); i > 0 && distance*nearEnd*n <= c.total {
				at = e
			}
		}
		c.bounds = append(c.bounds, at)
	}
	return c
}

// key is the stretch of a noise's replicate.
func (c *cut) key(noise, replicate int) [2]int {
	if !c.meta.Noises[noise].Chips {
		replicate = -1
	}
	return [2]int{noise, replicate}
}

// owner is the shard, from 0, that a sample belongs to: that of the first sample of its question.
func (c *cut) owner(k results.Key) int {
	s, ok := c.stretches[c.key(k.NoiseIndex, k.Replicate)]
	if !ok {
		return -1
	}
	return sort.SearchInts(c.bounds, s.first+k.Order*s.each+1) - 1
}

// owners says which shard (from 0) of n a sample belongs to.
func owners(m *results.Meta, n int) func(results.Key) int { return newCut(m, n).owner }

// Share is what falls to one shard.
type Share struct {
	Samples int
	Draws   int // of the weights
}

// Shares says what falls to each of n shards.
func Shares(m *results.Meta, n int) []Share {
	c := newCut(m, n)
	out := make([]Share, n)
	for k, s := range c.stretches {
		last := -1
		for order := range m.Examples {
			i := c.owner(results.Key{NoiseIndex: k[0], Replicate: max(k[1], 0), Order: order})
			out[i].Samples += s.each
			if i != last && m.Noises[k[0]].Chips {
				out[i].Draws++
			}
			last = i
		}
	}
	return out
}

// canonical yields every sample of a run in the order of its finished journal.
func canonical(m *results.Meta) func(yield func(results.Key) bool) {
	return func(yield func(results.Key) bool) {
		for n := range m.Noises {
			for r := range replicates(m, n) {
				for _, c := range m.Conditions {
					if c.NoiseIndex != n || c.SamplesOf != nil || r >= c.Replicates {
						continue
					}
					for i := range m.Examples * c.PerQuestion() {
						k := results.Key{
							NoiseIndex: n, Replicate: r, TempIndex: c.TempIndex,
							Order: i / c.PerQuestion(), Sample: i % c.PerQuestion(),
						}
						if !yield(k) {
							return
						}
					}
				}
			}
		}
	}
}
