package export

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/gsmeval/gsmeval/internal/files"
	"github.com/gsmeval/gsmeval/results"
)

// The files of lm-evaluation-harness (checked with 0.4.13): MODEL/results_DATE.json holds a task for each condition,
// and MODEL/samples_TASK_DATE.jsonl a line for each sample, with the replicates of a question one after the other. The
// metric is exact_match, the filter the name of the answer ladder. Samples without a verdict are left out: the harness
// knows none.

// lmSample is a line of samples_*.jsonl. The keys after target_hash are the metric and what gsmeval knows beside it.
type lmSample struct {
	DocID         int                          `json:"doc_id"`
	Doc           lmDoc                        `json:"doc"`
	Target        string                       `json:"target"`
	Arguments     map[string]map[string]lmArgs `json:"arguments"`
	Resps         [][]string                   `json:"resps"`
	FilteredResps []string                     `json:"filtered_resps"`
	Filter        string                       `json:"filter"`
	Metrics       []string                     `json:"metrics"`
	DocHash       string                       `json:"doc_hash"`
	PromptHash    string                       `json:"prompt_hash"`
	TargetHash    string                       `json:"target_hash"`
	ExactMatch    float64                      `json:"exact_match"`

	Replicate int           `json:"replicate"`
	Sample    int           `json:"sample,omitempty"`
	Status    string        `json:"status"`
	Rung      string        `json:"rung"`
	Finish    string        `json:"finish"`
	Tokens    int           `json:"tokens"`
	PromptSHA string        `json:"prompt_sha"`
	TMean     results.Float `json:"t_mean"`
}

type lmDoc struct {
	Question string `json:"question"`
	Answer   string `json:"answer"`
}

// lmArgs is the question (arg_0) or how it was answered (arg_1).
type lmArgs any

func (r *Run) writeLMEval(out string) ([]string, error) {
	dir := filepath.Join(out, modelSlug(r.Setup.Model))
	date := r.when().UTC().Format("2006-01-02T15-04-05.000000")
	tasks := r.slugs()
	hashes := map[string]string{}
	var paths []string
	for i, a := range r.arms {
		path := filepath.Join(dir, "samples_"+tasks[i]+"_"+date+".jsonl")
		all := sha256.New()
		err := files.Replace(path, func(w io.Writer) error {
			enc := json.NewEncoder(w)
			enc.SetEscapeHTML(false)
			for j := range a.records {
				if !a.records[j].Status.Counted() {
					continue
				}
				s, err := r.lmSample(a, &a.records[j])
				if err != nil {
					return err
				}
				_, _ = io.WriteString(all, s.DocHash+s.PromptHash+s.TargetHash) // a hash cannot fail
				if err := enc.Encode(s); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return paths, err
		}
		hashes[tasks[i]] = hex.EncodeToString(all.Sum(nil))
		paths = append(paths, path)
	}
	path := filepath.Join(dir, "results_"+date+".json")
	err := files.Replace(path, func(w io.Writer) error {
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(r.lmResults(tasks, hashes))
	})
	return append([]string{path}, paths...), err
}

func (r *Run) lmSample(a arm, rec *results.Record) (*lmSample, error) {
	e := r.Questions[rec.ID]
	doc := lmDoc{e.Question, e.Answer}
	docHash, err := lmDocHash(doc)
	if err != nil {
		return nil, err
	}
	match := 0.0
	if rec.Correct {
		match = 1
	}
	return &lmSample{
		DocID: rec.ID, Doc: doc, Target: e.Gold,
		Arguments: map[string]map[string]lmArgs{"gen_args_0": {"arg_0": e.Question, "arg_1": r.lmGenKwargs(a)}},
		Resps:     [][]string{{rec.Text}}, FilteredResps: []string{rec.Answer}, Filter: r.Setup.Ladder,
		Metrics: []string{"exact_match"},
		DocHash: docHash, PromptHash: sha(e.Question), TargetHash: sha(e.Gold), ExactMatch: match,
		Replicate: rec.Replicate, Sample: rec.Sample, Status: string(rec.Status), Rung: rec.Rung,
		Finish:    string(rec.Finish),
		Tokens:    rec.Tokens,
		PromptSHA: rec.PromptSHA, TMean: rec.TMean,
	}, nil
}

// lmGenKwargs says how a condition generates. A temperature that follows the position has no number.
func (r *Run) lmGenKwargs(a arm) map[string]any {
	t := r.temperature(a)
	return map[string]any{
		"do_sample": t == nil || *t > 0, "temperature": t, "max_gen_toks": r.Setup.MaxNewTokens,
		"until": []string{},
	}
}

// lmDocHash is the harness's hash of a document: SHA-256 of Python's json.dumps(doc, indent=2, ensure_ascii=False).
func lmDocHash(doc lmDoc) (string, error) {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(doc); err != nil {
		return "", err
	}
	return sha(pythonSeparators(strings.TrimSuffix(b.String(), "\n"))), nil
}

// pythonSeparators puts the line and paragraph separators, which Go escapes, as they are.
func pythonSeparators(text string) string {
	if !strings.Contains(text, `\u202`) {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] != '\\':
			b.WriteByte(text[i])
		case strings.HasPrefix(text[i:], `\u2028`), strings.HasPrefix(text[i:], `\u2029`):
			b.WriteRune('\u2028' + rune(text[i+5]-'8'))
			i += 5
		default:
			b.WriteString(text[i : i+2])
			i++
		}
	}
	return b.String()
}

