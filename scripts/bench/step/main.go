// Command step times the real engine for `make bench`. It loads one model, then reads requests from standard input, a
// JSON object a line, and answers each with a JSON object a line, so that the bench can alternate between engines
// without loading them anew.
//
// No hook in the engine is needed: it asks Options.Ends about every token that it chose, which is a clock of steps.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gsmeval/gsmeval/decode"
	"github.com/gsmeval/gsmeval/internal/condition"
	"github.com/gsmeval/gsmeval/internal/torch"
	"github.com/gsmeval/gsmeval/noise"
	"github.com/gsmeval/gsmeval/noise/philox"
)

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "step:", err)
		os.Exit(1)
	}
}

// request is one measurement.
type request struct {
	Op     string  `json:"op"`     // decode, rate, whole, trace or soak
	Batch  int     `json:"batch"`  // sequences decoded together
	Prompt int     `json:"prompt"` // tokens of each prompt
	Steps  int     `json:"steps"`  // decode steps that are timed
	Warm   int     `json:"warm"`   // decode steps before them
	Noise  float64 `json:"noise"`  // scale of the activation noise; 0 is none
	Greedy bool    `json:"greedy"`
	// whole: how many prompts there are.
	Prompts int `json:"prompts"`
	// soak: how long, and how often memory is read.
	Seconds float64 `json:"seconds"`
	Every   float64 `json:"every"`
}

// timing is the answer to decode and trace.
type timing struct {
	PrefillMS float64   `json:"prefill_ms"` // until the last prompt's first token
	StepMS    []float64 `json:"step_ms"`    // of each timed step
	// trace: milliseconds of each timed step by operation; "sampling" is from the last operation to the last token that
	// was chosen, "rest" is what remains.
	Ops map[string][]float64 `json:"ops,omitempty"`
}

func run(args []string, in io.Reader, out io.Writer) error {
	f := flag.NewFlagSet("step", flag.ContinueOnError)
	dir := f.String("model", "", "model directory")
	dtype := f.String("dtype", "float32", "compute type")
	threads := f.Int("threads", 2, "libtorch's threads")
	device := f.String("device", "cpu", "cpu or cuda:N")
	eager := f.Bool("no-graphs", false, "decode without CUDA graphs")
	if err := f.Parse(args); err != nil {
		return err
	}
	lm, err := decode.Load(*dir, decode.LoadOptions{DType: *dtype, Threads: *threads, Device: *device})
	if err != nil {
		return err
	}
	answers := json.NewEncoder(out)
	if err := answers.Encode(map[string]any{"ready": true, "threads": lm.Worker.Threads()}); err != nil {
		return err
	}
	for lines := bufio.NewScanner(in); lines.Scan(); {
		var q request
		d := json.NewDecoder(strings.NewReader(lines.Text()))
		d.DisallowUnknownFields()
		if err := d.Decode(&q); err != nil {
			return fmt.Errorf("request %s: %w", lines.Text(), err)
		}
		var answer any
		var err error
		switch q.Op {
		case "decode", "trace":
			answer, err = measure(lm, q)
		case "rate":
			answer, err = rate(lm, q, *eager)
		case "whole":
			answer, err = whole(lm, q, *eager)
		case "soak":
			answer, err = soak(lm, q)
		default:
			err = fmt.Errorf("request %q is not decode, rate, whole, trace or soak", q.Op)
		}
		if err != nil {
			return err
		}
		if err := answers.Encode(answer); err != nil {
			return err
		}
	}
	return nil
}

// clock notes when each step ended. It counts the tokens that the engine chooses: once every prompt is in, each step
// chooses one for every sequence, whatever order prompts and steps came in before.
type clock struct {
	mu     sync.Mutex
	batch  int
	handed int // requests that the engine took
	tokens int
	base   int // tokens chosen when the last request was taken
	ticks  []time.Time
	done   func() // called when enough steps ended
	enough int

	lastOp time.Time // trace: the end of the last operation of libtorch
	ops    map[string]time.Duration
	steps  []map[string]time.Duration
}

