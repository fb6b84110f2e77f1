package torch

/*
#cgo LDFLAGS: -ldl
#define _GNU_SOURCE
#include <dlfcn.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include "gsmc.h"

// Loads a library for everybody who looks for its symbols; dlerror is the thread's, so it is read in the same call.
static char* load_global(const char* path, void** handle) {
  *handle = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
  if (*handle != NULL) return NULL;
  const char* e = dlerror();
  return strdup(e != NULL ? e : "dlopen failed without a message");
}

// The path of a library that is loaded already, or NULL.
static char* loaded_path(const char* soname) {
  void* h = dlopen(soname, RTLD_LAZY | RTLD_NOLOAD);
  struct link_map* map = NULL;
  char* path = NULL;
  if (h == NULL) return NULL;
  if (dlinfo(h, RTLD_DI_LINKMAP, &map) == 0 && map != NULL) path = strdup(map->l_name);
  dlclose(h);
  return path;
}

// The folders where the loader looks for what the program needs, a line each, or NULL.
static char* search_path(void) {
  void* self = dlopen(NULL, RTLD_LAZY);
  Dl_serinfo size, *info;
  char* lines = NULL;
  if (self == NULL || dlinfo(self, RTLD_DI_SERINFOSIZE, &size) != 0) return NULL;
  info = calloc(1, size.dls_size);
  if (info == NULL) return NULL;
  if (dlinfo(self, RTLD_DI_SERINFOSIZE, info) == 0 && dlinfo(self, RTLD_DI_SERINFO, info) == 0) {
    lines = calloc(1, size.dls_size + size.dls_cnt + 1);
    for (unsigned i = 0; lines != NULL && i < info->dls_cnt; i++) {
      strcat(lines, info->dls_serpath[i].dls_name);
      strcat(lines, "\n");
    }
  }
  free(info);
  return lines;
}

static const gsmc_functions* find_table(void* library) {
  const gsmc_functions* (*get)(void) = (const gsmc_functions* (*)(void))dlsym(library, "gsmc_table");
  return get == NULL ? NULL : get();
}

static char* count_devices(const gsmc_functions* t, int* n) { return t->devices(n); }
*/
import "C"

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
	"unsafe"

	"github.com/gsmeval/gsmeval/internal/files"
)

// Version is the libtorch that gsmeval is built and tested with.
const Version = "2.11.0"

// cuda is the backend once OpenCUDA has loaded it.
var cuda struct {
	table   *C.gsmc_functions // nil until then
	devices int
	torch   string // libtorch_cuda.so, as a path
	shim    string // libgsmeval_cuda.so
}

var openOnce = sync.OnceValue(openCUDA)

// OpenCUDA loads libtorch's CUDA half, and what the project adds to it, unless that has been done. Its error is one line that says what
// was looked for and what lacks; without an error there is a GPU. It must come before anything else is asked of CUDA.
func OpenCUDA() error { return openOnce() }

func openCUDA() error {
	// cuBLAS takes the same way at every call only with a workspace of its own, and kernels are loaded as they are needed.
	for name, value := range map[string]string{"CUDA_MODULE_LOADING": "LAZY", "CUBLAS_WORKSPACE_CONFIG": ":4096:8"} {
		if os.Getenv(name) == "" {
			if err := os.Setenv(name, value); err != nil {
				return fmt.Errorf("CUDA: %w", err)
			}
		}
	}
	// First, because it costs nothing: without a driver nothing else is of use.
	if _, err := load("libcuda.so.1"); err != nil {
		return fmt.Errorf("CUDA: no NVIDIA driver: %w", missing(err))
	}
	if err := loadCUDA(libtorchPlaces()); err != nil {
		return fmt.Errorf("CUDA: %w", err)
	}
	var err error
	if cuda.devices, err = countDevices(); err != nil {
		return fmt.Errorf("CUDA: %w", err)
	}
	return nil
}

// countDevices fails where there is none.
func countDevices() (int, error) {
	var n C.int
	err := message(C.count_devices(cuda.table, &n))
	return int(n), err
}

// loadCUDA loads libtorch_cuda.so from the first place where that succeeds, then the shim.
func loadCUDA(places []place) error {
	path, err := loadTorchCUDA(places)
	if err != nil {
		return err
	}
	shim, table, err := loadShim()
	if err != nil {
		return err
	}
	cuda.torch, cuda.shim, cuda.table = path, shim, table
	return nil
}

// place is a folder where libtorch_cuda.so may be, and why it is looked at. The last one, Python's, is only found when it is needed.
type place struct {
	why string
	dir func() (string, error)
}

// libtorchPlaces are where libtorch may be: the loader's search path has the folders beside the program and the libtorch that it was
// linked with.
func libtorchPlaces() []place {
	var places []place
	add := func(why, dir string) {
		places = append(places, place{why, func() (string, error) { return dir, nil }})
	}
	for _, dir := range searchPath() {
		add("", dir)
	}
	if dir := os.Getenv("LIBTORCH"); dir != "" {
		add("$LIBTORCH, ", filepath.Join(dir, "lib"))
	}
	return append(places, place{"python3's torch, ", pythonTorch})
}

