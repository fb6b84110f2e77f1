// Package files opens files that a user named or brought along. A path may lead to anything: to a named pipe, on which
// an open waits for ever, or to a device that never ends. What is not a regular file, or a link to one, is refused
// before a byte of it is read.
package files

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Open is os.Open for regular files.
func Open(path string) (*os.File, error) { return OpenFile(path, os.O_RDONLY, 0) }

// OpenFile is os.OpenFile for regular files.
func OpenFile(path string, flag int, perm fs.FileMode) (*os.File, error) {
	// Opening alone does something to a device, such as rewinding a tape. So the path is asked first, and what was
	// opened is asked again, because the path may have become another file in between; that open must not wait either.
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist): // the open says so, or makes it
	case err != nil:
		return nil, openError(path, err)
	default:
		if err := regular(info); err != nil {
			return nil, openError(path, err)
		}
	}
	f, err := os.OpenFile(path, flag|syscall.O_NONBLOCK, perm)
	if err != nil {
		return nil, err
	}
	if info, err = f.Stat(); err == nil {
		err = regular(info)
	}
	if err != nil {
		_ = f.Close()
		return nil, openError(path, err)
	}
	return f, nil
}

// Read is os.ReadFile for regular files of at most limit bytes.
func Read(path string, limit int64) ([]byte, error) {
	f, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() > limit {
		return nil, tooLarge(path, limit)
	}
	var b bytes.Buffer
	b.Grow(int(info.Size()) + bytes.MinRead) // so that a file which does not grow is held once
	if _, err := b.ReadFrom(io.LimitReader(f, limit+1)); err != nil {
		return nil, err
	}
	if int64(b.Len()) > limit {
		return nil, tooLarge(path, limit)
	}
	return b.Bytes(), nil
}

func openError(path string, err error) error {
	var inner *fs.PathError
	if errors.As(err, &inner) {
		err = inner.Err
	}
	return &fs.PathError{Op: "open", Path: path, Err: err}
}

func tooLarge(path string, limit int64) error {
	return &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("more than the %d bytes that such a file may have",
		limit)}
}

// regular is the error of what is no regular file.
func regular(info fs.FileInfo) error {
	kind := ""
	switch mode := info.Mode(); {
	case mode.IsRegular():
		return nil
	case mode.IsDir():
		kind = "directory"
	case mode&fs.ModeNamedPipe != 0:
		kind = "pipe"
	case mode&fs.ModeSocket != 0:
		kind = "socket"
	case mode&fs.ModeDevice != 0:
		kind = "device"
	default:
		return errors.New("not a regular file")
	}
	return fmt.Errorf("it is a %s, not a regular file", kind)
}

// Replace puts a file in place whole or not at all: fill writes a temporary file beside it, of its own for each writer,
// which is synced and renamed. The directory is made where it is missing.
func Replace(path string, fill func(io.Writer) error) error {
	fail := func(err error) error { return fmt.Errorf("writing %s: %w", path, err) }
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fail(err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.part")
	if err != nil {
		return fail(err)
	}
	out := bufio.NewWriterSize(f, 1<<18)
	if err = fill(out); err == nil {
		err = out.Flush()
	}
	if err == nil {
		err = errors.Join(f.Chmod(0o644), f.Sync())
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fail(errors.Join(err, os.Remove(f.Name())))
	}
	return nil
}
