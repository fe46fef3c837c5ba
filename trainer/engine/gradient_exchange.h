// How the gradients of all ranks become their sum: bucket by bucket, and while the backward pass
// still computes those of earlier layers. Source: arXiv:2006.15704 (buckets in backward),
// arXiv:1910.02054 (shards).
//
// The flat buffer of all leaves is cut into buckets of equal size, the last one padded. They travel
// in one order on all ranks, the last one first, as the backward pass fills them. A bucket is ready
// when every leaf in it has its gradient. Sums have the same bits with and without overlap, whole
// or in shards.
#pragma once

#include <ATen/ATen.h>

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "trainer/parallel/communicator.h"
#include "trainer/tensor/math.h"

namespace limbic::engine {

// How the optimizer is spread over the ranks.
struct Parallelism {
  std::int64_t zero_stage = 1;             // 1: each rank keeps its share of the moments
  std::int64_t bucket_bytes = 25'000'000;  // gradients travel in pieces of this size
  bool overlap = true;                     // they begin to travel in the backward pass
  bool half_wire = false;                  // as bfloat16; added in float32
};

class GradientExchange {
 public:
  GradientExchange(parallel::Communicator& communicator, const Parallelism& parallelism,
                   std::int64_t elements);
  ~GradientExchange();
  GradientExchange(const GradientExchange&) = delete;
  GradientExchange& operator=(const GradientExchange&) = delete;

  bool sharded() const { return sharded_; }
  std::int64_t padded() const { return padded_; }  // elements of the flat buffer
  std::int64_t mine() const;                       // elements of this rank's shard

  // The leaves lie in the flat gradients one behind the other in their order; they must have those
  // as their gradients already. Both outlive this.
  void watch(const std::vector<at::Tensor>& leaves, const at::Tensor& gradients);

  // Before the last backward pass of a step: what gets ready from now on may travel. Until
  // `finish` nobody else uses the communicator.
  void start();
  // Every rank must call. Sends the rest and waits. Afterwards the gradients (sharded: `shard`
  // [mine()]) are the sums over all ranks. Throws what the collectives throw.
  void finish(at::Tensor& shard);
  // After an error of this rank: nothing more is sent. What is under way ends, as the other ranks
  // come to it.
  void cancel() noexcept;

  // Euclidean norm over all ranks of what `finish` left; the same bits sharded or not. Every rank
  // must call.
  double norm(const at::Tensor& shard, Math math) const;

  // The rank's shard of a flat buffer, and back. Every rank must call `gather`.
  void take_shard(const at::Tensor& flat, at::Tensor shard) const;
  void gather(const at::Tensor& shard, at::Tensor flat) const;

 private:
  struct Bucket {
    std::int64_t begin = 0, size = 0;  // in the flat buffer
    std::int64_t place = 0;            // of this rank's piece in its shard
    int leaves = 0;                    // that have elements in it
    int missing = 0;                   // of those, without their gradient
  };
  class Hook;

  void leaf_is_ready(std::size_t leaf);
  void send_ready();
  void send(const Bucket& bucket);
  std::int64_t piece(const Bucket& bucket) const { return bucket.size / communicator_.size(); }

  parallel::Communicator& communicator_;
  Parallelism parallelism_;
  bool sharded_;
  bool overlap_;
  std::int64_t padded_ = 0;
  std::vector<Bucket> buckets_;
  std::vector<std::pair<std::size_t, std::size_t>> of_leaf_;  // buckets [first, last)
  std::vector<at::Tensor> leaves_;
  at::Tensor gradients_, shard_;

  // What the backward pass and the sending thread share.
  std::mutex mutex_;
  std::condition_variable changed_;
  bool started_ = false, all_ready_ = false, cancelled_ = false;
  std::exception_ptr error_;
  std::thread sender_;
};

}  // namespace limbic::engine
