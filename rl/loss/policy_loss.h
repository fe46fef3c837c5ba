// The policy-gradient losses of the GRPO family over packed completion tokens. Pure: tensors in,
// tensors out. A loss is put together from parts that do not know each other:
//
//     ratio (token | sequence) -> surrogate (clip | cispo | soft gate)
//       x chosen tokens x correction x sample weight, + beta KL
//       -> weights of tokens that make the sum over the step its mean
//
// Names and formulas as in TRL's GRPOTrainer; sources stand with the parts. Denominators are those
// of the whole optimizer step, summed over micro-batches and ranks beforehand, so the gradient does
// not depend on how the step is cut. (TRL divides bnpo and the entropy bonus by a micro-batch.)
#pragma once

#include <ATen/ATen.h>

#include <vector>

#include "rl/loss/kl.h"
#include "rl/loss/ratio.h"
#include "rl/loss/surrogate.h"
#include "trainer/base/fields.h"

namespace limbic::rl {

enum class LossType { kGrpo, kBnpo, kDrGrpo, kDapo, kCispo, kSapo, kLuspo, kRloo };

struct PolicyLossConfig {
  LossType loss_type = LossType::kDapo;
  Level importance_sampling_level = Level::kToken;
  SurrogateConfig surrogate;
  KlConfig kl;
  CorrectionConfig correction;
  double top_entropy_quantile = 1.0;  // share of the tokens of the step that the loss is over
  double entropy_coef = 0.0;

  bool selects_tokens() const { return top_entropy_quantile < 1.0; }
};
void describe(Fields& f, PolicyLossConfig& c);

// Completion tokens of one micro-batch, completions one behind the other. All tensors are of one
// float type (float32 or float64) and [tokens] unless noted; what is not read may be undefined.
struct PolicyInputs {
  std::vector<std::int64_t> lengths;  // [completions] tokens of each
  at::Tensor logprobs;                // of the policy being trained, differentiable
  at::Tensor old_logprobs;  // of the policy that sampled; undefined = the current one (ratio 1)
  at::Tensor ref_logprobs;  // of the reference; read with the KL in the loss
  at::Tensor sampling_logprobs;  // that the tokens were drawn with; read with the correction
  at::Tensor entropy;            // differentiable; read with entropy_coef
  at::Tensor advantages;         // of the token
  at::Tensor weights;            // of the token's loss; undefined = 1
  at::Tensor selected;           // 1 where the loss is over the token, else 0; undefined = 1
};

// Sums over the whole optimizer step (all micro-batches, all ranks).
struct StepTotals {
  double tokens = 0.0;       // completion tokens that take part
  double completions = 0.0;  // completions that take part
  double selected = 0.0;     // tokens that the loss is over; `tokens` when all are
  double max_completion_length = 0.0;
};

struct PolicyLoss {
  at::Tensor loss;  // scalar; the sum over micro-batches and ranks is the step's loss
  // Sums over the tokens of this micro-batch (clips: over completions with sequence ratios).
  double kl = 0.0;
  double clip_low = 0.0;
  double clip_high = 0.0;
  // Of a completion's tokens, the least and the largest share that is clipped.
  double clip_low_min = 1.0;
  double clip_high_max = 0.0;
  double bonus = 0.0;  // what the entropy takes off the loss
  // The correction's weights over the tokens; 0 tokens leave them as they are.
  double correction = 0.0;
  double correction_min = 1.0;
  double correction_max = 1.0;
};

PolicyLoss policy_loss(const PolicyInputs& inputs, const StepTotals& totals,
                       const PolicyLossConfig& config);

// The entropy from which on a token is among the `share` of highest entropy: the quantile
// 1 - share of all tokens of the step, interpolated as torch.quantile does. Entropies in any order.
double entropy_threshold(std::vector<float> entropies, double share);

}  // namespace limbic::rl
