package hub

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gsmeval/gsmeval/internal/files"
)

// repo is a repository's place in the cache.
type repo struct {
	cache string
	dir   string
	locks string
}

func (c *Client) repo(ref Ref) repo {
	return repo{
		cache: c.Cache,
		dir:   filepath.Join(c.Cache, ref.folder()),
		locks: filepath.Join(c.Cache, ".locks", ref.folder()),
	}
}

func (r repo) blob(hash string) string       { return filepath.Join(r.dir, "blobs", hash) }
func (r repo) snapshot(commit string) string { return filepath.Join(r.dir, "snapshots", commit) }

func (r repo) file(commit, name string) string {
	return filepath.Join(r.snapshot(commit), filepath.FromSlash(name))
}

// maxRef bounds a file that holds a commit or a token.
const maxRef = 64 << 10

// commit is the commit that a revision was when it was last downloaded, "" where it never was.
func (r repo) commit(revision string) (string, error) {
	if commitHash.MatchString(revision) {
		return revision, nil
	}
	path := filepath.Join(r.dir, "refs", filepath.FromSlash(revision))
	data, err := files.Read(path, maxRef)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("reading the hub's cache: %w", err)
	}
	commit := strings.TrimSpace(string(data))
	if !commitHash.MatchString(commit) {
		return "", fmt.Errorf("%s holds %q instead of a commit; remove it", path, printable(commit))
	}
	return commit, nil
}

// writeRef notes which commit a revision is.
func (r repo) writeRef(revision, commit string) error {
	if revision == commit {
		return nil
	}
	if known, err := r.commit(revision); err == nil && known == commit {
		return nil // a cache that may not be written needs no writing then
	}
	path := filepath.Join(r.dir, "refs", filepath.FromSlash(revision))
	if err := files.Replace(path, func(w io.Writer) error {
		_, err := io.WriteString(w, commit)
		return err
	}); err != nil {
		return fmt.Errorf("writing to the hub's cache: %w", err)
	}
	return nil
}

// files lists a snapshot's files by their slash-separated names.
func (r repo) files(commit string) ([]string, error) {
	root := r.snapshot(commit)
	var names []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
			return nil //nolint:nilerr // a link to a blob that was removed: the file is not there
		}
		rel, err := filepath.Rel(root, path)
		names = append(names, filepath.ToSlash(rel))
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the hub's cache: %w", err)
	}
	slices.Sort(names)
	return names, nil
}

// hasFile reports whether a snapshot has a file whole: a file of another size than the hub's is not it.
func (r repo) hasFile(commit string, f remoteFile) bool {
	info, err := os.Stat(r.file(commit, f.Name))
	return err == nil && info.Mode().IsRegular() && (f.Size < 0 || info.Size() == f.Size)
}

// link gives a blob its name in a snapshot: a relative link, so that the cache may be moved.
func (r repo) link(commit, name, hash string) error {
	path := r.file(commit, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("writing to the hub's cache: %w", err)
	}
	target, err := filepath.Rel(filepath.Dir(path), r.blob(hash))
	if err != nil {
		return fmt.Errorf("writing to the hub's cache: %w", err)
	}
	part := fmt.Sprintf("%s.%d.tmp", path, os.Getpid())
	_ = os.Remove(part) // of a process of this number that was killed; what is in the way otherwise shows below
	if err := os.Symlink(target, part); err != nil {
		// A file system without links: as in the Python library, the file itself moves to its name.
		if err := os.Rename(r.blob(hash), path); err != nil {
			return fmt.Errorf("writing to the hub's cache: %w", err)
		}
		return nil
	}
	if err := os.Rename(part, path); err != nil {
		return errors.Join(fmt.Errorf("writing to the hub's cache: %w", err), os.Remove(part))
	}
	return nil
}
