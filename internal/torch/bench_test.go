package torch

import (
	"fmt"
	"testing"
)

// bench runs op on a worker of two threads, on what prepare makes.
func bench(b *testing.B, prepare func(s *Scope) func()) {
	b.Helper()
	w, err := Start(2)
	if err != nil {
		b.Fatal(err)
	}
	defer w.Close()
	if err := w.Do(func(s *Scope) error {
		op := prepare(s)
		mark := s.Mark()
		for b.Loop() {
			op()
			s.Release(mark)
		}
		return s.Err()
	}); err != nil {
		b.Fatal(err)
	}
}

// filled is a tensor of numbers between -1 and 1.
func filled(s *Scope, dt DType, shape ...int64) Tensor {
	n := int64(1)
	for _, d := range shape {
		n *= d
	}
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(i%2003)/1001 - 1
	}
	return s.To(s.Floats(v, shape, CPU), dt)
}

// BenchmarkLinear is a Linear at the shapes of the bundled model and of Qwen2.5-0.5B: libtorch's own and ours on a streamed weight.
func BenchmarkLinear(b *testing.B) {
	for _, shape := range []struct{ out, in int }{{128, 128}, {384, 128}, {1024, 128}, {896, 896}, {4864, 896}, {896, 4864}, {151936, 896}} {
		for _, dt := range []DType{Float32, BFloat16, Float16} {
			for _, rows := range []int64{1, 8, 32, 256} {
				for _, way := range []string{"plain", "streamed"} {
					b.Run(fmt.Sprintf("%dx%d/rows=%d/%s/%s", shape.out, shape.in, rows, dt, way), func(b *testing.B) {
						b.SetBytes(int64(shape.out*shape.in) * map[DType]int64{Float32: 4, BFloat16: 2, Float16: 2}[dt])
						bench(b, func(s *Scope) func() {
							x, w := filled(s, Float32, rows, int64(shape.in)), filled(s, dt, int64(shape.out), int64(shape.in))
							if way == "streamed" {
								w = s.StreamWeight(w)
								return func() { s.StreamedLinear(x, w, shape.out, Tensor{}) }
							}
							return func() { s.Linear(x, w, Tensor{}) }
						})
					})
				}
			}
		}
	}
}

// BenchmarkAttention is one decode step's attention at a length of context, with Qwen2.5-0.5B's heads.
func BenchmarkAttention(b *testing.B) {
	const heads, kvHeads, dim = 14, 2, 64
	for _, rows := range []int{1, 32} {
		for _, length := range []int{64, 256, 1024} {
			b.Run(fmt.Sprintf("rows=%d/length=%d", rows, length), func(b *testing.B) {
				slots, positions := make([]int32, rows), make([]int32, rows)
				for r := range rows {
					slots[r], positions[r] = int32(r), int32(length-1)
				}
				bench(b, func(s *Scope) func() {
					q := filled(s, Float32, int64(rows), heads, dim)
					k, v := filled(s, Float32, int64(rows), kvHeads, int64(length)/KeyBlock, dim, KeyBlock), filled(s, Float32, int64(rows), kvHeads, int64(length), dim)
					return func() { s.Attention(q, k, v, slots, positions, 0.125, 0) }
				})
			})
		}
	}
}

// BenchmarkRowwise are the operations between the products, on 32 rows of Qwen2.5-0.5B.
func BenchmarkRowwise(b *testing.B) {
	const rows = 32
	groups := make([]int32, rows+1)
	for i := range groups {
		groups[i] = int32(i)
	}
	for name, prepare := range map[string]func(s *Scope) func(){
		"rms norm": func(s *Scope) func() {
			x, w := filled(s, Float32, rows, 896), filled(s, Float32, 896)
			return func() { s.RMSNorm(x, w, 1e-6) }
		},
		"silu mul": func(s *Scope) func() {
			gate, up := filled(s, Float32, rows, 4864), filled(s, Float32, rows, 4864)
			return func() { s.SiluMul(gate, up) }
		},
		"noise": func(s *Scope) func() {
			x, sums := filled(s, Float32, rows, 896), make([]float64, rows)
			r := NoiseRows{Spread: make([]float32, rows), Keys: make([]uint64, rows), Positions: make([]uint32, rows), Steps: make([]uint32, rows)}
			return func() { s.Noise(x, 0.1, 3, r, sums, false) }
		},
		"spread": func(s *Scope) func() {
			x, out := filled(s, Float32, rows, 896), make([]float32, rows)
			return func() { s.Spread(out, x, groups, false) }
		},
	} {
		b.Run(name, func(b *testing.B) { bench(b, prepare) })
	}
}
