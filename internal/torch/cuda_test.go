package torch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// startGPU is a worker on the first GPU; without one the test is skipped.
func startGPU(t *testing.T) *Worker {
	t.Helper()
	if _, err := CUDADevices(); err != nil {
		t.Skipf("no GPU: %v", err)
	}
	w, err := StartOn(1, 0, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

func do(t *testing.T, w *Worker, f func(s *Scope) error) {
	t.Helper()
	if err := w.Do(f); err != nil {
		t.Error(err)
	}
}

// What is about a GPU says so on the CPU.
func TestGraphsNeedAGPU(t *testing.T) {
	t.Parallel()
	do(t, start(t, 1), func(s *Scope) error {
		if g, err := s.Capture(func(*Scope) error { return nil }); g != nil || !errors.Is(err, errNoCUDA) {
			t.Errorf("captured on the CPU: %v", err)
		}
		s.Synchronize()
		if a, r, p := s.CUDAMemory(); a != 0 || r != 0 || p != 0 {
			t.Errorf("%d, %d, %d bytes on no GPU", a, r, p)
		}
		return nil
	})
	g := &Graph{}
	g.Free()
	if err := g.Replay(); err == nil {
		t.Error("replayed a freed graph")
	}
}

func TestCUDADevices(t *testing.T) {
	startGPU(t)
	n, err := CUDADevices()
	if err != nil {
		t.Fatal(err)
	}
	for d := range n {
		info, err := CUDADevice(Device(d))
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("cuda:%d: %+v", d, info)
		if info.Name == "" || info.Capability == "0.0" || info.Free <= 0 || info.Total < info.Free || info.Attention == "" || info.Libraries == "" {
			t.Errorf("cuda:%d: %+v", d, info)
		}
	}
	_, err = StartOn(1, Device(n), false)
	oneLine(t, err, "there is no cuda:")
}

// The pinned path does what the plain one does on the CPU, whatever the size: a staging buffer is 16 MB.
func TestCUDACopies(t *testing.T) {
	w := startGPU(t)
	for _, c := range []struct{ src, dst DType }{
		{Float32, Float32}, {BFloat16, BFloat16}, {BFloat16, Float32}, {Float32, BFloat16}, {Float32, Float16}, {Int64, Int64}, {Uint8, Uint8},
	} {
		size := map[DType]int{Float32: 4, BFloat16: 2, Int64: 8, Uint8: 1}[c.src]
		for _, n := range []int{0, 1, 3, 1001, 16<<20/size - 1, 16<<20/size + 1, 40<<20/size + 7} {
			data := make([]byte, n*size)
			for i := range n {
				v := float32(i%2001) - 1000
				switch c.src {
				case Float32:
					binary.LittleEndian.PutUint32(data[4*i:], math.Float32bits(v/8))
				case BFloat16:
					binary.LittleEndian.PutUint16(data[2*i:], uint16(math.Float32bits(v)>>16))
				default:
					data[i*size] = byte(i % 251)
				}
			}
			do(t, w, func(s *Scope) error {
				shape := []int64{int64(n + 5)}
				cpu, gpu := s.Zeros(shape, c.dst, CPU), s.Zeros(shape, c.dst, 0)
				s.CopyBytes(cpu, 2, data, c.src)
				s.CopyBytes(gpu, 2, data, c.src)
				for i := range data {
					data[i] = 0xff // it is the caller's again
				}
				if s.Hash(cpu) != s.Hash(gpu) {
					t.Errorf("%d elements, %v to %v: they differ", n, c.src, c.dst)
				}
				return nil
			})
		}
	}
	big := make([]byte, 4*100)
	binary.LittleEndian.PutUint32(big[4*57:], math.Float32bits(65536))
	oneLine(t, w.Do(func(s *Scope) error {
		s.CopyBytes(s.Zeros([]int64{100}, Float16, 0), 0, big, Float32)
		return nil
	}), "beyond float16's largest")
	oneLine(t, w.Do(func(s *Scope) error {
		s.CopyBytes(s.Zeros([]int64{2}, Float32, 0), 1, big[:8], Float32)
		return nil
	}), "8 bytes for elements 1 and up of 2")
	oneLine(t, w.Do(func(s *Scope) error {
		s.FloatView(s.Zeros([]int64{2}, Float32, 0))
		return nil
	}), "on the CPU")
}

func TestCUDAGraph(t *testing.T) {
	w := startGPU(t)
	floats := func(s *Scope, x Tensor) []float32 {
		out := make([]float32, 4)
		s.ReadFloats(x, out)
		return out
	}
	do(t, w, func(s *Scope) error {
		acc, x := s.Zeros([]int64{4}, Float32, 0), s.Floats(ramp(4), []int64{4}, 0)
		step := func(s *Scope) error {
			s.AddTo(acc, s.Mul(x, x))
			return nil
		}
		if err := step(s); err != nil { // to warm up
			return err
		}
		g, err := s.Capture(step)
		if err != nil {
			return err
		}
		defer g.Free()
		if diff := cmp.Diff([]float32{0, 1, 4, 9}, floats(s, acc)); diff != "" {
			t.Errorf("the capture ran (-want +got):\n%s", diff)
		}
		for range 3 {
			s.Fail(g.Replay())
		}
		Write(s, x, 0, []int32{0, 0, 0, 0}) // converted: int32 zeros
		s.Fail(g.Replay())
		if diff := cmp.Diff([]float32{0, 4, 16, 36}, floats(s, acc)); diff != "" {
			t.Errorf("after four replays, the last of zeros (-want +got):\n%s", diff)
		}

		// A capture that fails leaves no trace: eager operations and later captures work.
		_, err = s.Capture(func(*Scope) error { return nil })
		oneLine(t, err, "empty")
		_, err = s.Capture(func(s *Scope) error {
			s.AddTo(acc, x)
			_, err := s.Capture(step)
			return err
		})
		oneLine(t, err, "a capture inside a capture")
		mine := errors.New("mine")
		if _, err := s.Capture(func(s *Scope) error { s.AddTo(acc, x); return mine }); !errors.Is(err, mine) {
			t.Errorf("the error of a captured function came back as %v", err)
		}
		_, err = s.Capture(func(s *Scope) error {
			s.AddTo(acc, x)
			floats(s, acc) // a wait, which a capture cannot hold
			return nil
		})
		oneLine(t, err, "libtorch read floats")
		s.CopyBytes(x, 0, make([]byte, 16), Float32)
		if err := step(s); err != nil {
			return err
		}
		again, err := s.Capture(step)
		if err != nil {
			return err
		}
		defer again.Free()
		s.Fail(again.Replay())
		s.Fail(g.Replay())
		s.Synchronize()
		if diff := cmp.Diff([]float32{0, 4, 16, 36}, floats(s, acc)); diff != "" {
			t.Errorf("after captures that failed (-want +got):\n%s", diff)
		}
		return s.Err()
	})
}

// Graphs come and go: one that is captured after all others were freed works too.
func TestCUDAGraphsComeAndGo(t *testing.T) {
	w := startGPU(t)
	do(t, w, func(s *Scope) error {
		x := s.Floats(ramp(1<<20), []int64{1 << 20}, 0)
		step := func(s *Scope) error {
			s.AddTo(x, s.Mul(x, x))
			return nil
		}
		if err := step(s); err != nil {
			return err
		}
		for round := range 5 {
			var graphs []*Graph
			for range 3 {
				g, err := s.Capture(step)
				if err != nil {
					return fmt.Errorf("round %d: %w", round, err)
				}
				graphs = append(graphs, g)
			}
			for _, g := range graphs {
				s.Fail(g.Replay())
			}
			s.Synchronize()
			for _, g := range graphs {
				g.Free()
			}
		}
		return s.Err()
	})
}

func TestCUDAMemory(t *testing.T) {
	w := startGPU(t)
	do(t, w, func(s *Scope) error {
		before, _, _ := s.CUDAMemory()
		mark := s.Mark()
		s.Zeros([]int64{8 << 20}, Uint8, 0)
		during, reserved, peak := s.CUDAMemory()
		s.Release(mark)
		after, held, _ := s.CUDAMemory()
		if during-before != 8<<20 || after != before || peak < during || reserved < during || held < reserved {
			t.Errorf("allocated %d, %d, %d; reserved %d, %d; peak %d", before, during, after, reserved, held, peak)
		}
		return s.Err()
	})
	oneLine(t, w.Do(func(s *Scope) error {
		s.Empty([]int64{1 << 50}, Uint8, 0)
		return nil
	}), "out of memory")
}
