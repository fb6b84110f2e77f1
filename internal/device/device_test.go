package device

import (
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	t.Parallel()
	good := []struct {
		text  string
		index int
		auto  bool
	}{
		{"auto", CPU, true},
		{"cpu", CPU, false},
		{"cuda", 0, false},
		{"cuda:0", 0, false},
		{"cuda:7", 7, false},
		{"cuda:255", 255, false},
	}
	for _, c := range good {
		index, auto, err := Parse(c.text)
		if err != nil || index != c.index || auto != c.auto {
			t.Errorf("Parse(%q) = %d, %v, %v; want %d, %v", c.text, index, auto, err, c.index, c.auto)
		}
		if !auto && c.text != "cuda" && Name(index) != c.text {
			t.Errorf("Name(%d) = %q, want %q", index, Name(index), c.text)
		}
	}
	for _, text := range []string{
		"", "gpu", "CPU", "Cuda", "cuda:", "cuda:x", "cuda:-1", "cuda:+1", "cuda:01",
		"cuda: 1", "cuda:256", "cuda:1:2", "cpu:0", "0", strings.Repeat("x", 1000),
	} {
		if _, _, err := Parse(text); err == nil || !strings.Contains(err.Error(), "auto, cpu, cuda or cuda:N") ||
			len(err.Error()) > 120 {
			t.Errorf("Parse(%.20q): %v, want a short error that names what is allowed", text, err)
		}
	}
}
