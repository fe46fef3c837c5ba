#include "rewards/terms/inconsistency.h"

#include <gtest/gtest.h>

#include "tests/unit/rewards/graph_of.h"

namespace limbic::rewards {
namespace {

Score judged(const std::string& options, const std::string& think, const std::string& answer) {
  return score_of("{type: inconsistency" + options + "}",
                  completion("<think>" + think + "</think><answer>" + answer + "</answer>"));
}

TEST(Inconsistency, ReasoningMustEndWithTheAnswersEmotion) {
  EXPECT_EQ(judged("", "They sound sad.", "sadness").reward, 1.0);
  EXPECT_EQ(judged("", "They sound sad.", "joy").reward, 0.0);
  EXPECT_EQ(judged("", "At first happy, in the end Heartbroken.", "sadness").reward, 1.0);
}

TEST(Inconsistency, NegatedEmotionsDoNotCount) {
  EXPECT_EQ(judged("", "Clearly anger rather than sadness.", "angry").reward, 1.0);
  EXPECT_EQ(judged("", "This is grief, not really a joyful text.", "sadness").reward, 1.0);
  EXPECT_EQ(judged("", "She isn't happy.", "joy").status, Status::kNotApplicable);
}

TEST(Inconsistency, DoesNotApplyWithoutSomethingToCompare) {
  EXPECT_EQ(judged("", "No idea what this is.", "joy").status, Status::kNotApplicable);
  EXPECT_EQ(judged("", "They sound sad.", "42").status, Status::kNotApplicable);
  EXPECT_EQ(score_of("{type: inconsistency}", completion("joy")).status, Status::kNotApplicable);
}

TEST(Inconsistency, TakesItsOwnAliases) {
  EXPECT_EQ(judged(", aliases: {a: [alpha], b: [beta]}", "It is alpha", "b").reward, 0.0);
  EXPECT_EQ(judged(", aliases: {a: [alpha], b: [beta]}", "It is alpha", "A").reward, 1.0);
}

TEST(Inconsistency, ActionUnitsMustFitTheEmotion) {
  const std::string units = ", between: au_emotion";
  EXPECT_EQ(judged(units, "cheeks (AU6), lip corners (AU12)", "happiness").reward, 1.0);
  EXPECT_EQ(judged(units, "cheeks (AU06), lip corners (AU12)", "sadness").reward, 0.0);
  EXPECT_EQ(judged(units, "brows (AU4)", "joy").reward, 0.0);
  EXPECT_EQ(judged(units, "inner brows (AU1)", "joy").reward, 0.0);
  EXPECT_EQ(judged(units, "brows (AU4), lips (AU23)", "anger").reward, 1.0);
  EXPECT_EQ(judged(units, "eyes closed (AU43)", "joy").status, Status::kNotApplicable);
  EXPECT_EQ(judged(units, "a smile", "joy").status, Status::kNotApplicable);
}

TEST(Inconsistency, RefusesComparisonsOfLaterVersionsByName) {
  EXPECT_EQ(config_error_of("{type: inconsistency, between: turns}"),
            "run.yaml:1: graph.between: got 'turns', want reasoning_answer or au_emotion; this "
            "version does not have this comparison yet");
}

}  // namespace
}  // namespace limbic::rewards
