// The operations of device.h: in plain libtorch operations here, which run on any device, or by what a library of kernels put in
// their place. Nothing waits for the device or reads from it.
#include "common.h"
#include "philox_reference.h"

static const gsm_device_ops* cuda_ops = nullptr;
static const gsm_device_ops* host_ops = nullptr;

void gsm_use_device_ops(char device, const gsm_device_ops* ops) { (device == 'c' ? cuda_ops : host_ops) = ops; }

const gsm_device_ops* device_ops(gsm_tensor t) {
  if (t == nullptr) return nullptr;
  return static_cast<at::Tensor*>(t)->is_cuda() ? cuda_ops : host_ops;
}

// A matrix product's bits may depend on the number of its columns; the kernel takes positions in chunks of a fixed size.
int gsm_attention_ignores_length(int device) {
  const auto* ops = device < 0 ? host_ops : cuda_ops;
  return ops != nullptr && ops->attend_at != nullptr;
}

char* gsm_rope_at(gsm_tensor x_, gsm_tensor cos_, gsm_tensor sin_, gsm_tensor pos_) {
  TRY_OP(x_, rope_at, x_, cos_, sin_, pos_);
  return guard([&] {
    auto& x = T(x_);  // [R, H, hd]
    const auto &cos = T(cos_), &sin = T(sin_), &pos = T(pos_);
    TORCH_CHECK(x.dim() == 3 && x.size(0) == pos.numel() && cos.size(1) <= x.size(2), "rope: the shapes do not fit");
    const int64_t rot = cos.size(1);
    const auto c = cos.index_select(0, pos).to(x.scalar_type()).unsqueeze(1), s = sin.index_select(0, pos).to(x.scalar_type()).unsqueeze(1);
    auto part = x.narrow(-1, 0, rot);
    const auto half = at::cat({-part.narrow(-1, rot / 2, rot - rot / 2), part.narrow(-1, 0, rot / 2)}, -1);
    part.copy_(part * c + half * s);
  });
}

char* gsm_store_at(gsm_tensor cache_, gsm_tensor x_, gsm_tensor slot_, gsm_tensor pos_) {
  TRY_OP(cache_, store_at, cache_, x_, slot_, pos_);
  return guard([&] {
    auto& cache = T(cache_);  // [slots, KV, capacity, hd]
    const auto &x = T(x_), &slot = T(slot_), &pos = T(pos_);
    TORCH_CHECK(cache.dim() == 4 && x.dim() == 3 && x.size(0) == pos.numel() && slot.numel() == pos.numel() && x.size(1) == cache.size(1) && x.size(2) == cache.size(3),
                "store: the shapes do not fit");
    const auto heads = at::arange(x.size(1), slot.options());
    cache.index_put_({slot.unsqueeze(1), heads.unsqueeze(0), pos.unsqueeze(1)}, x.to(cache.scalar_type()));
  });
}

char* gsm_attend_at(gsm_tensor* out, gsm_tensor q_, gsm_tensor k_, gsm_tensor v_, gsm_tensor pos_, int64_t length, double scale, double softcap) {
  TRY_OP(q_, attend_at, out, q_, k_, v_, pos_, length, scale, softcap);
  return guard([&] {
    const auto &q = T(q_), &k = T(k_), &v = T(v_), &pos = T(pos_);
    TORCH_CHECK(q.dim() == 3 && k.dim() == 4 && v.sizes() == k.sizes() && q.size(0) == k.size(0) && pos.numel() == q.size(0) && q.size(2) == k.size(3) && q.size(1) % k.size(1) == 0 &&
                    length > 0 && length <= k.size(2),
                "attend: the shapes do not fit");
    const int64_t rows = q.size(0), heads = q.size(1), hd = q.size(2), kv = k.size(1);
    // The heads of a group become query rows of their key-value head: [R, KV, G, hd].
    const auto qq = q.reshape({rows, kv, heads / kv, hd});
    const auto kk = k.narrow(2, 0, length).to(q.scalar_type()), vv = v.narrow(2, 0, length).to(q.scalar_type());
    auto s = at::matmul(qq, kk.transpose(2, 3)).to(at::kFloat) * scale;  // [R, KV, G, L]
    if (softcap > 0) s = at::tanh(s / softcap) * softcap;
    const auto column = at::arange(length, pos.options());
    s = s.masked_fill(column > pos.view({rows, 1, 1, 1}), -INFINITY);
    give(out, at::matmul(at::softmax(s, -1).to(q.scalar_type()), vv).reshape({rows, heads * hd}));
  });
}

