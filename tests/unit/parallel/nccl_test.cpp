// NCCL by its double: what is loaded, and every way in which a call can fail.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/parallel/worlds.h"
#include "trainer/base/error.h"
#include "trainer/parallel/nccl/nccl_communicator.h"

namespace limbic::parallel {
namespace {

using test::FaultyNccl;
using test::NcclFault;
using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

constexpr WorldKind kPair{Transport::kNccl, 2};

std::string refusal(const std::string& path) {
  try {
    nccl::load(path);
    return "no error";
  } catch (const ConfigError& error) {
    return error.what();
  }
}

TEST(NcclLibrary, OneThatDoesNotLoadIsNamed) {
  EXPECT_THAT(refusal("libno-such-nccl.so.2"),
              AllOf(StartsWith("libno-such-nccl.so.2: got a library that does not load ("),
                    HasSubstr("No such file")));
}

TEST(NcclLibrary, AnotherLibraryIsRefused) {
  EXPECT_EQ(refusal("libc.so.6"), "libc.so.6: got no 'ncclGetVersion', want NCCL 2.14 or newer");
}

TEST(NcclLibrary, AnOldOneIsRefused) {
  const FaultyNccl old(NcclFault::kOldVersion);
  EXPECT_EQ(refusal(LIMBIC_NCCL_DOUBLE),
            std::string(LIMBIC_NCCL_DOUBLE) + ": got NCCL 2.10.3, want 2.14 or newer");
}

// The library beside the torch wheel, which the loader finds without a GPU and without a path.
TEST(NcclLibrary, TheOneOfTheWheelHasEveryFunction) {
  if (std::string(LIMBIC_NCCL_VERSION) == "none") GTEST_SKIP() << "no NCCL beside the torch wheel";
  EXPECT_EQ(nccl::load().version, LIMBIC_NCCL_VERSION);
}

// What became of the communicators of the double since the last call.
class Nccl : public testing::Test {
 protected:
  test::NcclCounts since() {
    const test::NcclCounts now = test::nccl_double().counts();
    const test::NcclCounts change{.made = now.made - before_.made,
                                  .destroyed = now.destroyed - before_.destroyed,
                                  .aborted = now.aborted - before_.aborted};
    before_ = now;
    return change;
  }

