// Package tokenizer turns text into token ids and back, with the Hugging Face tokenizers library.
package tokenizer

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/daulet/tokenizers"
)

// maxFile bounds tokenizer.json; the largest in use are below 35 MB.
const maxFile = 256 << 20

// Tokenizer is a loaded tokenizer.json. Its methods may be called from several goroutines.
type Tokenizer struct {
	path    string
	tk      *tokenizers.Tokenizer
	sha     string
	control []string
}

// Load reads the tokenizer.json of a model directory.
func Load(dir string) (*Tokenizer, error) {
	path := filepath.Join(dir, "tokenizer.json")
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is missing; gsmeval needs the tokenizer in the tokenizers library's format (transformers: tokenizer.save_pretrained with a fast tokenizer)", path)
	} else if err != nil {
		return nil, fmt.Errorf("reading the tokenizer: %w", err)
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("%s has %d bytes, more than the %d that are accepted", path, info.Size(), maxFile)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the tokenizer: %w", err)
	}
	var parts struct {
		Added []struct {
			Content string `json:"content"`
		} `json:"added_tokens"`
		Model json.RawMessage `json:"model"`
	}
	// The library may end the process on a file that is not what it expects, so the outline is checked here.
	if err := json.Unmarshal(data, &parts); err != nil {
		return nil, fmt.Errorf("%s is not a tokenizer: %w; download it again", path, err)
	}
	if len(parts.Model) == 0 {
		return nil, fmt.Errorf("%s is not a tokenizer: it has no \"model\"; download it again", path)
	}
	tk, err := tokenizers.FromBytes(data)
	if err != nil {
		return nil, fmt.Errorf("loading %s: %w", path, err)
	}
	sum := sha256.Sum256(data)
	t := &Tokenizer{path: path, tk: tk, sha: hex.EncodeToString(sum[:])}
	for _, a := range parts.Added {
		if a.Content != "" {
			t.control = append(t.control, a.Content)
		}
	}
	return t, nil
}

// SHA256 is the digest of tokenizer.json.
func (t *Tokenizer) SHA256() string { return t.sha }

// Vocab is the number of tokens.
func (t *Tokenizer) Vocab() int { return int(t.tk.VocabSize()) }

// Close frees the tokenizer.
func (t *Tokenizer) Close() error { return t.tk.Close() }

// Encode turns text into ids; addSpecial adds what the tokenizer puts around a plain text, such as a BOS token.
// Control tokens such as <|im_end|> that are spelled out in text become that token, as in transformers: see ControlToken.
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

// Decode turns ids into text; skipSpecial leaves control tokens out. Bytes that are not UTF-8 become U+FFFD, so a text is
// decoded whole, never token by token.
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

// ControlToken returns an added token that text spells out, or "". Text from a data set that does so would end or forge a turn.
func (t *Tokenizer) ControlToken(text string) string {
	for _, c := range t.control {
		if strings.Contains(text, c) {
			return c
		}
	}
	return ""
}
