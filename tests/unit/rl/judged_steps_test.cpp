#include "rl/eval/judged_steps.h"

#include <gtest/gtest.h>

namespace limbic::eval {
namespace {

StepScores of(const std::string& line) { return judge_steps({line}).mean.value(); }

bool readable(const std::string& line) { return judge_steps({line}).judged == 1; }

TEST(GoldenNumbers, JudgedSteps) {
  const StepScores three = of("Step 1: 1/1, Step 2: 0/1, Step 3: 2/4");
  EXPECT_EQ(three.recognition, 0.5);
  EXPECT_EQ(three.reasoning, 0.5);
  EXPECT_EQ(three.cot, 0.5);
  const StepScores one = of("Step 1: 1/1");
  EXPECT_EQ(one.recognition, 1.0);
  EXPECT_EQ(one.reasoning, 0.0);
  EXPECT_EQ(one.cot, 0.5);
}

TEST(JudgedSteps, AreReadFromProse) {
  EXPECT_EQ(of("The scores:\nstep1 : 0.5 / 1\nStep 2: 3/4.").recognition, 0.75);
  EXPECT_EQ(of("Step 1: 0.5/1, Step 2: 3/4").reasoning, 0.5);
}

TEST(JudgedSteps, AreSkippedWhenTheyCannotBeRead) {
  EXPECT_FALSE(readable(""));
  EXPECT_FALSE(readable("1/1, 0/1"));
  EXPECT_FALSE(readable("Step 2: 1/1"));
  EXPECT_FALSE(readable("Step 1: 1/1, Step 3: 1/1"));
  EXPECT_FALSE(readable("Step 1: 1/1, Step 1: 1/1"));
  EXPECT_FALSE(readable("Step 1: 2/1"));
  EXPECT_FALSE(readable("Step 1: 0/0"));
  EXPECT_FALSE(readable("Step 1: 1/" + std::string(400, '9')));
  EXPECT_FALSE(judge_steps({"", "Step"}).mean.has_value());
}

TEST(JudgedSteps, AverageOverWhatWasJudged) {
  const JudgedSteps steps = judge_steps({"Step 1: 1/2, Step 2: 1/1", "?", "Step 1: 0/1"});
  EXPECT_EQ(steps.judged, 2);
  EXPECT_EQ(steps.skipped, 1);
  EXPECT_EQ(steps.mean->recognition, 0.5);
  EXPECT_EQ(steps.mean->reasoning, 0.25);
  EXPECT_EQ(steps.mean->cot, 0.375);
}

}  // namespace
}  // namespace limbic::eval
