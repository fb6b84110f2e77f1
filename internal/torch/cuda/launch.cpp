// Puts the kernels of ../kernels on the GPU: NVRTC compiles them for the device at hand when the process first asks, the driver loads and
// launches them. Without them the plain operations stay, so that whatever fails here is a reason and not an error.
#include "../gsmc.h"
#include "../kernels/nvrtc.h"

#include <ATen/ATen.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>

#include <cstdlib>
#include <map>
#include <mutex>

// The build runs in the repository's root.
asm(".section .rodata\n"
    ".global gsm_kernel_source\n.hidden gsm_kernel_source\n"
    "gsm_kernel_source:\n.incbin \"internal/torch/kernels/kernels.cu\"\n.byte 0\n"
    ".previous\n");
extern "C" const char gsm_kernel_source[];

namespace {

// What is needed of the driver's interface, so that its library is not needed to build or load this one.
struct Driver {
  int (*module_load)(void** module, const void* image) = nullptr;
  int (*get_function)(void** function, void* module, const char* name) = nullptr;
  int (*launch)(void* function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared, void* stream, void** args, void** extra) = nullptr;
  int (*error_name)(int e, const char** name) = nullptr;

  std::string name(int e) const {
    const char* text = nullptr;
    return error_name != nullptr && error_name(e, &text) == 0 && text != nullptr ? text : "error " + std::to_string(e);
  }
};

Driver driver;
std::mutex mutex;
std::map<int, void*> modules;                                // by device
std::map<std::pair<int, std::string>, void*> functions;      // by device and name

template <class F>
void find(void* lib, const char* name, F* f) {
  *f = reinterpret_cast<F>(dlsym(lib, name));
  TORCH_CHECK(*f != nullptr, "the driver's library has no ", name);
}

void open_driver() {
  if (driver.launch != nullptr) return;
  void* lib = dlopen("libcuda.so.1", RTLD_NOW);
  TORCH_CHECK(lib != nullptr, "libcuda.so.1 cannot be loaded");
  find(lib, "cuGetErrorName", &driver.error_name);
  find(lib, "cuModuleLoadData", &driver.module_load);
  find(lib, "cuModuleGetFunction", &driver.get_function);
  find(lib, "cuLaunchKernel", &driver.launch);
}

// The folder of the library that has a function, with its slash.
std::string folder_of(void* function) {
  Dl_info where{};
  if (dladdr(function, &where) == 0 || where.dli_fname == nullptr) return "";
  const std::string path = where.dli_fname;
  const auto slash = path.rfind('/');
  return slash == std::string::npos ? "" : path.substr(0, slash + 1);
}

// NVRTC lies where the wheels of libtorch have it, or beside the CUDA runtime that this library runs with.
std::string nvrtc_path() {
  const std::string name = "libnvrtc.so.13";
  const std::string torch = folder_of(reinterpret_cast<void*>(&c10::cuda::device_count)), runtime = folder_of(reinterpret_cast<void*>(&cudaGetDeviceCount));
  for (const auto& dir : {torch.empty() ? torch : torch + "../../nvidia/cu13/lib/", runtime}) {
    if (dir.empty()) continue;
    if (FILE* f = fopen((dir + name).c_str(), "r"); f != nullptr) {
      fclose(f);
      return dir + name;
    }
  }
  return name;
}

// With the mutex held, outside of captures.
void* module_of(int device) {
  if (const auto found = modules.find(device); found != modules.end()) return found->second;
  open_driver();
  int major = 0, minor = 0;
  C10_CUDA_CHECK(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device));
  C10_CUDA_CHECK(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device));
  static std::map<std::string, std::vector<char>> compiled;  // by architecture
  const auto arch = "sm_" + std::to_string(10 * major + minor);
  auto& code = compiled[arch];
  std::string why;
  if (code.empty()) code = nvrtc_compile(nvrtc_path().c_str(), gsm_kernel_source, arch, &why);
  TORCH_CHECK(!code.empty(), why);
  void* module = nullptr;
  const int e = driver.module_load(&module, code.data());
  TORCH_CHECK(e == 0, "the driver does not load the kernels: ", driver.name(e));
  return modules[device] = module;
}

void* function_of(const std::string& name) {
  const int device = c10::cuda::current_device();
  const std::lock_guard<std::mutex> lock(mutex);
  auto& f = functions[{device, name}];
  if (f == nullptr) {
    const int e = driver.get_function(&f, module_of(device), name.c_str());
    TORCH_CHECK(e == 0, "the kernel ", name, " is not there: ", driver.name(e));
  }
  return f;
}

void launch(const std::string& name, dim3 grid, unsigned threads, size_t shared, void** args) {
  void* f = function_of(name);
  const int e = driver.launch(f, grid.x, grid.y, grid.z, threads, 1, 1, static_cast<unsigned>(shared), c10::cuda::getCurrentCUDAStream().stream(), args, nullptr);
  TORCH_CHECK(e == 0, "the kernel ", name, " does not start: ", driver.name(e));
}

}  // namespace

#include "../kernels/ops.h"

// GSMEVAL_CUDA_KERNELS=0 keeps the plain operations, for audits.
extern "C" char* gsmc_device_ops(const gsm_device_ops** ops) {
  *ops = nullptr;
  return guard([&] {
    const char* set = getenv("GSMEVAL_CUDA_KERNELS");
    TORCH_CHECK(set == nullptr || std::string(set) != "0", "GSMEVAL_CUDA_KERNELS=0 is set");
    // The context must be there before the driver is asked to load anything.
    C10_CUDA_CHECK(cudaFree(nullptr));
    const int device = c10::cuda::current_device();
    {
      const std::lock_guard<std::mutex> lock(mutex);
      module_of(device);
    }
    *ops = &kernel_ops;
  });
}
