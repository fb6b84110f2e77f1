package main

import (
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// A batch system tells every process of a job, and the job's script passes the signal on: the second one must not cut
// the end short.
func TestSecondSignal(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		second os.Signal
		after  time.Duration
		ends   bool
	}{
		"passed on":      {syscall.SIGTERM, time.Millisecond, false},
		"asked again":    {syscall.SIGTERM, time.Minute, false},
		"twice from tty": {os.Interrupt, time.Millisecond, false},
		"insisting":      {os.Interrupt, 2 * time.Second, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				signals, stopped, code := make(chan os.Signal, 8), false, -1
				go handleSignals(signals, func() { stopped = true }, func(c int) { code = c })
				signals <- syscall.SIGTERM
				synctest.Wait()
				if !stopped {
					t.Fatal("the first signal did not end the work")
				}
				time.Sleep(c.after)
				signals <- c.second
				synctest.Wait()
				if (code == exitInterrupted) != c.ends {
					t.Errorf("exit code %d after the second signal", code)
				}
				close(signals)
			})
		})
	}
}
