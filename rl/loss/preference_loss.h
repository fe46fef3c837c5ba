// Losses over pairs of a preferred and a rejected reply. Pure: tensors in, tensors out.
// Sources: arXiv:2305.18290 (DPO, sigmoid), its conservative form with label smoothing (cDPO),
// arXiv:2310.12036 (IPO; per token of the reply, as TRL and the authors' own runs have it).
#pragma once

#include <ATen/ATen.h>

#include "trainer/base/fields.h"

namespace limbic::rl {

enum class PreferenceLossType { kSigmoid, kRobust, kIpo };

struct PreferenceConfig {
  double beta = 0.1;
  PreferenceLossType loss_type = PreferenceLossType::kSigmoid;
  double label_smoothing = 0.0;  // probability that a pair is the wrong way round
};
void describe(Fields& f, PreferenceConfig& c);

// Log-probabilities of whole replies: [pairs], of one float type.
struct PreferenceInputs {
  at::Tensor chosen, rejected;                  // of the policy, differentiable
  at::Tensor ref_chosen, ref_rejected;          // of the reference
  at::Tensor chosen_lengths, rejected_lengths;  // tokens
};
// Losses [pairs].
at::Tensor preference_loss(const PreferenceInputs& inputs, const PreferenceConfig& config);

}  // namespace limbic::rl
