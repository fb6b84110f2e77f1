package results

import (
	"regexp"
	"strings"
	"testing"
)

// gridRun is a run whose verdicts stand in words by noise and temperature; see smallRun.
func gridRun(noises []Noise, temps []string, words [][]string) (Meta, []Record) {
	meta := Meta{
		Name: "grid", Fingerprint: testRun, Noises: noises,
		Settings: map[string]string{"model": "gsm-tiny 0123456789ab"},
	}
	for _, label := range temps {
		meta.Temps = append(meta.Temps, Temp{Label: label})
	}
	var records []Record
	for n, noise := range noises {
		for temp, word := range words[n] {
			c := Condition{
				NoiseIndex: n, TempIndex: temp, Replicates: 1 + strings.Count(word, "/"),
				MeanAlpha: Float(nan),
			}
			if word == "same" {
				zero := 0
				c.SamplesOf, c.Replicates = &zero, 1+strings.Count(words[n][0], "/")
			} else {
				for s, part := range strings.Split(word, "/") {
					meta.Examples = max(meta.Examples, len(part))
					for order := range len(part) {
						r := testRecord(Key{NoiseIndex: n, Replicate: s, TempIndex: temp, Order: order})
						r.Noise, r.Temperature = noise.Label, temps[temp]
						letter(&r, part[order])
						records = append(records, r)
					}
				}
			}
			meta.Conditions = append(meta.Conditions, c)
		}
	}
	return meta, records
}

var (
	quiet      = Noise{Label: "none", Kind: KindNone}
	activation = Noise{Label: "activation 0.1", Kind: "activation"}
	weight     = Noise{Label: "weight 0.2", Kind: "weight", Chips: true}
)

// word is n right answers among all.
func word(right, all int) string {
	return strings.Repeat("r", right) + strings.Repeat("w", all-right)
}

