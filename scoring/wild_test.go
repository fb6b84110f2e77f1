package scoring

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// wild is a text as a model wrote it, and whether a careful person would call it right.
type wild struct {
	Name, Gold, Text string
	Right            bool
}

// The kinds of text that evaluators are known to misread.
func TestWild(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/wild.txt")
	if err != nil {
		t.Fatal(err)
	}
	var cases []wild
	kind := ""
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSuffix(line, "\n")
		if name, ok := strings.CutPrefix(line, "## "); ok {
			kind = name
		}
		parts := strings.SplitN(line, " | ", 3)
		if len(parts) != 3 {
			continue
		}
		text := strings.NewReplacer(`\\`, `\`, `\n`, "\n").Replace(parts[2])
		cases = append(cases, wild{Name: kind, Gold: parts[1], Text: text, Right: parts[0] == "yes"})
	}
	checkWild(t, cases, 0)
}

// The texts that other evaluators' users reported.
func TestWildReported(t *testing.T) {
	t.Parallel()
	shared := os.Getenv("GSMEVAL_SHARED")
	if shared == "" {
		t.Skip("GSMEVAL_SHARED is not set: the reported texts are not at hand")
	}
	f, err := os.Open(filepath.Join(shared, "cases", "answers.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // read only
	var cases []wild
	for scan := bufio.NewScanner(f); scan.Scan(); {
		var c wild
		if err := json.Unmarshal(scan.Bytes(), &c); err != nil {
			t.Fatal(err)
		}
		cases = append(cases, c)
	}
	checkWild(t, cases, 2)
}

// checkWild scores the cases; most of them may differ.
func checkWild(t *testing.T, cases []wild, most int) {
	t.Helper()
	if len(cases) == 0 {
		t.Fatal("there are no cases")
	}
	robust := ladder(t, "robust")
	wrong := 0
	for _, c := range cases {
		v := robust.Score(Text{Text: c.Text}, c.Gold)
		if v.Correct == c.Right {
			continue
		}
		wrong++
		t.Logf("%s: %q: read %q by %s, gold %s: right is %v", c.Name, c.Text, v.Answer.Value, v.Answer.Rung, c.Gold,
			c.Right)
	}
	t.Logf("%d of %d texts differ", wrong, len(cases))
	if wrong > most {
		t.Errorf("%d of %d texts differ, at most %d may", wrong, len(cases), most)
	}
}
