// Noise: Philox, normals, spreads, what is added to activations and weights, and the draws of the sampling.
#include "common.h"
#include "philox_reference.h"

#ifdef X86
#include <immintrin.h>
#endif

// ---------------------------------------------------------------- elementary functions

// Cephes' polynomials for ln(1 + x), sin x and cos x, highest power first, and ln 2 in two parts.
static constexpr float kLog[9] = {7.0376836292e-2f, -1.1514610310e-1f, 1.1676998740e-1f, -1.2420140846e-1f, 1.4249322787e-1f,
                                  -1.6668057665e-1f, 2.0000714765e-1f, -2.4999993993e-1f, 3.3333331174e-1f};
static constexpr float kSin[3] = {-1.9515295891e-4f, 8.3321608736e-3f, -1.6666654611e-1f};
static constexpr float kCos[3] = {2.443315711809948e-5f, -1.388731625493765e-3f, 4.166664568298827e-2f};
static constexpr float kLn2High = 0.693359375f, kLn2Low = -2.12194440e-4f, kHalfRoot = 0.707106781186547524f, kTwoPi = 6.283185307179586477f;

// ln u for u in (0, 1], u a multiple of 2^-24 (Cephes' polynomial): relative error below 2e-7, also near u = 1.
INLINE float fast_log(float u) {
  int32_t bits;
  memcpy(&bits, &u, sizeof bits);
  int32_t e = ((bits >> 23) & 0xff) - 126;
  bits = (bits & 0x007fffff) | 0x3f000000;  // mantissa in [0.5, 1)
  float m;
  memcpy(&m, &bits, sizeof m);
  const bool low = m < kHalfRoot;
  e -= low ? 1 : 0;
  const float x = low ? m + m - 1.0f : m - 1.0f;
  const float z = x * x;
  float y = kLog[0];
  for (int i = 1; i < 9; i++) y = y * x + kLog[i];
  y = y * x * z;
  const float fe = static_cast<float>(e);
  y = y + kLn2Low * fe;
  y = y - 0.5f * z;
  return x + y + kLn2High * fe;
}

// cos and sin of 2 pi u for u in [0, 1), u a multiple of 2^-24: the reduction to an eighth of a turn is exact.
INLINE void fast_turn(float u, float* c, float* s) {
  const float q = __builtin_floorf(u * 4.0f + 0.5f);              // nearest quarter turn, 0..4
  const float x = (u - q * 0.25f) * kTwoPi;  // in [-pi/4, pi/4]
  const float z = x * x;
  float sp = kSin[0];
  sp = sp * z + kSin[1];
  sp = sp * z + kSin[2];
  sp = sp * z * x + x;
  float cp = kCos[0];
  cp = cp * z + kCos[1];
  cp = cp * z + kCos[2];
  cp = cp * z * z - 0.5f * z + 1.0f;
  const int32_t k = static_cast<int32_t>(q) & 3;
  const float a = (k & 1) ? sp : cp;  // |cos|
  const float b = (k & 1) ? cp : sp;  // |sin|
  *c = (k == 1 || k == 2) ? -a : a;
  *s = (k & 2) ? -b : b;
}

// ---------------------------------------------------------------- Philox4x32-10 and Box-Muller

static constexpr int kBlocks = 32;  // blocks of four words handled together

static constexpr uint32_t kMul0 = 0xD2511F53u, kMul1 = 0xCD9E8D57u, kWeyl0 = 0x9E3779B9u, kWeyl1 = 0xBB67AE85u;

struct Stream {
  uint32_t c1, c2, c3;
  uint32_t k0, k1;
};

// The words of kBlocks consecutive blocks, w[j][i] being word j of block block0 + i.
static void philox_plain(const Stream& st, uint32_t block0, uint32_t w[4][kBlocks]) {
  for (int i = 0; i < kBlocks; i++) {
    uint32_t c0 = block0 + static_cast<uint32_t>(i), c1 = st.c1, c2 = st.c2, c3 = st.c3;
    uint32_t k0 = st.k0, k1 = st.k1;
    for (int r = 0; r < 10; r++) {
      const uint64_t p0 = static_cast<uint64_t>(kMul0) * c0;
      const uint64_t p1 = static_cast<uint64_t>(kMul1) * c2;
      c0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ k0;
      c1 = static_cast<uint32_t>(p1);
      c2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ k1;
      c3 = static_cast<uint32_t>(p0);
      k0 += kWeyl0;
      k1 += kWeyl1;
    }
    w[0][i] = c0;
    w[1][i] = c1;
    w[2][i] = c2;
    w[3][i] = c3;
  }
}

