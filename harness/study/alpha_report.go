package study

import (
	"encoding/json"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gsmeval/gsmeval/harness/calibrate"
	"github.com/gsmeval/gsmeval/harness/session"
	"github.com/gsmeval/gsmeval/internal/plots"
	"github.com/gsmeval/gsmeval/noise/alpha"
)

// Write puts alpha.json and the plots, each as PNG and SVG, into a directory.
func (r *AlphaReport) Write(dir string) error {
	data, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return fmt.Errorf("writing the report on alpha: %w", err)
	}
	if err := calibrate.WriteAtomic(filepath.Join(dir, "alpha.json"), append(data, '\n')); err != nil {
		return err
	}
	for name, f := range r.Figures() {
		if err := writeFigure(filepath.Join(dir, name), f); err != nil {
			return err
		}
	}
	return nil
}

// writeFigure writes base.png and base.svg.
func writeFigure(base string, f *plots.Figure) error {
	png, err := f.PNG()
	if err != nil {
		return err
	}
	svg, err := f.SVG()
	if err != nil {
		return err
	}
	if err := calibrate.WriteAtomic(base+".png", png); err != nil {
		return err
	}
	return calibrate.WriteAtomic(base+".svg", svg)
}

// clusters is how many independent values an interval is over, and what they are.
func (r *AlphaReport) clusters() (int, string) {
	if len(r.Prompts) == 1 {
		return r.Draws, "draws on one prompt"
	}
	return len(r.Prompts), "prompts"
}

// setting says in one line how alpha was measured.
func (r *AlphaReport) setting() string {
	cache := "with a key-value cache"
	if !r.KVCache {
		cache = "without a key-value cache: the whole prefix at every step, under fresh noise"
	}
	return fmt.Sprintf("%s, %s, %s.", session.Count(len(r.Prompts), "prompt"), session.Count(r.Draws, "draw"), cache)
}

// Markdown is the report for people, with the statistics that the notebook prints.
func (r *AlphaReport) Markdown() string {
	var b strings.Builder
	_, over := r.clusters()
	fmt.Fprintf(&b,
		"Teacher forcing along the clean greedy continuation, %d positions; %s ± is half a 95 %% interval over %s.\n",
		r.Positions, r.setting(), over)
	if len(r.Prompts) > 1 && slices.ContainsFunc(r.Noises, func(n NoiseAlpha) bool { return n.SharedDraws }) {
		fmt.Fprintf(&b,
			"All prompts meet the same %s of the weights: there the interval says nothing about other draws; new_chips in alpha.json is that for new ones.\n", session.Count(r.Draws, "draw"))
	}
	b.WriteString("\n")
	w := min(endWindow, r.Positions)
	fmt.Fprintf(&b,
		"## 6a: alpha against token position\n\n| Noise | First %d | Last %d | Decrease | Mean alpha | Beta |\n|---|--:|--:|--:|--:|--:|\n", w, w)
	for _, n := range r.Noises {
		p := n.ByPosition
		beta := 0.0
		for _, q := range p.Curve.Points {
			beta += q.Beta / float64(len(p.Curve.Points))
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %.4f | %.3f |\n", n.Noise, r.plusMinus(p.First, 4),
			r.plusMinus(p.Last, 4), r.factor(p.Ratio), p.Curve.Mean(), beta)
	}
	b.WriteString("\n## 6b: alpha against length of context\n\n")
	if len(r.Noises) == 0 || len(r.Noises[0].FixedContext.Lengths) == 0 {
		fmt.Fprintf(&b, "No context of 6b fits into %d positions.\n", r.Positions)
	} else {
		r.markdown6b(&b)
		r.markdownControl(&b)
	}
	fmt.Fprintf(&b,
		"\n## 6c: T*(t) and constant T*\n\nT_base is %g.\n\n| Noise | Form | T*(t) from | to | Mean T*(t) | Constant T* |\n|---|---|--:|--:|--:|--:|\n", r.Base)
	for _, n := range r.Noises {
		for _, t := range n.Temperatures {
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", n.Noise, t.Form, temperature(t.Min),
				temperature(t.Max), temperature(t.Mean), temperature(t.Constant))
		}
	}
	return b.String()
}

