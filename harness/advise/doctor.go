// Package advise says what a machine, a model or a config will do before a run: the doctor, the plan of a dry run, and
// how fast each way to compute is.
package advise

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"

	"github.com/gsmeval/gsmeval/decode"
	"github.com/gsmeval/gsmeval/decode/chat"
	"github.com/gsmeval/gsmeval/decode/checkpoint"
	"github.com/gsmeval/gsmeval/decode/model"
	"github.com/gsmeval/gsmeval/decode/tokenizer"
	"github.com/gsmeval/gsmeval/harness/session"
	"github.com/gsmeval/gsmeval/internal/condition"
	"github.com/gsmeval/gsmeval/internal/finish"
	"github.com/gsmeval/gsmeval/internal/torch"
)

// Finding is one line of a doctor's report.
type Finding struct {
	Name  string `json:"name"`
	OK    bool   `json:"ok"`
	Value string `json:"value"`
	Data  any    `json:"data,omitempty"` // the value's numbers, for programs
}

func finding(name, value string, data any, err error) Finding {
	if err != nil {
		return Finding{Name: name, Value: err.Error()}
	}
	return Finding{name, true, value, data}
}

// ExamineMachine reports on what gsmeval runs on.
func ExamineMachine() []Finding {
	isa, err := torch.Processor()
	free, by := session.AvailableMemory(os.DirFS("/"))
	return append([]Finding{
		{"program", true, "gsmeval " + session.Version + ", " + runtime.Version(), nil},
		finding("libtorch", session.LibtorchVersion+", CPU kernels "+isa, nil, err),
		{"cores", true, fmt.Sprint(runtime.NumCPU()), runtime.NumCPU()},
		{"memory", true, fmt.Sprintf("%.1f GiB available (%s)", float64(free)/(1<<30), by), free},
	}, examineGPUs()...)
}

// ExamineModel reports on a model, a directory or a hub id. A part that is broken does not keep the others from being
// looked at; a test generation is made only where all of them are whole and there is room for the weights. A chat
// template is told the date, YYYY-MM-DD or "", for today.
func ExamineModel(ctx context.Context, name, date string, l *session.Locator) []Finding {
	dir, err := l.Model(ctx, name, "")
	if err != nil {
		return []Finding{finding("config", "", nil, err)}
	}
	if err := checkpoint.CheckModel(dir); err != nil {
		return []Finding{finding("config", "", nil, err)}
	}
	x := &examination{dir: dir, date: date}
	x.config()
	x.weights()
	x.text()
	bad := slices.ContainsFunc(x.found, func(f Finding) bool { return !f.OK })
	if bad {
		x.add("generation", "", nil, errors.New("not tried, because of what is wrong above"))
		return x.found
	}
	value, notes, err := trial(ctx, dir, date)
	for _, n := range notes {
		x.add("tensors", n, nil, nil)
	}
	x.add("generation", value, nil, err)
	return x.found
}

// examination collects what is found about one model.
type examination struct {
	dir   string
	date  string
	cfg   *checkpoint.Config // nil where config.json is broken
	found []Finding
}

func (x *examination) add(name, value string, data any, err error) {
	x.found = append(x.found, finding(name, value, data, err))
}

func (x *examination) config() {
	cfg, err := checkpoint.ReadConfig(x.dir)
	if err != nil {
		x.add("config", "", nil, err)
		return
	}
	x.cfg = &cfg
	if !slices.Contains(model.Supported(), cfg.ModelType) {
		err = fmt.Errorf("model_type %q is not supported; supported: %s", cfg.ModelType,
			strings.Join(model.Supported(), ", "))
	}
	positions, key := cfg.Context()
	x.add("architecture",
		fmt.Sprintf("%s: %d layers, hidden %d, %d query and %d key-value heads of %d, vocabulary %d, %d positions (%s)",
			cfg.ModelType, cfg.NumLayers, cfg.HiddenSize, cfg.NumHeads, cfg.NumKVHeads, cfg.HeadDim, cfg.VocabSize,
			positions, key),
		map[string]any{
			"model_type": cfg.ModelType, "layers": cfg.NumLayers, "hidden": cfg.HiddenSize, "heads": cfg.NumHeads,
			"kv_heads": cfg.NumKVHeads,
			"head_dim": cfg.HeadDim, "vocabulary": cfg.VocabSize, "positions": positions, "tied": cfg.TieEmbeddings,
		}, err)
}

func (x *examination) weights() {
	p, err := session.CountParameters(x.dir)
	if err != nil {
		x.add("weights", "", nil, err)
		return
	}
	x.add("weights", fmt.Sprintf("%d parameters in %d tensors, stored as %s; %.1f MB in %s",
		p.Parameters, p.Tensors, strings.Join(p.DTypes, ", "), float64(p.Bytes)/1e6, session.Count(p.Files, "file")), p,
		nil)
	if x.cfg == nil {
		return
	}
	m := defaultMemory(*x.cfg, p.Parameters)
	if !m.Fits() {
		err = errors.New(m.String() +
			"; a smaller generation.batch_size or max_new_tokens needs less cache, dtype bfloat16 halves everything")
	}
	x.add("memory need", m.String(), m, err)
}

// defaultMemory is the need at the defaults of a config, for prompts of 256 tokens.
func defaultMemory(cfg checkpoint.Config, parameters int64) session.Memory {
	const prompt, batch, maxNew = 256, 32, 512
	positions, _ := cfg.Context()
	return session.MemoryNeed(cfg, parameters, "float32", batch, min(prompt+maxNew, positions), os.DirFS("/"))
}

