package results

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/gsmeval/gsmeval/internal/finish"
	"github.com/gsmeval/gsmeval/scoring"
)

var update = flag.Bool("update", false, "write the golden files anew")

// numbersGolden is testdata/compare.json.
type numbersGolden struct {
	Made         string
	Versions     map[string]string
	Questions    int
	Temperatures []string
	Noises       []struct {
		Label    string
		Chips    bool
		Verdicts [][]string // by temperature and seed
		Rows     []struct {
			N, Correct       int
			Accuracy, SE     float64
			CI               *[2]float64
			SeedMean         float64 `json:"seed_mean"`
			SeedStd          float64 `json:"seed_std"`
			Truncated        int
			TruncatedCorrect int `json:"truncated_correct"`
			NoAnswer         int `json:"no_answer"`
			Nonfinite, Error int
		}
		Pairs []goldenPair
	}
}

type goldenPair struct {
	A, B         string
	N, Dropped   int
	AccA         float64 `json:"acc_a"`
	AccB         float64 `json:"acc_b"`
	Diff, SE, P  float64
	PHolm        float64 `json:"p_holm"`
	Gained, Lost int
	CI           [2]float64
}

func readNumbers(t *testing.T) numbersGolden {
	t.Helper()
	data, err := os.ReadFile("testdata/compare.json")
	if err != nil {
		t.Fatal(err)
	}
	var g numbersGolden
	if err := json.Unmarshal(data, &g); err != nil {
		t.Fatal(err)
	}
	if len(g.Noises) != 2 || len(g.Noises[0].Pairs) != 3 {
		t.Fatal("testdata/compare.json lacks a part")
	}
	t.Logf("goldens made %s with %v", g.Made, g.Versions)
	return g
}

// letter gives a record the verdict of one letter; see scripts/goldens/compare.py.
func letter(r *Record, v byte) {
	r.Finish, r.Correct = finish.Stop, false
	switch v {
	case 'r':
		r.Status, r.Correct = scoring.StatusOK, true
	case 'w':
		r.Status = scoring.StatusOK
	case 'n':
		r.Status = scoring.StatusNoAnswer
	case 't', 'T':
		r.Status, r.Finish, r.Correct = scoring.StatusTruncated, finish.Length, v == 'T'
	case 'x':
		r.Status, r.Finish = scoring.StatusNonfinite, finish.Nonfinite
	default:
		r.Status, r.Finish, r.Error = scoring.StatusError, finish.Failed, "linear: out of memory"
	}
}

// goldenRun turns the golden grid into a run.
func goldenRun(g numbersGolden) (Meta, []Record) {
	meta := Meta{
		Name: "golden", Fingerprint: testRun, Examples: g.Questions,
		Settings: map[string]string{
			SettingData: "gsm-synth test 1a2b", SettingPrompt: "plain", SettingLadder: "seed",
			SettingTokenLimit: "512", "kv_cache": "true",
		},
		Notes: []string{"Form of T*: sqrt."},
	}
	for _, label := range g.Temperatures {
		meta.Temps = append(meta.Temps, Temp{Label: label})
	}
	var records []Record
	for n, noise := range g.Noises {
		kind := strings.Fields(noise.Label)[0]
		meta.Noises = append(meta.Noises, Noise{Label: noise.Label, Kind: kind, Chips: noise.Chips})
		for t, seeds := range noise.Verdicts {
			meta.Conditions = append(meta.Conditions, Condition{
				NoiseIndex: n, TempIndex: t, Replicates: len(seeds), MeanAlpha: Float(0.0125 * float64(n+1)),
			})
			for s, verdicts := range seeds {
				for order := range len(verdicts) {
					r := testRecord(Key{NoiseIndex: n, Replicate: s, TempIndex: t, Order: order})
					r.Noise, r.Temperature = noise.Label, g.Temperatures[t]
					if r.Temperature == "greedy" {
						r.TMin, r.TMax, r.TMean = Float(nan), Float(nan), Float(nan)
					}
					letter(&r, verdicts[order])
					records = append(records, r)
				}
			}
		}
	}
	return meta, records
}

func yieldAll(records []Record) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for _, r := range records {
			if !yield(r, nil) {
				return
			}
		}
	}
}

