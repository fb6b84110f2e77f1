package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gsmeval/gsmeval/datasets"
	"github.com/gsmeval/gsmeval/internal/hub/hubtest"
	"github.com/gsmeval/gsmeval/results"
)

// bundledRepos are the bundled model and data set as repositories of a hub.
func bundledRepos(t *testing.T) (model, data *hubtest.Repo) {
	t.Helper()
	read := func(dir string) map[string][]byte {
		files := map[string][]byte{}
		entries, err := os.ReadDir(filepath.Join(moduleRoot(t), dir))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if files[e.Name()], err = os.ReadFile(filepath.Join(moduleRoot(t), dir, e.Name())); err != nil {
				t.Fatal(err)
			}
		}
		return files
	}
	modelFiles, dataFiles := read("models/gsm-tiny"), map[string][]byte{}
	modelFiles["pytorch_model.bin"] = []byte("must not be fetched")
	for name, data := range read("data/gsm-synth") {
		if split, ok := strings.CutSuffix(name, ".parquet"); ok {
			dataFiles["main/"+split+"-00000-of-00001.parquet"] = data
		}
	}
	model = &hubtest.Repo{
		Kind: "model", ID: "gsmeval-test/gsm-tiny", Revisions: map[string]string{"main": hubtest.Commit("model")},
		Commits: map[string]map[string][]byte{hubtest.Commit("model"): modelFiles},
	}
	data = &hubtest.Repo{
		Kind: "dataset", ID: "gsmeval-test/gsm-synth", Revisions: map[string]string{
			"main": hubtest.Commit("old"),
			"v1":   hubtest.Commit("data"),
		},
		Commits: map[string]map[string][]byte{
			hubtest.Commit("old"):  {"README.md": []byte("#")},
			hubtest.Commit("data"): dataFiles,
		},
	}
	return model, data
}

