package alpha

import (
	"cmp"
	"slices"
	"sync"
)

// Point is the curve at one position.
type Point struct {
	N     int     `json:"n"`     // prompts that are alive
	Alpha float64 `json:"alpha"` // mean over prompts and draws
	SE    float64 `json:"se"`    // its standard error, see Collector.Curve
	Lo    float64 `json:"lo"`    // 95 % interval
	Hi    float64 `json:"hi"`
	Beta  float64 `json:"beta"`
	VarE  float64 `json:"var_e"`
	VarP  float64 `json:"var_p"`

	VarN    float64 `json:"var_p_noisy"` // the softmax-weighted moments, see Moments
	CovP    float64 `json:"cov_p"`
	VarPair float64 `json:"var_pair"` // variance over draws of e1 - e2, prompts weighted by Weight; 0 for a single draw
	Weight  float64 `json:"pair_weight"`

	Fit      float64 `json:"fit,omitempty"`      // T of least mean KL; 0 where it was not measured
	Marginal float64 `json:"marginal,omitempty"` // T of least marginal KL, likewise
	// NewChips is the interval for new prompts and new chips, where all prompts share the draws of the weights. SE, Lo
	// and Hi are then for new prompts on these chips.
	NewChips *Interval `json:"new_chips,omitempty"`
}

// Curve is alpha(t), t the generated token from 0.
type Curve struct {
	Base   float64 `json:"base"` // T_base: temperature of the softmax-weighted moments and of Fit's target
	Draws  int     `json:"draws"`
	Points []Point `json:"points"`

	Fit       float64 `json:"fit,omitempty"`      // T of least KL, pooled over positions
	Marginal  float64 `json:"marginal,omitempty"` // T of least marginal KL, pooled over positions
	Bins      []Bin   `json:"bins,omitempty"`
	Entropy80 float64 `json:"entropy_p80"` // 80th percentile of the noisy logits' entropy
}

// Bin is a temperature for a range of the noisy logits' entropy, up to where the next bin begins.
type Bin struct {
	From float64 `json:"from"` // nats
	N    int     `json:"n"`    // positions of prompts that it was fitted on
	T    float64 `json:"t"`    // of least divergence; 0 where that has no temperature
}

// Mean is the mean of alpha over the positions.
func (c *Curve) Mean() float64 { return mean(c.Alphas()) }

// Alphas is alpha by position.
func (c *Curve) Alphas() []float64 { return c.column(alphaOf) }

func (c *Curve) column(of func(Point) float64) []float64 {
	out := make([]float64, len(c.Points))
	for t, p := range c.Points {
		out[t] = of(p)
	}
	return out
}

func (c *Curve) sum(of func(Point) float64) float64 {
	sum := 0.0
	for _, p := range c.Points {
		sum += of(p)
	}
	return sum
}

// Collector gathers the moments of every prompt, draw and position. Different (prompt, draw, position) may be added at
// the same time, but for draws of one position where the marginal form is measured.
type Collector struct {
	// Chips says that draw k is the same for all prompts, as a draw of the weights is.
	Chips bool

	base    float64
	needs   Needs
	lengths []int // positions of each prompt
	draws   int
	moments [][]Moments // [prompt][draw*length + t]
	slopes  [][]Slopes
	kls     [][]*kls // [prompt][t]

	mu   sync.Mutex
	open map[[2]int]*marginal // (prompt, t) some of whose draws are in
}

// NewCollector makes room; lengths is the number of positions of each prompt.
func NewCollector(lengths []int, draws int, base float64, needs Needs) *Collector {
	c := &Collector{base: base, needs: needs, lengths: lengths, draws: draws, open: map[[2]int]*marginal{}}
	for _, n := range lengths {
		c.moments = append(c.moments, make([]Moments, n*draws))
		c.slopes = append(c.slopes, make([]Slopes, n*draws))
		c.kls = append(c.kls, make([]*kls, n))
	}
	return c
}

// Add measures one position of one draw.
func (c *Collector) Add(prompt, draw, t int, clean, noisy []float32) {
	at := draw*c.lengths[prompt] + t
	c.moments[prompt][at] = Measure(clean, noisy, c.base)
	if c.needs.Fit {
		c.slopes[prompt][at] = Slope(clean, noisy, c.base)
	}
	if c.needs.Marginal {
		c.addMarginal(prompt, t, clean, noisy)
	}
}

// addMarginal gathers the draws of a position, which come one after another. Their order does not matter, but what is
// open takes memory: the draws of a position should be added together.
func (c *Collector) addMarginal(prompt, t int, clean, noisy []float32) {
	key := [2]int{prompt, t}
	c.mu.Lock()
	m := c.open[key]
	c.mu.Unlock()
	if m == nil {
		m = newMarginal(clean, c.base)
	}
	m.add(noisy)
	c.mu.Lock()
	defer c.mu.Unlock()
	if m.draws < c.draws {
		c.open[key] = m
		return
	}
	delete(c.open, key)
	c.kls[prompt][t] = m.divergences()
}

// Alphas is alpha by position of one draw on one prompt.
func (c *Collector) Alphas(prompt, draw int) []float64 {
	n := c.lengths[prompt]
	out := make([]float64, n)
	for t, m := range c.moments[prompt][draw*n : (draw+1)*n] {
		out[t] = m.Alpha
	}
	return out
}

