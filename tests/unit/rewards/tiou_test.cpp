#include "rewards/terms/tiou.h"

#include <gtest/gtest.h>

#include "tests/unit/rewards/graph_of.h"

namespace limbic::rewards {
namespace {

Score score(const std::string& text, const std::string& gold = "[30, 36]",
            const std::string& options = "") {
  return score_of("{type: tiou, column: span" + options + "}", completion(text, {{"span", gold}}));
}
double value(const std::string& text, const std::string& gold = "[30, 36]",
             const std::string& options = "") {
  return score(text, gold, options).reward.value();
}

// Shared 30 to 34, together 27 to 36.
TEST(GoldenNumbers, TemporalOverlap) {
  EXPECT_DOUBLE_EQ(value("[27, 34]"), 4.0 / 9.0);
  EXPECT_EQ(value("[1, 2]"), 0.0);
}

TEST(Tiou, OfOneInsideTheOtherIsTheirRatio) {
  EXPECT_DOUBLE_EQ(value("31 to 33"), 2.0 / 6.0);
  EXPECT_DOUBLE_EQ(value("20.5 - 40.5"), 6.0 / 20.0);
  EXPECT_EQ(value("30-36"), 1.0);
  EXPECT_EQ(value("36, 40"), 0.0);  // they touch
}

TEST(Tiou, ReadsClockTimes) {
  EXPECT_EQ(value("from 00:30 to 0:00:36"), 1.0);
  EXPECT_DOUBLE_EQ(value("1:02:03 to 1:02:07.5", "[\"01:02:03\", \"01:02:06\"]"), 3.0 / 4.5);
  EXPECT_EQ(value("27s-34s"), value("[27, 34]"));
}

TEST(Tiou, TakesTheLastTwoTimes) {
  EXPECT_EQ(value("Scene2 of 10 goes from 30 to 36."), 1.0);
  EXPECT_EQ(
      value("<think>1 to 5</think><answer>30 to 36</answer> of 90", "30-36", ", region: answer"),
      1.0);
}

TEST(Tiou, AnAnswerThatIsNoSpanIsWorthNothing) {
  EXPECT_EQ(value("at the end"), 0.0);
  EXPECT_EQ(value("at 33"), 0.0);
  EXPECT_EQ(value("36 to 30"), 0.0);
  EXPECT_EQ(value("33 to 33"), 0.0);
  EXPECT_EQ(value("30 to 36", "[30, 36]", ", region: answer"), 0.0);
}

TEST(Tiou, NeedsAGoldSpan) {
  EXPECT_EQ(score_of("{type: tiou, column: span}", completion("1 to 2")).status,
            Status::kNotApplicable);
  for (const char* gold : {"[30]", "[36, 30]", "[30, 36, 40]", "[30, 30]", "none"}) {
    const Score failed = score("30 to 36", gold);
    EXPECT_EQ(failed.status, Status::kFailed) << gold;
    EXPECT_EQ(failed.components.at(0).detail, std::string("column 'span': got '") + gold +
                                                  "', want [start, end] with an end behind the "
                                                  "start");
  }
  EXPECT_EQ(config_error_of("{type: tiou}"),
            "run.yaml:1: graph.column: got nothing, want the column of the gold times");
}

}  // namespace
}  // namespace limbic::rewards