#ifdef X86
// The same by the instruction that multiplies 32 by 32 bits, which compilers do not find: every second lane at a time.
// BITS is 512 or 256, V the type of a vector, ODD the mask of its odd lanes.
#define PHILOX_VECTOR(NAME, TARGET, BITS, V, BLEND, IOTA)                                                             \
  __attribute__((target(TARGET))) static void NAME(const Stream& st, uint32_t block0, uint32_t w[4][kBlocks]) {       \
    constexpr int lanes = BITS / 32, vectors = kBlocks / lanes;                                                       \
    const V m0 = _mm##BITS##_set1_epi32(static_cast<int>(kMul0)), m1 = _mm##BITS##_set1_epi32(static_cast<int>(kMul1)); \
    for (int v = 0; v < vectors; v++) {                                                                               \
      V c0 = _mm##BITS##_add_epi32(_mm##BITS##_set1_epi32(static_cast<int>(block0) + v * lanes), IOTA);               \
      V c1 = _mm##BITS##_set1_epi32(static_cast<int>(st.c1)), c2 = _mm##BITS##_set1_epi32(static_cast<int>(st.c2));   \
      V c3 = _mm##BITS##_set1_epi32(static_cast<int>(st.c3));                                                         \
      uint32_t k0 = st.k0, k1 = st.k1;                                                                                \
      for (int r = 0; r < 10; r++) {                                                                                  \
        const V e0 = _mm##BITS##_mul_epu32(c0, m0), o0 = _mm##BITS##_mul_epu32(_mm##BITS##_srli_epi64(c0, 32), m0);   \
        const V e1 = _mm##BITS##_mul_epu32(c2, m1), o1 = _mm##BITS##_mul_epu32(_mm##BITS##_srli_epi64(c2, 32), m1);   \
        const V h0 = BLEND(_mm##BITS##_srli_epi64(e0, 32), o0), l0 = BLEND(e0, _mm##BITS##_slli_epi64(o0, 32));       \
        const V h1 = BLEND(_mm##BITS##_srli_epi64(e1, 32), o1), l1 = BLEND(e1, _mm##BITS##_slli_epi64(o1, 32));       \
        c0 = XOR##BITS(XOR##BITS(h1, c1), _mm##BITS##_set1_epi32(static_cast<int>(k0)));                              \
        c1 = l1;                                                                                                      \
        c2 = XOR##BITS(XOR##BITS(h0, c3), _mm##BITS##_set1_epi32(static_cast<int>(k1)));                              \
        c3 = l0;                                                                                                      \
        k0 += kWeyl0;                                                                                                 \
        k1 += kWeyl1;                                                                                                 \
      }                                                                                                               \
      memcpy(w[0] + v * lanes, &c0, sizeof c0);                                                                       \
      memcpy(w[1] + v * lanes, &c1, sizeof c1);                                                                       \
      memcpy(w[2] + v * lanes, &c2, sizeof c2);                                                                       \
      memcpy(w[3] + v * lanes, &c3, sizeof c3);                                                                       \
    }                                                                                                                 \
  }
#define XOR512(a, b) _mm512_xor_si512(a, b)
#define XOR256(a, b) _mm256_xor_si256(a, b)
#define BLEND512(even, odd) _mm512_mask_blend_epi32(0xAAAA, even, odd)
#define BLEND256(even, odd) _mm256_blend_epi32(even, odd, 0xAA)
PHILOX_VECTOR(philox_avx512, "avx512f", 512, __m512i, BLEND512, _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15))
PHILOX_VECTOR(philox_avx2, "avx2", 256, __m256i, BLEND256, _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))
#endif

static void philox_lanes(const Stream& st, uint32_t block0, uint32_t w[4][kBlocks]) {
#ifdef X86
  if (level() >= Level::kAvx512) return philox_avx512(st, block0, w);
  if (level() == Level::kAvx2) return philox_avx2(st, block0, w);
#endif
  philox_plain(st, block0, w);
}

// 4 * kBlocks normals in element order: out[4 b + j] is normal j of block block0 + b.
INLINE void normals_plain(const Stream& st, uint32_t block0, float* out) {
  uint32_t w[4][kBlocks];
  float n[4][kBlocks];
  philox_lanes(st, block0, w);
  for (int j = 0; j < 4; j += 2) {
    for (int i = 0; i < kBlocks; i++) {
      const float u1 = static_cast<float>(static_cast<int32_t>((w[j][i] >> 8) + 1)) * 0x1p-24f;
      const float u2 = static_cast<float>(static_cast<int32_t>(w[j + 1][i] >> 8)) * 0x1p-24f;
      const float radius = __builtin_sqrtf(-2.0f * fast_log(u1));
      float c, s;
      fast_turn(u2, &c, &s);
      n[j][i] = radius * c;
      n[j + 1][i] = radius * s;
    }
  }
  for (int i = 0; i < kBlocks; i++)
    for (int j = 0; j < 4; j++) out[4 * i + j] = n[j][i];
}

#ifdef X86
// The same with everything in registers, in which no compiler keeps it: a third of the time.
#define AVX512 __attribute__((target("avx512f,avx512dq")))

AVX512 INLINE __m512 horner(__m512 y, __m512 x, float c) { return _mm512_fmadd_ps(y, x, _mm512_set1_ps(c)); }

// fast_log of sixteen.
AVX512 INLINE __m512 log_avx512(__m512 u) {
  const __m512 one = _mm512_set1_ps(1.0f), m = _mm512_getmant_ps(u, _MM_MANT_NORM_p5_1, _MM_MANT_SIGN_zero);
  const __mmask16 low = _mm512_cmp_ps_mask(m, _mm512_set1_ps(kHalfRoot), _CMP_LT_OQ);
  const __m512 exponent = _mm512_getexp_ps(u), fe = _mm512_mask_blend_ps(low, _mm512_add_ps(exponent, one), exponent);
  const __m512 x = _mm512_sub_ps(_mm512_mask_add_ps(m, low, m, m), one), z = _mm512_mul_ps(x, x);
  __m512 y = _mm512_set1_ps(kLog[0]);
#pragma GCC unroll 8
  for (int i = 1; i < 9; i++) y = horner(y, x, kLog[i]);
  y = _mm512_mul_ps(_mm512_mul_ps(y, x), z);
  y = _mm512_fmadd_ps(_mm512_set1_ps(kLn2Low), fe, y);
  y = _mm512_fnmadd_ps(_mm512_set1_ps(0.5f), z, y);
  return _mm512_fmadd_ps(_mm512_set1_ps(kLn2High), fe, _mm512_add_ps(x, y));
}

