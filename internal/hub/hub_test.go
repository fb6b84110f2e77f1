package hub

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gsmeval/gsmeval/internal/hub/hubtest"
)

// large is a file of the store: a few blocks of a copy's buffer, no two of them alike.
var large = func() []byte {
	b := make([]byte, 3<<20)
	for i := range b {
		b[i] = byte(i>>16*31 + i>>8*7 + i)
	}
	return b
}()

var (
	first  = hubtest.Commit("first")
	second = hubtest.Commit("second")
)

// modelFiles are those of a model, with some that must not be fetched.
func modelFiles() map[string][]byte {
	return map[string][]byte{
		"README.md": []byte("# tiny"), "config.json": []byte(`{"model_type": "qwen2"}`),
		"generation_config.json": []byte(`{}`), "tokenizer.json": bytes.Repeat([]byte("t"), 2000),
		"tokenizer_config.json": []byte(`{"chat_template": ""}`), "model.safetensors": large,
		"pytorch_model.bin": []byte("pickle"), "onnx/model.onnx": []byte("o"),
	}
}

func modelRepo() *hubtest.Repo {
	return &hubtest.Repo{
		Kind: "model", ID: "org/tiny", Revisions: map[string]string{"main": first, "refs/pr/1": second, "v1": first},
		Commits: map[string]map[string][]byte{first: modelFiles(), second: modelFiles()},
	}
}

// newClient is a client with a cache of its own that does not wait.
func newClient(t *testing.T, h *hubtest.Hub) (*Client, *bytes.Buffer) {
	t.Helper()
	return clientOf(h, t.TempDir())
}

func clientOf(h *hubtest.Hub, cache string) (*Client, *bytes.Buffer) {
	var out bytes.Buffer
	c := New(Settings{Endpoint: h.URL, Cache: cache}, Output{
		Progress: "plain",
		Logf:     func(format string, args ...any) { fmt.Fprintf(&out, format+"\n", args...) },
	})
	c.sleep = func(time.Duration) <-chan time.Time { return time.After(0) }
	c.lockPoll = time.Millisecond
	return c, &out
}

func model() Ref { return Ref{Kind: Model, ID: "org/tiny", Revision: "main"} }

// checkError checks that an error is one line, is what it should be, and says some words.
func checkError(t *testing.T, err, want error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want %v", words)
	}
	if want != nil && !errors.Is(err, want) {
		t.Errorf("error %q is no %q", err, want)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q does not say %q", err, w)
		}
	}
	if strings.ContainsAny(err.Error(), "\n\r\x1b\u202e") {
		t.Errorf("error %q is more than a line", err)
	}
	for _, secret := range []string{"hf_right", "hf_wrong", "hf_a", "Signature"} {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("error %q gives away a secret", err)
		}
	}
}

// tree is what a directory holds: contents of files, targets of links.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	if err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if d.Type()&fs.ModeSymlink != 0 {
			target, err := os.Readlink(path)
			found[rel] = "-> " + target
			return err
		}
		data, err := os.ReadFile(path)
		found[rel] = string(data)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return found
}

// The cache has the layout of the Python library, file by file.
func TestLayout(t *testing.T) {
	t.Parallel()
	h := hubtest.New(t, modelRepo())
	c, out := newClient(t, h)
	s, err := c.Snapshot(t.Context(), model(), ModelFiles)
	if err != nil {
		t.Fatal(err)
	}
	if s.Commit != first || s.Dir != filepath.Join(c.Cache, "models--org--tiny", "snapshots", first) {
		t.Errorf("snapshot %+v", s)
	}
	want := map[string]string{"models--org--tiny/refs/main": first}
	files := modelFiles()
	for _, name := range []string{
		"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
		"model.safetensors",
	} {
		hash := hubtest.Hash(files[name])
		want["models--org--tiny/blobs/"+hash] = string(files[name])
		want["models--org--tiny/snapshots/"+first+"/"+name] = "-> ../../blobs/" + hash
		want[".locks/models--org--tiny/"+hash+".lock"] = ""
	}
	if diff := cmp.Diff(want, tree(t, c.Cache)); diff != "" {
		t.Errorf("cache (-want +got):\n%s", diff)
	}
	if !strings.Contains(out.String(), "downloading 5 files of org/tiny@main") ||
		!strings.Contains(out.String(), "3.1 MB") {
		t.Errorf("messages:\n%s", out)
	}

	// A second time only the commit is asked for, and the cache need not even be writable.
	h.Forget()
	if err := os.Chmod(filepath.Join(c.Cache, "models--org--tiny"), 0o555); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Snapshot(t.Context(), model(), ModelFiles); err != nil {
		t.Fatal(err)
	}
	if got := h.Asked(); len(got) != 1 || len(h.Stored()) > 0 {
		t.Errorf("the second time the hub is asked %v, the store %v", got, h.Stored())
	}
	// Another revision with the same files fetches none of them.
	h.Forget()
	if err := os.Chmod(filepath.Join(c.Cache, "models--org--tiny"), 0o755); err != nil {
		t.Fatal(err)
	}
	ref := model()
	ref.Revision = "refs/pr/1"
	if s, err := c.Snapshot(t.Context(), ref, ModelFiles); err != nil || s.Commit != second {
		t.Errorf("snapshot %+v, error %v", s, err)
	}
	for _, r := range h.Asked() {
		if r.Method == http.MethodGet && strings.Contains(r.Path, "resolve") {
			t.Errorf("%v is fetched again", r)
		}
	}
	if got := tree(t, c.Cache)["models--org--tiny/refs/refs/pr/1"]; got != second {
		t.Errorf("refs/pr/1 is remembered as %q", got)
	}
}

