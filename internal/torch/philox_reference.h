// Philox4x32-10 and Box-Muller in plain libtorch operations, for any device: the reference. Counters and keys are int64 tensors that
// broadcast, each value below 2^32.
#pragma once
#include <ATen/ATen.h>

#include <array>

namespace {

// High and low words of the product of a 32-bit constant and 32-bit values held in int64 tensors: by 16-bit halves,
// since the full product does not fit a signed 64-bit integer.
std::pair<at::Tensor, at::Tensor> mul_hi_lo(int64_t m, const at::Tensor& c) {
  const auto low = at::bitwise_and(c, 0xffff) * m;                                  // < 2^48
  const auto high = at::__rshift__(c, 16) * m + at::__rshift__(low, 16);            // < 2^49
  return {at::__rshift__(high, 16), at::bitwise_or(at::__lshift__(at::bitwise_and(high, 0xffff), 16), at::bitwise_and(low, 0xffff))};
}

std::array<at::Tensor, 4> words_reference(at::Tensor c0, at::Tensor c1, at::Tensor c2, at::Tensor c3, at::Tensor k0, at::Tensor k1) {
  constexpr int64_t mask = 0xffffffffLL;
  for (int r = 0; r < 10; r++) {
    auto [hi0, lo0] = mul_hi_lo(0xD2511F53LL, c0);
    auto [hi1, lo1] = mul_hi_lo(0xCD9E8D57LL, c2);
    auto n0 = at::bitwise_xor(at::bitwise_xor(hi1, c1), k0);
    auto n2 = at::bitwise_xor(at::bitwise_xor(hi0, c3), k1);
    c0 = n0;
    c1 = lo1;
    c2 = n2;
    c3 = lo0;
    k0 = at::bitwise_and(k0 + 0x9E3779B9LL, mask);
    k1 = at::bitwise_and(k1 + 0xBB67AE85LL, mask);
  }
  return {c0, c1, c2, c3};
}

// Four normals of each block, interleaved along a new last dimension of length four.
at::Tensor normals_reference(const std::array<at::Tensor, 4>& w) {
  std::vector<at::Tensor> n;
  for (int j = 0; j < 4; j += 2) {
    const auto u1 = (at::__rshift__(w[j], 8) + 1).to(at::kFloat) * 0x1p-24;
    const auto u2 = at::__rshift__(w[j + 1], 8).to(at::kFloat) * 0x1p-24;
    const auto radius = at::sqrt(-2 * at::log(u1));
    // The exact reduction to an eighth of a turn, as in the fused kernel: 2 pi u rounded to float32 would cost 2e-6.
    const auto q = at::floor(u2 * 4 + 0.5);
    const auto x = (u2 - q * 0.25) * 6.283185307179586477;
    const auto k = at::bitwise_and(q.to(at::kLong), 3);
    const auto odd = at::bitwise_and(k, 1).to(at::kBool);
    const auto c = at::where(odd, at::sin(x), at::cos(x)), s = at::where(odd, at::cos(x), at::sin(x));
    n.push_back(radius * at::where(at::logical_or(k == 1, k == 2), -c, c));
    n.push_back(radius * at::where(k >= 2, -s, s));
  }
  return at::stack(n, -1);
}

at::Tensor scalar64(int64_t v, at::Device d) { return at::full({1}, v, at::TensorOptions().dtype(at::kLong).device(d)); }

at::Tensor blocks_from(uint32_t block0, int64_t n, at::Device d) {
  return at::bitwise_and(at::arange(n, at::TensorOptions().dtype(at::kLong).device(d)) + static_cast<int64_t>(block0), 0xffffffffLL);
}

}  // namespace
