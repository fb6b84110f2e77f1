// Linears whose weights stand in the order in which a product reads them, so that a decode step, which multiplies few rows, reads
// memory as one stream. docs/benchmarks.md ("Earlier and now") has what that gains over oneDNN: most at 8 to 32 rows, little at one.
//
// An element of the result is one chain of fused multiply-adds over the input's elements in their order: its bits do not depend
// on the number of rows, on the row's place among them or on the number of threads.
#include "common.h"

#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__)
#define X86
#include <cpuid.h>
#include <immintrin.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace {

// float32 weights [out, in] as panels [ceil(out / 64), in, 64], bfloat16 ones as panels [ceil(out / 32), ceil(in / 32), 2, 16, 16, 2]:
// two tiles of 16 outputs, whose rows are pairs of inputs, as AMX reads them. What is missing at the ends is zero.
constexpr int64_t kColumns = 64, kTileColumns = 32, kTileInputs = 32;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

#ifdef X86

// Inputs of a panel that all rows pass before the next ones: 16 KB, which stay in the first cache.
constexpr int64_t kChunk = 64;
// Rows that pass a panel together; their sums stand on the stack.
constexpr int64_t kRowBlock = 96;
// Rows that stand in registers: 6 x 4 sums, 4 vectors of weights and one of the input, of 32.
constexpr int64_t kRowsAtOnce = 6;
// How far ahead of their use weights are called from memory.
constexpr int64_t kAhead = 16384, kTileAhead = 8192;

#define AVX512 __attribute__((target("avx512f")))
#define AMX __attribute__((target("amx-tile,amx-bf16")))

// acc [R, 64] += x [R, n] times w [n, 64]. Of the memory at ahead it calls so many lines for each input.
template <int R>
AVX512 __attribute__((always_inline)) inline void chunk_of(const float* x, int64_t in, const float* w, int64_t n, float* acc,
                                                           const char* ahead, int lines) {
  __m512 sum[R][4];
  for (int r = 0; r < R; r++)
    for (int j = 0; j < 4; j++) sum[r][j] = _mm512_load_ps(acc + kColumns * r + 16 * j);
  for (int64_t k = 0; k < n; k++, w += kColumns) {
    for (int i = 0; i < lines; i++, ahead += 64) _mm_prefetch(ahead, _MM_HINT_T0);
    const __m512 w0 = _mm512_load_ps(w), w1 = _mm512_load_ps(w + 16), w2 = _mm512_load_ps(w + 32), w3 = _mm512_load_ps(w + 48);
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
      const __m512 v = _mm512_set1_ps(x[r * in + k]);
      sum[r][0] = _mm512_fmadd_ps(v, w0, sum[r][0]);
      sum[r][1] = _mm512_fmadd_ps(v, w1, sum[r][1]);
      sum[r][2] = _mm512_fmadd_ps(v, w2, sum[r][2]);
      sum[r][3] = _mm512_fmadd_ps(v, w3, sum[r][3]);
    }
  }
  for (int r = 0; r < R; r++)
    for (int j = 0; j < 4; j++) _mm512_store_ps(acc + kColumns * r + 16 * j, sum[r][j]);
}

AVX512 void chunk(int64_t rows, const float* x, int64_t in, const float* w, int64_t n, float* acc, const char* ahead, int lines) {
  switch (rows) {
    case 1: return chunk_of<1>(x, in, w, n, acc, ahead, lines);
    case 2: return chunk_of<2>(x, in, w, n, acc, ahead, lines);
    case 3: return chunk_of<3>(x, in, w, n, acc, ahead, lines);
    case 4: return chunk_of<4>(x, in, w, n, acc, ahead, lines);
    case 5: return chunk_of<5>(x, in, w, n, acc, ahead, lines);
    default: return chunk_of<kRowsAtOnce>(x, in, w, n, acc, ahead, lines);
  }
}

