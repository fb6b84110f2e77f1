package checkpoint

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

const configFile = "config.json"

// The largest values believed. They lie well above every published model and low
// enough that no product of them overflows.
const (
	maxVocab        = 1 << 22
	maxHidden       = 1 << 20
	maxIntermediate = 1 << 22
	maxLayers       = 1000
	maxHeads        = 1 << 14
	maxHeadDim      = 1 << 14
	maxPositions    = 1 << 30
	maxProjection   = 1 << 24 // heads x head_dim
)

// The kinds of attention in Config.LayerTypes, as transformers names them.
const (
	FullAttention    = "full_attention"
	SlidingAttention = "sliding_attention"
)

// Config is a config.json with transformers' defaults filled in. A field that the
// model type does not have is zero or nil.
type Config struct {
	ModelType     string   // "qwen2", "llama", ...
	Architectures []string // as written

	VocabSize        int // rows of the embedding
	HiddenSize       int
	IntermediateSize int
	NumLayers        int
	NumHeads         int // query heads
	NumKVHeads       int // divides NumHeads
	HeadDim          int // even
	MaxPositions     int

	RMSNormEps          float64
	RopeTheta           float64
	RopeScaling         *RopeScaling // nil for plain rotary embedding
	RopeLocalTheta      float64      // gemma3_text: theta of the sliding layers, which are never scaled
	PartialRotaryFactor float64      // share of HeadDim that is rotated, 1 unless phi3 says otherwise

	TieEmbeddings bool  // lm_head is the embedding
	AttentionBias *bool // nil where the file does not say
	MLPBias       *bool
	HiddenAct     string // "silu", "gelu_pytorch_tanh"

	UseSlidingWindow bool     // the switch of qwen2 and qwen3
	SlidingWindow    int      // positions a sliding layer sees, 0 where no layer slides
	MaxWindowLayers  int      // qwen2, qwen3: layers below it never slide
	LayerTypes       []string // of every layer: FullAttention or SlidingAttention

	QueryPreAttnScalar   float64 // gemma: scores are divided by its square root
	AttnLogitSoftcap     float64 // gemma2: 0 is off
	FinalLogitSoftcap    float64 // gemma2: 0 is off
	InitialContextLength int     // phi3's original_max_position_embeddings, else 0

	Quantization string // how weights are stored that are quantised, "" where none are

	DType string // type of the stored weights: "float32", "bfloat16", "float16", "" if not said
	EOS   []int  // end tokens, maybe none; EndTokens gives the whole set
	BOS   *int
	Pad   *int

	// Raw holds every key as it was written.
	Raw map[string]json.RawMessage
}

// family holds what transformers 5.23 takes for a model type where config.json is
// silent (configuration_*.py of each).
type family struct {
	kvHeads      int // 0: as many as query heads
	headDim      int // 0: hidden_size / num_attention_heads
	positions    int
	initial      int // original_max_position_embeddings, 0: no such key
	eps          float64
	tie          bool
	actKey, act  string
	bos, eos     int // -1: none
	pad          int
	theta        float64
	localTheta   float64 // 0: one rotary embedding for all layers
	window       windowRule
	windowSize   int // 0: none
	fullEvery    int // windowPattern: every so many layers one is full
	attnSoftcap  float64
	finalSoftcap float64
	queryScalar  float64
}

// windowRule says which layers a model type slides its attention window on.
type windowRule int

const (
	windowNever    windowRule = iota
	windowAlways              // all layers, if sliding_window is set
	windowSwitched            // layers from max_window_layers on, if use_sliding_window is set
	windowPattern             // all layers but every n-th
)

var families = map[string]family{
	"qwen2": {
		kvHeads: 32, positions: 32768, eps: 1e-6, actKey: "hidden_act", act: "silu", bos: -1, eos: -1, pad: -1,
		theta: 1e4, window: windowSwitched, windowSize: 4096,
	},
	"qwen3": {
		kvHeads: 32, headDim: 128, positions: 32768, eps: 1e-6, actKey: "hidden_act", act: "silu", bos: -1, eos: -1,
		pad:   -1,
		theta: 1e4, window: windowSwitched, windowSize: 4096,
	},
	"llama": {
		positions: 2048, eps: 1e-6, actKey: "hidden_act", act: "silu", bos: 1, eos: 2, pad: -1, theta: 1e4,
	},
	"mistral": {
		kvHeads: 8, positions: 4096 * 32, eps: 1e-6, actKey: "hidden_act", act: "silu", bos: 1, eos: 2, pad: -1,
		theta: 1e4, window: windowAlways, windowSize: 4096,
	},
	"phi3": {
		positions: 4096, initial: 4096, eps: 1e-5, actKey: "hidden_act", act: "silu", bos: 1, eos: 32000, pad: 32000,
		theta: 1e4, window: windowAlways,
	},
	"gemma2": {
		kvHeads: 4, headDim: 256, positions: 8192, eps: 1e-6, tie: true, actKey: "hidden_activation",
		act: "gelu_pytorch_tanh",
		bos: 2, eos: 1, pad: 0, theta: 1e4, window: windowPattern, windowSize: 4096, fullEvery: 2,
		attnSoftcap: 50, finalSoftcap: 30, queryScalar: 256,
	},
	"gemma3_text": {
		kvHeads: 4, headDim: 256, positions: 131072, eps: 1e-6, tie: true, actKey: "hidden_activation",
		act: "gelu_pytorch_tanh",
		bos: 2, eos: 1, pad: 0, theta: 1e6, localTheta: 1e4, window: windowPattern, windowSize: 4096, fullEvery: 6,
		queryScalar: 256,
	},
}

