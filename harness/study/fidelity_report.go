package study

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/gsmeval/gsmeval/harness/calibrate"
	"github.com/gsmeval/gsmeval/harness/session"
	"github.com/gsmeval/gsmeval/internal/plots"
	"github.com/gsmeval/gsmeval/noise/alpha"
	"github.com/gsmeval/gsmeval/noise/fidelity"
)

// Write puts fidelity.json, the rows as fidelity.csv and the plot, as PNG and SVG, into a directory.
func (r *FidelityReport) Write(dir string) error {
	data, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return fmt.Errorf("writing the fidelity: %w", err)
	}
	base := filepath.Join(dir, "fidelity")
	if err := calibrate.WriteAtomic(base+".json", append(data, '\n')); err != nil {
		return err
	}
	table, err := r.CSV()
	if err != nil {
		return err
	}
	if err := calibrate.WriteAtomic(base+".csv", table); err != nil {
		return err
	}
	return writeFigure(base, r.Figure())
}

// CSV is the rows.
func (r *FidelityReport) CSV() ([]byte, error) {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	lines := [][]string{{
		"noise", "text", "t", "positions", "draws", "kld_mean", "kld_lo", "kld_hi", "kld_p50", "kld_p90", "kld_p99",
		"kld_p999", "kld_max",
		"marginal_plugin", "marginal_mean", "marginal_se", "same_top", "rms_dp", "mean_dp", "ppl_ratio",
	}}
	for _, row := range r.Rows {
		k := row.KLD
		line := []string{row.Noise, row.Text, exactly(row.T), strconv.Itoa(row.Positions), strconv.Itoa(row.Draws)}
		for _, v := range []float64{k.Mean, row.OverTexts.Lo, row.OverTexts.Hi, k.P50, k.P90, k.P99, k.P999, k.Max} {
			line = append(line, exactly(v))
		}
		if m := row.Marginal; m != nil {
			line = append(line, exactly(m.Plugin), exactly(m.Mean), exactly(m.SE))
		} else {
			line = append(line, "", "", "")
		}
		for _, v := range []float64{row.SameTop, row.RMSdP, row.MeanDP, row.PPLRatio} {
			line = append(line, exactly(v))
		}
		lines = append(lines, line)
	}
	if err := w.WriteAll(lines); err != nil {
		return nil, fmt.Errorf("writing the fidelity: %w", err)
	}
	return b.Bytes(), nil
}

// groups are the rows under each noise along texts of one kind.
func (r *FidelityReport) groups() [][]FidelityRow {
	var out [][]FidelityRow
	for _, row := range r.Rows {
		if n := len(out); n == 0 || out[n-1][0].Noise != row.Noise || out[n-1][0].Text != row.Text {
			out = append(out, nil)
		}
		out[len(out)-1] = append(out[len(out)-1], row)
	}
	return out
}

// Markdown is the report for people.
func (r *FidelityReport) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b,
		"Clean is softmax(z/%g), noisy is softmax(z'/T). Divergences are KL(clean || noisy) in nats, per position. *Marginal* is that of the law of\n"+
			"fresh noise, the mean over its draws: corrected for few draws, ± the standard error that they leave; *plug-in* is not corrected.\n"+
			"Δp is the change of the probability of the text's token.\n", r.Base)
	if len(r.Noises) > 1 {
		r.summary(&b)
	}
	for i, g := range r.groups() {
		first := g[0]
		fmt.Fprintf(&b, "\n## %s, %s text\n\n%s, %s.\n\n", first.Noise, first.Text,
			session.Count(first.Positions, "position"), session.Count(first.Draws, "draw"))
		b.WriteString("| T | | KLD | ± 95 % | median | 90 % | 99 % | 99.9 % | max | Marginal | Plug-in | Same top | RMS Δp | Mean Δp | PPL ratio |\n" +
			"|--:|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n")
		draw, marginal := least(g)
		for k, row := range g {
			var marks []string
			if k == draw && len(g) > 1 {
				marks = append(marks, "least KLD")
			}
			if k == marginal && len(g) > 1 {
				marks = append(marks, "least marginal")
			}
			q := row.KLD
			fmt.Fprintf(&b,
				"| %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %.2f %% | %.2f %% | %+.2f %% | %.4f |\n",
				exactly(row.T), strings.Join(marks, ", "),
				nats(q.Mean), r.half(row), nats(q.P50), nats(q.P90), nats(q.P99), nats(q.P999), nats(q.Max),
				marginalCells(row.Marginal),
				100*row.SameTop, 100*row.RMSdP, 100*row.MeanDP, row.PPLRatio)
		}
		if g[0].FromFirst != nil {
			formsTable(&b, g)
		}
		r.Noises[i].markdown(&b)
	}
	return b.String()
}

