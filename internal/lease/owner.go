package lease

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/gsmeval/gsmeval/internal/files"
)

// Owner says which process writes a file. It is kept as JSON in the lock file beside it for as long as the lease is
// held; keys that are not known here are ignored, so that a later version can say more.
type Owner struct {
	Host    string    `json:"host"`
	PID     int       `json:"pid"`
	PIDNS   string    `json:"pidns,omitempty"`   // the namespace that the pid counts in
	Machine string    `json:"machine,omitempty"` // machine-id(5)
	Boot    string    `json:"boot,omitempty"`    // the kernel's boot id
	Ticks   uint64    `json:"ticks,omitempty"`   // start of the process since boot, which tells a reused pid
	Started time.Time `json:"started"`
	Command string    `json:"command"`
	Token   string    `json:"token,omitempty"` // of this lease
	// Records is how many records the file had when the lease was taken.
	Records int `json:"had,omitempty"`
	// Beat counts up while the owner lives.
	Beat uint64 `json:"beat"`
	// Seen is when the record was last written, by the clock of its file system.
	Seen time.Time `json:"-"`
}

func (o Owner) String() string {
	if o.PID == 0 {
		return "another process"
	}
	return fmt.Sprintf("process %d on %s (%s, since %s)", o.PID, o.Host, o.Command, o.Started.Format(time.RFC3339))
}

// life is what one process can tell of another.
type life int

const (
	dead    life = iota
	alive        // it runs on this host
	unknown      // it runs, or ran, where this process cannot look
)

// life tells whether the owner is a process, other than the caller, that runs.
func (o Owner) life(self Owner) life {
	switch {
	case o.PID <= 0:
		return dead
	case o.Host != self.Host || o.Machine != self.Machine:
		return unknown
	case o.Boot != self.Boot:
		if self.Machine == "" {
			return unknown // two hosts that share a name look like one that was started anew
		}
		return dead
	case o.PIDNS != self.PIDNS:
		return unknown // another container
	case o.PID == self.PID && o.Ticks == self.Ticks:
		return dead // a lease of this process that it has given back
	}
	if err := syscall.Kill(o.PID, 0); errors.Is(err, syscall.ESRCH) {
		return dead
	}
	if ticks, err := startTicks(o.PID); err == nil && o.Ticks != 0 && ticks != o.Ticks {
		return dead
	}
	return alive
}

func thisProcess() Owner {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	o := Owner{
		Host: host, PID: os.Getpid(), Started: time.Now().UTC().Truncate(time.Second),
		Command: strings.Join(os.Args, " "),
	}
	const maxCommand = 1 << 10 // a record is one write
	if len(o.Command) > maxCommand {
		o.Command = strings.ToValidUTF8(o.Command[:maxCommand], "") + "..."
	}
	for path, to := range map[string]*string{
		"/proc/sys/kernel/random/boot_id": &o.Boot,
		"/etc/machine-id":                 &o.Machine,
	} {
		if data, err := os.ReadFile(path); err == nil { //nolint:forbidigo // no user's file
			*to = strings.TrimSpace(string(data))
		}
	}
	if ns, err := os.Readlink("/proc/self/ns/pid"); err == nil {
		o.PIDNS = ns
	}
	if ticks, err := startTicks(o.PID); err == nil {
		o.Ticks = ticks
	}
	return o
}

// startTicks returns the time at which a process started, in clock ticks since boot: field 22 of /proc/PID/stat
// (proc(5)).
func startTicks(pid int) (uint64, error) {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat") //nolint:forbidigo // no user's file
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

// note is a lock file as it was read.
type note struct {
	raw   []byte
	owner Owner // zero where raw is not a record
}

// readNote reads a lock file by its name: opening it anew makes a client of a network file system ask the server.
func readNote(name string) (note, error) {
	f, err := files.Open(name)
	if err != nil {
		return note{}, err
	}
	defer f.Close() //nolint:errcheck // nothing was written
	buf := make([]byte, 64<<10)
	n, err := f.ReadAt(buf, 0)
	if n == 0 && err != nil && !errors.Is(err, io.EOF) {
		return note{}, err
	}
	out := note{raw: bytes.TrimSpace(buf[:n])}
	if err := json.Unmarshal(out.raw, &out.owner); err != nil {
		out.owner = Owner{}
	}
	return out, nil
}

// life judges a lock file. An empty one belongs to nobody, a half-written one to somebody who may still be writing it.
func (n note) life(self Owner) life {
	if len(n.raw) > 0 && n.owner.PID == 0 {
		return unknown
	}
	return n.owner.life(self)
}

// ReadOwner returns the process that holds, or held when it was killed, the lease of a file, and false where there is
// none.
func ReadOwner(path string) (Owner, bool) {
	n, err := readNote(path + suffix)
	if info, statErr := os.Stat(path + suffix); statErr == nil {
		n.owner.Seen = info.ModTime()
	}
	return n.owner, err == nil && n.owner.PID != 0
}

// Ended reports whether the owner ran on this host and does not any more. Of a process elsewhere nothing is known.
func (o Owner) Ended() bool {
	self := thisProcess()
	self.PID = 0 // which is alive, too
	return o.life(self) == dead
}

// freshFor is for how long an owner counts as running after its last heartbeat was written. The times are those of two
// clocks, a file server's and this machine's, so it is generous; nothing but what is shown depends on it.
const freshFor = 5 * time.Minute

// Running reports whether the owner is at work, as far as can be told without a lock.
func (o Owner) Running() bool { return !o.Ended() && time.Since(o.Seen) < freshFor }

// Self is this process.
func Self() Owner { return thisProcess() }
