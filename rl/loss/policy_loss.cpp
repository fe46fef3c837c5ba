#include "rl/loss/policy_loss.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "trainer/base/error.h"

namespace limbic::rl {
namespace {

SurrogateKind surrogate_of(LossType type) {
  if (type == LossType::kCispo) return SurrogateKind::kCispo;
  if (type == LossType::kSapo) return SurrogateKind::kSoftGate;
  return SurrogateKind::kClip;
}

// What each token's loss is multiplied with so that the sum over the step is the loss.
at::Tensor token_weights(const Completions& completions, const StepTotals& totals, LossType type) {
  const at::Tensor ones = at::ones_like(completions.lengths());
  const auto weigh = [&](const at::Tensor& each) { return completions.spread(each); };
  switch (type) {
    case LossType::kGrpo:
    case LossType::kSapo:
    case LossType::kRloo:
      return weigh(completions.lengths().reciprocal() / totals.completions);
    case LossType::kDrGrpo:
      return weigh(ones / (totals.completions * totals.max_completion_length));
    case LossType::kBnpo:
    case LossType::kDapo:
    case LossType::kCispo:
      return weigh(ones / totals.tokens);
    case LossType::kLuspo:
      return weigh(ones / totals.completions);
  }
  check(false, "unknown loss type");
  return {};
}

void check_settings(Fields& f, const PolicyLossConfig& c) {
  const SurrogateConfig& s = c.surrogate;
  const SurrogateKind kind = surrogate_of(c.loss_type);
  const SurrogateConfig untouched;
  const bool of_sequences = c.loss_type == LossType::kLuspo || c.loss_type == LossType::kRloo;
  if (of_sequences && c.importance_sampling_level != Level::kSequence) {
    f.fail("importance_sampling_level",
           fmt::format("got token with {}, want sequence",
                       c.loss_type == LossType::kLuspo ? "luspo" : "rloo"));
  }
  if (kind == SurrogateKind::kCispo && !s.epsilon_high) {
    f.fail("epsilon_high", "got nothing with cispo, want the greatest ratio; 5.0 is usual");
  }
  if (kind != SurrogateKind::kClip && s.delta) {
    f.fail("delta", "got a bound with cispo or sapo, want none; they do not clip the surrogate");
  }
  if (kind != SurrogateKind::kClip && s.epsilon != untouched.epsilon) {
    f.fail("epsilon", "got a range with cispo or sapo, want none; they have no lower clip");
  }
  if (kind == SurrogateKind::kSoftGate && s.epsilon_high) {
    f.fail("epsilon_high", "got a range with sapo, want none; its gate is soft");
  }
  const bool gated = s.temperature_neg != untouched.temperature_neg ||
                     s.temperature_pos != untouched.temperature_pos;
  if (kind != SurrogateKind::kSoftGate && gated) {
    f.fail(s.temperature_neg != untouched.temperature_neg ? "sapo_temperature_neg"
                                                          : "sapo_temperature_pos",
           "got a temperature with another loss_type, want loss_type: sapo");
  }
}

void apply_correction(const PolicyInputs& inputs, const at::Tensor& old,
                      const Completions& completions, const CorrectionConfig& config,
                      at::Tensor& loss, PolicyLoss& out) {
  const at::Tensor weights = correction_weights(old, inputs.sampling_logprobs, completions, config);
  loss = loss * weights;
  if (weights.numel() == 0) return;
  out.correction = weights.sum().item<double>();
  out.correction_min = weights.min().item<double>();
  out.correction_max = weights.max().item<double>();
}

void count_clips(const Surrogate& part, const Completions& completions,
                 const PolicyLossConfig& config, PolicyLoss& out) {
  const auto shares = [&](const at::Tensor& clipped) {
    return completions.sum(clipped.to(completions.lengths().scalar_type())) / completions.lengths();
  };
  const at::Tensor low = shares(part.clip_low), high = shares(part.clip_high);
  const at::Tensor by = config.importance_sampling_level == Level::kToken
                            ? completions.lengths()
                            : at::ones_like(completions.lengths());
  out.clip_low = (low * by).sum().item<double>();
  out.clip_high = (high * by).sum().item<double>();
  out.clip_low_min = low.min().item<double>();
  out.clip_high_max = high.max().item<double>();
}

}  // namespace

void describe(Fields& f, PolicyLossConfig& c) {
  f.choice("loss_type", c.loss_type,
           {{LossType::kGrpo, "grpo"},
            {LossType::kBnpo, "bnpo"},
            {LossType::kDrGrpo, "dr_grpo"},
            {LossType::kDapo, "dapo"},
            {LossType::kCispo, "cispo"},
            {LossType::kSapo, "sapo"},
            {LossType::kLuspo, "luspo"},
            {LossType::kRloo, "rloo"}},
           "what the loss of a token is and how token losses are averaged; bnpo and dapo are both "
           "over all tokens of the optimizer step");
  f.choice("importance_sampling_level", c.importance_sampling_level,
           {{Level::kToken, "token"}, {Level::kSequence, "sequence"}},
           "a ratio per token, or one per completion: of its mean log-ratio (GSPO with loss_type "
           "grpo), with loss_type rloo of the sum");
  describe(f, c.surrogate);
  describe(f, c.kl);
  describe(f, c.correction);
  f.field("top_entropy_quantile", c.top_entropy_quantile,
          "share of the step's tokens, those of highest entropy, that the loss is over; below 1 it "
          "takes another forward pass per step",
          Bounds{.min = 0.0, .max = 1.0});
  f.field("entropy_coef", c.entropy_coef,
          "weight of the bonus for entropy: its mean over the tokens that the loss is over",
          Bounds::at_least(0.0));
  if (f.reading()) check_settings(f, c);
}

PolicyLoss policy_loss(const PolicyInputs& inputs, const StepTotals& totals,
                       const PolicyLossConfig& config) {
  const Completions completions(inputs.lengths, inputs.logprobs);
  const at::Tensor old =
      inputs.old_logprobs.defined() ? inputs.old_logprobs : inputs.logprobs.detach();
  const at::Tensor ratio =
      config.loss_type == LossType::kRloo
          ? completion_ratio(inputs.logprobs - old, completions)
          : importance_ratio(inputs.logprobs - old, completions, config.importance_sampling_level);
  const Surrogate part = surrogate(ratio, inputs.logprobs, inputs.advantages,
                                   surrogate_of(config.loss_type), config.surrogate);
  PolicyLoss out;
  at::Tensor loss = part.loss;
  if (inputs.selected.defined()) loss = loss * inputs.selected;
  if (config.correction.enabled) {
    apply_correction(inputs, old, completions, config.correction, loss, out);
  }
  if (config.kl.in_loss()) {
    at::Tensor kl = kl_estimate(inputs.logprobs, inputs.ref_logprobs, config.kl.estimator);
    if (config.kl.bias_correction) kl = kl * ratio;
    loss = loss + config.kl.beta * kl;
    out.kl = kl.detach().sum().item<double>();
  }
  if (inputs.weights.defined()) loss = loss * inputs.weights;
  out.loss = (loss * token_weights(completions, totals, config.loss_type)).sum();
  if (config.entropy_coef > 0.0 && totals.selected > 0.0) {
    const at::Tensor entropy =
        inputs.selected.defined() ? inputs.entropy * inputs.selected : inputs.entropy;
    const at::Tensor bonus = entropy.sum() * (config.entropy_coef / totals.selected);
    out.loss = out.loss - bonus;
    out.bonus = bonus.item<double>();
  }
  if (completions.count() > 0) count_clips(part, completions, config, out);
  return out;
}

double entropy_threshold(std::vector<float> entropies, double share) {
  if (entropies.empty()) return std::numeric_limits<double>::infinity();
  std::sort(entropies.begin(), entropies.end());
  const double place = (1.0 - share) * static_cast<double>(entropies.size() - 1);
  const auto below = static_cast<std::size_t>(place);
  const std::size_t above = std::min(below + 1, entropies.size() - 1);
  return std::lerp(static_cast<double>(entropies[below]), static_cast<double>(entropies[above]),
                   place - static_cast<double>(below));
}

}  // namespace limbic::rl
