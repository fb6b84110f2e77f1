package model

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/gsmeval/gsmeval/decode/checkpoint"
	"github.com/gsmeval/gsmeval/internal/torch"
)

// TestFrequenciesAreTransformers holds every kind of scaling against scripts/goldens/rope.py, bit for bit.
func TestFrequenciesAreTransformers(t *testing.T) {
	t.Parallel()
	var golden struct {
		Cases []struct {
			Name   string
			Config json.RawMessage
			Bits   []int32
			Scale  float64
		}
	}
	data, err := os.ReadFile(filepath.Join("testdata", "rope.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &golden); err != nil {
		t.Fatal(err)
	}
	if len(golden.Cases) < 10 {
		t.Fatalf("%d cases, want at least 10", len(golden.Cases))
	}
	w, err := torch.Start(1)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for _, c := range golden.Cases {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "config.json"), c.Config, 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, err := checkpoint.ReadConfig(dir)
		if err != nil {
			t.Fatalf("%s: %v", c.Name, err)
		}
		if err := w.Do(func(s *torch.Scope) error {
			r, err := newRopeTable(s, cfg)
			if err != nil {
				return err
			}
			if len(r.invFreq) != len(c.Bits) {
				t.Errorf("%s: %d frequencies, want %d", c.Name, len(r.invFreq), len(c.Bits))
				return nil
			}
			for i, bits := range c.Bits {
				if got := int32(math.Float32bits(r.invFreq[i])); got != bits {
					t.Errorf("%s: frequency %d is %v, want %v", c.Name, i, r.invFreq[i],
						math.Float32frombits(uint32(bits)))
				}
			}
			if r.scale != float32(c.Scale) {
				t.Errorf("%s: cos and sin are scaled by %v, want %v", c.Name, r.scale, c.Scale)
			}
			return nil
		}); err != nil {
			t.Errorf("%s: %v", c.Name, err)
		}
	}
}
