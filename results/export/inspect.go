package export

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/gsmeval/gsmeval/internal/files"
	"github.com/gsmeval/gsmeval/internal/finish"
	"github.com/gsmeval/gsmeval/results"
)

// The log of inspect_ai in JSON (version 2, checked with inspect_ai 0.3.285): a file for each condition, the task.
// Epochs are the replicates and, within a replicate, its samples of the question; the scorer is the answer ladder. A
// sample without a verdict has an error and no score, as inspect has it.

const inspectVersion = 2

type object = map[string]any

type inspectLog struct {
	Version int             `json:"version"`
	Status  string          `json:"status"`
	Eval    object          `json:"eval"`
	Plan    object          `json:"plan"`
	Results object          `json:"results"`
	Stats   object          `json:"stats"`
	Error   *inspectError   `json:"error,omitempty"`
	Samples []inspectSample `json:"samples"`
}

type inspectError struct {
	Message       string `json:"message"`
	Traceback     string `json:"traceback"`
	TracebackANSI string `json:"traceback_ansi"`
}

type inspectSample struct {
	ID       int                     `json:"id"`
	Epoch    int                     `json:"epoch"`
	Input    string                  `json:"input"`
	Target   string                  `json:"target"`
	Messages []inspectMessage        `json:"messages"`
	Output   object                  `json:"output"`
	Scores   map[string]inspectScore `json:"scores,omitempty"`
	Metadata object                  `json:"metadata"`
	Error    *inspectError           `json:"error,omitempty"`
}

type inspectMessage struct {
	Role    string `json:"role"`
	Content string `json:"content"`
	Source  string `json:"source"`
	Model   string `json:"model,omitempty"`
}

type inspectScore struct {
	Value       string  `json:"value"` // C or I
	Answer      *string `json:"answer"`
	Explanation string  `json:"explanation"`
	Metadata    object  `json:"metadata"`
}

func (r *Run) writeInspect(dir string) ([]string, error) {
	var paths []string
	for i, task := range r.slugs() {
		id := inspectID(r.Info.Fingerprint, task)
		date := r.Info.Started.UTC().Format("2006-01-02T15-04-05-07-00")
		path := filepath.Join(dir, date+"_"+strings.ReplaceAll(task, "_", "-")+"_"+id+".json")
		err := files.Replace(path, func(w io.Writer) error {
			enc := json.NewEncoder(w)
			enc.SetEscapeHTML(false)
			enc.SetIndent("", "  ")
			return enc.Encode(r.inspectLog(r.arms[i], task, id))
		})
		if err != nil {
			return paths, err
		}
		paths = append(paths, path)
	}
	return paths, nil
}

// inspectID is an identity of 22 letters, the same in every export of a run.
func inspectID(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:11])
}

func (r *Run) inspectLog(a arm, task, id string) *inspectLog {
	s, info := r.Setup, r.Info
	model := "gsmeval/" + s.Model
	log := &inspectLog{
		Version: inspectVersion,
		Eval: object{
			"eval_id": inspectID(id, "eval"), "run_id": inspectID(info.Fingerprint),
			"created": inspectTime(info.Started),
			"task":    task, "task_id": id, "task_version": results.TableSchema,
			"task_display_name": a.row.Noise + ", " + a.row.Temperature,
			"task_args":         object{"noise": a.row.Noise, "temperature": a.row.Temperature},
			"dataset": object{
				"name": datasetName(s), "location": s.Dataset, "samples": info.Meta.Examples,
				"sample_ids": ids(a.records), "shuffled": s.Shuffled,
			},
			"model":                 model,
			"model_generate_config": r.inspectGenerate(a),
			"model_args":            object{"dtype": s.DType, "device": info.Device, "revision": s.Revision},
			"config": object{
				"limit": orNil(s.Limit), "epochs": a.cond.Replicates * a.cond.PerQuestion(),
				"epochs_reducer": []string{"mean"}, "fail_on_error": false,
			},
			"packages": info.Versions,
			"metadata": object{
				"fingerprint": info.Fingerprint, "hashes": info.Hashes,
				"settings": info.Meta.Settings, "notes": r.table.Notes,
			},
			"scorers": []object{{
				"name": s.Ladder, "options": object{},
				"metrics": []object{
					{"name": "accuracy", "options": object{}},
					{"name": "stderr", "options": object{}},
				}, "metadata": object{},
			}},
		},
		Plan: object{
			"name": "plan", "steps": []object{{"solver": "generate", "params": object{}}},
			"config": r.inspectGenerate(a),
		},
		Results: r.inspectResults(a),
		Stats: object{
			"started_at": inspectTime(info.Started), "completed_at": inspectTime(info.Finished),
			"model_usage": object{},
		},
	}
	switch info.Status {
	case results.RunComplete:
		log.Status = "success"
	case results.RunInterrupted:
		log.Status = "cancelled"
	case results.RunFailed:
		log.Status, log.Error = "error", &inspectError{Message: info.Cause}
	default: // at work, or killed
		log.Status = "started"
	}
	for i := range a.records {
		log.Samples = append(log.Samples, r.inspectSample(a, &a.records[i], model))
	}
	return log
}