// ReadConfig reads and checks the config.json of a model directory, in the
// spelling of transformers 5 (rope_parameters, dtype) or 4 (rope_theta,
// rope_scaling, torch_dtype). What the file leaves out gets transformers' default
// for its model type, except for the sizes of the model, which must be there. An
// unknown model type and an unknown quantisation are refused by name. Kinds of
// rope scaling are left to the caller, see RopeScaling.
func ReadConfig(dir string) (Config, error) {
	path := PathOf(dir, configFile)
	data, err := readFile(dir, configFile, maxConfigBytes)
	if err != nil {
		return Config{}, fmt.Errorf("reading the model's config: %w", err)
	}
	cfg, err := parseConfig(data)
	if err != nil {
		return Config{}, fmt.Errorf("%s: %w", path, err)
	}
	return cfg, nil
}

func parseConfig(data []byte) (Config, error) {
	raw, err := object(data)
	if err != nil {
		return Config{}, err
	}
	f := &fields{values: raw}
	cfg := Config{Raw: raw, ModelType: f.text("model_type", "")}
	fam, known := families[cfg.ModelType]
	switch {
	case f.err != nil:
		return Config{}, f.err
	case cfg.ModelType == "":
		return Config{}, fmt.Errorf("model_type: the key is missing; expected one of %s", modelTypes())
	case !known:
		return Config{}, fmt.Errorf("model_type: %s is not supported; supported are %s", quote(cfg.ModelType),
			modelTypes())
	}
	if q, _ := parseQuantization(f); q != nil {
		cfg.Quantization = q.String()
	}
	cfg.readSizes(f, fam)
	cfg.readRest(f, fam)
	if f.err == nil {
		cfg.readRope(f, fam)
	}
	if f.err == nil {
		cfg.readWindow(f, fam)
	}
	if f.err != nil {
		return Config{}, f.err
	}
	return cfg, nil
}

// Context returns how many tokens a sequence may have, and the key of config.json that limits it. It is
// max_position_embeddings, or less where the model would compute something else past
// a point that is not supported: attention that slides, or longrope's second set of
// frequencies. Up to there the two are the same.
func (c *Config) Context() (tokens int, key string) {
	tokens, key = c.MaxPositions, "max_position_embeddings"
	if slices.Contains(c.LayerTypes, SlidingAttention) && c.SlidingWindow < tokens {
		tokens, key = c.SlidingWindow, "sliding_window"
	}
	if r := c.RopeScaling; r != nil && r.Type == "longrope" && r.OriginalMaxPositions < tokens {
		tokens, key = r.OriginalMaxPositions, "original_max_position_embeddings (longrope)"
	}
	return tokens, key
}

func modelTypes() string {
	return strings.Join(slices.Sorted(maps.Keys(families)), ", ")
}

func (c *Config) readSizes(f *fields, fam family) {
	c.VocabSize = f.required("vocab_size", 1, maxVocab)
	c.HiddenSize = f.required("hidden_size", 1, maxHidden)
	c.IntermediateSize = f.required("intermediate_size", 1, maxIntermediate)
	c.NumLayers = f.required("num_hidden_layers", 1, maxLayers)
	c.NumHeads = f.required("num_attention_heads", 1, maxHeads)
	// A null means one key-value head for each query head; silence means the
	// family's default.
	kv := c.NumHeads
	if !f.present("num_key_value_heads") && fam.kvHeads != 0 {
		kv = fam.kvHeads
	}
	c.NumKVHeads = f.integer("num_key_value_heads", kv, 1, maxHeads)
	if c.NumHeads%c.NumKVHeads != 0 {
		note := ""
		if !f.present("num_key_value_heads") {
			note = ", the default of its family where config.json has none"
		}
		f.fail("num_attention_heads", "%d is not a multiple of num_key_value_heads %d%s", c.NumHeads, c.NumKVHeads, note)
	}
	if _, ok := f.get("head_dim"); ok {
		c.HeadDim = f.integer("head_dim", 0, 1, maxHeadDim)
	} else if fam.headDim != 0 && !f.present("head_dim") {
		c.HeadDim = fam.headDim
	} else {
		if c.HiddenSize%c.NumHeads != 0 {
			f.fail("hidden_size", "%d is not a multiple of num_attention_heads %d, and there is no head_dim",
				c.HiddenSize, c.NumHeads)
		}
		c.HeadDim = c.HiddenSize / c.NumHeads
	}
	if c.HeadDim < 2 || c.HeadDim > maxHeadDim || c.HeadDim%2 != 0 {
		f.fail("head_dim", "expected an even number from 2 to %d, as rotary embedding needs, found %d", maxHeadDim,
			c.HeadDim)
	}
	if c.NumHeads*c.HeadDim > maxProjection {
		f.fail("num_attention_heads", "%d heads of dimension %d are more than %d in all", c.NumHeads, c.HeadDim,
			maxProjection)
	}
	c.MaxPositions = f.integer("max_position_embeddings", fam.positions, 1, maxPositions)
}

