#include "rl/loss/preference_loss.h"

#include "trainer/base/error.h"

namespace limbic::rl {

void describe(Fields& f, PreferenceConfig& c) {
  f.field("beta", c.beta, "how strongly the policy is held to the reference; tau of ipo",
          Bounds::positive());
  f.choice("loss_type", c.loss_type,
           {{PreferenceLossType::kSigmoid, "sigmoid"}, {PreferenceLossType::kIpo, "ipo"}},
           "sigmoid is DPO; ipo is the squared distance from a margin, per token");
  f.field("label_smoothing", c.label_smoothing,
          "sigmoid: probability that a pair is the wrong way round",
          Bounds{.min = 0.0, .max = 0.5});
  if (!f.reading()) return;
  if (c.loss_type != PreferenceLossType::kSigmoid && c.label_smoothing > 0.0) {
    f.fail("label_smoothing", "got smoothing with another loss_type, want loss_type: sigmoid");
  }
  if (c.label_smoothing >= 0.5) {
    f.fail("label_smoothing", "got 0.5, want less; nothing is preferred then");
  }
}

at::Tensor preference_loss(const PreferenceInputs& inputs, const PreferenceConfig& config) {
  const at::Tensor chosen = inputs.chosen - inputs.ref_chosen;
  const at::Tensor rejected = inputs.rejected - inputs.ref_rejected;
  switch (config.loss_type) {
    case PreferenceLossType::kSigmoid: {
      const at::Tensor margin = config.beta * (chosen - rejected);
      return -at::log_sigmoid(margin) * (1.0 - config.label_smoothing) -
             at::log_sigmoid(-margin) * config.label_smoothing;
    }
    case PreferenceLossType::kIpo: {
      const at::Tensor margin = chosen / inputs.chosen_lengths - rejected / inputs.rejected_lengths;
      return (margin - 1.0 / (2.0 * config.beta)).square();
    }
  }
  check(false, "unknown loss type");
  return {};
}

}  // namespace limbic::rl