// fast_turn of sixteen.
AVX512 INLINE void turn_avx512(__m512 u, __m512* c, __m512* s) {
  const __m512 q = _mm512_roundscale_ps(horner(u, _mm512_set1_ps(4.0f), 0.5f), _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
  const __m512 x = _mm512_mul_ps(_mm512_fnmadd_ps(q, _mm512_set1_ps(0.25f), u), _mm512_set1_ps(kTwoPi));
  const __m512 z = _mm512_mul_ps(x, x);
  __m512 sp = horner(horner(_mm512_set1_ps(kSin[0]), z, kSin[1]), z, kSin[2]);
  sp = _mm512_fmadd_ps(_mm512_mul_ps(sp, z), x, x);
  __m512 cp = horner(horner(_mm512_set1_ps(kCos[0]), z, kCos[1]), z, kCos[2]);
  cp = _mm512_fmadd_ps(_mm512_mul_ps(cp, z), z, horner(z, _mm512_set1_ps(-0.5f), 1.0f));
  const __m512i k = _mm512_cvtps_epi32(q), two = _mm512_set1_epi32(2);
  const __mmask16 odd = _mm512_test_epi32_mask(k, _mm512_set1_epi32(1));
  const __m512i sign_c = _mm512_slli_epi32(_mm512_and_si512(_mm512_add_epi32(k, _mm512_set1_epi32(1)), two), 30);
  const __m512i sign_s = _mm512_slli_epi32(_mm512_and_si512(k, two), 30);
  *c = _mm512_xor_ps(_mm512_mask_blend_ps(odd, cp, sp), _mm512_castsi512_ps(sign_c));
  *s = _mm512_xor_ps(_mm512_mask_blend_ps(odd, sp, cp), _mm512_castsi512_ps(sign_s));
}

AVX512 INLINE void box_muller_avx512(__m512i a, __m512i b, __m512* n0, __m512* n1) {
  const __m512 unit = _mm512_set1_ps(0x1p-24f);
  const __m512 u1 = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_add_epi32(_mm512_srli_epi32(a, 8), _mm512_set1_epi32(1))), unit);
  const __m512 u2 = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_srli_epi32(b, 8)), unit);
  const __m512 radius = _mm512_sqrt_ps(_mm512_mul_ps(_mm512_set1_ps(-2.0f), log_avx512(u1)));
  __m512 c, s;
  turn_avx512(u2, &c, &s);
  *n0 = _mm512_mul_ps(radius, c);
  *n1 = _mm512_mul_ps(radius, s);
}

AVX512 static void normals_avx512(const Stream& st, uint32_t block0, float* out) {
  alignas(64) uint32_t w[4][kBlocks];
  philox_avx512(st, block0, w);
  for (int v = 0; v < kBlocks; v += 16, out += 64) {
    __m512 n0, n1, n2, n3;
    box_muller_avx512(_mm512_load_si512(w[0] + v), _mm512_load_si512(w[1] + v), &n0, &n1);
    box_muller_avx512(_mm512_load_si512(w[2] + v), _mm512_load_si512(w[3] + v), &n2, &n3);
    // From a vector for each normal of a block to the blocks one after the other: within quarters, then the quarters.
    const __m512d a = _mm512_castps_pd(_mm512_unpacklo_ps(n0, n1)), b = _mm512_castps_pd(_mm512_unpackhi_ps(n0, n1));
    const __m512d c = _mm512_castps_pd(_mm512_unpacklo_ps(n2, n3)), d = _mm512_castps_pd(_mm512_unpackhi_ps(n2, n3));
    const __m512 q0 = _mm512_castpd_ps(_mm512_unpacklo_pd(a, c)), q1 = _mm512_castpd_ps(_mm512_unpackhi_pd(a, c));  // blocks 0 4 8 12, 1 5 9 13
    const __m512 q2 = _mm512_castpd_ps(_mm512_unpacklo_pd(b, d)), q3 = _mm512_castpd_ps(_mm512_unpackhi_pd(b, d));
    const __m512 e0 = _mm512_shuffle_f32x4(q0, q1, 0x44), e1 = _mm512_shuffle_f32x4(q2, q3, 0x44);  // blocks 0 4 1 5, 2 6 3 7
    const __m512 e2 = _mm512_shuffle_f32x4(q0, q1, 0xee), e3 = _mm512_shuffle_f32x4(q2, q3, 0xee);
    _mm512_storeu_ps(out, _mm512_shuffle_f32x4(e0, e1, 0x88));
    _mm512_storeu_ps(out + 16, _mm512_shuffle_f32x4(e0, e1, 0xdd));
    _mm512_storeu_ps(out + 32, _mm512_shuffle_f32x4(e2, e3, 0x88));
    _mm512_storeu_ps(out + 48, _mm512_shuffle_f32x4(e2, e3, 0xdd));
  }
}

// The same of eight, step by step: the bits are the same.
#define AVX2 __attribute__((target("avx2,fma")))

AVX2 INLINE __m256 horner(__m256 y, __m256 x, float c) { return _mm256_fmadd_ps(y, x, _mm256_set1_ps(c)); }

AVX2 INLINE __m256 log_avx2(__m256 u) {
  const __m256 one = _mm256_set1_ps(1.0f);
  const __m256i bits = _mm256_castps_si256(u);
  const __m256 m = _mm256_castsi256_ps(_mm256_or_si256(_mm256_and_si256(bits, _mm256_set1_epi32(0x007fffff)), _mm256_set1_epi32(0x3f000000)));
  const __m256 low = _mm256_cmp_ps(m, _mm256_set1_ps(kHalfRoot), _CMP_LT_OQ);
  const __m256 exponent = _mm256_cvtepi32_ps(_mm256_sub_epi32(_mm256_srli_epi32(bits, 23), _mm256_set1_epi32(126)));
  const __m256 fe = _mm256_sub_ps(exponent, _mm256_and_ps(low, one));
  const __m256 x = _mm256_sub_ps(_mm256_add_ps(m, _mm256_and_ps(low, m)), one), z = _mm256_mul_ps(x, x);
  __m256 y = _mm256_set1_ps(kLog[0]);
#pragma GCC unroll 8
  for (int i = 1; i < 9; i++) y = horner(y, x, kLog[i]);
  y = _mm256_mul_ps(_mm256_mul_ps(y, x), z);
  y = _mm256_fmadd_ps(_mm256_set1_ps(kLn2Low), fe, y);
  y = _mm256_fnmadd_ps(_mm256_set1_ps(0.5f), z, y);
  return _mm256_fmadd_ps(_mm256_set1_ps(kLn2High), fe, _mm256_add_ps(x, y));
}

