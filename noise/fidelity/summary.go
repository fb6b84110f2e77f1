package fidelity

import (
	"errors"
	"math"
	"slices"

	"github.com/gsmeval/gsmeval/noise/alpha"
)

// Row is how near the noisy model is to the clean one at one temperature, over positions and draws. Divergences are in
// nats.
type Row struct {
	T        float64       `json:"t"`
	KLD      KLD           `json:"kld"`          // KL(clean || noisy) of single draws
	Marginal *MarginalMean `json:"marginal_kld"` // of the law of fresh noise; nil where the noise is not fresh, or for a single draw
	SameTop  float64       `json:"same_top"`     // share where both have the same most likely token, whatever T
	RMSdP    float64       `json:"rms_dp"`       // of the change of the probability of the text's token
	PPLRatio float64       `json:"ppl_ratio"`    // the text's perplexity under noise over its clean one
}

// KLD is the mean and the quantiles of divergences, between order statistics by linear interpolation.
type KLD struct {
	Mean float64 `json:"mean"`
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p999"`
	Max  float64 `json:"max"`
}

// MarginalMean is a mean of MarginalKL over positions. SE is the error that comes of having few draws: the positions
// are given.
type MarginalMean struct {
	Plugin float64 `json:"plugin"` // too large for few draws
	Mean   float64 `json:"mean"`   // corrected for that
	SE     float64 `json:"se"`
}

// Spread is what a Row has no room for.
type Spread struct {
	MeanDP float64 `json:"mean_dp"` // mean change of the probability of the text's token
	// 95 % intervals of the mean divergences over texts, or over draws where there is one text.
	OverTexts         alpha.Interval  `json:"kld_over_texts"`
	MarginalOverTexts *alpha.Interval `json:"marginal_over_texts"`
}

// Bin is a Row's means over some of its positions.
type Bin struct {
	From      float64       `json:"from"` // of entropy in nats, or of the position
	To        *float64      `json:"to"`   // not in it any more; nil in the last bin, which has no end
	Positions int           `json:"positions"`
	KLD       float64       `json:"kld"`
	Marginal  *MarginalMean `json:"marginal_kld"`
	SameTop   float64       `json:"same_top"`
}

// Divergent tells where the noisy model's greedy choice first leaves a greedy clean text, over texts and draws.
type Divergent struct {
	Texts  int `json:"texts"`  // texts x draws
	Leaves int `json:"leaves"` // that are left at all
	// Quantiles of the first position that differs; nil where that many are never left.
	P10 *int `json:"p10"`
	P50 *int `json:"p50"`
	P90 *int `json:"p90"`
}

// ErrNotFinite is what noise that drives the logits out of range ends in.
var ErrNotFinite = errors.New("the divergence is not finite: the noise drives the logits out of range")

// Positions is how many positions some texts have.
func (c *Collector) Positions(texts []int) int {
	n := 0
	for _, i := range texts {
		n += len(c.texts[i].tokens)
	}
	return n
}

// Rows are the rows of some texts, by temperature.
func (c *Collector) Rows(texts []int) ([]Row, []Spread, error) {
	rows, spreads := make([]Row, len(c.temperatures)), make([]Spread, len(c.temperatures))
	for k, t := range c.temperatures {
		var kl []float64
		var dp, squares, dlog, same float64
		for _, i := range texts {
			x := &c.texts[i]
			for at := range x.sameTop {
				v := at*len(c.temperatures) + k
				kl = append(kl, x.kl[v])
				dp += x.dp[v]
				squares += x.dp[v] * x.dp[v]
				dlog += x.dlog[v]
				if x.sameTop[at] {
					same++
				}
			}
		}
		n := float64(len(kl))
		rows[k] = Row{
			T: t, KLD: describe(kl), Marginal: c.marginal(texts, k, everywhere), SameTop: same / n,
			RMSdP: math.Sqrt(squares / n), PPLRatio: math.Exp(dlog / n),
		}
		spreads[k] = c.spread(texts, k)
		spreads[k].MeanDP = dp / n
		if bad(rows[k].KLD.Mean) || rows[k].Marginal != nil && bad(rows[k].Marginal.Mean) || bad(rows[k].PPLRatio) {
			return nil, nil, ErrNotFinite
		}
	}
	return rows, spreads, nil
}

func bad(v float64) bool { return math.IsNaN(v) || math.IsInf(v, 0) }

// describe sorts the values.
func describe(v []float64) KLD {
	slices.Sort(v)
	sum := 0.0
	for _, x := range v {
		sum += x
	}
	return KLD{
		sum / float64(len(v)), quantile(v, 0.5), quantile(v, 0.9), quantile(v, 0.99), quantile(v, 0.999),
		v[len(v)-1],
	}
}

// quantile is that of sorted values, by linear interpolation between the two nearest.
func quantile(v []float64, q float64) float64 {
	at := q * float64(len(v)-1)
	i := int(at)
	if i+1 == len(v) {
		return v[i]
	}
	return v[i] + (at-float64(i))*(v[i+1]-v[i])
}

func everywhere(*text, int) bool { return true }

