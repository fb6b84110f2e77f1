package checkpoint

import (
	"encoding/json"
	"slices"
	"testing"
)

// FuzzHeader checks that a header is either refused or a complete description of
// its data, each byte once.
func FuzzHeader(f *testing.F) {
	f.Add([]byte(header(desc("a", "F32", "[1,2]", 0, 8), desc("b", "BF16", "[]", 8, 10))), int64(10))
	f.Add([]byte(header(`"__metadata__":{"format":"pt"}`, desc("a", "F32", "[0,9]", 0, 0))), int64(0))
	f.Add([]byte(header(desc("a", "F64", "[4294967296,4294967296]", 0, 8))), int64(8))
	f.Add([]byte(`{"a":{"dtype":"F32","shape":[[]],"data_offsets":[0]}}`), int64(8))
	f.Add([]byte(`{}`), int64(0))
	f.Fuzz(func(t *testing.T, data []byte, size int64) {
		entries, err := parseHeader(data, size)
		if err != nil {
			return
		}
		var at int64
		names := map[string]bool{}
		for _, e := range entries {
			if e.begin != at || e.end < e.begin || names[e.name] {
				t.Fatalf("entry %+v after offset %d", e, at)
			}
			names[e.name] = true
			at = e.end
			n := int64(e.dtype.Size())
			if slices.Contains(e.shape, 0) {
				n = 0
			}
			for _, d := range e.shape {
				n *= int64(d)
			}
			if n != e.end-e.begin {
				t.Fatalf("entry %+v has %d bytes", e, n)
			}
		}
		if at != size {
			t.Fatalf("entries cover %d of %d bytes", at, size)
		}
		// What is accepted here must be JSON to everybody.
		if !json.Valid(data) {
			t.Fatalf("accepted %q", data)
		}
	})
}

func FuzzIndex(f *testing.F) {
	f.Add([]byte(`{"metadata":{"total_size":7},"weight_map":{"a":"m-1.safetensors","b":"m-2.safetensors"}}`))
	f.Add([]byte(`{"weight_map":{"a":"../m.safetensors"}}`))
	f.Add([]byte(`{"weight_map":{"a":null}}`))
	f.Add([]byte(`{"weight_map":[]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		files, err := parseIndex(data)
		if err != nil {
			return
		}
		if len(files) == 0 || !json.Valid(data) {
			t.Fatalf("accepted %q", data)
		}
		for _, file := range files {
			for _, c := range []byte(file) {
				if c == '/' || c == '\\' || c == 0 {
					t.Fatalf("accepted %q", file)
				}
			}
			if file == "" || file[0] == '.' {
				t.Fatalf("accepted %q", file)
			}
		}
	})
}

func FuzzConfig(f *testing.F) {
	for modelType := range families {
		f.Add(tiny(modelType, nil))
	}
	f.Add(tiny("qwen2", map[string]any{
		"rope_scaling": map[string]any{"type": "yarn", "factor": 4},
		"eos_token_id": []int{1, 2},
	}))
	f.Add(tiny("llama", map[string]any{"rope_parameters": map[string]any{
		"rope_type": "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4, "rope_theta": 1e6,
	}}))
	f.Add(tiny("gemma3_text",
		map[string]any{"rope_parameters": map[string]any{"full_attention": map[string]any{"rope_theta": 1e6}}}))
	f.Add(tiny("phi3", map[string]any{"rope_scaling": map[string]any{
		"type": "longrope", "short_factor": []int{1, 2},
		"long_factor": []int{1, 2},
	}}))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := parseConfig(data)
		if err != nil {
			return
		}
		switch {
		case !json.Valid(data),
			c.VocabSize < 1, c.HiddenSize < 1, c.IntermediateSize < 1, c.NumLayers < 1, c.NumHeads < 1,
			c.NumKVHeads < 1,
			c.NumHeads%c.NumKVHeads != 0, c.HeadDim < 2, c.HeadDim%2 != 0, c.MaxPositions < 1,
			c.NumHeads*c.HeadDim > maxProjection, !(c.RMSNormEps > 0), !(c.RopeTheta > 0),
			len(c.LayerTypes) != c.NumLayers, c.RotaryDim() < 2, c.RotaryDim() > c.HeadDim, c.RotaryDim()%2 != 0:
			t.Fatalf("accepted %q as %+v", data, c)
		}
	})
}
