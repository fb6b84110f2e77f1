package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gsmeval/gsmeval/datasets"
	"github.com/gsmeval/gsmeval/harness/session"
	"github.com/gsmeval/gsmeval/internal/config"
	"github.com/gsmeval/gsmeval/internal/finish"
	"github.com/gsmeval/gsmeval/results"
	"github.com/gsmeval/gsmeval/results/imports"
	"github.com/gsmeval/gsmeval/scoring"
	"github.com/gsmeval/gsmeval/scoring/stats"
)

// tally is the answer of score.
type tally struct {
	N        int                    `json:"n"`
	Correct  int                    `json:"correct"`
	Accuracy float64                `json:"accuracy"`
	ByStatus map[scoring.Status]int `json:"by_status"`
	// Questions are what the texts answer. The standard error is clustered by them, or by the data set's clusters.
	Questions int              `json:"questions"`
	Clusters  int              `json:"clusters,omitempty"` // that the questions form, where the data set has some
	SE        results.Float    `json:"se"`
	CI        results.Interval `json:"ci95"`
	// Repeated are the questions that more than one text answers.
	Repeated int `json:"repeated"`

	seen   map[int]int // texts of each row
	most   int         // a row with the most of them
	groups map[string]*stats.Cluster

	clustered bool
}

func newTally() *tally {
	return &tally{ByStatus: map[scoring.Status]int{}, seen: map[int]int{}, groups: map[string]*stats.Cluster{}}
}

// add counts the verdict on a text of a row, which may belong to a cluster.
func (t *tally) add(row int, cluster string, v scoring.Verdict) {
	t.ByStatus[v.Status]++
	if t.seen[row]++; t.seen[row] > t.seen[t.most] {
		t.most = row
	}
	if !v.Status.Counted() {
		return
	}
	if cluster == "" {
		cluster = fmt.Sprint("row ", row)
	} else {
		cluster, t.clustered = "cluster "+cluster, true
	}
	g := t.groups[cluster]
	if g == nil {
		g = new(stats.Cluster)
		t.groups[cluster] = g
	}
	t.N++
	g.N++
	if v.Correct {
		t.Correct++
		g.Sum++
	}
}

// finish computes what follows from the counts.
func (t *tally) finish() {
	var clusters []stats.Cluster
	for _, name := range slices.Sorted(maps.Keys(t.groups)) {
		clusters = append(clusters, *t.groups[name])
	}
	t.Questions = len(t.seen)
	if t.clustered {
		t.Clusters = len(t.groups)
	}
	if t.N > 0 {
		t.Accuracy = float64(t.Correct) / float64(t.N)
	}
	t.SE = results.Float(stats.ClusterSE(clusters))
	in := stats.Wilson(t.Accuracy, stats.EffectiveN(clusters), stats.Level)
	t.CI = results.Interval{results.Float(in.Lo), results.Float(in.Hi)}
	for _, n := range t.seen {
		if n > 1 {
			t.Repeated++
		}
	}
}

func scoreCommand(a *app) *cobra.Command {
	var spec datasets.Spec
	var gold, ladder, out string
	var asJSON bool
	c := &cobra.Command{
		Use:   "score FILE|RUN [--dataset DATA]",
		Short: "Score texts again, without a model",
		Long: `Score reads texts, one JSON object a line with "id" (the row number in the data set) and "text", maybe "finish" ("stop" or
"length"), extracts their answers with a ladder and compares them with the data set's.

Of a run, named by its directory, it scores the samples, by the data that was evaluated: --dataset says where that lies
now, and --split, --config, --question, --answer, --cluster and --gold are the run's where they are not given. A text with
a "question_sha", as a run's have it, is not scored by the answer to another question.

It also reads what other evaluators have kept: samples_*.jsonl of lm-evaluation-harness, logs of inspect_ai in .json and details_*.parquet
of lighteval. They have gold answers of their own, so that --dataset is not needed.`,
		Example: `  gsmeval score runs/first_light --ladder robust
  gsmeval score solutions.jsonl --dataset gsm8k --split test --ladder seed --json --out verdicts.jsonl
  gsmeval score samples_gsm8k_2026-11-23T10-00-00.000000.jsonl --ladder robust`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := scoring.LadderByName(ladder)
			if err != nil {
				return usageError{fmt.Errorf("--ladder: %w", err)}
			}
			spec.Gold, spec.Exact = datasets.GoldForm(gold), true
			var t *tally
			var lines []byte
			if info, missing := os.Stat(args[0]); missing == nil && info.IsDir() {
				t, lines, err = a.scoreRun(cmd.Context(), args[0], spec, cmd.Flags().Changed, l)
			} else {
				t, lines, err = a.scoreFile(cmd.Context(), args[0], spec, l)
			}
			if err != nil {
				return err
			}
			if out != "" {
				if err := os.WriteFile(out, lines, 0o644); err != nil {
					return fmt.Errorf("writing the verdicts: %w", err)
				}
			}
			t.finish()
			if t.Repeated > 0 {
				_, _ = fmt.Fprintf(a.stderr, "%d texts answer %d questions: %d come more than once, row %d %d times\n",
					sum(t.seen), t.Questions, t.Repeated, t.most, t.seen[t.most])
			}
			if asJSON {
				return a.printJSON(t)
			}
			return a.println(t.String())
		},
	}
	f := c.Flags()
	f.StringVar(&spec.Path, "dataset", "",
		"data set: a directory, a .parquet, .jsonl or .json file, a glob, or a hub id (org/name or org/name@revision)")
	f.StringVar(&spec.Split, "split", "test", "split of a data set directory")
	f.StringVar(&spec.Config, "config", "main", "subset of a data set directory: main or socratic")
	f.StringVar(&spec.Columns.Question, "question", "",
		"the column of the question, or a template such as '{Body} {Question}'")
	f.StringVar(&spec.Columns.Answer, "answer", "", "the column of the answer, or a template")
	f.StringVar(&spec.Columns.Cluster, "cluster", "",
		"the column of what questions have in common, for the standard error")
	f.StringVar(&gold, "gold", "auto", "where the gold answer stands: auto, hash, bare")
	f.StringVar(&ladder, "ladder", "seed", "how answers are read: "+strings.Join(scoring.LadderNames(), " or "))
	f.StringVar(&out, "out", "", "write every line with answer, rung, status and correct to a `FILE`")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func sum(counts map[int]int) int {
	n := 0
	for _, c := range counts {
		n += c
	}
	return n
}

