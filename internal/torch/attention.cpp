// The key-value cache and attention. On a CPU, keys lie in blocks of 16 positions, [slots, KV, blocks, hd, 16], so that the
// scores of 16 positions are the lanes of one vector and nothing is summed across lanes; values lie position by position,
// [slots, KV, capacity, hd]. Elsewhere both are [slots, KV, capacity, hd].
#include "common.h"

namespace {

constexpr int kHeads = 4;  // query heads that share a load of keys or values

// Vectors of L floats, halves of them, and their bits. One that is wider than the processor's registers is kept in memory by the
// compiler, which takes eight times as long.
template <int L>
struct Vectors;
#define VECTORS(L)                                             \
  template <>                                                  \
  struct Vectors<L> {                                          \
    typedef float Whole __attribute__((vector_size(4 * L)));   \
    typedef uint32_t Bits __attribute__((vector_size(4 * L))); \
    typedef uint16_t Half __attribute__((vector_size(2 * L))); \
  }
VECTORS(8);
VECTORS(16);
#undef VECTORS

template <int L>
using Vector = typename Vectors<L>::Whole;

}  // namespace

template <int L>
INLINE Vector<L> load(const float* p) {
  Vector<L> v;
  memcpy(&v, p, sizeof v);
  return v;
}

// bfloat16 is the upper half of a float32.
template <int L>
INLINE Vector<L> load(const at::BFloat16* p) {
  typename Vectors<L>::Half h;
  memcpy(&h, p, sizeof h);
  const auto w = __builtin_convertvector(h, typename Vectors<L>::Bits) << 16;
  Vector<L> v;
  memcpy(&v, &w, sizeof v);
  return v;
}

// scores[g, 16 b + l] = scale * q[g] . k[position 16 b + l] for N heads and B blocks; each sum runs over hd in order.
template <int L, int N, int B, class E>
INLINE void score_blocks(const float* q, const E* k, float* scores, int64_t stride, int64_t hd, float scale) {
  constexpr int parts = kLanes / L;  // vectors of a block
  Vector<L> acc[N][B * parts] = {};
  for (int64_t i = 0; i < hd; i++)
#pragma GCC unroll 16
    for (int u = 0; u < B * parts; u++) {
      const Vector<L> key = load<L>(k + (u / parts * hd + i) * kLanes + u % parts * L);
#pragma GCC unroll 4
      for (int g = 0; g < N; g++) acc[g][u] += q[g * hd + i] * key;
    }
#pragma GCC unroll 4
  for (int g = 0; g < N; g++)
#pragma GCC unroll 16
    for (int u = 0; u < B * parts; u++) {
      const Vector<L> s = acc[g][u] * scale;
      memcpy(scores + g * stride + u * L, &s, sizeof s);
    }
}

// out[g, L c + l] = sum over p of w[g, p] v[p, L c + l] for N heads and C vectors. Even and odd positions are summed apart, each in
// order: one sum would wait for itself at every step.
template <int L, int N, int C, class E>
INLINE void weigh(const float* w, int64_t stride, const E* v, float* out, int64_t hd, int64_t n) {
  Vector<L> even[N][C] = {}, odd[N][C] = {};
  int64_t p = 0;
  for (; p + 2 <= n; p += 2)
#pragma GCC unroll 4
    for (int c = 0; c < C; c++) {
      const Vector<L> a = load<L>(v + p * hd + c * L), b = load<L>(v + (p + 1) * hd + c * L);
#pragma GCC unroll 4
      for (int g = 0; g < N; g++) {
        even[g][c] += w[g * stride + p] * a;
        odd[g][c] += w[g * stride + p + 1] * b;
      }
    }
#pragma GCC unroll 4
  for (int c = 0; c < C; c++)
#pragma GCC unroll 4
    for (int g = 0; g < N; g++) {
      if (p < n) even[g][c] += w[g * stride + p] * load<L>(v + p * hd + c * L);
      const Vector<L> sum = even[g][c] + odd[g][c];
      memcpy(out + g * hd + c * L, &sum, sizeof sum);
    }
}

