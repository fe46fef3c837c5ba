// Rotary embedding and packed causal attention as one autograd function. Families of short
// sequences, and layers with a window or a cap, run our own kernel; a long sequence of its own runs
// ATen's flash attention for CPUs.
#include <ATen/core/ivalue.h>
#include <torch/csrc/autograd/custom_function.h>

#include <numeric>

#include "trainer/model/kernel_call.h"
#include "trainer/model/ops.h"

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
          .rotated = 2 * plan.cos.size(1),
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

// Above this many tokens the matrix products of a library outweigh what it costs to call them.
constexpr std::int64_t kLongSequence = 384;

// Which families run where.
struct Families {
  std::vector<std::int64_t> own;   // index pairs: [first sequence, end) of each family
  std::vector<std::size_t> flash;  // sequences
  std::int64_t scratch = 0;        // floats that the largest of `own` needs
};

Families split_families(const AttentionPlan& plan) {
  Families out;
  const std::vector<std::int64_t> families =
      families_or_single(plan.families, plan.offsets.size() - 1);
  for (std::size_t f = 0; f + 1 < families.size(); ++f) {
    const auto begin = static_cast<std::size_t>(families[f]);
    const auto end = static_cast<std::size_t>(families[f + 1]);
    const std::int64_t first = plan.offsets[begin + 1] - plan.offsets[begin];
    const bool plain = plan.softcap == 0.0 && (plan.window == 0 || plan.window >= first);
    if (end - begin == 1 && first > kLongSequence && plain) {
      out.flash.push_back(begin);
      continue;
    }
    std::int64_t rest = 0;
    for (std::size_t s = begin + 1; s < end; ++s) {
      rest = std::max(rest, plan.offsets[s + 1] - plan.offsets[s]);
    }
    out.own.push_back(families[f]);
    out.own.push_back(families[f + 1]);
    out.scratch =
        std::max(out.scratch, kernels::kernels().attention_scratch(first, rest, plan.head_dim));
  }
  return out;
}

// work(job, task, scratch) for every family of `own` and every kv head.
template <class X, class Work>
void over_heads(const AttentionPlan& plan, const Families& families,
                kernels::PackedAttention<X> job, Work work) {
  const auto count = static_cast<std::int64_t>(families.own.size() / 2);
  at::parallel_for(0, count * plan.kv_heads, 1, [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> scratch(static_cast<std::size_t>(families.scratch));
    for (std::int64_t task = begin; task < end; ++task) {
      const auto family = static_cast<std::size_t>(task / plan.kv_heads);
      kernels::PackedAttention<X> one = job;
      one.families = families.own.data() + 2 * family;  // a pair: one family
      work(one, task % plan.kv_heads, scratch.data());
    }
  });
}

template <class X>
kernels::PackedAttention<X> job_of(const AttentionPlan& plan, const at::Tensor& q,
                                   const at::Tensor& k, const at::Tensor& qkv,
                                   const at::Tensor& lse) {
  return {.q = raw<X>(q),
          .k = raw<X>(k),
          .v = raw<X>(qkv) + (plan.heads + plan.kv_heads) * plan.head_dim,
          .v_stride = qkv.size(1),
          .offsets = plan.offsets.data(),
          .families = nullptr,
          .heads = plan.heads,
          .kv_heads = plan.kv_heads,
          .head_dim = plan.head_dim,
          .scale = static_cast<float>(plan.scale),
          .softcap = static_cast<float>(plan.softcap),
          .window = plan.window,
          .log_sum = raw<float>(lse)};
}

// One long sequence through ATen: views [1, heads, tokens, head_dim].
class FlashSequence {
 public:
  FlashSequence(const AttentionPlan& plan, std::size_t sequence)
      : begin_(plan.offsets[sequence]),
        end_(plan.offsets[sequence + 1]),
        group_(plan.heads / plan.kv_heads) {}

  at::Tensor view(const at::Tensor& x) const {
    return x.slice(0, begin_, end_).transpose(0, 1).unsqueeze(0);
  }
  at::Tensor view_of_group(const at::Tensor& x) const {
    return expand_group(x.slice(0, begin_, end_), group_).transpose(0, 1).unsqueeze(0);
  }
  at::Tensor rows(const at::Tensor& x) const { return x.slice(0, begin_, end_); }
  // [1, heads, tokens, head_dim] -> [tokens, kv_heads, head_dim]
  at::Tensor folded(const at::Tensor& x) const {
    return fold_group(x.squeeze(0).transpose(0, 1).contiguous(), group_);
  }

 private:
  std::int64_t begin_, end_, group_;
};

