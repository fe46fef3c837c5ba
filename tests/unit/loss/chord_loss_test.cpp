#include "rl/loss/chord_loss.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

namespace limbic::rl {
namespace {

TEST(Mu, ThePapersForm) {
  const MuConfig paper;
  EXPECT_DOUBLE_EQ(mu_at(paper, 0), 0.02);
  EXPECT_DOUBLE_EQ(mu_at(paper, 100), 0.26);
  EXPECT_DOUBLE_EQ(mu_at(paper, 200), 0.5);
  EXPECT_NEAR(mu_at(paper, 463), 0.184, 5e-4);
  EXPECT_DOUBLE_EQ(mu_at(paper, 600), 0.02);
  EXPECT_DOUBLE_EQ(mu_at(paper, 10'000), 0.02);
}

TEST(Mu, TheFormOfItsCode) {
  const MuConfig code{.start = 0.0, .schedule = MuSchedule::kCosine};
  EXPECT_DOUBLE_EQ(mu_at(code, 0), 0.0);
  EXPECT_DOUBLE_EQ(mu_at(code, 100), 0.25);
  EXPECT_DOUBLE_EQ(mu_at(code, 200), 0.5);
  EXPECT_NEAR(mu_at(code, 463), 0.146, 5e-4);
  EXPECT_DOUBLE_EQ(mu_at(code, 400), 0.02 + 0.48 * 0.5 * (1 + std::cos(std::numbers::pi / 2)));
  EXPECT_DOUBLE_EQ(mu_at(code, 600), 0.02);
}

TEST(Mu, WithoutWarmupOrDecay) {
  EXPECT_DOUBLE_EQ(mu_at({.warmup_steps = 0}, 0), 0.5);
  EXPECT_DOUBLE_EQ(mu_at({.warmup_steps = 2, .decay_steps = 0}, 2), 0.02);
}

// Two samples of one and three tokens.
TEST(ExpertLoss, WeighsWhatThereIsToLearn) {
  const std::vector<double> p = {0.5, 0.9, 0.1, 0.25};
  std::vector<double> logs, weighted, gradient;
  for (const double value : p) {
    logs.push_back(std::log(value));
    weighted.push_back(-value * (1 - value) * std::log(value));
    gradient.push_back(-value * (1 - value));
  }
  const std::vector<std::int64_t> lengths = {1, 3};
  const ExpertTotals totals{.tokens = 4, .samples = 2};
  const auto run = [&](ExpertAverage average, bool phi) {
    const at::Tensor logprobs = at::tensor(logs, at::kDouble).requires_grad_();
    const at::Tensor loss = expert_loss(logprobs, lengths, totals, average, phi);
    loss.backward();
    return std::pair(loss.item<double>(), logprobs.grad());
  };
  const double others = weighted[1] + weighted[2] + weighted[3];
  const auto [sample, by_sample] = run(ExpertAverage::kSample, true);
  EXPECT_NEAR(sample, (weighted[0] + others / 3) / 2, 1e-12);
  // No gradient through phi.
  const auto options = at::TensorOptions().dtype(at::kDouble);
  EXPECT_TRUE(at::allclose(
      by_sample,
      at::tensor({gradient[0] / 2, gradient[1] / 6, gradient[2] / 6, gradient[3] / 6}, options)));
  const auto [token, by_token] = run(ExpertAverage::kToken, true);
  EXPECT_NEAR(token, (weighted[0] + others) / 4, 1e-12);
  EXPECT_TRUE(at::allclose(by_token, at::tensor(gradient, options) / 4));
  const auto [plain, unweighted] = run(ExpertAverage::kToken, false);
  EXPECT_NEAR(plain, -(logs[0] + logs[1] + logs[2] + logs[3]) / 4, 1e-12);
  EXPECT_TRUE(at::allclose(unweighted, at::full({4}, -0.25, options)));
}

}  // namespace
}  // namespace limbic::rl
