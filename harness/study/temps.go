package study

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/gsmeval/gsmeval/decode"
	"github.com/gsmeval/gsmeval/harness/calibrate"
	"github.com/gsmeval/gsmeval/harness/session"
	"github.com/gsmeval/gsmeval/internal/condition"
	"github.com/gsmeval/gsmeval/internal/plots"
	"github.com/gsmeval/gsmeval/noise/alpha"
	"github.com/gsmeval/gsmeval/results"
)

// tempsSchema is the version of the JSON form of a TempsReport.
const tempsSchema = 1

// DefaultTemps are the temperatures that gsmeval temps tries: 0.4, 0.5, ... 2.
func DefaultTemps() []float64 {
	var list []float64
	for t := 4; t <= 20; t++ {
		list = append(list, float64(t)/10)
	}
	return list
}

// TempsReport tells how well each temperature restores the clean distribution under each noise.
type TempsReport struct {
	Schema  int        `json:"schema"`
	Prompts int        `json:"prompts"`
	Draws   int        `json:"draws"`
	KVCache bool       `json:"kv_cache"`
	Seed    uint64     `json:"seed"`
	Base    float64    `json:"base"` // the clean distribution is softmax(z/base)
	Rows    []TempsRow `json:"rows"`
}

// TempsRow is one temperature under one noise, averaged over positions, prompts and draws. Divergences are in nats.
// Intervals are over prompts, or over draws where there is one prompt.
type TempsRow struct {
	Noise        string         `json:"noise"`
	Temperature  float64        `json:"temperature"`
	TStar        alpha.Form     `json:"t_star,omitempty"` // the form whose constant T* this is; none for a listed temperature
	Positions    int            `json:"positions"`        // averaged over, of all prompts together
	KL           alpha.Interval `json:"kl"`               // KL(clean || noisy)
	JS           alpha.Interval `json:"js"`
	ProbArgmax   alpha.Interval `json:"prob_argmax"` // noisy probability of clean's most likely token
	CrossEntropy alpha.Interval `json:"cross_entropy"`
}

// tStars are the forms that are marked among the temperatures.
var tStars = []alpha.Form{alpha.Sqrt, alpha.Linear, alpha.Exact, alpha.Fitted}

// MeasureTemps compares clean and noisy distributions at each temperature, and at each form's constant T*, along the
// clean greedy continuations of the calibration prompts up to their end. Positions are those of the calibration's
// curve.
func MeasureTemps(ctx context.Context, s *session.Session, temperatures []float64) (*TempsReport, error) {
	noises := noisesOf(s)
	if len(noises) == 0 {
		return nil, errors.New("the config has no noise for temperatures to make up for")
	}
	c := calibrate.New(s)
	if err := c.Prepare(ctx); err != nil {
		return nil, err
	}
	clean, err := c.Continuations(ctx)
	if err != nil {
		return nil, err
	}
	cal := s.Cfg.Calibration
	r := &TempsReport{
		Schema: tempsSchema, Prompts: len(c.Prompts), Draws: cal.Draws, KVCache: s.Cfg.Generation.KVCache,
		Seed: s.Cfg.Seed, Base: cal.Base,
	}
	for i, n := range noises {
		s.Logf("temperatures under %s (%d of %d): %d prompts, %d draws, up to %d positions", n.Label(), i+1,
			len(noises), r.Prompts, r.Draws, cal.Positions)
		rows, err := r.measure(ctx, s.LM, n, c.Prompts, clean, temperatures)
		if err != nil {
			return nil, fmt.Errorf("temperatures under %q: %w", n.Label(), err)
		}
		r.Rows = append(r.Rows, rows...)
	}
	return r, nil
}