func (r *AlphaReport) markdown6b(b *strings.Builder) {
	b.WriteString("Mean and ± standard deviation over draws (not the error of the mean), as in the notebook.\n\n" +
		"| Noise | Context | Alpha | 6a at t = L | Difference, SE |\n|---|--:|--:|--:|--:|\n")
	for _, n := range r.Noises {
		for _, l := range n.FixedContext.Lengths {
			fmt.Fprintf(b, "| %s | %d | %.4f ± %.4f | %.4f | %s |\n", n.Noise, l.Length, l.Alpha.Mean, l.Std,
				l.ByPosition.Mean, optional(l.Difference, "%+.1f"))
		}
	}
	b.WriteString("\n| Noise | Teacher forcing decrease | Fixed context decrease | The notebook's conclusion |\n|---|--:|--:|---|\n")
	most := math.NaN()
	for _, n := range r.Noises {
		f := n.FixedContext
		fmt.Fprintf(b, "| %s | %s | %s | %s |\n", n.Noise, optional(f.TeacherForcing, "%.1fx"),
			optional(f.Fixed, "%.1fx"), f.Reading)
		if f.MaxDifference != nil && !(most > *f.MaxDifference) {
			most = *f.MaxDifference
		}
	}
	b.WriteString("\nThat conclusion does not follow: the context of 6b at length L is the prompt and the same L tokens that 6a has at t = L, so 6b is 6a again and controls for nothing")
	if !math.IsNaN(most) {
		fmt.Fprintf(b,
			" (measured here with draws of its own, it is within %.1f standard errors of 6a without a cache at every length)", most)
	}
	b.WriteString(".\n")
}

func (r *AlphaReport) markdownControl(b *strings.Builder) {
	b.WriteString("\n### Control: only the last L tokens as context\n\n" +
		"With L held fixed the context does not grow: what alpha still loses with t has another cause than attention diluted over a longer context. " +
		"Contexts hold generated tokens alone, and are computed in one pass without a cache.\n\n")
	for _, n := range r.Noises {
		var ts []int
		for _, c := range n.LastTokens.Cells {
			if !slices.Contains(ts, c.T) {
				ts = append(ts, c.T)
			}
		}
		fmt.Fprintf(b, "| %s, last L tokens |", n.Noise)
		for _, t := range ts {
			fmt.Fprintf(b, " t = %d |", t)
		}
		b.WriteString(" Decrease |\n|--:|" + strings.Repeat("--:|", len(ts)+1) + "\n")
		for _, l := range n.LastTokens.lengths() {
			fmt.Fprintf(b, "| %s |", lastName(l))
			for _, t := range ts {
				cell := ""
				if c, ok := n.LastTokens.cell(l, t); ok {
					cell = r.plusMinus(c.Alpha, 4)
				}
				fmt.Fprintf(b, " %s |", cell)
			}
			decrease := ""
			for _, d := range n.LastTokens.Decreases {
				if d.L == l {
					decrease = fmt.Sprintf("%s (t = %d to %d)", r.factor(d.Ratio), d.From, d.To)
				}
			}
			fmt.Fprintf(b, " %s |\n", decrease)
		}
		b.WriteString("\n")
	}
}

func (l *LastTokens) lengths() []int {
	var list []int
	for _, c := range l.Cells {
		if !slices.Contains(list, c.L) {
			list = append(list, c.L)
		}
	}
	return list
}

func (l *LastTokens) cell(last, t int) (LastCell, bool) {
	for _, c := range l.Cells {
		if c.L == last && c.T == t {
			return c, true
		}
	}
	return LastCell{}, false
}

func lastName(l int) string {
	if l == 0 {
		return "all"
	}
	return fmt.Sprint(l)
}

