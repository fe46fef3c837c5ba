#include "trainer/engine/sharding/gradient_exchange.h"

#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include <cmath>
#include <utility>

#include "trainer/optim/adamw.h"
#include "trainer/parallel/collectives.h"

namespace limbic::engine {
namespace {

constexpr std::size_t kBlocksUnderWay = 2;  // whose gradients wait in memory of their own

}  // namespace

class GradientExchange::Hook final : public torch::autograd::PostAccumulateGradHook {
 public:
  Hook(GradientExchange& exchange, std::size_t leaf) : exchange_(exchange), leaf_(leaf) {}
  void operator()(const torch::autograd::Variable&) override { exchange_.leaf_is_ready(leaf_); }

 private:
  GradientExchange& exchange_;
  std::size_t leaf_;
};

GradientExchange::GradientExchange(const ShardGroups& groups, Courier& courier,
                                   const Parallelism& parallelism, const FlatLayout& layout,
                                   std::vector<at::Tensor> leaves)
    : groups_(groups),
      courier_(courier),
      layout_(layout),
      zero_stage_(parallelism.zero_stage),
      sharded_(parallelism.zero_stage > 0 && groups.shards.size() > 1),
      half_wire_(parallelism.half_wire && groups.world.size() > 1),
      leaves_(std::move(leaves)),
      missing_(layout.blocks().size()),
      sent_(layout.blocks().size()) {
  const at::NoGradGuard no_grad;
  const auto options = at::TensorOptions().dtype(at::kFloat).device(leaves_[0].device());
  gradients_ = at::zeros({keeps_gradients() ? layout.padded() : layout.share_size()}, options);
  for (std::size_t b = 0; b < layout.buckets().size(); ++b) {
    const FlatLayout::Piece piece =
        sharded_ ? layout.piece(b, groups.shards.rank()) : layout.buckets()[b];
    const std::int64_t begin = keeps_gradients() ? piece.begin : piece.place;
    sums_.push_back(gradients_.slice(0, begin, begin + piece.size));
  }
  std::size_t leaf = 0;
  for (const FlatLayout::Block& block : layout.blocks()) {
    first_leaf_.push_back(leaf);
    for (; leaf < leaves_.size() && layout.begin_of(leaf) < block.begin + block.size; ++leaf) {
      block_of_leaf_.push_back(first_leaf_.size() - 1);
    }
  }
  first_leaf_.push_back(leaf);
  watch();
}

GradientExchange::~GradientExchange() {
  if (!hooked_) return;
  for (const at::Tensor& leaf : leaves_) {
    torch::autograd::impl::set_post_acc_grad_hooks(leaf, nullptr);
  }
}

void GradientExchange::watch() {
  for (std::size_t i = 0; i < leaves_.size(); ++i) {
    at::Tensor& leaf = leaves_[i];
    const std::int64_t begin = layout_.begin_of(i);
    leaf.mutable_grad() = keeps_gradients()
                              ? gradients_.slice(0, begin, begin + leaf.numel()).view(leaf.sizes())
                              : at::Tensor();
  }
  // Sharded weights tell of every block themselves.
  hooked_ = groups_.world.size() > 1 && courier_.threaded() && !(sharded_ && zero_stage_ == 3);
  if (!hooked_) return;
  for (std::size_t i = 0; i < leaves_.size(); ++i) {
    torch::autograd::impl::set_post_acc_grad_hooks(leaves_[i], std::make_unique<Hook>(*this, i));
  }
}

void GradientExchange::begin() {
  if (keeps_gradients()) {
    gradients_.zero_();
  } else {
    for (at::Tensor& leaf : leaves_) leaf.mutable_grad() = at::Tensor();
  }
  for (std::size_t b = 0; b < missing_.size(); ++b)
    missing_[b] = first_leaf_[b + 1] - first_leaf_[b];
  sent_.assign(sent_.size(), false);
  next_ = sent_.size();
  started_ = false;
  under_way_.clear();
}

void GradientExchange::leaf_is_ready(std::size_t leaf) {
  if (!started_) return;
  --missing_[block_of_leaf_[leaf]];
  // The last block first, in the order of the backward pass.
  while (next_ > 0 && missing_[next_ - 1] == 0) send(--next_);
}

void GradientExchange::send(std::size_t block) {
  if (sent_[block]) return;
  sent_[block] = true;
  const FlatLayout::Block& place = layout_.blocks()[block];
  if (place.size == 0) return;
  const at::Tensor gradients = keeps_gradients()
                                   ? gradients_.slice(0, place.begin, place.begin + place.size)
                                   : packed(block);
  under_way_.push_back(courier_.post([this, place, gradients] {
    for (std::size_t b = place.first_bucket; b < place.last_bucket; ++b) {
      const std::int64_t begin = layout_.buckets()[b].begin - place.begin;
      reduce(b, gradients.slice(0, begin, begin + layout_.buckets()[b].size));
    }
  }));
  if (keeps_gradients() || under_way_.size() <= kBlocksUnderWay) return;
  courier_.wait(under_way_.front());
  under_way_.pop_front();
}

at::Tensor GradientExchange::packed(std::size_t block) {
  const at::NoGradGuard no_grad;
  const FlatLayout::Block& place = layout_.blocks()[block];
  const at::Tensor all =
      at::empty({place.size}, gradients_.options().dtype(half_wire_ ? at::kBFloat16 : at::kFloat));
  all.slice(0, place.used, place.size).zero_();
  for (std::size_t i = first_leaf_[block]; i < first_leaf_[block + 1]; ++i) {
    const std::int64_t begin = layout_.begin_of(i) - place.begin;
    at::Tensor part = all.slice(0, begin, begin + leaves_[i].numel());
    at::Tensor& gradient = leaves_[i].mutable_grad();
    if (gradient.defined()) {
      part.copy_(gradient.reshape({-1}));
      gradient = at::Tensor();
    } else {
      part.zero_();
    }
  }
  // As in a buffer of zeros that gradients are added to: no zero is negative.
  return all.add_(0.0);
}

void GradientExchange::reduce(std::size_t bucket, const at::Tensor& gradients) {
  at::Tensor sum = sums_[bucket];
  const bool convert = half_wire_ && gradients.scalar_type() == at::kFloat;
  const at::Tensor wire = convert ? gradients.to(at::kBFloat16) : gradients;
  if (!sharded_) {
    groups_.world.all_reduce_sum(wire);
    if (half_wire_) sum.copy_(wire);
    return;
  }
  const at::Tensor part = half_wire_ ? at::empty(sum.sizes(), wire.options()) : sum;
  groups_.shards.reduce_scatter_sum(wire, part);
  if (groups_.copies != nullptr) groups_.copies->all_reduce_sum(part);
  if (half_wire_) sum.copy_(part);
}

void GradientExchange::finish() {
  started_ = false;
  for (std::size_t block = sent_.size(); block-- > 0;) send(block);
  courier_.wait_all();
}

double GradientExchange::norm(Math math) const {
  const auto square = [&](const at::Tensor& part) {
    const double norm = optim::l2_norm(part, math);
    return norm * norm;
  };
  double sum = 0.0;
  if (sharded_) {
    for (const at::Tensor& part : sums_) sum += square(part);
    return std::sqrt(parallel::sum(groups_.shards, {sum})[0]);
  }
  // In the order in which ranks with shares would add.
  for (int rank = 0; rank < layout_.ranks(); ++rank) {
    double of_rank = 0.0;
    for (std::size_t b = 0; b < layout_.buckets().size(); ++b) {
      const FlatLayout::Piece piece = layout_.piece(b, rank);
      of_rank += square(gradients_.slice(0, piece.begin, piece.begin + piece.size));
    }
    sum += of_rank;
  }
  return std::sqrt(sum);
}

}  // namespace limbic::engine