// token is called for every token, from several goroutines.
func (c *clock) token() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tokens++
	if n := c.tokens - c.base - 1; c.handed < c.batch || n < 0 || n%c.batch != 0 {
		return
	}
	now := time.Now()
	c.ticks = append(c.ticks, now)
	if c.ops != nil {
		c.ops["sampling"] += now.Sub(c.lastOp)
		c.steps = append(c.steps, c.ops)
		c.ops = map[string]time.Duration{}
	}
	if len(c.ticks) > c.enough {
		c.done()
	}
}

func (c *clock) operation(op string, took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ops[op] += took
	c.lastOp = time.Now()
}

// measure decodes q.Batch prompts of equal length together and times the steps after the warm-up.
func measure(lm *decode.LM, q request) (t timing, err error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	c := &clock{batch: q.Batch, done: cancel, enough: q.Warm + q.Steps}
	// Room for the sequences that are ahead because an engine may decode while later prompts come in.
	maxNew := min(q.Warm+q.Steps+q.Batch+8, lm.Config.MaxPositions-q.Prompt)
	e, err := decode.NewEngine(lm.Worker, lm.Model, decode.Options{
		Slots: q.Batch, Capacity: q.Prompt + maxNew,
		Ends: func(int) bool {
			c.token()
			return false
		},
	})
	if err != nil {
		return t, err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	if q.Op == "trace" {
		c.ops = map[string]time.Duration{}
		if err := lm.Worker.Trace(torch.Trace(c.operation)); err != nil {
			return t, err
		}
		defer func() { err = errors.Join(err, lm.Worker.Trace(nil)) }()
	}
	begin := time.Now()
	err = decode.Generate(ctx, e, injector(q), func() (*decode.Request, int, bool) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.handed == q.Batch {
			return nil, 0, false
		}
		c.base = c.tokens
		c.handed++
		return newRequest(lm, q, c.handed, q.Prompt, maxNew), c.handed, true
	}, func(_ int, r decode.Completion) error { return r.Err })
	if err != nil && !errors.Is(err, context.Canceled) {
		return t, err
	}
	if len(c.ticks) <= q.Warm+q.Steps {
		return t, fmt.Errorf("only %d of %d steps were decoded", len(c.ticks), q.Warm+q.Steps)
	}
	t.PrefillMS = ms(c.ticks[0].Sub(begin))
	ticks := c.ticks[q.Warm:]
	for i := range q.Steps {
		t.StepMS = append(t.StepMS, ms(ticks[i+1].Sub(ticks[i])))
	}
	if q.Op == "trace" {
		t.Ops = map[string][]float64{"rest": slices.Clone(t.StepMS)}
		for i := range q.Steps {
			for op, took := range c.steps[q.Warm+i+1] {
				if t.Ops[op] == nil {
					t.Ops[op] = make([]float64, q.Steps)
				}
				t.Ops[op][i] = ms(took)
				t.Ops["rest"][i] -= ms(took)
			}
		}
	}
	return t, nil
}

