package decode

import (
	"cmp"
	"math"
	"slices"
	"sync"

	"github.com/gsmeval/gsmeval/internal/torch"
	"github.com/gsmeval/gsmeval/noise/philox"
)

// Filter narrows the tokens that may be sampled, in transformers' order: repetition penalty on the logits, temperature,
// top-n-sigma (which transformers lacks), top-k, top-p, min-p. The zero Filter keeps all. It does not apply to greedy
// decoding, but for the penalty.
type Filter struct {
	TopNSigma         float64 // 0: off
	TopK              int     // 0: off
	TopP              float64 // 0 or 1: off
	MinP              float64 // 0: off
	RepetitionPenalty float64 // 0 or 1: off
}

func (f Filter) narrows() bool {
	return f.TopNSigma > 0 || f.TopK > 0 || (f.TopP > 0 && f.TopP < 1) || f.MinP > 0
}

// maxGumbel bounds the Gumbel variate of any 32-bit word: -ln(-ln(1 - 2^-33)) = 22.874.
const maxGumbel = 22.88

// tail[n] = 1 - e^-n. A word of uniform u beats a gap d >= n only if u > exp(-exp(-d)) >= 1 - exp(-d) >= 1 - exp(-n).
var tail = func() (t [24]float64) {
	for n := range t {
		t[n] = 1 - math.Exp(-float64(n))
	}
	return t
}()

// scan returns the index of the largest logit (the first of equals) and whether all logits are finite.
func scan(z []float32) (top int, finite bool) { return torch.Scan(z) }

// indices holds scratch for gumbelMax: at a large vocabulary a fresh list for every token would keep the collector
// busy.
var indices = sync.Pool{New: func() any { return new([]int32) }}

// gumbelMax returns argmax(z/T + g) with g a Gumbel variate of (key, step, token): exactly a sample of softmax(z/T),
// and the same random numbers whatever T is (Gumbel, 1954; Maddison et al., 2014). top is the index of the largest
// logit. Tokens that cannot win are skipped without a draw; the result is that of drawing all.
func gumbelMax(z []float32, top int, temperature float64, step uint32, key philox.Key) int {
	draw := func(i int) uint32 {
		return philox.Words(philox.Counter{uint32(i / 4), step, 0, 0}, key)[i%4]
	}
	best, at := float64(z[top])/temperature+philox.Gumbel(draw(top)), top
	scratch := indices.Get().(*[]int32)
	defer indices.Put(scratch)
	if len(*scratch) < len(z) {
		*scratch = make([]int32, len(z))
	}
	var words [4]uint32
	block := -1
	for _, index := range torch.MayWin(z, temperature, best, step, uint64(key), *scratch) {
		i := int(index)
		s := float64(z[i]) / temperature
		gap := best - s
		if gap > maxGumbel || i == top {
			continue
		}
		if b := i / 4; b != block {
			block, words = b, philox.Words(philox.Counter{uint32(b), step, 0, 0}, key)
		}
		w := words[i%4]
		if gap >= 1 && philox.Uniform(w) < tail[int(gap)] {
			continue
		}
		if x := s + philox.Gumbel(w); x > best || (x == best && i < at) {
			best, at = x, i
		}
	}
	return at
}

// filteredMax is gumbelMax over the tokens that survive the filter.
func filteredMax(z []float32, temperature float64, f Filter, step uint32, key philox.Key) int {
	order := survivors(z, temperature, f)
	best, at := math.Inf(-1), order[0]
	for _, i := range order {
		w := philox.Words(philox.Counter{uint32(i / 4), step, 0, 0}, key)[i%4]
		if x := float64(z[i])/temperature + philox.Gumbel(w); x > best || (x == best && i < at) {
			best, at = x, i
		}
	}
	return at
}

// survivors returns the tokens that may be sampled, the likeliest first.
func survivors(z []float32, temperature float64, f Filter) []int {
	order := make([]int, 0, len(z))
	least := math.Inf(-1)
	if f.TopNSigma > 0 {
		least = belowTop(z, f.TopNSigma)
	}
	for i, v := range z {
		if float64(v) >= least {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(z[b], z[a]) })
	if f.TopK > 0 && f.TopK < len(order) {
		// transformers removes what is below the k-th value: ties with it stay.
		kth, n := z[order[f.TopK-1]], f.TopK
		for n < len(order) && z[order[n]] == kth {
			n++
		}
		order = order[:n]
	}
	if f.TopP > 0 && f.TopP < 1 {
		// A token goes if it and everything less likely have at most 1 - p of the mass; the likeliest stays.
		p := softmax(z, order, temperature)
		n, mass := len(order), 0.0
		for n > 1 && mass+p[n-1] <= 1-f.TopP {
			mass += p[n-1]
			n--
		}
		order = order[:n]
	}
	if f.MinP > 0 {
		p := softmax(z, order, temperature)
		n := len(order)
		for n > 1 && p[n-1] < f.MinP*p[0] {
			n--
		}
		order = order[:n]
	}
	return order
}

// belowTop is n standard deviations (n - 1, over the vocabulary) below the largest logit.
func belowTop(z []float32, n float64) float64 {
	top, mean, square := math.Inf(-1), 0.0, 0.0
	for _, v := range z {
		top, mean = max(top, float64(v)), mean+float64(v)/float64(len(z))
	}
	for _, v := range z {
		square += (float64(v) - mean) * (float64(v) - mean)
	}
	return top - n*math.Sqrt(square/max(float64(len(z)-1), 1))
}

// softmax returns softmax(z[order]/T); order is by falling z.
func softmax(z []float32, order []int, temperature float64) []float64 {
	p := make([]float64, len(order))
	sum, top := 0.0, float64(z[order[0]])
	for n, i := range order {
		p[n] = math.Exp((float64(z[i]) - top) / temperature)
		sum += p[n]
	}
	for n := range p {
		p[n] /= sum
	}
	return p
}

// penalize divides the positive and multiplies the negative logits of the tokens seen so far (Keskar et al., 2019).
func penalize(z []float32, penalty float64, seen []int) {
	done := make(map[int]bool, len(seen))
	for _, i := range seen {
		if i < 0 || i >= len(z) || done[i] {
			continue
		}
		done[i] = true
		if z[i] > 0 {
			z[i] = float32(float64(z[i]) / penalty)
		} else {
			z[i] = float32(float64(z[i]) * penalty)
		}
	}
}

// logProb is the log softmax of z at token i.
func logProb(z []float32, top, i int) float64 {
	sum, best := 0.0, float64(z[top])
	for _, v := range z {
		sum += math.Exp(float64(v) - best)
	}
	return float64(z[i]) - best - math.Log(sum)
}
