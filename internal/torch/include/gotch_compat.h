// Forced into every C++ file of the build (-include), for gotch's generated code.
//
// gotch 0.9.1 was generated for libtorch 2.1; against 2.11 exactly three of its
// wrappers no longer compile, because the operators behind them changed their
// signatures. The overloads below have the old signatures, so that the file
// compiles; nothing in gsmeval calls them, and calling one throws.
#pragma once
#ifdef __cplusplus
#include <torch/torch.h>
#include <stdexcept>
#include <tuple>

namespace torch {

inline at::Tensor _cslt_sparse_mm(const at::Tensor&, const at::Tensor&, const at::Tensor&, bool) {
  throw std::runtime_error("_cslt_sparse_mm: not available through gotch 0.9.1 on libtorch 2.11");
}

inline std::tuple<at::Tensor, at::Tensor> _scaled_mm(
    const at::Tensor&, const at::Tensor&, const at::Tensor&, std::optional<at::ScalarType>,
    const at::Tensor&, const at::Tensor&, const at::Tensor&) {
  throw std::runtime_error("_scaled_mm: not available through gotch 0.9.1 on libtorch 2.11");
}

inline std::tuple<at::Tensor, at::Tensor> _scaled_mm_out(
    at::Tensor&, at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&,
    std::optional<at::ScalarType>, const at::Tensor&, const at::Tensor&, const at::Tensor&) {
  throw std::runtime_error("_scaled_mm_out: not available through gotch 0.9.1 on libtorch 2.11");
}

}  // namespace torch
#endif
