// The kernels of a decode step, in CUDA C++ without includes: NVRTC compiles them at run time for the GPU that is there (../cuda/launch.cpp),
// and g++ compiles the same text for tests, where a loop plays the GPU (emulation.cpp). ops.h launches them.
//
// Every result is a fixed sequence of IEEE operations: compiled without contraction (--fmad=false), with polynomials instead of the
// device's exp and log, reductions of a fixed shape and no atomics. Bits depend neither on the number of rows nor on the GPU.

typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;

#define THREADS 256       // of a block, everywhere but in attention
#define CHUNK 128         // positions of a block of attention, and its threads
#define HEADS 8           // query heads that share a load of a key or value
#define NOISE_SPAN 1024   // elements of a row that a block perturbs
#define CHOICE_SPAN 4096  // tokens that a block compares

#ifndef DYNAMIC_SHARED
#define DYNAMIC_SHARED(type, name) extern __shared__ type name[]
#endif

// ---------------------------------------------------------------- types

struct f32 { float v; };
struct f16 { unsigned short v; };
struct bf16 { unsigned short v; };

static __device__ __forceinline__ float as_float(u32 b) { return __uint_as_float(b); }
static __device__ __forceinline__ u32 as_bits(float f) { return __float_as_uint(f); }

static __device__ __forceinline__ float get(f32 x) { return x.v; }
static __device__ __forceinline__ float get(bf16 x) { return as_float((u32)x.v << 16); }
static __device__ __forceinline__ float get(f16 x) {
  const u32 sign = (u32)(x.v & 0x8000) << 16, e = (x.v >> 10) & 31, m = x.v & 0x3ff;
  if (e == 31) return as_float(sign | 0x7f800000u | (m << 13));
  if (e != 0) return as_float(sign | ((e + 112) << 23) | (m << 13));
  const float small = (float)m * 5.9604644775390625e-8f;  // subnormal: m 2^-24
  return as_float(sign | as_bits(small));
}

// Round to nearest, ties to even, as libtorch does.
static __device__ __forceinline__ void put(f32* p, float f) { p->v = f; }
static __device__ __forceinline__ void put(bf16* p, float f) {
  const u32 b = as_bits(f);
  p->v = (b & 0x7fffffffu) > 0x7f800000u ? 0x7fc0 : (unsigned short)((b + 0x7fffu + ((b >> 16) & 1)) >> 16);
}
static __device__ __forceinline__ void put(f16* p, float f) {
  const u32 b = as_bits(f), a = b & 0x7fffffffu;
  u32 h;
  if (a > 0x7f800000u) h = 0x7e00;
  else if (a >= 0x477ff000u) h = 0x7c00;  // 65520 and more
  else if (a >= 0x38800000u) h = (a - 0x38000000u + 0xfffu + ((a >> 13) & 1)) >> 13;
  else h = as_bits(as_float(a) + 0.5f) - 0x3f000000u;  // subnormal: 0.5 has its last bit at 2^-24
  p->v = (unsigned short)(((b >> 16) & 0x8000u) | h);
}
template <class E>
static __device__ __forceinline__ float rounded(float f) {
  E e;
  put(&e, f);
  return get(e);
}

// ---------------------------------------------------------------- functions

// The next three are those of ../noise.cpp and ../common.h, operation by operation.
static __device__ __forceinline__ float fast_log(float u) {
  const u32 b = as_bits(u);
  int e = (int)((b >> 23) & 0xff) - 126;
  const float m = as_float((b & 0x007fffffu) | 0x3f000000u);
  const bool low = m < 0.707106781186547524f;
  e -= low ? 1 : 0;
  const float x = low ? m + m - 1.0f : m - 1.0f;
  const float z = x * x;
  float y = 7.0376836292e-2f;
  y = y * x - 1.1514610310e-1f;
  y = y * x + 1.1676998740e-1f;
  y = y * x - 1.2420140846e-1f;
  y = y * x + 1.4249322787e-1f;
  y = y * x - 1.6668057665e-1f;
  y = y * x + 2.0000714765e-1f;
  y = y * x - 2.4999993993e-1f;
  y = y * x + 3.3333331174e-1f;
  y = y * x * z;
  const float fe = (float)e;
  y = y + -2.12194440e-4f * fe;
  y = y - 0.5f * z;
  return x + y + 0.693359375f * fe;
}

