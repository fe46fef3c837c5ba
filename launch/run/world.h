// The ranks of a run: which communicator, whether all ranks mean the same run, how they end
// together.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "launch/config/run_config.h"
#include "launch/model/place.h"
#include "trainer/parallel/communicator.h"

namespace limbic::launch {

class World {
 public:
  // MPI under mpirun or srun, else one rank.
  World();
  parallel::Communicator& communicator() { return nccl_ ? *nccl_ : *communicator_; }

  // Reads the file on every rank. Throws ConfigError on all ranks when it cannot be read on one,
  // when two ranks read different settings (the first difference is named), or when the backend
  // does not fit how the ranks were started.
  RunConfig load_config(const std::string& path, const std::vector<std::string>& overrides);

  // Chooses where this rank computes, and by which way tensors on GPUs go from rank to rank
  // (`open_exchange`): `communicator()` is another one afterwards. Throws ConfigError on all ranks.
  Place take_place(const RunConfig& config);

 private:
  std::unique_ptr<parallel::Communicator> communicator_;
  std::unique_ptr<parallel::Communicator> nccl_;  // over communicator_, when ranks have GPUs
};

// Runs `work` as one rank and turns what it throws into an exit code. An error of all ranks is said
// once; an error of one rank is said by it and ends all others.
int run_in_world(const std::function<void(World&)>& work);

}  // namespace limbic::launch
