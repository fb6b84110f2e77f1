package decode

import (
	"bufio"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"

	"github.com/gsmeval/gsmeval/internal/condition"
	"github.com/gsmeval/gsmeval/noise"
	"github.com/gsmeval/gsmeval/noise/philox"
)

// anonymous is the resident anonymous memory of the process in bytes, without what Go could give back.
func anonymous(t *testing.T) int64 {
	t.Helper()
	debug.FreeOSMemory()
	return resident(t)
}

// resident is the process's RssAnon in bytes.
func resident(t *testing.T) int64 {
	t.Helper()
	file, err := os.Open("/proc/self/status")
	if err != nil {
		t.Skipf("resident memory is read from /proc: %v", err)
	}
	defer file.Close() //nolint:errcheck // it was only read
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), "RssAnon:"); ok {
			kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return 1024 * kb
		}
	}
	t.Skip("/proc/self/status has no RssAnon")
	return 0
}

// TestMemoryStaysFlatOver20000Steps decodes under activation noise, prompts coming and going, and reads the resident
// memory as it goes. The smallest tensor takes about 400 bytes of libtorch's: one that is not freed in each of the
// 16,000 steps after the warm-up would grow the process by 6 MB.
func TestMemoryStaysFlatOver20000Steps(t *testing.T) {
	const (
		steps, warm, slots = 20_000, 4_000, 2
		length             = 200
		allowed            = 3 << 20
	)
	f := loadOn(t, "qwen2-tied-gqa2", 1) // these tensors are too small for more threads
	e := engine(t, f, Options{Slots: slots, Capacity: 300 + length})
	tokens, read, started := 0, 0, 0
	var base, top int64
	if err := Generate(t.Context(), e, noise.NewInjector(activation, false), func() (*Request, any, bool) {
		if tokens >= slots*steps {
			return nil, nil, false
		}
		p := f.golden.Last[started%len(f.golden.Last)].Prompt
		started++
		return &Request{
			Prompt: p, MaxNew: length, Schedule: condition.ConstantT(1), SampleKey: philox.Key(started),
			Draws: draws(philox.Key(started)),
		}, nil, true
	}, func(_ any, r Completion) error {
		tokens += len(r.IDs) - 1 // the first comes from the prompt's pass
		if done := tokens / slots; done >= warm && done/1000 > read {
			read = done / 1000
			now := anonymous(t)
			if base == 0 {
				base = now
			}
			top = max(top, now)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if tokens < slots*steps || base == 0 {
		t.Fatalf("%d decode steps, want %d", tokens/slots, steps)
	}
	if top-base > allowed {
		t.Errorf("resident memory grew from %d to %d bytes after %d steps", base, top, warm)
	}
	t.Logf("%d decode steps, %d prompts: %.1f MB after %d steps, at most %.2f MB more after that", tokens/slots,
		started, float64(base)/1e6, warm, float64(top-base)/1e6)
}
