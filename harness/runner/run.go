// Package runner does a run: it plans the grid of conditions, decodes what the journal lacks, scores and records it,
// and writes the tables; in shards and on several devices too.
package runner

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gsmeval/gsmeval/datasets"
	"github.com/gsmeval/gsmeval/decode"
	"github.com/gsmeval/gsmeval/harness/calibrate"
	"github.com/gsmeval/gsmeval/harness/session"
	"github.com/gsmeval/gsmeval/internal/condition"
	"github.com/gsmeval/gsmeval/internal/config"
	"github.com/gsmeval/gsmeval/internal/finish"
	"github.com/gsmeval/gsmeval/internal/lease"
	"github.com/gsmeval/gsmeval/internal/thought"
	"github.com/gsmeval/gsmeval/noise"
	"github.com/gsmeval/gsmeval/noise/philox"
	"github.com/gsmeval/gsmeval/results"
	"github.com/gsmeval/gsmeval/results/report"
	"github.com/gsmeval/gsmeval/scoring"
)

// ErrInterrupted is returned when a run was asked to stop; it can be resumed.
var ErrInterrupted = errors.New("interrupted")

// Options are what a run needs beside its config.
type Options struct {
	Stderr io.Writer // progress and messages
	Shard  Shard     // a part of the run, in a directory of its own
	Extend bool      // a finished run may get more examples, noise seeds and samples
	// NoReport leaves report.html and the figures out: they can be made later.
	NoReport bool
	// Fidelity measures what fidelity: true asks for.
	Fidelity Fidelity
	// Progress is stored with the run in place of the config's, where it is a worker's.
	Progress string
}

// Run does, or goes on with, the run that cfg describes and returns its table.
func Run(ctx context.Context, cfg *config.Config, o Options) (*results.Table, error) {
	r := &runner{cfg: cfg, opt: o, stderr: o.Stderr, dir: shardDir(cfg.Output, o.Shard), timings: map[string]float64{}}
	defer r.close()
	if err := r.begin("loading the model"); err != nil {
		return nil, err
	}
	if err := r.prepare(ctx); err != nil {
		return nil, r.unprepared(ctx, err)
	}
	return r.run(ctx)
}

// begin says in the run directory what the run is at, until it has a run.json.
func (r *runner) begin(doing string) error {
	if _, err := os.Stat(filepath.Join(r.dir, results.RunFile)); err == nil {
		return nil
	}
	if r.begun != nil {
		r.begun.Doing = doing
		return r.begun.Write(r.dir)
	}
	config, err := r.cfg.JSON()
	if err != nil {
		return err
	}
	r.begun = &results.Begun{
		Name: r.cfg.Name, Status: results.RunRunning, Doing: doing, Shard: r.opt.Shard.String(), Config: config,
		Started: time.Now().UTC(),
	}
	return r.begun.Write(r.dir)
}

// unprepared notes that a run was stopped before its first sample.
func (r *runner) unprepared(ctx context.Context, err error) error {
	if r.begun == nil {
		if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
			err = fmt.Errorf("%w before a new sample; go on with: gsmeval resume %s", ErrInterrupted, r.dir)
		}
		return err
	}
	if ctx.Err() == nil || !errors.Is(err, ctx.Err()) {
		return errors.Join(err, r.begun.Ended(r.dir)) // what never began leaves nothing behind
	}
	err = fmt.Errorf("%w while %s, before the first sample; go on with: gsmeval resume %s", ErrInterrupted,
		r.begun.Doing, r.dir)
	r.begun.Status = results.RunInterrupted
	return errors.Join(err, r.begun.Write(r.dir))
}