// text examines tokenizer, end tokens and template, each for itself.
func (x *examination) text() {
	tk, err := tokenizer.Load(x.dir)
	if err != nil {
		x.add("tokenizer", "", nil, err)
	} else {
		defer tk.Close() //nolint:errcheck // it was only read
		err = nil
		if x.cfg != nil && tk.Vocab() > x.cfg.VocabSize {
			err = fmt.Errorf("%d tokens, but only %d embeddings; the files belong to different models, or a token was added without its embedding", tk.Vocab(), x.cfg.VocabSize)
		}
		x.add("tokenizer", fmt.Sprintf("%d tokens", tk.Vocab()), tk.Vocab(), err)
	}
	if x.cfg != nil {
		ends, err := checkpoint.EndTokens(x.dir, *x.cfg)
		if err == nil && len(ends) == 0 {
			err = errors.New("none: every text would go on to the token limit; name eos_token_id in generation_config.json")
		}
		x.add("end tokens", ends.String(), ends.IDs(), err)
	}
	template, err := chat.Load(x.dir)
	if err == nil {
		template, err = template.On(x.date)
	}
	switch {
	case errors.Is(err, chat.ErrNoTemplate):
		x.add("chat template", "none; prompts are plain", nil, nil)
		template = nil
	case err != nil:
		x.add("chat template", "", nil, err)
		template = nil
	default:
		rendered, err := sampleChat(template)
		value := fmt.Sprintf("%s (style %s)", template.SHA256()[:12], templateStyle(template.Source()))
		if err == nil && rendered == "" {
			value += "; it prints today's date: a run needs prompt.date"
		}
		x.add("chat template", value,
			map[string]string{
				"sha256": template.SHA256(), "style": templateStyle(template.Source()),
				"sample": rendered,
			}, err)
	}
	if tk != nil {
		value, err := begins(tk, template)
		x.add("begin token", value, nil, err)
	}
}

// sampleChat renders one question; "" is the text of a template that prints the date and was given none.
func sampleChat(t *chat.Template) (string, error) {
	text, err := t.Render([]chat.Message{{Role: "user", Content: "What is 2+2?"}}, true)
	if errors.Is(err, chat.ErrNoDate) {
		return "", nil
	}
	return text, err
}

// templateStyles are the conventions of known families by what their templates write.
var templateStyles = []struct{ mark, name string }{
	{"<|im_start|>", "chatml"},
	{"<|start_header_id|>", "llama-3"},
	{"<\uff5cUser\uff5c>", "deepseek"},
	{"[INST]", "mistral"},
	{"<start_of_turn>", "gemma"},
	{"<|assistant|>", "phi-3"},
	{"<|end|>", "phi-3"},
}

func templateStyle(source string) string {
	for _, s := range templateStyles {
		if strings.Contains(source, s.mark) {
			return s.name
		}
	}
	return "of its own"
}

// begins says which tokens the tokenizer puts around a plain text, and what a chat begins with.
func begins(tk *tokenizer.Tokenizer, t *chat.Template) (string, error) {
	const text = "two"
	bare, err := tk.Encode(text, false)
	if err != nil {
		return "", err
	}
	full, err := tk.Encode(text, true)
	if err != nil {
		return "", err
	}
	value := "none before a plain prompt"
	if n := len(full) - len(bare); n > 0 {
		value = fmt.Sprintf("a plain prompt gets %s (%v)", session.Count(n, "token"), tk.Decode(full, false))
	}
	if t == nil {
		return value, nil
	}
	bos := t.Tokens()["bos_token"]
	rendered, err := sampleChat(t)
	switch {
	case err != nil || rendered == "":
		return value, nil //nolint:nilerr // the template's own finding says so
	case bos != "" && strings.HasPrefix(rendered, bos+bos):
		return "", fmt.Errorf("the chat template writes %s twice", bos)
	case bos != "" && strings.HasPrefix(rendered, bos):
		value += "; the chat template writes " + bos + " itself, and nothing is added to it"
	default:
		value += "; the chat template writes none"
	}
	return value, nil
}

// trial loads the model and generates a few tokens. notes say what was remarkable about the tensors.
func trial(ctx context.Context, dir, date string) (value string, notes []string, err error) {
	lm, err := decode.Load(dir, decode.LoadOptions{})
	if err != nil {
		return "", notes, fmt.Errorf("%w (supported: %s)", err, strings.Join(model.Supported(), ", "))
	}
	defer lm.Close() //nolint:errcheck // freeing memory does not fail
	notes = lm.Model.Notes
	text, err := lm.On(date)
	if err != nil {
		return "", notes, err
	}
	p, err := session.DefaultPrompter(text, "auto")
	if err != nil {
		return "", notes, err
	}
	prompt, err := p.Prompt("What is 2+2?")
	if err != nil {
		return "", notes, err
	}
	g, err := session.Generate(ctx, lm, session.GenerateOptions{
		PromptIDs: prompt.IDs, MaxNewTokens: 8,
		Schedule: condition.Greedy(),
	})
	if err != nil {
		return "", notes, err
	}
	if g.Finish == finish.Nonfinite {
		return "", notes,
			errors.New("the logits are not finite; the weights are damaged, or belong to another config.json")
	}
	return fmt.Sprintf("%q", g.Text), notes, nil
}

// examineGPUs reports on the GPUs of this machine, or says in a line why there is none to use.
func examineGPUs() []Finding {
	n, err := torch.CUDADevices()
	if err != nil {
		return []Finding{{"GPU", true, "none: " + err.Error(), 0}}
	}
	var found []Finding
	for d := range torch.Device(n) {
		info, err := torch.CUDADevice(d)
		found = append(found, finding("GPU "+d.String(), session.DescribeGPU(info), info, err))
	}
	return found
}