// examplesOf reads a data set by row number.
func (a *app) examplesOf(ctx context.Context, spec datasets.Spec, revision string) (map[int]datasets.Example, error) {
	set, err := session.NewLocator(a.stderr).Load(ctx, spec, revision)
	if err != nil {
		return nil, err
	}
	examples := make(map[int]datasets.Example, len(set.Examples))
	for _, e := range set.Examples {
		examples[e.ID] = e
	}
	return examples, nil
}

// scoreFile scores the texts of a file, whoever wrote it.
func (a *app) scoreFile(ctx context.Context, path string, spec datasets.Spec, l scoring.Ladder) (*tally, []byte,
	error,
) {
	switch {
	case imports.Is(path):
		return a.scoreImported(ctx, path, spec, l)
	case spec.Path == "":
		return nil, nil, usageError{errors.New("--dataset is needed: the texts have no gold answers of their own")}
	}
	texts, err := datasets.ReadTexts(path)
	if err != nil {
		return nil, nil, err
	}
	examples, err := a.examplesOf(ctx, spec, "")
	if err != nil {
		return nil, nil, err
	}
	return scoreTexts(path, texts, spec, examples, l)
}

// scoreRun scores the samples of a run by the data that it evaluated; a flag that is given comes before what the run
// says.
func (a *app) scoreRun(ctx context.Context, dir string, flags datasets.Spec, given func(flag string) bool,
	l scoring.Ladder,
) (*tally, []byte, error) {
	info, err := results.ReadRun(dir)
	if err != nil {
		return nil, nil, err
	}
	cfg, err := config.Parse(filepath.Join(dir, results.RunFile), info.Config, config.Options{})
	if err != nil {
		return nil, nil, err
	}
	spec, revision := cfg.Dataset.Spec(), cfg.Dataset.Revision
	spec.Exact = given("split") || given("config") // the run's data may lie elsewhere now, under another name
	if given("dataset") {
		spec.Path, revision = flags.Path, ""
	}
	if given("gold") {
		spec.Gold = flags.Gold
	}
	for flag, of := range map[string]struct {
		to   *string
		from string
	}{
		"split": {&spec.Split, flags.Split}, "config": {&spec.Config, flags.Config},
		"question": {&spec.Columns.Question, flags.Columns.Question},
		"answer":   {&spec.Columns.Answer, flags.Columns.Answer},
		"cluster":  {&spec.Columns.Cluster, flags.Columns.Cluster},
	} {
		if given(flag) {
			*of.to = of.from
		}
	}
	path := filepath.Join(dir, results.JournalFile)
	var texts []datasets.Text
	for r, err := range results.Read(path, info.Fingerprint) {
		var torn *results.TornError
		if errors.As(err, &torn) {
			a.logf("%v; it is left out", err)
			break
		}
		if err != nil {
			return nil, nil, err
		}
		raw, err := json.Marshal(&r)
		if err != nil {
			return nil, nil, fmt.Errorf("reading %s: %w", path, err)
		}
		texts = append(texts, datasets.Text{
			ID: r.ID, Text: r.Text, Finish: string(r.Finish), QuestionSHA: r.QuestionSHA, Raw: raw,
		})
	}
	if len(texts) == 0 {
		return nil, nil, fmt.Errorf("%s holds no samples yet", path)
	}
	examples, err := a.examplesOf(ctx, spec, revision)
	if err != nil {
		return nil, nil, fmt.Errorf("%w; name the run's data set with --dataset", err)
	}
	return scoreTexts(path, texts, spec, examples, l)
}

