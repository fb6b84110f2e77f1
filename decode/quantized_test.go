package decode

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gsmeval/gsmeval/decode/checkpoint"
	"github.com/gsmeval/gsmeval/decode/checkpoint/half"
	"github.com/gsmeval/gsmeval/decode/model"
	"github.com/gsmeval/gsmeval/internal/torch"
)

// TestQuantized holds quantised checkpoints against the tools that made them: every weight bit for bit, in pieces of
// several sizes, and the logits.
func TestQuantized(t *testing.T) {
	dirs, err := filepath.Glob(filepath.Join("testdata", "quantized", "*"))
	if err != nil || len(dirs) < 12 {
		t.Fatalf("%d checkpoints, %v", len(dirs), err)
	}
	for _, dir := range dirs {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			data, err := os.ReadFile(filepath.Join(dir, "golden.json"))
			if err != nil {
				t.Fatal(err)
			}
			var g struct {
				golden
				SHA256 map[string]string
			}
			if err := json.Unmarshal(data, &g); err != nil {
				t.Fatal(err)
			}
			cfg, err := checkpoint.ReadConfig(dir)
			if err != nil {
				t.Fatal(err)
			}
			if cfg.Quantization == "" {
				t.Error("the config names no quantisation")
			}
			w, err := checkpoint.OpenWeights(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close() //nolint:errcheck // it was only read
			for name, want := range g.SHA256 {
				x, ok := w.Tensor(name)
				if !ok {
					t.Errorf("there is no %s", name)
					continue
				}
				for _, size := range []int{1 << 20, 1000, 4} {
					if got := sumFloats(t, x, size); got != want {
						t.Errorf("%s, %s, in pieces of %d bytes: other numbers than the tool's", name, x.DType, size)
						break
					}
				}
			}
			f := &fixture{golden: g.golden}
			f.worker, f.model = open(t, dir, 2, model.Options{DType: torch.Float32, Device: torch.CPU})
			for _, c := range g.Last {
				if rel := relative(c.Logits, f.forward(t, c.Prompt, len(c.Prompt)-1)[0]); rel > tolerance {
					t.Errorf("last logits of a prompt of %d tokens differ by %.2g of the largest", len(c.Prompt), rel)
				}
			}
			activations := slices.ContainsFunc(f.model.Notes,
				func(n string) bool { return strings.Contains(n, "activations are not rounded") })
			rounds := strings.Contains(dir, "w8a8") || strings.Contains(dir, "float8") ||
				strings.Contains(dir, "fp8") || strings.Contains(dir, "bnb-int8")
			if activations != rounds {
				t.Errorf("notes %q", f.model.Notes)
			}
		})
	}
}

// sumFloats is the sha256 of a tensor as float32, read in pieces.
func sumFloats(t *testing.T, x checkpoint.Tensor, size int) string {
	t.Helper()
	var all bytes.Buffer
	err := x.Stream(make([]byte, size), func(_ int, piece []byte) error {
		for i := 0; i < len(piece); i += x.DType.Size() {
			v := float32(0)
			switch x.DType {
			case checkpoint.F16:
				v = half.Float16(binary.LittleEndian.Uint16(piece[i:]))
			case checkpoint.BF16:
				v = half.BFloat16(binary.LittleEndian.Uint16(piece[i:]))
			default:
				v = half.Float32(piece[i:])
			}
			all.Write(binary.LittleEndian.AppendUint32(nil, math.Float32bits(v)))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(all.Bytes())
	return hex.EncodeToString(sum[:])
}