// A run whose model and data come from a hub gives what one from the disk gives; offline it does so again.
func TestHub(t *testing.T) {
	t.Parallel()
	model, data := bundledRepos(t)
	h := hubtest.New(t, model, data)
	dir := t.TempDir()
	gsmeval := func(env string, args ...string) (code int, stdout, stderr string) {
		var out, said bytes.Buffer
		cmd := exec.CommandContext(t.Context(), "gsmeval", args...)
		cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &out, &said
		cmd.Env = append(os.Environ(), "HF_ENDPOINT="+h.URL, "HF_HOME="+filepath.Join(dir, "home"), "HF_HUB_CACHE=",
			"HF_TOKEN=", "HF_HUB_OFFLINE=0", "OMP_NUM_THREADS=1", env)
		_ = cmd.Run() // the exit code tells
		return cmd.ProcessState.ExitCode(), out.String(), said.String()
	}
	run := func(env, output string, set ...string) []results.Record {
		args := []string{"run", "hub.yaml", "--set", "output=" + output}
		for _, s := range set {
			args = append(args, "--set", s)
		}
		if code, _, stderr := gsmeval(env, args...); code != 0 {
			t.Fatalf("%s: exit code %d\n%s", output, code, stderr)
		}
		info, err := results.ReadRun(filepath.Join(dir, output))
		if err != nil {
			t.Fatal(err)
		}
		var records []results.Record
		for r, err := range results.Read(filepath.Join(dir, output, results.JournalFile), info.Fingerprint) {
			if err != nil {
				t.Fatal(err)
			}
			r.Run = ""
			records = append(records, r)
		}
		return records
	}
	if err := os.WriteFile(filepath.Join(dir, "hub.yaml"), []byte(`model: {path: gsmeval-test/gsm-tiny}
dataset: {path: gsmeval-test/gsm-synth, revision: v1, limit: 4}
prompt: {style: plain, few_shot: 2}
generation: {max_new_tokens: 8}
noise: [{kind: activation, scale: 0.1}]
temperature: [{policy: constant_tstar}]
calibration: {prompts: 2, positions: 8, draws: 1}
threads: 1
`), 0o600); err != nil {
		t.Fatal(err)
	}
	root := moduleRoot(t)
	local := run("", "runs/local", "model.path="+root+"/models/gsm-tiny", "dataset.path="+root+"/data/gsm-synth",
		"dataset.revision=")
	if diff := cmp.Diff(local, run("", "runs/hub")); diff != "" || len(local) != 4 {
		t.Errorf("samples from the disk and from the hub (-disk +hub):\n%s", diff)
	}
	// The prompt is the two first rows of train, then the question; its hash is in the record.
	shots, err := datasets.Load(t.Context(), datasets.Spec{Path: root + "/data/gsm-synth", Split: "train", Limit: 2})
	if err != nil {
		t.Fatal(err)
	}
	questions, err := datasets.Load(t.Context(), datasets.Spec{Path: root + "/data/gsm-synth", Limit: 4})
	if err != nil {
		t.Fatal(err)
	}
	const form = "Question: %s\nLet me solve this step by step:\n%s"
	head := ""
	for _, e := range shots.Examples {
		head += fmt.Sprintf(form, e.Question, e.Answer+"\n\n")
	}
	for i, r := range local {
		sum := sha256.Sum256([]byte(head + fmt.Sprintf(form, questions.Examples[i].Question, "")))
		if want := hex.EncodeToString(sum[:6]); r.PromptSHA != want {
			t.Errorf("row %d has the prompt %s, want %s", r.ID, r.PromptSHA, want)
		}
	}
	info, err := results.ReadRun(filepath.Join(dir, "runs/hub"))
	want := map[string]string{
		"model gsmeval-test/gsm-tiny":     hubtest.Commit("model"),
		"data set gsmeval-test/gsm-synth": hubtest.Commit("data"),
	}
	if diff := cmp.Diff(want, info.Sources); diff != "" || err != nil {
		t.Errorf("error %v, sources (-want +got):\n%s", err, diff)
	}
	for _, r := range append(h.Asked(), h.Stored()...) {
		if strings.Contains(r.Path, "pytorch") {
			t.Errorf("the hub was asked for %s", r.Path)
		}
	}

	h.Forget()
	const offline = "HF_HUB_OFFLINE=1"
	if diff := cmp.Diff(local, run(offline, "runs/offline")); diff != "" {
		t.Errorf("samples from the disk and offline (-disk +offline):\n%s", diff)
	}
	for name, args := range map[string][]string{
		"prompt": {"prompt", "--model", "gsmeval-test/gsm-tiny", "--question", "2+2?", "--json"},
		"generate": {
			"generate", "--model", "gsmeval-test/gsm-tiny@main", "--prompt", "2+2?", "--max-new-tokens", "2",
			"--json",
		},
		"score": {"score", "runs/offline", "--dataset", "gsmeval-test/gsm-synth@v1", "--json"},
	} {
		code, stdout, stderr := gsmeval(offline, args...)
		if code != 0 || !json.Valid([]byte(stdout)) {
			t.Errorf("%s: exit code %d\n%s%s", name, code, stdout, stderr)
		}
	}
	if code, _, stderr := gsmeval(offline, "report", "runs/offline", "--out", "again.html"); code != 0 {
		t.Errorf("report: exit code %d\n%s", code, stderr)
	}
	first, err := os.ReadFile(filepath.Join(dir, "runs", "offline", "report.html"))
	again, errAgain := os.ReadFile(filepath.Join(dir, "again.html"))
	if err != nil || errAgain != nil || !bytes.Equal(first, again) ||
		bytes.Contains(first, []byte("The questions are not shown")) {
		t.Errorf("the report made from the cache is not the run's, or lacks the questions: %v, %v", err, errAgain)
	}
	if n := len(h.Asked()) + len(h.Stored()); n > 0 {
		t.Errorf("offline, the hub was asked %d times", n)
	}
	for _, tc := range []struct{ env, set, words string }{
		{
			"", "model.path=gsmeval-test/none",
			"gsmeval-test/none is not on this machine; from the hub: model gsmeval-test/none: not found",
		},
		{"", "dataset.revision=v7", `gsmeval-test/gsm-synth has no such revision "v7"`},
		{"", "dataset.revision=main", `no split "test"`},
		{"", "dataset.config=socratic", `no subset "socratic": it has main`},
		{"", "dataset.split=dev", `no split "dev": it has test, train`},
		{offline, "model.revision=v7", "HF_HUB_OFFLINE is set: model gsmeval-test/gsm-tiny@v7 is not in the cache"},
	} {
		code, _, stderr := gsmeval(tc.env, "run", "hub.yaml", "--set", tc.set, "--set", "output=runs/bad")
		if code != 1 || !strings.Contains(stderr, tc.words) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%s: exit code %d, expected one line that says %q:\n%s", tc.set, code, tc.words, stderr)
		}
	}
}