struct PackedAttention : Function<PackedAttention> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& qkv,
                            const std::optional<at::Tensor>& maybe_q_norm,
                            const std::optional<at::Tensor>& maybe_k_norm,
                            const AttentionPlan& plan, KeyValueTap* tap) {
    const at::Tensor q_norm = maybe_q_norm.value_or(at::Tensor());
    const at::Tensor k_norm = maybe_k_norm.value_or(at::Tensor());
    const std::int64_t tokens = qkv.size(0);
    const Rotated q = rotate(qkv, plan, 0, plan.heads, q_norm);
    const Rotated k = rotate(qkv, plan, plan.heads, plan.kv_heads, k_norm);
    const at::Tensor v = values_of(qkv, plan);
    if (tap != nullptr) *tap = {k.heads, v};
    at::Tensor out = at::empty({tokens, plan.heads, plan.head_dim}, qkv.options());
    at::Tensor lse = at::empty({tokens, plan.heads}, plan.cos.options());
    const Families families = split_families(plan);
    with_kernels(qkv.scalar_type(), [&](const auto& table, auto type) {
      using X = decltype(type);
      over_heads<X>(plan, families, job_of<X>(plan, q.heads, k.heads, qkv, lse),
                    [&](const auto& job, std::int64_t head, float* scratch) {
                      table.packed_attention(job, raw<X>(out), scratch, head, head + 1);
                    });
    });
    for (const std::size_t s : families.flash) {
      const FlashSequence sequence(plan, s);
      const auto [part, part_lse] = at::_scaled_dot_product_flash_attention_for_cpu(
          sequence.view(q.heads), sequence.view_of_group(k.heads), sequence.view_of_group(v), 0.0,
          true, {}, plan.scale);
      sequence.view(out).copy_(part);
      sequence.rows(lse).copy_(part_lse.squeeze(0).t());
    }
    ctx->save_for_backward({qkv, q_norm, k_norm, q.heads, k.heads, q.rstd, k.rstd, out, lse});
    auto holder = c10::make_intrusive<PlanHolder>();
    holder->plan = plan;
    ctx->saved_data["plan"] = c10::IValue::make_capsule(std::move(holder));
    ctx->saved_data["norms"] = q_norm.defined() && q_norm.requires_grad();
    return out.view({tokens, plan.heads * plan.head_dim});
  }

  // [tokens, kv_heads, head_dim]
  static at::Tensor values_of(const at::Tensor& qkv, const AttentionPlan& plan) {
    return qkv.view({qkv.size(0), -1, plan.head_dim}).slice(1, plan.heads + plan.kv_heads);
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const auto holder =
        c10::static_intrusive_pointer_cast<PlanHolder>(ctx->saved_data["plan"].toCapsule());
    const AttentionPlan& plan = holder->plan;
    const at::Tensor &qkv = saved[0], &q = saved[3], &k = saved[4], &out = saved[7],
                     &lse = saved[8];
    const at::Tensor grad_out = grads[0].contiguous().view_as(out);
    at::Tensor grad_q = at::empty_like(q);
    at::Tensor grad_k = at::empty_like(k);
    at::Tensor grad_qkv = at::empty_like(qkv);
    at::Tensor grad_v = values_of(grad_qkv, plan);
    const Families families = split_families(plan);
    with_kernels(qkv.scalar_type(), [&](const auto& table, auto type) {
      using X = decltype(type);
      const kernels::PackedAttentionGradient<X> gradient{
          .out = raw<X>(out),
          .grad_out = raw<X>(grad_out),
          .grad_q = raw<X>(grad_q),
          .grad_k = raw<X>(grad_k),
          .grad_v = raw<X>(grad_qkv) + (plan.heads + plan.kv_heads) * plan.head_dim,
          .grad_v_stride = qkv.size(1)};
      over_heads<X>(plan, families, job_of<X>(plan, q, k, qkv, lse),
                    [&](const auto& job, std::int64_t head, float* scratch) {
                      table.packed_attention_backward(job, gradient, scratch, head, head + 1);
                    });
    });
    for (const std::size_t s : families.flash) {
      const FlashSequence sequence(plan, s);
      const auto [gq, gk, gv] = at::_scaled_dot_product_flash_attention_for_cpu_backward(
          sequence.view(grad_out), sequence.view(q), sequence.view_of_group(k),
          sequence.view_of_group(values_of(qkv, plan)), sequence.view(out),
          sequence.rows(lse).t().contiguous().unsqueeze(0), 0.0, true, {}, plan.scale);
      sequence.view(grad_q).copy_(gq);
      sequence.rows(grad_k).copy_(sequence.folded(gk));
      sequence.rows(grad_v).copy_(sequence.folded(gv));
    }
    const bool norms = ctx->saved_data["norms"].toBool();
    const at::Tensor grad_q_norm =
        rotate_backward(grad_q, qkv, saved[5], plan, 0, plan.heads, saved[1], norms, grad_qkv);
    const at::Tensor grad_k_norm = rotate_backward(grad_k, qkv, saved[6], plan, plan.heads,
                                                   plan.kv_heads, saved[2], norms, grad_qkv);
    return {grad_qkv, grad_q_norm, grad_k_norm, {}, {}};
  }
};

}  // namespace

std::vector<std::int64_t> families_or_single(const std::vector<std::int64_t>& families,
                                             std::size_t sequences) {
  if (!families.empty()) return families;
  std::vector<std::int64_t> single(sequences + 1);
  std::iota(single.begin(), single.end(), std::int64_t{0});
  return single;
}

at::Tensor packed_attention(const at::Tensor& qkv, const at::Tensor& q_norm,
                            const at::Tensor& k_norm, const AttentionPlan& plan, KeyValueTap* tap) {
  return PackedAttention::apply(qkv, maybe(q_norm), maybe(k_norm), plan, tap);
}

}  // namespace limbic::model
