package harness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/gsmeval/gsmeval/datasets"
	"github.com/gsmeval/gsmeval/decode"
	"github.com/gsmeval/gsmeval/harness/config"
)

// Session is a config with everything it names loaded: model, data and prompts. It has no run directory.
type Session struct {
	logger
	cfg      *config.Config
	LM       *decode.LM
	Data     *datasets.Set
	prompter *Prompter
	id       *identity
}

// OpenSession loads the data and the model of a config; the caller closes it.
func OpenSession(ctx context.Context, cfg *config.Config, stderr io.Writer) (*Session, error) {
	s := &Session{cfg: cfg, logger: newLogger(stderr, cfg)}
	err := s.open(ctx)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Session) open(ctx context.Context) (err error) {
	cfg := s.cfg
	if s.Data, err = loadData(ctx, cfg); err != nil {
		return err
	}
	if s.LM, err = decode.Load(cfg.Model.Path, decode.LoadOptions{
		DType: cfg.Model.DType, Device: cfg.Model.Device, Threads: cfg.Threads, Linears: cfg.Model.Linears,
	}); err != nil {
		return err
	}
	if s.prompter, err = NewPrompter(ctx, s.LM.Text, cfg.Prompt, cfg.Dataset); err != nil {
		return err
	}
	s.id, err = identify(ctx, s.LM, s.Data)
	return err
}

// Close frees the model.
func (s *Session) Close() error {
	if s.LM == nil {
		return nil
	}
	return s.LM.Close()
}

// Output is the run directory of the config.
func (s *Session) Output() string { return s.cfg.Output }

// prompts are the evaluated questions as the model is shown them.
func (s *Session) prompts() ([]Prompt, error) {
	out := make([]Prompt, len(s.Data.Examples))
	for i, e := range s.Data.Examples {
		var err error
		if out[i], err = s.prompter.Prompt(e.Question); err != nil {
			return nil, fmt.Errorf("prompt of row %d: %w", e.ID, err)
		}
	}
	return out, nil
}

func (s *Session) calibrator() *calibrator {
	return &calibrator{cfg: s.cfg, lm: s.LM, id: s.id, prompter: s.prompter, data: s.Data, logf: s.logf}
}

func loadData(ctx context.Context, cfg *config.Config) (*datasets.Set, error) {
	d := cfg.Dataset
	from, to, err := d.Rows()
	if err != nil {
		return nil, fmt.Errorf("dataset.range: %w", err)
	}
	if to == math.MaxInt {
		to = 0
	}
	set, err := datasets.Load(ctx, datasets.Spec{
		Path: d.Path, Split: d.Split, Config: d.Config, From: from, To: to, IDs: d.IDs, ShuffleSeed: d.ShuffleSeed, Limit: d.Limit,
	})
	if err != nil {
		return nil, err
	}
	if len(set.Examples) == 0 {
		return nil, fmt.Errorf("dataset %s has no rows to evaluate", d.Path)
	}
	return set, nil
}
