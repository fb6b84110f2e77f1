package lease

import (
	"errors"
	"os"
	"syscall"
)

// Flock takes the kernel's exclusive lock on an open file, or fails at once with EWOULDBLOCK where another holds it.
func Flock(f *os.File) error {
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

// HasName reports whether an open file is still the one of that name.
func HasName(f *os.File, name string) bool {
	held, err := f.Stat()
	if err != nil {
		return false
	}
	named, err := os.Stat(name)
	return err == nil && os.SameFile(held, named)
}
