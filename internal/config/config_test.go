package config

import (
	"encoding/json"
	"flag"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the effective configs in testdata")

const least = "model: {path: m}\ndataset: {path: d}\n"

func load(t *testing.T, text string, o Options) (*Config, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "test.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return Load(path, o)
}

func mustLoad(t *testing.T, text string, o Options) *Config {
	t.Helper()
	c, err := load(t, text, o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// sameAgain checks that the effective config loads to itself, as YAML and as JSON.
func sameAgain(t *testing.T, c *Config) {
	t.Helper()
	for _, write := range []func() ([]byte, error){c.YAML, c.JSON} {
		text, err := write()
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse("again.yaml", text, Options{})
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		if diff := cmp.Diff(c, again); diff != "" {
			t.Errorf("loaded again: %s\nfrom\n%s", diff, text)
		}
		if diffs := Diff(c, again); diffs != nil {
			t.Errorf("Diff with itself: %q", diffs)
		}
	}
}

// TestEffective compares effective configs with those in testdata.
func TestEffective(t *testing.T) {
	t.Parallel()
	for name, path := range map[string]string{
		"least": "testdata/least.yaml", "full": "testdata/full.yaml", "dyn_tstar": "../../configs/dyn_tstar.yaml",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := Load(path, Options{})
			if err != nil {
				t.Fatal(err)
			}
			sameAgain(t, c)
			got, err := c.YAML()
			if err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", name+".effective")
			if *update {
				if err := os.WriteFile(golden, got, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestShippedConfigs loads every file in configs/.
func TestShippedConfigs(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob("../../configs/*")
	if err != nil {
		t.Fatal(err)
	}
	if len(paths) < 2 {
		t.Fatalf("configs/ holds %q", paths)
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			t.Parallel()
			if filepath.Ext(path) != ".yaml" {
				t.Fatal("configs/ holds YAML only")
			}
			c, err := Load(path, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if want := strings.TrimSuffix(filepath.Base(path), ".yaml"); c.Name != want {
				t.Errorf("name %s in the file of %s", c.Name, want)
			}
			sameAgain(t, c)
		})
	}
}

// TestStudyConfigsAgree holds the study and its controls together: they are compared noise by noise, and the
// temperatures that study_tune.yaml finds stand in study_tuned.yaml in the order of the noises.
func TestStudyConfigsAgree(t *testing.T) {
	t.Parallel()
	load := func(name string) *Config {
		c, err := Load("../../configs/"+name+".yaml", Options{})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	study := load("study")
	for _, name := range []string{"study_sweep", "study_tune", "study_tuned"} {
		if diff := cmp.Diff(study.Noise, load(name).Noise); diff != "" {
			t.Errorf("the noises of %s:\n%s", name, diff)
		}
	}
	borrowed := load("study_forms").Noise
	for _, temp := range load("study_placebo").Temperature {
		if from, ok := temp.From(); ok {
			borrowed = append(borrowed, from)
		}
	}
	for _, n := range borrowed {
		if !slices.ContainsFunc(study.Noise, func(m Noise) bool { return cmp.Equal(m, n) }) {
			t.Errorf("%s is no noise of the study", n.Label())
		}
	}
	if seed := load("study_tune").Seed; seed == study.Seed {
		t.Errorf("temperatures are tuned on the draws of seed %d, on which they are evaluated", seed)
	}
}

func TestPrecedence(t *testing.T) {
	t.Parallel()
	type env = []string
	for _, tc := range []struct {
		name string
		file string
		opts Options
		get  func(c *Config) any
		want any
	}{
		{"default", "", Options{}, func(c *Config) any { return c.Seed }, uint64(42)},
		{"file", "seed: 1", Options{}, func(c *Config) any { return c.Seed }, uint64(1)},
		{
			"environment over file", "seed: 1",
			Options{Env: env{"GSMEVAL_SEED=2"}},
			func(c *Config) any { return c.Seed },
			uint64(2),
		},
		{
			"set over environment", "seed: 1",
			Options{Set: []string{"seed=3"}, Env: env{"GSMEVAL_SEED=2"}},
			func(c *Config) any { return c.Seed }, uint64(3),
		},
		{
			"later set wins", "",
			Options{Set: []string{"seed=3", "seed=4"}},
			func(c *Config) any { return c.Seed },
			uint64(4),
		},
		{
			"later environment wins", "",
			Options{Env: env{"GSMEVAL_SEED=5", "GSMEVAL_SEED=6"}},
			func(c *Config) any { return c.Seed }, uint64(6),
		},
		{
			"nested environment", "",
			Options{Env: env{"GSMEVAL_MODEL__PATH=other"}},
			func(c *Config) any { return c.Model.Path }, "other",
		},
		{
			"key with an underscore", "",
			Options{Env: env{"GSMEVAL_NOISE_SEEDS=7"}},
			func(c *Config) any { return c.NoiseSeeds }, 7,
		},
		{
			"siblings stay", "generation: {top_k: 5}",
			Options{Set: []string{"generation.top_p=0.5"}},
			func(c *Config) any { return []any{c.Generation.TopK, c.Generation.TopP, c.Generation.MaxNewTokens} },
			[]any{5, 0.5, 512},
		},
		{
			"entry of a list", "noise: [{kind: none}, {kind: weight, scale: 0.5}]",
			Options{Set: []string{"noise.1.scale=0.1"}},
			func(c *Config) any {
				return []any{
					c.Noise[0].Kind,
					c.Noise[1].Kind, c.Noise[1].Scale,
				}
			},
			[]any{"none", "weight", 0.1},
		},
		{
			"entry in brackets", "noise: [{kind: none}, {kind: weight, scale: 0.5}]",
			Options{Set: []string{"noise[1].scale=0.1"}},
			func(c *Config) any { return c.Noise[1].Scale }, 0.1,
		},
		{
			"entry of the default list", "",
			Options{Set: []string{"temperature.0.value=0.5"}},
			func(c *Config) any { return c.Temperature[0].Label() }, "T=0.5",
		},
		{
			"entry by environment", "noise: [{kind: weight, scale: 0.5}]",
			Options{Env: env{"GSMEVAL_NOISE__0__SCALE=0.25"}},
			func(c *Config) any { return c.Noise[0].Scale }, 0.25,
		},
		{
			"list, then its entry", "",
			Options{Env: env{
				"GSMEVAL_NOISE__0__SCALE=0.25",
				"GSMEVAL_NOISE=[{kind: output, scale: 1}]",
			}},
			func(c *Config) any { return c.Noise[0].Label() },
			"output 0.25",
		},
		{
			"whole list", "noise: [{kind: none}, {kind: weight, scale: 0.5}]",
			Options{Set: []string{"noise=[{kind: activation, scale: 0.1}]"}},
			func(c *Config) any { return len(c.Noise) }, 1,
		},
		{
			"list of texts", "",
			Options{Set: []string{"generation.stop=[a, b]", "generation.stop.1=c: d"}},
			func(c *Config) any { return c.Generation.Stop },
			[]string{"a", "c: d"},
		},
		{
			"text that looks like a number", "",
			Options{Set: []string{"name=123"}},
			func(c *Config) any { return c.Name },
			"123",
		},
		{
			"text with a colon", "",
			Options{Set: []string{"prompt.instruction=Q: {question}"}},
			func(c *Config) any { return c.Prompt.Instruction }, "Q: {question}",
		},
		{
			"text in quotes", "",
			Options{Set: []string{`prompt.instruction="Q:\n{question}"`}},
			func(c *Config) any { return c.Prompt.Instruction }, "Q:\n{question}",
		},
		{
			"text with an equals sign", "",
			Options{Set: []string{"model.path=a=b"}},
			func(c *Config) any { return c.Model.Path }, "a=b",
		},
		{
			"date", "prompt: {date: 2024-02-29}",
			Options{},
			func(c *Config) any { return c.Prompt.Date },
			Date("2024-02-29"),
		},
		{
			"date in quotes", "prompt: {date: \"2024-02-29\"}",
			Options{},
			func(c *Config) any { return c.Prompt.Date },
			Date("2024-02-29"),
		},
		{
			"date by --set", "prompt: {date: 2023-01-01}",
			Options{Set: []string{"prompt.date=2024-02-29"}},
			func(c *Config) any { return c.Prompt.Date }, Date("2024-02-29"),
		},
		{
			"date by variable", "",
			Options{Env: []string{"GSMEVAL_PROMPT__DATE=2024-02-29"}},
			func(c *Config) any { return c.Prompt.Date }, Date("2024-02-29"),
		},
		{
			"no date", "prompt: {date: 2023-01-01}",
			Options{Set: []string{"prompt.date="}},
			func(c *Config) any { return c.Prompt.Date }, Date(""),
		},
		{
			"empty text", "prompt: {system: x}",
			Options{Set: []string{"prompt.system="}},
			func(c *Config) any { return c.Prompt.System }, "",
		},
		{
			"null limit", "dataset: {path: d, limit: 5}",
			Options{Set: []string{"dataset.limit=null"}},
			func(c *Config) any { return c.Dataset.Limit }, 0,
		},
		{
			"null limit in the file", "dataset: {path: d, limit: null}",
			Options{},
			func(c *Config) any { return c.Dataset.Limit }, 0,
		},
		{
			"null seed", "dataset: {path: d, shuffle_seed: 5}",
			Options{Set: []string{"dataset.shuffle_seed=null"}},
			func(c *Config) any { return c.Dataset.ShuffleSeed == nil }, true,
		},
		{
			"seed zero is a seed", "dataset: {path: d, shuffle_seed: 0}",
			Options{},
			func(c *Config) any { return *c.Dataset.ShuffleSeed }, uint64(0),
		},
		{
			"auto over a number", "generation: {batch_size: 8}",
			Options{Set: []string{"generation.batch_size=auto"}},
			func(c *Config) any { return c.Generation.BatchSize }, BatchAuto,
		},
		{
			"number over auto", "generation: {batch_size: auto}",
			Options{Env: env{"GSMEVAL_GENERATION__BATCH_SIZE=8"}},
			func(c *Config) any { return c.Generation.BatchSize }, BatchSize(8),
		},
		{"byte order mark", "seed: 1", Options{}, func(c *Config) any { return c.Seed }, uint64(1)},
		{
			"false over true", "",
			Options{Set: []string{"generation.kv_cache=false"}},
			func(c *Config) any { return c.Generation.KVCache }, false,
		},
		{
			"whole number for a number", "",
			Options{Set: []string{"calibration.base=2"}},
			func(c *Config) any { return c.Calibration.Base }, 2.0,
		},
		{
			"other variables", "",
			Options{Env: env{
				"HOME=/x", "GSMEVAL_SHARED=/x", "GSMEVAL_CUDA_KERNELS=0",
				"GSMEVAL_CPU_KERNELS=avx2", "GSMEVAL_TEST_KILLS=50", "NOVALUE",
			}},
			func(c *Config) any { return c.Name },
			"test",
		},
		{
			"output follows name", "",
			Options{Set: []string{"name=other"}},
			func(c *Config) any { return c.Output },
			"runs/other",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			text := least
			if strings.HasPrefix(tc.file, "dataset") {
				text = "model: {path: m}\n"
			}
			if tc.name == "byte order mark" {
				text = "\ufeff" + text
			}
			c := mustLoad(t, text+tc.file, tc.opts)
			if diff := cmp.Diff(tc.want, tc.get(c)); diff != "" {
				t.Error(diff)
			}
			sameAgain(t, c)
		})
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	set := func(s ...string) Options { return Options{Set: s} }
	env := func(s ...string) Options { return Options{Env: s} }
	for _, tc := range []struct {
		name string
		text string // after least, or alone where it begins with a bar
		opts Options
		want []string
	}{
		{"empty", "|", Options{}, []string{"test.yaml", "empty", "model.path"}},
		{"comments alone", "|# nothing\n", Options{}, []string{"test.yaml"}},
		{"null", "|null", Options{}, []string{"test.yaml:1", "expected a mapping", "found nothing"}},
		{"a list", "|- a", Options{}, []string{"test.yaml:1", "expected a mapping", "found a list"}},
		{"not YAML", "a: b: c", Options{}, []string{"test.yaml", "not valid YAML", "line 3"}},
		{"not UTF-8", "name: \"\xff\"", Options{}, []string{"test.yaml", "UTF-8"}},
		{"tabs", "model:\n\tpath: x", Options{}, []string{"test.yaml", "not valid YAML"}},
		{"two documents", "---\nname: x", Options{}, []string{"test.yaml", "second document"}},
		{"no model", "|dataset: {path: d}", Options{}, []string{"test.yaml", "model.path", "missing", "hub id"}},
		{"no data set", "|model: {path: m}", Options{}, []string{"test.yaml", "dataset.path", "missing"}},
		{
			"empty model path", "|model: {path: ''}\ndataset: {path: d}",
			Options{},
			[]string{"test.yaml:1", "model.path"},
		},
		{"unknown key", "sed: 1", Options{}, []string{"test.yaml:3", "sed: unknown key", "did you mean seed?"}},
		{
			"swapped letters", "generation: {tok_p: 1}",
			Options{},
			[]string{"generation.tok_p: unknown key", "did you mean generation.top_p?"},
		},
		{
			"in a list", "noise: [{kind: weight, scal: 1}]",
			Options{},
			[]string{"noise[0].scal", "did you mean noise[0].scale?"},
		},
		{
			"in the wrong place", "max_new_tokens: 5",
			Options{},
			[]string{"max_new_tokens: unknown key", "did you mean generation.max_new_tokens?"},
		},
		{"nothing near", "xyzzy: 5", Options{}, []string{"xyzzy: unknown key", "known keys here are name, seed"}},
		{
			"nothing near in a section", "scoring: {xyzzy: 5}",
			Options{},
			[]string{"scoring.xyzzy", "known keys in scoring are ladder"},
		},
		{"capital letter", "Noise: []", Options{}, []string{
			"test.yaml:3", "Noise: unknown key",
			"did you mean noise? Keys are in lower case",
		}},
		{
			"capital letters inside", "generation: {TOP_P: 1}",
			Options{},
			[]string{"generation.TOP_P", "generation.top_p?"},
		},
		{"viper's delimiter", "\"generation::top_p\": 1", Options{}, []string{"generation::top_p: unknown key"}},
		{"dotted key", "generation.top_p: 1", Options{}, []string{"generation.top_p: unknown key"}},
		{"duplicate", "seed: 1\nseed: 2", Options{}, []string{"test.yaml:4", "seed", "twice", "line 3"}},
		{"duplicate inside", "generation: {top_k: 1, top_k: 1}", Options{}, []string{"generation.top_k", "twice"}},
		{
			"duplicate by case", "noise: [{kind: none}]\nNOISE: [{kind: none}]",
			Options{},
			[]string{"NOISE: unknown key"},
		},
		{"anchor", "name: &a x\noutput: *a", Options{}, []string{"name", "anchors"}},
		{"merge key", "prompt: {<<: {style: chat}}", Options{}, []string{"prompt", "<<"}},
		{"tag", "seed: !!int \"5\"", Options{}, []string{"seed", "tag"}},
		{"key no scalar", "? [a]\n: 1", Options{}, []string{"plain key", "a list"}},
		{"text for a number", "seed: \"5\"", Options{}, []string{
			"test.yaml:3",
			"seed: expected a whole number from 0 on", `the text "5"`,
		}},
		{
			"float for a whole number", "noise_seeds: 1.5",
			Options{},
			[]string{"noise_seeds: expected a whole number", "1.5"},
		},
		{
			"float without fraction", "noise_seeds: 1.0",
			Options{},
			[]string{"noise_seeds: expected a whole number", "1.0"},
		},
		{"negative seed", "seed: -1", Options{}, []string{"seed", "from 0 on", "-1"}},
		{"seed of 65 bits", "seed: 18446744073709551616", Options{}, []string{"seed", "18446744073709551616"}},
		{"huge whole number", "threads: 99999999999999999999", Options{}, []string{"threads", "99999999999999999999"}},
		{"number for text", "name: 5", Options{}, []string{"name: expected text, found 5; put it in quotes"}},
		{
			"date for text", "name: 2024-01-01",
			Options{},
			[]string{"name: expected text, found 2024-01-01; put it in quotes"},
		},
		{
			"no such day", "prompt: {date: 2023-02-29}",
			Options{},
			[]string{"test.yaml:3", "prompt.date: expected a date, YYYY-MM-DD", "2023-02-29"},
		},
		{
			"date with a time", "prompt: {date: 2023-02-28 10:00:00}",
			Options{},
			[]string{"prompt.date: expected a date, YYYY-MM-DD", "2023-02-28 10:00:00"},
		},
		{
			"day before month", "prompt: {date: 28.2.2023}",
			Options{},
			[]string{"prompt.date: expected a date, YYYY-MM-DD", "28.2.2023"},
		},
		{
			"year for a date", "prompt: {date: 2023}",
			Options{},
			[]string{"prompt.date: expected a date, YYYY-MM-DD, found 2023"},
		},
		{"truth for text", "name: true", Options{}, []string{"name: expected text, found true"}},
		{"word for truth", "fail_on_error: yes", Options{}, []string{"fail_on_error: expected true or false", "yes"}},
		{"number for truth", "fail_on_error: 1", Options{}, []string{"fail_on_error", "true or false"}},
		{
			"text for a float", "calibration: {base: \"1\"}",
			Options{},
			[]string{"calibration.base: expected a finite number"},
		},
		{"infinity", "calibration: {base: .inf}", Options{}, []string{
			"calibration.base: expected a finite number",
			".inf",
		}},
		{
			"not a number", "noise: [{kind: weight, scale: .nan}]",
			Options{},
			[]string{"noise[0].scale: expected a finite number", ".nan"},
		},
		{"NUL in text", "name: \"a\\0b\"", Options{}, []string{"name", "text"}},
		{
			"from without a kind", "temperature: [{policy: dynamic_tstar, from: {scale: 0.2}}]",
			Options{},
			[]string{"temperature[0].from.kind: the key is missing"},
		},
		{
			"from nothing", "temperature: [{policy: dynamic_tstar, from: {}}]",
			Options{},
			[]string{"temperature[0].from.kind: the key is missing"},
		},
		{
			"from no noise", "temperature: [{policy: dynamic_tstar, from: {kind: none}}]",
			Options{},
			[]string{"temperature[0].from.kind", "no calibration without noise"},
		},
		{
			"from without a scale", "temperature: [{policy: dynamic_tstar, from: {kind: weight}}]",
			Options{},
			[]string{"temperature[0].from.scale: the key is missing"},
		},
		{
			"from by its label", "temperature: [{policy: dynamic_tstar, from: activation 0.2}]",
			Options{},
			[]string{"temperature[0].from: expected a mapping with the keys kind, scale", `the text "activation 0.2"`},
		},
		{
			"from of a constant", "temperature: [{policy: constant, value: 1, from: {kind: weight, scale: 1}}]",
			Options{},
			[]string{"temperature[0].from: only constant_tstar and dynamic_tstar have this key", "constant"},
		},
		{
			"from twice",
			"temperature: [{policy: dynamic_tstar, from: {kind: weight, scale: 1}}, {policy: dynamic_tstar, from: {kind: weight, scale: 1.0, per: tensor}}]",
			Options{},
			[]string{"temperature[1]", "same condition as temperature[0]"},
		},
		{
			"values and value", "temperature: [{policy: constant, value: 1, values: [1]}]",
			Options{},
			[]string{"temperature[0].values: value and values are both given"},
		},
		{
			"too few values",
			"temperature: [{policy: constant, values: [1]}]\nnoise: [{kind: none}, {kind: weight, scale: 1}]",
			Options{},
			[]string{
				"temperature[0].values: expected a temperature for each noise, 2 in the order",
				"found 1",
			},
		},
		{
			"no values", "temperature: [{policy: constant, values: []}]",
			Options{},
			[]string{"temperature[0].values: expected a temperature for each noise, 1 in the order", "found 0"},
		},
		{
			"a value of 0", "temperature: [{policy: constant, values: [0]}]",
			Options{},
			[]string{"temperature[0].values[0]: expected a number above 0"},
		},
		{
			"values of no number", "temperature: [{policy: constant, values: [hot]}]",
			Options{},
			[]string{"temperature[0].values[0]: expected a finite number", "hot"},
		},
		{
			"two rows in a batch of one", "generation: {batch_size: 1}\ntemperature: [{policy: average}]",
			Options{},
			[]string{"generation.batch_size: policy average computes every token in two rows"},
		},
		{
			"low of reset", "temperature: [{policy: reset}]",
			Options{},
			[]string{"temperature[0].low: the key is missing; policy reset needs a number above 0"},
		},
		{
			"ranges without temperatures", "temperature: [{policy: entropy, upto: [1]}]",
			Options{},
			[]string{"temperature[0].values"},
		},
		{
			"values of greedy", "temperature: [{policy: greedy, values: [1]}]",
			Options{},
			[]string{"temperature[0].values: only constant and entropy have this key, and this is greedy"},
		},
		{"null for text", "name:", Options{}, []string{"name: expected text, found nothing"}},
		{"null for a section", "generation:", Options{}, []string{"generation: expected a mapping", "found nothing"}},
		{"text for a section", "generation: fast", Options{}, []string{"generation: expected a mapping", "fast"}},
		{
			"mapping for a list", "noise: {kind: none}",
			Options{},
			[]string{"noise: expected a list of mappings, found a mapping"},
		},
		{"text for an entry", "noise: [none]", Options{}, []string{"noise[0]: expected a mapping", "none"}},
		{
			"number in a list of texts", "generation: {stop: [1]}",
			Options{},
			[]string{"generation.stop[0]: expected text"},
		},
		{"text in a list of numbers", "dataset: {path: d, ids: [a]}", Options{}, []string{"dataset", "twice"}},
		{
			"batch size zero", "generation: {batch_size: 0}",
			Options{},
			[]string{"generation.batch_size", "from 1 on", "auto", "found 0"},
		},
		{
			"batch size a word", "generation: {batch_size: big}",
			Options{},
			[]string{"generation.batch_size", "auto", "big"},
		},
		{"batch size huge", "generation: {batch_size: 100000}", Options{}, []string{"generation.batch_size", "65536"}},
		{"octal", "threads: 010", Options{}, []string{"threads: expected a whole number, found 010"}},
		{"octal for a float", "calibration: {base: 010}", Options{}, []string{"calibration.base", "found 010"}},
		{
			"octal batch size", "generation: {batch_size: 010}",
			Options{},
			[]string{"generation.batch_size", "found 010"},
		},
		{"name with a slash", "name: a/b", Options{}, []string{"test.yaml:3", "name", "without slashes"}},
		{"name with a dot", "name: ..", Options{}, []string{"name", "leading dot"}},
		{"name of two lines", "name: \"a\\nb\"", Options{}, []string{"name", "one line"}},
		{"linears", "", set("model.linears=mkl"), []string{"--set model.linears", "auto, streamed", "mkl"}},
		{
			"linears that are gone", "", set("model.linears=packed"),
			[]string{"--set model.linears", "packed is gone", "leave the key out"},
		},
		{"dtype", "", set("model.dtype=int8"), []string{"--set model.dtype", "float32, bfloat16, float16", "int8"}},
		{"device", "", set("model.device=gpu"), []string{"model.device", "cuda:N", "gpu"}},
		{"device number", "", set("model.device=cuda:x"), []string{"model.device", "cuda:x"}},
		{"device number padded", "", set("model.device=cuda:01"), []string{"model.device", "cuda:01"}},
		{"limit", "", set("dataset.limit=-1"), []string{"--set dataset.limit", "from 0", "-1"}},
		{"range", "", set("dataset.range=5:5"), []string{"dataset.range", "FROM:TO", "5:5"}},
		{"range of words", "", set("dataset.range=a:b"), []string{"dataset.range", "a:b"}},
		{"range and ids", "", set("dataset.range=1:5", "dataset.ids=[1]"), []string{"dataset.ids", "keep one"}},
		{"id twice", "", set("dataset.ids=[3, 1, 3]"), []string{"dataset.ids[2]", "row 3 is already dataset.ids[0]"}},
		{"id negative", "", set("dataset.ids=[-3]"), []string{"dataset.ids[0]", "-3"}},
		{
			"instruction without question", "", set("prompt.instruction=Solve it"),
			[]string{"prompt.instruction", "{question}", "Solve it"},
		},
		{"style", "", set("prompt.style=raw"), []string{"prompt.style", "auto, chat, plain"}},
		{"few_shot", "", set("prompt.few_shot=-1"), []string{"prompt.few_shot"}},
		{
			"turns without a template", "", set("prompt.few_shot_style=turns", "prompt.style=plain"),
			[]string{"prompt.few_shot_style", "chat template"},
		},
		{"no tokens", "", set("generation.max_new_tokens=0"), []string{"generation.max_new_tokens", "from 1"}},
		{"top_p zero", "", set("generation.top_p=0"), []string{"generation.top_p", "above 0"}},
		{"top_p above one", "", set("generation.top_p=1.1"), []string{"generation.top_p", "at most 1", "1.1"}},
		{"min_p one", "", set("generation.min_p=1"), []string{"generation.min_p", "below 1"}},
		{"penalty", "", set("generation.repetition_penalty=0"), []string{"generation.repetition_penalty"}},
		{"empty stop", "", set("generation.stop=['']"), []string{"generation.stop[0]", "found none"}},
		{
			"stop in a block", "", set("generation.stop=['</think>']"),
			[]string{"generation.stop[0]", "mark of a thought"},
		},
		{
			"stop in an upper-case block", "", set("generation.stop=['</Thinking>']"),
			[]string{"generation.stop[0]", "mark of a thought"},
		},
		{
			"stop in a block of one's own", "scoring: {thoughts: [{open: <hm>, close: </hm>}]}",
			set("generation.stop=['</HM>']"),
			[]string{"generation.stop[0]", "mark of a thought"},
		},
		{
			"thought without an end", "scoring: {thoughts: [{open: <hm>}]}",
			Options{},
			[]string{"scoring.thoughts[0].close", "found none"},
		},
		{
			"thought with one mark", "scoring: {thoughts: [{open: '%%', close: '%%'}]}",
			Options{},
			[]string{"scoring.thoughts[0]", "two different marks"},
		},
		{"gold", "", set("dataset.gold=boxed"), []string{"dataset.gold", "auto, hash, bare"}},
		{"column", "", set("dataset.columns.question={Body"), []string{"dataset.columns.question", "not closed"}},
		{"stop twice", "", set("generation.stop=[a, a]"), []string{"generation.stop[1]", "already entry 0"}},
		{"no noise at all", "noise: []", Options{}, []string{"noise", "at least one"}},
		{"noise without kind", "noise: [{scale: 1}]", Options{}, []string{"noise[0].kind", "missing", "activation"}},
		{"noise kind", "noise: [{kind: gaussian}]", Options{}, []string{"noise[0].kind", "gaussian", "activation"}},
		{
			"noise without scale", "noise: [{kind: none}, {kind: weight}]",
			Options{},
			[]string{"test.yaml:3", "noise[1].scale", "missing", "above 0"},
		},
		{
			"scale zero", "noise: [{kind: activation, scale: 0}]",
			Options{},
			[]string{"noise[0].scale", "above 0", "found 0"},
		},
		{"scale negative", "noise: [{kind: activation, scale: -0.1}]", Options{}, []string{"noise[0].scale", "-0.1"}},
		{
			"scale huge", "noise: [{kind: activation, scale: 1e9}]",
			Options{},
			[]string{"noise[0].scale", "at most 1000"},
		},
		{"scale of none", "noise: [{kind: none, scale: 0.1}]", Options{}, []string{"noise[0].scale", "none at all"}},
		{
			"scale of combined", "noise: [{kind: combined, scale: 0.1}]",
			Options{},
			[]string{"noise[0].scale", "weight_scale and activation_scale"},
		},
		{
			"half of combined", "noise: [{kind: combined, weight_scale: 0.1}]",
			Options{},
			[]string{"noise[0].activation_scale", "missing"},
		},
		{
			"weight_scale of weight", "noise: [{kind: weight, scale: 1, weight_scale: 0.1}]",
			Options{},
			[]string{"noise[0].weight_scale", "expected scale"},
		},
		{
			"relative_to", "noise: [{kind: weight, scale: 1, relative_to: max}]",
			Options{},
			[]string{"noise[0].relative_to", "std, absmax"},
		},
		{"per", "noise: [{kind: weight, scale: 1, per: column}]", Options{}, []string{"noise[0].per", "tensor, row"}},
		{
			"rows of activations", "noise: [{kind: activation, scale: 1, per: row}]",
			Options{},
			[]string{"noise[0].per", "no rows"},
		},
		{"include of none", "noise: [{kind: none, include: [a]}]", Options{}, []string{"noise[0]", "no other key"}},
		{
			"empty include", "noise: [{kind: weight, scale: 1, include: ['']}]",
			Options{},
			[]string{"noise[0].include[0]"},
		},
		{
			"noise twice", "noise: [{kind: weight, scale: 1}, {kind: weight, scale: 1.0, per: tensor}]",
			Options{},
			[]string{"noise[1]", "same condition as noise[0]"},
		},
		{"noise seeds", "noise_seeds: 0", Options{}, []string{"noise_seeds", "from 1"}},
		{"no temperature", "temperature: []", Options{}, []string{"temperature", "at least one"}},
		{"no policy", "temperature: [{value: 1}]", Options{}, []string{"temperature[0].policy", "missing"}},
		{
			"policy", "temperature: [{policy: tstar}]",
			Options{},
			[]string{"temperature[0].policy", "tstar", "dynamic_tstar"},
		},
		{
			"constant without value", "temperature: [{policy: constant}]",
			Options{},
			[]string{"temperature[0].value", "missing"},
		},
		{
			"temperature zero", "temperature: [{policy: constant, value: 0}]",
			Options{},
			[]string{"temperature[0].value", "above 0", "found 0"},
		},
		{
			"value of greedy", "temperature: [{policy: greedy, value: 1}]",
			Options{},
			[]string{"temperature[0].value", "greedy"},
		},
		{
			"form of constant", "temperature: [{policy: constant, value: 1, form: sqrt}]",
			Options{},
			[]string{"temperature[0].form", "constant"},
		},
		{
			"base of constant", "temperature: [{policy: constant, value: 1, base: 1}]",
			Options{},
			[]string{"temperature[0].base", "constant"},
		},
		{
			"base zero", "temperature: [{policy: constant_tstar, base: 0}]",
			Options{},
			[]string{"temperature[0].base", "above 0"},
		},
		{
			"form", "temperature: [{policy: constant_tstar, form: cubic}]",
			Options{},
			[]string{"temperature[0].form", "fitted", "cubic"},
		},
		{
			"smooth of constant T*", "temperature: [{policy: constant_tstar, smooth: none}]",
			Options{},
			[]string{"temperature[0].smooth", "dynamic_tstar"},
		},
		{
			"temperature twice", "temperature: [{policy: constant, value: 1}, {policy: constant, value: 1.0, name: one}]",
			Options{},
			[]string{"temperature[1]", "same condition as temperature[0]"},
		},
		{
			"temperature twice by default", "temperature: [{policy: dynamic_tstar}, {policy: dynamic_tstar, form: sqrt}]",
			Options{},
			[]string{"temperature[1]", "same condition"},
		},
		{
			"label twice", "temperature: [{policy: greedy}, {policy: constant, value: 1, name: greedy}]",
			Options{},
			[]string{"temperature[1].name", "label of temperature[0]"},
		},
		{"calibration draws", "calibration: {draws: 0}", Options{}, []string{"calibration.draws"}},
		{
			"calibration smooth", "calibration: {smooth: median}",
			Options{},
			[]string{"calibration.smooth", "moving_average"},
		},
		{"calibration window", "calibration: {window: 0}", Options{}, []string{"calibration.window"}},
		{"calibration base", "calibration: {base: 0}", Options{}, []string{"calibration.base"}},
		{"calibration split", "calibration: {split: ''}", Options{}, []string{"calibration.split"}},
		{
			"calibration of two sources", "calibration: {data: d, prompt_list: [a]}",
			Options{},
			[]string{"calibration.prompt_list", "keep one"},
		},
		{"ladder", "scoring: {ladder: strict}", Options{}, []string{"scoring.ladder", "seed, robust"}},
		{"threads", "threads: -1", Options{}, []string{"threads"}},
		{"progress", "progress: fancy", Options{}, []string{"progress", "auto, bar, plain, json, none"}},
		{"log_level", "log_level: trace", Options{}, []string{"log_level", "debug"}},
		{"set without a value", "", set("seed"), []string{"--set seed", "key=value"}},
		{"set without a key", "", set("=5"), []string{"--set =5", "key=value"}},
		{"set of an unknown key", "", set("model.pth=x"), []string{"--set model.pth", "did you mean model.path?"}},
		{"set of a section", "", set("model={path: x}"), []string{"--set model", "section", "dtype"}},
		{"set below a value", "", set("seed.x=1"), []string{"--set seed.x", "seed", "no x in it"}},
		{"set beyond a list", "", set("noise.1.scale=1"), []string{"--set noise.1.scale", "no entry 1", "it has 1"}},
		{"set with a word for an entry", "", set("noise.x.scale=1"), []string{"no entry x"}},
		{"set of the wrong type", "", set("seed=abc"), []string{"--set seed", "whole number", "abc"}},
		{"set of broken YAML", "", set("noise=[{"), []string{"--set noise", "list of mappings", "[{"}},
		{"set of nothing", "", set("seed="), []string{"--set seed", "whole number"}},
		{"set of null", "", set("seed=null"), []string{"--set seed", "found nothing"}},
		{"set of a bad entry", "", set("noise=[{kind: weight}]"), []string{"--set noise", "noise[0].scale", "missing"}},
		{
			"shorter list than the file's", "noise: [{kind: weight, scale: 0.1}]", set("noise=[{kind: weight}]"),
			[]string{"--set noise", "noise[0].scale", "missing"},
		},
		{"set with a capital", "", set("Seed=1"), []string{"--set Seed", "seed", "lower case"}},
		{"set not UTF-8", "", set("model.path=\xff"), []string{"model.path", "UTF-8"}},
		{"unknown variable", "", env("GSMEVAL_SEDE=1"), []string{
			"environment variable GSMEVAL_SEDE",
			"did you mean seed?",
		}},
		{
			"variable with one underscore", "", env("GSMEVAL_MODEL_PATH=x"),
			[]string{"GSMEVAL_MODEL_PATH", "unknown key", "did you mean GSMEVAL_MODEL__PATH?"},
		},
		{
			"variable with two underscores", "", env("GSMEVAL_NOISE__SEEDS=x"),
			[]string{"GSMEVAL_NOISE__SEEDS", "no entry seeds"},
		},
		{
			"variable with none", "", env("GSMEVAL_FAILONERROR=x"),
			[]string{"GSMEVAL_FAILONERROR", "did you mean GSMEVAL_FAIL_ON_ERROR?"},
		},
		{"variable in small letters", "", env("GSMEVAL_seed=1"), []string{"GSMEVAL_seed", "GSMEVAL_SEED"}},
		{"variable without a key", "", env("GSMEVAL_=1"), []string{"GSMEVAL_", "unknown key"}},
		{"variable of the wrong type", "", env("GSMEVAL_SEED='1'"), []string{"GSMEVAL_SEED", "seed", "whole number"}},
		{
			"value of a variable", "", env("GSMEVAL_THREADS=-1"),
			[]string{"environment variable GSMEVAL_THREADS", "threads", "-1"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			text, alone := strings.CutPrefix(tc.text, "|")
			if !alone {
				text = least + text
			}
			_, err := load(t, text, tc.opts)
			if err == nil {
				t.Fatalf("no error; want one that names %q", tc.want)
			}
			for _, part := range tc.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error %q does not name %q", err, part)
				}
			}
			if strings.Contains(err.Error(), "filling the config") {
				t.Errorf("error %q comes from the decoder; the checks before it have a hole", err)
			}
		})
	}
	for _, path := range []string{t.TempDir(), filepath.Join(t.TempDir(), "none.yaml")} {
		if _, err := Load(path, Options{}); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("Load(%s): %v", path, err)
		}
	}
	if _, err := load(t, least+strings.Repeat("#", maxFileBytes), Options{}); err == nil ||
		!strings.Contains(err.Error(), "more than") {
		t.Errorf("long file: %v", err)
	}
}

// TestAllProblems wants every problem of a file at once, one a line, with its place.
func TestAllProblems(t *testing.T) {
	t.Parallel()
	_, err := load(t, "model: {path: m}\nsed: 1\nthreads: x\nname: 5\n", Options{})
	if err == nil {
		t.Fatal("no error")
	}
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != 3 || !strings.Contains(lines[0], "test.yaml:2: sed") ||
		!strings.Contains(lines[1], "test.yaml:3: threads") || !strings.Contains(lines[2], "test.yaml:4: name") {
		t.Errorf("error\n%v", err)
	}
	_, err = load(t, "model: {path: m}\n"+"dataset:\n  path: d\n  ids: ["+strings.Repeat("x,", 1000)+"]\n", Options{})
	if err == nil {
		t.Fatal("no error")
	}
	if lines := strings.Split(err.Error(), "\n"); len(lines) != 21 ||
		!strings.Contains(lines[20], "980 more problems") {
		t.Errorf("error of %d lines\n%v", len(lines), err)
	}
}

func TestRows(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][2]int{
		"": {0, math.MaxInt}, "100:200": {100, 200}, ":5": {0, 5},
		"5:": {5, math.MaxInt}, ":": {0, math.MaxInt},
	} {
		from, to, err := Dataset{Range: text}.Rows()
		if err != nil || [2]int{from, to} != want {
			t.Errorf("%q: %d to %d, %v", text, from, to, err)
		}
	}
	for _, text := range []string{"5", "5:5", "6:5", "-1:5", "1:+5", "1:5:7", "0x1:5", "1:5 ", "1:99999999999"} {
		if from, to, err := (Dataset{Range: text}).Rows(); err == nil {
			t.Errorf("%q: %d to %d", text, from, to)
		}
	}
}

func TestLabels(t *testing.T) {
	t.Parallel()
	c, err := Load("testdata/full.yaml", Options{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, n := range c.Noise {
		got = append(got, n.Label())
	}
	for _, temp := range c.Temperature {
		got = append(got, temp.Label())
	}
	want := []string{
		"weight 0.02 absmax/row include model.layers.* exclude lm_head", "output 0.001", "combined w1 a0.5",
		"argmax", "T=0.6", "T* linear", "T*(t) smooth=exponential",
		"T*(t) from weight 0.2 exclude lm_head", "tuned",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestDiff(t *testing.T) {
	t.Parallel()
	a := mustLoad(t, least+"noise: [{kind: none}, {kind: weight, scale: 0.05}]\n", Options{})
	b := mustLoad(t, least+"noise: [{kind: none}, {kind: weight, scale: 0.1}]\n", Options{Set: []string{
		"seed=7", "generation.stop=['a b', \"x\\n\"]", "dataset.shuffle_seed=1", "generation.batch_size=auto",
		"prompt.system=s",
	}})
	want := []string{
		"seed: 42 != 7",
		`prompt.system: "" != s`,
		"generation.batch_size: 32 != auto",
		"noise[1].scale: 0.05 != 0.1",
		"dataset.shuffle_seed: (not set) != 1",
		"generation.stop[0]: (not set) != a b",
		`generation.stop[1]: (not set) != "x\n"`,
	}
	if diff := cmp.Diff(want, Diff(a, b)); diff != "" {
		t.Error(diff)
	}
	if got := Diff(b, a); !slices.Contains(got, "dataset.shuffle_seed: 1 != (not set)") {
		t.Errorf("the other way: %q", got)
	}
}

// TestFingerprintFields changes every key of the full config in turn and expects
// the fields to change, except for the keys that change no sample.
func TestFingerprintFields(t *testing.T) {
	t.Parallel()
	base := mustLoad(t, least, Options{})
	fields := func(c *Config) string {
		text, err := json.Marshal(c.FingerprintFields())
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	for _, same := range []string{
		"name=x", "output=x", "progress=none", "log_level=debug", "devices=[0, 1]",
		"model.device=cuda:1", "model.graphs=false", "scoring.k=[1]",
	} {
		c := mustLoad(t, least, Options{Set: []string{same}})
		if diff := cmp.Diff(fields(base), fields(c)); diff != "" {
			t.Errorf("%s: %s", same, diff)
		}
	}
	full, err := Load("testdata/full.yaml", Options{})
	if err != nil {
		t.Fatal(err)
	}
	plain, other := base.FingerprintFields(), full.FingerprintFields()
	for key, value := range plain {
		if key != "noise[0].kind" && other[key] == value {
			t.Errorf("%s is %v in both", key, value)
		}
	}
	for _, changed := range []string{
		"seed=1", "model.path=x", "model.dtype=float16", "model.linears=streamed", "model.tf32=true", "dataset.limit=1",
		"dataset.ids=[1]", "dataset.shuffle_seed=0", "prompt.few_shot=1", "prompt.date=2024-02-29",
		"generation.stop=[x]", "generation.batch_size=auto", "noise=[{kind: weight, scale: 1}]", "noise_seeds=2",
		"samples=2", "temperature.0.value=2",
		"calibration.draws=1", "calibration.prompt_list=[x]", "scoring.ladder=robust", "threads=1",
		"fail_on_error=true",
	} {
		c := mustLoad(t, least, Options{Set: []string{changed}})
		if fields(c) == fields(base) {
			t.Errorf("%s leaves the fields as they are", changed)
		}
	}
}

func TestJSONInsideAnother(t *testing.T) {
	t.Parallel()
	c := mustLoad(t, least, Options{})
	text, err := json.Marshal(map[string]any{"config": c})
	if err != nil {
		t.Fatal(err)
	}
	var back struct {
		Config struct {
			NoiseSeeds int `json:"noise_seeds"`
			Generation struct {
				MaxNewTokens int `json:"max_new_tokens"`
			}
		}
	}
	if err := json.Unmarshal(text, &back); err != nil || back.Config.NoiseSeeds != 1 ||
		back.Config.Generation.MaxNewTokens != 512 {
		t.Errorf("%s: %v", text, err)
	}
}

func FuzzLoad(f *testing.F) {
	for _, path := range []string{"testdata/full.yaml", "testdata/least.yaml", "../../configs/dyn_tstar.yaml"} {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text, "noise.0.scale=0.1")
	}
	f.Add([]byte(least+"prompt: {instruction: \"\\u0085{question}\\r\\n\\t\"}"), "generation.stop=[\"\\x01\", \" a\"]")
	f.Add([]byte(least+"a: &a [*a]\n<<: {x: 1}"), "model={}")
	f.Add([]byte("? - {\n"), "a.b.c=d")
	f.Fuzz(func(t *testing.T, text []byte, set string) {
		c, err := Parse("fuzz.yaml", text, Options{Set: []string{set}})
		if err != nil {
			if strings.Contains(err.Error(), "filling the config") {
				t.Fatalf("the decoder refused what the checks let pass: %v", err)
			}
			return
		}
		sameAgain(t, c)
	})
}

// TestComplete checks the keys that the shell offers: every one of them, and the way down into sections and lists.
func TestComplete(t *testing.T) {
	t.Parallel()
	for prefix, want := range map[string]string{
		"see":                   "seed=",
		"mod":                   "model.",
		"model.p":               "model.path=",
		"noise.":                "noise.0.",
		"noise.3.wei":           "noise.3.weight_scale= noise.3.weights.",
		"generation.stop.":      "generation.stop.0=",
		"noise_":                "noise_seeds=",
		"nothing":               "",
		"nothing.here":          "",
		"seed.x":                "",
		"generation.kv_cache.x": "",
	} {
		if got := strings.Join(Complete(prefix), " "); got != want {
			t.Errorf("%q: %q, want %q", prefix, got, want)
		}
	}
	if got, want := len(Complete("")), 17; got < want {
		t.Errorf("%d keys at the top, want at least %d", got, want)
	}
}