// scores[0, n) become a softmax. A NaN must stay one: the comparison skips it, the exponential does not.
INLINE void softmax_row(float* scores, int64_t n) {
  float tops[kLanes];
  for (int l = 0; l < kLanes; l++) tops[l] = -INFINITY;
  int64_t p = 0;
  for (; p + kLanes <= n; p += kLanes)
    for (int l = 0; l < kLanes; l++) tops[l] = scores[p + l] > tops[l] ? scores[p + l] : tops[l];
  for (; p < n; p++) tops[0] = scores[p] > tops[0] ? scores[p] : tops[0];
  float top = tops[0];
  for (int l = 1; l < kLanes; l++) top = tops[l] > top ? tops[l] : top;
  float acc[kLanes] = {0};
  for (p = 0; p + kLanes <= n; p += kLanes)
    for (int l = 0; l < kLanes; l++) {
      const float s = scores[p + l];
      const float e = s == s ? fast_exp(s - top) : s;
      scores[p + l] = e;
      acc[l] += e;
    }
  for (; p < n; p++) {
    const float s = scores[p];
    const float e = s == s ? fast_exp(s - top) : s;
    scores[p] = e;
    acc[0] += e;
  }
  const float inv = 1.0f / lane_sum(acc);
  for (p = 0; p < n; p++) scores[p] *= inv;
}

// How scores are made: scale * q . k, bounded by cap tanh(score / cap) where cap is not 0.
struct Scoring {
  float scale, cap;
};

// N query heads of one row against one key-value head: q [N, hd] -> out [N, hd]; scores is scratch [N, stride]. Sums stand in registers: up
// to sixteen of the 32 that vectors of 16 have, eight of the 16 that those of 8 have.
template <int L, int N, class E>
INLINE void attend_heads(const float* q, const E* k, const E* v, float* out, float* scores, int64_t stride, int64_t hd, int64_t n, Scoring how) {
  const int64_t blocks = (n + kLanes - 1) / kLanes;
  constexpr int together = L == kLanes || N == 1 ? 4 : N == 2 ? 2 : 1;
  int64_t b = 0;
  for (; b + together <= blocks; b += together) score_blocks<L, N, together>(q, k + b * hd * kLanes, scores + b * kLanes, stride, hd, how.scale);
  for (; b < blocks; b++) score_blocks<L, N, 1>(q, k + b * hd * kLanes, scores + b * kLanes, stride, hd, how.scale);
  for (int g = 0; g < N; g++) {
    if (how.cap > 0)
      for (int64_t p = 0; p < n; p++) scores[g * stride + p] = how.cap * fast_tanh(scores[g * stride + p] / how.cap);
    softmax_row(scores + g * stride, n);
  }
  constexpr int vectors = L == kLanes || N <= 2 ? 2 : 1;
  int64_t c = 0;
  for (; c + vectors * L <= hd; c += vectors * L) weigh<L, N, vectors>(scores, stride, v + c, out + c, hd, n);
  for (; c + L <= hd; c += L) weigh<L, N, 1>(scores, stride, v + c, out + c, hd, n);
  for (; c < hd; c++)
    for (int g = 0; g < N; g++) {
      float sum = 0;
      for (int64_t p = 0; p < n; p++) sum += scores[g * stride + p] * static_cast<float>(v[p * hd + c]);
      out[g * hd + c] = sum;
    }
}

// One query row against one key-value head: q [G, hd], n keys and values -> out [G, hd].
template <int L, class E>
INLINE void attend_by(const float* q, const E* k, const E* v, float* out, float* scores, int64_t stride, int64_t group, int64_t hd, int64_t n, Scoring how) {
  for (; group >= kHeads; group -= kHeads, q += kHeads * hd, out += kHeads * hd) attend_heads<L, kHeads>(q, k, v, out, scores, stride, hd, n, how);
  switch (group) {
    case 3: attend_heads<L, 3>(q, k, v, out, scores, stride, hd, n, how); break;
    case 2: attend_heads<L, 2>(q, k, v, out, scores, stride, hd, n, how); break;
    case 1: attend_heads<L, 1>(q, k, v, out, scores, stride, hd, n, how); break;
    default: break;
  }
}