// Offline, what was downloaded is found, and what was not is named.
func TestOffline(t *testing.T) {
	t.Parallel()
	h := hubtest.New(t, modelRepo())
	c, _ := newClient(t, h)
	if _, err := c.Snapshot(t.Context(), model(), ModelFiles); err != nil {
		t.Fatal(err)
	}
	h.Forget()
	c.Offline = true
	for _, revision := range []string{"main", first} {
		ref := model()
		ref.Revision = revision
		if s, err := c.Snapshot(t.Context(), ref, ModelFiles); err != nil || s.Commit != first {
			t.Errorf("%s: %+v, error %v", revision, s, err)
		}
	}
	ref := model()
	ref.Revision = "v1"
	_, err := c.Snapshot(t.Context(), ref, ModelFiles)
	checkError(t, err, ErrNotCached, "HF_HUB_OFFLINE", "org/tiny@v1", c.Cache, first)
	ref.ID = "org/other"
	_, err = c.Snapshot(t.Context(), ref, ModelFiles)
	checkError(t, err, ErrNotCached, "HF_HUB_OFFLINE", "org/other")
	if err := os.Remove(filepath.Join(c.repo(model()).snapshot(first), "tokenizer.json")); err != nil {
		t.Fatal(err)
	}
	_, err = c.Snapshot(t.Context(), model(), ModelFiles)
	checkError(t, err, ErrNotCached, "tokenizer.json")
	if err := os.WriteFile(filepath.Join(c.repo(model()).dir, "refs", "main"), []byte("../../x"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = c.Snapshot(t.Context(), model(), ModelFiles)
	checkError(t, err, nil, "refs/main", "../../x")
	if len(h.Asked())+len(h.Stored()) > 0 {
		t.Errorf("the hub is asked while offline: %v %v", h.Asked(), h.Stored())
	}
}

// A hub that gives no answer leaves the cache; one that never gave any, an error.
func TestFallback(t *testing.T) {
	t.Parallel()
	h := hubtest.New(t, modelRepo())
	c, out := newClient(t, h)
	if _, err := c.Snapshot(t.Context(), model(), ModelFiles); err != nil {
		t.Fatal(err)
	}
	down := func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	}
	h.Before = down
	if s, err := c.Snapshot(t.Context(), model(), ModelFiles); err != nil || s.Commit != first {
		t.Errorf("%+v, error %v", s, err)
	}
	if !strings.Contains(out.String(), "using the cached copy of org/tiny@main, commit "+first) {
		t.Errorf("messages:\n%s", out)
	}
	other, _ := newClient(t, h)
	_, err := other.Snapshot(t.Context(), model(), ModelFiles)
	checkError(t, err, nil, "503 Service Unavailable", "tried 5 times")

	gone := httpClosed(t)
	for _, cache := range []string{c.Cache, t.TempDir()} {
		c := New(Settings{Endpoint: gone, Cache: cache}, Output{Progress: "none", Logf: t.Logf})
		c.sleep = func(time.Duration) <-chan time.Time {
			t.Error("a hub that cannot be reached is waited for")
			return time.After(0)
		}
		s, err := c.Snapshot(t.Context(), model(), ModelFiles)
		if cache == other.Cache || s.Commit == first {
			continue
		}
		checkError(t, err, ErrUnreachable, "127.0.0.1", "connection refused", "HF_ENDPOINT")
	}
}

// httpClosed is the address of a server that is gone.
func httpClosed(t *testing.T) string {
	t.Helper()
	h := hubtest.New(t)
	h.Close()
	return h.URL
}

// Each refusal is one line that says what to do.
func TestRefusals(t *testing.T) {
	t.Parallel()
	repos := func() []*hubtest.Repo {
		private, gated := modelRepo(), modelRepo()
		private.ID, private.Private = "org/private", true
		gated.ID, gated.Gated = "org/gated", true
		return []*hubtest.Repo{modelRepo(), private, gated}
	}
	for _, tc := range []struct {
		name, id, revision, token string
		before                    func(w http.ResponseWriter, r *http.Request) bool
		want                      error
		words                     []string
	}{
		{
			name: "no such model", id: "org/none", want: ErrNotFound,
			words: []string{"model org/none", "check the name", "set HF_TOKEN", "/settings/tokens"},
		},
		{
			name: "no such model, with a token", id: "org/none", token: "hf_right", want: ErrNotFound,
			words: []string{"org/none", "the token in use has no access"},
		},
		{
			name: "private", id: "org/private", want: ErrNotFound,
			words: []string{"org/private", "if it is private, set HF_TOKEN"},
		},
		{
			name: "a wrong token", id: "org/tiny", token: "hf_wrong", want: ErrUnauthorised,
			words: []string{"does not know the token", "/settings/tokens"},
		},
		{name: "gated", id: "org/gated", want: ErrGated, words: []string{
			"accept its terms at http://127.0.0.1",
			"/org/gated", "HF_TOKEN",
		}},
		{
			name: "no such revision", id: "org/tiny", revision: "v9", want: ErrNoRevision,
			words: []string{`"v9"`, "/org/tiny/commits"},
		},
		{
			name: "no such commit", id: "org/tiny", revision: hubtest.Commit("x"), want: ErrNoRevision,
			words: []string{hubtest.Commit("x")},
		},
		{
			name: "a revision that is a path", id: "org/tiny", revision: "../../x",
			words: []string{"../../x", "expected a branch, a tag or a commit"},
		},
		{name: "an id that is a path", id: "../x", words: []string{"../x", "expected org/name"}},
		{name: "rate limited for long", id: "org/tiny", before: refuse(http.StatusTooManyRequests, "", "Too many",
			"Retry-After", "3600"), want: ErrRateLimited, words: []string{"wait 1h0m0s", "HF_TOKEN"}},
		{name: "rate limited all the time", id: "org/tiny", before: refuse(http.StatusTooManyRequests, "", "",
			"Ratelimit", `"api";r=0;t=7`), want: ErrRateLimited, words: []string{"wait 7s", "tried 5 times"}},
		{
			name: "forbidden", id: "org/tiny", before: refuse(http.StatusForbidden, "", "no scope \u202e for you"),
			want: ErrUnauthorised, words: []string{"403: no scope", "for you)"},
		},
		{name: "disabled", id: "org/tiny", before: refuse(http.StatusForbidden, "",
			"Access to this resource is disabled."), want: ErrUnauthorised, words: []string{"disabled"}},
		{name: "no hub", id: "org/tiny", before: func(w http.ResponseWriter, _ *http.Request) bool {
			_, _ = w.Write([]byte("<html>Please log in to the WLAN</html>"))
			return true
		}, words: []string{"does not answer as a hub does", "HF_ENDPOINT"}},
		{name: "a commit that is a path", id: "org/tiny", before: func(w http.ResponseWriter, _ *http.Request) bool {
			_, _ = w.Write([]byte(`{"sha": "../../../../../../../../../../etc/cron.d", "siblings": []}`))
			return true
		}, words: []string{"does not answer as a hub does", "its commit is"}},
		{name: "redirects in a circle", id: "org/tiny", before: func(w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, r.URL.String(), http.StatusFound)
			return true
		}, words: []string{"redirects more than 10 times"}},
		{name: "redirects to a file", id: "org/tiny", before: func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Location", "file:///etc/passwd")
			w.WriteHeader(http.StatusFound)
			return true
		}, words: []string{`to "file", which is refused`}},
		{
			name: "teapot", id: "org/tiny", before: refuse(http.StatusTeapot, "", "short and stout"),
			words: []string{"418", "short and stout"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			h := hubtest.New(t, repos()...)
			h.Before = tc.before
			c, _ := newClient(t, h)
			c.Token = tc.token
			ref := Ref{Kind: Model, ID: tc.id, Revision: "main"}
			if tc.revision != "" {
				ref.Revision = tc.revision
			}
			_, err := c.Snapshot(t.Context(), ref, ModelFiles)
			checkError(t, err, tc.want, tc.words...)
		})
	}
	h := hubtest.New(t, repos()...)
	for _, id := range []string{"org/private", "org/gated"} {
		c, _ := newClient(t, h)
		c.Token = "hf_right"
		if _, err := c.Snapshot(t.Context(), Ref{Kind: Model, ID: id, Revision: "main"}, ModelFiles); err != nil {
			t.Errorf("%s with a token: %v", id, err)
		}
	}
	for _, r := range h.Stored() {
		if r.Authorized {
			t.Errorf("the token went to the store with %v", r)
		}
	}
	if n := len(h.Stored()); n != 4 { // two models of two large files each
		t.Errorf("%d requests to the store, want 4", n)
	}
	for _, r := range h.Asked() {
		if !r.Authorized {
			t.Errorf("the token did not come with %v", r)
		}
	}
}

