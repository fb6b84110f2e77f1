package checkpoint

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"
)

const (
	generationFile      = "generation_config.json"
	tokenizerConfigFile = "tokenizer_config.json"
	specialTokensFile   = "special_tokens_map.json"
	tokenizerFile       = "tokenizer.json"
)

// maxTokenizerBytes bounds tokenizer.json; gemma3's, the largest known, has 33 MB.
const maxTokenizerBytes = 256 << 20

// EndToken is a token that ends a text, and the files that say so.
type EndToken struct {
	ID   int
	From []string // "generation_config.json", "config.json", "tokenizer_config.json"
}

// EndSet is a checkpoint's end tokens, in the order in which they were found.
type EndSet []EndToken

// IDs returns the token ids in order.
func (s EndSet) IDs() []int {
	ids := make([]int, len(s))
	for i, t := range s {
		ids[i] = t.ID
	}
	return ids
}

// Has reports whether id ends a text.
func (s EndSet) Has(id int) bool {
	return slices.ContainsFunc(s, func(t EndToken) bool { return t.ID == id })
}

// String lists the set with its sources, for a report.
func (s EndSet) String() string {
	if len(s) == 0 {
		return "none"
	}
	parts := make([]string, len(s))
	for i, t := range s {
		parts[i] = fmt.Sprintf("%d (%s)", t.ID, strings.Join(t.From, ", "))
	}
	return strings.Join(parts, ", ")
}

func (s EndSet) with(id int, from string) EndSet {
	for i := range s {
		if s[i].ID == id {
			if !slices.Contains(s[i].From, from) {
				s[i].From = append(s[i].From, from)
			}
			return s
		}
	}
	return append(s, EndToken{ID: id, From: []string{from}})
}

// EndTokens returns the union of the end tokens named by generation_config.json and
// config.json (eos_token_id of each) and by the tokenizer (eos_token, resolved to its id
// through tokenizer.json), in this order. Missing files are passed over. An id
// that the model has no embedding for is an error. The set may be empty: then
// only the token limit ends a text.
func EndTokens(dir string, cfg Config) (EndSet, error) {
	var set EndSet
	add := func(ids []int, file string) error {
		for _, id := range ids {
			if id < 0 || id >= cfg.VocabSize {
				return fmt.Errorf("%s: end token %d is beyond the model's vocabulary of %d; the file belongs to another model", PathOf(dir, file), id, cfg.VocabSize)
			}
			set = set.with(id, file)
		}
		return nil
	}
	generation, err := readFields(dir, generationFile)
	if err != nil {
		return nil, err
	}
	ids := generation.tokens("eos_token_id")
	if generation.err != nil {
		return nil, fmt.Errorf("%s: %w", PathOf(dir, generationFile), generation.err)
	}
	if err := add(ids, generationFile); err != nil {
		return nil, err
	}
	if err := add(cfg.EOS, configFile); err != nil {
		return nil, err
	}
	special, err := ReadSpecial(dir)
	if err != nil {
		return nil, err
	}
	if special.EOS == "" {
		return set, nil
	}
	id, err := TokenID(dir, special.EOS)
	if err != nil {
		return nil, fmt.Errorf("finding the end token %s of %s: %w", quote(special.EOS),
			PathOf(dir, tokenizerConfigFile), err)
	}
	if err := add([]int{id}, tokenizerConfigFile); err != nil {
		return nil, err
	}
	return set, nil
}

// Special is what tokenizer_config.json says about the tokens around a text. An
// empty string or nil is a key that is absent or null.
type Special struct {
	BOS, EOS, Pad, Unk string

	// AddBOS and AddEOS say whether encoding a plain text adds the token. nil
	// leaves it to tokenizer.json's post-processor.
	AddBOS, AddEOS *bool

	TokenizerClass string // "Qwen2Tokenizer"
}

// ReadSpecial reads tokenizer_config.json, where a token is a string or an object
// with its content. Tokens it does not name are taken from special_tokens_map.json,
// as older tokenizers have them. Both files may be missing.
func ReadSpecial(dir string) (Special, error) {
	var s Special
	for _, file := range []string{tokenizerConfigFile, specialTokensFile} {
		f, err := readFields(dir, file)
		if err != nil {
			return Special{}, err
		}
		for _, t := range []struct {
			key  string
			into *string
		}{{"bos_token", &s.BOS}, {"eos_token", &s.EOS}, {"pad_token", &s.Pad}, {"unk_token", &s.Unk}} {
			if text := f.special(t.key); *t.into == "" {
				*t.into = text
			}
		}
		if file == tokenizerConfigFile {
			s.AddBOS = f.optionalBoolean("add_bos_token")
			s.AddEOS = f.optionalBoolean("add_eos_token")
			s.TokenizerClass = f.text("tokenizer_class", "")
		}
		if f.err != nil {
			return Special{}, fmt.Errorf("%s: %w", PathOf(dir, file), f.err)
		}
	}
	return s, nil
}

