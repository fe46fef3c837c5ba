// Residual + RMS norm, and gated activations, as autograd functions over the fused kernels.
#include <torch/csrc/autograd/custom_function.h>

#include "trainer/model/kernel_call.h"
#include "trainer/model/ops.h"

namespace limbic::model {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

// The values of the norm; rstd [tokens] is what backward needs besides the sum.
ResidualNorm norm_forward(const at::Tensor& residual, const at::Tensor& delta,
                          const at::Tensor& weight, double eps, at::ScalarType compute,
                          at::Tensor& rstd) {
  const std::int64_t rows = residual.size(0);
  const std::int64_t width = residual.size(1);
  const at::Tensor in = residual.contiguous();
  const at::Tensor add = delta.defined() ? delta.contiguous() : delta;
  const at::Tensor sum = delta.defined() ? at::empty_like(in) : in;
  const at::Tensor normed = at::empty({rows, width}, in.options().dtype(compute));
  rstd = at::empty({rows}, in.options());
  with_kernels(compute, [&](const auto& table, auto x) {
    using X = decltype(x);
    at::parallel_for(0, rows, grain(width), [&](std::int64_t begin, std::int64_t end) {
      table.add_rms_norm(raw<float>(in), raw<X>(add), raw<float>(weight), static_cast<float>(eps),
                         raw<float>(sum), raw<X>(normed), raw<float>(rstd), begin, end, width);
    });
  });
  return {sum, normed};
}

enum class Gate : std::int64_t { kSilu, kGeluTanh };

at::Tensor gated_forward(const at::Tensor& in, Gate gate) {
  const std::int64_t inner = in.size(1) / 2;
  at::Tensor out = at::empty({in.size(0), inner}, in.options());
  with_kernels(in.scalar_type(), [&](const auto& table, auto type) {
    using X = decltype(type);
    at::parallel_for(0, in.size(0), grain(inner), [&](std::int64_t begin, std::int64_t end) {
      (gate == Gate::kSilu ? table.swiglu : table.geglu)(raw<X>(in), raw<X>(out), begin, end,
                                                         inner);
    });
  });
  return out;
}

struct AddRmsNorm : Function<AddRmsNorm> {
  static variable_list forward(AutogradContext* ctx, const at::Tensor& residual,
                               const std::optional<at::Tensor>& maybe_delta,
                               const at::Tensor& weight, double eps, at::ScalarType compute) {
    const at::Tensor delta = maybe_delta.value_or(at::Tensor());
    at::Tensor rstd;
    auto [sum, normed] = norm_forward(residual, delta, weight, eps, compute, rstd);
    ctx->save_for_backward({sum, rstd, weight});
    ctx->saved_data["delta"] = delta.defined() && delta.requires_grad();
    ctx->saved_data["weight"] = weight.requires_grad();
    if (!delta.defined()) sum = sum.view_as(sum);  // an output may not be an input itself
    return {sum, normed};
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const at::Tensor& x = saved[0];
    const std::int64_t rows = x.size(0);
    const std::int64_t width = x.size(1);
    const at::Tensor grad_sum = grads[0].defined() ? grads[0].contiguous() : at::Tensor();
    at::Tensor grad_normed = grads[1];
    if (!grad_normed.defined()) return {grad_sum, {}, {}, {}, {}};
    grad_normed = grad_normed.contiguous();
    const bool wants_weight = ctx->saved_data["weight"].toBool();
    at::Tensor grad_x = at::empty_like(x);
    at::Tensor grad_delta =
        ctx->saved_data["delta"].toBool() ? at::empty_like(grad_normed) : at::Tensor();
    // One partial sum per fixed block of rows keeps the result independent of the thread count.
    const std::int64_t block = 256;
    const std::int64_t blocks = (rows + block - 1) / block;
    at::Tensor partial = wants_weight ? at::zeros({blocks, width}, x.options()) : at::Tensor();
    with_kernels(grad_normed.scalar_type(), [&](const auto& table, auto type) {
      using X = decltype(type);
      at::parallel_for(
          0, blocks, std::max<std::int64_t>(1, grain(width) / block),
          [&](std::int64_t first, std::int64_t last) {
            for (std::int64_t b = first; b < last; ++b) {
              float* weight_sum = wants_weight ? raw<float>(partial) + b * width : nullptr;
              table.rms_norm_backward(raw<float>(grad_sum), raw<X>(grad_normed), raw<float>(x),
                                      raw<float>(saved[1]), raw<float>(saved[2]),
                                      raw<float>(grad_x), raw<X>(grad_delta), weight_sum, b * block,
                                      std::min(rows, (b + 1) * block), width);
            }
          });
    });
    return {grad_x, grad_delta, wants_weight ? partial.sum(0) : at::Tensor(), {}, {}};
  }
};

struct Gated : Function<Gated> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& gate_up, Gate gate) {
    const at::Tensor in = gate_up.contiguous();
    ctx->save_for_backward({in});
    ctx->saved_data["gate"] = static_cast<std::int64_t>(gate);
    return gated_forward(in, gate);
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const at::Tensor in = ctx->get_saved_variables()[0];
    const at::Tensor grad = grads[0].contiguous();
    const std::int64_t inner = in.size(1) / 2;
    const auto gate = static_cast<Gate>(ctx->saved_data["gate"].toInt());
    at::Tensor out = at::empty_like(in);
    with_kernels(in.scalar_type(), [&](const auto& table, auto type) {
      using X = decltype(type);
      at::parallel_for(0, in.size(0), grain(inner), [&](std::int64_t begin, std::int64_t end) {
        (gate == Gate::kSilu ? table.swiglu_backward : table.geglu_backward)(
            raw<X>(grad), raw<X>(in), raw<X>(out), begin, end, inner);
      });
    });
    return {out, {}};
  }
};

at::Tensor gated(const at::Tensor& gate_up, Gate gate) {
  if (!at::GradMode::is_enabled()) return gated_forward(gate_up.contiguous(), gate);
  return Gated::apply(gate_up, gate);
}

}  // namespace

ResidualNorm add_rms_norm(const at::Tensor& residual, const at::Tensor& delta,
                          const at::Tensor& weight, double eps, at::ScalarType compute) {
  if (!at::GradMode::is_enabled()) {
    at::Tensor rstd;
    return norm_forward(residual, delta, weight, eps, compute, rstd);
  }
  const auto out = AddRmsNorm::apply(residual, maybe(delta), weight, eps, compute);
  return {out[0], out[1]};
}

at::Tensor swiglu(const at::Tensor& gate_up) { return gated(gate_up, Gate::kSilu); }

at::Tensor geglu(const at::Tensor& gate_up) { return gated(gate_up, Gate::kGeluTanh); }

}  // namespace limbic::model
