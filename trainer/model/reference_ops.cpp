#include "trainer/model/reference_ops.h"

#include <torch/csrc/autograd/custom_function.h>

#include "trainer/model/aten/padded_rows.h"

namespace limbic::model::reference {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

constexpr std::int64_t kChunkBytes = std::int64_t{256} << 20;

at::Tensor norm(const at::Tensor& x, const at::Tensor& weight, double eps) {
  const at::Tensor wide = x.to(at::kFloat);
  return wide * at::rsqrt(wide.pow(2).mean(-1, true) + eps) * weight;
}

// Calls f(begin, end) for the rows of every chunk of logits.
template <class F>
void over_chunks(std::int64_t rows, std::int64_t step, F f) {
  for (std::int64_t begin = 0; begin < rows; begin += step) f(begin, std::min(rows, begin + step));
}

// Heads of q, k and v, each [rows, heads of its own, length, head_dim], causal -> as those of q.
at::Tensor attend(const std::vector<at::Tensor>& heads, const AttentionPlan& plan) {
  const at::Tensor& q = heads[0];
  const std::int64_t length = q.size(2);
  const bool windowed = plan.window > 0 && plan.window < length;
  const bool plain = !windowed && plan.softcap == 0.0;
  // In float32 or with a mask the memory-efficient kernels want as many key heads as query heads.
  const bool grouped = plain && q.scalar_type() != at::kFloat && plan.heads != plan.kv_heads;
  const std::int64_t repeat = grouped ? 1 : plan.heads / plan.kv_heads;
  const auto repeated = [&](const at::Tensor& x) {
    return repeat == 1 ? x : x.repeat_interleave(repeat, 1);
  };
  const at::Tensor k = repeated(heads[1]), v = repeated(heads[2]);
  if (plain) {
    return at::scaled_dot_product_attention(q, k, v, {}, 0.0, true, plan.scale, grouped);
  }
  at::Tensor mask = at::ones({length, length}, q.options().dtype(at::kBool)).tril();
  if (windowed) mask = mask.triu(1 - plan.window);
  if (plan.softcap == 0.0) {
    return at::scaled_dot_product_attention(q, k, v, mask, 0.0, false, plan.scale);
  }
  const at::Tensor scores =
      soft_cap(at::matmul(q, k.transpose(2, 3)).to(at::kFloat) * plan.scale, plan.softcap);
  const at::Tensor weights = at::softmax(scores.masked_fill(~mask, -INFINITY), -1);
  return at::matmul(weights.to(v.scalar_type()), v);
}

at::Tensor logits_of(const at::Tensor& hidden, const at::Tensor& head, double softcap) {
  const at::Tensor logits = at::mm(hidden, head.t()).to(at::kFloat);
  return softcap > 0.0 ? soft_cap(logits, softcap) : logits;
}

// With p the probabilities of a row, H its entropy and m the mean of its log-probabilities:
//     d log p_i / d logit_j = [i = j] - p_j
//     d H / d logit_j = -p_j (log p_j + H)        d m / d logit_j = 1 / vocabulary - p_j
struct TokenLogprobs : Function<TokenLogprobs> {
  static variable_list forward(AutogradContext* ctx, const at::Tensor& hidden,
                               const at::Tensor& head,
                               const std::optional<at::Tensor>& trained_head,
                               const at::Tensor& targets, const ScoreOptions& wanted,
                               double softcap, std::int64_t chunk_rows) {
    const std::int64_t rows = hidden.size(0);
    const auto floats = hidden.options().dtype(at::kFloat);
    at::Tensor log_sums = at::empty({rows}, floats);
    at::Tensor logprobs = at::empty({rows}, floats);
    at::Tensor entropy = at::empty({rows}, floats);
    at::Tensor mean_logprobs = wanted.mean_logprobs ? at::empty({rows}, floats) : at::Tensor();
    at::Tensor argmax = at::empty({rows}, floats.dtype(at::kInt));
    const at::Tensor ids = targets.to(at::kLong).unsqueeze(1);
    over_chunks(rows, chunk_rows, [&](std::int64_t begin, std::int64_t end) {
      const auto part = [&](const at::Tensor& x) { return x.slice(0, begin, end); };
      const at::Tensor logits = logits_of(part(hidden), head, softcap);
      const at::Tensor log_sum = logits.logsumexp(1);
      part(log_sums).copy_(log_sum);
      part(logprobs).copy_(logits.gather(1, part(ids)).squeeze(1) - log_sum);
      part(argmax).copy_(logits.argmax(1));
      if (wanted.mean_logprobs) part(mean_logprobs).copy_(logits.mean(1) - log_sum);
      const at::Tensor mean = (logits - log_sum.unsqueeze(1)).exp_().mul_(logits).sum(1);
      part(entropy).copy_(log_sum - mean);
    });
    ctx->save_for_backward({hidden, head, ids, log_sums, entropy});
    ctx->saved_data["chunk_rows"] = chunk_rows;
    ctx->saved_data["softcap"] = softcap;
    ctx->saved_data["hidden"] = hidden.requires_grad();
    ctx->saved_data["head"] = trained_head && trained_head->requires_grad();
    ctx->set_materialize_grads(false);
    variable_list out = {logprobs, entropy.clone(), argmax};
    variable_list fixed = {out[2]};
    if (!wanted.entropy_gradient) fixed.push_back(out[1]);
    ctx->mark_non_differentiable(fixed);
    if (wanted.mean_logprobs) out.push_back(mean_logprobs);
    return out;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const at::Tensor &hidden = saved[0], &head = saved[1], &ids = saved[2];
    const at::Tensor &log_sums = saved[3], &entropy = saved[4];
    const bool wants_hidden = ctx->saved_data["hidden"].toBool();
    const bool wants_head = ctx->saved_data["head"].toBool();
    const double softcap = ctx->saved_data["softcap"].toDouble();
    const at::Tensor grad_mean = grads.size() > 3 ? grads[3] : at::Tensor();
    at::Tensor grad_hidden = wants_hidden ? at::empty_like(hidden) : at::Tensor();
    at::Tensor grad_head =
        wants_head ? at::zeros(head.sizes(), head.options().dtype(at::kFloat)) : at::Tensor();
    const auto chunk = [&](std::int64_t begin, std::int64_t end) {
      const auto part = [&](const at::Tensor& x) { return x.slice(0, begin, end); };
      const auto column = [&](const at::Tensor& x) { return part(x).unsqueeze(1); };
      const at::Tensor logits = logits_of(part(hidden), head, softcap);
      const at::Tensor logp = logits - column(log_sums);
      const at::Tensor p = logp.exp();
      at::Tensor share = at::zeros_like(p);
      if (grads[0].defined()) {
        share.sub_(p * column(grads[0])).scatter_add_(1, part(ids), column(grads[0]));
      }
      if (grads[1].defined()) share.sub_(p * (logp + column(entropy)) * column(grads[1]));
      if (grad_mean.defined()) {
        share.add_((1.0 / static_cast<double>(head.size(0)) - p) * column(grad_mean));
      }
      if (softcap > 0.0) share.mul_(1.0 - (logits / softcap).square());
      const at::Tensor grad_logits = share.to(head.scalar_type());
      if (wants_hidden) part(grad_hidden).copy_(at::mm(grad_logits, head));
      if (wants_head) grad_head.add_(at::mm(grad_logits.t(), part(hidden)));
    };
    over_chunks(hidden.size(0), ctx->saved_data["chunk_rows"].toInt(), chunk);
    return {grad_hidden, {}, grad_head, {}, {}, {}, {}};
  }
};

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

at::Tensor rotate(const at::Tensor& x, const at::Tensor& weight, const AttentionPlan& plan) {
  const at::Tensor wide = weight.defined() ? norm(x, weight, plan.eps) : x.to(at::kFloat);
  const at::Tensor cos = plan.cos.index_select(0, plan.positions).unsqueeze(1);
  const at::Tensor sin = plan.sin.index_select(0, plan.positions).unsqueeze(1);
  const std::int64_t half = plan.cos.size(1);
  const auto parts = wide.split_with_sizes({half, half, x.size(-1) - 2 * half}, -1);
  return at::cat({parts[0] * cos - parts[1] * sin, parts[1] * cos + parts[0] * sin, parts[2]}, -1)
      .to(x.scalar_type());
}

at::Tensor packed_attention(const at::Tensor& qkv, const at::Tensor& q_norm,
                            const at::Tensor& k_norm, const AttentionPlan& plan, KeyValueTap* tap) {
  const std::vector<std::int64_t> sizes = {plan.heads, plan.kv_heads, plan.kv_heads};
  const auto parts = qkv.view({qkv.size(0), -1, plan.head_dim}).split_with_sizes(sizes, 1);
  const at::Tensor k = rotate(parts[1], k_norm, plan);
  if (tap != nullptr) *tap = {k.contiguous(), parts[2].contiguous()};
  const auto rows = plan.rows ? plan.rows : pad_rows(plan.offsets, plan.families, qkv.device());
  const at::Tensor cells = spread(at::cat({rotate(parts[0], q_norm, plan), k, parts[2]}, 1), rows);
  const auto batches = cells.split_with_sizes(rows->sizes());
  std::vector<at::Tensor> out;
  for (std::size_t b = 0; b < batches.size(); ++b) {
    const auto& [count, length] = rows->batches[b];
    const auto heads = batches[b]
                           .view({count, length, -1, plan.head_dim})
                           .transpose(1, 2)
                           .split_with_sizes(sizes, 1);  // [rows, heads, length, head_dim]
    const at::Tensor attended = attend(heads, plan);
    out.push_back(attended.transpose(1, 2).reshape({count * length, plan.heads * plan.head_dim}));
  }
  return collect(at::cat(out, 0), rows);
}

TokenScores token_logprobs(const at::Tensor& hidden, const at::Tensor& head,
                           const at::Tensor& trained_head, const at::Tensor& targets,
                           const ScoreOptions& wanted, double softcap) {
  const std::int64_t row_bytes = head.size(0) * static_cast<std::int64_t>(sizeof(float));
  return token_logprobs_by_chunks(hidden, head, trained_head, targets, wanted, softcap,
                                  std::max<std::int64_t>(16, kChunkBytes / row_bytes));
}

TokenScores token_logprobs_by_chunks(const at::Tensor& hidden, const at::Tensor& head,
                                     const at::Tensor& trained_head, const at::Tensor& targets,
                                     const ScoreOptions& wanted, double softcap,
                                     std::int64_t chunk_rows) {
  const auto out = TokenLogprobs::apply(
      hidden, head, trained_head.defined() ? std::optional<at::Tensor>(trained_head) : std::nullopt,
      targets, wanted, softcap, chunk_rows);
  return {out[0], out[1], out[2], wanted.mean_logprobs ? out[3] : at::Tensor()};
}

}  // namespace limbic::model::reference
