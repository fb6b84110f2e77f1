package imports

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gsmeval/gsmeval/internal/finish"
	"github.com/gsmeval/gsmeval/results"
	"github.com/gsmeval/gsmeval/scoring"
)

// patterns are the names of the tools' files.
var patterns = map[string]string{"lm-eval": "samples_*.jsonl", "inspect": "*.json", "lighteval": "details_*.parquet"}

// made returns the files of the tools in a folder that scripts/make_imports.py has filled.
func made(t testing.TB, dir string, tools ...string) map[string]string {
	t.Helper()
	paths := map[string]string{}
	for _, tool := range tools {
		err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
			if ok, _ := filepath.Match(patterns[tool], filepath.Base(path)); ok &&
				!strings.HasPrefix(filepath.Base(path), "results_") {
				paths[tool] = path
			}
			return err
		})
		if err != nil || paths[tool] == "" {
			t.Fatalf("no %s in %s: %v", patterns[tool], dir, err)
		}
	}
	return paths
}

// answers are the texts that the tools' model gave, by row, each with its number among them.
func answers(t *testing.T) []Sample {
	t.Helper()
	golds := []string{"18", "540", "70000"}
	data, err := os.ReadFile("testdata/answers.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	var list []Sample
	for line := range strings.Lines(string(data)) {
		var a struct {
			ID   int
			Text string
		}
		if err := json.Unmarshal([]byte(line), &a); err != nil {
			t.Fatal(err)
		}
		s := Sample{ID: a.ID, Gold: golds[a.ID], Text: a.Text, Finish: finish.Stop}
		if n := len(list); n > 0 && list[n-1].ID == a.ID {
			s.Replicate = list[n-1].Replicate + 1
		}
		list = append(list, s)
	}
	return list
}

// checkFiles reads the files of the tools: what the model answered is there, and any two compare as equal.
func checkFiles(t *testing.T, paths map[string]string) {
	t.Helper()
	robust, err := scoring.LadderByName("robust")
	if err != nil {
		t.Fatal(err)
	}
	var sources []results.Source
	for tool, path := range paths {
		f, err := Read(path)
		if err != nil {
			t.Fatal(err)
		}
		if f.Tool != tool || f.Twice != 0 || !Is(path) {
			t.Errorf("%s: read as %s, %d left out", path, f.Tool, f.Twice)
		}
		want := answers(t)
		for i := range f.Samples {
			if q := f.Samples[i].Question; !strings.HasSuffix(q, "?") {
				t.Errorf("%s: question %q", tool, q)
			}
			f.Samples[i].Question = ""
		}
		if tool == "inspect" {
			want[3].Finish = finish.Length // the model said so
		}
		if diff := cmp.Diff(want, f.Samples); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tool, diff)
		}
		set, err := f.Set(robust)
		if err != nil {
			t.Fatal(err)
		}
		row := set.Table().Rows[0]
		if row.N != 6 || row.Correct != 4 || row.Seeds != 2 {
			t.Errorf("%s: %d of %d right over %d tries", tool, row.Correct, row.N, row.Seeds)
		}
		sources = append(sources, results.Source{Name: tool, Set: set})
	}
	for i := range len(sources) - 1 {
		c, err := results.Compare(sources[i:i+2], results.CompareOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if p := c.Pairs[0]; p.N != 6 || p.Diff != 0 {
			t.Errorf("%s and %s: %+v", sources[i].Name, sources[i+1].Name, p)
		}
	}
}

// Files that lm-evaluation-harness 0.4.13, inspect_ai 0.3.285 and lighteval 0.13.0 wrote.
func TestFilesOfOthers(t *testing.T) {
	t.Parallel()
	checkFiles(t, made(t, "testdata", "lm-eval", "inspect", "lighteval"))
}

