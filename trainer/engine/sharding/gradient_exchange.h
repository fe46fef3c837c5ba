// How the gradients of all ranks become their sum: block by block, and while the backward pass
// still computes those of earlier layers. Source: arXiv:2006.15704 (buckets in backward),
// arXiv:1910.02054 (shards).
//
// Blocks travel in one order on all ranks, the last one first, as the backward pass fills them.
// Sums have the same bits with and without overlap, whole or in shares.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <deque>
#include <vector>

#include "trainer/engine/sharding/courier.h"
#include "trainer/engine/sharding/flat_layout.h"
#include "trainer/engine/sharding/parallelism.h"
#include "trainer/engine/sharding/shard_groups.h"
#include "trainer/tensor/math.h"

namespace limbic::engine {

class GradientExchange {
 public:
  // `leaves` lie as the layout's do; it, the courier and the groups outlive this. Up to zero_stage
  // 1 their gradients lie in one flat buffer, from 2 on each is dropped when its block has been
  // sent.
  GradientExchange(const ShardGroups& groups, Courier& courier, const Parallelism& parallelism,
                   const FlatLayout& layout, std::vector<at::Tensor> leaves);
  ~GradientExchange();
  GradientExchange(const GradientExchange&) = delete;
  GradientExchange& operator=(const GradientExchange&) = delete;

  // Whether each rank gets its piece of every bucket's sum, or the whole bucket.
  bool sharded() const { return sharded_; }
  // After `finish`: sums over all ranks, piece by piece; float32.
  const std::vector<at::Tensor>& sums() const { return sums_; }

  // Gradients of nothing: a new step.
  void begin();
  // Before the last backward pass of a step: blocks that get ready from now on may travel. Until
  // `finish` nobody else uses the communicator.
  void start() { started_ = true; }
  // The gradients of a block are complete: it travels, unless it does already.
  void send(std::size_t block);
  // Every rank must call. Sends the rest and waits. Throws what the collectives throw.
  void finish();

  // Euclidean norm of the sums; the same bits sharded or not. Every rank must call.
  double norm(Math math) const;

 private:
  class Hook;

  bool keeps_gradients() const { return !sharded_ || zero_stage_ < 2; }
  void watch();
  void leaf_is_ready(std::size_t leaf);
  // A block's gradients in one buffer, as they travel; the leaves lose theirs.
  at::Tensor packed(std::size_t block);
  void reduce(std::size_t bucket, const at::Tensor& gradients);

  const ShardGroups& groups_;
  Courier& courier_;
  const FlatLayout& layout_;
  std::int64_t zero_stage_;
  bool sharded_, half_wire_;
  std::vector<at::Tensor> leaves_;
  std::vector<std::size_t> block_of_leaf_;
  std::vector<std::size_t> first_leaf_;  // [blocks + 1]
  at::Tensor gradients_;                 // [padded], or [share] when they are not kept
  std::vector<at::Tensor> sums_;

  bool hooked_ = false, started_ = false;
  std::vector<std::size_t> missing_;  // leaves of a block without their gradient
  std::vector<bool> sent_;
  std::size_t next_ = 0;  // blocks before it have not been sent, when hooks send
  std::deque<Courier::Ticket> under_way_;
};

}  // namespace limbic::engine
