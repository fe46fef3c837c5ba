#include "rewards/terms/label.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "tests/unit/rewards/graph_of.h"
#include "trainer/base/file.h"

namespace limbic::rewards {
namespace {

double label(const std::string& options, const std::string& text, const std::string& gold) {
  return reward_of("{type: label, column: label" + options + "}",
                   completion(text, {{"label", gold}}));
}

TEST(Label, ComparesNormalisedTexts) {
  EXPECT_EQ(label("", " Joy.", "joy"), 1.0);
  EXPECT_EQ(label("", "joyful", "joy"), 0.0);
  EXPECT_EQ(label("", "It is joy", "joy"), 0.0);
  EXPECT_EQ(label(", normalize: []", "Joy", "joy"), 0.0);
  EXPECT_EQ(label(", normalize: [lower]", "Joy", "joy"), 1.0);
}

TEST(Label, ReadsTheLastRegion) {
  const std::string text = "<answer>fear</answer> no <answer> joy </answer>";
  EXPECT_EQ(label(", region: answer", text, "joy"), 1.0);
  EXPECT_EQ(label(", region: answer", text, "fear"), 0.0);
}

TEST(Label, AMissingRegionIsWrong) { EXPECT_EQ(label(", region: answer", "joy", "joy"), 0.0); }

TEST(Label, MapsGoldAndAnswerThroughAliases) {
  const std::string aliases = ", aliases: {joy: [happy, glad], sadness: [sad]}";
  EXPECT_EQ(label(aliases, "Glad", "Happy"), 1.0);
  EXPECT_EQ(label(aliases, "sad", "happy"), 0.0);
  EXPECT_EQ(label(", aliases: ekman", "scared", "fear"), 1.0);
}

TEST(Label, IsRightWithAnyLabelOfAList) {
  EXPECT_EQ(label("", "fear", "[\"joy\",\"fear\"]"), 1.0);
  EXPECT_EQ(label("", "anger", "[\"joy\",\"fear\"]"), 0.0);
  EXPECT_EQ(label("", "2", "2"), 1.0);
}

TEST(Label, DoesNotApplyToARowWithoutTheColumn) {
  const Completion rows[] = {completion("joy"), completion("joy", {{"label", "null"}}),
                             completion("joy", {{"label", ""}})};
  for (const Completion& row : rows) {
    const Score score = score_of("{type: label, column: label}", row);
    EXPECT_EQ(score.status, Status::kNotApplicable);
    EXPECT_FALSE(score.reward.has_value());
  }
  EXPECT_EQ(reward_of("{type: label, column: label, missing: 0.5}", rows[0]), 0.5);
}

TEST(Label, ClassWeightsMultiplyARightAnswer) {
  const std::string weights = ", class_weights: {joy: 0.5}, aliases: {joy: [happy]}";
  EXPECT_EQ(label(weights, "joy", "happy"), 0.5);
  EXPECT_EQ(label(weights, "fear", "fear"), 1.0);
  EXPECT_EQ(label(weights, "fear", "joy"), 0.0);
}

// Counts 100, 50, 50: inverses .01, .02, .02, mean .05 / 3, so weights .6, 1.2, 1.2.
TEST(Label, InverseFrequencyHasMeanOneOverTheClasses) {
  const std::string counts =
      ", class_weights: inverse_frequency, label_counts: {joy: 100, fear: 50, anger: 50}";
  EXPECT_NEAR(label(counts, "joy", "joy"), 0.6, 1e-12);
  EXPECT_NEAR(label(counts, "fear", "fear"), 1.2, 1e-12);
  EXPECT_EQ(label(counts, "boredom", "boredom"), 1.0);
}

// happy and joy are one class of 3 rows beside fear with 1: inverses 1/3 and 1, mean 2/3.
TEST(Label, InverseFrequencyCountsTheTrainingData) {
  const GraphContext context{{{"label", {{"joy", 2}, {"happy", 1}, {"fear", 1}}}}, 0};
  const std::string graph =
      "{type: label, column: label, class_weights: inverse_frequency, aliases: {joy: [happy]}}";
  EXPECT_NEAR(reward_of(graph, completion("joy", {{"label", "joy"}}), 0, context), 0.5, 1e-12);
  EXPECT_NEAR(reward_of(graph, completion("fear", {{"label", "fear"}}), 0, context), 1.5, 1e-12);
}

TEST(Label, InverseFrequencyCountsAFile) {
  const auto path = std::filesystem::temp_directory_path() /
                    ("limbic_label_test_" + std::to_string(::getpid()) + ".jsonl");
  write_file_atomically(path.string(),
                        "{\"label\": \"joy\"}\n{\"label\": \"joy\"}\n{\"label\": \"joy\"}\n"
                        "{\"label\": \"fear\"}\n{\"text\": \"no label\"}\n");
  EXPECT_NEAR(
      label(", class_weights: inverse_frequency, label_data: " + path.string(), "joy", "joy"), 0.5,
      1e-12);
  std::filesystem::remove(path);
}

double wheel(const std::string& emotions, const std::string& text, const std::string& gold,
             const std::string& more = "") {
  return label(", distance: wheel, emotions: [" + emotions + "]" + more, text, gold);
}

TEST(GoldenNumbers, EmotionSimilarity) {
  const std::string six = "happy, sad, neutral, angry, excited, frustrated";
  EXPECT_NEAR(wheel(six, "happy", "excited"), 0.8090, 5e-5);
  EXPECT_NEAR(wheel(six, "sad", "frustrated"), 0.3090, 5e-5);
  EXPECT_NEAR(wheel(six, "angry", "frustrated"), 0.0, 1e-12);
  EXPECT_NEAR(wheel(six, "angry", "sad"), 0.0, 1e-12);
  EXPECT_NEAR(wheel(six, "neutral", "happy"), 0.1667, 5e-5);
  const std::string seven = "neutral, surprise, fear, sadness, joy, disgust, anger";
  EXPECT_NEAR(wheel(seven, "joy", "surprise"), 0.5878, 5e-5);
  EXPECT_NEAR(wheel(seven, "anger", "disgust"), 0.5878, 5e-5);
  EXPECT_NEAR(wheel(seven, "anger", "fear"), 0.3090, 5e-5);
  EXPECT_NEAR(wheel(seven, "fear", "disgust"), 0.9511, 5e-5);
  EXPECT_NEAR(wheel(seven, "fear", "sadness"), 0.0, 1e-12);
  EXPECT_NEAR(wheel(seven, "neutral", "joy"), 0.1429, 5e-5);
}

TEST(Label, OnTheWheelARightAnswerIsWorthOne) {
  EXPECT_EQ(wheel("joy, sad", "Joy.", "joy"), 1.0);
  EXPECT_EQ(wheel("joy, sad", "happiness", "joy"), 1.0);
  EXPECT_EQ(wheel("joy, sad", "glad", "joy", ", aliases: ekman"), 1.0);
  EXPECT_EQ(wheel("joy, sad", "boredom", "joy"), 0.0);
  EXPECT_EQ(wheel("joy, sad", "fear", "sad"), 0.0);  // none of the task's
  EXPECT_EQ(wheel("joy, sad", "joy", "joy", ", region: answer"), 0.0);
}

// Sad is 72 degrees from frustrated and 162 from angry; weights 0.5 and 1.
TEST(Label, OnTheWheelTheBestOfSeveralLabelsCounts) {
  const std::string emotions = "sad, frustrated, angry, neutral";
  EXPECT_NEAR(wheel(emotions, "sad", "[\"frustrated\",\"angry\"]"), 0.30902, 5e-6);
  EXPECT_NEAR(
      wheel(emotions, "sad", "[\"frustrated\",\"neutral\"]", ", class_weights: {frustrated: 0.5}"),
      0.25, 1e-12);
}

TEST(Label, OnTheWheelAForeignGoldLabelFails) {
  const Score score =
      score_of("{type: label, column: label, distance: wheel, emotions: [joy, sad]}",
               completion("joy", {{"label", "fear"}}));
  EXPECT_EQ(score.status, Status::kFailed);
  EXPECT_EQ(score.components.at(0).detail, "column 'label': got 'fear', want one of the emotions");
}

TEST(Label, RefusesWhatItCannotDo) {
  EXPECT_NE(config_error_of("{type: label, column: l, class_weights: inverse_frequency}")
                .find("rewards.graph.class_weights: got inverse_frequency without counts"),
            std::string::npos);
  EXPECT_EQ(config_error_of("{type: label, column: l, distance: wheel}"),
            "run.yaml:1: graph.emotions: got 0 emotions, want all labels of the task");
  EXPECT_EQ(config_error_of("{type: label, column: l, emotions: [joy, sad]}"),
            "run.yaml:1: graph.emotions: got emotions without distance: wheel, want both");
  EXPECT_EQ(config_error_of("{type: label, column: l, distance: wheel, emotions: [happy, excited], "
                            "aliases: ekman}"),
            "rewards.graph.emotions, behind the aliases: got 'joy' beside another word for joy, "
            "want one word for each emotion");
  EXPECT_NE(config_error_of("{type: label, column: l, distance: vad}").find("none, wheel"),
            std::string::npos);
  EXPECT_EQ(config_error_of("{type: label}"),
            "run.yaml:1: graph.column: got nothing, want the column of the gold label");
  EXPECT_EQ(config_error_of("{type: label, column: l, normalize: [lowr]}"),
            "run.yaml:1: graph.normalize: got 'lowr', want a list of lower and strip_punctuation; "
            "did you mean 'lower'?");
  EXPECT_NE(
      config_error_of("{type: label, column: l, regoin: answer}").find("did you mean 'region'?"),
      std::string::npos);
}

}  // namespace
}  // namespace limbic::rewards