AVX2 INLINE void turn_avx2(__m256 u, __m256* c, __m256* s) {
  const __m256 q = _mm256_floor_ps(horner(u, _mm256_set1_ps(4.0f), 0.5f));
  const __m256 x = _mm256_mul_ps(_mm256_fnmadd_ps(q, _mm256_set1_ps(0.25f), u), _mm256_set1_ps(kTwoPi));
  const __m256 z = _mm256_mul_ps(x, x);
  __m256 sp = horner(horner(_mm256_set1_ps(kSin[0]), z, kSin[1]), z, kSin[2]);
  sp = _mm256_fmadd_ps(_mm256_mul_ps(sp, z), x, x);
  __m256 cp = horner(horner(_mm256_set1_ps(kCos[0]), z, kCos[1]), z, kCos[2]);
  cp = _mm256_fmadd_ps(_mm256_mul_ps(cp, z), z, horner(z, _mm256_set1_ps(-0.5f), 1.0f));
  const __m256i k = _mm256_cvtps_epi32(q), one = _mm256_set1_epi32(1), two = _mm256_set1_epi32(2);
  const __m256 odd = _mm256_castsi256_ps(_mm256_slli_epi32(k, 31));  // a blend looks at the sign
  const __m256i sign_c = _mm256_slli_epi32(_mm256_and_si256(_mm256_add_epi32(k, one), two), 30);
  const __m256i sign_s = _mm256_slli_epi32(_mm256_and_si256(k, two), 30);
  *c = _mm256_xor_ps(_mm256_blendv_ps(cp, sp, odd), _mm256_castsi256_ps(sign_c));
  *s = _mm256_xor_ps(_mm256_blendv_ps(sp, cp, odd), _mm256_castsi256_ps(sign_s));
}

AVX2 INLINE void box_muller_avx2(const uint32_t* a, const uint32_t* b, __m256* n0, __m256* n1) {
  const __m256 unit = _mm256_set1_ps(0x1p-24f);
  const __m256i wa = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(a)), wb = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(b));
  const __m256 u1 = _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_add_epi32(_mm256_srli_epi32(wa, 8), _mm256_set1_epi32(1))), unit);
  const __m256 u2 = _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_srli_epi32(wb, 8)), unit);
  const __m256 radius = _mm256_sqrt_ps(_mm256_mul_ps(_mm256_set1_ps(-2.0f), log_avx2(u1)));
  __m256 c, s;
  turn_avx2(u2, &c, &s);
  *n0 = _mm256_mul_ps(radius, c);
  *n1 = _mm256_mul_ps(radius, s);
}

AVX2 static void normals_avx2(const Stream& st, uint32_t block0, float* out) {
  alignas(32) uint32_t w[4][kBlocks];
  philox_avx2(st, block0, w);
  for (int v = 0; v < kBlocks; v += 8, out += 32) {
    __m256 n0, n1, n2, n3;
    box_muller_avx2(w[0] + v, w[1] + v, &n0, &n1);
    box_muller_avx2(w[2] + v, w[3] + v, &n2, &n3);
    const __m256d a = _mm256_castps_pd(_mm256_unpacklo_ps(n0, n1)), b = _mm256_castps_pd(_mm256_unpackhi_ps(n0, n1));
    const __m256d c = _mm256_castps_pd(_mm256_unpacklo_ps(n2, n3)), d = _mm256_castps_pd(_mm256_unpackhi_ps(n2, n3));
    const __m256 q0 = _mm256_castpd_ps(_mm256_unpacklo_pd(a, c)), q1 = _mm256_castpd_ps(_mm256_unpackhi_pd(a, c));  // blocks 0 4, 1 5
    const __m256 q2 = _mm256_castpd_ps(_mm256_unpacklo_pd(b, d)), q3 = _mm256_castpd_ps(_mm256_unpackhi_pd(b, d));  // blocks 2 6, 3 7
    _mm256_storeu_ps(out, _mm256_permute2f128_ps(q0, q1, 0x20));
    _mm256_storeu_ps(out + 8, _mm256_permute2f128_ps(q2, q3, 0x20));
    _mm256_storeu_ps(out + 16, _mm256_permute2f128_ps(q0, q1, 0x31));
    _mm256_storeu_ps(out + 24, _mm256_permute2f128_ps(q2, q3, 0x31));
  }
}
#endif

INLINE void normals_lanes(const Stream& st, uint32_t block0, float* out) {
#ifdef X86
  if (level() >= Level::kAvx512) return normals_avx512(st, block0, out);
  if (level() == Level::kAvx2) return normals_avx2(st, block0, out);
#endif
  normals_plain(st, block0, out);
}

