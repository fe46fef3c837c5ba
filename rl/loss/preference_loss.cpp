#include "rl/loss/preference_loss.h"

#include "trainer/base/error.h"

namespace limbic::rl {

void describe(Fields& f, PreferenceConfig& c) {
  f.field("beta", c.beta, "how strongly the policy is held to the reference; tau of ipo",
          Bounds::positive());
  f.choice("loss_type", c.loss_type,
           {{PreferenceLossType::kSigmoid, "sigmoid"},
            {PreferenceLossType::kRobust, "robust"},
            {PreferenceLossType::kIpo, "ipo"}},
           "sigmoid is DPO; robust is DPO without the bias of wrong pairs; ipo is the squared "
           "distance from a margin, per token");
  f.field("label_smoothing", c.label_smoothing,
          "robust: probability that a pair is the wrong way round", Bounds{.min = 0.0, .max = 0.5});
  if (!f.reading()) return;
  if (c.loss_type != PreferenceLossType::kRobust && c.label_smoothing > 0.0) {
    f.fail("label_smoothing", "got smoothing with another loss_type, want loss_type: robust");
  }
  if (c.label_smoothing >= 0.5) {
    f.fail("label_smoothing", "got 0.5, want less; nothing is preferred then");
  }
}

at::Tensor preference_loss(const PreferenceInputs& inputs, const PreferenceConfig& config) {
  const at::Tensor chosen = inputs.chosen - inputs.ref_chosen;
  const at::Tensor rejected = inputs.rejected - inputs.ref_rejected;
  switch (config.loss_type) {
    case PreferenceLossType::kSigmoid:
      return -at::log_sigmoid(config.beta * (chosen - rejected));
    case PreferenceLossType::kRobust: {
      const at::Tensor margin = config.beta * (chosen - rejected);
      const double wrong = config.label_smoothing;
      return (at::log_sigmoid(-margin) * wrong - at::log_sigmoid(margin) * (1.0 - wrong)) /
             (1.0 - 2.0 * wrong);
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
