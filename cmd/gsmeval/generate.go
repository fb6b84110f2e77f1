package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/gsmeval/gsmeval/decode"
	"github.com/gsmeval/gsmeval/decode/chat"
	"github.com/gsmeval/gsmeval/decode/chat/jinja"
	"github.com/gsmeval/gsmeval/harness/session"
	"github.com/gsmeval/gsmeval/internal/condition"
	"github.com/gsmeval/gsmeval/internal/config"
	"github.com/gsmeval/gsmeval/internal/files"
	"github.com/gsmeval/gsmeval/internal/keys"
)

func generateCommand(a *app) *cobra.Command {
	o := session.GenerateOptions{}
	var prompt, ids, noise, kind, dtype, device, date string
	var raw, greedy, asJSON, noCache bool
	var temperature, scale, weightScale float64
	c := &cobra.Command{
		Use:   "generate --model DIR --prompt TEXT",
		Short: "Continue one prompt",
		Long: `Generate puts one prompt to a model and prints the continuation: a look at the model, at a noise, at a temperature. The prompt goes
through the model's chat template unless --raw is given; --ids takes token ids as they are. A template that prints today's date needs
one, --date. With --json the ids, the reason for the end
and the log probability of every chosen token (untempered) are printed too.`,
		Example: `  gsmeval generate --model models/gsm-tiny --prompt "Tom has 3 apples and buys 4. How many?" --greedy
  gsmeval generate --model models/gsm-tiny --raw --prompt "Question: 2+2?" --noise-kind activation --noise-scale 0.1 --json
  gsmeval generate --model models/gsm-tiny --ids "1,2,3" --greedy --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case cmd.Flags().Changed("prompt") == cmd.Flags().Changed("ids"):
				return usageError{errors.New("give either --prompt or --ids")}
			case greedy && cmd.Flags().Changed("temperature"):
				return usageError{errors.New("--greedy has no temperature; give one of the two")}
			case !(temperature > 0) || math.IsInf(temperature, 0):
				return usageError{fmt.Errorf("--temperature %v is not above 0; for argmax give --greedy", temperature)}
			case slices.Contains(o.Stop, ""):
				return usageError{errors.New("--stop needs text")}
			case o.MaxNewTokens < 1:
				return usageError{errors.New("--max-new-tokens must be at least 1")}
			}
			if err := checkDate(date, raw || cmd.Flags().Changed("ids")); err != nil {
				return err
			}
			if err := cmp.Or(checkUTF8("--prompt", prompt), checkUTF8("--stop", o.Stop...)); err != nil {
				return usageError{err}
			}
			o.Schedule = condition.ConstantT(temperature)
			if greedy {
				o.Schedule = condition.Greedy()
			}
			o.Recompute = noCache
			var err error
			if o.Noise, err = oneNoise(cmd, noise, kind, scale, weightScale); err != nil {
				return usageError{err}
			}
			byIDs := cmd.Flags().Changed("ids")
			if byIDs {
				if o.PromptIDs, err = parseIDs("--ids", ids); err != nil {
					return err
				}
			}
			lm, err := a.load(cmd.Context(), o.Model, decode.LoadOptions{DType: dtype, Device: device}, o.Noise)
			if err != nil {
				return err
			}
			defer lm.Close() //nolint:errcheck // the process ends here
			if !byIDs {
				text, err := lm.On(date)
				if err != nil {
					return err
				}
				if _, o.PromptIDs, err = promptOf(text, prompt, raw); err != nil {
					return err
				}
			}
			g, err := session.Generate(cmd.Context(), lm, o)
			if err != nil {
				return err
			}
			if asJSON {
				return a.printJSON(g)
			}
			return a.println(g.Text)
		},
	}
	f := c.Flags()
	f.StringVar(&o.Model, "model", "", "model directory, GGUF file, or a hub id (org/name or org/name@revision)")
	f.StringVar(&prompt, "prompt", "", "the user's message, or the whole text with --raw")
	f.StringVar(&ids, "ids", "", "the prompt as token ids, for example \"1,2,3\"")
	f.BoolVar(&raw, "raw", false, "take the prompt as it is, without the chat template")
	dateFlag(c, &date)
	f.BoolVar(&greedy, "greedy", false, "take the most likely token at every step")
	f.Float64Var(&temperature, "temperature", 1, "sampling temperature")
	f.Uint64Var(&o.Seed, "seed", 42, "seed of sampling and noise")
	f.IntVar(&o.MaxNewTokens, "max-new-tokens", 512, "generated tokens at most")
	f.StringArrayVar(&o.Stop, "stop", nil,
		"a string that ends the text (not inside <think>); may be given more than once")
	f.BoolVar(&noCache, "no-kv-cache", false, "compute the whole prefix at every step, under noise of its own")
	noiseFlag(c, &noise)
	noiseFlagsOf(c, &kind, &scale, &weightScale)
	f.StringVar(&dtype, "dtype", "float32", "compute type: float32, bfloat16, float16")
	f.StringVar(&device, "device", "auto", "auto or cpu")
	f.BoolVar(&asJSON, "json", false, "print ids, text and log probabilities as JSON")
	required(c, "model")
	return c
}

// noiseFlag declares the flag of one noise of any kind.
func noiseFlag(c *cobra.Command, text *string) {
	c.Flags().StringVar(text, "noise", "",
		"a noise as `YAML`, as in the list noise of a config: {weights: {kind: int, bits: 4}}")
}

// noisesFlag declares the flag of noises of any kind.
func noisesFlag(c *cobra.Command, list *[]string) {
	c.Flags().StringArrayVar(list, "noise", nil,
		"a noise as `YAML`, as in the list noise of a config and instead of it (repeatable)")
}

// oneNoise is the noise of --noise or of the flags of the short forms.
func oneNoise(cmd *cobra.Command, text, kind string, scale, weightScale float64) (condition.Noise, error) {
	if !cmd.Flags().Changed("noise") {
		return noiseFlags(kind, scale, weightScale)
	}
	for _, f := range []string{"noise-kind", "noise-scale", "noise-weight-scale"} {
		if cmd.Flags().Changed(f) {
			return condition.Noise{}, fmt.Errorf("give either --noise or --%s", f)
		}
	}
	return config.ParseNoise("--noise", text)
}

// noiseFlagsOf declares the flags of one noise.
func noiseFlagsOf(c *cobra.Command, kind *string, scale, weightScale *float64) {
	c.Flags().StringVar(kind, "noise-kind", "none", "none, weight, activation, combined or output")
	c.Flags().Float64Var(scale, "noise-scale", 0, "noise as a multiple of the standard deviation of what is perturbed")
	c.Flags().Float64Var(weightScale, "noise-weight-scale", 0, "under combined: the weights' scale, if it is another")
}

func noiseFlags(kind string, scale, weightScale float64) (condition.Noise, error) {
	n := condition.Noise{Kind: kind}
	switch {
	case math.IsInf(scale, 0) || math.IsInf(weightScale, 0):
		return n, fmt.Errorf("--noise-scale %v is not finite", max(scale, weightScale))
	case kind == condition.None && scale != 0:
		return n, errors.New("--noise-scale without --noise-kind")
	case kind != condition.Combined && weightScale != 0:
		return n, errors.New("--noise-weight-scale is for --noise-kind combined")
	case kind == condition.Combined:
		n.WeightScale, n.ActivationScale = cmp.Or(weightScale, scale), scale
	default:
		n.Scale = scale
	}
	var problems []error
	n.Check(keys.Report{
		Bad: func(key, format string, args ...any) {
			problems = append(problems, fmt.Errorf(key+": "+format, args...))
		},
		Given: func(key string) bool { return strings.HasSuffix(key, "scale") }, // the flags name no operation of a place
	})
	if len(problems) > 0 {
		return n, fmt.Errorf("--noise-kind %s --noise-scale %v: %w", kind, scale, errors.Join(problems...))
	}
	return n, nil
}

// dateFlag declares the day that a chat template is told.
func dateFlag(c *cobra.Command, date *string) {
	c.Flags().StringVar(date, "date", "", "YYYY-MM-DD, today for a chat template that asks; prompt.date of a run")
}

// checkDate checks the day of --date, and that there is a chat template to be told it.
func checkDate(date string, noTemplate bool) error {
	if date == "" {
		return nil
	}
	if _, err := time.Parse(time.DateOnly, date); err != nil {
		return usageError{fmt.Errorf("--date %q is not a day, YYYY-MM-DD", date)}
	}
	if noTemplate {
		return usageError{errors.New("--date is for the chat template, which this prompt does not go through")}
	}
	return nil
}

// checkUTF8 refuses texts that a tokenizer would be shown with other characters in the place of what is none.
func checkUTF8(flag string, texts ...string) error {
	for _, text := range texts {
		if !utf8.ValidString(text) {
			return fmt.Errorf("%s %.40q is not UTF-8", flag, text)
		}
	}
	return nil
}

func promptCommand(a *app) *cobra.Command {
	var model, question, messages, template, bos, eos, style, date string
	var raw, asJSON, noGeneration bool
	c := &cobra.Command{
		Use:   "prompt --model DIR --question TEXT",
		Short: "Show what the model is shown: text and token ids",
		Long: `Prompt renders a question, or a list of messages, as a run would show it to the model, and prints the text, or with --json the token
ids too. With --template it renders a template file without a model. A template that prints today's date needs one, --date.`,
		Example: `  gsmeval prompt --model models/gsm-tiny --question "What is 2+2?"
  gsmeval prompt --model models/gsm-tiny --messages chat.json --json
  gsmeval prompt --template chat_template.jinja --bos "<s>" --eos "</s>" --messages chat.json --date 2026-03-07`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if (model == "") == (template == "") {
				return usageError{errors.New("give either --model or --template")}
			}
			switch {
			case (question == "") == (messages == ""):
				return usageError{errors.New("give either --question or --messages")}
			case !slices.Contains([]string{"auto", "chat", "plain"}, style):
				return usageError{fmt.Errorf("--style %q is not auto, chat or plain", style)}
			case cmd.Flags().Changed("style") && (raw || messages != "" || template != ""):
				return usageError{errors.New("--style takes a --question and a --model")}
			case raw && (messages != "" || template != ""):
				return usageError{errors.New("--raw takes a --question and a --model")}
			case noGeneration && messages == "" && template == "":
				return usageError{errors.New("--no-generation-prompt takes --messages or a --template")}
			case template == "" && (cmd.Flags().Changed("bos") || cmd.Flags().Changed("eos")):
				return usageError{errors.New("--bos and --eos belong to a --template; a model has its own")}
			}
			if err := checkDate(date, raw || style == "plain"); err != nil {
				return err
			}
			if err := checkUTF8("--question", question); err != nil {
				return usageError{err}
			}
			list := []chat.Message{{Role: "user", Content: question}}
			if messages != "" {
				var err error
				if list, err = readMessages(messages); err != nil {
					return err
				}
			}
			var out struct {
				Text string `json:"text"`
				IDs  []int  `json:"ids,omitempty"`
			}
			if template != "" {
				source, err := files.Read(template, jinja.MaxSource)
				if err != nil {
					return fmt.Errorf("reading the template: %w", err)
				}
				t, err := chat.Parse(string(source), chat.Tokens{"bos_token": bos, "eos_token": eos})
				if err != nil {
					return fmt.Errorf("%s: %w", template, err)
				}
				if t, err = t.On(date); err != nil {
					return err
				}
				if out.Text, err = t.Render(list, !noGeneration); err != nil {
					return fmt.Errorf("%s: %w", template, err)
				}
			} else {
				dir, err := a.locate(cmd.Context(), model)
				if err != nil {
					return err
				}
				text, err := decode.OpenText(dir)
				if err != nil {
					return err
				}
				defer text.Close() //nolint:errcheck // the process ends here
				if text, err = text.On(date); err != nil {
					return err
				}
				switch {
				case messages != "":
					out.Text, out.IDs, err = text.Chat(list, !noGeneration)
				case raw:
					out.Text, out.IDs, err = promptOf(text, question, raw)
				default:
					out.Text, out.IDs, err = runPrompt(text, style, question)
				}
				if err != nil {
					return err
				}
			}
			if asJSON {
				return a.printJSON(out)
			}
			if err := a.println(out.Text); err != nil || out.IDs == nil {
				return err
			}
			return a.println(fmt.Sprint(out.IDs))
		},
	}
	f := c.Flags()
	f.StringVar(&model, "model", "", "model directory, GGUF file, or a hub id (org/name or org/name@revision)")
	f.StringVar(&question, "question", "", "a question, put as a run puts it by default")
	f.StringVar(&style, "style", "auto", "chat, plain or auto")
	f.StringVar(&messages, "messages", "", "file with a JSON list of {role, content}")
	f.BoolVar(&noGeneration, "no-generation-prompt", false, "end after the last message")
	f.StringVar(&template, "template", "", "render this chat template, without a model")
	f.StringVar(&bos, "bos", "", "the template's bos_token")
	f.StringVar(&eos, "eos", "", "the template's eos_token")
	dateFlag(c, &date)
	f.BoolVar(&raw, "raw", false, "encode the question as it is")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// runPrompt is a question as a run shows it to the model.