// rate times whole generations of 1+warm and 1+warm+steps tokens: the mean step is their difference over the steps. It
// needs no clock of tokens, which a device that chooses its own tokens does not have.
func rate(lm *decode.LM, q request, eager bool) (t timing, err error) {
	long := 1 + q.Warm + q.Steps
	e, err := decode.NewEngine(lm.Worker, lm.Model, decode.Options{
		Slots: q.Batch, Capacity: q.Prompt + long,
		Eager: eager,
	})
	if err != nil {
		return t, err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	once := func(maxNew int) (time.Duration, error) {
		handed, begin := 0, time.Now()
		err := decode.Generate(context.Background(), e, injector(q), func() (*decode.Request, int, bool) {
			handed++
			return newRequest(lm, q, handed, q.Prompt, maxNew), handed, handed <= q.Batch
		}, func(_ int, r decode.Completion) error { return r.Err })
		return time.Since(begin), err
	}
	if _, err := once(long); err != nil { // the first time libraries and kernels are loaded
		return t, err
	}
	short, err1 := once(1 + q.Warm)
	whole, err2 := once(long)
	t.PrefillMS, t.StepMS = ms(short), []float64{ms((whole - short) / time.Duration(q.Steps))}
	return t, errors.Join(err1, err2)
}

// corpus is the answer to whole.
type corpus struct {
	Seconds float64 `json:"s"`
	Tokens  int     `json:"tokens"`
}

// whole times what a run decodes: q.Prompts prompts of changing lengths, up to twice and on average about q.Prompt
// tokens, q.Steps new tokens for each. The first time, libraries and kernels are loaded, so two full batches of short
// answers go before.
func whole(lm *decode.LM, q request, eager bool) (c corpus, err error) {
	if q.Prompts < 1 || q.Prompt < 1 {
		return c, fmt.Errorf("request whole: %d prompts of %d tokens", q.Prompts, q.Prompt)
	}
	e, err := decode.NewEngine(lm.Worker, lm.Model, decode.Options{
		Slots: q.Batch, Capacity: 2*q.Prompt + q.Steps,
		Eager: eager,
	})
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	pass := func(prompts, maxNew int) error {
		handed, tokens := 0, 0
		begin := time.Now()
		err := decode.Generate(context.Background(), e, injector(q), func() (*decode.Request, int, bool) {
			handed++
			return newRequest(lm, q, handed, 1+(handed*37)%(2*q.Prompt), maxNew), handed, handed <= prompts
		}, func(_ int, r decode.Completion) error {
			tokens += len(r.IDs)
			return r.Err
		})
		c = corpus{time.Since(begin).Seconds(), tokens}
		return err
	}
	if err := pass(2*q.Batch, min(16, q.Steps)); err != nil {
		return c, err
	}
	err = pass(q.Prompts, q.Steps)
	return c, err
}

func injector(q request) *noise.Injector {
	if q.Noise == 0 {
		return nil
	}
	return noise.NewInjector(condition.Noise{Kind: condition.Activation, Scale: q.Noise}, false)
}

// newRequest is a prompt of n tokens drawn for number i.
func newRequest(lm *decode.LM, q request, i, n, maxNew int) *decode.Request {
	rng := rand.New(rand.NewPCG(42, uint64(i)))
	ids := make([]int, n)
	for p := range ids {
		ids[p] = 3 + rng.IntN(min(lm.Config.VocabSize, 1024)-3) // past the bundled tokenizer's control tokens
	}
	schedule := condition.ConstantT(1)
	if q.Greedy {
		schedule = condition.Greedy()
	}
	return &decode.Request{
		Prompt: ids, MaxNew: maxNew, Schedule: schedule, SampleKey: philox.Key(i),
		Draws: noise.Draws{Inputs: philox.Key(i)},
	}
}

// memory is a reading of the process's memory during a soak.
type memory struct {
	Seconds float64 `json:"s"`
	Tokens  int     `json:"tokens"`
	AnonMB  float64 `json:"anon_mb"`
}

// soak decodes prompts of changing lengths until the time is over and reads the resident anonymous memory as it goes.
func soak(lm *decode.LM, q request) (readings []memory, err error) {
	longest := q.Prompt + q.Steps
	tokens, started := 0, 0
	var mu sync.Mutex
	e, err := decode.NewEngine(lm.Worker, lm.Model, decode.Options{
		Slots: q.Batch, Capacity: longest,
		Ends: func(int) bool {
			mu.Lock()
			tokens++
			mu.Unlock()
			return false
		},
	})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	begin := time.Now()
	var next time.Duration
	err = decode.Generate(context.Background(), e, injector(q), func() (*decode.Request, int, bool) {
		since := time.Since(begin)
		if since.Seconds() >= q.Seconds {
			return nil, 0, false
		}
		started++
		return newRequest(lm, q, started, 1+(started*37)%q.Prompt, 1+(started*53)%q.Steps), started, true
	}, func(_ int, r decode.Completion) error {
		if since := time.Since(begin); since >= next {
			next = since + time.Duration(q.Every*float64(time.Second))
			anon, err := anonymous()
			if err != nil {
				return err
			}
			readings = append(readings, memory{since.Seconds(), tokens, anon})
		}
		return r.Err
	})
	return slices.Clip(readings), err
}

// anonymous is the resident anonymous memory of this process in MB.
func anonymous() (float64, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, fmt.Errorf("resident memory is read from /proc: %w", err)
	}
	_, rest, _ := strings.Cut(string(status), "RssAnon:")
	var kb float64
	if _, err := fmt.Sscan(rest, &kb); err != nil {
		return 0, fmt.Errorf("RssAnon in /proc/self/status: %w", err)
	}
	return kb / 1000, nil
}

// ms is milliseconds to the nearest 100 ns.
func ms(d time.Duration) float64 { return float64(d.Round(100)) / 1e6 }