// marginal averages over the positions of texts that are picked. Texts have draws of their own, so the variances of
// their sums add.
func (c *Collector) marginal(texts []int, k int, pick func(x *text, t int) bool) *MarginalMean {
	if c.texts[texts[0]].plugin == nil || c.draws < 2 {
		return nil
	}
	m := &MarginalMean{}
	var n, variance float64
	for _, i := range texts {
		x := &c.texts[i]
		sums := make([]float64, c.draws)
		for t := range x.tokens {
			if !pick(x, t) {
				continue
			}
			n++
			m.Plugin += x.plugin[t*len(c.temperatures)+k]
			for d := range sums {
				sums[d] += x.pseudo[(t*c.draws+d)*len(c.temperatures)+k]
			}
		}
		for _, s := range sums {
			m.Mean += s / float64(c.draws)
		}
		se := standardError(sums)
		variance += se * se
	}
	m.Plugin, m.Mean, m.SE = m.Plugin/n, m.Mean/n, math.Sqrt(variance)/n
	return m
}

// spread has the intervals over texts, or over the draws of a single text.
func (c *Collector) spread(texts []int, k int) Spread {
	var s Spread
	over := func(values func(*text) []float64) alpha.Interval {
		var sums, sizes []float64
		for _, i := range texts {
			x := &c.texts[i]
			byDraw := make([]float64, c.draws)
			for at := range x.sameTop {
				byDraw[at%c.draws] += values(x)[at*len(c.temperatures)+k]
			}
			for _, sum := range byDraw {
				sums, sizes = append(sums, sum), append(sizes, float64(len(x.tokens)))
			}
		}
		if len(texts) > 1 {
			sums, sizes = pooled(sums, c.draws), pooled(sizes, c.draws)
		}
		return alpha.Ratio(sums, sizes)
	}
	s.OverTexts = over(func(x *text) []float64 { return x.kl })
	if c.texts[texts[0]].plugin != nil && c.draws > 1 {
		m := over(func(x *text) []float64 { return x.pseudo })
		s.MarginalOverTexts = &m
	}
	return s
}

// Differences are the paired 95 % intervals, over texts, of the divergence at each temperature from that at temperature
// number ref: of the law of fresh noise where there is one, else of single draws.
func (c *Collector) Differences(texts []int, ref int) []alpha.Interval {
	out := make([]alpha.Interval, len(c.temperatures))
	for k := range out {
		var sums, sizes []float64
		for _, i := range texts {
			x := &c.texts[i]
			values := x.kl
			if x.pseudo != nil {
				values = x.pseudo
			}
			sum := 0.0
			for at := range x.sameTop {
				sum += values[at*len(c.temperatures)+k] - values[at*len(c.temperatures)+ref]
			}
			sums, sizes = append(sums, sum), append(sizes, float64(len(x.sameTop)))
		}
		out[k] = alpha.Ratio(sums, sizes)
	}
	return out
}

// pooled are the sums of every n values.
func pooled(v []float64, n int) []float64 {
	out := make([]float64, len(v)/n)
	for i, x := range v {
		out[i/n] += x
	}
	return out
}

// The edges of bins, of clean entropy in nats and of positions.
var (
	entropyEdges  = []float64{0, 0.01, 0.1, 0.3, 1, 2}
	positionEdges = []float64{0, 1, 5, 10, 20, 50, 100, 200, 500}
)

// ByEntropy are the means at temperature number k in bins of the clean law's entropy; empty bins are left out.
func (c *Collector) ByEntropy(texts []int, k int) []Bin {
	return c.bins(texts, k, entropyEdges, func(x *text, t int) float64 { return x.entropy[t] })
}

// ByPosition are the means at temperature number k in bins of the position in the text.
func (c *Collector) ByPosition(texts []int, k int) []Bin {
	return c.bins(texts, k, positionEdges, func(_ *text, t int) float64 { return float64(t) })
}

func (c *Collector) bins(texts []int, k int, edges []float64, of func(x *text, t int) float64) []Bin {
	var out []Bin
	for i, from := range edges {
		b := Bin{From: from}
		if i+1 < len(edges) {
			b.To = &edges[i+1]
		}
		pick := func(x *text, t int) bool { return of(x, t) >= from && (b.To == nil || of(x, t) < *b.To) }
		for _, i := range texts {
			x := &c.texts[i]
			for t := range x.tokens {
				if !pick(x, t) {
					continue
				}
				b.Positions++
				for at := t * c.draws; at < (t+1)*c.draws; at++ {
					b.KLD += x.kl[at*len(c.temperatures)+k]
					if x.sameTop[at] {
						b.SameTop++
					}
				}
			}
		}
		if b.Positions == 0 {
			continue
		}
		n := float64(b.Positions * c.draws)
		b.KLD, b.SameTop, b.Marginal = b.KLD/n, b.SameTop/n, c.marginal(texts, k, pick)
		out = append(out, b)
	}
	return out
}

// Divergent looks for the first position of each text and draw where the noisy model prefers another token than the
// text's.
func (c *Collector) Divergent(texts []int) Divergent {
	d := Divergent{Texts: len(texts) * c.draws}
	var first []int
	for _, i := range texts {
		x := &c.texts[i]
		for draw := range c.draws {
			for t := range x.tokens {
				if x.strayed[t*c.draws+draw] {
					first = append(first, t)
					break
				}
			}
		}
	}
	slices.Sort(first)
	d.Leaves = len(first)
	at := func(share float64) *int {
		if i := int(math.Ceil(share*float64(d.Texts))) - 1; i < len(first) {
			return &first[i]
		}
		return nil
	}
	d.P10, d.P50, d.P90 = at(0.1), at(0.5), at(0.9)
	return d
}
