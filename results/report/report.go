// Package report shows runs to people: one HTML file with the plots, the tables and a browser of the samples, which
// needs no network and holds no dates or timings, so that equal runs have equal reports; the same figures as PNG and
// SVG for papers; and a server that shows the file of a run in progress.
package report

import (
	"bytes"
	"errors"
	"fmt"
	"html/template"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/gsmeval/gsmeval/internal/plots"
	"github.com/gsmeval/gsmeval/noise/fidelity"
	"github.com/gsmeval/gsmeval/results"
)

// HTMLFile is the name of the report in a run directory.
const HTMLFile = "report.html"

// Options say how to report.
type Options struct {
	// Allow lists the settings that may differ between runs that are compared, see results.CompareOptions.
	Allow []string
}

// Report is what several runs, or one, come to.
type Report struct {
	runs        []*Run
	accuracy    *plots.Figure
	dose        *plots.Figure
	alpha       *plots.Figure
	differences *plots.Figure // nil where there is nothing to compare
	comparison  *results.Comparison
	uncompared  string // why there is none
	live        bool   // served while the run may go on
}

// New makes the report of runs. Several have to have different names.
func New(runs []*Run, o Options) (*Report, error) {
	if len(runs) == 0 {
		return nil, errors.New("reporting: no run is given")
	}
	p := &Report{runs: runs, accuracy: accuracyFigure(runs), dose: doseFigure(runs), alpha: alphaFigure(runs)}
	var sources []results.Source
	for i, r := range runs {
		for _, other := range runs[:i] {
			if other.Name == r.Name {
				return nil, fmt.Errorf("reporting: two runs are called %s", r.Name)
			}
		}
		sources = append(sources, results.Source{Name: r.Name, Set: r.Set})
	}
	var err error
	if p.comparison, err = results.Compare(sources, results.CompareOptions{Allow: o.Allow}); err != nil {
		p.comparison, p.uncompared = nil, strings.TrimPrefix(err.Error(), "comparing: ")
		return p, nil // the report says why nothing is compared
	}
	title := "temperatures under the same noise"
	if len(runs) > 1 {
		title = "runs under the same condition"
	}
	p.differences = differencesFigure(p.comparison, title)
	return p, nil
}

// section is a part of the page.
type section struct {
	ID, Title, Lead string
	Figures         []template.HTML
	Pairs           bool // figures that belong together two by two
	Legend          template.HTML
	Tables          []table
	Notes           []string
}

type table struct {
	Caption string
	Head    []string
	Left    int
	Rows    [][]cell
}

type cell struct {
	Text string
	Link string // to the browser of samples
}

// findings are the sentences about a run.
type findings struct {
	Run       string
	Sentences []string
}

// page is what the template is filled with.
type page struct {
	Title, Subject string
	Progress       string
	Live           bool
	Facts          [][2]string
	Findings       []findings
	Warnings       []string
	Sections       []section
	Samples        string // a note on what the browser holds
	Settings       []table
	CSP            string
	Style, Script  template.HTML
	Data           template.HTML
}

// HTML writes the page.
func (p *Report) HTML() ([]byte, error) {
	b, blocks, err := samples(p.runs)
	if err != nil {
		return nil, err
	}
	v := page{Title: p.runs[0].Name, Live: p.live, CSP: policy(p.live), Style: styleElement, Script: scriptElement}
	if len(p.runs) > 1 {
		names := make([]string, len(p.runs))
		for i, r := range p.runs {
			names[i] = r.Name
		}
		v.Title = strings.Join(names, ", ")
	}
	v.head(p.runs)
	for _, build := range []func(*browser) (*section, error){
		p.fidelitySection, p.accuracySection, p.samplesSection, p.differencesSection, p.doseSection, p.alphaSection,
		p.statusSection, p.tokensSection,
	} {
		s, err := build(b)
		if err != nil {
			return nil, err
		}
		if s != nil {
			v.Sections = append(v.Sections, *s)
		}
	}
	v.Samples = fmt.Sprintf("%d samples of %s.", len(b.Item), plural(len(b.Items), "question"))
	if b.left > 0 {
		v.Samples += fmt.Sprintf(" The last %s are left out here, to keep the page small; %s has them all.",
			plural(b.left, "question"), results.JournalFile)
	}
	for _, r := range p.runs {
		v.Settings = append(v.Settings, r.settings(len(p.runs) > 1))
	}
	v.Data = dataElements(blocks)
	var out bytes.Buffer
	if err := pageTemplate.Execute(&out, v); err != nil {
		return nil, fmt.Errorf("writing the report: %w", err)
	}
	return out.Bytes(), nil
}

