package results

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func testInfo(meta Meta) *RunInfo {
	return &RunInfo{
		Schema: RunSchema, Name: meta.Name, Fingerprint: meta.Fingerprint, Status: RunComplete,
		Config:   json.RawMessage(`{"name":"small","seed":42}`),
		Hashes:   map[string]string{"weights": "ab12", "data": "cd34"},
		Versions: map[string]string{"gsmeval": "0.1.0", "libtorch": "2.11.0"},
		Device:   "cpu", Threads: 2, Meta: meta,
		Schedules: []Schedule{{SHA: "ef", T: []float64{1.25, 1.2, 1.1999999999999997}}},
		Started:   time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		Finished:  time.Date(2026, 1, 2, 4, 4, 5, 0, time.UTC),
		Timings:   map[string]float64{"decode": 3599.5},
		Attempts:  3,
	}
}

func TestRunRoundTrip(t *testing.T) {
	t.Parallel()
	meta, records := smallRun(Noise{Label: "weight", Kind: "weight", Chips: true}, "rw/rr", "rr/ww")
	meta.Settings[SettingLadder] = "seed"
	dir := t.TempDir()
	want := testInfo(meta)
	if err := want.Write(dir); err != nil {
		t.Fatal(err)
	}
	got, err := ReadRun(dir)
	if err != nil {
		t.Fatal(err)
	}
	// The config is laid out anew; its content is what counts.
	var config map[string]any
	if err := json.Unmarshal(got.Config, &config); err != nil || config["seed"] != 42.0 {
		t.Errorf("config %s, %v", got.Config, err)
	}
	got.Config = want.Config
	if diff := cmp.Diff(want, got, sameFloats); diff != "" {
		t.Errorf("run (-written +read):\n%s", diff)
	}
	j, err := Open(filepath.Join(dir, JournalFile), testRun)
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Append(records); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	source, err := LoadSource(dir)
	if err != nil {
		t.Fatal(err)
	}
	if source.Name != dir || source.Set.Table().Rows[1].Correct != 2 || source.Set.Meta().Name != "small" {
		t.Errorf("source %+v", source)
	}
	if err := source.Set.Table().WriteAll(dir); err != nil {
		t.Fatal(err)
	}
	table, err := LoadSource(filepath.Join(dir, "table.json"))
	if err != nil || table.Table == nil || table.Set != nil {
		t.Errorf("source %+v, %v", table, err)
	}
}

func TestReadRunRefuses(t *testing.T) {
	t.Parallel()
	meta, _ := smallRun(Noise{Label: "none", Kind: KindNone}, "rw")
	dir := t.TempDir()
	if err := testInfo(meta).Write(dir); err != nil {
		t.Fatal(err)
	}
	good := string(readFile(t, filepath.Join(dir, RunFile)))
	for name, c := range map[string][3]string{
		"schema":      {`"schema": 1`, `"schema": 3`, "schema is 3"},
		"status":      {`"status": "complete"`, `"status": "done"`, `status "done"`},
		"fingerprint": {`"fingerprint": "f00dfeed"`, `"fingerprint": "x"`, "that of its description"},
		"unknown key": {`"name"`, `"colour": 1, "name"`, "unknown field"},
		"examples":    {`"examples": 2`, `"examples": -2`, "-2 examples"},
		"cut short":   {"\n  \"timings\"", "", "invalid"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if !strings.Contains(good, c[0]) {
				t.Fatalf("run.json has no %s", c[0])
			}
			dir := t.TempDir()
			writeFile(t, filepath.Join(dir, RunFile), []byte(strings.Replace(good, c[0], c[1], 1)))
			_, err := ReadRun(dir)
			if err == nil || !strings.Contains(err.Error(), c[2]) || !strings.Contains(err.Error(), dir) {
				t.Errorf("%v, want %q", err, c[2])
			}
		})
	}
	if _, err := ReadRun(t.TempDir()); !errors.Is(err, fs.ErrNotExist) ||
		!strings.Contains(err.Error(), "is not a run directory") {
		t.Errorf("an empty directory: %v", err)
	}
	if _, err := LoadSource(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing path: %v", err)
	}
	if _, err := LoadSet(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a run without samples: %v", err)
	}
	bad := testInfo(meta)
	bad.Status = "done"
	if err := bad.Write(dir); err == nil {
		t.Error("an unknown status is written")
	}
}

func FuzzReadRun(f *testing.F) {
	f.Add([]byte(`{"schema":1,"status":"running","fingerprint":"a","meta":{"fingerprint":"a","examples":1,"noises":[{"label":"n"}],"temps":[{"label":"t"}],"conditions":[{"replicates":1,"samples_of":0}]}}`))
	f.Add([]byte(`{"schema":1,"meta":null,"config":{},"started":"2026-01-02T03:04:05Z"}`))
	f.Add([]byte(`{"schema":1,"status":"running","fingerprint":"a","meta":{"fingerprint":"a","examples":16777216,"conditions":[{"replicates":65536,"mean_alpha":null}],"noises":[{}],"temps":[{}]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		info, err := parseRun(data)
		if err != nil {
			return
		}
		s, err := Collect(info.Meta, yieldAll(nil))
		if err != nil {
			t.Fatalf("a run that was read has a description that is refused: %v", err)
		}
		s.Table()
	})
}

// Where a run is in shards, that is said, and what to do.
func TestReadRunOfShards(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.MkdirAll(ShardDir(dir, 2, 3), 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := ReadRun(dir)
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "when all 3 are complete") ||
		!strings.Contains(err.Error(), "gsmeval merge "+dir) {
		t.Errorf("the error is %v", err)
	}
}

func TestOwnFile(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	write := func(path string) {
		t.Helper()
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{
		"a/run.json", "a/samples.jsonl", "a/calibration/noise.json", "early/begun.json", "cut/shards/1-of-2/run.json",
		"texts/samples.jsonl",
	} {
		write(path)
	}
	if err := errors.Join(os.Symlink("a", filepath.Join(root, "link")),
		os.Symlink("a/samples.jsonl", filepath.Join(root, "text.jsonl"))); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{
		"a/run.json": true, "a/samples.jsonl": true, "a/../a/samples.jsonl.torn": true, "a/begun.json": true,
		"link/samples.jsonl": true, "text.jsonl": true, "a/calibration/noise.json": true, "a/calibration": true,
		"early/samples.jsonl": true, "cut/run.json": true, "cut/shards/1-of-2/samples.jsonl": true,
		"a": false, "a/report.html": false, "a/table.json": false, "a/export/samples.csv": false, "a/curve": false,
		"texts/samples.jsonl": false, "calibration": false, "nowhere/run.json": false, "run.json": false,
	} {
		if got := OwnFile(filepath.Join(root, path)); got != want {
			t.Errorf("%s: %v", path, got)
		}
	}
}
