// Token log-probabilities without ever holding more logits than the budget.
#include <torch/csrc/autograd/custom_function.h>

#include "trainer/model/kernel_call.h"
#include "trainer/model/ops.h"

namespace limbic::model {
namespace {

using kernels::RowStats;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

constexpr std::int64_t kChunkBytes = std::int64_t{64} << 20;

std::int64_t chunk_rows(const at::Tensor& head) {
  const std::int64_t row_bytes = head.size(0) * static_cast<std::int64_t>(head.element_size());
  return std::max<std::int64_t>(16, kChunkBytes / row_bytes);
}

at::Tensor logits_of(const at::Tensor& hidden, const at::Tensor& head, double softcap) {
  at::Tensor logits = at::mm(hidden, head.t());
  return softcap > 0.0 ? logits.div_(softcap).tanh_().mul_(softcap) : logits;
}

RowStats* stats_of(const at::Tensor& stats) {
  return reinterpret_cast<RowStats*>(stats.data_ptr());
}

// What the gradients of the entropy and of the mean over the vocabulary add to that of the logits,
// [rows, vocabulary] float32: with p the probabilities and H the entropy of a row,
//     d entropy / d logit_j = -p_j (log p_j + H)        d mean / d logit_j = 1 / vocabulary - p_j
at::Tensor shape_gradient(const at::Tensor& logits, const at::Tensor& log_sum_exp,
                          const at::Tensor& entropy, const at::Tensor& grad_entropy,
                          const at::Tensor& grad_mean) {
  const at::Tensor logp = logits.to(at::kFloat) - log_sum_exp.unsqueeze(1);
  const at::Tensor p = logp.exp();
  at::Tensor out = at::zeros_like(p);
  if (grad_entropy.defined()) {
    out.sub_(p * (logp + entropy.unsqueeze(1)) * grad_entropy.unsqueeze(1));
  }
  if (grad_mean.defined()) {
    const double share = 1.0 / static_cast<double>(logits.size(1));
    out.add_((share - p) * grad_mean.unsqueeze(1));
  }
  return out;
}

struct TokenLogprobs : Function<TokenLogprobs> {
  static variable_list forward(AutogradContext* ctx, const at::Tensor& hidden,
                               const at::Tensor& head,
                               const std::optional<at::Tensor>& trained_head,
                               const at::Tensor& targets, const ScoreOptions& wanted,
                               double softcap) {
    const std::int64_t rows = hidden.size(0);
    const std::int64_t vocabulary = head.size(0);
    const std::int64_t step = chunk_rows(head);
    const bool wants_grad =
        hidden.requires_grad() || (trained_head && trained_head->requires_grad());
    const bool keep =
        wants_grad &&
        rows * vocabulary * static_cast<std::int64_t>(head.element_size()) <= kLogitBudgetBytes;
    at::Tensor stats = at::empty({rows, static_cast<std::int64_t>(sizeof(RowStats))},
                                 hidden.options().dtype(at::kByte));
    const at::Tensor mean_logits =
        wanted.mean_logprobs ? at::empty({rows}, hidden.options().dtype(at::kFloat)) : at::Tensor();
    variable_list kept;
    for (std::int64_t begin = 0; begin < rows; begin += step) {
      const std::int64_t end = std::min(rows, begin + step);
      const at::Tensor logits = logits_of(hidden.slice(0, begin, end), head, softcap);
      with_kernels(logits.scalar_type(), [&](const auto& table, auto type) {
        using X = decltype(type);
        at::parallel_for(0, end - begin, grain(vocabulary), [&](std::int64_t b, std::int64_t e) {
          table.row_stats(raw<X>(logits), raw<std::int32_t>(targets) + begin,
                          stats_of(stats) + begin, b, e, vocabulary);
        });
      });
      if (wanted.mean_logprobs)
        mean_logits.slice(0, begin, end).copy_(logits.mean(1, false, at::kFloat));
      if (keep) kept.push_back(logits);
    }
    variable_list saved = {hidden, head, targets, stats};
    saved.insert(saved.end(), kept.begin(), kept.end());
    ctx->save_for_backward(saved);
    ctx->saved_data["softcap"] = softcap;
    ctx->saved_data["hidden"] = hidden.requires_grad();
    ctx->saved_data["head"] = trained_head && trained_head->requires_grad();
    ctx->set_materialize_grads(false);
    variable_list out = unpack(stats, hidden);
    variable_list fixed = {out[2]};
    if (!wanted.entropy_gradient) fixed.push_back(out[1]);
    ctx->mark_non_differentiable(fixed);
    if (wanted.mean_logprobs) out.push_back(mean_logits - log_sum_exp_of(stats, hidden));
    return out;
  }

