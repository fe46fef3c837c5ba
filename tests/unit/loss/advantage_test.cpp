#include "rl/loss/advantage.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace limbic::rl {
namespace {

constexpr double kFloor = 1e-4;

RewardTerm term(Column values, double weight = 1.0) {
  return {.values = std::move(values), .weight = weight};
}

AdvantageConfig config(ScaleRewards scale, Estimator estimator = Estimator::kGrpo) {
  AdvantageConfig c;
  c.scale_rewards = scale;
  c.estimator = estimator;
  return c;
}

Column of(Column rewards, std::int64_t group, const AdvantageConfig& c) {
  return sum_of(advantages({term(std::move(rewards))}, group, c));
}

void expect_column(const Column& got, const Column& want, double tolerance = 1e-12) {
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    ASSERT_EQ(got[i].has_value(), want[i].has_value()) << i;
    if (!got[i]) continue;
    EXPECT_NEAR(*got[i], *want[i], tolerance) << i;
  }
}

// Mean 1, deviation .755929.
TEST(GoldenNumbers, GroupAdvantages) {
  const Column got = of({2, 1, 1, 0, 2, 1, 0, 1}, 8, config(ScaleRewards::kGroup));
  expect_column(got, {1.3227, 0, 0, -1.3227, 1.3227, 0, -1.3227, 0}, 5e-5);
  const double deviation = std::sqrt(4.0 / 7.0);
  EXPECT_DOUBLE_EQ(got[0].value(), 1.0 / (deviation + kFloor));
  expect_column(of({1, 1, 1}, 3, config(ScaleRewards::kGroup)), {0, 0, 0}, 0.0);
}

TEST(Advantages, AutoScalesTheGroupsOfGrpoOnly) {
  const Column rewards = {1, 0, 0, 5};
  expect_column(of(rewards, 2, config(ScaleRewards::kAuto)),
                of(rewards, 2, config(ScaleRewards::kGroup)));
  expect_column(of(rewards, 2, config(ScaleRewards::kAuto, Estimator::kRloo)),
                of(rewards, 2, config(ScaleRewards::kNone, Estimator::kRloo)));
}

TEST(Advantages, WithoutScalingAreTheDistanceFromTheMean) {
  expect_column(of({1, 0, 0, 1}, 4, config(ScaleRewards::kNone)), {0.5, -0.5, -0.5, 0.5});
}

TEST(Advantages, OneDeviationForTheBatch) {
  // Mean 4: squares 16 + 4 + 0 + 36 = 56, over 3.
  const double deviation = std::sqrt(56.0 / 3.0) + kFloor;
  expect_column(
      of({0, 2, std::nullopt, 4, 10, std::nullopt}, 3, config(ScaleRewards::kBatch)),
      {-1 / deviation, 1 / deviation, std::nullopt, -3 / deviation, 3 / deviation, std::nullopt});
}

TEST(Advantages, CompletionsWithoutAScoreTakeNoPart) {
  const double deviation = std::sqrt(4.5) + kFloor;
  expect_column(of({1, std::nullopt, 4, std::nullopt}, 4, config(ScaleRewards::kGroup)),
                {-1.5 / deviation, std::nullopt, 1.5 / deviation, std::nullopt});
  expect_column(of({std::nullopt, std::nullopt, 3, std::nullopt}, 2, config(ScaleRewards::kGroup)),
                {std::nullopt, std::nullopt, 0, std::nullopt});
}

// Rewards 1, 2, 6: each against the mean of the other two.
TEST(Advantages, LeaveOneOut) {
  expect_column(of({1, 2, 6}, 3, config(ScaleRewards::kAuto, Estimator::kRloo)), {-3, -1.5, 4.5});
  // Only who takes part is compared with; who is alone learns nothing.
  expect_column(of({1, std::nullopt, 6}, 3, config(ScaleRewards::kAuto, Estimator::kRloo)),
                {-5, std::nullopt, 5});
  expect_column(
      of({1, std::nullopt, std::nullopt}, 3, config(ScaleRewards::kAuto, Estimator::kRloo)),
      {0, std::nullopt, std::nullopt});
  const double deviation = std::sqrt(7.0) + kFloor;
  expect_column(of({1, 2, 6}, 3, config(ScaleRewards::kGroup, Estimator::kRloo)),
                {-3 / deviation, -1.5 / deviation, 4.5 / deviation});
}

