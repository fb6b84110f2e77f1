package datasets

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// extensions of the files that hold rows.
var extensions = []string{".parquet", ".jsonl"}

// layouts lists where a data set's directory may keep its files, below the
// directory itself. CONFIG stands for the subset.
func layouts(config string) []string {
	return []string{".", config, "data"}
}

// shardName is the name of a file without its extension: a split, then the
// number of the shard and how many there are. Older hub files end in a hash.
var shardName = regexp.MustCompile(`^(.+?)(?:-(\d{1,9})(?:-of-(\d{1,9}))?(?:-[0-9a-f]{16})?)?$`)

// shard is a file of a split.
type shard struct {
	path   string
	split  string
	number int // from 0
	of     int // 0 where the name does not say
}

// Splits lists the splits of a data set's directory in the order of their
// names. A single file and a glob have no splits: the list is empty.
func Splits(path, config string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil || !info.IsDir() {
		return nil, nil //nolint:nilerr // what is no directory has no splits; reading it says what is wrong
	}
	var names []string
	for _, dir := range layouts(cmp.Or(config, "main")) {
		shards, err := listShards(filepath.Join(path, dir))
		if err != nil {
			return nil, err
		}
		for _, s := range shards {
			names = append(names, s.split)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// find returns the files of a data set in the order of their rows.
func find(path, split, config string) ([]string, error) {
	if path == "" {
		return nil, errors.New("no data set is named")
	}
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return findSplit(path, split, config)
	case err == nil:
		return []string{path}, checkExtension(path)
	case errors.Is(err, fs.ErrNotExist) && strings.ContainsAny(path, "*?["):
		return findGlob(path)
	default:
		return nil, fmt.Errorf("reading data set: %w", err)
	}
}

func findGlob(pattern string) ([]string, error) {
	paths, err := filepath.Glob(pattern)
	if err != nil {
		return nil, fmt.Errorf("data set %s: %w", pattern, err)
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("data set %s: no file matches", pattern)
	}
	slices.Sort(paths)
	for _, p := range paths {
		if err := checkExtension(p); err != nil {
			return nil, err
		}
	}
	return paths, nil
}

func checkExtension(path string) error {
	if !slices.Contains(extensions, filepath.Ext(path)) {
		return fmt.Errorf("data set %s: expected a file in %s, or a directory", path, strings.Join(extensions, " or "))
	}
	return nil
}

// findSplit returns the files of a split in a data set's directory.
func findSplit(dir, split, config string) ([]string, error) {
	if !filepath.IsLocal(config) {
		return nil, fmt.Errorf("data set %s: %q is not the name of a subset", dir, config)
	}
	var found []shard
	for _, sub := range layouts(config) {
		shards, err := listShards(filepath.Join(dir, sub))
		if err != nil {
			return nil, fmt.Errorf("data set %s: %w", dir, err)
		}
		for _, s := range shards {
			if s.split == split {
				found = append(found, s)
			}
		}
	}
	if len(found) == 0 {
		return nil, noSplit(dir, split, config)
	}
	slices.SortStableFunc(found, func(a, b shard) int { return cmp.Compare(a.number, b.number) })
	var paths []string
	for i, s := range found {
		first := found[0]
		if filepath.Dir(s.path) != filepath.Dir(first.path) || filepath.Ext(s.path) != filepath.Ext(first.path) || s.of != first.of || (i > 0 && s.number == found[i-1].number) {
			return nil, fmt.Errorf("data set %s: split %q is there twice, as %s and %s: name the file instead of the directory", dir, split, first.path, s.path)
		}
		if s.of > 0 && s.number != i {
			return nil, fmt.Errorf("data set %s: split %q has no shard %d of %d", dir, split, i, s.of)
		}
		paths = append(paths, s.path)
	}
	if last := found[len(found)-1]; last.of > 0 && last.of != len(found) {
		return nil, fmt.Errorf("data set %s: split %q has %d of its %d shards", dir, split, len(found), last.of)
	}
	return paths, nil
}

func noSplit(dir, split, config string) error {
	splits, err := Splits(dir, config)
	if err != nil {
		return fmt.Errorf("data set %s: %w", dir, err)
	}
	if len(splits) == 0 {
		return fmt.Errorf("data set %s: no split %q, nor any other file in %s there, in %s/ or in data/", dir, split, strings.Join(extensions, " or "), config)
	}
	return fmt.Errorf("data set %s: no split %q: it has %s", dir, split, strings.Join(splits, ", "))
}

// listShards lists the files with rows in a directory, which need not exist.
func listShards(dir string) ([]shard, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var shards []shard
	for _, e := range entries {
		ext := filepath.Ext(e.Name())
		if e.IsDir() || !slices.Contains(extensions, ext) {
			continue
		}
		m := shardName.FindStringSubmatch(strings.TrimSuffix(e.Name(), ext))
		if m == nil {
			continue
		}
		s := shard{path: filepath.Join(dir, e.Name()), split: m[1]}
		s.number, _ = strconv.Atoi(m[2]) // at most nine digits, or none
		s.of, _ = strconv.Atoi(m[3])
		shards = append(shards, s)
	}
	return shards, nil
}
