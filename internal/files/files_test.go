package files

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// within fails the test where f waits.
func within(t *testing.T, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("it waits")
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	pipe, sock, link := filepath.Join(dir, "pipe"), filepath.Join(dir, "sock"), filepath.Join(dir, "link")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(pipe, link); err != nil {
		t.Fatal(err)
	}
	paths := map[string]string{pipe: "a pipe", link: "a pipe", dir: "a directory", "/dev/zero": "a device"}
	if l, err := net.Listen("unix", sock); err == nil { // a path of a socket has at most 107 bytes
		defer l.Close() //nolint:errcheck // the test is over
		paths[sock] = "a socket"
	}
	for path, kind := range paths {
		for _, flag := range []int{os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_RDWR | os.O_CREATE | os.O_APPEND} {
			within(t, func() {
				f, err := OpenFile(path, flag, 0o600)
				if f != nil || err == nil || !strings.Contains(err.Error(),
					path+": it is "+kind+", not a regular file") {
					t.Errorf("OpenFile(%s, %#x): %v, expected %s", path, flag, err, kind)
				}
			})
		}
		within(t, func() {
			if _, err := Read(path, 10); err == nil || !strings.Contains(err.Error(), kind) {
				t.Errorf("Read(%s): %v, expected %s", path, err, kind)
			}
		})
	}
}

func TestRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	data := bytes.Repeat([]byte("0123456789"), 1000)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("file", link); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{path, link} {
		for _, limit := range []int64{10_000, 10_001, 1 << 40} {
			if got, err := Read(p, limit); err != nil || !bytes.Equal(got, data) {
				t.Errorf("Read(%s, %d): %d bytes, %v", p, limit, len(got), err)
			}
		}
		if _, err := Read(p, 9_999); err == nil || !strings.Contains(err.Error(), p+": more than the 9999 bytes") {
			t.Errorf("Read(%s, 9999): %v", p, err)
		}
	}
	// A file of /proc says that it is empty.
	if got, err := Read("/proc/self/status", 1<<20); err != nil || len(got) < 100 {
		t.Errorf("/proc/self/status: %d bytes, %v", len(got), err)
	}
	if _, err := Read("/proc/self/status", 100); err == nil ||
		!strings.Contains(err.Error(), "more than the 100 bytes") {
		t.Errorf("/proc/self/status in 100 bytes: %v", err)
	}
}

func TestAbsent(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, err := Read(filepath.Join(dir, "none"), 10); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	loop := filepath.Join(dir, "loop")
	if err := os.Symlink("loop", loop); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(loop); err == nil || strings.Count(err.Error(), loop) != 1 {
		t.Errorf("a link to itself: %v", err)
	}
	made, err := OpenFile(filepath.Join(dir, "made"), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer made.Close() //nolint:errcheck // the test is over
	if _, err := made.WriteString("x"); err != nil {
		t.Error(err)
	}
	if _, err := OpenFile(made.Name(), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a file that is there already: %v", err)
	}
}

// TestReplace: a file is there whole or as it was, and nothing else is left behind.
func TestReplace(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "a", "b")
	path := filepath.Join(dir, "c")
	say := func(text string, err error) func(io.Writer) error {
		return func(w io.Writer) error {
			_, writeErr := io.WriteString(w, text)
			return errors.Join(writeErr, err)
		}
	}
	if err := Replace(path, say("one", nil)); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	if err := Replace(path, say("two", broken)); !errors.Is(err, broken) || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v, want one that names the file and its cause", err)
	}
	data, err := os.ReadFile(path)
	entries, dirErr := os.ReadDir(dir)
	if err != nil || dirErr != nil || string(data) != "one" || len(entries) != 1 {
		t.Errorf("%q beside %d files (%v, %v), want the first text alone", data, len(entries), err, dirErr)
	}
}
