package session

import (
	"strings"
	"testing"

	"github.com/gsmeval/gsmeval/decode/checkpoint"
	"github.com/gsmeval/gsmeval/internal/torch"
)

func TestDeviceIdentity(t *testing.T) {
	t.Parallel()
	g := torch.CUDAInfo{Name: "NVIDIA H200", Capability: "9.0", Attention: "flash", Kernels: true, Driver: "1", Free: 5}
	same := g
	same.Driver, same.Runtime, same.Free, same.Libraries = "2", "13", 6, "/elsewhere"
	if a, b := deviceIdentity(g), deviceIdentity(same); a != b {
		t.Errorf("driver, memory and paths change the identity: %q, %q", a, b)
	}
	for name, change := range map[string]func(*torch.CUDAInfo){
		"name":       func(g *torch.CUDAInfo) { g.Name = "NVIDIA L4" },
		"capability": func(g *torch.CUDAInfo) { g.Capability = "8.9" },
		"attention":  func(g *torch.CUDAInfo) { g.Attention = "math" },
		"kernels":    func(g *torch.CUDAInfo) { g.Kernels = false },
	} {
		other := g
		change(&other)
		if deviceIdentity(other) == deviceIdentity(g) {
			t.Errorf("another %s has the same identity", name)
		}
	}
}

// onGPU is Qwen2.5-1.5B's shape.
var onGPU = checkpoint.Config{
	NumLayers: 28, NumKVHeads: 2, HeadDim: 128, HiddenSize: 1536, VocabSize: 151936,
	MaxPositions: 32768,
}

func TestAutoGPUBatch(t *testing.T) {
	t.Parallel()
	const parameters = 1_543_714_304
	last := 0
	for gb := int64(2); gb <= 160; gb++ {
		total := gb << 30
		n := autoGPUBatch(onGPU, parameters, "bfloat16", 512, total)
		if n < last || n&(n-1) != 0 || n > 256 {
			t.Fatalf("%d GiB: %d, after %d", gb, n, last)
		}
		last = n
		takes := func(n int) int64 {
			w, c, l := GPUNeed(onGPU, parameters, "bfloat16", n, 1536)
			return w + c + l + gpuWorkspace
		}
		if n > 1 && takes(n)*100 > total*85 {
			t.Errorf("%d GiB: batch %d takes %d bytes", gb, n, takes(n))
		}
		if n < 256 && takes(2*n)*100 <= total*85 {
			t.Errorf("%d GiB: batch %d, but twice that fits", gb, n)
		}
	}
	if last != 256 || autoGPUBatch(onGPU, parameters, "bfloat16", 512, 2<<30) != 1 {
		t.Errorf("160 GiB: %d; 2 GiB: %d", last, autoGPUBatch(onGPU, parameters, "bfloat16", 512, 2<<30))
	}
	if a, b := autoGPUBatch(onGPU, parameters, "float32", 512, 12<<30),
		autoGPUBatch(onGPU, parameters, "bfloat16", 512, 12<<30); a >= b {
		t.Errorf("float32 has batch %d, bfloat16 %d", a, b)
	}
}

func TestFitting(t *testing.T) {
	t.Parallel()
	const mb, workspace = 1 << 20, gpuWorkspace
	got := Fitting(workspace+1000*mb+48*10*mb+5, 1000*mb, 8*mb, 2*mb, 64)
	if !strings.HasPrefix(got, "set generation.batch_size to 48 or less: batch size 64 needs ") {
		t.Error(got)
	}
	// By the formula it fits, and yet it did not: less than it was.
	if got := Fitting(1<<40, mb, mb, mb, 64); !strings.HasPrefix(got, "set generation.batch_size to 63 or less") {
		t.Error(got)
	}
	if got := Fitting(workspace, 1000*mb, 8*mb, 2*mb, 64); !strings.Contains(got, "does not fit with any") {
		t.Error(got)
	}
}

func TestDescribeGPU(t *testing.T) {
	t.Parallel()
	g := torch.CUDAInfo{
		Name: "A GPU", Capability: "9.0", Driver: "580.1 (CUDA 13.0)", Runtime: "13.0",
		Attention: "flash in bfloat16, math in float32",
		Libraries: "/a, /b", Kernels: true, Total: 80 << 30, Free: 20 << 30,
	}
	want := "A GPU, compute capability 9.0, driver 580.1 (CUDA 13.0), CUDA 13.0, 20.0 of 80.0 GiB free; " +
		"libtorch's attention flash in bfloat16, math in float32; decode steps by own kernels; /a, /b"
	if got := DescribeGPU(g); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	g.Kernels, g.NoKernels = false, "NVRTC is missing"
	if got := DescribeGPU(g); !strings.Contains(got, "plain operations, no kernels of its own: NVRTC is missing;") {
		t.Error(got)
	}
}
