package results

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/gsmeval/gsmeval/internal/lease"
)

// Journal is the file that a run's records are appended to, samples.jsonl. What Append returned from without an error
// is on the disk, whatever happens next. A Journal is for one goroutine; a lock beside the file keeps other processes
// out until Close.
type Journal struct {
	path        string
	fingerprint string
	fs          fileSystem
	lease       holder
	f           file

	index  map[packed]span // where the line of each key lies
	size   int64
	last   packed // the key of the last line
	sorted bool   // whether the lines are in canonical order
	torn   string // the copy of the torn tail
	broken error  // set by a failed write: the end of the file is then unknown
}

// holder is the right to write the journal: a [lease.Lease], or what a test puts in its place.
type holder interface {
	Check() error
	Release() error
}

// span is the place of a line in the journal, newline included.
type span struct {
	offset int64
	length int32
}

// WriteError says that a batch did not reach the disk. The journal refuses further batches; opened again, it goes on
// after its last whole record.
type WriteError struct {
	Path string
	Safe int // records that are safely on the disk
	Err  error
}

func (e *WriteError) Error() string {
	return fmt.Sprintf("writing samples to %s: %v: the %d samples before are safe; "+
		"mend the cause (free space on a full disk) and resume the run",
		e.Path, e.Err, e.Safe)
}

func (e *WriteError) Unwrap() error { return e.Err }

// Open opens the journal of the run with this fingerprint, or creates it. The records that are there are checked one by
// one. A last line that was cut short is moved to a file beside the journal (see [Journal.Torn]); any other damage is a
// *DamageError, another run's journal a *FingerprintError, and a journal that another process writes a
// *lease.LockedError.
func Open(path, fingerprint string) (*Journal, error) {
	return OpenContext(context.Background(), path, fingerprint, nil, nil)
}

// OpenContext is Open. It may have to watch for some time whether the journal's owner on another host still lives;
// logf, which may be nil, is told so. check, which may be nil too, is asked about every record that is there, and its error
// leaves the journal as it is.
func OpenContext(
	ctx context.Context, path, fingerprint string, logf func(format string, args ...any), check func(*Record) error,
) (*Journal, error) {
	if fingerprint == "" {
		return nil, fmt.Errorf("opening the journal %s: no fingerprint is given", path)
	}
	held, err := lease.Acquire(ctx, path, logf)
	if err != nil {
		return nil, err
	}
	j, err := openLocked(osFS{}, path, fingerprint, held, check)
	if err == nil {
		if err = held.SetRecords(j.Len()); err != nil {
			j.Close() //nolint:errcheck // the error that matters is the first
			return nil, err
		}
	}
	return j, err
}

// openLocked opens a journal whose lease is held; the journal gives it back. A nil lease is none.
func openLocked(fsys fileSystem, path, fingerprint string, held holder, check func(*Record) error) (*Journal, error) {
	j := &Journal{path: path, fingerprint: fingerprint, fs: fsys, lease: held}
	if err := j.load(check); err != nil {
		j.Close() //nolint:errcheck // the error that matters is the first
		return nil, err
	}
	return j, nil
}

// load opens the file and reads the index from it.
func (j *Journal) load(check func(*Record) error) error {
	f, err := j.fs.OpenFile(j.path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("opening the journal: %w", err)
	}
	j.f = f
	// The name must outlive a crash before the first record refers to it.
	if err := j.fs.SyncDir(filepath.Dir(j.path)); err != nil {
		return fmt.Errorf("opening the journal %s: %w", j.path, err)
	}
	j.index, j.size, j.last, j.sorted = map[packed]span{}, 0, packed{}, true
	err = scan(j.path, wholeFile(f), j.fingerprint, func(r *Record, line []byte, offset int64) error {
		key, err := r.Key().pack()
		if err != nil {
			return &DamageError{Reason: err}
		}
		if _, ok := j.index[key]; ok {
			return &DamageError{Reason: fmt.Errorf("it repeats the sample %s", r.Key())}
		}
		if check != nil {
			if err := check(r); err != nil {
				return fmt.Errorf("%s: %w", j.path, err)
			}
		}
		j.add(key, span{offset: offset, length: int32(len(line))})
		return nil
	})
	var torn *TornError
	if errors.As(err, &torn) {
		return j.cutTail(torn)
	}
	return err
}

