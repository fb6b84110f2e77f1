package imports

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/gsmeval/gsmeval/internal/finish"
)

// inspectLog is what is read of a log of inspect_ai in JSON.
type inspectLog struct {
	Eval struct {
		Task  string `json:"task"`
		Model string `json:"model"`
	} `json:"eval"`
	Samples []struct {
		ID     json.RawMessage `json:"id"`
		Epoch  int             `json:"epoch"`
		Input  json.RawMessage `json:"input"`
		Target json.RawMessage `json:"target"`
		Error  json.RawMessage `json:"error"`
		Output struct {
			Completion string `json:"completion"`
			Choices    []struct {
				Message struct {
					Content json.RawMessage `json:"content"`
				} `json:"message"`
				StopReason string `json:"stop_reason"`
			} `json:"choices"`
		} `json:"output"`
	} `json:"samples"`
}

func readInspect(f *File, data []byte) error {
	var log inspectLog
	if err := json.Unmarshal(data, &log); err != nil {
		return fmt.Errorf("not JSON: %w", notJSON(err))
	}
	f.Task, f.Model = log.Eval.Task, log.Eval.Model
	rows := map[string]int{} // of ids that are no numbers, by their first appearance
	for i, s := range log.Samples {
		out := Sample{Replicate: max(s.Epoch-1, 0), Text: s.Output.Completion, Question: textOf(s.Input)}
		if json.Unmarshal(s.ID, &out.ID) != nil {
			label := textOf(s.ID)
			row, seen := rows[label]
			if !seen {
				row = len(rows)
				rows[label] = row
			}
			out.ID, out.Label = row, label
		}
		if len(rows) > 0 && out.Label == "" {
			return fmt.Errorf("sample %d: some ids are numbers and some are texts", i)
		}
		if len(s.Output.Choices) > 0 {
			c := s.Output.Choices[0]
			if out.Text == "" {
				out.Text = textOf(c.Message.Content)
			}
			switch c.StopReason {
			case "max_tokens", "model_length":
				out.Finish = finish.Length
			}
		}
		if len(s.Error) > 0 && string(s.Error) != "null" {
			out.Finish = finish.Failed
		}
		var err error
		if out.Gold, err = goldOf(textOf(s.Target)); err != nil {
			return fmt.Errorf("sample %d: target: %w", i, err)
		}
		if err := f.add(out); err != nil {
			return fmt.Errorf("sample %d: %w", i, err)
		}
	}
	if len(log.Samples) == 0 {
		return errors.New("the log has no samples; a log of the header alone cannot be scored")
	}
	return nil
}

// textOf is a text, or the texts of a list: of targets the first, of messages and their parts all but thoughts.
func textOf(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	var parts []struct {
		Type    string          `json:"type"`
		Text    string          `json:"text"`
		Role    string          `json:"role"`
		Content json.RawMessage `json:"content"`
	}
	if json.Unmarshal(raw, &parts) == nil {
		var b strings.Builder
		for _, p := range parts {
			switch {
			case p.Role == "user":
				b.WriteString(textOf(p.Content))
			case p.Type == "text":
				b.WriteString(p.Text)
			}
		}
		return b.String()
	}
	var list []string
	if json.Unmarshal(raw, &list) == nil && len(list) > 0 {
		return list[0]
	}
	return strings.Trim(string(raw), `"`)
}
