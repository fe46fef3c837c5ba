#include "rewards/terms/set.h"

#include <gtest/gtest.h>

#include "tests/unit/rewards/graph_of.h"

namespace limbic::rewards {
namespace {

const std::string kGold = "[\"AU1\",\"AU4\",\"AU12\"]";

Score set(const std::string& options, const std::string& text, const std::string& gold = kGold) {
  return score_of("{type: set, column: aus" + options + "}", completion(text, {{"aus", gold}}));
}
double value(const std::string& options, const std::string& text, const std::string& gold = kGold) {
  return set(options, text, gold).reward.value();
}

// Named {1, 4, 6, 7}, gold {1, 4, 12}: precision 2/4, recall 2/3.
const std::string kText = "brows (AU1, AU4), cheeks (AU6) and lids (AU7), AU4 again";

TEST(Set, MeasuresByHand) {
  EXPECT_NEAR(value("", kText), 4.0 / 7.0, 1e-12);
  EXPECT_NEAR(value(", measure: precision", kText), 0.5, 1e-12);
  EXPECT_NEAR(value(", measure: recall", kText), 2.0 / 3.0, 1e-12);
  EXPECT_NEAR(value(", measure: jaccard", kText), 2.0 / 5.0, 1e-12);
  // (1 + 4) (1/2) (2/3) / (4/2 + 2/3) = (5/3) / (8/3)
  EXPECT_NEAR(value(", measure: fbeta, beta: 2", kText), 5.0 / 8.0, 1e-12);
  EXPECT_EQ(value("", "AU9"), 0.0);
}

TEST(Set, AffineMapsTheMeasure) {
  EXPECT_NEAR(value(", affine: [2, -1]", kText), 1.0 / 7.0, 1e-12);
  EXPECT_EQ(value(", affine: [2, -1]", "nothing named"), -1.0);
  EXPECT_EQ(value(", affine: [2, -1]", "AU1 AU4 AU12"), 1.0);
}

TEST(Set, SpellingsOfActionUnitsAreOne) {
  EXPECT_EQ(value("", "AU01 AU04 AU12"), 1.0);
  EXPECT_EQ(value("", "AU1 AU4", "[1, \"04\"]"), 1.0);
  EXPECT_EQ(value("", "AU1 AU4", "AU01, AU4"), 1.0);
}

TEST(Set, EmptySetsHaveTheirOwnValues) {
  EXPECT_EQ(set("", kText, "[]").status, Status::kNotApplicable);
  EXPECT_EQ(value(", empty_gold: 0.5, affine: [2, -1]", kText, "[]"), 0.0);
  EXPECT_EQ(value(", empty_prediction: 0.25", "none"), 0.25);
  EXPECT_EQ(score_of("{type: set, column: aus}", completion(kText)).status, Status::kNotApplicable);
}

TEST(Set, ARegionLimitsWhatIsNamed) {
  const std::string text = "<think>AU1 AU4</think><answer>AU12</answer>";
  EXPECT_NEAR(value(", region: think, measure: recall", text), 2.0 / 3.0, 1e-12);
  EXPECT_EQ(value(", region: other", text), 0.0);
}

TEST(Set, AVocabularyFindsWholeWordsLongestFirst) {
  const std::string vocabulary =
      ", vocabulary: [reflection, complex reflection, question, advice], measure: jaccard";
  EXPECT_EQ(value(vocabulary, "Complex Reflection", "complex reflection"), 1.0);
  EXPECT_EQ(value(vocabulary, "Complex reflection", "reflection"), 0.0);
  EXPECT_EQ(value(vocabulary, "questions, advice", "[\"question\",\"advice\"]"), 0.5);
}

// Named {1, 4}, gold {1, 12} with w(1) = 3: hit 3, named 4, gold 4.
TEST(Set, ElementWeightsCountElements) {
  EXPECT_NEAR(value(", element_weights: {AU01: 3}", "AU1 AU4", "[\"AU1\",\"AU12\"]"), 0.75, 1e-12);
}

// Gold {joy, sadness}, named {joy, anger, fear}: precision 1/3, recall 1/2.
TEST(GoldenNumbers, MappedSetF1) {
  const std::string gold = "[\"happy\",\"sad\"]";
  const std::string text = "Delighted and cheerful, then furious, scared.";
  const std::string aliases = ", aliases: ekman";
  EXPECT_NEAR(value(aliases + ", measure: precision", text, gold), 1.0 / 3.0, 1e-12);
  EXPECT_NEAR(value(aliases + ", measure: recall", text, gold), 0.5, 1e-12);
  EXPECT_NEAR(value(aliases, text, gold), 0.4, 1e-12);
}

TEST(Set, AliasesMapWhatAPatternOrAVocabularyFinds) {
  const std::string aliases = ", aliases: {joy: [happy, glad], fear: scared}";
  EXPECT_EQ(value(aliases + ", vocabulary: [happy, scared]", "glad, Scared", "[\"fear\"]"), 1.0);
  EXPECT_EQ(value(aliases + ", pattern: \"#(\\\\w+)\"", "happy #glad", "[\"joy\"]"), 1.0);
  EXPECT_NEAR(value(aliases + ", element_weights: {happy: 3}", "glad scared", "[\"joy\"]"),
              2 * 0.75 / 1.75, 1e-12);
}

TEST(Set, RefusesWrongOptions) {
  EXPECT_EQ(config_error_of("{type: set, column: c, affine: [1]}"),
            "run.yaml:1: graph.affine: got [1], want [factor, offset]");
  EXPECT_EQ(config_error_of("{type: set, column: c, empty_gold: never}"),
            "run.yaml:1: graph.empty_gold: got \"never\", want not_applicable or a number");
  EXPECT_NE(config_error_of("{type: set, column: c, pattern: \"a(\"}").find("regular expression"),
            std::string::npos);
  EXPECT_NE(config_error_of("{type: set, column: c, measure: f2}").find("want one of: f1"),
            std::string::npos);
}

}  // namespace
}  // namespace limbic::rewards
