#include "rl/loss/kl.h"

#include "trainer/base/error.h"

namespace limbic::rl {

void describe(Fields& f, KlConfig& c) {
  f.field("beta", c.beta, "weight of the KL to the reference policy; 0 needs no reference",
          Bounds::at_least(0.0));
  f.choice("kl_estimator", c.estimator,
           {{KlEstimator::kK1, "k1"}, {KlEstimator::kK2, "k2"}, {KlEstimator::kK3, "k3"}},
           "estimate of the KL from a drawn token");
  f.field("kl_in_reward", c.in_reward,
          "take beta times the KL of a completion (summed over its tokens) off its reward instead "
          "of adding that of each token to the loss");
  f.field("use_bias_correction_kl", c.bias_correction,
          "multiply the KL in the loss with the importance ratio, which makes its gradient that of "
          "the KL itself; TRL's default");
  if (f.reading() && c.in_reward && c.beta == 0.0) {
    f.fail("kl_in_reward", "got true with beta 0, want beta above 0");
  }
  if (f.reading() && c.estimator != KlEstimator::kK3 && c.beta == 0.0) {
    f.fail("kl_estimator", "got an estimator with beta 0, want beta above 0");
  }
}

at::Tensor kl_estimate(const at::Tensor& logprobs, const at::Tensor& ref_logprobs,
                       KlEstimator estimator) {
  const at::Tensor distance = logprobs - ref_logprobs;
  switch (estimator) {
    case KlEstimator::kK1:
      return distance;
    case KlEstimator::kK2:
      return distance.square() / 2;
    case KlEstimator::kK3:
      return (-distance).exp() + distance - 1;
  }
  check(false, "unknown estimator");
  return {};
}

}  // namespace limbic::rl