func (c *Config) readRest(f *fields, fam family) {
	c.Architectures = f.texts("architectures")
	c.RMSNormEps = f.number("rms_norm_eps", fam.eps, 1e-30, 1)
	c.TieEmbeddings = f.boolean("tie_word_embeddings", fam.tie)
	c.AttentionBias = f.optionalBoolean("attention_bias")
	c.MLPBias = f.optionalBoolean("mlp_bias")
	c.HiddenAct = f.text(fam.actKey, fam.act)
	if fam.queryScalar != 0 {
		c.QueryPreAttnScalar = f.number("query_pre_attn_scalar", fam.queryScalar, 1e-3, 1e9)
		c.AttnLogitSoftcap = f.softcap("attn_logit_softcapping", fam.attnSoftcap)
		c.FinalLogitSoftcap = f.softcap("final_logit_softcapping", fam.finalSoftcap)
	}
	c.DType = strings.TrimPrefix(f.text("dtype", f.text("torch_dtype", "")), "torch.")
	c.EOS = f.tokens("eos_token_id")
	if !f.present("eos_token_id") && fam.eos >= 0 && fam.eos < c.VocabSize {
		c.EOS = []int{fam.eos}
	}
	c.BOS = f.token("bos_token_id", fam.bos, c.VocabSize)
	c.Pad = f.token("pad_token_id", fam.pad, c.VocabSize)
}

// softcap reads a bound on logits, where null, unlike silence, turns it off.
func (f *fields) softcap(key string, def float64) float64 {
	if f.present(key) {
		def = 0
	}
	return f.number(key, def, 1e-3, 1e9)
}

// token reads one token id. A default beyond a small vocabulary is none at all, and
// -1 is how some files spell none.
func (f *fields) token(key string, def, vocab int) *int {
	raw, ok := f.get(key)
	switch {
	case ok && string(raw) == "-1":
		return nil
	case ok:
		id := f.integer(key, 0, 0, maxVocab-1)
		return &id
	case f.present(key) || def < 0 || def >= vocab:
		return nil
	}
	return &def
}

// readWindow works out which layers slide, by the family's rule or by layer_types.
func (c *Config) readWindow(f *fields, fam family) {
	if fam.window != windowNever {
		def := fam.windowSize
		if f.present("sliding_window") {
			def = 0
		}
		c.SlidingWindow = f.integer("sliding_window", def, 1, maxPositions)
	}
	if fam.window == windowSwitched {
		c.UseSlidingWindow = f.boolean("use_sliding_window", false)
		c.MaxWindowLayers = f.integer("max_window_layers", 28, 0, maxPositions)
		if !c.UseSlidingWindow {
			c.SlidingWindow = 0
		}
	}
	every := fam.fullEvery
	if fam.fullEvery != 0 && c.ModelType == "gemma3_text" {
		every = f.integer("sliding_window_pattern", fam.fullEvery, 1, maxLayers)
	}
	c.LayerTypes = make([]string, c.NumLayers)
	for i := range c.LayerTypes {
		slides := false
		switch fam.window {
		case windowNever:
		case windowAlways:
			slides = c.SlidingWindow > 0
		case windowSwitched:
			slides = c.SlidingWindow > 0 && i >= c.MaxWindowLayers
		case windowPattern:
			slides = (i+1)%every != 0
		}
		c.LayerTypes[i] = FullAttention
		if slides {
			c.LayerTypes[i] = SlidingAttention
		}
	}
	c.readLayerTypes(f, fam)
}

// readLayerTypes takes an explicit list where the family has one; elsewhere the
// list may only repeat what the family does anyway.
func (c *Config) readLayerTypes(f *fields, fam family) {
	if given := f.texts("layer_types"); given != nil {
		if len(given) != c.NumLayers {
			f.fail("layer_types", "expected one for each of the %d layers, found %d", c.NumLayers, len(given))
			return
		}
		for i, t := range given {
			if t != FullAttention && t != SlidingAttention {
				f.fail("layer_types", "layer %d: %s is not supported; supported are %s and %s", i, quote(t),
					FullAttention, SlidingAttention)
				return
			}
			if (fam.window == windowNever || fam.window == windowAlways) && t != c.LayerTypes[i] {
				f.fail("layer_types", "layer %d: %s does not agree with a %s model, whose layer would be %s", i, t,
					c.ModelType, c.LayerTypes[i])
				return
			}
		}
		c.LayerTypes = given
	}
	if c.SlidingWindow == 0 {
		if i := slices.Index(c.LayerTypes, SlidingAttention); i >= 0 {
			f.fail("layer_types", "layer %d slides its attention, but there is no sliding_window", i)
		}
	}
}
