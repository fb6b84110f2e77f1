package results

import (
	"bytes"
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/gsmeval/gsmeval/scoring/stats"
)

func TestCompareAgainstScipyAndStatsmodels(t *testing.T) {
	t.Parallel()
	g := readNumbers(t)
	meta, records := goldenRun(g)
	c, err := Compare([]Source{{Name: "golden", Set: collect(t, meta, records)}}, CompareOptions{IDs: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Pairs) != 6 {
		t.Fatalf("%d pairs, want 6", len(c.Pairs))
	}
	i := 0
	for _, noise := range g.Noises {
		for _, want := range noise.Pairs {
			got := c.Pairs[i]
			i++
			name := noise.Label + " " + want.A + " " + want.B + ": "
			if got.Noise != noise.Label || got.A != want.A || got.B != want.B || !got.Paired {
				t.Fatalf("%sgot the pair %s %s %s", name, got.Noise, got.A, got.B)
			}
			if got.N != want.N || *got.Gained != want.Gained || *got.Lost != want.Lost || got.Dropped != want.Dropped ||
				len(got.GainedIDs) != want.Gained || len(got.LostIDs) != want.Lost {
				t.Errorf("%sgot %+v, want %+v", name, got, want)
			}
			near(t, name+"acc_a", got.AccA, want.AccA, 1e-12)
			near(t, name+"acc_b", got.AccB, want.AccB, 1e-12)
			near(t, name+"diff", got.Diff, want.Diff, 1e-12)
			near(t, name+"diff of accuracies", got.AccB-got.AccA, want.Diff, 1e-12)
			near(t, name+"se", got.SE, want.SE, 1e-12)
			near(t, name+"p", got.P, want.P, 1e-9)
			near(t, name+"p_holm", got.PHolm, want.PHolm, 1e-9)
			near(t, name+"ci low", got.CI[0], want.CI[0], 0.15*want.SE+1/float64(want.N))
			near(t, name+"ci high", got.CI[1], want.CI[1], 0.15*want.SE+1/float64(want.N))
			method, chips := MethodMcNemar, false
			if noise.Chips {
				method, chips = MethodSignFlip, true
			}
			if got.Method != method || (got.NewChips != nil) != chips {
				t.Errorf("%smethod %s, new chips %v", name, got.Method, got.NewChips)
			}
			if !(got.MDE > 0 && got.MDE < 0.5) {
				t.Errorf("%smde %v", name, got.MDE)
			}
		}
	}
}

func TestCompareBytes(t *testing.T) {
	t.Parallel()
	meta, records := goldenRun(readNumbers(t))
	c, err := Compare([]Source{{Name: "golden", Set: collect(t, meta, records)}}, CompareOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range Formats() {
		var buf bytes.Buffer
		if err := c.Write(&buf, format); err != nil {
			t.Fatal(err)
		}
		compareGolden(t, filepath.Join("testdata", "compare_out."+string(format)), buf.Bytes())
	}
	if err := c.Write(&bytes.Buffer{}, "html"); err == nil {
		t.Error("an unknown format is written")
	}
}

// The keys that programs outside rely on are there, with their types.
func TestCompareContract(t *testing.T) {
	t.Parallel()
	meta, records := smallRun(Noise{Label: "none", Kind: KindNone}, "rrwwr", "rwrre")
	c, err := Compare([]Source{{Name: "run", Set: collect(t, meta, records)}}, CompareOptions{IDs: true})
	if err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	if err := c.Write(&buf, FormatJSON); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Pairs []struct {
			Noise, A, B  string
			N            int
			AccA         *float64 `json:"acc_a"`
			AccB         *float64 `json:"acc_b"`
			Diff         *float64
			CI           []float64
			Gained, Lost int
			P            *float64
			PHolm        *float64 `json:"p_holm"`
			Paired       bool
			Dropped      int
			GainedIDs    []SampleID `json:"gained_ids"`
			LostIDs      []SampleID `json:"lost_ids"`
		}
	}
	if err := json.Unmarshal(buf.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	p := got.Pairs[0]
	// r/r, r/w lost, w/r gained, w/r gained, r/e dropped.
	if p.Noise != "none" || p.A != "T0" || p.B != "T1" || p.N != 4 || *p.AccA != 0.5 || *p.AccB != 0.75 ||
		*p.Diff != 0.25 ||
		len(p.CI) != 2 || p.Gained != 2 || p.Lost != 1 || *p.P != 1 || *p.PHolm != 1 || !p.Paired || p.Dropped != 1 {
		t.Errorf("pair %+v", p)
	}
	if diff := cmp.Diff([]SampleID{{ID: 106}, {ID: 109}}, p.GainedIDs); diff != "" {
		t.Errorf("gained (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]SampleID{{ID: 103}}, p.LostIDs); diff != "" {
		t.Errorf("lost (-want +got):\n%s", diff)
	}
}

// A condition that ran once because nothing in it is random pairs with every replicate of the other.
func TestDeterministicPairsWithEveryReplicate(t *testing.T) {
	t.Parallel()
	for _, first := range []bool{true, false} {
		words := []string{"rwrw", "rrrr/wwww/rwrw"}
		if !first {
			words[0], words[1] = words[1], words[0]
		}
		meta, records := smallRun(Noise{Label: "none", Kind: KindNone}, words...)
		for i := range meta.Conditions {
			meta.Conditions[i].Deterministic = meta.Conditions[i].Replicates == 1
		}
		c, err := Compare([]Source{{Name: "run", Set: collect(t, meta, records)}}, CompareOptions{})
		if err != nil {
			t.Fatal(err)
		}
		p := c.Pairs[0]
		gained, lost := *p.Gained, *p.Lost
		if !first {
			gained, lost = lost, gained
		}
		if p.N != 12 || p.Replicates != 3 || p.Questions != 4 || p.Dropped != 0 || gained != 2 || lost != 2 {
			t.Errorf("deterministic first %v: %+v, gained %d, lost %d", first, p, gained, lost)
		}
	}
}

// change gives a run another identity.
func change(meta Meta, records []Record, run string, ids int) (Meta, []Record) {
	meta.Fingerprint, meta.Name = run, run
	out := make([]Record, len(records))
	for i, r := range records {
		r.Run = run
		r.ID += ids
		out[i] = r
	}
	return meta, out
}

func TestCompareAcrossRuns(t *testing.T) {
	t.Parallel()
	noise := Noise{Label: "none", Kind: KindNone}
	metaA, recordsA := smallRun(noise, "rrww", "rrrr", "wwww")
	metaB, recordsB := smallRun(noise, "rwrr", "rrrr")
	metaB, recordsB = change(metaB, recordsB, "second", 3) // its example 0 is A's example 1
	for i := range recordsB {
		recordsB[i].QuestionSHA = ""
	}
	for i := range recordsA {
		recordsA[i].QuestionSHA = ""
	}
	metaA.Settings = map[string]string{SettingLadder: "seed", "model": "tiny"}
	metaB.Settings = map[string]string{SettingLadder: "seed", "model": "large"}
	a := Source{Name: "runs/a", Set: collect(t, metaA, recordsA)}
	b := Source{Name: "runs/b", Set: collect(t, metaB, recordsB)}
	c, err := Compare([]Source{a, b}, CompareOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Pairs) != 2 {
		t.Fatalf("pairs %+v", c.Pairs)
	}
	p := c.Pairs[0]
	// Shared ids 103, 106, 109: A r w w, B r w r.
	if p.A != "runs/a" || p.B != "runs/b" || p.Temperature != "T0" || p.N != 3 || *p.Gained != 1 || *p.Lost != 0 ||
		p.Dropped != 2 {
		t.Errorf("pair %+v", p)
	}
	notes := strings.Join(c.Notes, "\n")
	for _, want := range []string{
		"Only in runs/a, not in runs/b: none, T2.",
		"runs/a and runs/b differ in model (tiny, large).",
	} {
		if !strings.Contains(notes, want) {
			t.Errorf("notes lack %q:\n%s", want, notes)
		}
	}
	var buf bytes.Buffer
	if err := c.Write(&buf, FormatMarkdown); err != nil || !strings.Contains(buf.String(), "| Temperature |") {
		t.Errorf("%v:\n%s", err, &buf)
	}
}

func TestCompareRefusesWhatCannotBeCompared(t *testing.T) {
	t.Parallel()
	noise := Noise{Label: "none", Kind: KindNone}
	for _, key := range comparableSettings {
		t.Run(key, func(t *testing.T) {
			t.Parallel()
			metaA, recordsA := smallRun(noise, "rrww")
			metaB, recordsB := smallRun(noise, "rwrr")
			metaB, recordsB = change(metaB, recordsB, "second", 0)
			metaA.Settings = map[string]string{key: "one"}
			metaB.Settings = map[string]string{key: "two"}
			a := Source{Name: "a", Set: collect(t, metaA, recordsA)}
			b := Source{Name: "b", Set: collect(t, metaB, recordsB)}
			_, err := Compare([]Source{a, b}, CompareOptions{})
			var different *DifferentError
			if !errors.As(err, &different) || different.Keys[0] != key ||
				!strings.Contains(err.Error(), key+" (one, two)") {
				t.Fatalf("%v", err)
			}
			c, err := Compare([]Source{a, b}, CompareOptions{Allow: []string{key}})
			if err != nil || !strings.Contains(strings.Join(c.Notes, "\n"), key+" (one, two)") {
				t.Errorf("allowed: %v, %+v", err, c)
			}
			delete(metaB.Settings, key)
			b.Set = collect(t, metaB, recordsB)
			if _, err := Compare([]Source{a, b}, CompareOptions{}); !errors.As(err, &different) ||
				different.ValuesB[0] != "unknown" {
				t.Errorf("an unknown value: %v", err)
			}
		})
	}
	metaA, recordsA := smallRun(noise, "rrww")
	metaB, recordsB := smallRun(noise, "rwrr")
	metaB, recordsB = change(metaB, recordsB, "second", 0)
	recordsB[2].QuestionSHA = "another"
	a, b := Source{Name: "a", Set: collect(t, metaA, recordsA)}, Source{Name: "b", Set: collect(t, metaB, recordsB)}
	var different *DifferentError
	if _, err := Compare([]Source{a, b}, CompareOptions{}); !errors.As(err, &different) ||
		different.Keys[0] != SettingData {
		t.Errorf("another question under the same id: %v", err)
	}
	c, err := Compare([]Source{a, b}, CompareOptions{Allow: []string{SettingData}})
	if err != nil || !strings.Contains(strings.Join(c.Warnings, "\n"), "1 of the paired ids") {
		t.Errorf("allowed: %v, %+v", err, c)
	}
	metaC, recordsC := smallRun(Noise{Label: "weight", Kind: "weight"}, "rwrr")
	metaC, recordsC = change(metaC, recordsC, "third", 0)
	for name, tt := range map[string]struct {
		sources []Source
		allow   []string
		want    string
	}{
		"nothing":         {nil, nil, "no run is given"},
		"one temperature": {[]Source{a}, nil, "no two temperatures"},
		"one name": {
			[]Source{a, {Name: "a", Set: b.Set}},
			[]string{SettingData},
			"two runs are called a",
		},
		"no condition in common": {
			[]Source{a, {Name: "c", Set: collect(t, metaC, recordsC)}},
			nil,
			"no condition in common",
		},
		"an unknown setting": {[]Source{a, b}, []string{"model"}, `"model" is no setting`},
	} {
		if _, err := Compare(tt.sources, CompareOptions{Allow: tt.allow}); err == nil ||
			!strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}

func TestCompareTables(t *testing.T) {
	t.Parallel()
	g := readNumbers(t)
	meta, records := goldenRun(g)
	set := collect(t, meta, records)
	table := set.Table()
	within, err := Compare([]Source{{Name: "t", Table: table}}, CompareOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(within.Pairs) != 6 {
		t.Fatalf("%d pairs, want 6", len(within.Pairs))
	}
	for _, p := range within.Pairs {
		if p.Paired || p.Gained != nil || p.Method != MethodTwoProportion || !(p.CI[0] < p.Diff && p.Diff < p.CI[1]) ||
			!(p.P > 0 && p.P <= 1) {
			t.Errorf("pair %+v", p)
		}
	}
	// A run beside a table is taken as its table.
	mixed, err := Compare([]Source{{Name: "t", Table: table}, {Name: "s", Set: set}}, CompareOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(mixed.Pairs) != 6 || mixed.Pairs[0].Diff != 0 || mixed.Pairs[0].Paired {
		t.Errorf("pairs %+v", mixed.Pairs)
	}
	var buf bytes.Buffer
	if err := within.Write(&buf, FormatMarkdown); err != nil || !strings.Contains(buf.String(), "unpaired") {
		t.Errorf("%v:\n%s", err, &buf)
	}
}

func TestCompareSaysWhatIsNotComplete(t *testing.T) {
	t.Parallel()
	meta, records := smallRun(Noise{Label: "none", Kind: KindNone}, "rrwwr", "rw rr")
	set := collect(t, meta, records)
	for _, s := range []Source{{Name: "run", Set: set}, {Name: "run", Table: set.Table()}} {
		c, err := Compare([]Source{s}, CompareOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(strings.Join(c.Warnings, "\n"), "run is not complete: 9 of 10 samples are there.") {
			t.Errorf("warnings %q", c.Warnings)
		}
	}
}

// Which other conditions a run has does not change a pair, and a seed repeats.
func TestPairDependsOnItselfAlone(t *testing.T) {
	t.Parallel()
	noise := Noise{Label: "weight", Kind: "weight", Chips: true}
	g := readNumbers(t)
	one, two := strings.Join(g.Noises[1].Verdicts[0], "/"), strings.Join(g.Noises[1].Verdicts[1], "/")
	find := func(seed uint64, words ...string) Pair {
		meta, records := smallRun(noise, words...)
		c, err := Compare([]Source{{Name: "run", Set: collect(t, meta, records)}}, CompareOptions{Seed: seed})
		if err != nil {
			t.Fatal(err)
		}
		p := c.Pairs[0]
		p.PHolm = 0
		return p
	}
	alone := find(0, one, two)
	if diff := cmp.Diff(alone, find(DefaultSeed, one, two, strings.Join(g.Noises[1].Verdicts[2], "/")),
		sameFloats, cmpopts.IgnoreUnexported(Pair{})); diff != "" {
		t.Errorf("with a third temperature (-alone +with):\n%s", diff)
	}
	if other := find(2, one, two); other.CI == alone.CI {
		t.Error("another seed gives the same interval")
	}
}

func TestFlips(t *testing.T) {
	t.Parallel()
	g := readNumbers(t)
	meta, records := goldenRun(g)
	if _, ok := collect(t, meta, records).Flips(1, 0); ok {
		t.Error("a run without a clean condition has flips")
	}
	meta.Noises[0].Kind = KindNone
	set := collect(t, meta, records)
	for temp := range meta.Temps {
		got, ok := set.Flips(1, temp)
		if !ok {
			t.Fatalf("no flips at temperature %d", temp)
		}
		// By hand: every replicate of the chips against the one replicate, or the same one, without noise.
		var n, worse, better int
		for s, noisy := range g.Noises[1].Verdicts[temp] {
			if s >= len(g.Noises[0].Verdicts[temp]) {
				break // there is no such replicate without noise
			}
			clean := g.Noises[0].Verdicts[temp][s]
			for i := range noisy {
				if strings.ContainsRune("xe ", rune(noisy[i])) || strings.ContainsRune("xe ", rune(clean[i])) {
					continue
				}
				n++
				was, is := strings.ContainsRune("rT", rune(clean[i])), strings.ContainsRune("rT", rune(noisy[i]))
				if was && !is {
					worse++
				}
				if is && !was {
					better++
				}
			}
		}
		if got.N != n || got.RightToWrong != worse || got.WrongToRight != better || n == 0 || worse+better == 0 {
			t.Errorf("temperature %d: %+v, want %d, %d, %d", temp, got, n, worse, better)
		}
		near(t, "p", got.P, stats.McNemarExact(better, worse), 1e-12)
	}
	if _, ok := set.Flips(0, 0); ok {
		t.Error("the clean condition flips itself")
	}
	// Without a random number in it, the clean condition is the same in every replicate.
	for i := range meta.Conditions {
		if c := &meta.Conditions[i]; c.NoiseIndex == 0 {
			c.Deterministic = true
		}
	}
	if got, ok := collect(t, meta, records).Flips(1, 0); !ok || got.Method != MethodSignFlip || got.N < 400 {
		t.Errorf("against a deterministic clean condition: %+v, %v", got, ok)
	}
}
