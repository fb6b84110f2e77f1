package results

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"

	"github.com/gsmeval/gsmeval/internal/files"
	"github.com/gsmeval/gsmeval/internal/lease"
)

// Shard is the journal of a part of a run.
type Shard struct {
	Name string // for messages, such as "3/8"
	Path string
}

// MaxShards is how many shards a run can be cut into: as many indices as a Slurm array or an indexed Job can have.
const MaxShards = 100_000

// ShardDir is where shard i of n of a run lies.
func ShardDir(output string, i, n int) string {
	return filepath.Join(output, "shards", fmt.Sprintf("%d-of-%d", i, n))
}

// ShardCount is the number of shards that a run directory is cut into, judged by the names of those that have begun; 0
// where none has.
func ShardCount(output string) (int, error) {
	entries, err := os.ReadDir(filepath.Join(output, "shards"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("looking for shards: %w", err)
	}
	n := 0
	for _, e := range entries {
		var i, of int
		if _, err := fmt.Sscanf(e.Name(), "%d-of-%d", &i, &of); err != nil ||
			e.Name() != filepath.Base(ShardDir(output, i, of)) {
			continue
		}
		if n != 0 && of != n {
			return 0, fmt.Errorf("%s holds shards of several cuts, of %d and of %d; remove what is not wanted",
				filepath.Join(output, "shards"), n, of)
		}
		n = of
	}
	return n, nil
}

// MergePlan says what the merged journal must hold.
type MergePlan struct {
	Fingerprint string
	// Keys yields every sample of the run in canonical order.
	Keys iter.Seq[Key]
	// Owner returns the index of the shard that a sample belongs to; nil where any shard may hold it.
	Owner func(Key) int
}

// ShardError says which shard stands in the way of a merge.
type ShardError struct {
	Shard  Shard
	Reason error
}

func (e *ShardError) Error() string {
	return fmt.Sprintf("shard %s (%s): %v", e.Shard.Name, e.Shard.Path, e.Reason)
}

func (e *ShardError) Unwrap() error { return e.Reason }

// entry is a line of a shard. Merging keeps one for each sample and no text.
type entry struct {
	key    packed
	offset int64
	length int32
	shard  int32
}

// Merge writes the journals of all shards of a run to dst, in canonical order and byte for byte what one run would have
// written, through a temporary file and a rename. Every shard is checked like a journal that is opened. Shards that
// lack samples, repeat another's, hold what is not theirs or belong to another run are refused with a *ShardError;
// several of them are joined.
func Merge(dst string, shards []Shard, plan MergePlan) error {
	return merge(osFS{}, dst, shards, plan)
}

func merge(fsys fileSystem, dst string, shards []Shard, plan MergePlan) error {
	_, err := mergeEach(fsys, dst, shards, plan, func(*Record) error { return nil })
	return err
}

// MergeRun is Merge, and returns what tables need of the merged run, which meta describes. Where the shards are in
// order, a record is read once.
func MergeRun(dst string, shards []Shard, plan MergePlan, meta Meta) (*Set, error) {
	set, err := newSet(meta)
	if err != nil {
		return nil, err
	}
	given, err := mergeEach(osFS{}, dst, shards, plan, set.add)
	if err != nil {
		return nil, err
	}
	if !given {
		return Collect(meta, Read(dst, plan.Fingerprint))
	}
	set.shareSamples()
	return set, nil
}

// mergeEach merges, and tells whether it has given all records to each in canonical order. Else what it has given is
// void.
func mergeEach(
	fsys fileSystem, dst string, shards []Shard, plan MergePlan, each func(*Record) error,
) (given bool, err error) {
	if plan.Fingerprint == "" {
		return false, fmt.Errorf("merging into %s: no fingerprint is given", dst)
	}
	for _, s := range shards {
		if filepath.Clean(s.Path) == filepath.Clean(dst) {
			return false, fmt.Errorf("merging into %s: that is shard %s itself", dst, s.Name)
		}
	}
	held, err := lease.Acquire(context.Background(), dst, nil)
	if err != nil {
		return false, err
	}
	err = errUnsorted
	if plan.Owner != nil {
		err = mergeSorted(fsys, dst, shards, plan, each)
	}
	given = err == nil
	if errors.Is(err, errUnsorted) {
		_ = os.Remove(dst + ".tmp") // what was written of it; a second attempt overwrites what cannot be removed
		err = mergeIndexed(fsys, dst, shards, plan)
	}
	return given, errors.Join(err, held.Release())
}

// errUnsorted says that a shard's next line is not the sample that is next: it is not in order, or something is wrong
// with it, which mergeIndexed tells apart.
var errUnsorted = errors.New("the shards are not in order")

// mergeSorted merges shards that are complete and in canonical order, as a finished run leaves them, in one pass: the
// next sample of the run is the next line of the shard that owns it. It holds a line and a buffer for each shard.
func mergeSorted(fsys fileSystem, dst string, shards []Shard, plan MergePlan, each func(*Record) error) error {
	readers := make([]*lineReader, len(shards))
	for i, s := range shards {
		f, err := files.Open(s.Path)
		if err != nil {
			return errUnsorted // also where there are more shards than a process may open
		}
		defer f.Close() //nolint:errcheck // nothing was written
		const buffer = 32 << 10
		readers[i] = &lineReader{br: bufio.NewReaderSize(f, buffer)}
	}
	return writeAtomic(fsys, dst, func(w io.Writer) error {
		out := bufio.NewWriterSize(w, 1<<18)
		for key := range plan.Keys {
			owner := plan.Owner(key)
			if owner < 0 || owner >= len(readers) {
				return errUnsorted
			}
			line, err := readers[owner].next()
			if err != nil {
				return errUnsorted
			}
			r, err := line.parse()
			if err != nil || r.Run != plan.Fingerprint || r.Key() != key {
				return errUnsorted
			}
			if _, err := out.Write(line.data); err != nil {
				return err
			}
			if err := each(&r); err != nil {
				return fmt.Errorf("the record of %s: %w", key, err)
			}
		}
		for _, r := range readers {
			if _, err := r.next(); !errors.Is(err, io.EOF) {
				return errUnsorted
			}
		}
		return out.Flush()
	})
}

// mergeIndexed merges shards in any order: it indexes all of their lines, finds what is wrong with them, and reads the
// lines again one by one.
func mergeIndexed(fsys fileSystem, dst string, shards []Shard, plan MergePlan) error {
	var (
		entries []entry
		errs    []error
	)
	for i, s := range shards {
		var err error
		if entries, err = indexShard(entries, s, i, plan); err != nil {
			errs = append(errs, &ShardError{Shard: s, Reason: err})
		}
	}
	if len(errs) == 0 {
		slices.SortFunc(entries, func(a, b entry) int {
			return cmp.Or(a.key.compare(b.key), cmp.Compare(a.shard, b.shard))
		})
		errs = checkShards(entries, shards, plan)
	}
	if len(errs) > 0 {
		return fmt.Errorf("merging into %s: %w", dst, errors.Join(errs...))
	}
	files := shardFiles{shards: shards}
	defer files.close()
	return writeAtomic(fsys, dst, func(w io.Writer) error {
		out := bufio.NewWriterSize(w, 1<<18)
		var buf []byte
		for _, e := range entries {
			f, err := files.open(int(e.shard))
			if err != nil {
				return err
			}
			path := shards[e.shard].Path
			if buf, err = readSpan(path, f, span{offset: e.offset, length: e.length}, buf); err != nil {
				return err
			}
			if _, err := out.Write(buf); err != nil {
				return err
			}
		}
		return out.Flush()
	})
}

// indexShard appends the lines of a shard.
func indexShard(entries []entry, s Shard, number int, plan MergePlan) ([]entry, error) {
	f, err := files.Open(s.Path)
	if err != nil {
		return entries, fmt.Errorf("it is missing: %w", err)
	}
	defer f.Close() //nolint:errcheck // nothing was written
	err = scan(s.Path, f, plan.Fingerprint, func(r *Record, line []byte, offset int64) error {
		key, err := r.Key().pack()
		if err != nil {
			return &DamageError{Reason: err}
		}
		if plan.Owner != nil {
			if owner := plan.Owner(r.Key()); owner != number {
				return fmt.Errorf("it holds the sample %s, which is not its own", r.Key())
			}
		}
		entries = append(entries, entry{key: key, offset: offset, length: int32(len(line)), shard: int32(number)})
		return nil
	})
	var torn *TornError
	if errors.As(err, &torn) {
		return entries, fmt.Errorf("it is not finished, resume it first: %w", err)
	}
	return entries, err
}

// checkShards compares the sorted lines with the plan. One error a shard and kind is enough: it names the first sample
// and how many there are.
func checkShards(entries []entry, shards []Shard, plan MergePlan) []error {
	var errs []error
	absent, foreign, repeated := newTally(), newTally(), newTally()
	i := 0
	for key := range plan.Keys {
		w, err := key.pack()
		if err != nil {
			return []error{fmt.Errorf("the plan of the run: %w", err)}
		}
		for i < len(entries) && entries[i].key.compare(w) < 0 {
			foreign.add(int(entries[i].shard), entries[i].key.unpack())
			i++
		}
		if i == len(entries) || entries[i].key != w {
			owner := -1
			if plan.Owner != nil {
				owner = plan.Owner(key)
			}
			absent.add(owner, key)
			continue
		}
		for i++; i < len(entries) && entries[i].key == w; i++ {
			repeated.add(int(entries[i].shard), key)
			repeated.other[int(entries[i].shard)] = int(entries[i-1].shard)
		}
	}
	for ; i < len(entries); i++ {
		foreign.add(int(entries[i].shard), entries[i].key.unpack())
	}
	for shard, t := range absent.sorted() {
		reason := fmt.Errorf("%s missing, the first is %s: resume the shard that owns it first", samplesAre(t.n),
			t.first)
		if shard < 0 || shard >= len(shards) {
			errs = append(errs, reason)
			continue
		}
		errs = append(errs, &ShardError{Shard: shards[shard], Reason: reason})
	}
	for shard, t := range foreign.sorted() {
		errs = append(errs, &ShardError{
			Shard:  shards[shard],
			Reason: fmt.Errorf("%s no part of the run, the first is %s", samplesAre(t.n), t.first),
		})
	}
	for shard, t := range repeated.sorted() {
		other := shards[repeated.other[shard]]
		errs = append(errs, &ShardError{
			Shard: shards[shard],
			Reason: fmt.Errorf("%s held by shard %s (%s) too, the first is %s", samplesAre(t.n), other.Name, other.Path,
				t.first),
		})
	}
	return errs
}

// tally counts samples by shard and remembers the first of each.
type tally struct {
	counts map[int]count
	other  map[int]int
}

type count struct {
	n     int
	first Key
}

func newTally() tally { return tally{counts: map[int]count{}, other: map[int]int{}} }

func (t tally) add(shard int, k Key) {
	c, ok := t.counts[shard]
	if !ok {
		c.first = k
	}
	c.n++
	t.counts[shard] = c
}

// sorted yields the counts by number of shard.
func (t tally) sorted() iter.Seq2[int, count] {
	return func(yield func(int, count) bool) {
		shards := make([]int, 0, len(t.counts))
		for s := range t.counts {
			shards = append(shards, s)
		}
		slices.Sort(shards)
		for _, s := range shards {
			if !yield(s, t.counts[s]) {
				return
			}
		}
	}
}

// shardFiles keeps a few shards open: a run may have more of them than a process may have open files.
type shardFiles struct {
	shards []Shard
	held   []openShard
}

type openShard struct {
	number int
	f      *os.File
}

const maxOpenShards = 64

func (s *shardFiles) open(number int) (*os.File, error) {
	for i, o := range s.held {
		if o.number == number {
			return s.held[i].f, nil
		}
	}
	if len(s.held) == maxOpenShards {
		s.held[0].f.Close() //nolint:errcheck // nothing was written
		s.held = slices.Delete(s.held, 0, 1)
	}
	f, err := files.Open(s.shards[number].Path)
	if err != nil {
		return nil, err
	}
	s.held = append(s.held, openShard{number, f})
	return f, nil
}

func (s *shardFiles) close() {
	for _, o := range s.held {
		o.f.Close() //nolint:errcheck // nothing was written
	}
}

// Rebase gives the records of the journal at path, which belong to the run with fingerprint from, to the run with
// fingerprint to: for a run that is extended. Either all records change hands or none; a journal that has changed hands
// already is left as it is.
func Rebase(path, from, to string) error {
	if from == "" || to == "" {
		return fmt.Errorf("rebasing %s: no fingerprint is given", path)
	}
	held, err := lease.Acquire(context.Background(), path, nil)
	if err != nil {
		return err
	}
	err = rebase(osFS{}, path, from, to)
	return errors.Join(err, held.Release())
}

func rebase(fsys fileSystem, path, from, to string) error {
	for r, err := range Read(path, "") {
		if err == nil && r.Run == to {
			return nil
		}
		break
	}
	return writeAtomic(fsys, path, func(w io.Writer) error {
		out := bufio.NewWriterSize(w, 1<<18)
		var line []byte
		for r, err := range Read(path, from) {
			if err != nil {
				return err
			}
			r.Run = to
			if line, err = r.AppendLine(line[:0]); err != nil {
				return err
			}
			if _, err := out.Write(line); err != nil {
				return err
			}
		}
		return out.Flush()
	})
}
