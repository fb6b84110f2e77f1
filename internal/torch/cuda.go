package torch

/*
#include <stdlib.h>
#include "gsmc.h"

static char* cuda_info(const gsmc_functions* t, int device, gsmc_info* out) { return t->info(device, out); }
static char* cuda_init(const gsmc_functions* t, int device, int tf32) { return t->init(device, tf32); }
static char* cuda_synchronize(const gsmc_functions* t) { return t->synchronize(); }
static char* cuda_memory(const gsmc_functions* t, int64_t* a, int64_t* r, int64_t* p) { return t->memory(a, r, p); }
static char* cuda_copy_bytes(const gsmc_functions* t, gsm_tensor dst, int64_t first, const void* data, int64_t bytes, int src_type) {
  return t->copy_bytes_(dst, first, data, bytes, src_type);
}
static char* cuda_capture_begin(const gsmc_functions* t, void** g) { return t->capture_begin(g); }
static char* cuda_capture_end(const gsmc_functions* t, void* g, int keep) { return t->capture_end(g, keep); }
static char* cuda_replay(const gsmc_functions* t, void* g) { return t->replay(g); }
static void cuda_free_graph(const gsmc_functions* t, void* g) { t->free_graph(g); }
static char* cuda_device_ops(const gsmc_functions* t, const gsm_device_ops** ops) { return t->device_ops(ops); }
*/
import "C"

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"unsafe"

	lib "github.com/sugarme/gotch/libtch"

	"github.com/gsmeval/gsmeval/internal/files"
)

// CUDADevices is how many GPUs there are, with the reason where there is none.
func CUDADevices() (int, error) {
	if err := OpenCUDA(); err != nil {
		return 0, err
	}
	return cuda.devices, nil
}

// CUDAInfo describes a GPU and what runs on it.
type CUDAInfo struct {
	Name, Capability string // such as "NVIDIA H200", "9.0"
	Driver, Runtime  string // versions; the driver's own, and the CUDA versions of both
	Attention        string // the kernels that libtorch's attention would choose for a decode step
	Libraries        string // where libtorch_cuda.so and libgsmeval_cuda.so were found
	Build            string // a hash of the sources of libgsmeval_cuda.so
	Kernels          bool   // whether there are kernels of the project's own, in place of plain operations
	NoKernels        string // why not
	Total, Free      int64  // bytes of memory
}

// CUDADevice asks a GPU.
func CUDADevice(d Device) (CUDAInfo, error) {
	w, err := startCUDA(0, d, -1)
	if err != nil {
		return CUDAInfo{}, err
	}
	defer w.Close()
	var info CUDAInfo
	err = w.Do(func(*Scope) error {
		var c C.gsmc_info
		if err := message(C.cuda_info(cuda.table, C.int(d), &c)); err != nil {
			return fmt.Errorf("CUDA: %w", err)
		}
		info = CUDAInfo{
			Name: C.GoString(&c.name[0]), Capability: fmt.Sprintf("%d.%d", c.major, c.minor),
			Driver: driverVersion(int(c.driver)), Runtime: cudaVersion(int(c.runtime)),
			Attention: fmt.Sprintf("%s in bfloat16, %s in float32", attention(int(c.attend_bf16)), attention(int(c.attend_f32))),
			Libraries: cuda.torch + ", " + cuda.shim, Build: C.GoString(cuda.table.build),
			Total: int64(c.total), Free: int64(c.free),
		}
		return nil
	})
	ops, reason := deviceOps()
	info.Kernels, info.NoKernels = ops, reason
	return info, err
}

func cudaVersion(v int) string { return fmt.Sprintf("%d.%d", v/1000, v%1000/10) }

// driverVersion adds the CUDA version that the driver is for to its own, which the kernel tells.
func driverVersion(v int) string {
	own, err := files.Read("/sys/module/nvidia/version", 1<<10)
	if err != nil {
		return "CUDA " + cudaVersion(v)
	}
	return fmt.Sprintf("%s (CUDA %s)", strings.TrimSpace(string(own)), cudaVersion(v))
}

// attention names an at::SDPBackend.
func attention(backend int) string {
	names := []string{"math", "flash", "memory-efficient", "cuDNN", "overrideable"}
	if backend < 0 || backend >= len(names) {
		return "none"
	}
	return names[backend]
}

// StartOn is Start for a device. On CUDA the worker's thread has a stream of its own for its whole life; tf32 allows TF32 in float32
// products, in the whole process.
func StartOn(threads int, d Device, tf32 bool) (*Worker, error) {
	if d == CPU {
		return Start(threads)
	}
	return startCUDA(threads, d, int(cbool(tf32)))
}

