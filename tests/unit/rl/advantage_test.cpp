#include "rl/advantage.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace limbic::rl {
namespace {

constexpr double kFloor = 1e-4;
constexpr double kNoNumber = std::numeric_limits<double>::quiet_NaN();

GroupRewards scored(std::vector<double> rewards) {
  return {.outcome = std::vector<Outcome>(rewards.size(), Outcome::kScored),
          .reward = std::move(rewards)};
}

TEST(GroupAdvantages, DividesByTheDeviationOfTheGroup) {
  // Mean 2, deviations -2 -1 0 3: squares 14, over n - 1 = 3.
  const Advantages out = group_advantages(scored({0, 1, 2, 5}), ScaleRewards::kGroup, 0.0);
  const double deviation = std::sqrt(14.0 / 3.0);
  EXPECT_EQ(out.scored, 4);
  EXPECT_DOUBLE_EQ(out.mean, 2.0);
  EXPECT_DOUBLE_EQ(out.deviation, deviation);
  const double want[] = {-2, -1, 0, 3};
  for (std::size_t i = 0; i < 4; ++i) {
    ASSERT_TRUE(out.value[i].has_value());
    EXPECT_DOUBLE_EQ(*out.value[i], want[i] / (deviation + kFloor));
  }
}

TEST(GroupAdvantages, WithoutScalingIsTheDifferenceToTheMean) {
  const Advantages out = group_advantages(scored({1, 0, 0, 1}), ScaleRewards::kNone, 7.0);
  const double want[] = {0.5, -0.5, -0.5, 0.5};
  for (std::size_t i = 0; i < 4; ++i) EXPECT_DOUBLE_EQ(out.value[i].value(), want[i]);
  EXPECT_DOUBLE_EQ(out.deviation, std::sqrt(1.0 / 3.0));
}

TEST(GroupAdvantages, CompletionsWithoutAScoreTakeNoPart) {
  GroupRewards group{
      .outcome = {Outcome::kScored, Outcome::kFailed, Outcome::kScored, Outcome::kNotApplicable},
      .reward = {1.0, kNoNumber, 4.0, -100.0}};
  const Advantages out = group_advantages(group, ScaleRewards::kGroup, 0.0);
  EXPECT_EQ(out.scored, 2);
  EXPECT_DOUBLE_EQ(out.mean, 2.5);
  EXPECT_DOUBLE_EQ(out.deviation, std::sqrt(4.5));
  EXPECT_DOUBLE_EQ(out.value[0].value(), -1.5 / (std::sqrt(4.5) + kFloor));
  EXPECT_DOUBLE_EQ(out.value[2].value(), 1.5 / (std::sqrt(4.5) + kFloor));
  EXPECT_FALSE(out.value[1].has_value());
  EXPECT_FALSE(out.value[3].has_value());
}

TEST(GroupAdvantages, NothingScoredIsAnEmptyGroup) {
  const GroupRewards group{.outcome = {Outcome::kFailed, Outcome::kNotApplicable},
                           .reward = {kNoNumber, kNoNumber}};
  const Advantages out = group_advantages(group, ScaleRewards::kGroup, 0.0);
  EXPECT_EQ(out.scored, 0);
  EXPECT_EQ(out.mean, 0.0);
  ASSERT_EQ(out.value.size(), 2u);
  EXPECT_FALSE(out.value[0].has_value() || out.value[1].has_value());
}

TEST(GroupAdvantages, OneScoredAloneHasAdvantageZero) {
  const GroupRewards group{.outcome = {Outcome::kFailed, Outcome::kScored},
                           .reward = {kNoNumber, 3.0}};
  for (const auto scale : {ScaleRewards::kGroup, ScaleRewards::kBatch, ScaleRewards::kNone}) {
    const Advantages out = group_advantages(group, scale, 0.5);
    EXPECT_EQ(out.value[1].value(), 0.0);
    EXPECT_EQ(out.deviation, 0.0);
  }
}

// 0.1 + 0.1 + 0.1 is not 3 * 0.1: the rounding of the mean must not become a signal.
TEST(GroupAdvantages, EqualRewardsGiveExactlyZero) {
  for (const double reward : {0.0, 0.1, -0.7, 1e6 + 0.3, 1.0 / 3.0}) {
    for (const std::size_t size : {2u, 3u, 7u, 8u, 64u}) {
      const auto group = scored(std::vector<double>(size, reward));
      for (const auto scale : {ScaleRewards::kGroup, ScaleRewards::kBatch, ScaleRewards::kNone}) {
        const Advantages out = group_advantages(group, scale, 0.5);
        EXPECT_EQ(out.deviation, 0.0) << reward << " x " << size;
        EXPECT_DOUBLE_EQ(out.mean, reward);
        for (const auto& value : out.value) EXPECT_EQ(value.value(), 0.0) << reward;
      }
    }
  }
}

TEST(GroupAdvantages, SumToZero) {
  const Advantages out =
      group_advantages(scored({0.3, 12.5, -7.25, 0.1, 0.1}), ScaleRewards::kGroup, 0.0);
  double sum = 0.0;
  for (const auto& value : out.value) sum += value.value();
  EXPECT_NEAR(sum, 0.0, 1e-14);
}

TEST(GroupAdvantages, ScoreThatIsNoNumberIsABug) {
  EXPECT_THROW(group_advantages(scored({1.0, kNoNumber}), ScaleRewards::kGroup, 0.0),
               std::logic_error);
  EXPECT_THROW(group_advantages(scored({1.0, INFINITY}), ScaleRewards::kNone, 0.0),
               std::logic_error);
}

TEST(BatchScaling, DividesEveryGroupByOneDeviation) {
  GroupRewards first = scored({0, 2});
  GroupRewards second = scored({4, 10, 99});
  second.outcome[2] = Outcome::kFailed;
  const std::vector<GroupRewards> groups = {first, second};
  const std::vector<double> moments = reward_moments(groups);
  EXPECT_EQ(moments, (std::vector<double>{4, 16, 120}));
  // Mean 4: squares 16 + 4 + 0 + 36 = 56, over 3.
  const double deviation = deviation_of_moments(moments);
  EXPECT_DOUBLE_EQ(deviation, std::sqrt(56.0 / 3.0));
  const Advantages out = group_advantages(second, ScaleRewards::kBatch, deviation);
  EXPECT_DOUBLE_EQ(out.value[0].value(), -3.0 / (deviation + kFloor));
  EXPECT_DOUBLE_EQ(out.value[1].value(), 3.0 / (deviation + kFloor));
  EXPECT_DOUBLE_EQ(out.deviation, std::sqrt(18.0));
}

TEST(BatchScaling, MomentsOfRanksAddUp) {
  const std::vector<GroupRewards> all = {scored({0, 2}), scored({4, 10}), scored({1})};
  const auto whole = reward_moments(all);
  std::vector<double> sum(3, 0.0);
  for (const GroupRewards& group : all) {
    const auto part = reward_moments(std::span(&group, 1));
    for (std::size_t i = 0; i < 3; ++i) sum[i] += part[i];
  }
  EXPECT_EQ(sum, whole);
}

TEST(BatchScaling, TooFewOrEqualRewardsHaveNoDeviation) {
  EXPECT_EQ(deviation_of_moments(std::vector<double>{0, 0, 0}), 0.0);
  EXPECT_EQ(deviation_of_moments(std::vector<double>{1, 5, 25}), 0.0);
  const std::vector<GroupRewards> equal = {scored({0.1, 0.1, 0.1}), scored({0.1, 0.1, 0.1, 0.1})};
  EXPECT_LT(deviation_of_moments(reward_moments(equal)), 1e-8);
}

}  // namespace
}  // namespace limbic::rl