// y[i] = x[i] + amp * normal(first + i) for i in [0, n), first a multiple of four; returns the sum of (y - x)^2.
INLINE double add_noise_span_any(const float* x, float* y, int64_t n, uint32_t block0, float amp, Stream st) {
  double total = 0;
  float buf[4 * kBlocks];
  for (int64_t i = 0; i < n; i += 4 * kBlocks, block0 += kBlocks) {
    normals_lanes(st, block0, buf);
    const int64_t m = std::min<int64_t>(4 * kBlocks, n - i);
    float sum[kLanes] = {0};
    int64_t j = 0;
    for (; j + kLanes <= m; j += kLanes)
      for (int l = 0; l < kLanes; l++) {
        const float before = x[i + j + l], after = before + amp * buf[j + l];
        y[i + j + l] = after;
        sum[l] += (after - before) * (after - before);
      }
    for (; j < m; j++) {
      const float before = x[i + j], after = before + amp * buf[j];
      y[i + j] = after;
      sum[0] += (after - before) * (after - before);
    }
    float s = 0;
    for (int l = 0; l < kLanes; l++) s += sum[l];
    total += s;
  }
  return total;
}
LEVELS(add_noise_span)

INLINE void words_span_any(uint32_t* out, int64_t blocks, uint32_t block0, Stream st) {
  uint32_t w[4][kBlocks];
  for (int64_t b = 0; b < blocks; b += kBlocks) {
    philox_lanes(st, block0 + static_cast<uint32_t>(b), w);
    for (int64_t i = 0; i < std::min<int64_t>(kBlocks, blocks - b); i++)
      for (int j = 0; j < 4; j++) out[4 * (b + i) + j] = w[j][i];
  }
}
LEVELS(words_span)

INLINE void normals_span_any(float* out, int64_t blocks, uint32_t block0, Stream st) {
  float buf[4 * kBlocks];
  for (int64_t b = 0; b < blocks; b += kBlocks) {
    normals_lanes(st, block0 + static_cast<uint32_t>(b), buf);
    memcpy(out + 4 * b, buf, sizeof(float) * static_cast<size_t>(4 * std::min<int64_t>(kBlocks, blocks - b)));
  }
}
LEVELS(normals_span)

static Stream stream_of(uint64_t key, uint32_t c1, uint32_t c2, uint32_t c3) {
  return Stream{c1, c2, c3, static_cast<uint32_t>(key), static_cast<uint32_t>(key >> 32)};
}

namespace {

// [n] normals of one stream.
at::Tensor normals_reference(int64_t blocks, uint32_t block0, Stream st, at::Device d) {
  return normals_reference(words_reference(blocks_from(block0, blocks, d), scalar64(st.c1, d), scalar64(st.c2, d),
                                           scalar64(st.c3, d), scalar64(st.k0, d), scalar64(st.k1, d)))
      .reshape({-1});
}

}  // namespace

// ---------------------------------------------------------------- spreads

INLINE double row_sum_any(const float* x, int64_t n) {
  double acc[8] = {0};
  int64_t i = 0;
  for (; i + 8 <= n; i += 8)
    for (int l = 0; l < 8; l++) acc[l] += static_cast<double>(x[i + l]);
  for (; i < n; i++) acc[0] += static_cast<double>(x[i]);
  return ((acc[0] + acc[1]) + (acc[2] + acc[3])) + ((acc[4] + acc[5]) + (acc[6] + acc[7]));
}
LEVELS(row_sum)

INLINE double row_squares_any(const float* x, int64_t n, double mean) {
  double acc[8] = {0};
  int64_t i = 0;
  for (; i + 8 <= n; i += 8)
    for (int l = 0; l < 8; l++) {
      const double d = static_cast<double>(x[i + l]) - mean;
      acc[l] += d * d;
    }
  for (; i < n; i++) acc[0] += (static_cast<double>(x[i]) - mean) * (static_cast<double>(x[i]) - mean);
  return ((acc[0] + acc[1]) + (acc[2] + acc[3])) + ((acc[4] + acc[5]) + (acc[6] + acc[7]));
}
LEVELS(row_squares)

INLINE float row_absmax_any(const float* x, int64_t n) {
  float acc[kLanes] = {0};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (int l = 0; l < kLanes; l++) {
      const float a = __builtin_fabsf(x[i + l]);
      acc[l] = a > acc[l] ? a : acc[l];
    }
  for (; i < n; i++) acc[0] = std::max(acc[0], __builtin_fabsf(x[i]));
  return *std::max_element(acc, acc + kLanes);
}
LEVELS(row_absmax)

// Unbiased standard deviation (or the largest magnitude) of each group of rows: rows [groups[g], groups[g + 1]) of x.
// Partial results are per row and are joined in row order, so that the number of threads does not matter.
static void spread_rows(float* out, const float* x, int64_t d, const int32_t* groups, int64_t n_groups, bool absmax) {
  const int64_t first = groups[0], rows = groups[n_groups] - first;
  std::vector<double> part(static_cast<size_t>(rows));
  x += first * d;
  if (absmax) {
    parallel_for(rows, grain(d), [&](int64_t from, int64_t to) {
      for (int64_t r = from; r < to; r++) part[r] = row_absmax(x + r * d, d);
    });
    for (int64_t g = 0; g < n_groups; g++) {
      double top = 0;
      for (int64_t r = groups[g] - first; r < groups[g + 1] - first; r++) top = std::max(top, part[r]);
      out[g] = static_cast<float>(top);
    }
    return;
  }
  parallel_for(rows, grain(d), [&](int64_t from, int64_t to) {
    for (int64_t r = from; r < to; r++) part[r] = row_sum(x + r * d, d);
  });
  std::vector<double> mean(static_cast<size_t>(rows));
  for (int64_t g = 0; g < n_groups; g++) {
    double sum = 0;
    for (int64_t r = groups[g] - first; r < groups[g + 1] - first; r++) sum += part[r];
    const double m = sum / (static_cast<double>(groups[g + 1] - groups[g]) * static_cast<double>(d));
    for (int64_t r = groups[g] - first; r < groups[g + 1] - first; r++) mean[r] = m;
  }
  parallel_for(rows, grain(d), [&](int64_t from, int64_t to) {
    for (int64_t r = from; r < to; r++) part[r] = row_squares(x + r * d, d, mean[r]);
  });
  for (int64_t g = 0; g < n_groups; g++) {
    double sum = 0;
    for (int64_t r = groups[g] - first; r < groups[g + 1] - first; r++) sum += part[r];
    const double n = static_cast<double>(groups[g + 1] - groups[g]) * static_cast<double>(d);
    out[g] = n > 1 ? static_cast<float>(std::sqrt(sum / (n - 1))) : 0.0f;
  }
}

