// The clipped policy-gradient loss over packed completion tokens. Pure: tensors in, tensors out.
// Sources: arXiv:2402.03300 (grpo), arXiv:2503.14476 (dapo), arXiv:2503.20783 (dr_grpo); names and
// formulas as in TRL's GRPOTrainer. Denominators are those of the whole optimizer step, summed over
// micro-batches and ranks beforehand, so the gradient does not depend on how the step is cut.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "trainer/base/fields.h"

namespace limbic::rl {

enum class LossType { kGrpo, kBnpo, kDrGrpo, kDapo };

struct PolicyLossConfig {
  LossType loss_type = LossType::kDapo;
  double epsilon = 0.2;
  std::optional<double> epsilon_high;  // not set = epsilon
  double beta = 0.0;                   // weight of the KL to the reference
};
void describe(Fields& f, PolicyLossConfig& c);

// Completion tokens of one micro-batch, sequences one behind the other; all float32.
struct PolicyInputs {
  at::Tensor logprobs;  // [tokens] of the policy being trained, differentiable
  at::Tensor
      old_logprobs;  // [tokens] of the policy that sampled; undefined = the current one (ratio 1)
  at::Tensor ref_logprobs;  // [tokens] of the reference; read when beta is not 0
  at::Tensor advantages;    // [tokens] of the token's completion
  at::Tensor lengths;       // [tokens] number of completion tokens of the token's completion
};

// Sums over the whole optimizer step (all micro-batches, all ranks).
struct StepTotals {
  double tokens = 0.0;       // completion tokens that take part
  double completions = 0.0;  // completions that take part
  double max_completion_length = 0.0;
};

struct PolicyLoss {
  at::Tensor loss;  // scalar; the sum over micro-batches and ranks is the step's loss
  // Sums over the tokens of this micro-batch (divide by StepTotals::tokens):
  double kl = 0.0;
  double clip_low = 0.0;   // tokens clipped below (ratio < 1 - epsilon, advantage < 0)
  double clip_high = 0.0;  // tokens clipped above (ratio > 1 + epsilon_high, advantage > 0)
};

PolicyLoss policy_loss(const PolicyInputs& inputs, const StepTotals& totals,
                       const PolicyLossConfig& config);

}  // namespace limbic::rl
