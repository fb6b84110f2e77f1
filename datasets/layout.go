package datasets

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// extensions of the files that hold rows.
var extensions = []string{".parquet", ".jsonl", ".json"}

// Extensions lists the endings of the names of files with rows.
func Extensions() []string { return slices.Clone(extensions) }

// anyOf names alternatives in a sentence.
func anyOf(names []string) string {
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " or " + names[last]
}

// layouts lists where a data set's directory may keep the files of a split, below the directory itself. The last one is
// that of the hub's own conversions (revision refs/convert/parquet), whose files are just numbered.
func layouts(config, split string) []string {
	var dirs []string
	for _, dir := range []string{".", path.Clean(config), "data", path.Join(config, split)} {
		if !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// shardName is the name of a file without its extension: a split, then the
// number of the shard and how many there are. Older hub files end in a hash.
var shardName = regexp.MustCompile(`^(.+?)(?:-(\d{1,9})(?:-of-(\d{1,9}))?(?:-[0-9a-f]{16})?)?$`)

// shardNumber is the name of a file that has its split from its directory.
var shardNumber = regexp.MustCompile(`^\d{1,9}$`)

// shard is a file of a split.
type shard struct {
	path   string // below the data set's directory, with slashes
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
	files, err := list(path, cmp.Or(config, "main"), "")
	if err != nil {
		return nil, err
	}
	return splitsOf(files, cmp.Or(config, "main")), nil
}

func splitsOf(files []string, config string) []string {
	var names []string
	for _, dir := range layouts(config, "") {
		for _, s := range shards(files, dir, "") {
			names = append(names, s.split)
		}
	}
	for _, f := range files { // those that are directories
		if dir, split := path.Split(path.Dir(f)); path.Clean(dir) == config && shardNumber.MatchString(stem(f)) {
			names = append(names, split)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
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

// splitShown is the split that a file's name shows, of those that data sets usually have; "" where it shows none.
func splitShown(file string) string {
	for _, split := range []string{"train", "test", "validation", "valid", "val", "dev"} {
		if isOfSplit(file, split) {
			return split
		}
	}
	return ""
}

// checkExact makes sure that the files found at a path are of the split and the subset, by their names. A file whose name
// shows no split is of any; the usual ones, test and main, are what is there; default is what the hub calls files that lie in no subset.
func checkExact(at string, paths []string, split, config string) error {
	info, err := os.Stat(at)
	isDir := err == nil && info.IsDir()
	for _, p := range paths {
		dir := "/" + filepath.ToSlash(filepath.Dir(p))
		if other := splitShown(filepath.ToSlash(p)); !isDir && split != "test" && other != "" && other != split {
			return fmt.Errorf("data set %s: no split %q: all of %s is read, which by its name is %q; leave the split out, or name a directory that has it",
				at, split, filepath.Base(p), other)
		}
		if config == "main" || config == "default" || strings.HasSuffix(dir, "/"+path.Clean(config)) ||
			strings.HasSuffix(dir, "/"+path.Join(config, split)) {
			continue
		}
		var names []string
		if isDir {
			files, err := list(at, config, split)
			if err != nil {
				return fmt.Errorf("data set %s: %w", at, err)
			}
			names = slices.DeleteFunc(configsOf(files), func(name string) bool { return name == "data" })
		}
		if len(names) == 0 {
			return fmt.Errorf("data set %s: no subset %q: it has none; leave the subset out", at, config)
		}
		return fmt.Errorf("data set %s: no subset %q: it has %s, and %s in none", at, config, strings.Join(names, ", "),
			filepath.Base(p))
	}
	return nil
}

// isOfSplit reports whether the name of a file is that of a split's, or of a part of it.
func isOfSplit(file, split string) bool {
	if shardNumber.MatchString(stem(file)) {
		return path.Base(path.Dir(file)) == split
	}
	m := shardName.FindStringSubmatch(stem(file))
	return m != nil && m[1] == split
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
		return fmt.Errorf("data set %s: expected a file in %s, or a directory", path, anyOf(extensions))
	}
	return nil
}

// findSplit returns the files of a split in a data set's directory.
func findSplit(dir, split, config string) ([]string, error) {
	if err := checkNames(split, config); err != nil {
		return nil, fmt.Errorf("data set %s: %w", dir, err)
	}
	files, err := list(dir, config, split)
	if err != nil {
		return nil, fmt.Errorf("data set %s: %w", dir, err)
	}
	names, err := SplitFiles(files, split, config)
	if err != nil {
		return nil, fmt.Errorf("data set %s: %w", dir, err)
	}
	for i, name := range names {
		names[i] = filepath.Join(dir, filepath.FromSlash(name))
	}
	return names, nil
}

// SplitFiles picks the files of a split from the names of all files of a data set, which have slashes and are relative,
// and returns them in the order of their rows. An empty split is test, an empty config main.
func SplitFiles(files []string, split, config string) ([]string, error) {
	split, config = cmp.Or(split, "test"), cmp.Or(config, "main")
	if err := checkNames(split, config); err != nil {
		return nil, err
	}
	var found []shard
	for _, dir := range layouts(config, split) {
		for _, s := range shards(files, dir, split) {
			if s.split == split {
				found = append(found, s)
			}
		}
	}
	if len(found) == 0 {
		return nil, noSplit(files, split, config)
	}
	isJSON := func(s shard) bool { return path.Ext(s.path) == ".json" } // beside others it is something else, or the same again
	if slices.ContainsFunc(found, func(s shard) bool { return !isJSON(s) }) {
		found = slices.DeleteFunc(found, isJSON)
	}
	slices.SortStableFunc(found, func(a, b shard) int { return cmp.Compare(a.number, b.number) })
	var names []string
	for i, s := range found {
		first := found[0]
		if path.Dir(s.path) != path.Dir(first.path) || path.Ext(s.path) != path.Ext(first.path) || s.of != first.of ||
			(i > 0 && s.number == found[i-1].number) {
			return nil, fmt.Errorf("split %q is there twice, as %s and %s: name the file instead of the directory",
				split, first.path, s.path)
		}
		if s.of > 0 && s.number != i {
			return nil, fmt.Errorf("split %q has no shard %d of %d", split, i, s.of)
		}
		names = append(names, s.path)
	}
	if last := found[len(found)-1]; last.of > 0 && last.of != len(found) {
		return nil, fmt.Errorf("split %q has %d of its %d shards", split, len(found), last.of)
	}
	return names, nil
}

func checkNames(split, config string) error {
	if !filepath.IsLocal(config) {
		return fmt.Errorf("%q is not the name of a subset", config)
	}
	if strings.Contains(split, "/") || !filepath.IsLocal(split) {
		return fmt.Errorf("%q is not the name of a split", split)
	}
	return nil
}

func noSplit(files []string, split, config string) error {
	if splits := splitsOf(files, config); len(splits) > 0 {
		return fmt.Errorf("no split %q: it has %s", split, strings.Join(splits, ", "))
	}
	if configs := configsOf(files); len(configs) > 0 {
		return fmt.Errorf("no subset %q: it has %s", config, strings.Join(configs, ", "))
	}
	return fmt.Errorf("no split %q, nor any other file in %s there, in %s/ or in data/", split, anyOf(extensions),
		config)
}

// configsOf lists the directories that hold files with rows: the subsets there are.
func configsOf(files []string) []string {
	var names []string
	for _, f := range files {
		if dir, _, ok := strings.Cut(f, "/"); ok && slices.Contains(extensions, path.Ext(f)) {
			names = append(names, dir)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// list lists the files in the places that a data set's directory keeps them in, and in the other directories there and
// in the subset's, which a message may name. None of the places need exist.
func list(dir, config, split string) ([]string, error) {
	top, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	needed := layouts(config, split)
	places := slices.Clone(needed)
	for _, e := range top {
		if !slices.Contains(places, e.Name()) {
			places = append(places, e.Name())
		}
	}
	var files []string
	for i := 0; i < len(places); i++ {
		place := places[i]
		entries, err := os.ReadDir(filepath.Join(dir, filepath.FromSlash(place)))
		if i >= len(needed) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
			err = nil
		}
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			name := path.Join(place, e.Name())
			if !e.IsDir() {
				files = append(files, name)
			} else if place == path.Clean(config) && !slices.Contains(places, name) {
				places = append(places, name)
			}
		}
	}
	return files, nil
}

// shards picks the files with rows in a directory. split is what numbered files in a directory of that name hold.
func shards(files []string, dir, split string) []shard {
	var found []shard
	for _, f := range files {
		if path.Dir(f) != dir || !slices.Contains(extensions, path.Ext(f)) {
			continue
		}
		s := shard{path: f}
		if name := stem(f); split != "" && path.Base(dir) == split && shardNumber.MatchString(name) {
			s.split = split
			s.number, _ = strconv.Atoi(name) // at most nine digits
		} else if m := shardName.FindStringSubmatch(name); m != nil {
			s.split = m[1]
			s.number, _ = strconv.Atoi(m[2]) // at most nine digits, or none
			s.of, _ = strconv.Atoi(m[3])
		} else {
			continue
		}
		found = append(found, s)
	}
	return found
}

func stem(file string) string { return strings.TrimSuffix(path.Base(file), path.Ext(file)) }