type runner struct {
	*session.Session
	cfg     *config.Config
	opt     Options
	stderr  io.Writer
	dir     string
	timings map[string]float64

	open      func(slots, capacity int) (decoder, error)
	positions int    // that the model can compute
	limit     string // the key of config.json that says so

	prompts  []session.Prompt
	stops    *decode.Stops
	ladder   scoring.Ladder
	plan     *Plan
	begun    *results.Begun // until there is info
	info     *results.RunInfo
	journal  *results.Journal
	decoder  decoder
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
			session.NewLogger(r.stderr, r.cfg).Warnf("closing the %s: %v", what, err)
		}
	}
	if r.decoder != nil {
		say("engine", r.decoder.close())
	}
	if r.Session != nil {
		say("model", r.Close())
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
	r.ladder.Thoughts = thought.New(r.cfg.Scoring.Thoughts)
	if err := r.timed("load", func() error {
		if r.Session, err = session.Open(ctx, r.cfg, r.stderr); err == nil {
			r.prompts, err = r.Prompts()
		}
		return err
	}); err != nil {
		return err
	}
	r.Debugf("loaded %d questions and %s (%s, %d threads) in %.1f s", len(r.prompts), r.cfg.Model.Path, r.ID.Device,
		r.ID.Threads, r.timings["load"])
	if r.cfg, err = session.WithBatch(r.cfg, r.LM.Dir, r.LM.Config, r.LM.GPU); err != nil {
		return err
	}
	r.positions, r.limit = r.LM.Config.Context()
	r.stops = r.LM.Stops(r.cfg.Generation.Stop)
	r.open = func(slots, capacity int) (decoder, error) {
		return newLMDecoder(r.LM, decode.Options{
			Slots: slots, Capacity: capacity, Recompute: !r.cfg.Generation.KVCache, Ends: r.LM.Ends.Has,
			Eager: !r.cfg.Model.Graphs,
			Text:  r.LM.Completion, Noise: r.cfg.Noise,
		})
	}
	return r.openRun(ctx)
}

// openRun makes the plan, and creates the run directory or checks that the one that is there is of this very run.
func (r *runner) openRun(ctx context.Context) error {
	cfg := r.cfg
	if err := r.timed("calibrate", func() error { return calibrate.Offer(ctx, r.Session) }); err != nil {
		return err
	}
	fingerprint, err := r.ID.Fingerprint(cfg)
	if err != nil {
		return err
	}
	old, err := results.ReadRun(r.dir)
	switch {
	case err == nil && old.Fingerprint == fingerprint:
	case err == nil && !hasSamples(filepath.Join(r.dir, results.JournalFile)):
		old = nil // another run that came to nothing, such as a config that is now mended
	case err == nil && r.opt.Extend:
		if err := r.extends(old); err != nil {
			return err
		}
	case err == nil:
		return r.differs(old)
	case !errors.Is(err, os.ErrNotExist):
		return err
	default:
		old = nil
		if hasSamples(filepath.Join(r.dir, results.JournalFile)) {
			return fmt.Errorf("%s has samples but no %s; move it away or choose another output", r.dir, results.RunFile)
		}
	}
	if r.begun != nil {
		if err := r.begin("measuring what its temperatures follow from"); err != nil {
			return err
		}
	}
	c := calibrate.New(r.Session)
	if err := r.timed("calibrate", func() error {
		if r.plan, err = NewPlan(cfg, c.Measurer(ctx)); err != nil {
			return err
		}
		return r.plan.Check(len(r.Data.Examples))
	}); err != nil {
		return err
	}
	if err := os.MkdirAll(r.dir, 0o755); err != nil {
		return fmt.Errorf("making the run directory: %w", err)
	}
	stored := *cfg
	stored.Progress = cmp.Or(r.opt.Progress, cfg.Progress)
	effective, err := stored.JSON()
	if err != nil {
		return err
	}
	r.info = &results.RunInfo{
		Schema: results.RunSchema, Name: cfg.Name, Fingerprint: fingerprint, Status: results.RunRunning,
		Config: effective,
		Hashes: r.ID.Hashes, Versions: r.ID.Versions, Sources: r.Locator.Sources(), Device: r.ID.Device,
		Threads: r.ID.Threads,
		Meta:    r.plan.meta(fingerprint, len(r.Data.Examples), r.settings()), Schedules: r.plan.schedules(),
		Started: time.Now().UTC(), Attempts: 1, Shard: r.opt.Shard.String(),
	}
	for _, e := range r.Data.Examples {
		r.info.Meta.Golds = append(r.info.Meta.Golds, e.Gold)
	}
	if cfg.Fidelity {
		if err := r.addFidelity(ctx, &r.info.Meta); err != nil {
			return err
		}
	}
	if old != nil && old.Fingerprint != fingerprint {
		if err := results.Rebase(filepath.Join(r.dir, results.JournalFile), old.Fingerprint, fingerprint); err != nil {
			return fmt.Errorf("extending %s: %w", r.dir, err)
		}
	}
	if old != nil {
		r.info.Started, r.info.Attempts = old.Started, old.Attempts+1
		for k, v := range old.Timings {
			r.timings[k] += v
		}
	}
	// What is there must have been sampled at the temperatures of this plan.
	check, err := r.info.Meta.Checker()
	if err != nil {
		return err
	}
	// The journal is locked first: a run that another process is at keeps its run.json, and so does one that is refused.
	r.journal, err = results.OpenContext(ctx, filepath.Join(r.dir, results.JournalFile), fingerprint, r.Logf, check)
	if err != nil {
		return err
	}
	// T(t) is on disk before the first sample.
	if err := r.info.Write(r.dir); err != nil {
		return err
	}
	if r.begun != nil {
		if err := r.begun.Ended(r.dir); err != nil {
			return err
		}
	}
	if torn := r.journal.Torn(); torn != "" {
		r.Warnf("the last line of %s was torn; it was cut off (a copy is %s)", results.JournalFile, torn)
	}
	return nil
}