// ---------------------------------------------------------------- the interface

// out [G] <- spread of each group of rows of x [R, D].
char* gsm_spread(float* out, gsm_tensor x_, const int32_t* groups, int64_t n_groups, int absmax) {
  return guard([&] {
    const auto& x = T(x_);
    TORCH_CHECK(x.dim() == 2, "spread: the input must be [rows, features]");
    for (int64_t g = 0; g < n_groups; g++)
      TORCH_CHECK(groups[g] >= 0 && groups[g] < groups[g + 1] && groups[g + 1] <= x.size(0), "spread: group ", g, " is not a range of rows");
    if (fast(x)) {
      spread_rows(out, x.data_ptr<float>(), x.size(1), groups, n_groups, absmax != 0);
      return;
    }
    std::vector<at::Tensor> parts;
    for (int64_t g = 0; g < n_groups; g++) {
      const auto f = x.narrow(0, groups[g], groups[g + 1] - groups[g]).to(at::kFloat);
      parts.push_back(absmax != 0 ? f.abs().max() : f.numel() > 1 ? f.std(true) : at::zeros({}, f.options()));
    }
    const auto all = at::stack(parts).to(at::kCPU);
    memcpy(out, all.data_ptr<float>(), sizeof(float) * static_cast<size_t>(n_groups));
  });
}

// Rows of d normals that a thread takes at least: about a microsecond's work.
static int64_t noise_grain(int64_t d) { return std::max<int64_t>(1, 1024 / std::max<int64_t>(d, 1)); }

// out = x + scale * spread[r] * N(keys[r], pos[r], site, step[r], element); sumsq[r] gets the sum of squares of the change.
char* gsm_noise(gsm_tensor* out, gsm_tensor x_, double scale, const float* spread, const uint64_t* keys, const uint32_t* pos,
                const uint32_t* step, uint32_t site, int64_t rows, int reference, double* sumsq) {
  return guard([&] {
    const auto& x = T(x_);
    TORCH_CHECK(x.dim() == 2 && x.size(0) == rows, "noise: the input must be [", rows, ", features]");
    const int64_t d = x.size(1);
    if (fast(x) && reference == 0) {
      auto y = at::empty_like(x);
      const float* xp = x.data_ptr<float>();
      float* yp = y.data_ptr<float>();
      parallel_for(rows, noise_grain(d), [&](int64_t from, int64_t to) {
        for (int64_t r = from; r < to; r++)
          sumsq[r] = add_noise_span(xp + r * d, yp + r * d, d, 0, static_cast<float>(scale * spread[r]), stream_of(keys[r], pos[r], site, step[r]));
      });
      give(out, std::move(y));
      return;
    }
    const auto dev = x.device();
    std::vector<int64_t> k0(rows), k1(rows), c1(rows), c3(rows);
    std::vector<float> amp(rows);
    for (int64_t r = 0; r < rows; r++) {
      k0[r] = static_cast<uint32_t>(keys[r]);
      k1[r] = static_cast<uint32_t>(keys[r] >> 32);
      c1[r] = pos[r];
      c3[r] = step[r];
      amp[r] = static_cast<float>(scale * spread[r]);
    }
    const auto column = [&](std::vector<int64_t>& v) { return at::from_blob(v.data(), {rows, 1}, at::kLong).to(dev, at::kLong, false, true); };
    const auto w = words_reference(blocks_from(0, (d + 3) / 4, dev).unsqueeze(0), column(c1), scalar64(site, dev).unsqueeze(0), column(c3), column(k0), column(k1));
    const auto n = normals_reference(w).reshape({rows, -1}).narrow(1, 0, d);
    const auto a = at::from_blob(amp.data(), {rows, 1}, at::kFloat).to(dev, at::kFloat, false, true);
    auto y = (x.to(at::kFloat) + a * n).to(x.scalar_type());
    const auto change = (y.to(at::kFloat) - x.to(at::kFloat)).to(at::kDouble).pow(2).sum(-1).to(at::kCPU);
    memcpy(sumsq, change.data_ptr<double>(), sizeof(double) * static_cast<size_t>(rows));
    give(out, std::move(y));
  });
}

// noise_row writes y = x + a N for row r of a tensor with rows of d elements and returns the sum of squares of the change; buf is
// scratch. A row may begin inside a block of four.
static double noise_row(const float* x, float* y, int64_t r, int64_t d, float a, Stream st, std::vector<float>& buf) {
  const int64_t skip = r * d % 4;
  buf.resize(static_cast<size_t>(d + 8));
  normals_span(buf.data(), (skip + d + 3) / 4, static_cast<uint32_t>(r * d / 4), st);
  double sum = 0;
  for (int64_t i = 0; i < d; i++) {
    const float before = x[i], after = before + a * buf[skip + i];
    y[i] = after;
    sum += static_cast<double>(after - before) * static_cast<double>(after - before);
  }
  return sum;
}

// Elements that one task perturbs, and that a tensor of another dtype is turned to float32 by at a time. Fixed, so that sums do not
// depend on the number of threads.
static constexpr int64_t kStretch = 1 << 16;

