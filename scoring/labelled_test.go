package scoring_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/gsmeval/gsmeval/datasets"
	"github.com/gsmeval/gsmeval/internal/finish"
	"github.com/gsmeval/gsmeval/scoring"
)

// Both ladders against people's verdicts on real solutions.
func TestLabelledSolutions(t *testing.T) {
	t.Parallel()
	shared := os.Getenv("GSMEVAL_SHARED")
	if shared == "" {
		t.Skip("GSMEVAL_SHARED is not set: the labelled solutions are not at hand")
	}
	set, err := datasets.Load(t.Context(), datasets.Spec{Path: filepath.Join(shared, "gsm8k")})
	if err != nil {
		t.Fatal(err)
	}
	texts, err := datasets.ReadTexts(filepath.Join(shared, "gsm8k", "solutions-even.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	agreed := make(map[string]int)
	for _, text := range texts {
		var label struct {
			Source  string
			Correct *bool `json:"is_correct"`
		}
		if err := json.Unmarshal(text.Raw, &label); err != nil || label.Correct == nil {
			t.Fatalf("no label in %s: %v", text.Raw, err)
		}
		gold := set.Examples[text.ID].Gold
		for _, name := range scoring.LadderNames() {
			ladder, err := scoring.LadderByName(name)
			if err != nil {
				t.Fatal(err)
			}
			v := ladder.Score(scoring.Text{Text: text.Text, Finish: finish.Reason(text.Finish)}, gold)
			if v.Correct == *label.Correct {
				agreed[name]++
				continue
			}
			t.Logf("%s on %d by %s: read %q, gold %s, people say %v: ...%q",
				name, text.ID, label.Source, v.Answer.Value, gold, *label.Correct,
				text.Text[max(0, len(text.Text)-20):])
		}
	}
	for name, least := range map[string]float64{"seed": 0.998, "robust": 1} {
		share := float64(agreed[name]) / float64(len(texts))
		t.Logf("%s agrees on %d of %d: %.2f %%", name, agreed[name], len(texts), 100*share)
		if share < least {
			t.Errorf("%s agrees on %.4f, want %.4f", name, share, least)
		}
	}
}
