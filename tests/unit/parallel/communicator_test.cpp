// The communicators of one process: what all of them must do, and what becomes of the others when a
// rank fails.
#include "trainer/parallel/communicator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>

#include "tests/support/parallel/conformance.h"
#include "tests/unit/parallel/worlds.h"
#include "trainer/base/error.h"

namespace limbic::parallel {
namespace {

using testing::HasSubstr;

class Conformance : public testing::TestWithParam<WorldKind> {};
INSTANTIATE_TEST_SUITE_P(
    Worlds, Conformance,
    testing::Values(WorldKind{Transport::kLocal, 1}, WorldKind{Transport::kThreads, 1},
                    WorldKind{Transport::kThreads, 2}, WorldKind{Transport::kThreads, 3},
                    WorldKind{Transport::kThreads, 4}, WorldKind{Transport::kStaged, 1},
                    WorldKind{Transport::kStaged, 3}, WorldKind{Transport::kNccl, 1},
                    WorldKind{Transport::kNccl, 2}, WorldKind{Transport::kNccl, 3},
                    WorldKind{Transport::kNccl, 4}),
    name_of_world);

TEST_P(Conformance, EveryCheckHolds) {
  for (const Check& check : conformance_checks()) {
    const auto outcomes = outcomes_of(
        GetParam(), [&](Communicator& c) { check.run({.communicator = c, .device = at::kCPU}); });
    for (std::size_t r = 0; r < outcomes.size(); ++r) {
      EXPECT_FALSE(outcomes[r]) << check.name << ": rank " << r << ": "
                                << message_of_outcome<WrongResult>(outcomes[r]);
    }
  }
}

// What no kind of rank may wait for in vain.
class Faults : public testing::TestWithParam<WorldKind> {
 protected:
  template <class Play>
  static auto outcomes(Play play, double timeout_s = kTestTimeoutSeconds) {
    return outcomes_of(GetParam(), play, timeout_s);
  }
};
INSTANTIATE_TEST_SUITE_P(Worlds, Faults,
                         testing::Values(WorldKind{Transport::kThreads, 3},
                                         WorldKind{Transport::kStaged, 3},
                                         WorldKind{Transport::kNccl, 3}),
                         name_of_world);

TEST_P(Faults, AbortWakesEveryoneWhoWaits) {
  const auto start = std::chrono::steady_clock::now();
  const auto ended = outcomes([](Communicator& c) {
    if (c.rank() == 2) return c.abort("out of paper", 70);
    c.rank() == 0 ? c.barrier() : c.all_reduce_sum(at::zeros({8}));
  });
  const auto waited = std::chrono::steady_clock::now() - start;
  EXPECT_LT(std::chrono::duration<double>(waited).count(), kTestTimeoutSeconds / 2);
  EXPECT_EQ(message_of_outcome<CommError>(ended[0]), "rank 2: out of paper");
  EXPECT_EQ(message_of_outcome<CommError>(ended[1]), "rank 2: out of paper");
  EXPECT_FALSE(ended[2]);
}

TEST_P(Faults, AnAbortedWorldStaysAborted) {
  const auto ended = outcomes([](Communicator& c) {
    if (c.rank() == 0) c.abort("gone", 70);
    EXPECT_THROW(c.broadcast(at::zeros({3}), 0), CommError);
    EXPECT_THROW(c.all_gather_bytes("x"), CommError);
    EXPECT_FALSE(c.everyone_arrives(kTestTimeoutSeconds));
  });
  for (const auto& outcome : ended) EXPECT_EQ(message_of_outcome<CommError>(outcome), "no error");
}

// Who waits for whom, in which call, and with how much.
TEST_P(Faults, TheDeadlineNamesTheRanksTheCallAndItsBytes) {
  const auto ended = outcomes([](Communicator& c) {
    c.all_gather_bytes("x");
    const std::int64_t number = c.meet({.kind = CallKind::kBarrier});
    if (c.rank() != 2) return;
    c.set_timeout(0.05);
    try {
      c.all_reduce_sum(at::zeros({8}));
      FAIL() << "nobody else comes";
    } catch (const CommError& error) {
      EXPECT_EQ(error.what(),
                fmt::format("all_reduce_sum (32 bytes of Float), call {} of rank 2: rank 0 and 1 "
                            "did not come within 0.05 s (parallel.timeout_s)",
                            number + 1));
    }
  });
  EXPECT_EQ(message_of_outcome<CommError>(ended[2]), "no error");
}

// Otherwise every one of the others would wait as long as the first did.
TEST_P(Faults, AMissedDeadlineEndsLaterCallsAtOnce) {
  const auto ended = outcomes([](Communicator& c) {
    c.barrier();
    if (c.rank() == 0) return;
    c.set_timeout(0.02);
    EXPECT_THROW(c.barrier(), CommError);
    EXPECT_THROW(c.all_gather_bytes("later"), CommError);
  });
  for (const auto& outcome : ended) EXPECT_EQ(message_of_outcome<CommError>(outcome), "no error");
}

TEST_P(Faults, EveryoneArrivesSaysWhenSomebodyDoesNot) {
  const auto ended = outcomes([](Communicator& c) {
    if (c.rank() == 1) return;
    EXPECT_FALSE(c.everyone_arrives(0.02));
  });
  for (const auto& outcome : ended) EXPECT_EQ(message_of_outcome<CommError>(outcome), "no error");
}

// A rank that is about to end must not be taken for one at a collective, nor the other way round.
TEST_P(Faults, ARankThatEndsIsNotPartOfACollective) {
  const auto ended = outcomes([](Communicator& c) {
    if (c.rank() == 0) return c.barrier();
    EXPECT_FALSE(c.everyone_arrives(kTestTimeoutSeconds));
  });
  EXPECT_EQ(message_of_outcome<CommError>(ended[0]),
            "barrier of rank 0 met end with an error of rank 1");
}

}  // namespace
}  // namespace limbic::parallel
