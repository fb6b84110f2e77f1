package session

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/gsmeval/gsmeval/internal/config"
)

// logLevels are the values of log_level, the least important first.
var logLevels = []string{"debug", "info", "warn", "error"}

// Logger says on stderr what is being done, from log_level up: in lines of text, or of JSON where progress is json.
// What cannot be shown must not end a run.
type Logger struct {
	out    io.Writer
	least  int // index into logLevels
	asJSON bool
}

// NewLogger returns what writes messages as a config asks.
func NewLogger(out io.Writer, cfg *config.Config) Logger {
	return Logger{out: out, least: slices.Index(logLevels, cfg.LogLevel), asJSON: cfg.Progress == "json"}
}

// Debugf says what helps to find a fault.
func (l Logger) Debugf(format string, args ...any) { l.say(0, format, args...) }

// Logf says what a run does.
func (l Logger) Logf(format string, args ...any) { l.say(1, format, args...) }

// Warnf says what somebody should know.
func (l Logger) Warnf(format string, args ...any) { l.say(2, format, args...) }

func (l Logger) say(level int, format string, args ...any) {
	if l.out == nil || level < l.least {
		return
	}
	text := fmt.Sprintf(format, args...)
	if !l.asJSON {
		_, _ = fmt.Fprintln(l.out, text)
		return
	}
	WriteEvent(l.out, struct {
		Event string    `json:"event"`
		Time  time.Time `json:"time"`
		Level string    `json:"level"`
		Text  string    `json:"text"`
	}{"message", time.Now().UTC(), logLevels[level], text})
}

// WriteEvent writes a line of JSON for other programs; docs/watching.md has the keys.
func WriteEvent(out io.Writer, v any) {
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v)
}

// Count is a number of things, in words: "1 question", "2 questions".
func Count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
