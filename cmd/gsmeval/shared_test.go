package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/gsmeval/gsmeval/datasets"
	"github.com/gsmeval/gsmeval/results"
)

// TestRealGSM8K reads the published GSM8K and runs some of it. GSMEVAL_SHARED is a folder that holds it as gsm8k.
func TestRealGSM8K(t *testing.T) {
	t.Parallel()
	shared := os.Getenv("GSMEVAL_SHARED")
	if shared == "" {
		t.Skip("GSMEVAL_SHARED is not set; it names a folder with the real GSM8K in gsm8k/")
	}
	path := filepath.Join(shared, "gsm8k")
	set, err := datasets.Load(t.Context(), datasets.Spec{Path: path, Split: "test"})
	if err != nil {
		t.Fatal(err)
	}
	const rows = 1319
	if len(set.Examples) != rows {
		t.Errorf("%d rows, want %d", len(set.Examples), rows)
	}
	for i, e := range set.Examples {
		_, err := strconv.ParseFloat(strings.ReplaceAll(e.Gold, ",", ""), 64)
		if e.ID != i || e.Question == "" || err != nil {
			t.Errorf("row %d has id %d, question %q and gold answer %q", i, e.ID, e.Question, e.Gold)
		}
	}

	root := moduleRoot(t)
	config := filepath.Join(t.TempDir(), "real.yaml")
	text := "model: {path: " + filepath.Join(root, "models", "gsm-tiny") + "}\ndataset: {path: " + path +
		", limit: 3}\n" +
		"generation: {max_new_tokens: 16, batch_size: 4}\nthreads: 1\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "run")
	out, err := exec.CommandContext(t.Context(), "gsmeval", "run", config, "--set", "output="+dir).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	samples, err := results.LoadSet(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := samples.Table().Rows[0].Samples; got != 3 {
		t.Errorf("%d samples, want 3", got)
	}
}