// hasSamples tells whether a journal is there and not empty: a process killed between making the journal and writing
// run.json leaves an empty one.
func hasSamples(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Size() > 0
}

// extends checks that this run is the old one with more examples, noise seeds or samples.
func (r *runner) extends(old *results.RunInfo) error {
	was, err := config.Parse(filepath.Join(r.dir, results.RunFile), old.Config, config.Options{})
	if err != nil {
		return err
	}
	if old.Status != results.RunComplete {
		return fmt.Errorf("%s is not complete; finish it first with: gsmeval resume %s", r.dir, r.dir)
	}
	parts := append(session.Differences(old.Hashes, r.ID.Hashes), session.Differences(old.Versions, r.ID.Versions)...)
	if len(parts) > 0 || old.Device != r.ID.Device || old.Threads != r.ID.Threads {
		return r.differs(old)
	}
	before, now := extent{old.Meta.Examples, was.NoiseSeeds, was.Samples},
		extent{len(r.Data.Examples), r.cfg.NoiseSeeds, r.cfg.Samples}
	if err := extendable(config.Differences(was, r.cfg), before, now); err != nil {
		return fmt.Errorf("extending %s: %w", r.dir, err)
	}
	return nil
}

// differs says what keeps an existing run from being continued.
func (r *runner) differs(old *results.RunInfo) error {
	now := &results.RunInfo{Hashes: r.ID.Hashes, Versions: r.ID.Versions, Device: r.ID.Device, Threads: r.ID.Threads}
	var err error
	if now.Config, err = r.cfg.JSON(); err != nil {
		return err
	}
	return fmt.Errorf("%s holds another run; choose another output, or remove it. What differs (there != here):\n  %s",
		r.dir, strings.Join(differences(r.dir, old, now), "\n  "))
}

// differences are the parts of their fingerprints in which two runs differ.
func differences(dir string, a, b *results.RunInfo) []string {
	var what []string
	parse := func(info *results.RunInfo) (*config.Config, error) {
		return config.Parse(filepath.Join(dir, results.RunFile), info.Config, config.Options{})
	}
	if x, err := parse(a); err == nil {
		if y, err := parse(b); err == nil {
			what = config.Differences(x, y)
		}
	}
	threads := slices.ContainsFunc(what, func(s string) bool { return strings.HasPrefix(s, "threads: ") })
	what = append(what, session.Differences(a.Hashes, b.Hashes)...)
	what = append(what, session.Differences(a.Versions, b.Versions)...)
	if a.Device != b.Device {
		what = append(what, fmt.Sprintf("device: %s != %s", a.Device, b.Device))
	}
	if a.Threads != b.Threads && !threads {
		what = append(what, fmt.Sprintf("threads: %d != %d", a.Threads, b.Threads))
	}
	if len(what) == 0 {
		what = []string{"the fingerprint alone, which does not belong to what run.json says: was it edited?"}
	}
	return what
}