func TestExplain(t *testing.T) {
	t.Parallel()
	three := func(right, all int) string {
		return strings.Join([]string{word(right, all), word(right, all), word(right, all)}, "/")
	}
	for _, tc := range []struct {
		name   string
		noises []Noise
		temps  []string
		words  [][]string
		want   []string // a pattern for each sentence
	}{
		{
			"one noise that costs, one way to sample",
			[]Noise{quiet, activation},
			[]string{"greedy"},
			[][]string{{word(190, 200)}, {word(150, 200)}},
			[]string{
				`^Without noise, decoding greedily, gsm-tiny answers 95\.0 % of 200 questions correctly \(95 % interval \[91\.0, 97\.3\]\)\.$`,
				`^Under activation 0\.1 accuracy falls by 20\.0 points \[1\d\.\d, 2\d\.\d\], to 75\.0 %\.$`,
				`^Only one way to sample was tried, greedy decoding, so the run says nothing about temperatures\.$`,
				`^The noise of each question was drawn once \(noise_seeds: 1\), so how much draws differ is not known\.$`,
				`^All of this holds for gsm-tiny, these 200 questions and these settings; the widest 95 % interval of an accuracy is ± \d\.\d points\.$`,
			},
		},
		{
			"a temperature that gives back, three chips",
			[]Noise{quiet, weight},
			[]string{"T=1", "T=0.9"},
			[][]string{{three(190, 200), "same"}, {three(140, 200), three(160, 200)}},
			[]string{
				`^Without noise, at T=1, `,
				`^Under weight 0\.2 accuracy falls by 25\.0 points \[.*\], to 70\.0 %\.$`,
				`^T=0\.9 instead of T=1 raises accuracy by 10\.0 points \[\d+\.\d, 1\d\.\d\] under weight 0\.2, where the noise costs 25\.0\.$`,
				`^The intervals are for the 3 chips that were drawn; for new ones the interval of accuracy under weight 0\.2 is \[.*\] instead of \[.*\]\.$`,
				`^All of this holds`,
			},
		},
		{
			"nothing shows among few questions",
			[]Noise{quiet, activation},
			[]string{"T=1", "T*"},
			[][]string{{word(7, 10), "same"}, {word(6, 10), word(7, 10)}},
			[]string{
				`^Without noise`,
				`^Under activation 0\.1 no difference shows: -10\.0 points \[-30\.0, 0\.0\], and one of less than \d+\.\d points could hide among so few samples\.$`,
				`^T\* instead of T=1 shows no difference under activation 0\.1: \+10\.0 points \[0\.0, 30\.0\], and one of less than \d+\.\d points could hide among so few samples\.$`,
				`drawn once`,
				`these 10 questions .*, too wide to conclude much\.$`,
			},
		},
		{
			"several noises and cut answers",
			[]Noise{quiet, activation, weight, {Label: "output 0.1", Kind: "output"}},
			[]string{"greedy"},
			[][]string{
				{word(180, 200)},
				{word(160, 200)},
				{word(100, 180) + strings.Repeat("t", 20)},
				{word(179, 200)},
			},
			[]string{
				`^Without noise`,
				`^Accuracy falls under 2 of 3 noises, least under activation 0\.1, by 10\.0 points \[.*\], and most under weight 0\.2, by 40\.0 points \[.*\], to 50\.0 %; under the other one no fall shows\.$`,
				`^Only one way to sample`,
				`^One chip was drawn`,
				`^Under weight 0\.2 and with greedy decoding, 10\.0 % of the samples end at the limit of tokens; they count as wrong `,
				`^All of this`,
			},
		},
		{
			"no clean condition, not complete, failures",
			[]Noise{activation, weight},
			[]string{"greedy"},
			[][]string{{word(60, 100)}, {word(20, 60) + "x"}},
			[]string{
				`^The run is not complete: 161 of 200 samples are there, and what follows may change; 1 failed and counts nowhere\.$`,
				`^The run has no condition without noise, so it cannot say what noise costs gsm-tiny; accuracy with greedy decoding is 60\.0 % \(95 % interval \[.*\]\) under activation 0\.1 and 33\.3 % \[.*\] under weight 0\.2\.$`,
				`^Only one way`,
				`^One chip was drawn`,
				`^All of this`,
			},
		},
		{
			"temperatures that do this and that",
			[]Noise{quiet, activation, {Label: "output 0.1", Kind: "output"}, {Label: "cache 0.1", Kind: "cache"}},
			[]string{"T=1", "greedy", "T=0.5", "T=1.5"},
			[][]string{
				{word(160, 200), word(190, 200), word(190, 200), word(100, 200)},
				{word(100, 200), word(150, 200), word(99, 200), word(50, 200)},
				{word(110, 200), word(60, 200), word(110, 200), word(70, 200)},
				{word(160, 180) + strings.Repeat("n", 20), word(160, 200), word(160, 200), word(40, 200)},
			},
			[]string{
				`^Without noise`,
				`^Accuracy falls under 2 of 3 noises, .*; under the other one no fall shows\.$`,
				`^Greedy decoding instead of T=1 raises accuracy by 25\.0 points \[.*\] under activation 0\.1, where the noise costs 30\.0, and by 15\.0 points \[.*\] without noise; it lowers accuracy by 25\.0 points \[.*\] under output 0\.1; no difference shows under cache 0\.1: 0\.0 points .*\.$`,
				`^T=0\.5 instead of T=1 raises accuracy by 15\.0 points \[.*\] without noise; in the other 3 conditions no difference shows \(the widest interval is \[-1\.5, 0\.0\], under activation 0\.1\)\.$`,
				`^T=1\.5 instead of T=1 lowers accuracy in 4 of 4 conditions, most by 60\.0 points \[.*\] under cache 0\.1\.$`,
				`drawn once`,
				`^Under cache 0\.1 and at T=1, 10\.0 % of the samples give no answer that can be read, and count as wrong\.$`,
				`^All of this`,
			},
		},
		{
			"a temperature without effect",
			[]Noise{quiet, activation},
			[]string{"T=1", "T*"},
			[][]string{{word(90, 100), word(90, 100)}, {word(60, 100), word(60, 100)}},
			[]string{
				`^Without noise`,
				`^Under activation 0\.1 accuracy falls`,
				`^T\* instead of T=1 shows no difference in either condition, since no verdict differs\.$`,
				`drawn once`,
				`^All of this`,
			},
		},
		{
			"what leaves zero out and does not show",
			[]Noise{quiet, activation, weight},
			[]string{"T=1", "greedy", "T=0.5"},
			[][]string{
				{word(30, 60), word(36, 60), word(36, 60)},
				{word(30, 60), word(36, 60), word(31, 60)},
				{word(30, 60), word(31, 60), word(31, 60)},
			},
			[]string{
				`^Without noise`,
				`^Under activation 0\.1 no`,
				`^Under weight 0\.2 no`,
				`^Greedy decoding instead of T=1 shows no difference in any of 3 conditions ` +
					`\(the widest interval is \[3\.3, 18\.3\], .*\); 2 intervals leave 0 out, ` +
					`as \+10\.0 points \[3\.3, 18\.3\] without noise, which chance alone may bring ` +
					`\(p = 0\.19, adjusted for all comparisons of this kind\)\.$`,
				`^T=0\.5 instead of T=1 shows no difference in any of 3 conditions \(the widest .*\); ` +
					`\+10\.0 points \[\d\.\d, 18\.3\] without noise, which chance alone may bring \(p = 0\.19, `,
				`^One chip`,
				`^All of this`,
			},
		},
		{
			"a fall under several noises that does not show",
			[]Noise{quiet, activation, weight, {Label: "output 0.1", Kind: "output"}},
			[]string{"T=1"},
			[][]string{{word(36, 60)}, {word(30, 60)}, {word(35, 60)}, {word(35, 60)}},
			[]string{
				`^Without noise`,
				`^Under none of the 3 noises does a fall of accuracy show; ` +
					`the lowest difference is -10\.0 points \[-18\.3, -3\.3\], under activation 0\.1, ` +
					`which chance alone may bring \(p = 0\.09, adjusted for all comparisons of this kind\)\.$`,
				`^Only one`,
				`^One chip`,
				`^All of this`,
			},
		},
		{
			"no sample yet but at the first temperature",
			[]Noise{quiet, activation},
			[]string{"greedy", "T=1"},
			[][]string{{word(90, 100), ""}, {word(60, 100), ""}},
			[]string{
				`^The run is not complete: 200 of 400 samples are there, and what follows may change\.$`,
				`^Without noise`,
				`^Under activation 0\.1 accuracy falls`,
				`^There is no sample yet that compares another way to sample with greedy decoding\.$`,
				`drawn once`,
				`^All of this`,
			},
		},
		{
			"one question, three noises and none without",
			[]Noise{activation, {Label: "activation 0.2", Kind: "activation"}, {Label: "output 0.1", Kind: "output"}},
			[]string{"T=1"},
			[][]string{{"r"}, {"r"}, {"w"}},
			[]string{
				`accuracy at T=1 is 100\.0 % .* under activation 0\.1, the highest, and 0\.0 % .* under output 0\.1, the lowest\.$`,
				`^Only one way`,
				`drawn once`,
				`^All of this holds for gsm-tiny, this 1 question and these settings; `,
			},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			meta, records := gridRun(tc.noises, tc.temps, tc.words)
			got := collect(t, meta, records).Explain()
			for i, want := range tc.want {
				if i >= len(got) || !regexp.MustCompile(want).MatchString(got[i]) {
					t.Fatalf("sentence %d does not match %s:\n%s", i, want, strings.Join(got, "\n"))
				}
			}
			if len(got) != len(tc.want) {
				t.Errorf("%d sentences, want %d:\n%s", len(got), len(tc.want), strings.Join(got, "\n"))
			}
		})
	}
}

