package harness

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// plainEvery is how often progress is printed where there is no terminal.
const plainEvery = 5 * time.Second

// progress shows how far a run is: a bar on a terminal, else a line every few seconds. Its failures never matter.
type progress struct {
	out         io.Writer
	bar         *progressbar.ProgressBar
	plain       bool
	total, done int
	fresh       int // done by this process, for the rate
	tokens      int
	counted     int
	correct     int
	begin, last time.Time
}

// newProgress starts at done of total samples. mode is auto, bar, plain or none.
func newProgress(out io.Writer, mode string, done, total int) *progress {
	p := &progress{out: out, total: total, done: done, begin: time.Now(), last: time.Now()}
	file, isFile := out.(*os.File)
	if mode == "auto" {
		mode = "plain"
		if isFile && term.IsTerminal(int(file.Fd())) {
			mode = "bar"
		}
	}
	switch mode {
	case "bar":
		p.bar = progressbar.NewOptions(total, progressbar.OptionSetWriter(out), progressbar.OptionShowCount(),
			progressbar.OptionSetPredictTime(true), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionFullWidth(),
			progressbar.OptionOnCompletion(func() { _, _ = fmt.Fprintln(out) }))
		_ = p.bar.Set(done)
		p.bar.Reset()
		_ = p.bar.Set(done)
	case "plain":
		p.plain = true
	}
	return p
}

// add counts one finished sample.
func (p *progress) add(tokens int, counted, correct bool) {
	p.done++
	p.fresh++
	p.tokens += tokens
	if counted {
		p.counted++
	}
	if correct {
		p.correct++
	}
	if p.bar != nil {
		p.bar.Describe(p.describe())
		_ = p.bar.Add(1)
	}
	if p.plain && time.Since(p.last) >= plainEvery {
		p.last = time.Now()
		p.line()
	}
}

func (p *progress) describe() string {
	seconds := time.Since(p.begin).Seconds()
	d := fmt.Sprintf("%.0f tok/s", float64(p.tokens)/max(seconds, 1e-9))
	if p.counted > 0 {
		d += fmt.Sprintf(", %.1f %% right", 100*float64(p.correct)/float64(p.counted))
	}
	return d
}

func (p *progress) line() {
	left := "?"
	if p.fresh > 0 {
		left = (time.Since(p.begin) / time.Duration(p.fresh) * time.Duration(p.total-p.done)).Round(time.Second).String()
	}
	_, _ = fmt.Fprintf(p.out, "%d/%d samples, %s, %s left\n", p.done, p.total, p.describe(), left)
}

// finish prints the last state.
func (p *progress) finish() {
	if p.bar != nil && p.done < p.total {
		_, _ = fmt.Fprintln(p.out)
	}
	if p.plain && p.fresh > 0 {
		p.line()
	}
}
