#include "data/check.h"

#include <gtest/gtest.h>

#include "tests/support/temp_folder.h"

namespace limbic::data {
namespace {

using test::TempFolder;

TEST(LengthStats, TakesTheNearestRank) {
  std::vector<std::int64_t> lengths;
  for (std::int64_t i = 200; i >= 1; --i) lengths.push_back(i);
  const LengthStats stats = length_stats(lengths);
  EXPECT_EQ(stats.min, 1);
  EXPECT_EQ(stats.max, 200);
  EXPECT_DOUBLE_EQ(stats.mean, 100.5);
  EXPECT_EQ(stats.p50, 100);
  EXPECT_EQ(stats.p90, 180);
  EXPECT_EQ(stats.p99, 198);
  EXPECT_EQ(length_stats({7}).p99, 7);
  EXPECT_EQ(length_stats({}).max, 0);
}

TEST(Check, CountsLengthsLabelsAndDuplicates) {
  const TempFolder folder;
  DatasetConfig config;
  config.path = {folder.write("a.jsonl",
                              "{\"text\":\"über\",\"label\":\"joy\",\"n\":1}\n"
                              "{\"text\":\"ab\",\"label\":\"fear\",\"n\":2}\n"
                              "{\"text\":\"ab\",\"label\":\"fear\",\"n\":3}\n"
                              "{\"text\":\"left out\",\"label\":\"anger\",\"n\":4}\n")};
  config.prompt = "{text}";
  config.response = "{label}";
  config.filter = Json::parse(R"({"column":"label","not_in":["anger"]})");
  const DataReport report = check_dataset("a", config, true);
  EXPECT_TRUE(report.ok());
  EXPECT_EQ(report.rows, 4);
  EXPECT_EQ(report.filtered, 1);
  EXPECT_EQ(report.bad_rows, 0);
  EXPECT_EQ(report.duplicates, 1);
  EXPECT_EQ(report.turns.max, 2);
  EXPECT_EQ(report.characters.min, 6);  // ab, fear
  EXPECT_EQ(report.characters.max, 7);  // über, joy
  ASSERT_EQ(report.labels.size(), 2u);
  EXPECT_EQ(report.labels[1].first, "label");
  EXPECT_EQ(report.labels[1].second, (LabelCounts{{"fear", 2}, {"joy", 1}}));
}

TEST(Check, ReportsEveryKindOfBadRowAndGoesOn) {
  const TempFolder folder;
  DatasetConfig config;
  const auto path = folder.write("a.jsonl",
                                 "{\"prompt\":\"a\",\"completion\":\"b\"}\nnope\n"
                                 "{\"completion\":\"b\"}\n{\"prompt\":\"a\"}\n");
  config.path = {path, folder.file("none.jsonl")};
  const DataReport report = check_dataset("a", config, true);
  EXPECT_FALSE(report.ok());
  EXPECT_EQ(report.rows, 4);
  EXPECT_EQ(report.bad_rows, 3);
  ASSERT_EQ(report.problems.size(), 4u);
  EXPECT_TRUE(report.problems[0].starts_with(path + ":2: got invalid JSON"));
  EXPECT_TRUE(report.problems[1].starts_with(path + ":3: got no column 'messages'"));
  EXPECT_TRUE(report.problems[2].starts_with(path + ":4: got no assistant's turn"));
  EXPECT_TRUE(report.problems[3].starts_with(config.path[1] + ": got no readable file"));
  EXPECT_EQ(check_dataset("a", config, false).bad_rows, 2);
}

TEST(Check, KeepsTheFirstTwentyProblems) {
  const TempFolder folder;
  std::string rows;
  for (int i = 0; i < 30; ++i) rows += "[]\n";
  DatasetConfig config;
  config.path = {folder.write("a.jsonl", rows)};
  const DataReport report = check_dataset("a", config, false);
  EXPECT_EQ(report.bad_rows, 30);
  EXPECT_EQ(report.problems.size(), 20u);
}

TEST(Check, TakesOnlyShortRepeatingStringsForLabels) {
  const TempFolder folder;
  std::string rows;
  for (int i = 0; i < 60; ++i) {
    rows += "{\"id\":\"r" + std::to_string(i) + "\",\"text\":\"" + std::string(41, 'x') +
            "\",\"label\":\"" + (i % 2 ? "a" : "b") + "\"}\n";
  }
  DatasetConfig config;
  config.path = {folder.write("a.jsonl", rows)};
  const DataReport report = check_dataset("a", config, false);
  ASSERT_EQ(report.labels.size(), 1u);
  EXPECT_EQ(report.labels[0].second, (LabelCounts{{"a", 30}, {"b", 30}}));
}

}  // namespace
}  // namespace limbic::data
