package datasets

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/format"
)

// parquetGolden is what scripts/goldens/datasets_parquet.py writes beside its
// files.
type parquetGolden struct {
	Made, Pyarrow string
	Rows          []struct{ Question, Answer string }
	Good          []string
	Bad           map[string][]string
	Nested        []string
	NestedRows    [][][]string `json:"nested_rows"` // doc.id, doc.choices, text and number
}

func readParquetGolden(t testing.TB) parquetGolden {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "parquet", "golden.json"))
	if err != nil {
		t.Fatal(err)
	}
	var g parquetGolden
	if err := json.Unmarshal(data, &g); err != nil {
		t.Fatal(err)
	}
	t.Logf("goldens of %s by pyarrow %s", g.Made, g.Pyarrow)
	return g
}

func parquetFile(name string) string {
	return filepath.Join("testdata", "parquet", name+".parquet")
}

func readTestFile(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestParquetOfPyarrow(t *testing.T) {
	t.Parallel()
	golden := readParquetGolden(t)
	for _, name := range golden.Good {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			set, err := Load(t.Context(), Spec{Path: parquetFile(name)})
			if err != nil {
				t.Fatal(err)
			}
			if len(set.Examples) != len(golden.Rows) {
				t.Fatalf("%d rows, want %d", len(set.Examples), len(golden.Rows))
			}
			for i, e := range set.Examples {
				_, number, _ := strings.Cut(golden.Rows[i].Answer, "#### ")
				want := Example{
					ID: i, Question: golden.Rows[i].Question, Answer: golden.Rows[i].Answer,
					Gold: strings.ReplaceAll(number, ",", ""),
				}
				if diff := cmp.Diff(want, e); diff != "" {
					t.Errorf("row %d (-want +got):\n%s", i, diff)
				}
			}
		})
	}
	for name, words := range golden.Bad {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Load(t.Context(), Spec{Path: parquetFile(name)})
			checkError(t, err, append(words, name+".parquet")...)
		})
	}
}

// Columns in groups and in lists.
func TestNestedOfPyarrow(t *testing.T) {
	t.Parallel()
	golden := readParquetGolden(t)
	if len(golden.Nested) == 0 {
		t.Fatal("no files")
	}
	for _, name := range golden.Nested {
		file := readTestFile(t, parquetFile(name))
		rows, err := ReadNested(t.Context(), file, "doc.id", "doc.choices", "text", "number")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for i, row := range rows {
			for k := range row {
				if !slices.Equal(row[k], golden.NestedRows[i][k]) {
					t.Errorf("%s, row %d, column %d: %q, want %q", name, i, k, row[k], golden.NestedRows[i][k])
				}
			}
		}
		if columns, err := TopColumns(file); err != nil || !slices.Equal(columns, []string{"doc", "text", "number"}) {
			t.Errorf("%s: columns %q, %v", name, columns, err)
		}
		for column, words := range map[string][]string{
			"doc": {`no column "doc" with one value`, `"doc.id"`}, "te": {`no column "te"`},
			"doc.steps": {"neither a text nor a number"},
		} {
			_, err := ReadNested(t.Context(), file, column)
			checkError(t, err, words...)
		}
	}
}

func TestParquetEmptyPage(t *testing.T) {
	t.Parallel()
	_, err := ReadNested(t.Context(), readTestFile(t, parquetFile("nested_empty_page")), "doc.choices")
	checkError(t, err, "row group 0", `"doc.choices.list.element"`, "no values")
}

// A nested file that is cut or damaged anywhere is read or refused.
func TestNestedDamaged(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"nested_v2", "nested_small_pages"} {
		file := readTestFile(t, parquetFile(name))
		for i := 0; i < len(file); i += 3 {
			if _, err := ReadNested(t.Context(), file[:i], "doc.choices"); err == nil {
				t.Errorf("%s cut to %d of %d bytes was read", name, i, len(file))
			}
			flip := byte(1) << (i % 8)
			file[i] ^= flip
			checkNested(t, file)
			file[i] ^= flip
		}
	}
}

