// Ranks that are not at the same collective: all of them hear it, none gets wrong numbers.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/parallel/ranks.h"
#include "trainer/base/error.h"
#include "trainer/parallel/call.h"
#include "trainer/parallel/collectives.h"
#include "trainer/parallel/launcher.h"

namespace limbic::parallel {
namespace {

using testing::Each;
using testing::HasSubstr;

std::vector<std::string> messages_of(const std::vector<std::exception_ptr>& outcomes) {
  std::vector<std::string> messages;
  for (const auto& outcome : outcomes) messages.push_back(message_of_outcome<CommError>(outcome));
  return messages;
}

TEST(Mismatch, TwoCollectivesAreNamedOnAllRanks) {
  const auto outcomes = outcomes_of_ranks(3, [](Communicator& c) {
    if (c.rank() == 2) return c.barrier();
    c.all_reduce_sum(at::ones({10}));
  });
  EXPECT_THAT(messages_of(outcomes),
              Each("all_reduce_sum (40 bytes of Float) of rank 0 met barrier of rank 2"));
}

TEST(Mismatch, SizesTypesAndRootsAreCompared) {
  const auto refused = [](auto play) {
    return messages_of(outcomes_of_ranks(2, play)).at(1).find(" met ") != std::string::npos;
  };
  EXPECT_TRUE(refused([](Communicator& c) { c.all_reduce_sum(at::ones({10 + c.rank()})); }));
  EXPECT_TRUE(refused([](Communicator& c) {
    c.all_reduce_sum(at::ones({4 + 4 * c.rank()}, c.rank() == 0 ? at::kDouble : at::kFloat));
  }));
  EXPECT_TRUE(refused([](Communicator& c) { c.broadcast(at::ones({10}), c.rank()); }));
  EXPECT_TRUE(refused([](Communicator& c) {
    const std::int64_t count = 3 + c.rank();
    c.all_gather(at::ones({count}), at::ones({2 * count}));
  }));
  EXPECT_TRUE(refused([](Communicator& c) { sum(c, std::vector<double>(1 + c.rank())); }));
  EXPECT_TRUE(refused([](Communicator& c) {
    c.rank() == 0 ? static_cast<void>(c.all_gather_bytes("abc")) : c.barrier();
  }));
}

TEST(Mismatch, TheRanksAreTogetherAfterwards) {
  run_ranks(2, [](Communicator& c) {
    EXPECT_THROW(c.all_reduce_sum(at::ones({1 + c.rank()})), CommError);
    EXPECT_TRUE(c.everyone_arrives(kTestTimeoutSeconds));
  });
}

// A rank that is about to end must not be taken for one at a collective, nor the other way round.
TEST(Mismatch, ARankThatEndsIsNotPartOfACollective) {
  const auto outcomes = outcomes_of_ranks(2, [](Communicator& c) {
    if (c.rank() == 1) {
      EXPECT_FALSE(c.everyone_arrives(kTestTimeoutSeconds));
    } else {
      c.barrier();
    }
  });
  EXPECT_EQ(message_of_outcome<CommError>(outcomes[0]),
            "barrier of rank 0 met end with an error of rank 1");
}

TEST(Mismatch, AMissedTimeoutEndsLaterCallsAtOnce) {
  const auto world = make_threads(2, 0.01);
  EXPECT_THROW(world[0]->barrier(), CommError);
  world[1]->set_timeout(1e6);
  try {
    world[1]->barrier();
    FAIL() << "the other rank is gone";
  } catch (const CommError& error) {
    EXPECT_THAT(error.what(), HasSubstr("rank 0: barrier: not all of 2 ranks came within 0.01 s"));
  }
}

// Sets variables of the environment while it lives; all that a launcher may have set are gone.
class Environment {
 public:
  explicit Environment(std::vector<std::pair<const char*, const char*>> variables) {
    for (const char* name : kNames) {
      const char* value = std::getenv(name);
      before_.emplace_back(name,
                           value == nullptr ? std::nullopt : std::optional<std::string>(value));
      ::unsetenv(name);
    }
    for (const auto& [name, value] : variables) ::setenv(name, value, 1);
  }
  ~Environment() {
    for (const auto& [name, value] : before_) {
      value ? ::setenv(name, value->c_str(), 1) : ::unsetenv(name);
    }
  }

 private:
  static constexpr const char* kNames[] = {
      "OMPI_COMM_WORLD_SIZE", "PMIX_RANK",           "PMI_RANK", "PMI_SIZE", "SLURM_PROCID",
      "SLURM_STEP_ID",        "SLURM_STEP_NUM_TASKS"};
  std::vector<std::pair<const char*, std::optional<std::string>>> before_;
};

TEST(Launcher, AloneUnlessOneOfManyTasks) {
  const auto seen = [](std::vector<std::pair<const char*, const char*>> variables) {
    const Environment environment(std::move(variables));
    return std::pair(started_by_mpi(), launched_ranks());
  };
  EXPECT_EQ(seen({}), std::pair(false, 1));
  EXPECT_EQ(seen({{"OMPI_COMM_WORLD_SIZE", "4"}}), std::pair(true, 4));
  EXPECT_EQ(seen({{"PMI_RANK", "0"}, {"PMI_SIZE", "3"}}), std::pair(true, 3));
  EXPECT_EQ(seen({{"PMIX_RANK", "1"}}), std::pair(true, 1));
  // A batch script, an interactive step of one task, a step of many.
  EXPECT_EQ(seen({{"SLURM_PROCID", "0"}}), std::pair(false, 1));
  EXPECT_EQ(seen({{"SLURM_PROCID", "0"}, {"SLURM_STEP_ID", "0"}, {"SLURM_STEP_NUM_TASKS", "1"}}),
            std::pair(false, 1));
  EXPECT_EQ(seen({{"SLURM_PROCID", "2"}, {"SLURM_STEP_ID", "0"}, {"SLURM_STEP_NUM_TASKS", "8"}}),
            std::pair(true, 8));
}

}  // namespace
}  // namespace limbic::parallel
