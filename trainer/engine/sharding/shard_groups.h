// Which ranks hold one copy of the state of training together, and which hold the same part of it.
#pragma once

#include <cstdint>
#include <memory>

#include "trainer/parallel/communicator.h"

namespace limbic::engine {

class ShardGroups {
  std::unique_ptr<parallel::Communicator> own_shards_, own_copies_;

 public:
  // Neighbouring ranks, `shard_ranks` at a time, hold a copy together; 0: all ranks do. Every rank
  // must call. Requires: it divides the number of ranks.
  ShardGroups(parallel::Communicator& world, std::int64_t shard_ranks);

  parallel::Communicator& world;
  parallel::Communicator& shards;        // the ranks of this rank's copy
  parallel::Communicator* const copies;  // those with this rank's part; null when there is one copy
};

}  // namespace limbic::engine
