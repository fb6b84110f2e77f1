package gguf

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gsmeval/gsmeval/decode/checkpoint/gguf/gguftest"
	"github.com/gsmeval/gsmeval/decode/checkpoint/half"
)

// TestTypes compares the numbers of every type, bit for bit, with those of the Python package gguf: all at once, and in
// pieces.
func TestTypes(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("testdata", "types.gguf"))
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Tensors map[string]struct {
			SHA256 string
			First  []float64
		}
	}
	text, err := os.ReadFile(filepath.Join("testdata", "types.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &golden); err != nil {
		t.Fatal(err)
	}
	f, err := Read(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Tensors) != len(types) || len(golden.Tensors) != len(types) {
		t.Fatalf("%d tensors in the file and %d in the golden for %d types", len(f.Tensors), len(golden.Tensors),
			len(types))
	}
	for _, tensor := range f.Tensors {
		want := golden.Tensors[tensor.Name]
		if tensor.Type.Name != tensor.Name || tensor.Shape[0] != 6 || tensor.Shape[1] != 512 {
			t.Errorf("%s is %s of shape %v", tensor.Name, tensor.Type.Name, tensor.Shape)
			continue
		}
		stored := data[f.DataStart+tensor.Begin : f.DataStart+tensor.End]
		out := make([]byte, 4*6*512)
		tensor.Type.Decode(out, stored)
		if sum := sha256.Sum256(out); hex.EncodeToString(sum[:]) != want.SHA256 {
			t.Errorf("%s: other numbers than gguf's; the first are %v, %v, %v, %v, and should be %v", tensor.Name,
				half.Float32(out), half.Float32(out[4:]), half.Float32(out[8:]), half.Float32(out[12:]), want.First)
		}
		piece := make([]byte, 4*tensor.Type.Elements)
		tensor.Type.Decode(piece, stored[tensor.Type.Bytes:])
		if !bytes.Equal(piece, out[len(piece):2*len(piece)]) {
			t.Errorf("%s: the second block alone has other numbers", tensor.Name)
		}
	}
}

func TestHalf(t *testing.T) {
	for h := range 1 << 16 {
		v := half.Float16(uint16(h))
		if back := half.ToFloat16(v); !math.IsNaN(float64(v)) && back != uint16(h) {
			t.Fatalf("%#x is %v, and that %#x", h, v, back)
		}
	}
	for _, c := range []struct {
		v    float32
		want uint16
	}{
		{65519, 0x7bff},
		{65520, 0x7c00},
		{1.00048828125, 0x3c00},
		{1.0004885, 0x3c01},
		{6e-8, 1},
		{2.9802322e-08, 0},
		{2.9802326e-08, 1},
		{-0.000060999, 0x83ff},
	} {
		if got := half.ToFloat16(c.v); got != c.want {
			t.Errorf("%v rounds to %#x, want %#x", c.v, got, c.want)
		}
	}
}

// valid is a small file with one key of each kind and two tensors.
func valid() []byte {
	w := gguftest.Header(3, 2, 6)
	w.Key("general.architecture", "llama")
	w.Key("n", 7)
	w.Key("x", 0.5)
	w.Key("b", true)
	w.Key("texts", []string{"a", "\u00e9"})
	w.Key("list", []int{1, 2})
	w.Tensor("a", 0, 0, 3, 2)
	w.Tensor("b", 2, 32, 64)
	w.Pad(32)
	w.B = append(w.B, make([]byte, 32+36)...)
	return w.B
}

