package checkpoint

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func numbered(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}

func TestSingleFile(t *testing.T) {
	t.Parallel()
	// Out of order, padded, with metadata, an empty tensor and a scalar.
	head := header(
		`"__metadata__":{"format":"pt"}`,
		desc("b", "BF16", "[2,2]", 12, 20),
		desc("empty", "F32", "[3,0]", 12, 12),
		desc("a", "F32", "[1,2]", 0, 8),
		desc("scalar", "F32", "[]", 8, 12),
		desc("last", "I64", "[1]", 20, 28),
	) + "   "
	data := numbered(28)
	file := safetensors(head, data)
	dir := modelDir(t, map[string][]byte{"model.safetensors": file})
	w, err := OpenWeights(dir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a", "b", "empty", "last", "scalar"}, w.Names()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]File{{filepath.Join(dir, "model.safetensors"), int64(len(file))}}, w.Files()); diff != "" {
		t.Error(diff)
	}
	for _, want := range []struct {
		name       string
		dtype      DType
		shape      []int
		begin, end int
		elements   int
	}{
		{"a", F32, []int{1, 2}, 0, 8, 2},
		{"b", BF16, []int{2, 2}, 12, 20, 4},
		{"empty", F32, []int{3, 0}, 12, 12, 0},
		{"scalar", F32, []int{}, 8, 12, 1},
		{"last", "I64", []int{1}, 20, 28, 1},
	} {
		got, ok := w.Tensor(want.name)
		if !ok {
			t.Fatalf("no tensor %s", want.name)
		}
		if got.Name != want.name || got.DType != want.dtype || got.Elements() != want.elements ||
			!cmp.Equal(got.Shape, want.shape) {
			t.Errorf("tensor %+v, want %+v", got, want)
		}
		dst := make([]byte, len(got.Data))
		if err := got.CopyTo(dst); err != nil {
			t.Error(err)
		}
		if !bytes.Equal(dst, data[want.begin:want.end]) || !bytes.Equal(got.Data, dst) {
			t.Errorf("%s: data %v", want.name, dst)
		}
		if cap(got.Data) != len(got.Data) {
			t.Errorf("%s: the view can be grown into its neighbour", want.name)
		}
	}
	if _, ok := w.Tensor("c"); ok {
		t.Error("found a tensor that is not there")
	}
	b, _ := w.Tensor("b")
	part := make([]byte, 3)
	if err := b.CopyAt(part, 2); err != nil || !bytes.Equal(part, data[14:17]) {
		t.Errorf("CopyAt: %v, %v", part, err)
	}
	wantError(t, b.CopyAt(part, 6), `"b"`, "do not exist")
	wantError(t, b.CopyAt(part, -1), "do not exist")
	wantError(t, b.CopyTo(part), "destination has 3 bytes")
	var last [2]int64
	sum, err := w.SHA256(t.Context(), func(done, total int64) { last = [2]int64{done, total} })
	if want := sha256.Sum256(file); err != nil || sum != hex.EncodeToString(want[:]) {
		t.Errorf("SHA256: %s, %v", sum, err)
	}
	if last != [2]int64{int64(len(file)), int64(len(file))} {
		t.Errorf("progress ended at %v", last)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.SHA256(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("SHA256 of a cancelled context: %v", err)
	}
	for range 2 {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}
	wantError(t, b.CopyAt(part, 0), "closed")
	wantError(t, b.CheckFinite(), "closed")
	_, err = w.SHA256(t.Context(), nil)
	wantError(t, err, "closed")
}

// TestHeaderRules has a file for every rule of the format.
func TestHeaderRules(t *testing.T) {
	t.Parallel()
	ok := desc("a", "F32", "[2]", 0, 8)
	eight := numbered(8)
	for _, tc := range []struct {
		name string
		file []byte
		want []string
	}{
		{"empty file", []byte{}, []string{"0 bytes are too few", "download it again"}},
		{"seven bytes", numbered(7), []string{"7 bytes are too few"}},
		{
			"header longer than the format allows", append([]byte{1, 225, 245, 5, 0, 0, 0, 0}, numbered(100)...),
			[]string{"100000001", "not a safetensors file"},
		},
		{
			"header of 2^64 - 1", append(bytes.Repeat([]byte{255}, 8), numbered(100)...),
			[]string{"18446744073709551615"},
		},
		{
			"header longer than the file", safetensors(header(ok), eight)[:20],
			[]string{"does not fit", "download it again"},
		},
		{"no brace", safetensors("["+ok+"]", eight), []string{"does not start with '{'"}},
		{"space before the brace", safetensors(" "+header(ok), eight), []string{"does not start with '{'"}},
		{"no header", safetensors("", eight), []string{"does not start with '{'"}},
		{"not UTF-8", safetensors("{\"\xff\":1}", eight), []string{"UTF-8"}},
		{"not JSON", safetensors("{a}", eight), []string{"not valid JSON"}},
		{"ends early", safetensors("{"+ok, eight), []string{"not valid JSON", "ends too early"}},
		{"something after it", safetensors(header(ok)+" x", eight), []string{"after its closing brace"}},
		{"two objects", safetensors(header(ok)+header(ok), eight), []string{"after its closing brace"}},
		{"trailing comma", safetensors("{"+ok+",}", eight), []string{"not valid JSON"}},
		{"duplicate tensor", safetensors(header(ok, desc("a", "F32", "[0]", 8, 8)), eight), []string{`"a"`, "twice"}},
		{"duplicate tensor, one escaped", safetensors(header(ok,
			`"\u0061":{"dtype":"F32","shape":[0],"data_offsets":[8,8]}`), eight), []string{`"a"`, "twice"}},
		{
			"duplicate key", safetensors(`{"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}`, eight),
			[]string{`"a"`, `"dtype" stands twice`},
		},
		{
			"unknown key", safetensors(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1}}`, eight),
			[]string{`"a"`, `unknown key "x"`},
		},
		{
			"no dtype", safetensors(`{"a":{"shape":[2],"data_offsets":[0,8]}}`, eight),
			[]string{`"a"`, "dtype is missing"},
		},
		{
			"no shape", safetensors(`{"a":{"dtype":"F32","data_offsets":[0,8]}}`, eight),
			[]string{`"a"`, "shape is missing"},
		},
		{
			"no offsets", safetensors(`{"a":{"dtype":"F32","shape":[2]}}`, eight),
			[]string{`"a"`, "data_offsets are missing"},
		},
		{
			"unknown dtype", safetensors(header(desc("a", "Q4_K", "[2]", 0, 8)), eight),
			[]string{`"a"`, `"Q4_K"`, "BF16"},
		},
		{"packed dtype", safetensors(header(desc("a", "F4", "[16]", 0, 8)), eight), []string{`"F4" is not supported`}},
		{"dtype a number", safetensors(`{"a":{"dtype":32}}`, eight), []string{`"a"`, "dtype", "the number 32"}},
		{"shape a number", safetensors(`{"a":{"shape":2}}`, eight), []string{`"a"`, "shape", "the number 2"}},
		{"shape nested", safetensors(`{"a":{"shape":[[2]]}}`, eight), []string{`"a"`, "shape", "'['"}},
		{
			"shape negative", safetensors(header(desc("a", "F32", "[-2,-1]", 0, 8)), eight),
			[]string{`"a"`, "shape", "-2"},
		},
		{"shape a float", safetensors(header(desc("a", "F32", "[2.0]", 0, 8)), eight), []string{`"a"`, "shape", "2.0"}},
		{
			"shape with exponent", safetensors(header(desc("a", "F32", "[2e0]", 0, 8)), eight),
			[]string{`"a"`, "shape", "2e0"},
		},
		{
			"shape huge", safetensors(header(desc("a", "F32", "[99999999999999999999]", 0, 8)), eight),
			[]string{`"a"`, "shape", "99999999999999999999"},
		},
		{"shape null", safetensors(header(desc("a", "F32", "[null]", 0, 8)), eight), []string{`"a"`, "shape", "null"}},
		{
			"rank 65", safetensors(header(desc("a", "F32", "[1"+strings.Repeat(",1", 64)+"]", 0, 8)), eight),
			[]string{`"a"`, "64 dimensions"},
		},
		{
			"elements overflow", safetensors(header(desc("a", "F32", "[4294967296,4294967296]", 0, 8)), eight),
			[]string{`"a"`, "elements"},
		},
		{"elements overflow to the right length", safetensors(header(desc("a", "U8", "[4294967297,8589934592,2]", 0,
			8)), eight), []string{`"a"`, "elements"}},
		{
			"bytes overflow", safetensors(header(desc("a", "F64", "[2305843009213693952]", 0, 8)), eight),
			[]string{`"a"`, "bytes"},
		},
		{
			"length wrong", safetensors(header(desc("a", "F32", "[3]", 0, 8)), eight),
			[]string{`"a"`, "needs 12 bytes", "hold 8"},
		},
		{
			"offsets reversed", safetensors(header(desc("a", "F32", "[2]", 8, 0)), eight),
			[]string{`"a"`, "end before they begin"},
		},
		{
			"offsets negative", safetensors(header(desc("a", "F32", "[2]", -8, 0)), eight),
			[]string{`"a"`, "data_offsets", "-8"},
		},
		{
			"one offset", safetensors(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0]}}`, eight),
			[]string{`"a"`, "data_offsets"},
		},
		{
			"three offsets", safetensors(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8,8]}}`, eight),
			[]string{`"a"`, "data_offsets"},
		},
		{
			"offsets huge",
			safetensors(header(`"a":{"dtype":"U8","shape":[0],"data_offsets":[18446744073709551615,18446744073709551615]}`), eight),
			[]string{`"a"`, "2^63"},
		},
		{
			"hole at the start", safetensors(header(desc("a", "U8", "[4]", 4, 8)), eight),
			[]string{`"a"`, "begins at offset 4"},
		},
		{
			"hole between", safetensors(header(desc("a", "U8", "[3]", 0, 3), desc("b", "U8", "[4]", 4, 8)), eight),
			[]string{`"b"`, "1 bytes after"},
		},
		{
			"overlap", safetensors(header(desc("a", "U8", "[5]", 0, 5), desc("b", "U8", "[4]", 4, 8)), eight),
			[]string{`"b"`, "overlaps"},
		},
		{
			"the same bytes twice", safetensors(header(desc("a", "U8", "[8]", 0, 8), desc("b", "U8", "[8]", 0, 8)), eight),
			[]string{`"b"`, "overlaps"},
		},
		{"data cut short", safetensors(header(ok), eight[:7]), []string{`"a"`, "cut short", "download it again"}},
		{"bytes left over", safetensors(header(ok), numbered(9)), []string{"cover 8 bytes", "holds 9"}},
		{"no tensors but data", safetensors("{}", eight), []string{"cover 0 bytes"}},
		{"description a list", safetensors(`{"a":[]}`, nil), []string{`"a"`, "expected '{'"}},
		{"metadata a string", safetensors(`{"__metadata__":"x"}`, nil), []string{"__metadata__"}},
		{"metadata null", safetensors(`{"__metadata__":null}`, nil), []string{"__metadata__", "null"}},
		{
			"metadata with a number", safetensors(`{"__metadata__":{"k":1}}`, nil),
			[]string{"__metadata__", `"k"`, "the number 1"},
		},
		{"metadata nested", safetensors(`{"__metadata__":{"k":{}}}`, nil), []string{"__metadata__", `"k"`}},
		{
			"metadata duplicate", safetensors(`{"__metadata__":{"k":"1","k":"2"}}`, nil),
			[]string{"__metadata__", `"k"`, "twice"},
		},
		{"deep", safetensors(`{"a":`+strings.Repeat("[", 100_000), nil), []string{`"a"`}},
		{"long name", safetensors(`{"`+strings.Repeat("x", 100_000)+`":1}`, nil), []string{"..."}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			dir := modelDir(t, map[string][]byte{"model.safetensors": tc.file})
			w, err := OpenWeights(dir)
			if err == nil {
				_ = w.Close()
			}
			wantError(t, err, append(tc.want, filepath.Join(dir, "model.safetensors"))...)
			if err != nil && len(err.Error()) > 1000 {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
		})
	}
}

func TestNoTensors(t *testing.T) {
	t.Parallel()
	w, err := OpenWeights(modelDir(t, map[string][]byte{"model.safetensors": safetensors("{}", nil)}))
	if err != nil || len(w.Names()) != 0 {
		t.Fatalf("%v, %v", w, err)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}

func TestOtherFiles(t *testing.T) {
	t.Parallel()
	good := safetensors("{}", nil)
	fifo := modelDir(t, nil)
	if err := unix.Mkfifo(filepath.Join(fifo, "model.safetensors"), 0o600); err != nil {
		t.Fatal(err)
	}
	dangling := modelDir(t, nil)
	if err := os.Symlink("blobs/gone", filepath.Join(dangling, "model.safetensors")); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		dir  string
		want []string
	}{
		{"no directory", filepath.Join(t.TempDir(), "none"), []string{"none"}},
		{"a link that leads nowhere", dangling, []string{"model.safetensors is a link to a file that is not there; download"}},
		{"empty directory", modelDir(t, nil), []string{"model.safetensors", "is this a model directory?"}},
		{
			"pickle", modelDir(t, map[string][]byte{"pytorch_model.bin": good}),
			[]string{"pytorch_model.bin", "save the model as safetensors"},
		},
		{
			"shards without index", modelDir(t, map[string][]byte{"model-00001-of-00002.safetensors": good}),
			[]string{"model-00001-of-00002.safetensors", "index"},
		},
		{
			"a directory for a file", modelDir(t, map[string][]byte{"model.safetensors": nil}),
			[]string{"not a regular file"},
		},
		{"a pipe for a file", fifo, []string{"not a regular file"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := OpenWeights(tc.dir)
			wantError(t, err, tc.want...)
		})
	}
}

func TestShards(t *testing.T) {
	t.Parallel()
	one := safetensors(header(desc("a", "U8", "[4]", 0, 4), desc("b", "U8", "[1]", 4, 5)), numbered(5))
	two := safetensors(header(desc("c", "U8", "[2]", 0, 2)), numbered(2))
	index := `{"metadata":{"total_size":7},"weight_map":{"a":"m-1.safetensors","b":"m-1.safetensors","c":"m-2.safetensors"}}`
	dir := modelDir(t, map[string][]byte{
		"m-1.safetensors": one, "m-2.safetensors": two,
		"model.safetensors.index.json": []byte(index),
	})
	w, err := OpenWeights(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Close() }()
	if diff := cmp.Diff([]string{"a", "b", "c"}, w.Names()); diff != "" {
		t.Error(diff)
	}
	c, _ := w.Tensor("c")
	if !bytes.Equal(c.Data, []byte{0, 1}) {
		t.Errorf("c holds %v", c.Data)
	}
	list := fmt.Sprintf("%x  m-1.safetensors\n%x  m-2.safetensors\n", sha256.Sum256(one), sha256.Sum256(two))
	want := sha256.Sum256([]byte(list))
	if sum, err := w.SHA256(t.Context(), nil); err != nil || sum != hex.EncodeToString(want[:]) {
		t.Errorf("SHA256: %s, %v", sum, err)
	}

	for _, tc := range []struct {
		name  string
		index string
		want  []string
	}{
		{"not JSON", `{`, []string{"index.json", "not valid JSON"}},
		{"a list", `[]`, []string{"index.json", "expected a JSON object"}},
		{"null", `null`, []string{"index.json", "null"}},
		{"no map", `{}`, []string{"index.json", "weight_map is missing"}},
		{"empty map", `{"weight_map":{}}`, []string{"weight_map is empty"}},
		{"map a list", `{"weight_map":[]}`, []string{"weight_map", "a list"}},
		{"duplicate tensor", `{"weight_map":{"a":"m-1.safetensors","a":"m-2.safetensors"}}`, []string{`"a"`, "twice"}},
		{"number for a file", `{"weight_map":{"a":1}}`, []string{`"a"`, "expected a file name"}},
		{"null for a file", `{"weight_map":{"a":null}}`, []string{`"a"`, "expected a file name", "null"}},
		{"empty name", `{"weight_map":{"a":""}}`, []string{`"a"`, "empty"}},
		{"parent", `{"weight_map":{"a":"../x.safetensors"}}`, []string{`"a"`, "not a plain name"}},
		{"only parent", `{"weight_map":{"a":".."}}`, []string{`"a"`, "begins with a dot"}},
		{"absolute", `{"weight_map":{"a":"/etc/x.safetensors"}}`, []string{`"a"`, "not a plain name"}},
		{"folder", `{"weight_map":{"a":"sub/x.safetensors"}}`, []string{`"a"`, "not a plain name"}},
		{"backslash", `{"weight_map":{"a":"..\\x.safetensors"}}`, []string{`"a"`, "not a plain name"}},
		{"NUL", `{"weight_map":{"a":"x\u0000.safetensors"}}`, []string{`"a"`, "not a plain name"}},
		{"another kind of file", `{"weight_map":{"a":"x.bin"}}`, []string{`"a"`, "not a .safetensors file"}},
		{"long name", `{"weight_map":{"a":"` + strings.Repeat("x", 300) + `.safetensors"}}`, []string{`"a"`, "255"}},
		{
			"missing shard", strings.Replace(index, `"c":"m-2`, `"c":"m-3`, 1),
			[]string{"m-3.safetensors", "missing", "download it again"},
		},
		{"tensor not in its shard", strings.Replace(index, `"c":"m-2.safetensors"`,
			`"c":"m-2.safetensors","d":"m-2.safetensors"`, 1), []string{"m-2.safetensors", `"d"`, "download it again"}},
		{
			"tensor in another shard", strings.Replace(index, `"b":"m-1`, `"b":"m-2`, 1),
			[]string{"m-1.safetensors", `"b"`, "belongs to m-2.safetensors"},
		},
		{
			"tensor not in the index", strings.Replace(index, `"b":"m-1.safetensors",`, "", 1),
			[]string{"m-1.safetensors", `"b"`, "is not in model.safetensors.index.json"},
		},
		{"deep", `{"weight_map":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `}`, []string{"64 levels"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			dir := modelDir(t, map[string][]byte{
				"m-1.safetensors": one, "m-2.safetensors": two,
				"model.safetensors.index.json": []byte(tc.index),
			})
			_, err := OpenWeights(dir)
			wantError(t, err, append(tc.want, dir)...)
		})
	}
	t.Run("truncated shard", func(t *testing.T) {
		t.Parallel()
		dir := modelDir(t, map[string][]byte{
			"m-1.safetensors": one, "m-2.safetensors": two[:len(two)-1],
			"model.safetensors.index.json": []byte(index),
		})
		_, err := OpenWeights(dir)
		wantError(t, err, filepath.Join(dir, "m-2.safetensors"), "download it again")
	})
	t.Run("two shards with one tensor", func(t *testing.T) {
		t.Parallel()
		dir := modelDir(t, map[string][]byte{
			"m-1.safetensors": one, "m-2.safetensors": one,
			"model.safetensors.index.json": []byte(strings.Replace(index, `"c"`, `"b2"`, 1)),
		})
		_, err := OpenWeights(dir)
		wantError(t, err, filepath.Join(dir, "m-2.safetensors"), `"a"`, "belongs to m-1.safetensors")
	})
}