func runPrompt(text *decode.Text, style, question string) (string, []int, error) {
	p, err := session.DefaultPrompter(text, style)
	if err != nil {
		return "", nil, err
	}
	shown, err := p.Prompt(question)
	return shown.Text, shown.IDs, err
}

// maxMessages bounds a file of messages.
const maxMessages = 64 << 20

// readMessages reads a JSON list of messages, each with a role and a content.
func readMessages(path string) ([]chat.Message, error) {
	data, err := files.Read(path, maxMessages)
	if err != nil {
		return nil, fmt.Errorf("reading the messages: %w", err)
	}
	var raw []struct {
		Role    string  `json:"role"`
		Content *string `json:"content"`
	}
	if err := json.Unmarshal(data, &raw); err != nil {
		return nil, fmt.Errorf("%s is not a JSON list of {role, content}: %w", path, err)
	}
	if len(raw) == 0 {
		return nil, fmt.Errorf("%s holds no messages", path)
	}
	list := make([]chat.Message, len(raw))
	for i, m := range raw {
		if m.Role == "" || m.Content == nil {
			return nil, fmt.Errorf("%s: message %d has no role or no content", path, i)
		}
		list[i] = chat.Message{Role: m.Role, Content: *m.Content}
	}
	return list, nil
}

// locate is the directory of a model that is a path or a hub id.
func (a *app) locate(ctx context.Context, model string) (string, error) {
	return session.NewLocator(a.stderr).Model(ctx, model, "")
}

