// Estimators of the divergence of the policy from the reference, per token, from one drawn token.
// Source: the k1, k2, k3 of joschu.net/blog/kl-approx.html; k3 is that of arXiv:2402.03300 and TRL.
#pragma once

#include <ATen/ATen.h>

#include "trainer/base/fields.h"

namespace limbic::rl {

enum class KlEstimator { kK1, kK2, kK3 };

struct KlConfig {
  double beta = 0.0;
  KlEstimator estimator = KlEstimator::kK3;
  bool in_reward = false;       // taken off the reward of a completion instead of added to the loss
  bool bias_correction = true;  // times the ratio, so that the gradient is that of the divergence

  bool in_loss() const { return beta > 0.0 && !in_reward; }
};
void describe(Fields& f, KlConfig& c);

// With d = logprobs - ref_logprobs: d, d^2 / 2, exp(-d) + d - 1. The shape of the inputs.
at::Tensor kl_estimate(const at::Tensor& logprobs, const at::Tensor& ref_logprobs,
                       KlEstimator estimator);

}  // namespace limbic::rl
