// The shim is the project's only C++: what gotch lacks or does too slowly. This file has tensors and what stands between the
// products; attention.cpp, streamed.cpp and noise.cpp have the rest, levels.cpp what they compute with.
//
// Float32 on a CPU has kernels of its own, written so that a row's bits depend on that row alone, never on its neighbours, the batch
// or the number of threads; every other dtype and device goes through plain libtorch operations.
#include "common.h"

#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

// ---------------------------------------------------------------- row kernels

INLINE float dot(const float* a, const float* b, int64_t n) {
  float acc[kLanes] = {0};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (int l = 0; l < kLanes; l++) acc[l] += a[i + l] * b[i + l];
  for (; i < n; i++) acc[0] += a[i] * b[i];
  return lane_sum(acc);
}

INLINE void rms_norm_row_any(const float* x, const float* w, float* y, int64_t n, float eps, float offset) {
  const float scale = 1.0f / __builtin_sqrtf(dot(x, x, n) / static_cast<float>(n) + eps);
  for (int64_t i = 0; i < n; i++) y[i] = (offset + w[i]) * (x[i] * scale);
}
LEVELS(rms_norm_row)

// The heads of one row: x' = x cos + rotate_half(x) sin in the first rot dimensions of each.
INLINE void rope_row_any(float* x, const float* cos, const float* sin, int64_t heads, int64_t hd, int64_t rot) {
  const int64_t half = rot / 2;
  for (int64_t h = 0; h < heads; h++, x += hd)
    for (int64_t i = 0; i < half; i++) {
      const float a = x[i], b = x[i + half];
      x[i] = a * cos[i] - b * sin[i];
      x[i + half] = b * cos[i + half] + a * sin[i + half];
    }
}
LEVELS(rope_row)

// y = cap tanh(x / cap); y may be x.
INLINE void softcap_span_any(const float* x, float* y, int64_t n, float cap) {
  for (int64_t i = 0; i < n; i++) y[i] = cap * fast_tanh(x[i] / cap);
}
LEVELS(softcap_span)

INLINE void silu_mul_span_any(const float* g, const float* u, float* y, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    const float x = g[i];
    y[i] = x / (1.0f + (x == x ? fast_exp(-x) : x)) * u[i];
  }
}
LEVELS(silu_mul_span)

// gelu(g) u with the tanh form of gelu (Hendrycks and Gimpel, 2016).
INLINE void gelu_mul_span_any(const float* g, const float* u, float* y, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    const float x = g[i];
    y[i] = 0.5f * x * (1.0f + fast_tanh(0.7978845608028654f * (x + 0.044715f * x * x * x))) * u[i];
  }
}
LEVELS(gelu_mul_span)

// ---------------------------------------------------------------- the interface

char* gsm_init_thread(int threads) {
  return guard([&] {
    // Lives as long as the thread, which lives as long as the process.
    static thread_local c10::InferenceMode inference(true);
    check_level();
    // The loops that matter are the shim's own, on threads of its own (parallel.cpp); what is left of libtorch's work runs on one.
    static thread_local const int usual = at::get_num_threads();
    set_threads(threads > 0 ? threads : usual);
    at::set_num_threads(1);
  });
}

int gsm_threads(void) { return threads(); }

char* gsm_cpu_capability(char* out, int n) {
  return guard([&] { snprintf(out, static_cast<size_t>(n), "%s", at::get_cpu_capability().c_str()); });
}

char* gsm_from_bytes(gsm_tensor* out, const void* data, int64_t bytes, const int64_t* shape, int dims, int src_type, int dst_type, int device) {
  return guard([&] {
    const at::IntArrayRef sizes(shape, static_cast<size_t>(dims));
    const auto src_dtype = static_cast<at::ScalarType>(src_type), dst_dtype = static_cast<at::ScalarType>(dst_type);
    auto t = at::empty(sizes, at::TensorOptions().dtype(src_dtype));
    copy_all(t, data, bytes);
    give(out, t.to(at::TensorOptions().dtype(dst_dtype).device(device_of(device))));
  });
}

