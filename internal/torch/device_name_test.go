package torch

import "testing"

func TestParseDevice(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]struct {
		d    Device
		auto bool
	}{"": {CPU, true}, "auto": {CPU, true}, "cpu": {CPU, false}, "cuda": {0, false}, "cuda:3": {3, false}} {
		d, auto, err := ParseDevice(text)
		if err != nil || d != want.d || auto != want.auto {
			t.Errorf("ParseDevice(%q) = %v, %v, %v; want %v, %v", text, d, auto, err, want.d, want.auto)
		}
	}
	if _, _, err := ParseDevice("cuda:x"); err == nil || err.Error() != `device: expected auto, cpu, cuda or cuda:N, found "cuda:x"` {
		t.Errorf("ParseDevice(cuda:x): %v", err)
	}
}

func TestDeviceAmong(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		d    Device
		gpus int
		want string
	}{
		{CPU, 0, ""},
		{0, 1, ""},
		{3, 4, ""},
		{0, 0, "device cuda:0: there is no GPU here"},
		{99, 1, "device cuda:99: there is 1 GPU here, cuda:0"},
		{4, 4, "device cuda:4: there are 4 GPUs here, cuda:0 to cuda:3"},
	} {
		got := ""
		if err := c.d.Among(c.gpus); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%v among %d: %q, want %q", c.d, c.gpus, got, c.want)
		}
	}
}