// checkNested reads a file of any content and checks what must hold of its rows.
func checkNested(t testing.TB, file []byte) {
	t.Helper()
	rows, err := ReadNested(context.Background(), file, "doc.choices", "text")
	if err != nil && len(rows) > 0 {
		t.Errorf("%d rows and error %v", len(rows), err)
	}
	for i, row := range rows {
		if len(row) != 2 {
			t.Errorf("row %d has %d columns", i, len(row))
		}
	}
}

// checkError checks that there is an error, of one line, with these words.
func checkError(t testing.TB, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Error("no error")
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q does not say %q", err, w)
		}
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("error %q has several lines", err)
	}
}

// A file that is cut anywhere is refused.
func TestParquetCut(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"default", "zstd_groups"} {
		file := readTestFile(t, parquetFile(name))
		for n := range file {
			if _, err := readParquet(t.Context(), file[:n], usual); err == nil {
				t.Errorf("%s cut to %d of %d bytes was read", name, n, len(file))
			}
		}
	}
}

// A file with a damaged byte is read or refused, and never more than that.
func TestParquetDamaged(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		"default", "none_plain", "zstd_plain_v2", "dictionary_overflow", "delta", "lz4_raw",
		"brotli", "numbers",
	} {
		file := readTestFile(t, parquetFile(name))
		for i := range file {
			flip := byte(1) << (i % 8)
			file[i] ^= flip
			checkRows(t, file)
			file[i] ^= flip
		}
	}
}

// checkRows reads a file of any content and checks what must hold of its rows.
func checkRows(t testing.TB, file []byte) {
	t.Helper()
	rows, err := readParquet(context.Background(), file, usual)
	if err != nil && len(rows) > 0 {
		t.Errorf("%d rows and error %v", len(rows), err)
	}
	total := 0
	for _, r := range rows {
		total += len(r[0]) + len(r[1])
	}
	if len(rows) > maxRows || total > maxTextBytes {
		t.Errorf("%d rows, %d bytes of text", len(rows), total)
	}
}

// withFooter returns a file with this footer.
func withFooter(footer []byte) []byte {
	return withLength(footer, uint32(len(footer)))
}

func withLength(footer []byte, claimed uint32) []byte {
	b := append([]byte(parquetMagic), footer...)
	return append(binary.LittleEndian.AppendUint32(b, claimed), parquetMagic...)
}

func TestParquetGuard(t *testing.T) {
	t.Parallel()
	good := readTestFile(t, parquetFile("default"))
	changed := func(change func(b []byte) []byte) []byte { return change(bytes.Clone(good)) }
	for _, tc := range []struct {
		name  string
		file  []byte
		words []string
	}{
		{"empty", nil, []string{"empty"}},
		{"text", []byte("question,answer\n1,2\n"), []string{"not a parquet file"}},
		{
			"a pointer to a large file", []byte("version https://git-lfs.github.com/spec/v1\n"),
			[]string{"not a parquet file"},
		},
		{"magic alone", []byte("PAR1PAR1"), []string{"not a parquet file"}},
		{"bytes after the end", append(bytes.Clone(good), 0), []string{"not a whole parquet file"}},
		{
			"another end", changed(func(b []byte) []byte { return append(b[:len(b)-4], "PAR2"...) }),
			[]string{"not a whole parquet file"},
		},
		{"footer longer than the file", withLength([]byte{0}, 1000), []string{"1000 bytes", "room for 1"}},
		{"footer of 4 GB", withLength([]byte{0}, 1<<32-1), []string{"4294967295 bytes"}},
		{"no footer", withFooter(nil), []string{"footer", "middle of a value"}},
		{"bytes after the metadata", changed(func(b []byte) []byte {
			return withLength(append(b[4:len(b)-8:len(b)-8], 0, 0, 0), binary.LittleEndian.Uint32(b[len(b)-8:])+3)
		}), []string{"3 bytes follow"}},
		{"footer one byte short", changed(func(b []byte) []byte {
			binary.LittleEndian.PutUint32(b[len(b)-8:], binary.LittleEndian.Uint32(b[len(b)-8:])-1)
			return b
		}), []string{"damaged"}},
		{
			"list of two thousand million", withFooter([]byte{0x29, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x07, 0}),
			[]string{"more list elements"},
		},
		{"structs a million deep", withFooter(bytes.Repeat([]byte{0x1c}, 1<<20)), []string{"too deeply"}},
		{"lists a million deep", withFooter(bytes.Repeat([]byte{0x19}, 1<<20)), []string{"too deeply"}},
		{"string past the end", withFooter([]byte{0x18, 0xff, 0x01, 0}), []string{"middle of a value"}},
		{"unknown type", withFooter([]byte{0x1f, 0}), []string{"unknown type"}},
		{"nothing in it", withFooter([]byte{0}), []string{"damaged parquet footer"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			rows, err := readParquet(t.Context(), tc.file, usual)
			checkError(t, err, tc.words...)
			if rows != nil {
				t.Errorf("%d rows", len(rows))
			}
		})
	}
}