char* gsm_copy_bytes_(gsm_tensor dst, int64_t first, const void* data, int64_t bytes, int src_type) {
  return guard([&] {
    auto& t = T(dst);
    const auto src_dtype = static_cast<at::ScalarType>(src_type);
    const int64_t size = static_cast<int64_t>(c10::elementSize(src_dtype)), n = bytes / size;
    TORCH_CHECK(t.is_contiguous() && bytes % size == 0 && first >= 0 && n <= t.numel() - first, bytes, " bytes for elements ", first, " and up of ", t.numel());
    if (n == 0) return;
    auto part = t.view({-1}).narrow(0, first, n);
    if (t.is_cpu() && t.scalar_type() == src_dtype) {
      memcpy(part.data_ptr(), data, static_cast<size_t>(bytes));
      return;
    }
    part.copy_(at::from_blob(const_cast<void*>(data), {n}, at::TensorOptions().dtype(src_dtype)));
    TORCH_CHECK(t.scalar_type() != at::kHalf || part.isfinite().all().item<bool>(), "a value is beyond float16's largest, 65504; compute in float32 or bfloat16");
  });
}

char* gsm_read_floats(gsm_tensor t, float* out, int64_t n) {
  return guard([&] {
    const auto src = T(t).to(at::TensorOptions().dtype(at::kFloat).device(at::kCPU)).contiguous();
    TORCH_CHECK(src.numel() == n, "tensor has ", src.numel(), " elements, not ", n);
    memcpy(out, src.data_ptr<float>(), sizeof(float) * static_cast<size_t>(n));
  });
}

char* gsm_read_bytes(gsm_tensor t, void* out, int64_t bytes, int element) {
  return guard([&] {
    const auto src = T(t).to(at::kCPU).contiguous();
    TORCH_CHECK(src.element_size() == element && static_cast<int64_t>(src.nbytes()) == bytes, bytes, " bytes for a tensor of ", src.nbytes(), " in elements of ", src.element_size());
    memcpy(out, src.data_ptr(), static_cast<size_t>(bytes));
  });
}

char* gsm_hash(gsm_tensor t, uint64_t* out) {  // FNV-1a over the bytes
  return guard([&] {
    const auto src = T(t).to(at::kCPU).contiguous();
    const auto* p = static_cast<const unsigned char*>(src.data_ptr());
    uint64_t h = 0xcbf29ce484222325ULL;
    for (size_t i = 0; i < static_cast<size_t>(src.nbytes()); i++) h = (h ^ p[i]) * 0x100000001b3ULL;
    *out = h;
  });
}

// theta^(2 i / dim) in float32, by the operations that transformers uses, so that the last bits agree.
char* gsm_rope_powers(gsm_tensor* out, double theta, int64_t dim) {
  return guard([&] {
    const auto exponent = at::arange(0, dim, 2, at::TensorOptions().dtype(at::kLong)).to(at::kFloat) / dim;
    give(out, at::pow(at::Scalar(theta), exponent));
  });
}

char* gsm_rms_norm(gsm_tensor* out, gsm_tensor x_, gsm_tensor w_, double eps, double offset) {
  TRY_OP(x_, rms_norm, out, x_, w_, eps, offset);
  return guard([&] {
    const auto &x = T(x_), &w = T(w_);
    const int64_t n = x.size(-1);
    TORCH_CHECK(w.numel() == n, "rms_norm: weight has ", w.numel(), " elements, the input's last dimension ", n);
    if (fast(x) && fast(w)) {
      auto y = at::empty_like(x);
      const float *xp = x.data_ptr<float>(), *wp = w.data_ptr<float>();
      float* yp = y.data_ptr<float>();
      parallel_for(x.numel() / n, grain(n), [&](int64_t from, int64_t to) {
        for (int64_t r = from; r < to; r++) rms_norm_row(xp + r * n, wp, yp + r * n, n, static_cast<float>(eps), static_cast<float>(offset));
      });
      give(out, std::move(y));
      return;
    }
    const auto f = x.to(at::kFloat);
    const auto unit = f * at::rsqrt(f.pow(2).mean(-1, true) + eps);
    // Where transformers rounds: Llama before the weight, Gemma (offset 1) after it.
    give(out, offset == 0 ? w * unit.to(x.scalar_type()) : (unit * (w.to(at::kFloat) + offset)).to(x.scalar_type()));
  });
}