// summary is a line for each noise and kind of text, at the temperature nearest to the base.
func (r *FidelityReport) summary(b *strings.Builder) {
	b.WriteString("\n| Noise | Text | SNR, dB | alpha | beta | T | KLD | Marginal | Same top | PPL ratio | T of least KLD | T of least marginal |\n" +
		"|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n")
	for i, g := range r.groups() {
		n, row := r.Noises[i], g[0]
		for _, x := range g {
			if x.T == n.T {
				row = x
			}
		}
		snr, mean, at := "–", "–", "–"
		if n.SNR != nil {
			snr = fmt.Sprintf("%.1f", *n.SNR)
		}
		draw, marginal := least(g)
		if marginal >= 0 {
			at = exactly(g[marginal].T)
		}
		if m := row.Marginal; m != nil {
			mean = fmt.Sprintf("%s ± %.2g", nats(m.Mean), m.SE)
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s | %s | %s | %.1f %% | %.4f | %s | %s |\n",
			n.Noise, n.Text, snr, nats(n.Alpha), nats(n.Beta), exactly(n.T), nats(row.KLD.Mean), mean, 100*row.SameTop,
			row.PPLRatio, exactly(g[draw].T), at)
	}
}

// formsTable is the forms of T* under one noise, against the first.
func formsTable(b *strings.Builder, g []FidelityRow) {
	fmt.Fprintf(b, "\n| Form | T | KLD | Marginal | Difference from %s | 95 %% CI |\n|---|--:|--:|--:|--:|--:|\n",
		g[0].Form)
	for _, row := range g {
		mean, name := "–", string(row.Form)
		if m := row.Marginal; m != nil {
			mean = nats(m.Mean)
		}
		if name == "" {
			name = "none: the base"
		}
		d := row.FromFirst
		fmt.Fprintf(b, "| %s | %.4g | %s | %s | %+.4f | [%+.4f, %+.4f] |\n", name, row.T, nats(row.KLD.Mean), mean,
			d.Mean, d.Lo, d.Hi)
	}
}

func nats(v float64) string { return strconv.FormatFloat(v, 'g', 4, 64) }

func (r *FidelityReport) half(row FidelityRow) string {
	if r.Prompts == 1 && row.Draws == 1 {
		return "–"
	}
	return nats((row.OverTexts.Hi - row.OverTexts.Lo) / 2)
}

func marginalCells(m *fidelity.MarginalMean) string {
	if m == nil {
		return "– | –"
	}
	return fmt.Sprintf("%s ± %.2g | %s", nats(m.Mean), m.SE, nats(m.Plugin))
}

// least are the rows of least divergence per draw, and of least marginal divergence or -1.
func least(g []FidelityRow) (draw, marginal int) {
	marginal = -1
	for k, row := range g {
		if row.KLD.Mean < g[draw].KLD.Mean {
			draw = k
		}
		if m := row.Marginal; m != nil && (marginal < 0 || m.Mean < g[marginal].Marginal.Mean) {
			marginal = k
		}
	}
	return draw, marginal
}

