package decode

import (
	"context"
	"errors"
	"fmt"

	"github.com/gsmeval/gsmeval/decode/chat"
	"github.com/gsmeval/gsmeval/decode/checkpoint"
	"github.com/gsmeval/gsmeval/decode/model"
	"github.com/gsmeval/gsmeval/decode/tokenizer"
	"github.com/gsmeval/gsmeval/internal/condition"
	"github.com/gsmeval/gsmeval/internal/thought"
	"github.com/gsmeval/gsmeval/internal/torch"
	"github.com/gsmeval/gsmeval/noise"
)

// Text is a model's side of the text: its tokenizer, chat template and end tokens. It needs no weights.
type Text struct {
	Dir       string
	Config    checkpoint.Config
	Tokenizer *tokenizer.Tokenizer
	Template  *chat.Template // nil where there is none
	Ends      checkpoint.EndSet

	thoughts *thought.Marks
	marks    map[int]string // of thoughts, where the tokenizer takes them for control tokens
}

// OpenText reads everything of a model, a directory or a GGUF file, but the weights.
func OpenText(dir string) (*Text, error) {
	if err := checkpoint.CheckModel(dir); err != nil {
		return nil, fmt.Errorf("opening the model: %w", err)
	}
	cfg, err := checkpoint.ReadConfig(dir)
	if err != nil {
		return nil, err
	}
	t := &Text{Dir: dir, Config: cfg}
	if t.Ends, err = checkpoint.EndTokens(dir, cfg); err != nil {
		return nil, err
	}
	if t.Template, err = chat.Load(dir); err != nil && !errors.Is(err, chat.ErrNoTemplate) {
		return nil, err
	}
	if t.Tokenizer, err = tokenizer.Load(dir); err != nil {
		return nil, err
	}
	t.MarkThoughts(thought.Known)
	return t, nil
}

// MarkThoughts says how the model marks its thoughts.
func (t *Text) MarkThoughts(m *thought.Marks) {
	t.thoughts, t.marks = m, map[int]string{}
	for _, mark := range m.Tokens() {
		if ids, err := t.Tokenizer.Encode(mark, false); err == nil && len(ids) == 1 &&
			t.Tokenizer.Decode(ids, true) == "" {
			t.marks[ids[0]] = mark
		}
	}
}

// On is the same side of the text with a chat template that is told the day, YYYY-MM-DD, for today; "" tells it
// nothing.
func (t *Text) On(day string) (*Text, error) {
	if t.Template == nil {
		return t, nil
	}
	template, err := t.Template.On(day)
	if err != nil {
		return nil, err
	}
	dated := *t
	dated.Template = template
	return &dated, nil
}

// Close frees the tokenizer.
func (t *Text) Close() error { return t.Tokenizer.Close() }

// Chat renders messages with the model's template and encodes them; the template writes any BOS token itself.
func (t *Text) Chat(messages []chat.Message, generationPrompt bool) (text string, ids []int, err error) {
	if t.Template == nil {
		return "", nil, fmt.Errorf("%s: %w; use prompt style plain", t.Dir, chat.ErrNoTemplate)
	}
	for _, m := range messages {
		if c := t.Tokenizer.ControlToken(m.Content); c != "" {
			return "", nil,
				fmt.Errorf("the %s message spells out the control token %s, which would end or forge a turn", m.Role, c)
		}
	}
	if text, err = t.Template.Render(messages, generationPrompt); err != nil {
		return "", nil, err
	}
	ids, err = t.Tokenizer.Encode(text, false)
	return text, ids, err
}

// Plain encodes a text as it is, with what the tokenizer puts around texts.
func (t *Text) Plain(text string) ([]int, error) { return t.Tokenizer.Encode(text, true) }

// Completion decodes generated ids without control tokens. The marks of thoughts stay even where they are such
// tokens: the answer is what follows them.
func (t *Text) Completion(ids []int) string {
	text, from := "", 0
	for i, id := range ids {
		if mark, ok := t.marks[id]; ok {
			text += t.Tokenizer.Decode(ids[from:i], true) + mark
			from = i + 1
		}
	}
	return text + t.Tokenizer.Decode(ids[from:], true)
}

// LM is a model that is ready to compute, on a worker of its own.
type LM struct {
	*Text
	Worker  *torch.Worker
	Model   *model.Model
	GPU     *torch.CUDAInfo                      // what computes; nil for the CPU
	Chosen  string                               // where device auto led, in words
	Working func(what string, done, total int64) // if not nil, is told how far probes and continuations are
	Ranges  noise.Ranges                         // of static quantisers, or nil
	weights *checkpoint.Weights
	others  map[string]*checkpoint.Weights // that noise puts in their place, by path
}

