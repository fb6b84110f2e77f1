// Package tokenizer turns text into token ids and back, with the Hugging Face tokenizers library.
package tokenizer

import (
	"fmt"
	"strings"

	"github.com/daulet/tokenizers"

	"github.com/gsmeval/gsmeval/decode/checkpoint"
)

// Tokenizer is a loaded tokenizer.json. Its methods may be called from several goroutines.
type Tokenizer struct {
	path    string
	tk      *tokenizers.Tokenizer
	sha     string
	control []string
}

// Load reads the tokenizer.json of a model directory. A file that would end the process is an error, see Trial.
func Load(dir string) (*Tokenizer, error) {
	file, err := checkpoint.ReadTokenizer(dir)
	if err != nil {
		return nil, err
	}
	if err := checkInChild(file); err != nil {
		return nil, err
	}
	tk, err := tokenizers.FromBytes(file.Data)
	if err != nil {
		return nil, fmt.Errorf("loading %s: %w", file.Path, err)
	}
	return &Tokenizer{path: file.Path, tk: tk, sha: file.SHA256, control: file.Control}, nil
}

// SHA256 is the digest of tokenizer.json.
func (t *Tokenizer) SHA256() string { return t.sha }

// Vocab is the number of tokens.
func (t *Tokenizer) Vocab() int { return int(t.tk.VocabSize()) }

// Close frees the tokenizer.
func (t *Tokenizer) Close() error { return t.tk.Close() }

// Encode turns text into ids; addSpecial adds what the tokenizer puts around a plain text, such as a BOS token. Control
// tokens such as <|im_end|> that are spelled out in text become that token, as in transformers: see ControlToken.
func (t *Tokenizer) Encode(text string, addSpecial bool) ([]int, error) {
	if strings.IndexByte(text, 0) >= 0 {
		return nil, fmt.Errorf("a text with a NUL byte cannot be tokenized")
	}
	enc := t.tk.EncodeWithOptions(text, addSpecial)
	if len(enc.IDs) == 0 && text != "" {
		return nil, fmt.Errorf("the tokenizer %s gave no tokens for a text of %d bytes", t.path, len(text))
	}
	ids := make([]int, len(enc.IDs))
	for i, id := range enc.IDs {
		ids[i] = int(id)
	}
	return ids, nil
}

// Decode turns ids into text; skipSpecial leaves control tokens out. Bytes that are not UTF-8 become U+FFFD, so a text
// is decoded whole, never token by token.
func (t *Tokenizer) Decode(ids []int, skipSpecial bool) string {
	if len(ids) == 0 {
		return ""
	}
	u := make([]uint32, len(ids))
	for i, id := range ids {
		u[i] = uint32(id)
	}
	return t.tk.Decode(u, skipSpecial)
}

// ControlToken returns an added token that text spells out, or "". Text from a data set that does so would end or forge
// a turn.
func (t *Tokenizer) ControlToken(text string) string {
	for _, c := range t.control {
		if strings.Contains(text, c) {
			return c
		}
	}
	return ""
}
