// By which way the ranks of a run exchange tensors that lie on GPUs.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "launch/config/run_config.h"
#include "launch/model/place.h"
#include "trainer/parallel/communicator.h"

namespace limbic::launch {

// What one rank has.
struct RankDevice {
  std::string device;   // its GPU, unlike that of every other rank in the world; empty: the CPU
  std::string missing;  // why it cannot exchange by NCCL; empty: it can
};

// Empty when every rank has a GPU of its own and NCCL, else what the first one lacks: `rank 1
// computes on the CPU`, `ranks 0 and 2 share a GPU`, ...
std::string obstacle(const std::vector<RankDevice>& ranks);

// The communicator by NCCL over `control`, or null where `parallel.backend` is mpi or local, or is
// auto and something is missing: what lies on GPUs goes by way of host memory then, which is said
// in a line where there are GPUs. Every rank must call, with the device of its place chosen. Throws
// ConfigError on all ranks when the backend is nccl and something is missing.
std::unique_ptr<parallel::Communicator> open_exchange(parallel::Communicator& control,
                                                      const RunConfig& config, const Place& place);

}  // namespace limbic::launch
