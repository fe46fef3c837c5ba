// Where the weights that training reads lie, and what of them a rank updates.
#pragma once

#include <ATen/ATen.h>

#include <functional>
#include <memory>
#include <vector>

#include "trainer/engine/sharding/courier.h"
#include "trainer/engine/sharding/flat_layout.h"
#include "trainer/engine/sharding/shard_groups.h"
#include "trainer/model/decoder.h"

namespace limbic::engine {

class WeightStore {
 public:
  virtual ~WeightStore() = default;

  // What this rank updates: whole buckets, or its piece of each; float32.
  virtual const std::vector<at::Tensor>& pieces() const = 0;
  // The pieces changed. The others' weights travel when the next pass needs them.
  virtual void updated() = 0;
  // Before each backward pass of a step: whether this rank has more after it.
  virtual void expect_backward(bool last) = 0;
  // Every weight in its place on every rank, for good: the store has done its work. Every rank must
  // call.
  virtual void give_back() = 0;
};

// Whole weights on every rank (zero_stage 0 to 2). When `sharded`, each rank updates its share; the
// shares of the others travel during the next forward pass.
std::unique_ptr<WeightStore> make_whole_weights(model::Decoder& decoder, const ShardGroups& groups,
                                                Courier& courier, const FlatLayout& layout,
                                                bool sharded);

// A share of all weights on every rank, frozen ones included (zero_stage 3). A block's are gathered
// before it is read, the next block's meanwhile, and dropped after. `block_is_done` hears of every
// block whose gradients are complete, on all ranks in the same order.
std::unique_ptr<WeightStore> make_sharded_weights(
    model::Decoder& decoder, const ShardGroups& groups, Courier& courier, const FlatLayout& layout,
    std::function<void(std::size_t block)> block_is_done);

}  // namespace limbic::engine
