// Package session opens what a config names: model, data, prompts, and the identity of all that may change a sample. It
// also says what memory a model needs and continues single prompts.
package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/gsmeval/gsmeval/datasets"
	"github.com/gsmeval/gsmeval/decode"
	"github.com/gsmeval/gsmeval/internal/config"
	"github.com/gsmeval/gsmeval/internal/thought"
	"github.com/gsmeval/gsmeval/noise/operation"
)

// Session is a config with everything it names loaded: model, data and prompts. It has no run directory.
type Session struct {
	Logger
	Cfg      *config.Config
	LM       *decode.LM
	Data     *datasets.Set
	Prompter *Prompter
	Locator  *Locator
	ID       *Identity
}

// Open loads the data and the model of a config; the caller closes it.
func Open(ctx context.Context, cfg *config.Config, stderr io.Writer) (*Session, error) {
	log := NewLogger(stderr, cfg)
	s := &Session{Cfg: cfg, Logger: log, Locator: LocatorFor(log, cfg.Progress)}
	err := s.open(ctx)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Session) open(ctx context.Context) (err error) {
	cfg := s.Cfg
	if s.Data, err = s.LoadData(ctx); err != nil {
		return err
	}
	dir, err := s.Locator.Model(ctx, cfg.Model.Path, cfg.Model.Revision)
	if err != nil {
		return fmt.Errorf("model.path: %w", err)
	}
	if s.LM, err = decode.Load(dir, decode.LoadOptions{
		DType: cfg.Model.DType, Device: cfg.Model.Device, Threads: cfg.Threads,
		TF32:     cfg.Model.TF32,
		Progress: loading(cfg.Model.Path, s.Logf),
	}); err != nil {
		return err
	}
	if cfg.Progress != "none" {
		s.LM.Working = Working(s.Logf)
	}
	for _, n := range s.LM.Model.Notes {
		s.Logf("%s: %s", cfg.Model.Path, n)
	}
	s.LM.MarkThoughts(thought.New(cfg.Scoring.Thoughts))
	shots, err := s.LoadShots(ctx)
	if err != nil {
		return err
	}
	if s.Prompter, err = NewPrompter(s.LM.Text, cfg.Prompt, shots); err != nil {
		return err
	}
	if err := OfferCheckpoints(ctx, s.LM, s.Locator, cfg.Noise); err != nil {
		return err
	}
	if s.ID, err = identify(ctx, s.LM, s.Data); err != nil {
		return err
	}
	for _, path := range checkpointsOf(cfg.Noise) {
		if s.ID.Hashes["checkpoint "+path], err = s.LM.OfferedSHA256(ctx, path); err != nil {
			return fmt.Errorf("hashing the weights of a noise: %w", err)
		}
	}
	if cfg.Model.TF32 && s.ID.Device == "cpu" {
		return errors.New("model.tf32: TF32 is of CUDA, and this runs on the CPU; remove it or name a GPU as model.device")
	}
	return nil
}

// checkpointsOf are the checkpoints that noises put in place of the model's weights.
func checkpointsOf(noises []config.Noise) []string {
	var paths []string
	for _, n := range noises {
		if c, ok := n.At(operation.Weights).(*operation.Checkpoint); ok && !slices.Contains(paths, c.Path) {
			paths = append(paths, c.Path)
		}
	}
	return paths
}

// OfferCheckpoints opens the checkpoints that noises put in place of a model's weights: directories, GGUF files or hub
// ids.
func OfferCheckpoints(ctx context.Context, lm *decode.LM, l *Locator, noises []config.Noise) error {
	for _, path := range checkpointsOf(noises) {
		dir, err := l.Model(ctx, path, "")
		if err == nil {
			err = lm.Offer(path, dir)
		}
		if err != nil {
			return fmt.Errorf("noise checkpoint: %w", err)
		}
	}
	return nil
}

// Close frees the model.
func (s *Session) Close() error {
	if s.LM == nil {
		return nil
	}
	return s.LM.Close()
}

// Output is the run directory of the config.
func (s *Session) Output() string { return s.Cfg.Output }

// Prompts are the evaluated questions as the model is shown them.
func (s *Session) Prompts() ([]Prompt, error) {
	out := make([]Prompt, len(s.Data.Examples))
	for i, e := range s.Data.Examples {
		var err error
		if out[i], err = s.Prompter.Prompt(e.Question); err != nil {
			return nil, fmt.Errorf("prompt of row %d: %w", e.ID, err)
		}
	}
	return out, nil
}

// LoadData reads the evaluated rows.
func (s *Session) LoadData(ctx context.Context) (*datasets.Set, error) {
	d := s.Cfg.Dataset
	from, to, err := d.Rows()
	if err != nil {
		return nil, fmt.Errorf("dataset.range: %w", err)
	}
	if to == math.MaxInt {
		to = 0
	}
	spec := d.Spec()
	spec.Exact = true
	spec.From, spec.To, spec.IDs, spec.ShuffleSeed, spec.Limit = from, to, d.IDs, d.ShuffleSeed, d.Limit
	set, err := s.Locator.Load(ctx, spec, d.Revision)
	if err != nil {
		return nil, err
	}
	if len(set.Examples) == 0 {
		return nil, fmt.Errorf("dataset %s has no rows to evaluate", d.Path)
	}
	return set, nil
}

// LoadShots reads the worked examples of prompt.few_shot: the first rows of the train split, in its order or that of
// prompt.few_shot_seed. One that is also evaluated is an error, and not replaced by another: the examples would change
// with the rows that are evaluated, and with them the prompts of a run that is extended.
func (s *Session) LoadShots(ctx context.Context) ([]datasets.Example, error) {
	p, d := s.Cfg.Prompt, s.Cfg.Dataset
	if p.FewShot == 0 {
		return nil, nil
	}
	spec := d.Spec()
	spec.Split, spec.ShuffleSeed, spec.Limit = "train", p.FewShotSeed, p.FewShot
	set, err := s.Locator.Load(ctx, spec, d.Revision)
	if err != nil {
		return nil, fmt.Errorf("reading prompt.few_shot examples from the train split: %w", err)
	}
	if len(set.Examples) < p.FewShot {
		return nil, fmt.Errorf("prompt.few_shot is %d, the train split has %d rows", p.FewShot, len(set.Examples))
	}
	evaluated := map[string]int{}
	for _, e := range s.Data.Examples {
		evaluated[e.Question] = e.ID
	}
	for _, shot := range set.Examples {
		if id, both := evaluated[shot.Question]; both {
			return nil, fmt.Errorf("prompt.few_shot example %.60q is row %d of the evaluated data: its answer would stand in the prompt; "+
				"name a data set with a train split, or leave it out with dataset.range or dataset.ids (the examples are rows %s)", shot.Question, id, rowsOf(set.Examples))
		}
	}
	return set.Examples, nil
}

func rowsOf(examples []datasets.Example) string {
	var rows []string
	for _, e := range examples {
		rows = append(rows, strconv.Itoa(e.ID))
	}
	return strings.Join(rows, ", ")
}
