package torch

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func oneLine(t *testing.T, err error, want ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	for _, w := range append(want, "") {
		if !strings.Contains(err.Error(), w) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q does not say %q in one line", err, w)
		}
	}
}

// library builds a shared library that needs another one, which is gone afterwards.
func library(t *testing.T, path, needs string) {
	t.Helper()
	dir := t.TempDir()
	source := filepath.Join(dir, "x.c")
	other := filepath.Join(dir, needs)
	if err := os.WriteFile(source, []byte("int x;"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"-shared", "-o", other, "-Wl,-soname," + needs, source},
		{"-shared", "-o", path, source, "-Wl,--no-as-needed", other},
	} {
		if out, err := exec.Command("gcc", args...).CombinedOutput(); err != nil {
			t.Fatalf("gcc: %v: %s", err, out)
		}
	}
}

func TestWhatCUDALacks(t *testing.T) {
	write := func(name string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, name), []byte("not a library"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, c := range []struct {
		name string
		fill func(t *testing.T, dir string)
		want string
	}{
		{"nothing", func(*testing.T, string) {}, "libtorch_cuda.so cannot be loaded; it is not in $LIBTORCH, "},
		{"broken", write("libtorch_cuda.so"), "libtorch_cuda.so: file too short"},
		{"incomplete", func(t *testing.T, dir string) {
			library(t, filepath.Join(dir, "libtorch_cuda.so"), "libabsent.so.13")
		}, "libtorch_cuda.so: libabsent.so.13 is missing"},
		{"of another build", func(t *testing.T, dir string) {
			write("libc10.so")(t, dir)
			library(t, filepath.Join(dir, "libtorch_cuda.so"), "libabsent.so.13")
		}, "libc10.so beside it is of another build than /"},
		{"a link to nothing", func(t *testing.T, dir string) {
			if err := os.Symlink("gone", filepath.Join(dir, "libtorch_cuda.so")); err != nil {
				t.Fatal(err)
			}
		}, "it is not in $LIBTORCH, "},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := t.TempDir()
			dir := filepath.Join(root, "lib")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			c.fill(t, dir)
			t.Setenv("LIBTORCH", root)
			var places []place
			for _, p := range libtorchPlaces() {
				if p.why == "$LIBTORCH, " {
					places = append(places, p)
				}
			}
			_, err := loadTorchCUDA(places)
			oneLine(t, err, c.want, dir, "install the Python package torch==2.11.0")
		})
	}
}

func TestPythonsTorch(t *testing.T) {
	for _, c := range []struct{ name, script, want string }{
		{"no python", "", "there is no python3"},
		{"no torch", "exit 1", "python3, which has no torch"},
		{"another torch", "printf '2.10.0\\n/x/torch/lib\\n'", "python3, whose torch is 2.10.0"},
		{"the torch", "printf '2.11.0\\n/x/torch/lib\\n'", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			if c.script != "" {
				if err := os.WriteFile(filepath.Join(dir, "python3"), []byte("#!/bin/sh\n"+c.script+"\n"), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			t.Setenv("PATH", dir)
			got, err := pythonTorch()
			if c.want != "" {
				oneLine(t, err, c.want)
			} else if err != nil || got != "/x/torch/lib" {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

// The program's own way on this machine, whatever it has.
func TestOpenCUDA(t *testing.T) {
	n, err := CUDADevices()
	for _, name := range []string{"CUDA_MODULE_LOADING", "CUBLAS_WORKSPACE_CONFIG"} {
		if os.Getenv(name) == "" {
			t.Errorf("%s is not set", name)
		}
	}
	if err == nil {
		if n == 0 {
			t.Error("no GPU, and no reason")
		}
		return
	}
	oneLine(t, err, "CUDA: ")
	if n != 0 {
		t.Errorf("%d GPUs and the error %v", n, err)
	}
	if _, e := load("libcuda.so.1"); e != nil {
		oneLine(t, err, "no NVIDIA driver: libcuda.so.1 is missing")
	}
	if w, e := StartOn(1, 0, false); w != nil || e == nil || e.Error() != err.Error() {
		t.Errorf("a worker on cuda:0: %v", e)
	}
	if _, e := CUDADevice(0); e == nil || e.Error() != err.Error() {
		t.Errorf("cuda:0 without CUDA: %v", e)
	}
	w, e := StartOn(1, CPU, false)
	if e != nil {
		t.Fatal(e)
	}
	w.Close()
}

// libtorch's CUDA half and the shim load for real, driver or not, in a program that has computed before, and the CPU goes on. In a process
// of its own, so that the other tests stay without.
func TestCUDALibrariesLoad(t *testing.T) {
	const inside = "GSMEVAL_TEST_LOAD_CUDA"
	if os.Getenv(inside) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestCUDALibrariesLoad$", "-test.v")
		cmd.Env = append(os.Environ(), inside+"=1")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if _, reason, skipped := strings.Cut(string(out), "skipped: "); skipped {
			t.Skip(strings.SplitN(reason, "\n", 2)[0])
		}
		_, loaded, _ := strings.Cut(string(out), "loaded: ")
		t.Log(strings.SplitN(loaded, "\n", 2)[0])
		return
	}
	w := start(t, 1)
	sum := func() []float32 {
		var got [3]float32
		if err := w.Do(func(s *Scope) error {
			x := s.Floats(ramp(3), []int64{1, 3}, CPU)
			s.ReadFloats(s.Linear(x, s.Floats([]float32{1, 2, 3, 4, 5, 6, 7, 8, 9}, []int64{3, 3}, CPU), Tensor{}), got[:])
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return got[:]
	}
	before := sum()
	if err := loadCUDA(libtorchPlaces()); err != nil {
		t.Skipf("skipped: %v", err)
	}
	n, err := countDevices()
	if (n > 0) != (err == nil) {
		t.Errorf("%d GPUs, %v", n, err)
	}
	if err != nil && !strings.Contains(err.Error(), "driver") {
		t.Errorf("without a GPU: %v", err)
	}
	t.Logf("loaded: %s and %s; %d GPUs (%v)", cuda.torch, cuda.shim, n, err)
	if after := sum(); after[2] != before[2] || after[2] != 26 {
		t.Errorf("the CPU computes %v, and computed %v", after, before)
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	paths := map[string]bool{}
	for _, line := range strings.Split(string(maps), "\n") {
		if f := strings.Fields(line); len(f) == 6 && strings.HasSuffix(f[5], "/libtorch_cpu.so") {
			paths[f[5]] = true
		}
	}
	if len(paths) != 1 {
		t.Errorf("libtorch_cpu.so is loaded from %v", paths)
	}
}
