#include "rl/loss/preference_loss.h"

#include <gtest/gtest.h>

#include <cmath>

namespace limbic::rl {
namespace {

at::Tensor doubles(std::vector<double> values) { return at::tensor(values, at::kDouble); }

// Two pairs: the policy moved by 2 and -1 (chosen), by -1 and 1 (rejected).
PreferenceInputs two_pairs() {
  return {.chosen = doubles({-3, -6}).requires_grad_(),
          .rejected = doubles({-8, -4}).requires_grad_(),
          .ref_chosen = doubles({-5, -5}),
          .ref_rejected = doubles({-7, -5}),
          .chosen_lengths = doubles({4, 2}),
          .rejected_lengths = doubles({1, 5})};
}

double log_sigmoid(double x) { return -std::log1p(std::exp(-x)); }

TEST(PreferenceLoss, SigmoidOfTheMargin) {
  const PreferenceInputs in = two_pairs();
  const at::Tensor loss = preference_loss(in, {.beta = 0.5});
  EXPECT_NEAR(loss[0].item<double>(), -log_sigmoid(1.5), 1e-12);
  EXPECT_NEAR(loss[1].item<double>(), -log_sigmoid(-1.0), 1e-12);
  loss.sum().backward();
  // d loss / d chosen = -beta sigmoid(-margin).
  const double first = -0.5 / (1 + std::exp(1.5)), second = -0.5 / (1 + std::exp(-1.0));
  EXPECT_TRUE(at::allclose(in.chosen.grad(), doubles({first, second})));
  EXPECT_TRUE(at::allclose(in.rejected.grad(), doubles({-first, -second})));
}

// arXiv:2403.00409, eq. 13.
TEST(PreferenceLoss, RobustTakesOutTheBiasOfWrongPairs) {
  const at::Tensor loss = preference_loss(
      two_pairs(), {.beta = 0.5, .loss_type = PreferenceLossType::kRobust, .label_smoothing = 0.1});
  EXPECT_NEAR(loss[0].item<double>(), (-0.9 * log_sigmoid(1.5) + 0.1 * log_sigmoid(-1.5)) / 0.8,
              1e-12);
}

TEST(PreferenceLoss, IpoIsASquaredDistancePerToken) {
  const at::Tensor loss =
      preference_loss(two_pairs(), {.beta = 0.5, .loss_type = PreferenceLossType::kIpo});
  EXPECT_NEAR(loss[0].item<double>(), std::pow(2.0 / 4 + 1.0 / 1 - 1.0, 2), 1e-12);
  EXPECT_NEAR(loss[1].item<double>(), std::pow(-1.0 / 2 - 1.0 / 5 - 1.0, 2), 1e-12);
}

}  // namespace
}  // namespace limbic::rl
