#include "rewards/service/wire.h"

#include <gtest/gtest.h>

#include <limits>

#include "proto/reward.pb.h"

namespace limbic::rewards {
namespace {

namespace wire = reward::v1;

wire::Score scored(double reward) {
  wire::Score score;
  score.set_status(wire::STATUS_SCORED);
  score.set_reward(reward);
  return score;
}

TEST(Wire, CarriesACompletion) {
  Completion c;
  c.key = "run/3/7/0";
  c.group = "g";
  c.prompt = {{{"role", "user"}, {"content", "hi"}}};
  c.text = "<answer>joy</answer>";
  c.ids = {1, 2, 3};
  c.truncated = true;
  c.columns = {{"label", "joy"}, {"aus", "[1,2]"}};
  wire::Sample sample;
  to_wire(c, sample);
  const Completion back = from_wire(sample);
  EXPECT_EQ(back.key, c.key);
  EXPECT_EQ(back.group, c.group);
  EXPECT_EQ(back.prompt, c.prompt);
  EXPECT_EQ(back.text, c.text);
  EXPECT_EQ(back.ids, c.ids);
  EXPECT_TRUE(back.truncated);
  EXPECT_EQ(back.columns, c.columns);
}

TEST(Wire, RepairsIllFormedUtf8) {
  Completion c;
  c.text = "a\xff";
  wire::Sample sample;
  to_wire(c, sample);
  EXPECT_EQ(sample.completion(), "a\xEF\xBF\xBD");
}

TEST(Wire, CarriesEveryOutcome) {
  const Score scores[] = {
      {Status::kScored,
       0.5,
       {{"a", Status::kScored, 0.5, "d"}, {"b", Status::kNotApplicable, {}, "n"}}},
      {Status::kNotApplicable, std::nullopt, {}},
      failed_score("judge", "timeout")};
  for (const Score& score : scores) {
    wire::Score message;
    to_wire(score, "k", message);
    EXPECT_EQ(message.key(), "k");
    EXPECT_EQ(from_wire(message), score);
  }
}

TEST(Wire, NumbersThatAreNotFiniteAreFailures) {
  for (const double number :
       {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    const Score score = from_wire(scored(number));
    EXPECT_EQ(score.status, Status::kFailed);
    EXPECT_FALSE(score.reward.has_value());
    wire::Score with_component = scored(1.0);
    wire::Component* component = with_component.add_components();
    component->set_status(wire::STATUS_SCORED);
    component->set_value(number);
    EXPECT_EQ(from_wire(with_component).status, Status::kFailed);
    EXPECT_FALSE(from_wire(with_component).components[0].value.has_value());
  }
}

TEST(Wire, WhatBreaksTheProtocolIsAFailure) {
  wire::Score no_status = scored(1.0);
  no_status.clear_status();
  wire::Score no_number = scored(1.0);
  no_number.clear_reward();
  wire::Score superfluous = scored(1.0);
  superfluous.set_status(wire::STATUS_NOT_APPLICABLE);
  wire::Score hidden_failure = scored(1.0);
  hidden_failure.add_components()->set_status(wire::STATUS_FAILED);
  for (const wire::Score& score : {no_status, no_number, superfluous, hidden_failure}) {
    EXPECT_EQ(from_wire(score).status, Status::kFailed);
    EXPECT_FALSE(from_wire(score).reward.has_value());
  }
}

}  // namespace
}  // namespace limbic::rewards