char* gsm_row_stats(gsm_tensor* out, gsm_tensor x_, int absmax) {
  TRY_OP(x_, row_stats, out, x_, absmax);
  return guard([&] {
    const auto& x = T(x_);
    TORCH_CHECK(x.dim() == 2 && x.size(1) > 0, "row stats: the input must be [rows, features]");
    const auto d = x.to(at::kDouble);
    if (absmax != 0) {
      const auto top = d.abs().amax(1);
      give(out, at::stack({top, at::zeros_like(top)}, 1));
      return;
    }
    const auto mean = d.mean(1);
    give(out, at::stack({mean, (d - mean.unsqueeze(1)).pow(2).sum(1)}, 1));
  });
}

namespace {

// spread [M] float64 of the rows' groups, from what row_stats found of all rows.
at::Tensor group_spread(const at::Tensor& stats, const at::Tensor* group, int64_t rows, int64_t d, bool absmax) {
  const auto first = stats.select(1, 0), second = stats.select(1, 1);  // [S] each
  if (group == nullptr) {
    TORCH_CHECK(stats.size(0) == rows, "noise: ", stats.size(0), " rows of statistics for ", rows, " rows without groups");
    return absmax ? first : d > 1 ? at::sqrt(second / static_cast<double>(d - 1)) : at::zeros_like(second);
  }
  const auto index = at::arange(stats.size(0), group->options()).unsqueeze(0);
  const auto in = at::logical_and(index >= group->select(1, 0).unsqueeze(1), index < group->select(1, 1).unsqueeze(1)).to(at::kDouble);  // [M, S]
  if (absmax) return (in * first.unsqueeze(0)).amax(1);
  const auto n = in.sum(1);
  const auto mean = (in * first.unsqueeze(0)).sum(1) / n;
  const auto between = (in * (first.unsqueeze(0) - mean.unsqueeze(1)).pow(2)).sum(1) * static_cast<double>(d);
  const auto squares = (in * second.unsqueeze(0)).sum(1) + between;
  const auto freedom = n * static_cast<double>(d) - 1;
  return at::where(freedom > 0, at::sqrt(squares / at::clamp_min(freedom, 1)), at::zeros_like(squares));
}

}  // namespace

char* gsm_noise_at(gsm_tensor* out, gsm_tensor x_, gsm_tensor stats_, int absmax, double scale, uint32_t site, const gsm_noise_rows* rows, int reference) {
  if (reference == 0) { TRY_OP(x_, noise_at, out, x_, stats_, absmax, scale, site, rows); }
  return guard([&] {
    const auto &x = T(x_), &stats = T(stats_), &keys = T(rows->keys), &pos = T(rows->pos);
    TORCH_CHECK(x.dim() == 2 && keys.numel() == x.size(0) && pos.numel() == x.size(0), "noise: the shapes do not fit");
    const int64_t n = x.size(0), d = x.size(1);
    const auto spread = group_spread(stats, rows->group == nullptr ? nullptr : &T(rows->group), n, d, absmax != 0).to(at::kFloat);
    const auto step = rows->step == nullptr ? at::zeros_like(pos) : T(rows->step);
    const auto column = [](const at::Tensor& t) { return at::bitwise_and(t, 0xffffffffLL).unsqueeze(1); };
    const auto words = words_reference(blocks_from(0, (d + 3) / 4, x.device()).unsqueeze(0), column(pos), at::full({1, 1}, static_cast<int64_t>(site), pos.options()),
                                       column(step), column(keys), column(at::__rshift__(keys, 32)));
    const auto normals = normals_reference(words).reshape({n, -1}).narrow(1, 0, d);
    const auto amp = (spread.to(at::kDouble) * scale).to(at::kFloat);
    const auto before = x.to(at::kFloat);
    auto y = (before + amp.unsqueeze(1) * normals).to(x.scalar_type());
    if (rows->sums != nullptr) {
      const auto change = (y.to(at::kFloat) - before).to(at::kDouble).pow(2).sum(1);
      auto add = at::stack({change, spread.to(at::kDouble).pow(2) * static_cast<double>(d)}, 1);
      if (rows->live != nullptr) add = at::where(T(rows->live).to(at::kBool).unsqueeze(1), add, at::zeros_like(add));
      T(rows->sums).add_(add);
    }
    give(out, std::move(y));
  });
}

