package runner

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gsmeval/gsmeval/internal/finish"
	"github.com/gsmeval/gsmeval/results"
	"github.com/gsmeval/gsmeval/scoring"
)

// BenchmarkThousandShards plans a study of 600,000 samples in 1,000 shards, has a fake engine write them, and runs the
// program's status and merge on what is there. GSMEVAL_SCALE is a folder with 4 GB to spare; `make bench-scale` sets
// it. GSMEVAL_SCALE_SHARDS and GSMEVAL_SCALE_QUESTIONS change the size.
func BenchmarkThousandShards(b *testing.B) {
	dir := os.Getenv("GSMEVAL_SCALE")
	if dir == "" {
		b.Skip("GSMEVAL_SCALE is not set")
	}
	shards, questions := 1000, 1250
	for name, to := range map[string]*int{"GSMEVAL_SCALE_SHARDS": &shards, "GSMEVAL_SCALE_QUESTIONS": &questions} {
		if s := os.Getenv(name); s != "" {
			if _, err := fmt.Sscan(s, to); err != nil {
				b.Fatalf("%s: %v", name, err)
			}
		}
	}
	program, err := filepath.Abs(filepath.Join("..", "..", "bin", "gsmeval"))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		run := filepath.Join(dir, "run")
		if err := os.RemoveAll(run); err != nil {
			b.Fatal(err)
		}
		meta := gridMeta("wwwwwwaaaaaa", 10, 4, questions)
		begin := time.Now()
		shares := Shares(meta, shards)
		b.ReportMetric(time.Since(begin).Seconds(), "plan-s")
		total := 0
		for _, s := range shares {
			total += s.Samples
		}
		begin = time.Now()
		info := fakeShards(b, run, meta, shards)
		b.Logf("%d samples in %d shards written by the fake engine in %.0f s", total, shards,
			time.Since(begin).Seconds())
		measured(b, "status-running", program, "status", run, "--json")
		for i := 1; i <= shards; i++ {
			info.Shard, info.Status = Shard{i, shards}.String(), results.RunComplete
			if err := info.Write(shardDir(run, Shard{i, shards})); err != nil {
				b.Fatal(err)
			}
		}
		measured(b, "status-complete", program, "status", run)
		measured(b, "merge", program, "merge", run, "--no-report")
		count, err := results.CountRecords(filepath.Join(run, results.JournalFile))
		if err != nil || count.Records != total {
			b.Fatalf("the merged journal has %+v, %v; want %d records", count, err, total)
		}
	}
}

// measured runs the program and reports its time and its largest resident memory.
func measured(b *testing.B, name, program string, args ...string) {
	b.Helper()
	cmd := exec.CommandContext(context.Background(), program, args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	begin := time.Now()
	if err := cmd.Run(); err != nil {
		b.Fatalf("%s: %v\n%s", name, err, stderr.String())
	}
	b.ReportMetric(time.Since(begin).Seconds(), name+"-s")
	b.ReportMetric(cmd.ProcessState.UserTime().Seconds()+cmd.ProcessState.SystemTime().Seconds(), name+"-cpu-s")
	if use, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		b.ReportMetric(float64(use.Maxrss)/1024, name+"-MB")
	}
}

// fakeShards writes the shards of a run as an engine would have left them, each in canonical order. They say that they
// are still running.
func fakeShards(b *testing.B, run string, meta *results.Meta, n int) *results.RunInfo {
	b.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	words := strings.Repeat("so she has 3 boxes of 12 eggs each and gives 7 to her friend, which leaves ", 200)
	own := owners(meta, n)
	keys := make([][]results.Key, n)
	for k := range canonical(meta) {
		i := own(k)
		keys[i] = append(keys[i], k)
	}
	info := &results.RunInfo{
		Schema: results.RunSchema, Name: "scale", Fingerprint: meta.Fingerprint, Status: results.RunRunning,
		Config: json.RawMessage("{}"),
		Meta:   *meta, Started: time.Now().UTC(), Timings: map[string]float64{"decode": 1},
	}
	for i := range n {
		s := Shard{i + 1, n}
		dir := shardDir(run, s)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			b.Fatal(err)
		}
		info.Shard = s.String()
		if err := info.Write(dir); err != nil {
			b.Fatal(err)
		}
		j, err := results.Open(filepath.Join(dir, results.JournalFile), meta.Fingerprint)
		if err != nil {
			b.Fatal(err)
		}
		batch := make([]results.Record, 0, len(keys[i]))
		for _, k := range keys[i] {
			length := 1000 + rng.IntN(2000) // bytes, 2 kB in the mean
			batch = append(batch, results.Record{
				Noise: meta.Noises[k.NoiseIndex].Label, NoiseIndex: k.NoiseIndex, Replicate: k.Replicate,
				Temperature: meta.Temps[k.TempIndex].Label, TempIndex: k.TempIndex,
				ID: k.Order, Order: k.Order, QuestionSHA: "q", PromptSHA: "p", Text: words[:length], Tokens: length / 4,
				Finish: finish.Stop, Status: scoring.StatusOK, Answer: "7", Rung: "hash", Correct: rng.IntN(3) > 0,
				TMin: 1, TMax: 1, TMean: 1, Effect: &results.Effect{Sites: 10, Elements: 1 << 20, RMSRatio: 0.1},
			})
		}
		if err := j.Append(batch); err != nil {
			b.Fatal(err)
		}
		if err := j.Finalize(); err != nil {
			b.Fatal(err)
		}
		if err := j.Close(); err != nil {
			b.Fatal(err)
		}
	}
	return info
}
