#include "rl/policy/rollout_metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/unit/parallel/ranks.h"

namespace limbic::rl {
namespace {

using rewards::Status;

rewards::Component component(const std::string& name, std::optional<double> value) {
  return {.name = name,
          .status = value ? Status::kScored : Status::kNotApplicable,
          .value = value,
          .detail = ""};
}

// Two groups of three. Group 0: rewards 1, 2 and 6; group 1: 4 and 4, and a failure.
std::vector<CompletionRecord> records() {
  return {{0, 4, false, Status::kScored, 1.0, {component("a", 0.5), component("b", 1.0)}},
          {0, 10, true, Status::kScored, 2.0, {component("a", std::nullopt), component("b", 3.0)}},
          {0, 6, false, Status::kScored, 6.0, {component("a", 1.5), component("b", 2.0)}},
          {1, 2, false, Status::kScored, 4.0, {component("b", 2.0)}},
          {1, 10, true, Status::kScored, 4.0, {component("b", 2.0), component("c", std::nullopt)}},
          {1, 5, false, Status::kFailed, 0.0, {}}};
}

TEST(RolloutMetrics, ByHand) {
  const Json got = rollout_metrics(records());
  const std::map<std::string, double> want = {
      {"completions/mean_length", 37.0 / 6.0},
      {"completions/min_length", 2},
      {"completions/max_length", 10},
      {"completions/mean_terminated_length", 17.0 / 4.0},
      {"completions/min_terminated_length", 2},
      {"completions/max_terminated_length", 6},
      {"completions/clipped_ratio", 2.0 / 6.0},
      {"reward", 17.0 / 5.0},
      {"reward_std", std::sqrt(3.8)},  // of 1, 2, 6, 4 and 4
      {"frac_reward_zero_std", 0.5},
      {"rewards/a/mean", 1.0},
      {"rewards/a/std", std::sqrt(0.5)},
      {"rewards/a/applicable", 2.0 / 6.0},
      {"rewards/b/mean", 2.0},
      {"rewards/b/std", std::sqrt(0.5)},
      {"rewards/b/applicable", 5.0 / 6.0},
      {"rewards/c/applicable", 0.0},
      {"rewards/failed", 1},
      {"rewards/not_applicable", 0}};
  for (const auto& [name, value] : want) {
    ASSERT_TRUE(got.contains(name)) << name;
    EXPECT_NEAR(got[name].get<double>(), value, 1e-12) << name;
  }
  EXPECT_EQ(got.size(), want.size()) << got.dump(1);
}

TEST(RolloutMetrics, NothingScoredHasNoReward) {
  std::vector<CompletionRecord> all = {{0, 3, true, Status::kNotApplicable, 0.0, {}},
                                       {0, 3, true, Status::kFailed, 0.0, {}}};
  const Json got = rollout_metrics(all);
  EXPECT_TRUE(got["reward"].is_null());
  EXPECT_EQ(got["rewards/failed"], 1);
  EXPECT_EQ(got["rewards/not_applicable"], 1);
  EXPECT_EQ(got["completions/clipped_ratio"], 1.0);
  EXPECT_EQ(got["completions/mean_terminated_length"], 0.0);
  EXPECT_EQ(rollout_metrics({})["completions/mean_length"], 0.0);
}

// Sums of squares would leave 1e-9 here.
TEST(RolloutMetrics, EqualRewardsHaveNoDeviation) {
  for (const double reward : {0.1, 0.3, 1.0 / 3.0, 0.7, 1e6 + 0.1, -2.9}) {
    std::vector<CompletionRecord> all;
    for (int i = 0; i < 24; ++i) {
      all.push_back({i / 8, 1, false, Status::kScored, reward, {component("a", reward)}});
    }
    const Json got = rollout_metrics(all);
    EXPECT_EQ(got["frac_reward_zero_std"], 1.0) << reward;
    EXPECT_EQ(got["reward_std"], 0.0) << reward;
    EXPECT_EQ(got["rewards/a/std"], 0.0) << reward;
    EXPECT_EQ(got["reward"], reward);
  }
}

TEST(RolloutMetrics, SmallDifferencesOfLargeRewardsCount) {
  std::vector<CompletionRecord> all;
  for (const double reward : {1e9, 1e9 + 1.0, 1e9 + 2.0}) {
    all.push_back({0, 1, false, Status::kScored, reward, {}});
  }
  EXPECT_NEAR(rollout_metrics(all)["reward_std"].get<double>(), 1.0, 1e-6);
}

Trajectory trajectory_of(const CompletionRecord& record) {
  Trajectory t{.prompt = record.group, .truncated = record.truncated};
  t.ids.resize(static_cast<std::size_t>(record.length));
  t.score.status = record.status;
  if (record.status == Status::kScored) t.score.reward = record.reward;
  t.score.components = record.components;
  return t;
}

TEST(GatherRecords, EveryRankGetsAllInRankOrder) {
  const std::vector<CompletionRecord> all = records();
  for (const std::size_t ranks : {1u, 2u, 4u}) {
    parallel::run_ranks(static_cast<int>(ranks), [&](parallel::Communicator& c) {
      Rollout mine;  // the last of four ranks has none
      const std::size_t share = (all.size() + ranks - 1) / ranks;
      for (std::size_t i = 0; i < all.size(); ++i) {
        if (i / share == static_cast<std::size_t>(c.rank())) {
          mine.trajectories.push_back(trajectory_of(all[i]));
        }
      }
      const auto got = gather_records(c, mine);
      ASSERT_EQ(got.size(), all.size());
      for (std::size_t i = 0; i < all.size(); ++i) {
        EXPECT_EQ(got[i].group, all[i].group);
        EXPECT_EQ(got[i].length, all[i].length);
        EXPECT_EQ(got[i].truncated, all[i].truncated);
        EXPECT_EQ(got[i].status, all[i].status);
        EXPECT_EQ(got[i].reward, all[i].reward);
        EXPECT_EQ(got[i].components, all[i].components);
      }
      EXPECT_EQ(rollout_metrics(got), rollout_metrics(all));
    });
  }
}

}  // namespace
}  // namespace limbic::rl
