#include "trainer/engine/sharding/shard_groups.h"

#include "trainer/base/error.h"

namespace limbic::engine {
namespace {

bool is_one_copy(const parallel::Communicator& world, std::int64_t shard_ranks) {
  check(shard_ranks >= 0 && (shard_ranks == 0 || world.size() % shard_ranks == 0),
        "every copy has as many ranks");
  return shard_ranks == 0 || shard_ranks == world.size();
}

}  // namespace

ShardGroups::ShardGroups(parallel::Communicator& all, std::int64_t shard_ranks)
    : own_shards_(is_one_copy(all, shard_ranks)
                      ? nullptr
                      : all.split(all.rank() / static_cast<int>(shard_ranks))),
      own_copies_(own_shards_ ? all.split(all.rank() % static_cast<int>(shard_ranks)) : nullptr),
      world(all),
      shards(own_shards_ ? *own_shards_ : all),
      copies(own_copies_.get()) {}

}  // namespace limbic::engine
