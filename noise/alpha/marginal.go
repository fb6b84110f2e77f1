package alpha

import (
	"cmp"
	"math"
	"slices"
)

// The temperatures at which marginal divergences are taken are T_base/x for x from hottest to coldest in steps of
// xStep: even in 1/T, so that each power of a token follows from the last by one product.
const (
	hottest = 0.5
	coldest = 6
	xStep   = 0.05
	xCount  = 1 + (coldest-hottest)/xStep
)

// kls are KL(p || mean over draws of softmax(noisy/T)) by temperature.
type kls [xCount]float64

func (k *kls) add(o *kls) {
	for i, v := range o {
		k[i] += v
	}
}

// least is the temperature of least divergence, of the parabola through the three values about the least. At the ends
// of the grid it is the end.
func (k *kls) least(base float64) float64 {
	at := 0
	for i, v := range k {
		if v < k[at] {
			at = i
		}
	}
	x := hottest + float64(at)*xStep
	if at > 0 && at < len(k)-1 {
		before, after := k[at-1]-k[at], k[at+1]-k[at]
		if before+after > 0 {
			x += xStep / 2 * (before - after) / (before + after)
		}
	}
	return base / x
}

// marginal gathers the draws of one position.
type marginal struct {
	base    float64
	support []int     // tokens that hold all of p but 1e-7
	p       []float64 // theirs
	sum     []float64 // [support][xCount], sums of softmax(noisy/T) and of their squares
	square  []float64
	draws   int
	total   [xCount]float64
	row     []float64
}

func newMarginal(clean []float32, base float64) *marginal {
	m := &marginal{base: base}
	lc, _ := logNormalizer(clean, base)
	order := make([]int, len(clean))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(clean[b], clean[a]) })
	mass := 0.0
	for n, i := range order {
		if mass += math.Exp(float64(clean[i])/base - lc); mass >= 1-1e-7 || n == len(order)-1 {
			m.support = order[:n+1]
			break
		}
	}
	slices.Sort(m.support)
	for _, i := range m.support {
		m.p = append(m.p, math.Exp(float64(clean[i])/base-lc))
	}
	m.sum, m.square = make([]float64, len(m.support)*xCount), make([]float64, len(m.support)*xCount)
	m.row = make([]float64, len(m.support)*xCount)
	return m
}

// add takes the noisy logits of a draw.
func (m *marginal) add(noisy []float32) {
	const nothing = 1e-20 // of the largest term, which is 1
	top := math.Inf(-1)
	for _, v := range noisy {
		top = max(top, float64(v))
	}
	m.total = [xCount]float64{}
	next := 0
	for i, v := range noisy {
		d := (float64(v) - top) / m.base
		w, step := math.Exp(hottest*d), math.Exp(xStep*d)
		if next < len(m.support) && m.support[next] == i {
			row := m.row[next*xCount : (next+1)*xCount]
			for k := range row {
				row[k] = w
				m.total[k] += w
				w *= step
			}
			next++
			continue
		}
		for k := 0; k < xCount && w > nothing; k++ {
			m.total[k] += w
			w *= step
		}
	}
	for s := range m.support {
		from := s * xCount
		for k := range m.total {
			q := m.row[from+k] / m.total[k]
			m.sum[from+k] += q
			m.square[from+k] += q * q
		}
	}
	m.draws++
}

// divergences are those of the mean of the draws. A mean of few draws makes them too large, since -log of a mean
// exceeds its expectation: to second order by the variance of the mean over twice its square, which is taken off. A
// single draw has no variance to know, and nothing is taken off.
func (m *marginal) divergences() *kls {
	var out kls
	n := float64(m.draws)
	for s, p := range m.p {
		for k := range out {
			mean := m.sum[s*xCount+k] / n
			l := math.Log(p) - math.Log(max(mean, math.SmallestNonzeroFloat64))
			if mean > 0 && m.draws > 1 {
				variance := max(m.square[s*xCount+k]/n-mean*mean, 0) * n / (n - 1)
				l -= variance / (2 * n * mean * mean)
			}
			out[k] += p * l
		}
	}
	return &out
}
