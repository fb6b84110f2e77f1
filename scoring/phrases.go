package scoring

import (
	"regexp"
	"strings"
)

// either is an expression that matches any of the others.
func either(expressions ...string) string { return `(?:` + strings.Join(expressions, `|`) + `)` }

// compiled puts expressions one after another.
func compiled(expressions ...string) *regexp.Regexp {
	return regexp.MustCompile(strings.Join(expressions, ""))
}

// The ways a model runs on: it takes the user's turn, asks itself a new question,
// or says goodbye.
var (
	// turns are those that end a text wherever they stand.
	turns = either(
		`(?:(?m:^)|[.!?)}*0-9])(?:user|assistant|human)\n`, // what is left of a turn without its control tokens
		`(?i:<[|｜]/?`+either(
			`im_(?:start|end|sep|user|system)`, `eo[tms](?:_id)?`, `bos|end|return|call|turn|role`,
			`user|assistant|human|system|chatbot`,
			`(?:user|system|chatbot)_token`, `(?:start|end)_header_id|header_(?:start|end)`,
			`(?:start|begin|end)[_▁]?of[_▁]?(?:text|sentence|turn|message|user|assistant|system|role|prompt)(?:_token)?`,
		)+`[|｜]>)`,
		`<(?:end|start)_of_turn>`, `</s>`, `<[eb]os>`, `\[/?INST\]`,
	)
	// asked are questions, wherever they stand.
	asked = either(
		`Question(?: ?#?[0-9]{1,4})?[*_]{0,3}:`, `(?:Human|User|Problem)[*_]{0,3}: `, // they may touch the answer
		`(?:问题|用户)[0-9]{0,4}[:：]`,
		`(?i:<(?:question|problem|exercise|instruction|user|human)>)`, `\[[Qq]uestion\]`,
	)
	exercise = `(?i:question|problem|exercise|example|task|puzzle|riddle|quiz|query)`
	another  = `(?i:(?:next|new|another|similar|math|word|practice|sample|bonus|extra|additional|related|follow-?up|second) ){0,2}`
	role     = `(?i:human|user|student|teacher|instruction|input|response|prompt|assistant|system|bot|ai)`
	// abroad are the same words in other languages.
	abroad = `(?i:` + either(
		`aufgabe|frage|benutzer`, `pregunta|problema|ejercicio|usuario`, `probl[eè]me|exercice|énoncé|utilisateur`,
		`domanda|esercizio|utente`, `pergunta|exercício|usuário`, `вопрос|задача|пользователь`, `题目|題目|問題|질문|문제`,
		`प्रश्न`, `سؤال`,
	) + `)`
	// oneMore announces another question in a sentence.
	oneMore = `(?i:(?:here(?:'s|’s| is| are)|let(?:'s|’s| us)|now|try|consider)\b[^\n.:]{0,30}?\b(?:another|next|similar|new|more)\b[^\n.:]{0,20}?\b)` + exercise + `\b`
	// askedLine is a question at the start of a line.
	askedLine = `(?m:^[ *_#>]{0,8}` + either(
		`[<\[][Qq]uestion[>\]]`,
		either(another+exercise+`(?i: statement| text)?(?: ?#?[0-9]{1,4})?`, `Q ?[0-9]{0,4}`, role,
			abroad+`(?: ?[0-9]{1,4})?`)+`[*_]{0,3}[:：]`,
		either(another+exercise, `Q`)+` ?#?[0-9]{1,4}\b[.)*_]{0,3}`,
		oneMore, `(?:Below is an instruction|You are an? (?:AI|expert|helpful|math[a-z]*|language))\b`,
		`#{1,6} ?`+either(exercise, role)+`\b`,
	) + `)`
	// farewell is what a model says when it is done.
	farewell = `(?:(?m:^)|[.!?*)] {1,2})[^\p{L}\p{Nd}\n]{0,6}(?i:` + either(
		`(?:please )?(?:let me know|feel free|do not hesitate|don't hesitate)`, `(?:i )?hope (?:this|that|it)`,
		`if you (?:have|need|want|'d|would)`, `is there anything`, `need (?:any|more)`, `would you like`,
		`do you (?:have|want|need)`, `happy to help`, `thank you`, `good luck`, `have a (?:great|nice)`,
	) + `)\b`

	// runOn ends any text, runOnLine one whose answer nothing announces.
	runOn     = regexp.MustCompile(either(turns, asked, askedLine))
	runOnLine = regexp.MustCompile(either(turns, askedLine, farewell))
	// questionLine is a whole mark of askedLine.
	questionLine = compiled(`^`, askedLine, `$`)
)

