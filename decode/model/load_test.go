package model

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/gsmeval/gsmeval/decode/checkpoint"
	"github.com/gsmeval/gsmeval/internal/torch"
)

// TestLoadRefusesAnotherModel changes config.json's values under an unchanged weight file.
func TestLoadRefusesAnotherModel(t *testing.T) {
	t.Parallel()
	dir := filepath.Join("..", "testdata", "parity", "qwen2-untied-gqa1")
	good, err := checkpoint.ReadConfig(dir)
	if err != nil {
		t.Fatal(err)
	}
	weights, err := checkpoint.OpenWeights(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := weights.Close(); err != nil {
			t.Error(err)
		}
	}()
	w, err := torch.Start(1)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	try := func(cfg checkpoint.Config) error {
		return w.Do(func(s *torch.Scope) error {
			var last, total int64
			m, err := Load(s, cfg, weights, Options{DType: torch.Float32, Device: torch.CPU, Progress: func(done, all int64) {
				if done <= last || done > all {
					t.Errorf("progress went from %d to %d of %d", last, done, all)
				}
				last, total = done, all
			}})
			if err != nil {
				return err
			}
			m.Free()
			if last == 0 || total == 0 {
				t.Error("no progress was reported")
			}
			return nil
		})
	}
	if err := try(good); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*checkpoint.Config)
		want   string
	}{
		"architecture":   {func(c *checkpoint.Config) { c.ModelType = "mamba" }, `model_type "mamba" is not supported; supported: `},
		"activation":     {func(c *checkpoint.Config) { c.HiddenAct = "gelu" }, "hidden_act gelu is not supported for model_type qwen2; supported: silu"},
		"part of a head": {func(c *checkpoint.Config) { c.PartialRotaryFactor = 0.5 }, "partial_rotary_factor 0.5 is not supported"},
		"dynamic rope":   {func(c *checkpoint.Config) { c.RopeScaling = &checkpoint.RopeScaling{Type: "dynamic", Factor: 2} }, `rope scaling of type "dynamic" is not supported`},
		"unknown rope":   {func(c *checkpoint.Config) { c.RopeScaling = &checkpoint.RopeScaling{Type: "new"} }, `rope scaling of type "new" is not supported; supported: linear, yarn, llama3`},
		"more layers":    {func(c *checkpoint.Config) { c.NumLayers++ }, `no tensor "model.layers.2.`},
		"fewer layers":   {func(c *checkpoint.Config) { c.NumLayers-- }, `a tensor "model.layers.1.`},
		"wider":          {func(c *checkpoint.Config) { c.IntermediateSize++ }, "has shape"},
		"vocabulary":     {func(c *checkpoint.Config) { c.VocabSize-- }, `"model.embed_tokens.weight" has shape [160 32], config.json makes it [159 32]`},
	} {
		cfg := good
		c.change(&cfg)
		if err := try(cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, c.want)
		}
	}
	// transformers ignores a stored lm_head where the config ties it to the embedding.
	tied := good
	tied.TieEmbeddings = true
	if err := try(tied); err != nil {
		t.Errorf("a stored lm_head of a tied model: %v", err)
	}
}
