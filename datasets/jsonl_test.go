package datasets

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const goodLine = `{"question": "q", "answer": "#### 1"}`

func TestJSONL(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		text  string
		want  [][]string
		words []string
	}{
		{"a row", goodLine + "\n", [][]string{{"q", "#### 1"}}, nil},
		{"no newline at the end", goodLine, [][]string{{"q", "#### 1"}}, nil},
		{
			"Windows lines, a mark and blank lines", "\ufeff" + goodLine + "\r\n\r\n" + goodLine + "\r\n \n",
			[][]string{{"q", "#### 1"}, {"q", "#### 1"}},
			nil,
		},
		{
			"other keys", `{"id": 3, "answer": "#### \u0031", "question": "\u00e9\n", "Answer": [1, {"answer": 2}]}`,
			[][]string{{"é\n", "#### 1"}},
			nil,
		},
		{"nothing", "", nil, nil},

		{"not JSON", goodLine + "\nquestion\n", nil, []string{"line 2", "not a JSON object"}},
		{"a list", `["q", "a"]`, nil, []string{"line 1", "not a JSON object"}},
		{"cut", goodLine + "\n\n" + goodLine[:20], nil, []string{"line 3", "not closed"}},
		{"two objects", goodLine + goodLine, nil, []string{"line 1", "more than one"}},
		{"rest", goodLine + "x", nil, []string{"line 1", "more than one"}},
		{"bad escape", `{"question": "\x"}`, nil, []string{"line 1", "not JSON"}},
		{"no answer", `{"question": "q"}`, nil, []string{"line 1", `no key "answer"`, "dataset.columns"}},
		{"another case", `{"Question": "q", "answer": "#### 1"}`, nil, []string{"line 1", `no key "question"`}},
		{"a number", `{"question": "q", "answer": 145.0}`, [][]string{{"q", "145.0"}}, nil},
		{"null", `{"question": null, "answer": "#### 1"}`, nil, []string{"line 1", `"question" is not a string`}},
		{"an object", `{"question": "q", "answer": {"value": 1}}`, nil, []string{"line 1", `"answer" is not a string`}},
		{
			"a key twice", `{"question": "q", "answer": "#### 1", "answer": "#### 2"}`, nil,
			[]string{"line 1", `"answer" is there twice`},
		},
		{
			"not UTF-8", goodLine + "\n{\"question\": \"\xff\", \"answer\": \"#### 1\"}", nil,
			[]string{"line 2", "not UTF-8"},
		},
		{
			"surrogate pairs, and what only looks like half of one",
			`{"question": "\ud83d\ude00 \\ud800 \\\ud83d\uDE00\n", "answer": "#### 1", "other": "\ud800"}`,
			[][]string{{"\U0001F600 \\ud800 \\\U0001F600\n", "#### 1"}},
			nil,
		},
		{"half a pair", `{"question": "a\ud800", "answer": "#### 1"}`, nil, []string{"line 1", `"question"`, "surrogate"}},
		{"the other half", `{"question": "q", "answer": "\udc00#### 1"}`, nil, []string{"line 1", "surrogate"}},
		{"two first halves", `{"question": "\ud83d\ud83d\ude00", "answer": "#### 1"}`, nil, []string{"surrogate"}},
		{
			"a long line", goodLine + "\n" + strings.Repeat(" ", maxLineBytes+1), nil,
			[]string{"line 2", "more than 10485760 bytes"},
		},
		{"deep", `{"x": ` + strings.Repeat("[", 1<<16), nil, []string{"line 1", "not JSON"}},
	} {
		got, _, err := readJSONL(t.Context(), []byte(tc.text), usual)
		if tc.words != nil {
			checkError(t, err, tc.words...)
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, diff)
		}
	}
}

func TestJSON(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, text string
		want       [][]string
		words      []string
	}{
		{
			"a list", "\ufeff[\n  " + goodLine + ",\n" + strings.ReplaceAll(goodLine, "1", "2") + "]\n",
			[][]string{{"q", "#### 1"}, {"q", "#### 2"}},
			nil,
		},
		{"lines", goodLine + "\n" + goodLine, [][]string{{"q", "#### 1"}, {"q", "#### 1"}}, nil},
		{"an empty list", "[]", nil, nil},
		{"not closed", "[" + goodLine, nil, []string{"list is not closed"}},
		{"cut", "[" + goodLine + "," + goodLine[:20], nil, []string{"record 1", "not JSON"}},
		{"rest", "[" + goodLine + "]" + goodLine, nil, []string{"something follows"}},
		{"no objects", "[1]", nil, []string{"record 0", "not a JSON object"}},
		{"no answer", `[{"question": "q"}]`, nil, []string{"record 0", `no key "answer"`}},
		{
			"an object of lists", `{"question": ["q"], "answer": ["#### 1"]}`, nil,
			[]string{"line 1", `"question" is not a string`},
		},
	} {
		got, _, err := readJSON(t.Context(), []byte(tc.text), usual)
		if tc.words != nil {
			checkError(t, err, tc.words...)
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, diff)
		}
	}
	files := []string{"test.json", "test.jsonl", "train.json"}
	for split, want := range map[string]string{"test": "test.jsonl", "train": "train.json"} {
		if got, err := SplitFiles(files, split, ""); err != nil || len(got) != 1 || got[0] != want {
			t.Errorf("%s: %v, %v", split, got, err)
		}
	}
}

