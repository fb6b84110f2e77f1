package checkpoint

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"

	"github.com/gsmeval/gsmeval/decode/checkpoint/gguf"
)

// metaFields reads the metadata of one architecture into what config.json would say, and keeps the first problem.
type metaFields struct {
	*ggufModel
	name   string // of the architecture, the prefix of its keys
	values map[string]any
	err    error
}

func (f *metaFields) take(err error) {
	if f.err == nil {
		f.err = err
	}
}

// integer copies a whole number, if it is there.
func (f *metaFields) integer(key, into string) (n int, found bool) {
	n, found, err := f.Meta.Int(f.name + "." + key)
	f.take(err)
	if found && into != "" {
		f.values[into] = n
	}
	return n, found && err == nil
}

// float copies a number, if it is there.
func (f *metaFields) float(key, into string) (x float64, found bool) {
	x, found, err := f.Meta.Float(f.name + "." + key)
	f.take(err)
	if found && into != "" {
		f.values[into] = real64(x)
	}
	return x, found && err == nil
}

// real64 is a number that JSON spells with a point: transformers takes 30 for no float.
type real64 float64

// MarshalJSON writes the shortest digits that give the number back.
func (x real64) MarshalJSON() ([]byte, error) {
	text, err := json.Marshal(float64(x))
	if err == nil && !bytes.ContainsAny(text, ".e") {
		text = append(text, ".0"...)
	}
	return text, err
}

// needed is integer for a key that must be there.
func (f *metaFields) needed(key, into string) int {
	n, found := f.integer(key, into)
	if !found {
		f.take(fmt.Errorf("metadata key %s.%s is missing", f.name, key))
	}
	return n
}

func (f *metaFields) has(tensor string) bool {
	return slices.ContainsFunc(f.Tensors, func(t gguf.Tensor) bool { return t.Name == tensor })
}

// config is what config.json would say.
func (m *ggufModel) config() ([]byte, error) {
	name, err := m.Meta.Text("general.architecture")
	if err != nil {
		return nil, err
	}
	f := &metaFields{ggufModel: m, name: name, values: map[string]any{
		"model_type": m.arch.modelType,
		"dtype":      "float32",
	}}
	f.sizes()
	f.rest()
	if f.err == nil {
		f.rope()
	}
	if f.err != nil {
		return nil, f.err
	}
	return json.Marshal(f.values)
}

func (f *metaFields) sizes() {
	f.needed("block_count", "num_hidden_layers")
	f.needed("context_length", "max_position_embeddings")
	f.needed("feed_forward_length", "intermediate_size")
	f.needed("embedding_length", "hidden_size")
	heads := f.needed("attention.head_count", "num_attention_heads")
	f.values["num_key_value_heads"] = heads
	f.integer("attention.head_count_kv", "num_key_value_heads")
	if k, found := f.integer("attention.key_length", "head_dim"); found {
		if v, found := f.integer("attention.value_length", ""); found && v != k {
			f.take(fmt.Errorf("%s.attention.value_length %d is not attention.key_length %d, which is not supported",
				f.name, v, k))
		}
	} else if heads > 0 {
		f.values["head_dim"] = f.needed("embedding_length", "") / heads
	}
	// The embedding says how many tokens there are; a vocab_size that says something else is another model's.
	i := slices.IndexFunc(f.Tensors, func(t gguf.Tensor) bool { return t.Name == "token_embd.weight" })
	if i < 0 {
		f.take(fmt.Errorf("the file has no tensor token_embd.weight; it is no language model, or a part of one"))
		return
	}
	f.values["vocab_size"] = f.Tensors[i].Shape[0]
	if n, found := f.integer("vocab_size", ""); found && n != f.Tensors[i].Shape[0] {
		f.take(fmt.Errorf("%s.vocab_size is %d, but token_embd.weight has %d rows", f.name, n, f.Tensors[i].Shape[0]))
	}
	f.values["tie_word_embeddings"] = !f.has("output.weight")
}

