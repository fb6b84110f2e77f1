// Package harness runs a config: it plans the grid of conditions, prepares prompts and temperatures, decodes what the
// journal lacks, scores and records it, and writes the tables.
package harness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gsmeval/gsmeval/decode"
	"github.com/gsmeval/gsmeval/harness/config"
	"github.com/gsmeval/gsmeval/internal/torch"
	"github.com/gsmeval/gsmeval/noise"
	"github.com/gsmeval/gsmeval/noise/philox"
	"github.com/gsmeval/gsmeval/results"
	"github.com/gsmeval/gsmeval/scoring"
)

// ErrInterrupted is returned when a run was asked to stop; it can be resumed.
var ErrInterrupted = errors.New("interrupted")

// Options are what a run needs beside its config.
type Options struct {
	Stderr io.Writer // progress and messages
}

// Run does, or goes on with, the run that cfg describes and returns its table.
func Run(ctx context.Context, cfg *config.Config, o Options) (*results.Table, error) {
	r := &runner{cfg: cfg, stderr: o.Stderr, timings: map[string]float64{}}
	defer r.close()
	if err := r.prepare(ctx); err != nil {
		return nil, err
	}
	return r.run(ctx)
}

type runner struct {
	*Session
	cfg     *config.Config
	stderr  io.Writer
	timings map[string]float64

	prompts  []Prompt
	ladder   scoring.Ladder
	plan     *plan
	info     *results.RunInfo
	journal  *results.Journal
	engine   *decode.Engine
	progress *progress
}

func (r *runner) timed(name string, f func() error) error {
	begin := time.Now()
	defer func() { r.timings[name] += time.Since(begin).Seconds() }()
	return f()
}

// close frees everything; what goes wrong then is said, and changes no result any more.
func (r *runner) close() {
	say := func(what string, err error) {
		if err != nil {
			_, _ = fmt.Fprintf(r.stderr, "closing the %s: %v\n", what, err)
		}
	}
	if r.engine != nil {
		say("engine", r.engine.Close())
	}
	if r.Session != nil {
		say("model", r.Session.Close())
	}
	if r.journal != nil {
		say("journal", r.journal.Close())
	}
}

// prepare loads everything and opens the run directory. Nothing is decoded yet.
func (r *runner) prepare(ctx context.Context) error {
	var err error
	if r.ladder, err = scoring.LadderByName(r.cfg.Scoring.Ladder); err != nil {
		return err
	}
	if err := r.timed("load", func() error {
		if r.Session, err = OpenSession(ctx, r.cfg, r.stderr); err == nil {
			r.prompts, err = r.Session.prompts()
		}
		return err
	}); err != nil {
		return err
	}
	return r.openRun(ctx)
}

// openRun makes the plan, and creates the run directory or checks that the one that is there is of this very run.
func (r *runner) openRun(ctx context.Context) error {
	cfg := r.cfg
	fingerprint, err := r.id.fingerprint(cfg)
	if err != nil {
		return err
	}
	dir := cfg.Output
	old, err := results.ReadRun(dir)
	switch {
	case err == nil:
		if old.Fingerprint != fingerprint {
			return r.differs(old)
		}
	case errors.Is(err, os.ErrNotExist):
		old = nil
		if _, err := os.Stat(filepath.Join(dir, results.JournalFile)); err == nil {
			return fmt.Errorf("%s has samples but no %s; move it away or choose another output", dir, results.RunFile)
		}
	default:
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("making the run directory: %w", err)
	}
	c := r.calibrator()
	if err := r.timed("calibrate", func() error {
		r.plan, err = newPlan(cfg, c.schedule(ctx))
		return err
	}); err != nil {
		return err
	}
	effective, err := cfg.JSON()
	if err != nil {
		return err
	}
	r.info = &results.RunInfo{
		Schema: results.RunSchema, Name: cfg.Name, Fingerprint: fingerprint, Status: results.RunRunning, Config: effective,
		Hashes: r.id.hashes, Versions: r.id.versions, Device: r.id.device, Threads: r.id.threads,
		Meta: r.plan.meta(fingerprint, len(r.Data.Examples), r.settings()), Schedules: r.plan.schedules(),
		Started: time.Now().UTC(), Attempts: 1,
	}
	if old != nil {
		r.info.Started, r.info.Attempts = old.Started, old.Attempts+1
		for k, v := range old.Timings {
			r.timings[k] += v
		}
	}
	// T(t) is on disk before the first sample.
	if err := r.info.Write(dir); err != nil {
		return err
	}
	r.journal, err = results.Open(filepath.Join(dir, results.JournalFile), fingerprint)
	if err != nil {
		return err
	}
	if torn := r.journal.Torn(); torn != "" {
		r.logf("the last line of %s was torn; it was cut off (a copy is %s)", results.JournalFile, torn)
	}
	return nil
}