// Write puts the page at a path, whole or not at all.
func (p *Report) Write(path string) error {
	data, err := p.HTML()
	if err != nil {
		return err
	}
	return results.WriteFile(path, data)
}

// WriteFigures puts every figure into a directory, as PNG and SVG, and makes the directory where there is none.
func (p *Report) WriteFigures(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("writing the figures: %w", err)
	}
	files := p.Files()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		png, err := files[name].PNG()
		if err != nil {
			return err
		}
		svg, err := files[name].SVG()
		if err != nil {
			return err
		}
		base := filepath.Join(dir, name)
		if err := results.WriteFile(base+".png", png); err != nil {
			return err
		}
		if err := results.WriteFile(base+".svg", svg); err != nil {
			return err
		}
	}
	return nil
}

// head fills in what stands at the top of the page.
func (v *page) head(runs []*Run) {
	samples, planned := 0, 0
	for _, r := range runs {
		samples, planned = samples+r.count, planned+r.planned()
		about := func(s string) string {
			if len(runs) > 1 {
				return r.Name + ": " + s
			}
			return s
		}
		if r.count < r.planned() {
			v.Warnings = append(v.Warnings, about(fmt.Sprintf("the run is not complete: %d of %d samples are there.",
				r.count, r.planned())))
		}
		for _, w := range slices.Concat(r.Table.Warnings, r.notes) {
			v.Warnings = append(v.Warnings, about(w))
		}
		v.Findings = append(v.Findings, findings{r.Name, r.Set.Explain()})
		m := r.Info.Meta
		seeds := 1
		for _, c := range m.Conditions {
			seeds = max(seeds, c.Replicates)
		}
		fact := fmt.Sprintf("%s, %s, %s, %s", r.subject(), plural(m.Examples, "question"),
			plural(len(m.Conditions), "condition"), plural(seeds, "noise seed"))
		v.Facts = append(v.Facts, [2]string{r.Name, strings.TrimPrefix(fact, ", ")})
	}
	if samples < planned {
		v.Progress = fmt.Sprintf("%d of %d samples", samples, planned)
	}
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}

// figures draws a figure's panels; each is described by the numbers of its points.
func (s *section) figures(f *plots.Figure, description string) error {
	panels, err := f.Inline(s.ID, func(p *plots.Panel) string {
		var names []string
		for _, x := range p.Series {
			names = append(names, x.Name)
		}
		return description + ": " + strings.Join(names, "; ") + ". The numbers are in the tables of this page."
	})
	if err != nil {
		return err
	}
	for _, svg := range panels {
		s.Figures = append(s.Figures, template.HTML(svg)) //nolint:gosec // package plots escapes every text
	}
	s.Legend += template.HTML(f.Legend()) //nolint:gosec // as above
	return nil
}

func (p *Report) fidelitySection(*browser) (*section, error) {
	s := &section{
		ID: "fidelity", Title: "What the noise did to the distribution",
		Lead: "How far the noisy model's next-token distribution at temperature T is from the clean model's, along texts " +
			"of the clean model. Of noise that is drawn anew for every token the law over its draws is what is sampled.",
	}
	for i, r := range p.runs {
		if r.fidelity == nil {
			continue
		}
		for k, f := range []*plots.Figure{r.fidelity.Figure(fidelity.Sampled), r.fidelity.EntropyFigure()} {
			if !drawable(f) {
				continue
			}
			part := section{ID: fmt.Sprintf("%s-%d-%d", s.ID, i, k)}
			if err := part.figures(f, p.caption(r, "KL divergence in nats, for the noises")); err != nil {
				return nil, err
			}
			s.Figures, s.Legend = append(s.Figures, part.Figures...), part.Legend
		}
		head, lines := r.fidelity.Summary()
		caption := fmt.Sprintf("Distance from the clean model, softmax(z / %g); KLD in nats a position", r.fidelity.Base)
		s.Tables = append(s.Tables, tableOf(p.caption(r, caption), results.Cells{Head: head, Left: 2, Rows: lines}))
	}
	if len(s.Tables) == 0 {
		return nil, nil //nolint:nilnil // it was not measured
	}
	return s, nil
}

