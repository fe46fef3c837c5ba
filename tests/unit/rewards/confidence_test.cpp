#include "rewards/terms/confidence.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/unit/rewards/graph_of.h"

namespace limbic::rewards {
namespace {

std::string stating(const std::string& confidence, const std::string& answer = "joy") {
  return "<answer>" + answer + "</answer><confidence>" + confidence + "</confidence>";
}

double confidence(const std::string& options, const std::string& text) {
  return reward_of("{type: confidence, column: label, region: answer, " + options + "}",
                   completion(text, {{"label", "joy"}}));
}

TEST(Confidence, LogRule) {
  EXPECT_NEAR(confidence("rule: log", stating("0.8")), std::log(0.8), 1e-12);
  EXPECT_NEAR(confidence("rule: log", stating("0.8", "fear")), std::log(0.2), 1e-9);
  EXPECT_NEAR(confidence("rule: log", stating("1", "fear")), std::log(0.01), 1e-12);
  EXPECT_NEAR(confidence("rule: log", stating("1")), std::log(0.99), 1e-12);
  EXPECT_NEAR(confidence("rule: log, clip: 0.1, scale: 2", stating("0", "joy")), 2 * std::log(0.1),
              1e-12);
}

TEST(Confidence, BrierRule) {
  EXPECT_NEAR(confidence("rule: brier", stating("0.8")), -0.04, 1e-12);
  EXPECT_NEAR(confidence("rule: brier", stating("0.8", "fear")), -0.64, 1e-12);
}

TEST(Confidence, RlcrRule) {
  EXPECT_NEAR(confidence("rule: rlcr", stating("0.8")), 0.96, 1e-12);
  EXPECT_NEAR(confidence("rule: rlcr, scale: 0.5", stating("0.8", "fear")), -0.32, 1e-12);
}

TEST(Confidence, WhatIsNoNumberOfZeroToOneIsInvalid) {
  for (const char* text : {"1.5", "-0.1", "80%", "high", ""}) {
    EXPECT_EQ(confidence("rule: brier", stating(text)), -1.0) << text;
  }
  EXPECT_EQ(confidence("rule: rlcr, scale: 2", "<answer>joy</answer>"), -2.0);
  EXPECT_NEAR(confidence("rule: log", "<answer>joy</answer>"), std::log(0.01), 1e-12);
  EXPECT_EQ(confidence("rule: log, invalid: -5, scale: 2", "<answer>joy</answer>"), -5.0);
}

TEST(Confidence, MayAskAnotherTermForTheVerdict) {
  const std::string graph =
      "{combine: sum, terms: [{type: confidence, right: emotion, rule: brier}, "
      "{name: emotion, type: label, column: label, region: answer, class_weights: {joy: 0.5}}]}";
  const auto reward = [&](const std::string& answer) {
    return reward_of(graph, completion(stating("0.9", answer), {{"label", "joy"}}));
  };
  EXPECT_NEAR(reward("joy"), 0.5 - 0.01, 1e-12);
  EXPECT_NEAR(reward("fear"), -0.81, 1e-12);
}

TEST(Confidence, DoesNotApplyWhereTheVerdictDoesNot) {
  const std::string graph =
      "{combine: sum, terms: [{name: emotion, type: label, column: label, region: answer}, "
      "{type: confidence, right: emotion}]}";
  const Score score = score_of(graph, completion(stating("0.9")));
  EXPECT_EQ(score.status, Status::kNotApplicable);
  EXPECT_EQ(component_of(score, "confidence").status, Status::kNotApplicable);
}

TEST(Confidence, RefusesAnUnknownTerm) {
  EXPECT_EQ(config_error_of("{combine: sum, terms: [{name: emotion, type: label, column: l}, "
                            "{type: confidence, right: emotoin}]}"),
            "rewards.graph.confidence.right: got 'emotoin', want the name of another term; did you "
            "mean 'emotion'?");
  EXPECT_NE(config_error_of("{type: confidence}").find("got both or neither of right and column"),
            std::string::npos);
}

}  // namespace
}  // namespace limbic::rewards