func refuse(status int, code, message string, header ...string) func(w http.ResponseWriter, r *http.Request) bool {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		if len(header) > 0 {
			w.Header().Set(header[0], header[1])
		}
		hubtest.Refuse(w, status, code, message)
		return true
	}
}

// A redirect that leaves the hub does not take the token along, neither to another port nor to another name of the
// host.
func TestTokenStaysHome(t *testing.T) {
	t.Parallel()
	thief := hubtest.New(t, modelRepo())
	thief.Token = "hf_right"
	for _, to := range []string{thief.URL, strings.Replace(thief.URL, "127.0.0.1", "localhost", 1)} {
		h := hubtest.New(t)
		h.Before = func(w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, to+r.URL.RequestURI(), http.StatusTemporaryRedirect)
			return true
		}
		c, _ := newClient(t, h)
		c.Token = "hf_right"
		_, _ = c.Snapshot(t.Context(), model(), ModelFiles) // whether the other server answers does not matter
		if len(h.Asked()) == 0 || !h.Asked()[0].Authorized {
			t.Errorf("the hub itself was asked %v", h.Asked())
		}
	}
	if len(thief.Asked()) == 0 {
		t.Error("the redirects were not followed")
	}
	for _, r := range thief.Asked() {
		if r.Authorized {
			t.Errorf("the token came along with %v", r)
		}
	}
}