// The ways an answer is announced: "the answer is", "the answer to the question
// would therefore be", "Answer:" and "answer =".
var (
	verbs = `(?i:` + either(
		`is|was|are|becomes|equals`,
		`(?:(?:would|should|could|will|may|might|must|can|has to|ought to|still|also|well|therefore|thus|then) ){1,2}(?:be|is|equal)`,
		`comes (?:out )?(?:to|as)`, `works out (?:to|as)`, `turns out to be`, `ends up (?:being|as|at)`,
	) + `)`
	adverbs = `(?i:` + either(
		`equal to`, `given by`, `found to be`, `calculated as`, `a total of`, `in total`, `approx`, `of course`,
		`therefore|thus|then|hence|so|approximately|about|roughly|around|nearly|almost`,
		`simply|just|exactly|precisely|indeed|only|merely|now|also|still|again|always|clearly|obviously|definitely|certainly|actually|really|likely|probably`,
		`be|the|an?`,
	) + `)`
	// announced has the sign that stands for a verb as its group.
	announced = compiled(
		`(?i:(?:\b|_)ans(?:wer)?|\bfinal (?:result|solution))(?:s\b|\.)?(?: (?:to|in|for|of|that|which|we|I|you|they|here)\b[^.:=\n\p{Nd}]{0,40}?)?(?: \([^()\n]{1,40}\))?`,
		`(?:,? (?:therefore|then|thus|hence|of course|in this case|in short),)?[*_]{0,3}`,
		either(
			`(?:\s{1,3}[*_]{0,3}`+verbs+`|['’]s)\b[*_]{0,3}(?:,? `+adverbs+`(?:\.|\b),?){0,3}`,
			`\s{0,3}[*_]{0,3}\s?([:=：→⇒]|[-=]>| ?[-–—] )`,
		),
	)
)

// goesOn is what a value in a box may not be followed by: the rest of a formula.
var goesOn = compiled(
	`^(?:[ )}\]]|\\[,;!: ]|\\right)*`,
	either(
		`[-+*/^=<>×·÷−!]`, `\\(?:cdot|times|div|pm|mp|pi|sqrt|le|ge|lt|gt|cup|in)\b`, `\\frac ?\{? ?[0-9]`,
		`[,;:] ?[0-9]`, `[bijnqruvwxyz](?:[^\p{L}]|$)`, `a(?:[^\p{L} ]|$)`, `(?:\\text\{)? ?(?:or|and) [0-9]`,
	),
)

// operation is what may stand between two numbers of an equation: a unit, then
// an operator, then a currency. Its groups are what closes before the operator,
// the white space around that, and the operator.
var operation = compiled(
	`^([)\]}]{0,2})(?:[ ]?`, either(`(?:/|per )?\p{L}{1,20}`, `%`, `\\%`, `\\text\{ ?\p{L}{1,20} ?\}`), `)?`,
	`([ \t]{0,3}\*{0,2}[ \t]{0,3}|\\[ ,;])`,
	`(\\times|\\cdot|\\div|\\approx|\\\*|[-=+*/x×·÷−–≈])`,
	`([ \t]{0,3}|\\[ ,;])`,
	`(?:\*{0,2}\\?[$€£])?[-−]?(?:<<[^<>]{0,60}>>)?`,
)

// european is a number with a point between thousands, or a comma before
// decimals, and what follows it.
var european = compiled(
	`^(`, either(`[0-9]{1,3}(?:\.[0-9]{3})+`, `[0-9]{1,3}(?:[ \x{a0}\x{202f}][0-9]{3})+`, `[0-9]{1,15}`), `)`,
	`(,[0-9]{1,6})?((?:[.,][0-9])?)`,
	`((?:[ \x{a0}]?`, either(`€`, `EUR\b`, `Euro\b`, `euros?\b`, `kr\b`, `zł`), `)?)`,
)

// scale is a word that multiplies the number before it: a letter that touches it,
// or a word.
var scale = compiled(
	`^`, either(
		`([kKMB]|bn|mn|mln|(?:[ ~]|\\[,;: ])?\\(?:text|mathrm)\s?\{\s?[kM])`,
		`\*{0,2}(?:[ \x{a0}~-]|\\[,;: ])?(?:\\(?:text|mathrm)\s?\{\s?)?`+
			`(?i:(hundred|thousand|millions?|mio|billions?|bn|mn|mln|trillions?|lakhs?|crores?))`,
	), `(?:[^\p{L}\p{Nd}]|$)`,
)
