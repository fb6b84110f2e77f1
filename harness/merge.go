package harness

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/gsmeval/gsmeval/results"
)

// shardDir is where a shard of a run lies.
func shardDir(output string, s Shard) string {
	if s.N == 0 {
		return output
	}
	return filepath.Join(output, "shards", fmt.Sprintf("%d-of-%d", s.I, s.N))
}

// Merge joins the complete shards of a run directory into the run: the same bytes as one run would have written.
func Merge(output string) (*results.Table, error) {
	dirs, err := filepath.Glob(filepath.Join(output, "shards", "*-of-*"))
	if err != nil || len(dirs) == 0 {
		return nil, errors.Join(fmt.Errorf("%s has no shards; make them with: gsmeval run CONFIG --shard i/n", output), err)
	}
	var infos []*results.RunInfo
	for _, dir := range dirs {
		info, err := results.ReadRun(dir)
		if err != nil {
			return nil, err
		}
		infos = append(infos, info)
	}
	slices.SortFunc(infos, func(a, b *results.RunInfo) int { return shardOf(a).I - shardOf(b).I })
	first := infos[0]
	n := shardOf(first).N
	var problems []error
	var shards []results.Shard
	timings := map[string]float64{}
	for i := 1; i <= n; i++ {
		at := slices.IndexFunc(infos, func(info *results.RunInfo) bool { return shardOf(info) == Shard{i, n} })
		if at < 0 {
			problems = append(problems, fmt.Errorf("shard %d/%d is missing", i, n))
			continue
		}
		info := infos[at]
		if info.Fingerprint != first.Fingerprint {
			problems = append(problems, fmt.Errorf("shard %s belongs to another run than shard %s: %s", info.Shard, first.Shard,
				differences(first.Versions, info.Versions)))
		}
		if info.Status != results.RunComplete {
			problems = append(problems, fmt.Errorf("shard %s is not complete (%s); go on with: gsmeval resume %s", info.Shard, info.Status, shardDir(output, Shard{i, n})))
		}
		for k, v := range info.Timings {
			timings[k] += v
		}
		shards = append(shards, results.Shard{Name: info.Shard, Path: filepath.Join(shardDir(output, Shard{i, n}), results.JournalFile)})
	}
	for _, info := range infos {
		if shardOf(info).N != n {
			problems = append(problems, fmt.Errorf("shard %s is of another cut than %s; remove what is not wanted from %s", info.Shard, first.Shard, filepath.Join(output, "shards")))
		}
	}
	if err := errors.Join(problems...); err != nil {
		return nil, fmt.Errorf("merging %s: %w", output, err)
	}
	if old, err := results.ReadRun(output); err == nil && old.Fingerprint != first.Fingerprint {
		return nil, fmt.Errorf("%s holds another run than its shards; move it away", output)
	}
	meta := first.Meta
	journal := filepath.Join(output, results.JournalFile)
	if err := results.Merge(journal, shards, results.MergePlan{
		Fingerprint: first.Fingerprint, Keys: canonical(&meta), Owner: owners(&meta, n),
	}); err != nil {
		return nil, err
	}
	whole := *first
	whole.Shard, whole.Timings, whole.Finished = "", timings, time.Now().UTC()
	if err := whole.Write(output); err != nil {
		return nil, err
	}
	set, err := results.LoadSet(output)
	if err != nil {
		return nil, err
	}
	table := set.Table()
	return table, table.WriteAll(output)
}

func shardOf(info *results.RunInfo) Shard {
	s, err := ParseShard(info.Shard)
	if err != nil {
		return Shard{}
	}
	return s
}

// extendable tells whether a config only adds examples or noise seeds to a run: what else differs, or nothing.
func extendable(diff []string, oldExamples, newExamples, oldSeeds, newSeeds int) error {
	for _, d := range diff {
		if !slices.ContainsFunc([]string{"dataset.limit:", "noise_seeds:"}, func(p string) bool { return len(d) > len(p) && d[:len(p)] == p }) {
			return fmt.Errorf("--extend raises dataset.limit and noise_seeds only; also different: %s", d)
		}
	}
	if newExamples < oldExamples || newSeeds < oldSeeds {
		return fmt.Errorf("--extend cannot make a run smaller: it has %d examples and %d noise seeds, the config asks for %d and %d",
			oldExamples, oldSeeds, newExamples, newSeeds)
	}
	return nil
}
