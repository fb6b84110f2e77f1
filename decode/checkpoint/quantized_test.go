package checkpoint

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// quantizedDirs are the checkpoints of scripts/goldens/quantized.py.
const quantizedDirs = "../testdata/quantized"

// TestQuantizedRefused damages the parts of quantised weights.
func TestQuantizedRefused(t *testing.T) {
	const down = "model.layers.0.mlp.down_proj"
	for _, c := range []struct {
		dir, tensor    string
		shape          []int // a shape of as many bytes, or nil: the tensor is taken out
		dtype          string
		want           string
		patch, patched string // in the tensor's bytes
		rename         string
	}{
		{dir: "gptq-4", tensor: down + ".qzeros", want: "qzeros\" is missing"},
		{dir: "gptq-4", tensor: down + ".scales", shape: []int{1, 64}, dtype: "F16", want: "expected [2 32]"},
		{
			dir: "gptq-4", tensor: down + ".scales", shape: []int{2, 32}, dtype: "I16",
			want: "is I16; expected [F32 F16 BF16]",
		},
		{dir: "gptq-4", tensor: down + ".qweight", shape: []int{128}, dtype: "I32", want: "expected 2 dimensions"},
		{
			dir: "gptq-4-act-order", tensor: down + ".g_idx", shape: []int{32}, dtype: "I32", patch: "\x00\x00\x00\x00",
			patched: "\x09\x00\x00\x00", want: "of 4",
		},
		{
			dir: "gptq-4-act-order", tensor: down + ".g_idx", shape: []int{32}, dtype: "I32", patch: "\x00\x00\x00\x00",
			patched: "\xff\xff\xff\xff", want: "of 4",
		},
		{
			dir: "gptq-4", tensor: down + ".bias", shape: []int{1, 32}, dtype: "F16", rename: down + ".weight",
			want: ".weight\" beside them",
		},
		{dir: "awq-4", tensor: down + ".qzeros", shape: []int{4, 2}, dtype: "I32", want: "expected [2 4]"},
		{dir: "ct-int4-group", tensor: down + ".weight_scale", want: "weight_scale\" is missing"},
		{
			dir: "ct-int4-group", tensor: down + ".weight_scale", shape: []int{16, 4}, dtype: "BF16",
			want: "not that of scales",
		},
		{
			dir: "ct-int4-group", tensor: down + ".weight_shape", shape: []int{2}, dtype: "I64", patch: "\x20\x00\x00\x00",
			patched: "\x00\x00\x00\x7f", want: "weight_packed has shape",
		},
		{
			dir: "ct-int4-group", tensor: down + ".weight_shape", shape: []int{2}, dtype: "I64",
			patch: "\x20\x00\x00\x00\x00", patched: "\x20\x00\x00\x00\x7f", want: "weight_packed has shape",
		},
		{dir: "ct-int4-asymmetric", tensor: down + ".weight_zero_point", want: "weight_zero_point\" is missing"},
		{dir: "ct-w8a8-int8", tensor: down + ".weight_scale", want: "weight_scale\" is missing"},
		{dir: "bnb-nf4", tensor: down + ".weight.absmax", want: "absmax\" is missing"},
		{
			dir: "bnb-nf4", tensor: down + nf4State, patch: `"blocksize": 64`, patched: `"blocksize": 32`,
			want: "expected [32]",
		},
		{
			dir: "bnb-nf4", tensor: down + nf4State, patch: `"blocksize": 64`, patched: `"blocksize": -4`,
			want: "blocksize",
		},
		{
			dir: "bnb-nf4", tensor: down + nf4State, patch: `"shape": [32, `, patched: `"shape": [99, `,
			want: "512 bytes; expected 1584",
		},
		{dir: "bnb-nf4", tensor: down + nf4State, patch: `{`, patched: `[`, want: "not valid JSON"},
		{dir: "bnb-nf4-double", tensor: down + ".weight.nested_absmax", want: "nested_absmax\" is missing"},
		{dir: "bnb-int8", tensor: down + ".SCB", want: "SCB\" is missing"},
		{
			dir: "fp8-blocks", tensor: down + ".weight_scale_inv", shape: []int{1, 4}, dtype: "F32",
			want: "expected [2 2]",
		},
	} {
		dir := damaged(t, filepath.Join(quantizedDirs, c.dir), func(header map[string]any, data []byte) {
			x, ok := header[c.tensor].(map[string]any)
			if !ok {
				t.Fatalf("%s has no %s", c.dir, c.tensor)
			}
			offsets := x["data_offsets"].([]any)
			part := data[int(offsets[0].(float64)):int(offsets[1].(float64))]
			switch {
			case c.patch != "":
				i := strings.Index(string(part), c.patch)
				if i < 0 {
					t.Fatalf("%s: %s has no %q in %q", c.dir, c.tensor, c.patch, part)
				}
				copy(part[i:], c.patched)
			case c.shape == nil:
				delete(header, c.tensor)
				header["another"] = x
			default:
				x["shape"], x["dtype"] = c.shape, c.dtype
				if c.rename != "" {
					delete(header, c.tensor)
					header[c.rename] = x
				}
			}
		})
		w, err := OpenWeights(dir)
		if err == nil {
			_ = w.Close()
			t.Errorf("%s without or with another %s is accepted", c.dir, c.tensor)
			continue
		}
		wantError(t, err, c.want)
	}
}

