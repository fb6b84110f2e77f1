package lease

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// fakeHost is a host with a clock of its own: sleeping moves it, and tells the test.
type fakeHost struct {
	*environment
	mu     sync.Mutex
	time   time.Time
	slept  time.Duration
	wake   func(h *fakeHost) // after each sleep
	beats  func()            // the heartbeat of the lock that was taken last
	locked bool              // whether the server says that another client has the file
}

// newFakeHost is a host that sees a folder over a network, where flock always succeeds.
func newFakeHost(name string, pid int) *fakeHost {
	h := &fakeHost{time: time.Unix(1e9, 0)}
	h.environment = &environment{
		self: Owner{
			Host: name, PID: pid, Machine: "m-" + name, Boot: "b-" + name, PIDNS: "ns", Command: "test",
			Started: h.time,
		},
		local: func(string) bool { return false },
		flock: func(*os.File) error {
			if h.locked {
				h.locked = false // of the old file only
				return syscall.EWOULDBLOCK
			}
			return nil
		},
		now: func() time.Time { h.mu.Lock(); defer h.mu.Unlock(); return h.time },
		sleep: func(ctx context.Context, d time.Duration) error {
			h.mu.Lock()
			h.time, h.slept = h.time.Add(d), h.slept+d
			h.mu.Unlock()
			if h.wake != nil {
				h.wake(h)
			}
			return ctx.Err()
		},
		every: func(_ <-chan struct{}, _ time.Duration, f func()) { h.beats = f },
	}
	return h
}

func (h *fakeHost) take(t *testing.T, path string) (*Lease, error) {
	t.Helper()
	lk, err := h.acquire(t.Context(), path, t.Logf)
	if err == nil {
		<-lk.done // h.beats is set
	}
	return lk, err
}

func mustTake(t *testing.T, h *fakeHost, path string) *Lease {
	t.Helper()
	lk, err := h.take(t, path)
	if err != nil {
		t.Fatal(err)
	}
	return lk
}

func TestHeartbeatOfAnotherHost(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "samples.jsonl")
	first := newFakeHost("one", 7)
	lk := mustTake(t, first, path)

	t.Run("moves", func(t *testing.T) {
		second := newFakeHost("two", 7)
		second.time = first.time.Add(-300 * time.Hour) // clocks are not compared
		second.wake = func(h *fakeHost) {
			if h.slept >= beatEvery {
				first.beats()
			}
		}
		_, err := second.take(t, path)
		var locked *LockedError
		if !errors.As(err, &locked) || !strings.Contains(err.Error(), "process 7 on one") {
			t.Fatalf("a second owner: %v", err)
		}
		if second.slept > beatEvery+watchEvery {
			t.Errorf("it took %v to see a heartbeat", second.slept)
		}
		if err := lk.Check(); err != nil {
			t.Errorf("the first owner: %v", err)
		}
	})
	t.Run("stands still", func(t *testing.T) {
		second := newFakeHost("two", 7)
		taken := mustTake(t, second, path)
		if second.slept < staleAfter || second.slept > staleAfter+watchEvery+settleFor {
			t.Errorf("taken over after %v, want %v", second.slept, staleAfter)
		}
		// The first one was only out of reach. Between two beats it cannot know; then it must.
		first.time = first.time.Add(staleAfter)
		err := lk.Check()
		var lost *LostError
		if !errors.As(err, &lost) || !strings.Contains(err.Error(), "taken over by process 7 on two") {
			t.Fatalf("the first owner goes on: %v", err)
		}
		if err := lk.Release(); err != nil {
			t.Fatal(err)
		}
		if err := taken.Check(); err != nil {
			t.Errorf("the first owner's end took the second one's lock away: %v", err)
		}
		if err := taken.Release(); err != nil {
			t.Fatal(err)
		}
		if _, ok := ReadOwner(path); ok {
			t.Error("a lock that was given back has an owner")
		}
	})
	t.Run("is interrupted", func(t *testing.T) {
		holder := mustTake(t, newFakeHost("one", 8), path)
		second := newFakeHost("two", 7)
		ctx, cancel := context.WithCancel(t.Context())
		second.wake = func(*fakeHost) { cancel() }
		if _, err := second.acquire(ctx, path, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("watching goes on after an interruption: %v", err)
		}
		if err := holder.Release(); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("ends while it is watched", func(t *testing.T) {
		holder := mustTake(t, newFakeHost("one", 9), path)
		second := newFakeHost("two", 7)
		second.wake = func(h *fakeHost) {
			if h.slept == watchEvery {
				if err := holder.Release(); err != nil {
					t.Error(err)
				}
			}
		}
		lk := mustTake(t, second, path)
		if second.slept > 2*watchEvery+settleFor {
			t.Errorf("a lock that was given back took %v", second.slept)
		}
		if err := lk.Release(); err != nil {
			t.Fatal(err)
		}
	})
}

// A file server may keep the lock of a client that is gone.
func TestLockOfAClientThatIsGone(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "samples.jsonl")
	first := mustTake(t, newFakeHost("one", 7), path)
	second := newFakeHost("two", 7)
	second.locked = true
	lk := mustTake(t, second, path)
	if second.slept < staleAfter {
		t.Errorf("taken over after %v", second.slept)
	}
	if err := lk.Check(); err != nil {
		t.Error(err)
	}
	if err := first.verify(); err == nil {
		t.Error("the first owner does not notice")
	}
	if err := errors.Join(first.Release(), lk.Release()); err != nil {
		t.Fatal(err)
	}
}

