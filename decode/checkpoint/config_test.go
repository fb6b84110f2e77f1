package checkpoint

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// interpretation is what scripts/goldens/checkpoint_config.py writes of a config.
type interpretation struct {
	KVHeads      int            `json:"kv_heads"`
	HeadDim      int            `json:"head_dim"`
	MaxPositions int            `json:"max_positions"`
	Eps          float64        `json:"eps"`
	Tie          bool           `json:"tie"`
	Act          string         `json:"act"`
	Window       int            `json:"window"`
	LayerTypes   []string       `json:"layer_types"`
	EOS          []int          `json:"eos"`
	BOS          *int           `json:"bos"`
	Pad          *int           `json:"pad"`
	DType        string         `json:"dtype"`
	AttnSoftcap  float64        `json:"attn_softcap"`
	FinalSoftcap float64        `json:"final_softcap"`
	QueryScalar  float64        `json:"query_scalar"`
	Theta        float64        `json:"theta"`
	LocalTheta   float64        `json:"local_theta"`
	Partial      float64        `json:"partial"`
	RopeType     string         `json:"rope_type"`
	Rope         map[string]any `json:"rope"`
}

func interpret(c Config) interpretation {
	i := interpretation{
		KVHeads: c.NumKVHeads, HeadDim: c.HeadDim, MaxPositions: c.MaxPositions, Eps: c.RMSNormEps,
		Tie: c.TieEmbeddings,
		Act: c.HiddenAct, Window: c.SlidingWindow, LayerTypes: c.LayerTypes, EOS: append([]int{}, c.EOS...), BOS: c.BOS,
		Pad:   c.Pad,
		DType: c.DType, AttnSoftcap: c.AttnLogitSoftcap, FinalSoftcap: c.FinalLogitSoftcap,
		QueryScalar: c.QueryPreAttnScalar,
		Theta:       c.RopeTheta, LocalTheta: c.RopeLocalTheta, Partial: c.PartialRotaryFactor,
		RopeType: "default", Rope: map[string]any{},
	}
	s := c.RopeScaling
	if s == nil {
		return i
	}
	i.RopeType = s.Type
	put := func(key string, x float64) {
		if x != 0 {
			i.Rope[key] = x
		}
	}
	put("factor", s.Factor)
	put("original_max_position_embeddings", float64(s.OriginalMaxPositions))
	put("low_freq_factor", s.LowFreqFactor)
	put("high_freq_factor", s.HighFreqFactor)
	if s.BetaFast != 32 {
		put("beta_fast", s.BetaFast)
	}
	if s.BetaSlow != 1 {
		put("beta_slow", s.BetaSlow)
	}
	for key, x := range map[string]*float64{
		"attention_factor": s.AttentionFactor, "mscale": s.MScale,
		"mscale_all_dim": s.MScaleAllDim,
	} {
		if x != nil {
			put(key, *x)
		}
	}
	if s.Type == "yarn" && !s.Truncate {
		i.Rope["truncate"] = false
	}
	for key, list := range map[string][]float64{"short_factor": s.ShortFactor, "long_factor": s.LongFactor} {
		if list == nil {
			continue
		}
		var values []any
		for _, x := range list {
			values = append(values, x)
		}
		i.Rope[key] = values
	}
	return i
}