// y [rows, out] = x [rows, in] times the panels [from, to) of w, plus b.
void float_panels(float* y, const float* x, const float* w, const float* b, int64_t rows, int64_t in, int64_t out, int64_t from, int64_t to) {
  alignas(64) float acc[kRowBlock * kColumns];
  for (int64_t p = from; p < to; p++) {
    const float* panel = w + p * in * kColumns;
    const int64_t column = p * kColumns, width = std::min(kColumns, out - column);
    for (int64_t first = 0; first < rows; first += kRowBlock) {
      const int64_t m = std::min(kRowBlock, rows - first), groups = ceil_div(m, kRowsAtOnce);
      memset(acc, 0, sizeof(float) * static_cast<size_t>(m * kColumns));
      for (int64_t k = 0; k < in; k += kChunk) {
        const int64_t n = std::min(kChunk, in - k);
        const char* ahead = reinterpret_cast<const char*>(panel + k * kColumns) + kAhead;
        for (int64_t g = 0; g < groups; g++) {
          const int64_t r = m * g / groups, end = m * (g + 1) / groups;
          // An input has four lines of 64 bytes; the groups share the calling of the next chunk's.
          const int lines = first > 0 ? 0 : groups >= 4 ? (g < 4 ? 1 : 0) : static_cast<int>(4 * (g + 1) / groups - 4 * g / groups);
          chunk(end - r, x + (first + r) * in + k, in, panel + k * kColumns, n, acc + r * kColumns, ahead, lines);
          ahead += 64 * lines * n;
        }
      }
      for (int64_t r = 0; r < m; r++)
        for (int64_t j = 0; j < width; j++) y[(first + r) * out + column + j] = acc[r * kColumns + j] + (b != nullptr ? b[column + j] : 0.0f);
    }
  }
}

struct alignas(64) TileConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {0};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

// One tile of sums to its place in y, of which some rows and columns exist.
void put_tile(float* y, int64_t out, const float (*sum)[16], int64_t rows, int64_t columns, const float* b) {
  for (int64_t r = 0; r < std::min<int64_t>(rows, 16); r++)
    for (int64_t j = 0; j < std::min<int64_t>(columns, 16); j++) y[r * out + j] = sum[r][j] + (b != nullptr ? b[j] : 0.0f);
}

// As float_panels; x [ceil(rows / 16) * 16, in], in a multiple of 32.
AMX void tile_panels(float* y, const at::BFloat16* x, const at::BFloat16* w, const float* b, int64_t rows, int64_t in, int64_t out,
                     int64_t from, int64_t to) {
  const TileConfig config;
  _tile_loadconfig(&config);
  alignas(64) float sums[4][16][16];
  const int64_t stride = in * static_cast<int64_t>(sizeof(at::BFloat16));
  for (int64_t p = from; p < to; p++) {
    const int64_t column = p * kTileColumns;
    for (int64_t m = 0; m < rows; m += 32) {
      const bool two = rows - m > 16;
      const at::BFloat16 *tiles = w + p * in * kTileColumns, *left = x + m * in;
      _tile_zero(0);
      _tile_zero(1);
      if (two) {
        _tile_zero(2);
        _tile_zero(3);
      }
      for (int64_t k = 0; k < in; k += kTileInputs, tiles += kTileInputs * kTileColumns) {
        if (m == 0) {
          const char* ahead = reinterpret_cast<const char*>(tiles) + kTileAhead;
#pragma GCC unroll 32
          for (int i = 0; i < 32; i++) _mm_prefetch(ahead + 64 * i, _MM_HINT_T0);
        }
        _tile_loadd(4, left + k, stride);
        _tile_loadd(6, tiles, 64);
        _tile_loadd(7, tiles + kTileInputs * 16, 64);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        if (two) {
          _tile_loadd(5, left + 16 * in + k, stride);
          _tile_dpbf16ps(2, 5, 6);
          _tile_dpbf16ps(3, 5, 7);
        }
      }
      _tile_stored(0, sums[0], 64);
      _tile_stored(1, sums[1], 64);
      if (two) {
        _tile_stored(2, sums[2], 64);
        _tile_stored(3, sums[3], 64);
      }
      for (int i = 0; i < (two ? 4 : 2); i++) {
        const int64_t r = m + 16 * (i / 2), c = column + 16 * (i % 2);
        if (c < out) put_tile(y + r * out + c, out, sums[i], rows - r, out - c, b != nullptr ? b + c : nullptr);
      }
    }
  }
  _tile_release();
}