template <class... A>
INLINE void attend_wide_any(A... a) {
  attend_by<kLanes>(a...);
}
template <class... A>
INLINE void attend_narrow_any(A... a) {
  attend_by<8>(a...);
}

LEVELS(attend_wide)
LEVELS(attend_narrow)

namespace {

// blocked tells whether a cache of keys lies in blocks of positions.
bool blocked(const at::Tensor& cache) { return cache.dim() == 5; }

struct CacheShape {
  int64_t slots, kv, capacity, hd;
};

CacheShape shape_of(const at::Tensor& cache) {
  if (blocked(cache)) return {cache.size(0), cache.size(1), cache.size(2) * kLanes, cache.size(3)};
  TORCH_CHECK(cache.dim() == 4, "a key-value cache must have four or five dimensions");
  return {cache.size(0), cache.size(1), cache.size(2), cache.size(3)};
}

template <class E>
void store(E* cache, const float* x, const CacheShape& c, bool in_blocks, const int32_t* slot, const int32_t* pos, int64_t rows) {
  for (int64_t r = 0; r < rows; r++)
    for (int64_t h = 0; h < c.kv; h++, x += c.hd) {
      E* head = cache + (slot[r] * c.kv + h) * c.capacity * c.hd;
      if (in_blocks) {
        E* lane = head + pos[r] / kLanes * c.hd * kLanes + pos[r] % kLanes;
        for (int64_t i = 0; i < c.hd; i++) lane[i * kLanes] = static_cast<E>(x[i]);
      } else {
        for (int64_t i = 0; i < c.hd; i++) head[pos[r] * c.hd + i] = static_cast<E>(x[i]);
      }
    }
}

template <class E>
at::Tensor attend_rows(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const int32_t* slot, const int32_t* pos, int64_t longest, Scoring how) {
  const CacheShape ks = shape_of(k), vs = shape_of(v);
  const int64_t rows = q.size(0), heads = q.size(1), hd = q.size(2), kv = ks.kv, group = heads / kv;
  auto y = at::empty({rows, heads * hd}, q.options());
  const float* qp = q.data_ptr<float>();
  const E *kp = k.data_ptr<E>(), *vp = v.data_ptr<E>();
  float* yp = y.data_ptr<float>();
  const int64_t stride = (longest + kLanes - 1) / kLanes * kLanes;
  parallel_for(rows * kv, grain(longest * hd * group), [&](int64_t from, int64_t to) {
    std::vector<float> scores(static_cast<size_t>(kHeads * stride));
    for (int64_t i = from; i < to; i++) {
      const int64_t r = i / kv, h = i % kv, at_slot = slot[r] * kv + h, row = r * heads * hd + h * group * hd;
      const E *keys = kp + at_slot * ks.capacity * hd, *values = vp + at_slot * vs.capacity * hd;
      if (level() > Level::kAvx2) attend_wide(qp + row, keys, values, yp + row, scores.data(), stride, group, hd, int64_t{pos[r]} + 1, how);
      else attend_narrow(qp + row, keys, values, yp + row, scores.data(), stride, group, hd, int64_t{pos[r]} + 1, how);
    }
  });
  return y;
}

}  // namespace

// cache <- x [R, KV, hd], row r at (slot[r], pos[r]).
char* gsm_kv_store(gsm_tensor cache_, gsm_tensor x_, const int32_t* slot, const int32_t* pos, int64_t rows) {
  return guard([&] {
    auto& cache = T(cache_);
    const auto& x = T(x_);
    const CacheShape c = shape_of(cache);
    TORCH_CHECK(x.size(0) == rows && x.size(1) == c.kv && x.size(2) == c.hd, "kv_store: the shapes do not fit");
    for (int64_t r = 0; r < rows; r++) {
      TORCH_CHECK(slot[r] >= 0 && slot[r] < c.slots, "kv_store: slot ", slot[r], " of ", c.slots);
      TORCH_CHECK(pos[r] >= 0 && pos[r] < c.capacity, "kv_store: position ", pos[r], " is past the cache's ", c.capacity);
    }
    if (fast(x) && cache.is_cpu() && cache.is_contiguous()) {
      if (cache.scalar_type() == at::kFloat) return store(cache.data_ptr<float>(), x.data_ptr<float>(), c, blocked(cache), slot, pos, rows);
      if (cache.scalar_type() == at::kBFloat16) return store(cache.data_ptr<at::BFloat16>(), x.data_ptr<float>(), c, blocked(cache), slot, pos, rows);
    }
    TORCH_CHECK(!blocked(cache), "kv_store: keys in blocks are for float32 rows on a CPU");
    cache.index_put_({int_tensor(slot, rows, cache.device()).unsqueeze(1),
                      at::arange(c.kv, at::TensorOptions().dtype(at::kLong).device(cache.device())).unsqueeze(0),
                      int_tensor(pos, rows, cache.device()).unsqueeze(1)},
                     x.to(cache.scalar_type()));
  });
}

