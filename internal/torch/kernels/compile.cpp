#include "nvrtc.h"

#include <cstring>

// gsm_compile_kernels compiles source and gives a copy of the code, which the caller frees; *log is NULL or the compiler's words, to be freed too.
extern "C" char* gsm_compile_kernels(const char* library, const char* source, const char* arch, size_t* n, char** log) {
  std::string why;
  const auto code = nvrtc_compile(library, source, arch, &why);
  *n = code.size();
  *log = why.empty() ? nullptr : strdup(why.c_str());
  if (code.empty()) return nullptr;
  char* out = static_cast<char*>(malloc(code.size()));
  if (out != nullptr) memcpy(out, code.data(), code.size());
  return out;
}
