package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/gsmeval/gsmeval/results"
)

func watchCommand(a *app) *cobra.Command {
	var every time.Duration
	var once, asJSON bool
	c := &cobra.Command{
		Use:   "watch RUN",
		Short: "Look at a run in progress",
		Long: `Watch follows a run that another process is at, here or on another machine that shares the directory: for every condition how many
samples there are and the accuracy so far with its interval, the speed and the time left. It reads the journals of the run and of its
shards as they grow, writes nothing, and ends when the run does, with an error where the run is not complete then. Its own end, by
Ctrl-C too, does nothing to the run.

An accuracy so far is of the answers that ended first, which are the short ones, not of a random choice; its interval knows nothing of that.`,
		Example: `  gsmeval watch runs/dyn_tstar
  gsmeval watch runs/dyn_tstar --once
  gsmeval watch runs/dyn_tstar --json --every 10s`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if every < 100*time.Millisecond {
				return usageError{fmt.Errorf("--every %s is below 100ms", every)}
			}
			screen := newScreen(a.stdout)
			live := results.Follow(args[0])
			tick := time.NewTicker(every)
			defer tick.Stop()
			for {
				p, err := live.Poll(time.Now())
				var begun *results.BegunError
				switch {
				case errors.As(err, &begun) && begun.Status == results.RunRunning && asJSON:
					p, err = begun.Progress(time.Now()), a.printJSON(begun.Progress(time.Now()))
				case errors.As(err, &begun) && begun.Status == results.RunRunning:
					p, err = begun.Progress(time.Now()), screen.show([]string{begun.Error()})
				case err != nil:
				case asJSON:
					err = a.printJSON(p)
				default:
					err = screen.show(watched(p, screen.width))
				}
				if err != nil || once || p.Status == results.RunComplete {
					return err
				}
				if p.Resume != "" {
					return notComplete(p)
				}
				select {
				case <-cmd.Context().Done():
					return nil // whoever watches may stop at any time
				case <-tick.C:
				}
			}
		},
	}
	c.Flags().DurationVar(&every, "every", 2*time.Second, "how often to look")
	c.Flags().BoolVar(&once, "once", false, "look once and end")
	c.Flags().BoolVar(&asJSON, "json", false, "print a line of JSON each time")
	return c
}

// notComplete says how a run goes on that nobody is at.
func notComplete(p *results.Progress) error {
	how := map[results.RunStatus]string{
		results.RunStopped:     "has stopped: no process is at it (it was killed, or waits in a queue)",
		results.RunFailed:      "has failed",
		results.RunInterrupted: "was interrupted",
	}
	also := ""
	if len(p.Shards) > 1 {
		also = "; all shards: gsmeval status " + p.Run
	}
	return fmt.Errorf("%s %s; go on with: gsmeval resume %s%s", p.Run, how[p.Status], p.Resume, also)
}

// watched draws a run in progress as lines of at most width characters; 0 is any width.
func watched(p *results.Progress, width int) []string {
	lines := []string{headline(p)}
	pending := 0
	for _, s := range p.Shards {
		if s.Status == results.RunPending {
			pending++
			continue
		}
		lines = append(lines, fmt.Sprintf("shard %s: %s, %s", s.Shard, s.Status, plural(s.Done, "sample")))
	}
	if pending > 0 {
		lines = append(lines, fmt.Sprintf("%d of %s not begun", pending, plural(len(p.Shards), "shard")))
	}
	rows := [][]string{{"Noise", "Temperature", "", "Samples", "Accuracy", "95 % CI", "Truncated", "Failed", "Tokens"}}
	for _, c := range p.Conditions {
		row := []string{
			c.Noise, c.Temperature, bar(c.Done, c.Total, 10), fmt.Sprintf("%d/%d", c.Done, c.Total), "–",
			"–", "–", fmt.Sprint(c.Failed), "–",
		}
		if c.SamplesOf != "" {
			row[3] = "as " + c.SamplesOf
		}
		if c.N > 0 {
			row[4] = fmt.Sprintf("%.1f", 100*float64(c.Accuracy))
			row[6] = fmt.Sprintf("%.1f %%", 100*float64(c.Truncated)/float64(c.N))
			row[8] = fmt.Sprintf("%.1f", float64(c.MeanTokens))
		}
		if c.N > 0 && c.CI.Valid() {
			row[5] = fmt.Sprintf("[%.1f, %.1f]", 100*float64(c.CI[0]), 100*float64(c.CI[1]))
		}
		rows = append(rows, row)
	}
	lines = append(lines, aligned(rows, 3)...)
	for i, line := range lines {
		if runes := []rune(line); width > 0 && len(runes) > width {
			lines[i] = string(runes[:width-1]) + "…"
		}
	}
	return lines
}

func headline(p *results.Progress) string {
	h := fmt.Sprintf("%s: %s, %d of %s", p.Run, p.Status, p.Done, plural(p.Total, "sample"))
	if p.Cause != "" {
		h += " (" + p.Cause + ")"
	}
	if p.Status != results.RunRunning {
		return h
	}
	if p.SecondsLeft.Finite() {
		left := time.Duration(float64(p.SecondsLeft) * float64(time.Second)).Round(time.Second)
		return h + fmt.Sprintf(", %.0f tok/s, %s left", float64(p.TokensPerSecond), left)
	}
	if quiet := p.Time.Sub(p.LastSample); !p.LastSample.IsZero() && quiet > time.Minute {
		return h + fmt.Sprintf(", no new sample for %s", quiet.Round(time.Second))
	}
	return h
}

// bar shows done of total in width characters.
func bar(done, total, width int) string {
	full := 0
	if total > 0 {
		full = min(done*width/total, width)
	}
	return strings.Repeat("█", full) + strings.Repeat("░", width-full)
}

// aligned pads cells to columns, the first left ones to the left.
func aligned(rows [][]string, left int) []string {
	var width []int
	for _, row := range rows {
		for i, c := range row {
			if i == len(width) {
				width = append(width, 0)
			}
			width[i] = max(width[i], utf8.RuneCountInString(c))
		}
	}
	var lines []string
	for _, row := range rows {
		var b strings.Builder
		for i, c := range row {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(c))
			if i < left {
				b.WriteString(c + pad + "  ")
			} else {
				b.WriteString(pad + c + "  ")
			}
		}
		lines = append(lines, strings.TrimRight(b.String(), " "))
	}
	return lines
}

// screen shows lines again and again: on a terminal in their place, else one below the other.
type screen struct {
	out           io.Writer
	terminal      bool
	width, height int
	shown         int // lines that stand there
}

func newScreen(out io.Writer) *screen {
	s := &screen{out: out}
	if f, ok := out.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		s.terminal = true
		if w, h, err := term.GetSize(int(f.Fd())); err == nil {
			s.width, s.height = w, h
		}
	}
	return s
}

func (s *screen) show(lines []string) error {
	if s.terminal && s.height > 2 && len(lines) >= s.height {
		more := len(lines) - (s.height - 2)
		lines = append(lines[:s.height-2:s.height-2], fmt.Sprintf("… and %d more; see --once", more))
	}
	text := strings.Join(lines, "\n") + "\n"
	switch {
	case s.terminal && s.shown > 0:
		text = fmt.Sprintf("\x1b[%dA\x1b[J", s.shown) + text
	case s.shown > 0:
		text = "\n" + text
	}
	s.shown = len(lines)
	if _, err := io.WriteString(s.out, text); err != nil {
		return fmt.Errorf("writing the progress: %w", err)
	}
	return nil
}
