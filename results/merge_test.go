package results

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// writeShards spreads keys over n shards by owner and returns them, with the bytes of one run that holds all.
func writeShards(t *testing.T, dir string, keys []Key, n int, owner func(Key) int) (shards []Shard, whole []byte) {
	t.Helper()
	for i := range n {
		path := filepath.Join(dir, fmt.Sprintf("shard-%d.jsonl", i))
		var own []Key
		for _, k := range keys {
			if owner(k) == i {
				own = append(own, k)
			}
		}
		j, err := Open(path, testRun)
		if err != nil {
			t.Fatal(err)
		}
		fillJournal(t, j, shuffled(own), 3)
		if i%2 == 0 { // a shard need not be in order
			if err := j.Finalize(); err != nil {
				t.Fatal(err)
			}
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		shards = append(shards, Shard{Name: fmt.Sprintf("%d/%d", i, n), Path: path})
	}
	return shards, complete(t, filepath.Join(dir, "whole.jsonl"), keys, 5)
}

func TestMergeEqualsOneRun(t *testing.T) {
	t.Parallel()
	keys := sampled(testGrid(2, 2, 2, 6), 3)
	rng := rand.New(rand.NewPCG(4, 2))
	random := map[Key]int{}
	for _, k := range keys {
		random[k] = rng.IntN(5)
	}
	for _, tt := range []struct {
		name  string
		n     int
		owner func(Key) int
	}{
		{"one shard", 1, func(Key) int { return 0 }},
		{"by example", 3, func(k Key) int { return k.Order % 3 }},
		{"by condition", 4, func(k Key) int { return k.NoiseIndex*2 + k.TempIndex }},
		{"at random", 5, func(k Key) int { return random[k] }},
		{"more shards than are kept open", 2 * maxOpenShards, func(k Key) int {
			return (k.Order*7 + k.Replicate*31 + k.TempIndex*3 + k.NoiseIndex*59) % (2 * maxOpenShards)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			shards, whole := writeShards(t, dir, keys, tt.n, tt.owner)
			dst := filepath.Join(dir, "samples.jsonl")
			if err := Merge(dst, shards, MergePlan{
				Fingerprint: testRun, Keys: slices.Values(keys),
				Owner: tt.owner,
			}); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(readFile(t, dst), whole) {
				t.Error("the merged journal differs from one run's")
			}
		})
	}
}

func TestMergeRefuses(t *testing.T) {
	t.Parallel()
	keys := testGrid(1, 2, 2, 6)
	owner := func(k Key) int { return k.Order / 2 }
	foreign := testRecord(Key{Order: 2})
	foreign.Run = "other"
	tests := []struct {
		name  string
		spoil func(t *testing.T, shards []Shard, plan *MergePlan)
		want  []string
	}{
		{"a missing shard", func(t *testing.T, s []Shard, _ *MergePlan) {
			t.Helper()
			if err := os.Remove(s[1].Path); err != nil {
				t.Fatal(err)
			}
		}, []string{"shard 1/3", "it is missing"}},
		{"an unfinished shard", func(t *testing.T, s []Shard, _ *MergePlan) {
			t.Helper()
			data := readFile(t, s[1].Path)
			lines := bytes.SplitAfter(data, []byte{'\n'})
			writeFile(t, s[1].Path, bytes.Join(lines[:len(lines)-3], nil))
		}, []string{"shard 1/3", "2 samples are missing, the first is noise 0 replicate"}},
		{"a torn shard", func(t *testing.T, s []Shard, _ *MergePlan) {
			t.Helper()
			data := readFile(t, s[2].Path)
			writeFile(t, s[2].Path, data[:len(data)-5])
		}, []string{"shard 2/3", "resume it first"}},
		{"a damaged shard", func(t *testing.T, s []Shard, _ *MergePlan) {
			t.Helper()
			data := readFile(t, s[2].Path)
			data[10] ^= 1
			writeFile(t, s[2].Path, data)
		}, []string{"shard 2/3", "line 1 (byte 0) is damaged"}},
		{"a shard twice", func(_ *testing.T, s []Shard, p *MergePlan) {
			s[2].Path = s[0].Path
			p.Owner = nil
		}, []string{"shard 2/3", "8 samples are held by shard 0/3", "8 samples are missing"}},
		{"a shard of another run", func(t *testing.T, s []Shard, _ *MergePlan) {
			t.Helper()
			line, err := foreign.AppendLine(nil)
			if err != nil {
				t.Fatal(err)
			}
			writeFile(t, s[1].Path, line)
		}, []string{"shard 1/3", "fingerprint other"}},
		{"shards that changed places", func(_ *testing.T, s []Shard, _ *MergePlan) {
			s[0].Path, s[1].Path = s[1].Path, s[0].Path
		}, []string{"shard 0/3", "shard 1/3", "which is not its own"}},
		{"samples beyond the plan", func(_ *testing.T, _ []Shard, p *MergePlan) {
			p.Keys = slices.Values(keys[:len(keys)-6])
		}, []string{"no part of the run", "shard 0/3", "shard 2/3"}},
		{
			"no fingerprint", func(_ *testing.T, _ []Shard, p *MergePlan) { p.Fingerprint = "" },
			[]string{"no fingerprint"},
		},
		{"a plan that no key can name", func(_ *testing.T, _ []Shard, p *MergePlan) {
			p.Keys = slices.Values([]Key{{Order: -1}})
		}, []string{"the plan of the run"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			shards, _ := writeShards(t, dir, keys, 3, owner)
			plan := MergePlan{Fingerprint: testRun, Keys: slices.Values(keys), Owner: owner}
			tt.spoil(t, shards, &plan)
			dst := filepath.Join(dir, "samples.jsonl")
			err := Merge(dst, shards, plan)
			if err == nil {
				t.Fatal("merged")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v\nlacks %q", err, want)
				}
			}
			if _, err := os.Stat(dst); err == nil {
				t.Error("a refused merge has left a journal")
			}
		})
	}
	shards := []Shard{{Name: "0/1", Path: filepath.Join(t.TempDir(), "x.jsonl")}}
	if err := Merge(shards[0].Path, shards, MergePlan{Fingerprint: testRun}); err == nil ||
		!strings.Contains(err.Error(), "shard 0/1 itself") {
		t.Errorf("merging into a shard: %v", err)
	}
}