// The kernel gives a process AMX's registers when it asks for them.
bool amx() {
  static const bool has = [] {
    unsigned a = 0, b = 0, c = 0, d = 0;
    constexpr unsigned tile = 1u << 24, bf16 = 1u << 22;
    constexpr long request = 0x1023, tile_data = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (d & tile) != 0 && (d & bf16) != 0 &&
           syscall(SYS_arch_prctl, request, tile_data) == 0;
  }();
  return has;
}

bool streams(at::ScalarType dtype) {
  const bool avx512 = at::get_cpu_capability() == "AVX512";
  return avx512 && (dtype == at::kFloat || (dtype == at::kBFloat16 && amx()));
}

// An uninitialised tensor in large pages, where the system has them: which saves up to a tenth of a stream's time.
at::Tensor in_large_pages(at::IntArrayRef shape, const at::TensorOptions& options) {
  auto t = at::empty(shape, options);
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto begin = (reinterpret_cast<uintptr_t>(t.data_ptr()) + page - 1) / page * page;
  const auto end = (reinterpret_cast<uintptr_t>(t.data_ptr()) + t.nbytes()) / page * page;
  if (end > begin) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);  // only advice: what it answers does not matter
  return t;
}

#else

bool streams(at::ScalarType) { return false; }
at::Tensor in_large_pages(at::IntArrayRef shape, const at::TensorOptions& options) { return at::empty(shape, options); }
void float_panels(float*, const float*, const float*, const float*, int64_t, int64_t, int64_t, int64_t, int64_t) {}
void tile_panels(float*, const at::BFloat16*, const at::BFloat16*, const float*, int64_t, int64_t, int64_t, int64_t, int64_t) {}

#endif

void check_streams(at::ScalarType dtype) {
  TORCH_CHECK(streams(dtype), "streamed Linears need AVX-512 for float32 and AMX for bfloat16; this processor has them not for ", dtype);
}

// Panels that a thread takes at least: where a product is short, waking another thread takes longer. Reading a weight from memory takes
// the time of some 16 multiplications.
int64_t panel_grain(int64_t panels, int64_t rows, int64_t panel_size) { return panels * panel_size * (rows + 16) < (1 << 20) ? panels : 1; }

// 64 bytes of a row at a time, so that no line of memory is read twice.
void pack_floats(float* to, const float* w, int64_t out, int64_t in) {
  at::parallel_for(0, ceil_div(out, kColumns), 1, [&](int64_t from, int64_t until) {
    for (int64_t p = from; p < until; p++)
      for (int64_t first = 0; first < in; first += 16)
        for (int64_t j = 0; j < kColumns; j++) {
          const int64_t n = p * kColumns + j;
          for (int64_t k = first; k < std::min(first + 16, in); k++) to[(p * in + k) * kColumns + j] = n < out ? w[n * in + k] : 0.0f;
        }
  });
}

void pack_tiles(at::BFloat16* to, const at::BFloat16* w, int64_t out, int64_t in) {
  const int64_t steps = ceil_div(in, kTileInputs);
  at::parallel_for(0, ceil_div(out, kTileColumns), 1, [&](int64_t from, int64_t until) {
    for (int64_t p = from; p < until; p++)
      for (int64_t s = 0; s < steps; s++)
        for (int64_t tile = 0; tile < 2; tile++)
          for (int64_t pair = 0; pair < 16; pair++)
            for (int64_t j = 0; j < 16; j++)
              for (int64_t half = 0; half < 2; half++) {
                const int64_t n = p * kTileColumns + 16 * tile + j, k = s * kTileInputs + 2 * pair + half;
                to[((((p * steps + s) * 2 + tile) * 16 + pair) * 16 + j) * 2 + half] = n < out && k < in ? w[n * in + k] : at::BFloat16(0.0f);
              }
  });
}