func collect(t *testing.T, meta Meta, records []Record) *Set {
	t.Helper()
	s, err := Collect(meta, yieldAll(records))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func near(t *testing.T, what string, got Float, want, tolerance float64) {
	t.Helper()
	if !(math.Abs(float64(got)-want) <= tolerance) {
		t.Errorf("%s = %v, want %v within %g", what, float64(got), want, tolerance)
	}
}

func TestTableAgainstStatsmodels(t *testing.T) {
	t.Parallel()
	g := readNumbers(t)
	meta, records := goldenRun(g)
	table := collect(t, meta, records).Table()
	i := 0
	for _, noise := range g.Noises {
		for temp, want := range noise.Rows {
			row := &table.Rows[i]
			i++
			name := rowName(row) + ": "
			near(t, name+"accuracy", row.Accuracy, want.Accuracy, 1e-12)
			near(t, name+"se", row.SE, want.SE, 1e-12)
			near(t, name+"seed mean", row.SeedMean, want.SeedMean, 1e-12)
			if want.CI != nil {
				near(t, name+"ci low", row.CI[0], want.CI[0], 1e-12)
				near(t, name+"ci high", row.CI[1], want.CI[1], 1e-12)
				if row.SeedStd.Finite() || row.NewChips != nil {
					t.Errorf("%sone seed has a spread or an interval over seeds", name)
				}
			} else {
				near(t, name+"seed std", row.SeedStd, want.SeedStd, 1e-12)
				if row.NewChips == nil || row.NewChips[0] > row.CI[0] || row.NewChips[1] < row.CI[1] {
					t.Errorf("%sthe interval for new chips is %v, for these %v", name, row.NewChips, row.CI)
				}
				if !(row.CI[0] < row.Accuracy && row.Accuracy < row.CI[1]) {
					t.Errorf("%sthe interval %v lacks the accuracy %v", name, row.CI, row.Accuracy)
				}
			}
			got := []int{
				row.N, row.Correct, row.Truncated, row.TruncatedCorrect, row.NoAnswer, row.Nonfinite,
				row.Errors,
			}
			if diff := cmp.Diff([]int{
				want.N, want.Correct, want.Truncated, want.TruncatedCorrect, want.NoAnswer,
				want.Nonfinite, want.Error,
			}, got); diff != "" {
				t.Errorf("%scounts (-want +got):\n%s", name, diff)
			}
			if temp == 0 {
				if !row.Reference || row.Diff.Finite() || row.DiffCI != nil {
					t.Errorf("%sthe reference has a difference", name)
				}
				continue
			}
			pair := noise.Pairs[temp-1] // the pairs of temperature 0 come first
			near(t, name+"diff", row.Diff, pair.Diff, 1e-12)
			near(t, name+"p", row.P, pair.P, 1e-9)
			near(t, name+"diff low", row.DiffCI[0], pair.CI[0], 0.15*pair.SE+1/float64(pair.N))
			near(t, name+"diff high", row.DiffCI[1], pair.CI[1], 0.15*pair.SE+1/float64(pair.N))
			if row.PairedN != pair.N || row.Gained != pair.Gained || row.Lost != pair.Lost {
				t.Errorf("%s%d paired, %d gained, %d lost; want %+v", name, row.PairedN, row.Gained, row.Lost, pair)
			}
		}
	}
	if got := table.Failed(); got == 0 ||
		!strings.Contains(strings.Join(table.Warnings, "\n"), "failed and are in no accuracy") {
		t.Errorf("%d failed samples, warnings %q", got, table.Warnings)
	}
}

// The bytes of every format are pinned, and do not depend on the order of records.
func TestTableBytes(t *testing.T) {
	t.Parallel()
	meta, records := goldenRun(readNumbers(t))
	dir := t.TempDir()
	if err := collect(t, meta, records).Table().WriteAll(dir); err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(9, 9))
	rng.Shuffle(len(records), func(i, k int) { records[i], records[k] = records[k], records[i] })
	shuffledDir := t.TempDir()
	if err := collect(t, meta, records).Table().WriteAll(shuffledDir); err != nil {
		t.Fatal(err)
	}
	for _, format := range Formats() {
		name := "table." + string(format)
		got := readFile(t, filepath.Join(dir, name))
		compareGolden(t, filepath.Join("testdata", name), got)
		if !bytes.Equal(got, readFile(t, filepath.Join(shuffledDir, name))) {
			t.Errorf("%s depends on the order of the records", name)
		}
	}
	if names, err := os.ReadDir(dir); err != nil || len(names) != 4 {
		t.Errorf("files: %v, %v", names, err)
	}
}

var decimals = regexp.MustCompile(`[0-9]+(\.[0-9]+)?(e[-+][0-9]+)?`)

// ofThisProcessor leaves the bytes of amd64, on which they were written, as they are. Elsewhere Go may fuse a product with
// the sum that it enters, as on arm64, and the last of 16 digits is another: there numbers are rounded to 12.
func ofThisProcessor(data []byte) string {
	if runtime.GOARCH == "amd64" {
		return string(data)
	}
	return decimals.ReplaceAllStringFunc(string(data), func(number string) string {
		v, err := strconv.ParseFloat(number, 64)
		if err != nil {
			return number
		}
		return strconv.FormatFloat(v, 'g', 12, 64)
	})
}

func compareGolden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		writeFile(t, path, got)
		return
	}
	if diff := cmp.Diff(ofThisProcessor(readFile(t, path)), ofThisProcessor(got)); diff != "" {
		t.Errorf("%s (-want +got; go test -update writes it anew):\n%s", path, diff)
	}
}

