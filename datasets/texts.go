package datasets

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/gsmeval/gsmeval/internal/files"
	"github.com/gsmeval/gsmeval/internal/finish"
)

// Text is a generated text to be scored.
type Text struct {
	ID     int // row number in the data set; several texts may answer one question
	Text   string
	Finish string // "stop" or "length"; "nonfinite" or "error" of samples that failed
	// QuestionSHA is how a run's record names its question; empty where the text says nothing of it.
	QuestionSHA string
	Raw         json.RawMessage // the whole line
}

// maxTextsBytes bounds the lines of a file of texts, which are held in memory.
const maxTextsBytes = 1 << 30

// ReadTexts reads a JSONL file with the keys id and text, and maybe finish and
// question_sha, a line. Other keys stay in Raw.
func ReadTexts(path string) ([]Text, error) {
	f, err := files.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading texts: %w", err)
	}
	defer func() { _ = f.Close() }() // it was only read
	var texts []Text
	total := 0
	err = eachLine(context.Background(), f, func(_ int, line []byte, keys map[string]json.RawMessage) error {
		if total += len(line); total > maxTextsBytes {
			return fmt.Errorf("more than %d MB of texts in one file", maxTextsBytes>>20)
		}
		t, err := parseText(keys)
		if err != nil {
			return err
		}
		t.Raw = append(t.Raw, line...)
		texts = append(texts, t)
		return nil
	})
	if err == nil && len(texts) == 0 {
		err = errors.New("the file holds no texts")
	}
	if err != nil {
		return nil, fmt.Errorf("reading texts %s: %w", path, err)
	}
	return texts, nil
}

func parseText(keys map[string]json.RawMessage) (Text, error) {
	t := Text{Finish: string(finish.Stop)}
	raw, ok := keys["id"]
	if !ok {
		return t, errors.New(`no key "id"`)
	}
	var id *int
	if err := json.Unmarshal(raw, &id); err != nil || id == nil || *id < 0 {
		return t, fmt.Errorf(`key "id" is %.40s, expected a row number`, raw)
	}
	t.ID = *id
	var err error
	if t.Text, err = stringKey(keys, "text"); err != nil {
		return t, err
	}
	if raw, ok := keys["question_sha"]; ok && string(raw) != "null" {
		if t.QuestionSHA, err = stringKey(keys, "question_sha"); err != nil {
			return t, err
		}
	}
	if raw, ok := keys["finish"]; ok && string(raw) != "null" {
		if t.Finish, err = stringKey(keys, "finish"); err != nil {
			return t, err
		}
		switch finish.Reason(t.Finish) {
		case finish.Stop, finish.Length, finish.Nonfinite, finish.Failed:
		default:
			return t, fmt.Errorf(`key "finish" is %.40q, expected "stop" or "length" (or, of samples that failed, "nonfinite" or "error")`, t.Finish)
		}
	}
	return t, nil
}
