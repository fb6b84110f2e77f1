package scoring

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gsmeval/gsmeval/internal/finish"
)

// reads scores a finished text and returns what was read, "" for nothing.
func reads(l Ladder, text string) string {
	return l.Score(Text{Text: text, Finish: finish.Stop}, "0").Answer.Value
}

// The texts that other evaluators are known to misread, by the reason. Where
// gold is "2", "1/2" must not be right.
func TestRobustBattery(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, gold, text string
		c                Text    // its circumstances; Finish stop where empty
		want             Verdict // Answer.Value "" for nothing read
	}{
		{
			"full stop after the answer", "18", "The answer is 18.",
			Text{},
			Verdict{Status: StatusOK, Answer: Answer{Value: "18"}, Correct: true},
		},
		{
			"dollars and cents", "29", "It costs $29.00.",
			Text{},
			Verdict{Status: StatusOK, Answer: Answer{Value: "29"}, Correct: true},
		},
		{
			"thousands with a comma", "70000", "He made $70,000",
			Text{},
			Verdict{Status: StatusOK, Answer: Answer{Value: "70000"}, Correct: true},
		},
		{
			"thousands in a box", "70000", `\boxed{70,000}`,
			Text{},
			Verdict{Status: StatusOK, Answer: Answer{Value: "70000"}, Correct: true},
		},
		{
			"LaTeX thousands in a box", "70000", `\boxed{70{,}000}`,
			Text{},
			Verdict{Status: StatusOK, Answer: Answer{Value: "70000"}, Correct: true},
		},
		{
			"thousands with a space", "70000", "He made 70 000",
			Text{},
			Verdict{Status: StatusOK, Answer: Answer{Value: "70000"}, Correct: true},
		},
		{
			"box in display maths", "18", `$$\boxed{18}$$`,
			Text{},
			Verdict{Status: StatusOK, Answer: Answer{Value: "18"}, Correct: true},
		},
		{
			"fraction in a box", "3", `\boxed{\frac{6}{2}}`,
			Text{},
			Verdict{Status: StatusOK, Answer: Answer{Value: "3"}, Correct: true},
		},
		{"Unicode minus", "-5", "It is \u22125", Text{}, Verdict{
			Status: StatusOK, Answer: Answer{Value: "-5"},
			Correct: true,
		}},
		{"range", "15", "between 10-15", Text{}, Verdict{Status: StatusOK, Answer: Answer{Value: "15"}, Correct: true}},
		{"dots after the answer", "18", "18...", Text{}, Verdict{
			Status: StatusOK, Answer: Answer{Value: "18"},
			Correct: true,
		}},
		{
			"a number after the answer", "60", "The answer is 60 percent of 100",
			Text{},
			Verdict{Status: StatusOK, Answer: Answer{Value: "60"}, Correct: true},
		},
		{"half is not two", "2", "The answer is 1/2", Text{}, Verdict{Status: StatusOK, Answer: Answer{Value: "0.5"}}},
		{
			"comma at the end", "18", "72, in total, 18, so yes,",
			Text{},
			Verdict{Status: StatusOK, Answer: Answer{Value: "18"}, Correct: true},
		},
		{
			"recital of the shots", "18", "#### 5 and then #### 18",
			Text{FewShot: true},
			Verdict{Status: StatusOK, Answer: Answer{Value: "18"}, Correct: true},
		},
		{
			"recital of the shots with their questions", "18", "#### 5\n\nQuestion: Janet\n#### 18",
			Text{FewShot: true},
			Verdict{Status: StatusOK, Answer: Answer{Value: "18"}, Correct: true},
		},
		{
			"truncated in its reasoning", "18", "<think> maybe 9 or 12",
			Text{Finish: finish.Length},
			Verdict{Status: StatusTruncated},
		},
		{"reasoning that never ends", "12", "<think> maybe 9 or 12", Text{}, Verdict{Status: StatusTruncated}},
		{
			"run-on to another question", "18", "18\nQuestion: A has 7",
			Text{},
			Verdict{Status: StatusOK, Answer: Answer{Value: "18"}, Correct: true},
		},
		// What the eggs are for takes understanding: a known miss.
		{
			"known miss: a number after the answer in a sentence", "18", "So 18 eggs in 3 days.",
			Text{},
			Verdict{Status: StatusOK, Answer: Answer{Value: "3"}},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			tc.c.Text = tc.text
			if tc.c.Finish == "" {
				tc.c.Finish = finish.Stop
			}
			got := ladder(t, "robust").Score(tc.c, tc.gold)
			if got.Status != tc.want.Status || got.Answer.Value != tc.want.Answer.Value ||
				got.Correct != tc.want.Correct || got.Found != (tc.want.Answer.Value != "") {
				t.Errorf("%q: %+v, want %+v", tc.text, got, tc.want)
			}
		})
	}
}