// in_stretches calls f(tensor, first element) with float32 copies of stretches of whole rows of w [rows, d] (of kStretch
// elements where there is one row only), so that a large matrix never stands in memory a second time in float32.
template <class F>
static void in_stretches(const at::Tensor& w, int64_t rows, int64_t d, F&& f) {
  const auto flat = w.view({-1});
  const int64_t n = rows * d, step = rows == 1 ? kStretch : std::max<int64_t>(1, kStretch / d) * d;
  for (int64_t first = 0; first < n; first += step) {
    const auto part = flat.narrow(0, first, std::min(step, n - first));
    f(part, part.to(at::kFloat), first);
  }
}

// weight_spread is the spread of each row of w [rows, d], on the CPU.
static void weight_spread(std::vector<float>& amp, const at::Tensor& w, int64_t rows, int64_t d, bool absmax) {
  std::vector<int32_t> groups(static_cast<size_t>(rows) + 1);
  for (int64_t r = 0; r <= rows; r++) groups[r] = static_cast<int32_t>(r);
  if (fast(w)) {
    if (rows == 1 && w.dim() > 1) {  // the whole tensor is one group: let its rows be summed in parallel
      const int32_t whole[2] = {0, static_cast<int32_t>(w.size(0))};
      spread_rows(amp.data(), w.data_ptr<float>(), w.numel() / w.size(0), whole, 1, absmax);
    } else {
      spread_rows(amp.data(), w.data_ptr<float>(), d, groups.data(), rows, absmax);
    }
    return;
  }
  if (rows > 1) {
    in_stretches(w, rows, d, [&](const at::Tensor&, const at::Tensor& f, int64_t first) {
      spread_rows(amp.data() + first / d, f.data_ptr<float>(), d, groups.data(), f.numel() / d, absmax);
    });
    return;
  }
  double sum = 0, squares = 0;
  float top = 0;
  in_stretches(w, 1, d, [&](const at::Tensor&, const at::Tensor& f, int64_t) {
    if (absmax) top = std::max(top, row_absmax(f.data_ptr<float>(), f.numel()));
    else sum += row_sum(f.data_ptr<float>(), f.numel());
  });
  if (absmax) {
    amp[0] = top;
    return;
  }
  const double mean = sum / static_cast<double>(d);
  in_stretches(w, 1, d, [&](const at::Tensor&, const at::Tensor& f, int64_t) { squares += row_squares(f.data_ptr<float>(), f.numel(), mean); });
  amp[0] = d > 1 ? static_cast<float>(std::sqrt(squares / static_cast<double>(d - 1))) : 0.0f;
}

// w += scale * spread * N(key, element), spread over the whole tensor or over each of its rows. Counters: block of four
// elements in the flattened tensor. *sumsq: of the change; *spread: root mean square of the spreads over the elements.
char* gsm_weight_noise_(gsm_tensor w_, double scale, int absmax, int per_row, uint64_t key, int reference, double* sumsq, double* spread) {
  return guard([&] {
    auto& w = T(w_);
    const int64_t n = w.numel();
    *sumsq = 0;
    *spread = 0;
    if (n == 0) return;
    TORCH_CHECK((n + 3) / 4 <= INT64_C(0xffffffff), "weight noise: a tensor of ", n, " elements is beyond the counter");
    const int64_t rows = per_row != 0 && w.dim() > 1 ? w.size(0) : 1, d = n / rows;
    const bool kernels = w.is_cpu() && w.is_contiguous() && reference == 0;
    std::vector<float> amp(static_cast<size_t>(rows));
    if (kernels || fast(w)) {
      weight_spread(amp, w, rows, d, absmax != 0);
    } else {
      const auto f = w.reshape({rows, d}).to(at::kFloat);
      const auto s = (absmax != 0 ? std::get<0>(f.abs().max(1)) : f.std(1, true)).to(at::kCPU).contiguous();
      memcpy(amp.data(), s.data_ptr<float>(), sizeof(float) * static_cast<size_t>(rows));
    }
    double sq = 0;
    for (auto& a : amp) {
      if (!std::isfinite(a)) a = 0;  // one element has no standard deviation
      sq += static_cast<double>(a) * static_cast<double>(a);
    }
    *spread = std::sqrt(sq / static_cast<double>(rows));
    const Stream st = stream_of(key, 0, 0, 0);
    if (kernels && fast(w)) {
      float* p = w.data_ptr<float>();
      const int64_t tasks = rows == 1 ? (n + kStretch - 1) / kStretch : rows;
      std::vector<double> part(static_cast<size_t>(tasks));
      parallel_for(tasks, rows == 1 ? 1 : grain(4 * d), [&](int64_t from, int64_t to) {
        std::vector<float> buf;
        for (int64_t i = from; i < to; i++) {
          float* at = p + i * (rows == 1 ? kStretch : d);
          part[i] = rows == 1 ? add_noise_span(at, at, std::min(kStretch, n - i * kStretch), static_cast<uint32_t>(i * (kStretch / 4)), static_cast<float>(scale * amp[0]), st)
                              : noise_row(at, at, i, d, static_cast<float>(scale * amp[i]), st, buf);
        }
      });
      for (double v : part) *sumsq += v;
      return;
    }
    if (kernels) {  // the change is measured after rounding to the tensor's dtype
      std::vector<float> buf;
      in_stretches(w, rows, d, [&](at::Tensor part, const at::Tensor& before, int64_t first) {
        auto after = at::empty_like(before);
        const float* x = before.data_ptr<float>();
        float* y = after.data_ptr<float>();
        if (rows == 1) {
          add_noise_span(x, y, before.numel(), static_cast<uint32_t>(first / 4), static_cast<float>(scale * amp[0]), st);
        } else {
          for (int64_t r = 0; r < before.numel() / d; r++) noise_row(x + r * d, y + r * d, first / d + r, d, static_cast<float>(scale * amp[first / d + r]), st, buf);
        }
        part.copy_(after);
        *sumsq += (part.to(at::kFloat) - before).to(at::kDouble).pow(2).sum().item<double>();
      });
      return;
    }
    const auto a = at::from_blob(amp.data(), {rows, 1}, at::kFloat).to(w.device(), at::kFloat, false, true);
    const auto before = w.reshape({rows, d}).to(at::kFloat);
    const auto noise = normals_reference((n + 3) / 4, 0, st, w.device()).narrow(0, 0, n).reshape({rows, d});
    const auto after = (before + a * scale * noise).to(w.scalar_type());
    *sumsq = (after.to(at::kFloat) - before).to(at::kDouble).pow(2).sum().item<double>();
    w.copy_(after.reshape(w.sizes()));
  });
}