// inspectTime is a time in inspect's form; the zero time is empty.
func inspectTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05-07:00")
}

// ids lists the questions that were asked, each once, in their order.
func ids(records []results.Record) []int {
	out := []int{}
	seen := map[int]bool{}
	for _, rec := range records {
		if !seen[rec.ID] {
			seen[rec.ID] = true
			out = append(out, rec.ID)
		}
	}
	return out
}

// inspectGenerate is the condition's GenerateConfig. Where the temperature follows the position it has none.
func (r *Run) inspectGenerate(a arm) object {
	g := object{"max_tokens": r.Setup.MaxNewTokens, "seed": r.Setup.Seed, "top_p": r.Setup.TopP}
	if r.Setup.TopK > 0 {
		g["top_k"] = r.Setup.TopK
	}
	if t := r.temperature(a); t != nil {
		g["temperature"] = *t
	}
	return g
}

func (r *Run) inspectResults(a arm) object {
	metrics := object{}
	for name, v := range map[string]results.Float{"accuracy": a.row.Accuracy, "stderr": a.row.SE} {
		if v.Finite() {
			metrics[name] = object{"name": name, "value": v, "params": object{}}
		}
	}
	return object{
		"total_samples": a.row.Planned, "completed_samples": a.row.N,
		"scores": []object{{
			"name": r.Setup.Ladder, "scorer": r.Setup.Ladder, "reducer": "mean", "scored_samples": a.row.N,
			"unscored_samples": a.row.Failed(),
			"params":           object{}, "metrics": metrics,
			"metadata": object{
				"interval_95": a.row.CI, "truncated": a.row.Truncated, "no_answer": a.row.NoAnswer,
				"effective_n": a.row.EffectiveN,
			},
		}},
	}
}

func (r *Run) inspectSample(a arm, rec *results.Record, model string) inspectSample {
	e := r.Questions[rec.ID]
	answer := inspectMessage{Role: "assistant", Content: rec.Text, Source: "generate", Model: model}
	stop := "unknown"
	switch rec.Finish {
	case finish.Stop:
		stop = "stop"
	case finish.Length:
		stop = "max_tokens"
	case finish.Nonfinite, finish.Failed:
	}
	s := inspectSample{
		ID: rec.ID, Epoch: rec.Replicate*a.cond.PerQuestion() + rec.Sample + 1, Input: e.Question, Target: e.Gold,
		Messages: []inspectMessage{{Role: "user", Content: e.Question, Source: "input"}, answer},
		Output: object{
			"model": model, "choices": []object{{"message": answer, "stop_reason": stop}},
			"completion": rec.Text,
		},
		Metadata: object{
			"noise": a.row.Noise, "temperature": a.row.Temperature, "replicate": rec.Replicate, "order": rec.Order,
			"tokens": rec.Tokens,
			"status": rec.Status, "rung": rec.Rung, "finish": rec.Finish, "t_min": rec.TMin, "t_max": rec.TMax,
			"t_mean":       rec.TMean,
			"question_sha": rec.QuestionSHA, "prompt_sha": rec.PromptSHA, "solution": e.Answer,
		},
	}
	if a.cond.PerQuestion() > 1 {
		s.Metadata["sample"] = rec.Sample
	}
	if rec.Effect != nil {
		s.Metadata["noise_effect"] = rec.Effect
	}
	if !rec.Status.Counted() {
		s.Error = &inspectError{Message: rec.Error}
		return s
	}
	score := inspectScore{
		Value: "I", Explanation: fmt.Sprintf("status %s", rec.Status),
		Metadata: object{"status": rec.Status, "rung": rec.Rung},
	}
	if rec.Correct {
		score.Value = "C"
	}
	if rec.Rung != "" {
		score.Answer = &rec.Answer
		score.Explanation += ", rung " + rec.Rung
	}
	s.Scores = map[string]inspectScore{r.Setup.Ladder: score}
	return s
}
