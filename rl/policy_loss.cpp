#include "rl/policy_loss.h"

#include "trainer/base/error.h"

namespace limbic::rl {
namespace {

// What each token's loss is multiplied with so that the sum over the step is the loss.
at::Tensor token_weights(const PolicyInputs& inputs, const StepTotals& totals, LossType type) {
  switch (type) {
    case LossType::kGrpo:
      return inputs.lengths.reciprocal() / totals.completions;
    case LossType::kDrGrpo:
      return at::full_like(inputs.lengths,
                           1.0 / (totals.completions * totals.max_completion_length));
    case LossType::kBnpo:
    case LossType::kDapo:
      return at::full_like(inputs.lengths, 1.0 / totals.tokens);
  }
  check(false, "unknown loss type");
  return {};
}

}  // namespace

void describe(Fields& f, PolicyLossConfig& c) {
  f.choice("loss_type", c.loss_type,
           {{LossType::kGrpo, "grpo"},
            {LossType::kBnpo, "bnpo"},
            {LossType::kDrGrpo, "dr_grpo"},
            {LossType::kDapo, "dapo"}},
           "how token losses are averaged; bnpo and dapo are both over all tokens of the optimizer "
           "step");
  f.field("epsilon", c.epsilon, "lower clip range of the ratio", Bounds::between(0.0, 1.0));
  f.field("epsilon_high", c.epsilon_high, "upper clip range; not set = epsilon",
          Bounds::at_least(0.0));
  f.field("beta", c.beta, "weight of the KL to the reference policy; 0 needs no reference",
          Bounds::at_least(0.0));
}

PolicyLoss policy_loss(const PolicyInputs& inputs, const StepTotals& totals,
                       const PolicyLossConfig& config) {
  const double low = 1.0 - config.epsilon;
  const double high = 1.0 + config.epsilon_high.value_or(config.epsilon);
  const at::Tensor old =
      inputs.old_logprobs.defined() ? inputs.old_logprobs : inputs.logprobs.detach();
  const at::Tensor ratio = (inputs.logprobs - old).exp();
  const at::Tensor clipped = ratio.clamp(low, high);
  at::Tensor token_loss = -at::minimum(ratio * inputs.advantages, clipped * inputs.advantages);
  PolicyLoss out;
  if (config.beta > 0.0) {
    const at::Tensor gap = inputs.ref_logprobs - inputs.logprobs;
    const at::Tensor kl = gap.exp() - gap - 1.0;
    token_loss = token_loss + config.beta * kl;
    out.kl = kl.detach().sum().item<double>();
  }
  out.loss = (token_loss * token_weights(inputs, totals, config.loss_type)).sum();
  const at::Tensor fixed = ratio.detach();
  out.clip_low = ((fixed < low) & (inputs.advantages < 0)).sum().item<double>();
  out.clip_high = ((fixed > high) & (inputs.advantages > 0)).sum().item<double>();
  return out;
}

}  // namespace limbic::rl
