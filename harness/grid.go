package harness

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/gsmeval/gsmeval/results"
)

// block is the samples of one (noise, replicate, temperature): one for each example.
type block struct{ noise, replicate, temp int }

// blocks lists the blocks of a run that must be decoded, in the order in which a run decodes them: a chip (weight noise of
// one replicate) is programmed once.
func blocks(m *results.Meta) []block {
	var out []block
	add := func(n, replicate int) { // replicate < 0: all
		for _, c := range m.Conditions {
			if c.NoiseIndex != n || c.SamplesOf != nil {
				continue
			}
			for r := range c.Replicates {
				if replicate < 0 || r == replicate {
					out = append(out, block{n, r, c.TempIndex})
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
	if !ok || err1 != nil || err2 != nil || n < 1 || i < 1 || i > n {
		return Shard{}, fmt.Errorf("shard %q is not i/n with i from 1 to n", s)
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

// owners says which shard (from 0) of n a sample belongs to: the samples of a run, in decoding order, are cut into n
// ranges of equal length. It is a pure function of the grid and n.
func owners(m *results.Meta, n int) func(results.Key) int {
	list := blocks(m)
	first := make(map[block]int, len(list))
	for i, b := range list {
		first[b] = i * m.Examples
	}
	total := len(list) * m.Examples
	return func(k results.Key) int {
		at, ok := first[block{k.NoiseIndex, k.Replicate, k.TempIndex}]
		if !ok {
			return -1
		}
		return (at + k.Order) * n / total
	}
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
					for order := range m.Examples {
						if !yield(results.Key{NoiseIndex: n, Replicate: r, TempIndex: c.TempIndex, Order: order}) {
							return
						}
					}
				}
			}
		}
	}
}
