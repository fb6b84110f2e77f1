// Which kernels an operation of device.h launches, on what grid, after which checks. The file that includes this one defines
//   void launch(const std::string& name, dim3 grid, unsigned threads, size_t shared, void** args)
// and dim3: launch.cpp hands kernels to the driver, emulation.cpp to a loop.
#pragma once
#include "../common.h"

namespace {

constexpr int64_t kThreads = 256, kChunk = 128, kHeads = 8, kNoiseSpan = 1024, kChoiceSpan = 4096;  // as in kernels.cu

// Arguments are passed by address; their types are those of the kernel's parameters.
template <class... A>
void run(const std::string& name, dim3 grid, int64_t threads, size_t shared, A... a) {
  void* args[] = {static_cast<void*>(&a)...};
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
  launch(name, grid, static_cast<unsigned>(threads), shared, args);
}

dim3 grid(int64_t x, int64_t y = 1, int64_t z = 1) {
  TORCH_CHECK(x <= 0x7fffffff && y <= 65535 && z <= 65535, "a grid of ", x, " by ", y, " by ", z, " blocks is too large");
  return dim3(static_cast<unsigned>(x), static_cast<unsigned>(y), static_cast<unsigned>(z));
}

int64_t pieces(int64_t n, int64_t size) { return (n + size - 1) / size; }

std::string suffix(const char* op, const at::Tensor& t) {
  switch (t.scalar_type()) {
    case at::kFloat: return "f32";
    case at::kHalf: return "f16";
    case at::kBFloat16: return "bf16";
    default: TORCH_CHECK(false, op, ": there is no kernel for ", t.scalar_type());
  }
}

// Pointers of one type each, NULL for an absent tensor; strange layouts are an error where the kernel writes.
const at::Tensor& checked(const char* op, const char* name, gsm_tensor t_, at::ScalarType type, int64_t n) {
  const auto& t = T(t_);
  TORCH_CHECK(t.scalar_type() == type && t.is_contiguous() && t.numel() == n, op, ": ", name, " must be a contiguous ", type, " tensor of ", n, " elements, not ", t.sizes(),
              " of ", t.scalar_type());
  return t;
}

long long* longs(const char* op, const char* name, gsm_tensor t, int64_t n) {
  return t == nullptr ? nullptr : reinterpret_cast<long long*>(checked(op, name, t, at::kLong, n).data_ptr());
}
int* ints(const char* op, const char* name, gsm_tensor t, int64_t n) { return t == nullptr ? nullptr : static_cast<int*>(checked(op, name, t, at::kInt, n).data_ptr()); }
double* doubles(const char* op, const char* name, gsm_tensor t, int64_t n) {
  return t == nullptr ? nullptr : static_cast<double*>(checked(op, name, t, at::kDouble, n).data_ptr());
}

at::Tensor scratch(const at::Tensor& like, at::ScalarType type, at::IntArrayRef sizes) { return at::empty(sizes, like.options().dtype(type)); }

char* rms_norm(gsm_tensor* out, gsm_tensor x_, gsm_tensor w_, double eps, double offset) {
  return guard([&] {
    const auto x = T(x_).contiguous(), w = T(w_).contiguous();
    TORCH_CHECK(x.dim() > 0 && w.dim() == 1 && w.size(0) == x.size(-1) && w.size(0) > 0 && w.scalar_type() == x.scalar_type(), "rms norm: x is ", x.sizes(), " of ", x.scalar_type(),
                ", w ", w.sizes(), " of ", w.scalar_type());
    auto y = at::empty_like(x);
    const int64_t d = x.size(-1);
    run("rms_norm_" + suffix("rms norm", x), grid(x.numel() / d), kThreads, 0, y.data_ptr(), x.data_ptr(), w.data_ptr(), static_cast<long long>(d), static_cast<float>(eps),
        static_cast<float>(offset));
    give(out, std::move(y));
  });
}

char* gate_mul(gsm_tensor* out, gsm_tensor gate_, gsm_tensor up_, int gelu) {
  return guard([&] {
    const auto gate = T(gate_).contiguous(), up = T(up_).contiguous();
    TORCH_CHECK(gate.sizes() == up.sizes() && gate.scalar_type() == up.scalar_type(), "gate: ", gate.sizes(), " of ", gate.scalar_type(), " and ", up.sizes(), " of ", up.scalar_type());
    auto y = at::empty_like(gate);
    const long long n = gate.numel();
    run("gate_mul_" + suffix("gate", gate), grid(pieces(n, kThreads)), kThreads, 0, y.data_ptr(), gate.data_ptr(), up.data_ptr(), n, gelu);
    give(out, std::move(y));
  });
}

char* silu_mul(gsm_tensor* out, gsm_tensor gate, gsm_tensor up) { return gate_mul(out, gate, up, 0); }
char* gelu_mul(gsm_tensor* out, gsm_tensor gate, gsm_tensor up) { return gate_mul(out, gate, up, 1); }

char* rope_at(gsm_tensor x_, gsm_tensor cos_, gsm_tensor sin_, gsm_tensor pos_) {
  return guard([&] {
    auto& given = T(x_);
    TORCH_CHECK(given.dim() == 3 && T(cos_).dim() == 2, "rope: the shapes do not fit");
    const auto x = given.contiguous();
    const long long rows = x.size(0), heads = x.size(1), hd = x.size(2), table = T(cos_).size(0), rot = T(cos_).size(1);
    TORCH_CHECK(rot <= hd && rot % 2 == 0, "rope: ", rot, " of ", hd, " dimensions");
    const auto& cos = checked("rope", "cos", cos_, at::kFloat, table * rot);
    const auto& sin = checked("rope", "sin", sin_, at::kFloat, table * rot);
    run("rope_" + suffix("rope", x), grid(heads, rows), kThreads, 0, x.data_ptr(), cos.data_ptr(), sin.data_ptr(), longs("rope", "positions", pos_, rows), heads, hd, rot, table);
    if (!given.is_contiguous()) given.copy_(x);
  });
}

char* store_at(gsm_tensor cache_, gsm_tensor x_, gsm_tensor slot_, gsm_tensor pos_) {
  return guard([&] {
    const auto& cache = T(cache_);
    const auto x = T(x_).contiguous();
    TORCH_CHECK(cache.dim() == 4 && cache.is_contiguous() && x.dim() == 3 && x.size(1) == cache.size(1) && x.size(2) == cache.size(3), "store: the shapes do not fit: ", x.sizes(), " into ",
                cache.sizes());
    const long long rows = x.size(0), slots = cache.size(0), kv = cache.size(1), capacity = cache.size(2), hd = cache.size(3);
    run("store_" + suffix("store", cache) + "_" + suffix("store", x), grid(kv, rows), kThreads, 0, cache.data_ptr(), x.data_ptr(), longs("store", "slots", slot_, rows),
        longs("store", "positions", pos_, rows), slots, kv, capacity, hd);
  });
}

char* attend_at(gsm_tensor* out, gsm_tensor q_, gsm_tensor k_, gsm_tensor v_, gsm_tensor pos_, int64_t length_, double scale, double softcap) {
  return guard([&] {
    const auto q = T(q_).contiguous();
    const auto &k = T(k_), &v = T(v_);
    TORCH_CHECK(q.dim() == 3 && k.dim() == 4 && v.sizes() == k.sizes() && k.scalar_type() == v.scalar_type() && k.is_contiguous() && v.is_contiguous() && q.size(0) == k.size(0) &&
                    q.size(2) == k.size(3) && q.size(1) % k.size(1) == 0 && length_ > 0 && length_ <= k.size(2),
                "attend: the shapes do not fit: ", q.sizes(), " to ", length_, " of ", k.sizes());
    const long long rows = q.size(0), heads = q.size(1), hd = q.size(2), kv = k.size(1), group = heads / kv, capacity = k.size(2), length = length_, chunks = pieces(length, kChunk);
    const size_t shared = static_cast<size_t>(kHeads * (hd + kChunk)) * sizeof(float);
    TORCH_CHECK(shared <= 46 << 10, "attend: heads of ", hd, " dimensions are too large for the kernel");
    auto* pos = longs("attend", "positions", pos_, rows);
    auto y = scratch(q, q.scalar_type(), {rows, heads * hd});
    auto part = scratch(q, at::kFloat, {rows, heads, chunks, hd}), norms = scratch(q, at::kFloat, {rows, heads, chunks, 2});
    run("attend_" + suffix("attend", k) + "_" + suffix("attend", q), grid(chunks, kv, rows), kChunk, shared, part.data_ptr(), norms.data_ptr(), q.data_ptr(), k.data_ptr(), v.data_ptr(), pos,
        group, hd, capacity, length, static_cast<float>(scale), static_cast<float>(softcap));
    run("join_chunks_" + suffix("attend", q), grid(heads, rows), kThreads, 0, y.data_ptr(), part.data_ptr(), norms.data_ptr(), pos, hd, chunks, length);
    give(out, std::move(y));
  });
}

char* row_stats(gsm_tensor* out, gsm_tensor x_, int absmax) {
  return guard([&] {
    const auto x = T(x_).contiguous();
    TORCH_CHECK(x.dim() == 2 && x.size(1) > 0, "row stats: the input must be [rows, features]");
    auto y = scratch(x, at::kDouble, {x.size(0), 2});
    run("row_stats_" + suffix("row stats", x), grid(x.size(0)), kThreads, 0, y.data_ptr(), x.data_ptr(), static_cast<long long>(x.size(1)), absmax);
    give(out, std::move(y));
  });
}

char* noise_at(gsm_tensor* out, gsm_tensor x_, gsm_tensor stats_, int absmax, double scale, uint32_t site, const gsm_noise_rows* rows) {
  return guard([&] {
    const auto x = T(x_).contiguous();
    TORCH_CHECK(x.dim() == 2 && x.size(1) > 0 && T(stats_).dim() == 2, "noise: the input must be [rows, features]");
    const long long m = x.size(0), d = x.size(1), total = T(stats_).size(0), spans = pieces(d, kNoiseSpan);
    TORCH_CHECK(rows->group != nullptr || total == m, "noise: ", total, " rows of statistics for ", m, " rows without groups");
    auto y = at::empty_like(x), part = scratch(x, at::kDouble, {m, spans}), spread = scratch(x, at::kFloat, {m});
    TORCH_CHECK(rows->keys != nullptr && rows->pos != nullptr, "noise: keys or positions are missing");
    run("noise_" + suffix("noise", x), grid(spans, m), kThreads, 0, y.data_ptr(), x.data_ptr(), doubles("noise", "statistics", stats_, 2 * total), total,
        longs("noise", "keys", rows->keys, m), longs("noise", "positions", rows->pos, m), longs("noise", "steps", rows->step, m), longs("noise", "groups", rows->group, 2 * m),
        part.data_ptr(), spread.data_ptr(), d, absmax, scale, site);
    if (rows->sums != nullptr)
      run("noise_sums", grid(pieces(m, kThreads)), kThreads, 0, doubles("noise", "sums", rows->sums, 2 * m), part.data_ptr(), spread.data_ptr(), ints("noise", "live", rows->live, m), m,
          spans, d);
    give(out, std::move(y));
  });
}

char* philox_at(gsm_tensor words_, gsm_tensor normals_, uint32_t block0, uint32_t c1, uint32_t c2, uint32_t c3, uint64_t key) {
  return guard([&] {
    const long long n = T(words_).numel() / 4;
    auto* words = longs("philox", "words", words_, 4 * n);
    run("philox_words", grid(pieces(n, kThreads)), kThreads, 0, words, checked("philox", "normals", normals_, at::kFloat, 4 * n).data_ptr(), n, block0, c1, c2, c3,
        static_cast<unsigned long long>(key));
  });
}

char* choose_at(gsm_tensor z_, const gsm_decode_state* s) {
  return guard([&] {
    const auto z = T(z_).contiguous();
    TORCH_CHECK(z.dim() == 2 && z.scalar_type() == at::kFloat && z.size(1) > 0 && z.size(1) < 0x7fffffff && T(s->out).dim() == 2 && T(s->out).size(1) > 0,
                "choose: the logits must be float32 [rows, vocabulary], and there must be room for tokens");
    const long long rows = z.size(0), v = z.size(1), n = T(s->out).size(1), spans = pieces(v, kChoiceSpan);
    auto scores = scratch(z, at::kDouble, {2, rows, spans}), ids = scratch(z, at::kInt, {2, rows, spans});
    double *score = scores.data_ptr<double>(), *drawn = score + rows * spans;
    int *at = ids.data_ptr<int>(), *drawn_at = at + rows * spans;
    const auto row = [&](const char* name, gsm_tensor t) {
      TORCH_CHECK(t != nullptr, "choose: ", name, " are missing");
      return longs("choose", name, t, rows);
    };
    auto *live = static_cast<int*>(checked("choose", "live", s->live, at::kInt, rows).data_ptr());
    auto *status = static_cast<int*>(checked("choose", "status", s->status, at::kInt, rows).data_ptr());
    auto *out = static_cast<int*>(checked("choose", "out", s->out, at::kInt, rows * n).data_ptr());
    auto *temps = static_cast<double*>(checked("choose", "temperatures", s->temps, at::kDouble, rows * n).data_ptr());
    auto *ends = checked("choose", "ends", s->ends, at::kByte, v).data_ptr();
    long long *tokens = row("tokens", s->tokens), *pos = row("positions", s->pos), *count = row("counts", s->count), *limit = row("limits", s->limit), *keys = row("keys", s->keys);
    run("choose_scan", grid(spans, rows), kThreads, 0, score, at, z.data_ptr(), live, v);
    run("choose_draw", grid(spans, rows), kThreads, 0, drawn, drawn_at, score, at, z.data_ptr(), live, count, temps, keys, v, n);
    run("choose_next", grid(pieces(rows, kThreads)), kThreads, 0, score, at, drawn, drawn_at, tokens, pos, count, limit, live, status, out, temps, ends, rows, spans, n);
  });
}

const gsm_device_ops kernel_ops = {rms_norm, silu_mul, gelu_mul, rope_at, store_at, attend_at, row_stats, noise_at, philox_at, choose_at};

}  // namespace
