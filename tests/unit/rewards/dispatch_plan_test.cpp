#include "rewards/service/dispatch_plan.h"

#include <gtest/gtest.h>

namespace limbic::rewards {
namespace {

using std::chrono::seconds;

const Clock::time_point kStart{};
const Score kGood{Status::kScored, 1.0, {}};

RemoteOptions workers(std::size_t count, std::int64_t max_batch = 4) {
  RemoteOptions options;
  for (std::size_t i = 0; i < count; ++i) options.workers.push_back("w" + std::to_string(i) + ":1");
  options.max_batch = max_batch;
  options.unreachable_after_s = 10;
  return options;
}

std::vector<Completion> batch_of(const std::vector<std::string>& groups) {
  std::vector<Completion> batch(groups.size());
  for (std::size_t i = 0; i < groups.size(); ++i) {
    batch[i].key = std::to_string(i);
    batch[i].group = groups[i];
  }
  return batch;
}

TEST(DispatchPlan, SharesABatchBetweenIdleWorkers) {
  const auto batch = batch_of({"", "", "", "", "", ""});
  DispatchPlan plan(batch, workers(2), 1, kStart);
  const auto first = plan.next(kStart);
  const auto second = plan.next(kStart);
  ASSERT_TRUE(first && second);
  EXPECT_NE(first->worker, second->worker);
  EXPECT_EQ(first->chunk.rows, (std::vector<std::size_t>{0, 1, 2}));
  EXPECT_EQ(second->chunk.rows, (std::vector<std::size_t>{3, 4, 5}));
  EXPECT_FALSE(plan.next(kStart).has_value());
}

TEST(DispatchPlan, KeepsGroupsTogetherWhileTheyFit) {
  const auto batch = batch_of({"a", "a", "a", "b", "b", "c", "c", "c", "c", "c"});
  DispatchPlan plan(batch, workers(5), 1, kStart);
  std::vector<std::vector<std::size_t>> chunks;
  while (const auto assignment = plan.next(kStart)) chunks.push_back(assignment->chunk.rows);
  EXPECT_EQ(chunks, (std::vector<std::vector<std::size_t>>{{0, 1, 2}, {3, 4}, {5, 6, 7, 8}, {9}}));
}

TEST(DispatchPlan, TriesAnotherWorkerFirst) {
  const auto batch = batch_of({""});
  DispatchPlan plan(batch, workers(2), 1, kStart);
  auto first = plan.next(kStart);
  const std::size_t failed = first->worker;
  plan.lost(std::move(*first), "UNAVAILABLE", kStart);
  const auto second = plan.next(kStart);
  ASSERT_TRUE(second.has_value());
  EXPECT_NE(second->worker, failed);
}

TEST(DispatchPlan, WaitsLongerAfterEveryFailure) {
  const auto batch = batch_of({""});
  DispatchPlan plan(batch, workers(1), 1, kStart);
  Clock::time_point now = kStart;
  // 0.1, 0.2, 0.4 s, each times 0.5 to 1.5.
  for (const double expected : {0.1, 0.2, 0.4}) {
    auto assignment = plan.next(now);
    ASSERT_TRUE(assignment.has_value());
    plan.lost(std::move(*assignment), "UNAVAILABLE", now);
    EXPECT_FALSE(plan.next(now).has_value());
    const double wait = std::chrono::duration<double>(plan.wake_at(now) - now).count();
    EXPECT_GE(wait, 0.5 * expected - 1e-6);
    EXPECT_LE(wait, 1.5 * expected + 1e-6);
    now = plan.wake_at(now);
  }
}

TEST(DispatchPlan, LosesPatienceOnlyWhenAllWorkersAreSilent) {
  const auto batch = batch_of({"", ""});
  DispatchPlan plan(batch, workers(2, 1), 1, kStart);
  auto first = plan.next(kStart);
  auto second = plan.next(kStart);
  plan.lost(std::move(*first), "UNAVAILABLE", kStart);
  EXPECT_FALSE(plan.out_of_patience(kStart + seconds(100)));
  plan.lost(std::move(*second), "DEADLINE_EXCEEDED", kStart + seconds(5));
  EXPECT_FALSE(plan.out_of_patience(kStart + seconds(14)));
  EXPECT_TRUE(plan.out_of_patience(kStart + seconds(15)));
  EXPECT_EQ(plan.complaints(), "w0:1 (UNAVAILABLE), w1:1 (DEADLINE_EXCEEDED)");
  auto again = plan.next(kStart + seconds(15));
  plan.answered(*again);
  EXPECT_FALSE(plan.out_of_patience(kStart + seconds(16)));
}

TEST(DispatchPlan, AsksForAFailedOutcomeThreeMoreTimes) {
  const auto batch = batch_of({"", ""});
  DispatchPlan plan(batch, workers(1), 1, kStart);
  Clock::time_point now = kStart;
  int asked = 0;
  while (!plan.done()) {
    const auto assignment = plan.next(now);
    if (!assignment) {
      now = plan.wake_at(now);
      continue;
    }
    plan.answered(*assignment);
    for (const std::size_t row : assignment->chunk.rows) {
      asked += row == 0 ? 1 : 0;
      plan.settle(row, row == 0 ? failed_score("judge", "broken") : kGood, assignment->worker, now);
    }
  }
  EXPECT_EQ(asked, 4);
  const std::vector<Score> scores = plan.take_scores();
  EXPECT_EQ(scores[0].status, Status::kFailed);
  EXPECT_EQ(scores[1], kGood);
}

TEST(DispatchPlan, HalvesAChunkThatIsTooLarge) {
  const auto batch = batch_of({"", "", ""});
  DispatchPlan plan(batch, workers(1), 1, kStart);
  auto whole = plan.next(kStart);
  plan.halve(std::move(*whole), kStart);
  const auto half = plan.next(kStart);
  EXPECT_EQ(half->chunk.rows, (std::vector<std::size_t>{0}));
  plan.answered(*half);
  EXPECT_EQ(plan.next(kStart)->chunk.rows, (std::vector<std::size_t>{1, 2}));
}

}  // namespace
}  // namespace limbic::rewards