char* gsm_rope_(gsm_tensor x_, gsm_tensor cos_, gsm_tensor sin_, const int32_t* pos, int64_t rows) {
  return guard([&] {
    auto& x = T(x_);  // [R, H, hd]
    const auto &cos = T(cos_), &sin = T(sin_);  // [P, rot]
    TORCH_CHECK(x.dim() == 3 && x.size(0) == rows && cos.size(1) <= x.size(2), "rope: the shapes do not fit");
    const int64_t heads = x.size(1), hd = x.size(2), rot = cos.size(1);
    for (int64_t r = 0; r < rows; r++) TORCH_CHECK(pos[r] >= 0 && pos[r] < cos.size(0), "rope: position ", pos[r], " is past the table's ", cos.size(0));
    if (fast(x)) {
      float* xp = x.data_ptr<float>();
      const float *cp = cos.data_ptr<float>(), *sp = sin.data_ptr<float>();
      parallel_for(rows, grain(heads * hd), [&](int64_t from, int64_t to) {
        for (int64_t r = from; r < to; r++) rope_row(xp + r * heads * hd, cp + pos[r] * rot, sp + pos[r] * rot, heads, hd, rot);
      });
      return;
    }
    const auto at_pos = int_tensor(pos, rows, x.device());
    const auto c = cos.index_select(0, at_pos).to(x.scalar_type()).unsqueeze(1), s = sin.index_select(0, at_pos).to(x.scalar_type()).unsqueeze(1);
    auto part = x.narrow(-1, 0, rot);
    const auto half = at::cat({-part.narrow(-1, rot / 2, rot - rot / 2), part.narrow(-1, 0, rot / 2)}, -1);
    part.copy_(part * c + half * s);
  });
}

char* gsm_silu_mul(gsm_tensor* out, gsm_tensor gate_, gsm_tensor up_) {
  TRY_OP(gate_, silu_mul, out, gate_, up_);
  return guard([&] {
    const auto &gate = T(gate_), &up = T(up_);
    if (fast(gate) && fast(up) && gate.sizes() == up.sizes()) {
      auto y = at::empty_like(gate);
      const float *gp = gate.data_ptr<float>(), *up_p = up.data_ptr<float>();
      float* yp = y.data_ptr<float>();
      parallel_for(gate.numel(), 16384, [&](int64_t from, int64_t to) { silu_mul_span(gp + from, up_p + from, yp + from, to - from); });
      give(out, std::move(y));
      return;
    }
    give(out, at::silu(gate) * up);
  });
}

char* gsm_gelu_mul(gsm_tensor* out, gsm_tensor gate_, gsm_tensor up_) {
  TRY_OP(gate_, gelu_mul, out, gate_, up_);
  return guard([&] {
    const auto &gate = T(gate_), &up = T(up_);
    if (fast(gate) && fast(up) && gate.sizes() == up.sizes()) {
      auto y = at::empty_like(gate);
      const float *gp = gate.data_ptr<float>(), *up_p = up.data_ptr<float>();
      float* yp = y.data_ptr<float>();
      parallel_for(gate.numel(), 16384, [&](int64_t from, int64_t to) { gelu_mul_span(gp + from, up_p + from, yp + from, to - from); });
      give(out, std::move(y));
      return;
    }
    give(out, at::gelu(gate, "tanh") * up);
  });
}

// x = cap tanh(x / cap).
char* gsm_softcap_(gsm_tensor x_, double cap) {
  return guard([&] {
    auto& x = T(x_);
    if (fast(x)) {
      float* p = x.data_ptr<float>();
      parallel_for(x.numel(), 16384, [&](int64_t from, int64_t to) { softcap_span(p + from, p + from, to - from, static_cast<float>(cap)); });
      return;
    }
    x.copy_(at::tanh(x / cap) * cap);
  });
}
