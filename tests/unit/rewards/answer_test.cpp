#include "rewards/terms/answer.h"

#include <gtest/gtest.h>

#include "tests/unit/rewards/graph_of.h"

namespace limbic::rewards {
namespace {

double with_gold(const std::string& term, const std::string& text, const std::string& gold) {
  return reward_of("{" + term + "}", completion(text, {{"gold", gold}}));
}

TEST(Choice, ReadsTheKeyHoweverItIsWritten) {
  for (const char* text : {"B", " (b) ", "B. sad", "B) sad", "**B**", "I think so.\nAnswer: B",
                           "Answer: A? No.\nAnswer: [B]", "The answer is B."}) {
    EXPECT_EQ(with_gold("type: choice, column: gold", text, "B"), 1.0) << text;
  }
  for (const char* text : {"A", "Because B", "Answer: C", ""}) {
    EXPECT_EQ(with_gold("type: choice, column: gold", text, "B"), 0.0) << text;
  }
}

TEST(Choice, ComparesTextsWithoutAKey) {
  EXPECT_EQ(with_gold("type: choice, column: gold", "Answer: catastrophizing", "Catastrophizing"),
            1.0);
  EXPECT_EQ(with_gold("type: choice, column: gold, region: answer", "<answer>C</answer>",
                      "[\"B\",\"C\"]"),
            1.0);
}

TEST(Number, TakesTheLastNumberOfTheRegion) {
  EXPECT_EQ(with_gold("type: number, column: gold", "first 3, then 42.", "42"), 1.0);
  EXPECT_EQ(with_gold("type: number, column: gold", "1,234.5", "1234.5"), 1.0);
  EXPECT_EQ(with_gold("type: number, column: gold", "it is -7", "-7"), 1.0);
  EXPECT_EQ(with_gold("type: number, column: gold", "2.5e-1", "0.25"), 1.0);
  EXPECT_EQ(with_gold("type: number, column: gold", "none", "0"), 0.0);
  EXPECT_EQ(with_gold("type: number, column: gold, region: a", "3", "3"), 0.0);
}

TEST(Number, IsRightWithinTheTolerance) {
  EXPECT_EQ(with_gold("type: number, column: gold, tolerance: 0.5", "3.5", "3"), 1.0);
  EXPECT_EQ(with_gold("type: number, column: gold, tolerance: 0.5", "3.6", "3"), 0.0);
}

TEST(Number, AGoldThatIsNoNumberFails) {
  const Score score =
      score_of("{type: number, column: gold}", completion("3", {{"gold", "three"}}));
  EXPECT_EQ(score.status, Status::kFailed);
  EXPECT_FALSE(score.reward.has_value());
}

TEST(Regex, SearchesOrWantsTheWhole) {
  EXPECT_EQ(reward_of("{type: regex, pattern: \"joy|fear\"}", completion("some joy here")), 1.0);
  EXPECT_EQ(reward_of("{type: regex, pattern: \"joy|fear\", full: true}", completion("some joy")),
            0.0);
  EXPECT_EQ(reward_of("{type: regex, pattern: \"joy|fear\", full: true}", completion(" fear ")),
            1.0);
}

TEST(Regex, MayComeFromTheRow) {
  EXPECT_EQ(with_gold("type: regex, column: gold", "abc", "a.c"), 1.0);
  EXPECT_EQ(score_of("{type: regex, column: gold}", completion("abc")).status,
            Status::kNotApplicable);
  EXPECT_EQ(score_of("{type: regex, column: gold}", completion("abc", {{"gold", "a("}})).status,
            Status::kFailed);
}

TEST(Regex, APatternThatGivesUpFails) {
  EXPECT_EQ(score_of("{type: regex, pattern: \"(a+)+$\"}", completion(std::string(5000, 'a') + "b"))
                .status,
            Status::kFailed);
}

}  // namespace
}  // namespace limbic::rewards
