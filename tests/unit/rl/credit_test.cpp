#include "rl/policy/credit.h"

#include <gtest/gtest.h>

#include <cmath>

#include "data/row_plan.h"
#include "tests/unit/parallel/ranks.h"
#include "trainer/base/yaml_config.h"

namespace limbic::rl {
namespace {

using rewards::Status;

const data::Tokenizer& tokenizer() {
  static const data::Tokenizer loaded =
      data::Tokenizer::load(LIMBIC_SOURCE_DIR "/tests/unit/template/golden/model");
  return loaded;
}

rewards::RewardsConfig rewards_of(const std::string& text) {
  rewards::RewardsConfig config;
  YamlDocument::parse(text, "f.yaml").read(config);
  return config;
}

constexpr const char* kTwoTerms =
    "graph: {combine: sum, terms: [{name: format, type: length, min: 1, weight: 0.5}, {name: "
    "right, "
    "type: regex, pattern: x}]}";

Trajectory scored(const std::string& text, std::optional<double> format,
                  std::optional<double> right) {
  Trajectory t;
  t.ids = tokenizer().encode(text);
  t.sampled_logprobs.assign(t.ids.size(), -1.0f);
  t.ref_logprobs.assign(t.ids.size(), -1.5f);
  const auto component = [&](const char* name, std::optional<double> value) {
    t.score.components.push_back({.name = name,
                                  .status = value ? Status::kScored : Status::kNotApplicable,
                                  .value = value,
                                  .detail = ""});
  };
  component("format", format);
  component("right", right);
  t.score.status = Status::kScored;
  t.score.reward = 0.5 * format.value_or(0.0) + right.value_or(0.0);
  return t;
}

PolicyConfig groups_of_two() {
  PolicyConfig config;
  config.num_generations = 2;
  config.advantage.scale_rewards = ScaleRewards::kNone;
  return config;
}

Dropped credit(std::vector<Trajectory>& trajectories, const PolicyConfig& config,
               const std::string& rewards = kTwoTerms) {
  const auto local = parallel::make_local();
  return set_credit(*local, tokenizer(), rewards_of(rewards), config, trajectories, 0);
}

TEST(Credit, TheRewardAgainstTheGroup) {
  std::vector<Trajectory> all = {scored("a", 1, 1), scored("b", 0, 0)};
  credit(all, groups_of_two());
  EXPECT_DOUBLE_EQ(all[0].advantage.value(), 0.75);
  EXPECT_DOUBLE_EQ(all[1].advantage.value(), -0.75);
  EXPECT_TRUE(all[0].token_advantages.empty());
}

TEST(Credit, AFailureTakesItsGroupOrItselfOut) {
  std::vector<Trajectory> all = {scored("a", 1, 1), scored("b", 0, 0), scored("c", 1, 0),
                                 scored("d", 0, 0)};
  all[1].score = rewards::failed_score("right", "down");
  Dropped dropped = credit(all, groups_of_two());
  EXPECT_EQ(dropped.groups, 1);
  EXPECT_EQ(dropped.samples, 1);
  EXPECT_FALSE(all[0].advantage || all[1].advantage);
  EXPECT_DOUBLE_EQ(all[2].advantage.value(), 0.25);
  dropped = credit(all, groups_of_two(), std::string(kTwoTerms) + "\non_failure: drop_sample\n");
  EXPECT_EQ(dropped.groups, 0);
  EXPECT_DOUBLE_EQ(all[0].advantage.value(), 0.0);
  EXPECT_FALSE(all[1].advantage);
}

// k1 is 0.5 a token: the longer completion pays more.
TEST(Credit, TheKlIsTakenOffTheReward) {
  std::vector<Trajectory> all = {scored("a", 1, 1), scored("bbb", 1, 1)};
  PolicyConfig config = groups_of_two();
  config.loss.kl = {.beta = 0.2, .estimator = KlEstimator::kK1, .in_reward = true};
  credit(all, config);
  EXPECT_NEAR(all[0].advantage.value(), 0.2 * 0.5, 1e-12);
  EXPECT_NEAR(all[1].advantage.value(), -0.2 * 0.5, 1e-12);
}

TEST(Credit, ATermsAdvantageStaysInItsRegion) {
  std::vector<Trajectory> all = {scored("x<a>y</a>", 1, 1), scored("x", 0, 0)};
  PolicyConfig config = groups_of_two();
  config.token_regions = {{"right", "a"}};
  credit(all, config);
  // 0.25 from the format everywhere, 0.5 from the answer on its one token.
  std::vector<float> want(all[0].ids.size(), 0.25f);
  const std::string text = "x<a>y</a>";
  ASSERT_EQ(want.size(), text.size());
  want[4] = 0.75f;
  EXPECT_EQ(all[0].token_advantages, want);
  EXPECT_DOUBLE_EQ(all[0].advantage.value(), 0.75);
  // Without the tag the whole completion answers for it.
  EXPECT_EQ(all[1].token_advantages, std::vector<float>{-0.75f});
}

TEST(Credit, ATermThatDoesNotApplyTakesNoPart) {
  std::vector<Trajectory> all = {scored("a", 1, std::nullopt), scored("b", 0, 3)};
  PolicyConfig config = groups_of_two();
  config.advantage = {.aggregation = Aggregation::kNormalizeThenSum};
  credit(all, config);
  EXPECT_GT(all[0].advantage.value(), 0.0);  // by the format alone
  EXPECT_LT(all[1].advantage.value(), 0.0);
}

TEST(Credit, DoesNotDependOnTheRanks) {
  std::vector<Trajectory> all;
  for (int i = 0; i < 8; ++i) {
    all.push_back(scored(std::string(static_cast<std::size_t>(1 + i % 3), 'a'), std::sin(i),
                         i == 5 ? std::nullopt : std::optional<double>(std::cos(3 * i))));
  }
  std::vector<PolicyConfig> configs(4, groups_of_two());
  configs[0].advantage = {.scale_rewards = ScaleRewards::kBatch};
  configs[1].advantage = {.estimator = Estimator::kReinforcePlusPlus};
  configs[2].advantage = {.aggregation = Aggregation::kNormalizeThenSum};
  configs[3].advantage = {.estimator = Estimator::kRloo, .normalize_advantages = true};
  for (const PolicyConfig& config : configs) {
    std::vector<Trajectory> want = all;
    credit(want, config);
    for (const int ranks : {2, 4, 3}) {
      parallel::run_ranks(ranks, [&](parallel::Communicator& communicator) {
        std::vector<Trajectory> mine;
        std::vector<std::size_t> places;
        for (const std::int64_t group :
             data::shard({0, 1, 2, 3}, communicator.rank(), communicator.size())) {
          for (std::int64_t member = 0; member < 2; ++member) {
            places.push_back(static_cast<std::size_t>(2 * group + member));
            mine.push_back(all[places.back()]);
          }
        }
        set_credit(communicator, tokenizer(), rewards_of(kTwoTerms), config, mine, 0);
        for (std::size_t i = 0; i < mine.size(); ++i) {
          EXPECT_EQ(mine[i].advantage, want[places[i]].advantage);  // the same bits
        }
      });
    }
  }
}

}  // namespace
}  // namespace limbic::rl