// z [n]: *top is the index of the largest (the first of equals), and the result whether all are finite.
INLINE int scan_any(const float* z, int64_t n, int64_t* top) {
  float best[kLanes], sum[kLanes] = {0};
  int32_t at[kLanes];
  for (int l = 0; l < kLanes; l++) {
    best[l] = -INFINITY;
    at[l] = 0;
  }
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (int l = 0; l < kLanes; l++) {
      const float v = z[i + l];
      sum[l] += v - v;  // 0 for a finite number, NaN otherwise
      at[l] = v > best[l] ? static_cast<int32_t>(i) : at[l];
      best[l] = v > best[l] ? v : best[l];
    }
  float high = -INFINITY, total = lane_sum(sum);
  *top = 0;
  for (int l = 0; l < kLanes; l++)
    if (best[l] > high || (best[l] == high && at[l] + l < *top)) {
      high = best[l];
      *top = at[l] + l;
    }
  for (; i < n; i++) {
    total += z[i] - z[i];
    if (z[i] > high) {
      high = z[i];
      *top = i;
    }
  }
  return total == 0;
}
LEVELS(scan)

int gsm_scan(const float* z, int64_t n, int64_t* top) { return scan(z, n, top); }

// out gets, in order, the indices of all z [n] that could win argmax(z/T + Gumbel) against a best so far; the result is how many. A
// uniform u beats a gap d only if 1 - u <= -ln u < exp(-d). Float32 is enough: the slack keeps every token that is near.
INLINE int64_t may_win_any(const float* z, int64_t n, float inverse_t, float best, uint32_t step, uint64_t key, int32_t* out) {
  constexpr int64_t block = 4 * kBlocks;
  const Stream st = stream_of(key, step, 0, 0);
  const float slack = 1e-3f + 1e-6f * __builtin_fabsf(best);
  uint32_t w[4][kBlocks], inverted[block];
  float x[block], limit[block];
  unsigned char keep[block];
  int64_t count = 0;
  for (int64_t first = 0; first < n; first += block) {
    const int64_t m = std::min(block, n - first);
    for (int64_t i = m; i < block; i++) x[i] = -INFINITY;
    memcpy(x, z + first, sizeof(float) * static_cast<size_t>(m));
    float high[kLanes];
    for (int l = 0; l < kLanes; l++) high[l] = -INFINITY;
    for (int64_t i = 0; i < block; i += kLanes)
      for (int l = 0; l < kLanes; l++) {
        const float d = x[i + l] * inverse_t - best + slack;
        high[l] = d > high[l] ? d : high[l];
        limit[i + l] = fast_exp(d) + 1e-9f;
      }
    int near = 0;
    for (int l = 0; l < kLanes; l++) near |= high[l] >= -23.0f;
    if (near == 0) continue;  // no uniform of 32 bits reaches that far
    philox_lanes(st, static_cast<uint32_t>(first / 4), w);
    for (int b = 0; b < kBlocks; b++)
      for (int j = 0; j < 4; j++) inverted[4 * b + j] = ~w[j][b];
    for (int64_t i = 0; i < block; i++) keep[i] = static_cast<float>(inverted[i]) * 0x1p-32f <= limit[i];
    for (int64_t i = 0; i < m; i += 8) {
      uint64_t any;
      memcpy(&any, keep + i, sizeof any);
      for (int64_t l = i; any != 0 && l < std::min(i + 8, m); l++)
        if (keep[l] != 0) out[count++] = static_cast<int32_t>(first + l);
    }
  }
  return count;
}
LEVELS(may_win)

int64_t gsm_may_win(const float* z, int64_t n, float inverse_t, float best, uint32_t step, uint64_t key, int32_t* out) { return may_win(z, n, inverse_t, best, step, key, out); }

char* gsm_philox_words(uint32_t* out, int64_t blocks, uint32_t block0, uint32_t c1, uint32_t c2, uint32_t c3, uint64_t key, int reference) {
  return guard([&] {
    const Stream st = stream_of(key, c1, c2, c3);
    if (reference == 0) {
      words_span(out, blocks, block0, st);
      return;
    }
    const at::Device d(at::kCPU);
    const auto w = words_reference(blocks_from(block0, blocks, d), scalar64(c1, d), scalar64(c2, d), scalar64(c3, d), scalar64(st.k0, d), scalar64(st.k1, d));
    const auto all = at::stack({w[0], w[1], w[2], w[3]}, -1).contiguous();
    for (int64_t i = 0; i < 4 * blocks; i++) out[i] = static_cast<uint32_t>(all.data_ptr<int64_t>()[i]);
  });
}

char* gsm_normals(float* out, int64_t blocks, uint32_t block0, uint32_t c1, uint32_t c2, uint32_t c3, uint64_t key, int reference) {
  return guard([&] {
    const Stream st = stream_of(key, c1, c2, c3);
    if (reference == 0) {
      normals_span(out, blocks, block0, st);
      return;
    }
    const auto n = normals_reference(blocks, block0, st, at::Device(at::kCPU)).contiguous();
    memcpy(out, n.data_ptr<float>(), sizeof(float) * static_cast<size_t>(4 * blocks));
  });
}