// settings are what stands under the tables, and what two runs must share to be compared.
func (r *runner) settings() map[string]string {
	g := r.cfg.Generation
	settings := map[string]string{
		results.SettingData:       r.Data.SHA256[:12] + " " + r.cfg.Dataset.Split,
		results.SettingPrompt:     r.Prompter.Describe(),
		results.SettingLadder:     r.cfg.Scoring.Ladder,
		results.SettingTokenLimit: strconv.Itoa(g.MaxNewTokens),
		"model":                   filepath.Base(r.cfg.Model.Path) + " " + r.ID.Hashes["weights"][:12],
		"dtype":                   r.cfg.Model.DType,
		"kv_cache":                strconv.FormatBool(g.KVCache),
		"seed":                    strconv.FormatUint(r.cfg.Seed, 10),
	}
	if r.cfg.Model.TF32 {
		settings["tf32"] = "true"
	}
	return settings
}

// run decodes what is missing, completes the journal and writes the tables.
func (r *runner) run(ctx context.Context) (*results.Table, error) {
	todo := r.todo()
	total := r.journal.Len() + len(todo)
	if len(todo) > 0 {
		if r.journal.Len() > 0 {
			r.Logf("resuming %s: %d of %d samples are there", r.dir, r.journal.Len(), total)
		}
		if err := r.timed("decode", func() error { return r.decode(ctx, todo, total) }); err != nil {
			return nil, r.stopped(ctx, err, total)
		}
	}
	if err := r.journal.Finalize(); err != nil {
		return nil, r.stopped(ctx, err, total)
	}
	set, err := results.Collect(r.info.Meta, r.journal.Records())
	if err != nil {
		return nil, r.stopped(ctx, err, total)
	}
	table := set.Table()
	if r.opt.Shard.N == 0 { // a part has no accuracy of its own
		if err := table.WriteAll(r.dir); err != nil {
			return nil, r.stopped(ctx, err, total)
		}
		if err := r.report(ctx); err != nil {
			return nil, r.stopped(ctx, err, total)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.timings)) {
		r.Debugf("%s took %.1f s over all attempts", name, r.timings[name])
	}
	r.info.Status, r.info.Cause, r.info.Timings, r.info.Finished = results.RunComplete, "", r.timings, time.Now().UTC()
	return table, r.info.Write(r.dir)
}

// report writes report.html and the figures, from what is on disk and the questions.
func (r *runner) report(ctx context.Context) error {
	if r.opt.NoReport {
		return nil
	}
	return r.timed("report", func() error {
		run, err := report.Load(ctx, r.dir, func(context.Context, report.Source) (*datasets.Set, error) {
			return r.Data,
				nil
		})
		if err != nil {
			return err
		}
		return report.WriteRun(run)
	})
}

// todo lists the samples that the journal lacks, in decoding order.
func (r *runner) todo() []todo {
	var out []todo
	owner := func(results.Key) int { return 0 }
	mine := 0
	if s := r.opt.Shard; s.N > 0 {
		owner, mine = owners(&r.info.Meta, s.N), s.I-1
	}
	for _, b := range blocks(&r.info.Meta) {
		c := r.plan.cell(b)
		for i := range len(r.prompts) * b.samples {
			k := results.Key{
				NoiseIndex: b.noise, Replicate: b.replicate, TempIndex: b.temp, Order: i / b.samples,
				Sample: i % b.samples,
			}
			if owner(k) == mine && !r.journal.Has(k) {
				out = append(out, todo{c, k})
			}
		}
	}
	return out
}

// stopped notes in run.json why a run ended early.
func (r *runner) stopped(ctx context.Context, err error, total int) error {
	var lost *lease.LostError
	if errors.As(err, &lost) {
		return err // run.json is another process's now
	}
	r.info.Status, r.info.Cause, r.info.Timings = results.RunFailed, err.Error(), r.timings
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		err = fmt.Errorf("%w: %d of %d samples are kept; go on with: gsmeval resume %s", ErrInterrupted,
			r.journal.Len(), total, r.dir)
		r.info.Status, r.info.Cause = results.RunInterrupted, ""
	}
	return errors.Join(err, r.info.Write(r.dir))
}

// Shorten says what to do about prompts that do not fit.
func Shorten(cfg *config.Config) string {
	if cfg.Prompt.FewShot > 0 {
		return "lower prompt.few_shot or generation.max_new_tokens"
	}
	return "lower generation.max_new_tokens"
}

