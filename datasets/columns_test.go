package datasets

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// usual are the columns of GSM8K.
var usual = []string{"question", "answer"}

// Every data set that is known, by a small file in its shape.
func TestPresets(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		id, file, rows string
		want           []Example
	}{
		{
			"openai/gsm8k", "main/test.jsonl", `{"question": "1+1?", "answer": "It is 1+1=2.\n#### 2"}`,
			[]Example{{Question: "1+1?", Answer: "It is 1+1=2.\n#### 2", Gold: "2"}},
		},
		{
			"madrylab/gsm8k-platinum@main", "main/test-00000-of-00001.jsonl",
			`{"question": "1+1?", "answer": "#### 1,002", "cleaning_status": "consensus"}`,
			[]Example{{Question: "1+1?", Answer: "#### 1,002", Gold: "1002"}},
		},
		{
			"apple/GSM-Symbolic", "p1/test.jsonl",
			`{"id": 3, "instance": 7, "question": "1+1?", "answer": "#### 2", "original_id": 51, "original_question": "1?", "canary": "x"}`,
			[]Example{{Question: "1+1?", Answer: "#### 2", Gold: "2", Label: "51-7", Cluster: "51"}},
		},
		{
			"qintongli/GSM-Plus", "data/test-00000-of-00001.jsonl",
			`{"question": "1+1?", "solution": "It is 2", "answer": "2.0", "perturbation_type": "critical thinking", "seed_question": "1?"}` + "\n" +
				`{"question": "1+?", "solution": "Not known", "answer": "None", "perturbation_type": "critical thinking", "seed_question": "1?"}`,
			[]Example{
				{Question: "1+1?", Answer: "2.0", Gold: "2", Cluster: "1?"},
				{ID: 1, Question: "1+?", Answer: "None", Gold: "None", Cluster: "1?"},
			},
		},
		{
			"ChilleD/SVAMP", "data/test.jsonl",
			`{"ID": "chal-1", "Body": "Tom has 1.", "Question": "And 1 more?", "question_concat": "x", "Equation": "( 1 + 1 )", "Answer": "145.0", "Type": "Addition"}`,
			[]Example{{Question: "Tom has 1. And 1 more?", Answer: "145.0", Gold: "145", Label: "chal-1"}},
		},
		{
			"ChilleD/MultiArith", "test.json", `[{"question": "1+1? ", "final_ans": "2"}]`,
			[]Example{{Question: "1+1? ", Answer: "2", Gold: "2"}},
		},
		{
			"EleutherAI/asdiv", "asdiv/validation-00000-of-00001.jsonl",
			`{"body": "Tom has 8 apples.", "question": "And 1 more?", "solution_type": "Addition", "answer": "9 (apples)", "formula": "8+1=9"}`,
			[]Example{{Question: "Tom has 8 apples. And 1 more?", Answer: "9 (apples)", Gold: "9"}},
		},
		{
			"HuggingFaceH4/MATH-500", "test.jsonl",
			`{"problem": "Half?", "solution": "so $\\boxed{\\frac{1}{2}}$", "answer": "\\frac{1}{2}", "subject": "Algebra", "level": 2, "unique_id": "test/a/1.json"}`,
			[]Example{{Question: "Half?", Answer: `\frac{1}{2}`, Gold: `\frac{1}{2}`, Label: "test/a/1.json"}},
		},
		{
			"Maxwell-Jia/AIME_2024", "aime_2024_problems.jsonl",
			`{"ID": "2024-I-1", "Problem": "1+1?", "Solution": "It is 2", "Answer": 204}`,
			[]Example{{Question: "1+1?", Answer: "204", Gold: "204", Label: "2024-I-1"}},
		},
		{
			"HuggingFaceH4/aime_2024", "data/train-00000-of-00001.jsonl",
			`{"id": 60, "problem": "1+1?", "solution": "It is 2", "answer": "204", "url": "x", "year": "2024"}`,
			[]Example{{Question: "1+1?", Answer: "204", Gold: "204"}},
		},
		{
			"yentinglin/aime_2025", "data/train-00000-of-00001.jsonl",
			`{"problem": "1+1?", "answer": "070", "solution": "It is 70", "id": "0"}`,
			[]Example{{Question: "1+1?", Answer: "070", Gold: "70"}},
		},
	} {
		t.Run(tc.id, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(tc.file)), 0o755); err != nil {
				t.Fatal(err)
			}
			writeFile(t, dir, tc.file, []byte(tc.rows))
			preset, ok := PresetOf(tc.id)
			if !ok {
				t.Fatal("nothing is known of it")
			}
			spec := Spec{Path: dir, Split: "test", Config: "main", Gold: GoldAuto}.Preset(preset)
			if tc.id == "apple/GSM-Symbolic" {
				spec.Config = "p1"
			}
			spec.Split, spec.Config = preset.Where([]string{tc.file}, spec.Split, spec.Config)
			set, err := Load(t.Context(), spec)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, set.Examples); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	if _, ok := PresetOf("someone/else"); ok {
		t.Error("a preset for what is not known")
	}
}