// Offer opens the checkpoint of dir, a directory or a GGUF file, for noise that names it by a path. It has to have the
// model's architecture and, if it brings one, its tokenizer.
func (lm *LM) Offer(path, dir string) error {
	if lm.others[path] != nil {
		return nil
	}
	if err := checkpoint.CheckModel(dir); err != nil {
		return fmt.Errorf("opening the checkpoint of a noise: %w", err)
	}
	cfg, err := checkpoint.ReadConfig(dir)
	if err != nil {
		return err
	}
	if other, err := tokenizer.Load(dir); err == nil {
		same := other.SHA256() == lm.Tokenizer.SHA256()
		if err := other.Close(); err != nil {
			return err
		}
		if !same {
			return fmt.Errorf("%s has another tokenizer than the model: its weights are for other tokens", path)
		}
	}
	w, err := checkpoint.OpenWeights(dir)
	if err != nil {
		return err
	}
	if err := lm.Worker.Do(func(*torch.Scope) error { return lm.Model.Offer(path, cfg, w) }); err != nil {
		return errors.Join(err, w.Close())
	}
	if lm.others == nil {
		lm.others = map[string]*checkpoint.Weights{}
	}
	lm.others[path] = w
	return nil
}

// Injector perturbs activations as a noise says, or is nil where it leaves them alone.
func (lm *LM) Injector(n condition.Noise) *noise.Injector {
	return noise.NewInjector(n, false).With(lm.Ranges)
}

// OfferedSHA256 is the digest of the weight files of an offered checkpoint.
func (lm *LM) OfferedSHA256(ctx context.Context, path string) (string, error) {
	return lm.others[path].SHA256(ctx, nil)
}

// LoadOptions say how a model computes.
type LoadOptions struct {
	DType    string // float32, bfloat16, float16
	Device   string // auto, cpu, cuda, cuda:N
	TF32     bool   // on a GPU, let products of float32 use TF32
	Threads  int    // 0: libtorch's choice
	Progress func(done, total int64)
}

var computeTypes = map[string]torch.DType{
	"": torch.Float32, "float32": torch.Float32, "bfloat16": torch.BFloat16, "float16": torch.Float16,
}

// Load opens a model, a directory or a GGUF file, and reads the weights.
func Load(dir string, o LoadOptions) (*LM, error) {
	dt, ok := computeTypes[o.DType]
	if !ok {
		return nil, fmt.Errorf("dtype %q is not float32, bfloat16 or float16", o.DType)
	}
	device, gpu, chosen, err := openDevice(o.Device)
	if err != nil {
		return nil, err
	}
	text, err := OpenText(dir)
	if err != nil {
		return nil, err
	}
	lm := &LM{Text: text, GPU: gpu, Chosen: chosen}
	if lm.weights, err = checkpoint.OpenWeights(dir); err == nil {
		lm.Worker, err = torch.StartOn(o.Threads, device, o.TF32)
	}
	if err == nil {
		err = lm.Worker.Do(func(s *torch.Scope) (err error) {
			lm.Model, err = model.Load(s, text.Config, lm.weights, model.Options{
				DType: dt, Device: device, Progress: o.Progress,
			})
			return err
		})
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("loading %s: %w", dir, err), lm.Close())
	}
	return lm, nil
}

// openDevice finds the device that a name stands for, and what it is if it is a GPU. auto is the first GPU, or the CPU
// where none can be used; chosen says so.
func openDevice(name string) (d torch.Device, gpu *torch.CUDAInfo, chosen string, err error) {
	d, auto, err := torch.ParseDevice(name)
	if err != nil || (d == torch.CPU && !auto) {
		return d, nil, "", err
	}
	n, err := torch.CUDADevices()
	switch {
	case err != nil && auto:
		return torch.CPU, nil, fmt.Sprintf("device auto: computing on the CPU (%v)", err), nil
	case err != nil:
		return d, nil, "", fmt.Errorf("device %s: %w; set model.device to cpu to compute without a GPU", name, err)
	case auto:
		d = 0
	}
	if err := d.Among(n); err != nil {
		return d, nil, "", err
	}
	info, err := torch.CUDADevice(d)
	if err != nil {
		return d, nil, "", fmt.Errorf("device %s: %w", name, err)
	}
	if auto {
		chosen = "device auto: computing on " + info.Name
	}
	return d, &info, chosen, nil
}

// GPU is what the name of a device stands for; nil is the CPU.
func GPU(device string) (*torch.CUDAInfo, error) {
	_, gpu, _, err := openDevice(device)
	return gpu, err
}

// WeightsSHA256 is the digest of the weight files.
func (lm *LM) WeightsSHA256(ctx context.Context) (string, error) { return lm.weights.SHA256(ctx, nil) }

// Close frees everything.
func (lm *LM) Close() error {
	var errs []error
	if lm.Model != nil {
		errs = append(errs, lm.Worker.Do(func(*torch.Scope) error {
			lm.Model.Free()
			return nil
		}))
	}
	if lm.Worker != nil {
		lm.Worker.Close()
	}
	if lm.weights != nil {
		errs = append(errs, lm.weights.Close())
	}
	for _, w := range lm.others {
		errs = append(errs, w.Close())
	}
	return errors.Join(append(errs, lm.Text.Close())...)
}
