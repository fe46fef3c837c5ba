// Keys of the stages with sampled completions: what contradicts itself is refused with its place.
#include "rl/policy/policy_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "rl/chord/chord_config.h"
#include "rl/dpo/dpo_config.h"
#include "rl/grpo/grpo_config.h"
#include "rl/policy/credit.h"
#include "trainer/base/error.h"
#include "trainer/base/yaml_config.h"

namespace limbic::rl {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;

template <class Config>
Config read(const std::string& text) {
  Config config;
  YamlDocument::parse(text, "f.yaml").read(config);
  return config;
}

template <class Config = GrpoConfig>
std::string refusal(const std::string& text) {
  try {
    read<Config>("data: d\n" + text + "\n");
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(PolicyConfigKeys, DefaultsAreTrls) {
  const auto c = read<GrpoConfig>("data: d\n");
  EXPECT_EQ(c.loss.loss_type, LossType::kDapo);
  EXPECT_EQ(c.loss.importance_sampling_level, Level::kToken);
  EXPECT_EQ(c.loss.surrogate.epsilon, 0.2);
  EXPECT_FALSE(c.loss.surrogate.epsilon_high || c.loss.surrogate.delta);
  EXPECT_EQ(c.loss.kl.beta, 0.0);
  EXPECT_TRUE(c.loss.kl.bias_correction);
  EXPECT_FALSE(c.loss.correction.enabled);
  EXPECT_EQ(c.loss.top_entropy_quantile, 1.0);
  EXPECT_EQ(c.loss.entropy_coef, 0.0);
  EXPECT_EQ(c.advantage.scale(), ScaleRewards::kGroup);
  EXPECT_FALSE(c.advantage.whitens());
  EXPECT_FALSE(c.by_term());
  EXPECT_EQ(read<ChordConfig>("data: d\nsft_data: e\n").loss.loss_type, LossType::kGrpo);
}

TEST(PolicyConfigKeys, ModesOfTheCorrection) {
  const auto c = read<GrpoConfig>(
      "data: d\nvllm_importance_sampling_correction: true\n"
      "vllm_importance_sampling_mode: sequence_mask\nvllm_importance_sampling_clip_max: null\n");
  EXPECT_TRUE(c.loss.correction.enabled && c.loss.correction.mask);
  EXPECT_EQ(c.loss.correction.level, Level::kSequence);
}

TEST(PolicyConfigKeys, ContradictionsAreRefusedWithTheirPlace) {
  const std::pair<const char*, const char*> cases[] = {
      {"loss_type: luspo", "importance_sampling_level: got token with luspo, want sequence"},
      {"loss_type: cispo", "epsilon_high: got nothing with cispo"},
      {"{loss_type: cispo, epsilon_high: 5, epsilon: 0.1}", "epsilon: got a range"},
      {"{loss_type: sapo, epsilon_high: 0.3}", "epsilon_high: got a range with sapo"},
      {"{loss_type: sapo, delta: 2}", "delta: got a bound"},
      {"sapo_temperature_pos: 2", "sapo_temperature_pos: got a temperature"},
      {"delta: 1.1", "delta: got 1.1, want more than 1 + epsilon_high (1.2)"},
      {"kl_in_reward: true", "kl_in_reward: got true with beta 0"},
      {"kl_estimator: k1", "kl_estimator: got an estimator with beta 0"},
      {"{vllm_importance_sampling_clip_min: 3}", "clip_min: got 3, want less than"},
      {"{vllm_importance_sampling_correction: true, temperature: 0}", "want a temperature"},
      {"{advantage_estimator: reinforce_plus_plus, scale_rewards: group}", "scale_rewards: got"},
      {"{multi_objective_aggregation: normalize_then_sum, scale_rewards: batch}",
       "scale_rewards: got a scale with normalize_then_sum"},
      {"{multi_objective_aggregation: normalize_then_sum, advantage_estimator: rloo}",
       "advantage_estimator: got another estimator"},
      {"{multi_objective_aggregation: normalize_then_sum, beta: 0.1, kl_in_reward: true}",
       "kl_in_reward: got true with normalize_then_sum"},
      {"{advantage_estimator: reinforce_plus_plus, token_regions: {a: b}}", "token_regions: got"},
      {"top_entropy_quantile: 1.5", "top_entropy_quantile: got 1.5"},
      {"loss_type: gspo", "want one of: grpo, bnpo, dr_grpo, dapo, cispo, sapo, luspo"},
  };
  for (const auto& [text, message] : cases) {
    std::string lines = text;
    if (lines.front() == '{') {
      lines = lines.substr(1, lines.size() - 2);
      for (std::size_t at; (at = lines.find(", ")) != std::string::npos;) {
        lines.replace(at, 2, "\n");
      }
    }
    EXPECT_THAT(refusal(lines), AllOf(HasSubstr("f.yaml:"), HasSubstr(message))) << text;
  }
}

TEST(PreferenceConfigKeys, ContradictionsAreRefused) {
  EXPECT_THAT(refusal<DpoConfig>("loss_type: ipo\nlabel_smoothing: 0.1"),
              HasSubstr("label_smoothing: got smoothing with another loss_type"));
  EXPECT_THAT(refusal<DpoConfig>("label_smoothing: 0.1"), HasSubstr("want loss_type: robust"));
  EXPECT_THAT(refusal<DpoConfig>("loss_type: robust\nlabel_smoothing: 0.5"),
              HasSubstr("want less"));
  EXPECT_THAT(refusal<DpoConfig>("beta: 0"), HasSubstr("beta: got 0"));
}

rewards::RewardsConfig rewards_of(const std::string& text) {
  return read<rewards::RewardsConfig>(text);
}

TEST(ByTerm, WantsAPlainSumOfNamedNodes) {
  GrpoConfig config;
  config.advantage.aggregation = Aggregation::kNormalizeThenSum;
  const auto problem = [&](const std::string& text) {
    return by_term_problem(config, rewards_of(text));
  };
  const std::string terms =
      "terms: [{name: a, type: length, min: 1}, {name: b, type: regex, pattern: x}]";
  EXPECT_THAT(problem("graph: {combine: sum, " + terms + "}"), IsEmpty());
  EXPECT_THAT(problem("workers: ['h:1']"), HasSubstr("multi_objective_aggregation: got rewards"));
  EXPECT_THAT(problem("graph: {combine: product, " + terms + "}"), HasSubstr("want combine: sum"));
  EXPECT_THAT(problem("graph: {combine: sum, rescale: true, " + terms + "}"),
              HasSubstr("without rescale"));
  EXPECT_THAT(problem("graph: {type: length, min: 1}"), HasSubstr("want combine: sum"));
  EXPECT_THAT(problem("graph: {combine: sum, terms: [{combine: max, " + terms + "}]}"),
              HasSubstr("without a name"));
  config.token_regions = {{"c", "answer"}};
  EXPECT_THAT(
      problem("graph: {combine: sum, " + terms + "}"),
      HasSubstr("token_regions: got 'c', want one of the terms of the outermost sum: a, b"));
  config.token_regions = {{"b", "answer"}};
  EXPECT_THAT(problem("graph: {combine: sum, " + terms + "}"), IsEmpty());
  // Without such settings everything fits.
  EXPECT_THAT(by_term_problem(GrpoConfig(), rewards_of("workers: ['h:1']")), IsEmpty());
}

}  // namespace
}  // namespace limbic::rl