// plusMinus is a mean and half its interval, which one value does not have.
func (r *AlphaReport) plusMinus(v alpha.Interval, digits int) string {
	s := fmt.Sprintf("%.*f", digits, v.Mean)
	if n, _ := r.clusters(); n > 1 {
		s += fmt.Sprintf(" ± %.*f", digits, (v.Hi-v.Lo)/2)
	}
	return s
}

func (r *AlphaReport) factor(v *alpha.Interval) string {
	if v == nil {
		return "none"
	}
	s := fmt.Sprintf("%.2fx", v.Mean)
	if n, _ := r.clusters(); n > 1 {
		s += fmt.Sprintf(" ± %.2f", (v.Hi-v.Lo)/2)
	}
	return s
}

func optional(v *float64, form string) string {
	if v == nil {
		return ""
	}
	return fmt.Sprintf(form, *v)
}

// temperature keeps the exact form readable where the model is certain and its T* without bound.
func temperature(t float64) string {
	if t >= 1000 {
		return fmt.Sprintf("%.1e", t)
	}
	return fmt.Sprintf("%.4f", t)
}

const alphaAxis = "α = Var(e) / Var(z)"

// Figures are the plots of 6a, 6b, its control, and 6c by file name. One that would be empty is left out.
func (r *AlphaReport) Figures() map[string]*plots.Figure {
	figures := map[string]*plots.Figure{"6a_alpha_vs_position": r.figure6a(), "6c_temperature": r.figure6c()}
	if len(r.Noises) > 0 && len(r.Noises[0].FixedContext.Lengths) > 0 {
		figures["6b_fixed_context"] = r.figure6b()
		figures["6b_control_last_tokens"] = r.figureControl()
	}
	return figures
}

// interval names the bands and bars of a figure, if they have any width.
func (r *AlphaReport) interval(kind, setting string) string {
	n, over := r.clusters()
	if n < 2 {
		return setting
	}
	return fmt.Sprintf("%s %s: 95 %% interval over %s.", setting, kind, over)
}

// logarithmic tells whether values of one figure differ too much for a common linear axis.
func logarithmic(values []float64) bool {
	lo, hi := math.Inf(1), 0.0
	for _, v := range values {
		if v > 0 {
			lo, hi = min(lo, v), max(hi, v)
		}
	}
	return hi > 50*lo
}

func (r *AlphaReport) figure6a() *plots.Figure {
	raw := plots.Panel{Title: "raw", X: "generated token t", Y: alphaAxis, Zero: true}
	smooth := raw
	smooth.Title = fmt.Sprintf("moving average over %d tokens", smoothWindow)
	var means []float64
	for i, n := range r.Noises {
		a, s := plots.Series{Name: n.Noise, Colour: i}, plots.Series{Name: n.Noise, Colour: i}
		for t, p := range n.ByPosition.Curve.Points {
			a.Add(float64(t), p.Alpha, p.Lo, p.Hi)
		}
		for t, p := range n.ByPosition.Smoothed {
			s.Add(float64(t), p.Mean, p.Lo, p.Hi)
			means = append(means, p.Mean)
		}
		raw.Series, smooth.Series = append(raw.Series, a), append(smooth.Series, s)
	}
	raw.LogY = logarithmic(means)
	smooth.LogY = raw.LogY
	return &plots.Figure{
		Title: "6a: α against token position", Same: true, Panels: []plots.Panel{raw, smooth},
		Note: "Teacher forcing. " + r.interval("Bands", r.setting()),
	}
}