// x [rows, in] in bfloat16 [ceil(rows / 16) * 16, in rounded up to whole tiles], zeros at the ends.
at::Tensor tile_input(const at::Tensor& x) {
  const int64_t rows = x.size(0), in = x.size(1);
  const int64_t padded_rows = ceil_div(rows, 16) * 16, padded_in = ceil_div(in, kTileInputs) * kTileInputs;
  const auto options = x.options().dtype(at::kBFloat16);
  auto padded = padded_rows == rows && padded_in == in ? at::empty({rows, in}, options) : at::zeros({padded_rows, padded_in}, options);
  padded.narrow(0, 0, rows).narrow(1, 0, in).copy_(x);
  return padded;
}

}  // namespace

// Whether Linears can be streamed in a dtype here.
int gsm_streams(int dtype) { return streams(static_cast<at::ScalarType>(dtype)) ? 1 : 0; }

// A copy of w [out, in] as gsm_streamed_linear reads it.
char* gsm_stream_weight(gsm_tensor* out, gsm_tensor w_) {
  return guard([&] {
    const auto& w = T(w_);
    check_streams(w.scalar_type());
    TORCH_CHECK(w.dim() == 2 && w.is_cpu() && w.is_contiguous(), "stream weight: the weight must be a matrix on the CPU");
    const int64_t n = w.size(0), in = w.size(1);
    if (w.scalar_type() == at::kFloat) {
      auto packed = in_large_pages({ceil_div(n, kColumns), in, kColumns}, w.options());
      pack_floats(packed.data_ptr<float>(), w.data_ptr<float>(), n, in);
      give(out, std::move(packed));
      return;
    }
    auto packed = in_large_pages({ceil_div(n, kTileColumns), ceil_div(in, kTileInputs), 2, 16, 16, 2}, w.options());
    pack_tiles(packed.data_ptr<at::BFloat16>(), w.data_ptr<at::BFloat16>(), n, in);
    give(out, std::move(packed));
  });
}

// x [R, in] times the streamed w [n, in] transposed, plus b [n] where there is one: computed in the dtype of w with float32 sums,
// returned in that of x.
char* gsm_streamed_linear(gsm_tensor* out, gsm_tensor x_, gsm_tensor w_, int64_t n, gsm_tensor b_) {
  return guard([&] {
    const auto &x = T(x_), &w = T(w_);
    const auto dtype = w.scalar_type();
    check_streams(dtype);
    TORCH_CHECK(x.dim() == 2 && x.is_cpu() && w.is_contiguous(), "streamed linear: the input must be [rows, in] on the CPU");
    const int64_t rows = x.size(0), in = x.size(1);
    const bool whole = dtype == at::kFloat;
    const int64_t columns = whole ? kColumns : kTileColumns, panels = ceil_div(n, columns);
    TORCH_CHECK(w.dim() == (whole ? 3 : 6) && w.size(0) == panels && w.size(1) == (whole ? in : ceil_div(in, kTileInputs)),
                "streamed linear: an input of ", in, " features and ", n, " outputs do not fit the weight's panels ", w.sizes());
    at::Tensor b;
    if (b_ != nullptr) {
      b = T(b_).to(at::kFloat).contiguous();
      TORCH_CHECK(b.dim() == 1 && b.size(0) == n, "streamed linear: a bias of ", b.sizes(), " for ", n, " outputs");
    }
    const float* bias = b.defined() ? b.data_ptr<float>() : nullptr;
    auto y = at::empty({rows, n}, x.options().dtype(at::kFloat));
    float* yp = y.data_ptr<float>();
    const int64_t grain = panel_grain(panels, rows, in * columns);
    if (whole) {
      const auto input = x.to(at::kFloat).contiguous();
      const float *xp = input.data_ptr<float>(), *wp = w.data_ptr<float>();
      at::parallel_for(0, panels, grain, [&](int64_t from, int64_t to) { float_panels(yp, xp, wp, bias, rows, in, n, from, to); });
    } else {
      const auto input = tile_input(x);
      const auto *xp = input.data_ptr<at::BFloat16>(), *wp = w.data_ptr<at::BFloat16>();
      const int64_t padded = input.size(1);
      at::parallel_for(0, panels, grain, [&](int64_t from, int64_t to) { tile_panels(yp, xp, wp, bias, rows, padded, n, from, to); });
    }
    give(out, y.to(x.scalar_type()));
  });
}
