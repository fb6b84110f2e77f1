package results

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/gsmeval/gsmeval/internal/files"
)

// The lock of a journal is a file beside it, NAME.lock, that names its owner.
//
// On a file system of this machine flock on that file keeps others out, and the
// kernel gives it back when the owner dies. A network file system may grant a
// lock twice, keep that of a client that is gone, or know none at all: there
// flock only helps, and the record decides. Its owner counts a heartbeat up every
// beatEvery. A process that finds a record asks the kernel if the owner is of this
// host and pid namespace; else it watches, by its own clock, since those of two
// hosts differ: a heartbeat that moves means that the owner lives, one that stands
// still for staleAfter that it is dead. Who takes the lock writes a record, waits
// settleFor and looks again: of several that did so at once the last writer has it.
//
// None of this is trusted with the data. An owner looks at the record as often as
// it beats and stops when the record is another's; and what two writers may have
// done to a journal until then shows in its checksums, and in the fingerprint and
// the keys of its records, and is refused by opening and by merging.
const (
	lockSuffix = ".lock"
	beatEvery  = 10 * time.Second
	lookEvery  = 2 * time.Second
	staleAfter = 2 * time.Minute
	settleFor  = 2 * time.Second
)

// LockedError says who holds a journal that was to be written.
type LockedError struct {
	Path  string
	Owner Owner
}

func (e *LockedError) Error() string {
	return fmt.Sprintf("%s is being written by %s: wait for it to end, or stop it", e.Path, e.Owner)
}

// LostError says that another process took a lock over while this one held it.
type LostError struct {
	Path  string
	Owner Owner // zero where the lock file was removed
}

func (e *LostError) Error() string {
	by := "its lock file was removed"
	if e.Owner.PID != 0 {
		by = "it was taken over by " + e.Owner.String() + ", which saw no sign of life of this process"
	}
	return fmt.Sprintf("%s is no longer this process's to write: %s; what was written is kept", e.Path, by)
}

// lock is a journal's lock, held.
type lock struct {
	path string // of what is locked
	name string
	f    *os.File
	env  *lockEnv

	mu    sync.Mutex
	owner Owner
	seen  time.Time // when the record was last seen to be this lock's
	lost  *LostError
	stop  chan struct{}
	done  chan struct{}
}

// lockEnv is what a lock needs of the system; tests put a clock, a host or a
// file system of their own in its place.
type lockEnv struct {
	self  Owner
	local func(dir string) bool
	flock func(*os.File) error
	sleep func(context.Context, time.Duration) error
	now   func() time.Time
	// every calls f again and again until stop is closed.
	every func(stop <-chan struct{}, d time.Duration, f func())
}

func systemEnv() *lockEnv {
	return &lockEnv{self: thisProcess(), local: localFS, flock: flock, sleep: sleep, now: time.Now, every: every}
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func every(stop <-chan struct{}, d time.Duration, f func()) {
	t := time.NewTicker(d)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			f()
		case <-stop:
			return
		}
	}
}

// Lock takes the lock of path and returns how to give it back. Where another
// process holds it that is a *LockedError: at once, or, if that process is on
// another host, after its heartbeat was seen. One that is dead is taken over.
func Lock(ctx context.Context, path string, say func(format string, args ...any)) (release func() error, err error) {
	lk, err := acquireLock(ctx, path, say)
	if err != nil {
		return nil, err
	}
	return lk.release, nil
}

// acquireLock is Lock. say, which may be nil, is told what is waited for.
func acquireLock(ctx context.Context, path string, say func(format string, args ...any)) (*lock, error) {
	return systemEnv().acquire(ctx, path, say)
}

func (e *lockEnv) acquire(ctx context.Context, path string, say func(format string, args ...any)) (*lock, error) {
	if say == nil {
		say = func(string, ...any) {}
	}
	name, local := path+lockSuffix, e.local(filepath.Dir(path))
	for range 100 {
		f, err := files.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			return nil, fmt.Errorf("locking %s: %w", path, err)
		}
		lk, err := e.try(ctx, path, f, local, say)
		if err == nil && lk != nil {
			return lk, nil
		}
		f.Close() //nolint:errcheck // the error that matters is the first
		if err != nil {
			var locked *LockedError
			if errors.As(err, &locked) || ctx.Err() != nil {
				return nil, err
			}
			return nil, fmt.Errorf("locking %s: %w", path, err)
		}
	}
	return nil, fmt.Errorf("locking %s: its lock file keeps being replaced by other processes", path)
}

// try makes one attempt with an open lock file: neither a lock nor an error means
// that the file was replaced meanwhile.
func (e *lockEnv) try(ctx context.Context, path string, f *os.File, local bool, say func(string, ...any)) (*lock, error) {
	name := path + lockSuffix
	busy := e.flock(f)
	if busy != nil && local && !errors.Is(busy, syscall.EWOULDBLOCK) {
		return nil, busy
	}
	held, err := readNote(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // its owner has just removed it
	}
	if err != nil {
		return nil, err
	}
	if busy != nil && local {
		return nil, &LockedError{Path: path, Owner: held.owner}
	}
	// The last holder may have removed the file between the two calls: a lock on a
	// file that has lost its name protects nothing.
	if busy == nil && !sameFile(f, name) {
		return nil, nil //nolint:nilnil // see above
	}
	switch state := held.life(e.self); {
	case state == alive:
		return nil, &LockedError{Path: path, Owner: held.owner}
	case state == unknown && local && (held.owner.PID == 0 || held.owner.Host == e.self.Host):
		// The kernel of this host has just said that nobody holds the file.
	case state == unknown:
		say("%s may be being written by %s; watching its heartbeat for up to %v", path, held.owner, staleAfter)
		if gone, err := e.watch(ctx, path, held); gone || err != nil {
			return nil, err
		}
		say("%s: no heartbeat for %v, taking it over", path, staleAfter)
	}
	if busy != nil && errors.Is(busy, syscall.EWOULDBLOCK) {
		// A file server keeps the lock of a client that is gone; a new file has none.
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		return nil, nil //nolint:nilnil // tried again with the new file
	}
	return e.claim(ctx, path, f, local)
}

