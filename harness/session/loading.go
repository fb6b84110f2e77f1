package session

import (
	"fmt"
	"io"
	"time"
)

// Loads are silent for the first second, and then say a line every few. Small models, which take longer only where the
// machine is busy, say nothing at all.
const (
	silentFor    = time.Second
	loadingEvery = 2 * time.Second
	smallModel   = 64 << 20 // bytes
)

// Loading reports on w how far the loading of a model is; loads of less than a second, and of small models, go without
// a word.
func Loading(path string, w io.Writer) func(done, total int64) {
	return loading(path, func(format string, args ...any) { _, _ = fmt.Fprintf(w, format+"\n", args...) })
}

func loading(path string, say func(format string, args ...any)) func(done, total int64) {
	var begin time.Time // of the reading of weights
	next := silentFor
	return func(done, total int64) {
		if begin.IsZero() {
			begin = time.Now()
		}
		spent := time.Since(begin)
		if spent < next || total < smallModel {
			return
		}
		next = spent + loadingEvery
		say("loading %s: %.1f of %.1f GB, %.0f MB/s", path, float64(done)/1e9, float64(total)/1e9,
			float64(done)/1e6/spent.Seconds())
	}
}

// A computation is silent for two seconds, and then says a line every five.
const (
	workSilentFor = 2 * time.Second
	workEvery     = 5 * time.Second
)

// Working reports by say how far a computation is and how long the rest may take. What is told of another thing, or of
// less than before, is another computation.
func Working(say func(format string, args ...any)) func(what string, done, total int64) {
	var (
		now   string
		last  int64
		begin time.Time
		next  time.Duration
	)
	return func(what string, done, total int64) {
		if what != now || done < last {
			now, begin, next = what, time.Now(), workSilentFor
		}
		last = done
		spent := time.Since(begin)
		if spent < next || done == 0 || done >= total {
			return
		}
		next = spent + workEvery
		left := time.Duration(float64(spent) / float64(done) * float64(total-done)).Round(time.Second)
		say("%d of %d %s, about %v left", done, total, what, left)
	}
}
