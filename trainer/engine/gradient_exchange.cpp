#include "trainer/engine/gradient_exchange.h"

#include <c10/util/ParallelGuard.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "trainer/optim/adamw.h"
#include "trainer/parallel/collectives.h"

namespace limbic::engine {

class GradientExchange::Hook final : public torch::autograd::PostAccumulateGradHook {
 public:
  Hook(GradientExchange& exchange, std::size_t leaf) : exchange_(exchange), leaf_(leaf) {}
  void operator()(const torch::autograd::Variable&) override { exchange_.leaf_is_ready(leaf_); }

 private:
  GradientExchange& exchange_;
  std::size_t leaf_;
};

GradientExchange::GradientExchange(parallel::Communicator& communicator,
                                   const Parallelism& parallelism, std::int64_t elements)
    : communicator_(communicator),
      parallelism_(parallelism),
      sharded_(parallelism.zero_stage > 0 && communicator.size() > 1),
      overlap_(parallelism.overlap && communicator.size() > 1) {
  const std::int64_t ranks = communicator.size();
  const auto whole_shards = [&](std::int64_t count) { return (count + ranks - 1) / ranks * ranks; };
  const std::int64_t size =
      whole_shards(std::max<std::int64_t>(1, parallelism.bucket_bytes / std::int64_t{4}));
  for (; padded_ < elements; padded_ += buckets_.back().size) {
    buckets_.push_back({.begin = padded_,
                        .size = std::min(size, whole_shards(elements - padded_)),
                        .place = padded_ / ranks});
  }
}

GradientExchange::~GradientExchange() {
  cancel();
  for (const at::Tensor& leaf : leaves_) {
    torch::autograd::impl::set_post_acc_grad_hooks(leaf, nullptr);
  }
}

std::int64_t GradientExchange::mine() const {
  return sharded_ ? padded_ / communicator_.size() : padded_;
}

void GradientExchange::watch(const std::vector<at::Tensor>& leaves, const at::Tensor& gradients) {
  gradients_ = gradients;
  overlap_ = overlap_ && gradients.is_cpu();
  std::int64_t begin = 0;
  for (const at::Tensor& leaf : leaves) {
    const std::int64_t end = begin + leaf.numel();
    const auto of = [&](std::int64_t element) {
      return static_cast<std::size_t>(element / buckets_[0].size);
    };
    const std::size_t first = of(begin), last = end > begin ? of(end - 1) + 1 : first;
    for (std::size_t b = first; b < last; ++b) buckets_[b].leaves += 1;
    of_leaf_.emplace_back(first, last);
    begin = end;
  }
  if (!overlap_) return;
  leaves_ = leaves;
  for (std::size_t i = 0; i < leaves_.size(); ++i) {
    torch::autograd::impl::set_post_acc_grad_hooks(leaves_[i], std::make_unique<Hook>(*this, i));
  }
}

void GradientExchange::start() {
  if (!overlap_) return;
  for (Bucket& bucket : buckets_) bucket.missing = bucket.leaves;
  if (sharded_) shard_ = at::empty({mine()}, gradients_.options());
  all_ready_ = cancelled_ = false;
  error_ = nullptr;
  started_ = true;
  sender_ = std::thread([this] {
    // The cores belong to the backward pass.
    const c10::ParallelGuard alone(true);
    const at::NoGradGuard no_grad;
    try {
      send_ready();
    } catch (...) {
      error_ = std::current_exception();
    }
  });
}

void GradientExchange::leaf_is_ready(std::size_t leaf) {
  if (!started_) return;
  bool complete = false;
  const std::lock_guard lock(mutex_);
  for (std::size_t b = of_leaf_[leaf].first; b < of_leaf_[leaf].second; ++b) {
    complete = --buckets_[b].missing == 0 || complete;
  }
  if (complete) changed_.notify_one();
}

// The last bucket first, in the order of the backward pass.
void GradientExchange::send_ready() {
  for (auto bucket = buckets_.rbegin(); bucket != buckets_.rend(); ++bucket) {
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return bucket->missing == 0 || all_ready_ || cancelled_; });
      if (cancelled_) return;
    }
    send(*bucket);
  }
}

void GradientExchange::send(const Bucket& bucket) {
  const at::Tensor all = gradients_.slice(0, bucket.begin, bucket.begin + bucket.size);
  const bool half = parallelism_.half_wire && communicator_.size() > 1;
  const at::Tensor wire = half ? all.to(at::kBFloat16) : all;
  if (!sharded_) {
    communicator_.all_reduce_sum(wire);
    if (half) all.copy_(wire);
    return;
  }
  at::Tensor own = shard_.slice(0, bucket.place, bucket.place + piece(bucket));
  const at::Tensor sum = half ? at::empty(own.sizes(), wire.options()) : own;
  communicator_.reduce_scatter_sum(wire, sum);
  if (half) own.copy_(sum);
}

void GradientExchange::finish(at::Tensor& shard) {
  if (started_) {
    {
      const std::lock_guard lock(mutex_);
      all_ready_ = true;
    }
    changed_.notify_one();
    sender_.join();
    started_ = false;
    if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
  } else {
    if (sharded_) shard_ = at::empty({mine()}, gradients_.options());
    for (auto bucket = buckets_.rbegin(); bucket != buckets_.rend(); ++bucket) send(*bucket);
  }
  shard = sharded_ ? std::exchange(shard_, {}) : gradients_;
}

void GradientExchange::cancel() noexcept {
  if (!started_) return;
  {
    const std::lock_guard lock(mutex_);
    cancelled_ = true;
  }
  changed_.notify_one();
  sender_.join();
  started_ = false;
}

double GradientExchange::norm(const at::Tensor& shard, Math math) const {
  const auto square = [&](const at::Tensor& part) {
    const double norm = optim::l2_norm(part, math);
    return norm * norm;
  };
  const auto over_buckets = [&](std::int64_t rank) {
    double sum = 0.0;
    for (const Bucket& bucket : buckets_) {
      const std::int64_t size = piece(bucket);
      const std::int64_t begin = sharded_ ? bucket.place : bucket.begin + rank * size;
      sum += square(shard.slice(0, begin, begin + size));
    }
    return sum;
  };
  if (sharded_) return std::sqrt(parallel::sum(communicator_, {over_buckets(0)})[0]);
  double sum = 0.0;
  for (int rank = 0; rank < communicator_.size(); ++rank) sum += over_buckets(rank);
  return std::sqrt(sum);
}

void GradientExchange::take_shard(const at::Tensor& flat, at::Tensor shard) const {
  for (const Bucket& bucket : buckets_) {
    const std::int64_t size = piece(bucket);
    const std::int64_t begin = bucket.begin + communicator_.rank() * size;
    shard.slice(0, bucket.place, bucket.place + size).copy_(flat.slice(0, begin, begin + size));
  }
}

void GradientExchange::gather(const at::Tensor& shard, at::Tensor flat) const {
  for (const Bucket& bucket : buckets_) {
    communicator_.all_gather(shard.slice(0, bucket.place, bucket.place + piece(bucket)),
                             flat.slice(0, bucket.begin, bucket.begin + bucket.size));
  }
}

}  // namespace limbic::engine