func TestRuns(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name     string
		data     []byte
		width, n int
		want     []uint32
		words    string // of the error
	}{
		{"nothing", nil, 1, 0, nil, ""},
		{"a repeated value", []byte{8 << 1, 5}, 3, 8, []uint32{5, 5, 5, 5, 5, 5, 5, 5}, ""},
		{
			"packed as in the format's document",
			[]byte{1<<1 | 1, 0x88, 0xc6, 0xfa},
			3, 8,
			[]uint32{0, 1, 2, 3, 4, 5, 6, 7},
			"",
		},
		{"padding of the last group", []byte{1<<1 | 1, 0x88, 0xc6, 0xfa}, 3, 3, []uint32{0, 1, 2}, ""},
		{"two runs", []byte{1 << 1, 1, 1<<1 | 1, 0x02}, 1, 3, []uint32{1, 0, 1}, ""},
		{"width 0", []byte{3 << 1}, 0, 3, []uint32{0, 0, 0}, ""},
		{"width 12", []byte{1 << 1, 0x34, 0x02}, 12, 1, []uint32{0x234}, ""},
		{
			"packed width 32", append([]byte{1<<1 | 1}, bytes.Repeat([]byte{0xff}, 32)...), 32, 1,
			[]uint32{1<<32 - 1},
			"",
		},
		{"too few", []byte{1 << 1, 1}, 1, 2, nil, "missing"},
		{"too many", []byte{3 << 1, 1}, 1, 2, nil, "longer"},
		{"too many packed", []byte{2<<1 | 1, 0, 0}, 1, 8, nil, "longer"},
		{"a run of 2^62", []byte{0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 1}, 1, 2, nil, "longer"},
		{"packed past the end", []byte{1<<1 | 1, 0x88}, 3, 8, nil, "longer"},
		{"value past the end", []byte{8 << 1}, 3, 8, nil, "longer"},
		{"an open length", []byte{0x80}, 1, 1, nil, "without a length"},
	} {
		var got []uint32
		err := runs(tc.data, tc.width, tc.n, func(v uint32, n int) error {
			for range n {
				got = append(got, v)
			}
			return nil
		})
		if tc.words != "" {
			checkError(t, err, tc.words)
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, diff)
		}
	}
}

// A page that uncompresses to far more than it claims is given up early, and one
// that tells the truth is read.
func TestDecompress(t *testing.T) { // not parallel: it measures memory
	const claimed, bomb = 1000, maxPageBytes + 1<<20
	zeros := make([]byte, bomb)
	var gz bytes.Buffer
	w := gzip.NewWriter(&gz)
	_, errWrite := w.Write(zeros)
	if err := errors.Join(errWrite, w.Close()); err != nil {
		t.Fatal(err)
	}
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		codec format.CompressionCodec
		body  []byte
		most  uint64 // bytes allocated
	}{
		{format.Gzip, gz.Bytes(), 1 << 20},
		{format.Zstd, z.EncodeAll(zeros, nil), 2 * maxPageBytes},
		{format.Snappy, snappy.Encode(nil, zeros), 1 << 20},
		{format.Uncompressed, zeros, 1 << 20},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := decompress(tc.codec, tc.body, claimed)
		runtime.ReadMemStats(&after)
		checkError(t, err, "damaged")
		if n := after.TotalAlloc - before.TotalAlloc; n > tc.most {
			t.Errorf("%v: %d bytes were allocated", tc.codec, n)
		}
		if _, err := decompress(tc.codec, []byte{1, 2, 3}, claimed); err == nil {
			t.Errorf("%v: garbage was read", tc.codec)
		}
	}
	// As a stream, a frame does not say its size and has a window far wider than
	// the page.
	var stream bytes.Buffer
	zs, err := zstd.NewWriter(&stream, zstd.WithWindowSize(8<<20))
	if err != nil {
		t.Fatal(err)
	}
	_, errFirst := zs.Write(zeros[:claimed/2])
	errFlush := zs.Flush()
	_, errWrite = zs.Write(zeros[:claimed/2])
	if err := errors.Join(errFirst, errFlush, errWrite, zs.Close()); err != nil {
		t.Fatal(err)
	}
	if data, err := decompress(format.Zstd, stream.Bytes(), claimed); err != nil || len(data) != claimed {
		t.Errorf("%d bytes of %d, error %v", len(data), claimed, err)
	}
}

