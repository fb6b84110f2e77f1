package report

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gsmeval/gsmeval/results"
)

// serve serves a run until the test ends, and checks that it ends without an error.
func serve(t *testing.T, dir string) *Server {
	t.Helper()
	s, err := Listen(t.Context(), dir, 0, finding(nil))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("the server ended with %v", err)
			}
		case <-time.After(10 * time.Second):
			t.Error("the server does not end")
		}
	})
	return s
}

func get(t *testing.T, method, url, host string) (*http.Response, string) {
	t.Helper()
	q, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if host != "" {
		q.Host = host
	}
	resp, err := http.DefaultClient.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // it was read
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

func TestServerAnswersThisMachineOnly(t *testing.T) {
	t.Parallel()
	g, dir := smallGrid(), t.TempDir()
	g.write(t, dir, nil)
	s := serve(t, dir)
	host, port, err := net.SplitHostPort(s.listener.Addr().String())
	if err != nil || host != "127.0.0.1" {
		t.Fatalf("it listens on %s: %v", s.listener.Addr(), err)
	}
	for name, test := range map[string]struct {
		method, path, host string
		want               int
	}{
		"page":             {"GET", "", "", 200},
		"head":             {"HEAD", "", "", 200},
		"localhost":        {"GET", "", "localhost:" + port, 200},
		"version":          {"GET", "version", "", 200},
		"rebound name":     {"GET", "", "evil.example:" + port, 403},
		"rebound, bare":    {"GET", "version", "evil.example", 403},
		"another port":     {"GET", "", "127.0.0.1:1", 403},
		"like localhost":   {"GET", "", "localhost.evil.example:" + port, 403},
		"post":             {"POST", "", "", 405},
		"another file":     {"GET", "run.json", "", 404},
		"out of the place": {"GET", "..%2f..%2fetc%2fpasswd", "", 404},
	} {
		resp, body := get(t, test.method, s.URL()+test.path, test.host)
		if resp.StatusCode != test.want {
			t.Errorf("%s: %d, want %d: %.100s", name, resp.StatusCode, test.want, body)
		}
		if test.want == 403 && strings.Contains(body, "small") {
			t.Errorf("%s: something of the run stands in %q", name, body)
		}
	}
	resp, body := get(t, "GET", s.URL(), "")
	if !strings.Contains(body, `data-live="1"`) ||
		!strings.Contains(resp.Header.Get("Content-Security-Policy"), "connect-src 'self'") ||
		resp.Header.Get("X-Content-Type-Options") != "nosniff" || resp.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("the page is not one that is served: %v", resp.Header)
	}
	if _, err := os.Stat(filepath.Join(dir, HTMLFile)); err == nil {
		t.Error("viewing a run has written to its directory")
	}
}

func TestServerShowsWhatIsNew(t *testing.T) {
	t.Parallel()
	g, dir := smallGrid(), t.TempDir()
	g.write(t, dir, func(r *results.Record) bool { return r.NoiseIndex == 0 })
	s := serve(t, dir)
	_, before := get(t, "GET", s.URL()+"version", "")
	if _, body := get(t, "GET", s.URL(), ""); !strings.Contains(body, "In progress: 72 of 216 samples.") {
		t.Error("the page does not say how far the run is")
	}
	g.write(t, dir, nil)
	// A page lasts for a moment, so that a large run is not read without end.
	deadline := time.Now().Add(20 * time.Second)
	after := before
	for after == before && time.Now().Before(deadline) {
		time.Sleep(50 * time.Millisecond)
		_, after = get(t, "GET", s.URL()+"version", "")
	}
	if _, body := get(t, "GET", s.URL(), ""); after == before || !strings.Contains(body, "Complete.") {
		t.Errorf("version %q, then %q, and a page that is not of the complete run", before, after)
	}
	if err := os.Remove(filepath.Join(dir, results.RunFile)); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	s.ready = time.Time{}
	s.mu.Unlock()
	if resp, body := get(t, "GET", s.URL(), ""); resp.StatusCode != 500 ||
		!strings.Contains(body, "is not a run directory") {
		t.Errorf("without run.json: %d %q", resp.StatusCode, body)
	}
}

func TestListenRefusesWhatIsNoRun(t *testing.T) {
	t.Parallel()
	if _, err := Listen(t.Context(), t.TempDir(), 0, finding(nil)); err == nil ||
		!strings.Contains(err.Error(), "is not a run directory") {
		t.Errorf("an empty directory: %v", err)
	}
}