func TestRobustReads(t *testing.T) {
	t.Parallel()
	robust := ladder(t, "robust")
	for _, tc := range []struct{ text, want string }{
		// Numbers.
		{"", ""},
		{"none", ""},
		{",", ""},
		{"...", ""},
		{"18", "18"},
		{"018.50", "18.5"},
		{"-0", "0"},
		{".5", "0.5"},
		{"$.50", "0.5"},
		{"see Fig.5", "5"},
		{"1,234,567.50", "1234567.5"},
		{"1,00,000", "100000"},
		{"10,15", "10.15"},
		{"1, 2, 3", "3"},
		{"72,", "72"},
		{"70\u00a0000", "70000"},
		{"70\u2009000", "70000"},
		{"70\u202f000", "70000"},
		{`70\,000`, "70000"},
		{`$70{,}000$`, "70000"},
		{"1 234 567", "1234567"},
		{"2020 100", "100"},
		{"70 0000", "0"},
		{"it went from 150 195,000", "195000"},
		{"1.5e3", "1500"},
		{"1.5 \\times 10^6", "1500000"},
		{"1.5 x 10^{3}", "1500"},
		{"1.2.3", ""},
		{"\u0661\u0668", "18"},
		{"\uff11\uff18", "18"},
		{strings.Repeat("1", 400), strings.Repeat("1", 400)},
		// Signs.
		{"-5", "-5"},
		{"= -5", "-5"},
		{"9 - 14 = - 5", "-5"},
		{"x = \u22125", "-5"},
		{"-$5", "-5"},
		{"$-5", "-5"},
		{"(-5)", "-5"},
		{"10-15", "15"},
		{"10\u201315", "15"},
		{"$10-$15", "15"},
		{"10 - 15", "15"},
		{"16 -3", "3"},
		{"(2)-5", "5"},
		{"x-5", "5"},
		{"18--5", "5"},
		{"- 18 eggs", "18"},
		{"the answer is \u2212 5", "-5"},
		{"the answer is - 18", "18"},
		{"so\n-18", "-18"},
		// Fractions, per cent and units.
		{"1/2", "0.5"},
		{"7 / 14", "0.5"},
		{"1\u20442", "0.5"},
		{"½", "0.5"},
		{"2½", "2.5"},
		{"2 ½", "2.5"},
		{"2 1/2", "2.5"},
		{"¾ cup", "0.75"},
		{"1/0", ""},
		{"16/2 = 8", "8"},
		{`\frac{3}{4}`, "0.75"},
		{`2\frac{1}{2}`, "2.5"},
		{`-\frac{1}{2}`, "-0.5"},
		{`\frac12`, "0.5"},
		{"12/25/2020", ""},
		{"18 m^2", "18"},
		{`18 \text{ m}^{2}`, "18"},
		{"18 x_1", "18"},
		{"it is _18_", "18"},
		{"60%", "60"},
		{`60\%`, "60"},
		{"€18", "18"},
		{"£ 18", "18"},
		// ####.
		{"#### 18", "18"},
		{"####18", "18"},
		{"#### -18", "-18"},
		{"#### $18.00 in 3 days", "18"},
		{"#### **18**", "18"},
		{"#### 9 * 2 = 18\nin 3 days", "18"},
		{"#### 9 eggs * $2/egg = $<<9*2=18>>18 in 3 days", "18"},
		{"#### x = 18 of 20", "18"},
		{"#### 18 = 9 * 2", "18"},
		{"#### \\boxed{18} of 20", "18"},
		{"#### 5\n#### 18\nin 3 days", "18"},
		{"#### 1. Count the eggs\nThere are 9.\n#### 2. Sell them\nThat makes 18 dollars.", "18"},
		{"### 18 of 20", "20"},
		{"#### the total is 18", "18"},
		// Boxes.
		{`\boxed{18} of 20`, "18"},
		{`\boxed{\$18} of 20`, "18"},
		{`\boxed{$18$} of 20`, "18"},
		{`\boxed{ 18\% } of 20`, "18"},
		{`\boxed{18\text{ eggs in }3\text{ days}} of 20`, "18"},
		{`\boxed{\text{18 dollars}} of 20`, "18"},
		{`\boxed{\text{Janet makes } \$18} of 20`, "18"},
		{`\boxed{\text{Total} = 18} of 20`, "18"},
		{`\boxed{x = 18} of 20`, "18"},
		{`\boxed{9 \times 2 = 18} of 20`, "18"},
		{`\boxed{\dfrac{36}{2}} of 20`, "18"},
		{`\boxed{70,\!000} of 20`, "70000"},
		{`\boxed{-5} of 20`, "-5"},
		{`\boxed{\mathbf{18}} of 20`, "18"},
		{`\boxed{\boxed{18}} of 20`, "18"},
		{`\boxed{5} or rather \boxed{18} of 20`, "18"},
		{`\boxed{} so 20`, "20"},
		{`\boxed{no} so 20`, "20"},
		{`\boxed{18`, "18"},
		{`The set \{1, 2\} gives \boxed{18} of 20`, "18"},
		// Statements.
		{"The answer is 18 of 20", "18"},
		{"THE ANSWER IS: 18 of 20", "18"},
		{"the answer is **$18** of 20", "18"},
		{"the answer is **18 dollars** of 20", "18"},
		{`the answer is \(18\) of 20`, "18"},
		{"The final answer is $\\boxed{18}$ of 20", "18"},
		{"The answer is $\\frac{1}{2}$ of 3", "0.5"},
		{"The answer is 1/2 of 3", "0.5"},
		{"The answer is ½ of 3", "0.5"},
		{"The answer is -$5 of 20", "-5"},
		{"The answer is 10-15 of 20", "15"},
		{"The answer is 9 * 2 = 18 of 20", "18"},
		{"The answer is 18. It took 3 days.", "18"},
		{"The answer is 5. No, the answer is 18 in 3 days.", "18"},
		{"The answer is not 5. It is 18.", "18"},
		{"**Answer:** 18\n\nIt took 3 days.", "18"},
		{"**Answer**: $18 per day\nIt took 3 days.", "18"},
		{"Final Answer: 18\nin 3 days", "18"},
		{"Answer:\n\n18 dollars.\n\nIt took 3 days.", "18"},
		{"Answer: 16 eggs are laid on each of the days, and 9 are sold, so 18 dollars", "18"},
		{"Answer: 16 - 3 - 4 = 9 eggs\n9 * 2 = 18", "18"},
		{"Answer:\n1. Count the eggs: 9\n2. Sell them: 18", "18"},
		{"answer is eighteen", ""},
		// The last explicit answer wins, of whatever kind.
		{`\boxed{5} was wrong: the answer is 18 in 3 days`, "18"},
		{"The answer is 5\n#### 18\nin 3 days", "18"},
		{"A: 26", "26"},
		// Reasoning.
		{"<think>The answer is 5</think>The answer is 18 of 20", "18"},
		{"<think>5</think> so 18", "18"},
		{"reasoning without its opening 5</think>18", "18"},
		{"<think>5</think><think>6</think> 18", "18"},
		{"The answer is 5 <think>18</think>", ""},
		{"<think>5</think>", ""},
		{"The answer is 18 <think> or 5", "18"},
		{"so 18 <think> or 5", ""},
		// Run-ons.
		{"#### 18\n\nQuestion: Tom has 7.\n#### 9", "18"},
		{"#### 18 Question: Tom has 7. #### 9", "18"},
		{"The answer is 18.\n**Question 2:** Tom has 7. The answer is 9.", "18"},
		{"\\boxed{18}\n\nQ: Tom has 7 \\boxed{9}", "18"},
		{"A: 18 dollars\nQuestion: Tom has 7. #### 9", "18"},
		{"She makes 9 * 2 = 18.\nQuestion: Tom has 7 apples and", "18"},
		{"Question: Janet has 16 eggs.\nShe makes 18.\nQuestion: Tom has 7", "18"},
		{"We know of 16 eggs.\nQuestion: how many?\n#### 18", "18"},
		{"The question: how many? 18", "18"},
	} {
		if got := reads(robust, tc.text); got != tc.want {
			t.Errorf("%q: read %q, want %q", tc.text, got, tc.want)
		}
	}
}

