// Rotary embedding and packed causal attention as one autograd function. The products inside a
// sequence are ATen's flash attention for CPUs (tiled, no [tokens, tokens] matrix is kept).
#include <ATen/core/ivalue.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cmath>

#include "trainer/model/kernel_call.h"
#include "trainer/model/ops.h"
#include "trainer/model/reference_ops.h"

namespace limbic::model {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

struct PlanHolder : torch::CustomClassHolder {
  AttentionPlan plan;
};

kernels::HeadLayout layout_of(const AttentionPlan& plan, std::int64_t heads,
                              const at::Tensor& norm_weight) {
  return {.row_stride = (plan.heads + 2 * plan.kv_heads) * plan.head_dim,
          .heads = heads,
          .head_dim = plan.head_dim,
          .norm_weight = raw<float>(norm_weight),
          .eps = static_cast<float>(plan.eps),
          .cos = raw<float>(plan.cos),
          .sin = raw<float>(plan.sin),
          .positions = raw<std::int32_t>(plan.positions)};
}

struct Rotated {
  at::Tensor heads;  // [tokens, heads, head_dim]
  at::Tensor rstd;   // [tokens, heads] or undefined
};

Rotated rotate(const at::Tensor& qkv, const AttentionPlan& plan, std::int64_t first_head,
               std::int64_t heads, const at::Tensor& norm_weight) {
  const std::int64_t tokens = qkv.size(0);
  Rotated out{at::empty({tokens, heads, plan.head_dim}, qkv.options()), {}};
  if (norm_weight.defined()) out.rstd = at::empty({tokens, heads}, plan.cos.options());
  const auto layout = layout_of(plan, heads, norm_weight);
  with_kernels(qkv.scalar_type(), [&](const auto& table, auto type) {
    using X = decltype(type);
    at::parallel_for(0, tokens, grain(heads * plan.head_dim),
                     [&](std::int64_t begin, std::int64_t end) {
                       table.rotate(layout, raw<X>(qkv) + first_head * plan.head_dim,
                                    raw<X>(out.heads), raw<float>(out.rstd), begin, end);
                     });
  });
  return out;
}

// Writes the gradient of one projection into its columns of grad_qkv; returns that of the norm
// weight.
at::Tensor rotate_backward(const at::Tensor& grad, const at::Tensor& qkv, const at::Tensor& rstd,
                           const AttentionPlan& plan, std::int64_t first_head, std::int64_t heads,
                           const at::Tensor& norm_weight, bool wants_norm, at::Tensor& grad_qkv) {
  const std::int64_t tokens = qkv.size(0);
  const std::int64_t block = 256;
  const std::int64_t blocks = (tokens + block - 1) / block;
  at::Tensor partial =
      wants_norm ? at::zeros({blocks, plan.head_dim}, plan.cos.options()) : at::Tensor();
  const auto layout = layout_of(plan, heads, norm_weight);
  with_kernels(qkv.scalar_type(), [&](const auto& table, auto type) {
    using X = decltype(type);
    at::parallel_for(0, blocks, 1, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t b = first; b < last; ++b) {
        float* sum = wants_norm ? raw<float>(partial) + b * plan.head_dim : nullptr;
        table.rotate_backward(layout, raw<X>(grad), raw<X>(qkv) + first_head * plan.head_dim,
                              raw<float>(rstd), raw<X>(grad_qkv) + first_head * plan.head_dim, sum,
                              b * block, std::min(tokens, (b + 1) * block));
      }
    });
  });
  return wants_norm ? partial.sum(0) : at::Tensor();
}

// [tokens, kv_heads, head_dim] -> [tokens, heads, head_dim], each kv head repeated for its group.
at::Tensor expand_group(const at::Tensor& x, std::int64_t group) {
  if (group == 1) return x;
  return x.unsqueeze(2)
      .expand({x.size(0), x.size(1), group, x.size(2)})
      .reshape({x.size(0), x.size(1) * group, x.size(2)});
}

at::Tensor fold_group(const at::Tensor& x, std::int64_t group) {
  if (group == 1) return x;
  return x.view({x.size(0), x.size(1) / group, group, x.size(2)}).sum(2);
}

at::Tensor piece(const at::Tensor& x, const AttentionPlan& plan, std::size_t sequence) {
  return x.slice(0, plan.offsets[sequence], plan.offsets[sequence + 1])
      .transpose(0, 1)
      .unsqueeze(0);
}

