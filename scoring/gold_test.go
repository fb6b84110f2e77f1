package scoring

import (
	"strings"
	"testing"
)

// Gold answers are read whole, or not at all.
func TestGoldIsWhole(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"#### 7/20": "0.35", "#### 1.2e3": "1200", "#### 1 200": "1200", "#### 2^5": "32", "#### $18": "18",
		"#### (18)": "18", "#### \u221218": "-18", "#### - 18": "-18",
		"#### 18 dollars": "18", "#### 18%": "18", "#### $1,200.50": "1200.5", "#### 1.2 million": "1200000",
		"#### 12,50 €": "12.5", "#### 2 1/2 hours": "2.5",
		`#### \frac{1}{2}`: "0.5", "#### 1,00,000": "100000", "#### 70'000": "70000", "#### 18.": "18.",
		"#### 18\nThat is all.": "18", "#### -$5": "-5", "#### minus 5": "-5",
		"#### 18 (dollars)": "18", "#### 3 dollars and 50 cents": "3.5", "#### 5.50": "5.50", "#### ¾": "0.75",
		"#### 1e3": "1000", "#### 18 ####": "18", "#### 18\n####\n": "18",
	} {
		if got, err := Gold(text); err != nil || got != want {
			t.Errorf("Gold(%q) = %q, %v; want %q", text, got, err, want)
		}
	}
	for text, words := range map[string]string{
		"#### 3:30": "3:30", "#### 5 feet 6 inches": "feet", "#### 1 hour 30 minutes": "hour",
		"#### 3 apples and 4 pears": "pears", "#### 1-2": "1-2", "#### 10-15": "10-15",
		"#### 9*2=18": "9*2", "#### x = 5": "x = 5", "#### 3x": "3x", "#### 1/0": "1/0", "#### 1.2.3": "1.2.3",
		"#### 12/25/2020": "12/25", "#### 18 or 20": "or", "#### 2^x": "2^x",
		"#### 3\n#### 4": "two", "#### 3 #### 4": "two", "#### 3 ########\nSo 4.": "two", "#### #### 4": "two",
		"#### ,": "not a number", "#### ": "no", "#### none": "no", "18": "no",
	} {
		if got, err := Gold(text); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("Gold(%q) = %q, %v; want an error with %q", text, got, err, words)
		}
	}
}

func TestBareGold(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"18": "18", "145.0": "145", "9 (apples)": "9", " 1,234 ": "1234", "$18": "18", "-3": "-3", "\u22123": "-3",
		"070": "70", "0.5": "0.5", "60%": "60", "2 million": "2000000",
		// Not one number, or none whose decimals end.
		"None": "None", `\frac{1}{3}`: `\frac{1}{3}`, "1/3": "1/3", "3:30": "3:30", "(3, 5)": "(3, 5)", "1,2": "1,2",
		"1, 2": "1, 2", `3\sqrt{2}`: `3\sqrt{2}`, "x^2": "x^2", "3x": "3x",
		"[0,1)": "[0,1)", `\text{(A)}`: `\text{(A)}`, "10_2": "10_2", "6 - 5i": "6 - 5i", "p - q": "p - q",
	} {
		if got, err := BareGold(text); err != nil || got != want {
			t.Errorf("BareGold(%q) = %q, %v; want %q", text, got, err, want)
		}
	}
}

// A gold answer that is no number is compared as text by the robust ladder.
func TestTextGold(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		gold, text string
		want       bool
	}{
		{"None", "The answer is None.", true},
		{"None", "The answer is **none**.", true},
		{"None", "The answer is 5.", false},
		{"3:30", "The answer is 3:30.", true},
		{"3:30", "#### 3:30", true},
		{"3:30", "The answer is 3:31.", false},
		{"Monday", "So it is on a Monday.\n#### Monday", true},
		{"Monday", `\boxed{\text{Monday}}`, true},
		{"Monday", "<answer>monday</answer>", true},
		{`\frac{1}{3}`, "The answer is 1/3.", true},
		{`\frac{1}{2}`, "The answer is 0.5.", true},
		{"(3, 5)", `\boxed{(3,5)}`, true},
		{"(3, 5)", `\boxed{(5,3)}`, false},
		{`3\sqrt{2}`, `so it is $\boxed{3\sqrt{2}}$`, true},
		{`3\sqrt{2}`, `so it is $3\sqrt 2$`, true},
		{`3\sqrt{2}`, `so it is $\boxed{3}$`, false},
	} {
		if v := ladder(t, "robust").Score(Text{Text: tc.text}, tc.gold); v.Correct != tc.want {
			t.Errorf("%q, gold %q: %+v", tc.text, tc.gold, v)
		}
	}
}

// The math ladder reads formulas where they are stated.
func TestMathReads(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ text, want string }{
		{`so $\boxed{\frac{1}{2}}$.`, `\frac{1}{2}`},
		{`first \boxed{1}, no: \boxed{x+1}`, "x+1"},
		{`The answer is $x = 5$.`, "x = 5"},
		{"Final Answer: The final answer is $(3,\\infty)$. I hope it is correct.", `(3,\infty)`},
		{"**Answer:** 3.5 meters", "3.5 meters"},
		{"#### 204", "204"},
		{"<think>\\boxed{3}</think> so \\(\\pi/2\\)", `\pi/2`},
		{"so it is 18 of them", "18"},
		{"The answer is\n\n$$\n\\sqrt{2}\n$$", `\sqrt{2}`},
		{"nothing", ""},
	} {
		v := ladder(t, "math").Score(Text{Text: tc.text}, "1")
		if v.Answer.Value != tc.want {
			t.Errorf("%q: %+v, want %q", tc.text, v, tc.want)
		}
		if v.Found && !strings.Contains(tc.text[v.Answer.Start:v.Answer.End], tc.want) {
			t.Errorf("%q: marked %q", tc.text, tc.text[v.Answer.Start:v.Answer.End])
		}
	}
}
