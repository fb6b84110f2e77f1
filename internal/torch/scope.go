package torch

/*
#include "shim.h"
*/
import "C"

import (
	"fmt"
	"time"
	"unsafe"

	lib "github.com/sugarme/gotch/libtch"
)

// DType is an element type, by libtorch's number.
type DType int32

// The element types that weights come in and computation uses.
const (
	Uint8    DType = 0
	Int32    DType = 3
	Int64    DType = 4
	Float16  DType = 5
	Float32  DType = 6
	Float64  DType = 7
	BFloat16 DType = 15
)

// String is the name that configs and checkpoints use.
func (d DType) String() string {
	switch d {
	case Uint8:
		return "uint8"
	case Int32:
		return "int32"
	case Int64:
		return "int64"
	case Float16:
		return "float16"
	case Float32:
		return "float32"
	case Float64:
		return "float64"
	case BFloat16:
		return "bfloat16"
	}
	return fmt.Sprintf("dtype(%d)", int32(d))
}

// Device is a CUDA device's index, or CPU.
type Device int32

// CPU is the host.
const CPU Device = -1

// Tensor is a handle on a libtorch tensor. The zero Tensor is no tensor.
type Tensor struct{ c lib.Ctensor }

// Defined tells whether there is a tensor.
func (t Tensor) Defined() bool { return t.c != nil }

// Device is where the tensor lies.
func (t Tensor) Device() Device {
	if t.onGPU() {
		return Device(int32(lib.AtDevice(t.c)))
	}
	return CPU
}

// DType is the type of the elements.
func (t Tensor) DType() DType {
	if !t.Defined() {
		return Float32
	}
	return DType(lib.AtScalarType(t.c))
}

func (t Tensor) shim() C.gsm_tensor { return C.gsm_tensor(unsafe.Pointer(t.c)) }

// Free frees a tensor that was kept; a zero Tensor is ignored. It must run on the worker's thread.
func (t Tensor) Free() {
	if t.c != nil {
		lib.AtFree(t.c)
	}
}

// Shape returns the sizes of the dimensions.
func (t Tensor) Shape() []int64 {
	n := int(lib.AtDim(t.c))
	if n == 0 {
		return []int64{}
	}
	shape := make([]int64, n)
	lib.AtShape(t.c, unsafe.Pointer(&shape[0]))
	return shape
}

// Scope makes tensors and owns them until it is released. Its first error sticks: later operations do nothing and return
// zero Tensors, so a forward pass reads as its formulas and checks once, at the end. A Scope is used on the worker's thread only.
type Scope struct {
	live  []lib.Ctensor
	err   error
	onGPU bool // the worker's thread has a device and a stream
	trace Trace
}

// Trace is told how long an operation took on the worker's thread. Operations on the CPU end before they return.
type Trace func(op string, took time.Duration)

// span begins an operation; the function that it returns ends it.
func (s *Scope) span(op string) func() {
	if s.trace == nil {
		return func() {}
	}
	begin := time.Now()
	return func() { s.trace(op, time.Since(begin)) }
}

// Err is the first error of an operation in this scope.
func (s *Scope) Err() error { return s.err }

// Fail makes err the scope's error if it has none.
func (s *Scope) Fail(err error) {
	if s.err == nil {
		s.err = err
	}
}

// Mark is a point to release back to.
func (s *Scope) Mark() int { return len(s.live) }

// Release frees every tensor made since the mark that was not kept.
func (s *Scope) Release(mark int) {
	for i := len(s.live) - 1; i >= mark; i-- {
		lib.AtFree(s.live[i])
	}
	s.live = s.live[:mark]
}

// Keep takes a tensor out of the scope: the caller frees it.
func (s *Scope) Keep(t Tensor) Tensor {
	for i := len(s.live) - 1; i >= 0; i-- {
		if s.live[i] == t.c {
			s.live = append(s.live[:i], s.live[i+1:]...)
			break
		}
	}
	return t
}

// run makes one gotch call that writes its result to out.
func (s *Scope) run(op string, call func(out *lib.Ctensor)) Tensor {
	if s.err != nil {
		return Tensor{}
	}
	defer s.span(op)()
	var out lib.Ctensor
	call(&out)
	if out == nil {
		s.err = lastError(op)
		return Tensor{}
	}
	s.live = append(s.live, out)
	return Tensor{out}
}

// shim makes one call into the shim that writes its result to out.
func (s *Scope) shim(op string, call func(out *C.gsm_tensor) *C.char) Tensor {
	if s.err != nil {
		return Tensor{}
	}
	defer s.span(op)()
	var out C.gsm_tensor
	if err := failure(op, call(&out)); err != nil {
		s.err = err
		return Tensor{}
	}
	t := Tensor{lib.Ctensor(unsafe.Pointer(out))}
	s.live = append(s.live, t.c)
	return t
}

// do makes one call into the shim that has no result of its own.
func (s *Scope) do(op string, call func() *C.char) {
	if s.err == nil {
		defer s.span(op)()
		s.Fail(failure(op, call()))
	}
}