// scoreTexts scores texts by the answers of a data set. A text that says which question it answers is scored by the
// answer to that one, or not at all.
func scoreTexts(path string, texts []datasets.Text, spec datasets.Spec, examples map[int]datasets.Example,
	l scoring.Ladder,
) (*tally, []byte, error) {
	t := newTally()
	var lines bytes.Buffer
	for _, text := range texts {
		e, ok := examples[text.ID]
		if !ok {
			return nil, nil, fmt.Errorf("%s: there is no row %d in %s (%d rows)", path, text.ID, spec.Path,
				len(examples))
		}
		if sha := session.ShortSHA(e.Question); text.QuestionSHA != "" && text.QuestionSHA != sha {
			return nil, nil, fmt.Errorf("%s (split %s) is not the data that was evaluated: the sha256 of the question of row %d begins with %s there, with %s in %s; "+
				"name the right data with --dataset, --split, --config and --question", spec.Path, spec.Split, text.ID, sha,
				text.QuestionSHA, path)
		}
		v := l.Score(scoring.Text{Text: text.Text, Finish: finish.Reason(text.Finish), Question: e.Question}, e.Gold)
		t.add(text.ID, e.Cluster, v)
		if err := verdictLine(&lines, text.Raw, v); err != nil {
			return nil, nil, err
		}
	}
	return t, lines.Bytes(), nil
}

// scoreImported scores what another evaluator has kept, by its own gold answers or those of a data set.
func (a *app) scoreImported(ctx context.Context, path string, spec datasets.Spec, l scoring.Ladder) (*tally, []byte,
	error,
) {
	file, err := imports.Read(path)
	if err != nil {
		return nil, nil, err
	}
	var examples map[int]datasets.Example
	if spec.Path != "" {
		if examples, err = a.examplesOf(ctx, spec, ""); err != nil {
			return nil, nil, err
		}
	}
	if file.Twice > 0 {
		_, _ = fmt.Fprintf(a.stderr, "%s: %d samples of a row and a try that are there already are left out\n", path,
			file.Twice)
	}
	t := newTally()
	var lines bytes.Buffer
	for _, s := range file.Samples {
		e, ok := examples[s.ID]
		if spec.Path != "" && !ok {
			return nil, nil, fmt.Errorf("%s: there is no row %d in %s (%d rows)", path, s.ID, spec.Path, len(examples))
		}
		if ok {
			s.Gold, s.Question = e.Gold, e.Question
		}
		v := s.Score(l)
		t.add(s.ID, e.Cluster, v)
		raw, err := json.Marshal(map[string]any{
			"id": s.ID, "replicate": s.Replicate, "text": s.Text,
			"finish": s.Finish, "gold": s.Gold,
		})
		if err != nil {
			return nil, nil, fmt.Errorf("writing row %d: %w", s.ID, err)
		}
		if err := verdictLine(&lines, raw, v); err != nil {
			return nil, nil, err
		}
	}
	return t, lines.Bytes(), nil
}

// String is the tally for a person.
func (t *tally) String() string {
	s := fmt.Sprintf("%d of %d right: %.2f %%", t.Correct, t.N, 100*t.Accuracy)
	if t.CI.Valid() && t.SE.Finite() {
		s += fmt.Sprintf(" (SE %.2f, 95 %% CI %.1f to %.1f", 100*t.SE, 100*t.CI[0], 100*t.CI[1])
		if t.clustered {
			s += fmt.Sprintf(", over %d clusters", t.Clusters)
		}
		s += ")"
	}
	for _, st := range []scoring.Status{
		scoring.StatusOK, scoring.StatusNoAnswer, scoring.StatusTruncated,
		scoring.StatusNonfinite, scoring.StatusError,
	} {
		if n := t.ByStatus[st]; n > 0 {
			s += fmt.Sprintf(", %s %d", st, n)
		}
	}
	return s
}

// verdictLine writes an object's own keys with the verdict's in their place.
func verdictLine(w *bytes.Buffer, raw []byte, v scoring.Verdict) error {
	line := map[string]any{}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if err := dec.Decode(&line); err != nil {
		return errors.Join(errors.New("reading a line again"), err)
	}
	line["answer"], line["rung"], line["status"], line["correct"] = v.Answer.Value, v.Answer.Rung, v.Status, v.Correct
	if !v.Found {
		line["answer"], line["rung"] = nil, nil
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(line)
}