// add enters the line that follows the last one.
func (j *Journal) add(key packed, s span) {
	j.sorted = j.sorted && (len(j.index) == 0 || key.compare(j.last) > 0)
	j.index[key] = s
	j.last = key
	j.size = s.offset + int64(s.length)
}

// cutTail takes a torn last line off the journal, after a copy of it is on the disk.
func (j *Journal) cutTail(torn *TornError) error {
	copyName, err := j.copyTail(torn)
	if err != nil {
		return fmt.Errorf("keeping a copy of the torn last line of %s (the journal is untouched): %w", j.path, err)
	}
	if err := j.f.Truncate(torn.Offset); err != nil {
		return fmt.Errorf("cutting the torn last line off %s: %w", j.path, err)
	}
	if err := j.f.Datasync(); err != nil {
		return fmt.Errorf("cutting the torn last line off %s: %w", j.path, err)
	}
	j.torn = copyName
	return nil
}

func (j *Journal) copyTail(torn *TornError) (string, error) {
	const maxCopies = 10000
	for n := 1; n <= maxCopies; n++ {
		name := fmt.Sprintf("%s.torn-%d", j.path, n)
		f, err := j.fs.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return "", err
		}
		_, err = io.Copy(f, io.NewSectionReader(j.f, torn.Offset, torn.Size))
		if err == nil {
			err = f.Datasync()
		}
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		if err == nil {
			err = j.fs.SyncDir(filepath.Dir(j.path))
		}
		return name, err
	}
	return "", fmt.Errorf("there are %d copies already; remove those that are not needed", maxCopies)
}

// Torn returns the name of the file that a torn last line was moved to when the journal was opened, and "" where there
// was none.
func (j *Journal) Torn() string { return j.torn }

// Len returns the number of records.
func (j *Journal) Len() int { return len(j.index) }

// Has reports whether the journal holds the sample.
func (j *Journal) Has(k Key) bool {
	w, err := k.pack()
	if err != nil {
		return false
	}
	_, ok := j.index[w]
	return ok
}

// Append adds a batch of records in one write and returns when it is on the disk. A record's Run is filled in; one that
// cannot be written (a sample that is there already, a status that does not exist) is refused before anything is
// written. After a *WriteError every further call fails.
func (j *Journal) Append(batch []Record) error {
	if err := j.usable(); err != nil {
		return err
	}
	if len(batch) == 0 {
		return nil
	}
	type entry struct {
		key packed
		span
	}
	var (
		buf     []byte
		entries = make([]entry, 0, len(batch))
		fresh   = make(map[packed]bool, len(batch))
	)
	for _, r := range batch {
		if r.Run == "" {
			r.Run = j.fingerprint
		}
		if r.Run != j.fingerprint {
			return fmt.Errorf("appending to %s: the record of %s belongs to the run with fingerprint %s, not to %s",
				j.path, r.Key(), r.Run, j.fingerprint)
		}
		start := len(buf)
		var err error
		if buf, err = r.AppendLine(buf); err != nil {
			return fmt.Errorf("appending to %s: %w", j.path, err)
		}
		key, err := r.Key().pack()
		if err != nil {
			return fmt.Errorf("appending to %s: %w", j.path, err)
		}
		if _, ok := j.index[key]; ok || fresh[key] {
			return fmt.Errorf("appending to %s: it holds the sample %s already", j.path, r.Key())
		}
		fresh[key] = true
		entries = append(entries, entry{key, span{offset: j.size + int64(start), length: int32(len(buf) - start)}})
	}
	n, err := j.f.Write(buf)
	if err == nil && n < len(buf) {
		err = io.ErrShortWrite
	}
	if err == nil {
		err = j.f.Datasync()
	}
	if err != nil {
		// The end of the file is unknown now, and a second sync may claim success for pages that the kernel has
		// dropped: only a fresh look can tell.
		j.broken = &WriteError{Path: j.path, Safe: len(j.index), Err: err}
		return j.broken
	}
	for _, e := range entries {
		j.add(e.key, e.span)
	}
	return nil
}

