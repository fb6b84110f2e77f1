// Package hubtest is a Hugging Face hub for tests: two servers on this machine, the hub and the store of its large
// files on another port, that answer as the real ones do. Tests break it on purpose through its hooks.
package hubtest

import (
	"crypto/sha1" //nolint:gosec // git's hash
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// Repo is a repository. Kind is model or dataset.
type Repo struct {
	Kind, ID  string
	Revisions map[string]string            // branch or tag to commit
	Commits   map[string]map[string][]byte // commit to file name to contents
	Private   bool                         // needs the token even to be seen
	Gated     bool                         // can be seen by all, read with the token
}

// Commit is a made-up commit hash.
func Commit(seed string) string {
	sum := sha1.Sum([]byte(seed)) //nolint:gosec // git's hash
	return hex.EncodeToString(sum[:])
}

// Request is what a server was asked.
type Request struct {
	Method, Path, Range string
	Authorized          bool // it came with a token
}

// Hub is the two servers.
type Hub struct {
	URL, StoreURL string
	Token         string // that opens private and gated repositories
	Close         func() // ends the hub before the test ends

	// Before is called before the hub answers, BeforeStore before the store does; true means that they have answered.
	Before, BeforeStore func(w http.ResponseWriter, r *http.Request) bool

	mu            sync.Mutex
	repos         []*Repo
	blobs         map[string][]byte // sha256 to contents
	asked, stored []Request
}

// LargeFile is the size from which files are kept in the store, as git LFS does.
const LargeFile = 1000

// New starts a hub that ends with the test.
func New(t testing.TB, repos ...*Repo) *Hub {
	t.Helper()
	h := &Hub{Token: "hf_right", repos: repos, blobs: map[string][]byte{}}
	hub := httptest.NewServer(http.HandlerFunc(h.serve))
	store := httptest.NewServer(http.HandlerFunc(h.serveStore))
	t.Cleanup(hub.Close)
	t.Cleanup(store.Close)
	h.URL, h.StoreURL, h.Close = hub.URL, store.URL, hub.Close
	for _, r := range repos {
		for _, files := range r.Commits {
			for _, data := range files {
				h.blobs[SHA256(data)] = data
			}
		}
	}
	return h
}

// SHA256 names a large file, GitHash a small one.
func SHA256(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// GitHash is the hash by which git names a file's contents.
func GitHash(data []byte) string {
	sum := sha1.Sum(append(fmt.Appendf(nil, "blob %d\x00", len(data)), data...)) //nolint:gosec // git's hash
	return hex.EncodeToString(sum[:])
}

// Hash is a file's hash on the hub.
func Hash(data []byte) string {
	if len(data) >= LargeFile {
		return SHA256(data)
	}
	return GitHash(data)
}

// Asked lists the requests to the hub, Stored those to the store.
func (h *Hub) Asked() []Request {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.asked)
}

// Stored lists the requests to the store.
func (h *Hub) Stored() []Request {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.stored)
}

// Forget empties the lists of requests.
func (h *Hub) Forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked, h.stored = nil, nil
}

func request(r *http.Request) Request {
	return Request{r.Method, r.URL.Path, r.Header.Get("Range"), r.Header.Get("Authorization") != ""}
}

// serve answers for the hub.
func (h *Hub) serve(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	h.asked = append(h.asked, request(r))
	before := h.Before
	h.mu.Unlock()
	if before != nil && before(w, r) {
		return
	}
	kind, id, verb, revision, file := route(r.URL.EscapedPath())
	repo := h.find(kind, id)
	if auth := r.Header.Get("Authorization"); auth != "" && auth != "Bearer "+h.Token {
		Refuse(w, http.StatusUnauthorized, "", "Invalid credentials in Authorization header")
		return
	}
	authorized := r.Header.Get("Authorization") != ""
	switch {
	case (repo == nil || repo.Private) && !authorized: // the hub does not tell which of the two
		Refuse(w, http.StatusUnauthorized, "RepoNotFound", "Repository not found")
		return
	case repo == nil:
		Refuse(w, http.StatusNotFound, "RepoNotFound", "Repository not found")
		return
	}
	commit := revision
	if c, ok := repo.Revisions[revision]; ok {
		commit = c
	}
	files, ok := repo.Commits[commit]
	if !ok {
		Refuse(w, http.StatusNotFound, "RevisionNotFound", "Invalid rev id: "+revision)
		return
	}
	switch verb {
	case "revision":
		h.info(w, r, repo, commit, files)
	case "tree":
		h.tree(w, files)
	case "resolve", "cached":
		h.resolve(w, r, repo, commit, file, verb == "cached", authorized)
	default:
		http.NotFound(w, r)
	}
}

// route takes a path apart: /api/models/ID[/VERB/REVISION], /[datasets/]ID/resolve/REVISION/FILE, or the address of a
// small file, /api/resolve-cache/models/ID/COMMIT/FILE.
func route(path string) (kind, id, verb, revision, file string) {
	path = strings.TrimPrefix(path, "/")
	path, cached := strings.CutPrefix(path, "api/resolve-cache/")
	path = strings.TrimPrefix(path, "api/")
	kind = "model"
	if rest, ok := strings.CutPrefix(path, "datasets/"); ok {
		kind, path = "dataset", rest
	}
	parts := strings.SplitN(strings.TrimPrefix(path, "models/"), "/", 3)
	if len(parts) < 2 {
		return kind, path, "", "", ""
	}
	id, verb, revision = parts[0]+"/"+parts[1], "revision", "main"
	if len(parts) < 3 {
		return kind, id, verb, revision, ""
	}
	rest := parts[2]
	if cached {
		verb = "cached"
	} else {
		verb, rest, _ = strings.Cut(rest, "/")
	}
	revision, file, _ = strings.Cut(rest, "/")
	return kind, id, verb, unescape(revision), unescape(file)
}