func TestReadTableReturnsWhatWasWritten(t *testing.T) {
	t.Parallel()
	meta, records := goldenRun(readNumbers(t))
	table := collect(t, meta, records).Table()
	dir := t.TempDir()
	if err := table.WriteAll(dir); err != nil {
		t.Fatal(err)
	}
	got, err := ReadTable(filepath.Join(dir, "table.json"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(table, got, sameFloats, cmpopts.IgnoreUnexported(Row{})); diff != "" {
		t.Errorf("table (-written +read):\n%s", diff)
	}
	rows, err := csv.NewReader(bytes.NewReader(readFile(t, filepath.Join(dir, "table.csv")))).ReadAll()
	if err != nil || len(rows) != 1+len(table.Rows) {
		t.Errorf("table.csv has %d rows, %v", len(rows), err)
	}
}

func TestWriteAllReportsAFullDisk(t *testing.T) {
	t.Parallel()
	meta, records := goldenRun(readNumbers(t))
	table := collect(t, meta, records).Table()
	for at := 1; ; at++ {
		fsys := &faultFS{fileSystem: osFS{}, err: syscall.ENOSPC, at: at}
		err := table.writeAll(fsys, t.TempDir())
		if fsys.ops < at {
			break
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("operation %d failed: %v", at, err)
		}
	}
}

// smallRun is a run of n questions under one condition for each word of verdicts; a word has a part for each replicate,
// parted by "/".
func smallRun(noise Noise, words ...string) (Meta, []Record) {
	meta := Meta{Name: "small", Fingerprint: testRun, Noises: []Noise{noise}, Settings: map[string]string{}}
	var records []Record
	for temp, word := range words {
		label := fmt.Sprintf("T%d", temp)
		meta.Temps = append(meta.Temps, Temp{Label: label})
		parts := strings.Split(word, "/")
		meta.Conditions = append(meta.Conditions, Condition{
			TempIndex: temp, Replicates: len(parts),
			MeanAlpha: Float(nan),
		})
		for s, part := range parts {
			meta.Examples = max(meta.Examples, len(part))
			for order := range len(part) {
				if part[order] == ' ' {
					continue
				}
				r := testRecord(Key{Replicate: s, TempIndex: temp, Order: order})
				r.Noise, r.Temperature = noise.Label, label
				letter(&r, part[order])
				records = append(records, r)
			}
		}
	}
	return meta, records
}

func TestTableWarns(t *testing.T) {
	t.Parallel()
	many := strings.Repeat("rrw", 40)
	tests := []struct {
		name  string
		noise Noise
		words []string
		want  []string // parts of the table's warnings, in order
		last  []Warning
	}{
		{
			"nothing to say",
			Noise{Label: "none", Kind: KindNone},
			[]string{many, many},
			nil, nil,
		},
		{
			"few questions",
			Noise{Label: "none", Kind: KindNone},
			[]string{strings.Repeat("rw", 10)},
			[]string{"only 20 questions: a 95 % interval reaches up to 20 points"},
			[]Warning{WarnFewQuestions},
		},
		{
			"one seed",
			Noise{Label: "activation", Kind: "activation"},
			[]string{many},
			[]string{"One noise seed under activation"},
			[]Warning{WarnOneSeed},
		},
		{
			"few chips",
			Noise{Label: "weight", Kind: "weight", Chips: true},
			[]string{many + "/" + many},
			[]string{"Fewer than 3 noise seeds under weight: there is no interval for new chips"},
			[]Warning{WarnFewChips},
		},
		{
			"incomplete",
			Noise{Label: "none", Kind: KindNone},
			[]string{many, many[:110]},
			[]string{"none, T1: 110 of 120 samples are there"},
			[]Warning{WarnIncomplete},
		},
		{
			"failed",
			Noise{Label: "none", Kind: KindNone},
			[]string{many + "exx"},
			[]string{"none, T0: 3 samples failed and are in no accuracy (2 with logits that were not finite, " +
				"1 with an error)"},
			[]Warning{WarnFailed},
		},
		{
			"one failed",
			Noise{Label: "none", Kind: KindNone},
			[]string{many + "x"},
			[]string{"none, T0: 1 sample failed and is in no accuracy (1 with logits that were not finite, " +
				"0 with an error)"},
			[]Warning{WarnFailed},
		},
		{
			"one question",
			Noise{Label: "none", Kind: KindNone},
			[]string{"r"},
			[]string{"There is only 1 question: a 95 % interval reaches up to "},
			[]Warning{WarnFewQuestions},
		},
		{
			"truncated",
			Noise{Label: "none", Kind: KindNone},
			[]string{many + strings.Repeat("t", 10)},
			[]string{"More than 5 % of the samples are truncated under none, T0"},
			[]Warning{WarnTruncated},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			meta, records := smallRun(tt.noise, tt.words...)
			table := collect(t, meta, records).Table()
			got := table.Warnings
			if last := table.Rows[len(table.Rows)-1].Warnings; !slices.Equal(last, tt.last) {
				t.Errorf("the last row's warnings are %q, want %q", last, tt.last)
			}
			if len(got) != len(tt.want) {
				t.Fatalf("warnings %q, want %q", got, tt.want)
			}
			for i, w := range tt.want {
				if !strings.Contains(got[i], w) {
					t.Errorf("warning %q, want %q in it", got[i], w)
				}
			}
		})
	}
}

// The interval for new chips takes three of them. It holds the one for these chips, also where nothing differs, and no
// accuracy that cannot be.
func TestNewChips(t *testing.T) {
	t.Parallel()
	noise := Noise{Label: "weight", Kind: "weight", Chips: true}
	all, none := strings.Repeat("r", 40), strings.Repeat("w", 40)
	for _, tt := range []struct {
		words []string
		chips bool
	}{
		{[]string{all + "/" + none, all + "/" + all}, false},
		{[]string{all + "/" + none + "/" + all, all + "/" + all + "/" + none}, true},
		{[]string{all + "/" + all + "/" + all, all + "/" + all + "/" + all}, true},
	} {
		meta, records := smallRun(noise, tt.words...)
		set := collect(t, meta, records)
		c, err := Compare([]Source{{Name: "run", Set: set}}, CompareOptions{})
		if err != nil {
			t.Fatal(err)
		}
		warned := strings.Contains(strings.Join(c.Warnings, "\n"), "Fewer than 3 noise seeds under weight")
		row, pair := set.Table().Rows[1], c.Pairs[0]
		if (row.NewChips != nil) != tt.chips || (row.DiffNewChips != nil) != tt.chips ||
			(pair.NewChips != nil) != tt.chips || warned == tt.chips {
			t.Errorf("%v: %v, %v, %v, warnings %q", tt.words, row.NewChips, row.DiffNewChips, pair.NewChips, c.Warnings)
			continue
		}
		if !tt.chips {
			continue
		}
		if in := row.NewChips; in[0] < 0 || in[1] > 1 || in[0] > row.CI[0] || in[1] < row.CI[1] {
			t.Errorf("%v: %v for new chips, %v for these", tt.words, in, row.CI)
		}
		if in := pair.NewChips; in[0] < -1 || in[1] > 1 || in[0] > pair.CI[0] || in[1] < pair.CI[1] {
			t.Errorf("%v: %v for new chips, %v for these", tt.words, in, pair.CI)
		}
	}
}

// sampledRun is a run of one noise with so many samples of each question; verdict says what each of them came to.
func sampledRun(noise Noise, replicates, examples, samples, temps int, verdict func(Key) byte) (Meta, []Record) {
	meta := Meta{Name: "sampled", Fingerprint: testRun, Examples: examples, Noises: []Noise{noise}}
	var records []Record
	for temp := range temps {
		meta.Temps = append(meta.Temps, Temp{Label: fmt.Sprintf("T%d", temp)})
		meta.Conditions = append(meta.Conditions, Condition{
			TempIndex: temp, Replicates: replicates, Samples: samples, MeanAlpha: Float(nan),
		})
	}
	for _, k := range sampled(testGrid(1, replicates, temps, examples), samples) {
		r := testRecord(k)
		r.Noise, r.Temperature = noise.Label, meta.Temps[k.TempIndex].Label
		letter(&r, verdict(k))
		records = append(records, r)
	}
	return meta, records
}

// A bootstrap of questions that are all alike has an interval without width, which is said.
func TestNoWidth(t *testing.T) {
	t.Parallel()
	verdict := func(k Key) byte { // at the second temperature one question has no right answer
		if k.TempIndex == 1 && k.Order == 0 || k.Sample == 1 && k.Order == 1 {
			return 'w'
		}
		return 'r'
	}
	meta, records := sampledRun(Noise{Label: "none", Kind: KindNone}, 1, 120, 2, 2, verdict)
	meta.K = []int{1, 2}
	set := collect(t, meta, records)
	table := set.Table()
	want := []string{"No question differs from the others in pass@2 under none, T0: the interval there has no width, " +
		"and says nothing about other questions."}
	if !slices.Equal(table.Warnings, want) || !slices.Equal(table.Rows[0].Warnings, []Warning{WarnNoWidth}) ||
		len(table.Rows[1].Warnings) > 0 {
		t.Errorf("warnings %q, of the rows %q and %q", table.Warnings, table.Rows[0].Warnings, table.Rows[1].Warnings)
	}
	says := strings.Join(set.Explain(), "\n")
	if !strings.Contains(says, "100.0 % [100.0, 100.0], without width as no question differs, without noise (T0)") {
		t.Errorf("explain:\n%s", says)
	}
}

// Several samples of a question are one cluster, and pair by their number.
func TestSeveralSamplesOfAQuestion(t *testing.T) {
	t.Parallel()
	noise := Noise{Label: "weight", Kind: "weight", Chips: true}
	verdict := func(k Key) byte { // the second sample of every other question is gained at the second temperature
		if (k.Order+k.Replicate)%3 == 0 || k.TempIndex == 1 && k.Sample == 1 && k.Order%2 == 0 {
			return 'r'
		}
		return 'w'
	}
	meta, records := sampledRun(noise, 3, 40, 2, 2, verdict)
	set := collect(t, meta, records)
	row := set.Table().Rows[1]
	if row.N != 240 || row.Planned != 240 || row.Samples != 240 || row.Questions != 40 || row.Seeds != 3 ||
		row.NewChips == nil {
		t.Errorf("row %+v", row)
	}
	c, err := Compare([]Source{{Name: "run", Set: set}}, CompareOptions{IDs: true})
	if err != nil {
		t.Fatal(err)
	}
	p := c.Pairs[0]
	if p.N != 240 || *p.Lost != 0 || *p.Gained != 40 || p.Method != MethodSignFlip || p.Replicates != 3 {
		t.Errorf("pair %+v, gained %d, lost %d", p, *p.Gained, *p.Lost)
	}
	for _, id := range p.GainedIDs {
		if id.Sample != 1 {
			t.Errorf("gained %+v", id)
		}
	}
	if list := idList(p.GainedIDs[:2]); list != "100/1/1 100/2/1" {
		t.Errorf("ids %q", list)
	}

	meta.K = []int{1, 2}
	at := collect(t, meta, records).Table().Rows
	// By hand: without the gain (Order+Replicate)%3 == 0 gives two right samples or none; with it an even order has one
	// more.
	none, gained, both := 0.0, 0.0, 0.0
	for order := range 40 {
		for r := range 3 {
			first, second := (order+r)%3 == 0, (order+r)%3 == 0 || order%2 == 0
			none += boolTo(first) / 120
			gained += boolTo(first || second) / 120
			both += (boolTo(first) + boolTo(second)) / 240 // a majority of two that differ is drawn
		}
	}
	near := func(what string, got Float, want float64) {
		if math.Abs(float64(got)-want) > 1e-12 {
			t.Errorf("%s is %v, want %v", what, got, want)
		}
	}
	near("pass@1", at[1].AtK[0].Pass.Value, float64(at[1].Accuracy))
	near("pass@2 of the reference", at[0].AtK[1].Pass.Value, none)
	near("pass@2", at[1].AtK[1].Pass.Value, gained)
	near("maj@2", at[1].AtK[1].Maj.Value, both)
	near("the difference of pass@2", at[1].AtK[1].Pass.Diff, gained-none)
	if d := at[1].AtK[1].Pass; d.DiffCI == nil || d.DiffNewChips == nil ||
		!(d.DiffCI[0] < d.Diff && d.Diff < d.DiffCI[1]) {
		t.Errorf("pass@2 %+v", d)
	}
	c, err = Compare([]Source{{Name: "run", Set: collect(t, meta, records)}}, CompareOptions{})
	if err != nil {
		t.Fatal(err)
	}
	near("pass@2 of A in the comparison", c.Pairs[0].AtK[1].Pass.A, none)
	near("the difference in the comparison", c.Pairs[0].AtK[1].Pass.Diff, gained-none)
	meta.K = nil

	// A replicate whose second samples are missing has the numbers of a run with one sample.
	var firsts []Record
	for _, r := range records {
		if r.Sample == 0 {
			firsts = append(firsts, r)
		}
	}
	two := collect(t, meta, firsts).Table()
	for i := range meta.Conditions {
		meta.Conditions[i].Samples = 0
	}
	one := collect(t, meta, firsts).Table()
	if !strings.Contains(strings.Join(two.Warnings, "\n"), "120 of 240 samples are there") {
		t.Errorf("warnings %q", two.Warnings)
	}
	two.Rows[1].Planned, two.Rows[1].Warnings = one.Rows[1].Planned, one.Rows[1].Warnings
	if diff := cmp.Diff(one.Rows[1], two.Rows[1], sameFloats, cmpopts.IgnoreUnexported(Row{})); diff != "" {
		t.Errorf("one sample against two, of which one is missing:\n%s", diff)
	}
	if _, err := Collect(meta, yieldAll(records)); err == nil || !strings.Contains(err.Error(), "no place for it") {
		t.Errorf("a second sample of a run with one: %v", err)
	}
}

func boolTo(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// One greedy sample under a chip stands for all samples of its question, and pairs with each of another condition.
func TestOneSampleStandsForAll(t *testing.T) {
	t.Parallel()
	noise := Noise{Label: "weight", Kind: "weight", Chips: true}
	meta, records := sampledRun(noise, 2, 10, 4, 2, func(k Key) byte {
		if k.TempIndex == 0 && k.Order%2 == 0 || k.TempIndex == 1 && k.Sample == 3 {
			return 'r'
		}
		return 'w'
	})
	meta.K = []int{1, 4}
	meta.Conditions[0].Samples, meta.Conditions[0].OneSample = 0, true
	records = slices.DeleteFunc(records, func(r Record) bool { return r.TempIndex == 0 && r.Sample > 0 })
	set := collect(t, meta, records)
	if text := strings.Join(set.Explain(), " "); !strings.Contains(text,
		"pass@4, the share of questions that at least one of 4 samples gets right, is at best 100.0 % [100.0, 100.0], "+
			"without width as no question differs, under weight (T1).") {
		t.Errorf("the explanation of four samples: %s", text)
	}
	rows := set.Table().Rows
	if rows[0].N != 20 || rows[1].N != 80 || rows[1].PairedN != 80 {
		t.Errorf("%d and %d samples, %d pairs", rows[0].N, rows[1].N, rows[1].PairedN)
	}
	if p := rows[0].AtK[1]; p.Pass.Value != 0.5 || p.Maj.Value != 0.5 {
		t.Errorf("four times the same sample: %+v", p)
	}
	if p := rows[1].AtK[1].Pass; p.Value != 1 || p.Diff != 0.5 {
		t.Errorf("pass@4 %+v", p)
	}
}

// A quantiser draws nothing: one noise seed of it is no lack, and several are of the sampling.
func TestDeterministicNoise(t *testing.T) {
	t.Parallel()
	for _, fixed := range []bool{false, true} {
		noise := Noise{Label: "weights int4", Kind: "int weights", Deterministic: fixed}
		meta, records := smallRun(noise, "rrwn")
		set := collect(t, meta, records)
		said := strings.Join(append(set.Table().Warnings, set.Explain()...), " ")
		if strings.Contains(said, "One noise seed under") == fixed || strings.Contains(said, "drawn once") == fixed {
			t.Errorf("deterministic %v: %s", fixed, said)
		}
		meta, records = sampledRun(noise, 2, 5, 1, 1, func(Key) byte { return 'r' })
		notes := strings.Join(collect(t, meta, records).Table().Notes, " ")
		if strings.Contains(notes, "seeds of the sampling alone") != fixed {
			t.Errorf("deterministic %v, two seeds: %s", fixed, notes)
		}
	}
}

// A wrong sample in whose text the right answer stands has reached it.
func TestReachedColumn(t *testing.T) {
	t.Parallel()
	meta, records := smallRun(Noise{Label: "none", Kind: KindNone}, "rrwntTex")
	if row := collect(t, meta, records).Table().Rows[0]; row.ReachedShare.Finite() || row.Wrong != 3 {
		t.Errorf("without right answers: %v of %d", row.ReachedShare, row.Wrong)
	}
	for i := range records {
		records[i].Text = "first 18, then 3"
		meta.Golds = append(meta.Golds, "18")
	}
	meta.Golds[3] = "19"
	if row := collect(t, meta, records).Table().Rows[0]; row.Reached != 2 || float64(row.ReachedShare) != 2.0/3 {
		t.Errorf("%d of %d, share %v", row.Reached, row.Wrong, row.ReachedShare)
	}
}

// A failed sample is in no accuracy; a truncated one counts as what it reads.
func TestTableCounts(t *testing.T) {
	t.Parallel()
	meta, records := smallRun(Noise{Label: "none", Kind: KindNone}, "rrwntTex")
	row := collect(t, meta, records).Table().Rows[0]
	if row.N != 6 || row.Samples != 8 || row.Correct != 3 || row.Accuracy != 0.5 || row.Failed() != 2 || row.OK != 3 {
		t.Errorf("row %+v", row)
	}
	near(t, "truncated share", row.TruncatedShare, 2.0/6, 0)
	near(t, "no answer share", row.NoAnswerShare, 1.0/6, 0)
}

func TestTableOfNothing(t *testing.T) {
	t.Parallel()
	meta, _ := smallRun(Noise{Label: "weight", Kind: "weight", Chips: true}, "rr/rr", "rw/rw")
	table := collect(t, meta, nil).Table()
	for _, format := range Formats() {
		var buf bytes.Buffer
		if err := table.Write(&buf, format); err != nil {
			t.Errorf("%s: %v", format, err)
		}
		if strings.Contains(buf.String(), "NaN") {
			t.Errorf("%s speaks of NaN:\n%s", format, &buf)
		}
	}
	if row := table.Rows[1]; row.N != 0 || row.Accuracy.Finite() || row.P.Finite() {
		t.Errorf("row %+v", row)
	}
	if err := table.Write(&bytes.Buffer{}, "html"); err == nil {
		t.Error("an unknown format is written")
	}
	if _, err := ParseFormat("html"); err == nil {
		t.Error("an unknown format is read")
	}
}

func TestSharedSamples(t *testing.T) {
	t.Parallel()
	meta, records := smallRun(Noise{Label: "none", Kind: KindNone}, strings.Repeat("rw", 60), strings.Repeat("rr", 60))
	zero := 0
	meta.Temps = append(meta.Temps, Temp{Label: "constant_tstar"})
	meta.Conditions = append(meta.Conditions, Condition{TempIndex: 2, Replicates: 1, SamplesOf: &zero, MeanAlpha: 0})
	set := collect(t, meta, records)
	table := set.Table()
	row := table.Rows[2]
	if row.Accuracy != 0.5 || row.Diff != 0 || row.P != 1 || row.SamplesOf != "T0" {
		t.Errorf("row %+v", row)
	}
	if !strings.Contains(strings.Join(table.Notes, "\n"), "constant_tstar shares the samples of T0") {
		t.Errorf("notes %q", table.Notes)
	}
	c, err := Compare([]Source{{Name: "a", Set: set}}, CompareOptions{})
	if err != nil {
		t.Fatal(err)
	}
	// Of three pairs one compares samples with themselves: the family has two.
	if len(c.Pairs) != 3 || !c.Pairs[1].SameSamples || c.Pairs[0].PHolm != 2*c.Pairs[0].P || c.Pairs[1].PHolm != 1 {
		t.Errorf("pairs %+v", c.Pairs)
	}
}

func TestCollectRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		change func(m *Meta, r *[]Record)
		want   string
	}{
		{"twice", func(_ *Meta, r *[]Record) { *r = append(*r, (*r)[0]) }, "stands there twice"},
		{
			"another run", func(_ *Meta, r *[]Record) { (*r)[1].Run = "other" },
			"belongs to the run with fingerprint other",
		},
		{"beyond the examples", func(_ *Meta, r *[]Record) { (*r)[1].Order = 4 }, "no place for it"},
		{"beyond the replicates", func(_ *Meta, r *[]Record) { (*r)[1].Replicate = 1 }, "no place for it"},
		{"negative", func(_ *Meta, r *[]Record) { (*r)[1].Order = -1 }, "no place for it"},
		{"an unknown condition", func(_ *Meta, r *[]Record) { (*r)[1].TempIndex = 7 }, "no place for it"},
		{"another name", func(_ *Meta, r *[]Record) { (*r)[1].Noise = "weight" }, `called "weight"`},
		{"an id at two places", func(_ *Meta, r *[]Record) { (*r)[1].ID = (*r)[0].ID }, "is also example 0"},
		{"two ids at a place", func(_ *Meta, r *[]Record) { (*r)[4].ID = 999 }, "another record of the same place"},
		{"other temperatures", func(m *Meta, r *[]Record) {
			m.Conditions[0].TSHA, (*r)[0].TSHA = "0123456789", "abcdefghijk"
		}, "the temperatures abcdefgh, and its condition has 01234567 now"},
		{"no fingerprint", func(m *Meta, _ *[]Record) { m.Fingerprint = "" }, "no fingerprint"},
		{"no examples", func(m *Meta, _ *[]Record) { m.Examples = 0 }, "0 examples"},
		{"too many examples", func(m *Meta, _ *[]Record) { m.Examples = MaxExamples + 1 }, "examples"},
		{"no conditions", func(m *Meta, _ *[]Record) { m.Conditions = nil }, "no conditions"},
		{"a condition off the axes", func(m *Meta, _ *[]Record) { m.Conditions[0].TempIndex = 9 }, "its axes lack"},
		{"a condition twice", func(m *Meta, _ *[]Record) { m.Conditions[1].TempIndex = 0 }, "stands twice"},
		{"no replicates", func(m *Meta, _ *[]Record) { m.Conditions[0].Replicates = 0 }, "0 replicates"},
		{"deterministic twice", func(m *Meta, _ *[]Record) {
			m.Conditions[0].Deterministic, m.Conditions[0].Replicates = true, 2
		}, "deterministic"},
		{"equal labels", func(m *Meta, _ *[]Record) { m.Temps[1].Label = "T0" }, "two temperatures"},
		{"equal noises", func(m *Meta, _ *[]Record) { m.Noises = append(m.Noises, m.Noises[0]) }, "two noises"},
		{
			"shares with nobody",
			func(m *Meta, _ *[]Record) { m.Conditions[1].SamplesOf = new(int); *m.Conditions[1].SamplesOf = 5 },
			"none of its own",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			meta, records := smallRun(Noise{Label: "none", Kind: KindNone}, "rwrw", "rrrr")
			tt.change(&meta, &records)
			_, err := Collect(meta, yieldAll(records))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
}

func TestReadTableRefuses(t *testing.T) {
	t.Parallel()
	meta, records := smallRun(Noise{Label: "none", Kind: KindNone}, "rwrw", "rrrr")
	var buf bytes.Buffer
	if err := collect(t, meta, records).Table().Write(&buf, FormatJSON); err != nil {
		t.Fatal(err)
	}
	good := buf.String()
	for name, c := range map[string][3]string{
		"schema":         {`"schema": 1`, `"schema": 2`, "schema is 2"},
		"unknown key":    {`"rows"`, `"colour": 1, "rows"`, "unknown field"},
		"twice":          {`"temperature": "T1"`, `"temperature": "T0"`, "stands there twice"},
		"wrong accuracy": {`"accuracy": 0.5`, `"accuracy": 1.5`, "the accuracy is 1.5"},
		"wrong correct":  {`"correct": 2`, `"correct": 5`, "5 of 4 are correct"},
		"effective n":    {`"effective_n": 4`, `"effective_n": 0`, "effective n"},
		"edited correct": {`"correct": 2`, `"correct": 3`, "row 0: the accuracy is 0.5, but 3 of 4 are correct"},
		"neither":        {good, "anything", "it is neither a run directory nor a table.json"},
		"not JSON":       {`{`, ``, "invalid character"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if !strings.Contains(good, c[0]) {
				t.Fatalf("the table has no %s", c[0])
			}
			path := filepath.Join(t.TempDir(), "table.json")
			writeFile(t, path, []byte(strings.Replace(good, c[0], c[1], 1)))
			_, err := ReadTable(path)
			if err == nil || !strings.Contains(err.Error(), c[2]) || !strings.Contains(err.Error(), path) {
				t.Errorf("%v, want %q", err, c[2])
			}
		})
	}
	if _, err := ReadTable(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a missing table is read")
	}
}

func TestEscapes(t *testing.T) {
	t.Parallel()
	tests := []struct{ in, md, tex string }{
		{"constant_tstar", "constant_tstar", `constant\_tstar`},
		{"a|b\nc", `a\|b c`, `a\textbar{}b c`},
		{"<script>", `\<script\>`, `\textless{}script\textgreater{}`},
		{
			"T*(t) 50% & ~$#^{}\\", `T\*(t) 50% & ~$#^{}\\`,
			`T*(t) 50\% \& \textasciitilde{}\$\#\textasciicircum{}\{\}\textbackslash{}`,
		},
		{"[-1.5, +2.0]", `[-1.5, +2.0]`, `{[}$-$1.5, +2.0{]}`},
		{"[a](b)", `[a]\(b)`, `{[}a{]}(b)`},
		{"71.2 ± 0.4 – x-1", "71.2 ± 0.4 – x-1", `71.2 $\pm$ 0.4 -- x-1`},
		{"\xff\u202e\x1b[31m", "\ufffd  [31m", "\ufffd  {[}31m"},
	}
	for _, tt := range tests {
		if got := escapeMarkdown(tt.in); got != tt.md {
			t.Errorf("escapeMarkdown(%q) = %q, want %q", tt.in, got, tt.md)
		}
		if got := escapeTeX(tt.in); got != tt.tex {
			t.Errorf("escapeTeX(%q) = %q, want %q", tt.in, got, tt.tex)
		}
	}
}

func TestNumbersForPeople(t *testing.T) {
	t.Parallel()
	got := []string{
		points(0.0123), points(-0.0123), points(-0.00001), points(0.00049), points(Float(nan)),
		pValue(1), pValue(0.00009), pValue(0.0001), pValue(Float(nan)), percent(1, 1), number(-0.00001, 2),
	}
	want := []string{"+1.2", "-1.2", "0.0", "0.0", none, "1.0000", "<0.0001", "0.0001", none, "100.0", "0.00"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func FuzzReadTable(f *testing.F) {
	meta, records := smallRun(Noise{Label: "weight", Kind: "weight", Chips: true}, "rwrw/rwtn", "rrrr/exTr")
	s, err := Collect(meta, yieldAll(records))
	if err != nil {
		f.Fatal(err)
	}
	var buf bytes.Buffer
	if err := s.Table().Write(&buf, FormatJSON); err != nil {
		f.Fatal(err)
	}
	f.Add(buf.Bytes())
	f.Add([]byte(`{"schema":1}`))
	f.Add([]byte(`{"schema":1,"rows":[{"n":1,"correct":1,"accuracy":1,"effective_n":1e-300},{"noise":"\u0000","ci":null}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		table, err := parseTable(data)
		if err != nil {
			return
		}
		for _, format := range Formats() {
			if err := table.Write(&bytes.Buffer{}, format); err != nil {
				t.Fatal(err)
			}
		}
		c, err := Compare([]Source{{Name: "a", Table: table}, {Name: "b", Table: table}}, CompareOptions{})
		if err != nil {
			return
		}
		for _, format := range Formats() {
			if err := c.Write(&bytes.Buffer{}, format); err != nil {
				t.Fatal(err)
			}
		}
	})
}
