package datasets

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// writeFile writes a file below dir, with the folders it needs.
func writeFile(t *testing.T, dir, name string, data []byte) {
	t.Helper()
	path := filepath.Join(dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// jsonl returns n rows whose golds count from first.
func jsonl(first, n int) []byte {
	var b strings.Builder
	for i := first; i < first+n; i++ {
		fmt.Fprintf(&b, `{"question": "q%d", "answer": "#### %d"}`+"\n", i, i)
	}
	return []byte(b.String())
}

func golds(set *Set) []string {
	var all []string
	for _, e := range set.Examples {
		all = append(all, e.Gold)
	}
	return all
}

func TestLayouts(t *testing.T) {
	t.Parallel()
	parquet := readTestFile(t, parquetFile("default"))
	for _, tc := range []struct {
		name  string
		files map[string][]byte
		path  string // below the folder
		spec  Spec
		want  []string // golds, or nil where only the number of rows is checked
		rows  int
		words []string // of the error
	}{
		{
			name: "split.parquet", files: map[string][]byte{"test.parquet": parquet, "train.jsonl": jsonl(1, 1)},
			rows: 40,
		},
		{name: "split.jsonl", files: map[string][]byte{"test.jsonl": jsonl(1, 2)}, want: []string{"1", "2"}},
		{
			name: "another split", files: map[string][]byte{"test.jsonl": jsonl(1, 2), "train.jsonl": jsonl(3, 1)},
			spec: Spec{Split: "train"}, want: []string{"3"},
		},
		{name: "shards at the top", files: map[string][]byte{
			"test-00000-of-00002.jsonl": jsonl(1, 1),
			"test-00001-of-00002.jsonl": jsonl(2, 1),
		}, want: []string{"1", "2"}},
		{name: "subset main", files: map[string][]byte{
			"main/test-00000-of-00001.parquet":   parquet,
			"socratic/test-00000-of-00001.jsonl": jsonl(1, 1),
		}, rows: 40},
		{name: "subset socratic", files: map[string][]byte{
			"main/test-00000-of-00001.parquet":   parquet,
			"socratic/test-00000-of-00001.jsonl": jsonl(1, 1),
		}, spec: Spec{Config: "socratic"}, want: []string{"1"}},
		{
			name: "data", files: map[string][]byte{"data/test-00000-of-00001-0123456789abcdef.jsonl": jsonl(1, 1)},
			want: []string{"1"},
		},
		{
			name: "a subset named data", files: map[string][]byte{"data/test.jsonl": jsonl(1, 1)},
			spec: Spec{Config: "data"}, want: []string{"1"},
		},
		{name: "the hub's conversions", files: map[string][]byte{
			"main/test/0001.jsonl": jsonl(2, 1),
			"main/test/0000.jsonl": jsonl(1, 1), "main/train/0000.jsonl": jsonl(3, 1),
		}, want: []string{"1", "2"}},
		{name: "no such split of the hub's conversions", files: map[string][]byte{
			"main/dev/0000.jsonl":   jsonl(1, 1),
			"main/train/0000.jsonl": jsonl(3, 1),
		}, words: []string{`no split "test"`, "dev, train"}},
		{name: "split outside", spec: Spec{Split: "../x"}, words: []string{"../x", "split"}},
		{name: "shards beyond ten without zeros", files: map[string][]byte{
			"test-2.jsonl":  jsonl(2, 1),
			"test-10.jsonl": jsonl(10, 1),
		}, want: []string{"2", "10"}},
		{
			name: "a file, whatever its split", files: map[string][]byte{"x.jsonl": jsonl(1, 1)}, path: "x.jsonl",
			spec: Spec{Split: "train"}, want: []string{"1"},
		},
		{
			name: "exactly, a file of the usual split", files: map[string][]byte{"x.jsonl": jsonl(1, 1)}, path: "x.jsonl",
			spec: Spec{Split: "test", Config: "main", Exact: true}, want: []string{"1"},
		},
		{
			name: "exactly, a file of no split", files: map[string][]byte{"x.jsonl": jsonl(1, 1)}, path: "x.jsonl",
			spec: Spec{Split: "train", Exact: true}, want: []string{"1"},
		},
		{
			name: "exactly, a file of another split", files: map[string][]byte{"test.jsonl": jsonl(1, 1)}, path: "test.jsonl",
			spec: Spec{Split: "train", Exact: true}, words: []string{`no split "train"`, "test.jsonl"},
		},
		{
			name: "exactly, a file named for its split", files: map[string][]byte{"train-0-of-1.jsonl": jsonl(1, 1)},
			path: "train-0-of-1.jsonl", spec: Spec{Split: "train", Exact: true}, want: []string{"1"},
		},
		{
			name: "exactly, a glob of two splits", path: "*.jsonl", spec: Spec{Split: "train", Exact: true},
			files: map[string][]byte{"train.jsonl": jsonl(1, 1), "test.jsonl": jsonl(2, 1)},
			words: []string{`no split "train"`, "test.jsonl"},
		},
		{
			name: "exactly, a glob of a numbered split", path: "p1/train/*.jsonl",
			files: map[string][]byte{"p1/train/0000.jsonl": jsonl(1, 1), "p1/train/0001.jsonl": jsonl(2, 1)},
			spec:  Spec{Split: "train", Config: "p1", Exact: true}, want: []string{"1", "2"},
		},
		{
			name: "exactly, a subset of a folder without", files: map[string][]byte{"test.jsonl": jsonl(1, 1)},
			spec: Spec{Config: "socratic", Exact: true}, words: []string{`no subset "socratic"`, "it has none"},
		},
		{
			name: "exactly, a subset of a file", files: map[string][]byte{"x.jsonl": jsonl(1, 1)}, path: "x.jsonl",
			spec: Spec{Config: "socratic", Exact: true}, words: []string{`no subset "socratic"`, "leave the subset out"},
		},
		{
			name:  "exactly, a subset that is another",
			files: map[string][]byte{"data/test.jsonl": jsonl(1, 1), "p1/test.jsonl": jsonl(2, 1), "p2/dev.jsonl": nil},
			spec:  Spec{Config: "socratic", Exact: true}, words: []string{`no subset "socratic"`, "it has p1, p2"},
		},
		{
			name: "exactly, a subset that is there", files: map[string][]byte{"p1/test.jsonl": jsonl(2, 1)},
			spec: Spec{Config: "p1", Exact: true}, want: []string{"2"},
		},
		{
			name: "exactly, a subset in the hub's conversions", files: map[string][]byte{"p1/dev/0000.jsonl": jsonl(2, 1)},
			spec: Spec{Config: "p1", Split: "dev", Exact: true}, want: []string{"2"},
		},
		{
			name: "exactly, no subset, as the hub says it", files: map[string][]byte{"data/test.jsonl": jsonl(1, 1)},
			spec: Spec{Config: "default", Exact: true}, want: []string{"1"},
		},
		{
			name: "a glob", files: map[string][]byte{"b.jsonl": jsonl(2, 1), "a.jsonl": jsonl(1, 1), "c.txt": nil},
			path: "*.jsonl", want: []string{"1", "2"},
		},
		{name: "a glob of parquet files", files: map[string][]byte{
			"main/test-00001-of-00002.parquet": parquet,
			"main/test-00000-of-00002.parquet": parquet, "main/train.jsonl": nil,
		}, path: "main/*.parquet", rows: 80},
		{
			name: "a file whose name looks like a glob", files: map[string][]byte{"a[1].jsonl": jsonl(1, 1)},
			path: "a[1].jsonl", want: []string{"1"},
		},

		{
			name: "no such split", files: map[string][]byte{"train.jsonl": jsonl(1, 1), "data/dev-0.jsonl": jsonl(1, 1)},
			words: []string{`no split "test"`, "dev, train"},
		},
		{
			name: "no such subset", files: map[string][]byte{"main/test.jsonl": jsonl(1, 1)},
			spec: Spec{Config: "socratic"}, words: []string{`no subset "socratic"`, "it has main"},
		},
		{name: "subset outside", files: nil, spec: Spec{Config: "../x"}, words: []string{"../x", "subset"}},
		{
			name: "nothing there", files: map[string][]byte{"README.md": nil},
			words: []string{`no split "test"`, ".parquet, .jsonl or .json"},
		},
		{
			name: "two layouts", files: map[string][]byte{"test.jsonl": jsonl(1, 1), "data/test-0.jsonl": jsonl(1, 1)},
			words: []string{"twice", "test.jsonl", "test-0.jsonl"},
		},
		{
			name: "two formats", files: map[string][]byte{"test.jsonl": jsonl(1, 1), "test.parquet": parquet},
			words: []string{"twice"},
		},
		{
			name: "first shard missing", files: map[string][]byte{"test-00001-of-00002.jsonl": jsonl(2, 1)},
			words: []string{"no shard 0 of 2"},
		},
		{
			name: "last shard missing", files: map[string][]byte{"test-00000-of-00002.jsonl": jsonl(1, 1)},
			words: []string{"1 of its 2 shards"},
		},
		{name: "a shard twice", files: map[string][]byte{
			"test-00000-of-00001.jsonl":                  jsonl(1, 1),
			"test-00000-of-00001-0123456789abcdef.jsonl": jsonl(1, 1),
		}, words: []string{"twice"}},
		{name: "no such file", path: "x.jsonl", words: []string{"x.jsonl", "no such file"}},
		{name: "no such glob", path: "*.parquet", words: []string{"no file matches"}},
		{name: "a bad glob", path: "[", words: []string{"["}},
		{
			name: "another kind of file", files: map[string][]byte{"x.csv": nil}, path: "x.csv",
			words: []string{"x.csv", ".parquet, .jsonl or .json"},
		},
		{
			name: "a glob of other kinds", files: map[string][]byte{"x.csv": nil}, path: "*",
			words: []string{"x.csv", ".parquet, .jsonl or .json"},
		},
		{
			name: "a folder named like a file", files: map[string][]byte{"x.jsonl/y": nil}, path: "x.json*",
			words: []string{"x.jsonl", "not a regular file"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			for name, data := range tc.files {
				writeFile(t, dir, name, data)
			}
			tc.spec.Path = filepath.Join(dir, tc.path)
			set, err := Load(t.Context(), tc.spec)
			if tc.words != nil {
				checkError(t, err, append(tc.words, dir)...)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if tc.want == nil {
				if len(set.Examples) != tc.rows {
					t.Errorf("%d rows, want %d", len(set.Examples), tc.rows)
				}
			} else if diff := cmp.Diff(tc.want, golds(set)); diff != "" {
				t.Errorf("golds (-want +got):\n%s", diff)
			}
			for i, e := range set.Examples {
				if e.ID != i {
					t.Errorf("row %d has id %d", i, e.ID)
				}
			}
		})
	}
	if _, err := Load(t.Context(), Spec{}); err == nil {
		t.Error("a data set without a path was read")
	}
}

func TestSplits(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{
		"validation.parquet", "main/test-00000-of-00001.parquet",
		"main/train-00000-of-00002.parquet", "main/train-00001-of-00002.parquet", "socratic/dev.jsonl", "README.md",
	} {
		writeFile(t, dir, name, nil)
	}
	for config, want := range map[string][]string{
		"":         {"test", "train", "validation"},
		"socratic": {"dev", "validation"},
	} {
		got, err := Splits(dir, config)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%q: error %v, splits (-want +got):\n%s", config, err, diff)
		}
	}
	if got, err := Splits(filepath.Join(dir, "README.md"), ""); len(got) != 0 || err != nil {
		t.Errorf("a file has splits %q, error %v", got, err)
	}
}

func TestSelection(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeFile(t, dir, "test-0.jsonl", jsonl(0, 6))
	writeFile(t, dir, "test-1.jsonl", jsonl(6, 4))
	ids := func(set *Set) []int {
		var all []int
		for _, e := range set.Examples {
			if e.Question != fmt.Sprintf("q%d", e.ID) {
				t.Errorf("row %d is %q", e.ID, e.Question)
			}
			all = append(all, e.ID)
		}
		return all
	}
	seed := func(n uint64) *uint64 { return &n }
	whole, err := Load(t.Context(), Spec{Path: dir})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name  string
		spec  Spec
		want  []int
		words []string
	}{
		{"limit", Spec{Limit: 3}, []int{0, 1, 2}, nil},
		{"limit beyond the end", Spec{Limit: 100}, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, nil},
		{"range across files", Spec{From: 5, To: 8}, []int{5, 6, 7}, nil},
		{"open range", Spec{From: 8}, []int{8, 9}, nil},
		{"open range, as the config has it", Spec{From: 8, To: math.MaxInt}, []int{8, 9}, nil},
		{"range and limit", Spec{From: 5, To: 8, Limit: 2}, []int{5, 6}, nil},
		{"ids in their order", Spec{IDs: []int{7, 2, 9}}, []int{7, 2, 9}, nil},
		{"ids and limit", Spec{IDs: []int{7, 2, 9}, To: math.MaxInt, Limit: 1}, []int{7}, nil},

		{"negative limit", Spec{Limit: -1}, nil, []string{"limit of -1"}},
		{"range past the end", Spec{From: 8, To: 11}, nil, []string{"8 up to 11", "0 to 9"}},
		{"range beyond the end", Spec{From: 10}, nil, []string{"rows are 0 to 9"}},
		{"empty range", Spec{From: 3, To: 3}, nil, []string{"3 up to 3"}},
		{"negative range", Spec{From: -1, To: 3}, nil, []string{"-1 up to 3"}},
		{"id past the end", Spec{IDs: []int{1, 10}}, nil, []string{"no row 10", "0 to 9"}},
		{"negative id", Spec{IDs: []int{-1}}, nil, []string{"no row -1"}},
		{"id twice", Spec{IDs: []int{1, 2, 1}}, nil, []string{"row 1", "twice"}},
		{"range and ids", Spec{IDs: []int{1}, From: 1}, nil, []string{"choose one"}},
	} {
		tc.spec.Path = dir
		set, err := Load(t.Context(), tc.spec)
		if tc.words != nil {
			checkError(t, err, append(tc.words, dir)...)
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		if diff := cmp.Diff(tc.want, ids(set)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, diff)
		}
		if diff := cmp.Diff(whole.Files, set.Files); diff != "" || set.SHA256 != whole.SHA256 {
			t.Errorf("%s: the selection changed what names the data:\n%s", tc.name, diff)
		}
	}

	orders := make(map[string]bool)
	for s := range uint64(5) {
		full, err := Load(t.Context(), Spec{Path: dir, ShuffleSeed: seed(s)})
		if err != nil {
			t.Fatal(err)
		}
		order := ids(full)
		orders[fmt.Sprint(order)] = true
		if sorted := slices.Sorted(slices.Values(order)); !slices.Equal(sorted, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}) {
			t.Errorf("seed %d: %v is no permutation", s, order)
		}
		some, err := Load(t.Context(), Spec{Path: dir, ShuffleSeed: seed(s), Limit: 4})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(ids(some), order[:4]) {
			t.Errorf("seed %d: a limit of 4 takes %v of %v", s, ids(some), order)
		}
		if s == 0 && !slices.Equal(order, []int{0, 9, 7, 6, 8, 3, 1, 5, 2, 4}) {
			t.Errorf("the order of seed 0 has changed to %v: runs would not be comparable", order)
		}
	}
	if len(orders) != 5 {
		t.Errorf("5 seeds give %d orders", len(orders))
	}
}

func TestFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeFile(t, dir, "test.jsonl", jsonl(1, 2))
	set, err := Load(t.Context(), Spec{Path: dir})
	if err != nil {
		t.Fatal(err)
	}
	want := []File{{Path: filepath.Join(dir, "test.jsonl"), Size: 78, SHA256: hexSum(jsonl(1, 2)), Rows: 2}}
	if diff := cmp.Diff(want, set.Files); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Load(ctx, Spec{Path: dir}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
