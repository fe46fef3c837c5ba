#include "trainer/parallel/collectives.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/unit/parallel/ranks.h"
#include "trainer/base/error.h"

namespace limbic::parallel {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

class Sizes : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Worlds, Sizes, testing::Values(1, 2, 3, 4));

TEST_P(Sizes, SumAddsEveryElementOverTheRanks) {
  run_ranks(GetParam(), [](Communicator& c) {
    const double n = c.size();
    const auto got = sum(c, {1.0, static_cast<double>(c.rank()), -0.5, 9007199254740992.0});
    EXPECT_THAT(got, ElementsAre(n, n * (n - 1) / 2, -0.5 * n, n * 9007199254740992.0));
    EXPECT_TRUE(sum(c, {}).empty());
  });
}

TEST_P(Sizes, MaxTakesTheLargestOfEveryElement) {
  run_ranks(GetParam(), [](Communicator& c) {
    const double rank = c.rank();
    EXPECT_THAT(max(c, {rank, -rank, -kInfinity, rank == 0 ? kInfinity : 0.0}),
                ElementsAre(c.size() - 1, 0.0, -kInfinity, kInfinity));
    EXPECT_TRUE(max(c, {}).empty());
  });
}

// A figure that is lost on one rank must not look sound.
TEST_P(Sizes, NotANumberOfAnyRankStays) {
  for (int broken = 0; broken < GetParam(); ++broken) {
    run_ranks(GetParam(), [&](Communicator& c) {
      const double mine = c.rank() == broken ? kNaN : 1.0;
      EXPECT_TRUE(std::isnan(sum(c, {mine})[0]));
      EXPECT_TRUE(std::isnan(max(c, {mine})[0]));
    });
  }
}

TEST_P(Sizes, TheTextOfRankZeroReachesAll) {
  run_ranks(GetParam(), [](Communicator& c) {
    const std::string mine = c.rank() == 0 ? std::string("z\0ero", 5) : "another";
    EXPECT_EQ(broadcast_text(c, mine), std::string("z\0ero", 5));
    EXPECT_EQ(broadcast_text(c, ""), "");
  });
}

TEST_P(Sizes, WorkThatSucceedsRunsOnceOnEveryRank) {
  run_ranks(GetParam(), [](Communicator& c) {
    int runs = 0;
    together(c, [&] { ++runs; });
    EXPECT_EQ(runs, 1);
  });
}

// Throws E on one rank of every world, checks what all ranks get and that the world goes on.
template <class E, class Others>
void expect_arrives_as(int size) {
  for (int failing = 0; failing < size; ++failing) {
    std::vector<int> went_on(static_cast<std::size_t>(size), 0);
    const auto outcomes = outcomes_of_ranks(size, [&](Communicator& c) {
      const auto finish = [&] {
        c.barrier();
        went_on[static_cast<std::size_t>(c.rank())] = 1;
      };
      try {
        together(c, [&] {
          if (c.rank() == failing) throw E("x.yaml:3: lr: got -1, want > 0");
        });
      } catch (...) {
        finish();
        throw;
      }
    });
    for (int r = 0; r < size; ++r) {
      const auto at = static_cast<std::size_t>(r);
      EXPECT_EQ(went_on[at], 1);
      if (r == failing) {
        EXPECT_EQ(message_of_outcome<E>(outcomes[at]), "x.yaml:3: lr: got -1, want > 0");
      } else {
        EXPECT_EQ(message_of_outcome<Others>(outcomes[at]),
                  "rank " + std::to_string(failing) + ": x.yaml:3: lr: got -1, want > 0");
      }
    }
  }
}

TEST_P(Sizes, EveryKindOfErrorArrivesAsItsKind) {
  expect_arrives_as<ConfigError, ConfigError>(GetParam());
  expect_arrives_as<DataError, DataError>(GetParam());
  expect_arrives_as<RemoteError, RemoteError>(GetParam());
  expect_arrives_as<Interrupted, Interrupted>(GetParam());
  expect_arrives_as<std::logic_error, CommError>(GetParam());
  expect_arrives_as<std::runtime_error, CommError>(GetParam());
}

TEST(Together, EachFailingRankKeepsItsOwnErrorAndTheFirstReachesTheRest) {
  const auto outcomes = outcomes_of_ranks(4, [](Communicator& c) {
    together(c, [&] {
      if (c.rank() == 1) throw DataError("first");
      if (c.rank() == 3) throw ConfigError("second");
    });
  });
  EXPECT_EQ(message_of_outcome<DataError>(outcomes[0]), "rank 1: first");
  EXPECT_EQ(message_of_outcome<DataError>(outcomes[1]), "first");
  EXPECT_EQ(message_of_outcome<DataError>(outcomes[2]), "rank 1: first");
  EXPECT_EQ(message_of_outcome<ConfigError>(outcomes[3]), "second");
}

TEST(Together, LostContactPassesThroughAtOnce) {
  const auto outcomes = outcomes_of_ranks(
      2,
      [](Communicator& c) {
        together(c, [&] {
          if (c.rank() == 0) throw CommError("cable pulled");
        });
      },
      0.05);
  EXPECT_EQ(message_of_outcome<CommError>(outcomes[0]), "cable pulled");
  EXPECT_THAT(message_of_outcome<CommError>(outcomes[1]), HasSubstr("0.05 s"));
}

TEST(Together, AnErrorStaysTheRanksOwnWhenTheOthersAreGone) {
  const auto outcomes = outcomes_of_ranks(
      2,
      [](Communicator& c) {
        if (c.rank() == 0) together(c, [] { throw DataError("bad row"); });
      },
      0.05);
  EXPECT_EQ(message_of_outcome<DataError>(outcomes[0]), "bad row");
}

TEST(Together, WhatIsNoExceptionFailsTheOthersToo) {
  const auto outcomes = outcomes_of_ranks(3, [](Communicator& c) {
    together(c, [&] {
      if (c.rank() == 2) throw 42;
    });
  });
  EXPECT_THAT(message_of_outcome<CommError>(outcomes[0]), HasSubstr("rank 2: "));
  EXPECT_THAT(message_of_outcome<CommError>(outcomes[1]), HasSubstr("rank 2: "));
  EXPECT_EQ(message_of_outcome<CommError>(outcomes[2]), "not an exception");
}

}  // namespace
}  // namespace limbic::parallel
