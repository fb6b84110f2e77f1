package checkpoint

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"unicode/utf8"
)

// TokenizerFile is a tokenizer.json that has passed the checks that need no tokenizer.
type TokenizerFile struct {
	Path    string
	Data    []byte   // for the tokenizers library, with what transformers switches off switched off
	SHA256  string   // of the file as it is
	Control []string // contents of the added tokens
}

// ReadTokenizer reads the tokenizer.json of a model directory and checks its outline. The file's own truncation and
// padding are taken out, as transformers sets them at each call and by default to none: a prompt must not be cut or
// filled up in silence. BPE dropout, by which a text has other tokens each time, is refused.
func ReadTokenizer(dir string) (TokenizerFile, error) {
	path := PathOf(dir, tokenizerFile)
	data, err := readFile(dir, tokenizerFile, maxTokenizerBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return TokenizerFile{},
			fmt.Errorf("%s is missing; gsmeval needs the tokenizer in the tokenizers library's format (transformers: tokenizer.save_pretrained with a fast tokenizer)", path)
	}
	if err != nil {
		return TokenizerFile{}, fmt.Errorf("reading the tokenizer: %w", err)
	}
	t, err := parseTokenizer(data)
	if err != nil {
		return TokenizerFile{}, fmt.Errorf("%s is not a tokenizer: %w; download it again", path, err)
	}
	t.Path = path
	return t, nil
}

func parseTokenizer(data []byte) (TokenizerFile, error) {
	if !utf8.Valid(data) {
		return TokenizerFile{}, errors.New("not valid UTF-8")
	}
	sum := sha256.Sum256(data)
	t := TokenizerFile{Data: data, SHA256: hex.EncodeToString(sum[:])}
	var top map[string]json.RawMessage
	if err := json.Unmarshal(data, &top); err != nil {
		return t, err
	}
	if raw := top["model"]; len(raw) == 0 || raw[0] != '{' {
		return t, errors.New(`it has no "model"`)
	}
	var model struct {
		Dropout *float64 `json:"dropout"`
	}
	if err := json.Unmarshal(top["model"], &model); err != nil {
		return t, fmt.Errorf("model: %w", err)
	}
	if d := model.Dropout; d != nil && *d != 0 {
		return t, fmt.Errorf("model.dropout is %g, so that a text has other tokens each time; set it to null", *d)
	}
	var added []struct {
		Content string `json:"content"`
	}
	if raw, ok := top["added_tokens"]; ok {
		if err := json.Unmarshal(raw, &added); err != nil {
			return t, fmt.Errorf("added_tokens: %w", err)
		}
	}
	for i, a := range added {
		if a.Content == "" {
			return t, fmt.Errorf("added_tokens[%d] has no content", i)
		}
		t.Control = append(t.Control, a.Content)
	}
	return t, t.switchOff(top, "truncation", "padding")
}

// switchOff writes null over the values of keys that are set.
func (t *TokenizerFile) switchOff(top map[string]json.RawMessage, keys ...string) error {
	changed := false
	for _, k := range keys {
		if raw, ok := top[k]; ok && !isNull(raw) {
			top[k] = json.RawMessage("null")
			changed = true
		}
	}
	if !changed {
		return nil
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(top); err != nil {
		return err
	}
	t.Data = b.Bytes()
	return nil
}
