package checkpoint

import (
	"bytes"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gsmeval/gsmeval/decode/checkpoint/gguf/gguftest"
)

// ggufKeys are the metadata of a small Llama with a tokenizer of kind gpt2, and what is changed of them; nil takes a
// key out.
func ggufKeys(change map[string]any) map[string]any {
	keys := map[string]any{
		"general.architecture": "llama", "llama.block_count": 1, "llama.context_length": 64,
		"llama.embedding_length":    4,
		"llama.feed_forward_length": 8, "llama.attention.head_count": 2, "llama.attention.layer_norm_rms_epsilon": 1e-5,
		"llama.rope.freq_base": 5e5, "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "gpt-2",
		"tokenizer.ggml.tokens": []string{"a", "b", "ab", "<|end|>"}, "tokenizer.ggml.token_type": []int{1, 1, 1, 3},
		"tokenizer.ggml.merges": []string{"a b"}, "tokenizer.ggml.eos_token_id": 2,
		"tokenizer.chat_template": "{{ messages[0].content }}",
	}
	for k, v := range change {
		if v == nil {
			delete(keys, k)
			continue
		}
		keys[k] = v
	}
	return keys
}

// ggufBytes is a file with these keys, the embedding [4, 4] and more tensors of F32 by name, without rows but [4].
func ggufBytes(keys map[string]any, more ...string) []byte {
	w := gguftest.Header(3, uint64(1+len(more)), uint64(len(keys)))
	for _, k := range sortedKeys(keys) {
		w.Key(k, keys[k])
	}
	w.Tensor("token_embd.weight", 0, 0, 4, 4)
	for i, name := range more {
		w.Tensor(name, 0, uint64(64+32*i), 4)
	}
	w.Pad(32)
	return append(w.B, bytes.Repeat([]byte{0, 0, 128, 63}, 16+8*len(more))...)
}

func sortedKeys(m map[string]any) []string {
	var keys []string
	for k := range maps.Keys(m) {
		keys = append(keys, k)
	}
	// The order in a file means nothing; a fixed one makes the fuzzer's seeds the same.
	for i := range keys {
		for j := i; j > 0 && keys[j] < keys[j-1]; j-- {
			keys[j], keys[j-1] = keys[j-1], keys[j]
		}
	}
	return keys
}

func ggufFile(t testing.TB, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "m.gguf")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestGGUFConfig(t *testing.T) {
	path := ggufFile(t, ggufBytes(ggufKeys(map[string]any{
		"llama.attention.head_count_kv": 1,
		"llama.rope.scaling.type":       "linear", "llama.rope.scaling.factor": 4.0,
	})))
	cfg, err := ReadConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	if cfg.ModelType != "llama" || cfg.VocabSize != 4 || cfg.HiddenSize != 4 || cfg.HeadDim != 2 ||
		cfg.NumKVHeads != 1 || !cfg.TieEmbeddings ||
		cfg.RopeTheta != 5e5 || cfg.BOS != nil || cfg.RopeScaling == nil || cfg.RopeScaling.Factor != 4 ||
		cfg.RMSNormEps != float64(float32(1e-5)) {
		t.Errorf("%+v", cfg)
	}
	ends, err := EndTokens(path, cfg)
	if diff := cmp.Diff([]int{2, 3}, ends.IDs()); diff != "" || err != nil {
		t.Errorf("end tokens: %v, %s", err, diff)
	}
	if id, err := TokenID(path, "<|end|>"); id != 3 || err != nil {
		t.Errorf("<|end|> is %d, %v", id, err)
	}
	s, err := ReadSpecial(path)
	if err != nil || s.EOS != "ab" || s.BOS != "" {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err := ReadFile(path, "chat_template.jinja", 1<<10); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("chat_template.jinja: %v", err)
	}
}

// TestGGUFPermutation undoes the order of rows of q by a tensor whose rows are their numbers, in whole and by elements.
func TestGGUFPermutation(t *testing.T) {
	g := &ggufRows{head: 6}
	var rows []int
	for r := range 12 {
		rows = append(rows, g.row(r))
	}
	if diff := cmp.Diff([]int{0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11}, rows); diff != "" {
		t.Error(diff)
	}
}

