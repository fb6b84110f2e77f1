package report

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/gsmeval/gsmeval/datasets"
	"github.com/gsmeval/gsmeval/results"
)

// Server shows the report of a run, as it stands whenever it is asked for, to this machine alone.
type Server struct {
	dir      string
	find     Find
	listener net.Listener

	mu      sync.Mutex
	data    *datasets.Set // once it was found
	version string        // of what page is of
	page    []byte
	ready   time.Time // no other page is made before: a large one takes a while
}

// Listen opens a port of 127.0.0.1, any free one for 0, for the report of a run directory. The run may be in progress.
func Listen(ctx context.Context, dir string, port int, find Find) (*Server, error) {
	var begun *results.BegunError
	if _, err := results.ReadRun(dir); err != nil && !errors.As(err, &begun) {
		return nil, err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp4", "127.0.0.1:"+strconv.Itoa(port))
	if err != nil {
		return nil, fmt.Errorf("opening the port: %w", err)
	}
	return &Server{dir: dir, find: find, listener: l}, nil
}

// URL is where the report is.
func (s *Server) URL() string { return "http://" + s.listener.Addr().String() + "/" }

// Serve answers until the context ends, which is no error.
func (s *Server) Serve(ctx context.Context) error {
	h := &http.Server{
		Handler: s, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second,
		IdleTimeout: 2 * time.Minute,
	}
	ended := make(chan error, 1)
	go func() { ended <- h.Serve(s.listener) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serving the report: %w", err)
	case <-ctx.Done():
	}
	// The context is over; who is being answered gets a moment more.
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if err := h.Shutdown(last); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("ending the server: %w", err)
	}
	return nil
}

// ServeHTTP answers with the page and with its version.
func (s *Server) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	head := w.Header()
	head.Set("X-Content-Type-Options", "nosniff")
	head.Set("Referrer-Policy", "no-referrer")
	head.Set("Cross-Origin-Resource-Policy", "same-origin")
	head.Set("Cache-Control", "no-store")
	switch {
	case !s.local(q.Host):
		// A name of someone else's that points here would let that someone's page read the run.
		http.Error(w, "this server answers to 127.0.0.1 and localhost only", http.StatusForbidden)
	case q.Method != http.MethodGet && q.Method != http.MethodHead:
		head.Set("Allow", "GET, HEAD")
		http.Error(w, "only GET and HEAD", http.StatusMethodNotAllowed)
	case q.URL.Path == "/version":
		head.Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte(s.current())) // who has gone away wants no answer
	case q.URL.Path == "/":
		page, err := s.render(q.Context())
		var begun *results.BegunError
		if errors.As(err, &begun) {
			head.Set("Refresh", "3") // until there is a run to show
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		head.Set("Content-Type", "text/html; charset=utf-8")
		head.Set("Content-Security-Policy", policy(true)+"; frame-ancestors 'none'")
		_, _ = w.Write(page) // as above
	default:
		http.NotFound(w, q)
	}
}

// local tells whether a request was meant for this server.
func (s *Server) local(host string) bool {
	_, port, err := net.SplitHostPort(s.listener.Addr().String())
	return err == nil && (host == "127.0.0.1:"+port || host == "localhost:"+port)
}

// current names the state of the run that a page made now would show; for a while after a page was made, it is that
// page's.
func (s *Server) current() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state()
}

func (s *Server) state() string {
	if s.page != nil && time.Now().Before(s.ready) {
		return s.version
	}
	v := ""
	for _, name := range []string{results.RunFile, results.JournalFile} {
		if info, err := os.Stat(filepath.Join(s.dir, name)); err == nil {
			v += fmt.Sprintf("%d %d ", info.Size(), info.ModTime().UnixNano())
		}
	}
	return v
}

// render returns the page of the run as it is.
func (s *Server) render(ctx context.Context) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	version := s.state()
	if s.page != nil && version == s.version {
		return s.page, nil
	}
	begin := time.Now()
	r, err := Load(ctx, s.dir, func(ctx context.Context, from Source) (_ *datasets.Set, err error) {
		if s.data == nil { // a run's data stays what it is
			s.data, err = s.find(ctx, from)
		}
		return s.data, err
	})
	if err != nil {
		return nil, err
	}
	p, err := New([]*Run{r}, Options{})
	if err != nil {
		return nil, err
	}
	p.live = true
	page, err := p.HTML()
	if err != nil {
		return nil, err
	}
	// Making pages takes a fifth of a core at most: the run needs it more.
	s.page, s.version, s.ready = page, version, time.Now().Add(max(2*time.Second, 4*time.Since(begin)))
	return page, nil
}