static __device__ __forceinline__ void fast_turn(float u, float* c, float* s) {
  const float q = floorf(u * 4.0f + 0.5f);
  const float x = (u - q * 0.25f) * 6.283185307179586477f;
  const float z = x * x;
  float sp = -1.9515295891e-4f;
  sp = sp * z + 8.3321608736e-3f;
  sp = sp * z - 1.6666654611e-1f;
  sp = sp * z * x + x;
  float cp = 2.443315711809948e-5f;
  cp = cp * z - 1.388731625493765e-3f;
  cp = cp * z + 4.166664568298827e-2f;
  cp = cp * z * z - 0.5f * z + 1.0f;
  const int k = (int)q & 3;
  const float a = (k & 1) ? sp : cp, b = (k & 1) ? cp : sp;
  *c = (k == 1 || k == 2) ? -a : a;
  *s = (k & 2) ? -b : b;
}

static __device__ __forceinline__ float fast_exp(float x) {
  x = x < -87.0f ? -87.0f : (x > 88.0f ? 88.0f : x);
  if (x != x) return x;
  const float n = floorf(x * 1.44269504088896341f + 0.5f);
  float r = x - n * 0.693359375f;
  r = r - n * -2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  return p * as_float((u32)((int)n + 127) << 23);
}

static __device__ __forceinline__ float fast_tanh(float x) {
  const float a = fabsf(x), z = x * x;
  float p = -5.70498872745e-3f;
  p = p * z + 2.06390887954e-2f;
  p = p * z - 5.37397155531e-2f;
  p = p * z + 1.33314422036e-1f;
  p = p * z - 3.33332819422e-1f;
  p = p * z * x + x;
  const float far = 1.0f - 2.0f / (fast_exp(2.0f * a) + 1.0f);
  return a < 0.625f || x != x ? p : (x < 0 ? -far : far);
}

// ln x of a positive normal number in float64 (FreeBSD's e_log.c, which Go's math.Log follows): below one unit in the last place.
static __device__ double exact_log(double x) {
  u64 b = (u64)__double_as_longlong(x);
  int k = (int)(b >> 52) - 1022;
  double m = __longlong_as_double((i64)((b & 0xfffffffffffffULL) | 0x3fe0000000000000ULL));
  if (m < 0.70710678118654752440) {
    m *= 2;
    k--;
  }
  const double f = m - 1, s = f / (2 + f), s2 = s * s, s4 = s2 * s2, half = 0.5 * f * f;
  const double t1 = s2 * (6.666666666666735130e-01 + s4 * (2.857142874366239149e-01 + s4 * (1.818357216161805012e-01 + s4 * 1.479819860511658591e-01)));
  const double t2 = s4 * (3.999999999940941908e-01 + s4 * (2.222219843214978396e-01 + s4 * 1.531383769920937332e-01));
  return k * 6.93147180369123816490e-01 - ((half - (s * (half + (t1 + t2)) + k * 1.90821492927058770002e-10)) - f);
}

struct Words { u32 w[4]; };