// What passes is tried again; a file that was cut goes on where it was cut.
func TestRetries(t *testing.T) {
	t.Parallel()
	fault := func(times int, f func(w http.ResponseWriter, r *http.Request)) func(http.ResponseWriter,
		*http.Request) bool {
		var mu sync.Mutex
		return func(w http.ResponseWriter, r *http.Request) bool {
			mu.Lock()
			defer mu.Unlock()
			if times--; times < 0 {
				return false
			}
			f(w, r)
			return true
		}
	}
	reset := func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	status := func(code int) func(w http.ResponseWriter, r *http.Request) {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	// cut serves a part of what is asked for, then breaks the connection.
	cut := func(w http.ResponseWriter, r *http.Request) {
		if strings.TrimPrefix(r.URL.Path, "/") != hubtest.SHA256(large) {
			hubtest.ServeBytes(w, r, bytes.Repeat([]byte("t"), 2000))
			return
		}
		hubtest.ServeBytes(&cutter{ResponseWriter: w, left: 1_200_000}, r, large)
		panic(http.ErrAbortHandler)
	}
	for _, tc := range []struct {
		name          string
		before, store func(http.ResponseWriter, *http.Request) bool
		ranges        bool // the file is fetched in parts
		words         string
	}{
		{name: "server errors", before: fault(4, status(http.StatusBadGateway)), words: "502 Bad Gateway"},
		{name: "timeouts", before: fault(3, status(http.StatusRequestTimeout)), words: "408"},
		{name: "rate limit", before: fault(2, func(w http.ResponseWriter, r *http.Request) {
			refuse(http.StatusTooManyRequests, "", "", "Retry-After", "17")(w, r)
		}), words: "trying again in 17s"},
		{name: "resets", before: fault(2, reset), words: "trying again in 2s"},
		{name: "errors of the store", store: fault(4, status(http.StatusInternalServerError)), words: "500"},
		{name: "resets by the store", store: fault(2, reset), words: "trying again"},
		{name: "cut in the middle", store: fault(3, cut), ranges: true, words: "trying again"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			h := hubtest.New(t, modelRepo())
			h.Before, h.BeforeStore = tc.before, tc.store
			c, out := newClient(t, h)
			s, err := c.Snapshot(t.Context(), model(), ModelFiles)
			if err != nil {
				t.Fatal(err)
			}
			if data, err := os.ReadFile(filepath.Join(s.Dir, "model.safetensors")); err != nil ||
				!bytes.Equal(data, large) {
				t.Errorf("the file has %d bytes, error %v", len(data), err)
			}
			if !strings.Contains(out.String(), tc.words) {
				t.Errorf("messages do not say %q:\n%s", tc.words, out)
			}
			parts := 0
			for _, r := range h.Stored() {
				if r.Range != "" {
					parts++
				}
			}
			if (parts > 0) != tc.ranges {
				t.Errorf("%d requests for parts: %v", parts, h.Stored())
			}
		})
	}

	h := hubtest.New(t, modelRepo())
	c, _ := newClient(t, h)
	h.BeforeStore = fault(1_000_000, reset)
	_, err := c.Snapshot(t.Context(), model(), ModelFiles)
	checkError(t, err, ErrUnreachable, "tried 5 times")
	// A connection that stands still is cut.
	h = hubtest.New(t, modelRepo())
	c, _ = newClient(t, h)
	h.BeforeStore = fault(1, func(w http.ResponseWriter, r *http.Request) {
		hubtest.ServeBytes(&cutter{ResponseWriter: w, left: 1000}, r, large)
		<-r.Context().Done()
	})
	c.stall = time.Second
	if _, err := c.Snapshot(t.Context(), model(), ModelFiles); err != nil {
		t.Errorf("a stalled connection: %v", err)
	}
}

// cutter lets a number of bytes pass.
type cutter struct {
	http.ResponseWriter
	left int
}

func (c *cutter) Write(b []byte) (int, error) {
	n := min(len(b), c.left)
	c.left -= n
	if n == 0 {
		return 0, errors.New("cut")
	}
	n, err := c.ResponseWriter.Write(b[:n])
	if f, ok := c.ResponseWriter.(http.Flusher); ok {
		f.Flush()
	}
	return n, err
}