TEST(Advantages, NormalizedLeaveOneOutHasTheMeanOfTheStep) {
  AdvantageConfig c = config(ScaleRewards::kAuto, Estimator::kRloo);
  c.normalize_advantages = true;
  // -2 2 -6 6: mean 0, squares 80 over 3.
  const double deviation = std::sqrt(80.0 / 3.0) + kFloor;
  expect_column(of({0, 2, 4, 10}, 2, c),
                {-2 / deviation, 2 / deviation, -6 / deviation, 6 / deviation});
}

TEST(Advantages, ReinforcePlusPlusWhitensTheStep) {
  // Mean 4, squares 16 + 4 + 0 + 36.
  const double deviation = std::sqrt(56.0 / 3.0) + kFloor;
  expect_column(of({0, 2, 4, 10}, 2, config(ScaleRewards::kAuto, Estimator::kReinforcePlusPlus)),
                {-4 / deviation, -2 / deviation, 0, 6 / deviation});
  // With the group's mean off first: -1 1 -3 3.
  const double with_baseline = std::sqrt(20.0 / 3.0) + kFloor;
  expect_column(
      of({0, 2, 4, 10}, 2, config(ScaleRewards::kAuto, Estimator::kReinforcePlusPlusBaseline)),
      {-1 / with_baseline, 1 / with_baseline, -3 / with_baseline, 3 / with_baseline});
}

// Two rewards of very different size count alike once each is normalised.
TEST(Advantages, EveryTermNormalizedAndThenTheSum) {
  AdvantageConfig c;
  c.aggregation = Aggregation::kNormalizeThenSum;
  const std::vector<RewardTerm> terms = {term({0, 1, 1, 0}), term({300, 100, 100, 300}, 0.5)};
  const double small = std::sqrt(0.5) + kFloor;         // of a group of the first
  const double large = std::sqrt(20'000.0) + kFloor;    // of the second
  const double each = 0.5 / small - 0.5 * 100 / large;  // what a right completion gets
  const double deviation = std::sqrt(4 * each * each / 3) + kFloor;
  expect_column(sum_of(advantages(terms, 2, c)),
                {-each / deviation, each / deviation, each / deviation, -each / deviation});
}

TEST(Advantages, TermsAddUpToTheAdvantageOfTheSum) {
  const std::vector<RewardTerm> terms = {term({0, 1, 1, 0.5}, 2.0), term({3, -1, 7, 7}, 0.25)};
  Column sum;
  for (std::size_t i = 0; i < 4; ++i) {
    sum.push_back(2.0 * *terms[0].values[i] + 0.25 * *terms[1].values[i]);
  }
  for (const auto scale : {ScaleRewards::kGroup, ScaleRewards::kBatch, ScaleRewards::kNone}) {
    for (const auto estimator : {Estimator::kGrpo, Estimator::kRloo}) {
      expect_column(sum_of(advantages(terms, 2, config(scale, estimator))),
                    of(sum, 2, config(scale, estimator)));
    }
  }
}

TEST(Advantages, ATermThatDoesNotApplyLeavesTheOthers) {
  const std::vector<RewardTerm> terms = {term({0, 4}), term({5, std::nullopt})};
  const auto parts = advantages(terms, 2, config(ScaleRewards::kNone));
  expect_column(parts[1], {0, std::nullopt});
  expect_column(sum_of(parts), {-2, 2});
}

// 0.1 + 0.1 + 0.1 is not 3 * 0.1: the rounding of the mean must not become a signal.
TEST(Advantages, EqualRewardsGiveExactlyZero) {
  for (const double reward : {0.0, 0.1, -0.7, 1e6 + 0.3, 1.0 / 3.0}) {
    for (const std::size_t size : {2u, 3u, 7u, 8u, 64u}) {
      for (const auto estimator :
           {Estimator::kGrpo, Estimator::kRloo, Estimator::kReinforcePlusPlus,
            Estimator::kReinforcePlusPlusBaseline}) {
        const Column got = of(Column(size, reward), static_cast<std::int64_t>(size),
                              config(ScaleRewards::kAuto, estimator));
        for (const auto& value : got) EXPECT_EQ(value.value(), 0.0) << reward << " x " << size;
      }
    }
  }
}

TEST(Advantages, AScoreThatIsNoNumberIsABug) {
  for (const double value : {std::numeric_limits<double>::quiet_NaN(), HUGE_VAL}) {
    EXPECT_THROW(of({1.0, value}, 2, config(ScaleRewards::kGroup)), std::logic_error);
    EXPECT_THROW(of({1.0, value}, 2, config(ScaleRewards::kNone)), std::logic_error);
  }
}

}  // namespace
}  // namespace limbic::rl