func (j *Journal) usable() error {
	if j.f == nil {
		return fmt.Errorf("the journal %s is closed", j.path)
	}
	if j.broken == nil && j.lease != nil {
		return j.lease.Check()
	}
	return j.broken
}

// Records returns the records in canonical order, whatever the order of the file; they are read one by one and checked
// again.
func (j *Journal) Records() iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		if j.f == nil {
			yield(Record{}, j.usable())
			return
		}
		var buf []byte
		for _, key := range slices.SortedFunc(maps.Keys(j.index), packed.compare) {
			var (
				r   Record
				err error
			)
			if buf, err = readSpan(j.path, j.f, j.index[key], buf); err == nil {
				r, err = parseLine(buf[:len(buf)-1])
			}
			if !yield(r, err) || err != nil {
				return
			}
		}
	}
}

// Finalize puts the records in canonical order, through a temporary file and a rename. It may be called at any time and
// again: the bytes depend on the records alone. After an error the file is as it was, or already in order.
func (j *Journal) Finalize() error {
	if err := j.usable(); err != nil {
		return err
	}
	if j.sorted {
		// Lines that a killed writer left may be known to the kernel only.
		if err := j.f.Datasync(); err != nil {
			j.broken = &WriteError{Path: j.path, Safe: len(j.index), Err: err}
		}
		return j.broken
	}
	keys := slices.SortedFunc(maps.Keys(j.index), packed.compare)
	err := writeAtomic(j.fs, j.path, func(w io.Writer) error {
		out := bufio.NewWriterSize(w, 1<<18)
		var buf []byte
		for _, key := range keys {
			var err error
			if buf, err = readSpan(j.path, j.f, j.index[key], buf); err != nil {
				return err
			}
			if _, err := out.Write(buf); err != nil {
				return err
			}
		}
		return out.Flush()
	})
	if err != nil {
		j.broken = fmt.Errorf("putting the samples in order: %w: no sample is lost; mend the cause and resume the run",
			err)
		return j.broken
	}
	old := j.f
	j.f = nil
	if err := errors.Join(old.Close(), j.load(nil)); err != nil {
		j.broken = fmt.Errorf("reading the samples that were put in order: %w", err)
		return j.broken
	}
	return nil
}

// readSpan reads the line at s into buf and checks it.
func readSpan(path string, r io.ReaderAt, s span, buf []byte) ([]byte, error) {
	buf = slices.Grow(buf[:0], int(s.length))[:s.length]
	if _, err := r.ReadAt(buf, s.offset); err != nil {
		return buf, fmt.Errorf("reading %s at byte %d: %w", path, s.offset, err)
	}
	if len(buf) == 0 || buf[len(buf)-1] != '\n' || !intact(buf[:len(buf)-1]) {
		return buf, fmt.Errorf("reading %s at byte %d: the line has changed since it was checked", path, s.offset)
	}
	return buf, nil
}

// Close closes the file and gives the lease back.
func (j *Journal) Close() error {
	var err error
	if j.f != nil {
		err = j.f.Close()
		j.f = nil
	}
	if j.lease != nil {
		err = errors.Join(err, j.lease.Release())
		j.lease = nil
	}
	if err != nil {
		return fmt.Errorf("closing the journal %s: %w", j.path, err)
	}
	return nil
}

// wholeFile reads f from its start to its end.
func wholeFile(f io.ReaderAt) io.Reader { return io.NewSectionReader(f, 0, 1<<62) }
