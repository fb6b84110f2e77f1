package report

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/gsmeval/gsmeval/internal/condition"
	"github.com/gsmeval/gsmeval/internal/config"
	"github.com/gsmeval/gsmeval/internal/plots"
	"github.com/gsmeval/gsmeval/results"
)

// shapes tell series apart without their colours.
var shapes = []plots.Shape{plots.Circle, plots.Square, plots.Triangle, plots.Cross}

// lines do so for curves.
var lines = []plots.Line{plots.Solid, plots.Dashed, plots.Dotted}

// dodge is how far the series of a row lie from its middle in the printed figures.
func dodge(i, n int) float64 { return 0.7 * (float64(i) - float64(n-1)/2) / float64(n) }

// accuracyFigure has a row for each noise and a series for each temperature, in a panel for each run.
func accuracyFigure(runs []*Run) *plots.Figure {
	f := &plots.Figure{
		Title: "Accuracy by condition", Columns: 1, Same: true,
	}
	by := "question"
	if slices.ContainsFunc(runs, func(r *Run) bool { return r.Table.Clusters > 0 }) {
		by = "the data set's clusters"
	}
	f.Note = "95 % intervals: Wilson's, with the effective number of samples (clustered by " + by + ")"
	for _, r := range runs {
		p := plots.Panel{Title: "accuracy, 95 % intervals", X: "accuracy in %"}
		if len(runs) > 1 {
			p.Title = r.Name
		}
		for _, n := range r.Info.Meta.Noises {
			p.Rows = append(p.Rows, n.Label)
		}
		temps := r.Info.Meta.Temps
		for t, temp := range temps {
			s := plots.Series{
				Name: temp.Label, Colour: t, Points: true, Line: plots.NoLine,
				Shape: shapes[t%len(shapes)],
			}
			for i := range r.Table.Rows {
				row := &r.Table.Rows[i]
				if row.TempIndex == t && row.N > 0 {
					s.Add(100*float64(row.Accuracy), float64(row.NoiseIndex)+dodge(t, len(temps)),
						100*float64(row.CI[0]), 100*float64(row.CI[1]))
				}
			}
			p.Series = append(p.Series, s)
		}
		f.Panels = append(f.Panels, p)
	}
	return f
}

// SamplesFigure has two panels for each noise, of pass@k and of maj@k, and in them a line over k for each temperature.
// It is nil where one sample of each question was made.
func SamplesFigure(rows []results.Row) *plots.Figure {
	f := &plots.Figure{
		Title: "What k samples of a question are worth", Same: true, Columns: 2,
		Note: "pass@k: one of k samples is right. maj@k: the most frequent of their answers is. Bars: 95 % intervals over questions.",
	}
	last := -1
	for i := range rows {
		row := &rows[i]
		if len(row.AtK) == 0 || row.N == 0 {
			continue
		}
		if row.NoiseIndex != last {
			last = row.NoiseIndex
			f.Panels = append(f.Panels,
				plots.Panel{Title: row.Noise, X: "samples k", Y: "pass@k in %"},
				plots.Panel{Title: row.Noise, X: "samples k", Y: "maj@k in %"})
		}
		for at, score := range []func(*results.AtK) *results.Score{
			func(a *results.AtK) *results.Score { return &a.Pass },
			func(a *results.AtK) *results.Score { return &a.Maj },
		} {
			line := plots.Series{
				Name: row.Temperature, Colour: row.TempIndex, Points: true,
				Shape: shapes[row.TempIndex%len(shapes)], Line: lines[row.TempIndex%len(lines)],
			}
			for k := range row.AtK {
				if s := score(&row.AtK[k]); s.Value.Finite() {
					line.Add(float64(row.AtK[k].K), 100*float64(s.Value), 100*float64(s.CI[0]), 100*float64(s.CI[1]))
				}
			}
			p := &f.Panels[len(f.Panels)-2+at]
			p.Series = append(p.Series, line)
		}
	}
	if len(f.Panels) == 0 {
		return nil
	}
	return f
}

// dose is one curve's place in the figure: what else than the scale is the noise.
type dose struct {
	group string
	x     float64
	axis  string
}

