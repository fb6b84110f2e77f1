package report

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"unicode/utf16"

	"github.com/gsmeval/gsmeval/datasets"
	"github.com/gsmeval/gsmeval/internal/finish"
	"github.com/gsmeval/gsmeval/internal/thought"
	"github.com/gsmeval/gsmeval/results"
	"github.com/gsmeval/gsmeval/scoring"
)

// The bounds of the browser of samples: of the texts that are read, of one chunk of texts, and of everything as it
// stands in the page. Questions beyond them are left out, with a note.
const (
	maxText  = 96 << 20
	maxChunk = 512 << 10
	maxPage  = 13 << 20
)

// browser is what the page's script reads, sorted by question, condition and replicate: question by question the
// answers under all conditions stand side by side, which is how they compress. Columns have a value for each sample;
// texts are in chunks of their own, which the script unpacks when it needs them.
type browser struct {
	Runs     []string        `json:"runs"`
	Conds    []pageCondition `json:"conds"`
	Items    []item          `json:"items"`
	Statuses []string        `json:"statuses"`
	Rungs    []string        `json:"rungs"`
	Answers  []string        `json:"answers"`
	Item     []int           `json:"item"`
	Cond     []int           `json:"cond"`
	Rep      []int           `json:"rep"`
	Number   []int           `json:"number"` // of the sample among those of its question, condition and replicate
	Status   []int           `json:"status"`
	Correct  []int           `json:"correct"`
	Rung     []int           `json:"rung"`
	Answer   []int           `json:"answer"`
	Tokens   []int           `json:"tokens"`
	Chunks   []int           `json:"chunks"` // the first sample of each

	left int // questions that are left out
}

type pageCondition struct {
	Run   int    `json:"run"`
	Noise string `json:"noise"`
	Temp  string `json:"temp"`
	Of    int    `json:"of"`  // the condition whose samples it shares, or its own number
	Det   bool   `json:"det"` // one replicate stands for all
	One   bool   `json:"one"` // one sample of a question stands for all of them
}

// item is a question; two runs on the same data share theirs.
type item struct {
	ID       int    `json:"id"`
	SHA      string `json:"sha"`
	Question string `json:"q"` // empty where it is not known
	Solution string `json:"a"`
	Gold     string `json:"g"`
}

// entry is a sample's place in the browser.
type entry struct {
	item, cond int
	rec        *results.Record
	read       reader
}

// reader finds the matched answer in a text again, which the journal does not keep.
type reader struct {
	ladder  scoring.Ladder
	fewShot bool
	asks    string
	asked   map[int]datasets.Example
	ok      bool
}

func (r *Run) reader() reader {
	if r.Config == nil {
		return reader{}
	}
	l, err := scoring.LadderByName(r.Config.Scoring.Ladder)
	l.Thoughts = thought.New(r.Config.Scoring.Thoughts)
	return reader{
		ladder: l, fewShot: r.Config.Prompt.FewShot > 0, asks: scoring.AskedBy(r.Config.Prompt.Instruction),
		asked: r.examples, ok: err == nil,
	}
}

// find returns where the answer of a record stands, in UTF-16 units as JavaScript counts, or -1. What it finds has to
// be what the record says: a ladder may have changed since, and whether the prompt opened a thought is not known.
func (r reader) find(rec *results.Record) (start, end int) {
	if !r.ok || rec.Answer == "" {
		return -1, -1
	}
	asked := r.asked[rec.ID] // empty where it is not known
	for _, inThink := range []bool{false, true} {
		v := r.ladder.Score(scoring.Text{
			Text: rec.Text, Finish: rec.Finish, FewShot: r.fewShot, Asks: r.asks, Question: asked.Question,
			InThink: inThink,
		}, cmp.Or(asked.Gold, "0"))
		if v.Found && v.Answer.Value == rec.Answer && v.Answer.Rung == rec.Rung && v.Status == rec.Status {
			return utf16Len(rec.Text[:v.Answer.Start]), utf16Len(rec.Text[:v.Answer.End])
		}
	}
	return -1, -1
}

func utf16Len(s string) int {
	n := 0
	for _, r := range s {
		n += utf16.RuneLen(r)
	}
	return n
}

func (e entry) text() text {
	t := text{
		Text: e.rec.Text, TMin: e.rec.TMin, TMax: e.rec.TMax, Mean: e.rec.TMean, Finish: e.rec.Finish,
		Error: e.rec.Error,
	}
	t.Start, t.End = e.read.find(e.rec)
	return t
}

// text is what a chunk holds of a sample: the text, where its answer stands in UTF-16 units (or -1), the range and mean
// of T, how it ended, and what went wrong.
type text struct {
	Text             string
	Start, End       int
	TMin, TMax, Mean results.Float
	Finish           finish.Reason
	Error            string
}

// MarshalJSON writes the text as a list, which takes less room.
func (t text) MarshalJSON() ([]byte, error) {
	return json.Marshal([]any{t.Text, t.Start, t.End, t.TMin, t.TMax, t.Mean, t.Finish, t.Error})
}

// pack compresses a value's JSON. Equal values give equal text: there is no time in it.
func pack(v any) (string, error) {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false) // nothing reads it as HTML
	if err := errors.Join(enc.Encode(v), w.Close()); err != nil {
		return "", fmt.Errorf("packing the samples: %w", err)
	}
	return base64.StdEncoding.EncodeToString(b.Bytes()), nil
}

