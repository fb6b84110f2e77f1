// Linears whose weights stand in the order in which a product reads them, so that a decode step, which multiplies few rows, reads
// memory as one stream. docs/benchmarks/intel-xeon-amx.md ("Earlier and now") has what that gains over oneDNN: most at 8 to 32 rows, little at one.
//
// An element of the result is one chain of fused multiply-adds over the input's elements in their order, from zero, and the bias is
// added at the end: its bits do not depend on the number of rows, on the row's place among them, on the number of threads or, but
// for AMX, on the instructions. What is multiplied is rounded to the weight's dtype first, sums are float32. AMX adds the products of a
// tile of 32 inputs up before it adds them to the sum, in an order of its own.
#include "common.h"

#ifdef X86
#include <immintrin.h>
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace {

// float32 and float16 weights [out, in] as panels [ceil(out / 64), in, 64], bfloat16 ones as panels [ceil(out / 32), ceil(in / 32), 2,
// 16, 16, 2]: two tiles of 16 outputs, whose rows are pairs of inputs, as AMX reads them. What is missing at the ends is zero.
constexpr int64_t kColumns = 64, kTileColumns = 32, kTileInputs = 32;

// Rows that pass a panel together; their sums stand on the stack.
constexpr int64_t kRowBlock = 96;
// Rows that stand in registers: with AVX-512 6 x 4 sums, 4 vectors of weights and one of the input, of 32; with AVX2 6 x 2, 2 and one, of 16.
constexpr int64_t kRowsAtOnce = 6;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// y [rows, out] = x [rows, in] times the panels [from, to) of w, plus b. For tiles, in is a multiple of 32.
typedef void (*Product)(float* y, const void* x, const void* w, const float* b, int64_t rows, int64_t in, int64_t out, int64_t from, int64_t to);

// Row r of a panel's sums to its place, where some columns exist.
void put_row(float* y, const float* sum, const float* b, int64_t width) {
  for (int64_t j = 0; j < width; j++) y[j] = sum[j] + (b != nullptr ? b[j] : 0.0f);
}

// The places of weight (input k, output j) in the panels of a dtype.
template <class E>
struct Panel {
  static constexpr int64_t columns = kColumns;
  static int64_t place(int64_t k, int64_t j) { return k * kColumns + j; }
};

template <>
struct Panel<at::BFloat16> {
  static constexpr int64_t columns = kTileColumns;
  static int64_t place(int64_t k, int64_t j) {
    return k / kTileInputs * kTileInputs * kTileColumns + j / 16 * kTileInputs * 16 + k % kTileInputs / 2 * 32 + j % 16 * 2 + k % 2;
  }
};

// Without vector instructions, for any processor: the definition of what the others compute.
template <class E>
void portable(float* y, const void* x_, const void* w_, const float* b, int64_t rows, int64_t in, int64_t out, int64_t from, int64_t to) {
  constexpr int64_t columns = Panel<E>::columns;
  const auto* x = static_cast<const float*>(x_);
  float acc[columns];
  for (int64_t p = from; p < to; p++) {
    const E* panel = static_cast<const E*>(w_) + p * in * columns;
    const int64_t column = p * columns, width = std::min(columns, out - column);
    for (int64_t r = 0; r < rows; r++) {
      for (float& sum : acc) sum = 0;
      for (int64_t k = 0; k < in; k++)
        for (int64_t j = 0; j < columns; j++) acc[j] = std::fma(x[r * in + k], static_cast<float>(panel[Panel<E>::place(k, j)]), acc[j]);
      put_row(y + r * out + column, acc, b != nullptr ? b + column : nullptr, width);
    }
  }
}

#ifdef X86

// Inputs of a panel that all rows pass before the next ones: 16 KB, which stay in the first cache.
constexpr int64_t kChunk = 64;
// How far ahead of their use weights are called from memory.
constexpr int64_t kAhead = 16384, kTileAhead = 8192;
// What avx2 passes of a panel before the next rows.
constexpr int64_t kChunkBytes = 16384;

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

void avx512(float* y, const void* x_, const void* w_, const float* b, int64_t rows, int64_t in, int64_t out, int64_t from, int64_t to) {
  const auto *x = static_cast<const float*>(x_), *w = static_cast<const float*>(w_);
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
      for (int64_t r = 0; r < m; r++) put_row(y + (first + r) * out + column, acc + r * kColumns, b != nullptr ? b + column : nullptr, width);
    }
  }
}

