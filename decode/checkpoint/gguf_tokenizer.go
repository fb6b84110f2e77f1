package checkpoint

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/gsmeval/gsmeval/internal/files"
)

// Keys of the metadata that say how a text is cut into tokens.
const (
	ggufModelKey  = "tokenizer.ggml.model"
	ggufPreKey    = "tokenizer.ggml.pre"
	ggufTokensKey = "tokenizer.ggml.tokens"
	ggufTypesKey  = "tokenizer.ggml.token_type"
	ggufMergesKey = "tokenizer.ggml.merges"
	ggufScoresKey = "tokenizer.ggml.scores"
	ggufChatKey   = "tokenizer.chat_template"
)

// The types of tokens in tokenizer.ggml.token_type.
const (
	ggufControl     = 3
	ggufUserDefined = 4
)

// The ways to cut a text before byte pairs are merged in it, as llama.cpp names the patterns of model families.
const (
	splitGPT2   = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
	splitLlama3 = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	splitQwen2  = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	splitTekken = `[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|` +
		`[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|` +
		`\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	splitGPT4o = `[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|` +
		`[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|` +
		`\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`
)

// preTokenizer is how a family of byte-level tokenizers cuts a text.
type preTokenizer struct {
	split        string
	digits       bool // each digit alone, before anything else
	ignoreMerges bool // a piece that is a token is that token, whatever its merges say
	bos          bool // texts begin with the BOS token where the file does not say
}

var preTokenizers = map[string]preTokenizer{
	"gpt-2":            {split: splitGPT2},
	"smollm":           {split: splitGPT2, digits: true},
	"llama3":           {split: splitLlama3, ignoreMerges: true, bos: true},
	"llama-v3":         {split: splitLlama3, ignoreMerges: true, bos: true},
	"llama-bpe":        {split: splitLlama3, ignoreMerges: true, bos: true},
	"dbrx":             {split: splitLlama3},
	"smaug-bpe":        {split: splitLlama3},
	"qwen2":            {split: splitQwen2},
	"deepseek-r1-qwen": {split: splitQwen2},
	"tekken":           {split: splitTekken, ignoreMerges: true, bos: true},
	"gpt-4o":           {split: splitGPT4o},
}

// sentenceKind is how a tokenizer of kind llama (sentencepiece) treats spaces; nothing in the file says it, the
// architecture does.
type sentenceKind int

const (
	sentenceLlama sentenceKind = iota // a space before the text
	sentencePhi3                      // a space before each part of the text between control tokens
	sentenceGemma                     // no space is added
)

// noTokenizer says why no tokenizer can be made from the metadata, nil where one can.
func (m *ggufModel) noTokenizer() error {
	kind, err := m.Meta.Text(ggufModelKey)
	if err != nil {
		return err
	}
	const advice = "put the model's tokenizer.json (and tokenizer_config.json) beside the file"
	switch kind {
	case "":
		return fmt.Errorf("the metadata hold no tokenizer (%s); %s", ggufModelKey, advice)
	case "llama":
		return nil
	case "gpt2":
	default:
		return fmt.Errorf("%s: %s is not supported; supported are gpt2 and llama: %s", ggufModelKey, quote(kind),
			advice)
	}
	pre, err := m.Meta.Text(ggufPreKey)
	if err != nil {
		return err
	}
	if _, ok := preTokenizers[pre]; ok {
		return nil
	}
	found := quote(pre) + " is not supported"
	if pre == "" {
		found = "the key is missing, as in files of before May 2024, and with it how numbers and words are cut"
	}
	return fmt.Errorf("%s: %s; supported are %s: %s", ggufPreKey, found,
		strings.Join(slices.Sorted(maps.Keys(preTokenizers)), ", "), advice)
}

// ggufVocab is the vocabulary of a file.
type ggufVocab struct {
	kind   string
	tokens []string
	ids    map[string]int
	types  []int64 // one for each token, or none
}

func (m *ggufModel) vocab() (*ggufVocab, error) {
	if err := m.noTokenizer(); err != nil {
		return nil, err
	}
	kind, err1 := m.Meta.Text(ggufModelKey)
	tokens, err2 := m.Meta.Texts(ggufTokensKey)
	types, err3 := m.Meta.Ints(ggufTypesKey)
	v := &ggufVocab{kind: kind, tokens: tokens, types: types, ids: make(map[string]int, len(tokens))}
	switch err := errors.Join(err1, err2, err3); {
	case err != nil:
		return nil, err
	case len(tokens) == 0:
		return nil, fmt.Errorf("%s: there are no tokens", ggufTokensKey)
	case len(tokens) > maxVocab:
		return nil, fmt.Errorf("%s: %d tokens are more than %d", ggufTokensKey, len(tokens), maxVocab)
	case types != nil && len(types) != len(tokens):
		return nil, fmt.Errorf("%s: %d types for %d tokens", ggufTypesKey, len(types), len(tokens))
	}
	if v.kind == "llama" && m.arch.sentence == sentenceGemma {
		// Tokens of spaces alone are stored as such, and found in a text whose spaces were replaced.
		v.tokens = slices.Clone(tokens)
		for i, t := range v.tokens {
			if spelled := strings.ReplaceAll(t, " ", "\u2581"); strings.Trim(t, " ") == "" &&
				!slices.Contains(tokens, spelled) {
				v.tokens[i] = spelled
			}
		}
	}
	for i, t := range v.tokens {
		if other, twice := v.ids[t]; twice {
			return nil, fmt.Errorf("%s: tokens %d and %d are the same, %s", ggufTokensKey, other, i, quote(t))
		}
		v.ids[t] = i
	}
	return v, nil
}

// token is the text of a token named by a key of the metadata, "" where the key is absent.
func (m *ggufModel) token(v *ggufVocab, key string) (string, error) {
	id, found, err := m.Meta.Int(key)
	if err != nil || !found {
		return "", err
	}
	if id >= len(v.tokens) {
		return "", fmt.Errorf("%s: token %d is beyond the vocabulary of %d", key, id, len(v.tokens))
	}
	return v.tokens[id], nil
}

// special are the named tokens that tokenizers of Hugging Face have too.
func (m *ggufModel) special(v *ggufVocab) (map[string]string, error) {
	named := map[string]string{}
	for name, key := range map[string]string{
		"bos_token": "bos_token_id", "eos_token": "eos_token_id",
		"unk_token": "unknown_token_id", "pad_token": "padding_token_id",
	} {
		text, err := m.token(v, "tokenizer.ggml."+key)
		if err != nil {
			return nil, err
		}
		if text != "" {
			named[name] = text
		}
	}
	return named, nil
}

// adds tells whether encoding a plain text adds the BOS token, and the EOS token.
func (m *ggufModel) adds(v *ggufVocab) (bos, eos bool, err error) {
	bos, said, err := m.Meta.Bool("tokenizer.ggml.add_bos_token")
	if err != nil {
		return false, false, err
	}
	if !said {
		pre, err := m.Meta.Text(ggufPreKey)
		if err != nil {
			return false, false, err
		}
		bos = v.kind == "llama" || preTokenizers[pre].bos
	}
	eos, _, err = m.Meta.Bool("tokenizer.ggml.add_eos_token")
	return bos, eos, err
}

// tokenizerConfig is what tokenizer_config.json would say.
func (m *ggufModel) tokenizerConfig() ([]byte, error) {
	v, err := m.vocab()
	if err != nil {
		return nil, err
	}
	named, err := m.special(v)
	if err != nil {
		return nil, err
	}
	values := map[string]any{}
	for name, text := range named {
		values[name] = text
	}
	if values["add_bos_token"], values["add_eos_token"], err = m.adds(v); err != nil {
		return nil, err
	}
	if err := m.template(values); err != nil {
		return nil, err
	}
	return json.Marshal(values)
}

// template adds the chat template of the metadata, if there is one.
func (m *ggufModel) template(into map[string]any) error {
	text, err := m.Meta.Text(ggufChatKey)
	if err == nil && text != "" {
		into["chat_template"] = text
	}
	return err
}

// withTemplate is the tokenizer_config.json of the directory beside the file, with the chat template of the metadata
// where that directory has none.
func (m *ggufModel) withTemplate(beside string, data []byte) ([]byte, error) {
	values := map[string]any{}
	if data != nil {
		top, err := object(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Join(beside, tokenizerConfigFile), err)
		}
		for k, raw := range top {
			values[k] = raw
		}
		if raw, ok := top["chat_template"]; ok && !isNull(raw) {
			return data, nil
		}
	}
	if _, err := files.Read(filepath.Join(beside, "chat_template.jinja"), maxConfigBytes); !errors.Is(err,
		fs.ErrNotExist) {
		return json.Marshal(values)
	}
	if err := m.template(values); err != nil {
		return nil, err
	}
	return json.Marshal(values)
}

// ggufEnds are control tokens that end a text or a turn in some family; the metadata name one or two, and chats of some
// models end with another.
var ggufEnds = []string{
	"<|eot_id|>", "<|eom_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<|endoftext|>",
	"<|end_of_text|>",
}

// generation is what generation_config.json would say: the end tokens.
func (m *ggufModel) generation() ([]byte, error) {
	ids := []int{}
	for _, key := range []string{"eos_token_id", "eot_token_id", "eom_token_id"} {
		id, found, err := m.Meta.Int("tokenizer.ggml." + key)
		if err != nil {
			return nil, err
		}
		if found && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	if m.noTokenizer() == nil {
		v, err := m.vocab()
		if err != nil {
			return nil, err
		}
		for _, end := range ggufEnds {
			id, found := v.ids[end]
			if found && v.types != nil && v.types[id] == ggufControl && !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
	}
	return json.Marshal(map[string]any{"eos_token_id": ids})
}

// tokenizer is what tokenizer.json would say: the same ids as transformers gives when it converts the file.
func (m *ggufModel) tokenizer() ([]byte, error) {
	v, err := m.vocab()
	if err != nil {
		return nil, err
	}
	build := m.byteLevel
	if v.kind == "llama" {
		build = m.sentencePiece
	}
	parts, err := build(v)
	if err != nil {
		return nil, err
	}
	added, err := m.added(v)
	if err != nil {
		return nil, err
	}
	post, err := m.postProcessor(v)
	if err != nil {
		return nil, err
	}
	parts.Version, parts.Added, parts.Post = "1.0", added, post
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err = enc.Encode(parts)
	return b.Bytes(), err
}

// tokenizerParts is a tokenizer.json.
type tokenizerParts struct {
	Version    string       `json:"version"`
	Truncation any          `json:"truncation"`
	Padding    any          `json:"padding"`
	Added      []addedToken `json:"added_tokens"`
	Normalizer any          `json:"normalizer"`
	Pre        any          `json:"pre_tokenizer"`
	Post       any          `json:"post_processor"`
	Decoder    any          `json:"decoder"`
	Model      bpe          `json:"model"`
}

type addedToken struct {
	ID         int    `json:"id"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"`
	LStrip     bool   `json:"lstrip"`
	RStrip     bool   `json:"rstrip"`
	Normalized bool   `json:"normalized"`
	Special    bool   `json:"special"`
}

type bpe struct {
	Type         string         `json:"type"`
	Dropout      any            `json:"dropout"`
	Unk          *string        `json:"unk_token"`
	Prefix       *string        `json:"continuing_subword_prefix"`
	Suffix       *string        `json:"end_of_word_suffix"`
	FuseUnk      bool           `json:"fuse_unk"`
	ByteFallback bool           `json:"byte_fallback"`
	IgnoreMerges bool           `json:"ignore_merges"`
	Vocab        map[string]int `json:"vocab"`
	Merges       [][2]string    `json:"merges"`
}

// part is an object of tokenizer.json: a type and its settings.
func part(kind string, settings ...any) map[string]any {
	p := map[string]any{"type": kind}
	for i := 0; i < len(settings); i += 2 {
		p[settings[i].(string)] = settings[i+1] //nolint:forcetypeassert // written below, with literals
	}
	return p
}

func pattern(kind, p string) map[string]string { return map[string]string{kind: p} }

// added are the tokens that are found in a text before anything else: control tokens and those of the user.
func (m *ggufModel) added(v *ggufVocab) ([]addedToken, error) {
	named, err := m.special(v)
	if err != nil {
		return nil, err
	}
	special := map[string]bool{}
	for _, text := range named {
		special[text] = true
	}
	list := []addedToken{}
	for id, text := range v.tokens {
		control := special[text] || v.types != nil && v.types[id] == ggufControl
		if !control && (v.types == nil || v.types[id] != ggufUserDefined) {
			continue
		}
		if text == "" {
			return nil, fmt.Errorf("%s: control token %d has no text", ggufTokensKey, id)
		}
		list = append(list, addedToken{ID: id, Content: text, Special: control})
	}
	return list, nil
}

// postProcessor puts the BOS and EOS tokens around a text where the file says so.
func (m *ggufModel) postProcessor(v *ggufVocab) (any, error) {
	bos, eos, err := m.adds(v)
	if err != nil || !bos && !eos {
		return nil, err
	}
	named, err := m.special(v)
	if err != nil {
		return nil, err
	}
	around := map[string]any{}
	single, pair := []any{}, []any{}
	put := func(name string) error {
		text := named[name]
		if text == "" {
			return fmt.Errorf("tokenizer.ggml.%s_id is missing, and the file says that every text has it", name)
		}
		around[text] = map[string]any{"id": text, "ids": []int{v.ids[text]}, "tokens": []string{text}}
		single = append(single, piece("SpecialToken", text, 0))
		return nil
	}
	if bos {
		if err := put("bos_token"); err != nil {
			return nil, err
		}
	}
	single = append(single, piece("Sequence", "A", 0))
	if eos {
		if err := put("eos_token"); err != nil {
			return nil, err
		}
	}
	pair = append(append(pair, single...), piece("Sequence", "B", 1))
	return part("TemplateProcessing", "single", single, "pair", pair, "special_tokens", around), nil
}

// piece is one piece of a template: a token or a text.
func piece(kind, id string, typeID int) map[string]any {
	return map[string]any{kind: map[string]any{"id": id, "type_id": typeID}}
}

// byteLevel is a tokenizer of kind gpt2.
func (m *ggufModel) byteLevel(v *ggufVocab) (*tokenizerParts, error) {
	pre, err := m.Meta.Text(ggufPreKey)
	if err != nil {
		return nil, err
	}
	merges, err := m.merges(v)
	if err != nil {
		return nil, err
	}
	cut := preTokenizers[pre]
	var steps []any
	if cut.digits {
		steps = append(steps, part("Digits", "individual_digits", true))
	}
	steps = append(steps,
		part("Split", "pattern", pattern("Regex", cut.split), "behavior", "Isolated", "invert", false),
		part("ByteLevel", "add_prefix_space", false, "trim_offsets", true, "use_regex", false))
	none := ""
	return &tokenizerParts{
		Pre:     part("Sequence", "pretokenizers", steps),
		Decoder: part("ByteLevel", "add_prefix_space", true, "trim_offsets", true, "use_regex", true),
		Model: bpe{
			Type: "BPE", Prefix: &none, Suffix: &none, IgnoreMerges: cut.ignoreMerges, Vocab: v.ids,
			Merges: merges,
		},
	}, nil
}

// merges are the merges that the file lists, nil where it lists none.
func (m *ggufModel) merges(v *ggufVocab) ([][2]string, error) {
	lines, err := m.Meta.Texts(ggufMergesKey)
	if err != nil {
		return nil, err
	}
	if lines == nil && v.kind == "gpt2" {
		return nil, fmt.Errorf("%s: the key is missing, and a tokenizer of kind gpt2 needs it", ggufMergesKey)
	}
	var merges [][2]string
	for i, line := range lines {
		left, right, ok := strings.Cut(line, " ")
		if !ok || left == "" || right == "" || strings.Contains(right, " ") {
			return nil, fmt.Errorf("%s: merge %d is %s; expected two pieces with a space between them", ggufMergesKey,
				i, quote(line))
		}
		for _, piece := range []string{left, right, left + right} {
			if _, ok := v.ids[piece]; !ok {
				return nil, fmt.Errorf("%s: merge %d has %s, which is no token", ggufMergesKey, i, quote(piece))
			}
		}
		merges = append(merges, [2]string{left, right})
	}
	return merges, nil
}

// sentencePiece is a tokenizer of kind llama: byte pairs whose merges follow from the scores of the tokens.
func (m *ggufModel) sentencePiece(v *ggufVocab) (*tokenizerParts, error) {
	merges, err := m.merges(v)
	if err == nil && merges == nil {
		merges, err = m.derivedMerges(v)
	}
	if err != nil {
		return nil, err
	}
	named, err := m.special(v)
	if err != nil {
		return nil, err
	}
	spaced, said, err := m.Meta.Bool("tokenizer.ggml.add_space_prefix")
	if err != nil {
		return nil, err
	}
	spaced = spaced || !said
	model := bpe{Type: "BPE", FuseUnk: true, ByteFallback: true, Vocab: v.ids, Merges: merges}
	if unk, ok := named["unk_token"]; ok {
		model.Unk = &unk
	}
	const space = "\u2581"
	spaces := part("Replace", "pattern", pattern("String", " "), "content", space)
	decoders := []any{
		part("Replace", "pattern", pattern("String", space), "content", " "), part("ByteFallback"),
		part("Fuse"),
	}
	t := &tokenizerParts{Model: model}
	switch {
	case m.arch.sentence == sentenceGemma:
		t.Normalizer = spaces
		t.Pre = part("Split", "pattern", pattern("String", " "), "behavior", "MergedWithPrevious", "invert", false)
		spaced = false
	case m.arch.sentence == sentencePhi3 && spaced:
		t.Normalizer = part("Sequence", "normalizers", []any{part("Prepend", "prepend", space), spaces})
	case spaced:
		t.Pre = part("Metaspace", "replacement", space, "prepend_scheme", "first", "split", false)
	default:
		t.Pre = part("Metaspace", "replacement", space, "prepend_scheme", "never", "split", false)
	}
	if spaced {
		decoders = append(decoders, part("Strip", "content", " ", "start", 1, "stop", 0))
	}
	t.Decoder = part("Sequence", "decoders", decoders)
	return t, nil
}

// derivedMerges are the merges that lead to each token from two shorter ones, the best score first. Gemma's scores do
// not follow its merges; the order of its tokens does.
func (m *ggufModel) derivedMerges(v *ggufVocab) ([][2]string, error) {
	scores, err := m.Meta.Floats(ggufScoresKey)
	if err != nil {
		return nil, err
	}
	if m.arch.sentence == sentenceGemma {
		scores = make([]float64, len(v.tokens))
		for i := range scores {
			scores[i] = -float64(i)
		}
	}
	if len(scores) != len(v.tokens) {
		return nil, fmt.Errorf("%s: %d scores for %d tokens", ggufScoresKey, len(scores), len(v.tokens))
	}
	type merge struct {
		left, right string
		score       float64
		first, last int // characters of the two
	}
	var all []merge
	for id, token := range v.tokens {
		own := len(all)
		length, at := utf8.RuneCountInString(token), 0
		if length > maxPiece {
			continue
		}
		for i := range token {
			if i > 0 {
				at++
				left, right := token[:i], token[i:]
				_, known := v.ids[left]
				if _, both := v.ids[right]; known && both {
					all = append(all, merge{left, right, scores[id], at, length - at})
				}
			}
		}
		if len(all) > maxMerges {
			return nil, fmt.Errorf("%s: the tokens can be merged in more than %d ways", ggufTokensKey, maxMerges)
		}
		slices.SortStableFunc(all[own:], func(a, b merge) int {
			return cmp.Or(cmp.Compare(v.ids[a.left], v.ids[b.left]), cmp.Compare(v.ids[a.right], v.ids[b.right]))
		})
	}
	slices.SortStableFunc(all, func(a, b merge) int {
		return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(b.first, a.first), cmp.Compare(b.last, a.last))
	})
	merges := make([][2]string, len(all))
	for i, c := range all {
		merges[i] = [2]string{c.left, c.right}
	}
	return merges, nil
}

// Bounds on the work of derivedMerges: the characters of a token that merges lead to, since a longer one would take the
// square of its length, and the merges. Gemma's tokens have 31 characters at most, and half a million merges.
const (
	maxPiece  = 128
	maxMerges = 1 << 22
)