// differs says what keeps an existing run from being continued.
func (r *runner) differs(old *results.RunInfo) error {
	var what []string
	if was, err := config.Parse(filepath.Join(r.cfg.Output, results.RunFile), old.Config, config.Options{}); err == nil {
		what = config.Diff(was, r.cfg)
	}
	what = append(what, differences(old.Hashes, r.id.hashes)...)
	what = append(what, differences(old.Versions, r.id.versions)...)
	if old.Threads != r.id.threads {
		what = append(what, fmt.Sprintf("threads: %d != %d", old.Threads, r.id.threads))
	}
	return fmt.Errorf("%s holds another run; choose another output, or remove it. What differs (there != here):\n  %s",
		r.cfg.Output, strings.Join(what, "\n  "))
}

// differences lists the keys that two descriptions do not agree on.
func differences(was, is map[string]string) []string {
	var what []string
	for _, k := range slices.Sorted(maps.Keys(is)) {
		if was[k] != is[k] {
			what = append(what, fmt.Sprintf("%s: %s != %s", k, was[k], is[k]))
		}
	}
	return what
}

// settings are what stands under the tables, and what two runs must share to be compared.
func (r *runner) settings() map[string]string {
	g := r.cfg.Generation
	return map[string]string{
		results.SettingData:       r.Data.SHA256[:12] + " " + r.cfg.Dataset.Split,
		results.SettingPrompt:     r.prompter.Describe(),
		results.SettingLadder:     r.cfg.Scoring.Ladder,
		results.SettingTokenLimit: strconv.Itoa(g.MaxNewTokens),
		"model":                   filepath.Base(r.cfg.Model.Path) + " " + r.id.hashes["weights"][:12],
		"dtype":                   r.cfg.Model.DType,
		"kv_cache":                strconv.FormatBool(g.KVCache),
		"seed":                    strconv.FormatUint(r.cfg.Seed, 10),
	}
}

// run decodes what is missing, completes the journal and writes the tables.
func (r *runner) run(ctx context.Context) (*results.Table, error) {
	total := r.plan.samples(len(r.Data.Examples))
	if missing := total - r.journal.Len(); missing > 0 {
		if r.journal.Len() > 0 {
			r.logf("resuming %s: %d of %d samples are there", r.cfg.Output, r.journal.Len(), total)
		}
		if err := r.timed("decode", func() error { return r.decode(ctx, total) }); err != nil {
			return nil, r.stopped(ctx, err)
		}
	}
	if err := r.journal.Finalize(); err != nil {
		return nil, r.stopped(ctx, err)
	}
	set, err := results.Collect(r.info.Meta, r.journal.Records())
	if err != nil {
		return nil, r.stopped(ctx, err)
	}
	table := set.Table()
	if err := table.WriteAll(r.cfg.Output); err != nil {
		return nil, r.stopped(ctx, err)
	}
	r.info.Status, r.info.Cause, r.info.Timings, r.info.Finished = results.RunComplete, "", r.timings, time.Now().UTC()
	return table, r.info.Write(r.cfg.Output)
}

