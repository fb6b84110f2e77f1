package builtin_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gsmeval/gsmeval/internal/builtin"
	"github.com/gsmeval/gsmeval/internal/config"
)

func home(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(builtin.HomeVariable, root)
	return root
}

func TestPath(t *testing.T) {
	root := home(t)
	for _, tc := range []struct {
		kind       builtin.Kind
		name, want string
	}{
		{builtin.Model, "builtin:gsm-tiny", filepath.Join(root, "models/gsm-tiny")},
		{builtin.Data, "builtin:gsm-synth", filepath.Join(root, "data/gsm-synth")},
		{builtin.Model, "models/gsm-tiny", "models/gsm-tiny"},
		{builtin.Model, "org/builtin:x", "org/builtin:x"},
	} {
		if got, err := builtin.Path(tc.kind, tc.name); got != tc.want || err != nil {
			t.Errorf("%s is at %q, error %v, want %q", tc.name, got, err, tc.want)
		}
	}
	for _, tc := range []struct {
		kind        builtin.Kind
		name, words string
	}{
		{builtin.Model, "builtin:gsm-synth", "builtin:gsm-synth is not bundled; the bundled model is builtin:gsm-tiny"},
		{builtin.Data, "builtin:", "the bundled data set is builtin:gsm-synth"},
	} {
		if _, err := builtin.Path(tc.kind, tc.name); err == nil || !strings.Contains(err.Error(), tc.words) {
			t.Errorf("%s: error %v does not say %q", tc.name, err, tc.words)
		}
	}
}

// A program that was moved away from what it came with says where it looked.
func TestNotThere(t *testing.T) {
	dir := t.TempDir()
	t.Setenv(builtin.HomeVariable, dir)
	_, err := builtin.Path(builtin.Model, "builtin:gsm-tiny")
	_, err2 := builtin.Configs()
	for _, err := range []error{err, err2} {
		if err == nil || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), builtin.HomeVariable) {
			t.Errorf("error %v does not say where it looked and what to do", err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "configs"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := builtin.Configs(); err == nil || !strings.Contains(err.Error(), "there are no configs in") {
		t.Errorf("no configs: error %v", err)
	}
}

// Every config that a new folder gets loads, and none names a place that only a checkout has.
func TestConfigs(t *testing.T) {
	home(t)
	configs, err := builtin.Configs()
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range configs {
		c, err := config.Parse(name, text, config.Options{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		// SmolLM2 is fetched by make smollm2, and nowhere else.
		if strings.HasPrefix(c.Model.Path, "models/") && c.Model.Path != "models/smollm2.gguf" ||
			strings.HasPrefix(c.Dataset.Path, "data/") {
			t.Errorf("%s: model %s, data %s", name, c.Model.Path, c.Dataset.Path)
		}
	}
	first, ok := configs["first_light.yaml"]
	if !ok || !strings.Contains(string(first), "{path: builtin:gsm-tiny}") ||
		!strings.Contains(string(first), "{path: builtin:gsm-synth,") {
		t.Errorf("first_light.yaml: %s", first)
	}
}
