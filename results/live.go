package results

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/gsmeval/gsmeval/internal/files"
	"github.com/gsmeval/gsmeval/internal/lease"
)

// rateWindow is how far back the speed of a run is looked at.
const rateWindow = time.Minute

// Live follows a run that another process is at, or several at its shards. It reads what is new in the journals, takes
// no lock and writes nothing.
type Live struct {
	dir   string
	set   *Set
	parts []*part
	// waiting are the shards without a run.json, which load their model or have not begun.
	waiting []*part
	total   int
	past    []mark
	// tokens are those of all samples that were read.
	tokens int64
	latest time.Time // when a journal was last written to
}

// part is a journal that is followed: the run's own, or a shard's.
type part struct {
	dir    string
	info   *RunInfo
	status RunStatus   // its info's, or stopped
	file   os.FileInfo // of the journal when it was read
	offset int64       // up to which it was read
	lines  int
}

// mark is how far a run was at some time.
type mark struct {
	at     time.Time
	done   int
	tokens int64
}

// Progress is how far a run has come. It is a line of watch --json.
type Progress struct {
	Event  string    `json:"event"` // always snapshot
	Time   time.Time `json:"time"`
	Run    string    `json:"run"`
	Name   string    `json:"name"`
	Status RunStatus `json:"status"`
	Cause  string    `json:"cause,omitempty"`
	// Resume is the directory of a run, or of a shard, that somebody must go on with; of several one.
	Resume string `json:"resume,omitempty"`
	// Doing is what a run is at that has no sample yet and does not know how many there will be.
	Doing string `json:"doing,omitempty"`
	// Done of Total samples are there, with Tokens generated tokens.
	Done   int   `json:"done"`
	Total  int   `json:"total"`
	Tokens int64 `json:"tokens"`
	// The speed is over the last minute, as far as it was watched; null where nothing can be said yet.
	SamplesPerSecond Float `json:"samples_per_s"`
	TokensPerSecond  Float `json:"tokens_per_s"`
	SecondsLeft      Float `json:"eta_s"`
	// LastSample is when a sample was last written; zero where there is none.
	LastSample time.Time      `json:"last_sample,omitzero"`
	Shards     []LiveShard    `json:"shards,omitempty"`
	Conditions []LiveProgress `json:"conditions"`
}

// LiveShard is a shard of a run in progress.
type LiveShard struct {
	Shard  string    `json:"shard"`
	Status RunStatus `json:"status"`
	Done   int       `json:"done"`
}

// LiveProgress is a condition of a run in progress: a row of its table so far.
type LiveProgress struct {
	Noise       string   `json:"noise"`
	Temperature string   `json:"temperature"`
	SamplesOf   string   `json:"samples_of,omitempty"`
	Done        int      `json:"done"`
	Total       int      `json:"total"`
	N           int      `json:"n"`
	Correct     int      `json:"correct"`
	Accuracy    Float    `json:"accuracy"`
	CI          Interval `json:"ci"`
	Truncated   int      `json:"truncated"`
	NoAnswer    int      `json:"no_answer"`
	Failed      int      `json:"failed"`
	MeanTokens  Float    `json:"mean_tokens"`
}

// Follow begins to follow the run of a directory.
func Follow(dir string) *Live { return &Live{dir: dir} }

// Poll reads what is new and says how far the run is. now is the time.
func (l *Live) Poll(now time.Time) (*Progress, error) {
	dirs, waiting, err := l.sources()
	if err != nil {
		return nil, err
	}
	l.waiting = waiting
	changed := len(dirs) != len(l.parts)
	var infos []*RunInfo
	for i, dir := range dirs {
		info, err := ReadRun(dir)
		if err != nil {
			return nil, err
		}
		infos = append(infos, info)
		if i > 0 && info.Fingerprint != infos[0].Fingerprint {
			return nil, fmt.Errorf("%s belongs to another run than %s", dir, dirs[0])
		}
		changed = changed || l.parts[i].dir != dir || l.parts[i].replaced(info)
	}
	if changed || l.set == nil {
		if err := l.restart(dirs, infos); err != nil {
			return nil, err
		}
	}
	for i, p := range l.parts {
		p.info, p.status = infos[i], infos[i].Status
		if p.status == RunRunning {
			if err := p.look(); err != nil {
				return nil, err
			}
		}
		if err := l.read(p); err != nil {
			return nil, err
		}
	}
	l.set.shareSamples()
	return l.progress(now), nil
}

// sources lists the directories whose journals make the run: its own, or while that has no samples its shards, and
// those of the shards that have none yet.
func (l *Live) sources() (dirs []string, waiting []*part, err error) {
	own, err := os.Stat(filepath.Join(l.dir, JournalFile))
	if err == nil && own.Size() > 0 {
		return []string{l.dir}, nil, nil
	}
	n, err := ShardCount(l.dir)
	if err != nil {
		return nil, nil, err
	}
	for i := 1; i <= n; i++ {
		dir := ShardDir(l.dir, i, n)
		if _, err := os.Stat(filepath.Join(dir, RunFile)); err == nil {
			dirs = append(dirs, dir)
			continue
		}
		p := &part{dir: dir, info: &RunInfo{Shard: fmt.Sprintf("%d/%d", i, n)}, status: RunPending}
		var begun *BegunError
		if errors.As(readBegun(dir), &begun) {
			p.status = begun.Status
		}
		waiting = append(waiting, p)
	}
	if len(dirs) == 0 {
		return []string{l.dir}, nil, nil
	}
	return dirs, waiting, nil
}