func sha(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

var unsafeInModel = regexp.MustCompile(`["<>:/|\\?*\[\]]+`)

// modelSlug is the harness's name for a model's directory.
func modelSlug(model string) string { return unsafeInModel.ReplaceAllString(model, "__") }

func (r *Run) lmResults(tasks []string, hashes map[string]string) map[string]any {
	s, info := r.Setup, r.Info
	out := map[string]map[string]any{}
	for _, key := range []string{
		"results", "group_subtasks", "configs", "versions", "n-shot", "higher_is_better",
		"n-samples",
	} {
		out[key] = map[string]any{}
	}
	dataset := datasetName(s)
	for i, a := range r.arms {
		task := tasks[i]
		key := func(metric string) string { return metric + "," + s.Ladder }
		out["results"][task] = map[string]any{
			"name": task, "alias": a.row.Noise + ", " + a.row.Temperature, "sample_len": a.row.Questions,
			key("exact_match"): a.row.Accuracy, key("exact_match_stderr"): orNA(a.row.SE),
			key("truncated"): a.row.TruncatedShare, key("no_answer"): a.row.NoAnswerShare,
		}
		out["group_subtasks"][task] = []string{}
		out["configs"][task] = map[string]any{
			"task": task, "dataset_path": s.Dataset, "dataset_name": s.Subset, "test_split": s.Split,
			"doc_to_text": "question", "doc_to_target": "answer", "description": "", "num_fewshot": s.FewShot,
			"metric_list": []map[string]any{{
				"metric": "exact_match", "aggregation": "mean",
				"higher_is_better": true,
			}},
			"filter_list":       []map[string]any{{"name": s.Ladder}},
			"output_type":       "generate_until",
			"generation_kwargs": r.lmGenKwargs(a), "repeats": a.cond.Replicates * a.cond.PerQuestion(),
			"metadata": map[string]any{
				"version": results.TableSchema, "gsmeval_fingerprint": info.Fingerprint, "noise": a.row.Noise,
				"noise_kind":  a.kind,
				"temperature": a.row.Temperature, "t_sha": a.cond.TSHA, "mean_alpha": a.cond.MeanAlpha,
				"samples_of": a.row.SamplesOf,
				"samples":    a.row.Samples, "planned": a.row.Planned, "failed": a.row.Failed(),
				"accuracy_interval_95": a.row.CI,
			},
		}
		out["versions"][task] = results.TableSchema
		out["n-shot"][task] = s.FewShot
		out["higher_is_better"][task] = map[string]any{"exact_match": true, "truncated": false, "no_answer": false}
		out["n-samples"][task] = map[string]any{"original": info.Meta.Examples, "effective": a.row.Questions}
	}
	all := map[string]any{
		"config": map[string]any{
			"model": "gsmeval", "model_args": "pretrained=" + s.Model + ",dtype=" + s.DType, "model_dtype": s.DType,
			"model_revision": s.Revision, "model_sha": info.Hashes["weights"], "batch_size": s.BatchSize,
			"batch_sizes": []int{},
			"device":      info.Device, "use_cache": nil, "limit": orNil(s.Limit), "bootstrap_iters": r.table.Resamples,
			"gen_kwargs":  nil,
			"random_seed": s.Seed, "numpy_seed": s.Seed, "torch_seed": s.Seed, "fewshot_seed": s.Seed,
		},
		"git_hash": nil, "date": float64(info.Started.UnixMilli()) / 1000, "gsmeval_version": info.Versions["gsmeval"],
		"gsmeval_settings": info.Meta.Settings, "gsmeval_dataset": dataset,
		"gsmeval_notes": append(r.table.Notes, r.table.Warnings...),
		"task_hashes":   hashes, "model_source": "gsmeval", "model_name": s.Model,
		"model_name_sanitized": modelSlug(s.Model),
		"system_instruction":   orNil(s.System), "system_instruction_sha": nil, "fewshot_as_multiturn": nil,
		"chat_template": nil, "chat_template_sha": orNil(info.Hashes["template"]),
		"start_time": float64(info.Started.UnixMilli()) / 1000, "end_time": float64(r.when().UnixMilli()) / 1000,
		"total_evaluation_time_seconds": fmt.Sprint(info.Timings["decode"]),
	}
	if s.System != "" {
		all["system_instruction_sha"] = sha(s.System)
	}
	for k, v := range out {
		all[k] = v
	}
	return all
}

// orNA is a standard error as the harness prints one that there is not.
func orNA(f results.Float) any {
	if !f.Finite() {
		return "N/A"
	}
	return f
}

// orNil is null for what is not set.
func orNil[T comparable](v T) any {
	if v == *new(T) {
		return nil
	}
	return v
}

func datasetName(s Setup) string {
	return strings.TrimSuffix(filepath.Base(s.Dataset), filepath.Ext(s.Dataset)) + " " + s.Split
}
