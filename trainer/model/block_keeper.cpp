#include "trainer/model/block_keeper.h"

#include <torch/csrc/autograd/custom_function.h>

namespace limbic::model {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

struct Border : Function<Border> {
  static variable_list forward(AutogradContext* ctx, const at::Tensor& residual,
                               const std::optional<at::Tensor>& delta, std::int64_t keeper,
                               std::int64_t below, std::int64_t last) {
    ctx->saved_data["keeper"] = keeper;
    ctx->saved_data["below"] = below;
    ctx->saved_data["last"] = last;
    ctx->saved_data["two"] = delta.has_value();
    variable_list out = {residual.view_as(residual)};
    if (delta) out.push_back(delta->view_as(*delta));
    return out;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto number = [&](const char* name) { return ctx->saved_data[name].toInt(); };
    auto* keeper = reinterpret_cast<BlockKeeper*>(number("keeper"));
    const auto below = static_cast<std::size_t>(number("below"));
    const auto last = static_cast<std::size_t>(number("last"));
    if (below == last) keeper->begin_backward();
    if (below != last) keeper->leave(below + 1);
    if (below != 0) keeper->enter(below);
    return {grads[0], ctx->saved_data["two"].toBool() ? grads[1] : at::Tensor(), {}, {}, {}};
  }
};

}  // namespace

void BlockPass::border(at::Tensor& residual, at::Tensor& delta, std::size_t below,
                       std::size_t last) const {
  if (keeper_ == nullptr || !keeper_->follows_backward() || !at::GradMode::is_enabled()) return;
  const bool two = delta.defined();
  if (!residual.requires_grad() && !(two && delta.requires_grad())) return;
  variable_list out = Border::apply(
      residual, two ? std::optional(delta) : std::nullopt, reinterpret_cast<std::int64_t>(keeper_),
      static_cast<std::int64_t>(below), static_cast<std::int64_t>(last));
  residual = out[0];
  if (two) delta = out[1];
}

}  // namespace limbic::model
