package session

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gsmeval/gsmeval/internal/hub"
)

// What is there is a path; what could be one in a directory that is there is a path, too; the rest is an id on the hub.
func TestLocate(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, dir := range []string{"models/tiny", "org/there"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct{ name, revision, want, words string }{
		{name: "models/tiny"},
		{name: "org/there"},
		{name: "nowhere"},
		{name: "./a/b"},
		{name: "a/b/c"},
		{name: "data/*.parquet"},
		{name: "a/b.jsonl"},
		{name: "a/b.parquet"},
		{name: "Qwen/Qwen2.5-0.5B", want: "Qwen/Qwen2.5-0.5B@main"},
		{name: "Qwen/Qwen2.5-0.5B@v1", want: "Qwen/Qwen2.5-0.5B@v1"},
		{name: "Qwen/Qwen2.5-0.5B", revision: "v1", want: "Qwen/Qwen2.5-0.5B@v1"},
		{name: "Qwen/Qwen2.5-0.5B@v1", revision: "v1", want: "Qwen/Qwen2.5-0.5B@v1"},
		{name: "models/other@main", want: "models/other@main"},
		{name: "models/other", revision: "main", want: "models/other@main"},

		{
			name:  "models/tinny",
			words: "no such file or directory in models/ (if the model of this name on the hub is meant, write models/tinny@main)",
		},
		{
			name: "models/tiny", revision: "v1",
			words: "the revision v1 is for an id on the hub, but models/tiny is a local path",
		},
		{name: "nowhere", revision: "v1", words: "expected org/name"},
		{name: "a/b@v1", revision: "v2", words: "a/b@v1 names the revision v1, the config v2"},
	} {
		ref, fromHub, err := locate(hub.Model, tc.name, tc.revision)
		if tc.words != "" {
			if err == nil || !strings.Contains(err.Error(), tc.words) {
				t.Errorf("%s (%s): error %v does not say %q", tc.name, tc.revision, err, tc.words)
			}
			continue
		}
		got := ""
		if fromHub {
			got = ref.String()
		}
		if got != tc.want || err != nil {
			t.Errorf("%s (%s) is %q, error %v, want %q", tc.name, tc.revision, got, err, tc.want)
		}
	}
}

// Offline and never downloaded: one line that says both.
func TestLocateOffline(t *testing.T) {
	t.Setenv("HF_HUB_OFFLINE", "1")
	t.Setenv("HF_HUB_CACHE", filepath.Join(t.TempDir(), "cache"))
	_, err := NewLocator(&bytes.Buffer{}).Model(t.Context(), "Qwen/Qwen2.5-0.5B", "")
	for _, words := range []string{
		"Qwen/Qwen2.5-0.5B is not on this machine", "HF_HUB_OFFLINE is set",
		"not in the cache", os.Getenv("HF_HUB_CACHE"),
	} {
		if err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("error %v does not say %q", err, words)
		}
	}
}
