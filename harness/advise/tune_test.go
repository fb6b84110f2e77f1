package advise

import (
	"context"
	"io"
	"path/filepath"
	"slices"
	"testing"
)

func TestTuneMeasuresEveryWay(t *testing.T) {
	found, err := Tune(context.Background(), filepath.Join("..", "..", "models", "gsm-tiny"), "float32", io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, f := range found {
		seen[f.Keys()] = true
		if !(f.Rate > 0) || f.Rate > 1e7 {
			t.Errorf("%s: %v tokens/s", f.Keys(), f.Rate)
		}
	}
	if len(seen) < 4 || len(seen) != len(found) {
		t.Errorf("%d ways, %d of them different; want at least 4", len(found), len(seen))
	}
	if !slices.IsSortedFunc(found, func(a, b Tuning) int { return int(b.Rate - a.Rate) }) {
		t.Error("the fastest does not come first")
	}
}
