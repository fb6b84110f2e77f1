// Linears: libtorch's own, or oneDNN's on weights that were packed once. oneDNN's operations are private to libtorch, so
// they are looked up in its dispatcher.
#include "common.h"

#include <ATen/core/dispatch/Dispatcher.h>

namespace {

at::Tensor pack(const at::Tensor& w, int64_t rows) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("mkldnn::_reorder_linear_weight", "")
                             .typed<at::Tensor(const at::Tensor&, std::optional<int64_t>)>();
  return op.call(w, rows);
}

at::Tensor packed_linear(const at::Tensor& x, const at::Tensor& w, const std::optional<at::Tensor>& bias) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("mkldnn::_linear_pointwise", "")
                             .typed<at::Tensor(const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&, c10::string_view,
                                               c10::List<std::optional<at::Scalar>>, std::optional<c10::string_view>)>();
  return op.call(x, w, bias, "none", c10::List<std::optional<at::Scalar>>(), "");
}

}  // namespace

// A copy of w [out, in] in the order that oneDNN likes for inputs of about that many rows; others are correct too.
char* gsm_pack_linear(gsm_tensor* out, gsm_tensor w, int64_t rows) {
  return guard([&] { give(out, pack(T(w), rows)); });
}

char* gsm_unpack_linear(gsm_tensor* out, gsm_tensor w) {
  return guard([&] { give(out, T(w).to_dense()); });
}

// x [R, in] times w [out, in] transposed, plus b [out] where there is one: computed in the dtype of w, returned in that of x.
char* gsm_linear(gsm_tensor* out, gsm_tensor x_, gsm_tensor w_, gsm_tensor b_) {
  return guard([&] {
    const auto &x = T(x_), &w = T(w_);
    std::optional<at::Tensor> b;
    if (b_ != nullptr) b = T(b_);
    const auto input = x.to(w.scalar_type());
    give(out, (w.is_mkldnn() ? packed_linear(input, w, b) : at::linear(input, w, b)).to(x.scalar_type()));
  });
}
