// Package torch is the only C of the project: raw libtorch calls through gotch's libtch, and a small shim for what
// libtch lacks or does too slowly.
//
// libtorch keeps its error, its thread count and its inference mode per OS thread. So one Worker, locked to one thread,
// makes every call; other goroutines hand it functions. Tensors are freed by scope, never by a finalizer.
package torch

/*
#cgo CXXFLAGS: -std=c++17 -O3
#include <stdlib.h>
#include "shim.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"unsafe"

	lib "github.com/sugarme/gotch/libtch"
)

// ErrClosed is returned for work given to a closed Worker.
var ErrClosed = errors.New("the torch worker is closed")

// Worker owns the OS thread that makes every libtorch call.
type Worker struct {
	jobs    chan func()
	mu      sync.RWMutex // guards closed, and jobs against a send after close
	closed  bool
	threads int
	onGPU   bool // StartOn gave the thread a device and a stream
	trace   Trace
}

// Start starts a Worker whose operations run on that many threads; 0 leaves libtorch's choice.
func Start(threads int) (*Worker, error) {
	w := &Worker{jobs: make(chan func())}
	ready := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := failure("init", C.gsm_init_thread(C.int(threads)))
		if err == nil {
			w.threads = int(C.gsm_threads())
		}
		ready <- err
		for job := range w.jobs {
			job()
		}
	}()
	if err := <-ready; err != nil {
		close(w.jobs)
		return nil, err
	}
	return w, nil
}

// Threads is the number of threads of one operation.
func (w *Worker) Threads() int { return w.threads }

// Do runs f on the worker's thread with a fresh scope, frees what f did not keep and returns f's error, else the
// scope's. f must not call Do.
func (w *Worker) Do(f func(*Scope) error) error {
	w.mu.RLock()
	defer w.mu.RUnlock()
	if w.closed {
		return ErrClosed
	}
	done := make(chan error, 1)
	w.jobs <- func() {
		s := &Scope{trace: w.trace, onGPU: w.onGPU}
		defer s.Release(0)
		err := f(s)
		if err == nil {
			err = s.Err()
		}
		done <- err
	}
	return <-done
}

// checkLoops is for tests: it runs loops on that many threads and tells in how many an element was not computed exactly once.
func (s *Scope) checkLoops(threads, loops int) int {
	return int(C.gsm_check_loops(C.int(threads), C.int64_t(loops)))
}

// Trace makes every later Do report its operations to t, for `make bench`; nil ends it.
func (w *Worker) Trace(t Trace) error {
	return w.Do(func(*Scope) error {
		w.trace = t
		return nil
	})
}

// Close ends the worker's thread.
func (w *Worker) Close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.closed {
		w.closed = true
		close(w.jobs)
	}
}

// CPUCapability names the instruction set that libtorch's kernels use here, such as AVX2 or AVX512.
func CPUCapability() (string, error) {
	buf := (*C.char)(C.calloc(64, 1))
	defer C.free(unsafe.Pointer(buf))
	if err := failure("cpu capability", C.gsm_cpu_capability(buf, 64)); err != nil {
		return "", err
	}
	return C.GoString(buf), nil
}

// KernelLevels are the instruction sets that kernels are written for, as GSMEVAL_CPU_KERNELS names them.
var KernelLevels = []string{"portable", "avx2", "avx512", "amx"}

// Kernels is the one of KernelLevels that computes here: the best that the processor has, if neither GSMEVAL_CPU_KERNELS nor libtorch's
// own ATEN_CPU_CAPABILITY says less.
func Kernels() string { return C.GoString(C.gsm_kernels()) }

// UseKernels makes another one compute, for tests that compare them. It fails where the processor lacks it.
func UseKernels(name string) error {
	c := C.CString(name)
	defer C.free(unsafe.Pointer(c))
	return failure("use kernels", C.gsm_use_kernels(c))
}

// Processor names the instructions that decide the bits of a result here: libtorch's, and what Kernels says where that is another.
func Processor() (string, error) {
	isa, err := CPUCapability()
	kernels := strings.ToUpper(Kernels())
	switch {
	case err != nil || kernels == isa:
		return isa, err
	case kernels == "AMX":
		return isa + " AMX", nil
	}
	return isa + ", kernels " + kernels, nil
}

// failure turns the shim's message into an error and frees it.
func failure(op string, msg *C.char) error {
	if msg == nil {
		return nil
	}
	defer C.free(unsafe.Pointer(msg))
	return opError(op, C.GoString(msg))
}

func opError(op, text string) error {
	// The first line says what is wrong; a C++ stack trace follows it.
	first, _, _ := strings.Cut(text, "\n")
	return fmt.Errorf("libtorch %s: %s", op, first)
}

// lastError fetches the error of the gotch call that was just made on this thread.
func lastError(op string) error {
	p := unsafe.Pointer(lib.GetAndResetLastErr())
	if p == nil {
		return opError(op, "failed without a message")
	}
	defer C.free(p)
	return opError(op, C.GoString((*C.char)(p)))
}
