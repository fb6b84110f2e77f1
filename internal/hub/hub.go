// Package hub fetches models and data sets from the Hugging Face hub, or a server that speaks its protocol, into the
// cache that the Python library huggingface_hub uses: what either of them has downloaded, the other one finds.
//
//	HUB_CACHE/models--org--name/refs/main                  the commit that main was when last seen
//	HUB_CACHE/models--org--name/blobs/HASH                 contents, by sha256 (large files) or git hash (small ones)
//	HUB_CACHE/models--org--name/snapshots/COMMIT/config.json -> ../../blobs/HASH
//	HUB_CACHE/.locks/models--org--name/HASH.lock
//
// Every file is checked against its hash before it gets its name. Nothing that a server says becomes part of a path
// before it is checked, and the token goes to the endpoint alone.
package hub

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gsmeval/gsmeval/internal/files"
)

const defaultEndpoint = "https://huggingface.co"

// Settings say which hub is asked, as whom, and where its files are kept.
type Settings struct {
	Endpoint string // without a slash at the end
	Cache    string // directory
	Token    string // "" for none
	Offline  bool   // ask nobody, use what the cache has
	Quiet    bool   // no progress
}

// FromEnv reads the settings from the variables that huggingface_hub reads: HF_ENDPOINT, HF_HOME, HF_HUB_CACHE,
// HF_TOKEN, HF_TOKEN_PATH, HF_HUB_OFFLINE and their older names. getenv is os.Getenv.
func FromEnv(getenv func(string) string) (Settings, error) {
	first := func(names ...string) string {
		for _, name := range names {
			if v := getenv(name); v != "" {
				return v
			}
		}
		return ""
	}
	s := Settings{
		Endpoint: strings.TrimRight(first("HF_ENDPOINT"), "/"),
		Offline:  isTrue(first("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")),
		Quiet:    isTrue(getenv("HF_HUB_DISABLE_PROGRESS_BARS")),
	}
	if s.Endpoint == "" {
		s.Endpoint = defaultEndpoint
	}
	if u, err := url.Parse(s.Endpoint); err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return s, fmt.Errorf("HF_ENDPOINT is %q, expected a URL such as %s", s.Endpoint, defaultEndpoint)
	}
	expand := func(path string) (string, error) {
		path = os.Expand(path, getenv)
		if rest, ok := strings.CutPrefix(path, "~"); ok && (rest == "" || rest[0] == '/') {
			home := getenv("HOME")
			if home == "" {
				return "", errors.New("HOME is not set; set HF_HOME to where the hub's files are to be kept")
			}
			path = home + rest
		}
		return filepath.Abs(path)
	}
	home := first("HF_HOME")
	if home == "" {
		home = filepath.Join(cmp.Or(first("XDG_CACHE_HOME"), "~/.cache"), "huggingface")
	}
	cache := cmp.Or(first("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"), filepath.Join(home, "hub"))
	var err error
	if s.Cache, err = expand(cache); err != nil {
		return s, err
	}
	if isTrue(getenv("HF_HUB_DISABLE_IMPLICIT_TOKEN")) {
		return s, nil
	}
	where := "HF_TOKEN"
	if s.Token = strings.TrimSpace(first("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")); s.Token == "" {
		if where, err = expand(cmp.Or(first("HF_TOKEN_PATH"), filepath.Join(home, "token"))); err != nil {
			return s, err
		}
		data, err := files.Read(where, maxRef)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return s, fmt.Errorf("reading the hub's token: %w", err)
		}
		s.Token = string(bytes.TrimSpace(data))
	}
	if strings.ContainsFunc(s.Token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return s, fmt.Errorf("%s holds characters that no token has; expected one word that begins with hf_", where)
	}
	return s, nil
}

func isTrue(v string) bool {
	switch strings.ToUpper(v) {
	case "1", "ON", "YES", "TRUE":
		return true
	}
	return false
}

// Client talks to one hub.
type Client struct {
	Settings
	output  Output
	http    *http.Client
	reached bool // the hub has answered before: what fails now may pass

	// Patience; tests shorten it.
	sleep    func(time.Duration) <-chan time.Time
	stall    time.Duration // a connection that brings nothing for so long is cut
	lockPoll time.Duration
}

// Output is where a client says what it does.
type Output struct {
	Logf     func(format string, args ...any) // messages; progress, too, where it is plain
	Bar      io.Writer                        // a progress bar
	Progress string                           // auto (a bar on a terminal, else plain), bar, plain or none
}

// New returns a client.
func New(s Settings, o Output) *Client {
	transport := http.DefaultTransport.(*http.Transport).Clone() // it is one
	transport.DialContext = (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext
	transport.ResponseHeaderTimeout = 30 * time.Second
	if s.Quiet {
		o.Progress = "none"
	}
	return &Client{
		Settings: s, output: o, sleep: time.After, stall: 60 * time.Second, lockPoll: 200 * time.Millisecond,
		http: &http.Client{
			Transport: transport,
			// Redirects are followed by hand: the library keeps the token on a redirect to another port or subdomain.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

func (c *Client) logf(format string, args ...any) { c.output.Logf("hub: "+format, args...) }
