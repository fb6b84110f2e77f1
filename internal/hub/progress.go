package hub

import (
	"fmt"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// plainEvery is how often progress is printed where there is no terminal.
const plainEvery = 5 * time.Second

// progress shows how far a download is: a bar on a terminal, else a line every few seconds. Its failures never matter.
type progress struct {
	output      Output
	bar         *progressbar.ProgressBar
	plain       bool
	what        string
	total, done int64
	fresh       int64 // what came over the network
	begin, last time.Time
}

// newProgress is the progress of downloading total bytes.
func newProgress(o Output, what string, total int64) *progress {
	p := &progress{output: o, what: what, total: total, begin: time.Now(), last: time.Now()}
	mode := o.Progress
	file, isFile := o.Bar.(*os.File)
	if mode == "auto" {
		mode = "plain"
		if isFile && term.IsTerminal(int(file.Fd())) {
			mode = "bar"
		}
	}
	switch mode {
	case "bar":
		p.bar = progressbar.NewOptions64(total, progressbar.OptionSetWriter(o.Bar),
			progressbar.OptionShowBytes(true), progressbar.OptionShowTotalBytes(true),
			progressbar.OptionSetPredictTime(true), progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionFullWidth(), progressbar.OptionSetDescription(what))
	case "plain":
		p.plain = true
	}
	return p
}

// expect makes the whole larger: the size of a file that was not known before.
func (p *progress) expect(n int64) {
	p.total += n
	if p.bar != nil {
		p.bar.ChangeMax64(p.total)
	}
}

// skip counts what was there.
func (p *progress) skip(n int64) {
	if n > 0 {
		p.done += n
		p.show()
	}
}

// add counts what has come, or with a negative number what was thrown away.
func (p *progress) add(n int64) {
	p.done += n
	p.fresh += max(n, 0)
	p.show()
}

func (p *progress) show() {
	if p.bar != nil {
		_ = p.bar.Set64(p.done)
	}
	if p.plain && time.Since(p.last) >= plainEvery {
		p.last = time.Now()
		p.line()
	}
}

func (p *progress) line() {
	rate := float64(p.fresh) / max(time.Since(p.begin).Seconds(), 1e-9)
	left := "?"
	if rate > 0 {
		left = time.Duration(float64(p.total-p.done) / rate * float64(time.Second)).Round(time.Second).String()
	}
	p.output.Logf("hub: %s: %s of %s, %s/s, %s left",
		p.what, megabytes(p.done), megabytes(p.total), megabytes(int64(rate)), left)
}

// finish prints the last state, where something was downloaded.
func (p *progress) finish() {
	if p.bar != nil {
		_, _ = fmt.Fprintln(p.output.Bar)
	}
	if p.plain && p.fresh > 0 {
		p.line()
	}
}
