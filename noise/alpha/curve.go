package alpha

import (
	"fmt"
	"math"
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
	Fit   float64 `json:"fit,omitempty"` // T of least mean KL; 0 where it was not measured
	// NewChips is the interval for new prompts and new chips, where all prompts share the draws of the weights. SE, Lo and Hi
	// are then for new prompts on these chips.
	NewChips *Interval `json:"new_chips,omitempty"`
}

// Curve is alpha(t), t the generated token from 0.
type Curve struct {
	Base   float64 `json:"base"` // temperature of VarP's weights and of Fit's target
	Points []Point `json:"points"`
	Fit    float64 `json:"fit,omitempty"` // T of least KL, pooled over positions
}

// Mean is the mean of alpha over the positions.
func (c *Curve) Mean() float64 { return mean(c.column(func(p Point) float64 { return p.Alpha })) }

// Alphas is alpha by position.
func (c *Curve) Alphas() []float64 { return c.column(func(p Point) float64 { return p.Alpha }) }

func (c *Curve) column(of func(Point) float64) []float64 {
	out := make([]float64, len(c.Points))
	for t, p := range c.Points {
		out[t] = of(p)
	}
	return out
}

// signal is what a form's temperature is computed from, by position: alpha, or its softmax-weighted sibling.
func (c *Curve) signal(f Form) ([]float64, error) {
	switch f {
	case Sqrt, Linear:
		return c.Alphas(), nil
	case Exact:
		// A ratio of means: where the model is certain Var_p is nearly 0, and a mean of ratios has no meaning.
		return c.column(func(p Point) float64 { return p.VarE / math.Max(p.VarP, 1e-12) }), nil
	case Fitted: // no temperature of it is computed from a signal
	}
	return nil, fmt.Errorf("form %q is not sqrt, linear, exact or fitted", f)
}

// Temperature is base * f(alpha).
func (f Form) Temperature(base, alpha float64) float64 {
	if f == Sqrt {
		return base * math.Sqrt(1+alpha)
	}
	return base * (1 + alpha)
}

// Constant is the one temperature T* of the curve.
func (c *Curve) Constant(f Form) (float64, error) {
	if len(c.Points) == 0 {
		return 0, fmt.Errorf("the calibration has no positions")
	}
	if f == Fitted {
		if c.Fit == 0 {
			return 0, fmt.Errorf("the calibration was made without the fitted form")
		}
		return c.Fit, nil
	}
	if f == Exact {
		var e, p float64
		for _, q := range c.Points {
			e, p = e+q.VarE, p+q.VarP
		}
		return f.Temperature(c.Base, e/math.Max(p, 1e-12)), nil
	}
	s, err := c.signal(f)
	return f.Temperature(c.Base, mean(s)), err
}

// Dynamic is T*(t) for every measured position.
func (c *Curve) Dynamic(f Form, how Smoothing, window int) ([]float64, error) {
	if len(c.Points) == 0 {
		return nil, fmt.Errorf("the calibration has no positions")
	}
	if f == Fitted {
		if c.Fit == 0 {
			return nil, fmt.Errorf("the calibration was made without the fitted form")
		}
		return Smooth(c.column(func(p Point) float64 { return p.Fit }), how, window), nil
	}
	s, err := c.signal(f)
	if err != nil {
		return nil, err
	}
	smoothed := Smooth(s, how, window)
	t := make([]float64, len(smoothed))
	for i, a := range smoothed {
		t[i] = f.Temperature(c.Base, math.Max(a, 0)) // a fit may dip below 0, a variance ratio cannot
	}
	return t, nil
}

// Collector gathers the moments of every prompt, draw and position. Different (prompt, draw, position) may be added at
// the same time.
type Collector struct {
	// Chips says that draw k is the same for all prompts, as a draw of the weights is.
	Chips bool

	base    float64
	fit     bool
	lengths []int // positions of each prompt
	draws   int
	moments [][]Moments // [prompt][draw*length + t]
	slopes  [][]Slopes
}

// NewCollector makes room; lengths is the number of positions of each prompt. With fit the fitted form is measured too.
func NewCollector(lengths []int, draws int, base float64, fit bool) *Collector {
	c := &Collector{base: base, fit: fit, lengths: lengths, draws: draws}
	for _, n := range lengths {
		c.moments = append(c.moments, make([]Moments, n*draws))
		c.slopes = append(c.slopes, make([]Slopes, n*draws))
	}
	return c
}

// Add measures one position of one draw.
func (c *Collector) Add(prompt, draw, t int, clean, noisy []float32) {
	at := draw*c.lengths[prompt] + t
	c.moments[prompt][at] = Measure(clean, noisy, c.base)
	if c.fit {
		c.slopes[prompt][at] = Slope(clean, noisy, c.base)
	}
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
// for the interval: draws on one prompt are not independent evidence about others. With a single prompt it is over its draws.
// With Chips there is a second interval, see Point.
// The curve stops where fewer than four prompts, or all if there are fewer, are alive.
func (c *Collector) Curve() *Curve {
	curve := &Curve{Base: c.base}
	pooled, pooledN := make(Slopes, len(Grid)), 0
	for t := 0; ; t++ {
		var p Point
		var means []float64
		var crossed [][]float64
		slopes, slopesN := make(Slopes, len(Grid)), 0
		for i, n := range c.lengths {
			if t >= n {
				continue
			}
			p.N++
			var values []float64
			for d := range c.draws {
				m := c.moments[i][d*n+t]
				values = append(values, m.Alpha)
				w := 1 / float64(c.draws)
				p.Beta, p.VarE, p.VarP = p.Beta+w*m.Beta, p.VarE+w*m.VarE, p.VarP+w*m.VarP
				if c.fit {
					slopes.add(c.slopes[i][d*n+t])
					slopesN++
				}
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
		at := Mean(means)
		p.Alpha, p.SE, p.Lo, p.Hi = at.Mean, at.SE, at.Lo, at.Hi
		if in, ok := Crossed(crossed); c.Chips && ok {
			p.NewChips = &in
		}
		if c.fit {
			pooled.add(slopes)
			pooledN += slopesN
			p.Fit = slopes.Root()
		}
		curve.Points = append(curve.Points, p)
	}
	if pooledN > 0 {
		curve.Fit = pooled.Root()
	}
	return curve
}
