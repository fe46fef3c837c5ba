#include "data/row_plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "trainer/base/seed.h"

namespace limbic::data {
namespace {

using Rows = std::vector<std::int64_t>;

Rows rows_of_steps(const RowPlan& plan, std::int64_t begin, std::int64_t end) {
  Rows rows;
  for (std::int64_t step = begin; step < end; ++step) {
    const Rows part = plan.rows_of_step(step);
    rows.insert(rows.end(), part.begin(), part.end());
  }
  return rows;
}

TEST(RowPlan, TakesEveryRowOncePerEpochWithAPartialLastStep) {
  const RowPlan plan(10, {.batch_rows = 4, .seed = 3});
  EXPECT_EQ(plan.steps_per_epoch(), 3);
  EXPECT_EQ(plan.natural_steps(), 3);
  for (std::int64_t epoch = 0; epoch < 4; ++epoch) {
    EXPECT_EQ(plan.rows_of_step(3 * epoch + 2).size(), 2u);
    const Rows rows = rows_of_steps(plan, 3 * epoch, 3 * epoch + 3);
    EXPECT_EQ(rows.size(), 10u);
    EXPECT_EQ(std::set<std::int64_t>(rows.begin(), rows.end()).size(), 10u);
  }
}

TEST(RowPlan, ShufflesEveryEpochAnew) {
  const RowPlan plan(50, {.batch_rows = 50, .seed = 3});
  EXPECT_NE(plan.rows_of_step(0), plan.rows_of_step(1));
  EXPECT_NE(plan.rows_of_step(0), RowPlan(50, {.batch_rows = 50, .seed = 4}).rows_of_step(0));
}

TEST(RowPlan, DrawsTheEpochFromItsNamedStream) {
  Rows wanted{0, 1, 2, 3, 4, 5, 6};
  Random random(derive_seed(11, "epoch", 2));
  for (std::size_t i = 7; i > 1; --i) std::swap(wanted[i - 1], wanted[random.below(i)]);
  EXPECT_EQ(rows_of_steps(RowPlan(7, {.batch_rows = 3, .seed = 11}), 6, 9), wanted);
}

TEST(RowPlan, AnswersTheSameInAnyOrderOfQuestions) {
  const RowPlan plan(23, {.batch_rows = 5, .seed = 1});
  std::vector<Rows> forwards;
  for (int step = 0; step < 15; ++step) forwards.push_back(plan.rows_of_step(step));
  for (int step = 14; step >= 0; --step) {
    EXPECT_EQ(plan.rows_of_step(step), forwards[static_cast<std::size_t>(step)]);
    EXPECT_EQ(RowPlan(23, {.batch_rows = 5, .seed = 1}).rows_of_step(step),
              forwards[static_cast<std::size_t>(step)]);
  }
}

TEST(RowPlan, DoesNotDependOnTheBatchSize) {
  EXPECT_EQ(rows_of_steps(RowPlan(12, {.batch_rows = 3, .seed = 5}), 0, 8),
            rows_of_steps(RowPlan(12, {.batch_rows = 4, .seed = 5}), 0, 6));
}

TEST(RowPlan, KeepsTheFilesOrderWithoutShuffle) {
  const RowPlan plan(5, {.batch_rows = 2, .shuffle = false});
  EXPECT_EQ(rows_of_steps(plan, 0, 6), (Rows{0, 1, 2, 3, 4, 0, 1, 2, 3, 4}));
}

TEST(RowPlan, GoesThroughItsLevelsAndStaysInTheLast) {
  // Level 0: 2 rows, 1 step per epoch; level 1: 5 rows, 3 steps per epoch; two epochs of each.
  const RowPlan plan(5, {.batch_rows = 2,
                         .shuffle = false,
                         .levels = {{4, 2}, {4, 2, 0, 1, 3}},
                         .epochs_per_level = 2});
  EXPECT_EQ(plan.natural_steps(), 8);
  EXPECT_EQ(plan.position(0), (PlanPosition{0, 0, 0}));
  EXPECT_EQ(plan.position(1), (PlanPosition{0, 1, 0}));
  EXPECT_EQ(plan.position(2), (PlanPosition{1, 0, 0}));
  EXPECT_EQ(plan.position(4), (PlanPosition{1, 0, 4}));
  EXPECT_EQ(plan.position(7), (PlanPosition{1, 1, 4}));
  EXPECT_EQ(plan.position(9), (PlanPosition{1, 2, 2}));
  EXPECT_EQ(rows_of_steps(plan, 0, 5), (Rows{4, 2, 4, 2, 4, 2, 0, 1, 3}));
  EXPECT_EQ(plan.rows_of_step(9), (Rows{0, 1}));
}

TEST(RowPlan, ShufflesEveryEpochOfALevelAnew) {
  Rows all(40);
  for (std::size_t i = 0; i < 40; ++i) all[i] = static_cast<std::int64_t>(i);
  const RowPlan plan(40, {.batch_rows = 40, .seed = 2, .levels = {all, all}});
  std::set<Rows> orders;
  for (int step = 0; step < 6; ++step) orders.insert(plan.rows_of_step(step));
  EXPECT_EQ(orders.size(), 6u);
}

TEST(RowPlan, CountsEpochsWithTheirFraction) {
  const RowPlan plan(10, {.batch_rows = 4});
  EXPECT_DOUBLE_EQ(plan.epochs_after(0), 0.0);
  EXPECT_DOUBLE_EQ(plan.epochs_after(2), 0.8);
  EXPECT_DOUBLE_EQ(plan.epochs_after(3), 1.0);
  EXPECT_DOUBLE_EQ(plan.epochs_after(7), 2.4);
}

TEST(Shard, CutsContiguousPartsThatDifferByAtMostOne) {
  const Rows rows{9, 8, 7, 6, 5, 4, 3};
  Rows joined;
  for (int rank = 0; rank < 3; ++rank) {
    const Rows part = shard(rows, rank, 3);
    EXPECT_GE(part.size(), 2u);
    EXPECT_LE(part.size(), 3u);
    joined.insert(joined.end(), part.begin(), part.end());
  }
  EXPECT_EQ(joined, rows);
  EXPECT_EQ(shard(rows, 0, 1), rows);
  EXPECT_EQ(shard({1, 2, 3, 4}, 1, 2), (Rows{3, 4}));
  EXPECT_TRUE(shard({1}, 0, 2).empty());
  EXPECT_EQ(shard({1}, 1, 2), Rows{1});
}

}  // namespace
}  // namespace limbic::data