// An interrupted download is taken up by the next process, and what is left over from another file is not trusted.
func TestResume(t *testing.T) {
	t.Parallel()
	wrong := slices.Clone(large[:1<<20])
	wrong[12345]++
	for _, tc := range []struct {
		name   string
		left   []byte
		store  func(w http.ResponseWriter, r *http.Request) bool
		ranges []string // of the requests for the file
		words  string
	}{
		{name: "nothing", ranges: []string{""}},
		{name: "a part", left: large[:1<<20], ranges: []string{"bytes=1048576-"}, words: "going on at 1 MB of 3.1 MB"},
		{name: "the whole", left: large, ranges: nil},
		{name: "a damaged part", left: wrong, ranges: []string{"bytes=1048576-", ""}, words: "is damaged"},
		{
			name: "a damaged whole", left: append(slices.Clone(wrong), large[1<<20:]...), ranges: []string{""},
			words: "is damaged",
		},
		{name: "too much", left: append(slices.Clone(large), 1), ranges: []string{""}},
		{
			name: "a store that knows no parts", left: large[:1<<20],
			store: func(_ http.ResponseWriter, r *http.Request) bool {
				r.Header.Del("Range")
				return false
			}, ranges: []string{"bytes=1048576-"},
		},
		{
			name: "a store that sends another part", left: large[:1<<20],
			store: func(_ http.ResponseWriter, r *http.Request) bool {
				if r.Header.Get("Range") == "" {
					return false
				}
				r.Header.Set("Range", "bytes=7-")
				return false
			}, ranges: []string{"bytes=1048576-", ""}, words: "was asked for bytes 1048576-3145727/3145728",
		},
		{
			name: "a store that refuses parts", left: large[:1<<20],
			store: func(w http.ResponseWriter, r *http.Request) bool {
				if r.Header.Get("Range") == "" {
					return false
				}
				w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
				return true
			}, ranges: []string{"bytes=1048576-", ""}, words: "has no such part",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			h := hubtest.New(t, modelRepo())
			h.BeforeStore = tc.store
			c, out := newClient(t, h)
			part := c.repo(model()).blob(hubtest.SHA256(large)) + ".incomplete"
			if tc.left != nil {
				if err := os.MkdirAll(filepath.Dir(part), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(part, tc.left, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			s, err := c.Snapshot(t.Context(), model(), ModelFiles)
			if err != nil {
				t.Fatal(err)
			}
			if data, err := os.ReadFile(filepath.Join(s.Dir, "model.safetensors")); err != nil ||
				!bytes.Equal(data, large) {
				t.Errorf("the file has %d bytes, error %v", len(data), err)
			}
			var ranges []string
			for _, r := range h.Stored() {
				if r.Path == "/"+hubtest.SHA256(large) {
					ranges = append(ranges, r.Range)
				}
			}
			if diff := cmp.Diff(tc.ranges, ranges); diff != "" {
				t.Errorf("requests (-want +got):\n%s", diff)
			}
			if !strings.Contains(out.String(), tc.words) {
				t.Errorf("messages do not say %q:\n%s", tc.words, out)
			}
			if _, err := os.Stat(part); err == nil {
				t.Error("the incomplete file is still there")
			}
		})
	}
}

// An interruption keeps what has come.
func TestInterrupt(t *testing.T) {
	t.Parallel()
	h := hubtest.New(t, modelRepo())
	ctx, cancel := context.WithCancel(t.Context())
	c, _ := newClient(t, h)
	part := c.repo(model()).blob(hubtest.SHA256(large)) + ".incomplete"
	h.BeforeStore = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/"+hubtest.SHA256(large) {
			return false
		}
		hubtest.ServeBytes(&cutter{ResponseWriter: w, left: 2_000_000}, r, large)
		for come := int64(0); come < 2_000_000 && t.Context().Err() == nil; time.Sleep(time.Millisecond) {
			if info, err := os.Stat(part); err == nil {
				come = info.Size()
			}
		}
		cancel()
		<-r.Context().Done()
		return true
	}
	if _, err := c.Snapshot(ctx, model(), ModelFiles); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	info, err := os.Stat(part)
	if err != nil || info.Size() != 2_000_000 {
		t.Errorf("what had come: %v, error %v", info, err)
	}
	if _, err := os.Stat(filepath.Join(c.repo(model()).dir, "refs", "main")); err == nil {
		t.Error("the revision is remembered though its files are not there")
	}
}

