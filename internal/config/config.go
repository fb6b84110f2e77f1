// Package config reads the description of a run: one strict structure, filled from
// a YAML file, the environment and --set, checked in full before anything is loaded.
//
// Precedence is --set, then GSMEVAL_* variables, then the file, then the default.
//
//	--set noise.1.scale=0.1          dots lead into sections, numbers into lists
//	GSMEVAL_MODEL__PATH=models/x     two underscores lead into a section or list
//
// A value is YAML (--set 'noise=[{kind: none}]'), except that a key of text takes
// the value as it stands. Relative paths (model.path, dataset.path,
// calibration.data, output) are relative to the current directory, as in any
// command line, and not to the file.
package config

import (
	"github.com/gsmeval/gsmeval/internal/condition"
	"github.com/gsmeval/gsmeval/internal/thought"
	"github.com/gsmeval/gsmeval/noise/alpha"
)

// Config is a run. Every field has its key in the yaml tag.
type Config struct {
	Name string `yaml:"name"` // the file's base name by default
	Seed uint64 `yaml:"seed"`

	Model       Model         `yaml:"model"`
	Dataset     Dataset       `yaml:"dataset"`
	Prompt      Prompt        `yaml:"prompt"`
	Generation  Generation    `yaml:"generation"`
	Noise       []Noise       `yaml:"noise"`       // the grid's first axis
	Fidelity    bool          `yaml:"fidelity"`    // measure how near each condition is to the clean model
	NoiseSeeds  int           `yaml:"noise_seeds"` // second axis: replicates 0 to n - 1
	Samples     int           `yaml:"samples"`     // fourth axis: of each question under each noise seed and temperature
	Temperature []Temperature `yaml:"temperature"` // third axis; the first one is the reference
	Calibration Calibration   `yaml:"calibration"`
	Scoring     Scoring       `yaml:"scoring"`

	Devices     []Device `yaml:"devices"`       // one worker process each; empty for model.device alone
	Output      string   `yaml:"output"`        // run directory, runs/NAME by default
	Threads     int      `yaml:"threads"`       // 0: as many as the machine has cores
	FailOnError bool     `yaml:"fail_on_error"` // stop at the first sample that fails
	Progress    string   `yaml:"progress"`      // auto, bar, plain, json, none
	LogLevel    string   `yaml:"log_level"`     // debug, info, warn, error
}

// Model says which checkpoint is run, and how.
type Model struct {
	Path     string `yaml:"path"`     // a directory, a GGUF file, or a hub id
	Revision string `yaml:"revision"` // of a hub id
	DType    string `yaml:"dtype"`    // compute type: float32, bfloat16, float16
	Device   string `yaml:"device"`   // auto, cpu, cuda, cuda:N
	Linears  string `yaml:"linears"`  // on the CPU: auto or streamed, which are the same
	TF32     bool   `yaml:"tf32"`     // on CUDA: float32 products may use TF32
	Graphs   bool   `yaml:"graphs"`   // on CUDA: decode steps are replayed as CUDA graphs
}

// Dataset says which questions are asked.
type Dataset struct {
	Path        string  `yaml:"path"` // a directory, a file, a glob, or a hub id
	Split       string  `yaml:"split"`
	Config      string  `yaml:"config"`   // of a hub id: main, socratic
	Revision    string  `yaml:"revision"` // of a hub id
	Limit       int     `yaml:"limit"`    // questions at most, 0 for all
	Range       string  `yaml:"range"`    // rows FROM:TO, TO not included, either end may be left out; "" for all
	IDs         []int   `yaml:"ids"`      // row numbers, empty for all
	ShuffleSeed *uint64 `yaml:"shuffle_seed"`
	Columns     Columns `yaml:"columns"` // what rows are made of; "" for the usual names
	Gold        string  `yaml:"gold"`    // where the gold answer stands: auto, hash, bare
}

// Columns are templates of a row's parts, with the names of columns in braces.
type Columns struct {
	Question string `yaml:"question"`
	Answer   string `yaml:"answer"`
	ID       string `yaml:"id"`      // a label
	Cluster  string `yaml:"cluster"` // what belongs together for standard errors and intervals
}

// Prompt says how a question is put to the model.
type Prompt struct {
	Style        string  `yaml:"style"`       // auto, chat, plain
	Instruction  string  `yaml:"instruction"` // with {question} in it
	FewShot      int     `yaml:"few_shot"`    // worked examples from the train split
	FewShotSeed  *uint64 `yaml:"few_shot_seed"`
	FewShotStyle string  `yaml:"few_shot_style"` // text, turns
	System       string  `yaml:"system"`
	Date         Date    `yaml:"date"` // what a chat template is told is today, "" for nothing
}