// doseOf reads a noise's scale. Noises that differ in nothing else make a curve; combined ones have to share the ratio
// of their two scales.
func doseOf(n config.Noise) dose {
	unit := "std"
	if n.RelativeTo != "" {
		unit = n.RelativeTo
	}
	rest := n
	rest.Scale, rest.WeightScale, rest.ActivationScale = 0, 0, 0
	d := dose{x: n.Scale, axis: "noise scale s (× " + unit + ")"}
	if n.Kind != condition.Combined {
		d.group = strings.Replace(rest.Label(), " 0", "", 1)
		return d
	}
	d.group = strings.Replace(rest.Label(), " w0 a0", "", 1)
	if n.ActivationScale == 0 {
		d.x = n.WeightScale
		return d
	}
	d.group += ", weight scale " + strconv.FormatFloat(n.WeightScale/n.ActivationScale, 'g', 3, 64) +
		" × activation scale"
	d.x, d.axis = n.ActivationScale, "activation scale s (× "+unit+")"
	return d
}

// doseFigure has a panel for each kind of noise with at least two scales (no noise is scale 0), and a series for each
// run and temperature. It has no panels where there is no such kind.
func doseFigure(runs []*Run) *plots.Figure {
	f := &plots.Figure{
		Title: "Dose response", Note: "accuracy against the scale of the noise; bars: 95 % intervals",
		Columns: 2,
	}
	at := map[string]int{}
	for ri, r := range runs {
		if r.Config == nil {
			continue
		}
		temps := r.Info.Meta.Temps
		groups, order := map[string]map[float64][]*results.Row{}, []string{}
		axis := map[string]string{}
		var clean []*results.Row
		for i := range r.Table.Rows {
			row := &r.Table.Rows[i]
			n := r.Config.Noise[row.NoiseIndex]
			if row.N == 0 {
				continue
			}
			if n.Empty() {
				clean = append(clean, row)
				continue
			}
			if n.Kind == "" {
				continue // a composition has no one scale
			}
			d := doseOf(n)
			if groups[d.group] == nil {
				groups[d.group] = map[float64][]*results.Row{}
				order = append(order, d.group)
				axis[d.group] = d.axis
			}
			groups[d.group][d.x] = append(groups[d.group][d.x], row)
		}
		for _, g := range order {
			doses := groups[g]
			if clean != nil {
				doses[0] = append(doses[0], clean...)
			}
			if len(doses) < 2 {
				continue
			}
			i, ok := at[g]
			if !ok {
				i = len(f.Panels)
				at[g] = i
				f.Panels = append(f.Panels, plots.Panel{Title: g, X: axis[g], Y: "accuracy in %"})
			}
			scales := slices.Sorted(maps.Keys(doses))
			for t, temp := range temps {
				k := ri*len(temps) + t
				s := plots.Series{
					Name: temp.Label, Colour: k, Points: true, Shape: shapes[k%len(shapes)],
					Line: lines[k%len(lines)],
				}
				// A little to the side, so that no bar hides another.
				aside := 0.03 * dodge(k, len(runs)*len(temps)) * (scales[len(scales)-1] - scales[0])
				if len(runs) > 1 {
					s.Name = r.Name + ", " + temp.Label
				}
				for _, x := range scales {
					for _, row := range doses[x] {
						if row.TempIndex == t {
							s.Add(x+aside, 100*float64(row.Accuracy), 100*float64(row.CI[0]), 100*float64(row.CI[1]))
						}
					}
				}
				if len(s.X) > 0 {
					f.Panels[i].Series = append(f.Panels[i].Series, s)
				}
			}
		}
	}
	return f
}

// mostCurves is how many noises share a pair of axes in the figure of alpha(t); beyond, every kind has its own.
const mostCurves = 4

// alphaFigure shows the measured alpha(t), and the T(t) that conditions used; it has no panels where nothing was
// measured.
func alphaFigure(runs []*Run) *plots.Figure {
	f := &plots.Figure{
		Title: "alpha(t) and the temperatures that follow from it",
		Note:  "bands: 95 % intervals over prompts; past the last measured position the last T holds", Columns: 2,
	}
	for _, r := range runs {
		noises := r.Info.Meta.Noises
		groups, kinds := map[string][]int{}, []string{} // noises by kind, in the order of the run
		measured := 0
		for n, noise := range noises {
			if !slices.ContainsFunc(r.calibrations, func(c calibration) bool { return c.Noise == noise.Label }) {
				continue
			}
			if groups[noise.Kind] == nil {
				kinds = append(kinds, noise.Kind)
			}
			groups[noise.Kind] = append(groups[noise.Kind], n)
			measured++
		}
		if measured <= mostCurves && measured > 0 {
			all := []int{}
			for _, k := range kinds {
				all = append(all, groups[k]...)
			}
			groups, kinds = map[string][]int{"": all}, []string{""}
		}
		for _, kind := range kinds {
			title := func(s string) string {
				if kind != "" {
					s = kind + ": " + s
				}
				if len(runs) > 1 {
					s = r.Name + ": " + s
				}
				return s
			}
			alpha := plots.Panel{
				Title: title("noise-to-signal ratio"), X: "generated token t",
				Y: "alpha(t) = Var(e) / Var(z)", Zero: true,
			}
			longest := 0
			for colour, n := range groups[kind] {
				for _, c := range r.calibrations {
					if c.Noise != noises[n].Label {
						continue
					}
					s := plots.Series{Name: c.Noise, Colour: colour}
					if c.Curve.Base != 1 {
						s.Name += ", base " + strconv.FormatFloat(c.Curve.Base, 'g', -1, 64)
					}
					for t, p := range c.Curve.Points {
						s.Add(float64(t), p.Alpha, p.Lo, p.Hi)
					}
					longest = max(longest, len(c.Curve.Points))
					alpha.Series = append(alpha.Series, s)
				}
			}
			f.Panels = append(f.Panels, alpha)
			if used := r.temperaturePanel(title("temperature used"), longest, groups[kind]); len(used.Series) > 0 {
				f.Panels = append(f.Panels, used)
			}
		}
	}
	return f
}

