package decode

import (
	"io"
	"os"
	"runtime/debug"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gsmeval/gsmeval/decode/checkpoint"
	"github.com/gsmeval/gsmeval/decode/model"
	"github.com/gsmeval/gsmeval/internal/torch"
)

// forget drops a checkpoint's files from the page cache, so that the next reader reads the disk.
func forget(t *testing.T, files []checkpoint.File) {
	t.Helper()
	for _, f := range files {
		file, err := os.Open(f.Path)
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Fadvise(int(file.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
			t.Fatal(err)
		}
		_ = file.Close()
	}
}

// readAll reads the files as a stream and returns bytes per second.
func readAll(t *testing.T, files []checkpoint.File) float64 {
	t.Helper()
	begin, total, buf := time.Now(), int64(0), make([]byte, 1<<20)
	for _, f := range files {
		file, err := os.Open(f.Path)
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{file}, buf)
		if err != nil {
			t.Fatal(err)
		}
		total += n
		_ = file.Close()
	}
	return float64(total) / time.Since(begin).Seconds()
}

// processor is the processor time of this process so far: on a busy machine it says more than the clock.
func processor(t *testing.T) time.Duration {
	t.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestLoadBigCheckpoint loads a checkpoint of scripts/big_checkpoint.py in each dtype, from the disk and from the page
// cache, while it watches the process's anonymous memory: at no moment more than 1.15 times the weights and 300 MB.
func TestLoadBigCheckpoint(t *testing.T) {
	dir := os.Getenv("GSMEVAL_BIG_CHECKPOINT")
	if dir == "" {
		t.Skip("GSMEVAL_BIG_CHECKPOINT names no checkpoint of scripts/big_checkpoint.py")
	}
	cfg, err := checkpoint.ReadConfig(dir)
	if err != nil {
		t.Fatal(err)
	}
	w, err := torch.Start(0)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for _, c := range []struct {
		dt   torch.DType
		size int64
		cold bool
	}{{torch.BFloat16, 2, true}, {torch.BFloat16, 2, false}, {torch.Float32, 4, true}, {torch.Float32, 4, false}} {
		weights, err := checkpoint.OpenWeights(dir)
		if err != nil {
			t.Fatal(err)
		}
		files := weights.Files()
		if c.cold {
			forget(t, files)
		}
		disk := readAll(t, files)
		if c.cold {
			forget(t, files)
		}
		debug.FreeOSMemory()
		var peak atomic.Int64
		stop, stopped := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(stopped)
			for {
				select {
				case <-stop:
					return
				case <-time.After(2 * time.Millisecond):
					if n := resident(t); n > peak.Load() {
						peak.Store(n)
					}
				}
			}
		}()
		begin, cpu, bytes := time.Now(), processor(t), int64(0)
		err = w.Do(func(s *torch.Scope) error {
			m, err := model.Load(s, cfg, weights, model.Options{
				DType: c.dt, Device: torch.CPU, Progress: func(done, _ int64) { bytes = done },
			})
			if err != nil {
				return err
			}
			spent, cpu := time.Since(begin), processor(t)-cpu
			close(stop)
			<-stopped
			m.Free()
			size := bytes / 2 * c.size // the file is in bfloat16
			limit := size*115/100 + 300e6
			t.Logf("%s, cold %v: %.2f GB of weights in %.2f s (%.2f s of processor), %.0f MB/s of the file (reading alone: %.0f MB/s); RssAnon at most %.0f MB, %.3f x weights (limit %.0f MB)",
				c.dt, c.cold, float64(size)/1e9, spent.Seconds(), cpu.Seconds(), float64(bytes)/1e6/spent.Seconds(),
				disk/1e6,
				float64(peak.Load())/1e6, float64(peak.Load())/float64(size), float64(limit)/1e6)
			if peak.Load() > limit || peak.Load() < size/2 {
				t.Errorf("%s: RssAnon was %d bytes, the limit is %d and the weights alone are %d", c.dt, peak.Load(),
					limit, size)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := weights.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
