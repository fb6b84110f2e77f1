// Command gsmeval measures how a noisy language model reasons: GSM8K accuracy under injected noise, at constant and
// corrected sampling temperatures.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/gsmeval/gsmeval/decode/tokenizer"
	"github.com/gsmeval/gsmeval/harness/runner"
)

// Exit codes.
const (
	exitFailed      = 1
	exitUsage       = 2
	exitInterrupted = 130
)

// usageError is a mistake in the command line or the config.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

func main() {
	if code, child := tokenizer.Trial(os.Args); child {
		os.Exit(code)
	}
	signal.Ignore(syscall.SIGPIPE) // a reader of the progress that goes away must not end a run
	ctx, stop := context.WithCancel(context.Background())
	// SIGUSR1 is what a batch system sends before the time of a job is up.
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGUSR1)
	go func() { handleSignals(signals, stop, os.Exit) }()
	os.Exit(exitCode(run(ctx, os.Stdout, os.Stderr, os.Args[1:]), os.Stderr))
}

// again is how soon after the first signal another one is the same: a terminal and a batch system tell a whole group of
// processes, and whoever started the program may pass the signal on.
const again = time.Second

// handleSignals ends the work in good order at the first signal, after the step that it is at, and at once where a
// person insists with another Ctrl-C. A batch system that loses its patience has SIGKILL.
func handleSignals(signals <-chan os.Signal, stop func(), exit func(code int)) {
	<-signals
	first := time.Now()
	stop()
	for s := range signals {
		if s == os.Interrupt && time.Since(first) > again {
			exit(exitInterrupted)
		}
	}
}

// exitCode reports an error in one place and maps it to the process's exit code.
func exitCode(err error, stderr io.Writer) int {
	if err == nil {
		return 0
	}
	var usage usageError
	interrupted := errors.Is(err, runner.ErrInterrupted)
	if !interrupted && errors.Is(err, context.Canceled) {
		err, interrupted = errors.New("interrupted"), true // where it was when it was told to stop is no news
	}
	_, _ = fmt.Fprintf(stderr, "gsmeval: %v\n", err)
	switch {
	case interrupted:
		return exitInterrupted
	case errors.As(err, &usage):
		return exitUsage
	}
	return exitFailed
}

// run runs one command line.
func run(ctx context.Context, stdout, stderr io.Writer, args []string) error {
	root := newRoot(stdout, stderr)
	root.SetArgs(args)
	return root.ExecuteContext(ctx)
}
