package advise

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/gsmeval/gsmeval/decode"
	"github.com/gsmeval/gsmeval/harness/runner"
	"github.com/gsmeval/gsmeval/harness/session"
	"github.com/gsmeval/gsmeval/internal/condition"
	"github.com/gsmeval/gsmeval/internal/config"
)

// Forecast is what a run would do, found out without making a run directory.
type Forecast struct {
	Name        string               `json:"name"`
	Output      string               `json:"output"`
	Exists      bool                 `json:"output_exists"` // something is there already
	Model       string               `json:"model"`
	Dataset     string               `json:"dataset"`
	Questions   int                  `json:"questions"`
	PromptStyle string               `json:"prompt_style"`
	Prompt      PromptLengths        `json:"prompt_tokens"`
	TooLong     int                  `json:"questions_too_long"` // with the new tokens, for the model's positions
	Conditions  []PlannedCondition   `json:"conditions"`
	Samples     int                  `json:"samples"`
	TokensMost  int64                `json:"tokens_at_most"` // that are computed: twice those of a sample that takes two rows
	Calibration *PlannedCalibrations `json:"calibration"`    // null where none is needed
	Memory      *session.Memory      `json:"memory"`         // null where the weights are not on this machine
	Time        *TimeEstimate        `json:"time_estimate"`  // null where nothing was measured
	NoTime      string               `json:"no_time_estimate,omitempty"`
}

// PromptLengths are in tokens.
type PromptLengths struct {
	Longest int     `json:"longest"`
	Mean    float64 `json:"mean"`
}

// PlannedCondition is a row of the table to come.
type PlannedCondition struct {
	Noise       string `json:"noise"`
	Temperature string `json:"temperature"`
	Replicates  int    `json:"noise_seeds"`
	PerQuestion int    `json:"samples_per_question"`
	Samples     int    `json:"samples"`              // 0 where another condition's are used
	SamplesOf   string `json:"samples_of,omitempty"` // the temperature whose samples it shares
	Calibrated  bool   `json:"calibrated"`           // its temperature follows from a measured alpha

	Notes []string `json:"notes,omitempty"` // what is special about it
}

// PlannedCalibrations is what measuring alpha takes, if it is not found on disk.
type PlannedCalibrations struct {
	Noises       int   `json:"noises"`
	Prompts      int   `json:"prompts"`
	Draws        int   `json:"draws"`
	TokensAtMost int64 `json:"tokens_at_most"`
}

// TimeEstimate extrapolates from a short measured decode; real answers are mostly shorter than the limit.
type TimeEstimate struct {
	PrefillSeconds float64 `json:"prefill_seconds"` // of one prompt
	StepSeconds    float64 `json:"step_seconds"`    // of one decode step of the whole batch, with the costliest noise
	MostSeconds    float64 `json:"seconds_at_most"` // of the run, were every text as long as the limit
}

// Foresee lays out the run of a config. It reads the data and the text side of the model and, if the weights are on
// this machine and there is room for them, decodes a few tokens to estimate the time. Weights are not downloaded.
func Foresee(ctx context.Context, cfg *config.Config, stderr io.Writer) (*Forecast, error) {
	log := session.NewLogger(stderr, cfg)
	s := &session.Session{Cfg: cfg, Logger: log, Locator: session.LocatorFor(log, cfg.Progress)}
	dir, whole, err := s.Locator.Peek(ctx, cfg.Model.Path, cfg.Model.Revision)
	if err != nil {
		return nil, fmt.Errorf("model.path: %w", err)
	}
	if s.Data, err = s.LoadData(ctx); err != nil {
		return nil, err
	}
	text, err := decode.OpenText(dir)
	if err != nil {
		return nil, err
	}
	defer text.Close() //nolint:errcheck // it was only read
	shots, err := s.LoadShots(ctx)
	if err != nil {
		return nil, err
	}
	if s.Prompter, err = session.NewPrompter(text, cfg.Prompt, shots); err != nil {
		return nil, err
	}
	prompts, err := s.Prompts()
	if err != nil {
		return nil, err
	}
	f := &Forecast{
		Name: cfg.Name, Output: cfg.Output, Model: cfg.Model.Path, Dataset: cfg.Dataset.Path,
		Questions: len(prompts), PromptStyle: s.Prompter.Style,
	}
	if _, err := os.Stat(cfg.Output); err == nil {
		f.Exists = true
	}
	positions, _ := text.Config.Context()
	capacity := f.measurePrompts(prompts, cfg.Generation.MaxNewTokens, positions)
	if capacity == 0 {
		return nil, fmt.Errorf("no prompt with %d new tokens fits the %d positions of the model; %s",
			cfg.Generation.MaxNewTokens, positions, runner.Shorten(cfg))
	}
	p, err := runner.NewPlan(cfg, runner.Unmeasured)
	if err != nil {
		return nil, err
	}
	if err := p.Check(len(prompts)); err != nil {
		return nil, err
	}
	f.layOut(cfg, p)
	if !whole {
		f.NoTime = "the weights are not on this machine"
		return f, nil
	}
	parameters, err := session.CountParameters(dir)
	if err != nil {
		return nil, err
	}
	gpu, err := decode.GPU(cfg.Model.Device)
	if err != nil {
		return nil, err
	}
	if cfg, err = session.WithBatch(cfg, dir, text.Config, gpu); err != nil {
		return nil, err
	}
	m := session.MemoryNeed(text.Config, parameters.Parameters, cfg.Model.DType, cached(cfg), capacity, os.DirFS("/"))
	m.Other += int64(f.Samples) * runner.SampleBytes
	m.Need += int64(f.Samples) * runner.SampleBytes
	f.Memory = &m
	if !m.Fits() {
		f.NoTime = "the model does not fit into the free memory"
		return f, nil
	}
	log.Logf("dry run: loading the model and decoding a few tokens to estimate the time")
	f.Time, err = estimate(ctx, cfg, dir, f, prompts, capacity)
	return f, err
}

