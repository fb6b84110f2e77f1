package hub

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gsmeval/gsmeval/internal/hub/hubtest"
)

// python runs a program of the real huggingface_hub on a cache and returns the JSON that it prints.
func python(t *testing.T, h *hubtest.Hub, cache, program string, env ...string) map[string]any {
	t.Helper()
	interpreter := os.Getenv("GSMEVAL_PYTHON")
	if interpreter == "" {
		t.Skip("GSMEVAL_PYTHON names no Python with huggingface_hub (scripts/requirements-hub.txt)")
	}
	cmd := exec.CommandContext(t.Context(), interpreter, "-c",
		"import json, os, hashlib\nfrom huggingface_hub import *\n"+program)
	cmd.Env = append(os.Environ(), append([]string{
		"HF_ENDPOINT=" + h.URL, "HF_HUB_CACHE=" + cache, "HF_HOME=" + t.TempDir(), "HF_HUB_DISABLE_TELEMETRY=1",
		"HF_HUB_DISABLE_UPDATE_CHECK=1",
		"HF_TOKEN=", "HF_HUB_OFFLINE=0", "NO_PROXY=127.0.0.1",
	}, env...)...)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, &said)
	}
	answer := map[string]any{}
	if err := json.Unmarshal(out.Bytes(), &answer); err != nil {
		t.Fatalf("%v\n%s\n%s", err, &out, &said)
	}
	return answer
}

func dataRepo() *hubtest.Repo {
	files := map[string][]byte{
		"README.md": []byte("# data"), "main/test-00000-of-00001.parquet": large[:5000],
		"main/train-00000-of-00001.parquet":    large[5000:20000],
		"socratic/test-00000-of-00001.parquet": large[7:3000],
	}
	return &hubtest.Repo{
		Kind: "dataset", ID: "org/data", Revisions: map[string]string{"main": first},
		Commits: map[string]map[string][]byte{first: files},
	}
}

func testSplit(names []string, _ func(string) ([]byte, error)) ([]string, error) {
	var wanted []string
	for _, name := range names {
		if strings.HasPrefix(name, "main/test-") {
			wanted = append(wanted, name)
		}
	}
	return wanted, nil
}

var dataRef = Ref{Kind: Dataset, ID: "org/data", Revision: "main"}

// What is downloaded here, the Python library reads offline, and takes for its own when it is online.
func TestPythonReadsOurs(t *testing.T) {
	t.Parallel()
	h := hubtest.New(t, modelRepo(), dataRepo())
	c, _ := newClient(t, h)
	pr := model()
	pr.Revision = "refs/pr/1"
	for _, ref := range []Ref{model(), pr} {
		if _, err := c.Snapshot(t.Context(), ref, ModelFiles); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Snapshot(t.Context(), dataRef, testSplit); err != nil {
		t.Fatal(err)
	}
	h.Forget()
	got := python(t, h, c.Cache, `
def sha(path): return hashlib.sha256(open(path, "rb").read()).hexdigest()
def rel(path): return os.path.relpath(path, os.environ["HF_HUB_CACHE"])
info = scan_cache_dir()
print(json.dumps({
  "model": rel(snapshot_download("org/tiny", local_files_only=True)),
  "pr": rel(snapshot_download("org/tiny", revision="refs/pr/1", local_files_only=True)),
  "commit": rel(snapshot_download("org/tiny", revision="`+first+`", local_files_only=True)),
  "data": rel(snapshot_download("org/data", repo_type="dataset", local_files_only=True)),
  "weights": sha(hf_hub_download("org/tiny", "model.safetensors", local_files_only=True)),
  "config": sha(hf_hub_download("org/tiny", "config.json", local_files_only=True)),
  "test": sha(hf_hub_download("org/data", "main/test-00000-of-00001.parquet", repo_type="dataset", local_files_only=True)),
  "repos": sorted(f"{r.repo_type} {r.repo_id} {r.nb_files} {sorted(r.refs)}" for r in info.repos),
  "warnings": [str(w) for w in info.warnings],
}))`, "HF_HUB_OFFLINE=1")
	files := modelFiles()
	want := map[string]any{
		"model": "models--org--tiny/snapshots/" + first, "pr": "models--org--tiny/snapshots/" + second,
		"commit": "models--org--tiny/snapshots/" + first,
		"data":   "datasets--org--data/snapshots/" + first, "weights": hubtest.SHA256(large),
		"config": hubtest.SHA256(files["config.json"]), "test": hubtest.SHA256(large[:5000]),
		"repos": []any{"dataset org/data 1 ['main']", "model org/tiny 5 ['main', 'refs/pr/1']"}, "warnings": []any{},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Python finds (-want +got):\n%s", diff)
	}
	if n := len(h.Asked()) + len(h.Stored()); n > 0 {
		t.Errorf("offline, Python asked the hub %d times", n)
	}
	// Online it asks, and fetches nothing that is there.
	python(t, h, c.Cache,
		`print(json.dumps({"x": snapshot_download("org/tiny", allow_patterns=["*.json", "*.safetensors"])}))`)
	if got := h.Stored(); len(got) > 0 || len(h.Asked()) == 0 {
		t.Errorf("online, Python fetches %v", got)
	}
}

// What the Python library has downloaded is found here offline, and taken for our own online.
func TestPythonFillsTheCache(t *testing.T) {
	t.Parallel()
	h := hubtest.New(t, modelRepo(), dataRepo())
	c, _ := newClient(t, h)
	python(t, h, c.Cache, `
snapshot_download("org/tiny", allow_patterns=["*.json", "*.safetensors"])
snapshot_download("org/tiny", revision="refs/pr/1")
hf_hub_download("org/data", "main/test-00000-of-00001.parquet", repo_type="dataset")
print("{}")`)
	if got := h.Stored(); len(got) == 0 {
		t.Error("Python has fetched nothing")
	}
	for _, r := range h.Stored() {
		if r.Authorized {
			t.Errorf("a token in %v", r)
		}
	}
	for _, offline := range []bool{true, false} {
		h.Forget()
		c.Offline = offline
		for _, revision := range []string{"main", "refs/pr/1", first} {
			ref := model()
			ref.Revision = revision
			s, err := c.Snapshot(t.Context(), ref, ModelFiles)
			if err != nil {
				t.Fatal(err)
			}
			for name, want := range map[string][]byte{
				"model.safetensors": large,
				"config.json":       modelFiles()["config.json"],
			} {
				if data, err := os.ReadFile(filepath.Join(s.Dir, name)); err != nil || !bytes.Equal(data, want) {
					t.Errorf("%s %s has %d bytes, error %v", revision, name, len(data), err)
				}
			}
		}
		s, err := c.Snapshot(t.Context(), dataRef, testSplit)
		if err != nil {
			t.Fatal(err)
		}
		if data, err := os.ReadFile(filepath.Join(s.Dir, "main", "test-00000-of-00001.parquet")); err != nil ||
			!bytes.Equal(data, large[:5000]) {
			t.Errorf("the data has %d bytes, error %v", len(data), err)
		}
		if offline && len(h.Asked()) > 0 || len(h.Stored()) > 0 {
			t.Errorf("offline %v: the hub was asked %v, the store %v", offline, h.Asked(), h.Stored())
		}
	}
	ref := model()
	ref.Revision = "v1" // known to the hub, never downloaded
	c.Offline = true
	_, err := c.Snapshot(t.Context(), ref, ModelFiles)
	checkError(t, err, ErrNotCached)
}