func TestGGUFRefused(t *testing.T) {
	for _, c := range []struct {
		name   string
		change map[string]any
		more   []string
		want   []string
	}{
		{
			"architecture",
			map[string]any{"general.architecture": "mamba"},
			nil,
			[]string{"general.architecture", `"mamba"`, "gemma2, llama"},
		},
		{"no architecture", map[string]any{"general.architecture": nil}, nil, []string{"general.architecture"}},
		{
			"architecture no text",
			map[string]any{"general.architecture": 1},
			nil,
			[]string{"general.architecture", "expected a text, found 1"},
		},
		{"part", map[string]any{"split.count": 3}, nil, []string{"split.count", "one of 3 parts"}},
		{
			"experts",
			map[string]any{"llama.expert_count": 8},
			nil,
			[]string{"llama.expert_count", "mixtures of experts"},
		},
		{"no layers", map[string]any{"llama.block_count": nil}, nil, []string{"llama.block_count is missing"}},
		{
			"layers of text",
			map[string]any{"llama.block_count": "1"},
			nil,
			[]string{"llama.block_count", `found the text "1"`},
		},
		{
			"layers without end",
			map[string]any{"llama.block_count": 1 << 30},
			nil,
			[]string{"num_hidden_layers", "from 1 to 1000"},
		},
		{"no heads", map[string]any{"llama.attention.head_count": 0}, nil, []string{"num_attention_heads"}},
		{
			"values of another size",
			map[string]any{"llama.attention.key_length": 2, "llama.attention.value_length": 4},
			nil,
			[]string{"value_length 4"},
		},
		{
			"no epsilon",
			map[string]any{"llama.attention.layer_norm_rms_epsilon": nil},
			nil,
			[]string{"layer_norm_rms_epsilon is missing"},
		},
		{"another vocabulary", map[string]any{"llama.vocab_size": 9}, nil, []string{"vocab_size is 9", "has 4 rows"}},
		{
			"scaling",
			map[string]any{"llama.rope.scaling.type": "longrope"},
			nil,
			[]string{"rope.scaling.type", `"longrope"`},
		},
		{
			"factors of another number", nil,
			[]string{"rope_freqs.weight"},
			[]string{"short_factor", "expected 1 numbers"},
		},
		{
			"kind of tokenizer",
			map[string]any{"tokenizer.ggml.model": "rwkv"},
			nil,
			[]string{"tokenizer.ggml.model", `"rwkv"`, "tokenizer.json"},
		},
		{"no tokenizer", map[string]any{"tokenizer.ggml.model": nil}, nil, []string{"no tokenizer", "tokenizer.json"}},
		{
			"no pre-tokenizer",
			map[string]any{"tokenizer.ggml.pre": nil},
			nil,
			[]string{"tokenizer.ggml.pre", "missing", "smollm", "tokenizer.json"},
		},
		{
			"pre-tokenizer",
			map[string]any{"tokenizer.ggml.pre": "other"},
			nil,
			[]string{"tokenizer.ggml.pre", `"other"`},
		},
		{
			"no tokens",
			map[string]any{"tokenizer.ggml.tokens": nil},
			nil,
			[]string{"tokenizer.ggml.tokens", "no tokens"},
		},
		{
			"a token twice",
			map[string]any{"tokenizer.ggml.tokens": []string{"a", "b", "ab", "a"}},
			nil,
			[]string{"tokens 0 and 3 are the same"},
		},
		{
			"types of others",
			map[string]any{"tokenizer.ggml.token_type": []int{1}},
			nil,
			[]string{"1 types for 4 tokens"},
		},
		{"no merges", map[string]any{"tokenizer.ggml.merges": nil}, nil, []string{"tokenizer.ggml.merges", "missing"}},
		{
			"merge of three",
			map[string]any{"tokenizer.ggml.merges": []string{"a b c"}},
			nil,
			[]string{"merge 0", `"a b c"`},
		},
		{
			"merge of no token",
			map[string]any{"tokenizer.ggml.merges": []string{"b b"}},
			nil,
			[]string{"merge 0", `"bb"`, "no token"},
		},
		{"token beyond", map[string]any{"tokenizer.ggml.eos_token_id": 9}, nil, []string{"9", "beyond"}},
		{
			"BOS that is not there",
			map[string]any{"tokenizer.ggml.add_bos_token": true},
			nil,
			[]string{"bos_token_id is missing"},
		},
		{
			"no scores",
			map[string]any{"tokenizer.ggml.model": "llama", "tokenizer.ggml.merges": nil},
			nil,
			[]string{"tokenizer.ggml.scores", "0 scores for 4 tokens"},
		},
	} {
		path := ggufFile(t, ggufBytes(ggufKeys(c.change), c.more...))
		if err := readAll(path); err != nil {
			wantError(t, err, append(c.want, path)...)
		} else {
			t.Errorf("%s: accepted", c.name)
		}
	}
	if err := readAll(ggufFile(t, ggufBytes(ggufKeys(nil)))); err != nil {
		t.Errorf("the file that is changed is refused: %v", err)
	}
	keys := ggufKeys(nil)
	w := gguftest.Header(3, 0, uint64(len(keys)))
	for _, k := range sortedKeys(keys) {
		w.Key(k, keys[k])
	}
	wantError(t, readAll(ggufFile(t, w.B)), "token_embd.weight")
}

