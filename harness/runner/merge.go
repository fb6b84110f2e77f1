package runner

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gsmeval/gsmeval/harness/session"
	"github.com/gsmeval/gsmeval/results"
	"github.com/gsmeval/gsmeval/results/report"
)

// shardDir is where a shard of a run lies.
func shardDir(output string, s Shard) string {
	if s.N == 0 {
		return output
	}
	return results.ShardDir(output, s.I, s.N)
}

// shardOf is the shard that a run directory holds, zero for a whole run.
func shardOf(info *results.RunInfo) Shard {
	s, err := ParseShard(info.Shard)
	if err != nil {
		return Shard{}
	}
	return s
}

// Merge joins the complete shards of a run directory into the run: the same bytes as one run would have written.
// Its report can be left out, and made later: it reads the samples again.
func Merge(ctx context.Context, output string, noReport bool) (*results.Table, error) {
	n, err := results.ShardCount(output)
	if err != nil {
		return nil, fmt.Errorf("merging %s: %w", output, err)
	}
	if n == 0 {
		return nil, fmt.Errorf("%s has no shards; make them with: gsmeval run CONFIG --shard i/n", output)
	}
	first, shards, err := completeShards(output, n)
	if err != nil {
		return nil, fmt.Errorf("merging %s: %w", output, err)
	}
	if old, err := results.ReadRun(output); err == nil && old.Fingerprint != first.Fingerprint {
		return nil, fmt.Errorf("%s holds another run than its shards; move it away", output)
	}
	meta := first.Meta
	journal := filepath.Join(output, results.JournalFile)
	set, err := results.MergeRun(journal, shards, results.MergePlan{
		Fingerprint: first.Fingerprint, Keys: canonical(&meta), Owner: owners(&meta, n),
	}, meta)
	if err != nil {
		return nil, err
	}
	first.Shard, first.Finished = "", time.Now().UTC()
	if err := first.Write(output); err != nil {
		return nil, err
	}
	table := set.Table()
	if err := table.WriteAll(output); err != nil || noReport {
		return table, err
	}
	run, err := report.Load(ctx, output, session.FindData(io.Discard))
	if err != nil {
		return nil, err
	}
	return table, report.WriteRun(run)
}

// completeShards checks the n shards of a run by their run.json, one after the other. It returns the first one's, with
// the timings of all, and where their journals are.
func completeShards(output string, n int) (first *results.RunInfo, shards []results.Shard, err error) {
	var problems []error
	var name string
	var conditions []byte // the first one's
	for i := 1; i <= n; i++ {
		is := Shard{i, n}
		dir := shardDir(output, is)
		info, err := results.ReadRun(dir)
		if errors.Is(err, fs.ErrNotExist) {
			problems = append(problems, fmt.Errorf("shard %s is missing", is))
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		if info.Shard != is.String() {
			problems = append(problems, fmt.Errorf("%s holds shard %s; remove it", dir, info.Shard))
			continue
		}
		if info.Status != results.RunComplete {
			problems = append(problems, fmt.Errorf("shard %s is not complete (%s); go on with: gsmeval resume %s", is,
				info.Status, dir))
		}
		shards = append(shards, results.Shard{Name: info.Shard, Path: filepath.Join(dir, results.JournalFile)})
		has, err := json.Marshal(info.Meta.Conditions)
		if err != nil {
			return nil, nil, err
		}
		switch {
		case first == nil:
			first, name, conditions = info, info.Shard, has
			continue
		case info.Fingerprint != first.Fingerprint:
			problems = append(problems, fmt.Errorf("shard %s belongs to another run than shard %s: %s", is, name,
				strings.Join(differences(dir, first, info), ", ")))
		case !bytes.Equal(has, conditions):
			problems = append(problems,
				fmt.Errorf("shard %s has other temperatures than shard %s, from another calibration; remove %s and run it again", is, name, dir))
		}
		for k, v := range info.Timings {
			first.Timings[k] += v
		}
	}
	return first, shards, errors.Join(problems...)
}

// AwaitShards returns when all shards of a run are complete. After limit it is an error that says how many are.
func AwaitShards(ctx context.Context, output string, limit time.Duration, say func(format string, args ...any)) error {
	const look = 15 * time.Second
	begin, complete, said := time.Now(), map[int]bool{}, -1
	for {
		n, err := results.ShardCount(output)
		if err != nil {
			return err
		}
		for i := 1; i <= n; i++ {
			if !complete[i] {
				info, err := results.ReadRun(shardDir(output, Shard{i, n}))
				complete[i] = err == nil && info.Status == results.RunComplete // one that cannot be read now is looked at again
			}
		}
		done := 0
		for _, c := range complete {
			if c {
				done++
			}
		}
		if n > 0 && done == n {
			return nil
		}
		if done != said {
			say("%d of %d shards of %s are complete, waiting for the others", done, n, output)
			said = done
		}
		left := limit - time.Since(begin)
		if left <= 0 {
			return fmt.Errorf("after %v only %d of %d shards of %s are complete; see: gsmeval status %s", limit, done,
				n, output, output)
		}
		select {
		case <-time.After(min(look, left)):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// extent is how large a run is.
type extent struct{ examples, seeds, samples int }

func (e extent) String() string {
	return fmt.Sprintf("%d examples, %d noise seeds and %d samples of a question", e.examples, e.seeds, e.samples)
}

// growing are the keys that --extend may raise; scoring.k follows samples.
var growing = []string{"dataset.limit", "noise_seeds", "samples", "scoring.k"}

// extendable tells whether a config only makes a run larger: what else differs, or nothing.
func extendable(diff []string, before, now extent) error {
	for _, d := range diff {
		key, _, _ := strings.Cut(d, ":")
		key, _, _ = strings.Cut(key, "[")
		if !slices.Contains(growing, key) {
			return fmt.Errorf("--extend raises dataset.limit, noise_seeds and samples only; also different: %s", d)
		}
	}
	if now.examples < before.examples || now.seeds < before.seeds || now.samples < before.samples {
		return fmt.Errorf("--extend cannot make a run smaller: it has %v, the config asks for %v", before, now)
	}
	return nil
}