// A server that sends something else than it announced gives no file.
func TestDamage(t *testing.T) {
	t.Parallel()
	store := func(data []byte) func(w http.ResponseWriter, r *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path != "/"+hubtest.SHA256(large) {
				return false
			}
			hubtest.ServeBytes(w, r, data)
			return true
		}
	}
	headers := func(kv ...string) func(w http.ResponseWriter, r *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodHead || !strings.HasSuffix(r.URL.Path, "model.safetensors") {
				return false
			}
			for i := 0; i < len(kv); i += 2 {
				w.Header().Set(kv[i], kv[i+1])
			}
			w.WriteHeader(http.StatusOK)
			return true
		}
	}
	wrong := slices.Clone(large)
	wrong[len(wrong)-1]++
	listing := func(json string) func(w http.ResponseWriter, r *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasPrefix(r.URL.Path, "/api/models/") {
				return false
			}
			_, _ = fmt.Fprintf(w, `{"sha": %q, "siblings": [%s]}`, first, json)
			return true
		}
	}
	for _, tc := range []struct {
		name          string
		before, store func(w http.ResponseWriter, r *http.Request) bool
		want          error
		words         []string
	}{
		{
			name: "wrong contents", store: store(wrong), want: ErrDamaged,
			words: []string{"model.safetensors", hubtest.SHA256(wrong), hubtest.SHA256(large), "thrown away"},
		},
		{name: "too short", store: store(large[:1000]), words: []string{"ended at 0 MB of 3.1 MB", "tried 5 times"}},
		{
			name: "too long", store: store(append(slices.Clone(large), 1)), want: ErrDamaged,
			words: []string{"longer than the 3145728 bytes"},
		},
		{name: "another commit", before: headers("X-Repo-Commit", second), words: []string{second, first}},
		{name: "no commit", before: headers("Etag", `"x"`), words: []string{"HF_ENDPOINT is no hub"}},
		{name: "another hash than listed", before: headers("X-Repo-Commit", first, "X-Linked-Etag",
			`"`+hubtest.SHA256(wrong)+`"`), want: ErrDamaged, words: []string{hubtest.SHA256(wrong)}},
		{
			name: "another size than listed", before: headers("X-Repo-Commit", first, "X-Linked-Size", "7"),
			want: ErrDamaged, words: []string{"lists 3145728 bytes and serves 7"},
		},
		{
			name:   "more than the disk holds",
			before: listing(`{"rfilename": "config.json"}, {"rfilename": "tokenizer.json"}, {"rfilename": "model.safetensors", "size": 9000000000000000000}`), words: []string{"9000000000000000000"},
		},
		{name: "no hash at all", before: func(w http.ResponseWriter, r *http.Request) bool {
			if strings.HasSuffix(r.URL.Path, "model.safetensors") {
				return headers("X-Repo-Commit", first, "Etag", `"../../../x"`)(w, r)
			}
			return listing(`{"rfilename": "config.json"}, {"rfilename": "tokenizer.json"}, {"rfilename": "model.safetensors"}`)(w, r)
		}, words: []string{"no hash"}},
		{
			name:   "a name that leads out",
			before: listing(`{"rfilename": "config.json"}, {"rfilename": "tokenizer.json"}, {"rfilename": "../../model.safetensors"}, {"rfilename": "model.safetensors/../../../x"}`), words: []string{"neither model.safetensors"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			h := hubtest.New(t, modelRepo())
			h.Before, h.BeforeStore = tc.before, tc.store
			c, _ := newClient(t, h)
			_, err := c.Snapshot(t.Context(), model(), ModelFiles)
			checkError(t, err, tc.want, tc.words...)
			for name := range tree(t, c.Cache) {
				if strings.HasSuffix(name, "model.safetensors") ||
					strings.HasSuffix(name, "blobs/"+hubtest.SHA256(large)) {
					t.Errorf("%s is in the cache", name)
				}
			}
		})
	}

	// A selection that follows such a name is stopped as well.
	for _, name := range []string{
		"../x", "/etc/passwd", "a/../../x", "a//b", "", ".", `a\..\b`, "a\x00b", "C:x",
		strings.Repeat("a", 300),
	} {
		files := map[string][]byte{name: []byte("x")}
		repo := &hubtest.Repo{
			Kind: "model", ID: "org/evil", Revisions: map[string]string{"main": first},
			Commits: map[string]map[string][]byte{first: files},
		}
		h := hubtest.New(t, repo)
		c, _ := newClient(t, h)
		ref := model()
		ref.ID = "org/evil"
		_, err := c.Snapshot(t.Context(), ref, func(names []string, _ func(string) ([]byte, error)) ([]string,
			error,
		) {
			return names, nil
		})
		checkError(t, err, nil, "leads out of its folder")
		if found := tree(t, c.Cache); len(found) > 0 {
			t.Errorf("%q: the cache holds %v", name, found)
		}
	}
}

// Files that lie in the cache in another size than the hub's are fetched again.
func TestDamagedCache(t *testing.T) {
	t.Parallel()
	h := hubtest.New(t, modelRepo())
	c, out := newClient(t, h)
	s, err := c.Snapshot(t.Context(), model(), ModelFiles)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(c.repo(model()).blob(hubtest.SHA256(large)), 1000); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(c.repo(model()).blob(hubtest.Hash(modelFiles()["config.json"]))); err != nil { // its link leads nowhere now
		t.Fatal(err)
	}
	if _, err := c.Snapshot(t.Context(), model(), ModelFiles); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"model.safetensors", "config.json"} {
		if data, err := os.ReadFile(filepath.Join(s.Dir, name)); err != nil || !bytes.Equal(data, modelFiles()[name]) {
			t.Errorf("%s has %d bytes, error %v", name, len(data), err)
		}
	}
	if !strings.Contains(out.String(), "model.safetensors has 1000 bytes in the cache and 3145728 on the hub") {
		t.Errorf("messages:\n%s", out)
	}
}