#define AVX2 __attribute__((target("avx2,fma,f16c")))

AVX2 __attribute__((always_inline)) inline __m256 eight(const float* p) { return _mm256_load_ps(p); }
AVX2 __attribute__((always_inline)) inline __m256 eight(const at::Half* p) {
  return _mm256_cvtph_ps(_mm_load_si128(reinterpret_cast<const __m128i*>(p)));
}

template <int R, int C>
AVX2 __attribute__((always_inline)) inline void add_products(__m256 (&sum)[R][C], const float* x, const __m256 (&w)[C]) {
#pragma GCC unroll 8
  for (int r = 0; r < R; r++) {
    const __m256 v = _mm256_broadcast_ss(x + r);
#pragma GCC unroll 8
    for (int c = 0; c < C; c++) sum[r][c] = _mm256_fmadd_ps(v, w[c], sum[r][c]);
  }
}

// sum [R, 8 C] += x [n, R] times 8 C columns of w [n, columns]. Of the memory at ahead it calls so many lines for each input.
template <int R, int C, class E>
AVX2 __attribute__((always_inline)) inline void products(__m256 (&sum)[R][C], const float* x, const E* w, int64_t n, const char* ahead, int lines) {
  for (int64_t k = 0; k < n; k++, w += kColumns) {
    for (int i = 0; i < lines; i++, ahead += 64) _mm_prefetch(ahead, _MM_HINT_T0);
    __m256 v[C];
#pragma GCC unroll 8
    for (int c = 0; c < C; c++) v[c] = eight(w + 8 * c);
    add_products<R, C>(sum, x + R * k, v);
  }
}

// The same for tiles, n a multiple of 32: a word of 32 bits has the weights of two inputs, and a bfloat16 is the upper half of a float32.
template <int R, int C>
AVX2 __attribute__((always_inline)) inline void products(__m256 (&sum)[R][C], const float* x, const at::BFloat16* w, int64_t n, const char* ahead,
                                                         int lines) {
  constexpr int64_t tile = kTileInputs * 16;
  const __m256i upper = _mm256_set1_epi32(static_cast<int>(0xffff0000u));
  for (int64_t k = 0; k < n; k += kTileInputs, w += 2 * tile) {
    for (int64_t pair = 0; pair < 16; pair++) {
      for (int i = 0; i < lines; i++, ahead += 64) _mm_prefetch(ahead, _MM_HINT_T0);
      __m256 even[C], odd[C];
#pragma GCC unroll 8
      for (int c = 0; c < C; c++) {
        const __m256i words = _mm256_load_si256(reinterpret_cast<const __m256i*>(w + c / 2 * tile + pair * 32 + c % 2 * 16));
        even[c] = _mm256_castsi256_ps(_mm256_slli_epi32(words, 16));
        odd[c] = _mm256_castsi256_ps(_mm256_and_si256(words, upper));
      }
      add_products<R, C>(sum, x + R * (k + 2 * pair), even);
      add_products<R, C>(sum, x + R * (k + 2 * pair + 1), odd);
    }
  }
}

template <int R, int C, class E>
AVX2 void tile_of(const float* x, const E* w, int64_t n, float* acc, const char* ahead, int lines) {
  constexpr int64_t columns = Panel<E>::columns;
  __m256 sum[R][C];
#pragma GCC unroll 8
  for (int r = 0; r < R; r++)
#pragma GCC unroll 8
    for (int c = 0; c < C; c++) sum[r][c] = _mm256_load_ps(acc + columns * r + 8 * c);
  products(sum, x, w, n, ahead, lines);
#pragma GCC unroll 8
  for (int r = 0; r < R; r++)
#pragma GCC unroll 8
    for (int c = 0; c < C; c++) _mm256_store_ps(acc + columns * r + 8 * c, sum[r][c]);
}