func (r *AlphaReport) figure6b() *plots.Figure {
	left := plots.Panel{Title: "6a: teacher forcing, growing context", X: "generated token t", Y: alphaAxis, Zero: true}
	right := plots.Panel{
		Title: "6b: one prediction after L tokens", X: "length L of the continuation, tokens",
		Y: alphaAxis, Zero: true,
	}
	var means []float64
	for i, n := range r.Noises {
		a := plots.Series{Name: n.Noise, Colour: i}
		for t, p := range n.ByPosition.Curve.Points {
			a.X, a.Y = append(a.X, float64(t)), append(a.Y, p.Alpha)
		}
		b := plots.Series{Name: "6b, ± standard deviation over draws", Colour: i, Points: true}
		c := plots.Series{Name: "6a at t = L, recomputed without a cache", Colour: i, Line: plots.Dotted}
		for _, l := range n.FixedContext.Lengths {
			b.Add(float64(l.Length), l.Alpha.Mean, l.Alpha.Mean-l.Std, l.Alpha.Mean+l.Std)
			c.X, c.Y = append(c.X, float64(l.Length)), append(c.Y, l.ByPosition.Mean)
			means = append(means, l.Alpha.Mean)
		}
		left.Series, right.Series = append(left.Series, a), append(right.Series, b, c)
	}
	left.LogY = logarithmic(means)
	right.LogY = left.LogY
	return &plots.Figure{
		Title: "6b: α against length of context", Same: true, Panels: []plots.Panel{left, right},
		Note: "6b's context at L is the prompt and the L tokens that 6a has at t = L: it repeats 6a and controls for nothing. 6a: " + r.setting(),
	}
}

func (r *AlphaReport) figureControl() *plots.Figure {
	f := &plots.Figure{
		Title: "Control: α with only the last L generated tokens as context", Same: true,
		Note: "A line falls where α falls with position although the context does not grow. " +
			r.interval("Bars", fmt.Sprintf("%s, %s, no cache.", session.Count(len(r.Prompts), "prompt"),
				session.Count(r.Draws, "draw"))),
	}
	var means []float64
	for _, n := range r.Noises {
		p := plots.Panel{Title: n.Noise, X: "generated token t", Y: alphaAxis, Zero: true}
		for k, l := range n.LastTokens.lengths() {
			s := plots.Series{Name: fmt.Sprintf("last %d tokens", l), Colour: k, Points: true}
			if l == 0 {
				s.Name, s.Colour, s.Line = "prompt and all t tokens, as in 6a", plots.Grey, plots.Dashed
			}
			for _, c := range n.LastTokens.Cells {
				if c.L == l {
					// Side by side, so that bars at one t can be told apart.
					s.Add(float64(c.T)+0.007*float64(r.Positions)*(float64(k)-1.5), c.Alpha.Mean, c.Alpha.Lo,
						c.Alpha.Hi)
					means = append(means, c.Alpha.Mean)
				}
			}
			p.Series = append(p.Series, s)
		}
		f.Panels = append(f.Panels, p)
	}
	for i := range f.Panels {
		f.Panels[i].LogY = logarithmic(means)
	}
	return f
}

func (r *AlphaReport) figure6c() *plots.Figure {
	f := &plots.Figure{Title: "6c: T*(t), constant T* and T = 1", Note: "Of the mean α(t), not smoothed. " +
		r.setting()}
	names := map[alpha.Form]string{alpha.Sqrt: "sqrt(1 + α)", alpha.Linear: "1 + α", alpha.Exact: "1 + Var(e)/Var_p(z)"}
	for _, n := range r.Noises {
		p := plots.Panel{Title: n.Noise, X: "generated token t", Y: "temperature T*"}
		var values, ts []float64
		for k, form := range n.Temperatures {
			s := plots.Series{Name: "T*(t) = " + names[form.Form], Colour: k}
			for t, v := range form.ByT {
				s.X, s.Y = append(s.X, float64(t)), append(s.Y, v)
			}
			ts = s.X
			values = append(append(values, form.ByT...), form.Constant)
			p.Series = append(p.Series, s)
		}
		ends := []float64{ts[0], ts[len(ts)-1]}
		for k, form := range n.Temperatures {
			p.Series = append(p.Series, plots.Series{
				Name: "constant T*, " + string(form.Form), Colour: k,
				Line: plots.Dashed, X: ends, Y: []float64{form.Constant, form.Constant},
			})
		}
		p.Series = append(p.Series, plots.Series{
			Name: "T = 1", Colour: plots.Grey, Line: plots.Dotted, X: ends,
			Y: []float64{1, 1},
		})
		p.LogY = slices.Max(values) > 10*slices.Min(values)
		f.Panels = append(f.Panels, p)
	}
	return f
}