// Of several processes one downloads, the others wait and say so.
func TestLock(t *testing.T) {
	t.Parallel()
	h := hubtest.New(t, modelRepo())
	cache := t.TempDir()
	hold := make(chan struct{})
	h.BeforeStore = func(_ http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/"+hubtest.SHA256(large) {
			<-hold
		}
		return false
	}
	var wg sync.WaitGroup
	outs := make([]*bytes.Buffer, 4)
	errs := make([]error, 4)
	for i := range outs {
		var c *Client
		c, outs[i] = clientOf(h, cache)
		wg.Go(func() { _, errs[i] = c.Snapshot(t.Context(), model(), ModelFiles) })
	}
	time.Sleep(300 * time.Millisecond) // long enough that all wait for the one that downloads
	close(hold)
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	fetched, waited := 0, 0
	for _, r := range h.Stored() {
		if r.Path == "/"+hubtest.SHA256(large) {
			fetched++
		}
	}
	for _, out := range outs {
		if strings.Contains(out.String(), "another process is downloading model.safetensors; waiting for it") {
			waited++
		}
	}
	if fetched != 1 || waited != 3 {
		t.Errorf("fetched %d times, %d waited, want 1 and 3", fetched, waited)
	}
	if got := tree(t, filepath.Join(cache, "models--org--tiny", "blobs")); len(got) != 5 {
		t.Errorf("%d blobs, want 5", len(got))
	}

	// A wait can be interrupted.
	c, _ := clientOf(h, t.TempDir())
	release, alone, err := c.lock(t.Context(), c.repo(model()), "x", "x")
	if err != nil || !alone {
		t.Fatalf("alone %v, error %v", alone, err)
	}
	defer release()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, _, err := c.lock(ctx, c.repo(model()), "x", "x"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
}

func TestModelFiles(t *testing.T) {
	t.Parallel()
	base := []string{
		".gitattributes", "config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja",
		"README.md",
	}
	index := `{"metadata": {"total_size": 1}, "weight_map": {"a": "model-00002-of-00002.safetensors", "b": "model-00001-of-00002.safetensors", "c": "model-00002-of-00002.safetensors"}}`
	shards := []string{
		"model.safetensors.index.json", "model-00001-of-00002.safetensors",
		"model-00002-of-00002.safetensors",
	}
	with := func(more ...string) []string { return append(slices.Clone(base), more...) }
	for _, tc := range []struct {
		name  string
		files []string
		index string
		want  []string
		words string
	}{
		{
			name: "one file", files: with("model.safetensors", "pytorch_model.bin", "original/x.pth"),
			want: []string{
				"tokenizer_config.json", "chat_template.jinja", "config.json", "tokenizer.json",
				"model.safetensors",
			},
		},
		{
			name: "shards", files: with(append(shards, "consolidated.safetensors")...), index: index,
			want: append([]string{"tokenizer_config.json", "chat_template.jinja", "config.json", "tokenizer.json"},
				shards...),
		},
		{name: "no config", files: []string{"tokenizer.json", "model.safetensors"}, words: "no config.json"},
		{name: "an adapter", files: []string{"adapter_config.json", "adapter_model.safetensors"}, words: "merge it"},
		{
			name: "a slow tokenizer", files: []string{"config.json", "tokenizer.model", "model.safetensors"},
			words: "only tokenizer.model",
		},
		{
			name: "pickles", files: with("pytorch_model-00001-of-00002.bin"),
			words: "no safetensors, only pytorch_model-00001-of-00002.bin, whose format runs code",
		},
		{name: "pth", files: with("consolidated.00.pth"), words: "only consolidated.00.pth"},
		{name: "gguf", files: with("model-q4.gguf"), words: "only model-q4.gguf; download that file"},
		{name: "nothing", files: base, words: "neither model.safetensors nor"},
		{
			name: "a shard is missing", files: with(shards[:2]...), index: index,
			words: "model-00002-of-00002.safetensors, which is not there",
		},
		{
			name: "a shard elsewhere", files: with(shards...), index: `{"weight_map": {"a": "../x.safetensors"}}`,
			words: "no safetensors file beside it",
		},
		{
			name: "a shard of another kind", files: with(shards...), index: `{"weight_map": {"a": "x.bin"}}`,
			words: "no safetensors file beside it",
		},
		{name: "an empty index", files: with(shards...), index: `{}`, words: "no weight_map"},
		{name: "no JSON", files: with(shards...), index: `x`, words: "no weight_map"},
	} {
		got, err := ModelFiles(tc.files, func(name string) ([]byte, error) {
			if name != weightsIndex {
				t.Errorf("%s: %s is read", tc.name, name)
			}
			return []byte(tc.index), nil
		})
		if tc.words != "" {
			checkError(t, err, nil, tc.words)
			continue
		}
		if diff := cmp.Diff(tc.want, got); diff != "" || err != nil {
			t.Errorf("%s: error %v, files (-want +got):\n%s", tc.name, err, diff)
		}
	}
}

