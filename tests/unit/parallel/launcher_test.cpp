#include "trainer/parallel/launcher.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <optional>
#include <string>
#include <vector>

#include "trainer/parallel/communicator.h"

namespace limbic::parallel {
namespace {

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
