#include "trainer/sft/sft_loss.h"

namespace limbic::sft {

at::Tensor sft_loss(const model::TokenScores& scores, double targets, double smoothing) {
  at::Tensor likelihood = scores.logprobs.sum() * (1.0 - smoothing);
  if (smoothing > 0.0) likelihood = likelihood + scores.mean_logprobs.sum() * smoothing;
  return likelihood * (-1.0 / targets);
}

}  // namespace limbic::sft
