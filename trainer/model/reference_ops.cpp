#include "trainer/model/reference_ops.h"

#include <cmath>

namespace limbic::model::reference {
namespace {

at::Tensor norm(const at::Tensor& x, const at::Tensor& weight, double eps) {
  const at::Tensor wide = x.to(at::kFloat);
  return wide * at::rsqrt(wide.pow(2).mean(-1, true) + eps) * weight;
}

// x [tokens, heads, head_dim]; the halves are rotated against each other.
at::Tensor rotate(const at::Tensor& x, const AttentionPlan& plan) {
  const at::Tensor cos = plan.cos.index_select(0, plan.positions).unsqueeze(1);
  const at::Tensor sin = plan.sin.index_select(0, plan.positions).unsqueeze(1);
  const auto halves = x.chunk(2, -1);
  return at::cat({halves[0] * cos - halves[1] * sin, halves[1] * cos + halves[0] * sin}, -1);
}

}  // namespace

ResidualNorm add_rms_norm(const at::Tensor& residual, const at::Tensor& delta,
                          const at::Tensor& weight, double eps, at::ScalarType compute) {
  const at::Tensor sum = delta.defined() ? residual + delta.to(at::kFloat) : residual;
  return {sum, norm(sum, weight, eps).to(compute)};
}

at::Tensor swiglu(const at::Tensor& gate_up) {
  const auto halves = gate_up.to(at::kFloat).chunk(2, -1);
  return (at::silu(halves[0]) * halves[1]).to(gate_up.scalar_type());
}

at::Tensor packed_attention(const at::Tensor& qkv, const at::Tensor& q_norm,
                            const at::Tensor& k_norm, const AttentionPlan& plan, KeyValueTap* tap) {
  const std::int64_t tokens = qkv.size(0);
  const auto type = qkv.scalar_type();
  const auto parts = qkv.view({tokens, plan.heads + 2 * plan.kv_heads, plan.head_dim})
                         .split_with_sizes({plan.heads, plan.kv_heads, plan.kv_heads}, 1);
  const auto prepare = [&](const at::Tensor& x, const at::Tensor& weight) {
    const at::Tensor wide = weight.defined() ? norm(x, weight, plan.eps) : x.to(at::kFloat);
    return rotate(wide, plan).to(type);
  };
  const at::Tensor q = prepare(parts[0], q_norm);
  const at::Tensor k = prepare(parts[1], k_norm);
  if (tap != nullptr) *tap = {k.contiguous(), parts[2].contiguous()};
  const std::int64_t group = plan.heads / plan.kv_heads;
  const auto rows = [&](const at::Tensor& x, std::int64_t sequence) {
    const auto s = static_cast<std::size_t>(sequence);
    return x.slice(0, plan.offsets[s], plan.offsets[s + 1]);
  };
  const auto heads_first = [](const at::Tensor& x, std::int64_t repeat) {
    return x.repeat_interleave(repeat, 1).transpose(0, 1).unsqueeze(0);
  };
  std::vector<at::Tensor> outputs;
  const auto families = families_or_single(plan.families, plan.offsets.size() - 1);
  for (std::size_t f = 0; f + 1 < families.size(); ++f) {
    for (std::int64_t s = families[f]; s < families[f + 1]; ++s) {
      const bool continues = s > families[f];
      const auto seen = [&](const at::Tensor& x) {
        return continues ? at::cat({rows(x, families[f]), rows(x, s)}, 0) : rows(x, s);
      };
      const at::Tensor queries = rows(q, s);
      const at::Tensor keys = seen(k);
      const at::Tensor mask =
          at::ones({queries.size(0), keys.size(0)}, q.options().dtype(at::kBool))
              .tril(keys.size(0) - queries.size(0));
      const at::Tensor out =
          at::scaled_dot_product_attention(heads_first(queries, 1), heads_first(keys, group),
                                           heads_first(seen(parts[2]), group), mask);
      outputs.push_back(out.squeeze(0).transpose(0, 1).reshape({-1, plan.heads * plan.head_dim}));
    }
  }
  return at::cat(outputs, 0);
}

TokenScores token_logprobs(const at::Tensor& hidden, const at::Tensor& head,
                           const at::Tensor& targets, const ScoreOptions& options) {
  const at::Tensor logits = at::matmul(hidden, head.t()).to(at::kFloat);
  const at::Tensor all = at::log_softmax(logits, -1);
  const at::Tensor chosen = all.gather(1, targets.to(at::kLong).unsqueeze(1)).squeeze(1);
  const at::Tensor seen = options.entropy_gradient ? all : all.detach();
  return {chosen, -(seen.exp() * seen).sum(-1), all.argmax(-1).to(at::kInt),
          options.mean_logprobs ? all.mean(-1) : at::Tensor()};
}

}  // namespace limbic::model::reference
