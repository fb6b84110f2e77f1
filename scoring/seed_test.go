package scoring

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"github.com/gsmeval/gsmeval/internal/finish"
)

// seedGolden is what scripts/goldens/scoring_seed.py writes.
type seedGolden struct {
	Made, Python, Unicode string
	Spaces                []rune
	Extract               []struct {
		Text  string
		Value *string
		Rung  string
		Span  []int
	}
	Gold []struct {
		Text  string
		Value *string
	}
	Match [][3]any
}

func readSeedGolden(t *testing.T) seedGolden {
	t.Helper()
	data, err := os.ReadFile("testdata/seed_golden.json")
	if err != nil {
		t.Fatal(err)
	}
	var g seedGolden
	if err := json.Unmarshal(data, &g); err != nil {
		t.Fatal(err)
	}
	t.Logf("goldens of %s by Python %s, Unicode %s", g.Made, g.Python, g.Unicode)
	return g
}

func ladder(t testing.TB, name string) Ladder {
	t.Helper()
	l, err := LadderByName(name)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestSeedReadsLikeTheNotebook(t *testing.T) {
	t.Parallel()
	seed := ladder(t, "seed")
	for _, c := range readSeedGolden(t).Extract {
		v := seed.Score(Text{Text: c.Text, Finish: finish.Stop}, "0")
		if c.Value == nil {
			if v.Found || v.Status != StatusNoAnswer || v.Correct {
				t.Errorf("%q: read %+v, the notebook reads nothing", c.Text, v)
			}
			continue
		}
		if !v.Found || v.Status != StatusOK || v.Answer.Value != *c.Value || v.Answer.Rung != c.Rung {
			t.Errorf("%q: read %+v, the notebook reads %q by %s", c.Text, v, *c.Value, c.Rung)
		}
		if span := []int{v.Answer.Start, v.Answer.End}; c.Span != nil && !slices.Equal(span, c.Span) {
			t.Errorf("%q: the answer is at %v, want %v", c.Text, span, c.Span)
		}
		if got := strings.ReplaceAll(c.Text[v.Answer.Start:v.Answer.End], ",", ""); got != *c.Value {
			t.Errorf("%q: %q is marked as the answer %q", c.Text, got, *c.Value)
		}
	}
}

func TestMatchIsTheNotebooks(t *testing.T) {
	t.Parallel()
	for _, c := range readSeedGolden(t).Match {
		pred, gold, want := c[0].(string), c[1].(string), c[2].(bool)
		if got := Match(pred, gold); got != want {
			t.Errorf("Match(%q, %q) = %v, the notebook says %v", pred, gold, got, want)
		}
	}
}

func TestGold(t *testing.T) {
	t.Parallel()
	for _, c := range readSeedGolden(t).Gold {
		if strings.Count(c.Text, "####") > 1 {
			continue // the first of two answers for the notebook, no answer for us: TestGoldIsWhole
		}
		got, err := Gold(c.Text)
		if (err != nil) != (c.Value == nil) {
			t.Errorf("Gold(%q): error %v", c.Text, err)
		}
		if c.Value != nil && got != *c.Value {
			t.Errorf("Gold(%q) = %q, the notebook reads %q", c.Text, got, *c.Value)
		}
	}
	// The notebook would score against these, and nothing could be right.
	for _, text := range []string{"#### ,", "#### -", "#### ...", "#### 1-2"} {
		if got, err := Gold(text); err == nil {
			t.Errorf("Gold(%q) = %q, want an error", text, got)
		}
	}
}

func TestPythonSpaces(t *testing.T) {
	t.Parallel()
	var got []rune
	for r := range unicode.MaxRune + 1 {
		if isPySpace(r) {
			got = append(got, r)
		}
	}
	if diff := cmp.Diff(readSeedGolden(t).Spaces, got); diff != "" {
		t.Errorf("white space (-Python +ours):\n%s", diff)
	}
	// The expressions spell the same set out.
	for _, r := range got {
		if _, ok := seedRungs()[0].Find("####" + string(r) + "1"); !ok {
			t.Errorf("%U is not white space to the expressions", r)
		}
	}
}

// What a status is, for a ladder that scores whatever rung fires.
func TestSeedStatus(t *testing.T) {
	t.Parallel()
	seed := ladder(t, "seed")
	for _, tc := range []struct {
		name string
		c    Text
		want Verdict
	}{
		{
			"finished",
			Text{Text: "#### 18", Finish: finish.Stop},
			Verdict{StatusOK, Answer{"18", "hash", 5, 7}, true, true},
		},
		{"finish unknown means stop", Text{Text: "#### 18"}, Verdict{StatusOK, Answer{"18", "hash", 5, 7}, true, true}},
		{
			"wrong",
			Text{Text: "#### 17", Finish: finish.Stop},
			Verdict{StatusOK, Answer{"17", "hash", 5, 7}, true, false},
		},
		{"nothing", Text{Text: "none", Finish: finish.Stop}, Verdict{Status: StatusNoAnswer}},
		{
			"truncated at the last number",
			Text{Text: "so 18", Finish: finish.Length},
			Verdict{StatusTruncated, Answer{"18", "last_number", 3, 5}, true, true},
		},
		{"truncated before any", Text{Text: "so", Finish: finish.Length}, Verdict{Status: StatusTruncated}},
		{"not finite", Text{Text: "#### 18", Finish: finish.Nonfinite}, Verdict{Status: StatusNonfinite}},
		{"failed", Text{Text: "#### 18", Finish: finish.Failed}, Verdict{Status: StatusError}},
		{"unknown finish", Text{Text: "#### 18", Finish: "melted"}, Verdict{Status: StatusError}},
	} {
		if diff := cmp.Diff(tc.want, seed.Score(tc.c, "18")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, diff)
		}
	}
	counted := map[Status]bool{
		StatusOK: true, StatusNoAnswer: true, StatusTruncated: true, StatusNonfinite: false,
		StatusError: false,
	}
	for s, want := range counted {
		if s.Counted() != want {
			t.Errorf("%s counted: %v", s, !want)
		}
	}
}

func TestLadderByName(t *testing.T) {
	t.Parallel()
	for _, name := range LadderNames() {
		if l := ladder(t, name); l.Name != name || len(l.Rungs) == 0 {
			t.Errorf("%s: %+v", name, l)
		}
	}
	if _, err := LadderByName("sed"); err == nil || !strings.Contains(err.Error(), "seed") {
		t.Errorf("an unknown ladder: %v", err)
	}
}
