package results

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// writeShard puts a run, or a part of one, into a directory as a process at work would.
func writeShard(t *testing.T, dir string, info RunInfo, records []Record) *Journal {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := info.Write(dir); err != nil {
		t.Fatal(err)
	}
	j, err := Open(filepath.Join(dir, JournalFile), info.Fingerprint)
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Append(records); err != nil {
		t.Fatal(err)
	}
	return j
}

func poll(t *testing.T, l *Live, at time.Time) *Progress {
	t.Helper()
	p, err := l.Poll(at)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestLive follows a run from its first sample to its end: what is new is counted once, a line that is being written
// waits, and the journal that replaces the first one when the run ends changes nothing.
func TestLive(t *testing.T) {
	t.Parallel()
	meta, records := smallRun(Noise{Label: "weight", Kind: "weight", Chips: true}, "rwrt/rrwn", "rrrr/wwwe")
	dir := t.TempDir()
	info := *testInfo(meta)
	info.Status = RunRunning
	j := writeShard(t, dir, info, records[5:])
	live := Follow(dir)
	start := time.Now()
	p := poll(t, live, start)
	if p.Done != 11 || p.Total != 16 || p.Status != RunRunning || p.SamplesPerSecond.Finite() {
		t.Fatalf("at first: %+v", p)
	}
	if len(p.Conditions) != 2 || p.Conditions[0].Done != 3 || p.Conditions[1].Failed != 1 {
		t.Errorf("conditions %+v", p.Conditions)
	}

	// A line whose end is missing is not read, nor is anything before it read again.
	line, err := records[0].AppendLine(nil)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, JournalFile)
	half := appendTo(t, path, line[:40])
	if p = poll(t, live, start.Add(time.Second)); p.Done != 11 {
		t.Errorf("half a line: %d samples", p.Done)
	}
	if err := os.Truncate(path, half); err != nil {
		t.Fatal(err)
	}
	if err := j.Append(records[:4]); err != nil {
		t.Fatal(err)
	}
	p = poll(t, live, start.Add(2*time.Second))
	if p.Done != 15 || p.SamplesPerSecond != 2 || p.SecondsLeft != 0.5 {
		t.Errorf("four more in two seconds: %d samples, %g/s, %g s left", p.Done, p.SamplesPerSecond, p.SecondsLeft)
	}
	if err := j.Append(records[4:5]); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(j.Finalize(), j.Close()); err != nil {
		t.Fatal(err)
	}
	info.Status = RunComplete
	if err := info.Write(dir); err != nil {
		t.Fatal(err)
	}
	p = poll(t, live, start.Add(3*time.Second))
	if p.Done != 16 || p.Status != RunComplete || p.SecondsLeft != 0 {
		t.Errorf("at the end: %+v", p)
	}
	// What it shows is what the table says.
	set, err := LoadSet(dir)
	if err != nil {
		t.Fatal(err)
	}
	for i, row := range set.Table().Rows {
		c := p.Conditions[i]
		if c.Done != row.Samples || c.N != row.N || c.Correct != row.Correct || c.Accuracy != row.Accuracy ||
			c.CI != row.CI || c.MeanTokens != row.MeanTokens {
			t.Errorf("condition %+v, row %+v", c, row)
		}
	}
}

// appendTo adds bytes to a file and returns its size before.
func appendTo(t *testing.T, path string, data []byte) int64 {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// TestLiveShards follows shards that appear one by one and then their merged run.
func TestLiveShards(t *testing.T) {
	t.Parallel()
	meta, records := smallRun(Noise{Label: "none", Kind: KindNone}, "rwrw", "rrrr")
	dir := t.TempDir()
	info := *testInfo(meta)
	info.Status, info.Shard = RunComplete, "1/2"
	shards := filepath.Join(dir, "shards")
	first := writeShard(t, filepath.Join(shards, "1-of-2"), info, records[:4])
	live := Follow(dir)
	start := time.Now()
	// What has not begun is a part of the run.
	if p := poll(t, live, start); p.Done != 4 || p.Total != 8 || p.Status != RunPending || len(p.Shards) != 2 ||
		p.Shards[1] != (LiveShard{Shard: "2/2", Status: RunPending}) {
		t.Errorf("one shard: %+v", p)
	}
	begun := Begun{Status: RunRunning, Doing: "loading the model"}
	if err := begun.Write(filepath.Join(shards, "2-of-2")); err != nil {
		t.Fatal(err)
	}
	if p := poll(t, live, start); p.Status != RunRunning || p.Shards[1].Status != RunRunning {
		t.Errorf("the other one loads its model: %+v", p)
	}
	info.Status, info.Shard = RunRunning, "2/2"
	// The second shard repeats a sample of the first: it counts once.
	second := writeShard(t, filepath.Join(shards, "2-of-2"), info, records[3:6])
	p := poll(t, live, start.Add(time.Second))
	if p.Done != 6 || p.Status != RunRunning || len(p.Shards) != 2 ||
		p.Shards[1] != (LiveShard{Shard: "2/2", Status: RunRunning, Done: 3}) {
		t.Errorf("two shards: %+v", p)
	}
	if err := errors.Join(first.Close(), second.Close()); err != nil {
		t.Fatal(err)
	}
	info.Status, info.Shard = RunComplete, ""
	whole := writeShard(t, dir, info, records)
	if p := poll(t, live, start.Add(2*time.Second)); p.Done != 8 || p.Status != RunComplete || p.Shards != nil {
		t.Errorf("merged: %+v", p)
	}
	if err := whole.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestLiveRefuses checks that damage is named and not skipped.
func TestLiveRefuses(t *testing.T) {
	t.Parallel()
	if _, err := Follow(t.TempDir()).Poll(time.Now()); err == nil {
		t.Error("an empty directory was followed")
	}
	meta, records := smallRun(Noise{Label: "none", Kind: KindNone}, "rwrw", "rrrr")
	dir := t.TempDir()
	j := writeShard(t, dir, *testInfo(meta), records[:2])
	live := Follow(dir)
	poll(t, live, time.Now())
	path := filepath.Join(dir, JournalFile)
	size := appendTo(t, path, []byte("{\"run\":\"damaged\"}\n"))
	if err := j.Append(records[2:4]); err != nil {
		t.Fatal(err)
	}
	var damage *DamageError
	if _, err := live.Poll(time.Now()); !errors.As(err, &damage) || damage.Line != 3 || damage.Offset != size {
		t.Errorf("damage in line 3 at byte %d: %v", size, err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}
