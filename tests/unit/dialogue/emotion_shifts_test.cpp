#include "data/dialogue/emotion_shifts.h"

#include <gtest/gtest.h>

#include "tests/support/temp_folder.h"
#include "trainer/base/error.h"
#include "trainer/base/yaml_config.h"

namespace limbic::data {
namespace {

using test::message_of;
using test::TempFolder;

const std::vector<std::string> kSix = {"happy", "sad", "neutral", "angry", "excited", "frustrated"};

class EmotionShifts : public testing::Test {
 protected:
  std::vector<double> difficulties(const std::string& lines, const EmotionShiftConfig& config) {
    DatasetConfig data;
    data.path = {folder_.write("rows.jsonl", lines)};
    const Dataset rows = Dataset::load("d", data, 0);
    return shift_difficulties(Mixture({&rows}), config);
  }
  double difficulty(const std::string& labels, const std::string& speakers,
                    const EmotionShiftConfig& config) {
    return difficulties("{\"labels\": " + labels + ", \"speakers\": " + speakers + "}\n", config)
        .at(0);
  }
  std::string error(const std::string& line) {
    const std::string text = message_of<DataError>([&] { difficulties(line, config_); });
    const std::size_t place = text.find("rows.jsonl:");
    return place == std::string::npos ? text : text.substr(place);
  }

  TempFolder folder_;
  const EmotionShiftConfig config_{.emotions = kSix};
};

using GoldenNumbers = EmotionShifts;

// Own shifts happy-excited .8090 + .4 and neutral-sad 1/6 + .4; between speakers happy-neutral and
// neutral-excited 1/6 + .4 each and excited-sad 0 + .4; 4 utterances of 2 speakers.
TEST_F(GoldenNumbers, ConversationDifficulty) {
  const std::string labels = R"(["happy", "neutral", "excited", "sad"])";
  const std::string speakers = R"(["M", "F", "M", "F"])";
  EXPECT_NEAR(difficulty(labels, speakers, config_), 0.884836, 5e-7);
  EmotionShiftConfig own = config_;
  own.pairs = ShiftPairs::kSameSpeaker;
  EXPECT_NEAR(difficulty(labels, speakers, own), 0.629281, 5e-7);
}

// Nothing shifts: speakers / (utterances + speakers).
TEST_F(EmotionShifts, EqualLabelsAreNoShift) {
  EXPECT_DOUBLE_EQ(difficulty(R"(["sad", "sad", "Sadness"])", R"(["a", "b", "a"])", config_), 0.4);
  EXPECT_DOUBLE_EQ(difficulty(R"(["sad"])", "[1]", config_), 0.5);
}

// One speaker alone: an own shift, none between speakers. (k .3090 + b + 1) / 3
TEST_F(EmotionShifts, KAndBWeighTheShifts) {
  EmotionShiftConfig config = config_;
  config.k = 2.0;
  config.b = 0.1;
  EXPECT_NEAR(difficulty(R"(["sad", "frustrated"])", R"(["a", "a"])", config),
              (2.0 * 0.30901699 + 1.1) / 3.0, 1e-8);
}

TEST_F(EmotionShifts, SpeakersAreAnyValues) {
  EXPECT_EQ(difficulty(R"(["happy", "sad"])", "[[1, 0], [0, 1]]", config_),
            difficulty(R"(["happy", "sad"])", R"(["x", "y"])", config_));
}

TEST_F(EmotionShifts, ColumnsHaveNames) {
  EmotionShiftConfig config = config_;
  config.labels = "emotions";
  config.speakers = "who";
  EXPECT_EQ(difficulties("{\"emotions\": [\"sad\"], \"who\": [\"a\"]}\n", config).at(0), 0.5);
}

TEST_F(EmotionShifts, NamesTheRowThatIsNoConversation) {
  const std::string use = "want a list with one item per utterance for 'emotion_shifts'";
  EXPECT_EQ(error("{\"speakers\": [1]}\n"),
            "rows.jsonl:1: got no column 'labels', " + use + "; the row has speakers");
  EXPECT_EQ(error("{\"labels\": \"sad\", \"speakers\": [1]}\n"),
            "rows.jsonl:1: got the string \"sad\" in column 'labels', " + use);
  EXPECT_EQ(error("{\"labels\": [], \"speakers\": []}\n"),
            "rows.jsonl:1: got an empty list in column 'labels', " + use);
  EXPECT_EQ(error("{\"labels\": [\"sad\"], \"speakers\": [1]}\n"
                  "{\"labels\": [\"sad\"], \"speakers\": [1, 2]}\n"),
            "rows.jsonl:2: got 1 items in column 'labels' and 2 in 'speakers', want as many");
  EXPECT_EQ(error("{\"labels\": [\"bored\"], \"speakers\": [1]}\n"),
            "rows.jsonl:1: got the string \"bored\" in column 'labels', want one of happy, sad, "
            "neutral, angry, excited, frustrated");
}

TEST(EmotionShiftConfig, ReadsItsKeys) {
  EmotionShiftConfig config;
  YamlDocument::parse(
      "{emotions: [joy, sad], labels: l, speakers: s, k: 2, b: 0, "
      "pairs: same_speaker}",
      "run.yaml")
      .read(config);
  EXPECT_EQ(config.emotions, (std::vector<std::string>{"joy", "sad"}));
  EXPECT_EQ(config.labels, "l");
  EXPECT_EQ(config.speakers, "s");
  EXPECT_EQ(config.k, 2.0);
  EXPECT_EQ(config.b, 0.0);
  EXPECT_EQ(config.pairs, ShiftPairs::kSameSpeaker);
}

TEST(EmotionShiftConfig, RefusesWrongValues) {
  const auto error = [](const std::string& text) {
    EmotionShiftConfig config;
    return message_of<ConfigError>([&] { YamlDocument::parse(text, "run.yaml").read(config); });
  };
  EXPECT_EQ(error("emotions: [joy]"),
            "run.yaml:1: emotions: got 1 emotions, want all labels of the task");
  EXPECT_NE(error("labels: l").find("emotions"), std::string::npos);
  EXPECT_NE(error("{emotions: [joy, sad], k: -1}").find("run.yaml:1: k: got -1"),
            std::string::npos);
  EXPECT_NE(error("{emotions: [joy, sad], pairs: none}").find("want one of: all, same_speaker"),
            std::string::npos);
}

}  // namespace
}  // namespace limbic::data
