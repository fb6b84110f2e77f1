package runner

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gsmeval/gsmeval/datasets"
	"github.com/gsmeval/gsmeval/decode"
	"github.com/gsmeval/gsmeval/harness/session"
	"github.com/gsmeval/gsmeval/internal/config"
	"github.com/gsmeval/gsmeval/internal/finish"
	"github.com/gsmeval/gsmeval/results"
	"github.com/gsmeval/gsmeval/scoring"
)

// stubDecoder answers at once, with a text that depends on the request alone, and finishes requests out of order.
type stubDecoder struct {
	stopAfter int // samples, then the context ends the run; 0: never
	cancel    context.CancelFunc
	fail      func(k decode.Request) error
}

func (d *stubDecoder) decode(ctx context.Context, _ pass, next decode.Source[todo], sink decode.Sink[todo]) error {
	const slots = 3
	type entry struct {
		req *decode.Request
		tag todo
	}
	for {
		var batch []entry
		for len(batch) < slots {
			req, tag, ok := next()
			if !ok {
				break
			}
			batch = append(batch, entry{req, tag})
		}
		if len(batch) == 0 {
			return nil
		}
		for i := len(batch) - 1; i >= 0; i-- {
			if err := ctx.Err(); err != nil {
				return err
			}
			e := batch[i]
			text := fmt.Sprintf("x%x\n#### %d", uint64(e.req.SampleKey)>>48, len(e.req.Prompt)%7)
			r := decode.Completion{Text: text, IDs: []int{1, 2}, Finish: finish.Stop, TMin: 1, TMax: 1, TMean: 1}
			for _, c := range []byte(text) {
				r.IDs = append(r.IDs, int(c))
			}
			if d.fail != nil {
				if err := d.fail(*e.req); err != nil {
					r = decode.Completion{Finish: finish.Failed, Err: err}
				}
			}
			if err := sink(e.tag, r); err != nil {
				return err
			}
			if d.stopAfter--; d.stopAfter == 0 {
				d.cancel()
			}
		}
	}
}

func (d *stubDecoder) close() error { return nil }

// stubRun does or continues a run in dir with the stub in the model's place.
func stubRun(ctx context.Context, t *testing.T, dir string, d *stubDecoder,
	change ...func(*config.Config),
) (*results.Table, error) {
	t.Helper()
	return stubRunWith(ctx, t, dir, d, Options{NoReport: true}, change...) // figures take longer than thousands of such runs
}