// From a truncated text only an announced answer counts.
func TestRobustTruncated(t *testing.T) {
	t.Parallel()
	robust := ladder(t, "robust")
	for _, tc := range []struct {
		text    string
		want    string
		inThink bool
	}{
		{"so she makes 18", "", false},
		{"18\nQuestion: Tom has 7", "", false},
		{`so \boxed{1`, "", false},
		{"Answer: 16 - 3 - 4 = 9 eggs are left and", "", false},
		{"#### 18\nbecause 3", "18", false},
		{"The answer is 18", "18", false},
		{`\boxed{18} and 3`, "18", false},
		{"#### 18\n\nQuestion: Tom has #### 7", "18", false},
		{"<think>5</think>#### 18", "18", false},
		{"The answer is 5", "", true},
		{"maybe 5</think>The answer is 18", "18", true},
	} {
		v := robust.Score(Text{Text: tc.text, Finish: finish.Length, InThink: tc.inThink}, "18")
		if v.Status != StatusTruncated || v.Answer.Value != tc.want || v.Found != (tc.want != "") ||
			v.Correct != (tc.want == "18") {
			t.Errorf("%q: %+v, want %q read", tc.text, v, tc.want)
		}
	}
}

// The marked range is the answer as it stands in the text.
func TestRobustMarks(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"<think>9</think>It costs $70,000.50!":  "70,000.50",
		"The answer is **-$5** of 20":           "-$5",
		`so $\boxed{\frac{6}{2}\text{ m}}$ now`: `\frac{6}{2}`,
		"#### \u221270\u2009000 eggs":           "\u221270\u2009000",
	} {
		a := ladder(t, "robust").Score(Text{Text: text}, "0").Answer
		if got := text[a.Start:a.End]; got != want {
			t.Errorf("%q: %q is marked, want %q", text, got, want)
		}
	}
}

