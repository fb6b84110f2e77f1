package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gsmeval/gsmeval/decode"
	"github.com/gsmeval/gsmeval/harness/calibrate"
	"github.com/gsmeval/gsmeval/harness/session"
	"github.com/gsmeval/gsmeval/harness/study"
	"github.com/gsmeval/gsmeval/internal/condition"
	"github.com/gsmeval/gsmeval/internal/config"
	"github.com/gsmeval/gsmeval/noise/fidelity"
	"github.com/gsmeval/gsmeval/results"
)

// maxFidelityDraws bounds what is remembered of every position.
const maxFidelityDraws = 10_000

// fidelityFlags are the flags of gsmeval fidelity.
type fidelityFlags struct {
	set                      []string
	model, ids, continuation string
	noises                   []string
	draws                    int
	temperatures             []float64
	base                     float64
	seed                     uint64
	noCache, forms, asJSON   bool
	out, dtype, device       string
	changed                  func(name string) bool
	parsed                   []condition.Noise // of noises
}

func fidelityCommand(a *app) *cobra.Command {
	var f fidelityFlags
	c := &cobra.Command{
		Use:   "fidelity CONFIG | fidelity --model DIR",
		Short: "Measure how near the distribution under noise is to the clean model's, at each temperature",
		Long: `Fidelity forces the model along texts of the clean model, sampled and greedy continuations of the calibration prompts, and compares
softmax(z'/T) under each noise with the clean softmax(z/base): KL divergence with its quantiles, same top token, change of the
probability of the text's token, perplexity ratio; by clean entropy and by position; and the first token that differs under greedy.
Where noise is drawn anew for every token it also gives the divergence of the law that is then sampled, the mean over all draws, corrected
for having few of them. It writes fidelity.json, fidelity.csv and the plot as PNG and SVG, and prints the tables.

With --model it measures one noise along one text, by token ids, and writes no files.`,
		Example: `  gsmeval fidelity configs/dyn_tstar.yaml --draws 16
  gsmeval fidelity configs/dyn_tstar.yaml --temperatures 0.8,0.9,1,1.1 --noise '{kind: activation, scale: 0.2}' --out fidelity-02
  gsmeval fidelity configs/study_fidelity.yaml --forms
  gsmeval fidelity --model models/gsm-tiny --ids "1,2,3" --continuation "4,5,6" --noise '{kind: activation, scale: 0.2}' --draws 24 --temperatures "0.8,1,1.2" --json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			f.changed = cmd.Flags().Changed
			if err := f.check(len(args) > 0); err != nil {
				return usageError{err}
			}
			for _, text := range f.noises {
				n, err := config.ParseNoise("--noise", text)
				if err != nil {
					return usageError{err}
				}
				f.parsed = append(f.parsed, n)
			}
			if len(args) == 0 {
				return a.fidelityOfIDs(cmd.Context(), f)
			}
			return a.session(cmd, args[0], f.set,
				func(s *session.Session) error { return a.fidelityOfConfig(cmd.Context(), s, f) })
		},
	}
	fl := c.Flags()
	setFlag(c, &f.set)
	fl.StringVar(&f.model, "model", "", "model directory or hub id, instead of a config")
	fl.StringVar(&f.ids, "ids", "", "prompt of --model as token ids, for example \"1,2,3\"")
	fl.StringVar(&f.continuation, "continuation", "", "text of --model that follows the prompt, as token ids")
	noisesFlag(c, &f.noises)
	fl.BoolVar(&f.forms, "forms", false,
		"compare the forms of T*, calibrated on the calibration prompts, along the evaluated questions")
	fl.IntVar(&f.draws, "draws", 16, "draws of each random noise, for each text (default: the config's, or 16)")
	fl.Float64SliceVar(&f.temperatures, "temperatures", nil,
		"temperatures to try; --temps is the same (default: ten from 0.7 to 1.4 times the base)")
	fl.Float64Var(&f.base, "base", 1,
		"temperature of the clean distribution (default: calibration.base of the config, or 1)")
	fl.Uint64Var(&f.seed, "seed", 42, "seed of the noise (default: the config's, or 42)")
	fl.BoolVar(&f.noCache, "no-kv-cache", false, "compute the whole prefix at every position, under noise of its own")
	fl.StringVar(&f.dtype, "dtype", "float32", "compute type of --model: float32, bfloat16, float16")
	fl.StringVar(&f.device, "device", "auto", "device of --model: auto or cpu")
	fl.StringVar(&f.out, "out", "", "`directory` for the files (default: fidelity in the config's output)")
	fl.BoolVar(&f.asJSON, "json", false, "print JSON")
	fl.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		if name == "temps" {
			name = "temperatures"
		}
		return pflag.NormalizedName(name)
	})
	return c
}

// check refuses flags that do not go together.
func (f *fidelityFlags) check(config bool) error {
	if config == (f.model != "") {
		return errors.New("give either a CONFIG or --model")
	}
	wrong, where := []string{"ids", "continuation", "dtype", "device"}, "goes with --model"
	if !config {
		wrong, where = []string{"set", "out", "forms"}, "goes with a CONFIG"
	}
	for _, n := range wrong {
		if f.changed(n) {
			return fmt.Errorf("--%s %s", n, where)
		}
	}
	switch {
	case f.forms && f.changed("temperatures"):
		return errors.New("give either --forms, which has temperatures of its own, or --temperatures")
	case !config && (f.ids == "" || f.continuation == ""):
		return errors.New("--model needs a text: --ids and --continuation")
	case !config && len(f.noises) != 1:
		return errors.New("--model needs one --noise, for example --noise '{kind: activation, scale: 0.05}'")
	case f.draws < 1 || f.draws > maxFidelityDraws:
		return fmt.Errorf("--draws %d is not between 1 and %d", f.draws, maxFidelityDraws)
	case !(f.base > 0) || math.IsInf(f.base, 0):
		return fmt.Errorf("--base %v is not a temperature above 0", f.base)
	case f.changed("temperatures"):
		return checkTemps("--temperatures", f.temperatures)
	}
	return nil
}

// over puts flags over what is there.
func (f *fidelityFlags) over(o *study.FidelityOptions) {
	if f.changed("draws") {
		o.Draws = f.draws
	}
	if f.changed("seed") {
		o.Seed = f.seed
	}
	if f.changed("no-kv-cache") {
		o.KVCache = !f.noCache
	}
	if len(f.temperatures) > 0 {
		o.Temperatures = f.temperatures
	}
	if len(f.parsed) > 0 {
		o.Noises = f.parsed
	}
}

// fidelityOfConfig measures the noises of a config.
func (a *app) fidelityOfConfig(ctx context.Context, s *session.Session, f fidelityFlags) error {
	slices.Sort(f.temperatures)
	if err := calibrate.Offer(ctx, s, f.parsed...); err != nil {
		return err
	}
	base := s.Cfg.Calibration.Base
	if f.changed("base") {
		base = f.base
	}
	of := study.FidelityOf
	if f.forms {
		of = study.FidelityOfForms
	}
	o, err := of(ctx, s, base)
	if err != nil {
		return err
	}
	f.over(&o)
	report, err := study.MeasureFidelity(ctx, s.LM, o, s.Logf)
	if err != nil {
		return err
	}
	dir := f.out
	if dir == "" {
		dir = filepath.Join(s.Output(), results.FidelityDir)
	}
	if err := study.WriteFidelity(dir, report); err != nil {
		return err
	}
	s.Logf("wrote fidelity.json, fidelity.csv and the plot to %s", dir)
	if f.asJSON {
		return a.printJSON(report)
	}
	return a.println(report.Markdown())
}

// fidelityOfIDs measures one noise along one text.
func (a *app) fidelityOfIDs(ctx context.Context, f fidelityFlags) error {
	o := study.FidelityOptions{
		Draws: f.draws, KVCache: !f.noCache, Seed: f.seed, Base: f.base,
		Temperatures: study.DefaultFidelityTemperatures(f.base),
	}
	f.over(&o)
	prompt, err := parseIDs("--ids", f.ids)
	if err != nil {
		return err
	}
	text, err := parseIDs("--continuation", f.continuation)
	if err != nil {
		return err
	}
	o.Prompts, o.Texts = [][]int{prompt}, []study.Continuations{{Kind: fidelity.Given, IDs: [][]int{text}}}
	lm, err := a.load(ctx, f.model, decode.LoadOptions{DType: f.dtype, Device: f.device}, f.parsed...)
	if err != nil {
		return err
	}
	defer lm.Close() //nolint:errcheck // the process ends here
	report, err := study.MeasureFidelity(ctx, lm, o, a.logf)
	if err != nil {
		return err
	}
	if f.asJSON {
		return a.printJSON(report.Contract())
	}
	return a.println(report.Markdown())
}
