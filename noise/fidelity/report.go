package fidelity

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

	"github.com/gsmeval/gsmeval/internal/files"
	"github.com/gsmeval/gsmeval/internal/plots"
	"github.com/gsmeval/gsmeval/noise/alpha"
)

// The kinds of clean text.
const (
	Sampled = "sampled" // at the base temperature: what the clean model's users read
	Greedy  = "greedy"
	Given   = "given"
)

// Name is that of the files: fidelity.json, fidelity.csv and the plot.
const Name = "fidelity"

// maxFile bounds fidelity.json, in bytes.
const maxFile = 256 << 20

// Read reads fidelity.json of a directory.
func Read(dir string) (*Report, error) {
	path := filepath.Join(dir, Name+".json")
	data, err := files.Read(path, maxFile)
	if err != nil {
		return nil, fmt.Errorf("reading the fidelity: %w", err)
	}
	var r Report
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, fmt.Errorf("%s is not a fidelity report: %w", path, err)
	}
	if len(r.Rows) == 0 || len(r.groups()) != len(r.Noises) {
		return nil, fmt.Errorf("%s is not a fidelity report: %d rows for %d noises", path, len(r.Rows), len(r.Noises))
	}
	return &r, nil
}

// Report tells how near noisy models are to the clean one.
type Report struct {
	Schema  int           `json:"schema"`
	Run     string        `json:"run,omitempty"` // fingerprint of the run that asked for it
	Prompts int           `json:"prompts"`
	KVCache bool          `json:"kv_cache"`
	Seed    uint64        `json:"seed"`
	Base    float64       `json:"base"`
	Rows    []ReportRow   `json:"rows"`
	Noises  []ReportNoise `json:"noises"` // what does not go by temperature, a noise and kind of text each
}

// ReportRow is one temperature under one noise along the texts of one kind.
type ReportRow struct {
	Noise     string `json:"noise"`
	Text      string `json:"text"` // sampled, greedy or given
	Positions int    `json:"positions"`
	Draws     int    `json:"draws"` // 1 for a noise that is not random
	// Form is whose T* the temperature is, and FromFirst the paired difference of the divergence (the marginal one
	// where there is one) from the first form's, with its 95 % interval over texts.
	Form      alpha.Form      `json:"form,omitempty"`
	FromFirst *alpha.Interval `json:"from_first,omitempty"`
	Row
	Spread
}

// ReportNoise is where one noise does its harm, along the texts of one kind, at one temperature.
type ReportNoise struct {
	Noise string `json:"noise"`
	Text  string `json:"text"`
	// SNR is that of what was perturbed, in dB; null where nothing was.
	SNR        *float64   `json:"snr_db"`
	Alpha      float64    `json:"alpha"` // noise to signal of the logits, and how they follow the clean ones
	Beta       float64    `json:"beta"`
	T          float64    `json:"t"` // of the list, the nearest to the base
	ByEntropy  []Bin      `json:"by_entropy"`
	ByPosition []Bin      `json:"by_position"`
	Divergent  *Divergent `json:"first_divergent"` // null but for greedy texts
}

// Contract is the report of one noise along one text.
type Contract struct {
	Noise         string  `json:"noise"`
	Base          float64 `json:"base"`
	Positions     int     `json:"positions"`
	ByTemperature []Row   `json:"by_temperature"`
}

// Contract is the report of the first noise and kind of text.
func (r *Report) Contract() Contract {
	c := Contract{Base: r.Base}
	for _, row := range r.Rows {
		if first := r.Rows[0]; row.Noise == first.Noise && row.Text == first.Text {
			c.Noise, c.Positions, c.ByTemperature = row.Noise, row.Positions, append(c.ByTemperature, row.Row)
		}
	}
	return c
}

