package tokenizer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/daulet/tokenizers"
	"golang.org/x/sys/unix"

	"github.com/gsmeval/gsmeval/decode/checkpoint"
)

// A tokenizer.json is a program for the tokenizers library, which ends the whole process where it meets what it does
// not expect: a panic in Rust cannot cross into Go, nor can memory that runs out. So a file that was never seen before
// is loaded and used in a child process with limits first, and only what comes through that is loaded here.

// trialCommand is the argument with which a program becomes the child.
const trialCommand = "try-tokenizer"

// Limits of the child. The largest tokenizers in use (34 MB) need a tenth of the memory and less than the time.
const (
	trialMemory     = 512 << 20 // bytes, and beside them
	trialMemoryPer  = 32        // bytes for each byte of the file
	trialSeconds    = 10        // of processor time, and beside them
	trialBytesPerS  = 1 << 20   // a second for so many bytes of the file
	trialWallFactor = 6         // the wall clock may take so many times as long
	trialStderr     = 64 << 10  // bytes kept of what the child prints as it dies
)

// executable is the file to start as the child: "" where main does not call Trial, and a file is loaded untried.
var executable string

// Trial makes this program able to try tokenizers in a process of its own. main calls it before anything else and,
// where it says that this process is such a child, exits with the code.
func Trial(args []string) (code int, child bool) {
	if len(args) == 2 && args[1] == trialCommand {
		if err := serveTrial(os.Stdin); err != nil {
			_, _ = fmt.Fprintf(os.Stdout, "%v", err)
			return 1, true
		}
		return 0, true
	}
	executable, _ = os.Executable() // without it, tokenizers are loaded untried, as everywhere else
	return 0, false
}

// checkInChild finds out whether a tokenizer can be loaded here without harm, and remembers what it found by the file's
// hash.
func checkInChild(file checkpoint.TokenizerFile) error {
	if executable == "" {
		return nil
	}
	passed := passedPath(file.SHA256)
	if passed != "" {
		if _, err := os.Stat(passed); err == nil {
			return nil
		}
	}
	if err := startTrial(file.Data); err != nil {
		return fmt.Errorf("%s: %w", file.Path, err)
	}
	if passed != "" && os.MkdirAll(filepath.Dir(passed), 0o755) == nil {
		// Where it cannot be written, the next start tries the file again.
		_ = os.WriteFile(passed, nil, 0o644) //nolint:gosec // it holds nothing
	}
	return nil
}

// passedPath is the file that says that a tokenizer passed this library's trial, "" where there is no cache.
func passedPath(sha string) string {
	dir := os.Getenv("GSMEVAL_CACHE")
	if dir == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return ""
		}
		dir = filepath.Join(user, "gsmeval")
	}
	return filepath.Join(dir, "tokenizers-tried", tokenizers.WANT_VERSION+"-"+sha)
}

// startTrial runs the child on a file's data.
func startTrial(data []byte) error {
	seconds := trialSeconds + len(data)/trialBytesPerS
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(seconds*trialWallFactor)*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, executable, trialCommand)
	cmd.Env = append(os.Environ(),
		"OMP_NUM_THREADS=1", "RAYON_RS_NUM_THREADS=1", "RUST_BACKTRACE=0", "GOTRACEBACK=none")
	var stdout bytes.Buffer
	stderr := &prefixBuffer{left: trialStderr}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(data), &stdout, stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("trying the tokenizer took more than %d s; the file is damaged or made to do harm",
			seconds*trialWallFactor)
	case !errors.As(err, &exit):
		return fmt.Errorf("trying the tokenizer in a process of its own: %w", err)
	case exit.ExitCode() == 1 && stdout.Len() > 0:
		return errors.New(stdout.String())
	}
	return fmt.Errorf("the tokenizer ends the process that uses it (%s); the file is damaged or made to do harm",
		causeOfDeath(exit.ProcessState, stderr.String(), seconds))
}

