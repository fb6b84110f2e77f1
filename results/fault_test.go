package results

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// faultFS fails at the n-th operation that could change or sync something, and, where dead is set, at every one after
// it, as a disk that is gone does.
type faultFS struct {
	fileSystem
	at    int
	err   error
	short bool // a failing write writes half, and says no more than that
	dead  bool
	ops   int
}

func (f *faultFS) fail() bool {
	f.ops++
	return f.ops == f.at || f.dead && f.at > 0 && f.ops > f.at
}

func (f *faultFS) OpenFile(name string, flag int, perm fs.FileMode) (file, error) {
	if f.fail() {
		return nil, &fs.PathError{Op: "open", Path: name, Err: f.err}
	}
	inner, err := f.fileSystem.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &faultFile{file: inner, fs: f}, nil
}

func (f *faultFS) Rename(oldpath, newpath string) error {
	if f.fail() {
		return f.err
	}
	return f.fileSystem.Rename(oldpath, newpath)
}

func (f *faultFS) SyncDir(dir string) error {
	if f.fail() {
		return f.err
	}
	return f.fileSystem.SyncDir(dir)
}

type faultFile struct {
	file
	fs *faultFS
}

func (f *faultFile) ReadAt(p []byte, off int64) (int, error) {
	if f.fs.fail() {
		return 0, f.fs.err
	}
	return f.file.ReadAt(p, off)
}

func (f *faultFile) Write(p []byte) (int, error) {
	if !f.fs.fail() {
		return f.file.Write(p)
	}
	n, err := f.file.Write(p[:len(p)/2])
	if err == nil && !f.fs.short {
		err = f.fs.err
	}
	return n, err
}

func (f *faultFile) Truncate(size int64) error {
	if f.fs.fail() {
		return f.fs.err
	}
	return f.file.Truncate(size)
}

func (f *faultFile) Datasync() error {
	if f.fs.fail() {
		return f.fs.err
	}
	return f.file.Datasync()
}

func (f *faultFile) Close() error {
	err := f.file.Close()
	if f.fs.fail() {
		return f.fs.err
	}
	return err
}

// attempt is a run that stops at the first error.
func attempt(fsys fileSystem, path string, keys []Key) (err error) {
	j, err := openLocked(fsys, path, testRun, nil, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, j.Close()) }()
	for i, k := range keys {
		if j.Has(k) {
			continue
		}
		batch := []Record{testRecord(k)}
		if i+1 < len(keys) && !j.Has(keys[i+1]) {
			batch = append(batch, testRecord(keys[i+1]))
		}
		if err := j.Append(batch); err != nil {
			// Broken means broken, also where the next write would succeed.
			if again := j.Append([]Record{testRecord(Key{Order: 999})}); !errors.Is(again, err) {
				return fmt.Errorf("an append after a failed one: %w", again)
			}
			return err
		}
	}
	return j.Finalize()
}

// Whatever operation fails, in whatever way, the next run ends with the bytes of a run that nothing happened to.
func TestJournalSurvivesFaults(t *testing.T) {
	t.Parallel()
	keys := shuffled(testGrid(1, 2, 1, 5))
	want := newMemFS().finish(t, "whole", keys, 3)
	torn := []byte(`{"run":"f00dfe`)
	for _, start := range []struct {
		name string
		data []byte
	}{{"fresh", nil}, {"torn", torn}} {
		for _, fault := range []struct {
			name string
			fs   faultFS
		}{
			{"ENOSPC", faultFS{err: syscall.ENOSPC}},
			{"EIO for good", faultFS{err: syscall.EIO, dead: true}},
			{"short write", faultFS{err: syscall.EIO, short: true}},
		} {
			t.Run(start.name+" "+fault.name, func(t *testing.T) {
				failed := 0
				for at := 1; ; at++ {
					m := newMemFS()
					m.put("j", start.data)
					fsys := fault.fs
					fsys.fileSystem, fsys.at = m, at
					err := attempt(&fsys, "j", keys)
					if fsys.ops < at {
						if err != nil {
							t.Fatalf("no fault came, and yet: %v", err)
						}
						break
					}
					if err == nil {
						t.Fatalf("operation %d failed and nothing was said", at)
					}
					failed++
					var write *WriteError
					if errors.As(err, &write) && !strings.Contains(err.Error(), "resume") {
						t.Errorf("operation %d: the message does not say how to go on: %v", at, err)
					}
					if got := m.finish(t, "j", keys, 3); !bytes.Equal(got, want) {
						t.Fatalf("operation %d (%v): the resumed journal differs", at, err)
					}
				}
				if failed < 20 {
					t.Errorf("only %d operations were made to fail", failed)
				}
			})
		}
	}
}

func TestWriteAtomicKeepsTheOldFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for at := 1; ; at++ {
		path := filepath.Join(dir, fmt.Sprintf("f%d", at))
		writeFile(t, path, []byte("old"))
		fsys := &faultFS{fileSystem: osFS{}, err: syscall.ENOSPC, at: at}
		err := writeBytes(fsys, path, []byte("new content"))
		if fsys.ops < at {
			break
		}
		if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), path) {
			t.Errorf("operation %d: %v", at, err)
		}
		if got := string(readFile(t, path)); got != "old" && got != "new content" {
			t.Errorf("operation %d: the file holds %q", at, got)
		}
	}
}