// CSV is the rows.
func (r *Report) CSV() ([]byte, error) {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	lines := [][]string{{
		"noise", "text", "t", "positions", "draws", "kld_mean", "kld_lo", "kld_hi", "kld_p50", "kld_p90", "kld_p99",
		"kld_p999", "kld_max",
		"marginal_plugin", "marginal_mean", "marginal_se", "same_top", "rms_dp", "mean_dp", "ppl_ratio",
	}}
	for _, row := range r.Rows {
		k := row.KLD
		line := []string{row.Noise, row.Text, exact(row.T), strconv.Itoa(row.Positions), strconv.Itoa(row.Draws)}
		for _, v := range []float64{k.Mean, row.OverTexts.Lo, row.OverTexts.Hi, k.P50, k.P90, k.P99, k.P999, k.Max} {
			line = append(line, exact(v))
		}
		if m := row.Marginal; m != nil {
			line = append(line, exact(m.Plugin), exact(m.Mean), exact(m.SE))
		} else {
			line = append(line, "", "", "")
		}
		for _, v := range []float64{row.SameTop, row.RMSdP, row.MeanDP, row.PPLRatio} {
			line = append(line, exact(v))
		}
		lines = append(lines, line)
	}
	if err := w.WriteAll(lines); err != nil {
		return nil, fmt.Errorf("writing the fidelity: %w", err)
	}
	return b.Bytes(), nil
}

// groups are the rows under each noise along texts of one kind.
func (r *Report) groups() [][]ReportRow {
	var out [][]ReportRow
	for _, row := range r.Rows {
		if n := len(out); n == 0 || out[n-1][0].Noise != row.Noise || out[n-1][0].Text != row.Text {
			out = append(out, nil)
		}
		out[len(out)-1] = append(out[len(out)-1], row)
	}
	return out
}

// Markdown is the report for people.
func (r *Report) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b,
		"Clean is softmax(z/%g), noisy is softmax(z'/T). Divergences are KL(clean || noisy) in nats, per position. *Marginal* is that of the law of\n"+
			"fresh noise, the mean over its draws: corrected for few draws, ± the standard error that they leave; *plug-in* is not corrected.\n"+
			"Δp is the change of the probability of the text's token.\n", r.Base)
	if len(r.Noises) > 1 {
		head, lines := r.Summary()
		fmt.Fprintf(&b, "\n| %s |\n|---|---|%s\n", strings.Join(head, " | "), strings.Repeat("--:|", len(head)-2))
		for _, line := range lines {
			fmt.Fprintf(&b, "| %s |\n", strings.Join(line, " | "))
		}
	}
	for i, g := range r.groups() {
		first := g[0]
		fmt.Fprintf(&b, "\n## %s, %s text\n\n%s, %s.\n\n", first.Noise, first.Text,
			count(first.Positions, "position"), count(first.Draws, "draw"))
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
				digits(row.T), strings.Join(marks, ", "),
				digits(q.Mean), r.half(row), digits(q.P50), digits(q.P90), digits(q.P99), digits(q.P999), digits(q.Max),
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

// Summary is a line for each noise and kind of text, at the temperature nearest to the base; the first two columns are
// names.
func (r *Report) Summary() (head []string, lines [][]string) {
	head = []string{
		"Noise", "Text", "SNR, dB", "alpha", "beta", "T", "KLD", "Marginal", "Same top %", "PPL ratio", "T of least KLD",
		"T of least marginal",
	}
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
			at = digits(g[marginal].T)
		}
		if m := row.Marginal; m != nil {
			mean = fmt.Sprintf("%s ± %.2g", digits(m.Mean), m.SE)
		}
		lines = append(lines, []string{
			n.Noise, n.Text, snr, digits(n.Alpha), digits(n.Beta), digits(n.T), digits(row.KLD.Mean), mean,
			fmt.Sprintf("%.1f", 100*row.SameTop), fmt.Sprintf("%.4f", row.PPLRatio), digits(g[draw].T), at,
		})
	}
	return head, lines
}

// formsTable is the forms of T* under one noise, against the first.
func formsTable(b *strings.Builder, g []ReportRow) {
	fmt.Fprintf(b, "\n| Form | T | KLD | Marginal | Difference from %s | 95 %% CI |\n|---|--:|--:|--:|--:|--:|\n",
		g[0].Form)
	for _, row := range g {
		mean, name := "–", string(row.Form)
		if m := row.Marginal; m != nil {
			mean = digits(m.Mean)
		}
		if name == "" {
			name = "none: the base"
		}
		d := row.FromFirst
		fmt.Fprintf(b, "| %s | %.4g | %s | %s | %+.3g | [%+.3g, %+.3g] |\n", name, row.T, digits(row.KLD.Mean), mean,
			d.Mean, d.Lo, d.Hi)
	}
}

