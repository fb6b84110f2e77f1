package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/gsmeval/gsmeval/decode"
	"github.com/gsmeval/gsmeval/internal/config"
)

func perturbCommand(a *app) *cobra.Command {
	var model, noise, out, dtype string
	var seed uint64
	var replicate int
	c := &cobra.Command{
		Use:   "perturb --model MODEL --noise YAML --out DIR",
		Short: "Write a model with noisy weights as a checkpoint",
		Long: `Perturb writes the weights of a model under a noise, those that a run has for the same seed and replicate, as an ordinary checkpoint
of the compute type, for another program: model.safetensors, config.json, and the tokenizer's files as they are, or as a GGUF file
has them. What a noise does to activations is no part of it.`,
		Example: `  gsmeval perturb --model models/gsm-tiny --noise '{weights: {kind: int, bits: 4, per: group, group: 32}}' --out int4
  gsmeval perturb --model models/gsm-tiny --noise '{weights: {kind: pcm, time: 3600}, scope: analog}' --replicate 2 --out chip-2`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			n, err := config.ParseNoise("--noise", noise)
			if err != nil {
				return usageError{err}
			}
			if replicate < 0 {
				return usageError{fmt.Errorf("--replicate %d is below 0", replicate)}
			}
			lm, err := a.load(cmd.Context(), model, decode.LoadOptions{DType: dtype, Device: "cpu"}, n)
			if err != nil {
				return err
			}
			defer lm.Close() //nolint:errcheck // the process ends here
			effect, err := lm.WritePerturbed(out, n, seed, replicate)
			if err != nil {
				return err
			}
			t := effect.Total()
			a.logf("wrote %s: %s, %d tensors, SNR %.1f dB", out, n.Label(), len(effect), t.SNR())
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&model, "model", "", "model directory, GGUF file, or a hub id")
	noiseFlag(c, &noise)
	f.StringVar(&out, "out", "", "`directory` to write to, a new one")
	f.Uint64Var(&seed, "seed", 42, "seed of the noise")
	f.IntVar(&replicate, "replicate", 0, "which replicate of the noise")
	f.StringVar(&dtype, "dtype", "float32", "compute type, and type of the checkpoint: float32, bfloat16, float16")
	required(c, "model", "noise", "out")
	return c
}