struct PackedAttention : Function<PackedAttention> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& qkv,
                            const std::optional<at::Tensor>& maybe_q_norm,
                            const std::optional<at::Tensor>& maybe_k_norm,
                            const AttentionPlan& plan, KeyValueTap* tap) {
    const at::Tensor q_norm = maybe_q_norm.value_or(at::Tensor());
    const at::Tensor k_norm = maybe_k_norm.value_or(at::Tensor());
    const std::int64_t tokens = qkv.size(0);
    const std::int64_t group = plan.heads / plan.kv_heads;
    const Rotated q = rotate(qkv, plan, 0, plan.heads, q_norm);
    const Rotated k = rotate(qkv, plan, plan.heads, plan.kv_heads, k_norm);
    const at::Tensor v = qkv.view({tokens, -1, plan.head_dim}).slice(1, plan.heads + plan.kv_heads);
    if (tap != nullptr) *tap = {k.heads, v};
    const at::Tensor keys = expand_group(k.heads, group);
    const at::Tensor values = expand_group(v, group);
    at::Tensor out = at::empty({tokens, plan.heads, plan.head_dim}, qkv.options());
    at::Tensor lse = at::empty({tokens, plan.heads}, plan.cos.options());
    for (std::size_t s = 0; s + 1 < plan.offsets.size(); ++s) {
      const auto [part, part_lse] = at::_scaled_dot_product_flash_attention_for_cpu(
          piece(q.heads, plan, s), piece(keys, plan, s), piece(values, plan, s), 0.0, true);
      piece(out, plan, s).copy_(part);
      lse.slice(0, plan.offsets[s], plan.offsets[s + 1]).copy_(part_lse.squeeze(0).t());
    }
    ctx->save_for_backward({qkv, q_norm, k_norm, q.heads, keys, values, q.rstd, k.rstd, out, lse});
    auto holder = c10::make_intrusive<PlanHolder>();
    holder->plan = plan;
    ctx->saved_data["plan"] = c10::IValue::make_capsule(std::move(holder));
    ctx->saved_data["norms"] = q_norm.defined() && q_norm.requires_grad();
    return out.view({tokens, plan.heads * plan.head_dim});
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const auto holder =
        c10::static_intrusive_pointer_cast<PlanHolder>(ctx->saved_data["plan"].toCapsule());
    const AttentionPlan& plan = holder->plan;
    const at::Tensor &qkv = saved[0], &q = saved[3], &keys = saved[4], &values = saved[5];
    const std::int64_t tokens = qkv.size(0);
    const std::int64_t group = plan.heads / plan.kv_heads;
    const at::Tensor grad_out = grads[0].contiguous().view_as(saved[8]);
    at::Tensor grad_q = at::empty_like(q);
    at::Tensor grad_k = at::empty(q.sizes(), q.options());
    at::Tensor grad_v = at::empty(q.sizes(), q.options());
    for (std::size_t s = 0; s + 1 < plan.offsets.size(); ++s) {
      const at::Tensor part_lse =
          saved[9].slice(0, plan.offsets[s], plan.offsets[s + 1]).t().contiguous().unsqueeze(0);
      const auto [gq, gk, gv] = at::_scaled_dot_product_flash_attention_for_cpu_backward(
          piece(grad_out, plan, s), piece(q, plan, s), piece(keys, plan, s), piece(values, plan, s),
          piece(saved[8], plan, s), part_lse, 0.0, true);
      piece(grad_q, plan, s).copy_(gq);
      piece(grad_k, plan, s).copy_(gk);
      piece(grad_v, plan, s).copy_(gv);
    }
    const bool norms = ctx->saved_data["norms"].toBool();
    at::Tensor grad_qkv = at::empty_like(qkv);
    const at::Tensor grad_q_norm =
        rotate_backward(grad_q, qkv, saved[6], plan, 0, plan.heads, saved[1], norms, grad_qkv);
    const at::Tensor folded = fold_group(grad_k, group).contiguous();
    const at::Tensor grad_k_norm = rotate_backward(folded, qkv, saved[7], plan, plan.heads,
                                                   plan.kv_heads, saved[2], norms, grad_qkv);
    grad_qkv.view({tokens, -1, plan.head_dim})
        .slice(1, plan.heads + plan.kv_heads)
        .copy_(fold_group(grad_v, group));
    return {grad_qkv, grad_q_norm, grad_k_norm, {}, {}};
  }
};

}  // namespace

at::Tensor packed_attention(const at::Tensor& qkv, const at::Tensor& q_norm,
                            const at::Tensor& k_norm, const AttentionPlan& plan, KeyValueTap* tap) {
  if (!qkv.is_cpu()) return reference::packed_attention(qkv, q_norm, k_norm, plan, tap);
  return PackedAttention::apply(qkv, maybe(q_norm), maybe(k_norm), plan, tap);
}

}  // namespace limbic::model
