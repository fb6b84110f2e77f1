package imports

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"

	"github.com/gsmeval/gsmeval/internal/finish"
)

// lmSample is a line of lm-evaluation-harness' samples_*.jsonl. There is one for each filter, with all tries of the
// question.
type lmSample struct {
	DocID     *int              `json:"doc_id"`
	Doc       map[string]any    `json:"doc"`
	Target    json.RawMessage   `json:"target"`
	Resps     []json.RawMessage `json:"resps"`
	Filter    string            `json:"filter"`
	Replicate int               `json:"replicate"` // of our own exports
	Finish    finish.Reason     `json:"finish"`
}

var lmName = regexp.MustCompile(`^samples_(.+)_[0-9]{4}-[0-9]{2}-[0-9]{2}T`)

func readLMEval(f *File, data []byte) error {
	if m := lmName.FindStringSubmatch(filepath.Base(f.Path)); m != nil {
		f.Task, f.Model = m[1], filepath.Base(filepath.Dir(f.Path))
	}
	filter, first := "", true
	return lines(data, func(line []byte) error {
		var s lmSample
		if err := json.Unmarshal(line, &s); err != nil {
			return err
		}
		if s.DocID == nil {
			return errors.New(`no key "doc_id"`)
		}
		if first {
			filter, first = s.Filter, false
		}
		if s.Filter != filter {
			return nil // the same answers again
		}
		question := ""
		for _, key := range []string{"question", "problem", "Question"} {
			if q, ok := s.Doc[key].(string); ok {
				question = q
				break
			}
		}
		var target string
		if json.Unmarshal(s.Target, &target) != nil {
			target = string(s.Target) // a number
		}
		gold, err := goldOf(target)
		if err != nil {
			return fmt.Errorf(`key "target": %w`, err)
		}
		texts, err := respTexts(s.Resps)
		if err != nil {
			return err
		}
		for i, text := range texts {
			err := f.add(Sample{
				ID: *s.DocID, Replicate: s.Replicate + i, Question: question, Gold: gold, Text: text,
				Finish: s.Finish,
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// respTexts are the tries of a question: a list for each request, of which generating has one.
func respTexts(resps []json.RawMessage) ([]string, error) {
	var texts []string
	for _, raw := range resps {
		var text string
		var list []string
		if json.Unmarshal(raw, &text) == nil {
			texts = append(texts, text)
		} else if json.Unmarshal(raw, &list) == nil {
			texts = append(texts, list...)
		} else {
			return nil, errors.New(`key "resps" holds no texts: only tasks that generate can be scored`)
		}
	}
	if len(texts) == 0 {
		return nil, errors.New(`key "resps" is empty`)
	}
	return texts, nil
}
