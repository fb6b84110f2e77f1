package session

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/gsmeval/gsmeval/datasets"
	"github.com/gsmeval/gsmeval/decode"
	"github.com/gsmeval/gsmeval/decode/chat"
	"github.com/gsmeval/gsmeval/internal/config"
)

// plainPrompt is the notebook's prompt for models without a chat template.
const plainPrompt = "Question: {question}\nLet me solve this step by step:\n"

// Prompt is a question as the model is shown it.
type Prompt struct {
	Text    string
	IDs     []int
	InThink bool // it leaves the model inside a thought, as some reasoning models' templates do
}

// SHA is a short hash of the prompt's text.
func (p Prompt) SHA() string { return ShortSHA(p.Text) }

// ShortSHA is the beginning of a text's SHA-256, as records have it.
func ShortSHA(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:6])
}

// Prompter turns questions into prompts.
type Prompter struct {
	Style string // chat or plain: what auto came to
	text  *decode.Text
	cfg   config.Prompt
	Shots []datasets.Example
}

// NewPrompter settles the style. shots are the worked examples that precede every question.
func NewPrompter(text *decode.Text, cfg config.Prompt, shots []datasets.Example) (*Prompter, error) {
	text, err := text.On(string(cfg.Date))
	if err != nil {
		return nil, fmt.Errorf("prompt.date: %w", err)
	}
	p := &Prompter{Style: cfg.Style, text: text, cfg: cfg, Shots: shots}
	switch {
	case cfg.Style == "auto" && text.Template == nil:
		p.Style = "plain"
	case cfg.Style == "auto":
		p.Style = "chat"
	case cfg.Style == "chat" && text.Template == nil:
		return nil, fmt.Errorf("prompt.style is chat, but %s has no chat template; set prompt.style to plain or auto",
			text.Dir)
	}
	if p.Style == "plain" && cfg.System != "" {
		return nil, errors.New("prompt.system needs a chat template; the plain prompt has no place for it")
	}
	return p, nil
}

// DefaultPrompter is the prompter of a config that says nothing about prompts, in a style.
func DefaultPrompter(text *decode.Text, style string) (*Prompter, error) {
	cfg, err := config.Parse("default", []byte("model: {path: none}\ndataset: {path: none}\n"), config.Options{})
	if err != nil {
		return nil, err
	}
	cfg.Prompt.Style = style
	return NewPrompter(text, cfg.Prompt, nil)
}

// Shows tells whether a question is a worked example.
func (p *Prompter) Shows(question string) bool {
	return slices.ContainsFunc(p.Shots, func(e datasets.Example) bool { return e.Question == question })
}

// Prompt shows the model a question.
func (p *Prompter) Prompt(question string) (Prompt, error) {
	if p.Style == "plain" {
		var b strings.Builder
		for _, s := range p.Shots {
			b.WriteString(fill(plainPrompt, s.Question) + s.Answer + "\n\n")
		}
		b.WriteString(fill(plainPrompt, question))
		ids, err := p.text.Plain(b.String())
		return p.made(b.String(), ids), err
	}
	var messages []chat.Message
	if p.cfg.System != "" {
		messages = append(messages, chat.Message{Role: "system", Content: p.cfg.System})
	}
	user := ""
	for _, s := range p.Shots {
		if p.cfg.FewShotStyle == "turns" {
			messages = append(messages,
				chat.Message{Role: "user", Content: fill(p.cfg.Instruction, s.Question)},
				chat.Message{Role: "assistant", Content: s.Answer})
		} else {
			user += "Question: " + s.Question + "\n" + s.Answer + "\n\n"
		}
	}
	messages = append(messages, chat.Message{Role: "user", Content: user + fill(p.cfg.Instruction, question)})
	text, ids, err := p.text.Chat(messages, true)
	switch {
	case err != nil:
		return Prompt{}, err
	case !strings.Contains(text, strings.TrimSpace(question)):
		return Prompt{}, fmt.Errorf("the chat template does not show the question %.60q: its prompt is %.100q; set prompt.style to plain, or mend the template",
			question, text)
	}
	return p.made(text, ids), nil
}

func (p *Prompter) made(text string, ids []int) Prompt {
	return Prompt{Text: text, IDs: ids, InThink: p.text.InThink(text)}
}

// Describe says in one line what all prompts share, for tables and comparisons.
func (p *Prompter) Describe() string {
	d := p.Style
	if p.Style == "chat" {
		d += " template " + p.text.Template.SHA256()[:12] + " instruction " +
			ShortSHA(p.cfg.Instruction+"\x00"+p.cfg.System)
	}
	if p.Style == "chat" && p.cfg.Date != "" && p.text.Template.UsesClock() {
		d += " date " + string(p.cfg.Date)
	}
	if len(p.Shots) > 0 {
		all := ""
		for _, s := range p.Shots {
			all += s.Question + "\x00" + s.Answer + "\x00"
		}
		d += fmt.Sprintf(" %d-shot %s %s", len(p.Shots), p.cfg.FewShotStyle, ShortSHA(all))
	}
	return d
}

func fill(form, question string) string { return strings.ReplaceAll(form, "{question}", question) }
