package config

import (
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/gsmeval/gsmeval/datasets"
	"github.com/gsmeval/gsmeval/internal/condition"
	"github.com/gsmeval/gsmeval/internal/device"
	"github.com/gsmeval/gsmeval/internal/keys"
	"github.com/gsmeval/gsmeval/internal/thought"
)

// The largest values believed: far above every use, low enough for arithmetic.
const (
	maxCount = 1 << 30
	// maxSamples is what a journal has room for (results.MaxSamples).
	maxSamples = 1 << 16
	maxSeeds   = 1 << 16 // and results.MaxReplicates
	maxTemp    = 1000
)

func validText(s string) bool { return utf8.ValidString(s) }

// bad records a value out of its range.
func (s *source) bad(path, format string, args ...any) {
	s.fail(s.place(path), path, format, args...)
}

// whole checks a whole number.
func (s *source) whole(path string, n, lo, hi int) {
	if n < lo || n > hi {
		s.bad(path, "expected a whole number from %d to %d, found %d", lo, hi, n)
	}
}

// above checks a number that is above lo and at most hi.
func (s *source) above(path string, x, lo, hi float64) {
	if !(x > lo && x <= hi) {
		s.bad(path, "expected a number above %g and at most %g, found %g", lo, hi, x)
	}
}

func (s *source) needed(path, value, what string) {
	if value == "" {
		s.bad(path, "the key is missing; expected %s", what)
	}
}

// line checks text that ends up in file names or on one line of a table.
func (s *source) line(path, value string, most int) {
	if len(value) > most || strings.ContainsFunc(value, unicode.IsControl) {
		s.bad(path, "expected one line of at most %d bytes, found %q", most, shorten(value))
	}
}

// ProgressModes are the values of the key progress.
var ProgressModes = []string{"auto", "bar", "plain", "json", "none"}

func (s *source) validate(c *Config) {
	s.name(c.Name)
	s.needed("model.path", c.Model.Path, "a model directory, a GGUF file or a hub id")
	s.oneOf("model.dtype", c.Model.DType, "float32", "bfloat16", "float16")
	if c.Model.Linears == "packed" || c.Model.Linears == "plain" {
		s.bad("model.linears", "%s is gone: a sample depended on its neighbours there; leave the key out",
			c.Model.Linears)
	} else {
		s.oneOf("model.linears", c.Model.Linears, "auto", "streamed")
	}
	s.device("model.device", c.Model.Device)
	s.devices(c)
	s.dataset(c.Dataset)
	s.prompt(c.Prompt)
	s.generation(c.Generation, thought.New(c.Scoring.Thoughts))
	s.noises(c.Noise)
	s.whole("noise_seeds", c.NoiseSeeds, 1, maxSeeds)
	s.whole("samples", c.Samples, 1, maxSamples)
	s.temperatures(c)
	s.calibration(c.Calibration)
	s.scoring(c.Scoring, c.Samples)
	s.whole("threads", c.Threads, 0, 4096)
	s.oneOf("progress", c.Progress, ProgressModes...)
	s.oneOf("log_level", c.LogLevel, "debug", "info", "warn", "error")
}

