#include "rewards/judge/call_plan.h"

#include <gtest/gtest.h>

namespace limbic::rewards {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::int64_t kCost = 100;

class Plan : public testing::Test {
 protected:
  void add(CallPlan& plan, int count) {
    for (int i = 0; i < count; ++i) plan.add(next_id_++, kCost, now);
  }
  static int started(CallPlan& plan, CallPlan::Time at) {
    int count = 0;
    while (plan.next(at)) ++count;
    return count;
  }
  CallPlan::Time now = CallPlan::Time() + seconds(1000);
  CallLimits limits;

 private:
  CallPlan::Id next_id_ = 1;
};

TEST_F(Plan, KeepsToTheConcurrency) {
  limits.concurrency = 2;
  CallPlan plan(limits, 1);
  add(plan, 3);
  EXPECT_EQ(plan.next(now), 1u);
  EXPECT_EQ(plan.next(now), 2u);
  EXPECT_EQ(plan.next(now), std::nullopt);
  EXPECT_EQ(plan.wake_at(now), CallPlan::Time::max());
  plan.answered(1, std::nullopt, now);
  EXPECT_EQ(plan.next(now), 3u);
  EXPECT_FALSE(plan.empty());
}

TEST_F(Plan, KeepsToTheRequestsOfAnyMinute) {
  limits.requests_per_minute = 2;
  CallPlan plan(limits, 1);
  add(plan, 3);
  EXPECT_EQ(plan.next(now), 1u);
  EXPECT_EQ(plan.next(now + seconds(10)), 2u);
  EXPECT_EQ(plan.next(now + seconds(59)), std::nullopt);
  EXPECT_EQ(plan.wake_at(now + seconds(59)), now + seconds(60));
  EXPECT_EQ(plan.next(now + seconds(60)), 3u);
}

TEST_F(Plan, KeepsToTheTokensOfAnyMinute) {
  limits.tokens_per_minute = 250;
  CallPlan plan(limits, 1);
  add(plan, 3);
  EXPECT_EQ(started(plan, now), 2);
  EXPECT_EQ(plan.wake_at(now), now + seconds(60));
  // It did cost less than expected: 20 + 100 + 100 fit.
  plan.answered(1, 20, now + seconds(1));
  EXPECT_EQ(started(plan, now + seconds(1)), 1);
}

TEST_F(Plan, AQuestionAboveTheLimitOfTokensGoesOutAlone) {
  limits.tokens_per_minute = 50;
  CallPlan plan(limits, 1);
  add(plan, 2);
  EXPECT_EQ(started(plan, now), 1);
  EXPECT_EQ(plan.wake_at(now), now + seconds(60));
  EXPECT_EQ(started(plan, now + seconds(60)), 1);
}

TEST_F(Plan, RetryAfterHoldsEverythingBack) {
  CallPlan plan(limits, 1);
  add(plan, 1);
  EXPECT_EQ(started(plan, now), 1);
  plan.busy(1, 7.0, "429", now);
  add(plan, 1);
  EXPECT_EQ(started(plan, now + milliseconds(6999)), 0);
  EXPECT_EQ(plan.wake_at(now), now + seconds(7));
  EXPECT_EQ(started(plan, now + seconds(7)), 2);
}

TEST_F(Plan, WaitsDoubleWithJitter) {
  limits.unreachable_after_s = 1e6;
  CallPlan plan(limits, 1);
  add(plan, 1);
  double wait = 0.2;
  for (int i = 0; i < 10; ++i) {
    ASSERT_EQ(plan.next(now), 1u);
    ASSERT_TRUE(plan.lost(1, "gone", now));
    const std::chrono::duration<double> until = plan.wake_at(now) - now;
    EXPECT_GE(until.count(), 0.49 * wait);
    EXPECT_LE(until.count(), 1.51 * wait);
    now = plan.wake_at(now);
    wait = std::min(2 * wait, 8.0);
  }
}

TEST_F(Plan, AQuestionIsGivenUpWhenOthersAreAnswered) {
  CallPlan plan(limits, 1);
  add(plan, 2);
  for (int i = 0; i < 3; ++i) {
    while (plan.next(now) != 1u) now += seconds(1);
    EXPECT_TRUE(plan.lost(1, "500", now));
    if (i == 0) {
      ASSERT_EQ(plan.next(now), 2u);
      plan.answered(2, std::nullopt, now);
    }
    now += seconds(20);
  }
  ASSERT_EQ(plan.next(now), 1u);
  EXPECT_FALSE(plan.lost(1, "500", now));
  EXPECT_TRUE(plan.empty());
}

TEST_F(Plan, AnEndpointThatAnswersNothingIsWaitedForUntilPatienceEnds) {
  limits.unreachable_after_s = 60.0;
  CallPlan plan(limits, 1);
  add(plan, 1);
  const CallPlan::Time begin = now;
  while (now < begin + seconds(60)) {
    EXPECT_FALSE(plan.out_of_patience(now));
    if (plan.next(now)) {
      EXPECT_TRUE(plan.lost(1, "refused", now));
    }
    now = std::max(plan.wake_at(now), now + milliseconds(1));
  }
  EXPECT_TRUE(plan.out_of_patience(now));
  EXPECT_EQ(plan.next(now), std::nullopt);
  EXPECT_EQ(plan.complaint(), "refused");
  plan.clear();
  EXPECT_FALSE(plan.out_of_patience(now));
}

TEST_F(Plan, PatienceWaitsForTheLastCalls) {
  limits.unreachable_after_s = 60.0;
  CallPlan plan(limits, 1);
  add(plan, 2);
  EXPECT_EQ(started(plan, now), 2);
  EXPECT_TRUE(plan.lost(1, "refused", now));
  EXPECT_FALSE(plan.out_of_patience(now + seconds(61)));
  EXPECT_EQ(plan.wake_at(now + seconds(61)), CallPlan::Time::max());
  plan.answered(2, std::nullopt, now + seconds(62));
  EXPECT_FALSE(plan.out_of_patience(now + seconds(62)));
  EXPECT_EQ(started(plan, now + seconds(62)), 1);
}

TEST_F(Plan, AnEndpointThatIsBusyForeverEndsPatience) {
  limits.unreachable_after_s = 60.0;
  CallPlan plan(limits, 1);
  add(plan, 1);
  EXPECT_EQ(started(plan, now), 1);
  plan.busy(1, 3600.0, "429", now);
  EXPECT_EQ(plan.wake_at(now), now + seconds(60));
  EXPECT_TRUE(plan.out_of_patience(now + seconds(60)));
}

}  // namespace
}  // namespace limbic::rewards