// alive is the least number of prompts that a position needs.
func (c *Collector) alive() int { return min(4, len(c.lengths)) }

// Curve averages over prompts and draws. The standard error is that of the mean of the prompts' means, with Student's t
// for the interval: draws on one prompt are not independent evidence about others. With a single prompt it is over its
// draws. With Chips there is a second interval, see Point. The curve stops where fewer than four prompts, or all if
// there are fewer, are alive.
func (c *Collector) Curve() *Curve {
	curve := &Curve{Base: c.base, Draws: c.draws}
	pooled, marginals := make(Slopes, len(Grid)), &kls{}
	var entropies []float64
	var seen []position
	for t := 0; ; t++ {
		var p Point
		var means []float64
		var crossed [][]float64
		slopes, marginal := make(Slopes, len(Grid)), &kls{}
		for i, n := range c.lengths {
			if t >= n {
				continue
			}
			p.N++
			var values, pairs []float64
			for d := range c.draws {
				m := c.moments[i][d*n+t]
				values = append(values, m.Alpha)
				w := 1 / float64(c.draws)
				p.Beta, p.VarE, p.VarP = p.Beta+w*m.Beta, p.VarE+w*m.VarE, p.VarP+w*m.VarP
				p.VarN, p.CovP = p.VarN+w*m.VarN, p.CovP+w*m.CovP
				pairs, entropies = append(pairs, m.Pair), append(entropies, m.Entropy)
				if c.needs.Fit {
					slopes.add(c.slopes[i][d*n+t])
				}
			}
			seen = append(seen, position{i, t, mean(entropies[len(entropies)-c.draws:])})
			weight := c.moments[i][t].Weight
			p.Weight, p.VarPair = p.Weight+weight, p.VarPair+weight*variance(pairs)
			if c.needs.Marginal {
				marginal.add(c.kls[i][t])
			}
			crossed = append(crossed, values)
			if len(c.lengths) == 1 {
				means = values
			} else {
				means = append(means, mean(values))
			}
		}
		if p.N == 0 || p.N < c.alive() {
			break
		}
		k := float64(p.N)
		p.Beta, p.VarE, p.VarP = p.Beta/k, p.VarE/k, p.VarP/k
		p.VarN, p.CovP = p.VarN/k, p.CovP/k
		if p.Weight > 0 {
			p.VarPair /= p.Weight
		}
		p.Weight /= k
		at := Mean(means)
		p.Alpha, p.SE, p.Lo, p.Hi = at.Mean, at.SE, at.Lo, at.Hi
		if in, ok := Crossed(crossed); c.Chips && ok {
			p.NewChips = &in
		}
		if c.needs.Fit {
			pooled.add(slopes)
			p.Fit = slopes.Root()
			curve.Fit = pooled.Root()
		}
		if c.needs.Marginal {
			marginals.add(marginal)
			p.Marginal = marginal.least(c.base)
			curve.Marginal = marginals.least(c.base)
		}
		curve.Points = append(curve.Points, p)
	}
	curve.Entropy80 = percentile(entropies, 0.8)
	curve.Bins = c.bins(seen)
	return curve
}

// position is one of a prompt, with the mean entropy of its noisy logits.
type position struct {
	prompt, t int
	entropy   float64
}

// binCount is how many temperatures a calibration fits by entropy.
const binCount = 5

// bins cuts positions into bins of equal size by entropy and finds the temperature of least divergence in each. A bin
// is of one temperature, and a position is in one bin: that of its mean entropy, though its draws may differ.
func (c *Collector) bins(seen []position) []Bin {
	if !c.needs.Fit && !c.needs.Marginal {
		return nil
	}
	slices.SortStableFunc(seen, func(a, b position) int { return cmp.Compare(a.entropy, b.entropy) })
	var list []Bin
	for k := range binCount {
		part := seen[k*len(seen)/binCount : (k+1)*len(seen)/binCount]
		if len(part) == 0 || len(list) > 0 && part[0].entropy == list[len(list)-1].From {
			continue // fewer positions than bins, or all alike
		}
		b := Bin{From: part[0].entropy, N: len(part)}
		if len(list) == 0 {
			b.From = 0
		}
		slopes, marginal := make(Slopes, len(Grid)), &kls{}
		for _, at := range part {
			if c.needs.Marginal {
				marginal.add(c.kls[at.prompt][at.t])
				continue
			}
			for d := range c.draws {
				slopes.add(c.slopes[at.prompt][d*c.lengths[at.prompt]+at.t])
			}
		}
		if c.needs.Marginal {
			b.T = within(marginal.least(c.base), c.base/coldest, c.base/hottest)
		} else {
			b.T = within(slopes.Root(), Grid[len(Grid)-1], Grid[0])
		}
		list = append(list, b)
	}
	return list
}

// variance is the unbiased one; 0 of a single value.
func variance(y []float64) float64 {
	if len(y) < 2 {
		return 0
	}
	m, sum := mean(y), 0.0
	for _, v := range y {
		sum += (v - m) * (v - m)
	}
	return sum / float64(len(y)-1)
}

// percentile is the value below which a share of the values lies, linear between them.
func percentile(y []float64, share float64) float64 {
	if len(y) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(y))
	at := share * float64(len(y)-1)
	i := int(at)
	return sorted[i] + (at-float64(i))*(sorted[min(i+1, len(y)-1)]-sorted[i])
}
