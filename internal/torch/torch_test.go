package torch

import (
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func start(t *testing.T, threads int) *Worker {
	t.Helper()
	w, err := Start(threads)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

func ramp(n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(i)
	}
	return v
}

func TestErrorsNameTheOperation(t *testing.T) {
	t.Parallel()
	w := start(t, 1)
	for _, c := range []struct {
		name string // and the operation's
		do   func(s *Scope)
		want string // part of the message
	}{
		{"linear", func(s *Scope) {
			s.Linear(s.Zeros([]int64{2, 3}, Float32, CPU), s.Zeros([]int64{4, 5}, Float32, CPU), Tensor{})
		}, ""},
		{"linear", func(s *Scope) {
			s.Linear(s.Zeros([]int64{2, 3}, Float32, CPU), s.Zeros([]int64{4, 3}, Float32, CPU), s.Zeros([]int64{5}, Float32, CPU))
		}, ""},
		{"linear", func(s *Scope) { s.Linear(Tensor{}, s.Zeros([]int64{4, 3}, Float32, CPU), Tensor{}) }, "missing"},
		{"view", func(s *Scope) { s.View(s.Zeros([]int64{2, 3}, Float32, CPU), 4, 2) }, "4, 2"},
		{"rows", func(s *Scope) { s.Rows(s.Zeros([]int64{2, 3}, Float32, CPU), 1, 4) }, ""},
		{"rows", func(s *Scope) { s.Rows(s.Zeros([]int64{2, 3}, Float32, CPU), 2, 1) }, ""},
		{"add", func(s *Scope) {
			s.AddTo(s.Zeros([]int64{2, 3}, Float32, CPU), s.Zeros([]int64{2, 4}, Float32, CPU))
		}, ""},
		{"embedding", func(s *Scope) { s.Embedding(s.Zeros([]int64{5, 2}, Float32, CPU), s.Ints([]int64{0, 5}, CPU)) }, ""},
		{"embedding", func(s *Scope) { s.Embedding(s.Zeros([]int64{5, 2}, Float32, CPU), s.Ints([]int64{-1}, CPU)) }, ""},
		{"zeros", func(s *Scope) { s.Zeros([]int64{-1}, Float32, CPU) }, ""},
		{"empty", func(s *Scope) { s.Empty([]int64{math.MaxInt64, 4}, Float32, CPU) }, ""},
		{"from bytes", func(s *Scope) { s.FromBytes(make([]byte, 4), []int64{-1}, Float32, Float32, CPU) }, ""},
		{"from bytes", func(s *Scope) { s.FromBytes(make([]byte, 4), []int64{2}, Float32, Float32, CPU) }, "4 bytes"},
		{"from bytes", func(s *Scope) { s.FromBytes(make([]byte, 12), []int64{2}, Float32, Float32, CPU) }, "12 bytes"},
		{"from bytes", func(s *Scope) { s.FromBytes(nil, nil, Float32, Float32, CPU) }, "0 bytes"},
		{"from bytes", func(s *Scope) { s.Floats(ramp(5), []int64{2, 3}, CPU) }, "20 bytes"},
		{"copy bytes", func(s *Scope) { s.CopyBytes(s.Zeros([]int64{2}, Float32, CPU), 0, make([]byte, 7), Float32) }, "7 bytes"},
		{"copy bytes", func(s *Scope) { s.CopyBytes(s.Zeros([]int64{2}, Float32, CPU), 0, make([]byte, 8), BFloat16) }, "8 bytes"},
		{"copy bytes", func(s *Scope) { s.CopyBytes(s.Zeros([]int64{2}, Float32, CPU), 1, make([]byte, 8), Float32) }, "8 bytes for elements 1 and up of 2"},
		{"copy bytes", func(s *Scope) {
			s.CopyBytes(s.Zeros([]int64{2}, Float16, CPU), 0, []byte{0, 0, 0x80, 0x47, 0, 0, 0, 0}, Float32)
		}, "beyond float16's largest"},
		{"copy bytes", func(s *Scope) { s.CopyBytes(Tensor{}, 0, make([]byte, 8), Float32) }, "missing"},
		{"read floats", func(s *Scope) { s.ReadFloats(s.Zeros([]int64{2}, Float32, CPU), make([]float32, 3)) }, "2 elements, not 3"},
		{"float view", func(s *Scope) { s.FloatView(s.Zeros([]int64{2}, BFloat16, CPU)) }, "not contiguous float32"},
		{"hash", func(s *Scope) { s.Hash(Tensor{}) }, "missing"},
		{"rms norm", func(s *Scope) {
			s.RMSNorm(s.Zeros([]int64{2, 3}, Float32, CPU), s.Zeros([]int64{4}, Float32, CPU), 1e-6)
		}, "4 elements"},
		{"rms norm", func(s *Scope) { s.RMSNorm(Tensor{}, Tensor{}, 1e-6) }, "missing"},
		{"rope", func(s *Scope) {
			table := s.Zeros([]int64{4, 2}, Float32, CPU)
			s.Rope(s.Zeros([]int64{2, 1, 2}, Float32, CPU), table, table, []int32{3, 4})
		}, "position 4 is past the table's 4"},
		{"rope", func(s *Scope) {
			table := s.Zeros([]int64{4, 2}, Float32, CPU)
			s.Rope(s.Zeros([]int64{1, 1, 2}, Float32, CPU), table, table, []int32{-1})
		}, "position -1"},
		{"rope", func(s *Scope) {
			table := s.Zeros([]int64{4, 6}, Float32, CPU)
			s.Rope(s.Zeros([]int64{1, 1, 2}, Float32, CPU), table, table, []int32{0})
		}, "shapes"},
		{"store kv", func(s *Scope) {
			s.StoreKV(s.Zeros([]int64{2, 1, 4, 2}, Float32, CPU), s.Zeros([]int64{1, 1, 2}, Float32, CPU), []int32{0}, []int32{4})
		}, "position 4 is past the cache's 4"},
		{"store kv", func(s *Scope) {
			s.StoreKV(s.Zeros([]int64{2, 1, 4, 2}, Float32, CPU), s.Zeros([]int64{1, 1, 2}, Float32, CPU), []int32{2}, []int32{0})
		}, "slot 2 of 2"},
		{"store kv", func(s *Scope) {
			s.StoreKV(s.Zeros([]int64{2, 1, 4, 2}, Float32, CPU), s.Zeros([]int64{1, 1, 3}, Float32, CPU), []int32{0}, []int32{0})
		}, "shapes"},
		{"attention", func(s *Scope) {
			cache := s.Zeros([]int64{2, 1, 4, 2}, Float32, CPU)
			s.Attention(s.Zeros([]int64{1, 2, 2}, Float32, CPU), cache, cache, []int32{0}, []int32{4}, 1, 0)
		}, "row 0 is outside the cache"},
		{"attention", func(s *Scope) {
			cache := s.Zeros([]int64{2, 2, 4, 2}, Float32, CPU)
			s.Attention(s.Zeros([]int64{1, 3, 2}, Float32, CPU), cache, cache, []int32{0}, []int32{0}, 1, 0)
		}, "shapes"},
		{"silu mul", func(s *Scope) {
			s.SiluMul(s.Zeros([]int64{2, 3}, Float32, CPU), s.Zeros([]int64{2, 4}, Float32, CPU))
		}, ""},
		{"spread", func(s *Scope) {
			s.Spread(make([]float32, 1), s.Zeros([]int64{2, 3}, Float32, CPU), []int32{0, 3}, false)
		}, "group 0"},
		{"spread", func(s *Scope) {
			s.Spread(make([]float32, 2), s.Zeros([]int64{2, 3}, Float32, CPU), []int32{0, 1, 1}, false)
		}, "group 1"},
		{"spread", func(s *Scope) {
			s.Spread(make([]float32, 2), s.Zeros([]int64{2, 3}, Float32, CPU), []int32{0, 2}, false)
		}, "2 bounds for 2 groups"},
		{"spread", func(s *Scope) { s.Spread(make([]float32, 1), s.Zeros([]int64{4}, Float32, CPU), []int32{0, 4}, false) }, "[rows, features]"},
		{"noise", func(s *Scope) {
			s.Noise(s.Zeros([]int64{2, 3}, Float32, CPU), 1, 0, NoiseRows{[]float32{1}, []uint64{1}, []uint32{1}, []uint32{1}}, make([]float64, 1), false)
		}, "[1, features]"},
		{"noise", func(s *Scope) {
			s.Noise(s.Zeros([]int64{2, 3}, Float32, CPU), 1, 0, NoiseRows{[]float32{1}, []uint64{1}, []uint32{1}, []uint32{1}}, make([]float64, 2), false)
		}, "different lengths"},
		{"weight noise", func(s *Scope) { s.WeightNoise(Tensor{}, 1, false, false, 1, false) }, "missing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := w.Do(func(s *Scope) error {
				c.do(s)
				return nil
			})
			if err == nil {
				t.Fatal("no error")
			}
			if msg := err.Error(); !strings.HasPrefix(strings.TrimPrefix(msg, "libtorch "), c.name+": ") || !strings.Contains(msg, c.want) || strings.Contains(msg, "\n") {
				t.Errorf("error %q, want one line that begins with %q and has %q in it", msg, c.name, c.want)
			}
		})
	}
	// The worker goes on as if nothing had been.
	if err := w.Do(func(s *Scope) error { s.Zeros([]int64{3}, Float32, CPU); return nil }); err != nil {
		t.Errorf("after the errors: %v", err)
	}
}

