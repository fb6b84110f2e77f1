package report

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gsmeval/gsmeval/datasets"
	"github.com/gsmeval/gsmeval/internal/finish"
	"github.com/gsmeval/gsmeval/results"
	"github.com/gsmeval/gsmeval/scoring"
)

// hostile is a text that does something wherever it is taken for HTML, for a script, or for the end of one.
const hostile = `</script></pre><script>document.title = "taken over"</script><img src=x onerror="document.title='taken over'"> & "quoted" ` + "\u2028 <!--<script>"

func load(t testing.TB, dir string, examples []datasets.Example) *Run {
	t.Helper()
	r, err := Load(t.Context(), dir, finding(examples))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// finding finds these examples, or looks for a data set that is not there.
func finding(examples []datasets.Example) Find {
	return func(ctx context.Context, from Source) (*datasets.Set, error) {
		if examples == nil {
			return datasets.Load(ctx, from.Spec)
		}
		return &datasets.Set{Examples: examples, SHA256: "none"}, nil
	}
}

func page1(t testing.TB, runs ...*Run) string {
	t.Helper()
	p, err := New(runs, Options{})
	if err != nil {
		t.Fatal(err)
	}
	data, err := p.HTML()
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

var dataElement = regexp.MustCompile(`<script type="application/gzip" id="data-(\d+)">([A-Za-z0-9+/=]*)</script>`)

// unpacked reads the data elements of a page.
func unpacked(t testing.TB, page string) (b browser, chunks [][][]any) {
	t.Helper()
	for i, m := range dataElement.FindAllStringSubmatch(page, -1) {
		packed, err := base64.StdEncoding.DecodeString(m[2])
		if err != nil {
			t.Fatal(err)
		}
		r, err := gzip.NewReader(bytes.NewReader(packed))
		if err != nil {
			t.Fatal(err)
		}
		dec := json.NewDecoder(r)
		if i == 0 {
			err = dec.Decode(&b)
		} else {
			var c [][]any
			err = dec.Decode(&c)
			chunks = append(chunks, c)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return b, chunks
}

// TestEverySampleIsThere reads the page's data back and compares it with the journal.
func TestEverySampleIsThere(t *testing.T) {
	t.Parallel()
	g, dir := smallGrid(), t.TempDir()
	examples := g.write(t, dir, nil)
	b, chunks := unpacked(t, page1(t, load(t, dir, examples)))
	type key struct{ noise, temp, rep, id int }
	want := map[key]results.Record{}
	for r, err := range results.Read(filepath.Join(dir, results.JournalFile), "") {
		if err != nil {
			t.Fatal(err)
		}
		want[key{r.NoiseIndex, r.TempIndex, r.Replicate, r.ID}] = r
	}
	texts := [][]any{}
	for i, c := range chunks {
		if b.Chunks[i] != len(texts) {
			t.Errorf("chunk %d begins at %d, not at %d", i, b.Chunks[i], len(texts))
		}
		texts = append(texts, c...)
	}
	if len(texts) != len(want) || len(b.Item) != len(want) || len(want) != 3*3*2*12 {
		t.Fatalf("%d texts and %d samples, the journal has %d", len(texts), len(b.Item), len(want))
	}
	for i := range b.Item {
		c, it := b.Conds[b.Cond[i]], b.Items[b.Item[i]]
		r, ok := want[key{b.Cond[i] / 3, b.Cond[i] % 3, b.Rep[i], it.ID}]
		text, _ := texts[i][0].(string)
		start, _ := texts[i][1].(float64)
		end, _ := texts[i][2].(float64)
		switch {
		case !ok || r.Noise != c.Noise || r.Temperature != c.Temp:
			t.Fatalf("sample %d: no such sample", i)
		case text != r.Text || b.Tokens[i] != r.Tokens || b.Answers[b.Answer[i]] != r.Answer ||
			(b.Correct[i] == 1) != r.Correct:
			t.Fatalf("sample %d differs from the journal's", i)
		case text[int(start):int(end)] != r.Answer: // ASCII: units are bytes
			t.Fatalf("sample %d: %q is marked, the answer is %q", i, text[int(start):int(end)], r.Answer)
		case it.Question != examples[it.ID].Question || it.Gold != examples[it.ID].Gold:
			t.Fatalf("sample %d: another question", i)
		}
		delete(want, key{b.Cond[i] / 3, b.Cond[i] % 3, b.Rep[i], it.ID})
	}
}

// TestNothingOfASampleIsMarkup puts markup into every text that a page shows.
func TestNothingOfASampleIsMarkup(t *testing.T) {
	t.Parallel()
	page := page1(t, hostileRun(t))
	for _, bad := range []string{"taken over", "<img", "onerror"} {
		for line := range strings.SplitSeq(page, "\n") {
			if strings.Contains(line, bad) && !strings.Contains(line, "&lt;img") {
				t.Errorf("%q stands in the page: %.200s", bad, line)
			}
		}
	}
	if n := strings.Count(page, "<script"); n != 1+len(dataElement.FindAllString(page, -1)) {
		t.Errorf("%d script elements", n)
	}
	b, chunks := unpacked(t, page)
	if b.Items[0].Question != hostile || chunks[0][0][0] != hostile+"#### 1" {
		t.Errorf("the texts are not kept as they are: %q, %q", b.Items[0].Question, chunks[0][0][0])
	}
}

// hostileRun is a run whose every name and text is markup.
func hostileRun(t testing.TB) *Run {
	t.Helper()
	g, dir := smallGrid(), t.TempDir()
	g.labels = []string{"none", "activation 0.1" + hostile, "activation 0.2"}
	g.temps = []string{"T=1", hostile}
	examples := g.examples()
	for i := range examples {
		examples[i].Question = hostile
		examples[i].Answer = hostile
	}
	g.write(t, dir, func(r *results.Record) bool {
		r.QuestionSHA = shortSHA(hostile)
		r.Text, r.Answer = hostile+"#### 1", "1"
		if r.NoiseIndex == 2 && r.Order == 0 {
			r.Status, r.Finish, r.Error, r.Correct = scoring.StatusError, finish.Failed, hostile, false
		}
		return true
	})
	r := load(t, dir, examples)
	r.Name = hostile
	return r
}

// TestReportHoldsNoTimes makes the report of two equal runs that differ in all that run.json says about their course.
func TestReportHoldsNoTimes(t *testing.T) {
	t.Parallel()
	g := smallGrid()
	pages := make([]string, 2)
	for i := range pages {
		dir := t.TempDir()
		examples := g.write(t, dir, nil)
		info, err := results.ReadRun(dir)
		if err != nil {
			t.Fatal(err)
		}
		info.Started, info.Finished, info.Attempts = time.Unix(int64(i), 0), time.Unix(int64(2+i), 0), i+1
		info.Timings = map[string]float64{"decode": float64(i)}
		info.Status = []results.RunStatus{results.RunRunning, results.RunComplete}[i]
		if err := info.Write(dir); err != nil {
			t.Fatal(err)
		}
		r := load(t, dir, examples)
		if err := WriteRun(r); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{
			HTMLFile, "accuracy.svg", "accuracy.png", "differences.svg", "differences.png",
			"dose_response.svg", "temperature.svg",
		} {
			data, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			pages[i] += string(data)
		}
	}
	if pages[0] != pages[1] {
		t.Error("the reports of equal runs differ")
	}
}

// TestIncompleteAndEmptyRuns reports what there is, and says what there is not.
func TestIncompleteAndEmptyRuns(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		keep func(*results.Record) bool
		tail string
		want []string
	}{
		"half": {
			func(r *results.Record) bool { return r.NoiseIndex == 0 }, "",
			[]string{"the run is not complete: 72 of 216 samples are there."},
		},
		"torn": {
			func(r *results.Record) bool { return r.Replicate == 0 }, `{"run":`,
			[]string{"not complete: 108 of 216", "The last line of the journal is not whole"},
		},
		"empty": {
			func(*results.Record) bool { return false }, "",
			[]string{"not complete: 0 of 216", "There are no samples yet."},
		},
	} {
		g, dir := smallGrid(), t.TempDir()
		g.write(t, dir, test.keep)
		path := filepath.Join(dir, results.JournalFile)
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, append(data, test.tail...), 0o600); err != nil {
			t.Fatal(err)
		}
		page := page1(t, load(t, dir, nil))
		for _, want := range append(test.want, "The questions are not shown: reading data set") {
			if !strings.Contains(page, want) {
				t.Errorf("%s: no %q in the page", name, want)
			}
		}
		if b, _ := unpacked(t, page); len(b.Items) > 0 && b.Items[0].Question != "" {
			t.Errorf("%s: a question without a data set: %q", name, b.Items[0].Question)
		}
	}
	g, dir := smallGrid(), t.TempDir()
	g.write(t, dir, nil)
	if err := os.Remove(filepath.Join(dir, results.JournalFile)); err != nil {
		t.Fatal(err)
	}
	if page := page1(t, load(t, dir, nil)); !strings.Contains(page, "There are no samples yet.") {
		t.Error("a run without a journal: no word of it")
	}
}

// TestOtherQuestionsAreNotShown does not put a data set's question beside an answer to another one.
func TestOtherQuestionsAreNotShown(t *testing.T) {
	t.Parallel()
	g, dir := smallGrid(), t.TempDir()
	examples := g.write(t, dir, nil)
	examples[3].Question = "Another question"
	page := page1(t, load(t, dir, examples))
	if !strings.Contains(page, "18 samples are of questions that the data set does not have under their numbers") {
		t.Error("the page does not say that a question has changed")
	}
	b, _ := unpacked(t, page)
	for _, it := range b.Items {
		if (it.Question == "") != (it.ID == 3) {
			t.Errorf("question %d is %q", it.ID, it.Question)
		}
	}
}

// TestSeveralRuns compares equal conditions, and says why where it cannot.
func TestSeveralRuns(t *testing.T) {
	t.Parallel()
	dirs := []string{t.TempDir(), t.TempDir()}
	var runs []*Run
	for i, dir := range dirs {
		g := smallGrid()
		g.seed = 1 // the same questions
		answers := i
		examples := g.write(t, dir, func(r *results.Record) bool {
			if answers == 1 && r.Order%5 == 0 {
				r.Correct = !r.Correct
			}
			return true
		})
		r := load(t, dir, examples)
		r.Name = []string{"first", "second"}[i]
		runs = append(runs, r)
	}
	page := page1(t, runs...)
	for _, want := range []string{
		"<title>first, second – gsmeval report</title>", "second minus first",
		"first: Accuracy by noise and temperature", "Only in", "432 samples of 12 questions",
	} {
		if want != "Only in" && !strings.Contains(page, want) {
			t.Errorf("no %q in the page", want)
		}
	}
	runs[1].Set.Meta().Settings[results.SettingLadder] = "robust"
	page = page1(t, runs...)
	if !strings.Contains(page, "Nothing is compared: first and second differ in ladder (seed, robust)") {
		t.Error("the page does not say why runs are not compared")
	}
	runs[1].Name = "first"
	if _, err := New(runs, Options{}); err == nil || !strings.Contains(err.Error(), "two runs are called first") {
		t.Errorf("two runs of one name: %v", err)
	}
}

// TestGainedAndLostLinks checks that the numbers of the comparison lead to just as many samples.
func TestGainedAndLostLinks(t *testing.T) {
	t.Parallel()
	g, dir := smallGrid(), t.TempDir()
	examples := g.write(t, dir, nil)
	page := page1(t, load(t, dir, examples))
	b, _ := unpacked(t, page)
	right := map[[3]int]bool{} // item, condition, replicate
	for i := range b.Item {
		right[[3]int{b.Item[i], b.Cond[i], b.Rep[i]}] = b.Correct[i] == 1
	}
	links := regexp.MustCompile(`<a href="#c=(\d+)&amp;v=(\d+)&amp;o=(gained|lost)">(\d+)</a>`).FindAllStringSubmatch(page, -1)
	if len(links) < 6 {
		t.Fatalf("%d links to gained and lost samples", len(links))
	}
	for _, m := range links {
		var c, v, n, got int
		for i, into := range map[int]*int{1: &c, 2: &v, 4: &n} {
			if err := json.Unmarshal([]byte(m[i]), into); err != nil {
				t.Fatal(err)
			}
		}
		for k, here := range right {
			if k[1] == c && here == (m[3] == "gained") && right[[3]int{k[0], v, k[2]}] != here {
				got++
			}
		}
		if got != n {
			t.Errorf("%s: %d samples, the table says %d", m[0], got, n)
		}
	}
}

// TestReaderMarksNothingButTheAnswer marks in UTF-16 units, and nothing where the ladder would read something else
// today.
func TestReaderMarksNothingButTheAnswer(t *testing.T) {
	t.Parallel()
	l, err := scoring.LadderByName("seed")
	if err != nil {
		t.Fatal(err)
	}
	r := reader{ladder: l, ok: true}
	rec := results.Record{
		Text: "π 𝄞 #### 42", Finish: finish.Stop, Answer: "42", Rung: "hash",
		Status: scoring.StatusOK,
	}
	if start, end := r.find(&rec); start != 10 || end != 12 {
		t.Errorf("42 is marked from %d to %d, want 10 to 12", start, end)
	}
	rec.Answer = "43"
	if start, end := r.find(&rec); start != -1 || end != -1 {
		t.Errorf("an answer that is not there is marked from %d to %d", start, end)
	}
	rec.Answer, rec.Rung = "42", "boxed"
	if start, _ := r.find(&rec); start != -1 {
		t.Error("an answer of another rung is marked")
	}
}