// temperaturePanel shows the T(t) of noises whose alpha was measured.
func (r *Run) temperaturePanel(title string, longest int, noises []int) plots.Panel {
	p := plots.Panel{Title: title, X: "generated token t", Y: "T(t)"}
	schedules := map[string][]float64{}
	for _, s := range r.Info.Schedules {
		schedules[s.SHA] = s.T
	}
	constant, dynamic := map[int]int{}, map[int]int{} // how many there were, by noise
	for _, c := range r.Info.Meta.Conditions {
		t, colour := schedules[c.TSHA], slices.Index(noises, c.NoiseIndex)
		if len(t) == 0 || colour < 0 || !c.MeanAlpha.Finite() {
			continue
		}
		s := plots.Series{
			Name:   r.Info.Meta.Noises[c.NoiseIndex].Label + ", " + r.Info.Meta.Temps[c.TempIndex].Label,
			Colour: colour,
		}
		if len(t) == 1 { // level lines are told apart by their dashes, curves are not
			s.Line = lines[1+constant[c.NoiseIndex]%2]
			constant[c.NoiseIndex]++
		} else {
			s.Line = lines[2*dynamic[c.NoiseIndex]%len(lines)]
			dynamic[c.NoiseIndex]++
		}
		for i := range max(longest, len(t)) {
			s.X, s.Y = append(s.X, float64(i)), append(s.Y, t[min(i, len(t)-1)])
		}
		p.Series = append(p.Series, s)
	}
	return p
}

// mostPairs is how many pairs of temperatures a forest plot shows in one row; beyond, only those with the reference.
const mostPairs = 3

// differencesFigure is the forest plot of a comparison: a row for each noise (and temperature, between runs), a series
// for each pair. Pairs that share their samples have nothing to show.
func differencesFigure(c *results.Comparison, title string) *plots.Figure {
	f := &plots.Figure{
		Title: "Paired differences",
		Note:  "right of 0 the second is better; 95 % intervals from a bootstrap of questions (of clusters where the data set has them)", Columns: 1,
	}
	p := plots.Panel{Title: title, X: "difference in accuracy, percentage points"}
	reference := map[string]bool{}
	rowAt, seriesAt := map[string]int{}, map[string]int{}
	names := []string{}
	for i := range c.Pairs {
		pair := &c.Pairs[i]
		if name := pairName(pair); !slices.Contains(names, name) {
			names = append(names, name)
			reference[name] = pair.A == c.Pairs[0].A
		}
	}
	crowded := len(names) > mostPairs
	for i := range c.Pairs {
		pair := &c.Pairs[i]
		row, name := pair.Noise, pairName(pair)
		if pair.Temperature != "" {
			row += ", " + pair.Temperature
		}
		if crowded && !reference[name] || pair.N == 0 || pair.SameSamples {
			continue
		}
		if _, ok := rowAt[row]; !ok {
			rowAt[row] = len(p.Rows)
			p.Rows = append(p.Rows, row)
		}
		if _, ok := seriesAt[name]; !ok {
			k := len(p.Series)
			seriesAt[name] = k
			p.Series = append(p.Series, plots.Series{
				Name: name, Colour: k, Points: true, Line: plots.NoLine,
				Shape: shapes[k%len(shapes)],
			})
		}
		p.Series[seriesAt[name]].Add(100*float64(pair.Diff), float64(rowAt[row]), 100*float64(pair.CI[0]),
			100*float64(pair.CI[1]))
	}
	if len(p.Rows) == 0 {
		return f
	}
	for k := range p.Series {
		for i := range p.Series[k].Y {
			p.Series[k].Y[i] += dodge(k, len(p.Series))
		}
	}
	p.Marks = []plots.Mark{{Name: "no difference", X: 0, Colour: plots.Grey, Line: plots.Dashed}}
	f.Panels = append(f.Panels, p)
	return f
}

