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
				`^Without noise, decoding greedily, gsm-tiny answers 95\.0 % of 200 questions rightly \[91\.0, 97\.3\]\.$`,
				`^Under activation 0\.1 accuracy falls by 20\.0 points \[1\d\.\d, 2\d\.\d\], to 75\.0 %\.$`,
				`^There is one way to sample, decoding greedily, so nothing is said about temperatures\.$`,
				`^Each noise was drawn once \(noise_seeds: 1\), so nothing is said about other draws of it\.$`,
				`^All of this holds for gsm-tiny on these 200 questions and these settings, where a 95 % interval reaches up to \d\.\d points to either side\.$`,
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
				`^T=0\.9 against T=1: it raises accuracy under weight 0\.2 by 10\.0 points \[\d+\.\d, 1\d\.\d\], where the noise had taken 25\.0\.$`,
				`^The intervals are for the 3 chips that were drawn; on new ones accuracy under weight 0\.2 is within \[.*\] instead of \[.*\]\.$`,
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
				`^Under activation 0\.1 no difference shows: it is -10\.0 points \[-30\.0, 0\.0\]; one below \d+\.\d points could hide among so few samples\.$`,
				`^T\* against T=1: under activation 0\.1 no difference shows, \+10\.0 points \[0\.0, 30\.0\]; one below \d+\.\d points could hide among so few samples\.$`,
				`drawn once`,
				`on these 10 questions .*, which is too wide to conclude much\.$`,
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
				`^A fall of accuracy shows under 2 of 3 noises: the least under activation 0\.1, by 10\.0 points \[.*\], the most under weight 0\.2, by 40\.0 points \[.*\] to 50\.0 %; under the other 1 none does\.$`,
				`^There is one way to sample`,
				`drawn once`,
				`^Under weight 0\.2, decoding greedily, 10\.0 % of the samples end at the limit of tokens and 0\.0 % give no answer; `,
				`^All of this`,
			},
		},
		{
			"no clean condition, not complete, failures",
			[]Noise{activation, weight},
			[]string{"greedy"},
			[][]string{{word(60, 100)}, {word(20, 60) + "x"}},
			[]string{
				`^The run is not complete: 161 of 200 samples are there, and what follows may change\.$`,
				`^1 sample of 161 failed and counts nowhere\.$`,
				`^The run has no condition without noise, so what noise costs gsm-tiny is not known; under activation 0\.1, decoding greedily, it answers 60\.0 % rightly \[.*\]\.$`,
				`^Under weight 0\.2 it answers 33\.3 % rightly \[.*\]\.$`,
				`^There is one way`,
				`drawn once`,
				`^All of this`,
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

// Whatever is there of a run, there are three to ten sentences, and none has a number that is none.
func TestExplainAlways(t *testing.T) {
	t.Parallel()
	meta, records := goldenRun(readNumbers(t))
	for _, n := range []int{0, 1, 7, len(records) / 2, len(records)} {
		got := collect(t, meta, records[:n]).Explain()
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
}