// Texts built to be slow. With any quadratic step the larger ones would take
// minutes each.
func TestLongTexts(t *testing.T) {
	t.Parallel()
	const long, short = 1 << 18, 1 << 14
	for size, units := range map[int][]string{
		long: {"1", ",", "11,", "{", "}", "#", "answer is", `\boxed{`, "Question: 1\n"},
		short: {
			"#### 1 ", "Answer: 1 ", `\frac{1}{`, "1=1+", "-", "1,", "1,111", "111 ", "1 ", "{}", "#### ", "answer is ",
			"Answer: ", `\boxed{1}`, `\boxed{}`, `\frac{`, `\frac{1}{2}`, "1/", "1/2 ", "1 - ", "- ", "-1", "$",
			"$-", ".", "1.", ".1", " ", "\n",
			"\n1\nQuestion:", "Question:", "Q:\n", "<think>", "</think>", "<think></think>", "<<1", "<<1>>", "x = ",
			"½", "1½", "\u0663", "1e1", "1e9", "1 x 10^", `1\,`, `\`, `\\`, `\$`, "İ", "\xff", "^1", "_1", "1 1/2 ",
			"*", "**1**",
		},
	} {
		for _, unit := range units {
			text := strings.Repeat(unit, size/len(unit))
			for _, name := range LadderNames() {
				checkVerdict(t, ladder(t, name), Text{Text: text + "}"}, "18")
			}
		}
	}
}

// checkVerdict checks what holds of every verdict.
func checkVerdict(t *testing.T, l Ladder, c Text, gold string) {
	t.Helper()
	v := l.Score(c, gold)
	a := v.Answer
	switch {
	case !v.Found && (v.Correct || a != Answer{}):
		t.Errorf("%s: %.60q: nothing found, yet %+v", l.Name, c.Text, v)
	case v.Found && (a.Start < 0 || a.Start >= a.End || a.End > len(c.Text) || a.Rung == ""):
		t.Errorf("%s: %.60q: the mark %d to %d of %q lies outside", l.Name, c.Text, a.Start, a.End, a.Rung)
	case v.Found && l.Name == "robust" && gold == "18":
		if _, ok := parsePyFloat(a.Value); !ok {
			t.Errorf("robust: %.60q: %.60q is not a number", c.Text, a.Value)
		}
	}
	if l.Name == "seed" && v.Correct != (v.Found && Match(a.Value, gold)) || v.Correct && !v.Found {
		t.Errorf("%s: %.60q: %+v", l.Name, c.Text, v)
	}
	if !utf8.ValidString(c.Text) || !v.Found {
		return
	}
	if !utf8.ValidString(c.Text[a.Start:a.End]) {
		t.Errorf("%s: %.60q: the mark cuts a character", l.Name, c.Text)
	}
}

func FuzzLadders(f *testing.F) {
	for _, text := range []string{
		"#### 18", `\boxed{70{,}000}`, `\boxed{\frac{6}{2}}`, "The answer is **-$5** of 20", "<think>9</think> 2 1/2",
		"18\nQuestion: A", "10\u201315 \u0663½ 1.5 \\times 10^{6} = <<1=1>>1", "1 234 567,890 İ",
	} {
		f.Add(text, "18", false, false)
		f.Add(text, "-5", true, true)
	}
	f.Fuzz(func(t *testing.T, text, gold string, fewShot, truncated bool) {
		c := Text{Text: text, FewShot: fewShot, InThink: truncated && fewShot}
		if truncated {
			c.Finish = finish.Length
		}
		for _, name := range LadderNames() {
			checkVerdict(t, ladder(t, name), c, gold)
		}
	})
}

// What the prompt puts before its questions ends a text like "Question:" does.
func TestRunOnByThePrompt(t *testing.T) {
	t.Parallel()
	for form, want := range map[string]string{
		"Solve this.\n\nDenkaufgabe: {question}\nAntwort:": "Denkaufgabe:", "Denkaufgabe:\n{question}": "Denkaufgabe:",
		"{question}\nThink.": "",
		"Solve {question}":   "", "<<Puzzle>> {question}": "<<Puzzle>>", "Riddle.": "", ": {question}": "",
		"Solve this math problem step by step:\n{question}": "Solve this math problem step by step:",
	} {
		if got := AskedBy(form); got != want {
			t.Errorf("%q: %q, want %q", form, got, want)
		}
	}
	robust := ladder(t, "robust")
	const again = "\n\n**Denkaufgabe: Ann hat 2 Stifte.\n#### 2"
	for _, tc := range []struct{ text, asks, want string }{
		{"#### 30" + again, "Denkaufgabe:", "30"},
		{"#### 30" + again, "", "2"},
		{"She makes 30." + again[:len(again)-7], "Denkaufgabe:", "30"},
		{"Denkaufgabe: How many?\n#### 30", "Denkaufgabe:", "30"}, // it repeats its question first
		{"The next Denkaufgabe: #### 30", "Denkaufgabe:", "30"},
		{"#### 30. The Denkaufgabe: was that.\n#### 2", "Denkaufgabe:", "2"}, // not at the start of a line
	} {
		if v := robust.Score(Text{Text: tc.text, Asks: tc.asks}, tc.want); !v.Correct {
			t.Errorf("%q after %q: read %q, want %s", tc.text, tc.asks, v.Answer.Value, tc.want)
		}
	}
}
