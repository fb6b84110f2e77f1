package model

import (
	"slices"
	"strings"
	"testing"

	"github.com/gsmeval/gsmeval/internal/torch"
)

// TestLayout is the rule that chooses how the weight of a Linear stands in memory.
func TestLayout(t *testing.T) {
	t.Parallel()
	cpu := func(avx512 bool, streamed ...torch.DType) processor {
		return processor{avx512: avx512, streams: func(dt torch.DType) bool { return slices.Contains(streamed, dt) }}
	}
	avx2, avx512, amx := cpu(false), cpu(true, torch.Float32), cpu(true, torch.Float32, torch.BFloat16)
	const large, small = 512, 511 // of a square weight
	for _, c := range []struct {
		name    string
		linears Linears
		dt      torch.DType
		out     int
		batch   int
		cpu     processor
		want    Linears // "" for an error
	}{
		{"float32 streams with AVX-512", LinearsAuto, torch.Float32, small, 1, avx512, LinearsStreamed},
		{"nothing said is auto", "", torch.Float32, large, 32, avx512, LinearsStreamed},
		{"bfloat16 streams with AMX", LinearsAuto, torch.BFloat16, large, 32, amx, LinearsStreamed},
		{"bfloat16 is packed without AMX", LinearsAuto, torch.BFloat16, small, 1, avx512, LinearsPacked},
		{"bfloat16 is plain without AVX-512", LinearsAuto, torch.BFloat16, large, 32, avx2, LinearsPlain},
		{"packed bfloat16 is plain without AVX-512", LinearsPacked, torch.BFloat16, large, 32, avx2, LinearsPlain},
		{"float16 is plain", LinearsAuto, torch.Float16, large, 32, amx, LinearsPlain},
		{"packed float16 is plain", LinearsPacked, torch.Float16, large, 32, amx, LinearsPlain},
		{"float32 is packed from a size on", LinearsAuto, torch.Float32, large, 32, avx2, LinearsPacked},
		{"float32 is plain below it", LinearsAuto, torch.Float32, small, 32, avx2, LinearsPlain},
		{"a single row is plain", LinearsAuto, torch.Float32, large, 1, avx2, LinearsPlain},
		{"packed is packed", LinearsPacked, torch.Float32, small, 1, amx, LinearsPacked},
		{"plain is plain", LinearsPlain, torch.Float32, large, 32, amx, LinearsPlain},
		{"streamed is streamed", LinearsStreamed, torch.Float32, small, 1, avx512, LinearsStreamed},
		{"no AVX-512", LinearsStreamed, torch.Float32, large, 32, avx2, ""},
		{"no AMX", LinearsStreamed, torch.BFloat16, large, 32, avx512, ""},
		{"no float16", LinearsStreamed, torch.Float16, large, 32, amx, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, err := c.linears.layout(c.dt, c.out, 512, c.batch, c.cpu)
			if got != c.want || (err == nil) != (c.want != "") {
				t.Errorf("layout %q, error %v; want %q", got, err, c.want)
			}
			if err != nil && !strings.Contains(err.Error(), "use auto") {
				t.Errorf("error %q does not say what to do", err)
			}
		})
	}
}
