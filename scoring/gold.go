package scoring

import (
	"errors"
	"fmt"
	"math/big"
	"regexp"
	"strings"
)

// Errors of Gold.
var (
	errNoGold    = errors.New(`no "#### number" in the answer column`)
	errEmptyGold = errors.New(`what follows "####" in the answer column is not a number`)
	errTwoGolds  = errors.New(`two "####" in the answer column, with something behind each; correct the row, or compare it as text with dataset.gold: bare`)
)

var (
	// grouped is a number whose commas are those of thousands, with digits of any script.
	grouped = regexp.MustCompile(`^[-+]?(?:\p{Nd}{1,3}(?:,\p{Nd}{3})+|\p{Nd}*)(?:\.\p{Nd}*)?$`)
	// unitOnly is what may follow the number of a gold answer: words and signs that are no part of a value.
	unitOnly = regexp.MustCompile(`^[^\p{Nd}=+*/^<>\\:!]*$`)
	variable = regexp.MustCompile(`^ ?[a-zA-Z]?[xyzn](?:\P{L}|$)`)
	loneUnit = regexp.MustCompile(`^\s*(?:\\%|\\?[$€£]|\\text\{[^\p{Nd}{}]*\}|\^\{?\\circ\}?)*[^\p{Nd}=+*/^<>\\:!]*(?:\p{L}\^\{?[23]\}?)?(?:\s?/\s?\p{L}[^\p{Nd}=+*/^<>\\:!]*)?$`)
)

// Gold returns the reference answer in a GSM8K answer column: the notebook's
// extract_ground_truth, where that reads all of what follows "####", and the
// value of a fraction, of scientific notation or of a number with its unit. What
// cannot be read whole is an error, and so are two answers, of which the notebook
// reads the first.
func Gold(answerColumn string) (string, error) {
	_, rest, ok := strings.Cut(answerColumn, "####")
	if !ok {
		return "", errNoGold
	}
	rest, second, _ := strings.Cut(rest, "####")
	if strings.TrimFunc(second, func(r rune) bool { return r == '#' || isPySpace(r) }) != "" {
		return "", errTwoGolds
	}
	rest, _, _ = strings.Cut(strings.TrimLeftFunc(rest, isPySpace), "\n")
	rest = strings.TrimFunc(rest, isPySpace)
	if a, ok := firstGroup(seedHash, "####"+rest); ok && a.End == len("####")+len(rest) && grouped.MatchString(rest) {
		if _, ok := parsePyFloat(a.Value); ok {
			return a.Value, nil
		}
	}
	switch n, ok := goldNumber(rest); {
	case ok:
		return n, nil
	case strings.IndexFunc(rest, isDigit) < 0:
		if _, ok := firstGroup(seedHash, "####"+rest); rest == "" || !ok {
			return "", errNoGold
		}
		return "", errEmptyGold
	default:
		return "", fmt.Errorf(`what follows "####" in the answer column, %.40q, cannot be read as one number; correct the row, or compare it as text with dataset.gold: bare`, rest)
	}
}

// goldNumber is the value of a text that is one number, maybe with a unit.
func goldNumber(s string) (string, bool) {
	const head = "#### "
	i, ok := skipLead(head+s, len(head))
	if !ok {
		return "", false
	}
	n, ok := numberAt(head+s, i)
	if !ok || n.value == "" || strings.ContainsAny(s[:max(0, n.start-len(head))], "=:<>") {
		return "", false
	}
	rest := (head + s)[n.end:]
	return n.value, loneUnit.MatchString(rest) && !variable.MatchString(rest)
}

// BareGold is a reference answer that stands in a column by itself: a number
// whose decimals end is its value, anything else the text.
func BareGold(column string) (string, error) {
	s := strings.TrimFunc(column, isPySpace)
	if s == "" {
		return "", errors.New("the gold answer is empty")
	}
	if n, ok := plainGold(s); ok {
		return n, nil
	}
	return s, nil
}

// plainGold is the value of a bare answer in plain text. A comma is one of
// thousands only: 1,2 is two numbers.
func plainGold(s string) (string, bool) {
	number := strings.TrimLeft(strings.TrimRightFunc(s, func(r rune) bool { return !isDigit(r) }), " $€£(-+\u2212")
	if strings.ContainsAny(s, `\^_/`) || strings.Contains(number, ",") && !grouped.MatchString(number) ||
		!unitOnly.MatchString(strings.TrimLeftFunc(s, notLetter)) {
		return "", false
	}
	n, ok := goldNumber(s)
	if !ok {
		return "", false
	}
	_, exact := new(big.Rat).SetString(n)
	return n, exact
}

func notLetter(r rune) bool { return isDigit(r) || strings.ContainsRune(" $€£(-+\u2212.,%)", r) }
