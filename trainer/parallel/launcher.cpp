#include "trainer/parallel/launcher.h"

#include <charconv>
#include <cstdlib>
#include <cstring>

#include "trainer/parallel/communicator.h"

namespace limbic::parallel {
namespace {

int number_of(const char* name) {
  const char* text = std::getenv(name);
  int number = 0;
  if (text != nullptr) std::from_chars(text, text + std::strlen(text), number);
  return number;
}

// A task of an srun step; a batch script has no step and an interactive shell has one task.
bool is_one_of_many_slurm_tasks() {
  return std::getenv("SLURM_PROCID") != nullptr && std::getenv("SLURM_STEP_ID") != nullptr &&
         number_of("SLURM_STEP_NUM_TASKS") > 1;
}

}  // namespace

bool started_by_mpi() {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK"}) {
    if (std::getenv(name) != nullptr) return true;
  }
  return is_one_of_many_slurm_tasks();
}

int launched_ranks() {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE"}) {
    if (number_of(name) > 0) return number_of(name);
  }
  return is_one_of_many_slurm_tasks() ? number_of("SLURM_STEP_NUM_TASKS") : 1;
}

}  // namespace limbic::parallel
