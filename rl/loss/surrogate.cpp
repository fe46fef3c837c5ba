#include "rl/loss/surrogate.h"

#include <fmt/format.h>

#include "trainer/base/error.h"

namespace limbic::rl {
namespace {

Surrogate clip(const at::Tensor& ratio, const at::Tensor& advantages, const SurrogateConfig& c) {
  const double low = 1.0 - c.epsilon;
  const double high = 1.0 + c.epsilon_high.value_or(c.epsilon);
  const at::Tensor bounded = c.delta ? ratio.clamp_max(*c.delta) : ratio;
  const at::Tensor fixed = bounded.detach();
  return {.loss = -at::minimum(bounded * advantages, ratio.clamp(low, high) * advantages),
          .clip_low = (fixed < low).logical_and(advantages < 0),
          .clip_high = (fixed > high).logical_and(advantages > 0)};
}

Surrogate cispo(const at::Tensor& ratio, const at::Tensor& logprobs, const at::Tensor& advantages,
                const SurrogateConfig& c) {
  const double most = c.epsilon_high.value();
  const at::Tensor fixed = ratio.detach();
  return {.loss = -fixed.clamp_max(most) * advantages * logprobs,
          .clip_low = at::zeros_like(fixed, at::kBool),
          .clip_high = (fixed > most).logical_and(advantages > 0)};
}

Surrogate soft_gate(const at::Tensor& ratio, const at::Tensor& advantages,
                    const SurrogateConfig& c) {
  const at::Tensor temperature = at::where(advantages > 0, at::full_like(ratio, c.temperature_pos),
                                           at::full_like(ratio, c.temperature_neg));
  const at::Tensor none = at::zeros_like(ratio, at::kBool);
  return {.loss = -(at::sigmoid(temperature * (ratio - 1)) * 4 / temperature) * advantages,
          .clip_low = none,
          .clip_high = none};
}

}  // namespace

void describe(Fields& f, SurrogateConfig& c) {
  f.field("epsilon", c.epsilon, "lower clip range of the ratio", Bounds::between(0.0, 1.0));
  f.field("epsilon_high", c.epsilon_high,
          "upper clip range; not set = epsilon. With cispo the greatest ratio, 5.0 is usual",
          Bounds::at_least(0.0));
  f.field("delta", c.delta,
          "greatest ratio where the advantage is negative (dual clip); not set = none",
          Bounds::positive());
  f.field("sapo_temperature_neg", c.temperature_neg,
          "sapo: steepness of the gate where the advantage is not positive", Bounds::positive());
  f.field("sapo_temperature_pos", c.temperature_pos,
          "sapo: steepness of the gate where the advantage is positive", Bounds::positive());
  const double high = 1.0 + c.epsilon_high.value_or(c.epsilon);
  if (f.reading() && c.delta && *c.delta <= high) {
    f.fail("delta", fmt::format("got {}, want more than 1 + epsilon_high ({})", *c.delta, high));
  }
}

Surrogate surrogate(const at::Tensor& ratio, const at::Tensor& logprobs,
                    const at::Tensor& advantages, SurrogateKind kind,
                    const SurrogateConfig& config) {
  switch (kind) {
    case SurrogateKind::kClip:
      return clip(ratio, advantages, config);
    case SurrogateKind::kCispo:
      return cispo(ratio, logprobs, advantages, config);
    case SurrogateKind::kSoftGate:
      return soft_gate(ratio, advantages, config);
  }
  check(false, "unknown surrogate");
  return {};
}

}  // namespace limbic::rl
