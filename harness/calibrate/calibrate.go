// Package calibrate measures what temperatures follow from, alpha(t) and its siblings by teacher forcing, or finds what
// was measured before.
package calibrate

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gsmeval/gsmeval/datasets"
	"github.com/gsmeval/gsmeval/decode"
	"github.com/gsmeval/gsmeval/harness/session"
	"github.com/gsmeval/gsmeval/internal/condition"
	"github.com/gsmeval/gsmeval/internal/config"
	"github.com/gsmeval/gsmeval/internal/files"
	"github.com/gsmeval/gsmeval/internal/lease"
	"github.com/gsmeval/gsmeval/noise/alpha"
)

// calibrationSchema is the version of a calibration file; it changes when a key changes meaning.
const calibrationSchema = 3

// Calibration is a measured alpha(t): a file with its own fingerprint, found again by other runs.
type Calibration struct {
	Schema      int               `json:"schema"`
	Fingerprint string            `json:"fingerprint"`
	Noise       string            `json:"noise"`
	Parts       map[string]string `json:"parts"` // what the fingerprint is made of
	MeanAlpha   float64           `json:"mean_alpha"`
	Curve       alpha.Curve       `json:"curve"`
	Effect      condition.Effect  `json:"effect"`
	Sum         string            `json:"sum"` // of all above: see sum
}

// sum is the sha256 of the calibration without its sum. What was edited, or damaged, would change temperatures
// without a word.
func (cal *Calibration) sum() (string, error) {
	bare := *cal
	bare.Sum = ""
	data, err := json.Marshal(bare)
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), err
}

// Calibrator measures alpha(t) for the noises of a config, or finds what was measured before.
type Calibrator struct {
	cfg      *config.Config
	lm       *decode.LM
	id       *session.Identity
	prompter *session.Prompter
	data     *datasets.Set // evaluated: none of it may calibrate
	locator  *session.Locator
	logf     func(format string, args ...any)

	Prompts [][]int // read when first needed
	clean   [][]int // their greedy continuations, decoded when first needed
	found   map[string]*Calibration
}

// New makes the calibrator of a session.
func New(s *session.Session) *Calibrator {
	return &Calibrator{
		cfg: s.Cfg, lm: s.LM, id: s.ID, prompter: s.Prompter, locator: s.Locator, data: s.Data,
		logf: s.Logf,
	}
}

// curve returns what is asked for.
func (c *Calibrator) curve(ctx context.Context, of condition.Calibration) (*Calibration, error) {
	if err := c.Prepare(ctx); err != nil {
		return nil, err
	}
	parts := c.parts(of)
	canonical, err := json.Marshal(parts)
	if err != nil {
		return nil, fmt.Errorf("making the calibration's fingerprint: %w", err)
	}
	sum := sha256.Sum256(canonical)
	fingerprint := hex.EncodeToString(sum[:16])
	if cal, ok := c.found[fingerprint]; ok {
		return cal, nil
	}
	cal, err := c.find(of, fingerprint)
	if cal == nil && err == nil {
		cal, err = c.measureOnce(ctx, of, fingerprint, parts)
	}
	if err != nil {
		return nil, err
	}
	if c.found == nil {
		c.found = map[string]*Calibration{}
	}
	c.found[fingerprint] = cal
	return cal, nil
}

