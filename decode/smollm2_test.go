package decode

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gsmeval/gsmeval/decode/chat"
	"github.com/gsmeval/gsmeval/decode/model"
	"github.com/gsmeval/gsmeval/internal/torch"
)

// smollm2 is the file that make smollm2 fetches.
func smollm2(t *testing.T) string {
	t.Helper()
	path, err := filepath.EvalSymlinks(filepath.Join("..", "models", "smollm2.gguf"))
	if err != nil {
		t.Skip("models/smollm2.gguf is not there; make smollm2 fetches it")
	}
	return path
}

// TestSmolLM2 holds a real language model in a GGUF file against transformers, which dequantises it: token ids, logits,
// greedy tokens.
func TestSmolLM2(t *testing.T) {
	path := smollm2(t)
	data, err := os.ReadFile(filepath.Join("testdata", "smollm2.json"))
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Chats []struct {
			Messages []chat.Message
			IDs      []int
		}
		Texts []struct {
			Text string
			IDs  []int
		}
		Last []struct {
			Prompt, At []int
			Logits     []float64
		}
		Greedy []struct{ Prompt, IDs []int }
	}
	if err := json.Unmarshal(data, &golden); err != nil {
		t.Fatal(err)
	}
	text, err := OpenText(path)
	if err != nil {
		t.Fatal(err)
	}
	defer text.Close() //nolint:errcheck // it was only read
	for _, c := range golden.Chats {
		if _, ids, err := text.Chat(c.Messages, true); err != nil || !slices.Equal(ids, c.IDs) {
			t.Errorf("%v: ids %v, want %v (%v)", c.Messages, ids, c.IDs, err)
		}
	}
	for _, c := range golden.Texts {
		if ids, err := text.Plain(c.Text); err != nil || !slices.Equal(ids, c.IDs) {
			t.Errorf("%q: ids %v, want %v (%v)", c.Text, ids, c.IDs, err)
		}
	}
	f := &fixture{}
	f.worker, f.model = open(t, path, 2, model.Options{DType: torch.Float32, Device: torch.CPU})
	worst := 0.0
	for _, c := range golden.Last {
		z := f.forward(t, c.Prompt, len(c.Prompt)-1)[0]
		got := make([]float64, len(c.At))
		for i, id := range c.At {
			got[i] = z[id]
		}
		worst = max(worst, relative(c.Logits, got))
	}
	t.Logf("logits: largest difference %.2g of the largest logit", worst)
	if worst > tolerance {
		t.Errorf("logits differ by %.2g of the largest", worst)
	}
	golden.Greedy = golden.Greedy[:2] // the others agree too, and take as long again
	reqs, capacity := make([]*Request, len(golden.Greedy)), 0
	for i, c := range golden.Greedy {
		reqs[i] = &Request{Prompt: c.Prompt, MaxNew: len(c.IDs)}
		capacity = max(capacity, len(c.Prompt)+len(c.IDs))
	}
	for i, got := range generate(t, f.worker, f.model, Options{Slots: len(reqs), Capacity: capacity}, reqs...) {
		if diff := cmp.Diff(golden.Greedy[i].IDs, got.IDs); diff != "" || len(got.IDs) < 200 {
			t.Errorf("greedy tokens: %s", diff)
		}
	}
	t.Logf("greedy: %d paths of %d tokens are the same", len(golden.Greedy), len(golden.Greedy[0].IDs))
}

// TestSmolLM2Memory watches anonymous memory while the file is loaded: weights in the compute dtype, lm_head's copy
// among them, 15 % and 300 MB.
func TestSmolLM2Memory(t *testing.T) {
	path := smollm2(t)
	before := resident(t)
	var peak atomic.Int64
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
				peak.Store(max(peak.Load(), resident(t)))
			}
		}
	}()
	begin := time.Now()
	_, m := open(t, path, 2, model.Options{DType: torch.Float32, Device: torch.CPU})
	spent := time.Since(begin)
	close(stop)
	<-stopped
	c := m.Config
	weights := int64(134515008+c.VocabSize*c.HiddenSize) * 4
	limit := weights*115/100 + 300e6
	t.Logf("loaded in %.2f s; RssAnon at most %.0f MB (%.0f before), weights %.0f MB, limit %.0f MB",
		spent.Seconds(), float64(peak.Load())/1e6, float64(before)/1e6, float64(weights)/1e6, float64(limit)/1e6)
	if peak.Load() > limit || peak.Load() < weights/2 {
		t.Errorf("RssAnon was %d bytes, the limit is %d", peak.Load(), limit)
	}
}