func TestLoadChecksRows(t *testing.T) {
	t.Parallel()
	for text, words := range map[string][]string{
		"": {"no rows"},
		goodLine + "\n" + `{"question": "q", "answer": "1"}`:                 {"line 2", "####"},
		"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 5\n": {"git-lfs pointer", "git lfs pull"},
		goodLine + "\n" + `{"question": "q", "answer": "#### -"}`:            {"line 2", "not a number"},
		goodLine + "\n" + `{"question": " ", "answer": "#### 1"}`:            {"line 2", "question is empty"},
		"\n" + goodLine + "\n\n" + `{"question": " ", "answer": "#### 1"}`:   {"line 4", "question is empty"},
		"\n" + goodLine + "\n\n" + `{"question": "q", "answer": "1"}`:        {"line 4", "####"},
	} {
		dir := t.TempDir()
		writeFile(t, dir, "test.jsonl", []byte(text))
		_, err := Load(t.Context(), Spec{Path: dir, Limit: 1})
		checkError(t, err, append(words, "test.jsonl")...)
	}
	dir := t.TempDir() // of a list the records are counted, from 0
	writeFile(t, dir, "test.json", []byte("["+goodLine+",\n\n"+`{"question": "q", "answer": "1"}`+"]"))
	_, err := Load(t.Context(), Spec{Path: dir})
	checkError(t, err, "record 1", "####")
	// The same lines as JSON, after blank ones.
	writeFile(t, dir, "train.json", []byte("\n\n"+goodLine+"\n"+`{"question": "q", "answer": "1"}`))
	_, err = Load(t.Context(), Spec{Path: dir, Split: "train"})
	checkError(t, err, "line 4", "####")
}

func TestReadTexts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	lines := []string{
		`{"id": 3, "text": "#### 18"}`,
		`{"id":0,"text":"","finish":"length","source":{"a":1}}`,
		`{"id": 3, "text": "again", "finish": null}`,
		`{"finish": "stop", "text": "\u00e9", "id": 1, "question_sha": "0a1b"}`,
	}
	writeFile(t, dir, "texts.jsonl", []byte(strings.Join(lines, "\n")))
	got, err := ReadTexts(filepath.Join(dir, "texts.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	want := []Text{
		{3, "#### 18", "stop", "", []byte(lines[0])},
		{0, "", "length", "", []byte(lines[1])},
		{3, "again", "stop", "", []byte(lines[2])},
		{1, "é", "stop", "0a1b", []byte(lines[3])},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("texts (-want +got):\n%s", diff)
	}
	for i, tc := range []struct {
		text  string
		words []string
	}{
		{"", []string{"no texts"}},
		{`{"text": "x"}`, []string{"line 1", `no key "id"`}},
		{`{"id": "3", "text": "x"}`, []string{"line 1", `"id" is "3"`, "row number"}},
		{`{"id": 1.5, "text": "x"}`, []string{"line 1", "row number"}},
		{`{"id": -1, "text": "x"}`, []string{"line 1", "row number"}},
		{`{"id": null, "text": "x"}`, []string{"line 1", "row number"}},
		{`{"id": 1e30, "text": "x"}`, []string{"line 1", "row number"}},
		{lines[0] + "\n" + `{"id": 1}`, []string{"line 2", `no key "text"`}},
		{`{"id": 1, "text": 5}`, []string{"line 1", `"text" is not a string`}},
		{`{"id": 1, "text": "x", "finish": "eos"}`, []string{"line 1", `"eos"`, `"stop" or "length"`}},
		{`{"id": 1, "text": "x", "question_sha": 1}`, []string{"line 1", `"question_sha" is not a string`}},
		{`{"id": 1, "text": "x", "finish": 1}`, []string{"line 1", `"finish" is not a string`}},
	} {
		name := fmt.Sprintf("bad%d.jsonl", i)
		writeFile(t, dir, name, []byte(tc.text))
		_, err := ReadTexts(filepath.Join(dir, name))
		checkError(t, err, append(tc.words, name)...)
	}
	_, err = ReadTexts(filepath.Join(dir, "none.jsonl"))
	checkError(t, err, "none.jsonl", "no such file")
}

func FuzzJSONL(f *testing.F) {
	f.Add([]byte(goodLine))
	f.Add([]byte("\ufeff{\"id\": 1, \"text\": \"x\", \"finish\": \"length\"}\r\n\n{}"))
	f.Add([]byte(`{"question": "\ud800", "answer": {"a": [1, null, true, 1e5]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		rows, _, err := readJSONL(context.Background(), data, usual)
		if err == nil && len(rows) > bytes.Count(data, []byte("\n"))+1 {
			t.Errorf("%d rows in %q", len(rows), data)
		}
		if rows, _, err := readJSON(context.Background(), data, usual); err == nil && len(rows) > len(data) {
			t.Errorf("%d rows in %q", len(rows), data)
		}
		err = eachLine(context.Background(), bytes.NewReader(data),
			func(_ int, _ []byte, keys map[string]json.RawMessage) error {
				text, err := parseText(keys)
				if err == nil && (text.ID < 0 || (text.Finish != "stop" && text.Finish != "length")) {
					t.Errorf("%+v", text)
				}
				return err
			})
		if err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("error %q has several lines", err)
		}
	})
}