// What a config says comes before what is known.
func TestPresetYields(t *testing.T) {
	t.Parallel()
	preset, _ := PresetOf("ChilleD/SVAMP")
	got := Spec{Columns: Columns{Question: "Question", ID: "Type"}, Gold: GoldHash}.Preset(preset)
	if want := (Columns{Question: "Question", Answer: "Answer", ID: "Type"}); got.Columns != want ||
		got.Gold != GoldHash {
		t.Errorf("%+v", got)
	}
	if split, config := preset.Where([]string{"train.jsonl"}, "train", "main"); split != "train" || config != "main" {
		t.Errorf("split %s of %s", split, config)
	}
}

func TestTemplates(t *testing.T) {
	t.Parallel()
	cells := []string{"b", "q"}
	for template, want := range map[string]string{
		"{Body} {Question}": "b q", "Body": "b",
		"x {Question}{Question}.": "x qq.", "{Body}": "b", "": "",
	} {
		l := layout{columns: []string{"Body", "Question"}}
		pieces, err := parseTemplate(template)
		if err != nil {
			t.Error(err)
		}
		if got := l.fill(pieces, cells); got != want {
			t.Errorf("%q: %q, want %q", template, got, want)
		}
	}
	for _, template := range []string{"{", "}", "{}", "a}b", "{a", "{a{b}}", "a {b} }"} {
		if err := CheckTemplate(template); err == nil {
			t.Errorf("%q is no error", template)
		}
	}
}

func TestGoldForms(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, rows string
		form       GoldForm
		gold       string // of the last row
		words      []string
	}{
		{"auto, hash", `{"question": "q", "answer": "#### 5"}`, "", "5", nil},
		{"auto, bare", `{"question": "q", "answer": "5 apples"}`, "", "5", nil},
		{
			"auto, a long text",
			`{"question": "q", "answer": "First we add 2 and 3, which makes 5, and then we are done with all of it."}`,
			GoldAuto, "",
			[]string{"line 1", "####"},
		},
		{
			"auto, mixed", `{"question": "q", "answer": "#### 5"}` + "\n" + `{"question": "q", "answer": "5"}`, GoldAuto,
			"",
			[]string{"line 2", "####"},
		},
		{"hash", `{"question": "q", "answer": "5"}`, GoldHash, "", []string{"line 1", "####"}},
		{
			"a part", `{"question": "q", "answer": "#### 3:30"}`, GoldAuto, "",
			[]string{"line 1", `"3:30"`, "dataset.gold"},
		},
		{"bare text", `{"question": "q", "answer": "#### 3:30"}`, GoldBare, "#### 3:30", nil},
		{"empty", `{"question": "q", "answer": " "}`, GoldBare, "", []string{"line 1", "empty"}},
		{"unknown", `{"question": "q", "answer": "5"}`, "boxed", "", []string{"auto, hash or bare"}},
	} {
		dir := t.TempDir()
		writeFile(t, dir, "test.jsonl", []byte(tc.rows))
		set, err := Load(t.Context(), Spec{Path: dir, Gold: tc.form})
		if tc.words != nil {
			checkError(t, err, tc.words...)
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
		} else if got := set.Examples[len(set.Examples)-1].Gold; got != tc.gold {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.gold)
		}
	}
}

func TestColumnsThatAreNotThere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeFile(t, dir, "test.jsonl", []byte(`{"Body": "b", "Answer": "5"}`))
	_, err := Load(t.Context(), Spec{Path: dir})
	checkError(t, err, "line 1", `no key "question"`, `"Answer" "Body"`, "dataset.columns")
	_, err = Load(t.Context(), Spec{Path: dir, Columns: Columns{Question: "{Body", Answer: "Answer"}})
	checkError(t, err, "dataset.columns.question", "not closed")
}
