package results

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestBegun(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "run")
	b := &Begun{
		Name: "run", Status: RunRunning, Doing: "loading the model", Config: json.RawMessage(`{}`),
		Started: time.Now().UTC(),
	}
	if err := b.Write(dir); err != nil {
		t.Fatal(err)
	}
	read := func() *BegunError {
		t.Helper()
		_, err := ReadRun(dir)
		var begun *BegunError
		if !errors.As(err, &begun) || !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("reading the run: %v", err)
		}
		return begun
	}
	if e := read(); e.Name != "run" || !strings.Contains(e.Error(),
		"has no samples yet: it is loading the model since") {
		t.Errorf("%+v: %v", e, e)
	}
	if p := read().Progress(time.Now()); p.Status != RunRunning || p.Doing != "loading the model" {
		t.Errorf("progress %+v", p)
	}
	// Who was killed meanwhile said nothing.
	path := filepath.Join(dir, BegunFile)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	killed := bytes.Replace(data, fmt.Appendf(nil, `"pid": %d`, os.Getpid()), []byte(`"pid": 4194305`), 1)
	if err := os.WriteFile(path, killed, 0o600); err != nil {
		t.Fatal(err)
	}
	if e := read(); e.Status != RunInterrupted || !strings.Contains(e.Error(), "gsmeval resume "+dir) {
		t.Errorf("killed: %s, %v", e.Status, e)
	}
	b.Status = RunInterrupted
	if err := b.Write(dir); err != nil {
		t.Fatal(err)
	}
	if e := read(); !strings.Contains(e.Error(), "gsmeval resume "+dir) {
		t.Errorf("interrupted: %v", e)
	}
	if err := os.WriteFile(filepath.Join(dir, BegunFile), []byte(`{"schema": 99}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadRun(dir); err == nil || !strings.Contains(err.Error(), BegunFile) ||
		!strings.Contains(err.Error(), "schema is 99") {
		t.Errorf("of another schema: %v", err)
	}
	if err := b.Ended(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an empty directory stays: %v", err)
	}
	if err := b.Ended(dir); err != nil {
		t.Errorf("where nothing is: %v", err)
	}
}