// name checks the run's name, which is a directory under runs/.
func (s *source) name(name string) {
	s.line("name", name, 200)
	if name == "" || strings.HasPrefix(name, ".") || strings.ContainsAny(name, `/\`) {
		s.bad("name", "expected a plain name without slashes or a leading dot, found %q", shorten(name))
	}
}

func (s *source) device(path, name string) {
	if _, _, err := device.Parse(name); err != nil {
		s.bad(path, "%v", err)
	}
}

// devices checks the list of devices, and what is of CUDA alone. A GPU stands in it once: two workers would share its
// memory.
func (s *source) devices(c *Config) {
	cpu := c.Model.Device == "cpu" && len(c.Devices) == 0
	seen := map[int]int{}
	for i, d := range c.Devices {
		path := fmt.Sprintf("devices[%d]", i)
		index, auto, err := device.Parse(string(d))
		if err != nil || auto {
			s.bad(path, "expected a GPU's number, cuda:N or cpu, found %q", shorten(string(d)))
			continue
		}
		cpu = cpu || index == device.CPU
		if first, dup := seen[index]; dup && index != device.CPU {
			s.bad(path, "%s is already devices[%d]", device.Name(index), first)
		}
		if (c.Devices[0] == "cpu") != (index == device.CPU) {
			s.bad(path, "CPU and GPUs compute different bits, and cannot share a run; name either")
		}
		seen[index] = i
	}
	if c.Model.TF32 && cpu {
		s.bad("model.tf32", "TF32 is of CUDA, and the device is cpu; remove it or choose another model.device")
	}
}

func (s *source) dataset(d Dataset) {
	s.needed("dataset.path", d.Path, "a directory, a .parquet, .jsonl or .json file, or a hub id")
	s.needed("dataset.split", d.Split, "the name of a split, such as test")
	s.whole("dataset.limit", d.Limit, 0, maxCount)
	s.oneOf("dataset.gold", d.Gold, "auto", "hash", "bare")
	for _, c := range []struct{ key, template string }{
		{"question", d.Columns.Question},
		{"answer", d.Columns.Answer},
		{"id", d.Columns.ID},
		{"cluster", d.Columns.Cluster},
	} {
		if err := datasets.CheckTemplate(c.template); err != nil {
			s.bad("dataset.columns."+c.key, "%v", err)
		}
	}
	if _, _, err := d.Rows(); err != nil {
		s.bad("dataset.range", "%s", err)
	}
	if d.Range != "" && len(d.IDs) > 0 {
		s.bad("dataset.ids", "range and ids are both given; keep one")
	}
	seen := map[int]int{}
	for i, id := range d.IDs {
		path := fmt.Sprintf("dataset.ids[%d]", i)
		s.whole(path, id, 0, maxCount)
		if first, dup := seen[id]; dup {
			s.bad(path, "row %d is already dataset.ids[%d]", id, first)
			continue
		}
		seen[id] = i
	}
}

// Spec is the data set with all of its rows.
func (d Dataset) Spec() datasets.Spec {
	return datasets.Spec{
		Path: d.Path, Split: d.Split, Config: d.Config, Gold: datasets.GoldForm(d.Gold),
		Columns: datasets.Columns{
			Question: d.Columns.Question, Answer: d.Columns.Answer, ID: d.Columns.ID,
			Cluster: d.Columns.Cluster,
		},
	}
}

// Rows returns the first row of Range and the one after its last; to is
// math.MaxInt where the range is open or empty.
func (d Dataset) Rows() (from, to int, err error) {
	if d.Range == "" {
		return 0, math.MaxInt, nil
	}
	a, b, ok := strings.Cut(d.Range, ":")
	from, errFrom := rowNumber(a, 0)
	to, errTo := rowNumber(b, math.MaxInt)
	if !ok || errFrom != nil || errTo != nil || from >= to {
		return 0, 0, fmt.Errorf("expected FROM:TO, row numbers from 0 on, FROM below TO (100:200 are rows 100 to 199), found %q", shorten(d.Range))
	}
	return from, to, nil
}

func rowNumber(s string, def int) (int, error) {
	if s == "" {
		return def, nil
	}
	n, err := strconv.ParseUint(s, 10, 30)
	return int(n), err
}

func (s *source) prompt(p Prompt) {
	s.oneOf("prompt.style", p.Style, "auto", "chat", "plain")
	if !strings.Contains(p.Instruction, "{question}") {
		s.bad("prompt.instruction", "expected text with {question} in it, found %q", shorten(p.Instruction))
	}
	s.whole("prompt.few_shot", p.FewShot, 0, 1000)
	s.oneOf("prompt.few_shot_style", p.FewShotStyle, "text", "turns")
	if p.FewShotStyle == "turns" && p.Style == "plain" {
		s.bad("prompt.few_shot_style", "turns need a chat template, but prompt.style is plain; use text")
	}
	if _, err := time.Parse(time.DateOnly, string(p.Date)); p.Date != "" && err != nil {
		s.bad("prompt.date", "expected a date, YYYY-MM-DD, found %q", shorten(string(p.Date)))
	}
}

func (s *source) scoring(c Scoring, samples int) {
	s.oneOf("scoring.ladder", c.Ladder, "seed", "robust", "math")
	for i, k := range c.K {
		path := fmt.Sprintf("scoring.k[%d]", i)
		if k < 1 || k > samples {
			s.bad(path, "expected a number of samples from 1 to samples, %d here; found %d", samples, k)
		} else if i > 0 && k <= c.K[i-1] {
			s.bad(path, "expected rising numbers, found %d after %d", k, c.K[i-1])
		}
	}
	for i, m := range c.Thoughts {
		for key, text := range map[string]string{"open": m.Open, "close": m.Close} {
			if path := fmt.Sprintf("scoring.thoughts[%d].%s", i, key); strings.TrimSpace(text) == "" {
				s.bad(path, "expected the text that stands there, such as <hm>, found none")
			} else if m.Open == m.Close {
				s.bad(path, "a thought needs two different marks, found %q for both", shorten(text))
				break
			}
		}
	}
}

func (s *source) generation(g Generation, thoughts *thought.Marks) {
	s.whole("generation.max_new_tokens", g.MaxNewTokens, 1, 1<<24)
	s.whole("generation.batch_size", int(g.BatchSize), int(BatchAuto), 65536)
	s.whole("generation.top_k", g.TopK, 0, maxCount)
	s.above("generation.top_p", g.TopP, 0, 1)
	if !(g.MinP >= 0 && g.MinP < 1) {
		s.bad("generation.min_p", "expected a number from 0 to below 1, found %g", g.MinP)
	}
	s.above("generation.repetition_penalty", g.RepetitionPenalty, 0, 100)
	s.report("generation").Texts("stop", g.Stop)
	for i, text := range g.Stop {
		if thoughts.In(text) {
			s.bad(fmt.Sprintf("generation.stop[%d]", i),
				"%q has a mark of a thought, and stop strings act outside of thoughts only", shorten(text))
		}
	}
}

// report is where a mapping of the config tells what is wrong with it.
func (s *source) report(path string) keys.Report {
	at := func(key string) string {
		if key == "" {
			return path
		}
		return join(path, key)
	}
	return keys.Report{
		Bad:   func(key, format string, args ...any) { s.bad(at(key), format, args...) },
		Given: func(key string) bool { return s.places[at(key)] != "" },
	}
}

func (s *source) noises(list []Noise) {
	if len(list) == 0 {
		s.bad("noise", "expected at least one condition; leave the key out for no noise")
	}
	labels := map[string]int{}
	for i, n := range list {
		path := fmt.Sprintf("noise[%d]", i)
		before := len(s.problems)
		n.Check(s.report(path))
		if len(s.problems) > before {
			continue
		}
		n.Normalise()
		if first, dup := labels[n.Label()]; dup {
			s.bad(path, "the same condition as noise[%d], %s; remove one", first, n.Label())
			continue
		}
		labels[n.Label()] = i
	}
}

func (s *source) temperatures(c *Config) {
	if len(c.Temperature) == 0 {
		s.bad("temperature", "expected at least one condition; leave the key out for T = 1")
	}
	labels, before := map[string]int{}, map[string]int{}
	for i, t := range c.Temperature {
		path := fmt.Sprintf("temperature[%d]", i)
		problems := len(s.problems)
		s.line(path+".name", t.Name, 100)
		t.Check(s.report(path), len(c.Noise))
		if t.Twice() && c.Generation.BatchSize == 1 {
			s.bad("generation.batch_size", "policy %s computes every token in two rows; set it to 2 or more", t.Kind)
		}
		if len(s.problems) > problems {
			continue
		}
		t.Normalise(c.Calibration.Theory())
		meaning := t
		meaning.Name = ""
		spelled := fmt.Sprint(tree(reflect.ValueOf(meaning)))
		same, again := before[spelled]
		first, dup := labels[t.Label()]
		switch {
		case again:
			s.bad(path, "the same condition as temperature[%d]; remove one", same)
		case dup:
			s.bad(path+".name", "%q is already the label of temperature[%d]", shorten(t.Label()), first)
		default:
			labels[t.Label()], before[spelled] = i, i
		}
	}
}

func (s *source) calibration(c Calibration) {
	s.whole("calibration.prompts", c.Prompts, 1, 1_000_000)
	s.whole("calibration.positions", c.Positions, 1, 1<<20)
	s.whole("calibration.draws", c.Draws, 1, 1_000_000)
	r := s.report("calibration")
	condition.CheckSmooth(r, "smooth", c.Smooth)
	s.whole("calibration.window", c.Window, 1, 1<<20)
	condition.CheckForm(r, "form", c.Form)
	s.above("calibration.base", c.Base, 0, maxTemp)
	s.needed("calibration.split", c.Split, "the name of a split, such as train")
	s.report("calibration").Texts("prompt_list", c.PromptList)
	if c.Data != "" && len(c.PromptList) > 0 {
		s.bad("calibration.prompt_list", "data and prompt_list are both given; keep one")
	}
}

// normalise gives equal conditions one spelling.
func (c *Config) normalise() {
	for i := range c.Noise {
		c.Noise[i].Normalise()
	}
	for i := range c.Temperature {
		c.Temperature[i].Normalise(c.Calibration.Theory())
	}
}