// measureOnce measures a calibration unless another process is at it. Of several shards that need one, the first
// measures it and the others wait: were they to measure too, on machines that round differently, their temperatures
// would differ.
func (c *Calibrator) measureOnce(ctx context.Context, of condition.Calibration, fingerprint string,
	parts map[string]string,
) (*Calibration, error) {
	_, shared := c.paths(of, fingerprint)
	if err := os.MkdirAll(filepath.Dir(shared), 0o755); err != nil {
		return nil, fmt.Errorf("making the folder of calibrations: %w", err)
	}
	for waited := false; ; waited = true {
		right, err := lease.Acquire(ctx, shared, c.logf)
		var locked *lease.LockedError
		held := errors.As(err, &locked)
		if err != nil && !held {
			return nil, err
		}
		cal, err := c.find(of, fingerprint)
		switch {
		case held && cal == nil && err == nil:
			if !waited {
				c.logf("waiting for the calibration under %s by %s", of.Noise.Label(), locked.Owner)
			}
			select {
			case <-time.After(2 * time.Second):
				continue
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		case held:
			return cal, err
		case cal == nil && err == nil:
			cal, err = c.measure(ctx, of, fingerprint, parts)
		}
		return cal, errors.Join(err, right.Release())
	}
}

// parts are what may change a calibration.
func (c *Calibrator) parts(of condition.Calibration) map[string]string {
	cal := c.cfg.Calibration
	parts := map[string]string{
		"schema": strconv.Itoa(calibrationSchema),
		"noise":  of.Noise.Label(), "seed": strconv.FormatUint(c.cfg.Seed, 10),
		"kv_cache":  strconv.FormatBool(c.cfg.Generation.KVCache),
		"positions": strconv.Itoa(cal.Positions), "draws": strconv.Itoa(cal.Draws),
		"prompts": session.ShortSHA(fmt.Sprint(c.Prompts)),
		"base":    strconv.FormatFloat(of.Base, 'g', -1, 64), "fitted": strconv.FormatBool(of.Needs.Fit),
		"marginal": strconv.FormatBool(of.Needs.Marginal),
		"dtype":    c.cfg.Model.DType, "device": c.id.Device, "threads": strconv.Itoa(c.id.Threads),
	}
	for k, v := range c.id.Hashes {
		if k != "data" {
			parts["sha256 of "+k] = v
		}
	}
	for k, v := range c.id.Versions {
		parts["version of "+k] = v
	}
	return parts
}

// paths are where a calibration lies: in the run, under a name that a person reads, and beside all runs, under its
// fingerprint, where other runs find it.
func (c *Calibrator) paths(of condition.Calibration, fingerprint string) (run, shared string) {
	name := strings.Map(func(r rune) rune {
		if strings.ContainsRune("abcdefghijklmnopqrstuvwxyz0123456789.-", r) {
			return r
		}
		return '-'
	}, c.fileIndex(of.Noise)+"-"+of.Noise.Label())
	if of.Base != 1 {
		name += fmt.Sprintf("-base-%g", of.Base)
	}
	if of.Needs.Fit {
		name += "-fitted"
	}
	if of.Needs.Marginal {
		name += "-marginal"
	}
	return filepath.Join(c.cfg.Output, "calibration", name+".json"),
		filepath.Join(filepath.Dir(c.cfg.Output), "calibrations", fingerprint+".json")
}

// fileIndex tells noises apart whose labels make the same file name: the index in the grid, or that of the temperature
// which takes its calibration from a noise outside of it.
func (c *Calibrator) fileIndex(n config.Noise) string {
	for i, other := range c.cfg.Noise {
		if other.Label() == n.Label() {
			return fmt.Sprintf("%02d", i)
		}
	}
	i := slices.IndexFunc(c.cfg.Temperature, func(t config.Temperature) bool {
		from, ok := t.From()
		return ok && from.Label() == n.Label()
	})
	return fmt.Sprintf("t%02d", i)
}

// find looks for a stored calibration: nil where there is none. One in the run directory that is another is refused.
func (c *Calibrator) find(of condition.Calibration, fingerprint string) (*Calibration, error) {
	run, shared := c.paths(of, fingerprint)
	for _, path := range []string{run, shared} {
		cal, err := readCalibration(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if cal.Fingerprint != fingerprint {
			return nil, fmt.Errorf("%s is the calibration of another experiment:\n  %s\nremove it, or choose another output",
				path, strings.Join(session.Differences(cal.Parts, c.parts(of)), "\n  "))
		}
		if path == shared {
			return cal, cal.write(run)
		}
		return cal, nil
	}
	return nil, nil //nolint:nilnil // no calibration is no error: it is measured then
}

// maxCalibration bounds a calibration that is read.
const maxCalibration = 256 << 20

func readCalibration(path string) (*Calibration, error) {
	data, err := files.Read(path, maxCalibration)
	if err != nil {
		return nil, fmt.Errorf("reading a calibration: %w", err)
	}
	cal := &Calibration{}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(cal); err != nil {
		return nil, fmt.Errorf("%s is not a calibration: %w; remove it, it is measured again", path, err)
	}
	if cal.Schema != calibrationSchema || len(cal.Curve.Points) == 0 {
		return nil, fmt.Errorf("%s is not a calibration of schema %d; remove it, it is measured again", path,
			calibrationSchema)
	}
	if sum, err := cal.sum(); err != nil || sum != cal.Sum {
		return nil, errors.Join(err, fmt.Errorf("%s was changed: its checksum does not match; remove it, it is measured again", path))
	}
	return cal, nil
}

func (cal *Calibration) write(path string) (err error) {
	if cal.Sum, err = cal.sum(); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	data, err := json.MarshalIndent(cal, "", " ")
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return WriteAtomic(path, append(data, '\n'))
}

// publish puts a calibration where other processes find it and returns the one that is there in the end: should two
// have measured after all, both go on with that of the first.
func (cal *Calibration) publish(path string) (*Calibration, error) {
	own := fmt.Sprintf("%s.%d-%x", path, os.Getpid(), rand.Uint32())
	if err := cal.write(own); err != nil {
		return nil, err
	}
	err := os.Link(own, path) // fails where the name is taken, on a network file system too
	if errors.Is(err, fs.ErrExist) {
		first, readErr := readCalibration(path)
		return first, errors.Join(readErr, os.Remove(own))
	}
	if err != nil { // a file system without links
		return cal, os.Rename(own, path)
	}
	return cal, os.Remove(own)
}

// WriteAtomic replaces a file whole or not at all. Unlike the run's own files, which a lock guards, a calibration may
// be written by several shards at once.
func WriteAtomic(path string, data []byte) error {
	return files.Replace(path, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

// Prepare reads the calibration prompts.
func (c *Calibrator) Prepare(ctx context.Context) (err error) {
	if c.Prompts == nil {
		c.Prompts, err = c.ReadPrompts(ctx)
	}
	return err
}

// ReadPrompts reads the calibration prompts; one that is also evaluated is an error.
func (c *Calibrator) ReadPrompts(ctx context.Context) ([][]int, error) {
	questions, err := c.questions(ctx)
	if err != nil {
		return nil, err
	}
	evaluated := map[string]int{}
	if c.data != nil {
		for _, e := range c.data.Examples {
			evaluated[e.Question] = e.ID
		}
	}
	var prompts [][]int
	for _, q := range questions {
		if id, both := evaluated[q]; both {
			return nil, fmt.Errorf("calibration prompt %.60q is row %d of the evaluated data: temperatures would be fitted on what is scored; "+
				"set calibration.split, calibration.data or calibration.prompt_list", q, id)
		}
		p, err := c.prompter.Prompt(q)
		if err != nil {
			return nil, fmt.Errorf("calibration prompt %.60q: %w", q, err)
		}
		prompts = append(prompts, p.IDs)
	}
	return prompts, nil
}

// questions are the calibration's: a list of one's own, or the first rows of a split that are no worked examples, whose
// answers stand in every prompt.
func (c *Calibrator) questions(ctx context.Context) ([]string, error) {
	cal := c.cfg.Calibration
	if len(cal.PromptList) > 0 {
		return cal.PromptList, nil
	}
	spec := c.cfg.Dataset.Spec()
	spec.Split, spec.Limit = cal.Split, cal.Prompts+len(c.prompter.Shots)
	revision := c.cfg.Dataset.Revision
	if cal.Data != "" {
		spec.Path, revision = cal.Data, ""
	}
	set, err := c.locator.Load(ctx, spec, revision)
	if err != nil {
		return nil, fmt.Errorf("reading calibration prompts (set calibration.data, calibration.split or calibration.prompt_list): %w", err)
	}
	var questions []string
	for _, e := range set.Examples {
		if !c.prompter.Shows(e.Question) && len(questions) < cal.Prompts {
			questions = append(questions, e.Question)
		}
	}
	if len(questions) < cal.Prompts {
		return nil, fmt.Errorf("calibration.prompts is %d, %s %s has %d rows that are no few-shot examples",
			cal.Prompts, spec.Path, spec.Split, len(questions))
	}
	return questions, nil
}

// Continuations are the clean greedy continuations of the prompts.
func (c *Calibrator) Continuations(ctx context.Context) (clean [][]int, err error) {
	if c.clean == nil {
		c.clean, err = c.lm.Continue(ctx, c.Prompts, c.cfg.Calibration.Positions, false)
	}
	return c.clean, err
}

// measure runs the calibration: teacher forcing along the clean greedy continuations.
func (c *Calibrator) measure(ctx context.Context, of condition.Calibration, fingerprint string,
	parts map[string]string,
) (*Calibration, error) {
	clean, err := c.Continuations(ctx)
	if err != nil {
		return nil, err
	}
	label := of.Noise.Label()
	c.logf("calibrating under %s: %d prompts, %d draws, up to %d positions", label, len(c.Prompts),
		c.cfg.Calibration.Draws, c.cfg.Calibration.Positions)
	curve, effect, err := AlphaCurve(ctx, c.lm, c.Prompts, clean, decode.Probing{
		Noise: of.Noise, Draws: c.cfg.Calibration.Draws, Seed: c.cfg.Seed,
	}, c.cfg.Generation.KVCache, of.Base, of.Needs)
	if err != nil {
		return nil, fmt.Errorf("calibrating under %q: %w", label, err)
	}
	cal := &Calibration{
		Schema: calibrationSchema, Fingerprint: fingerprint, Noise: label, Parts: parts, MeanAlpha: curve.Mean(),
		Curve: *curve, Effect: effect,
	}
	run, shared := c.paths(of, fingerprint)
	if cal, err = cal.publish(shared); err != nil {
		return nil, err
	}
	return cal, cal.write(run)
}

// AlphaCurve measures alpha(t) along the continuations of prompts.
func AlphaCurve(ctx context.Context, lm *decode.LM, prompts, continuations [][]int, p decode.Probing, kvCache bool,
	base float64, needs alpha.Needs,
) (*alpha.Curve, condition.Effect, error) {
	if needs.Marginal && p.Draws < 2 {
		return nil, nil,
			fmt.Errorf("the mean law of the form %s needs several draws: set calibration.draws to 2 at least, and better to 16", alpha.Marginal)
	}
	collector := alpha.NewCollector(Lengths(continuations), p.Draws, base, needs)
	collector.Chips = p.Noise.Chips()
	var set ProbeSet
	set.TeacherForcing(prompts, continuations, kvCache, collector.Add)
	run := set.Run
	if needs.Marginal {
		run = set.RunTogether
	}
	effect, err := run(ctx, lm, p)
	if err != nil {
		return nil, nil, err
	}
	curve, err := FiniteCurve(collector)
	return curve, effect, err
}

// FiniteCurve is the collected curve; a position whose alpha is no number is an error.
func FiniteCurve(c *alpha.Collector) (*alpha.Curve, error) {
	curve := c.Curve()
	for t, q := range curve.Points {
		if math.IsNaN(q.Alpha) || math.IsInf(q.Alpha, 0) {
			return nil, fmt.Errorf("alpha at position %d is not finite: the noise drives the logits out of range", t)
		}
	}
	return curve, nil
}

// Lengths are the lengths of sequences.
func Lengths(sequences [][]int) []int {
	n := make([]int, len(sequences))
	for i, s := range sequences {
		n[i] = len(s)
	}
	return n
}

// Measurer measures alpha where a policy needs it.
func (c *Calibrator) Measurer(ctx context.Context) func(condition.Calibration) (*alpha.Curve, error) {
	return func(cal condition.Calibration) (*alpha.Curve, error) {
		m, err := c.curve(ctx, cal)
		if err != nil {
			return nil, err
		}
		return &m.Curve, nil
	}
}