// look finds out whether somebody is at a run that says so: one that was killed has no owner, or one that has ended.
func (p *part) look() error {
	if owner, held := lease.ReadOwner(filepath.Join(p.dir, JournalFile)); held && owner.Running() {
		return nil
	}
	// Who has just ended has said so before giving the journal back.
	var err error
	if p.info, err = ReadRun(p.dir); err != nil {
		return err
	}
	if p.status = p.info.Status; p.status == RunRunning {
		p.status = RunStopped
	}
	return nil
}

// replaced reports whether a journal is not the file, or the run, that was read: it was put into canonical order,
// extended, or begun anew.
func (p *part) replaced(info *RunInfo) bool {
	if p.info.Fingerprint != info.Fingerprint || p.info.Meta.Examples != info.Meta.Examples {
		return true
	}
	now, err := os.Stat(filepath.Join(p.dir, JournalFile))
	if p.file == nil || err != nil {
		return p.file != nil
	}
	return !os.SameFile(p.file, now) || now.Size() < p.offset
}

func (l *Live) restart(dirs []string, infos []*RunInfo) error {
	set, err := newSet(infos[0].Meta)
	if err != nil {
		return err
	}
	l.set, l.parts, l.tokens, l.total = set, nil, 0, 0
	for i, dir := range dirs {
		l.parts = append(l.parts, &part{dir: dir, info: infos[i]})
	}
	for _, c := range set.meta.Conditions {
		if c.SamplesOf == nil {
			l.total += c.planned(set.meta.Examples)
		}
	}
	return nil
}

// read takes the whole lines that a journal has grown by.
func (l *Live) read(p *part) error {
	path := filepath.Join(p.dir, JournalFile)
	f, err := files.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("opening the journal: %w", err)
	}
	defer f.Close() //nolint:errcheck // nothing was written
	if p.file, err = f.Stat(); err != nil {
		return fmt.Errorf("reading the journal: %w", err)
	}
	if p.file.Size() > 0 && p.file.ModTime().After(l.latest) {
		l.latest = p.file.ModTime()
	}
	base, lines := p.offset, p.lines
	err = scan(path, io.NewSectionReader(f, base, p.file.Size()-base), p.info.Fingerprint,
		func(r *Record, line []byte, offset int64) error {
			p.offset = base + offset + int64(len(line))
			p.lines++
			if l.set.has(r.Key()) {
				return nil // shards may overlap where one was taken over by another
			}
			l.tokens += int64(r.Tokens)
			return l.set.add(r)
		})
	var torn *TornError
	var damage *DamageError
	switch {
	case errors.As(err, &torn):
		return nil // its writer is at work
	case errors.As(err, &damage):
		damage.Offset += base
		damage.Line += lines
	}
	return err
}

func (l *Live) progress(now time.Time) *Progress {
	p := &Progress{
		Event: "snapshot", Time: now.UTC(), Run: l.dir, Name: l.set.meta.Name, Total: l.total, Tokens: l.tokens,
		SamplesPerSecond: Float(nan), TokensPerSecond: Float(nan), SecondsLeft: Float(nan), LastSample: l.latest.UTC(),
	}
	all := slices.Concat(l.parts, l.waiting)
	overall(p, all)
	for _, c := range l.set.conditions() {
		row, _ := l.set.outcome(c)
		if c.SamplesOf == nil {
			p.Done += row.Samples
		}
		p.Conditions = append(p.Conditions, LiveProgress{
			Noise: row.Noise, Temperature: row.Temperature, SamplesOf: row.SamplesOf, Done: row.Samples,
			Total: row.Planned,
			N:     row.N, Correct: row.Correct, Accuracy: row.Accuracy, CI: row.CI,
			Truncated: row.Truncated, NoAnswer: row.NoAnswer, Failed: row.Failed(), MeanTokens: row.MeanTokens,
		})
	}
	for _, part := range all {
		if part.info.Shard != "" {
			p.Shards = append(p.Shards, LiveShard{Shard: part.info.Shard, Status: part.status, Done: part.lines})
		}
	}
	slices.SortFunc(p.Shards, func(a, b LiveShard) int { // 2/12 before 10/12
		return cmp.Or(cmp.Compare(len(a.Shard), len(b.Shard)), cmp.Compare(a.Shard, b.Shard))
	})
	l.rate(p)
	return p
}

// rate compares with what was there up to a minute ago.
func (l *Live) rate(p *Progress) {
	for len(l.past) > 1 && p.Time.Sub(l.past[1].at) >= rateWindow {
		l.past = l.past[1:]
	}
	l.past = append(l.past, mark{p.Time, p.Done, p.Tokens})
	first := l.past[0]
	seconds := p.Time.Sub(first.at).Seconds()
	if seconds <= 0 || p.Done <= first.done {
		return
	}
	p.SamplesPerSecond = Float(float64(p.Done-first.done) / seconds)
	p.TokensPerSecond = Float(float64(p.Tokens-first.tokens) / seconds)
	p.SecondsLeft = Float(float64(p.Total-p.Done) / float64(p.SamplesPerSecond))
}

// overall fills in the status of a run by those of its parts: it runs while one of them does, and is complete when all
// are.
func overall(run *Progress, parts []*part) {
	rank := []RunStatus{RunComplete, RunPending, RunInterrupted, RunStopped, RunFailed, RunRunning}
	worst := slices.MaxFunc(parts, func(a, b *part) int {
		return cmp.Compare(slices.Index(rank, a.status), slices.Index(rank, b.status))
	})
	run.Status, run.Cause = worst.status, worst.info.Cause
	switch run.Status {
	case RunInterrupted, RunStopped, RunFailed:
		run.Resume = worst.dir
	default:
	}
}
