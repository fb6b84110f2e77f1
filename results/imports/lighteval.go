package imports

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"

	"github.com/gsmeval/gsmeval/datasets"
)

var lightevalName = regexp.MustCompile(`^details_(.+)_[0-9]{4}-[0-9]{2}-[0-9]{2}T`)

// readLighteval reads lighteval's details: a row a question, with all its samples. Whether a text was cut is not kept
// there.
func readLighteval(f *File, data []byte) error {
	if m := lightevalName.FindStringSubmatch(filepath.Base(f.Path)); m != nil {
		f.Task, f.Model = m[1], filepath.Base(filepath.Dir(filepath.Dir(f.Path)))
	}
	rows, err := datasets.ReadNested(context.Background(), data, "doc.id", "doc.query", "doc.choices", "doc.gold_index",
		"model_response.text")
	if err != nil {
		return err
	}
	for i, row := range rows {
		id, query, choices, index, texts := row[0], row[1], row[2], row[3], row[4]
		if len(id) == 0 || len(query) == 0 {
			return fmt.Errorf("row %d: doc has no id or no query", i)
		}
		number, err := strconv.Atoi(id[0])
		if err != nil {
			return fmt.Errorf("row %d: doc.id is %.40q, expected a row number", i, id[0])
		}
		gold, err := chosen(choices, index)
		if err == nil {
			gold, err = goldOf(gold)
		}
		if err != nil {
			return fmt.Errorf("row %d: doc.choices: %w", i, err)
		}
		if len(texts) == 0 {
			return fmt.Errorf("row %d: model_response.text is empty: only tasks that generate can be scored", i)
		}
		for n, text := range texts {
			if err := f.add(Sample{
				ID: number, Replicate: n, Question: unframed(query[0]), Gold: gold,
				Text: text,
			}); err != nil {
				return fmt.Errorf("row %d: %w", i, err)
			}
		}
	}
	return nil
}

// chosen is the first of the choices that are right.
func chosen(choices, index []string) (string, error) {
	if len(index) == 0 {
		return "", errors.New("doc.gold_index names none")
	}
	i, err := strconv.Atoi(index[0])
	if err != nil || i < 0 || i >= len(choices) {
		return "", fmt.Errorf("doc.gold_index is %.20q, there are %d", index[0], len(choices))
	}
	return choices[i], nil
}

// frame is what prompts of a completion put around the question.
var frame = regexp.MustCompile(`(?s)^\s*(?:Question|Problem|Q):\s*(.*\S)\s*\n(?:Answer|Solution|A):?\s*$`)

func unframed(query string) string {
	if m := frame.FindStringSubmatch(query); m != nil {
		return m[1]
	}
	return query
}