// TestMergeRunCollects compares the set that a merge collects on its way with that of the merged journal, for shards in
// order and not.
func TestMergeRunCollects(t *testing.T) {
	t.Parallel()
	meta := Meta{
		Name: "m", Fingerprint: testRun, Examples: 6, Noises: []Noise{{Label: "none", Kind: "none"}},
		Temps: []Temp{{Label: "T=1"}},
	}
	meta.Conditions = []Condition{{Replicates: 2}}
	var records []Record
	var keys []Key
	for _, k := range testGrid(1, 2, 1, 6) {
		r := testRecord(k)
		r.Noise, r.Temperature, r.ID, r.QuestionSHA = "none", "T=1", k.Order, "q"
		records, keys = append(records, r), append(keys, k)
	}
	owner := func(k Key) int { return k.Order / 3 }
	for _, order := range []bool{true, false} {
		dir := t.TempDir()
		var shards []Shard
		for i := range 2 {
			path := filepath.Join(dir, fmt.Sprint(i))
			j, err := Open(path, testRun)
			if err != nil {
				t.Fatal(err)
			}
			var own []Record
			for _, r := range records {
				if owner(r.Key()) == i {
					own = append(own, r)
				}
			}
			if !order {
				slices.Reverse(own)
			}
			if err := errors.Join(j.Append(own), j.Close()); err != nil {
				t.Fatal(err)
			}
			shards = append(shards, Shard{Name: fmt.Sprint(i), Path: path})
		}
		dst := filepath.Join(dir, "samples.jsonl")
		got, err := MergeRun(dst, shards, MergePlan{Fingerprint: testRun, Keys: slices.Values(keys), Owner: owner},
			meta)
		if err != nil {
			t.Fatal(err)
		}
		want, err := Collect(meta, Read(dst, testRun))
		if err != nil {
			t.Fatal(err)
		}
		var a, b bytes.Buffer
		if err := errors.Join(got.Table().Write(&a, FormatJSON), want.Table().Write(&b, FormatJSON)); err != nil {
			t.Fatal(err)
		}
		if a.String() != b.String() || len(got.Table().Rows) != 1 || got.Table().Rows[0].N == 0 {
			t.Errorf("in order %v: the table of the merge is\n%s\nthat of the journal\n%s", order, &a, &b)
		}
	}
}

func TestMergeSurvivesFaults(t *testing.T) {
	t.Parallel()
	keys := testGrid(1, 1, 2, 6)
	owner := func(k Key) int { return k.TempIndex }
	dir := t.TempDir()
	shards, whole := writeShards(t, dir, keys, 2, owner)
	plan := MergePlan{Fingerprint: testRun, Keys: slices.Values(keys), Owner: owner}
	for _, s := range shards { // one pass, whose faults are all fatal
		j, err := Open(s.Path, testRun)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(j.Finalize(), j.Close()); err != nil {
			t.Fatal(err)
		}
	}
	for at := 1; ; at++ {
		dst := filepath.Join(dir, fmt.Sprintf("merged-%d.jsonl", at))
		fsys := &faultFS{fileSystem: osFS{}, err: syscall.EIO, at: at, short: at%2 == 0}
		err := merge(fsys, dst, shards, plan)
		if fsys.ops < at {
			break
		}
		if err == nil {
			t.Errorf("operation %d failed and nothing was said", at)
		}
		if err := Merge(dst, shards, plan); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(readFile(t, dst), whole) {
			t.Errorf("operation %d: the second merge differs", at)
		}
	}
}

func TestRebase(t *testing.T) {
	t.Parallel()
	keys := testGrid(1, 2, 1, 5)
	dir := t.TempDir()
	path := filepath.Join(dir, "samples.jsonl")
	before := complete(t, path, keys, 3)
	for at := 1; ; at++ {
		broken := filepath.Join(dir, fmt.Sprintf("broken-%d.jsonl", at))
		writeFile(t, broken, before)
		fsys := &faultFS{fileSystem: osFS{}, err: syscall.ENOSPC, at: at}
		err := rebase(fsys, broken, testRun, "longer")
		if fsys.ops < at {
			break
		}
		if err == nil {
			t.Errorf("operation %d failed and nothing was said", at)
		}
		if err := Rebase(broken, testRun, "longer"); err != nil {
			t.Errorf("operation %d, then again: %v", at, err)
		}
	}
	for range 2 { // the second time there is nothing left to do
		if err := Rebase(path, testRun, "longer"); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	for r, err := range Read(path, "longer") {
		if err != nil {
			t.Fatal(err)
		}
		want := testRecord(keys[n])
		want.Run = "longer"
		if r != want {
			t.Errorf("record %d is %+v", n, r)
		}
		n++
	}
	if n != len(keys) {
		t.Errorf("%d records, want %d", n, len(keys))
	}
	if err := Rebase(path, "third", "fourth"); err == nil {
		t.Error("another run's journal changed hands")
	}
	if err := Rebase(path, "", "fourth"); err == nil {
		t.Error("rebased without a fingerprint")
	}
}
