package alpha

import (
	"fmt"
	"math"
	"strings"
)

// Form is a formula for the temperature under noise.
type Form string

// The forms. z are the clean logits, z' = z + e the noisy ones, p = softmax(z/T_base).
const (
	Sqrt     Form = "sqrt"            // T_base sqrt(1 + alpha)
	StdRatio Form = "std_ratio"       // T_base std(z')/std(z)
	Linear   Form = "linear"          // T_base (1 + alpha)
	Exact    Form = "exact"           // T_base (1 + Var(e)/Var_p(z)), a mis-derivation of fisher
	Fisher   Form = "fisher"          // T_base Var_p(z')/Cov_p(z, z')
	Fitted   Form = "fitted"          // the T of least mean KL(p || softmax(z'/T))
	Marginal Form = "marginal"        // the T of least KL(p || mean over draws of softmax(z'/T))
	Probit   Form = "marginal_probit" // sqrt(T_base^2 - pi Var(e1 - e2)/8), of the two top candidates
)

// Law is the law that tokens are sampled from under a noise, which a form's temperature should bring close to p.
type Law string

// The laws. A form that matches something else has none.
const (
	OneDraw   Law = "one_draw"   // softmax(z'/T) of one e for the whole text: a chip, a quantised model
	MeanDraws Law = "mean_draws" // the mean of softmax(z'/T) over e, which is drawn anew for every token
	Both      Law = "both"       // on each chip, the mean over what is drawn anew: no form is for that
)

// Needs says what a calibration measures beside the moments.
type Needs struct {
	Fit      bool // the T of least mean KL
	Marginal bool // the T of least marginal KL
}

// formula is a row of the table of forms.
type formula struct {
	form  Form
	law   Law
	text  string
	needs Needs
	// at is what the temperature of a position follows from, and is smoothed over positions; whole is that of the
	// curve.
	at    func(Point) float64
	whole func(*Curve) float64
	// temperature is that of a signal; 0 where there is none.
	temperature func(base, signal float64) float64
	// check is what makes a curve unfit for the form: for one temperature, or for one of each position.
	check func(c *Curve, each bool) error
}

// formulas is every form.
var formulas = []formula{
	{
		form: Sqrt, text: "T_base sqrt(1 + alpha)",
		at: alphaOf, whole: (*Curve).Mean,
		temperature: func(base, a float64) float64 { return base * math.Sqrt(1+math.Max(a, 0)) },
	},
	{
		form: StdRatio, text: "T_base sqrt(1 + alpha + 2(beta - 1))",
		at: excess, whole: func(c *Curve) float64 { return mean(c.column(excess)) },
		temperature: func(base, x float64) float64 { return root(base * base * (1 + x)) },
	},
	{
		form: Linear, text: "T_base (1 + alpha)",
		at: alphaOf, whole: (*Curve).Mean,
		temperature: func(base, a float64) float64 { return base * (1 + math.Max(a, 0)) },
	},
	{
		// A ratio of means: where the model is certain Var_p is nearly 0, and a mean of ratios has no meaning.
		form: Exact, text: "T_base (1 + Var(e)/Var_p(z)), which drops a factor of fisher's",
		at: func(p Point) float64 { return p.VarE / math.Max(p.VarP, 1e-12) },
		whole: func(c *Curve) float64 {
			return c.sum(func(p Point) float64 { return p.VarE }) / math.Max(c.sum(func(p Point) float64 { return p.VarP }), 1e-12)
		},
		temperature: func(base, a float64) float64 { return base * (1 + math.Max(a, 0)) },
	},
	{
		form: Fisher, law: OneDraw, text: "T_base E Var_p(z')/E Cov_p(z, z')",
		at: func(p Point) float64 { return p.VarN / p.CovP },
		whole: func(c *Curve) float64 {
			return c.sum(func(p Point) float64 { return p.VarN }) / c.sum(func(p Point) float64 { return p.CovP })
		},
		temperature: func(base, ratio float64) float64 { return base * math.Max(ratio, 0) },
		check:       (*Curve).covaries,
	},
	{
		form: Fitted, law: OneDraw, text: "the T of least mean KL(p || softmax(z'/T))", needs: Needs{Fit: true},
		at: func(p Point) float64 { return p.Fit }, whole: func(c *Curve) float64 { return c.Fit },
		temperature: func(_, t float64) float64 { return within(t, Grid[len(Grid)-1], Grid[0]) },
		check:       func(c *Curve, _ bool) error { return c.measured(Fitted, c.Fit) },
	},
	{
		form: Marginal, law: MeanDraws, text: "the T of least KL(p || mean of softmax(z'/T) over draws)",
		needs: Needs{Marginal: true},
		at:    func(p Point) float64 { return p.Marginal }, whole: func(c *Curve) float64 { return c.Marginal },
		temperature: func(base, t float64) float64 { return within(t, base/coldest, base/hottest) },
		check:       func(c *Curve, _ bool) error { return c.measured(Marginal, c.Marginal) },
	},
	{
		form: Probit, law: MeanDraws, text: "sqrt(T_base^2 - pi Var(e1 - e2)/8) of the two top candidates",
		at: func(p Point) float64 { return p.VarPair },
		whole: func(c *Curve) float64 {
			sum := c.sum(func(p Point) float64 { return p.Weight * p.VarPair })
			return sum / math.Max(c.sum(func(p Point) float64 { return p.Weight }), math.SmallestNonzeroFloat64)
		},
		temperature: func(base, v float64) float64 { return root(base*base - math.Pi/8*v) },
		check: func(c *Curve, _ bool) error {
			if c.Draws < 2 {
				return fmt.Errorf("form %s needs the variance over draws: set calibration.draws to 2 or more", Probit)
			}
			return nil
		},
	},
}