// load loads a model that is a path or a hub id, and the checkpoints that noises put in place of its weights.
func (a *app) load(ctx context.Context, model string, o decode.LoadOptions, noises ...condition.Noise) (*decode.LM,
	error,
) {
	locator := session.NewLocator(a.stderr)
	dir, err := locator.Model(ctx, model, "")
	if err != nil {
		return nil, err
	}
	o.Progress = session.Loading(model, a.stderr)
	lm, err := decode.Load(dir, o)
	if err != nil {
		return nil, err
	}
	for _, n := range lm.Model.Notes {
		_, _ = fmt.Fprintf(a.stderr, "%s: %s\n", model, n)
	}
	lm.Working = session.Working(func(format string, args ...any) {
		_,
			_ = fmt.Fprintf(a.stderr, format+"\n", args...)
	})
	if err := session.OfferCheckpoints(ctx, lm, locator, noises); err != nil {
		return nil, errors.Join(err, lm.Close())
	}
	return lm, nil
}

// promptOf is a one-off prompt: the text as it is, or as the user's message.
func promptOf(t *decode.Text, text string, raw bool) (string, []int, error) {
	if raw || t.Template == nil {
		ids, err := t.Plain(text)
		return text, ids, err
	}
	return t.Chat([]chat.Message{{Role: "user", Content: text}}, true)
}

// parseIDs reads the token ids of a flag.
func parseIDs(flag, list string) ([]int, error) {
	var ids []int
	for _, field := range strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' }) {
		id, err := strconv.Atoi(field)
		if err != nil {
			return nil, usageError{fmt.Errorf("%s: %q is not a token id", flag, field)}
		}
		ids = append(ids, id)
	}
	if len(ids) == 0 {
		return nil, usageError{fmt.Errorf("%s is empty", flag)}
	}
	return ids, nil
}

// required marks flags that must be given.
func required(c *cobra.Command, flags ...string) {
	for _, f := range flags {
		if err := c.MarkFlagRequired(f); err != nil {
			c.Long += "\n" + err.Error() // a flag of that name is missing: a test of the help text shows it
		}
	}
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
