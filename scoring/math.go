package scoring

import (
	"regexp"
	"strings"

	"github.com/gsmeval/gsmeval/scoring/latex"
)

// mathRungs are the ways an answer is stated that need not be a number. Their
// values are texts, which latex.Equal compares.
func mathRungs() []Rung {
	return []Rung{
		{Name: "hash", Explicit: true, Find: textAfter(hashMark)},
		{Name: "boxed", Explicit: true, Find: findBoxedText},
		{Name: "answer_tag", Explicit: true, Find: findTaggedText},
		{Name: "answer_is", Explicit: true, Find: textAfter(announced)},
		{Name: "formula", Find: findFormula},
		{Name: "last_number", Find: findLastNumber},
	}
}

// equalText reports whether an answer means the same as the gold answer, as
// numbers, formulas or words.
func equalText(pred, gold string) bool {
	return latex.Equal(pred, gold) || plainWords(pred) != "" && plainWords(pred) == plainWords(gold)
}

// article is a word that an answer may have or not.
var article = regexp.MustCompile(`^(?:the|an?) `)

// plainWords is a text without case, articles, emphasis and the end of a
// sentence.
func plainWords(s string) string {
	s = strings.ToLower(strings.Join(strings.Fields(latex.Trim(s)), " "))
	return article.ReplaceAllString(strings.Trim(s, " .,;:!*_`\"'“”‘’"), "")
}

// trimmed makes an answer of a range of a text, without what surrounds it.
func trimmed(text string, start, end int) (Answer, bool) {
	raw := text[start:end]
	value := latex.Trim(strings.Trim(raw, " \n*_`\"“”"))
	if value == "" {
		return Answer{}, false
	}
	if i := strings.Index(raw, value); i >= 0 {
		start, end = start+i, start+i+len(value)
	}
	return Answer{Value: value, Start: start, End: end}, true
}

// findBoxedText takes the content of the last box.
func findBoxedText(text string) (last Answer, found bool) {
	eachBox(text, func(start, end int) {
		if a, ok := trimmed(text, start, end); ok && (!found || start >= last.Start) {
			last, found = a, true
		}
	})
	return last, found
}

// findTaggedText takes the content of the last <answer>.
func findTaggedText(text string) (last Answer, found bool) {
	for _, m := range tagged.FindAllStringSubmatchIndex(text, -1) {
		if a, ok := trimmed(text, m[2], m[3]); ok {
			last, found = a, true
		}
	}
	return last, found
}

// sentenceStop is where a stated answer ends.
var sentenceStop = regexp.MustCompile(`[.!?](?:\s|\*|$)|\n|, (?:which|because|since|so|as) `)

// textAfter takes what follows a mark, to the end of its sentence.
func textAfter(mark *regexp.Regexp) func(text string) (Answer, bool) {
	return func(text string) (last Answer, found bool) {
		for _, m := range mark.FindAllStringIndex(text, -1) {
			rest := text[m[1]:min(m[1]+maxBox, len(text))]
			start := m[1] + len(rest) - len(strings.TrimLeft(rest, " \n*_:"))
			end := min(m[1]+maxBox, len(text))
			if stop := sentenceStop.FindStringIndex(text[start:end]); stop != nil {
				end = start + stop[0]
			}
			if a, ok := trimmed(text, start, end); ok {
				last, found = a, true
			}
		}
		return last, found
	}
}

// inline is a formula between signs of mathematics.
var inline = regexp.MustCompile(`(?s)\$\$(.{1,256}?)\$\$|\$([^$\n]{1,256})\$|\\\((.{1,256}?)\\\)|\\\[(.{1,256}?)\\\]`)

// findFormula takes the last formula.
func findFormula(text string) (last Answer, found bool) {
	for _, m := range inline.FindAllStringSubmatchIndex(text, -1) {
		for g := 2; g < len(m); g += 2 {
			if m[g] < 0 {
				continue
			}
			if a, ok := trimmed(text, m[g], m[g+1]); ok {
				last, found = a, true
			}
		}
	}
	return last, found
}