// stopped notes in run.json why a run ended early.
func (r *runner) stopped(ctx context.Context, err error) error {
	r.info.Status, r.info.Cause, r.info.Timings = results.RunFailed, err.Error(), r.timings
	if ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) {
		err = fmt.Errorf("%w: %d of %d samples are kept; go on with: gsmeval resume %s",
			ErrInterrupted, r.journal.Len(), r.plan.samples(len(r.Data.Examples)), r.cfg.Output)
		r.info.Status, r.info.Cause = results.RunInterrupted, ""
	}
	return errors.Join(err, r.info.Write(r.cfg.Output))
}

// decode walks the passes of the plan.
func (r *runner) decode(ctx context.Context, total int) error {
	longest := 0
	for _, p := range r.prompts {
		longest = max(longest, len(p.IDs))
	}
	slots := int(r.cfg.Generation.BatchSize)
	if r.cfg.Generation.BatchSize == config.BatchAuto {
		slots = 32
	}
	var err error
	r.engine, err = decode.NewEngine(r.LM.Worker, r.LM.Model, decode.Options{
		Slots: slots, Capacity: longest + r.cfg.Generation.MaxNewTokens, Recompute: !r.cfg.Generation.KVCache, Ends: r.LM.Ends.Has,
	})
	if err != nil {
		return err
	}
	r.progress = newProgress(r.stderr, r.cfg.Progress, r.journal.Len(), total)
	defer r.progress.finish()
	for _, ps := range r.plan.passes() {
		if err := r.pass(ctx, ps); err != nil {
			return err
		}
	}
	return nil
}

// pass decodes the missing samples of one pass.
func (r *runner) pass(ctx context.Context, ps pass) error {
	var missing []todo
	r.plan.keys(ps, len(r.prompts), func(c *cell, k results.Key) bool {
		if !r.journal.Has(k) {
			missing = append(missing, todo{c, k})
		}
		return true
	})
	if len(missing) == 0 {
		return nil
	}
	spec := r.plan.noises[ps.noise]
	label := r.cfg.Noise[ps.noise].Label()
	var weights noise.Effect
	if spec.OnWeights() {
		if err := r.LM.Worker.Do(func(s *torch.Scope) (err error) {
			weights, err = r.LM.PerturbWeights(s, spec, philox.Weight, r.cfg.Seed, ps.replicate)
			return err
		}); err != nil {
			return fmt.Errorf("noise %q: %w", label, err)
		}
		defer func() {
			if err := r.LM.Worker.Do(r.LM.Model.Restore); err != nil {
				r.logf("%v", err)
			}
		}()
	}
	injector := noise.NewInjector(spec, false)
	rec := newRecorder(r, spec, weights)
	i := 0
	err := r.engine.Generate(ctx, injector, func() (*decode.Request, any, bool) {
		if i == len(missing) {
			return nil, nil, false
		}
		t := missing[i]
		i++
		return r.request(t, spec), t, true
	}, rec.sink)
	if closeErr := rec.close(); closeErr != nil {
		return closeErr // the cause of a cancelled generation
	}
	if err != nil {
		return err
	}
	if spec.OnActivations() {
		if err := injector.Effect().Check(); err != nil {
			return fmt.Errorf("noise %q: %w", label, err)
		}
	}
	return nil
}

// todo is a sample to decode.
type todo struct {
	cell *cell
	key  results.Key
}

// request says what a sample is drawn for. Equal replicates share their random numbers across noises and temperatures.
func (r *runner) request(t todo, spec noise.Spec) *decode.Request {
	g := r.cfg.Generation
	example := strconv.Itoa(r.Data.Examples[t.key.Order].ID)
	return &decode.Request{
		Prompt: r.prompts[t.key.Order].IDs, MaxNew: g.MaxNewTokens, Schedule: t.cell.schedule,
		Filter:    decode.Filter{TopK: g.TopK, TopP: g.TopP, MinP: g.MinP, RepetitionPenalty: g.RepetitionPenalty},
		SampleKey: philox.NewKey(philox.Sample, r.cfg.Seed, t.key.Replicate, example),
		NoiseKey:  philox.NewKey(activationDomain(spec.Kind), r.cfg.Seed, t.key.Replicate, example),
	}
}
