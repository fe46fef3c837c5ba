#include "data/curriculum.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "data/row_plan.h"
#include "tests/support/temp_folder.h"
#include "trainer/base/error.h"
#include "trainer/base/yaml_config.h"

namespace limbic::data {
namespace {

using test::message_of;
using test::TempFolder;

using Levels = std::vector<std::vector<std::int64_t>>;

const std::vector<double> kDifficulty{3, 1, 2, 1, 3, 2, 1};  // sorted: rows 1 3 6 2 5 0 4

CurriculumConfig config_of(std::int64_t buckets, CurriculumSchedule schedule) {
  return {.difficulty = "length", .buckets = buckets, .schedule = schedule};
}

TEST(Curriculum, CutsSortedRowsIntoBucketsOfEqualSize) {
  EXPECT_EQ(curriculum_levels(kDifficulty, config_of(3, CurriculumSchedule::kSequential)),
            (Levels{{1, 3}, {6, 2}, {5, 0, 4}}));
  EXPECT_EQ(curriculum_levels(kDifficulty, config_of(7, CurriculumSchedule::kSequential)),
            (Levels{{1}, {3}, {6}, {2}, {5}, {0}, {4}}));
}

// Five rows in two buckets: {B1}, {B1, B2}, then all again.
TEST(GoldenNumbers, Buckets) {
  const std::vector<double> difficulty{0.1, 0.2, 0.3, 0.4, 0.5};
  EXPECT_EQ(curriculum_levels(difficulty, config_of(2, CurriculumSchedule::kSequential)),
            (Levels{{0, 1}, {2, 3, 4}}));
  const auto levels = curriculum_levels(difficulty, config_of(2, CurriculumSchedule::kCumulative));
  const RowPlan plan(5, {.batch_rows = 5, .seed = 7, .levels = levels});
  Levels epochs;
  for (std::int64_t step = 0; step < 4; ++step) {
    epochs.push_back(plan.rows_of_step(step));
    std::sort(epochs.back().begin(), epochs.back().end());
  }
  EXPECT_EQ(epochs, (Levels{{0, 1}, {0, 1, 2, 3, 4}, {0, 1, 2, 3, 4}, {0, 1, 2, 3, 4}}));
}

TEST(Curriculum, AddsBucketsUpInACumulativeSchedule) {
  EXPECT_EQ(curriculum_levels(kDifficulty, config_of(3, CurriculumSchedule::kCumulative)),
            (Levels{{1, 3}, {1, 3, 6, 2}, {1, 3, 6, 2, 5, 0, 4}}));
}

TEST(Curriculum, GoesFromHardToEasyInReverse) {
  CurriculumConfig config = config_of(2, CurriculumSchedule::kSequential);
  config.reverse = true;
  EXPECT_EQ(curriculum_levels(kDifficulty, config), (Levels{{0, 4, 2}, {5, 1, 3, 6}}));
}

TEST(Curriculum, RefusesMoreBucketsThanRowsAndDifficultiesThatAreNoNumbers) {
  EXPECT_EQ(message_of<ConfigError>([] {
              curriculum_levels(kDifficulty, config_of(8, CurriculumSchedule::kSequential));
            }),
            "curriculum.buckets: got 8 for 7 rows, want at most one per row");
  const std::vector<double> broken{1.0, std::numeric_limits<double>::quiet_NaN()};
  EXPECT_EQ(message_of<DataError>(
                [&] { curriculum_levels(broken, config_of(1, CurriculumSchedule::kSequential)); }),
            "got difficulty nan for row 1, want a finite number");
}

TEST(Curriculum, LeadsARowPlanThroughItsLevels) {
  const auto levels = curriculum_levels(kDifficulty, config_of(2, CurriculumSchedule::kCumulative));
  const RowPlan plan(7, {.batch_rows = 2, .shuffle = false, .levels = levels});
  EXPECT_EQ(plan.natural_steps(), 2 + 4);
  EXPECT_EQ(plan.rows_of_step(1), std::vector<std::int64_t>{6});
  EXPECT_EQ(plan.rows_of_step(5), std::vector<std::int64_t>{4});
}

TEST(Curriculum, ReadsDifficultyFromAColumn) {
  const TempFolder folder;
  DatasetConfig config;
  config.path = {folder.write("a.jsonl", "{\"d\": 2}\n{\"d\": 0.5}\n")};
  const Dataset good = Dataset::load("a", config, 0);
  EXPECT_EQ(column_difficulty(Mixture({&good}), "d"), (std::vector<double>{2.0, 0.5}));
  config.path = {folder.write("b.jsonl", "{\"d\": 2}\n{\"d\": \"easy\"}\n")};
  const Dataset bad = Dataset::load("b", config, 0);
  EXPECT_EQ(message_of<DataError>([&] { column_difficulty(Mixture({&bad}), "d"); }),
            config.path[0] +
                ":2: got the string \"easy\" in column 'd', want a number for "
                "'curriculum.difficulty'");
}

TEST(CurriculumConfig, ReadsItsKeys) {
  CurriculumConfig config;
  YamlDocument::parse(
      "{difficulty: 'column:hardness', buckets: 3, schedule: sequential, epochs_per_level: 2, "
      "reverse: true}",
      "run.yaml")
      .read(config);
  EXPECT_EQ(parse_difficulty(config.difficulty).column, "hardness");
  EXPECT_EQ(config.buckets, 3);
  EXPECT_EQ(config.schedule, CurriculumSchedule::kSequential);
  EXPECT_EQ(config.epochs_per_level, 2);
  EXPECT_TRUE(config.reverse);
  EXPECT_EQ(parse_difficulty("loss").kind, DifficultySource::Kind::kLoss);
}

TEST(CurriculumConfig, RefusesUnknownDifficulties) {
  CurriculumConfig config;
  EXPECT_EQ(message_of<ConfigError>(
                [&] { YamlDocument::parse("difficulty: 'column:'", "run.yaml").read(config); }),
            "run.yaml:1: difficulty: got 'column:', want column:NAME, emotion_shifts, length or "
            "loss");
}

TEST(CurriculumConfig, EmotionShiftsHaveASection) {
  const auto error = [](const std::string& text) {
    CurriculumConfig config;
    return message_of<ConfigError>([&] { YamlDocument::parse(text, "run.yaml").read(config); });
  };
  EXPECT_EQ(error("{difficulty: emotion_shifts, emotion_shifts: {emotions: [joy, sad]}}"),
            "no error");
  EXPECT_EQ(error("difficulty: emotion_shifts"),
            "run.yaml:1: difficulty: got 'emotion_shifts' without an emotion_shifts section, want "
            "both or neither");
  EXPECT_EQ(error("{difficulty: length, emotion_shifts: {emotions: [joy, sad]}}"),
            "run.yaml:1: difficulty: got 'length' beside an emotion_shifts section, want both or "
            "neither");
}

}  // namespace
}  // namespace limbic::data
