// NVRTC without its headers or its library at build time: kernels.cu is compiled with what stands beside libtorch where the program runs.
#pragma once
#include <dlfcn.h>

#include <string>
#include <vector>

namespace {

// The machine code (for sm_XX) or PTX (for compute_XX) of source. On failure it is empty and *why says why, the compiler's log included.
inline std::vector<char> nvrtc_compile(const char* library, const char* source, const std::string& arch, std::string* why) {
  std::vector<char> code;
  // NVRTC looks for its builtins by name only, which finds them once they are loaded.
  const std::string path = library;
  if (const auto slash = path.rfind('/'); slash != std::string::npos) (void)dlopen((path.substr(0, slash + 1) + "libnvrtc-builtins.so.13.0").c_str(), RTLD_NOW | RTLD_GLOBAL);
  void* lib = dlopen(library, RTLD_NOW | RTLD_LOCAL);
  if (lib == nullptr) {
    const char* e = dlerror();
    *why = e != nullptr ? e : "NVRTC cannot be loaded";
    return code;
  }
  using Program = void*;
  const auto find = [&](const char* name) { return dlsym(lib, name); };
  const auto create = reinterpret_cast<int (*)(Program*, const char*, const char*, int, const char* const*, const char* const*)>(find("nvrtcCreateProgram"));
  const auto destroy = reinterpret_cast<int (*)(Program*)>(find("nvrtcDestroyProgram"));
  const auto compile = reinterpret_cast<int (*)(Program, int, const char* const*)>(find("nvrtcCompileProgram"));
  const auto log_size = reinterpret_cast<int (*)(Program, size_t*)>(find("nvrtcGetProgramLogSize"));
  const auto log = reinterpret_cast<int (*)(Program, char*)>(find("nvrtcGetProgramLog"));
  const bool machine = arch.compare(0, 3, "sm_") == 0;
  const auto code_size = reinterpret_cast<int (*)(Program, size_t*)>(find(machine ? "nvrtcGetCUBINSize" : "nvrtcGetPTXSize"));
  const auto get_code = reinterpret_cast<int (*)(Program, char*)>(find(machine ? "nvrtcGetCUBIN" : "nvrtcGetPTX"));
  if (!create || !destroy || !compile || !log_size || !log || !code_size || !get_code) {
    *why = std::string(library) + " lacks functions of NVRTC";
    return code;
  }
  Program p = nullptr;
  if (const int e = create(&p, source, "kernels.cu", 0, nullptr, nullptr); e != 0) {
    *why = "NVRTC takes no program (error " + std::to_string(e) + ")";
    return code;
  }
  // Bits matter: nothing contracted, roots and quotients rounded correctly, subnormals kept.
  const std::string gpu = "--gpu-architecture=" + arch;
  const char* options[] = {gpu.c_str(), "--std=c++17", "--fmad=false", "--prec-sqrt=true", "--prec-div=true", "--ftz=false"};
  const int failed = compile(p, 6, options);
  size_t n = 0;
  if (log_size(p, &n) == 0 && n > 1) {
    why->resize(n);
    if (log(p, &(*why)[0]) != 0) why->clear();
    while (!why->empty() && (why->back() == '\0' || why->back() == '\n')) why->pop_back();
  }
  if (failed != 0) {
    *why = "NVRTC does not compile the kernels for " + arch + " (error " + std::to_string(failed) + "): " + *why;
  } else if (code_size(p, &n) == 0 && n > 0) {
    code.resize(n);
    if (get_code(p, code.data()) != 0) code.clear();
  }
  if (failed == 0 && code.empty()) *why = "NVRTC has no code for " + arch;
  destroy(&p);
  return code;
}

}  // namespace