func pairName(p *results.Pair) string { return p.B + " minus " + p.A }

// tokensFigure has a panel for each run and noise: how long the counted samples are, by temperature.
func tokensFigure(runs []*Run) *plots.Figure {
	f := &plots.Figure{
		Title: "Generated tokens", Note: "share of the counted samples by length", Columns: 2,
		Same: true,
	}
	longest := 0
	for _, r := range runs {
		for _, list := range r.tokens {
			for _, n := range list {
				longest = max(longest, n)
			}
		}
	}
	width := binWidth(longest)
	for _, r := range runs {
		for n, noise := range r.Info.Meta.Noises {
			p := plots.Panel{
				Title: noise.Label, X: fmt.Sprintf("generated tokens (bins of %d)", width),
				Y: "samples in %", Zero: true,
			}
			if len(runs) > 1 {
				p.Title = r.Name + ": " + noise.Label
			}
			for t, temp := range r.Info.Meta.Temps {
				list := r.tokens[[2]int{n, t}]
				if len(list) == 0 {
					continue // no samples, or those of another temperature
				}
				bins := make([]int, longest/width+1)
				for _, x := range list {
					bins[x/width]++
				}
				s := plots.Series{Name: temp.Label, Colour: t, Line: lines[t%len(lines)]}
				for b, count := range bins {
					y := 100 * float64(count) / float64(len(list))
					s.X = append(s.X, float64(b*width), float64((b+1)*width))
					s.Y = append(s.Y, y, y)
				}
				p.Series = append(p.Series, s)
			}
			if len(p.Series) > 0 {
				f.Panels = append(f.Panels, p)
			}
		}
	}
	return f
}

// binWidth makes about twenty bins of a round width.
func binWidth(longest int) int {
	raw := math.Max(float64(longest)/20, 1)
	power := math.Pow(10, math.Floor(math.Log10(raw)))
	for _, m := range []float64{1, 2, 5, 10} {
		if m*power >= raw {
			return int(m * power)
		}
	}
	return int(10 * power)
}

// statusStack divides the samples of every condition of a run by what became of them.
func statusStack(r *Run, title string) *plots.Stack {
	s := &plots.Stack{Title: title, X: "samples in %", Parts: []plots.Part{
		{Name: "right", Colour: 2},
		{Name: "truncated, right", Colour: 5},
		{Name: "wrong", Colour: 1},
		{Name: "truncated, wrong", Colour: 4},
		{Name: "no answer", Colour: 3},
		{Name: "failed", Colour: 6},
	}}
	for i := range r.Table.Rows {
		row := &r.Table.Rows[i]
		if row.SamplesOf != "" || row.Samples == 0 {
			continue
		}
		right := row.Correct - row.TruncatedCorrect
		s.Rows = append(s.Rows, plots.StackRow{Name: row.Noise + ", " + row.Temperature, Values: []float64{
			float64(right), float64(row.TruncatedCorrect), float64(row.OK - right),
			float64(row.Truncated - row.TruncatedCorrect), float64(row.NoAnswer), float64(row.Failed()),
		}})
	}
	return s
}

// Files are the figures for papers, by the base name of their PNG and SVG files.
func (p *Report) Files() map[string]*plots.Figure {
	files := map[string]*plots.Figure{}
	for name, f := range map[string]*plots.Figure{
		"accuracy": p.accuracy, "differences": p.differences, "dose_response": p.dose, "temperature": p.alpha,
	} {
		if f != nil && drawable(f) {
			files[name] = f
		}
	}
	if len(p.runs) == 1 {
		if f := SamplesFigure(p.runs[0].Table.Rows); f != nil && drawable(f) {
			files["samples"] = f
		}
		if r := p.runs[0].fidelity; r != nil {
			files["fidelity"] = r.Figure()
		}
	}
	return files
}

// drawable tells whether a figure has a point in every panel.
func drawable(f *plots.Figure) bool {
	for i := range f.Panels {
		points := 0
		for _, s := range f.Panels[i].Series {
			points += len(s.X)
		}
		if points == 0 {
			return false
		}
	}
	return len(f.Panels) > 0
}