func (p *Report) accuracySection(*browser) (*section, error) {
	s := &section{
		ID: "accuracy", Title: "What it did to single answers",
		Lead: "Accuracy by condition. Points are accuracies, bars their 95 % intervals. Each row is a noise, each shape a temperature policy.",
	}
	if drawable(p.accuracy) {
		err := s.figures(p.accuracy, "Accuracy in % with 95 % intervals by noise, for the temperatures")
		if err != nil {
			return nil, err
		}
	} else {
		s.Lead = "There are no samples yet."
	}
	for _, r := range p.runs {
		c := r.Table.Cells()
		t := tableOf(p.caption(r, "Accuracy by noise and temperature"), c)
		s.Tables = append(s.Tables, t)
		for _, n := range r.Table.Notes {
			if !slices.Contains(s.Notes, n) {
				s.Notes = append(s.Notes, n)
			}
		}
	}
	return s, nil
}

// caption names the run where there are several.
func (p *Report) caption(r *Run, text string) string {
	if len(p.runs) > 1 {
		return r.Name + ": " + text
	}
	return text
}

func tableOf(caption string, c results.Cells) table {
	t := table{Caption: caption, Head: c.Head, Left: c.Left}
	for _, row := range c.Rows {
		cells := make([]cell, len(row))
		for i, text := range row {
			cells[i] = cell{Text: text}
		}
		t.Rows = append(t.Rows, cells)
	}
	return t
}

func (p *Report) samplesSection(*browser) (*section, error) {
	s := &section{
		ID: "samples-k", Pairs: true, Title: "What it did to k answers",
		Lead: "Each question was answered several times. pass@k: one of k samples is right. maj@k: the most frequent of their " +
			"answers is. One sample favours low temperatures; more of them tell whether a temperature keeps the answers apart.",
	}
	for _, r := range p.runs {
		f := SamplesFigure(r.Table.Rows)
		if f == nil {
			continue
		}
		if len(p.runs) > 1 {
			f.Title = r.Name + ": " + f.Title
		}
		if err := s.figures(f, "pass@k and maj@k in % against k, for the temperatures"); err != nil {
			return nil, err
		}
	}
	if len(s.Figures) == 0 {
		return nil, nil //nolint:nilnil // a part that this report does not have
	}
	return s, nil
}

func (p *Report) doseSection(*browser) (*section, error) {
	if !drawable(p.dose) {
		return nil, nil //nolint:nilnil // a part that this report does not have
	}
	s := &section{
		ID: "dose", Title: "Dose response",
		Lead: "Accuracy against the scale of the noise; scale 0 is the run without noise. Bars are 95 % intervals; " +
			"points of one scale stand a little apart to be seen.",
	}
	return s, s.figures(p.dose, "Accuracy in % against noise scale, for")
}

func (p *Report) alphaSection(*browser) (*section, error) {
	if !drawable(p.alpha) {
		return nil, nil //nolint:nilnil // a part that this report does not have
	}
	s := &section{
		ID: "temperature", Title: "alpha(t) and T*(t)",
		Lead: "The noise-to-signal ratio of the logits as the calibration measured it, " +
			"with 95 % intervals over prompts, and the temperatures that the conditions used. " +
			"Past the last measured position the last T holds.",
	}
	return s, s.figures(p.alpha, "Curves by generated token, for")
}

func (p *Report) differencesSection(b *browser) (*section, error) {
	s := &section{
		ID: "differences", Title: "What each temperature did",
		Lead: "Paired differences. Right of zero the second of the pair is better. Bars are 95 % intervals; " +
			"an interval that holds zero shows no difference. Numbers of gained and lost samples lead to these " +
			"samples.",
	}
	if p.comparison == nil {
		s.Lead = "Nothing is compared: " + p.uncompared
		return s, nil
	}
	if drawable(p.differences) {
		err := s.figures(p.differences, "Differences in accuracy in percentage points with 95 % intervals, for")
		if err != nil {
			return nil, err
		}
	}
	t := tableOf("Paired differences", p.comparison.Cells())
	for i := range t.Rows {
		pair := &p.comparison.Pairs[i]
		for k, head := range t.Head {
			if outcome := map[string]string{"Gained": "gained", "Lost": "lost"}[head]; outcome != "" &&
				t.Rows[i][k].Text != "0" {
				t.Rows[i][k].Link = b.link(pair, outcome)
			}
		}
	}
	s.Tables = []table{t}
	for _, w := range p.comparison.Warnings {
		s.Notes = append(s.Notes, "Warning: "+w)
	}
	s.Notes = append(s.Notes, p.comparison.Notes...)
	return s, nil
}