// readAll reads everything of a model.
func readAll(path string) error {
	cfg, err := ReadConfig(path)
	if err != nil {
		return err
	}
	if _, err := ReadTokenizer(path); err != nil {
		return err
	}
	if _, err := EndTokens(path, cfg); err != nil {
		return err
	}
	w, err := OpenWeights(path)
	if err != nil {
		return err
	}
	return w.Close()
}

// TestGGUFBeside takes the tokenizer from a directory beside the file: one of the file's name always, the file's own
// directory where the metadata have none.
func TestGGUFBeside(t *testing.T) {
	const other = `{"model":{"type":"BPE","vocab":{"x":0},"merges":[]}}`
	path := ggufFile(t, ggufBytes(ggufKeys(nil)))
	write := func(dir, name, text string) {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	from := func(path string) string {
		f, err := ReadTokenizer(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(f.Data)
	}
	write(filepath.Dir(path), tokenizerFile, other)
	if got := from(path); got == other {
		t.Error("the tokenizer of the file's directory was used, though the file has its own")
	}
	if err := os.WriteFile(path, ggufBytes(ggufKeys(map[string]any{"tokenizer.ggml.pre": "other"})),
		0o600); err != nil {
		t.Fatal(err)
	}
	if got := from(path); got != other {
		t.Errorf("the tokenizer of the file's directory was not used: %s", got)
	}
	own := strings.Replace(other, `"x"`, `"y"`, 1)
	write(strings.TrimSuffix(path, ".gguf"), tokenizerFile, own)
	if got := from(path); got != own {
		t.Errorf("the tokenizer of the file's own directory was not used: %s", got)
	}
	// The chat template is the directory's, or the file's.
	config, err := ReadFile(path, tokenizerConfigFile, maxConfigBytes)
	if err != nil || !strings.Contains(string(config), "messages[0].content") {
		t.Errorf("%s, %v", config, err)
	}
	write(strings.TrimSuffix(path, ".gguf"), tokenizerConfigFile, `{"chat_template":"t","eos_token":"y"}`)
	config, err = ReadFile(path, tokenizerConfigFile, maxConfigBytes)
	if err != nil || !strings.Contains(string(config), `"t"`) {
		t.Errorf("%s, %v", config, err)
	}
}

// FuzzGGUFModel makes everything of a file that stands for a model directory.
func FuzzGGUFModel(f *testing.F) {
	f.Add(ggufBytes(ggufKeys(nil)))
	f.Add(ggufBytes(ggufKeys(map[string]any{
		"tokenizer.ggml.model": "llama", "tokenizer.ggml.merges": nil, "tokenizer.ggml.scores": []float64{0, 0, 1, 0},
		"tokenizer.ggml.bos_token_id": 0, "llama.rope.scaling.type": "yarn", "llama.rope.scaling.factor": 4.0,
	}), "blk.0.attn_q.bias"))
	f.Add(ggufBytes(ggufKeys(map[string]any{"general.architecture": "gemma2"}), "rope_freqs.weight"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := parseGGUF("m.gguf", bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return
		}
		if text, err := m.config(); err == nil {
			if _, err := parseConfig(text); err == nil && len(text) == 0 {
				t.Fatal("an empty config")
			}
		}
		if text, err := m.tokenizer(); err == nil {
			if _, err := parseTokenizer(text); err != nil {
				t.Fatalf("a tokenizer that is refused: %v", err)
			}
		}
		for _, make := range []func() ([]byte, error){m.tokenizerConfig, m.generation} {
			if text, err := make(); err == nil {
				if _, err := object(text); err != nil {
					t.Fatalf("%s: %v", text, err)
				}
			}
		}
		m.shard = &shard{path: "m.gguf", mapping: data}
		for _, tensor := range m.Tensors {
			if x, err := m.tensor(tensor); err == nil && x.packed != nil && x.Elements() < 1<<20 {
				x.packed.decode(make([]byte, x.Size()), 0)
			}
		}
	})
}