// causeOfDeath says of what the child died.
func causeOfDeath(state *os.ProcessState, stderr string, seconds int) string {
	lines := strings.Split(stderr, "\n")
	for i, l := range lines {
		switch {
		case strings.Contains(l, "panicked at") && i+1 < len(lines):
			return "panic: " + shorten(lines[i+1])
		case strings.Contains(l, "memory allocation of"), strings.Contains(l, "out of memory"),
			strings.Contains(l, "cannot allocate memory"):
			return shorten(l)
		}
	}
	status, ok := state.Sys().(syscall.WaitStatus)
	killed := ok && status.Signaled() && (status.Signal() == syscall.SIGXCPU || status.Signal() == syscall.SIGKILL)
	if killed || strings.Contains(stderr, "SIGXCPU") {
		return fmt.Sprintf("more than %d s of processor time", seconds)
	}
	return shorten(state.String())
}

func shorten(s string) string {
	const most = 160
	if len(s) > most {
		s = s[:most] + "..."
	}
	return strings.ToValidUTF8(strings.TrimSpace(s), "?")
}

// prefixBuffer keeps the first bytes that are written to it.
type prefixBuffer struct {
	bytes.Buffer

	left int
}

func (h *prefixBuffer) Write(p []byte) (int, error) {
	keep := p[:min(len(p), h.left)]
	h.left -= len(keep)
	h.Buffer.Write(keep)
	return len(p), nil
}

// serveTrial is the child: it takes the limits on itself and does with the tokenizer what a run does.
func serveTrial(r io.Reader) error {
	data, err := io.ReadAll(r)
	if err != nil {
		return fmt.Errorf("reading the tokenizer: %w", err)
	}
	if err := limitSelf(len(data)); err != nil {
		return fmt.Errorf("limiting the process that tries the tokenizer: %w", err)
	}
	tk, err := tokenizers.FromBytes(data)
	if err != nil {
		return err
	}
	for i, text := range trialTexts() {
		enc := tk.EncodeWithOptions(text, true)
		if len(enc.IDs) == 0 && i == 0 {
			return errors.New("the tokenizer gives no tokens for a plain English text")
		}
		_, _ = tk.Decode(enc.IDs, true), tk.Decode(enc.IDs, false)
	}
	for id := range min(tk.VocabSize(), 1<<20) {
		_ = tk.Decode([]uint32{id}, false)
	}
	return tk.Close()
}

// limitSelf bounds the memory and processor time of this process. The address space that is mapped already, the program
// and its libraries, does not count.
func limitSelf(size int) error {
	statm, err := os.ReadFile("/proc/self/statm") //nolint:forbidigo // no user's file
	if err != nil {
		return err
	}
	var pages uint64
	if _, err := fmt.Sscan(string(statm), &pages); err != nil {
		return err
	}
	seconds := uint64(trialSeconds + size/trialBytesPerS)
	memory := pages*uint64(os.Getpagesize()) + trialMemory + trialMemoryPer*uint64(size)
	for _, l := range []struct {
		resource int
		most     uint64
	}{{unix.RLIMIT_AS, memory}, {unix.RLIMIT_CPU, seconds}, {unix.RLIMIT_CORE, 0}} {
		if err := unix.Setrlimit(l.resource, &unix.Rlimit{Cur: l.most, Max: l.most}); err != nil {
			return err
		}
	}
	return nil
}

// trialTexts are texts of the kinds that a run tokenizes, and long runs of one character, on which a pattern that
// backtracks shows itself.
func trialTexts() []string {
	texts := []string{
		"Question: Natalia sold 48 clips in April, and half as many in May. How many did she sell?\n" +
			"Let me solve this step by step:\n",
		"48 / 2 = <<48/2=24>>24 clips, 1,234.50 + $7 \u2212 3\u00bd \u00d7 10\u2076\n\n" +
			"#### 72\n\\boxed{72} <think>\n</think>\t \r\n",
		"na\u00efve \u65e5\u672c\u8a9e \u0627\u0644\u0639\u0631\u0628\u064a\u0629 " +
			"\u0939\u093f \U0001f468\u200d\U0001f469\u200d\U0001f467 e\u0301 \ufeff \u00a0 \u2028 \uffff",
	}
	const run = 2000
	for _, s := range []string{"a", "A", "0", " ", "\n", "-", "\u00e9", "\u65e5", "a ", "ab", "x=", "\u2581"} {
		texts = append(texts, strings.Repeat(s, 40)+"!", strings.Repeat(s, run), strings.Repeat(s, run)+"!\u65e5")
	}
	return texts
}