// The intervals in the sentences are those of the table and of compare, to the last digit.
func TestExplainHasTheTablesNumbers(t *testing.T) {
	t.Parallel()
	// So many questions that two streams of the bootstrap hardly give the same interval.
	of := func(word string) string { return strings.Repeat(word, 97) }
	meta, records := gridRun([]Noise{quiet, weight}, []string{"T=1", "greedy"}, [][]string{
		{of("rrrwwwwwrw") + "/" + of("rwrwrwrwww"), of("rrrrrwwwrr") + "/" + of("rrrrrwwwwr")},
		{of("rwwwwwwwrw") + "/" + of("rwwwrwrwww"), of("rrrrrrwwrr") + "/" + of("rrrwrwwrrr")},
	})
	set := collect(t, meta, records)
	e := &explanation{set: set, table: set.Table()}
	e.changes()
	compared, err := Compare([]Source{{Name: "one", Set: set}}, CompareOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(e.change) != 2 || len(compared.Pairs) != 2 {
		t.Fatalf("%d effects, %d pairs", len(e.change), len(compared.Pairs))
	}
	for i, f := range e.change {
		if in := intervalOf(f.diff.CI); in != *f.row.DiffCI || in != compared.Pairs[i].CI {
			t.Errorf("%s: %v, the table has %v, compare %v", rowName(f.row), in, *f.row.DiffCI, compared.Pairs[i].CI)
		}
	}
}

// Whatever is there of a run, there are three to ten sentences, and none has a number that is none.
func TestExplainAlways(t *testing.T) {
	t.Parallel()
	meta, records := goldenRun(readNumbers(t))
	for _, n := range []int{0, 1, 7, len(records) / 2, len(records)} {
		threeToTen(t, n, collect(t, meta, records[:n]).Explain())
	}
	// Everything that there is to say is said of this run, which has no room for all of its noises and temperatures.
	meta, records = gridRun([]Noise{quiet, activation, weight}, []string{"T=1", "T*", "T=0.5", "T=2", "greedy"}, [][]string{
		{word(45, 50), word(40, 50), word(47, 50), word(10, 50), word(48, 50)},
		{word(35, 50), word(30, 50), word(40, 50), word(5, 50), word(42, 50)},
		{word(25, 45) + strings.Repeat("t", 5), word(20, 50), word(30, 50), word(2, 50), word(35, 49) + "x"},
	})
	meta.K = []int{1}
	for i := range meta.Conditions {
		if c := &meta.Conditions[i]; c.TempIndex == 1 {
			c.MeanAlpha = Float(0.1 * float64(c.NoiseIndex))
		}
	}
	got := collect(t, meta, records[1:]).Explain()
	threeToTen(t, len(records), got)
	for _, part := range []string{
		"not complete", "1 failed", "Without noise", "Accuracy falls under 2 of 2", " instead of T=1", "pass@1", "maj@1", "and T* from", "One chip",
		"limit of tokens", "All of this",
	} {
		if !strings.Contains(strings.Join(got, " "), part) {
			t.Errorf("nothing about %q:\n%s", part, strings.Join(got, "\n"))
		}
	}
	one, records := sampledRun(weight, 2, 1, 4, 2, func(Key) byte { return 'r' }) // a question has no interval
	one.K = []int{4}
	threeToTen(t, len(records), collect(t, one, records).Explain())
}

func threeToTen(t *testing.T, n int, got []string) {
	t.Helper()
	if len(got) < 3 || len(got) > 10 {
		t.Errorf("%d records: %d sentences:\n%s", n, len(got), strings.Join(got, "\n"))
	}
	for _, s := range got {
		if strings.Contains(s, "NaN") || strings.Contains(s, "Inf") || strings.Contains(s, "-0.0") ||
			!strings.HasSuffix(s, ".") {
			t.Errorf("%d records: %q", n, s)
		}
	}
}