// Date is a day, YYYY-MM-DD.
type Date string

// Generation says how a completion is sampled.
type Generation struct {
	MaxNewTokens      int       `yaml:"max_new_tokens"`
	BatchSize         BatchSize `yaml:"batch_size"`
	KVCache           bool      `yaml:"kv_cache"`
	TopK              int       `yaml:"top_k"`              // 0: off
	TopP              float64   `yaml:"top_p"`              // 1: off
	MinP              float64   `yaml:"min_p"`              // 0: off
	RepetitionPenalty float64   `yaml:"repetition_penalty"` // 1: off
	Stop              []string  `yaml:"stop"`
}

// BatchSize is a number of sequences, or BatchAuto.
type BatchSize int

// BatchAuto leaves the batch size to a rule of model, memory and token limit. It is
// spelled "auto".
const BatchAuto BatchSize = 0

// MarshalYAML spells BatchAuto as the file does.
func (b BatchSize) MarshalYAML() (any, error) {
	if b == BatchAuto {
		return "auto", nil
	}
	return int(b), nil
}

// Device is an entry of devices: cpu, cuda, cuda:N, or N alone for cuda:N.
type Device string

// Noise is one noise condition.
type Noise = condition.Noise

// Temperature is one temperature condition. What a policy may say of the calibration's theory (form, base, smooth)
// overrides it; loading clears what only repeats it.
type Temperature = condition.Temperature

// Calibration says how alpha is measured and what temperature follows from it.
type Calibration struct {
	Prompts    int      `yaml:"prompts"`
	Positions  int      `yaml:"positions"` // generated tokens
	Draws      int      `yaml:"draws"`     // noise draws for each prompt
	Smooth     string   `yaml:"smooth"`    // none, moving_average, exponential
	Window     int      `yaml:"window"`    // positions in the moving average
	Form       string   `yaml:"form"`      // alpha.Forms
	Base       float64  `yaml:"base"`      // T_base
	Split      string   `yaml:"split"`
	Data       string   `yaml:"data"`        // data set to take prompts from, "" for dataset.path
	PromptList []string `yaml:"prompt_list"` // questions to use instead
}

// Scoring says how answers are read.
type Scoring struct {
	Ladder   string         `yaml:"ladder"`   // seed, robust, math
	K        []int          `yaml:"k"`        // pass@k and maj@k of these; empty for 1, 4, 16, ... up to samples
	Thoughts []thought.Mark `yaml:"thoughts"` // marks of thoughts besides those that are known
}

// defaults is the config of an empty file.
func defaults() *Config {
	return &Config{
		Seed:    42,
		Model:   Model{DType: "float32", Device: "auto", Linears: "auto", Graphs: true},
		Dataset: Dataset{Split: "test", Config: "main", Gold: "auto"},
		Prompt: Prompt{
			Style:        "auto",
			Instruction:  "Solve this math problem step by step:\n{question}",
			FewShotStyle: "text",
		},
		Generation: Generation{
			MaxNewTokens: 512, BatchSize: 32, KVCache: true, TopP: 1, RepetitionPenalty: 1,
		},
		Noise:       []Noise{{Kind: condition.None}},
		NoiseSeeds:  1,
		Samples:     1,
		Temperature: []Temperature{condition.NewTemperature(&condition.Constant{Value: 1})},
		Calibration: Calibration{
			Prompts: 16, Positions: 150, Draws: 3, Smooth: "none", Window: 10, Form: "sqrt", Base: 1, Split: "train",
		},
		Scoring:  Scoring{Ladder: "seed"},
		Progress: "auto",
		LogLevel: "info",
	}
}

// Theory is what temperature follows from alpha, where a policy says nothing else.
func (c Calibration) Theory() condition.Theory {
	return condition.Theory{Form: alpha.Form(c.Form), Base: c.Base, Smooth: alpha.Smoothing(c.Smooth), Window: c.Window}
}

// K is the numbers of samples whose pass@k and maj@k a table has: those of scoring.k, or 1, 4, 16 and so on up to
// samples. There are none where there is one sample of a question.
func (c *Config) K() []int {
	if c.Samples == 1 {
		return nil
	}
	if len(c.Scoring.K) > 0 {
		return c.Scoring.K
	}
	var list []int
	for k := 1; k <= c.Samples; k *= 4 {
		list = append(list, k)
	}
	return list
}

// Under is the noise of an index and the theory of the calibration.
func (c *Config) Under(n int) condition.Under {
	return condition.Under{Index: n, Noise: c.Noise[n], Theory: c.Calibration.Theory()}
}
