package main

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestView starts the real program on a run, asks it for the page, and ends it as Ctrl-C does.
func TestView(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "run")
	root := moduleRoot(t)
	if code, _, stderr := invoke(t, "run", filepath.Join(root, "configs", "first_light.yaml"), "--set",
		"model.path="+filepath.Join(root, "models", "gsm-tiny"),
		"--set", "dataset.path="+filepath.Join(root, "data", "gsm-synth"), "--set", "dataset.limit=2", "--set",
		"generation.max_new_tokens=8",
		"--set", "output="+dir, "--set", "threads=1", "--set", "progress=none", "--no-report"); code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	if _, err := os.Stat(filepath.Join(dir, "report.html")); err == nil {
		t.Error("--no-report wrote a report")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Args = []string{"gsmeval", "view", dir} // see TestMain: under this name the test program is the command
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "http://127.0.0.1:") {
		t.Fatalf("the first line is %q: %v; %s", line, err, stderr.String())
	}
	q, err := http.NewRequestWithContext(t.Context(), http.MethodGet, strings.TrimSpace(line), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // it is read
	if page, err := io.ReadAll(resp.Body); err != nil || !bytes.Contains(page, []byte("gsmeval report")) {
		t.Errorf("the page: %v, %.200q", err, page)
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil || stderr.Len() > 0 {
		t.Errorf("after an interrupt: %v, %q", err, stderr.String())
	}
}
