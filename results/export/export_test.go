package export

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"github.com/gsmeval/gsmeval/datasets"
	"github.com/gsmeval/gsmeval/internal/finish"
	"github.com/gsmeval/gsmeval/results"
	"github.com/gsmeval/gsmeval/scoring"
)

// The questions and texts hold what breaks careless writers.
var hostile = []string{
	"plain #### 1", "<script>alert('&')</script> \"quoted\", and\na second line", "NA", "",
	"\u2028between\u2029 \\u2028 \\\\",
	"tab\tand \r\n carriage, é 語 🙂 \x7f \x01",
}

// hostileRun writes a run of two noises and three temperatures, the third of which shares the samples of the first
// without noise, with samples of every status. It returns its directory, its questions and a JSONL file of them.
func hostileRun(t *testing.T) (dir string, setup Setup, questions map[int]datasets.Example, data string) {
	t.Helper()
	dir = t.TempDir()
	questions = map[int]datasets.Example{}
	var lines bytes.Buffer
	enc := json.NewEncoder(&lines)
	for i, q := range hostile {
		e := datasets.Example{ID: i, Question: "Q" + q, Answer: q + "\n#### " + strconv.Itoa(i), Gold: strconv.Itoa(i)}
		questions[i] = e
		if err := enc.Encode(map[string]string{"question": e.Question, "answer": e.Answer}); err != nil {
			t.Fatal(err)
		}
	}
	data = filepath.Join(dir, "data.jsonl")
	if err := os.WriteFile(data, lines.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	first := 0
	nan := results.Float(math.NaN())
	const fingerprint = "00112233445566778899aabbccddeeff"
	info := &results.RunInfo{
		Schema: results.RunSchema, Name: "hostile", Fingerprint: fingerprint, Status: results.RunComplete,
		Config:   json.RawMessage(`{"scoring":{"ladder":"robust"},"model":{"path":"org/some:model"}}`),
		Hashes:   map[string]string{"weights": "ab12", "template": "ef"},
		Versions: map[string]string{"gsmeval": "0.0.0"}, Device: "cpu", Threads: 1,
		Started: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Finished: time.Date(2026, 1, 2, 4, 4, 5, 678000,
			time.UTC),
		Timings: map[string]float64{"decode": 12.5}, Schedules: []results.Schedule{
			{SHA: "one", T: []float64{1}},
			{SHA: "curve", T: []float64{1.25, 1.5}},
		},
		Meta: results.Meta{
			Name: "hostile", Fingerprint: fingerprint, Examples: len(hostile),
			Noises: []results.Noise{{Label: "none", Kind: "none"}, {Label: "weight 0.1", Kind: "weight", Chips: true}},
			Temps:  []results.Temp{{Label: "T=1"}, {Label: "greedy"}, {Label: "T*(t)"}},
			Conditions: []results.Condition{
				{NoiseIndex: 0, TempIndex: 0, Replicates: 2, MeanAlpha: nan, TSHA: "one"},
				{NoiseIndex: 0, TempIndex: 1, Replicates: 1, Deterministic: true, MeanAlpha: nan},
				{NoiseIndex: 0, TempIndex: 2, Replicates: 2, SamplesOf: &first, MeanAlpha: 0, TSHA: "one"},
				{NoiseIndex: 1, TempIndex: 0, Replicates: 2, MeanAlpha: nan, TSHA: "one"},
				{NoiseIndex: 1, TempIndex: 1, Replicates: 2, MeanAlpha: nan},
				{NoiseIndex: 1, TempIndex: 2, Replicates: 2, MeanAlpha: 0.5625, TSHA: "curve"},
			},
			Settings: map[string]string{results.SettingLadder: "robust"},
		},
	}
	if err := info.Write(dir); err != nil {
		t.Fatal(err)
	}
	journal, err := results.Open(filepath.Join(dir, results.JournalFile), fingerprint)
	if err != nil {
		t.Fatal(err)
	}
	statuses := []scoring.Status{
		scoring.StatusOK, scoring.StatusTruncated, scoring.StatusOK, scoring.StatusNoAnswer, scoring.StatusError,
		scoring.StatusNonfinite, scoring.StatusOK,
	}
	n := 0
	for _, c := range info.Meta.Conditions {
		for r := range c.Replicates {
			for order, text := range hostile {
				if c.SamplesOf != nil {
					continue
				}
				rec := results.Record{
					Run: fingerprint, Noise: info.Meta.Noises[c.NoiseIndex].Label, NoiseIndex: c.NoiseIndex,
					Replicate:   r,
					Temperature: info.Meta.Temps[c.TempIndex].Label, TempIndex: c.TempIndex, ID: order, Order: order,
					QuestionSHA: "q" + strconv.Itoa(order), PromptSHA: "p", Text: text, Tokens: 10 + n,
					Finish: finish.Stop,
					Status: statuses[n%len(statuses)], TMin: 1, TMax: 1.25, TMean: 1.1, TSHA: c.TSHA,
				}
				switch rec.Status {
				case scoring.StatusOK:
					rec.Answer, rec.Rung, rec.Correct = strconv.Itoa(order), "hash", n%2 == 0
				case scoring.StatusTruncated:
					rec.Finish, rec.Answer, rec.Rung = finish.Length, "NA", "last"
				case scoring.StatusNoAnswer:
				case scoring.StatusNonfinite:
					rec.Finish, rec.Error = finish.Nonfinite, "a logit was not finite at generated token 3"
				case scoring.StatusError:
					rec.Finish, rec.Error, rec.TMin, rec.TMax, rec.TMean = finish.Failed, "<it> \"failed\"", nan, nan, nan
				}
				if c.TSHA == "" {
					rec.TMin, rec.TMax, rec.TMean = nan, nan, nan
				}
				if c.NoiseIndex == 1 && rec.Status != scoring.StatusError {
					rec.Effect = &results.Effect{Sites: 3, Elements: 1 << 40, RMSRatio: 0.1}
				}
				if err := journal.Append([]results.Record{rec}); err != nil {
					t.Fatal(err)
				}
				n++
			}
		}
	}
	if err := journal.Close(); err != nil {
		t.Fatal(err)
	}
	set, err := results.LoadSet(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := set.Table().WriteAll(dir); err != nil {
		t.Fatal(err)
	}
	return dir, Setup{
		Model: "org/some:model", DType: "float32", Dataset: data, Split: "test", Subset: "main",
		MaxNewTokens: 64, BatchSize: "32", TopP: 1, Seed: 42, Ladder: "robust",
	}, questions, data
}

func loadHostile(t *testing.T) (*Run, string, string) {
	t.Helper()
	dir, setup, questions, data := hostileRun(t)
	info, err := results.ReadRun(dir)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Load(dir, info, setup, questions)
	if err != nil {
		t.Fatal(err)
	}
	return r, dir, data
}

// TestSeveralSamples exports a run with two samples of each question: the flat formats have a column more, and inspect
// an epoch for each sample.
func TestSeveralSamples(t *testing.T) {
	t.Parallel()
	r, _, _ := loadHostile(t)
	lines := 0
	for i := range r.arms {
		a := &r.arms[i]
		if a.cond.Deterministic {
			lines += len(a.records)
			continue
		}
		a.cond.Samples = 2
		var all []results.Record
		for _, rec := range a.records {
			for rec.Sample = range 2 {
				all = append(all, rec)
			}
		}
		a.records = all
		lines += len(all)
		epochs := map[[2]int]bool{}
		for k := range all {
			s := r.inspectSample(*a, &all[k], "m")
			epochs[[2]int{s.ID, s.Epoch}] = true
			if s.Epoch < 1 || s.Epoch > 2*a.cond.Replicates || s.Metadata["sample"] != all[k].Sample {
				t.Errorf("epoch %d, sample %v of %d replicates", s.Epoch, s.Metadata["sample"], a.cond.Replicates)
			}
		}
		if len(epochs) != len(all) {
			t.Errorf("%d epochs of %d samples", len(epochs), len(all))
		}
	}
	var asParquet, asCSV bytes.Buffer
	if err := errors.Join(r.WriteParquet(&asParquet), r.WriteCSV(&asCSV)); err != nil {
		t.Fatal(err)
	}
	rows, err := parquet.Read[sampledFlat](bytes.NewReader(asParquet.Bytes()), int64(asParquet.Len()))
	if err != nil {
		t.Fatal(err)
	}
	table, err := csv.NewReader(&asCSV).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != lines || len(table) != lines+1 || table[0][0] != "run" ||
		slices.Index(table[0], "sample") != len(table[0])-1 {
		t.Fatalf("%d rows and %d lines of %d samples, columns %v", len(rows), len(table), lines, table[0])
	}
	for i, row := range rows {
		if table[i+1][len(table[0])-1] != strconv.Itoa(int(row.Sample)) || row.Run == "" || row.Sample > 1 {
			t.Errorf("line %d has sample %s, parquet %d of run %q", i, table[i+1][len(table[0])-1], row.Sample, row.Run)
		}
	}
}

// TestFlat reads CSV and parquet back: the same lines in both, one for each sample of each row of the table, texts to
// the byte.
func TestFlat(t *testing.T) {
	t.Parallel()
	r, _, _ := loadHostile(t)
	var asParquet, asCSV bytes.Buffer
	if err := r.WriteParquet(&asParquet); err != nil {
		t.Fatal(err)
	}
	rows, err := parquet.Read[flat](bytes.NewReader(asParquet.Bytes()), int64(asParquet.Len()))
	if err != nil {
		t.Fatal(err)
	}
	const perReplicate, replicates = 6, 2 + 1 + 2 + 2 + 2 + 2
	if len(rows) != perReplicate*replicates {
		t.Fatalf("%d rows, want %d", len(rows), perReplicate*replicates)
	}
	if err := r.WriteCSV(&asCSV); err != nil {
		t.Fatal(err)
	}
	lines, err := csv.NewReader(&asCSV).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if len(lines) != len(rows)+1 || len(lines[0]) != len(lines[1]) {
		t.Fatalf("%d CSV lines for %d rows", len(lines), len(rows))
	}
	column := func(line []string, name string) string { return line[slices.Index(lines[0], name)] }
	counted, right := map[[2]string]int{}, map[[2]string]int{}
	for i, row := range rows {
		line := lines[i+1]
		if row.Text != hostile[row.ID] || *row.Question != "Q"+hostile[row.ID] ||
			*row.Gold != strconv.Itoa(int(row.ID)) {
			t.Errorf("row %d: text %q, question %q, gold %q", i, row.Text, *row.Question, *row.Gold)
		}
		// The reader of encoding/csv makes \n of \r\n in a cell; pandas keeps it (check_exports.py).
		if got := column(line, "text"); got != strings.ReplaceAll(row.Text, "\r\n", "\n") {
			t.Errorf("CSV row %d has text %q, parquet %q", i, got, row.Text)
		}
		if got := column(line, "correct"); got != strconv.FormatBool(row.Correct) {
			t.Errorf("CSV row %d: correct %s", i, got)
		}
		if (row.Answer == nil) != (row.Rung == nil) {
			t.Errorf("row %d has answer %v and rung %v", i, row.Answer, row.Rung)
		}
		key := [2]string{row.Noise, row.Temperature}
		if row.Counted {
			counted[key]++
		}
		if row.Correct {
			right[key]++
		}
	}
	for _, row := range r.table.Rows {
		key := [2]string{row.Noise, row.Temperature}
		if counted[key] != row.N || right[key] != row.Correct {
			t.Errorf("%v: %d of %d, the table says %d of %d", key, right[key], counted[key], row.Correct, row.N)
		}
	}
}

// TestLMEval reads the files of lm-evaluation-harness back.
func TestLMEval(t *testing.T) {
	t.Parallel()
	r, dir, _ := loadHostile(t)
	paths, err := r.Write(LMEval, filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(dir, "out", "org__some__model",
		"results_2026-01-02T04-04-05.000678.json"); paths[0] != want {
		t.Errorf("results in %s, want %s", paths[0], want)
	}
	var all struct {
		Results map[string]map[string]any `json:"results"`
	}
	readJSON(t, paths[0], &all)
	if len(all.Results) != 6 || len(paths) != 7 {
		t.Fatalf("%d tasks in %d files", len(all.Results), len(paths))
	}
	for i, path := range paths[1:] {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		n, sum := 0, 0.0
		for line := range strings.SplitSeq(strings.TrimSuffix(string(data), "\n"), "\n") {
			var s lmSample
			if err := json.Unmarshal([]byte(line), &s); err != nil {
				t.Fatal(err)
			}
			if s.Resps[0][0] != hostile[s.DocID] {
				t.Errorf("%s: response %q", path, s.Resps)
			}
			n++
			sum += s.ExactMatch
		}
		row := r.table.Rows[i]
		if n != row.N || sum != float64(row.Correct) {
			t.Errorf("%s: %g of %d, the table says %d of %d", path, sum, n, row.Correct, row.N)
		}
		if got := all.Results[r.slugs()[i]]["exact_match,robust"]; got != float64(row.Accuracy) {
			t.Errorf("accuracy %v of %s, the table says %v", got, r.slugs()[i], row.Accuracy)
		}
	}
}

// TestInspect reads the logs of inspect_ai back.
func TestInspect(t *testing.T) {
	t.Parallel()
	r, dir, _ := loadHostile(t)
	paths, err := r.Write(Inspect, filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	if len(paths) != 6 {
		t.Fatalf("%d logs", len(paths))
	}
	for i, path := range paths {
		var log inspectLog
		readJSON(t, path, &log)
		row := r.table.Rows[i]
		if log.Status != "success" || len(log.Samples) != row.Samples {
			t.Errorf("%s: status %s, %d samples of %d", path, log.Status, len(log.Samples), row.Samples)
		}
		right, failed := 0, 0
		for _, s := range log.Samples {
			if s.Error != nil {
				failed++
				continue
			}
			if s.Scores["robust"].Value == "C" {
				right++
			}
		}
		if right != row.Correct || failed != row.Failed() {
			t.Errorf("%s: %d right and %d failed, the table says %d and %d", path, right, failed, row.Correct,
				row.Failed())
		}
	}
}

// TestOtherToolsAgree has the tools themselves read every format: scripts/check_exports.py, in the environment of
// scripts/requirements-exports.txt that GSMEVAL_TEST_EXPORT_PYTHON names.
func TestOtherToolsAgree(t *testing.T) {
	t.Parallel()
	python := os.Getenv("GSMEVAL_TEST_EXPORT_PYTHON")
	if python == "" {
		t.Skip("GSMEVAL_TEST_EXPORT_PYTHON is not set; it names a Python with scripts/requirements-exports.txt")
	}
	r, dir, data := loadHostile(t)
	out := filepath.Join(dir, "out")
	for _, f := range []Format{CSV, Parquet, LMEval, Inspect} {
		path := filepath.Join(out, string(f))
		if !f.NeedsQuestions() {
			path = filepath.Join(out, "samples."+string(f))
		}
		if _, err := r.Write(f, path); err != nil {
			t.Fatal(err)
		}
	}
	report, err := exec.CommandContext(t.Context(), python, filepath.Join("..", "..", "scripts", "check_exports.py"),
		dir, data, out).CombinedOutput()
	t.Logf("%s", report)
	if err != nil || !strings.Contains(string(report), "checked 6 conditions") {
		t.Errorf("%v", err)
	}
}

// TestRefuses checks what cannot be exported.
func TestRefuses(t *testing.T) {
	t.Parallel()
	dir, setup, questions, _ := hostileRun(t)
	info, err := results.ReadRun(dir)
	if err != nil {
		t.Fatal(err)
	}
	delete(questions, 3)
	if _, err := Load(dir, info, setup, questions); err == nil ||
		!strings.Contains(err.Error(), "row 3, which the data set lacks") {
		t.Errorf("a data set without row 3: %v", err)
	}
	r, err := Load(dir, info, setup, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Write(Inspect, t.TempDir()); err == nil {
		t.Error("a log of inspect without questions")
	}
	if err := os.Truncate(filepath.Join(dir, results.JournalFile), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(dir, info, setup, nil); err == nil || !strings.Contains(err.Error(), "no samples yet") {
		t.Errorf("an empty run: %v", err)
	}
	if _, err := ParseFormat("xml"); err == nil || !strings.Contains(err.Error(), "lm-eval, inspect, csv, parquet") {
		t.Errorf("format xml: %v", err)
	}
}

func readJSON(t *testing.T, path string, v any) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, v); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}
