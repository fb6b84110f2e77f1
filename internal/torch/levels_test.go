package torch

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
)

// atLevels computes at each of the levels that this processor has and compares the bits with those of the first.
func atLevels(t *testing.T, levels []string, compute func(s *Scope) []float32) {
	t.Helper()
	best := Kernels()
	defer func() {
		if err := UseKernels(best); err != nil {
			t.Error(err)
		}
	}()
	var want []float32
	for i, level := range levels {
		if err := UseKernels(level); err != nil {
			t.Fatal(err)
		}
		var got []float32
		if err := start(t, 2).Do(func(s *Scope) error {
			got = compute(s)
			return s.Err()
		}); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			want = got
		}
		for k := range got {
			if math.Float32bits(got[k]) != math.Float32bits(want[k]) {
				t.Errorf("number %d is %v with %s and %v with %s", k, want[k], levels[0], got[k], level)
				break
			}
		}
	}
}

// waves are numbers that no dtype of weights holds exactly.
func waves(n int, f float64) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(math.Sin(f * float64(i+1)))
	}
	return v
}

// TestProductsAtEveryLevel: a product has the same bits whatever instructions compute it, those of no vectors included; but AMX, which
// sums in another order. It is not parallel, as it changes what all others compute with.
func TestProductsAtEveryLevel(t *testing.T) {
	levels := slices.Clone(KernelLevels[:slices.Index(KernelLevels, Kernels())+1])
	if len(levels) < 2 {
		t.Skipf("this processor has only %v", levels)
	}
	for _, dt := range []DType{Float32, BFloat16, Float16} {
		at := levels
		if dt == BFloat16 {
			at = slices.DeleteFunc(slices.Clone(levels), func(l string) bool { return l == "amx" })
		}
		for _, size := range []struct{ rows, in, out int }{{1, 70, 40}, {2, 64, 65}, {5, 130, 100}, {7, 33, 129}, {100, 300, 70}} {
			t.Run(fmt.Sprintf("%s/%dx%dx%d/%s", dt, size.rows, size.in, size.out, strings.Join(at, "=")), func(t *testing.T) {
				atLevels(t, at, func(s *Scope) []float32 {
					x := s.Floats(waves(size.rows*size.in, 0.7), []int64{int64(size.rows), int64(size.in)}, CPU)
					w := s.To(s.Floats(waves(size.out*size.in, 0.3), []int64{int64(size.out), int64(size.in)}, CPU), dt)
					out := make([]float32, size.rows*size.out)
					s.ReadFloats(s.StreamedLinear(x, s.StreamWeight(w), size.out, s.Floats(waves(size.out, 1.1), []int64{int64(size.out)}, CPU)), out)
					return out
				})
			})
		}
	}
}

// TestKernelsAtEveryLevel: what stands between the products, the noise and the choice of tokens have the same bits with AVX2 and with more.
func TestKernelsAtEveryLevel(t *testing.T) {
	levels := KernelLevels[1:max(1, slices.Index(KernelLevels, Kernels())+1)]
	if len(levels) < 2 {
		t.Skipf("the best kernels of this processor are %s: there is nothing to compare with", Kernels())
	}
	const rows, d = 5, 203
	x := func(s *Scope) Tensor { return s.Floats(waves(rows*d, 0.7), []int64{rows, d}, CPU) }
	read := func(s *Scope, y Tensor, n int) []float32 {
		out := make([]float32, n)
		s.ReadFloats(y, out)
		return out
	}
	for name, compute := range map[string]func(s *Scope) []float32{
		"rms norm": func(s *Scope) []float32 {
			return read(s, s.RMSNorm(x(s), s.Floats(waves(d, 0.2), []int64{d}, CPU), 1e-6), rows*d)
		},
		"silu": func(s *Scope) []float32 { return read(s, s.SiluMul(x(s), x(s)), rows*d) },
		"gelu": func(s *Scope) []float32 { return read(s, s.GeluMul(x(s), x(s)), rows*d) },
		"softcap": func(s *Scope) []float32 {
			y := x(s)
			s.Softcap(y, 0.5)
			return read(s, y, rows*d)
		},
		"rope": func(s *Scope) []float32 {
			y, table := s.Floats(waves(rows*4*10, 0.7), []int64{rows, 4, 10}, CPU), s.Floats(waves(rows*10, 0.4), []int64{rows, 10}, CPU)
			s.Rope(y, table, table, []int32{0, 1, 2, 3, 4})
			return read(s, y, rows*4*10)
		},
		"attention": func(s *Scope) []float32 {
			q := s.Floats(waves(rows*6*20, 0.9), []int64{rows, 6, 20}, CPU)
			k, v := s.Floats(waves(rows*2*3*20*KeyBlock, 0.5), []int64{rows, 2, 3, 20, KeyBlock}, CPU), s.Floats(waves(rows*2*48*20, 0.3), []int64{rows, 2, 48, 20}, CPU)
			return read(s, s.Attention(q, k, v, []int32{0, 1, 2, 3, 4}, []int32{0, 5, 17, 32, 47}, 0.3, 5), rows*6*20)
		},
		"spread": func(s *Scope) []float32 {
			out := make([]float32, 4)
			s.Spread(out[:2], x(s), []int32{0, 2, 5}, false)
			s.Spread(out[2:], x(s), []int32{0, 2, 5}, true)
			return out
		},
		"noise": func(s *Scope) []float32 {
			sums := make([]float64, rows)
			how := NoiseRows{Spread: waves(rows, 0.4), Keys: []uint64{1, 2, 3, 4, 5}, Positions: make([]uint32, rows), Steps: make([]uint32, rows)}
			out := read(s, s.Noise(x(s), 0.3, 7, how, sums, false), rows*d)
			for _, v := range sums {
				out = append(out, float32(v))
			}
			return out
		},
		"normals": func(s *Scope) []float32 {
			out := make([]float32, 1<<20)
			s.Fail(Normals(out, 3, 1, 2, 3, 99, false))
			return out
		},
		"choice": func(*Scope) []float32 {
			z := waves(5000, 0.31)
			top, _ := Scan(z)
			out := []float32{float32(top)}
			for _, i := range MayWin(z, 0.8, float64(z[top]), 3, 77, make([]int32, len(z))) {
				out = append(out, float32(i))
			}
			return out
		},
	} {
		t.Run(name+"/"+strings.Join(levels, "="), func(t *testing.T) { atLevels(t, levels, compute) })
	}
}

func TestTheSwitchOfKernels(t *testing.T) {
	if err := UseKernels("avx3"); err == nil || !strings.Contains(err.Error(), "portable, avx2, avx512 or amx") {
		t.Errorf("error %v does not say what there is", err)
	}
	if best := slices.Index(KernelLevels, Kernels()); best < len(KernelLevels)-1 {
		if err := UseKernels(KernelLevels[best+1]); err == nil || !strings.Contains(err.Error(), "does not have "+KernelLevels[best+1]) {
			t.Errorf("error %v for what the processor lacks", err)
		}
	}
}