func TestRead(t *testing.T) {
	data := valid()
	f, err := Read(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	if n, found, err := f.Meta.Int("n"); n != 7 || !found || err != nil {
		t.Errorf("n is %d, %v, %v", n, found, err)
	}
	if x, _, err := f.Meta.Float("x"); x != 0.5 || err != nil {
		t.Errorf("x is %v, %v", x, err)
	}
	if l, err := f.Meta.Texts("texts"); len(l) != 2 || l[1] != "\u00e9" || err != nil {
		t.Errorf("texts are %q, %v", l, err)
	}
	if l, err := f.Meta.Ints("list"); len(l) != 2 || l[1] != 2 || err != nil {
		t.Errorf("list is %v, %v", l, err)
	}
	if _, err := f.Meta.Text("n"); err == nil || !strings.Contains(err.Error(), "expected a text, found 7") {
		t.Errorf("n as a text: %v", err)
	}
	a, b := f.Tensors[0], f.Tensors[1]
	if a.Shape[0] != 2 || a.Shape[1] != 3 || a.End != 24 || b.Begin != 32 || b.End != 32+36 || f.DataStart%32 != 0 {
		t.Errorf("%+v, %+v, data at %d", a, b, f.DataStart)
	}
}

func TestRefused(t *testing.T) {
	build := func(version uint32, tensors, keys uint64, rest func(w *gguftest.Writer)) []byte {
		w := gguftest.Header(version, tensors, keys)
		rest(w)
		return w.B
	}
	tensors := func(add ...func(w *gguftest.Writer)) []byte {
		w := gguftest.Header(3, uint64(len(add)), 0)
		for _, f := range add {
			f(w)
		}
		w.Pad(32)
		w.B = append(w.B, make([]byte, 64)...)
		return w.B
	}
	tensor := func(name string, kind uint32, offset uint64, dims ...uint64) func(*gguftest.Writer) {
		return func(w *gguftest.Writer) { w.Tensor(name, kind, offset, dims...) }
	}
	none := func(*gguftest.Writer) {}
	for _, c := range []struct {
		name string
		data []byte
		want []string
	}{
		{"empty", nil, []string{"0 bytes are too few"}},
		{"another file", []byte("PK\x03\x04 and so on"), []string{"does not begin with GGUF"}},
		{"version 1", build(1, 0, 0, none), []string{"version 1 is not supported"}},
		{"big-endian", build(3<<24, 0, 0, none), []string{"big-endian"}},
		{"counts cut", []byte("GGUF\x03\x00\x00\x00\x01"), []string{"number of tensors", "cut short"}},
		{"tensors without end", build(3, 1<<40, 0, none), []string{"number of tensors", "more than the 65536"}},
		{"tensors that are not there", build(3, 1000, 0, none), []string{"number of tensors", "do not fit"}},
		{"keys without end", build(3, 0, 1<<60, none), []string{"number of metadata keys", "more than the 4096"}},
		{"keys that are not there", build(3, 0, 3, none), []string{"number of metadata keys", "do not fit"}},
		{"long key", build(3, 0, 1, func(w *gguftest.Writer) {
			w.U64(1 << 40)
			w.B = append(w.B,
				make([]byte, 64)...)
		}), []string{"a metadata key: length", "more than the 1024"}},
		{
			"key not UTF-8", build(3, 0, 1, func(w *gguftest.Writer) { w.Key("a\xff", 1) }),
			[]string{"a metadata key", "not valid UTF-8"},
		},
		{
			"key twice", build(3, 0, 2, func(w *gguftest.Writer) { w.Key("a", 1); w.Key("a", 2) }),
			[]string{`"a" stands twice`},
		},
		{
			"unknown kind", build(3, 0, 1, func(w *gguftest.Writer) { w.Text("a"); w.U32(13); w.U64(0) }),
			[]string{`"a"`, "type 13 are not known"},
		},
		{
			"list in a list", build(3, 0, 1, func(w *gguftest.Writer) { w.Text("a"); w.U32(9); w.U32(9); w.U64(1) }),
			[]string{`"a"`, "lists of values of type 9"},
		},
		{
			"list without end",
			build(3, 0, 1, func(w *gguftest.Writer) { w.Text("a"); w.U32(9); w.U32(0); w.U64(1 << 50) }),
			[]string{`"a": elements`, "more than the 8388608"},
		},
		{
			"list that is not there",
			build(3, 0, 1, func(w *gguftest.Writer) { w.Text("a"); w.U32(9); w.U32(8); w.U64(9) }),
			[]string{`"a": elements`, "do not fit"},
		},
		{"text cut", build(3, 0, 1, func(w *gguftest.Writer) {
			w.Text("a")
			w.U32(8)
			w.U64(99)
			w.B = append(w.B,
				'x')
		}), []string{`"a": length`, "do not fit"}},
		{
			"truth of 2", build(3, 0, 1, func(w *gguftest.Writer) { w.Text("a"); w.U32(7); w.B = append(w.B, 2) }),
			[]string{`"a"`, "0 or 1, found 2"},
		},
		{
			"alignment 3", build(3, 0, 1, func(w *gguftest.Writer) { w.Key("general.alignment", 3) }),
			[]string{"general.alignment", "power of two"},
		},
		{
			"alignment 0", build(3, 0, 1, func(w *gguftest.Writer) { w.Key("general.alignment", 0) }),
			[]string{"general.alignment", "power of two"},
		},
		{"name twice", tensors(tensor("a", 0, 0, 8), tensor("a", 0, 32, 8)), []string{`tensor "a"`, "twice"}},
		{"no dimensions", tensors(tensor("a", 0, 0)), []string{`tensor "a"`, "0 dimensions"}},
		{"five dimensions", tensors(tensor("a", 0, 0, 1, 1, 1, 1, 1)), []string{`tensor "a"`, "5 dimensions"}},
		{"dimension 0", tensors(tensor("a", 0, 0, 8, 0)), []string{`tensor "a"`, "dimension 1 is 0"}},
		{
			"more than can be counted", tensors(tensor("a", 0, 0, 1<<40, 1<<40)),
			[]string{`tensor "a"`, "more than can be counted"},
		},
		{
			"bytes beyond counting", tensors(tensor("a", 0, 0, 1<<31, 1<<31)),
			[]string{`tensor "a"`, "more bytes than can be counted"},
		},
		{"type by name", tensors(tensor("a", 16, 0, 256)), []string{
			`tensor "a"`, "type IQ2_XXS is not supported",
			"Q4_1",
		}},
		{"type by number", tensors(tensor("a", 99, 0, 256)), []string{`tensor "a"`, "type number 99"}},
		{"no whole blocks", tensors(tensor("a", 2, 0, 33)), []string{`tensor "a"`, "no whole blocks of Q4_0"}},
		{"not aligned", tensors(tensor("a", 0, 4, 8)), []string{`tensor "a"`, "no multiple of the alignment 32"}},
		{"hole", tensors(tensor("a", 0, 32, 8)), []string{`tensor "a"`, "32 bytes after"}},
		{"overlap", tensors(tensor("a", 0, 0, 16), tensor("b", 0, 32, 8)), []string{`tensor "b"`, "overlap"}},
		{"beyond the end", tensors(tensor("a", 0, 0, 1<<20)), []string{`tensor "a"`, "cut short"}},
		{"offset beyond the end", tensors(tensor("a", 0, 1<<62, 8)), []string{`tensor "a"`, "cut short"}},
		{
			"last bytes cut", func() []byte { d := tensors(tensor("a", 0, 0, 16)); return d[:len(d)-1] }(),
			[]string{`tensor "a"`, "cut short"},
		},
		{"bytes behind", tensors(tensor("a", 0, 0, 8)), []string{"cover 32 bytes of data, but the file holds 64"}},
		{"data without tensors", tensors(), []string{"no tensors"}},
	} {
		_, err := Read(bytes.NewReader(c.data), int64(len(c.data)))
		if err == nil {
			t.Errorf("%s: accepted", c.name)
			continue
		}
		for _, part := range c.want {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %q does not name %q", c.name, err, part)
			}
		}
		if strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %q has more than one line", c.name, err)
		}
	}
}

// TestCutEverywhere cuts a right file at every byte: none of the rests is accepted.
func TestCutEverywhere(t *testing.T) {
	data := valid()
	for n := range data {
		if _, err := Read(bytes.NewReader(data[:n]), int64(n)); err == nil {
			t.Errorf("%d of %d bytes were accepted", n, len(data))
		}
	}
}

func FuzzGGUF(f *testing.F) {
	f.Add(valid())
	f.Add(valid()[:200])
	f.Add(gguftest.Keys(map[string]any{"general.alignment": 64, "a": []float64{1, 2}}))
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := Read(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return
		}
		var end int64
		for _, x := range file.Tensors {
			n := int64(1)
			for _, d := range x.Shape {
				n *= int64(d)
			}
			if x.Begin < end || x.End-x.Begin != n/int64(x.Type.Elements)*int64(x.Type.Bytes) ||
				file.DataStart+x.End > int64(len(data)) {
				t.Fatalf("accepted %+v behind %d in %d bytes", x, end, len(data))
			}
			end = x.End
			if n < 1<<20 {
				x.Type.Decode(make([]byte, 4*n), data[file.DataStart+x.Begin:file.DataStart+x.End])
			}
		}
	})
}