// exact prints a number in the shortest form that reads back as the same.
func exact(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}

// digits prints a divergence or a temperature with four of them.
func digits(v float64) string { return strconv.FormatFloat(v, 'g', 4, 64) }

func (r *Report) half(row ReportRow) string {
	if r.Prompts == 1 && row.Draws == 1 {
		return "–"
	}
	return digits((row.OverTexts.Hi - row.OverTexts.Lo) / 2)
}

func marginalCells(m *MarginalMean) string {
	if m == nil {
		return "– | –"
	}
	return fmt.Sprintf("%s ± %.2g | %s", digits(m.Mean), m.SE, digits(m.Plugin))
}

// least are the rows of least divergence per draw, and of least marginal divergence or -1.
func least(g []ReportRow) (draw, marginal int) {
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

func (f *ReportNoise) markdown(b *strings.Builder) {
	for _, of := range []struct {
		what string
		bins []Bin
	}{{"Clean entropy, nats", f.ByEntropy}, {"Position", f.ByPosition}} {
		fmt.Fprintf(b,
			"\n| %s (T = %s) | Positions | KLD | Marginal | Plug-in | Same top |\n|---|--:|--:|--:|--:|--:|\n", of.what,
			exact(f.T))
		for _, bin := range of.bins {
			to := "and more"
			if bin.To != nil {
				to = "to " + exact(*bin.To)
			}
			fmt.Fprintf(b, "| %s %s | %d | %s | %s | %.2f %% |\n", exact(bin.From), to, bin.Positions, digits(bin.KLD),
				marginalCells(bin.Marginal), 100*bin.SameTop)
		}
	}
	switch d := f.Divergent; {
	case d == nil:
	case d.Leaves == 0:
		fmt.Fprintf(b, "\nGreedy decoding under this noise never leaves the clean text, in %s.\n",
			count(d.Texts, "case"))
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

// Figure is the divergences against temperature, of single draws and marginal, for the kinds of text that are named, or
// for all.
func (r *Report) Figure(kinds ...string) *plots.Figure {
	f := &plots.Figure{Title: "Divergence from the clean model, by temperature", Columns: 2, Note: r.note()}
	if len(kinds) == 0 {
		for _, row := range r.Rows {
			if !slices.Contains(kinds, row.Text) {
				kinds = append(kinds, row.Text)
			}
		}
	}
	for _, kind := range kinds {
		r.panel(f, kind+" text: each draw", kind, func(row ReportRow) *alpha.Interval { return &row.OverTexts })
		r.panel(f, kind+" text: law of fresh noise", kind,
			func(row ReportRow) *alpha.Interval { return row.MarginalOverTexts })
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

// EntropyFigure is the divergence of single draws by how sure the clean model is, at the temperature nearest to the base.
func (r *Report) EntropyFigure() *plots.Figure {
	p := plots.Panel{
		Title: "each draw, by the clean model's entropy", X: "clean entropy, from so many nats on",
		Y: "KL(clean || noisy), nats",
	}
	for _, n := range r.Noises {
		if n.Text != r.Noises[0].Text {
			continue
		}
		s := plots.Series{Name: n.Noise, Colour: len(p.Series)}
		for _, bin := range n.ByEntropy {
			s.Add(bin.From, bin.KLD, bin.KLD, bin.KLD)
		}
		p.Series = append(p.Series, s)
	}
	return &plots.Figure{Title: "Divergence by the clean model's entropy", Panels: []plots.Panel{p}}
}

func (r *Report) note() string {
	note := "Along texts of the clean model. Law of fresh noise: the mean over its draws, corrected for few of them."
	if r.Prompts > 1 {
		note += " Bands: 95 % interval over texts."
	}
	return note
}

// panel adds a panel with a curve for each noise, unless it would be empty.
func (r *Report) panel(f *plots.Figure, title, kind string, of func(ReportRow) *alpha.Interval) {
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