func unescape(s string) string {
	if u, err := url.PathUnescape(s); err == nil {
		return u
	}
	return s
}

func (h *Hub) find(kind, id string) *Repo {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range h.repos {
		if r.Kind == kind && r.ID == id {
			return r
		}
	}
	return nil
}

// Refuse answers as the hub does when it refuses.
func Refuse(w http.ResponseWriter, status int, code, message string) {
	if code != "" {
		w.Header().Set("X-Error-Code", code)
	}
	w.Header().Set("X-Error-Message", message)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `{"error": %q}`, message)
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	_ = json.NewEncoder(w).Encode(v)
}

func names(files map[string][]byte) []string {
	var all []string
	for name := range files {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

func (h *Hub) info(w http.ResponseWriter, r *http.Request, repo *Repo, commit string, files map[string][]byte) {
	siblings := []map[string]any{}
	for _, name := range names(files) {
		s := map[string]any{"rfilename": name}
		if data := files[name]; r.URL.Query().Get("blobs") == "true" {
			s["size"], s["blobId"] = len(data), GitHash(data)
			if len(data) >= LargeFile {
				s["blobId"] = GitHash(pointer(data))
				s["lfs"] = map[string]any{"sha256": SHA256(data), "size": len(data), "pointerSize": len(pointer(data))}
			}
		}
		siblings = append(siblings, s)
	}
	writeJSON(w, map[string]any{
		"id": repo.ID, "modelId": repo.ID, "author": strings.Split(repo.ID, "/")[0], "sha": commit,
		"private": repo.Private, "gated": repo.Gated,
		"disabled": false, "downloads": 0, "likes": 0, "tags": []string{}, "siblings": siblings,
	})
}

// pointer is what git has in place of a large file.
func pointer(data []byte) []byte {
	return fmt.Appendf(nil, "version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize %d\n", SHA256(data),
		len(data))
}

func (h *Hub) tree(w http.ResponseWriter, files map[string][]byte) {
	list := []map[string]any{}
	for _, name := range names(files) {
		data := files[name]
		f := map[string]any{"type": "file", "path": name, "size": len(data), "oid": GitHash(data)}
		if len(data) >= LargeFile {
			f["oid"] = GitHash(pointer(data))
			f["lfs"] = map[string]any{"oid": SHA256(data), "size": len(data), "pointerSize": len(pointer(data))}
		}
		list = append(list, f)
	}
	writeJSON(w, list)
}

// resolve serves a file: a small one by way of a redirect on the hub itself, a large one from the store.
func (h *Hub) resolve(w http.ResponseWriter, r *http.Request, repo *Repo, commit, name string, cached,
	authorized bool,
) {
	if repo.Gated && !authorized {
		Refuse(w, http.StatusUnauthorized, "GatedRepo",
			"Access to "+repo.Kind+" "+repo.ID+" is restricted. You must be authenticated to access it.")
		return
	}
	w.Header().Set("X-Repo-Commit", commit)
	data, ok := repo.Commits[commit][name]
	switch {
	case !ok:
		Refuse(w, http.StatusNotFound, "EntryNotFound", "Entry not found")
	case len(data) >= LargeFile:
		w.Header().Set("X-Linked-Etag", strconv.Quote(SHA256(data)))
		w.Header().Set("X-Linked-Size", strconv.Itoa(len(data)))
		w.Header().Set("Location", h.StoreURL+"/"+SHA256(data)+"?X-Amz-Signature=secret")
		w.WriteHeader(http.StatusFound)
	case !cached:
		w.Header().Set("Etag", strconv.Quote(GitHash(data)))
		w.Header().Set("Location",
			"/api/resolve-cache/"+repo.Kind+"s/"+repo.ID+"/"+commit+"/"+(&url.URL{Path: name}).EscapedPath())
		w.WriteHeader(http.StatusTemporaryRedirect)
	default:
		w.Header().Set("Etag", strconv.Quote(GitHash(data)))
		ServeBytes(w, r, data)
	}
}

// ServeBytes serves contents as a store does: whole, or the range that is asked for.
func ServeBytes(w http.ResponseWriter, r *http.Request, data []byte) {
	from := 0
	w.Header().Set("Accept-Ranges", "bytes")
	w.Header().Set("Content-Type", "application/octet-stream")
	if spec, ok := strings.CutPrefix(r.Header.Get("Range"), "bytes="); ok {
		var err error
		if from, err = strconv.Atoi(strings.TrimSuffix(spec, "-")); err != nil || from >= len(data) {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes */%d", len(data)))
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
			return
		}
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(data)-1, len(data)))
		w.Header().Set("Content-Length", strconv.Itoa(len(data)-from))
		w.WriteHeader(http.StatusPartialContent)
	} else {
		w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	}
	if r.Method != http.MethodHead {
		_, _ = w.Write(data[from:])
	}
}

// serveStore answers for the store. A token that reaches it is an error of the client.
func (h *Hub) serveStore(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	h.stored = append(h.stored, request(r))
	before := h.BeforeStore
	data, ok := h.blobs[strings.TrimPrefix(r.URL.Path, "/")]
	h.mu.Unlock()
	switch {
	case before != nil && before(w, r):
	case r.Header.Get("Authorization") != "":
		http.Error(w, "only one auth mechanism allowed", http.StatusBadRequest) // as S3 answers
	case !ok || r.URL.Query().Get("X-Amz-Signature") != "secret":
		http.Error(w, "AccessDenied", http.StatusForbidden)
	default:
		ServeBytes(w, r, data)
	}
}