// TestConfigAsTransformers compares with what transformers makes of the same files.
func TestConfigAsTransformers(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/config_goldens.json")
	if err != nil {
		t.Fatal(err)
	}
	var goldens struct {
		Transformers, Made string
		Cases              []struct {
			Name   string
			Config json.RawMessage
			Expect interpretation
		}
	}
	if err := json.Unmarshal(data, &goldens); err != nil {
		t.Fatal(err)
	}
	t.Logf("goldens made %s with transformers %s", goldens.Made, goldens.Transformers)
	if len(goldens.Cases) < 25 {
		t.Fatalf("only %d cases", len(goldens.Cases))
	}
	for _, tc := range goldens.Cases {
		t.Run(tc.Name, func(t *testing.T) {
			t.Parallel()
			cfg, err := ReadConfig(modelDir(t, map[string][]byte{"config.json": tc.Config}))
			if err != nil {
				t.Fatal(err)
			}
			// transformers keeps a default token that a small vocabulary does not
			// have; it can never come up, and here it is none.
			want := tc.Expect
			if strings.HasPrefix(tc.Name, "phi3") && cfg.VocabSize <= 32000 {
				want.EOS, want.Pad = []int{}, nil
			}
			if diff := cmp.Diff(want, interpret(cfg)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// tiny is a complete config in transformers' newest spelling, changed by edits: a
// nil value removes a key.
func tiny(modelType string, edits map[string]any) []byte {
	c := map[string]any{
		"architectures": []string{"X"}, "model_type": modelType, "vocab_size": 100, "hidden_size": 8,
		"intermediate_size": 16,
		"num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1,
	}
	for key, value := range edits {
		if value == nil {
			delete(c, key)
		} else {
			c[key] = value
		}
	}
	data, err := json.Marshal(c)
	if err != nil {
		panic(err)
	}
	return data
}

// compressed is a config.json of compressed-tensors, with more keys of quantization_config and of its one scheme.
func compressed(more, weights map[string]any) []byte {
	q := map[string]any{
		"quant_method":  "compressed-tensors",
		"config_groups": map[string]any{"g": map[string]any{"weights": weights}},
	}
	maps.Copy(q, more)
	return tiny("qwen2", map[string]any{"quantization_config": q})
}

func TestConfigRefused(t *testing.T) {
	t.Parallel()
	type m = map[string]any
	rope := func(params m) []byte { return tiny("llama", m{"rope_parameters": params}) }
	for _, tc := range []struct {
		name string
		data []byte
		want []string
	}{
		{"empty", nil, []string{"the file is empty"}},
		{"a list", []byte("[]"), []string{"expected a JSON object"}},
		{"cut short", []byte(`{"model_type": "qwen2",`), []string{"not valid JSON"}},
		{"syntax", []byte("{\"a\": 1,\n \"b\": x}"), []string{"not valid JSON at line 2"}},
		{"two documents", []byte("{}{}"), []string{"something follows the end"}},
		{"duplicate key", []byte("{\"a\": 1,\n\"a\": 2}"), []string{`"a"`, "twice", "line 2"}},
		{"duplicate deep down", []byte(`{"a": [{"b": {"c": 1, "c": 1}}]}`), []string{`"c"`, "twice"}},
		{"not UTF-8", []byte("{\"a\": \"\xff\"}"), []string{"UTF-8"}},
		{"too deep", []byte(`{"a":` + strings.Repeat("[", 64) + strings.Repeat("]", 64) + `}`), []string{"64 levels"}},
		{"no model type", tiny("qwen2", m{"model_type": nil}), []string{"model_type", "missing", "qwen2"}},
		{"unknown model type", tiny("gpt2", nil), []string{"model_type", `"gpt2"`, "llama"}},
		{"model type a number", tiny("qwen2", m{"model_type": 2}), []string{"model_type", "expected a string", "2"}},
		{
			"quantised in another way", tiny("qwen2", m{"quantization_config": m{"quant_method": "aqlm"}}),
			[]string{"quantization_config.quant_method", `"aqlm"`, "gptq", "unquantised"},
		},
		{
			"quantised, not said how", tiny("qwen2", m{"quantization_config": m{"bits": 4}}),
			[]string{"quantization_config.quant_method", `""`},
		},
		{
			"GPTQ of 3 bits", tiny("qwen2", m{"quantization_config": m{"quant_method": "gptq", "bits": 3}}),
			[]string{"quantization_config.bits", "3 is not supported", "4 and 8"},
		},
		{"GPTQ for marlin", tiny("qwen2", m{"quantization_config": m{
			"quant_method": "gptq", "bits": 4,
			"checkpoint_format": "marlin",
		}}), []string{"checkpoint_format", `"marlin"`}},
		{"GPTQ group of 0", tiny("qwen2", m{"quantization_config": m{
			"quant_method": "gptq", "bits": 4,
			"group_size": 0,
		}}), []string{"group_size", "found 0"}},
		{
			"AWQ gemv", tiny("qwen2", m{"quantization_config": m{"quant_method": "awq", "version": "gemv"}}),
			[]string{"version", `"gemv"`, "gemm"},
		},
		{
			"AWQ of 8 bits", tiny("qwen2", m{"quantization_config": m{"quant_method": "awq", "bits": 8}}),
			[]string{"bits", "8 is not supported for AWQ"},
		},
		{"AWQ without zero points", tiny("qwen2", m{"quantization_config": m{
			"quant_method": "awq",
			"zero_point":   false,
		}}), []string{"zero_point"}},
		{
			"fp4", tiny("qwen2", m{"quantization_config": m{"load_in_4bit": true, "bnb_4bit_quant_type": "fp4"}}),
			[]string{"bnb_4bit_quant_type", `"fp4"`, "nf4"},
		},
		{
			"bitsandbytes of nothing", tiny("qwen2", m{"quantization_config": m{"quant_method": "bitsandbytes"}}),
			[]string{"load_in_8bit"},
		},
		{
			"FP8 without blocks", tiny("qwen2", m{"quantization_config": m{"quant_method": "fp8"}}),
			[]string{"weight_block_size"},
		},
		{"FP8 e5m2", tiny("qwen2", m{"quantization_config": m{
			"quant_method": "fp8", "fmt": "e5m2",
			"weight_block_size": []int{128, 128},
		}}), []string{"fmt", `"e5m2"`}},
		{
			"compressed-tensors without groups",
			tiny("qwen2", m{"quantization_config": m{
				"quant_method": "compressed-tensors",
				"format":       "pack-quantized",
			}}),
			[]string{"config_groups"},
		},
		{"compressed-tensors sparse", compressed(m{"format": "marlin-24"}, m{}), []string{"format", `"marlin-24"`}},
		{
			"compressed-tensors nvfp4", compressed(m{"format": "nvfp4-pack-quantized"}, m{"num_bits": 4, "type": "float"}),
			[]string{"float of 4 bits"},
		},
		{
			"compressed-tensors of 3 bits", compressed(m{}, m{"num_bits": 3}),
			[]string{"config_groups.g.weights.num_bits", "int of 3 bits"},
		},
		{
			"compressed-tensors by attention head", compressed(m{}, m{"strategy": "attn_head"}),
			[]string{"strategy", `"attn_head"`},
		},
		{
			"compressed-tensors transformed", compressed(m{"transform_config": m{"config_groups": m{}}}, m{}),
			[]string{"transform_config"},
		},
		{"no vocab_size", tiny("qwen2", m{"vocab_size": nil}), []string{"vocab_size", "missing"}},
		{"no hidden_size", tiny("qwen2", m{"hidden_size": nil}), []string{"hidden_size", "missing"}},
		{"no layers", tiny("qwen2", m{"num_hidden_layers": nil}), []string{"num_hidden_layers", "missing"}},
		{"no heads", tiny("qwen2", m{"num_attention_heads": nil}), []string{"num_attention_heads", "missing"}},
		{"no intermediate_size", tiny("qwen2", m{"intermediate_size": nil}), []string{"intermediate_size", "missing"}},
		{"vocab_size zero", tiny("qwen2", m{"vocab_size": 0}), []string{"vocab_size", "from 1 to 4194304", "found 0"}},
		{"vocab_size huge", tiny("qwen2", m{"vocab_size": 1 << 23}), []string{"vocab_size", "8388608"}},
		{
			"vocab_size beyond int64", tiny("qwen2", m{"vocab_size": json.Number("99999999999999999999")}),
			[]string{"vocab_size", "99999999999999999999"},
		},
		{"vocab_size a float", tiny("qwen2", m{"vocab_size": 100.5}), []string{"vocab_size", "whole number", "100.5"}},
		{"vocab_size a string", tiny("qwen2", m{"vocab_size": "100"}), []string{"vocab_size", "whole number", `"100"`}},
		{"hidden_size negative", tiny("qwen2", m{"hidden_size": -8}), []string{"hidden_size", "-8"}},
		{"layers too many", tiny("qwen2", m{"num_hidden_layers": 1001}), []string{"num_hidden_layers", "1001"}},
		{
			"heads not divided", tiny("qwen2", m{"num_attention_heads": 4, "num_key_value_heads": 3}),
			[]string{"4 is not a multiple of num_key_value_heads 3"},
		},
		{
			"kv heads by default too many", tiny("qwen2", m{"num_key_value_heads": nil}),
			[]string{"num_key_value_heads 32, the default of its family"},
		},
		{"kv heads zero", tiny("qwen2", m{"num_key_value_heads": 0}), []string{"num_key_value_heads", "found 0"}},
		{"hidden not divided", tiny("qwen2", m{"hidden_size": 9}), []string{"hidden_size", "9 is not a multiple"}},
		{"head_dim odd", tiny("qwen2", m{"head_dim": 7}), []string{"head_dim", "even", "7"}},
		{"head_dim of one", tiny("qwen2", m{"hidden_size": 2}), []string{"head_dim", "even", "1"}},
		{
			"projection too wide", tiny("qwen2", m{"num_attention_heads": 16384, "head_dim": 16384}),
			[]string{"16384 heads of dimension 16384"},
		},
		{"positions zero", tiny("qwen2", m{"max_position_embeddings": 0}), []string{"max_position_embeddings"}},
		{"eps zero", tiny("qwen2", m{"rms_norm_eps": 0}), []string{"rms_norm_eps", "found 0"}},
		{"eps negative", tiny("qwen2", m{"rms_norm_eps": -1e-6}), []string{"rms_norm_eps"}},
		{
			"eps beyond float64", tiny("qwen2", m{"rms_norm_eps": json.Number("1e999")}),
			[]string{"rms_norm_eps", "1e999"},
		},
		{
			"tie a string", tiny("qwen2", m{"tie_word_embeddings": "true"}),
			[]string{"tie_word_embeddings", "true or false"},
		},
		{"bias a number", tiny("llama", m{"attention_bias": 1}), []string{"attention_bias", "true or false"}},
		{
			"architectures a string", tiny("qwen2", m{"architectures": "X"}),
			[]string{"architectures", "a list of strings"},
		},
		{"architectures mixed", tiny("qwen2", m{"architectures": []any{"X", 1}}), []string{"architectures", "found 1"}},
		{"act a list", tiny("qwen2", m{"hidden_act": []any{}}), []string{"hidden_act", "a list"}},
		{"dtype a number", tiny("qwen2", m{"dtype": 32}), []string{"dtype", "32"}},
		{"eos a string", tiny("qwen2", m{"eos_token_id": "2"}), []string{"eos_token_id", `"2"`}},
		{"eos negative", tiny("qwen2", m{"eos_token_id": []int{1, -2}}), []string{"eos_token_id", "-2"}},
		{"eos nested", tiny("qwen2", m{"eos_token_id": []any{[]int{1}}}), []string{"eos_token_id", "a list"}},
		{"bos a float", tiny("qwen2", m{"bos_token_id": 1.5}), []string{"bos_token_id", "1.5"}},
		{"theta zero", tiny("qwen2", m{"rope_theta": 0}), []string{"rope_theta"}},
		{"theta a string", tiny("qwen2", m{"rope_theta": "1e6"}), []string{"rope_theta", `"1e6"`}},
		{
			"theta twice", tiny("qwen2", m{"rope_theta": 1e4, "rope_parameters": m{"rope_theta": 1e6}}),
			[]string{"rope_theta", "10000", "1e+06"},
		},
		{"both spellings", tiny("qwen2", m{
			"rope_scaling":    m{"type": "linear", "factor": 2},
			"rope_parameters": m{"rope_theta": 1e6},
		}), []string{"rope_scaling", "rope_parameters", "remove one"}},
		{
			"scaling a string", tiny("qwen2", m{"rope_scaling": "linear"}),
			[]string{"rope_scaling", "expected an object"},
		},
		{"scaling type a number", rope(m{"rope_type": 1}), []string{"rope_parameters.rope_type"}},
		{"linear without factor", rope(m{"rope_type": "linear"}), []string{"rope_parameters.factor", "missing"}},
		{
			"linear with factor 0", rope(m{"rope_type": "linear", "factor": 0}),
			[]string{"rope_parameters.factor", "found 0"},
		},
		{"unknown kind with a string", rope(m{"rope_type": "new", "factor": "2"}), []string{"rope_parameters.factor"}},
		{
			"yarn betas", rope(m{"rope_type": "yarn", "factor": 2, "beta_fast": 1, "beta_slow": 2}),
			[]string{"beta_fast", "less than beta_slow"},
		},
		{
			"llama3 without low", rope(m{"rope_type": "llama3", "factor": 8, "high_freq_factor": 4}),
			[]string{"low_freq_factor", "missing"},
		},
		{"llama3 equal factors", rope(m{
			"rope_type": "llama3", "factor": 8, "high_freq_factor": 4,
			"low_freq_factor": 4,
		}), []string{"high_freq_factor", "not more than"}},
		{
			"original length a float", rope(m{"rope_type": "yarn", "factor": 8, "original_max_position_embeddings": 1.5}),
			[]string{"original_max_position_embeddings", "1.5"},
		},
		{"longrope of the wrong length", tiny("phi3", m{"rope_scaling": m{
			"type": "longrope", "short_factor": []int{1},
			"long_factor": []int{1, 2},
		}}), []string{"rope_scaling.short_factor", "expected 2", "found 1"}},
		{"longrope with a string", tiny("phi3", m{"rope_scaling": m{
			"type": "longrope", "short_factor": []any{1, "2"},
			"long_factor": []int{1, 2},
		}}), []string{"rope_scaling.short_factor", `"2"`}},
		{
			"partial to an odd number", tiny("phi3", m{"partial_rotary_factor": 0.75}),
			[]string{"partial_rotary_factor", "3 rotated"},
		},
		{"partial of 2", tiny("phi3", m{"partial_rotary_factor": 2}), []string{"partial_rotary_factor"}},
		{
			"a set for each kind of layer", rope(m{"full_attention": m{}, "sliding_attention": m{}}),
			[]string{"rope_parameters", "not supported for model type llama"},
		},
		{
			"gemma3 flat", tiny("gemma3_text", m{"rope_parameters": m{"rope_theta": 1e6}}),
			[]string{"rope_parameters.rope_theta", "full_attention"},
		},
		{
			"gemma3 scaled sliding layers",
			tiny("gemma3_text", m{"rope_parameters": m{"sliding_attention": m{"rope_type": "linear"}}}),
			[]string{"rope_parameters.sliding_attention.rope_type", "linear"},
		},
		{"window a string", tiny("mistral", m{"sliding_window": "big"}), []string{"sliding_window"}},
		{"window zero", tiny("mistral", m{"sliding_window": 0}), []string{"sliding_window", "found 0"}},
		{
			"layer types too few", tiny("qwen2", m{"layer_types": []string{"full_attention"}}),
			[]string{"layer_types", "2 layers", "found 1"},
		},
		{
			"layer type unknown", tiny("qwen2", m{"layer_types": []string{"full_attention", "linear_attention"}}),
			[]string{"layer_types", "layer 1", "linear_attention"},
		},
		{
			"sliding without window", tiny("qwen2", m{"layer_types": []string{"full_attention", "sliding_attention"}}),
			[]string{"layer_types", "layer 1", "no sliding_window"},
		},
		{
			"sliding llama", tiny("llama", m{"layer_types": []string{"full_attention", "sliding_attention"}}),
			[]string{"layer_types", "llama"},
		},
		{"pattern of zero", tiny("gemma3_text", m{"sliding_window_pattern": 0}), []string{"sliding_window_pattern"}},
		{"softcap zero", tiny("gemma2", m{"attn_logit_softcapping": 0}), []string{"attn_logit_softcapping"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if tc.data == nil {
				tc.data = []byte{}
			}
			dir := modelDir(t, map[string][]byte{"config.json": tc.data})
			_, err := ReadConfig(dir)
			wantError(t, err, append(tc.want, filepath.Join(dir, "config.json"))...)
		})
	}
	_, err := ReadConfig(modelDir(t, map[string][]byte{"config.json": nil}))
	wantError(t, err, "config.json", "not a regular file")
	_, err = ReadConfig(t.TempDir())
	wantError(t, err, "config.json", "no such file")
	_, err = ReadConfig(modelDir(t, map[string][]byte{"config.json": make([]byte, maxConfigBytes+1)}))
	wantError(t, err, "config.json", "more than the 16777216")
}

func TestConfigKept(t *testing.T) {
	t.Parallel()
	cfg, err := parseConfig(tiny("qwen2", map[string]any{
		"attention_bias": true, "rope_scaling": map[string]any{"rope_type": "new", "factor": 3, "extra": 1},
		"something": "else",
	}))
	if err != nil {
		t.Fatal(err)
	}
	if cfg.RopeScaling.Type != "new" || cfg.RopeScaling.Factor != 3 || string(cfg.RopeScaling.Raw["extra"]) != "1" {
		t.Errorf("an unknown scaling became %+v", cfg.RopeScaling)
	}
	if string(cfg.Raw["something"]) != `"else"` || cfg.AttentionBias == nil || !*cfg.AttentionBias ||
		cfg.MLPBias != nil {
		t.Errorf("config %+v", cfg)
	}
	if diff := cmp.Diff([]string{"X"}, cfg.Architectures); diff != "" {
		t.Error(diff)
	}
}

func TestEndTokens(t *testing.T) {
	t.Parallel()
	const tokenizer = `{"added_tokens":[{"id":5,"content":"<end>","special":true},{"id":6,"content":"<im>"}],"model":{"type":"BPE","vocab":{"a":0,"</s>":2,"far":100}}}`
	type files = map[string]string
	for _, tc := range []struct {
		name  string
		eos   any
		files files
		want  EndSet
	}{
		{"nothing", nil, nil, nil},
		{"config alone", 3, nil, EndSet{{3, []string{"config.json"}}}},
		{
			"all three, in order",
			[]int{3, 6},
			files{
				"generation_config.json": `{"eos_token_id":[6,7]}`, "tokenizer_config.json": `{"eos_token":"<end>"}`,
				"tokenizer.json": tokenizer,
			},
			EndSet{
				{6, []string{"generation_config.json", "config.json"}},
				{7, []string{"generation_config.json"}},
				{3, []string{"config.json"}},
				{5, []string{"tokenizer_config.json"}},
			},
		},
		{
			"one token by all three",
			5,
			files{
				"generation_config.json": `{"eos_token_id":5}`,
				"tokenizer_config.json":  `{"eos_token":{"content":"<end>","lstrip":false}}`,
				"tokenizer.json":         tokenizer,
			},
			EndSet{{5, []string{"generation_config.json", "config.json", "tokenizer_config.json"}}},
		},
		{"twice in one list", []int{3, 3}, nil, EndSet{{3, []string{"config.json"}}}},
		{"nulls", nil, files{
			"generation_config.json": `{"eos_token_id":null}`,
			"tokenizer_config.json":  `{"eos_token":null}`,
		}, nil},
		{"in the vocabulary alone", nil, files{
			"tokenizer_config.json": `{"eos_token":"</s>"}`,
			"tokenizer.json":        tokenizer,
		}, EndSet{{2, []string{"tokenizer_config.json"}}}},
		{
			"without tokenizer.json", nil,
			files{"tokenizer_config.json": `{"eos_token":"<x>","added_tokens_decoder":{"8":{"content":"<y>"},"9":{"content":"<x>"}}}`},
			EndSet{{9, []string{"tokenizer_config.json"}}},
		},
		{
			"older tokenizer", nil,
			files{
				"special_tokens_map.json": `{"eos_token":"<end>"}`, "tokenizer_config.json": `{}`,
				"tokenizer.json": tokenizer,
			},
			EndSet{{5, []string{"tokenizer_config.json"}}},
		},
		{
			"unigram", nil,
			files{
				"tokenizer_config.json": `{"eos_token":"<end>"}`,
				"tokenizer.json":        `{"added_tokens":[{"id":1,"content":"<end>"}],"model":{"vocab":[["a",0.5]]}}`,
			},
			EndSet{{1, []string{"tokenizer_config.json"}}},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			writeAll(t, dir, tc.files)
			writeAll(t, dir, files{"config.json": string(tiny("qwen2", map[string]any{"eos_token_id": tc.eos}))})
			cfg, err := ReadConfig(dir)
			if err != nil {
				t.Fatal(err)
			}
			got, err := EndTokens(dir, cfg)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
			for _, id := range got.IDs() {
				if !got.Has(id) {
					t.Errorf("%d is not in the set", id)
				}
			}
			if got.Has(99) {
				t.Error("99 is in the set")
			}
		})
	}
	for _, tc := range []struct {
		name  string
		eos   any
		files files
		want  []string
	}{
		{"config beyond vocabulary", 100, nil, []string{"config.json", "end token 100", "vocabulary of 100"}},
		{
			"generation beyond vocabulary", nil,
			files{"generation_config.json": `{"eos_token_id":[1,100]}`},
			[]string{"generation_config.json", "end token 100"},
		},
		{"tokenizer beyond vocabulary", nil, files{
			"tokenizer_config.json": `{"eos_token":"far"}`,
			"tokenizer.json":        tokenizer,
		}, []string{"tokenizer_config.json", "end token 100"}},
		{
			"generation broken", nil,
			files{"generation_config.json": `{`},
			[]string{"generation_config.json", "not valid JSON"},
		},
		{
			"generation a string", nil,
			files{"generation_config.json": `{"eos_token_id":"x"}`},
			[]string{"generation_config.json", "eos_token_id"},
		},
		{
			"tokenizer token a number", nil,
			files{"tokenizer_config.json": `{"eos_token":1}`},
			[]string{"tokenizer_config.json", "eos_token", "found 1"},
		},
		{
			"tokenizer content a number", nil,
			files{"tokenizer_config.json": `{"eos_token":{"content":1}}`},
			[]string{"tokenizer_config.json", "eos_token.content"},
		},
		{
			"add_bos_token a string", nil,
			files{"tokenizer_config.json": `{"add_bos_token":"yes"}`},
			[]string{"tokenizer_config.json", "add_bos_token"},
		},
		{
			"no such token", nil,
			files{"tokenizer_config.json": `{"eos_token":"<z>"}`, "tokenizer.json": tokenizer},
			[]string{"tokenizer.json", `"<z>"`, "no such token"},
		},
		{
			"no tokenizer.json", nil,
			files{"tokenizer_config.json": `{"eos_token":"<z>"}`},
			[]string{"tokenizer.json", `"<z>"`},
		},
		{
			"tokenizer.json broken", nil,
			files{"tokenizer_config.json": `{"eos_token":"<z>"}`, "tokenizer.json": `{`},
			[]string{"tokenizer.json", "not a valid JSON object"},
		},
		{"added_tokens an object", nil, files{
			"tokenizer_config.json": `{"eos_token":"<z>"}`,
			"tokenizer.json":        `{"added_tokens":{}}`,
		}, []string{"added_tokens", "expected a list"}},
		{"added token a string", nil, files{
			"tokenizer_config.json": `{"eos_token":"<z>"}`,
			"tokenizer.json":        `{"added_tokens":["<z>"]}`,
		}, []string{"added_tokens[0]", "expected an object"}},
		{"added token without id", nil, files{
			"tokenizer_config.json": `{"eos_token":"<z>"}`,
			"tokenizer.json":        `{"added_tokens":[{"content":"<z>"}]}`,
		}, []string{"added_tokens[0].id", "missing"}},
		{
			"decoder with a word for a key", nil,
			files{"tokenizer_config.json": `{"eos_token":"<z>","added_tokens_decoder":{"x":{"content":"<z>"}}}`},
			[]string{"added_tokens_decoder.x"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			writeAll(t, dir, tc.files)
			cfg, err := parseConfig(tiny("qwen2", map[string]any{"eos_token_id": tc.eos}))
			if err != nil {
				t.Fatal(err)
			}
			_, err = EndTokens(dir, cfg)
			wantError(t, err, append(tc.want, dir)...)
		})
	}
}

func writeAll(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestEndSetString(t *testing.T) {
	t.Parallel()
	set := EndSet{{5, []string{"config.json", "tokenizer_config.json"}}, {7, []string{"generation_config.json"}}}
	if got, want := fmt.Sprint(set), "5 (config.json, tokenizer_config.json), 7 (generation_config.json)"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := fmt.Sprint(EndSet{}); got != "none" {
		t.Errorf("empty set: %q", got)
	}
}

func TestReadSpecial(t *testing.T) {
	t.Parallel()
	yes, no := true, false
	dir := t.TempDir()
	writeAll(t, dir, map[string]string{
		"tokenizer_config.json":   `{"bos_token":{"content":"<s>","lstrip":false},"eos_token":"</s>","pad_token":null,"add_bos_token":true,"add_eos_token":false,"tokenizer_class":"LlamaTokenizer"}`,
		"special_tokens_map.json": `{"eos_token":"<other>","pad_token":"<pad>","unk_token":{"content":"<unk>"}}`,
	})
	got, err := ReadSpecial(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := Special{
		BOS: "<s>", EOS: "</s>", Pad: "<pad>", Unk: "<unk>", AddBOS: &yes, AddEOS: &no,
		TokenizerClass: "LlamaTokenizer",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	got, err = ReadSpecial(t.TempDir())
	if diff := cmp.Diff(Special{}, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
}