func stubRunWith(ctx context.Context, t *testing.T, dir string, d *stubDecoder, o Options,
	change ...func(*config.Config),
) (*results.Table, error) {
	t.Helper()
	cfg, err := config.Parse("stub.yaml", []byte(`
model: {path: m}
dataset: {path: d}
generation: {max_new_tokens: 8}
temperature: [{policy: constant, value: 1}, {policy: greedy}]
progress: none
`), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Output = dir
	for _, f := range change {
		f(cfg)
	}
	r := &runner{
		cfg: cfg, opt: o, stderr: io.Discard, dir: dir, timings: map[string]float64{}, positions: 100,
		open: func(int, int) (decoder, error) { return d, nil },
	}
	r.Session = &session.Session{
		Cfg: cfg, Logger: session.NewLogger(cmp.Or[io.Writer](o.Stderr, io.Discard), cfg), Locator: &session.Locator{},
		Prompter: &session.Prompter{Style: "plain"}, Data: &datasets.Set{SHA256: strings.Repeat("d", 64)},
	}
	r.ID = &session.Identity{
		Hashes:   map[string]string{"weights": strings.Repeat("a", 64)},
		Versions: map[string]string{"build": "stub"}, Device: "cpu", Threads: 1,
	}
	for i := range 3 {
		r.Data.Examples = append(r.Data.Examples, datasets.Example{
			ID: i, Question: fmt.Sprint("q", i),
			Gold: fmt.Sprint(i),
		})
		r.prompts = append(r.prompts, session.Prompt{Text: fmt.Sprint("q", i), IDs: make([]int, i+1)})
	}
	if r.ladder, err = scoring.LadderByName("seed"); err != nil {
		t.Fatal(err)
	}
	defer r.close()
	if err := r.openRun(ctx); err != nil {
		return nil, err
	}
	return r.run(ctx)
}

func read(t *testing.T, dir string, more ...string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, name := range append([]string{results.JournalFile, "table.csv", "table.md", "table.json", "table.tex"},
		more...) {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		out[name] = string(data)
	}
	return out
}

// TestResumeAfterEveryByte cuts the journal of a run at every byte and resumes: samples and tables are the bytes of a
// run that was never interrupted.
func TestResumeAfterEveryByte(t *testing.T) {
	t.Parallel()
	one := func(c *config.Config) { c.Temperature = c.Temperature[:1] }
	whole := t.TempDir()
	if _, err := stubRun(t.Context(), t, whole, &stubDecoder{}, one); err != nil {
		t.Fatal(err)
	}
	want := read(t, whole)
	info, err := os.ReadFile(filepath.Join(whole, results.RunFile))
	if err != nil {
		t.Fatal(err)
	}
	journal := []byte(want[results.JournalFile])
	if lines := bytes.Count(journal, []byte("\n")); lines != 3 {
		t.Fatalf("the whole run has %d samples, want 3", lines)
	}
	step := 1
	if testing.Short() {
		step = 37
	}
	for cut := 0; cut <= len(journal); cut += step {
		dir := filepath.Join(t.TempDir(), "run")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for name, data := range map[string][]byte{results.RunFile: info, results.JournalFile: journal[:cut]} {
			if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := stubRun(t.Context(), t, dir, &stubDecoder{}, one); err != nil {
			t.Fatalf("cut at byte %d: %v", cut, err)
		}
		for name, got := range read(t, dir) {
			if got != want[name] {
				t.Fatalf("cut at byte %d: %s differs from the uninterrupted run's", cut, name)
			}
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("resumed from a cut at each of %d bytes", len(journal))
}

// TestInterruptedAgainAndAgain stops a run after every few samples until it is done.
func TestInterruptedAgainAndAgain(t *testing.T) {
	t.Parallel()
	whole, dir := t.TempDir(), t.TempDir()
	seeds := func(c *config.Config) { c.NoiseSeeds = 4 }
	if _, err := stubRunWith(t.Context(), t, whole, &stubDecoder{}, Options{}, seeds); err != nil {
		t.Fatal(err)
	}
	stops := 0
	for {
		ctx, cancel := context.WithCancel(t.Context())
		_, err := stubRunWith(ctx, t, dir, &stubDecoder{stopAfter: 2, cancel: cancel}, Options{}, seeds)
		cancel()
		if err == nil {
			break
		}
		if !strings.Contains(err.Error(), ErrInterrupted.Error()) || !strings.Contains(err.Error(), "gsmeval resume") {
			t.Fatalf("stop %d: %v", stops, err)
		}
		if stops++; stops > 20 {
			t.Fatal("the run makes no progress")
		}
	}
	if stops < 3 {
		t.Fatalf("the run was stopped %d times only", stops)
	}
	reports := []string{"report.html", "accuracy.png", "accuracy.svg", "differences.png", "differences.svg"}
	want := read(t, whole, reports...)
	for name, got := range read(t, dir, reports...) {
		if got != want[name] {
			t.Errorf("%s differs from the uninterrupted run's", name)
		}
	}
}

// TestFailedSamplesDoNotStopARun records failures with their cause, outside of every accuracy.
func TestFailedSamplesDoNotStopARun(t *testing.T) {
	t.Parallel()
	broken := &stubDecoder{fail: func(r decode.Request) error {
		if len(r.Prompt) == 2 {
			return fmt.Errorf("out of luck")
		}
		return nil
	}}
	dir := t.TempDir()
	table, err := stubRun(t.Context(), t, dir, broken)
	if err != nil {
		t.Fatal(err)
	}
	if table.Failed() != 2 || table.Rows[0].N != 2 || table.Rows[0].Errors != 1 {
		t.Errorf("failed %d, n %d, errors %d; want 2, 2, 1", table.Failed(), table.Rows[0].N, table.Rows[0].Errors)
	}
	if j := read(t, dir)[results.JournalFile]; !strings.Contains(j, `"status":"error"`) ||
		!strings.Contains(j, "out of luck") {
		t.Errorf("the journal does not name the cause:\n%s", j)
	}
	if _, err := stubRun(t.Context(), t, t.TempDir(), broken,
		func(c *config.Config) { c.FailOnError = true }); err == nil ||
		!strings.Contains(err.Error(), "fail_on_error") {
		t.Errorf("with fail_on_error the run ended with %v", err)
	}
}

// TestPromptsThatDoNotFitAreRecorded gives samples beyond the model's positions a status, and refuses a run of nothing
// else.
func TestPromptsThatDoNotFitAreRecorded(t *testing.T) {
	t.Parallel()
	tight := func(c *config.Config) { c.Generation.MaxNewTokens = 98 } // prompts have 1, 2 and 3 tokens, the model 100 positions
	var stderr bytes.Buffer
	table, err := stubRunWith(t.Context(), t, t.TempDir(), &stubDecoder{}, Options{NoReport: true, Stderr: &stderr}, tight)
	if err != nil {
		t.Fatal(err)
	}
	if says := stderr.String(); !strings.Contains(says, "1 prompt too long") || !strings.Contains(says, "lower generation.max_new_tokens") {
		t.Errorf("stderr %q", says)
	}
	if table.Rows[0].N != 2 || table.Rows[0].Errors != 1 {
		t.Errorf("n %d, errors %d; want 2, 1", table.Rows[0].N, table.Rows[0].Errors)
	}
	if _, err := stubRun(t.Context(), t, t.TempDir(), &stubDecoder{},
		func(c *config.Config) { c.Generation.MaxNewTokens = 100 }); err == nil ||
		!strings.Contains(err.Error(), "max_new_tokens") {
		t.Errorf("a run of prompts that do not fit ended with %v", err)
	}
}
