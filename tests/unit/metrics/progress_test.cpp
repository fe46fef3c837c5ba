#include "trainer/metrics/progress.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

namespace limbic::metrics {
namespace {

using testing::HasSubstr;
using testing::Not;

std::string stderr_of(const std::function<void()>& run) {
  testing::internal::CaptureStderr();
  run();
  return testing::internal::GetCapturedStderr();
}

TEST(DurationInWords, TakesTheTwoLargestUnits) {
  const std::pair<double, const char*> cases[] = {
      {0, "0s"},       {0.4, "0s"},       {12.3, "12s"},      {59.4, "59s"},   {59.6, "1m00s"},
      {60, "1m00s"},   {185, "3m05s"},    {3599.4, "59m59s"}, {3600, "1h00m"}, {3720, "1h02m"},
      {7199, "1h59m"}, {86400, "24h00m"}, {-5, "0s"}};
  for (const auto& [seconds, words] : cases) EXPECT_EQ(duration_in_words(seconds), words);
}

TEST(Progress, WritesPlainLinesWithoutATerminal) {
  const std::string text = stderr_of([] {
    Progress progress(true, false);
    progress.begin("sft", 0, 4, "loss");
    progress.step(1, 1.23456, 100, 2.0);  // the first
    progress.step(2, 1.0, 100, 2.0);      // within ten seconds of the first
    progress.step(3, 1.0, 100, 2.0);
    progress.step(4, 0.5, 100, 2.0);  // the last
    progress.end();
    progress.end();
  });
  EXPECT_EQ(text,
            "sft 1/4 loss 1.2346 | 50 tok/s | ETA 6s\n"
            "sft 4/4 loss 0.5000 | 50 tok/s\n");
}

TEST(Progress, TheEtaFollowsTheMovingAverage) {
  const std::string text = stderr_of([] {
    Progress progress(true, true);
    progress.begin("grpo", 10, 110, "reward");
    progress.step(20, 0.25, 1000, 20.0);  // ten steps of 2 s, 50 tokens a second
    progress.step(21, 0.25, 480, 12.0);   // average 0.9 * 2 + 0.1 * 12 = 3 s
    progress.end();
  });
  EXPECT_THAT(text, HasSubstr("grpo 20/110 [===                 ] reward 0.2500 | 50 tok/s | "
                              "ETA 3m00s"));
  EXPECT_THAT(text, HasSubstr("grpo 21/110 [===                 ] reward 0.2500 | 49 tok/s | "
                              "ETA 4m27s"));
  EXPECT_THAT(text, testing::StartsWith("\r\x1b[2K"));
  EXPECT_THAT(text, testing::EndsWith("ETA 4m27s\n"));
}

TEST(Progress, AStageWithoutAHeadlineShowsNoNumber) {
  const std::string text = stderr_of([] {
    Progress progress(true, false);
    progress.begin("eval", 0, 2, "");
    progress.step(2, 7.0, 10, 1.0);
  });
  EXPECT_EQ(text, "eval 2/2 | 10 tok/s\n");
}

TEST(Progress, IsSilentWhenItIsOff) {
  EXPECT_EQ(stderr_of([] {
              for (const bool terminal : {false, true}) {
                Progress progress(false, terminal);
                progress.begin("sft", 0, 2, "loss");
                progress.step(1, 1.0, 1, 1.0);
                progress.end();
              }
            }),
            "");
}

TEST(Progress, StepsOutsideAStageShowNothing) {
  EXPECT_EQ(stderr_of([] {
              Progress progress(true, true);
              progress.step(1, 1.0, 1, 1.0);
              progress.begin("sft", 0, 2, "loss");
              progress.end();
              progress.step(1, 1.0, 1, 1.0);
            }),
            "");
}

TEST(Progress, EveryStageBeginsItsOwnLineAndAverage) {
  const std::string text = stderr_of([] {
    Progress progress(true, false);
    progress.begin("a", 0, 10, "loss");
    progress.step(1, 1.0, 10, 10.0);
    progress.begin("b", 0, 10, "loss");
    progress.step(1, 1.0, 10, 1.0);
  });
  EXPECT_EQ(text,
            "a 1/10 loss 1.0000 | 1 tok/s | ETA 1m30s\nb 1/10 loss 1.0000 | 10 tok/s | ETA 9s\n");
}

}  // namespace
}  // namespace limbic::metrics