// Two hosts find a dead owner at once, and the server gives the lock to both: one of them has it in the end.
func TestTwoHostsTakeOverAtOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "samples.jsonl")
	mustTake(t, newFakeHost("dead", 7), path)
	a, b := newFakeHost("a", 1), newFakeHost("b", 2)
	var other *Lease
	a.wake = func(h *fakeHost) {
		if h.slept > staleAfter && other == nil { // a has written its record and waits
			note, err := readNote(path + suffix)
			if err != nil || note.owner.Host != "a" {
				t.Errorf("the record names %v, %v", note.owner, err)
			}
			f, err := os.OpenFile(path+suffix, os.O_RDWR, 0)
			if err != nil {
				t.Error(err)
				return
			}
			if other, err = b.claim(t.Context(), path, f, false); err != nil { // b looked before
				t.Error(err)
			}
		}
	}
	_, err := a.take(t, path)
	var locked *LockedError
	if !errors.As(err, &locked) || locked.Owner.Host != "b" {
		t.Errorf("both have the lock: %v", err)
	}
	if other == nil || other.Check() != nil {
		t.Fatal("nobody has the lock")
	}
	if err := other.Release(); err != nil {
		t.Fatal(err)
	}
}

func TestLifeOfAnOwner(t *testing.T) {
	t.Parallel()
	self := thisProcess()
	for _, tt := range []struct {
		name   string
		change func(o *Owner)
		want   life
	}{
		{"nobody", func(o *Owner) { *o = Owner{} }, dead},
		{"another host", func(o *Owner) { o.Host = "elsewhere" }, unknown},
		{"another machine of the same name", func(o *Owner) { o.Machine = "m2" }, unknown},
		{"this host before it was started anew", func(o *Owner) { o.Boot = "b2" }, dead},
		{"another container of this host", func(o *Owner) { o.PIDNS = "pid:[1]" }, unknown},
		{"a pid that is not", func(o *Owner) { o.PID = 1<<22 + 1 }, dead},
		{"a pid that is another's now", func(o *Owner) { o.PID, o.Ticks = os.Getppid(), 1 }, dead},
		{"a process that runs", func(o *Owner) { o.PID, o.Ticks = os.Getppid(), 0 }, alive},
	} {
		o := self
		o.Machine = "m1"
		tt.change(&o)
		me := self
		me.Machine = "m1"
		if got := o.life(me); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
	noMachine, rebooted := self, self
	noMachine.Machine, rebooted.Machine, rebooted.Boot = "", "", "b2"
	if got := rebooted.life(noMachine); got != unknown {
		t.Errorf("without a machine id another boot is %d, want unknown", got)
	}
	if got := (note{raw: []byte(`{"host":"el`)}).life(self); got != unknown {
		t.Errorf("a half-written record is %d, want unknown", got)
	}
}

func TestStaleOwnerIsTakenOver(t *testing.T) {
	t.Parallel()
	self := thisProcess()
	child := exec.Command("sleep", "60")
	if err := child.Start(); err != nil {
		t.Skipf("no process to play the owner: %v", err)
	}
	t.Cleanup(func() {
		child.Process.Kill() //nolint:errcheck // it may have ended
		child.Wait()         //nolint:errcheck // it was killed
	})
	living := self
	living.PID = child.Process.Pid
	ticks, err := startTicks(living.PID)
	if err != nil {
		t.Fatal(err)
	}
	living.Ticks = ticks
	dead := living
	dead.PID = 1<<22 + 1 // above the kernel's largest pid
	reused := living
	reused.Ticks = ticks + 1
	rebooted := living
	rebooted.Boot = "another boot"
	tests := []struct {
		name  string
		owner any
		taken bool
	}{
		{"alive on this host", living, false},
		{"dead", dead, true},
		{"pid in use by a younger process", reused, true},
		{"from before a reboot", rebooted, true},
		{"this process", self, true},
		{"no record", "", true},
		{"garbage", 17, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "samples.jsonl")
			data, err := json.Marshal(tt.owner)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path+suffix, data, 0o600); err != nil {
				t.Fatal(err)
			}
			lk, err := Acquire(t.Context(), path, t.Logf)
			var locked *LockedError
			switch {
			case tt.taken && err != nil:
				t.Fatalf("not taken over: %v", err)
			case !tt.taken && (!errors.As(err, &locked) || locked.Owner.PID != living.PID):
				t.Fatalf("taken over: %v", err)
			}
			if err == nil {
				if err := lk.Release(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// blindEnv is this process on a network file system whose flock does nothing.
func blindEnv() *environment {
	e := system()
	e.local = func(string) bool { return false }
	e.flock = func(*os.File) error { return syscall.ENOLCK }
	return e
}

// holdBlind is what the child processes of the tests below do: take a lock, say how that went, and wait.
func holdBlind(path string) {
	e := blindEnv()
	if host := os.Getenv("LEASE_TEST_HOST"); host != "" {
		e.self.Host = host
		e.every = func(stop <-chan struct{}, _ time.Duration, f func()) { every(stop, 5*time.Millisecond, f) }
	}
	if _, err := e.acquire(context.Background(), path, nil); err != nil {
		fmt.Println("refused:", err)
	} else {
		fmt.Println("held")
	}
	_, _ = io.Copy(io.Discard, os.Stdin) // until the parent ends it
}

// startHolder starts a child that runs holdBlind.
func startHolder(t *testing.T, path, host string) (said string, kill func()) {
	t.Helper()
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestTwoProcesses$")
	child.Env = append(os.Environ(), "LEASE_TEST_BLIND="+path, "LEASE_TEST_HOST="+host)
	stdin, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	kill = sync.OnceFunc(func() {
		_ = child.Process.Kill()
		_ = child.Wait()
		_ = stdin.Close()
	})
	t.Cleanup(kill)
	said, err = bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Errorf("the child says %q, %v", said, err)
	}
	return strings.TrimSpace(said), kill
}

// TestTwoProcesses has real processes contend where flock cannot help.
func TestTwoProcesses(t *testing.T) {
	t.Parallel()
	if path := os.Getenv("LEASE_TEST_BLIND"); path != "" {
		holdBlind(path)
		return
	}
	t.Run("on one host", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), "samples.jsonl")
		said, kill := startHolder(t, path, "")
		if said != "held" {
			t.Fatalf("the child: %s", said)
		}
		_, err := blindEnv().acquire(t.Context(), path, nil)
		var locked *LockedError
		if !errors.As(err, &locked) {
			t.Fatalf("while the child lives: %v", err)
		}
		kill()
		if owner, ok := ReadOwner(path); !ok || !owner.Ended() || owner.Running() {
			t.Errorf("the killed child's record: %v, %v", owner, ok)
		}
		begin := time.Now()
		lk, err := blindEnv().acquire(t.Context(), path, nil)
		if err != nil {
			t.Fatalf("after its death: %v", err)
		}
		if took := time.Since(begin); took > settleFor+5*time.Second {
			t.Errorf("a dead owner of this host was taken over after %v", took)
		}
		if err := lk.Release(); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("on two hosts", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), "samples.jsonl")
		said, kill := startHolder(t, path, "another")
		if said != "held" {
			t.Fatalf("the child: %s", said)
		}
		e := blindEnv()
		var ahead time.Duration
		e.now = func() time.Time { return time.Now().Add(ahead) }
		e.sleep = func(ctx context.Context, d time.Duration) error {
			ahead += d
			return sleep(ctx, 50*time.Millisecond)
		}
		_, err := e.acquire(t.Context(), path, nil)
		var locked *LockedError
		if !errors.As(err, &locked) || locked.Owner.Host != "another" {
			t.Fatalf("while the child lives: %v", err)
		}
		kill()
		ahead = 0
		lk, err := e.acquire(t.Context(), path, nil)
		if err != nil {
			t.Fatalf("after its death: %v", err)
		}
		if ahead < staleAfter {
			t.Errorf("taken over after %v of watching", ahead)
		}
		if err := lk.Release(); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("five at once", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), "samples.jsonl")
		var wg sync.WaitGroup
		said := make([]string, 5)
		for i := range said {
			wg.Go(func() { said[i], _ = startHolder(t, path, "") })
		}
		wg.Wait()
		held := 0
		for _, s := range said {
			if s == "held" {
				held++
			} else if !strings.Contains(s, "is being written by process") {
				t.Errorf("one says %q", s)
			}
		}
		if held != 1 {
			t.Errorf("%d of 5 processes hold the lock: %q", held, said)
		}
	})
}

// A record is a page of JSON, so that a reader never sees half of it.
func TestRecordOfALongCommandFitsAPage(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "samples.jsonl")
	h := newFakeHost("one", 7)
	h.self.Command = strings.Repeat("x", 1<<10) + "..."
	lk := mustTake(t, h, path)
	data, err := os.ReadFile(path + suffix)
	if err != nil {
		t.Fatal(err)
	}
	var o Owner
	if err := json.Unmarshal(data, &o); err != nil || len(data) != 4<<10 {
		t.Errorf("%d bytes, %v", len(data), err)
	}
	if err := lk.Release(); err != nil {
		t.Fatal(err)
	}
}
