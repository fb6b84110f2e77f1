package fidelity

import (
	"math"
	"sync"

	"github.com/gsmeval/gsmeval/noise/alpha"
)

// Collector gathers what the positions of some texts say of a noise, at each temperature. Different positions may be
// added at the same time.
type Collector struct {
	base         float64
	temperatures []float64
	draws        int
	texts        []text
	scratch      sync.Pool // of *scratch
}

// text is what was gathered of one text: by position [t], with draws [t*D + d], and with temperatures [(t*D + d)*K +
// k].
type text struct {
	tokens  []int
	entropy []float64 // of the clean law, nats
	sameTop []bool    // the noisy model's most likely token is the clean one's
	strayed []bool    // the noisy model's most likely token is not the text's
	kl      []float64
	dp      []float64 // change of the probability of the text's token
	dlog    []float64 // log of its clean probability over its noisy one
	alpha   []float64 // [t*D + d] noise to signal of the logits
	beta    []float64 // their correlation's slope
	plugin  []float64 // [t*K + k]; nil where the noise has no marginal law to speak of
	pseudo  []float64
}

type scratch struct {
	clean law
	noisy mixture
}

// NewCollector makes room for texts, the clean model's own tokens, under a number of draws. Fresh says that all draws
// of a position will come together, and have a marginal law.
func NewCollector(texts [][]int, draws int, base float64, temperatures []float64, fresh bool) *Collector {
	c := &Collector{base: base, temperatures: temperatures, draws: draws, texts: make([]text, len(texts))}
	c.scratch.New = func() any { return &scratch{} }
	for i, tokens := range texts {
		n, k := len(tokens), len(temperatures)
		x := text{
			tokens: tokens, entropy: make([]float64, n), sameTop: make([]bool, n*draws), strayed: make([]bool, n*draws),
			kl: make([]float64, n*draws*k), dp: make([]float64, n*draws*k), dlog: make([]float64, n*draws*k),
			alpha: make([]float64, n*draws), beta: make([]float64, n*draws),
		}
		if fresh {
			x.plugin, x.pseudo = make([]float64, n*k), make([]float64, n*draws*k)
		}
		c.texts[i] = x
	}
	return c
}

// Add takes position t of a text under some draws, the first of which is number from; where the noise is fresh, under
// all.
func (c *Collector) Add(text, t, from int, clean []float32, draws ...[]float32) {
	s := c.scratch.Get().(*scratch)
	defer c.scratch.Put(s)
	x := &c.texts[text]
	token := x.tokens[t]
	s.clean.set(clean, c.base)
	x.entropy[t] = s.clean.entropy()
	top := argmax(clean)
	for d, z := range draws {
		at := t*c.draws + from + d
		noisy := argmax(z)
		x.sameTop[at], x.strayed[at] = noisy == top, noisy != token
		m := alpha.Measure(clean, z, c.base)
		x.alpha[at], x.beta[at] = m.Alpha, m.Beta
	}
	for k, temperature := range c.temperatures {
		s.noisy.set(draws, temperature)
		for d, z := range draws {
			at := (t*c.draws+from+d)*len(c.temperatures) + k
			norm := s.noisy.norms[d]
			x.kl[at] = s.clean.divergence(z, temperature, norm)
			q := float64(z[token])/temperature - norm
			x.dp[at], x.dlog[at] = math.Exp(q)-math.Exp(s.clean.log[token]), s.clean.log[token]-q
		}
		if x.plugin == nil {
			continue
		}
		m := s.noisy.divergence(s.clean)
		x.plugin[t*len(c.temperatures)+k] = m.Plugin
		for d, v := range m.Pseudo {
			x.pseudo[(t*c.draws+d)*len(c.temperatures)+k] = v
		}
	}
}

// Moments are the means of alpha and beta over the positions and draws of some texts.
func (c *Collector) Moments(texts []int) (alphaMean, betaMean float64) {
	n := 0
	for _, i := range texts {
		for at, a := range c.texts[i].alpha {
			alphaMean, betaMean, n = alphaMean+a, betaMean+c.texts[i].beta[at], n+1
		}
	}
	return alphaMean / float64(n), betaMean / float64(n)
}

func argmax(z []float32) int {
	top := 0
	for i, v := range z {
		if v > z[top] {
			top = i
		}
	}
	return top
}
