package datasets

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Columns are templates of the parts of a row: names of columns in braces between
// other text, or a name alone. Empty means the usual column, and for ID and
// Cluster none.
type Columns struct {
	Question, Answer string
	ID               string // a label of the row
	Cluster          string // what a row has in common with others, for standard errors and intervals
}

// GoldForm says where in its column the gold answer stands.
type GoldForm string

// The forms of a gold answer.
const (
	GoldAuto GoldForm = "auto" // hash where the answers have "####", bare where they are short
	GoldHash GoldForm = "hash" // behind "####", as in GSM8K
	GoldBare GoldForm = "bare" // the column is the gold answer
)

// CheckTemplate checks a template of Columns.
func CheckTemplate(template string) error {
	_, err := parseTemplate(template)
	return err
}

// piece is a column of a template, or the text between two.
type piece struct{ column, text string }

func parseTemplate(template string) ([]piece, error) {
	if !strings.ContainsAny(template, "{}") {
		if template == "" {
			return nil, nil
		}
		return []piece{{column: template}}, nil
	}
	var pieces []piece
	for rest := template; rest != ""; {
		text, after, found := strings.Cut(rest, "{")
		if strings.Contains(text, "}") {
			return nil, fmt.Errorf("a brace closes that is not open in %.80q; write the name of a column in braces, as in {question}", template)
		}
		if text != "" {
			pieces = append(pieces, piece{text: text})
		}
		if !found {
			break
		}
		name, next, closed := strings.Cut(after, "}")
		if !closed || name == "" || strings.Contains(name, "{") {
			return nil, fmt.Errorf("a brace is not closed or holds no name in %.80q; write the name of a column in braces, as in {question}", template)
		}
		pieces = append(pieces, piece{column: name})
		rest = next
	}
	return pieces, nil
}

// layout is how rows are made of columns.
type layout struct {
	columns                       []string // that are read, each once
	question, answer, id, cluster []piece
}

func (c Columns) layout() (layout, error) {
	var l layout
	for _, part := range []struct {
		template, usual, key string
		pieces               *[]piece
	}{
		{c.Question, "question", "question", &l.question},
		{c.Answer, "answer", "answer", &l.answer},
		{c.ID, "", "id", &l.id},
		{c.Cluster, "", "cluster", &l.cluster},
	} {
		template := part.template
		if template == "" {
			template = part.usual
		}
		pieces, err := parseTemplate(template)
		if err != nil {
			return l, fmt.Errorf("dataset.columns.%s: %w", part.key, err)
		}
		*part.pieces = pieces
		for _, p := range pieces {
			if p.column != "" && !slices.Contains(l.columns, p.column) {
				l.columns = append(l.columns, p.column)
			}
		}
	}
	return l, nil
}

// fill makes a text of the cells of a row, which are in the order of l.columns.
func (l layout) fill(pieces []piece, cells []string) string {
	var b strings.Builder
	for _, p := range pieces {
		if p.column == "" {
			b.WriteString(p.text)
		} else {
			b.WriteString(cells[slices.Index(l.columns, p.column)])
		}
	}
	return b.String()
}

// Preset is what is known of a data set on the hub.
type Preset struct {
	Columns Columns
	Gold    GoldForm
	Splits  []string // for questions, where it has no test split; the first one that is there
	Config  string   // the subset, where that is not main
}

// presets are the data sets that people bring, by their ids on the hub.
var presets = map[string]Preset{
	"openai/gsm8k":            {Gold: GoldHash},
	"madrylab/gsm8k-platinum": {Gold: GoldHash},
	"apple/gsm-symbolic": {Gold: GoldHash, Columns: Columns{
		ID:      "{original_id}-{instance}",
		Cluster: "original_id",
	}},
	"qintongli/gsm-plus": {Gold: GoldBare, Columns: Columns{Cluster: "seed_question"}},
	"chilled/svamp": {Gold: GoldBare, Columns: Columns{
		Question: "{Body} {Question}", Answer: "Answer",
		ID: "ID",
	}},
	"chilled/multiarith": {Gold: GoldBare, Columns: Columns{Answer: "final_ans"}},
	"eleutherai/asdiv": {
		Gold: GoldBare, Columns: Columns{Question: "{body} {question}"},
		Splits: []string{"validation"}, Config: "asdiv",
	},
	"huggingfaceh4/math-500": {Gold: GoldBare, Columns: Columns{Question: "problem", ID: "unique_id"}},
	"maxwell-jia/aime_2024": {
		Gold: GoldBare, Columns: Columns{Question: "Problem", Answer: "Answer", ID: "ID"},
		Splits: []string{"train", "aime_2024_problems"},
	},
	"huggingfaceh4/aime_2024": {Gold: GoldBare, Columns: Columns{Question: "problem"}, Splits: []string{"train"}},
	"yentinglin/aime_2025":    {Gold: GoldBare, Columns: Columns{Question: "problem"}, Splits: []string{"train"}},
}

// PresetOf returns what is known of the data set with an id on the hub, which may
// end in @ and a revision.
func PresetOf(id string) (Preset, bool) {
	id, _, _ = strings.Cut(id, "@")
	p, ok := presets[strings.ToLower(id)]
	return p, ok
}

// Preset fills what the spec leaves out with what is known of the data set.
func (s Spec) Preset(p Preset) Spec {
	if s.Columns.Question == "" {
		s.Columns.Question = p.Columns.Question
	}
	if s.Columns.Answer == "" {
		s.Columns.Answer = p.Columns.Answer
	}
	if s.Columns.ID == "" {
		s.Columns.ID = p.Columns.ID
	}
	if s.Columns.Cluster == "" {
		s.Columns.Cluster = p.Columns.Cluster
	}
	if s.Gold == "" || s.Gold == GoldAuto {
		s.Gold = p.Gold
	}
	return s
}

// Where picks the split and the subset of a data set with these files: those
// that are asked for, or, where that is test of main and there is none, those
// that the preset knows.
func (p Preset) Where(files []string, split, config string) (string, string) {
	if (config == "" || config == "main") && slices.Contains(configsOf(files), p.Config) {
		config = p.Config
	}
	if split != "" && split != "test" {
		return split, config
	}
	for _, s := range append([]string{"test"}, p.Splits...) {
		if _, err := SplitFiles(files, s, config); err == nil {
			return s, config
		}
	}
	return "test", config
}

// goldForm settles auto, for all answers of a data set.
func goldForm(form GoldForm, answers []string) (GoldForm, error) {
	const short = 64
	switch form {
	case GoldHash, GoldBare:
		return form, nil
	case GoldAuto, "":
	default:
		return "", fmt.Errorf("dataset.gold is %.40q, expected auto, hash or bare", form)
	}
	if slices.ContainsFunc(answers, func(a string) bool { return strings.Contains(a, "####") }) {
		return GoldHash, nil
	}
	for _, a := range answers {
		if len(a) > short || strings.Contains(strings.TrimSpace(a), "\n") {
			return GoldHash, nil
		}
	}
	return GoldBare, nil
}

var errNoColumn = errors.New("name the columns with dataset.columns, as in {question: \"{Body} {Question}\", answer: Answer}")