// decode walks the samples in passes that share their weights and their kind of noise.
func (r *runner) decode(ctx context.Context, list []todo, total int) error {
	longest, long, limit := 0, 0, r.positions
	for _, p := range r.prompts {
		if n := len(p.IDs) + r.cfg.Generation.MaxNewTokens; n <= limit {
			longest = max(longest, n)
		} else {
			long++
		}
	}
	if longest == 0 {
		return fmt.Errorf("no prompt with %d new tokens fits the %d positions of the model (%s); %s",
			r.cfg.Generation.MaxNewTokens, limit, r.limit, Shorten(r.cfg))
	}
	if long > 0 {
		r.Warnf("%s too long for the %d positions of the model (%s) with %d new tokens: their samples fail; %s", session.Count(long, "prompt"), limit,
			r.limit, r.cfg.Generation.MaxNewTokens, Shorten(r.cfg))
	}
	var err error
	if r.decoder, err = r.open(int(r.cfg.Generation.BatchSize), longest); err != nil {
		return err
	}
	if r.cfg.Progress != "none" && r.Session != nil && r.LM != nil && r.LM.Chosen != "" {
		r.Logf("%s", r.LM.Chosen)
	}
	r.progress = newProgress(r.stderr, r.dir, r.cfg.Progress, r.journal.Len(), total)
	defer r.progress.finish()
	for len(list) > 0 {
		n := 1
		for n < len(list) && r.samePass(list[0].key, list[n].key) {
			n++
		}
		if err := r.pass(ctx, list[:n]); err != nil {
			return err
		}
		list = list[n:]
	}
	return nil
}

// samePass tells whether two samples may stand in one batch: equal weights, and one kind of noise.
func (r *runner) samePass(a, b results.Key) bool {
	return a.NoiseIndex == b.NoiseIndex && (a.Replicate == b.Replicate || !r.cfg.Noise[a.NoiseIndex].Chips())
}

// pass decodes samples of one pass.
func (r *runner) pass(ctx context.Context, list []todo) error {
	replicate, n := list[0].key.Replicate, r.cfg.Noise[list[0].key.NoiseIndex]
	label := n.Label()
	r.Debugf("decoding %d samples under %s from noise seed %d on", len(list), label, replicate)
	rec := newRecorder(r, n)
	i := 0
	err := r.decoder.decode(ctx, pass{n, r.cfg.Seed, replicate, rec.programmed}, func() (*decode.Request, todo, bool) {
		for ; i < len(list); i++ {
			t := list[i]
			if need := len(r.prompts[t.key.Order].IDs) + r.cfg.Generation.MaxNewTokens; need > r.positions {
				cause := fmt.Errorf("prompt and new tokens need %d positions, the model has %d (%s)", need, r.positions,
					r.limit)
				// A full journal ends the generation through the next sink.
				_ = rec.sink(t, decode.Completion{
					Finish: finish.Failed, Err: cause, TMin: math.NaN(), TMax: math.NaN(),
					TMean: math.NaN(),
				})
				continue
			}
			i++
			return r.request(t), t, true
		}
		return nil, todo{}, false
	}, rec.sink)
	if closeErr := rec.close(); closeErr != nil {
		return closeErr // the cause of an ended generation
	}
	if errors.Is(err, condition.ErrNoEffect) {
		return fmt.Errorf("noise %q: %w", label, err)
	}
	return err
}

// todo is a sample to decode.
type todo struct {
	cell *cell
	key  results.Key
}

// request says what a sample is drawn for. Equal replicates share their random numbers across noises and temperatures,
// and a question's first sample has those of the only one.
func (r *runner) request(t todo) *decode.Request {
	g := r.cfg.Generation
	example := strconv.Itoa(r.Data.Examples[t.key.Order].ID)
	if t.key.Sample > 0 {
		example += "\x00" + strconv.Itoa(t.key.Sample)
	}
	return &decode.Request{
		Prompt: r.prompts[t.key.Order].IDs, MaxNew: g.MaxNewTokens, Schedule: t.cell.schedule,
		Filter:    decode.Filter{TopK: g.TopK, TopP: g.TopP, MinP: g.MinP, RepetitionPenalty: g.RepetitionPenalty},
		SampleKey: philox.NewKey(philox.Sample, r.cfg.Seed, t.key.Replicate, example),
		Draws:     noise.RunDraws(r.cfg.Seed, t.key.Replicate, example),
		Second:    noise.RunDraws(r.cfg.Seed, t.key.Replicate, example+" second row"),
		Stops:     r.stops, InThink: r.prompts[t.key.Order].InThink,
	}
}