static __device__ __forceinline__ Words philox(u32 c0, u32 c1, u32 c2, u32 c3, u64 key) {
  u32 k0 = (u32)key, k1 = (u32)(key >> 32);
  for (int r = 0; r < 10; r++) {
    const u64 p0 = (u64)0xD2511F53u * c0, p1 = (u64)0xCD9E8D57u * c2;
    c0 = (u32)(p1 >> 32) ^ c1 ^ k0;
    c1 = (u32)p1;
    c2 = (u32)(p0 >> 32) ^ c3 ^ k1;
    c3 = (u32)p0;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  Words out = {{c0, c1, c2, c3}};
  return out;
}

static __device__ __forceinline__ void normals_of(const Words& w, float* n) {
  for (int j = 0; j < 4; j += 2) {
    const float u1 = (float)(int)((w.w[j] >> 8) + 1) * 5.9604644775390625e-8f, u2 = (float)(int)(w.w[j + 1] >> 8) * 5.9604644775390625e-8f;
    const float radius = sqrtf(-2.0f * fast_log(u1));
    float c, s;
    fast_turn(u2, &c, &s);
    n[j] = radius * c;
    n[j + 1] = radius * s;
  }
}

static __device__ __forceinline__ double gumbel(u32 w) { return -exact_log(-exact_log(((double)w + 0.5) * 2.3283064365386962890625e-10)); }

// Sum or maximum over the block's n threads, a power of two, for all of them; s has room for n.
template <class V>
static __device__ V block_sum(V v, V* s, int n) {
  const int t = threadIdx.x;
  __syncthreads();
  s[t] = v;
  __syncthreads();
  for (int k = n / 2; k > 0; k /= 2) {
    if (t < k) s[t] = s[t] + s[t + k];
    __syncthreads();
  }
  return s[0];
}
// NaN stays.
template <class V>
static __device__ V block_max(V v, V* s, int n) {
  const int t = threadIdx.x;
  __syncthreads();
  s[t] = v;
  __syncthreads();
  for (int k = n / 2; k > 0; k /= 2) {
    if (t < k) s[t] = s[t] >= s[t + k] || s[t] != s[t] ? s[t] : s[t + k];
    __syncthreads();
  }
  return s[0];
}

// ---------------------------------------------------------------- noise

extern "C" __global__ void philox_words(i64* words, float* normals, i64 n, u32 block0, u32 c1, u32 c2, u32 c3, u64 key) {
  const i64 i = (i64)blockIdx.x * THREADS + threadIdx.x;
  if (i >= n) return;
  const Words w = philox(block0 + (u32)i, c1, c2, c3, key);
  for (int j = 0; j < 4; j++) words[4 * i + j] = w.w[j];
  normals_of(w, normals + 4 * i);
}

// A block a row: out [R, 2].
template <class E>
static __device__ void row_stats(double* out, const E* x, i64 d, int absmax) {
  __shared__ double s[THREADS];
  const i64 r = blockIdx.x;
  x += r * d;
  double a = 0;
  if (absmax) {
    for (i64 i = threadIdx.x; i < d; i += THREADS) {
      const double v = fabs((double)get(x[i]));
      a = v >= a || v != v ? v : a;
    }
    a = block_max(a, s, THREADS);
    if (threadIdx.x == 0) {
      out[2 * r] = a;
      out[2 * r + 1] = 0;
    }
    return;
  }
  for (i64 i = threadIdx.x; i < d; i += THREADS) a += (double)get(x[i]);
  const double mean = block_sum(a, s, THREADS) / (double)d;
  a = 0;
  for (i64 i = threadIdx.x; i < d; i += THREADS) {
    const double v = (double)get(x[i]) - mean;
    a += v * v;
  }
  a = block_sum(a, s, THREADS);
  if (threadIdx.x == 0) {
    out[2 * r] = mean;
    out[2 * r + 1] = a;
  }
}

// The spread of rows [first, end), for all threads.
static __device__ float group_spread(const double* stats, i64 first, i64 end, i64 d, int absmax) {
  __shared__ double s[THREADS];
  double a = 0;
  if (absmax) {
    for (i64 i = first + threadIdx.x; i < end; i += THREADS) a = stats[2 * i] >= a || stats[2 * i] != stats[2 * i] ? stats[2 * i] : a;
    return (float)block_max(a, s, THREADS);
  }
  const double freedom = (double)(end - first) * (double)d - 1;
  if (!(freedom > 0)) return 0;
  for (i64 i = first + threadIdx.x; i < end; i += THREADS) a += stats[2 * i];
  const double mean = block_sum(a, s, THREADS) / (double)(end - first);
  a = 0;
  for (i64 i = first + threadIdx.x; i < end; i += THREADS) {
    const double v = stats[2 * i] - mean;
    a += stats[2 * i + 1] + (double)d * (v * v);
  }
  return (float)sqrt(block_sum(a, s, THREADS) / freedom);
}

// Block (span, row). part [M, spans] gets the sums of squares of the change, spread [M] the spread.
template <class E>
static __device__ void noise(E* y, const E* x, const double* stats, i64 total, const i64* keys, const i64* pos, const i64* step, const i64* group, double* part,
                             float* spread, i64 d, int absmax, double scale, u32 site) {
  __shared__ double s[THREADS];
  const i64 r = blockIdx.y;
  i64 first = group ? group[2 * r] : r, end = group ? group[2 * r + 1] : r + 1;
  first = first < 0 ? 0 : first;
  end = end > total ? total : end;
  const float sd = group_spread(stats, first, end, d, absmax);
  const float amp = (float)(scale * (double)sd);
  const i64 i = (i64)blockIdx.x * NOISE_SPAN + 4 * (i64)threadIdx.x;
  double sum = 0;
  if (i < d) {
    float n[4];
    normals_of(philox((u32)(i / 4), (u32)pos[r], site, step ? (u32)step[r] : 0, (u64)keys[r]), n);
    for (int j = 0; j < 4 && i + j < d; j++) {
      const float before = get(x[r * d + i + j]);
      E e;
      put(&e, before + amp * n[j]);
      y[r * d + i + j] = e;
      const double change = (double)(get(e) - before);
      sum += change * change;
    }
  }
  sum = block_sum(sum, s, THREADS);
  if (threadIdx.x == 0) {
    part[r * gridDim.x + blockIdx.x] = sum;
    if (blockIdx.x == 0) spread[r] = sd;
  }
}

extern "C" __global__ void noise_sums(double* sums, const double* part, const float* spread, const int* live, i64 rows, i64 spans, i64 d) {
  const i64 r = (i64)blockIdx.x * THREADS + threadIdx.x;
  if (r >= rows || (live && live[r] == 0)) return;
  double sum = 0;
  for (i64 i = 0; i < spans; i++) sum += part[r * spans + i];
  sums[2 * r] += sum;
  sums[2 * r + 1] += (double)spread[r] * (double)spread[r] * (double)d;
}

// ---------------------------------------------------------------- rows

template <class E>
static __device__ void rms_norm(E* y, const E* x, const E* w, i64 d, float eps, float offset) {
  __shared__ float s[THREADS];
  x += (i64)blockIdx.x * d;
  y += (i64)blockIdx.x * d;
  float a = 0;
  for (i64 i = threadIdx.x; i < d; i += THREADS) a += get(x[i]) * get(x[i]);
  const float scale = 1.0f / sqrtf(block_sum(a, s, THREADS) / (float)d + eps);
  for (i64 i = threadIdx.x; i < d; i += THREADS) {
    const float unit = get(x[i]) * scale;
    // Where transformers rounds: Llama before the weight, Gemma (with an offset) after it.
    put(y + i, offset == 0 ? get(w[i]) * rounded<E>(unit) : unit * (get(w[i]) + offset));
  }
}

template <class E>
static __device__ void gate_mul(E* y, const E* gate, const E* up, i64 n, int gelu) {
  const i64 i = (i64)blockIdx.x * THREADS + threadIdx.x;
  if (i >= n) return;
  const float x = get(gate[i]);
  const float g = gelu ? 0.5f * x * (1.0f + fast_tanh(0.7978845608028654f * (x + 0.044715f * x * x * x))) : x / (1.0f + fast_exp(-x));
  put(y + i, rounded<E>(g) * get(up[i]));
}

// Block (head, row).
template <class E>
static __device__ void rope(E* x, const float* cos, const float* sin, const i64* pos, i64 heads, i64 hd, i64 rot, i64 table) {
  const i64 r = blockIdx.y, half = rot / 2, p = pos[r];
  if (p < 0 || p >= table) return;
  x += (r * heads + blockIdx.x) * hd;
  for (i64 i = threadIdx.x; i < half; i += THREADS) {
    const i64 j = i + half, at = p * rot;
    const float a = get(x[i]), b = get(x[j]);
    const float ci = rounded<E>(cos[at + i]), si = rounded<E>(sin[at + i]), cj = rounded<E>(cos[at + j]), sj = rounded<E>(sin[at + j]);
    put(x + i, rounded<E>(a * ci) - rounded<E>(b * si));
    put(x + j, rounded<E>(b * cj) + rounded<E>(a * sj));
  }
}

// Block (head, row); x has elements X and the cache C.
template <class C, class X>
static __device__ void store(C* cache, const X* x, const i64* slot, const i64* pos, i64 slots, i64 kv, i64 capacity, i64 hd) {
  const i64 r = blockIdx.y, h = blockIdx.x, at = slot[r], p = pos[r];
  if (at < 0 || at >= slots || p < 0 || p >= capacity) return;
  for (i64 i = threadIdx.x; i < hd; i += THREADS) put(cache + ((at * kv + h) * capacity + p) * hd + i, get(x[(r * kv + h) * hd + i]));
}

// ---------------------------------------------------------------- attention

// Block (chunk, key-value head, row) with CHUNK threads. part [R, H, chunks, hd] gets the weighted values of the chunk's positions,
// and scale [R, H, chunks, 2] the largest score and the sum of exp(score - largest).
template <class Q, class E>
static __device__ void attend(float* part, float* norms, const Q* q, const E* k, const E* v, const i64* pos, i64 group, i64 hd, i64 capacity, i64 length, float factor, float cap) {
  DYNAMIC_SHARED(float, shared);
  __shared__ float s[CHUNK];
  const i64 chunk = blockIdx.x, h = blockIdx.y, r = blockIdx.z, kv = gridDim.y, chunks = gridDim.x;
  const int t = threadIdx.x;
  const i64 first = chunk * CHUNK, all = pos[r] + 1 < length ? pos[r] + 1 : length;
  if (first >= all) return;
  const int n = all - first < CHUNK ? (int)(all - first) : CHUNK;
  float *qs = shared, *ps = shared + HEADS * hd;  // [HEADS, hd], [HEADS, CHUNK]
  k += ((r * kv + h) * capacity + first) * hd;
  v += ((r * kv + h) * capacity + first) * hd;
  for (i64 g0 = 0; g0 < group; g0 += HEADS) {
    const int m = group - g0 < HEADS ? (int)(group - g0) : HEADS;
    const i64 head = (r * kv + h) * group + g0;  // of [R, H]
    __syncthreads();
    for (i64 i = t; i < m * hd; i += CHUNK) qs[i] = get(q[head * hd + i]);
    __syncthreads();
    float acc[HEADS];
    for (int g = 0; g < HEADS; g++) acc[g] = 0;
    if (t < n)
      for (i64 i = 0; i < hd; i++) {
        const float key = get(k[t * hd + i]);
#pragma unroll
        for (int g = 0; g < HEADS; g++)
          if (g < m) acc[g] = fmaf(qs[g * hd + i], key, acc[g]);
      }
#pragma unroll
    for (int g = 0; g < HEADS; g++) {
      if (g >= m) break;
      float x = acc[g] * factor;
      if (cap > 0) x = fast_tanh(x / cap) * cap;
      const float top = block_max(t < n ? x : as_float(0xff800000u), s, CHUNK);
      // fast_exp ends at -87, where nothing is left beside the largest's 1.
      const float e = t < n ? (x - top < -87.0f ? 0.0f : fast_exp(x - top)) : 0.0f;
      ps[g * CHUNK + t] = e;
      const float sum = block_sum(e, s, CHUNK);
      if (t == 0) {
        norms[((head + g) * chunks + chunk) * 2] = top;
        norms[((head + g) * chunks + chunk) * 2 + 1] = sum;
      }
    }
    __syncthreads();
    for (i64 i = t; i < hd; i += CHUNK) {
      for (int g = 0; g < HEADS; g++) acc[g] = 0;
      for (int p = 0; p < n; p++) {
        const float value = get(v[p * hd + i]);
#pragma unroll
        for (int g = 0; g < HEADS; g++)
          if (g < m) acc[g] = fmaf(ps[g * CHUNK + p], value, acc[g]);
      }
#pragma unroll
      for (int g = 0; g < HEADS; g++)
        if (g < m) part[((head + g) * chunks + chunk) * hd + i] = acc[g];
    }
  }
}

// Block (head, row): the chunks, in order.
template <class Q>
static __device__ void join_chunks(Q* out, const float* part, const float* norms, const i64* pos, i64 hd, i64 chunks, i64 length) {
  const i64 r = blockIdx.y, head = r * gridDim.x + blockIdx.x;
  const i64 all = pos[r] + 1 < length ? pos[r] + 1 : length, n = (all + CHUNK - 1) / CHUNK;
  const float* norm = norms + head * chunks * 2;
  float top = as_float(0xff800000u);
  for (i64 c = 0; c < n; c++) top = norm[2 * c] >= top || norm[2 * c] != norm[2 * c] ? norm[2 * c] : top;
  for (i64 i = threadIdx.x; i < hd; i += THREADS) {
    float sum = 0, value = 0;
    for (i64 c = 0; c < n; c++) {
      const float w = norm[2 * c] - top < -87.0f ? 0.0f : fast_exp(norm[2 * c] - top);
      sum = fmaf(w, norm[2 * c + 1], sum);
      value = fmaf(w, part[(head * chunks + c) * hd + i], value);
    }
    put(out + head * hd + i, value / sum);
  }
}

// ---------------------------------------------------------------- choice

struct Best { double score; int at; };

static __device__ __forceinline__ Best better(Best a, Best b) { return b.score > a.score || (b.score == a.score && b.at < a.at) ? b : a; }

static __device__ Best block_best(Best v, double* score, int* at) {
  const int t = threadIdx.x;
  __syncthreads();
  score[t] = v.score;
  at[t] = v.at;
  __syncthreads();
  for (int k = THREADS / 2; k > 0; k /= 2) {
    if (t < k) {
      const Best a = {score[t], at[t]}, b = {score[t + k], at[t + k]}, c = better(a, b);
      score[t] = c.score;
      at[t] = c.at;
    }
    __syncthreads();
  }
  const Best out = {score[0], at[0]};
  return out;
}

#define NEVER as_float(0xff800000u)

static __device__ __forceinline__ double temperature(const double* temps, const i64* count, i64 r, i64 n) {
  return temps[r * n + (count[r] < n ? count[r] : n - 1)];
}

// The largest of the row's spans; at is -1 where a logit is not finite.
static __device__ Best join_spans(const double* score, const int* at, i64 spans) {
  Best best = {(double)NEVER, 0x7fffffff};
  for (i64 i = 0; i < spans; i++) {
    if (at[i] < 0) {
      best.at = -1;
      return best;
    }
    const Best b = {score[i], at[i]};
    best = better(best, b);
  }
  return best;
}

// Block (span, row): the largest logit of each span.
extern "C" __global__ void choose_scan(double* score, int* at, const float* z, const int* live, i64 v) {
  __shared__ double ss[THREADS];
  __shared__ int si[THREADS];
  const i64 r = blockIdx.y, to = ((i64)blockIdx.x + 1) * CHOICE_SPAN < v ? ((i64)blockIdx.x + 1) * CHOICE_SPAN : v;
  if (live[r] == 0) return;
  Best best = {(double)NEVER, 0x7fffffff};
  int bad = 0;
  for (i64 i = (i64)blockIdx.x * CHOICE_SPAN + threadIdx.x; i < to; i += THREADS) {
    const float x = z[r * v + i];
    bad |= (as_bits(x) & 0x7f800000u) == 0x7f800000u;
    const Best b = {(double)x, (int)i};
    best = better(best, b);
  }
  best = block_best(best, ss, si);
  bad = block_sum(bad, si, THREADS);
  if (threadIdx.x == 0) {
    score[r * gridDim.x + blockIdx.x] = best.score;
    at[r * gridDim.x + blockIdx.x] = bad ? -1 : best.at;
  }
}

// Block (span, row): the largest z/T + g of each span that is not below the row's largest logit's own, or that one.
extern "C" __global__ void choose_draw(double* drawn, int* drawn_at, const double* score, const int* at, const float* z, const int* live, const i64* count,
                                       const double* temps, const i64* keys, i64 v, i64 n) {
  __shared__ double ss[THREADS];
  __shared__ int si[THREADS];
  const i64 r = blockIdx.y, spans = gridDim.x;
  if (live[r] == 0) return;
  const double t = temperature(temps, count, r, n);
  if (!(t > 0)) return;
  const Best top = join_spans(score + r * spans, at + r * spans, spans);
  if (top.at < 0) return;
  const u64 key = (u64)keys[r];
  const u32 step = (u32)count[r];
  const double held = top.score / t + gumbel(philox((u32)(top.at / 4), step, 0, 0, key).w[top.at % 4]);
  Best best = {held, top.at};
  // A uniform u beats a gap d only if 1 - u <= -ln u < exp(-d). Float32 is enough: the slack keeps every token that is near.
  const float bar = (float)held, slack = 1e-3f + 1e-6f * fabsf(bar), inverse = (float)(1 / t);
  for (i64 i = (i64)blockIdx.x * CHOICE_SPAN + 4 * (i64)threadIdx.x; i < ((i64)blockIdx.x + 1) * CHOICE_SPAN && i < v; i += 4 * THREADS) {
    float d[4];
    bool near = false;
    for (int j = 0; j < 4; j++) {
      d[j] = i + j < v ? z[r * v + i + j] * inverse - bar + slack : NEVER;
      near = near || !(d[j] < -23.0f);  // no uniform of 32 bits reaches farther
    }
    if (!near) continue;
    const Words w = philox((u32)(i / 4), step, 0, 0, key);
    for (int j = 0; j < 4 && i + j < v; j++) {
      if ((float)~w.w[j] * 2.3283064365386962890625e-10f > fast_exp(d[j]) + 1e-9f) continue;
      const Best b = {(double)z[r * v + i + j] / t + gumbel(w.w[j]), (int)(i + j)};
      best = better(best, b);
    }
  }
  best = block_best(best, ss, si);
  if (threadIdx.x == 0) {
    drawn[r * spans + blockIdx.x] = best.score;
    drawn_at[r * spans + blockIdx.x] = best.at;
  }
}

// A thread a row: joins the spans and moves the state on.
extern "C" __global__ void choose_next(const double* score, const int* at, const double* drawn, const int* drawn_at, i64* tokens, i64* pos, i64* count,
                                       const i64* limit, int* live, int* status, int* out, const double* temps, const unsigned char* ends, i64 rows,
                                       i64 spans, i64 n) {
  const i64 r = (i64)blockIdx.x * THREADS + threadIdx.x;
  if (r >= rows || live[r] == 0) return;
  Best best = join_spans(score + r * spans, at + r * spans, spans);
  if (best.at < 0) {
    status[r] = 3;
    live[r] = 0;
    return;
  }
  if (temperature(temps, count, r, n) > 0) best = join_spans(drawn + r * spans, drawn_at + r * spans, spans);
  const i64 c = count[r];
  out[r * n + (c < n ? c : n - 1)] = best.at;
  count[r] = c + 1;
  status[r] = ends[best.at] ? 1 : c + 1 >= limit[r] ? 2 : 0;
  live[r] = status[r] == 0;
  if (status[r] != 0) return;
  tokens[r] = best.at;
  pos[r]++;
}

// ---------------------------------------------------------------- entries, one for each dtype

#define ENTRIES(E)                                                                                                                                      \
  extern "C" __global__ void row_stats_##E(double* out, const E* x, i64 d, int absmax) { row_stats<E>(out, x, d, absmax); }                              \
  extern "C" __global__ void noise_##E(E* y, const E* x, const double* stats, i64 total, const i64* keys, const i64* pos, const i64* step,               \
                                       const i64* group, double* part, float* spread, i64 d, int absmax, double scale, u32 site) {                       \
    noise<E>(y, x, stats, total, keys, pos, step, group, part, spread, d, absmax, scale, site);                                                          \
  }                                                                                                                                                      \
  extern "C" __global__ void rms_norm_##E(E* y, const E* x, const E* w, i64 d, float eps, float offset) { rms_norm<E>(y, x, w, d, eps, offset); }         \
  extern "C" __global__ void gate_mul_##E(E* y, const E* gate, const E* up, i64 n, int gelu) { gate_mul<E>(y, gate, up, n, gelu); }                      \
  extern "C" __global__ void rope_##E(E* x, const float* cos, const float* sin, const i64* pos, i64 heads, i64 hd, i64 rot, i64 table) {                 \
    rope<E>(x, cos, sin, pos, heads, hd, rot, table);                                                                                                    \
  }                                                                                                                                                      \
  extern "C" __global__ void join_chunks_##E(E* out, const float* part, const float* norms, const i64* pos, i64 hd, i64 chunks, i64 length) {            \
    join_chunks<E>(out, part, norms, pos, hd, chunks, length);                                                                                           \
  }
// Two dtypes: the cache's and the activations'.
#define PAIRS(C, X)                                                                                                                                      \
  extern "C" __global__ void store_##C##_##X(C* cache, const X* x, const i64* slot, const i64* pos, i64 slots, i64 kv, i64 capacity, i64 hd) {            \
    store<C, X>(cache, x, slot, pos, slots, kv, capacity, hd);                                                                                           \
  }                                                                                                                                                      \
  extern "C" __global__ void attend_##C##_##X(float* part, float* norms, const X* q, const C* k, const C* v, const i64* pos, i64 group, i64 hd,           \
                                              i64 capacity, i64 length, float factor, float cap) {                                                       \
    attend<X, C>(part, norms, q, k, v, pos, group, hd, capacity, length, factor, cap);                                                                   \
  }

ENTRIES(f32)
ENTRIES(f16)
ENTRIES(bf16)
PAIRS(f32, f32)
PAIRS(bf16, f32)
PAIRS(f16, f32)
PAIRS(f16, f16)
PAIRS(bf16, bf16)
PAIRS(f32, bf16)
PAIRS(f32, f16)
