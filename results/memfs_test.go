package results

import (
	"io"
	"io/fs"
	"os"
	"slices"
	"testing"
)

// memFS is a file system in memory, for tests that open thousands of journals.
type memFS struct{ files map[string]*memFile }

func newMemFS() *memFS { return &memFS{files: map[string]*memFile{}} }

// memFile is a file and an open handle of it at once: every write appends.
type memFile struct{ data []byte }

func (m *memFS) OpenFile(name string, flag int, _ fs.FileMode) (file, error) {
	f, ok := m.files[name]
	switch {
	case ok && flag&os.O_EXCL != 0:
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrExist}
	case !ok && flag&os.O_CREATE == 0:
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	case !ok:
		f = &memFile{}
		m.files[name] = f
	case flag&os.O_TRUNC != 0:
		f.data = nil
	}
	return f, nil
}

func (m *memFS) Rename(oldpath, newpath string) error {
	f, ok := m.files[oldpath]
	if !ok {
		return &fs.PathError{Op: "rename", Path: oldpath, Err: fs.ErrNotExist}
	}
	delete(m.files, oldpath)
	m.files[newpath] = f
	return nil
}

func (m *memFS) SyncDir(string) error { return nil }

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	if off >= int64(len(f.data)) {
		return 0, io.EOF
	}
	n := copy(p, f.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memFile) Write(p []byte) (int, error) {
	f.data = append(f.data, p...)
	return len(p), nil
}

func (f *memFile) Truncate(size int64) error {
	f.data = f.data[:size]
	return nil
}

func (f *memFile) Datasync() error { return nil }

func (f *memFile) Close() error { return nil }

// put makes a file.
func (m *memFS) put(name string, data []byte) { m.files[name] = &memFile{data: slices.Clone(data)} }

// get returns what a file holds.
func (m *memFS) get(t *testing.T, name string) []byte {
	t.Helper()
	f, ok := m.files[name]
	if !ok {
		t.Fatalf("there is no %s", name)
	}
	return f.data
}

// finish is the function finish in memory.
func (m *memFS) finish(t *testing.T, name string, keys []Key, batch int) []byte {
	t.Helper()
	j, err := openLocked(m, name, testRun, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	fillJournal(t, j, keys, batch)
	if err := j.Finalize(); err != nil {
		t.Fatal(err)
	}
	return m.get(t, name)
}