// measure goes along the continuations twice, under the same noise: once for alpha and what follows from it, and once
// for the divergences at the temperatures that are then known.
func (r *TempsReport) measure(ctx context.Context, lm *decode.LM, n condition.Noise, prompts, continuations [][]int,
	temperatures []float64,
) ([]TempsRow, error) {
	p := decode.Probing{Noise: n, Draws: r.Draws, Seed: r.Seed}
	curve, _, err := calibrate.AlphaCurve(ctx, lm, prompts, continuations, p, r.KVCache, r.Base, alpha.Needs{Fit: true})
	if err != nil {
		return nil, err
	}
	var rows []TempsRow
	for _, t := range temperatures {
		rows = append(rows, TempsRow{Noise: n.Label(), Temperature: t})
	}
	for _, form := range tStars {
		t, err := curve.Constant(form)
		if err != nil {
			return nil, err
		}
		if t > 0 {
			rows = append(rows, TempsRow{Noise: n.Label(), Temperature: t, TStar: form})
		}
	}
	slices.SortStableFunc(rows, func(a, b TempsRow) int {
		switch {
		case a.Temperature < b.Temperature:
			return -1
		case a.Temperature > b.Temperature:
			return 1
		}
		return 0
	})
	ts := make([]float64, len(rows))
	for k := range rows {
		ts[k] = rows[k].Temperature
	}
	until := len(curve.Points)
	store := make([][]alpha.Divergence, len(prompts)) // [prompt][(draw*until + t)*len(ts) + k]
	used := make([]int, len(prompts))
	var set calibrate.ProbeSet
	for i := range prompts {
		used[i] = min(len(continuations[i]), until)
		store[i] = make([]alpha.Divergence, r.Draws*used[i]*len(ts))
	}
	set.TeacherForcing(prompts, continuations, r.KVCache, func(prompt, draw, t int, clean, noisy []float32) {
		if t < used[prompt] {
			at := (draw*used[prompt] + t) * len(ts)
			copy(store[prompt][at:], alpha.Diverge(clean, noisy, r.Base, ts))
		}
	})
	if _, err := set.Run(ctx, lm, p); err != nil {
		return nil, err
	}
	groups := clusters(used, r.Draws)
	for k := range rows {
		average := func(of func(alpha.Divergence) float64) alpha.Interval {
			var sums, sizes []float64
			for _, g := range groups {
				sum, size := 0.0, 0
				for at := g.from; at < g.to; at++ {
					sum += of(store[g.prompt][at*len(ts)+k])
					size++
				}
				sums, sizes = append(sums, sum), append(sizes, float64(size))
			}
			return alpha.Ratio(sums, sizes)
		}
		row := &rows[k]
		for _, n := range used {
			row.Positions += n
		}
		row.KL = average(func(d alpha.Divergence) float64 { return d.KL })
		row.JS = average(func(d alpha.Divergence) float64 { return d.JS })
		row.ProbArgmax = average(func(d alpha.Divergence) float64 { return d.ProbCorrect })
		row.CrossEntropy = average(func(d alpha.Divergence) float64 { return d.CrossEntropy })
		if math.IsNaN(row.KL.Mean) || math.IsInf(row.KL.Mean, 0) {
			return nil, fmt.Errorf("the divergence at T = %g is not finite: the noise drives the logits out of range",
				row.Temperature)
		}
	}
	return rows, nil
}

// cluster is values [from, to) of a prompt, independent of those of other clusters.
type cluster struct{ prompt, from, to int }

// clusters are the prompts, each with all its draws, or the draws of a single prompt.
func clusters(positions []int, draws int) []cluster {
	var list []cluster
	for i, n := range positions {
		list = append(list, cluster{i, 0, n * draws})
	}
	if n := positions[0]; len(positions) == 1 {
		list = nil
		for d := range draws {
			list = append(list, cluster{0, d * n, (d + 1) * n})
		}
	}
	return list
}

// Write writes the report as a table; tex is not among its formats.
func (r *TempsReport) Write(b *bytes.Buffer, format results.Format) error {
	switch format {
	case results.FormatMarkdown:
		r.markdown(b)
		return nil
	case results.FormatCSV:
		return r.csv(b)
	case results.FormatJSON:
		enc := json.NewEncoder(b)
		enc.SetIndent("", " ")
		if err := enc.Encode(r); err != nil {
			return fmt.Errorf("writing the temperatures: %w", err)
		}
		return nil
	case results.FormatTeX:
	}
	return fmt.Errorf("temperatures are written as md, csv or json, not as %s", format)
}

func (r *TempsReport) markdown(b *bytes.Buffer) {
	over := "prompts"
	if r.Prompts == 1 {
		over = "draws"
	}
	fmt.Fprintf(b, "Clean is softmax(z/%g), noisy is softmax(z'/T); nats, ± half a 95 %% interval over %s.\n\n", r.Base,
		over)
	b.WriteString("| Noise | T | | KL(clean, noisy) | JS | P(clean's argmax) | Cross entropy |\n|---|--:|---|--:|--:|--:|--:|\n")
	best := r.best()
	for i, row := range r.Rows {
		mark := ""
		switch {
		case row.TStar != "":
			mark = "T* " + string(row.TStar)
		case best[i]:
			mark = "least KL of the list"
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s | %s |\n", row.Noise, temperatureCell(row), mark,
			r.cell(row.KL), r.cell(row.JS), r.cell(row.ProbArgmax), r.cell(row.CrossEntropy))
	}
}

// temperatureCell is a listed temperature as it was given, and a computed one to four digits.
func temperatureCell(row TempsRow) string {
	if row.TStar == "" {
		return strconv.FormatFloat(row.Temperature, 'g', -1, 64)
	}
	return temperature(row.Temperature)
}

func (r *TempsReport) cell(v alpha.Interval) string {
	if r.Prompts == 1 && r.Draws == 1 {
		return fmt.Sprintf("%.4f", v.Mean)
	}
	return fmt.Sprintf("%.4f ± %.4f", v.Mean, (v.Hi-v.Lo)/2)
}

