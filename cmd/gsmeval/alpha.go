package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gsmeval/gsmeval/decode"
	"github.com/gsmeval/gsmeval/harness/calibrate"
	"github.com/gsmeval/gsmeval/harness/session"
	"github.com/gsmeval/gsmeval/harness/study"
	"github.com/gsmeval/gsmeval/internal/condition"
	"github.com/gsmeval/gsmeval/internal/config"
)

// alphaFlags are the flags of gsmeval alpha.
type alphaFlags struct {
	set                []string
	model, ids         string
	prompts, noises    []string
	kind               string
	scale, weightScale float64
	positions, draws   int
	contexts           []int
	seed               uint64
	noCache, asJSON    bool
	out, dtype, device string
	changed            func(name string) bool
}

func alphaCommand(a *app) *cobra.Command {
	var f alphaFlags
	c := &cobra.Command{
		Use:   "alpha CONFIG | alpha --model DIR",
		Short: "Measure the noise-to-signal ratio alpha against position (experiments 6a, 6b, 6c)",
		Long: `Alpha measures alpha = Var(noisy - clean)/Var(clean) of the logits along the clean greedy continuation of prompts, which goes on past
an end token: against position (6a), against length of context (6b) with the control that 6b lacks, and as temperatures T*(t) (6c).
It writes alpha.json and the plots as PNG and SVG, and prints the statistics.

With a config it takes its noises and its calibration prompts. With --model it takes texts as they are, by default the two prompts and
the two noises of the notebook. With --ids it measures one curve and writes no files.`,
		Example: `  gsmeval alpha configs/dyn_tstar.yaml
  gsmeval alpha configs/dyn_tstar.yaml --draws 10 --positions 100 --out alpha-10
  gsmeval alpha --model models/gsm-tiny --noise-kind weight --noise-scale 0.02 --prompt "Question: 2+2?"
  gsmeval alpha --model models/gsm-tiny --ids "1,2,3" --noise-kind activation --noise-scale 0.05 --positions 50 --draws 8 --json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			f.changed = cmd.Flags().Changed
			if err := f.check(len(args) > 0); err != nil {
				return usageError{err}
			}
			switch {
			case len(args) > 0:
				return a.session(cmd, args[0], f.set, func(s *session.Session) error {
					o, err := study.AlphaOf(cmd.Context(), s)
					if err != nil {
						return err
					}
					f.override(&o)
					if err := f.under(&o); err != nil {
						return usageError{err}
					}
					if len(o.Noises) == 0 {
						o.Noises = study.NotebookNoises()
						s.Logf("the config has no noise: alpha is measured under the notebook's two, %s and %s", o.Noises[0].Label(), o.Noises[1].Label())
					}
					if err := calibrate.Offer(cmd.Context(), s, o.Noises...); err != nil {
						return err
					}
					return a.alpha(cmd.Context(), s.LM, o, f.outputDir(s.Output()), f.asJSON)
				})
			case f.changed("ids"):
				return a.alphaOfIDs(cmd.Context(), f)
			default:
				return a.alphaOfModel(cmd.Context(), f)
			}
		},
	}
	fl := c.Flags()
	setFlag(c, &f.set)
	fl.StringVar(&f.model, "model", "", "model directory or hub id, instead of a config")
	fl.StringVar(&f.ids, "ids", "", "measure one curve after this prompt of token ids, for example \"1,2,3\"")
	fl.StringArrayVar(&f.prompts, "prompt", nil, "`text` to continue, as it is (repeatable)")
	noisesFlag(c, &f.noises)
	noiseFlagsOf(c, &f.kind, &f.scale, &f.weightScale)
	fl.IntVar(&f.positions, "positions", 150, "generated tokens (default: the config's, or 150)")
	fl.IntSliceVar(&f.contexts, "contexts", []int{5, 10, 20, 50, 100, 150},
		"`lengths` of 6b's contexts, which are the control's positions too; fewer take less time")
	fl.IntVar(&f.draws, "draws", 3, "noise draws for each prompt (default: the config's, or 3)")
	fl.Uint64Var(&f.seed, "seed", 42, "seed of the noise (default: the config's, or 42)")
	fl.BoolVar(&f.noCache, "no-kv-cache", false, "compute the whole prefix at every position, under noise of its own")
	fl.StringVar(&f.dtype, "dtype", "float32", "compute type of --model: float32, bfloat16, float16")
	fl.StringVar(&f.device, "device", "auto", "device of --model: auto or cpu")
	fl.StringVar(&f.out, "out", "",
		"`directory` for alpha.json and the plots (default: alpha in the config's output, or runs/NAME/alpha of a model)")
	fl.BoolVar(&f.asJSON, "json", false, "print JSON")
	return c
}

// check refuses flags that do not go together.
func (f *alphaFlags) check(config bool) error {
	if config == (f.model != "") {
		return errors.New("give either a CONFIG or --model")
	}
	refuse := func(where string, names ...string) error {
		for _, n := range names {
			if f.changed(n) {
				return fmt.Errorf("--%s %s", n, where)
			}
		}
		return nil
	}
	var err error
	switch {
	case config:
		err = refuse("goes with --model; in a config it has a key, see --set", "ids", "prompt", "noise-kind",
			"noise-scale", "noise-weight-scale", "dtype", "device")
	case f.changed("ids"):
		if err = refuse("does not go with --ids", "prompt", "set", "out", "contexts"); err == nil &&
			(f.kind == "none" || f.kind == "") && len(f.noises) != 1 {
			err = errors.New("--ids needs one noise: --noise, or --noise-kind and --noise-scale")
		}
	default:
		err = cmp.Or(refuse("goes with a config", "set"), checkUTF8("--prompt", f.prompts...))
	}
	switch {
	case err != nil:
		return err
	case len(f.noises) > 0 && f.changed("noise-kind"):
		return errors.New("give either --noise or --noise-kind")
	case f.positions < 1 || f.positions > 1<<20:
		return fmt.Errorf("--positions %d is not between 1 and %d", f.positions, 1<<20)
	case !rising(f.contexts):
		return fmt.Errorf("--contexts %v are not rising numbers from 1 on", f.contexts)
	case f.draws < 1 || f.draws > 1_000_000:
		return fmt.Errorf("--draws %d is not between 1 and 1000000", f.draws)
	}
	return nil
}

// rising tells whether numbers rise from 1 or more on.
func rising(list []int) bool {
	last := 0
	for _, n := range list {
		if n <= last {
			return false
		}
		last = n
	}
	return last > 0
}

// override puts flags over what a config says.
func (f *alphaFlags) override(o *study.AlphaOptions) {
	if f.changed("positions") {
		o.Positions = f.positions
	}
	if f.changed("draws") {
		o.Draws = f.draws
	}
	o.Contexts = f.contexts
	if f.changed("seed") {
		o.Seed = f.seed
	}
	if f.changed("no-kv-cache") {
		o.KVCache = !f.noCache
	}
}

func (f *alphaFlags) outputDir(run string) string {
	if f.out != "" {
		return f.out
	}
	return filepath.Join(run, "alpha")
}

// options are what the flags alone describe.
func (f *alphaFlags) options() (study.AlphaOptions, error) {
	o := study.AlphaOptions{
		Noises: study.NotebookNoises(), Positions: f.positions, Draws: f.draws, KVCache: !f.noCache, Seed: f.seed,
		Base: 1, Contexts: f.contexts,
	}
	n, err := noiseFlags(f.kind, f.scale, f.weightScale)
	if err != nil {
		return o, usageError{err}
	}
	if f.kind != "none" {
		o.Noises = []condition.Noise{n}
	}
	if err := f.under(&o); err != nil {
		return o, usageError{err}
	}
	return o, nil
}

// under puts the noises of --noise in the place of others.
func (f *alphaFlags) under(o *study.AlphaOptions) error {
	if len(f.noises) > 0 {
		o.Noises = nil
	}
	for _, text := range f.noises {
		n, err := config.ParseNoise("--noise", text)
		if err != nil {
			return err
		}
		o.Noises = append(o.Noises, n)
	}
	return nil
}

// alphaOfModel does the experiments on texts, the notebook's where none is given.
func (a *app) alphaOfModel(ctx context.Context, f alphaFlags) error {
	o, err := f.options()
	if err != nil {
		return err
	}
	lm, err := a.load(ctx, f.model, decode.LoadOptions{DType: f.dtype, Device: f.device}, o.Noises...)
	if err != nil {
		return err
	}
	defer lm.Close() //nolint:errcheck // the process ends here
	texts := f.prompts
	if len(texts) == 0 {
		texts = study.NotebookPrompts()
	}
	for _, t := range texts {
		ids, err := lm.Plain(t)
		if err != nil {
			return fmt.Errorf("--prompt %q: %w", t, err)
		}
		if len(ids) == 0 {
			return usageError{fmt.Errorf("--prompt %q has no tokens", t)}
		}
		o.Prompts = append(o.Prompts, ids)
	}
	name, err := filepath.Abs(f.model)
	if err != nil {
		return fmt.Errorf("naming the output: %w", err)
	}
	return a.alpha(ctx, lm, o, f.outputDir(filepath.Join("runs", filepath.Base(name))), f.asJSON)
}

// alpha does the experiments and delivers them.
func (a *app) alpha(ctx context.Context, lm *decode.LM, o study.AlphaOptions, dir string, asJSON bool) error {
	report, err := study.MeasureAlpha(ctx, lm, o, a.logf)
	if err != nil {
		return err
	}
	if err := report.Write(dir); err != nil {
		return err
	}
	a.logf("wrote alpha.json and the plots to %s", dir)
	if asJSON {
		return a.printJSON(report)
	}
	return a.println(report.Markdown())
}

// alphaOfIDs measures one curve.
func (a *app) alphaOfIDs(ctx context.Context, f alphaFlags) error {
	o, err := f.options()
	if err != nil {
		return err
	}
	ids, err := parseIDs("--ids", f.ids)
	if err != nil {
		return err
	}
	o.Prompts = [][]int{ids}
	lm, err := a.load(ctx, f.model, decode.LoadOptions{DType: f.dtype, Device: f.device}, o.Noises...)
	if err != nil {
		return err
	}
	defer lm.Close() //nolint:errcheck // the process ends here
	curve, err := study.MeasureAlphaCurve(ctx, lm, o)
	if err != nil {
		return err
	}
	if f.asJSON {
		return a.printJSON(curve)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "Mean alpha %.6g, T* %.6g under %s, %s.\n\n| t | id | alpha | se |\n|--:|--:|--:|--:|\n",
		curve.AlphaMean, curve.TStar, o.Noises[0].Label(), plural(o.Draws, "draw"))
	for t, v := range curve.Alpha {
		fmt.Fprintf(&b, "| %d | %d | %.6g | %.2g |\n", t, curve.IDs[t], v, curve.SE[t])
	}
	return a.println(b.String())
}

// logf says on stderr what is being done.
func (a *app) logf(format string, args ...any) {
	_, _ = fmt.Fprintf(a.stderr, format+"\n", args...) // a message that cannot be shown must not end a measurement
}