  static at::Tensor log_sum_exp_of(const at::Tensor& stats, const at::Tensor& hidden) {
    const std::int64_t rows = stats.size(0);
    at::Tensor out = at::empty({rows}, hidden.options().dtype(at::kFloat));
    for (std::int64_t i = 0; i < rows; ++i) raw<float>(out)[i] = stats_of(stats)[i].log_sum_exp;
    return out;
  }

  static variable_list unpack(const at::Tensor& stats, const at::Tensor& hidden) {
    const std::int64_t rows = stats.size(0);
    const auto floats = hidden.options().dtype(at::kFloat);
    at::Tensor logprobs = at::empty({rows}, floats);
    at::Tensor entropy = at::empty({rows}, floats);
    at::Tensor argmax = at::empty({rows}, floats.dtype(at::kInt));
    const RowStats* row = stats_of(stats);
    for (std::int64_t i = 0; i < rows; ++i) {
      raw<float>(logprobs)[i] = row[i].target_logit - row[i].log_sum_exp;
      raw<float>(entropy)[i] = row[i].entropy;
      raw<std::int32_t>(argmax)[i] = row[i].argmax;
    }
    return {logprobs, entropy, argmax};
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const at::Tensor &hidden = saved[0], &head = saved[1], &targets = saved[2], &stats = saved[3];
    const std::int64_t rows = hidden.size(0);
    const std::int64_t vocabulary = head.size(0);
    const std::int64_t step = chunk_rows(head);
    const bool wants_hidden = ctx->saved_data["hidden"].toBool();
    const bool wants_head = ctx->saved_data["head"].toBool();
    const double softcap = ctx->saved_data["softcap"].toDouble();
    const at::Tensor grad = grads[0].defined()
                                ? grads[0].contiguous()
                                : at::zeros({rows}, hidden.options().dtype(at::kFloat));
    const at::Tensor grad_mean = grads.size() > 3 ? grads[3] : at::Tensor();
    const bool shapes = grads[1].defined() || grad_mean.defined();
    const at::Tensor log_sum_exp = shapes ? log_sum_exp_of(stats, hidden) : at::Tensor();
    const at::Tensor entropy = shapes ? unpack(stats, hidden)[1] : at::Tensor();
    at::Tensor grad_hidden = wants_hidden ? at::empty_like(hidden) : at::Tensor();
    at::Tensor grad_head =
        wants_head ? at::zeros(head.sizes(), head.options().dtype(at::kFloat)) : at::Tensor();
    for (std::int64_t begin = 0; begin < rows; begin += step) {
      const std::int64_t end = std::min(rows, begin + step);
      const at::Tensor piece = hidden.slice(0, begin, end);
      const at::Tensor logits = saved.size() > 4 ? saved[4 + static_cast<std::size_t>(begin / step)]
                                                 : logits_of(piece, head, softcap);
      const at::Tensor slope = softcap > 0.0 ? 1.0 - (logits / softcap).square_() : at::Tensor();
      at::Tensor more;
      if (shapes) {
        const auto part = [&](const at::Tensor& whole) {
          return whole.defined() ? whole.slice(0, begin, end) : whole;
        };
        more = shape_gradient(logits, part(log_sum_exp), part(entropy), part(grads[1]),
                              part(grad_mean));
      }
      with_kernels(logits.scalar_type(), [&](const auto& table, auto type) {
        using X = decltype(type);
        at::parallel_for(0, end - begin, grain(vocabulary), [&](std::int64_t b, std::int64_t e) {
          table.log_prob_backward(raw<X>(logits), raw<std::int32_t>(targets) + begin,
                                  stats_of(stats) + begin, raw<float>(grad) + begin, b, e,
                                  vocabulary);
        });
      });
      if (shapes) logits.add_(more);
      if (slope.defined()) logits.mul_(slope);
      if (wants_hidden) grad_hidden.slice(0, begin, end).copy_(at::mm(logits, head));
      if (wants_head) grad_head.add_(at::mm(logits.t(), piece));
    }
    return {grad_hidden, {}, grad_head, {}, {}, {}};
  }
};

}  // namespace

TokenScores token_logprobs(const at::Tensor& hidden, const at::Tensor& head,
                           const at::Tensor& trained_head, const at::Tensor& targets,
                           const ScoreOptions& wanted, double softcap) {
  const auto out = TokenLogprobs::apply(hidden.contiguous(), head, maybe(trained_head), targets,
                                        wanted, softcap);
  return {out[0], out[1], out[2], wanted.mean_logprobs ? out[3] : at::Tensor()};
}

}  // namespace limbic::model
