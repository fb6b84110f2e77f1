package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gsmeval/gsmeval/datasets"
	"github.com/gsmeval/gsmeval/harness/session"
	"github.com/gsmeval/gsmeval/internal/finish"
	"github.com/gsmeval/gsmeval/results"
	"github.com/gsmeval/gsmeval/scoring"
)

// tally is the answer of score.
type tally struct {
	N        int                    `json:"n"`
	Correct  int                    `json:"correct"`
	Accuracy float64                `json:"accuracy"`
	ByStatus map[scoring.Status]int `json:"by_status"`
}

func (t *tally) add(v scoring.Verdict) {
	t.ByStatus[v.Status]++
	if v.Status.Counted() {
		t.N++
	}
	if v.Correct {
		t.Correct++
	}
	if t.N > 0 {
		t.Accuracy = float64(t.Correct) / float64(t.N)
	}
}

func scoreCommand(a *app) *cobra.Command {
	var spec datasets.Spec
	var ladder, out string
	var asJSON bool
	c := &cobra.Command{
		Use:   "score FILE.jsonl --dataset DATA",
		Short: "Score texts again, without a model",
		Long: `Score reads texts, one JSON object a line with "id" (the row number in the data set) and "text", maybe "finish" ("stop" or
"length"), extracts their answers with a ladder and compares them with the data set's. A run's samples.jsonl is such a file.`,
		Example: `  gsmeval score runs/first_light/samples.jsonl --dataset data/gsm-synth --ladder robust
  gsmeval score solutions.jsonl --dataset gsm8k --split test --ladder seed --json --out verdicts.jsonl`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := scoring.LadderByName(ladder)
			if err != nil {
				return usageError{fmt.Errorf("--ladder: %w", err)}
			}
			path := args[0]
			if info, err := os.Stat(path); err == nil && info.IsDir() {
				path += "/" + results.JournalFile
			}
			texts, err := datasets.ReadTexts(path)
			if err != nil {
				return err
			}
			set, err := session.NewLocator(a.stderr).Load(cmd.Context(), spec, "")
			if err != nil {
				return err
			}
			gold := make(map[int]string, len(set.Examples))
			for _, e := range set.Examples {
				gold[e.ID] = e.Gold
			}
			t := tally{ByStatus: map[scoring.Status]int{}}
			var lines bytes.Buffer
			for _, text := range texts {
				g, ok := gold[text.ID]
				if !ok {
					return fmt.Errorf("%s: there is no row %d in %s (%d rows)", path, text.ID, spec.Path, len(set.Examples))
				}
				v := l.Score(scoring.Text{Text: text.Text, Finish: finish.Reason(text.Finish)}, g)
				t.add(v)
				if err := verdictLine(&lines, text, v); err != nil {
					return err
				}
			}
			if out != "" {
				if err := os.WriteFile(out, lines.Bytes(), 0o644); err != nil {
					return fmt.Errorf("writing the verdicts: %w", err)
				}
			}
			if asJSON {
				return a.printJSON(t)
			}
			return a.println(t.String())
		},
	}
	f := c.Flags()
	f.StringVar(&spec.Path, "dataset", "", "data set: a directory, a .parquet or .jsonl file, a glob, or a hub id (org/name or org/name@revision)")
	f.StringVar(&spec.Split, "split", "test", "split of a data set directory")
	f.StringVar(&spec.Config, "config", "main", "subset of a data set directory: main or socratic")
	f.StringVar(&ladder, "ladder", "seed", "how answers are read: "+strings.Join(scoring.LadderNames(), " or "))
	f.StringVar(&out, "out", "", "write every line with answer, rung, status and correct to a `FILE`")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	required(c, "dataset")
	return c
}

// String is the tally for a person.
func (t tally) String() string {
	s := fmt.Sprintf("%d of %d right: %.2f %%", t.Correct, t.N, 100*t.Accuracy)
	for _, st := range []scoring.Status{scoring.StatusOK, scoring.StatusNoAnswer, scoring.StatusTruncated, scoring.StatusNonfinite, scoring.StatusError} {
		if n := t.ByStatus[st]; n > 0 {
			s += fmt.Sprintf(", %s %d", st, n)
		}
	}
	return s
}

// verdictLine writes a text's own keys with the verdict's in their place.
func verdictLine(w *bytes.Buffer, text datasets.Text, v scoring.Verdict) error {
	line := map[string]any{}
	dec := json.NewDecoder(bytes.NewReader(text.Raw))
	dec.UseNumber()
	if err := dec.Decode(&line); err != nil {
		return errors.Join(errors.New("reading a line again"), err)
	}
	line["answer"], line["rung"], line["status"], line["correct"] = v.Answer.Value, v.Answer.Rung, v.Status, v.Correct
	if !v.Found {
		line["answer"], line["rung"] = nil, nil
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(line)
}
