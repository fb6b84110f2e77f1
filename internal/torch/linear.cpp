// Linears on a device, and on the CPU where tests compute as a device does: libtorch's own product. On the CPU a row's bits depend on
// its place among the rows there, so that nothing else uses it.
#include "common.h"

// x [R, in] times w [out, in] transposed, plus b [out] where there is one: computed in the dtype of w, returned in that of x.
char* gsm_linear(gsm_tensor* out, gsm_tensor x_, gsm_tensor w_, gsm_tensor b_) {
  return guard([&] {
    const auto &x = T(x_), &w = T(w_);
    std::optional<at::Tensor> b;
    if (b_ != nullptr) b = T(b_);
    give(out, at::linear(x.to(w.scalar_type()), w, b).to(x.scalar_type()));
  });
}