// R rows, 8 C columns at a time: all columns of a chunk of a panel.
template <int R, int C, class E>
AVX2 void strips(const float* x, const E* w, int64_t n, float* acc, const char* ahead) {
  constexpr int64_t columns = Panel<E>::columns, pace = std::is_same_v<E, at::BFloat16> ? 2 : 1;
  constexpr int lines = columns * pace * sizeof(E) / 64, parts = columns / (8 * C);
  for (int part = 0; part < parts; part++) {
    const int from = lines * part / parts, to = lines * (part + 1) / parts;
    tile_of<R, C, E>(x, w + Panel<E>::place(0, 8 * C * part), n, acc + 8 * C * part, ahead + from * 64 * n / pace, ahead == nullptr ? 0 : to - from);
  }
}

// Eight sums at least should run beside each other, since a multiply-add takes four cycles and two begin in each; more than twelve would
// not leave registers for weights and inputs.
template <class E>
void rows_of(int64_t rows, const float* x, const E* w, int64_t n, float* acc, const char* ahead) {
  switch (rows) {
    case 1: return strips<1, Panel<E>::columns / 8, E>(x, w, n, acc, ahead);
    case 2: return strips<2, 4, E>(x, w, n, acc, ahead);
    case 3: return strips<3, 2, E>(x, w, n, acc, ahead);
    case 4: return strips<4, 2, E>(x, w, n, acc, ahead);
    case 5: return strips<5, 2, E>(x, w, n, acc, ahead);
    default: return strips<kRowsAtOnce, 2, E>(x, w, n, acc, ahead);
  }
}

// One row: all its sums of a panel stand in registers. Read in order by so little work a stream comes as fast as the processor's own
// prefetching brings it: of float32, which is nothing but reading, calling lines ahead takes a fifth of the speed away.
template <class E>
AVX2 void one_row(float* y, const float* x, const E* w, const float* b, int64_t in, int64_t out, int64_t from, int64_t to) {
  constexpr int lines = std::is_same_v<E, float> ? 0 : 2;
  alignas(64) float acc[kColumns];
  for (int64_t p = from; p < to; p++) {
    const E* panel = w + p * in * kColumns;
    const int64_t column = p * kColumns, width = std::min(kColumns, out - column);
    memset(acc, 0, sizeof acc);
    tile_of<1, kColumns / 8, E>(x, panel, in, acc, reinterpret_cast<const char*>(panel) + kAhead, lines);
    put_row(y + column, acc, b != nullptr ? b + column : nullptr, width);
  }
}

// sum [P, 4, 8] of one row and P panels of tiles beside each other: with one the sums wait for themselves.
template <int P>
AVX2 __attribute__((always_inline)) inline void row_of_tiles(float* acc, const float* x, const at::BFloat16* w, int64_t in) {
  constexpr int64_t tile = kTileInputs * 16;
  const __m256i upper = _mm256_set1_epi32(static_cast<int>(0xffff0000u));
  __m256 sum[P][4];
#pragma GCC unroll 8
  for (int i = 0; i < 4 * P; i++) sum[i / 4][i % 4] = _mm256_setzero_ps();
  for (int64_t k = 0; k < in; k += kTileInputs)
#pragma GCC unroll 4
    for (int64_t pair = 0; pair < 16; pair++) {
      const __m256 x0 = _mm256_broadcast_ss(x + k + 2 * pair), x1 = _mm256_broadcast_ss(x + k + 2 * pair + 1);
#pragma GCC unroll 2
      for (int p = 0; p < P; p++) {
        const at::BFloat16* line = w + (p * in + k) * kTileColumns + pair * 32;
        _mm_prefetch(reinterpret_cast<const char*>(line + 2 * tile), _MM_HINT_T0);
#pragma GCC unroll 4
        for (int c = 0; c < 4; c++) {
          const __m256i words = _mm256_load_si256(reinterpret_cast<const __m256i*>(line + c / 2 * tile + c % 2 * 16));
          sum[p][c] = _mm256_fmadd_ps(x0, _mm256_castsi256_ps(_mm256_slli_epi32(words, 16)), sum[p][c]);
          sum[p][c] = _mm256_fmadd_ps(x1, _mm256_castsi256_ps(_mm256_and_si256(words, upper)), sum[p][c]);
        }
      }
    }
#pragma GCC unroll 8
  for (int i = 0; i < 4 * P; i++) _mm256_store_ps(acc + 8 * i, sum[i / 4][i % 4]);
}

