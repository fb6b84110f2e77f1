package results

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Owner says which process writes a journal. It is kept as JSON in the lock file
// beside the journal for as long as the journal is open; keys that are not known
// here are ignored, so that a later version can say more.
type Owner struct {
	Host    string    `json:"host"`
	PID     int       `json:"pid"`
	Boot    string    `json:"boot,omitempty"`  // the kernel's boot id
	Ticks   uint64    `json:"ticks,omitempty"` // start of the process since boot, which tells a reused pid
	Started time.Time `json:"started"`
	Command string    `json:"command"`
}

func (o Owner) String() string {
	if o.PID == 0 {
		return "another process"
	}
	return fmt.Sprintf("process %d on %s (%s, since %s)", o.PID, o.Host, o.Command, o.Started.Format(time.RFC3339))
}

// LockedError says who holds a journal that was to be written.
type LockedError struct {
	Path  string
	Owner Owner
}

func (e *LockedError) Error() string {
	return fmt.Sprintf("%s is being written by %s: wait for it to end, or stop it", e.Path, e.Owner)
}

// lock is an exclusive lock on a journal: flock on a file beside it, which the
// kernel releases when the process dies, and in it a record of the owner, for
// the message and for file systems on which flock holds on one host only.
type lock struct {
	path string
	f    *os.File
}

// acquireLock takes the lock of path or returns a *LockedError at once. A lock
// whose owner is dead is taken over.
func acquireLock(path string) (*lock, error) {
	name := path + ".lock"
	self := thisProcess()
	for range 100 {
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			return nil, fmt.Errorf("locking %s: %w", path, err)
		}
		if err := flock(f, syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
			owner := readOwner(f)
			f.Close() //nolint:errcheck // nothing was written
			if errors.Is(err, syscall.EWOULDBLOCK) {
				return nil, &LockedError{Path: path, Owner: owner}
			}
			return nil, fmt.Errorf("locking %s: %w", name, err)
		}
		// The last holder may have removed the file between the two calls: a lock
		// on a file that has lost its name protects nothing.
		if !sameFile(f, name) {
			f.Close() //nolint:errcheck // nothing was written
			continue
		}
		if owner := readOwner(f); owner.alive(self) {
			f.Close() //nolint:errcheck // nothing was written
			return nil, &LockedError{Path: path, Owner: owner}
		}
		if err := writeOwner(f, self); err != nil {
			f.Close() //nolint:errcheck // the error that matters is the first
			return nil, fmt.Errorf("locking %s: %w", path, err)
		}
		return &lock{path: name, f: f}, nil
	}
	return nil, fmt.Errorf("locking %s: its lock file keeps being replaced by other processes", path)
}

// release gives the lock back. The file is removed while it is still locked, so
// that no other process can be holding it.
func (l *lock) release() error {
	err := os.Remove(l.path)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, l.f.Close())
}

// alive reports whether the owner is a process on this host that still runs and
// is not the caller. Where flock could be had, it is asked all the same: some
// network file systems grant a lock that another process holds.
func (o Owner) alive(self Owner) bool {
	if o.PID <= 0 || o.Host != self.Host || o.Boot != self.Boot || o.PID == self.PID {
		return false
	}
	if err := syscall.Kill(o.PID, 0); errors.Is(err, syscall.ESRCH) {
		return false
	}
	ticks, err := startTicks(o.PID)
	return err != nil || o.Ticks == 0 || ticks == o.Ticks
}

func thisProcess() Owner {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	o := Owner{Host: host, PID: os.Getpid(), Started: time.Now().UTC().Truncate(time.Second), Command: strings.Join(os.Args, " ")}
	if boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id"); err == nil {
		o.Boot = strings.TrimSpace(string(boot))
	}
	if ticks, err := startTicks(o.PID); err == nil {
		o.Ticks = ticks
	}
	return o
}

// startTicks returns the time at which a process started, in clock ticks since
// boot: field 22 of /proc/PID/stat (proc(5)).
func startTicks(pid int) (uint64, error) {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, err
	}
	// The second field, the command in brackets, may hold spaces and brackets.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	const field = 22 - 3 // the first of fields is the third of the line
	if len(fields) <= field {
		return 0, fmt.Errorf("reading the start of process %d: %d fields", pid, len(fields))
	}
	return strconv.ParseUint(fields[field], 10, 64)
}

func flock(f *os.File, how int) error {
	for {
		err := syscall.Flock(int(f.Fd()), how)
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

func sameFile(f *os.File, name string) bool {
	held, err := f.Stat()
	if err != nil {
		return false
	}
	named, err := os.Stat(name)
	return err == nil && os.SameFile(held, named)
}

// readOwner returns the owner that a lock file names, or the zero Owner: the
// record is for people and for taking over, and what cannot be read has no say.
func readOwner(f *os.File) Owner {
	buf := make([]byte, 64<<10)
	n, _ := f.ReadAt(buf, 0) // a short read is the rule
	var o Owner
	if err := json.Unmarshal(bytes.TrimSpace(buf[:n]), &o); err != nil {
		return Owner{}
	}
	return o
}

func writeOwner(f *os.File, o Owner) error {
	const maxCommand = 1 << 10
	if len(o.Command) > maxCommand {
		o.Command = o.Command[:maxCommand] + "..."
	}
	data, err := json.Marshal(o)
	if err != nil {
		return err
	}
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err = f.WriteAt(append(data, '\n'), 0)
	return err
}
