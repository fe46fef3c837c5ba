#include "rewards/terms/length.h"

#include <gtest/gtest.h>

#include "tests/unit/rewards/graph_of.h"

namespace limbic::rewards {
namespace {

TEST(Length, CountsTheUnitInclusively) {
  EXPECT_EQ(reward_of("{type: length, min: 2, max: 3}", of_tokens(1)), 0.0);
  EXPECT_EQ(reward_of("{type: length, min: 2, max: 3}", of_tokens(2)), 1.0);
  EXPECT_EQ(reward_of("{type: length, min: 2, max: 3}", of_tokens(3)), 1.0);
  EXPECT_EQ(reward_of("{type: length, min: 2, max: 3}", of_tokens(4)), 0.0);
  EXPECT_EQ(reward_of("{type: length, max: 2, unit: words}", completion("two  words\n")), 1.0);
  EXPECT_EQ(reward_of("{type: length, min: 3, max: 3, unit: characters}", completion("äöü")), 1.0);
}

TEST(Length, LooksAtARegion) {
  const Completion c = completion("<think>one two three</think> four");
  EXPECT_EQ(reward_of("{type: length, min: 3, max: 3, unit: words, region: think}", c), 1.0);
  EXPECT_EQ(reward_of("{type: length, min: 0, unit: words, region: answer}", c), 0.0);
}

TEST(Length, FailsWithoutIdsToCount) {
  EXPECT_EQ(score_of("{type: length, max: 3}", completion("words")).status, Status::kFailed);
}

TEST(Length, RefusesBoundsThatCannotHold) {
  EXPECT_EQ(config_error_of("{type: length, min: 4, max: 3}"),
            "run.yaml:1: graph.max: got 3, want at least min (4)");
  EXPECT_NE(
      config_error_of("{type: length, max: 3, region: think}").find("tokenizer: MODEL_FOLDER"),
      std::string::npos);
  EXPECT_NE(config_error_of("{type: length}").find("got neither min nor max"), std::string::npos);
}

TEST(Overlong, FallsLinearlyInsideTheBuffer) {
  const std::string graph = "{type: overlong, max_length: 100, buffer: 20}";
  EXPECT_EQ(reward_of(graph, of_tokens(80)), 0.0);
  EXPECT_EQ(reward_of(graph, of_tokens(85)), -0.25);
  EXPECT_EQ(reward_of(graph, of_tokens(100)), -1.0);
  EXPECT_EQ(reward_of(graph, of_tokens(500)), -1.0);
}

// Five words, trigrams abc bca cab: none repeated; "a a a a a": 3 trigrams, 1 distinct.
TEST(Repetition, IsTheShareOfRepeatedNgrams) {
  EXPECT_EQ(reward_of("{type: repetition}", completion("a b c a b")), 0.0);
  EXPECT_NEAR(reward_of("{type: repetition}", completion("a A a a A")), -2.0 / 3.0, 1e-12);
  EXPECT_NEAR(reward_of("{type: repetition, ngram: 1, max_penalty: -2}", completion("a b a b")),
              -1.0, 1e-12);
  EXPECT_EQ(reward_of("{type: repetition}", completion("a a")), 0.0);
}

}  // namespace
}  // namespace limbic::rewards