// samples makes the browser's data: blocks[0] is the browser, the others its chunks.
func samples(runs []*Run) (b *browser, blocks []string, err error) {
	b = &browser{}
	entries, err := b.collect(runs)
	if err != nil {
		return nil, nil, err
	}
	var chunks []string
	size, from := 0, 0
	for from < len(entries) {
		to, bytes := from, 0
		var list []text
		for to < len(entries) && (bytes < maxChunk || entries[to].item == entries[to-1].item) {
			list = append(list, entries[to].text())
			bytes += len(entries[to].rec.Text)
			to++
		}
		packed, err := pack(list)
		if err != nil {
			return nil, nil, err
		}
		// The columns come to little beside the texts.
		if size += len(packed); size > maxPage && from > 0 {
			b.left += len(b.Items) - entries[from].item
			b.Items = b.Items[:entries[from].item]
			break
		}
		b.Chunks = append(b.Chunks, from)
		chunks = append(chunks, packed)
		from = to
	}
	b.columns(entries[:from])
	head, err := pack(b)
	return b, append([]string{head}, chunks...), err
}

// collect reads the samples of all runs again, now with their texts, and sorts them.
func (b *browser) collect(runs []*Run) ([]entry, error) {
	var entries []entry
	items := map[item]int{}
	for ri, r := range runs {
		b.Runs = append(b.Runs, r.Name)
		conds := b.conditions(ri, r)
		limit := r.examplesWithin(maxText / int64(len(runs)))
		b.left += len(r.textBytes) - limit
		reader, read, other := r.reader(), 0, 0
		for rec, err := range results.Read(r.journal(), r.Info.Fingerprint) {
			var torn *results.TornError
			if errors.As(err, &torn) || errors.Is(err, fs.ErrNotExist) || read == r.count {
				break // a run in progress has grown since its table was made
			}
			if err != nil {
				return nil, fmt.Errorf("reading the samples of %s again: %w", r.dir, err)
			}
			read++
			if rec.Order >= limit {
				continue
			}
			it := item{ID: rec.ID, SHA: rec.QuestionSHA}
			if e, ok := r.examples[rec.ID]; ok && shortSHA(e.Question) == rec.QuestionSHA {
				it.Question, it.Solution, it.Gold = e.Question, e.Answer, e.Gold
			} else if len(r.examples) > 0 {
				other++
			}
			if _, ok := items[it]; !ok {
				items[it] = len(b.Items)
				b.Items = append(b.Items, it)
			}
			entries = append(entries, entry{
				item: items[it], cond: conds[[2]int{rec.NoiseIndex, rec.TempIndex}],
				rec: &rec, read: reader,
			})
		}
		if other > 0 {
			r.note("%d samples are of questions that the data set does not have under their numbers; "+
				"these are shown without them.", other)
		}
	}
	slices.SortFunc(entries, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.item, b.item), cmp.Compare(a.cond, b.cond),
			cmp.Compare(a.rec.Replicate, b.rec.Replicate), cmp.Compare(a.rec.Sample, b.rec.Sample))
	})
	return entries, nil
}

// examplesWithin is how many of the run's examples, from the first, have texts of at most so many bytes together.
func (r *Run) examplesWithin(limit int64) int {
	sum := int64(0)
	for order, n := range r.textBytes {
		if sum += n; sum > limit {
			return order
		}
	}
	return len(r.textBytes)
}

// conditions appends those of a run, in the order of its table, and returns their numbers.
func (b *browser) conditions(run int, r *Run) map[[2]int]int {
	at := map[[2]int]int{}
	for i := range r.Table.Rows {
		row := &r.Table.Rows[i]
		at[[2]int{row.NoiseIndex, row.TempIndex}] = len(b.Conds)
		b.Conds = append(b.Conds, pageCondition{Run: run, Noise: row.Noise, Temp: row.Temperature, Of: len(b.Conds)})
	}
	for _, c := range r.Info.Meta.Conditions {
		own := &b.Conds[at[[2]int{c.NoiseIndex, c.TempIndex}]]
		own.Det, own.One = c.Deterministic, c.OneSample
		if c.SamplesOf != nil {
			own.Of = at[[2]int{c.NoiseIndex, *c.SamplesOf}]
		}
	}
	return at
}

// columns fills in what the browser's list shows and its filters ask for.
func (b *browser) columns(entries []entry) {
	number := func(list *[]string) func(string) int {
		at := map[string]int{}
		return func(s string) int {
			if _, ok := at[s]; !ok {
				at[s] = len(*list)
				*list = append(*list, s)
			}
			return at[s]
		}
	}
	status, rung, answer := number(&b.Statuses), number(&b.Rungs), number(&b.Answers)
	for _, e := range entries {
		correct := 0
		if e.rec.Correct {
			correct = 1
		}
		b.Item, b.Cond, b.Rep = append(b.Item, e.item), append(b.Cond, e.cond), append(b.Rep, e.rec.Replicate)
		b.Number = append(b.Number, e.rec.Sample)
		b.Correct, b.Tokens = append(b.Correct, correct), append(b.Tokens, e.rec.Tokens)
		b.Status = append(b.Status, status(string(e.rec.Status)))
		b.Rung, b.Answer = append(b.Rung, rung(e.rec.Rung)), append(b.Answer, answer(e.rec.Answer))
	}
}
