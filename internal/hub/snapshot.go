package hub

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/gsmeval/gsmeval/internal/files"
)

// Snapshot is what was asked for of a repository, on this machine.
type Snapshot struct {
	Dir    string // with the files under their names
	Commit string
}

// Selection picks, from the names of a repository's files, those that are needed, small ones first. read gives the
// contents of a file, for a choice that depends on them.
type Selection func(names []string, read func(name string) ([]byte, error)) ([]string, error)

// Snapshot brings the selected files of a repository into the cache and returns their directory. The hub is asked which
// commit the revision is and which files it has; where it cannot be asked, what is cached will do.
func (c *Client) Snapshot(ctx context.Context, ref Ref, sel Selection) (Snapshot, error) {
	if err := ref.check(); err != nil {
		return Snapshot{}, err
	}
	if c.Offline {
		s, err := c.cached(ref, sel)
		if err != nil {
			err = fmt.Errorf("HF_HUB_OFFLINE is set: %w; unset it once, or copy the cache from a machine that has it",
				err)
		}
		return s, err
	}
	found, err := c.list(ctx, ref)
	if err != nil {
		return c.fallback(ctx, ref, sel, err)
	}
	dir, err := c.downloadAll(ctx, ref, found, sel)
	if err != nil {
		return Snapshot{}, err
	}
	if err := c.repo(ref).writeRef(ref.Revision, found.Commit); err != nil {
		c.logf("%v (the files are there all the same)", err)
	}
	return Snapshot{Dir: dir, Commit: found.Commit}, nil
}

// fallback uses the cache when the hub gives no answer. That a revision does not exist is an answer.
func (c *Client) fallback(ctx context.Context, ref Ref, sel Selection, cause error) (Snapshot, error) {
	if ctx.Err() != nil || errors.Is(cause, ErrNoRevision) {
		return Snapshot{}, cause
	}
	s, err := c.cached(ref, sel)
	if err != nil {
		return Snapshot{}, cause
	}
	c.logf("%v; using the cached copy of %s, commit %s", cause, ref, s.Commit)
	return s, nil
}

// cached is a snapshot that the cache has whole.
func (c *Client) cached(ref Ref, sel Selection) (Snapshot, error) {
	r := c.repo(ref)
	commit, err := r.commit(ref.Revision)
	if err != nil {
		return Snapshot{}, err
	}
	var names []string
	if commit != "" {
		if names, err = r.files(commit); err != nil {
			return Snapshot{}, err
		}
	}
	if len(names) == 0 {
		return Snapshot{}, fmt.Errorf("%s %s is %w %s%s", ref.Kind, ref, ErrNotCached, c.Cache, r.cachedCommits())
	}
	wanted, err := sel(names, func(name string) ([]byte, error) { return r.read(commit, name) })
	if err != nil {
		return Snapshot{}, fmt.Errorf("%s %s is %w as a whole (%s): %w",
			ref.Kind, ref, ErrNotCached, r.snapshot(commit), err)
	}
	for _, name := range wanted {
		if !slices.Contains(names, name) {
			return Snapshot{}, fmt.Errorf("%s %s is %w as a whole: %s lacks %s",
				ref.Kind, ref, ErrNotCached, r.snapshot(commit), name)
		}
	}
	return Snapshot{Dir: r.snapshot(commit), Commit: commit}, nil
}

// cachedCommits lists the commits that are there instead of the one asked for.
func (r repo) cachedCommits() string {
	entries, err := os.ReadDir(r.snapshot(""))
	if err != nil || len(entries) == 0 {
		return ""
	}
	var commits []string
	for _, e := range entries {
		commits = append(commits, e.Name())
	}
	return ", which has the commits " + strings.Join(commits, ", ") + " of it"
}

// maxRead bounds a file that a selection reads.
const maxRead = 64 << 20

func (r repo) read(commit, name string) ([]byte, error) {
	data, err := files.Read(r.file(commit, name), maxRead)
	if err != nil {
		return nil, fmt.Errorf("reading the hub's cache: %w", err)
	}
	return data, nil
}

// downloadAll downloads what a selection needs and the cache lacks.
func (c *Client) downloadAll(ctx context.Context, ref Ref, l *listing, sel Selection) (string, error) {
	r := c.repo(ref)
	p := newProgress(Output{}, "", 0)
	one := func(name string) error {
		f, ok := l.Files[name]
		switch {
		case !ok:
			return fmt.Errorf("%s has %w as %s", ref, ErrNoFile, name)
		case !plainPath(name):
			return fmt.Errorf("%s lists a file %q, whose name leads out of its folder; it is not downloaded",
				ref, printable(name))
		}
		return c.fetch(ctx, ref, l.Commit, f, p)
	}
	wanted, err := sel(l.Names, func(name string) ([]byte, error) {
		if f, ok := l.Files[name]; ok && f.Size > maxRead {
			return nil, fmt.Errorf("%s: %s has more than %d MB", ref, name, maxRead>>20)
		}
		if err := one(name); err != nil {
			return nil, err
		}
		return r.read(l.Commit, name)
	})
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", ref.Kind, ref, err)
	}
	var total int64
	missing := 0
	for _, name := range wanted {
		f := l.Files[name]
		total += max(f.Size, 0)
		if !r.hasFile(l.Commit, f) {
			missing++
		}
	}
	if missing > 0 {
		c.logf("downloading %d files of %s (commit %s) to %s", missing, ref, l.Commit[:12], c.Cache)
		p = newProgress(c.output, ref.ID, total)
		defer p.finish()
	}
	for _, name := range wanted {
		if err := one(name); err != nil {
			return "", err
		}
	}
	return r.snapshot(l.Commit), nil
}
