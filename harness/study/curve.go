package study

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gsmeval/gsmeval/harness/calibrate"
	"github.com/gsmeval/gsmeval/harness/session"
	"github.com/gsmeval/gsmeval/internal/condition"
	"github.com/gsmeval/gsmeval/internal/config"
	"github.com/gsmeval/gsmeval/internal/plots"
	"github.com/gsmeval/gsmeval/results"
	"github.com/gsmeval/gsmeval/results/report"
)

// curveSchema is the version of the JSON form of a CurveReport.
const curveSchema = 2

// CurveReport is accuracy, and pass@k and maj@k where there are several samples of a question, against the constant
// temperatures of a run, noise by noise.
type CurveReport struct {
	Schema      int          `json:"schema"`
	Name        string       `json:"name"`
	Fingerprint string       `json:"fingerprint"`
	Curves      []NoiseCurve `json:"curves"` // noise by noise in the order of the config, accuracy first
	Warnings    []string     `json:"warnings"`
	measures    []results.Measure
	rows        []results.Row
}

// NoiseCurve is the curve of a measure under one noise.
type NoiseCurve struct {
	Noise   string       `json:"noise"`
	Measure string       `json:"measure"` // accuracy, pass@4, maj@4, ...
	Points  []CurvePoint `json:"points"`  // constant temperatures, rising
	TStar   []CurvePoint `json:"t_star"`  // the constant T* of the run, of each form
	Greedy  *CurvePoint  `json:"greedy"`
	// Best is the point of highest value, of equal ones the nearest to T = 1. BestT is the 95 % interval of its
	// temperature over resamples of the questions, on the grid of Points. A value that was chosen for being the highest
	// is too high: only other problems tell what the temperature is worth.
	Best  CurvePoint `json:"best"`
	BestT [2]float64 `json:"best_t_ci"`
}

// CurvePoint is the value of one condition.
type CurvePoint struct {
	Temperature string            `json:"temperature"` // its label
	T           results.Float     `json:"t"`           // null when greedy
	N           int               `json:"n"`
	Value       results.Float     `json:"value"`
	CI          results.Interval  `json:"ci"`
	NewChips    *results.Interval `json:"ci_new_chips"`
	BestShare   results.Float     `json:"best_share"` // resamples of the questions in which it is the best of Points; null elsewhere
	index       int
}

// ReadCurve reads the curve of a run, which may still be at work.
func ReadCurve(dir string) (*CurveReport, error) {
	info, err := results.ReadRun(dir)
	if err != nil {
		return nil, err
	}
	cfg, err := config.Parse(filepath.Join(dir, results.RunFile), info.Config, config.Options{})
	if err != nil {
		return nil, err
	}
	set, err := results.LoadSet(dir)
	if err != nil {
		return nil, err
	}
	table := set.Table()
	r := &CurveReport{
		Schema: curveSchema, Name: info.Name, Fingerprint: info.Fingerprint, Warnings: table.Warnings,
		measures: set.Measures(), rows: table.Rows,
	}
	constant := map[string]float64{}
	for _, s := range info.Schedules {
		if len(s.T) == 1 {
			constant[s.SHA] = s.T[0]
		}
	}
	sha := map[[2]int]string{}
	for _, c := range info.Meta.Conditions {
		sha[[2]int{c.NoiseIndex, c.TempIndex}] = c.TSHA
	}
	for n, noise := range info.Meta.Noises {
		for _, m := range r.measures {
			c := NoiseCurve{Noise: noise.Label, Measure: m.String()}
			for i := range table.Rows {
				row := &table.Rows[i]
				if row.NoiseIndex == n && row.N > 0 {
					c.add(row, m, cfg.Temperature[row.TempIndex].Policy, constant[sha[[2]int{n, row.TempIndex}]])
				}
			}
			if len(c.Points) < 2 {
				return nil, fmt.Errorf("%s has samples at %s under %q: a curve needs two or more (policy constant)",
					dir, session.Count(len(c.Points), "constant temperature"), noise.Label)
			}
			c.choose(func(temps []int) []float64 { return set.BestShares(m, n, temps) })
			r.Curves = append(r.Curves, c)
		}
	}
	return r, nil
}

// add puts a condition in its place; t is its temperature where it is constant.
func (c *NoiseCurve) add(row *results.Row, m results.Measure, policy condition.Policy, t float64) {
	v := row.Value(m)
	p := CurvePoint{
		Temperature: row.Temperature, T: results.Float(t), N: row.N, Value: v.Value, CI: v.CI, NewChips: v.NewChips,
		BestShare: results.Float(math.NaN()), index: row.TempIndex,
	}
	switch policy.(type) {
	case *condition.GreedyPolicy:
		p.T = results.Float(math.NaN())
		c.Greedy = &p
	case *condition.ConstantTStar:
		c.TStar = append(c.TStar, p)
	case *condition.Constant:
		if !slices.ContainsFunc(c.Points, func(q CurvePoint) bool { return q.T == p.T }) {
			c.Points = append(c.Points, p)
		}
	}
}