// best marks, under each noise, the row of least KL among the listed temperatures.
func (r *TempsReport) best() map[int]bool {
	least := map[string]int{}
	for i, row := range r.Rows {
		if row.TStar != "" {
			continue
		}
		if k, ok := least[row.Noise]; !ok || row.KL.Mean < r.Rows[k].KL.Mean {
			least[row.Noise] = i
		}
	}
	rows := map[int]bool{}
	for _, i := range least {
		rows[i] = true
	}
	return rows
}

func (r *TempsReport) csv(b *bytes.Buffer) error {
	w := csv.NewWriter(b)
	head := []string{"noise", "temperature", "t_star", "positions"}
	for _, m := range []string{"kl", "js", "prob_argmax", "cross_entropy"} {
		head = append(head, m, m+"_se", m+"_lo", m+"_hi")
	}
	lines := [][]string{head}
	for _, row := range r.Rows {
		line := []string{row.Noise, exactly(row.Temperature), string(row.TStar), strconv.Itoa(row.Positions)}
		for _, v := range []alpha.Interval{row.KL, row.JS, row.ProbArgmax, row.CrossEntropy} {
			line = append(line, exactly(v.Mean), exactly(v.SE), exactly(v.Lo), exactly(v.Hi))
		}
		lines = append(lines, line)
	}
	if err := w.WriteAll(lines); err != nil {
		return fmt.Errorf("writing the temperatures: %w", err)
	}
	return nil
}

func exactly(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

// WriteFigure writes the plot as base.png and base.svg.
func (r *TempsReport) WriteFigure(base string) error { return writeFigure(base, r.Figure()) }

// Figure is the four measures against temperature.
func (r *TempsReport) Figure() *plots.Figure {
	note := fmt.Sprintf("%s, %s.", session.Count(r.Prompts, "prompt"), session.Count(r.Draws, "draw"))
	if r.Prompts > 1 {
		note += " Bands: 95 % interval over prompts."
	} else if r.Draws > 1 {
		note += " Bands: 95 % interval over draws on one prompt."
	}
	f := &plots.Figure{Title: "Noisy distributions against clean ones, by temperature", Columns: 2, Note: note +
		" Points: the constant T* of each form."}
	for _, m := range []struct {
		title, axis string
		of          func(TempsRow) alpha.Interval
	}{
		{
			"Kullback-Leibler divergence", "KL(clean || noisy), nats",
			func(row TempsRow) alpha.Interval { return row.KL },
		},
		{"Jensen-Shannon divergence", "JS, nats", func(row TempsRow) alpha.Interval { return row.JS }},
		{"probability of clean's argmax", "probability", func(row TempsRow) alpha.Interval { return row.ProbArgmax }},
		{"cross entropy", "-Σ clean log noisy, nats", func(row TempsRow) alpha.Interval { return row.CrossEntropy }},
	} {
		var means []float64
		for _, row := range r.Rows {
			means = append(means, m.of(row).Mean)
		}
		lo, hi := slices.Min(means), slices.Max(means)
		f.Panels = append(f.Panels, plots.Panel{Title: m.title, X: "temperature T", Y: m.axis, LogY: lo > 0 &&
			hi > 10*lo})
		r.addSeries(&f.Panels[len(f.Panels)-1], m.of)
	}
	return f
}

// addSeries adds a curve for each noise over the listed temperatures, and a point for each T* among them.
func (r *TempsReport) addSeries(p *plots.Panel, of func(TempsRow) alpha.Interval) {
	lo, hi := math.Inf(1), math.Inf(-1)
	for _, row := range r.Rows {
		if row.TStar == "" {
			lo, hi = min(lo, row.Temperature), max(hi, row.Temperature)
		}
	}
	shapes := map[alpha.Form]plots.Shape{
		alpha.Sqrt: plots.Circle, alpha.Linear: plots.Square,
		alpha.Exact: plots.Triangle, alpha.Fitted: plots.Cross,
	}
	var curves, marks []plots.Series
	for _, row := range r.Rows {
		if len(curves) == 0 || curves[len(curves)-1].Name != row.Noise {
			curves = append(curves, plots.Series{Name: row.Noise, Colour: len(curves)})
		}
		c := &curves[len(curves)-1]
		v := of(row)
		if row.Temperature >= lo && row.Temperature <= hi {
			c.Add(row.Temperature, v.Mean, v.Lo, v.Hi)
			if row.TStar != "" {
				marks = append(marks, plots.Series{
					Name: "T* " + string(row.TStar), Colour: c.Colour, Line: plots.NoLine, Points: true,
					Shape: shapes[row.TStar],
					X:     []float64{row.Temperature}, Y: []float64{v.Mean},
				})
			}
		}
	}
	p.Series = slices.Concat(curves, marks)
}