// measurePrompts fills in the lengths and returns the longest sequence that is run.
func (f *Forecast) measurePrompts(prompts []session.Prompt, maxNew, positions int) (capacity int) {
	sum := 0
	for _, p := range prompts {
		n := len(p.IDs)
		sum += n
		f.Prompt.Longest = max(f.Prompt.Longest, n)
		if n+maxNew > positions {
			f.TooLong++
			continue
		}
		capacity = max(capacity, n+maxNew)
	}
	f.Prompt.Mean = float64(sum) / float64(len(prompts))
	return capacity
}

// layOut fills in conditions, samples and calibrations.
func (f *Forecast) layOut(cfg *config.Config, p *runner.Plan) {
	sources := map[string]bool{}
	for _, c := range p.Cells {
		t := cfg.Temperature[c.Temp]
		pc := PlannedCondition{
			Noise: cfg.Noise[c.Noise].Label(), Temperature: c.Label, Replicates: c.Replicates,
			PerQuestion: c.Samples,
		}
		if cal, needed := t.Calibration(cfg.Under(c.Noise)); needed {
			pc.Calibrated = true
			sources[cal.Noise.Label()] = true
		}
		pc.Notes = t.Notes(cfg.Under(c.Noise), condition.ConstantT(1))
		if c.SamplesOf >= 0 {
			pc.SamplesOf = cfg.Temperature[c.SamplesOf].Label()
		} else {
			pc.Samples = c.Replicates * c.Samples * f.Questions
		}
		f.Samples += pc.Samples
		f.TokensMost += int64(pc.Samples) * int64(c.Rows()) * int64(cfg.Generation.MaxNewTokens)
		f.Conditions = append(f.Conditions, pc)
	}
	if len(sources) > 0 {
		n := cfg.Calibration.Prompts
		if list := len(cfg.Calibration.PromptList); list > 0 {
			n = list
		}
		// The clean continuations once, then each noise's draws over prompts and continuations.
		clean := int64(n) * int64(cfg.Calibration.Positions)
		draws := int64(len(sources)) * int64(n) * int64(cfg.Calibration.Draws) * int64(float64(cfg.Calibration.Positions)+f.Prompt.Mean)
		f.Calibration = &PlannedCalibrations{len(sources), n, cfg.Calibration.Draws, clean + draws}
	}
}

// cached is the number of sequences that the cache holds.
func cached(cfg *config.Config) int {
	if !cfg.Generation.KVCache {
		return 1
	}
	return int(cfg.Generation.BatchSize)
}

// Markdown is the forecast for people.
func (f *Forecast) Markdown() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("Plan of %s (a dry run: nothing was written)\n", f.Name)
	line("Model       %s", f.Model)
	line("Data        %s, %s", f.Dataset, session.Count(f.Questions, "question"))
	line("Prompts     %s, %.0f tokens in the mean, %d at most", f.PromptStyle, f.Prompt.Mean, f.Prompt.Longest)
	if f.TooLong > 0 {
		line("            %s too long for the model with the new tokens; its samples would fail",
			session.Count(f.TooLong, "prompt"))
	}
	there := ""
	if f.Exists {
		there = " (there already; the run goes on with it if it is the same, else it is refused)"
	}
	line("Output      %s%s\n", f.Output, there)
	line("| Noise | Temperature | Noise seeds | Samples |\n|---|---|--:|--:|")
	for _, c := range f.Conditions {
		label, samples := c.Temperature, fmt.Sprint(c.Samples)
		if c.Calibrated {
			label += " (from a calibration)"
		}
		if c.SamplesOf != "" {
			samples = "those of " + c.SamplesOf
		}
		line("| %s | %s | %d | %s |", c.Noise, label, c.Replicates, samples)
	}
	if f.noted() {
		line("")
	}
	for _, c := range f.Conditions {
		for _, note := range c.Notes {
			line("%s, %s: %s", c.Noise, c.Temperature, note)
		}
	}
	line("\nSamples     %d in %s, %d new tokens at most", f.Samples, session.Count(len(f.Conditions), "condition"),
		f.TokensMost)
	if c := f.Calibration; c != nil {
		line("Calibration %s, %s, %s: %d tokens at most, where it is not found on disk",
			session.Count(c.Noises, "noise"), session.Count(c.Prompts, "prompt"), session.Count(c.Draws, "draw"),
			c.TokensAtMost)
	}
	if f.Memory != nil {
		line("Memory      %s", f.Memory)
	}
	if f.Memory != nil && !f.Memory.Fits() {
		line("            more than is free: lower generation.batch_size or max_new_tokens, or set model.dtype to bfloat16")
	}
	if t := f.Time; t != nil {
		line("Time        estimate: %s at most, if every text goes on to the token limit (%s a prompt, %s a step of the batch, measured just now)",
			spell(t.MostSeconds), spell(t.PrefillSeconds), spell(t.StepSeconds))
	} else {
		line("Time        not estimated: %s", f.NoTime)
	}
	return b.String()
}

func (f *Forecast) noted() bool {
	return slices.ContainsFunc(f.Conditions, func(c PlannedCondition) bool { return len(c.Notes) > 0 })
}

// spell is a time with three digits or so.
func spell(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d >= time.Minute:
		return d.Round(time.Second).String()
	case d >= time.Second:
		return d.Round(100 * time.Millisecond).String()
	default:
		return d.Round(10 * time.Microsecond).String()
	}
}
