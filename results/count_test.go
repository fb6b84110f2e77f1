package results

import (
	"bytes"
	"path/filepath"
	"testing"
)

// TestCountRecords cuts a journal at every byte, as a reader on another machine may find it.
func TestCountRecords(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "samples.jsonl")
	if c, err := CountRecords(path); err != nil || c.Records != 0 {
		t.Errorf("a journal that is not there: %+v, %v", c, err)
	}
	whole := complete(t, path, testGrid(1, 1, 1, 3), 3)
	for cut := range len(whole) + 1 {
		writeFile(t, path, whole[:cut])
		want := bytes.Count(whole[:cut], []byte{'\n'})
		torn := cut > 0 && whole[cut-1] != '\n'
		if c, err := CountRecords(path); err != nil || c.Records != want || c.Torn != torn || c.Written.IsZero() {
			t.Fatalf("cut at byte %d: %+v, %v; want %d records", cut, c, err, want)
		}
	}
	// A page that has not come yet reads as zeros.
	holes := bytes.Clone(whole)
	clear(holes[len(holes)-40 : len(holes)-20])
	writeFile(t, path, holes)
	if c, err := CountRecords(path); err != nil || c.Records != 2 || !c.Torn {
		t.Errorf("with a hole in the last line: %+v, %v", c, err)
	}
}