template <>
AVX2 void one_row(float* y, const float* x, const at::BFloat16* w, const float* b, int64_t in, int64_t out, int64_t from, int64_t to) {
  alignas(64) float acc[2 * kTileColumns];
  for (int64_t p = from; p < to; p += 2) {
    const int64_t column = p * kTileColumns, panels = std::min<int64_t>(2, to - p), width = std::min(panels * kTileColumns, out - column);
    const at::BFloat16* panel = w + column * in;
    if (panels == 2) row_of_tiles<2>(acc, x, panel, in);
    else row_of_tiles<1>(acc, x, panel, in);
    put_row(y + column, acc, b != nullptr ? b + column : nullptr, width);
  }
}

// x as input_of groups it.
template <class E>
void avx2(float* y, const void* x_, const void* w_, const float* b, int64_t rows, int64_t in, int64_t out, int64_t from, int64_t to) {
  constexpr int64_t columns = Panel<E>::columns, inputs = kChunkBytes / (columns * static_cast<int64_t>(sizeof(E)));
  const auto* x = static_cast<const float*>(x_);
  if (rows == 1) return one_row(y, x, static_cast<const E*>(w_), b, in, out, from, to);
  alignas(64) float acc[kRowBlock * columns];
  for (int64_t p = from; p < to; p++) {
    const E* panel = static_cast<const E*>(w_) + p * in * columns;
    const int64_t column = p * columns, width = std::min(columns, out - column);
    for (int64_t first = 0; first < rows; first += kRowBlock) {
      const int64_t m = std::min(kRowBlock, rows - first), groups = ceil_div(m, kRowsAtOnce);
      memset(acc, 0, sizeof(float) * static_cast<size_t>(m * columns));
      for (int64_t k = 0; k < in; k += inputs) {
        const int64_t n = std::min(inputs, in - k);
        const E* w = panel + k * columns;
        for (int64_t g = 0; g < groups; g++) {
          const int64_t r = m * g / groups, end = m * (g + 1) / groups;
          const char* ahead = first == 0 && g == 0 ? reinterpret_cast<const char*>(w) + kAhead : nullptr;
          rows_of(end - r, x + (first + r) * in + k * (end - r), w, n, acc + r * columns, ahead);
        }
      }
      for (int64_t r = 0; r < m; r++) put_row(y + (first + r) * out + column, acc + r * columns, b != nullptr ? b + column : nullptr, width);
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

// x [ceil(rows / 16) * 16, in] in bfloat16.
AMX void amx(float* y, const void* x_, const void* w_, const float* b, int64_t rows, int64_t in, int64_t out, int64_t from, int64_t to) {
  const auto *x = static_cast<const at::BFloat16*>(x_), *w = static_cast<const at::BFloat16*>(w_);
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

at::Tensor in_large_pages(at::IntArrayRef shape, const at::TensorOptions& options) { return at::empty(shape, options); }

#endif

// How a product in a dtype is computed at a level.
Product product_of(at::ScalarType dtype, Level on) {
#ifdef X86
  switch (dtype) {
    case at::kFloat:
      if (on >= Level::kAvx2) return on == Level::kAvx2 ? avx2<float> : avx512;
      break;
    case at::kBFloat16:
      if (on >= Level::kAvx2) return on == Level::kAmx ? amx : avx2<at::BFloat16>;
      break;
    case at::kHalf:
      if (on >= Level::kAvx2) return avx2<at::Half>;
      break;
    default: break;
  }
#endif
  return dtype == at::kFloat ? portable<float> : dtype == at::kHalf ? portable<at::Half> : portable<at::BFloat16>;
}

bool by_tiles(at::ScalarType dtype, Level on) { return dtype == at::kBFloat16 && on == Level::kAmx; }
bool is_avx2(at::ScalarType dtype, Level on) { return on == Level::kAvx2 || (on > Level::kAvx2 && dtype != at::kFloat && !by_tiles(dtype, on)); }

// Panels that a thread takes at least: some ten microseconds' work. Reading a weight from memory takes the time of some 16 multiplications.
int64_t panel_grain(int64_t rows, int64_t panel_size) { return ceil_div(1 << 18, panel_size * (rows + 16)); }

// 64 bytes of a row at a time, so that no line of memory is read twice.
template <class E>
void pack_panels(E* to, const E* w, int64_t out, int64_t in) {
  constexpr int64_t step = 64 / sizeof(E);
  parallel_for(ceil_div(out, kColumns), 1, [&](int64_t from, int64_t until) {
    for (int64_t p = from; p < until; p++)
      for (int64_t first = 0; first < in; first += step)
        for (int64_t j = 0; j < kColumns; j++) {
          const int64_t n = p * kColumns + j;
          for (int64_t k = first; k < std::min(first + step, in); k++) to[(p * in + k) * kColumns + j] = n < out ? w[n * in + k] : E(0);
        }
  });
}

void pack_tiles(at::BFloat16* to, const at::BFloat16* w, int64_t out, int64_t in) {
  const int64_t steps = ceil_div(in, kTileInputs);
  parallel_for(ceil_div(out, kTileColumns), 1, [&](int64_t from, int64_t until) {
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

// A row of n, rounded to a dtype, every stride-th element of to.
INLINE void round_row_any(const float* x, float* to, int64_t n, int64_t stride, bool bfloat16) {
  for (int64_t k = 0; k < n; k++) {
    uint32_t bits;
    memcpy(&bits, x + k, sizeof bits);
    if (bfloat16) bits = x[k] != x[k] ? bits | 0x400000u : (bits + 0x7fffu + (bits >> 16 & 1u)) & 0xffff0000u;
    memcpy(to + k * stride, &bits, sizeof bits);
  }
}
LEVELS(round_row)

// x [rows, in] as a product reads it: float32, rounded to the weight's dtype, for bfloat16 with zeros to whole tiles of inputs. For avx2
// the rows that stand in registers together are transposed, each group [in, R] in the memory of its rows: it reads them one after the other.
at::Tensor input_of(const at::Tensor& x, at::ScalarType dtype, Level on) {
  if (by_tiles(dtype, on)) return tile_input(x);
  const int64_t rows = x.size(0), in = x.size(1), padded = dtype == at::kBFloat16 ? ceil_div(in, kTileInputs) * kTileInputs : in;
  const auto whole = (dtype == at::kHalf ? x.to(at::kHalf) : x).to(at::kFloat).contiguous();
  const bool grouped = is_avx2(dtype, on) && rows > 1;
  if (dtype != at::kBFloat16 && !grouped) return whole;
  auto y = padded == in ? at::empty({rows, in}, whole.options()) : at::zeros({rows, padded}, whole.options());
  const float* from = whole.data_ptr<float>();
  float* to = y.data_ptr<float>();
  parallel_for(ceil_div(rows, kRowBlock), 1, [&](int64_t begin, int64_t end) {
    for (int64_t first = begin * kRowBlock; first < std::min(rows, end * kRowBlock); first += kRowBlock) {
      const int64_t m = std::min(kRowBlock, rows - first), groups = grouped ? ceil_div(m, kRowsAtOnce) : m;
      for (int64_t g = 0; g < groups; g++) {
        const int64_t r = m * g / groups, n = m * (g + 1) / groups - r;
        for (int64_t i = 0; i < n; i++) round_row(from + (first + r + i) * in, to + (first + r) * padded + i, in, n, dtype == at::kBFloat16);
      }
    }
  });
  return y;
}

bool streams(at::ScalarType dtype) { return dtype == at::kFloat || dtype == at::kBFloat16 || dtype == at::kHalf; }

}  // namespace

// A copy of w [out, in] as gsm_streamed_linear reads it.
char* gsm_stream_weight(gsm_tensor* out, gsm_tensor w_) {
  return guard([&] {
    const auto& w = T(w_);
    TORCH_CHECK(streams(w.scalar_type()), "stream weight: a weight in ", w.scalar_type(), " is not float32, bfloat16 or float16");
    TORCH_CHECK(w.dim() == 2 && w.is_cpu() && w.is_contiguous(), "stream weight: the weight must be a matrix on the CPU");
    const int64_t n = w.size(0), in = w.size(1);
    if (w.scalar_type() == at::kBFloat16) {
      auto packed = in_large_pages({ceil_div(n, kTileColumns), ceil_div(in, kTileInputs), 2, 16, 16, 2}, w.options());
      pack_tiles(packed.data_ptr<at::BFloat16>(), w.data_ptr<at::BFloat16>(), n, in);
      give(out, std::move(packed));
      return;
    }
    auto packed = in_large_pages({ceil_div(n, kColumns), in, kColumns}, w.options());
    if (w.scalar_type() == at::kFloat) pack_panels(packed.data_ptr<float>(), w.data_ptr<float>(), n, in);
    else pack_panels(packed.data_ptr<at::Half>(), w.data_ptr<at::Half>(), n, in);
    give(out, std::move(packed));
  });
}

// x [R, in] times the streamed w [n, in] transposed, plus b [n] where there is one: computed in the dtype of w with float32 sums,
// returned in that of x.
char* gsm_streamed_linear(gsm_tensor* out, gsm_tensor x_, gsm_tensor w_, int64_t n, gsm_tensor b_) {
  return guard([&] {
    const auto &x = T(x_), &w = T(w_);
    const auto dtype = w.scalar_type();
    TORCH_CHECK(streams(dtype) && x.dim() == 2 && x.is_cpu() && w.is_contiguous(), "streamed linear: the input must be [rows, in] on the CPU");
    const int64_t rows = x.size(0), in = x.size(1);
    const bool tiles = dtype == at::kBFloat16;
    const int64_t columns = tiles ? kTileColumns : kColumns, panels = ceil_div(n, columns);
    TORCH_CHECK(w.dim() == (tiles ? 6 : 3) && w.size(0) == panels && w.size(1) == (tiles ? ceil_div(in, kTileInputs) : in),
                "streamed linear: an input of ", in, " features and ", n, " outputs do not fit the weight's panels ", w.sizes());
    at::Tensor b;
    if (b_ != nullptr) {
      b = T(b_).to(at::kFloat).contiguous();
      TORCH_CHECK(b.dim() == 1 && b.size(0) == n, "streamed linear: a bias of ", b.sizes(), " for ", n, " outputs");
    }
    const Level on = level();
    const auto input = input_of(x, dtype, on);
    const Product product = product_of(dtype, on);
    auto y = at::empty({rows, n}, x.options().dtype(at::kFloat));
    const float* bp = b.defined() ? b.data_ptr<float>() : nullptr;
    const void *xp = input.data_ptr(), *wp = w.data_ptr();
    float* yp = y.data_ptr<float>();
    parallel_for(panels, panel_grain(rows, in * columns), [&](int64_t from, int64_t to) { product(yp, xp, wp, bp, rows, input.size(1), n, from, to); });
    give(out, y.to(x.scalar_type()));
  });
}