// TestLinkedFiles has the layout of the hub's cache: links to blobs elsewhere.
func TestLinkedFiles(t *testing.T) {
	t.Parallel()
	blobs := modelDir(t, map[string][]byte{"0123": safetensors(header(desc("a", "U8", "[1]", 0, 1)), []byte{7})})
	dir := t.TempDir()
	if err := os.Symlink(filepath.Join(blobs, "0123"), filepath.Join(dir, "model.safetensors")); err != nil {
		t.Fatal(err)
	}
	w, err := OpenWeights(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}

func openOne(t *testing.T, dtype DType, data []byte) (w *Weights, a Tensor, path string) {
	t.Helper()
	shape := fmt.Sprintf("[%d]", len(data)/dtype.Size())
	dir := modelDir(t, map[string][]byte{"model.safetensors": safetensors(header(desc("a", string(dtype), shape, 0,
		len(data))), data)})
	w, err := OpenWeights(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	a, _ = w.Tensor("a")
	return w, a, filepath.Join(dir, "model.safetensors")
}

// TestShrinkingFile shortens the file under the mapping: first what the check
// before each copy sees, then what only the guard against faults can.
func TestShrinkingFile(t *testing.T) {
	t.Parallel()
	w, a, path := openOne(t, F32, make([]byte, 1<<20))
	dst := make([]byte, len(a.Data))
	if err := os.Truncate(path, 4096); err != nil {
		t.Fatal(err)
	}
	wantError(t, a.CopyTo(dst), path, `"a"`, "changed while it was in use")
	wantError(t, a.CheckFinite(), path, "changed while it was in use")
	_, err := w.SHA256(t.Context(), nil)
	wantError(t, err, path)
	wantError(t, guarded(func() { copy(dst, a.Data) }), "mapping", "shortened")
	bad := 0
	wantError(t, guarded(func() { bad = lanesF32.firstBad(a.Data) }), "mapping", "shortened")
	if bad != 0 {
		t.Error("the check went on after the fault")
	}
}

func TestRewrittenFile(t *testing.T) {
	t.Parallel()
	_, a, path := openOne(t, F32, make([]byte, 64))
	if err := os.Chtimes(path, time.Time{}, time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	wantError(t, a.CopyTo(make([]byte, 64)), path, "changed while it was in use")
}

func TestAlignedTo(t *testing.T) {
	t.Parallel()
	// The header decides where data starts; these differ by one byte.
	for pad := range 8 {
		head := header(desc("a", "U8", "[1]", 0, 1)) + strings.Repeat(" ", pad)
		w, err := OpenWeights(modelDir(t, map[string][]byte{"model.safetensors": safetensors(head, []byte{7})}))
		if err != nil {
			t.Fatal(err)
		}
		a, _ := w.Tensor("a")
		if got, want := a.AlignedTo(8), (8+len(head))%8 == 0; got != want {
			t.Errorf("header of %d bytes: aligned %v, want %v", len(head), got, want)
		}
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}
}
