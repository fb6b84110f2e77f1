package hub

import (
	"fmt"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"unicode"
)

// Kind is what a repository holds.
type Kind string

// The kinds of repositories.
const (
	Model   Kind = "model"
	Dataset Kind = "dataset"
)

// urlPrefix is what stands before the id in a repository's address.
func (k Kind) urlPrefix() string {
	if k == Dataset {
		return "datasets/"
	}
	return ""
}

func (k Kind) String() string {
	if k == Dataset {
		return "data set"
	}
	return string(k)
}

// Ref names a repository at a revision.
type Ref struct {
	Kind     Kind
	ID       string // org/name
	Revision string // branch, tag or commit
}

// String is org/name@revision.
func (r Ref) String() string { return r.ID + "@" + r.Revision }

// DefaultRevision is taken where none is named.
const DefaultRevision = "main"

var idPart = regexp.MustCompile(`^[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?$`)

// IsID reports whether a name has the form org/name.
func IsID(name string) bool {
	org, repo, ok := strings.Cut(name, "/")
	return ok && len(name) <= 96 && idPart.MatchString(org) && idPart.MatchString(repo) &&
		!strings.Contains(name, "--") && !strings.Contains(name, "..") && !strings.HasSuffix(name, ".git")
}

// ParseRef reads org/name or org/name@revision. ok tells whether it has that form.
func ParseRef(kind Kind, name string) (ref Ref, ok bool) {
	id, revision, named := strings.Cut(name, "@")
	if !named {
		revision = DefaultRevision
	}
	return Ref{Kind: kind, ID: id, Revision: revision}, IsID(id)
}

// check refuses what could not be a revision or would not be a path of its own below refs/.
func (r Ref) check() error {
	if !IsID(r.ID) {
		return fmt.Errorf("%q is not the id of a %s on the hub; expected org/name", r.ID, r.Kind)
	}
	if !plainPath(r.Revision) {
		return fmt.Errorf("%q is not a revision of %s; expected a branch, a tag or a commit", r.Revision, r.ID)
	}
	return nil
}

// plainPath accepts a slash-separated path that stays below where it is put, in one spelling only.
func plainPath(p string) bool {
	if p == "" || p == "." || len(p) > 1024 || path.Clean(p) != p || !filepath.IsLocal(p) ||
		strings.ContainsAny(p, `\:`) {
		return false
	}
	for _, part := range strings.Split(p, "/") {
		if len(part) > 255 {
			return false
		}
	}
	return !strings.ContainsFunc(p, unicode.IsControl)
}

var (
	commitHash = regexp.MustCompile(`^[0-9a-f]{40}$`)
	blobHash   = regexp.MustCompile(`^(?:[0-9a-f]{40}|[0-9a-f]{64})$`)
)

// folder is the repository's directory in the cache.
func (r Ref) folder() string {
	return string(r.Kind) + "s--" + strings.ReplaceAll(r.ID, "/", "--")
}