// Files that they write now. lighteval needs torch, and so an environment of its own.
func TestOtherToolsWrite(t *testing.T) {
	t.Parallel()
	exports, lighteval := os.Getenv("GSMEVAL_TEST_EXPORT_PYTHON"), os.Getenv("GSMEVAL_TEST_LIGHTEVAL_PYTHON")
	if exports == "" && lighteval == "" {
		t.Skip("neither GSMEVAL_TEST_EXPORT_PYTHON nor GSMEVAL_TEST_LIGHTEVAL_PYTHON is set: there is no Python with these tools")
	}
	dir := t.TempDir()
	paths := map[string]string{}
	write := func(python string, arguments, tools []string) {
		if python == "" {
			return
		}
		arguments = append([]string{
			"../../scripts/make_imports.py", "testdata/data.jsonl", "testdata/answers.jsonl",
			dir,
		}, arguments...)
		cmd := exec.CommandContext(t.Context(), python, arguments...)
		cmd.Env = append(os.Environ(), "HF_HUB_OFFLINE=1", "HF_HOME="+dir)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		maps.Copy(paths, made(t, dir, tools...))
	}
	write(exports, nil, []string{"lm-eval", "inspect"})
	write(lighteval, []string{"lighteval"}, []string{"lighteval"})
	checkFiles(t, paths)
}

func TestRefused(t *testing.T) {
	t.Parallel()
	const line = `{"doc_id": 0, "doc": {"question": "q"}, "target": "#### 5", "resps": [["5"]], "filter": "none"}`
	whole, err := os.ReadFile(made(t, "testdata", "lighteval")["lighteval"])
	if err != nil {
		t.Fatal(err)
	}
	other, err := os.ReadFile("../../datasets/testdata/parquet/default.parquet")
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		file, text string
		words      []string
	}{
		"our own texts":  {"a.jsonl", `{"id": 0, "text": "5"}`, []string{"not a file that"}},
		"another ending": {"a.csv", "id,text", []string{"not a file that"}},
		"empty":          {"a.jsonl", "", []string{"not a file that"}},
		"choices": {
			"a.jsonl", `{"doc_id": 0, "target": "5", "resps": [[[-1.5, true]]]}`,
			[]string{"line 1", "only tasks that generate"},
		},
		"no answers": {"a.jsonl", `{"doc_id": 0, "target": "5", "resps": []}`, []string{"line 1", "empty"}},
		"cut":        {"a.jsonl", line + "\n" + line[:40], []string{"line 2"}},
		"no gold": {
			"a.jsonl", `{"doc_id": 0, "target": "#### 3:30", "resps": [["5"]]}`,
			[]string{"line 1", "target", "3:30"},
		},
		"negative":    {"a.jsonl", `{"doc_id": -1, "target": "5", "resps": [["5"]]}`, []string{"line 1", "row -1"}},
		"no samples":  {"a.json", `{"version": 2, "eval": {"task": "t"}}`, []string{"no samples"}},
		"cut log":     {"a.json", `{"version": 2, "eval": {"task": "t"}, "samples": [`, []string{"not JSON"}},
		"cut details": {"a.parquet", string(whole[:len(whole)-9]), []string{"parquet"}},
		"damaged details": {
			"a.parquet", strings.Replace(string(whole), "540", "54\xff", 1),
			[]string{"a file of lighteval"},
		},
		"other columns": {"a.parquet", string(other), []string{"not a file that", "lighteval"}},
		"mixed ids": {
			"a.json",
			`{"version": 2, "eval": {}, "samples": [{"id": "a", "target": "5"}, {"id": 1, "target": "5"}]}`,
			[]string{"some ids are numbers"},
		},
	} {
		path := filepath.Join(t.TempDir(), tc.file)
		if err := os.WriteFile(path, []byte(tc.text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Read(path)
		for _, word := range append(tc.words, tc.file) {
			if err == nil || !strings.Contains(err.Error(), word) {
				t.Errorf("%s: error %v, want one with %q", name, err, word)
			}
		}
	}
}

func FuzzRead(f *testing.F) {
	for _, tc := range []string{
		`{"doc_id": 0, "doc": {"question": "q"}, "target": "#### 5", "resps": [["5", "6"]], "filter": "none"}`,
		`{"version": 2, "eval": {"task": "t"}, "samples": [{"id": "a", "epoch": 1, "target": ["5"], "output": {"choices": [{"message": {"content": [{"type": "text", "text": "5"}]}}]}}]}`,
	} {
		f.Add([]byte(tc))
	}
	whole, err := os.ReadFile(made(f, "testdata", "lighteval")["lighteval"])
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, tool := range tools {
			file := &File{Path: "samples_x_2026-11-28T09.jsonl"}
			if err := tool.read(file, data); err == nil && tool.ext != ".parquet" && len(file.Samples) > len(data) { // parquet may repeat
				t.Errorf("%d samples in %d bytes", len(file.Samples), len(data))
			}
		}
	})
}