// watch looks at a record until it has stood still for staleAfter. That its
// heartbeat moves is a *LockedError; gone says that the file was removed.
func (e *lockEnv) watch(ctx context.Context, path string, held note) (gone bool, err error) {
	for begin := e.now(); e.now().Sub(begin) < staleAfter; {
		if err := e.sleep(ctx, lookEvery); err != nil {
			return false, err
		}
		switch now, err := readNote(path + lockSuffix); {
		case errors.Is(err, fs.ErrNotExist):
			return true, nil
		case err != nil:
			return false, err
		case !bytes.Equal(now.raw, held.raw):
			return false, &LockedError{Path: path, Owner: now.owner}
		}
	}
	return false, nil
}

// claim writes the record and starts the heartbeat.
func (e *lockEnv) claim(ctx context.Context, path string, f *os.File, local bool) (*lock, error) {
	lk := &lock{path: path, name: path + lockSuffix, f: f, env: e, owner: e.self, stop: make(chan struct{}), done: make(chan struct{})}
	lk.owner.Token = rand.Text()
	if err := lk.write(); err != nil {
		return nil, err
	}
	if !local {
		if err := e.sleep(ctx, settleFor); err != nil {
			return nil, err
		}
		now, err := readNote(lk.name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil //nolint:nilnil // another has removed it to make its own
		}
		if err != nil {
			return nil, err
		}
		if now.owner.Token != lk.owner.Token {
			return nil, &LockedError{Path: path, Owner: now.owner}
		}
	}
	lk.seen = e.now()
	go func() {
		defer close(lk.done)
		e.every(lk.stop, beatEvery, lk.beat)
	}()
	return lk, nil
}

// write puts the record into the lock file, at the same length each time.
func (l *lock) write() error {
	data, err := json.Marshal(l.owner)
	if err != nil {
		return err
	}
	const length = 4 << 10 // a page: what is read is never half of it
	if len(data) < length {
		data = append(data, bytes.Repeat([]byte{' '}, length-1-len(data))...)
	}
	if _, err := l.f.WriteAt(append(data, '\n'), 0); err != nil {
		return err
	}
	return l.f.Sync() // others see nothing before
}

// beat shows that the owner lives, and looks whether it still is the owner. What
// cannot be read or written now is tried again at the next beat.
func (l *lock) beat() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.look() != nil {
		return
	}
	l.owner.Beat++
	_ = l.write() // other processes notice, and so does check
}

// look reads the record and notes when it is another's.
func (l *lock) look() error {
	if l.lost != nil {
		return l.lost
	}
	now, err := readNote(l.name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		l.lost = &LostError{Path: l.path}
	case err != nil:
		return err
	case now.owner.Token != l.owner.Token:
		l.lost = &LostError{Path: l.path, Owner: now.owner}
	default:
		l.seen = l.env.now().Round(0) // wall time: the other goes on while this machine is suspended
		return nil
	}
	return l.lost
}

// check is asked before every write: nil while the lock is held. Between two
// beats it costs nothing.
func (l *lock) check() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lost == nil && l.env.now().Round(0).Sub(l.seen) < 2*beatEvery {
		return nil
	}
	if err := l.look(); err != nil {
		return fmt.Errorf("before writing %s: %w", l.path, err)
	}
	return nil
}

// had notes in the record how many samples were there at the start.
func (l *lock) had(n int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.owner.Had = n
	if err := l.write(); err != nil {
		return fmt.Errorf("writing %s: %w", l.name, err)
	}
	return nil
}

// release gives the lock back. The file is removed while it is still locked, so
// that no other process can be holding it.
func (l *lock) release() error {
	close(l.stop)
	<-l.done
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.look()
	var lost *LostError
	switch {
	case errors.As(err, &lost):
		err = nil // the file is another's
	case err == nil:
		err = os.Remove(l.name)
	}
	return errors.Join(err, l.f.Close())
}

func flock(f *os.File) error {
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

// localFileSystems are those whose locks the kernel of this machine keeps
// (statfs(2)); any other is taken for a network's, which is slower and always right.
var localFileSystems = map[int64]bool{
	0xef53:     true, // ext2 to ext4
	0x58465342: true, // xfs
	0x9123683e: true, // btrfs
	0x2fc12fc1: true, // zfs
	0xf2f52010: true, // f2fs
	0xca451a4e: true, // bcachefs
	0x01021994: true, // tmpfs
	0x858458f6: true, // ramfs
	0x794c7630: true, // overlay
}

func localFS(dir string) bool {
	var s syscall.Statfs_t
	return syscall.Statfs(dir, &s) == nil && localFileSystems[int64(uint32(s.Type))]
}

func sameFile(f *os.File, name string) bool {
	held, err := f.Stat()
	if err != nil {
		return false
	}
	named, err := os.Stat(name)
	return err == nil && os.SameFile(held, named)
}