func TestFirstErrorSticks(t *testing.T) {
	t.Parallel()
	w := start(t, 1)
	other := errors.New("a later error")
	err := w.Do(func(s *Scope) error {
		s.View(s.Floats(ramp(6), []int64{6}, CPU), 4)
		first := s.Err()
		if first == nil {
			t.Error("viewing six elements as four is no error")
		}
		at := s.Mark()
		x := s.Zeros([]int64{2}, Float32, CPU)
		y := s.RMSNorm(x, x, 1e-6)
		z := s.Noise(y, 1, 0, NoiseRows{}, nil, false)
		if x.Defined() || y.Defined() || z.Defined() || s.Mark() != at {
			t.Error("an operation after an error made a tensor")
		}
		// None of these may touch the missing tensors.
		s.AddTo(x, y)
		s.Rope(x, x, x, []int32{0})
		s.StoreKV(x, x, []int32{0}, []int32{0})
		s.CopyBytes(x, 0, nil, Float32)
		got := []float32{7}
		s.ReadFloats(x, got)
		s.Spread(got, x, []int32{0, 1}, false)
		if got[0] != 7 || s.FloatView(x) != nil || s.Hash(x) != 0 {
			t.Error("an operation after an error read something")
		}
		if sq, spread := s.WeightNoise(x, 1, false, false, 1, false); sq != 0 || spread != 0 {
			t.Error("weight noise after an error did something")
		}
		s.Fail(other)
		if !errors.Is(s.Err(), first) {
			t.Errorf("the scope's error became %v", s.Err())
		}
		return nil
	})
	if err == nil || errors.Is(err, other) || !strings.Contains(err.Error(), "view") {
		t.Errorf("Do returned %v, want the first error", err)
	}
	if err := w.Do(func(s *Scope) error {
		s.View(s.Floats(ramp(6), []int64{6}, CPU), 4)
		return other
	}); !errors.Is(err, other) {
		t.Errorf("Do returned %v, want the function's own error first", err)
	}
}