func (f *metaFields) rest() {
	if _, found := f.float("attention.layer_norm_rms_epsilon", "rms_norm_eps"); !found {
		f.take(fmt.Errorf("metadata key %s.attention.layer_norm_rms_epsilon is missing", f.name))
	}
	f.float("attn_logit_softcapping", "attn_logit_softcapping")
	f.float("final_logit_softcapping", "final_logit_softcapping")
	if f.arch.modelType == "gemma2" {
		// llama.cpp knows the largest of the family by its layers, and that it divides by another root than the others.
		scalar := f.values["head_dim"]
		if n := f.values["num_hidden_layers"]; n == 46 {
			scalar = f.needed("embedding_length", "") / max(f.needed("attention.head_count", ""), 1)
		}
		f.values["query_pre_attn_scalar"] = scalar
	}
	if n, found := f.integer("attention.sliding_window", ""); found && n > 0 && f.arch.modelType != "qwen2" &&
		f.arch.modelType != "qwen3" {
		f.values["sliding_window"] = n
		if f.arch.modelType == "llama" {
			f.values["model_type"] = "mistral" // the same model, whose attention slides
		}
	}
	for into, key := range map[string]string{
		"bos_token_id": "bos_token_id", "eos_token_id": "eos_token_id",
		"pad_token_id": "padding_token_id",
	} {
		f.values[into] = nil // where the file is silent the family's default would be another model's token
		id, found, err := f.Meta.Int("tokenizer.ggml." + key)
		f.take(err)
		if found {
			f.values[into] = id
		}
	}
	f.values["attention_bias"] = f.has("blk.0.attn_q.bias") || f.has("blk.0.attn_output.bias")
	f.values["mlp_bias"] = f.has("blk.0.ffn_up.bias")
}

// rope fills in the rotary embedding: base, part of the head, scaling.
func (f *metaFields) rope() {
	f.float("rope.freq_base", "rope_theta")
	head, _ := f.values["head_dim"].(int)
	if n, found := f.integer("rope.dimension_count", ""); found && n != head && head > 0 {
		f.values["partial_rotary_factor"] = share(n, head)
	}
	scaling := map[string]any{}
	kind, err := f.Meta.Text(f.name + ".rope.scaling.type")
	f.take(err)
	factor, scaled := f.float("rope.scaling.factor", "")
	if old, found := f.float("rope.scale_linear", ""); found && !scaled {
		kind, factor = "linear", old
	}
	original, hasOriginal := f.integer("rope.scaling.original_context_length", "")
	short, err := f.factors(f.arch.factors[0])
	f.take(err)
	long, err := f.factors(f.arch.factors[1])
	f.take(err)
	switch {
	case short != nil:
		// Factors by which frequencies are divided: Llama 3.1's, for every length, and Phi-3's, within the original
		// context.
		scaling = map[string]any{"rope_type": "longrope", "short_factor": short}
		if f.arch.modelType == "phi3" {
			scaling["long_factor"] = long
			f.values["original_max_position_embeddings"] = original
			f.floatInto(scaling, "rope.scaling.attn_factor", "attention_factor")
		} else {
			scaling["long_factor"], scaling["attention_factor"] = short, 1
			scaling["original_max_position_embeddings"] = f.needed("context_length", "")
		}
	case kind == "linear" && factor != 1 && factor != 0:
		scaling = map[string]any{"rope_type": "linear", "factor": factor}
	case kind == "yarn":
		scaling = map[string]any{"rope_type": "yarn", "factor": factor}
		if hasOriginal {
			scaling["original_max_position_embeddings"] = original
		}
		if m, found := f.float("rope.scaling.yarn_log_multiplier", ""); found && m != 0 {
			f.take(fmt.Errorf("%s.rope.scaling.yarn_log_multiplier %g is not supported", f.name, m))
		}
		f.floatInto(scaling, "rope.scaling.yarn_beta_fast", "beta_fast")
		f.floatInto(scaling, "rope.scaling.yarn_beta_slow", "beta_slow")
	case kind != "" && kind != "none" && kind != "linear":
		f.take(fmt.Errorf("%s.rope.scaling.type %s is not supported; supported: none, linear, yarn, and factors in tensors", f.name, quote(kind)))
	}
	if len(scaling) > 0 {
		f.values["rope_scaling"] = scaling
	}
}

func (f *metaFields) floatInto(values map[string]any, key, into string) {
	if x, found := f.float(key, ""); found {
		values[into] = real64(x)
	}
}

// share is a factor of which int(head * factor) is n.
func share(n, head int) float64 {
	x := float64(n) / float64(head)
	for int(x*float64(head)) < n {
		x = math.Nextafter(x, 2)
	}
	return x
}