// damaged copies a checkpoint with a changed header or changed data.
func damaged(t testing.TB, dir string, change func(header map[string]any, data []byte)) string {
	t.Helper()
	config, err := os.ReadFile(filepath.Join(dir, configFile))
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(filepath.Join(dir, singleFile))
	if err != nil {
		t.Fatal(err)
	}
	n := int(file[0]) | int(file[1])<<8 | int(file[2])<<16
	var header map[string]any
	if err := json.Unmarshal(file[8:8+n], &header); err != nil {
		t.Fatal(err)
	}
	data := file[8+n:]
	change(header, data)
	text, err := json.Marshal(header)
	if err != nil {
		t.Fatal(err)
	}
	return modelDir(t, map[string][]byte{configFile: config, singleFile: safetensors(string(text), data)})
}

// FuzzQuantized makes packed tensors of parts whose headers and configs are anything, and decodes them.
func FuzzQuantized(f *testing.F) {
	dirs, err := filepath.Glob(filepath.Join(quantizedDirs, "*"))
	if err != nil || len(dirs) == 0 {
		f.Fatal(dirs, err)
	}
	for _, dir := range dirs {
		config, err1 := os.ReadFile(filepath.Join(dir, configFile))
		file, err2 := os.ReadFile(filepath.Join(dir, singleFile))
		if err1 != nil || err2 != nil {
			f.Fatal(err1, err2)
		}
		n := int(file[0]) | int(file[1])<<8 | int(file[2])<<16
		f.Add(config, file[8:8+n], file[8+n:])
	}
	f.Fuzz(func(t *testing.T, config, header, data []byte) {
		raw, err := object(config)
		if err != nil {
			return
		}
		q := &fields{values: raw}
		how, _ := parseQuantization(q)
		if q.err != nil || how == nil {
			return
		}
		entries, err := parseHeader(header, int64(len(data)))
		if err != nil {
			return
		}
		path := ggufFile(t, data) // any file will do: only its size and time are looked at
		file, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close() //nolint:errcheck // it was only read
		info, err := file.Stat()
		if err != nil {
			t.Fatal(err)
		}
		s := &shard{path: path, size: info.Size(), info: info, file: file, mapping: data}
		w := &Weights{tensors: map[string]Tensor{}}
		for _, e := range entries {
			w.tensors[e.name] = Tensor{
				Name: e.name, DType: e.dtype, Shape: e.shape, Data: data[e.begin:e.end:e.end],
				shard: s,
			}
		}
		if w.unpack(how) != nil {
			return
		}
		for _, x := range w.tensors {
			if x.packed != nil && x.Elements() < 1<<20 {
				x.packed.decode(make([]byte, x.Size()), 0)
			}
		}
	})
}