func FuzzParquet(f *testing.F) {
	paths, err := filepath.Glob(parquetFile("*"))
	if err != nil {
		f.Fatal(err)
	}
	for _, p := range paths {
		f.Add(readTestFile(f, p))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		checkRows(t, file)
		checkNested(t, file)
	})
}

// FuzzParquetPages keeps the metadata whole, which random changes seldom do, and
// changes only the pages.
func FuzzParquetPages(f *testing.F) {
	names := []string{
		"default", "none_plain", "none_v2", "gzip_v2", "zstd_groups", "small_pages",
		"dictionary_overflow", "required_v2", "delta", "delta_v2", "lz4_raw", "brotli", "nested_v2",
		"nested_small_pages",
	}
	for i := range names {
		f.Add(uint8(i), uint16(100), []byte{0xff})
		f.Add(uint8(i), uint16(4), []byte{0x15, 0x04, 0x15, 0xfe, 0xff, 0x07})
	}
	f.Fuzz(func(t *testing.T, which uint8, at uint16, patch []byte) {
		file := readTestFile(t, parquetFile(names[int(which)%len(names)]))
		footer := int(binary.LittleEndian.Uint32(file[len(file)-8:])) + 8
		pages := file[4 : len(file)-footer]
		copy(pages[int(at)%len(pages):], patch)
		checkRows(t, file)
		checkNested(t, file)
	})
}

// Columns of numbers are read as they would be written.
func TestParquetNumbers(t *testing.T) {
	t.Parallel()
	set, err := Load(t.Context(), Spec{
		Path:    parquetFile("numbers"),
		Columns: Columns{Question: "Problem", Answer: "Answer", ID: "ID", Cluster: "x"},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []Example{
		{Question: "1+1?", Answer: "204", Gold: "204", Label: "7", Cluster: "0.5"},
		{ID: 1, Question: "Half?", Answer: "-3", Gold: "-3", Label: "8", Cluster: "2"},
	}
	if diff := cmp.Diff(want, set.Examples); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A number without a sign is never negative.
func TestParquetUnsigned(t *testing.T) {
	t.Parallel()
	set, err := Load(t.Context(), Spec{Path: parquetFile("unsigned"), Columns: Columns{ID: "id", Cluster: "cluster"}})
	if err != nil {
		t.Fatal(err)
	}
	want := []Example{
		{
			Question: "a", Answer: "18446744073709551615", Gold: "18446744073709551615", Label: "4294967295",
			Cluster: "255",
		},
		{
			ID: 1, Question: "b", Answer: "9223372036854775808", Gold: "9223372036854775808", Label: "2147483648",
			Cluster: "128",
		},
		{ID: 2, Question: "c", Answer: "8", Gold: "8", Label: "7", Cluster: "1"},
	}
	if diff := cmp.Diff(want, set.Examples); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A number of 32 bits has the decimals that tell it from its neighbours of 32 bits, and not those of 64.
func TestParquetFloats(t *testing.T) {
	t.Parallel()
	set, err := Load(t.Context(), Spec{Path: parquetFile("floats")})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"0.1", "8", "-25000000"}, golds(set)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
