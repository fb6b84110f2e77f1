// Package lease keeps other processes out of a file while this one writes it: by the kernel's lock where that can be
// trusted, and by a record with a heartbeat beside the file where it cannot.
package lease

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

// The lease of a file is a file beside it, NAME.lock, that names its owner.
//
// On a file system of this machine flock on that file keeps others out, and the kernel gives it back when the owner
// dies. A network file system may grant a lock twice, keep that of a client that is gone, or know none at all: there
// flock only helps, and the record decides. Its owner counts a heartbeat up every beatEvery. A process that finds a
// record asks the kernel if the owner is of this host and pid namespace. Otherwise it watches the record, by its own
// clock, because the clocks of two hosts differ: a heartbeat that moves means that the owner lives, one that stands
// still for staleAfter that it is dead. A process that takes a lease writes its record, waits for settleFor and reads
// the record again: of several that did so at once, the last writer has the lease.
//
// None of this is trusted with the data. An owner reads the record as often as its heart beats and stops when the
// record is another's. What two writers may have done to a journal until then shows in its checksums, and in the
// fingerprint and the keys of its records, and is refused when the journal is opened or merged.
const (
	suffix     = ".lock"
	beatEvery  = 10 * time.Second
	watchEvery = 2 * time.Second
	staleAfter = 2 * time.Minute
	settleFor  = 2 * time.Second
)

// LockedError says who holds a file that was to be written.
type LockedError struct {
	Path  string
	Owner Owner
}

func (e *LockedError) Error() string {
	return fmt.Sprintf("%s is being written by %s: wait for it to end, or stop it", e.Path, e.Owner)
}

// LostError says that another process took a lease over while this one held it.
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

// Lease is the right to write a file, held until Release.
type Lease struct {
	path string // of the file
	name string // of the lock file
	f    *os.File
	env  *environment

	mu       sync.Mutex
	owner    Owner
	verified time.Time // when the record was last seen to be this lease's
	lost     *LostError
	stop     chan struct{}
	done     chan struct{}
}

// environment is what a lease needs of the system. Tests put a clock, a host or a file system of their own in its
// place.
type environment struct {
	self  Owner
	local func(dir string) bool
	flock func(*os.File) error
	sleep func(context.Context, time.Duration) error
	now   func() time.Time
	// every calls f again and again until stop is closed.
	every func(stop <-chan struct{}, d time.Duration, f func())
}

func system() *environment {
	return &environment{
		self: thisProcess(), local: localFileSystem, flock: Flock, sleep: sleep, now: time.Now,
		every: every,
	}
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

// Acquire takes the lease of a file. Where another process holds it the error is a *LockedError: at once, or, if that
// process is on another host, after its heartbeat was seen. The lease of a dead process is taken over. Acquire may have
// to watch a heartbeat for some time; logf, which may be nil, is told so.
func Acquire(ctx context.Context, path string, logf func(format string, args ...any)) (*Lease, error) {
	return system().acquire(ctx, path, logf)
}

func (e *environment) acquire(ctx context.Context, path string, logf func(format string, args ...any)) (*Lease, error) {
	if logf == nil {
		logf = func(string, ...any) {}
	}
	name, local := path+suffix, e.local(filepath.Dir(path))
	for range 100 {
		f, err := files.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			return nil, fmt.Errorf("locking %s: %w", path, err)
		}
		lk, err := e.try(ctx, path, f, local, logf)
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

// try makes one attempt with an open lock file. Where it returns neither a lease nor an error, the file was replaced in
// the meantime.
func (e *environment) try(ctx context.Context, path string, f *os.File, local bool, logf func(string, ...any)) (*Lease,
	error,
) {
	name := path + suffix
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
	// The last holder may have removed the file between the two calls: a lock on a file that has lost its name protects
	// nothing.
	if busy == nil && !HasName(f, name) {
		return nil, nil //nolint:nilnil // see above
	}
	switch state := held.life(e.self); {
	case state == alive:
		return nil, &LockedError{Path: path, Owner: held.owner}
	case state == unknown && local && (held.owner.PID == 0 || held.owner.Host == e.self.Host):
		// The kernel of this host has just said that nobody holds the file.
	case state == unknown:
		logf("%s may be being written by %s; watching its heartbeat for up to %v", path, held.owner, staleAfter)
		if gone, err := e.watch(ctx, path, held); gone || err != nil {
			return nil, err
		}
		logf("%s: no heartbeat for %v, taking it over", path, staleAfter)
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

// watch reads a record again and again until it has stood still for staleAfter. A heartbeat that moves is a
// *LockedError; gone says that the file was removed.
func (e *environment) watch(ctx context.Context, path string, held note) (gone bool, err error) {
	for begin := e.now(); e.now().Sub(begin) < staleAfter; {
		if err := e.sleep(ctx, watchEvery); err != nil {
			return false, err
		}
		switch now, err := readNote(path + suffix); {
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
func (e *environment) claim(ctx context.Context, path string, f *os.File, local bool) (*Lease, error) {
	lk := &Lease{
		path: path, name: path + suffix, f: f, env: e, owner: e.self,
		stop: make(chan struct{}), done: make(chan struct{}),
	}
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
	lk.verified = e.now()
	go func() {
		defer close(lk.done)
		e.every(lk.stop, beatEvery, lk.beat)
	}()
	return lk, nil
}

// write puts the record into the lock file, at the same length each time.
func (l *Lease) write() error {
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

// beat shows that the owner lives, after verifying that it still is the owner. What cannot be read or written now is
// tried again at the next beat.
func (l *Lease) beat() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.verify() != nil {
		return
	}
	l.owner.Beat++
	_ = l.write() // other processes notice, and so does check
}

// verify reads the record and remembers when it is another's.
func (l *Lease) verify() error {
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
		l.verified = l.env.now().Round(0) // wall time: the other goes on while this machine is suspended
		return nil
	}
	return l.lost
}

// Check returns nil while the lease is held; it is called before every write. Between two beats it costs nothing.
func (l *Lease) Check() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lost == nil && l.env.now().Round(0).Sub(l.verified) < 2*beatEvery {
		return nil
	}
	if err := l.verify(); err != nil {
		return fmt.Errorf("before writing %s: %w", l.path, err)
	}
	return nil
}

// SetRecords puts into the record how many records the file had when the lease was taken.
func (l *Lease) SetRecords(n int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.owner.Records = n
	if err := l.write(); err != nil {
		return fmt.Errorf("writing %s: %w", l.name, err)
	}
	return nil
}

// Release gives the lease back. The lock file is removed while it is still locked, so that no other process can be
// holding it.
func (l *Lease) Release() error {
	close(l.stop)
	<-l.done
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.verify()
	var lost *LostError
	switch {
	case errors.As(err, &lost):
		err = nil // the file is another's
	case err == nil:
		err = os.Remove(l.name)
	}
	return errors.Join(err, l.f.Close())
}

// localFileSystems are those whose locks the kernel of this machine keeps (statfs(2)). Any other is taken for a
// network's, which is slower and always right.
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

func localFileSystem(dir string) bool {
	var s syscall.Statfs_t
	return syscall.Statfs(dir, &s) == nil && localFileSystems[int64(uint32(s.Type))]
}
