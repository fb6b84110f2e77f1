// Package kernels has the CUDA kernels of a decode step and what tests them without a GPU: an emulation of CUDA's execution model that
// runs their source on the CPU, and NVRTC, which compiles it without a GPU. The program does not import it; libgsmeval_cuda.so holds the
// source as text.
package kernels

/*
#cgo LDFLAGS: -ltorch_cpu -lc10 -ldl -lstdc++
#include <stdlib.h>
void gsm_emulate_kernels(int on);
char* gsm_compile_kernels(const char* library, const char* source, const char* arch, size_t* n, char** log);
*/
import "C"

import (
	_ "embed"
	"errors"
	"unsafe"

	_ "github.com/gsmeval/gsmeval/internal/torch" // where the operations are dispatched
)

// Source is the kernels' text. That it is embedded makes Go build the emulation anew when it changes.
//
//go:embed kernels.cu
var Source string

// Emulate puts the emulated kernels in the place of plain operations on the CPU, for the whole process, or takes them away.
func Emulate(on bool) {
	var flag C.int
	if on {
		flag = 1
	}
	C.gsm_emulate_kernels(flag)
}

// Compile compiles Source by the NVRTC in library for arch: machine code for sm_90, PTX for compute_90. The log has warnings.
func Compile(library, arch string) (code []byte, log string, err error) {
	l, s, a := C.CString(library), C.CString(Source), C.CString(arch)
	defer C.free(unsafe.Pointer(l))
	defer C.free(unsafe.Pointer(s))
	defer C.free(unsafe.Pointer(a))
	var n C.size_t
	var words *C.char
	out := C.gsm_compile_kernels(l, s, a, &n, &words) //nolint:gocritic // cgo's own check of two addresses looks like x == x
	if words != nil {
		log = C.GoString(words)
		C.free(unsafe.Pointer(words))
	}
	if out == nil {
		return nil, log, errors.New(log)
	}
	defer C.free(unsafe.Pointer(out))
	return C.GoBytes(unsafe.Pointer(out), C.int(n)), log, nil
}
