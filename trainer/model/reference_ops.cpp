#include "trainer/model/reference_ops.h"

#include <cmath>

namespace limbic::model::reference {
namespace {

at::Tensor norm(const at::Tensor& x, const at::Tensor& weight, double eps) {
  const at::Tensor wide = x.to(at::kFloat);
  return wide * at::rsqrt(wide.pow(2).mean(-1, true) + eps) * weight;
}

// x [tokens, heads, head_dim]; the halves of the rotated part are rotated against each other.
at::Tensor rotate(const at::Tensor& x, const AttentionPlan& plan) {
  const at::Tensor cos = plan.cos.index_select(0, plan.positions).unsqueeze(1);
  const at::Tensor sin = plan.sin.index_select(0, plan.positions).unsqueeze(1);
  const std::int64_t half = plan.cos.size(1);
  const auto parts = x.split_with_sizes({half, half, x.size(-1) - 2 * half}, -1);
  return at::cat({parts[0] * cos - parts[1] * sin, parts[1] * cos + parts[0] * sin, parts[2]}, -1);
}

// q [1, heads, queries, head_dim] against as many heads of keys; the queries are the last of them.
at::Tensor attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                  const AttentionPlan& plan) {
  const std::int64_t behind = k.size(2) - q.size(2);
  at::Tensor mask = at::ones({q.size(2), k.size(2)}, q.options().dtype(at::kBool)).tril(behind);
  if (plan.window > 0) mask = mask.triu(behind - plan.window + 1);
  if (plan.softcap == 0.0) {
    return at::scaled_dot_product_attention(q, k, v, mask, 0.0, false, plan.scale);
  }
  const at::Tensor scores =
      soft_cap(at::matmul(q, k.transpose(2, 3)).to(at::kFloat) * plan.scale, plan.softcap);
  const at::Tensor weights = at::softmax(scores.masked_fill(~mask, -INFINITY), -1);
  return at::matmul(weights.to(v.scalar_type()), v);
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

at::Tensor geglu(const at::Tensor& gate_up) {
  const auto halves = gate_up.to(at::kFloat).chunk(2, -1);
  return (at::gelu(halves[0], "tanh") * halves[1]).to(gate_up.scalar_type());
}

at::Tensor soft_cap(const at::Tensor& x, double cap) { return (x / cap).tanh() * cap; }

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
      const at::Tensor out = attend(heads_first(rows(q, s), 1), heads_first(seen(k), group),
                                    heads_first(seen(parts[2]), group), plan);
      outputs.push_back(out.squeeze(0).transpose(0, 1).reshape({-1, plan.heads * plan.head_dim}));
    }
  }
  return at::cat(outputs, 0);
}

TokenScores token_logprobs(const at::Tensor& hidden, const at::Tensor& head,
                           const at::Tensor& targets, double softcap) {
  at::Tensor logits = at::matmul(hidden, head.t()).to(at::kFloat);
  if (softcap > 0.0) logits = soft_cap(logits, softcap);
  const at::Tensor all = at::log_softmax(logits, -1);
  const at::Tensor chosen = all.gather(1, targets.to(at::kLong).unsqueeze(1)).squeeze(1);
  const at::Tensor flat = all.detach();
  return {chosen, -(flat.exp() * flat).sum(-1), flat.argmax(-1).to(at::kInt)};
}

}  // namespace limbic::model::reference