func (f *FidelityNoise) markdown(b *strings.Builder) {
	for _, of := range []struct {
		what string
		bins []fidelity.Bin
	}{{"Clean entropy, nats", f.ByEntropy}, {"Position", f.ByPosition}} {
		fmt.Fprintf(b,
			"\n| %s (T = %s) | Positions | KLD | Marginal | Plug-in | Same top |\n|---|--:|--:|--:|--:|--:|\n", of.what,
			exactly(f.T))
		for _, bin := range of.bins {
			to := "and more"
			if bin.To != nil {
				to = "to " + exactly(*bin.To)
			}
			fmt.Fprintf(b, "| %s %s | %d | %s | %s | %.2f %% |\n", exactly(bin.From), to, bin.Positions, nats(bin.KLD),
				marginalCells(bin.Marginal), 100*bin.SameTop)
		}
	}
	switch d := f.Divergent; {
	case d == nil:
	case d.Leaves == 0:
		fmt.Fprintf(b, "\nGreedy decoding under this noise never leaves the clean text, in %s.\n",
			session.Count(d.Texts, "case"))
	default:
		at := func(t *int) string {
			if t == nil {
				return "not at all"
			}
			return "by token " + strconv.Itoa(*t)
		}
		fmt.Fprintf(b,
			"\nGreedy decoding under this noise leaves the clean text in %d of %d cases: a tenth of all %s, half %s, nine tenths %s.\n",
			d.Leaves, d.Texts, at(d.P10), at(d.P50), at(d.P90))
	}
}

// Figure is the divergences against temperature: of single draws and marginal, for each kind of text.
func (r *FidelityReport) Figure() *plots.Figure {
	f := &plots.Figure{Title: "Divergence from the clean model, by temperature", Columns: 2, Note: r.note()}
	var kinds []string
	for _, row := range r.Rows {
		if !slices.Contains(kinds, row.Text) {
			kinds = append(kinds, row.Text)
		}
	}
	for _, kind := range kinds {
		r.panel(f, kind+" text: each draw", kind, func(row FidelityRow) *alpha.Interval { return &row.OverTexts })
		r.panel(f, kind+" text: law of fresh noise", kind,
			func(row FidelityRow) *alpha.Interval { return row.MarginalOverTexts })
	}
	// One kind of axis for all.
	lo, hi := math.Inf(1), math.Inf(-1)
	for _, p := range f.Panels {
		for _, s := range p.Series {
			lo, hi = min(lo, slices.Min(s.Y)), max(hi, slices.Max(s.Y))
		}
	}
	for i := range f.Panels {
		f.Panels[i].LogY = lo > 0 && hi > 10*lo
	}
	return f
}

func (r *FidelityReport) note() string {
	note := "Along texts of the clean model. Law of fresh noise: the mean over its draws, corrected for few of them."
	if r.Prompts > 1 {
		note += " Bands: 95 % interval over texts."
	}
	return note
}

// panel adds a panel with a curve for each noise, unless it would be empty.
func (r *FidelityReport) panel(f *plots.Figure, title, kind string, of func(FidelityRow) *alpha.Interval) {
	p := plots.Panel{Title: title, X: "temperature T", Y: "KL(clean || noisy), nats"}
	var noises []string
	for _, row := range r.Rows {
		if !slices.Contains(noises, row.Noise) {
			noises = append(noises, row.Noise)
		}
		v := of(row)
		if row.Text != kind || v == nil {
			continue
		}
		colour := slices.Index(noises, row.Noise)
		if n := len(p.Series); n == 0 || p.Series[n-1].Name != row.Noise {
			p.Series = append(p.Series, plots.Series{Name: row.Noise, Colour: colour})
		}
		p.Series[len(p.Series)-1].Add(row.T, v.Mean, v.Lo, v.Hi)
	}
	if len(p.Series) > 0 {
		f.Panels = append(f.Panels, p)
	}
}