// link leads to the samples that the second side of a pair gained or lost.
func (b *browser) link(pair *results.Pair, outcome string) string {
	find := func(run int, noise, temp string) int {
		return slices.IndexFunc(b.Conds, func(c pageCondition) bool {
			return (run < 0 || c.Run == run) && c.Noise == noise && c.Temp == temp
		})
	}
	x, y := find(-1, pair.Noise, pair.A), find(-1, pair.Noise, pair.B)
	if pair.Temperature != "" {
		x, y = find(slices.Index(b.Runs, pair.A), pair.Noise, pair.Temperature), find(slices.Index(b.Runs, pair.B),
			pair.Noise, pair.Temperature)
	}
	if x < 0 || y < 0 {
		return ""
	}
	return fmt.Sprintf("#c=%d&v=%d&o=%s", y, x, outcome)
}

func (p *Report) statusSection(*browser) (*section, error) {
	s := &section{
		ID: "status", Title: "What became of the samples",
		Lead: "Truncated: the token limit came before an end token. Failed samples are in no accuracy.",
	}
	t := table{Caption: "Samples by status", Head: []string{
		"Noise", "Temperature", "Samples", "Right", "Wrong",
		"Truncated, right", "Truncated, wrong", "No answer", "Not finite", "Error",
	}, Left: 2}
	if len(p.runs) > 1 {
		t.Head, t.Left = append([]string{"Run"}, t.Head...), 3
	}
	for i, r := range p.runs {
		stack := statusStack(r, p.caption(r, "samples by status"))
		if len(stack.Rows) == 0 {
			continue
		}
		svg := stack.Inline(fmt.Sprintf("status-%d", i),
			"Shares of right, wrong, truncated, unanswered and failed samples by condition; "+
				"the numbers are in the table below.")
		s.Figures = append(s.Figures, template.HTML(svg)) //nolint:gosec // package plots escapes every text
		s.Legend = template.HTML(stack.Legend())          //nolint:gosec // as above
		for k := range r.Table.Rows {
			row := &r.Table.Rows[k]
			if row.SamplesOf != "" {
				continue
			}
			right := row.Correct - row.TruncatedCorrect
			cells := []cell{{Text: row.Noise}, {Text: row.Temperature}}
			if len(p.runs) > 1 {
				cells = append([]cell{{Text: r.Name}}, cells...)
			}
			for _, n := range []int{
				row.Samples, right, row.OK - right, row.TruncatedCorrect,
				row.Truncated - row.TruncatedCorrect, row.NoAnswer, row.Nonfinite, row.Errors,
			} {
				cells = append(cells, cell{Text: strconv.Itoa(n)})
			}
			t.Rows = append(t.Rows, cells)
		}
	}
	if len(t.Rows) == 0 {
		return nil, nil //nolint:nilnil // there are no samples yet
	}
	s.Tables = []table{t}
	return s, nil
}

func (p *Report) tokensSection(*browser) (*section, error) {
	f := tokensFigure(p.runs)
	if !drawable(f) {
		return nil, nil //nolint:nilnil // there are no samples yet
	}
	s := &section{
		ID: "tokens", Title: "Generated tokens",
		Lead: "How long the counted samples are: share of samples by number of generated tokens. " +
			"Mean lengths are in the first table.",
	}
	return s, s.figures(f, "Histogram of generated tokens in % of the samples, for")
}

// settings are what the run is made of: all that may change a sample, and nothing that changes from one attempt to the
// next.
func (r *Run) settings(named bool) table {
	t := table{Caption: "Settings", Head: []string{"Key", "Value"}, Left: 2}
	if named {
		t.Caption = r.Name + ": settings"
	}
	add := func(key, value string) { t.Rows = append(t.Rows, []cell{{Text: key}, {Text: value}}) }
	add("fingerprint", r.Info.Fingerprint)
	add("device", r.Info.Device)
	add("threads", strconv.Itoa(r.Info.Threads))
	for _, k := range slices.Sorted(maps.Keys(r.Info.Versions)) {
		add("version of "+k, r.Info.Versions[k])
	}
	for _, k := range slices.Sorted(maps.Keys(r.Info.Hashes)) {
		add("sha256 of "+k, r.Info.Hashes[k])
	}
	if r.Config != nil {
		fields := r.Config.FingerprintFields()
		for _, k := range slices.Sorted(maps.Keys(fields)) {
			add(k, fmt.Sprint(fields[k]))
		}
	}
	return t
}

// WriteRun writes the report and the figures of one run next to its tables.
func WriteRun(r *Run) error {
	p, err := New([]*Run{r}, Options{})
	if err != nil {
		return err
	}
	if err := p.Write(filepath.Join(r.dir, HTMLFile)); err != nil {
		return err
	}
	return p.WriteFigures(r.dir)
}
