package runner

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/gsmeval/gsmeval/harness/session"
)

// How often progress is printed where there is no bar: as text and as JSON.
const (
	plainEvery = 5 * time.Second
	jsonEvery  = time.Second
)

// progress shows how far a run is: a bar on a terminal, else a line every few seconds. Its failures never matter.
type progress struct {
	out         io.Writer
	run         string // directory
	mode        string // bar, plain, json or none
	bar         *progressbar.ProgressBar
	total, done int
	fresh       int // done by this process, for the rate
	tokens      int
	counted     int
	correct     int
	begin, last time.Time
}

// newProgress starts at done of total samples. mode is auto, bar, plain, json or none.
func newProgress(out io.Writer, run, mode string, done, total int) *progress {
	p := &progress{out: out, run: run, mode: mode, total: total, done: done, begin: time.Now(), last: time.Now()}
	if mode == "auto" {
		p.mode = "plain"
		if file, ok := out.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
			p.mode = "bar"
		}
	}
	switch p.mode {
	case "bar":
		p.bar = progressbar.NewOptions(total, progressbar.OptionSetWriter(out), progressbar.OptionShowCount(),
			progressbar.OptionSetPredictTime(true), progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionFullWidth(),
			progressbar.OptionOnCompletion(func() { _, _ = fmt.Fprintln(out) }))
		_ = p.bar.Set(done)
		p.bar.Reset()
		_ = p.bar.Set(done)
	case "json":
		p.event("start")
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
	switch {
	case p.mode == "bar":
		p.bar.Describe(p.describe())
		_ = p.bar.Add(1)
	case p.mode == "plain" && time.Since(p.last) >= plainEvery:
		p.last = time.Now()
		p.line()
	case p.mode == "json" && time.Since(p.last) >= jsonEvery:
		p.last = time.Now()
		p.event("progress")
	}
}

func (p *progress) describe() string {
	d := fmt.Sprintf("%.0f tok/s", p.speed())
	if p.counted > 0 {
		d += fmt.Sprintf(", %.1f %% right", 100*float64(p.correct)/float64(p.counted))
	}
	return d
}

// speed is in tokens per second of this process.
func (p *progress) speed() float64 {
	return float64(p.tokens) / max(time.Since(p.begin).Seconds(), 1e-9)
}

// left is how long the rest will take, if it goes on like this; false where nothing can be said yet.
func (p *progress) left() (time.Duration, bool) {
	if p.fresh == 0 {
		return 0, false
	}
	return time.Since(p.begin) / time.Duration(p.fresh) * time.Duration(p.total-p.done), true
}

func (p *progress) line() {
	left := "?"
	if d, ok := p.left(); ok {
		left = d.Round(time.Second).String()
	}
	_, _ = fmt.Fprintf(p.out, "%d/%d samples, %s, %s left\n", p.done, p.total, p.describe(), left)
}

// progressEvent is a line of progress: json. Done and Total are of the whole run or shard; the rest is what this
// process did.
type progressEvent struct {
	Event   string    `json:"event"` // start, progress or end
	Time    time.Time `json:"time"`
	Run     string    `json:"run"`
	Done    int       `json:"done"`
	Total   int       `json:"total"`
	Fresh   int       `json:"fresh"`
	N       int       `json:"n"`
	Correct int       `json:"correct"`
	Tokens  int       `json:"tokens"`
	Seconds float64   `json:"elapsed_s"`
	// Speed and Left are null where nothing can be said yet.
	Speed *float64 `json:"tokens_per_s"`
	Left  *float64 `json:"eta_s"`
}

func (p *progress) event(name string) {
	e := progressEvent{
		Event: name, Time: time.Now().UTC(), Run: p.run, Done: p.done, Total: p.total, Fresh: p.fresh,
		N: p.counted, Correct: p.correct, Tokens: p.tokens, Seconds: time.Since(p.begin).Seconds(),
	}
	if d, ok := p.left(); ok {
		speed, left := p.speed(), d.Seconds()
		e.Speed, e.Left = &speed, &left
	}
	session.WriteEvent(p.out, e)
}

// finish prints the last state.
func (p *progress) finish() {
	switch {
	case p.mode == "bar" && p.done < p.total:
		_, _ = fmt.Fprintln(p.out)
	case p.mode == "plain" && p.fresh > 0:
		p.line()
	case p.mode == "json":
		p.event("end")
	}
}

// show takes over what several workers did.
func (p *progress) show(workers []progressEvent) {
	p.done, p.total, p.fresh, p.counted, p.correct, p.tokens = 0, 0, 0, 0, 0, 0
	for _, w := range workers {
		p.done, p.total, p.fresh = p.done+w.Done, p.total+w.Total, p.fresh+w.Fresh
		p.counted, p.correct, p.tokens = p.counted+w.N, p.correct+w.Correct, p.tokens+w.Tokens
	}
	switch {
	case p.mode == "bar":
		p.bar.ChangeMax(p.total)
		p.bar.Describe(p.describe())
		_ = p.bar.Set(p.done)
	case p.mode == "plain" && p.fresh > 0 && time.Since(p.last) >= plainEvery:
		p.last = time.Now()
		p.line()
	case p.mode == "json" && time.Since(p.last) >= jsonEvery:
		p.last = time.Now()
		p.event("progress")
	}
}