// Row r attends, in its slot, to positions 0..pos[r]: q [R, H, hd] -> out [R, H * hd].
char* gsm_attention(gsm_tensor* out, gsm_tensor q_, gsm_tensor k_, gsm_tensor v_, const int32_t* slot, const int32_t* pos, int64_t rows, double scale, double softcap) {
  return guard([&] {
    const auto &q = T(q_), &k = T(k_), &v = T(v_);
    const CacheShape c = shape_of(k), cv = shape_of(v);
    const int64_t heads = q.size(1), hd = q.size(2), kv = c.kv;
    TORCH_CHECK(q.size(0) == rows && heads % kv == 0 && c.hd == hd && cv.hd == hd && cv.slots == c.slots && cv.kv == kv && !blocked(v),
                "attention: the shapes do not fit");
    int64_t longest = 0;
    for (int64_t r = 0; r < rows; r++) {
      TORCH_CHECK(slot[r] >= 0 && slot[r] < c.slots && pos[r] >= 0 && pos[r] < std::min(c.capacity, cv.capacity), "attention: row ", r, " is outside the cache");
      longest = std::max<int64_t>(longest, pos[r] + 1);
    }
    if (blocked(k)) {
      TORCH_CHECK(fast(q) && k.is_contiguous() && v.is_contiguous() && k.scalar_type() == v.scalar_type(), "attention: keys in blocks are for float32 rows on a CPU");
      const Scoring how{static_cast<float>(scale), static_cast<float>(softcap)};
      give(out, k.scalar_type() == at::kFloat ? attend_rows<float>(q, k, v, slot, pos, longest, how) : attend_rows<at::BFloat16>(q, k, v, slot, pos, longest, how));
      return;
    }
    // Rows of one slot at consecutive positions (a prefill) go together; a decode step is a run of length one each.
    const int64_t group = heads / kv;
    std::vector<at::Tensor> parts;
    for (int64_t r = 0; r < rows;) {
      int64_t end = r + 1;
      while (end < rows && slot[end] == slot[r] && pos[end] == pos[end - 1] + 1) end++;
      const int64_t n = end - r, keys = pos[end - 1] + 1;
      const auto kk = k.select(0, slot[r]).narrow(1, 0, keys), vv = v.select(0, slot[r]).narrow(1, 0, keys);  // [KV, n, hd]
      // The heads of a group become query rows of their key-value head: [KV, G * n, hd].
      const auto qq = q.narrow(0, r, n).reshape({n, kv, group, hd}).permute({1, 2, 0, 3}).reshape({kv, group * n, hd});
      auto s = at::matmul(qq, kk.transpose(1, 2)).to(at::kFloat) * scale;
      if (softcap > 0) s = at::tanh(s / softcap) * softcap;
      const auto column = at::arange(keys, at::TensorOptions().dtype(at::kLong).device(q.device()));
      const auto limit = int_tensor(pos + r, n, q.device()).repeat({group}).unsqueeze(1);
      s = s.masked_fill(column.unsqueeze(0) > limit, -INFINITY);
      const auto o = at::matmul(at::softmax(s, -1).to(q.scalar_type()), vv);  // [KV, G * n, hd]
      parts.push_back(o.reshape({kv, group, n, hd}).permute({2, 0, 1, 3}).reshape({n, heads * hd}));
      r = end;
    }
    give(out, at::cat(parts, 0));
  });
}
