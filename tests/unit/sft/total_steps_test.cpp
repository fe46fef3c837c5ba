#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/test_run.h"
#include "trainer/sft/sft_stage.h"

namespace limbic::sft {
namespace {

// 4 rows per rank and step.
SftConfig config_of() {
  SftConfig config;
  config.data = {"d"};
  config.train.per_device_train_batch_size = 2;
  config.train.gradient_accumulation_steps = 2;
  return config;
}

TEST(TotalSteps, OneEpochByDefault) {
  EXPECT_EQ(total_steps(config_of(), 8, 1), 2);
  EXPECT_EQ(total_steps(config_of(), 9, 1), 3);  // the last step takes what is left
  EXPECT_EQ(total_steps(config_of(), 9, 2), 2);
  EXPECT_EQ(total_steps(config_of(), 1, 4), 1);
}

TEST(TotalSteps, FollowTheEpochs) {
  SftConfig config = config_of();
  config.train.num_train_epochs = 3.0;
  EXPECT_EQ(total_steps(config, 9, 1), 9);
  config.train.num_train_epochs = 0.5;
  EXPECT_EQ(total_steps(config, 9, 1), 2);  // 1.5, rounded up
  config.train.num_train_epochs = 0.001;
  EXPECT_EQ(total_steps(config, 9, 1), 1);
}

TEST(TotalSteps, StepsAreTakenAsTheyAre) {
  SftConfig config = config_of();
  config.train.steps = 17;
  for (const int world : {1, 4}) EXPECT_EQ(total_steps(config, 9, world), 17);
  config.curriculum = data::CurriculumConfig{.difficulty = "length"};
  EXPECT_EQ(total_steps(config, 9, 1), 17);
}

// 12 rows in 3 buckets of 4, one step each.
TEST(TotalSteps, ACurriculumGoesThroughItsLevels) {
  SftConfig config = config_of();
  config.curriculum = data::CurriculumConfig{
      .difficulty = "length", .buckets = 3, .schedule = data::CurriculumSchedule::kSequential};
  EXPECT_EQ(total_steps(config, 12, 1), 3);
  config.curriculum->epochs_per_level = 2;
  EXPECT_EQ(total_steps(config, 12, 1), 6);
  config.curriculum->schedule = data::CurriculumSchedule::kCumulative;
  EXPECT_EQ(total_steps(config, 12, 1), 2 * (1 + 2 + 3));
  EXPECT_EQ(total_steps(config, 12, 2), 2 * (1 + 1 + 2));
  EXPECT_THROW(total_steps(config, 2, 1), ConfigError);
}

// Together the ranks see every document of the step once, in the order of one rank.
TEST(FirstBatch, IsTheRanksShareOfTheFirstStep) {
  const test::TempFolder folder;
  std::vector<std::string> rows;
  for (char c = 'a'; c <= 'm'; ++c) rows.push_back(R"({"text": "x)" + std::string(1, c) + "\"}");
  SftConfig whole_config = config_of();
  whole_config.train.per_device_train_batch_size = 6;
  std::vector<std::int64_t> whole, parts;
  const auto local = parallel::make_local();
  engine::TestRun alone(*local, folder.file("run"));
  alone.add_dataset("d", rows);
  for (const auto& e : first_batch(alone.context, whole_config)) whole.push_back(e.row);
  const auto world = parallel::make_threads(3, 1.0);
  for (const auto& rank : world) {
    engine::TestRun run(*rank, folder.file("run"));
    run.add_dataset("d", rows);
    const auto mine = first_batch(run.context, config_of());
    EXPECT_EQ(mine.size(), 4u);
    for (const auto& e : mine) parts.push_back(e.row);
  }
  EXPECT_EQ(whole.size(), 12u);
  EXPECT_EQ(parts, whole);
}

}  // namespace
}  // namespace limbic::sft