 private:
  test::NcclCounts before_ = test::nccl_double().counts();
};

// The messages of both ranks.
template <class Play>
std::vector<std::string> messages_of(Play play) {
  std::vector<std::string> messages;
  for (const auto& outcome : outcomes_of(kPair, play)) {
    messages.push_back(message_of_outcome<CommError>(outcome));
  }
  return messages;
}

void sum_twice(Communicator& c) {
  c.all_reduce_sum(at::ones({10}));
  c.all_reduce_sum(at::ones({1000}));
}

TEST_F(Nccl, ARunThatEndsWellDestroysWhatItMade) {
  EXPECT_EQ(messages_of(sum_twice), (std::vector<std::string>{"no error", "no error"}));
  const test::NcclCounts counts = since();
  EXPECT_EQ(counts.made, 2);
  EXPECT_EQ(counts.destroyed, 2);
  EXPECT_EQ(counts.aborted, 0);
}

TEST_F(Nccl, AnExceptionAbortsTheCommunicatorAndIsNotWaitedFor) {
  const auto ended = outcomes_of(kPair, [](Communicator& c) {
    c.all_reduce_sum(at::ones({10}));
    if (c.rank() == 0) throw DataError("the disk is full");
  });
  EXPECT_EQ(message_of_outcome<DataError>(ended[0]), "the disk is full");
  EXPECT_FALSE(ended[1]) << "its end does not need the other";
  const test::NcclCounts counts = since();
  EXPECT_EQ(counts.made, counts.destroyed + counts.aborted);
  EXPECT_GE(counts.aborted, 1);
}

TEST_F(Nccl, AnIdThatCannotBeMadeFailsOnEveryRank) {
  const FaultyNccl fault(NcclFault::kNoId);
  const auto ended = outcomes_of(kPair, sum_twice);
  const std::string message =
      "ncclGetUniqueId: NCCL said 'unhandled system error' (said by the double), want a network "
      "interface that it may use (NCCL_SOCKET_IFNAME)";
  EXPECT_EQ(message_of_outcome<ConfigError>(ended[0]), message);
  EXPECT_EQ(message_of_outcome<ConfigError>(ended[1]), "rank 0: " + message);
}

TEST_F(Nccl, ACommunicatorThatIsNotMadeIsNamed) {
  const FaultyNccl fault(NcclFault::kInitFails, 1);
  const auto messages = messages_of(sum_twice);
  EXPECT_EQ(messages[1],
            "ncclCommInitRankConfig of rank 1 of 2: NCCL said 'unhandled system error' (said by "
            "the double)");
  EXPECT_THAT(messages[0], StartsWith("ncclCommInitRankConfig of rank 0 of 2: NCCL said 'remote"));
  EXPECT_EQ(since().aborted, 2);
}

TEST_F(Nccl, ACommunicatorThatIsNeverReadyMeetsTheDeadline) {
  const FaultyNccl fault(NcclFault::kInitNeverEnds, 0);
  const auto ended = outcomes_of_ranks(2, [](Communicator& control) {
    test::make_double_rank(control, control.rank() == 0 ? 0.1 : kTestTimeoutSeconds);
  });
  EXPECT_EQ(message_of_outcome<CommError>(ended[0]),
            "ncclCommInitRankConfig of rank 0 of 2: not done within 0.1 s (parallel.timeout_s)");
  EXPECT_EQ(since().aborted, 2);
}

TEST_F(Nccl, ARefusedCallIsNamedWithItsRankNumberAndBytes) {
  const FaultyNccl fault(NcclFault::kRefuses, 1, 2);
  const auto messages = messages_of(sum_twice);
  EXPECT_THAT(messages[1], testing::MatchesRegex("all_reduce_sum \\(4000 bytes of Float\\), call "
                                                 "[0-9]+ of rank 1: NCCL said 'unhandled cuda "
                                                 "error' \\(said by the double\\)"));
  EXPECT_THAT(messages[0], testing::MatchesRegex("all_reduce_sum \\(4000 bytes of Float\\), call "
                                                 "[0-9]+ of rank 0: NCCL said 'remote process.*"));
  EXPECT_EQ(since().aborted, 2);
}

TEST_F(Nccl, AnErrorOnTheWayIsSeenBeforeTheDeadline) {
  const FaultyNccl fault(NcclFault::kFailsOnTheWay, 0, 2);
  for (const std::string& message : messages_of(sum_twice)) {
    EXPECT_THAT(message, AllOf(StartsWith("all_reduce_sum (4000 bytes of Float), call "),
                               HasSubstr("NCCL said 'remote process exited")));
  }
  EXPECT_EQ(since().aborted, 2);
}

TEST_F(Nccl, ACallThatIsNeverDoneMeetsTheDeadlineAndIsAborted) {
  const FaultyNccl fault(NcclFault::kNeverEnds, 1, 2);
  const auto messages = messages_of([](Communicator& c) {
    c.all_reduce_sum(at::ones({10}));
    c.set_timeout(c.rank() == 0 ? 0.3 : kTestTimeoutSeconds);
    c.all_reduce_sum(at::ones({1000}));
  });
  EXPECT_THAT(messages[0],
              testing::MatchesRegex("all_reduce_sum \\(4000 bytes of Float\\), call [0-9]+ of rank "
                                    "0: not done within 0.3 s \\(parallel.timeout_s\\)"));
  EXPECT_THAT(messages[1], HasSubstr("of rank 1: NCCL said 'remote process exited"));
  EXPECT_EQ(since().aborted, 2);
}

TEST_F(Nccl, AfterAFailureTensorsAreRefusedAndTheRanksStillMeet) {
  const FaultyNccl fault(NcclFault::kFailsOnTheWay, 1, 1);
  const auto messages = messages_of([](Communicator& c) {
    EXPECT_THROW(c.all_gather(at::ones({3}), at::ones({6})), CommError);
    EXPECT_TRUE(c.everyone_arrives(kTestTimeoutSeconds));
    c.broadcast(at::ones({3}), 0);
  });
  for (const std::string& message : messages) {
    EXPECT_EQ(message, "broadcast after contact was lost");
  }
}

// Only what lies on the device of the communicator goes by NCCL, which refuses here.
TEST_F(Nccl, TensorsOnTheCpuGoByTheCommunicatorBelow) {
  const FaultyNccl fault(NcclFault::kRefuses, 0, 1);
  run_ranks(2, [](Communicator& control) {
    const auto rank = test::make_double_rank(control, kTestTimeoutSeconds, at::kMeta);
    const at::Tensor sum = at::ones({3});
    rank->all_reduce_sum(sum);
    EXPECT_EQ(sum[0].item<float>(), 2.0f);
  });
}

// More than the library's slots hold, and an element behind the last whole one.
TEST_F(Nccl, LargeTensorsArriveWhole) {
  for (const auto& outcome : outcomes_of({Transport::kNccl, 3}, [](Communicator& c) {
         const at::Tensor tensor = at::arange(1'000'003, at::kDouble) * (c.rank() + 1);
         c.all_reduce_sum(tensor);
         EXPECT_TRUE(at::equal(tensor, at::arange(1'000'003, at::kDouble) * 6));
       })) {
    EXPECT_EQ(message_of_outcome<CommError>(outcome), "no error");
  }
}

}  // namespace
}  // namespace limbic::parallel