// special reads a token in either of its forms.
func (f *fields) special(key string) string {
	raw, ok := f.get(key)
	if !ok {
		return ""
	}
	if s, ok := asString(raw); ok {
		return s
	}
	sub := f.sub(key)
	if sub == nil {
		f.err = nil
		f.fail(key, "expected a string or an object with its content, found %s", kindOf(raw))
		return ""
	}
	s := sub.text("content", "")
	f.take(sub)
	return s
}

// readFields reads a small JSON object that may be missing.
func readFields(dir, file string) (*fields, error) {
	path := PathOf(dir, file)
	data, err := readFile(dir, file, maxConfigBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return &fields{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the model's files: %w", err)
	}
	values, err := object(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &fields{values: values}, nil
}

// TokenID resolves the text of a special token to its id: through the added tokens
// of tokenizer.json, then its vocabulary, then the added_tokens_decoder of
// tokenizer_config.json.
func TokenID(dir, text string) (int, error) {
	path := PathOf(dir, tokenizerFile)
	data, err := readFile(dir, tokenizerFile, maxTokenizerBytes)
	switch {
	case err == nil:
		id, ok, err := findToken(data, text)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", path, err)
		}
		if ok {
			return id, nil
		}
	case !errors.Is(err, fs.ErrNotExist):
		return 0, fmt.Errorf("reading the tokenizer: %w", err)
	}
	f, err := readFields(dir, tokenizerConfigFile)
	if err != nil {
		return 0, err
	}
	id, ok := f.addedToken(text)
	if f.err != nil {
		return 0, fmt.Errorf("%s: %w", PathOf(dir, tokenizerConfigFile), f.err)
	}
	if !ok {
		return 0, fmt.Errorf("%s has no such token; the files belong to different models", path)
	}
	return id, nil
}

// findToken looks a token up in tokenizer.json. The file is large, so it is only
// split into its top-level values and not walked in full.
func findToken(data []byte, text string) (id int, found bool, err error) {
	var top map[string]json.RawMessage
	if err := json.Unmarshal(data, &top); err != nil {
		return 0, false, fmt.Errorf("not a valid JSON object: %w", err)
	}
	f := &fields{values: top}
	if raw, ok := f.get("added_tokens"); ok {
		items, ok := asList(raw)
		if !ok {
			return 0, false, fmt.Errorf("added_tokens: expected a list, found %s", kindOf(raw))
		}
		for i, item := range items {
			holder := &fields{values: map[string]json.RawMessage{"token": item}, prefix: "added_tokens."}
			token := holder.sub("token")
			if token == nil {
				return 0, false, fmt.Errorf("added_tokens[%d]: expected an object, found %s", i, kindOf(item))
			}
			token.prefix = fmt.Sprintf("added_tokens[%d].", i)
			if token.text("content", "") == text {
				id, found = token.required("id", 0, maxVocab-1), true
			}
			if token.err != nil {
				return 0, false, token.err
			}
		}
	}
	if found {
		return id, true, nil
	}
	model := f.sub("model")
	if f.err != nil {
		return 0, false, f.err
	}
	if model == nil {
		return 0, false, nil
	}
	// A unigram model has a list here, and keeps its special tokens in added_tokens.
	raw, ok := model.get("vocab")
	if !ok || raw[0] != '{' {
		return 0, false, nil
	}
	vocab := model.sub("vocab")
	if vocab == nil || !vocab.present(text) {
		return 0, false, model.err
	}
	id = vocab.required(text, 0, maxVocab-1)
	return id, vocab.err == nil, vocab.err
}

// addedToken looks a token up in added_tokens_decoder, an object keyed by ids.
func (f *fields) addedToken(text string) (int, bool) {
	decoder := f.sub("added_tokens_decoder")
	if decoder == nil {
		return 0, false
	}
	for _, key := range slices.Sorted(maps.Keys(decoder.values)) {
		token := decoder.sub(key)
		if token == nil {
			break
		}
		content := token.text("content", "")
		decoder.take(token)
		if content != text {
			continue
		}
		id, err := strconv.ParseUint(key, 10, 31)
		if err != nil {
			decoder.fail(key, "expected a token id as the key")
			break
		}
		return int(id), true
	}
	f.take(decoder)
	return 0, false
}
