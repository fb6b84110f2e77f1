// What the shim's files share: errors, tensors, and how loops become vector code.
#pragma once
#include "device.h"
#include "parallel.h"
#include "shim.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

namespace {

inline char* message(const std::string& what) {
  char* m = static_cast<char*>(malloc(what.size() + 1));
  if (m != nullptr) memcpy(m, what.c_str(), what.size() + 1);
  return m;
}

// guard turns every C++ exception, not only std::exception, into a message.
template <class F>
char* guard(F&& f) {
  try {
    f();
    return nullptr;
  } catch (const c10::Error& e) {
    return message(e.what_without_backtrace());
  } catch (const std::exception& e) {
    return message(e.what());
  } catch (...) {
    return message("an exception of unknown type");
  }
}

inline at::Tensor& T(gsm_tensor t) {
  TORCH_CHECK(t != nullptr, "a tensor is missing");
  return *static_cast<at::Tensor*>(t);
}

inline void give(gsm_tensor* out, at::Tensor t) { *out = new at::Tensor(std::move(t)); }

inline bool fast(const at::Tensor& t) { return t.is_cpu() && t.scalar_type() == at::kFloat && t.is_contiguous(); }

// copy_all overwrites the contiguous t with as many bytes as it holds.
inline void copy_all(at::Tensor& t, const void* data, int64_t bytes) {
  TORCH_CHECK(static_cast<int64_t>(t.nbytes()) == bytes, bytes, " bytes for a tensor of ", t.nbytes());
  if (bytes > 0) memcpy(t.data_ptr(), data, static_cast<size_t>(bytes));
}

inline at::Device device_of(int d) { return d < 0 ? at::Device(at::kCPU) : at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(d)); }

inline at::Tensor int_tensor(const int32_t* v, int64_t n, at::Device device) {
  return at::from_blob(const_cast<int32_t*>(v), {n}, at::kInt).to(at::kLong).to(device);
}

}  // namespace

// device_ops is what takes the place of plain operations on the device of t, or nothing (device.cpp).
const gsm_device_ops* device_ops(gsm_tensor t);

// TRY_OP leaves the function with the kernel's answer where there is a kernel for it.
#define TRY_OP(tensor, op, ...) \
  if (const auto* ops = device_ops(tensor); ops != nullptr && ops->op != nullptr) return ops->op(__VA_ARGS__)

#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__)
#define X86
#endif

// What kernels compute with. Those of one level and of another give the same bits in float32 from kAvx2 on; kPortable has no fused
// multiply-adds but in products.
enum class Level : int { kPortable, kAvx2, kAvx512, kAmx };

extern std::atomic<Level> gsm_level;  // levels.cpp

inline Level level() { return gsm_level.load(std::memory_order_relaxed); }

void check_level();

// The hot loops are compiled for each level: LEVELS(name) makes name of the always-inline name_any.
#ifdef X86
#define LEVELS(NAME)                                                                                                        \
  template <class... A> __attribute__((target("arch=x86-64-v4"))) static auto NAME##_v4(A... a) { return NAME##_any(a...); } \
  template <class... A> __attribute__((target("arch=x86-64-v3"))) static auto NAME##_v3(A... a) { return NAME##_any(a...); } \
  template <class... A> static auto NAME(A... a) {                                                                          \
    switch (level()) {                                                                                                      \
      case Level::kPortable: return NAME##_any(a...);                                                                       \
      case Level::kAvx2: return NAME##_v3(a...);                                                                            \
      default: return NAME##_v4(a...);                                                                                      \
    }                                                                                                                       \
  }
#else
#define LEVELS(NAME) \
  template <class... A> static auto NAME(A... a) { return NAME##_any(a...); }
#endif
#define INLINE static inline __attribute__((always_inline))

static constexpr int kLanes = 16;

// expf, relative error below 2e-7 on [-87, 88] (Cephes' polynomial); smaller arguments give the smallest normal's order.
INLINE float fast_exp(float x) {
  x = x < -87.0f ? -87.0f : (x > 88.0f ? 88.0f : x);
  const float n = __builtin_floorf(x * 1.44269504088896341f + 0.5f);
  float r = x - n * 0.693359375f;
  r = r - n * -2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  const int32_t bits = (static_cast<int32_t>(n) + 127) << 23;
  float two_n;
  memcpy(&two_n, &bits, sizeof two_n);
  return p * two_n;
}

// tanh, relative error below 3e-7 (Cephes): a polynomial near 0, where the exponential would cancel.
INLINE float fast_tanh(float x) {
  const float a = __builtin_fabsf(x), z = x * x;
  float p = -5.70498872745e-3f;
  p = p * z + 2.06390887954e-2f;
  p = p * z - 5.37397155531e-2f;
  p = p * z + 1.33314422036e-1f;
  p = p * z - 3.33332819422e-1f;
  p = p * z * x + x;
  const float far = 1.0f - 2.0f / (fast_exp(2.0f * a) + 1.0f);
  return a < 0.625f || x != x ? p : (x < 0 ? -far : far);
}

INLINE float lane_sum(const float* acc) {
  float s = 0;
  for (int l = 0; l < kLanes; l++) s += acc[l];
  return s;
}

// Rows a thread takes at least, for rows of n elements: below about 16,000 elements waking a thread costs more.
static int64_t grain(int64_t n) { return std::max<int64_t>(1, 16384 / std::max<int64_t>(n, 1)); }
