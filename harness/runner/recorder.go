package runner

import (
	"fmt"
	"time"

	"github.com/gsmeval/gsmeval/decode"
	"github.com/gsmeval/gsmeval/harness/session"
	"github.com/gsmeval/gsmeval/internal/condition"
	"github.com/gsmeval/gsmeval/internal/finish"
	"github.com/gsmeval/gsmeval/noise/operation"
	"github.com/gsmeval/gsmeval/results"
	"github.com/gsmeval/gsmeval/scoring"
)

const (
	maxBatch   = 64          // records written with one sync
	flushAfter = time.Second // a record waits no longer for others
)

// recorder scores finished sequences and writes them to the journal, beside the decoding.
type recorder struct {
	r       *runner
	noise   condition.Noise
	weights condition.Effect
	in      chan finished
	done    chan struct{}
	err     error
	broken  chan struct{} // closed when err is set
}

type finished struct {
	todo   todo
	result decode.Completion
}

func newRecorder(r *runner, n condition.Noise) *recorder {
	rec := &recorder{
		r: r, noise: n, in: make(chan finished, maxBatch), done: make(chan struct{}),
		broken: make(chan struct{}),
	}
	go rec.loop()
	return rec
}

// programmed keeps the effect of the pass's weight noise. It is called before the first sample.
func (rec *recorder) programmed(e condition.Effect) { rec.weights = e }

// sink takes a finished sequence from the engine.
func (rec *recorder) sink(t todo, c decode.Completion) error {
	select {
	case rec.in <- finished{t, c}:
		return nil
	case <-rec.broken:
		return rec.err
	}
}

// close waits until everything is written.
func (rec *recorder) close() error {
	close(rec.in)
	<-rec.done
	return rec.err
}

func (rec *recorder) loop() {
	defer close(rec.done)
	var batch []results.Record
	timer := time.NewTimer(flushAfter)
	defer timer.Stop()
	flush := func() {
		if len(batch) > 0 && rec.err == nil {
			rec.fail(rec.r.journal.Append(batch))
		}
		batch = batch[:0]
		timer.Reset(flushAfter)
	}
	for {
		select {
		case f, open := <-rec.in:
			if !open {
				flush()
				return
			}
			record, err := rec.record(f)
			batch = append(batch, record)
			if len(batch) >= maxBatch || err != nil {
				flush()
			}
			rec.fail(err)
		case <-timer.C:
			flush()
		}
	}
}

func (rec *recorder) fail(err error) {
	if err != nil && rec.err == nil {
		rec.err = err
		close(rec.broken)
	}
}

// record scores a sequence.
func (rec *recorder) record(f finished) (results.Record, error) {
	r, k, res := rec.r, f.todo.key, f.result
	example, prompt := r.Data.Examples[k.Order], r.prompts[k.Order]
	verdict := r.ladder.Score(scoring.Text{
		Text: res.Text, Finish: res.Finish, FewShot: r.cfg.Prompt.FewShot > 0, Question: example.Question,
		Asks: scoring.AskedBy(r.cfg.Prompt.Instruction), InThink: prompt.InThink,
	}, example.Gold)
	out := results.Record{
		Noise: r.info.Meta.Noises[k.NoiseIndex].Label, NoiseIndex: k.NoiseIndex, Replicate: k.Replicate,
		Sample:      k.Sample,
		Temperature: f.todo.cell.Label, TempIndex: k.TempIndex,
		ID: example.ID, Order: k.Order, Label: example.Label, Cluster: example.Cluster,
		QuestionSHA: session.ShortSHA(example.Question), PromptSHA: prompt.SHA(),
		Text: res.Text, Tokens: len(res.IDs), Finish: res.Finish,
		Answer: verdict.Answer.Value, Rung: verdict.Answer.Rung, Status: verdict.Status, Correct: verdict.Correct,
		TMin: results.Float(res.TMin), TMax: results.Float(res.TMax), TMean: results.Float(res.TMean),
		TSHA: f.todo.cell.schedule.SHA256(),
	}
	switch {
	case res.Finish == finish.Failed:
	case rec.noise.OnRows():
		out.Effect = &results.Effect{Elements: res.Effect.Elements, RMSRatio: results.Float(res.Effect.Ratio())}
	case rec.noise.On(operation.Weights):
		total := rec.weights.Total()
		out.Effect = &results.Effect{
			Sites: len(rec.weights), Elements: total.Elements,
			RMSRatio: results.Float(total.Ratio()),
		}
	}
	switch res.Finish {
	case finish.Nonfinite:
		out.Error = fmt.Sprintf("a logit was not finite at generated token %d", len(res.IDs))
	case finish.Failed:
		out.Error = res.Err.Error()
	case finish.Stop, finish.Length:
	}
	if out.Error != "" && r.cfg.FailOnError {
		return out, fmt.Errorf("row %d under %s: %s (fail_on_error is set)", example.ID, out.Noise, out.Error)
	}
	r.progress.add(len(res.IDs), verdict.Status.Counted(), verdict.Correct)
	return out, nil
}