// loadTorchCUDA returns the path of what it loaded, or one error with what every place lacks.
func loadTorchCUDA(places []place) (string, error) {
	var lacks, without []string
	for _, p := range places {
		dir, err := p.dir()
		if err != nil {
			without = append(without, err.Error())
			continue
		}
		// The library finds its own companions by the folder that it is opened in.
		path, err := filepath.EvalSymlinks(filepath.Join(dir, "libtorch_cuda.so"))
		if err != nil {
			if !slices.Contains(systemDirs, dir) {
				without = append(without, p.why+dir)
			}
			continue
		}
		if err := sameBuild(filepath.Dir(path)); err != nil {
			lacks = append(lacks, fmt.Sprintf("%s%s: %v", p.why, path, err))
			continue
		}
		if _, err := load(path); err != nil {
			lacks = append(lacks, fmt.Sprintf("%s%s: %v", p.why, path, missing(err)))
			continue
		}
		return path, nil
	}
	text := "libtorch_cuda.so cannot be loaded"
	if len(lacks) > 0 {
		text += ": " + strings.Join(lacks, "; ")
	}
	if len(without) > 0 {
		text += "; it is not in " + strings.Join(without, ", ")
	}
	return "", errors.New(text + "; install the Python package torch==" + Version + " or set LIBTORCH to the torch folder of an environment that has it")
}

// systemDirs are in every search path, and libtorch is in none of them.
var systemDirs = []string{"/lib", "/usr/lib", "/lib64", "/usr/lib64", "/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu"}

// sameBuild tells whether the libtorch in dir is the one that the program runs with: another build's halves do not fit together,
// whatever their version says.
func sameBuild(dir string) error {
	for _, name := range []string{"libc10.so", "libtorch_cpu.so"} {
		theirs := filepath.Join(dir, name)
		b, err := os.Stat(theirs)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		ours := loadedPath(name)
		if ours == "" {
			return fmt.Errorf("the program runs without %s", name)
		}
		a, err2 := os.Stat(ours)
		if err := errors.Join(err, err2); err != nil {
			return err
		}
		if os.SameFile(a, b) {
			continue
		}
		same := a.Size() == b.Size()
		if same && a.Size() < 64<<20 { // the size has to do for the big one
			x, err := files.Read(ours, 64<<20)
			if err != nil {
				return err
			}
			y, err := files.Read(theirs, 64<<20)
			if err != nil {
				return err
			}
			same = bytes.Equal(x, y)
		}
		if !same {
			return fmt.Errorf("%s beside it is of another build than %s, which the program runs with", name, ours)
		}
	}
	return nil
}

// pythonTorch is the lib folder of python3's torch, found without importing it.
func pythonTorch() (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	const ask = `import importlib.metadata, importlib.util, pathlib
print(importlib.metadata.version("torch").split("+")[0])
print(pathlib.Path(importlib.util.find_spec("torch").origin).parent / "lib")`
	out, err := exec.CommandContext(ctx, "python3", "-c", ask).Output()
	version, dir, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return "", errors.New("a Python (there is no python3)")
	case err != nil || dir == "":
		return "", errors.New("python3, which has no torch")
	case version != Version:
		return "", fmt.Errorf("python3, whose torch is %s", version)
	}
	return dir, nil
}

// loadShim loads libgsmeval_cuda.so: from beside the program, or, for a test's binary, from where the build says that it is.
func loadShim() (string, *C.gsmc_functions, error) {
	const name = "libgsmeval_cuda.so"
	dirs := searchPath()
	paths := make([]string, 0, len(dirs)+1)
	for _, dir := range dirs {
		paths = append(paths, filepath.Join(dir, name))
	}
	if path := os.Getenv("LIBGSMEVAL_CUDA"); path != "" {
		paths = append(paths, path)
	}
	for _, path := range paths {
		if _, err := os.Stat(path); err != nil {
			continue
		}
		h, err := load(path)
		if err != nil {
			return "", nil, fmt.Errorf("%s: %w", path, missing(err))
		}
		table := C.find_table(h)
		if table == nil || table.size != C.sizeof_gsmc_functions {
			return "", nil, fmt.Errorf("%s is of another version of gsmeval; it belongs into the folder lib beside bin, or comes from `make build`", path)
		}
		return path, table, nil
	}
	return "", nil, fmt.Errorf("%s is not beside the program: `make build` makes it where libtorch has CUDA headers", name)
}

func load(path string) (unsafe.Pointer, error) {
	p := C.CString(path)
	defer C.free(unsafe.Pointer(p))
	h := new(unsafe.Pointer)
	if err := message(C.load_global(p, h)); err != nil {
		return nil, err
	}
	return *h, nil
}

// missing shortens the loader's words for a library that lacks.
func missing(err error) error {
	if name, ok := strings.CutSuffix(err.Error(), ": cannot open shared object file: No such file or directory"); ok {
		return fmt.Errorf("%s is missing", name)
	}
	return err
}

// message is failure without an operation.
func message(msg *C.char) error {
	if msg == nil {
		return nil
	}
	defer C.free(unsafe.Pointer(msg))
	first, _, _ := strings.Cut(C.GoString(msg), "\n")
	return errors.New(first)
}

// searchPath has no folder twice.
func searchPath() []string {
	lines := C.search_path()
	if lines == nil {
		return nil
	}
	defer C.free(unsafe.Pointer(lines))
	var dirs []string
	for _, dir := range strings.Split(strings.TrimSpace(C.GoString(lines)), "\n") {
		if dir = filepath.Clean(dir); !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

func loadedPath(soname string) string {
	name := C.CString(soname)
	defer C.free(unsafe.Pointer(name))
	path := C.loaded_path(name)
	if path == nil {
		return ""
	}
	defer C.free(unsafe.Pointer(path))
	return C.GoString(path)
}
