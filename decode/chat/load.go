package chat

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/gsmeval/gsmeval/decode/chat/jinja"
	"github.com/gsmeval/gsmeval/decode/checkpoint"
)

// maxConfig bounds the JSON files read: real ones list every added token and reach a few megabytes.
const maxConfig = 64 << 20

// ErrNoTemplate is the error of a model that comes without a chat template.
var ErrNoTemplate = errors.New("the tokenizer has no chat template")

// tokenNames are the special tokens transformers passes to templates.
var tokenNames = []string{
	"bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token",
}

// Load reads the chat template and the special tokens of a model, a directory or a GGUF file, as transformers does:
// chat_template.jinja comes before chat_template in tokenizer_config.json, where a list of named templates stands for
// its "default"; tokens missing from tokenizer_config.json are looked up in special_tokens_map.json.
func Load(dir string) (*Template, error) {
	const configFile, templateFile = "tokenizer_config.json", "chat_template.jinja"
	config, err := readObject(dir, configFile)
	if err != nil {
		return nil, err
	}
	special, err := readObject(dir, "special_tokens_map.json")
	if err != nil {
		return nil, err
	}
	tokens, err := readTokens(config, special)
	if err != nil {
		return nil, fmt.Errorf("special tokens in %s: %w", dir, err)
	}
	from := templateFile
	source, err := checkpoint.ReadFile(dir, templateFile, jinja.MaxSource)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		from = configFile
		text, err := configTemplate(config["chat_template"])
		if err != nil {
			return nil, fmt.Errorf("chat template in %s: %w", checkpoint.PathOf(dir, configFile), err)
		}
		source = []byte(text)
	case err != nil:
		return nil, fmt.Errorf("reading chat template: %w", err)
	}
	t, err := Parse(string(source), tokens)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", checkpoint.PathOf(dir, from), err)
	}
	return t, nil
}

// readObject reads a JSON object; nil where there is no such file.
func readObject(dir, name string) (map[string]json.RawMessage, error) {
	data, err := checkpoint.ReadFile(dir, name, maxConfig)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading tokenizer settings: %w", err)
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")), &object); err != nil {
		return nil, fmt.Errorf("reading %s: %w", checkpoint.PathOf(dir, name), err)
	}
	return object, nil
}

// configTemplate decodes chat_template: a string, or a list of named ones.
func configTemplate(raw json.RawMessage) (string, error) {
	if isNull(raw) {
		return "", ErrNoTemplate
	}
	var source string
	if err := json.Unmarshal(raw, &source); err == nil {
		return source, nil
	}
	var named []struct {
		Name     string  `json:"name"`
		Template *string `json:"template"`
	}
	if err := json.Unmarshal(raw, &named); err != nil {
		return "", errors.New("chat_template is neither a string nor a list of {name, template}")
	}
	names := make([]string, len(named))
	for i, n := range named {
		if n.Name == "default" && n.Template != nil {
			return *n.Template, nil
		}
		names[i] = n.Name
	}
	return "", fmt.Errorf("none of the named templates (%s) is called default", strings.Join(names, ", "))
}

func isNull(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }

// readTokens takes each special token from the first object that has it.
func readTokens(objects ...map[string]json.RawMessage) (Tokens, error) {
	tokens := Tokens{}
	for _, name := range tokenNames {
		for _, object := range objects {
			raw := object[name]
			if isNull(raw) {
				continue
			}
			text, err := tokenText(raw)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			tokens[name] = text
			break
		}
	}
	return tokens, nil
}

// tokenText decodes a token: its text, or an object with the text as content.
func tokenText(raw json.RawMessage) (string, error) {
	var text string
	if err := json.Unmarshal(raw, &text); err == nil {
		return text, nil
	}
	var added struct {
		Content *string `json:"content"`
	}
	if err := json.Unmarshal(raw, &added); err != nil || added.Content == nil {
		return "", errors.New("it is neither a string nor an object with a content string")
	}
	return *added.Content, nil
}