char* gsm_philox_at(gsm_tensor words_, gsm_tensor normals_, uint32_t block0, uint32_t c1, uint32_t c2, uint32_t c3, uint64_t key, int reference) {
  if (reference == 0) { TRY_OP(words_, philox_at, words_, normals_, block0, c1, c2, c3, key); }
  return guard([&] {
    auto &words = T(words_), &normals = T(normals_);  // [n, 4] each
    const auto dev = words.device();
    const auto w = words_reference(blocks_from(block0, words.size(0), dev), scalar64(c1, dev), scalar64(c2, dev), scalar64(c3, dev),
                                   scalar64(static_cast<uint32_t>(key), dev), scalar64(static_cast<uint32_t>(key >> 32), dev));
    words.copy_(at::stack({w[0], w[1], w[2], w[3]}, -1));
    normals.copy_(normals_reference(w));
  });
}

char* gsm_choose_at(gsm_tensor z_, const gsm_decode_state* s, int reference) {
  if (reference == 0) { TRY_OP(z_, choose_at, z_, s); }
  return guard([&] {
    const auto& z = T(z_);  // [R, V]
    auto &tokens = T(s->tokens), &pos = T(s->pos), &count = T(s->count), &live = T(s->live), &status = T(s->status), &out = T(s->out);
    const auto &limit = T(s->limit), &temps = T(s->temps), &keys = T(s->keys), &ends = T(s->ends);
    TORCH_CHECK(z.dim() == 2 && z.size(0) == tokens.numel() && z.size(1) == ends.numel() && out.size(0) == z.size(0) && temps.sizes() == out.sizes(), "choose: the shapes do not fit");
    const int64_t rows = z.size(0), v = z.size(1);
    const auto on = live.to(at::kBool), finite = z.isfinite().all(1);
    const auto at_count = at::minimum(count, at::full_like(count, out.size(1) - 1)).unsqueeze(1);
    const auto t = temps.gather(1, at_count);  // [R, 1]
    const auto low = [](const at::Tensor& k) { return at::bitwise_and(k, 0xffffffffLL).unsqueeze(1); };
    const auto zero = at::zeros({1, 1}, count.options());
    const auto w = words_reference(blocks_from(0, (v + 3) / 4, z.device()).unsqueeze(0), low(count), zero, zero, low(keys), low(at::__rshift__(keys, 32)));
    const auto word = at::stack({w[0], w[1], w[2], w[3]}, -1).reshape({rows, -1}).narrow(1, 0, v);
    const auto gumbel = -at::log(-at::log((word.to(at::kDouble) + 0.5) * 0x1p-32));
    const auto sampled = (z.to(at::kDouble) / at::where(t > 0, t, at::ones_like(t)) + gumbel).argmax(1), top = z.argmax(1);
    const auto id = at::where(t.squeeze(1) > 0, sampled, top);

    const auto chose = at::logical_and(on, finite);
    const auto old = out.gather(1, at_count);
    out.scatter_(1, at_count, at::where(chose.unsqueeze(1), id.unsqueeze(1).to(at::kInt), old));
    const auto after = at::where(chose, count + 1, count);
    const auto stop = ends.index_select(0, id).to(at::kBool);
    const auto full = after >= limit;
    const auto code = [&](int v) { return at::full_like(status, v); };
    const auto ended = at::where(at::logical_not(finite), code(3), at::where(stop, code(1), at::where(full, code(2), code(0))));
    status.copy_(at::where(on, ended, status));
    count.copy_(after);
    const auto goes_on = at::logical_and(on, status == 0);
    tokens.copy_(at::where(goes_on, id, tokens));
    pos.copy_(at::where(goes_on, pos + 1, pos));
    live.copy_(goes_on.to(at::kInt));
  });
}

char* gsm_assign(gsm_tensor dst, gsm_tensor src) {
  return guard([&] { T(dst).copy_(T(src)); });
}