func alphaOf(p Point) float64 { return p.Alpha }

// excess is Var(z')/Var(z) - 1.
func excess(p Point) float64 { return p.Alpha + 2*(p.Beta-1) }

// root is the square root, and 0 where there is none.
func root(x float64) float64 { return math.Sqrt(math.Max(x, 0)) }

// within is t, and 0 where it is an end of the range that was searched: the best T lies beyond.
func within(t, lo, hi float64) float64 {
	if t <= lo*(1+1e-9) || t >= hi*(1-1e-9) {
		return 0
	}
	return t
}

// Forms lists the forms.
func Forms() []Form {
	list := make([]Form, len(formulas))
	for i, f := range formulas {
		list[i] = f.form
	}
	return list
}

// row is the form's row of the table.
func (f Form) row() (*formula, error) {
	for i := range formulas {
		if formulas[i].form == f {
			return &formulas[i], nil
		}
	}
	var names []string
	for _, known := range Forms() {
		names = append(names, string(known))
	}
	return nil, fmt.Errorf("form %q is not one of %s", f, strings.Join(names, ", "))
}

// Law is the law that the form brings close to p; "" for one that is right for neither kind of noise.
func (f Form) Law() Law {
	if row, err := f.row(); err == nil {
		return row.law
	}
	return ""
}

// Text is the form as a formula.
func (f Form) Text() string {
	if row, err := f.row(); err == nil {
		return row.text
	}
	return string(f)
}

// Needs is what has to be measured for the form.
func (f Form) Needs() Needs {
	if row, err := f.row(); err == nil {
		return row.needs
	}
	return Needs{}
}

// usable finds the form's row and checks that the curve has what it needs.
func (c *Curve) usable(f Form, each bool) (*formula, error) {
	if len(c.Points) == 0 {
		return nil, fmt.Errorf("the calibration has no positions")
	}
	row, err := f.row()
	if err == nil && row.check != nil {
		err = row.check(c, each)
	}
	return row, err
}

func (c *Curve) measured(f Form, t float64) error {
	if t == 0 {
		return fmt.Errorf("the calibration was made without the form %s", f)
	}
	return nil
}

// covaries is an error that names the first position where noisy logits do not go with the clean ones. Where one
// temperature is for all, their sum over positions has to.
func (c *Curve) covaries(each bool) error {
	if !each && c.sum(func(p Point) float64 { return p.CovP }) > 0 {
		return nil
	}
	for t, p := range c.Points {
		if p.CovP <= 0 {
			return fmt.Errorf("form %s: the covariance of clean and noisy logits at position %d is %.3g, and has to be above 0: "+
				"the noise leaves nothing of what the model says there", Fisher, t, p.CovP)
		}
	}
	return nil
}

// Constant is the one temperature T* of the curve; 0 where the form has none, and the most likely token is to be taken.
func (c *Curve) Constant(f Form) (float64, error) {
	row, err := c.usable(f, false)
	if err != nil {
		return 0, err
	}
	return row.temperature(c.Base, row.whole(c)), nil
}

// Dynamic is T*(t) for every measured position; 0 where the form has none.
func (c *Curve) Dynamic(f Form, how Smoothing, window int) ([]float64, error) {
	row, err := c.usable(f, true)
	if err != nil {
		return nil, err
	}
	smoothed := Smooth(c.column(row.at), how, window)
	t := make([]float64, len(smoothed))
	for i, signal := range smoothed {
		t[i] = row.temperature(c.Base, signal) // a smoothed variance may dip below 0
	}
	return t, nil
}