func TestSharded(t *testing.T) {
	t.Parallel()
	files := modelFiles()
	delete(files, "model.safetensors")
	files["a.safetensors"], files["b.safetensors"] = large[:100_000], large[100_000:]
	files[weightsIndex] = []byte(`{"weight_map": {"x": "a.safetensors", "y": "b.safetensors"}}`)
	h := hubtest.New(t, &hubtest.Repo{
		Kind: "model", ID: "org/tiny", Revisions: map[string]string{"main": first},
		Commits: map[string]map[string][]byte{first: files},
	})
	c, _ := newClient(t, h)
	for _, offline := range []bool{false, true} {
		c.Offline = offline
		s, err := c.Snapshot(t.Context(), model(), ModelFiles)
		if err != nil {
			t.Fatal(err)
		}
		names, err := c.repo(model()).files(s.Commit)
		if diff := cmp.Diff([]string{
			"a.safetensors", "b.safetensors", "config.json", "generation_config.json",
			weightsIndex, "tokenizer.json", "tokenizer_config.json",
		}, names); diff != "" || err != nil {
			t.Errorf("error %v, files (-want +got):\n%s", err, diff)
		}
	}
	if err := os.Remove(filepath.Join(c.repo(model()).snapshot(first), "b.safetensors")); err != nil {
		t.Fatal(err)
	}
	_, err := c.Snapshot(t.Context(), model(), ModelFiles)
	checkError(t, err, ErrNotCached, "b.safetensors, which is not there")
}

func TestRefs(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]Ref{
		"Qwen/Qwen2.5-1.5B-Instruct":         {Model, "Qwen/Qwen2.5-1.5B-Instruct", "main"},
		"openai/gsm8k@refs/convert/parquet":  {Model, "openai/gsm8k", "refs/convert/parquet"},
		"deepseek-ai/DeepSeek-R1_x@" + first: {Model, "deepseek-ai/DeepSeek-R1_x", first},
	} {
		if ref, ok := ParseRef(Model, name); !ok || ref != want || ref.check() != nil {
			t.Errorf("%s is %+v, %v", name, ref, ok)
		}
	}
	for _, name := range []string{
		"", "gpt2", "a/b/c", "/a/b", "./a", "a/", "../b", "a/..", "a/b.git", "a--b/c",
		"a/b..c", "~/b", "a/*.parquet", "a /b", "a/b-", "-a/b", ".a/b", strings.Repeat("a", 60) + "/" +
			strings.Repeat("b", 60),
	} {
		if ref, ok := ParseRef(Model, name); ok {
			t.Errorf("%q is taken for %+v", name, ref)
		}
	}
}

func TestFromEnv(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(home, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	file(".cache/huggingface/token", "hf_file\n")
	other := file("other-token", "hf_other")
	in := func(parts ...string) string { return filepath.Join(append([]string{home}, parts...)...) }
	for _, tc := range []struct {
		env   map[string]string
		want  Settings
		words string
	}{
		{env: nil, want: Settings{
			Endpoint: "https://huggingface.co", Cache: in(".cache/huggingface/hub"),
			Token: "hf_file",
		}},
		{
			env:  map[string]string{"XDG_CACHE_HOME": in("xdg")},
			want: Settings{Endpoint: "https://huggingface.co", Cache: in("xdg/huggingface/hub")},
		},
		{
			env:  map[string]string{"HF_HOME": "~/h", "HF_TOKEN": " hf_env\n"},
			want: Settings{Endpoint: "https://huggingface.co", Cache: in("h/hub"), Token: "hf_env"},
		},
		{
			env:  map[string]string{"HF_HUB_CACHE": "$HOME/c", "HF_HOME": "/x", "HF_TOKEN_PATH": other},
			want: Settings{Endpoint: "https://huggingface.co", Cache: in("c"), Token: "hf_other"},
		},
		{
			env:  map[string]string{"HUGGINGFACE_HUB_CACHE": "/old", "HUGGING_FACE_HUB_TOKEN": "hf_old"},
			want: Settings{Endpoint: "https://huggingface.co", Cache: "/old", Token: "hf_old"},
		},
		{
			env: map[string]string{
				"HF_ENDPOINT": "https://mirror.example/hf/", "HF_HUB_OFFLINE": "yes",
				"HF_HUB_DISABLE_IMPLICIT_TOKEN": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1",
			},
			want: Settings{
				Endpoint: "https://mirror.example/hf", Cache: in(".cache/huggingface/hub"), Offline: true,
				Quiet: true,
			},
		},
		{
			env: map[string]string{"TRANSFORMERS_OFFLINE": "1", "HF_HUB_OFFLINE": ""},
			want: Settings{
				Endpoint: "https://huggingface.co", Cache: in(".cache/huggingface/hub"), Token: "hf_file",
				Offline: true,
			},
		},
		{env: map[string]string{"HF_HUB_OFFLINE": "0"}, want: Settings{
			Endpoint: "https://huggingface.co",
			Cache:    in(".cache/huggingface/hub"), Token: "hf_file",
		}},
		{env: map[string]string{"HF_ENDPOINT": "mirror.example"}, words: `HF_ENDPOINT is "mirror.example"`},
		{env: map[string]string{"HF_TOKEN": "hf_a\r\nX-Evil: 1"}, words: "HF_TOKEN holds characters"},
		{env: map[string]string{"HOME": ""}, words: "HOME is not set"},
	} {
		got, err := FromEnv(func(name string) string {
			if v, ok := tc.env[name]; ok {
				return v
			}
			return map[string]string{"HOME": home}[name]
		})
		if tc.words != "" {
			checkError(t, err, nil, tc.words)
			continue
		}
		if diff := cmp.Diff(tc.want, got); diff != "" || err != nil {
			t.Errorf("%v: error %v, settings (-want +got):\n%s", tc.env, err, diff)
		}
	}
}
