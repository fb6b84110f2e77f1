package torch

import (
	"fmt"
	"math"
	"strings"
	"testing"
)

// product is x [rows, in] times w [out, in] and b, streamed on so many threads. What is multiplied is rounded to dt.
func product(t *testing.T, threads int, dt DType, x, w, b []float32, rows, in, out int) []float32 {
	t.Helper()
	got := make([]float32, rows*out)
	if err := start(t, threads).Do(func(s *Scope) error {
		var bias Tensor
		if b != nil {
			bias = s.To(s.Floats(b, []int64{int64(out)}, CPU), dt)
		}
		streamed := s.StreamWeight(s.To(s.Floats(w, []int64{int64(out), int64(in)}, CPU), dt))
		s.ReadFloats(s.StreamedLinear(s.Floats(x, []int64{int64(rows), int64(in)}, CPU), streamed, out, bias), got)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return got
}

// halves are numbers that bfloat16 holds exactly.
func halves(n int, f float64) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(math.Round(100*math.Sin(f*float64(i+1)))) / 64
	}
	return v
}

// TestStreamedLinear compares sizes on both sides of every block (chunks of 64 inputs, panels of 64 or 32 outputs, 6, 16, 32 and 96
// rows) with a product in float64.
func TestStreamedLinear(t *testing.T) {
	t.Parallel()
	for _, dt := range []DType{Float32, BFloat16, Float16} {
		for _, size := range []struct{ rows, in, out int }{
			{1, 1, 1},
			{1, 64, 64},
			{2, 31, 63},
			{3, 33, 65},
			{4, 63, 31},
			{5, 65, 33},
			{6, 128, 16},
			{7, 127, 17},
			{8, 896, 128},
			{12, 32, 200},
			{13, 97, 129},
			{16, 64, 32},
			{17, 64, 48},
			{31, 40, 70},
			{32, 200, 96},
			{33, 200, 95},
			{96, 70, 64},
			{97, 70, 66},
			{200, 100, 40},
		} {
			t.Run(fmt.Sprintf("%s/%dx%dx%d", dt, size.rows, size.in, size.out), func(t *testing.T) {
				t.Parallel()
				x, w, b := halves(size.rows*size.in, 0.37), halves(size.out*size.in, 0.91), halves(size.out, 1.7)
				for _, bias := range [][]float32{nil, b} {
					got := product(t, 2, dt, x, w, bias, size.rows, size.in, size.out)
					for r := range size.rows {
						for n := range size.out {
							var want, sizes float64
							for k := range size.in {
								term := float64(x[r*size.in+k]) * float64(w[n*size.in+k])
								want, sizes = want+term, sizes+math.Abs(term)
							}
							if bias != nil {
								want += float64(bias[n])
							}
							// The terms are exact; each of the sums rounds by half of float32's last digit at most.
							if d := math.Abs(float64(got[r*size.out+n]) - want); !(d <= 0x1p-24*float64(size.in+1)*(sizes+2)) {
								t.Fatalf("row %d, output %d is %v, want %v", r, n, got[r*size.out+n], want)
							}
						}
					}
				}
			})
		}
	}
}

// TestStreamedRowsStandAlone: a row has the same bits alone, among others at any place, and on any number of threads; what is not a
// number stays in its row.
func TestStreamedRowsStandAlone(t *testing.T) {
	t.Parallel()
	const rows, in, out = 101, 1000, 2100 // large enough for several threads
	for _, dt := range []DType{Float32, BFloat16, Float16} {
		t.Run(fmt.Sprint(dt), func(t *testing.T) {
			t.Parallel()
			x, w := make([]float32, rows*in), make([]float32, out*in)
			for i := range x {
				x[i] = float32(math.Sin(0.7 * float64(i+1)))
			}
			for i := range w {
				w[i] = float32(math.Cos(0.3 * float64(i+1)))
			}
			x[40*in+3] = float32(math.NaN())
			together := product(t, 2, dt, x, w, nil, rows, in, out)
			same := func(name string, a, b []float32) {
				t.Helper()
				for i := range a {
					if math.Float32bits(a[i]) != math.Float32bits(b[i]) {
						t.Fatalf("%s: output %d is %v and %v", name, i, a[i], b[i])
					}
				}
			}
			same("one thread", product(t, 1, dt, x, w, nil, rows, in, out), together)
			same("three threads", product(t, 3, dt, x, w, nil, rows, in, out), together)
			for _, few := range []struct{ from, to int }{{0, 1}, {5, 12}, {16, 48}, {41, 101}, {100, 101}} {
				alone := product(t, 2, dt, x[few.from*in:few.to*in], w, nil, few.to-few.from, in, out)
				same(fmt.Sprintf("rows [%d, %d) alone", few.from, few.to), alone, together[few.from*out:few.to*out])
			}
			for i, v := range together {
				if nan := v != v; nan != (i/out == 40) {
					t.Fatalf("row %d, output %d is %v", i/out, i%out, v)
				}
			}
		})
	}
}

// TestWhatIsNotStreamed names what does not fit.
func TestWhatIsNotStreamed(t *testing.T) {
	t.Parallel()
	w := start(t, 1)
	matrix := func(s *Scope, dt DType, shape ...int64) Tensor { return s.Zeros(shape, dt, CPU) }
	for _, c := range []struct {
		name string
		do   func(s *Scope)
		want string
	}{
		{"float64", func(s *Scope) { s.StreamWeight(matrix(s, Float64, 4, 4)) }, "not float32, bfloat16 or float16"},
		{"no weight", func(s *Scope) { s.StreamWeight(Tensor{}) }, "missing"},
		{"a vector", func(s *Scope) { s.StreamWeight(matrix(s, Float32, 4)) }, "a matrix"},
		{"features", func(s *Scope) {
			s.StreamedLinear(matrix(s, Float32, 2, 5), s.StreamWeight(matrix(s, Float32, 4, 3)), 4, Tensor{})
		}, "5 features and 4 outputs"},
		{"outputs", func(s *Scope) {
			s.StreamedLinear(matrix(s, Float32, 2, 3), s.StreamWeight(matrix(s, Float32, 4, 3)), 65, Tensor{})
		}, "3 features and 65 outputs"},
		{"tiles", func(s *Scope) {
			s.StreamedLinear(matrix(s, Float32, 2, 33), s.StreamWeight(matrix(s, BFloat16, 4, 32)), 4, Tensor{})
		}, "33 features and 4 outputs"},
		{"not streamed", func(s *Scope) {
			s.StreamedLinear(matrix(s, Float32, 2, 3), matrix(s, Float32, 4, 3), 4, Tensor{})
		}, "do not fit"},
		{"bias", func(s *Scope) {
			s.StreamedLinear(matrix(s, Float32, 2, 3), s.StreamWeight(matrix(s, Float32, 4, 3)), 4, matrix(s, Float32, 5))
		}, "a bias of [5] for 4 outputs"},
		{"one row as a vector", func(s *Scope) {
			s.StreamedLinear(matrix(s, Float32, 3), s.StreamWeight(matrix(s, Float32, 4, 3)), 4, Tensor{})
		}, "[rows, in]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := w.Do(func(s *Scope) error { c.do(s); return s.Err() })
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}