// choose finds the best of the constant temperatures, and how sure that is.
func (c *NoiseCurve) choose(bestShares func(temps []int) []float64) {
	far := func(p CurvePoint) float64 { return math.Abs(float64(p.T) - 1) }
	slices.SortFunc(c.Points, func(a, b CurvePoint) int {
		return cmp.Or(cmp.Compare(far(a), far(b)),
			cmp.Compare(a.T, b.T))
	})
	var temps []int
	for _, p := range c.Points {
		temps = append(temps, p.index)
	}
	for i, share := range bestShares(temps) {
		c.Points[i].BestShare = results.Float(share)
	}
	c.Best = slices.MaxFunc(c.Points, func(a, b CurvePoint) int { return cmp.Compare(a.Value, b.Value) })
	slices.SortFunc(c.Points, func(a, b CurvePoint) int { return cmp.Compare(a.T, b.T) })
	below := 0.0 // resamples whose best temperature is not above this one
	lo, hi := math.NaN(), math.NaN()
	for _, p := range c.Points {
		below += float64(p.BestShare)
		if math.IsNaN(lo) && below > 0.025 {
			lo = float64(p.T)
		}
		if math.IsNaN(hi) && below >= 0.975 {
			hi = float64(p.T)
		}
	}
	c.BestT = [2]float64{lo, hi}
}

// Values are the best temperatures by a measure as a list for `values` of a constant temperature condition.
func (r *CurveReport) Values(measure string) (string, error) {
	var list, names []string
	for _, c := range r.Curves {
		if c.Measure == measure {
			list = append(list, exactly(float64(c.Best.T)))
		}
	}
	if len(list) > 0 {
		return "[" + strings.Join(list, ", ") + "]", nil
	}
	for _, m := range r.measures {
		names = append(names, m.String())
	}
	return "", fmt.Errorf("%s has no %q; it has %s", r.Name, measure, strings.Join(names, ", "))
}

// Markdown is the best temperature under each noise beside the others.
func (r *CurveReport) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Best constant temperature of %s. Values in %% with 95 %% intervals.\n\n", r.Name)
	b.WriteString("| Noise | Measure | Best T | 95 % CI of T | Its value | T = 1 | Greedy | T* | Its value |\n|---|---|--:|--:|--:|--:|--:|--:|--:|\n")
	for _, c := range r.Curves {
		one, greedy, tstar, at := "–", "–", "–", "–"
		for _, p := range c.Points {
			if p.T == 1 {
				one = p.cell()
			}
		}
		if c.Greedy != nil {
			greedy = c.Greedy.cell()
		}
		if len(c.TStar) > 0 {
			tstar, at = temperature(float64(c.TStar[0].T)), c.TStar[0].cell()
		}
		fmt.Fprintf(&b, "| %s | %s | %s | [%g, %g] | %s | %s | %s | %s | %s |\n",
			c.Noise, c.Measure, exactly(float64(c.Best.T)), c.BestT[0], c.BestT[1], c.Best.cell(), one, greedy, tstar, at)
	}
	b.WriteString("\n- The interval of T is over resamples of the questions, on the temperatures that were tried; of equal ones the nearest to 1 is best.\n" +
		"- The best of several is too high an estimate: evaluate the temperature on other problems.\n")
	for _, w := range r.Warnings {
		b.WriteString("- Warning: " + w + "\n")
	}
	return b.String()
}

func (p *CurvePoint) cell() string {
	return fmt.Sprintf("%.1f [%.1f, %.1f]", 100*float64(p.Value), 100*float64(p.CI[0]), 100*float64(p.CI[1]))
}

// Write puts curve.json and the plot, as PNG and SVG, into a directory.
func (r *CurveReport) Write(dir string) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", " ")
	if err := enc.Encode(r); err != nil {
		return fmt.Errorf("writing the curve: %w", err)
	}
	if err := calibrate.WriteAtomic(filepath.Join(dir, "curve.json"), b.Bytes()); err != nil {
		return err
	}
	if f := report.SamplesFigure(r.rows); f != nil {
		if err := writeFigure(filepath.Join(dir, "curve_k"), f); err != nil {
			return err
		}
	}
	return writeFigure(filepath.Join(dir, "curve"), r.Figure())
}

// Figure has a panel for each noise and measure: its value against T, with T* marked and greedy as a line.
func (r *CurveReport) Figure() *plots.Figure {
	f := &plots.Figure{
		Title: "Accuracy against a constant temperature", Same: true,
		Note: "Bars and band: 95 % interval over questions, for these noise seeds. Dotted: the constant T*.",
	}
	shapes := []plots.Shape{plots.Triangle, plots.Square, plots.Circle, plots.Cross}
	for _, c := range r.Curves {
		p := plots.Panel{Title: c.Noise, X: "temperature T", Y: c.Measure + ", %", Zero: true}
		if len(r.measures) > 1 {
			p.Title += ", " + c.Measure
		}
		curve := plots.Series{Name: "constant T", Colour: 0, Points: true}
		for _, q := range c.Points {
			curve.Add(float64(q.T), 100*float64(q.Value), 100*float64(q.CI[0]), 100*float64(q.CI[1]))
		}
		if g := c.Greedy; g != nil {
			line := plots.Series{Name: "greedy", Colour: 2, Line: plots.Dashed}
			for _, t := range []float64{curve.X[0], curve.X[len(curve.X)-1]} {
				line.Add(t, 100*float64(g.Value), 100*float64(g.CI[0]), 100*float64(g.CI[1]))
			}
			p.Series = append(p.Series, line)
		}
		p.Series = append(p.Series, curve)
		for i, q := range c.TStar {
			star := plots.Series{
				Name: q.Temperature, Colour: 1, Line: plots.NoLine, Points: true,
				Shape: shapes[i%len(shapes)],
			}
			star.Add(float64(q.T), 100*float64(q.Value), 100*float64(q.CI[0]), 100*float64(q.CI[1]))
			p.Series = append(p.Series, star)
			p.Marks = append(p.Marks, plots.Mark{X: float64(q.T), Colour: 1, Line: plots.Dotted})
		}
		f.Panels = append(f.Panels, p)
	}
	return f
}