func TestKeepAndRelease(t *testing.T) {
	t.Parallel()
	w := start(t, 1)
	var kept Tensor
	if err := w.Do(func(s *Scope) error {
		a := s.Floats(ramp(4), []int64{4}, CPU)
		mark := s.Mark()
		kept = s.Keep(s.View(s.Floats(ramp(6), []int64{6}, CPU), 2, 3))
		s.Zeros([]int64{8}, Float32, CPU)
		if s.Mark() != mark+2 {
			t.Errorf("%d tensors are the scope's after the mark, want 2: the kept one is not", s.Mark()-mark)
		}
		s.Release(mark)
		if s.Mark() != mark {
			t.Errorf("%d tensors live after the release, want %d", s.Mark(), mark)
		}
		got := make([]float32, 4)
		s.ReadFloats(a, got)
		if diff := cmp.Diff(ramp(4), got); diff != "" {
			t.Errorf("a tensor before the mark changed (-want +got):\n%s", diff)
		}
		if s.Keep(Tensor{}).Defined() {
			t.Error("keeping no tensor made one")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	// The view outlives its scope, and the memory that it shares with a freed tensor.
	if err := w.Do(func(s *Scope) error {
		if diff := cmp.Diff([]int64{2, 3}, kept.Shape()); diff != "" {
			t.Errorf("shape (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(ramp(6), s.FloatView(kept)); diff != "" {
			t.Errorf("elements (-want +got):\n%s", diff)
		}
		kept.Free()
		Tensor{}.Free()
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func TestWorkerAfterClose(t *testing.T) {
	t.Parallel()
	w := start(t, 1)
	w.Close()
	w.Close()
	ran := false
	if err := w.Do(func(*Scope) error { ran = true; return nil }); !errors.Is(err, ErrClosed) || ran {
		t.Errorf("Do after Close returned %v and ran: %v", err, ran)
	}
}

func TestWorkerServesManyGoroutines(t *testing.T) {
	t.Parallel()
	w := start(t, 1)
	var wg sync.WaitGroup
	inside := 0 // unguarded: only the worker's thread touches it
	for g := range 8 {
		wg.Go(func() {
			for i := range 50 {
				bad := (g+i)%7 == 0
				err := w.Do(func(s *Scope) error {
					inside++
					s.View(s.Zeros([]int64{6}, Float32, CPU), map[bool]int64{true: 5, false: 6}[bad])
					return nil
				})
				if bad != (err != nil) {
					t.Errorf("goroutine %d, call %d: error %v, want one: %v", g, i, err, bad)
				}
			}
		})
	}
	wg.Wait()
	if inside != 400 {
		t.Errorf("%d calls ran, want 400", inside)
	}
}

func TestTraceReportsOperations(t *testing.T) {
	t.Parallel()
	w := start(t, 1)
	var got []string
	step := func() {
		if err := w.Do(func(s *Scope) error {
			x := s.Zeros([]int64{2, 3}, Float32, CPU)
			s.RMSNorm(x, s.Zeros([]int64{3}, Float32, CPU), 1e-6)
			s.Spread(make([]float32, 2), x, []int32{0, 1, 2}, false)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	for _, trace := range []Trace{func(op string, took time.Duration) {
		if took < 0 {
			t.Errorf("%s took %v", op, took)
		}
		got = append(got, op)
	}, nil} {
		if err := w.Trace(trace); err != nil {
			t.Fatal(err)
		}
		step()
	}
	if diff := cmp.Diff([]string{"zeros", "zeros", "rms norm", "spread"}, got); diff != "" {
		t.Errorf("operations of one traced step (-want +got):\n%s", diff)
	}
}

func TestStartSetsTheNumberOfThreads(t *testing.T) {
	t.Parallel()
	// The number belongs to the worker's thread: a second worker does not change the first.
	one, two := start(t, 1), start(t, 2)
	if one.Threads() != 1 || two.Threads() != 2 {
		t.Errorf("workers of 1 and 2 threads have %d and %d", one.Threads(), two.Threads())
	}
	if free := start(t, 0); free.Threads() < 1 {
		t.Errorf("a worker of libtorch's choice has %d threads", free.Threads())
	}
	if c, err := CPUCapability(); err != nil || c == "" {
		t.Errorf("CPU capability %q, %v", c, err)
	}
}

func TestBytesRoundTrip(t *testing.T) {
	t.Parallel()
	w := start(t, 1)
	if err := w.Do(func(s *Scope) error {
		want := []float32{0, 1, -2.5, float32(math.Inf(1)), math.MaxFloat32, math.SmallestNonzeroFloat32}
		x := s.Floats(want, []int64{2, 3}, CPU)
		got := make([]float32, 6)
		s.ReadFloats(x, got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("float32 (-want +got):\n%s", diff)
		}
		var half []byte // 1, -2 in bfloat16
		half = binary.LittleEndian.AppendUint16(half, 0x3f80)
		half = binary.LittleEndian.AppendUint16(half, 0xc000)
		b := s.FromBytes(half, []int64{2}, BFloat16, Float32, CPU)
		if diff := cmp.Diff([]float32{1, -2}, s.FloatView(b)); diff != "" {
			t.Errorf("bfloat16 (-want +got):\n%s", diff)
		}
		before := s.Hash(b)
		s.CopyBytes(b, 0, []byte{0, 0x40, 0, 0x3f}, BFloat16)
		if diff := cmp.Diff([]float32{2, 0.5}, s.FloatView(b)); diff != "" {
			t.Errorf("copied bfloat16 (-want +got):\n%s", diff)
		}
		if s.Hash(b) == before {
			t.Error("the hash did not change with the bytes")
		}
		s.CopyBytes(b, 0, half, BFloat16)
		if s.Hash(b) != before {
			t.Error("the same bytes have another hash")
		}
		if scalar := s.FromBytes([]byte{0, 0, 0x80, 0x3f}, nil, Float32, Float32, CPU); len(scalar.Shape()) != 0 || s.FloatView(scalar)[0] != 1 {
			t.Error("a tensor of rank 0 is not 1")
		}
		if none := s.FromBytes(nil, []int64{0, 4}, Float32, Float32, CPU); s.Err() == nil && len(s.FloatView(none)) != 0 {
			t.Error("an empty tensor has elements")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// Every kernel of the shim has a plain libtorch form for other dtypes: in bfloat16 both agree to its 8 bits.
func TestKernelsAgreeWithPlainOperations(t *testing.T) {
	t.Parallel()
	w := start(t, 1)
	const rows, heads, kv, hd, slots, capacity = 5, 4, 2, 6, 3, 9
	wave := func(n int, f float64) []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(math.Sin(f * float64(i+1)))
		}
		return v
	}
	slot, pos := []int32{0, 1, 1, 1, 2}, []int32{4, 6, 7, 8, 0}
	run := func(dt DType) map[string][]float32 {
		out := map[string][]float32{}
		if err := w.Do(func(s *Scope) error {
			made := func(f float64, shape ...int64) Tensor {
				n := int64(1)
				for _, d := range shape {
					n *= d
				}
				return s.To(s.To(s.Floats(wave(int(n), f), shape, CPU), BFloat16), dt)
			}
			keep := func(name string, x Tensor) {
				n := int64(1)
				for _, d := range x.Shape() {
					n *= d
				}
				v := make([]float32, n)
				s.ReadFloats(x, v)
				out[name] = v
			}
			keep("rms norm", s.RMSNorm(made(0.7, rows, hd), made(0.3, hd), 1e-6))
			keep("rms norm 1", s.RMSNorm1(made(0.7, rows, hd), made(0.3, hd), 1e-6))
			x := made(1.1, rows, heads, hd)
			s.Rope(x, made(0.2, capacity, hd), made(0.4, capacity, hd), pos)
			keep("rope", x)
			part := made(1.1, rows, heads, hd)
			s.Rope(part, made(0.2, capacity, 4), made(0.4, capacity, 4), pos)
			keep("rope of a part", part)
			k, v := made(0.9, slots, kv, capacity, hd), made(1.3, slots, kv, capacity, hd)
			s.StoreKV(k, made(0.6, rows, kv, hd), slot, pos)
			keep("store kv", k)
			keep("attention", s.Attention(x, k, v, slot, pos, 0.4, 0))
			keep("attention with soft-capping", s.Attention(x, k, v, slot, pos, 0.4, 0.5))
			keep("silu mul", s.SiluMul(made(0.5, rows, hd), made(0.8, rows, hd)))
			keep("gelu mul", s.GeluMul(made(0.5, rows, hd), made(0.8, rows, hd)))
			capped := made(0.5, rows, hd)
			s.Softcap(capped, 0.7)
			keep("softcap", capped)
			keep("columns", s.Columns(made(0.5, rows, hd), 1, 4))
			keep("mul", s.Mul(made(0.5, rows, hd), made(0.8, 1)))
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return out
	}
	want, got := run(Float32), run(BFloat16)
	for name, a := range want {
		for i, x := range a {
			if d := math.Abs(float64(x - got[name][i])); !(d <= 0.02) {
				t.Errorf("%s: element %d is %v in float32 and %v in bfloat16", name, i, x, got[name][i])
				break
			}
		}
	}
	if len(want) != 12 {
		t.Errorf("%d results, want 12", len(want))
	}
}

// TestTanh compares the kernels that use tanh with float64's, over the whole range and where the two branches meet.
func TestTanh(t *testing.T) {
	t.Parallel()
	w := start(t, 1)
	x := []float32{0, 1e-30, -1e-8, 0.3, -0.6249999, 0.625, 0.6250001, -2, 5, 9, -20, 50, 100, -1e6, float32(math.Inf(1)), float32(math.Inf(-1))}
	for i := range 2000 {
		x = append(x, float32(i-1000)/100)
	}
	ones := make([]float32, len(x))
	for i := range ones {
		ones[i] = 1
	}
	if err := w.Do(func(s *Scope) error {
		shape := []int64{int64(len(x))}
		capped := s.Floats(x, shape, CPU)
		s.Softcap(capped, 1)
		gelu := s.GeluMul(s.Floats(x, shape, CPU), s.Floats(ones, shape, CPU))
		gotCap, gotGelu := s.FloatView(capped), s.FloatView(gelu)
		if s.Err() != nil {
			return s.Err()
		}
		for i, v := range x {
			a := float64(v)
			if want := math.Tanh(a); math.Abs(float64(gotCap[i])-want) > 4e-7*math.Abs(want) {
				t.Errorf("tanh(%v) = %v, want %v", v, gotCap[i], want)
			}
			if math.IsInf(a, 0) {
				continue
			}
			// Absolute: where gelu is nearly 0, 1 + tanh cancels, in libtorch too.
			want := a / 2 * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(a+0.044715*a*a*a)))
			if math.Abs(float64(gotGelu[i])-want) > 1e-6*max(1, math.Abs(want)) {
				t.Errorf("gelu(%v) = %v, want %v", v, gotGelu[i], want)
			}
		}
		nan := s.Floats([]float32{float32(math.NaN())}, []int64{1}, CPU)
		s.Softcap(nan, 30)
		if v := s.FloatView(nan); s.Err() == nil && v[0] == v[0] {
			t.Errorf("a NaN became %v", v[0])
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}
