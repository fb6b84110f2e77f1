package datasets

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func gsm8k(t *testing.T) string {
	t.Helper()
	shared := os.Getenv("GSMEVAL_SHARED")
	if shared == "" {
		t.Skip("GSMEVAL_SHARED is not set: the real GSM8K is not at hand")
	}
	return filepath.Join(shared, "gsm8k")
}

// The facts of the real test split, as others have counted them.
func TestGSM8K(t *testing.T) {
	t.Parallel()
	dir := gsm8k(t)
	test, err := Load(t.Context(), Spec{Path: dir})
	if err != nil {
		t.Fatal(err)
	}
	train, err := Load(t.Context(), Spec{Path: dir, Split: "train"})
	if err != nil {
		t.Fatal(err)
	}
	if len(test.Examples) != 1319 || len(train.Examples) != 7473 {
		t.Errorf("%d test and %d train rows, want 1319 and 7473", len(test.Examples), len(train.Examples))
	}
	commas, questions, nonASCII, percent, single := 0, make(map[string]bool), 0, 0, 0
	negative := map[int]string{}
	for _, e := range test.Examples {
		if _, number, _ := strings.Cut(e.Answer, "####"); strings.Contains(number, ",") {
			commas++
		}
		if strings.HasPrefix(e.Gold, "-") {
			negative[e.ID] = e.Gold
		}
		if strings.ContainsFunc(e.Question, func(r rune) bool { return r > 127 }) {
			nonASCII++
		}
		if strings.Contains(strings.ToLower(e.Question), "percent") {
			percent++
		}
		if len(strings.TrimPrefix(e.Gold, "-")) == 1 {
			single++
		}
		questions[e.Question] = true
	}
	if commas != 14 || len(questions) != 1319 || nonASCII != 60 || single != 253 || percent != 28 ||
		len(negative) != 2 || negative[489] != "-10" || negative[1113] != "-3" {
		t.Errorf("commas %d, questions %d, non-ASCII %d, one digit %d, percent %d, negative %v", commas, len(questions),
			nonASCII, single, percent, negative)
	}
}
