package model

import (
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
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
			m, err := Load(s, cfg, weights, Options{
				DType: torch.Float32, Device: torch.CPU,
				Progress: func(done, all int64) {
					if done <= last || done > all {
						t.Errorf("progress went from %d to %d of %d", last, done, all)
					}
					last, total = done, all
				},
			})
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
		"architecture": {
			func(c *checkpoint.Config) { c.ModelType = "mamba" },
			`model_type "mamba" is not supported; supported: `,
		},
		"activation": {
			func(c *checkpoint.Config) { c.HiddenAct = "gelu" },
			"hidden_act gelu is not supported for model_type qwen2; supported: silu",
		},
		"part of a head": {
			func(c *checkpoint.Config) { c.PartialRotaryFactor = 0.5 },
			"partial_rotary_factor 0.5 is not supported",
		},
		"dynamic rope": {func(c *checkpoint.Config) {
			c.RopeScaling = &checkpoint.RopeScaling{
				Type:   "dynamic",
				Factor: 2,
			}
		}, `rope scaling of type "dynamic" is not supported`},
		"unknown rope": {
			func(c *checkpoint.Config) { c.RopeScaling = &checkpoint.RopeScaling{Type: "new"} },
			`rope scaling of type "new" is not supported; supported: linear, yarn, llama3`,
		},
		"more layers":  {func(c *checkpoint.Config) { c.NumLayers++ }, `no tensor "model.layers.2.`},
		"fewer layers": {func(c *checkpoint.Config) { c.NumLayers-- }, `a tensor "model.layers.1.`},
		"wider":        {func(c *checkpoint.Config) { c.IntermediateSize++ }, "has shape"},
		"vocabulary": {
			func(c *checkpoint.Config) { c.VocabSize-- },
			`"model.embed_tokens.weight" has shape [160 32], config.json makes it [159 32]`,
		},
	} {
		cfg := good
		c.change(&cfg)
		if err := try(cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, c.want)
		}
	}
}

// TestTensorsThatAreNotUsed adds tensors to a checkpoint: those that change nothing are named in the notes, the others
// refused.
func TestTensorsThatAreNotUsed(t *testing.T) {
	t.Parallel()
	dir := filepath.Join("..", "testdata", "parity", "llama-tied-llama3")
	for _, c := range []struct {
		name, add, from string // the tensor that is added, and the one it copies; "" is zeros of [32]
		notes           []string
		refused         string
	}{
		{name: "nothing"},
		{
			"the embedding once more", "lm_head.weight", "model.embed_tokens.weight",
			[]string{"lm_head.weight is not used: it is the embedding once more"},
			"",
		},
		{
			"another head", "lm_head.weight", "negated",
			[]string{"lm_head.weight is used, though config.json ties it"},
			"",
		},
		{
			"frequencies", "model.layers.0.self_attn.rotary_emb.inv_freq", "",
			[]string{"inv_freq: not used, since these frequencies follow"},
			"",
		},
		{
			"a bias of zeros", "model.layers.1.self_attn.o_proj.bias", "",
			[]string{"o_proj.bias: not used, since it is a bias of zeros"},
			"",
		},
		{
			"a bias", "model.layers.1.self_attn.o_proj.bias", "model.norm.weight", nil,
			`a tensor "model.layers.1.self_attn.o_proj.bias" that a llama model`,
		},
		{
			"a layer more", "model.layers.2.input_layernorm.weight", "", nil,
			`a tensor "model.layers.2.input_layernorm.weight" that a llama model`,
		},
	} {
		notes, err := notesOf(t, dir, c.add, c.from)
		if c.refused != "" {
			if err == nil || !strings.Contains(err.Error(), c.refused) {
				t.Errorf("%s: error %v, want one with %q", c.name, err, c.refused)
			}
			continue
		}
		if err != nil || len(notes) != len(c.notes) {
			t.Errorf("%s: notes %q, %v", c.name, notes, err)
			continue
		}
		for i, want := range c.notes {
			if !strings.Contains(notes[i], want) {
				t.Errorf("%s: note %q, want %q", c.name, notes[i], want)
			}
		}
	}
}

// notesOf loads a checkpoint to which a tensor was added.
func notesOf(t *testing.T, dir, add, from string) ([]string, error) {
	t.Helper()
	cfg, err := checkpoint.ReadConfig(dir)
	if err != nil {
		t.Fatal(err)
	}
	weights, err := checkpoint.OpenWeights(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer weights.Close() //nolint:errcheck // it was only read
	header, data := map[string]any{}, []byte{}
	write := func(name, dtype string, shape []int, bytes []byte) {
		header[name] = map[string]any{
			"dtype": dtype, "shape": shape,
			"data_offsets": []int{len(data), len(data) + len(bytes)},
		}
		data = append(data, bytes...)
	}
	for _, name := range weights.Names() {
		x, _ := weights.Tensor(name)
		write(name, string(x.DType), x.Shape, x.Data)
		switch {
		case add != "" && name == from:
			write(add, string(x.DType), x.Shape, x.Data)
		case from == "negated" && name == "model.embed_tokens.weight":
			other := slices.Clone(x.Data)
			for i := 1; i < len(other); i += 2 {
				other[i] ^= 0x80 // the sign of a bfloat16
			}
			write(add, string(x.DType), x.Shape, other)
		}
	}
	if add != "" && from == "" {
		write(add, "F32", []int{32}, make([]byte, 4*32))
	}
	text, err := json.Marshal(header)
	if err != nil {
		t.Fatal(err)
	}
	changed := t.TempDir()
	file := append(binary.LittleEndian.AppendUint64(nil, uint64(len(text))), append(text, data...)...)
	if err := os.WriteFile(filepath.Join(changed, "model.safetensors"), file, 0o600); err != nil {
		t.Fatal(err)
	}
	other, err := checkpoint.OpenWeights(changed)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close() //nolint:errcheck // it was only read
	w, err := torch.Start(1)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	var notes []string
	err = w.Do(func(s *torch.Scope) error {
		m, err := Load(s, cfg, other, Options{DType: torch.Float32, Device: torch.CPU})
		if err != nil {
			return err
		}
		notes = m.Notes
		m.Free()
		return nil
	})
	return notes, err
}