// startCUDA starts a worker on a GPU; with tf32 below 0 the process keeps what it has.
func startCUDA(threads int, d Device, tf32 int) (*Worker, error) {
	if err := OpenCUDA(); err != nil {
		return nil, err
	}
	w, err := Start(threads)
	if err != nil {
		return nil, err
	}
	err = w.Do(func(*Scope) error {
		if err := message(C.cuda_init(cuda.table, C.int(d), C.int(tf32))); err != nil {
			return fmt.Errorf("CUDA: %w", err)
		}
		useDeviceOps()
		w.onGPU = true
		return nil
	})
	if err != nil {
		w.Close()
		return nil, err
	}
	return w, nil
}

// kernels says whether the project's kernels took the place of plain operations on CUDA, which the first worker decides.
var kernels struct {
	sync.Mutex
	asked bool
	used  bool
	why   string // not
}

func useDeviceOps() {
	kernels.Lock()
	defer kernels.Unlock()
	if kernels.asked {
		return
	}
	kernels.asked = true
	ops := new(*C.gsm_device_ops)
	switch err := message(C.cuda_device_ops(cuda.table, ops)); {
	case err != nil:
		kernels.why = err.Error()
	case *ops == nil:
		kernels.why = "libgsmeval_cuda.so was built without them"
	default:
		C.gsm_use_device_ops('c', *ops)
		kernels.used = true
	}
}

func deviceOps() (used bool, why string) {
	kernels.Lock()
	defer kernels.Unlock()
	return kernels.used, kernels.why
}

// Synchronize waits until the device has done what the worker's thread gave it.
func (s *Scope) Synchronize() {
	if s.onGPU {
		s.do("synchronize", func() *C.char { return C.cuda_synchronize(cuda.table) })
	}
}

// CUDAMemory is what libtorch's allocator has on the worker's device, in bytes: in tensors, held from the driver (in tensors, or free for
// later ones), and the most that tensors ever took.
func (s *Scope) CUDAMemory() (allocated, reserved, peak int64) {
	var a, r, p C.int64_t
	if s.onGPU {
		s.do("memory", func() *C.char { return C.cuda_memory(cuda.table, &a, &r, &p) })
	}
	return int64(a), int64(r), int64(p)
}

// onGPU tells whether there is a tensor, and it lies on a GPU. gotch reads eight bytes of libtch's int: the lower four are the device.
func (t Tensor) onGPU() bool { return t.Defined() && Device(int32(lib.AtDevice(t.c))) != CPU }

// copyPinned is CopyBytes through pinned memory.
func (s *Scope) copyPinned(t Tensor, first int, data []byte, src DType) {
	s.do("copy bytes", func() *C.char {
		return C.cuda_copy_bytes(cuda.table, t.shim(), C.int64_t(first), unsafe.Pointer(unsafe.SliceData(data)), C.int64_t(len(data)), C.int(src))
	})
}

// Graph is a sequence of operations on a device that is replayed as one. It is used on its worker's thread, and freed before that ends.
type Graph struct{ c unsafe.Pointer }

var errNoCUDA = errors.New("CUDA graphs: the worker is not on a GPU")

// Capture records what f gives to the device, without running it. f must have run once before (libraries allocate at their first use),
// and must not wait, read from the device or copy from the host. A replay reads and writes the same memory as the capture: results go
// to tensors that were made before it, or that f keeps as long as the graph is used; the others die with f, and their memory is given to
// later graphs of the worker. After an error nothing is captured, and operations can go on.
func (s *Scope) Capture(f func(*Scope) error) (*Graph, error) {
	if s.err != nil {
		return nil, s.err
	}
	if !s.onGPU {
		return nil, errNoCUDA
	}
	g := &Graph{}
	out := &g.c
	if err := failure("capture", C.cuda_capture_begin(cuda.table, out)); err != nil {
		return nil, err
	}
	inner, ended := &Scope{onGPU: true}, false
	defer func() {
		if !ended { // f panicked
			C.free(unsafe.Pointer(C.cuda_capture_end(cuda.table, g.c, 0)))
			g.Free()
		}
	}()
	err := f(inner)
	if err == nil {
		err = inner.Err()
	}
	inner.Release(0)
	ended = true
	if end := failure("capture", C.cuda_capture_end(cuda.table, g.c, cbool(err == nil))); err == nil {
		err = end
	}
	if err != nil {
		g.Free()
		return nil, err
	}
	return g, nil
}

// Replay gives the graph to the device; it does not wait for it.
func (g *Graph) Replay() error {
	if g == nil || g.c == nil {
		return errors.New("CUDA graphs: the graph was freed")
	}
	return failure("replay", C.cuda_replay(cuda.table, g.c))
}

// Free frees the graph; a nil or freed one is ignored.
func (g *Graph) Free() {
	if g != nil && g.c != nil {
		C.cuda_free_graph(cuda.table, g.c)
		g.c = nil
	}
}
