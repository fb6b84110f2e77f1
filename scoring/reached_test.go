package scoring

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestReached(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		text, gold string
		want       bool
	}{
		{"She has 18 eggs, so 18 * 2 = 36 dollars. #### 35", "36", true},
		{"She has 18 eggs and then", "36", false},
		{"In all 1,000 of them. The answer is 7.", "1000", true},
		{"$1000.00 in all", "1000", true},
		{"12", "2", false},
		{"2.5", "2", false},
		{"x^2 + y", "2", false},
		{"at 3:30", "3", false},
		{"she lost -4 points", "4", false},
		{"she lost -4 points", "-4", true},
		{"half of it, 1/2", "0.5", true},
		{"", "1", false},
		{"no number", "1", false},
		{"the set is (1, 2)", "(1, 2)", true},
		{"the set is", " ", false},
		{"٣ apples", "3", true},
	} {
		if got := Reached(tt.text, tt.gold); got != tt.want {
			t.Errorf("Reached(%q, %q) = %v", tt.text, tt.gold, got)
		}
	}
}

// A text of 64 times the length takes about 64 times as long; quadratic time would be 4,096 times. The limit lies far
// from both, and the shortest of several tries counts, so that a busy machine does not decide.
func TestReachedTakesLinearTime(t *testing.T) {
	t.Parallel()
	shortest := func(text string) time.Duration {
		best := time.Duration(math.MaxInt64)
		for range 3 {
			begin := time.Now()
			Reached(text, "12345")
			best = min(best, time.Since(begin))
		}
		return best
	}
	const short, times = 500, 64
	for _, part := range []string{"1", "1,", "1/", "-", "^1", `\frac`, "1 000 ", "٣"} {
		one, many := shortest(strings.Repeat(part, short)), shortest(strings.Repeat(part, times*short))
		if many > 16*times*one {
			t.Errorf("%q, %d times, takes %v; %d times that, %v", part, short, one, times, many)
		}
	}
}

func TestVoteClass(t *testing.T) {
	t.Parallel()
	for _, same := range [][]string{
		{"18", "18.0", " 18 ", "+18", "1_8", "1.8e1", "١٨"},
		{"0", "-0", "0.00"},
		{
			"(1, 2)",
			" (1, 2)\n",
		},
		{"nan"},
		{"NaN"},
		{"17.999"},
		{""},
	} {
		for _, s := range same[1:] {
			if a, b := VoteClass(same[0]), VoteClass(s); a != b {
				t.Errorf("%q votes for %q, %q for %q", same[0], a, s, b)
			}
		}
	}
	classes := map[string]bool{}
	for _, s := range []string{"18", "17.999", "-18", "x", "18x", ""} {
		classes[VoteClass(s)] = true
	}
	if len(classes) != 6 {
		t.Errorf("classes %v", classes)
	}
}

func FuzzReached(f *testing.F) {
	f.Add("She has 18 eggs. #### 18", "18")
	f.Add(`\frac{1}{2} of 3,000.5 — ½`, "0.5")
	f.Fuzz(func(t *testing.T, text, gold string) {
		if Reached(text, gold) && !Reached(text+" ", gold) {
			t.Errorf("a blank at the end hides %q in %q", gold, text)
		}
		if a := VoteClass(gold); VoteClass(a) != a {
			t.Errorf("the class of the class of %q is %q, not %q", gold, VoteClass(a), a)
		}
	})
}
