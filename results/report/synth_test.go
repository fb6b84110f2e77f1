package report

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gsmeval/gsmeval/datasets"
	"github.com/gsmeval/gsmeval/internal/config"
	"github.com/gsmeval/gsmeval/internal/finish"
	"github.com/gsmeval/gsmeval/noise/alpha"
	"github.com/gsmeval/gsmeval/results"
	"github.com/gsmeval/gsmeval/scoring"
)

// grid is a made-up run: every noise and temperature of it, with answers that get worse with the noise.
type grid struct {
	name      string
	noises    []string // YAML of the config
	labels    []string // of the noises
	temps     []string // labels; the config's policies follow from them
	seeds     int
	questions int
	sentences int // in a text: about 90 bytes each
	seed      uint64
	data      string // path of the data set in the config
}

func smallGrid() grid {
	return grid{
		name:   "small",
		noises: []string{"{kind: none}", "{kind: activation, scale: 0.1}", "{kind: activation, scale: 0.2}"},
		labels: []string{"none", "activation 0.1", "activation 0.2"},
		temps:  []string{"T=1", "T*", "T*(t)"}, seeds: 2, questions: 12, sentences: 3, seed: 1, data: "missing/data",
	}
}

// examples are the questions of a grid.
func (g grid) examples() []datasets.Example {
	rng := rand.New(rand.NewPCG(g.seed, 7))
	list := make([]datasets.Example, g.questions)
	for i := range list {
		gold := fmt.Sprint(rng.IntN(500))
		list[i] = datasets.Example{
			ID:       i,
			Question: fmt.Sprintf("Question %d: %s How many are left?", i, prose(rng, 3)),
			Answer:   prose(rng, 3) + "\n#### " + gold, Gold: gold,
		}
	}
	return list
}

var words = strings.Fields(`then we have the number of apples and multiply it by what each box holds so that after the second day
	there are fewer than before because Maria gave half to Ben who sold some for dollars at market price total cost per hour week
	remaining eggs books pencils marbles tickets adults children pays first next finally subtract add divide sum difference`)

func prose(rng *rand.Rand, sentences int) string {
	var b strings.Builder
	for range sentences {
		for range 9 {
			b.WriteString(words[rng.IntN(len(words))] + " ")
		}
		x, y := rng.IntN(90), rng.IntN(90)
		fmt.Fprintf(&b, "%d + %d = <<%d+%d=%d>>%d.\n", x, y, x, y, x+y, x+y)
	}
	return b.String()
}

// write makes the run directory of a grid; change may alter records, or leave one out by returning false.
func (g grid) write(t testing.TB, dir string, change func(*results.Record) bool) []datasets.Example {
	t.Helper()
	fingerprint := fmt.Sprintf("%032x", g.seed)
	meta := results.Meta{
		Name: g.name, Fingerprint: fingerprint, Examples: g.questions,
		Settings: map[string]string{
			results.SettingData: "d", results.SettingPrompt: "p", results.SettingLadder: "seed",
			results.SettingTokenLimit: "256", "model": "tiny 0123",
		},
	}
	for i, label := range g.labels {
		kind := results.KindNone
		if i > 0 {
			kind = "activation"
		}
		meta.Noises = append(meta.Noises, results.Noise{Label: label, Kind: kind})
	}
	text := "name: " + g.name + "\nmodel: {path: m}\ndataset: {path: '" + g.data + "'}\nnoise_seeds: " +
		fmt.Sprint(g.seeds) + "\nnoise: [" + strings.Join(g.noises, ", ") + "]\n"
	var schedules []results.Schedule
	for i, label := range g.temps {
		meta.Temps = append(meta.Temps, results.Temp{Label: label})
		s := results.Schedule{SHA: fmt.Sprintf("%064x", i), T: []float64{1 + 0.1*float64(i)}}
		if label == "T*(t)" {
			s.T = []float64{1.3, 1.25, 1.2, 1.17, 1.15}
		}
		schedules = append(schedules, s)
		for n := range g.labels {
			c := results.Condition{
				NoiseIndex: n, TempIndex: i, Replicates: g.seeds,
				MeanAlpha: results.Float(0.1 * float64(n)), TSHA: s.SHA,
			}
			meta.Conditions = append(meta.Conditions, c)
		}
	}
	examples := g.examples()
	cfg, err := config.Parse("grid", []byte(text), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	effective, err := cfg.JSON()
	if err != nil {
		t.Fatal(err)
	}
	info := &results.RunInfo{
		Schema: results.RunSchema, Name: g.name, Fingerprint: fingerprint, Status: results.RunComplete,
		Config: effective,
		Hashes: map[string]string{"data": "none"}, Versions: map[string]string{"gsmeval": "0.1.0"}, Device: "cpu",
		Threads: 2, Meta: meta, Schedules: schedules,
		Started: time.Now(), Finished: time.Now(), Attempts: 1 + int(g.seed),
		Timings: map[string]float64{"decode": 12.5},
	}
	if err := info.Write(dir); err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(g.seed, 8))
	var lines []byte
	for n, noise := range g.labels {
		for rep := range g.seeds {
			for ti, temp := range g.temps {
				for _, e := range examples {
					right := rng.Float64() < 0.9-0.15*float64(n)
					answer := e.Gold
					if !right {
						answer = fmt.Sprint(500 + rng.IntN(100))
					}
					r := results.Record{
						Run: fingerprint, Noise: noise, NoiseIndex: n, Replicate: rep, Temperature: temp, TempIndex: ti,
						ID: e.ID, Order: e.ID,
						QuestionSHA: shortSHA(e.Question), PromptSHA: "p",
						Text: prose(rng, g.sentences) + "#### " + answer, Tokens: 40*g.sentences + rng.IntN(60),
						Finish: finish.Stop, Answer: answer, Rung: "hash", Status: scoring.StatusOK,
						Correct: right,
						TMin:    results.Float(1), TMax: results.Float(1 + 0.1*float64(ti)),
						TMean: results.Float(1 + 0.05*float64(ti)), TSHA: schedules[ti].SHA,
					}
					if change != nil && !change(&r) {
						continue
					}
					if lines, err = r.AppendLine(lines); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
	}
	var curve alpha.Curve
	for i := range 20 {
		a := 0.3 / float64(1+i)
		curve.Points = append(curve.Points, alpha.Point{N: 16, Alpha: a, Lo: 0.8 * a, Hi: 1.2 * a})
	}
	curve.Base = 1
	data, err := json.Marshal(map[string]any{"noise": g.labels[len(g.labels)-1], "curve": curve, "more": "keys"})
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{results.JournalFile: lines, "calibration/00.json": data}
	if err := os.MkdirAll(filepath.Join(dir, "calibration"), 0o750); err != nil {
		t.Fatal(err)
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return examples
}
