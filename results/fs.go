package results

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/gsmeval/gsmeval/internal/files"
)

// file is what the journal needs of an open file.
type file interface {
	io.ReaderAt
	io.Writer
	io.Closer
	Truncate(size int64) error
	// Datasync returns when what was written is on the disk.
	Datasync() error
}

// fileSystem is what the journal and the writers of whole files need of the system; tests put one that fails in its
// place.
type fileSystem interface {
	OpenFile(name string, flag int, perm fs.FileMode) (file, error)
	Rename(oldpath, newpath string) error
	// SyncDir returns when the names in dir are on the disk.
	SyncDir(dir string) error
}

type osFile struct{ *os.File }

func (f osFile) Datasync() error {
	for {
		err := syscall.Fdatasync(int(f.Fd()))
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil {
			return &fs.PathError{Op: "fdatasync", Path: f.Name(), Err: err}
		}
		return nil
	}
}

type osFS struct{}

func (osFS) OpenFile(name string, flag int, perm fs.FileMode) (file, error) {
	f, err := files.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (osFS) Rename(oldpath, newpath string) error { return os.Rename(oldpath, newpath) }

func (osFS) SyncDir(dir string) error {
	d, err := os.Open(dir) //nolint:forbidigo // a directory, to be synced
	if err != nil {
		return err
	}
	err = d.Sync()
	// Some network file systems cannot sync a directory; there is nothing more that can be done there, and refusing to
	// work would help nobody.
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		err = nil
	}
	return errors.Join(err, d.Close())
}

// writeAtomic puts a file in place whole or not at all: what fill writes goes to a temporary file beside it, which is
// synced and renamed.
func writeAtomic(fsys fileSystem, path string, fill func(io.Writer) error) error {
	tmp := path + ".tmp"
	f, err := fsys.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	err = fill(f)
	if err == nil {
		err = f.Datasync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = fsys.Rename(tmp, path)
	}
	if err == nil {
		err = fsys.SyncDir(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}

// writeBytes is writeAtomic for data in memory.
func writeBytes(fsys fileSystem, path string, data []byte) error {
	return writeAtomic(fsys, path, func(w io.Writer) error {
		n, err := w.Write(data)
		if err == nil && n < len(data) {
			err = io.ErrShortWrite
		}
		return err
	})
}

// WriteFile puts a file in place whole or not at all.
func WriteFile(path string, data []byte) error { return writeBytes(osFS{}, path, data) }
