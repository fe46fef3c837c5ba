#include "trainer/engine/train_engine.h"

#include <chrono>
#include <cmath>

#include "trainer/base/error.h"
#include "trainer/parallel/collectives.h"

namespace limbic::engine {
namespace {

std::vector<at::Tensor> tensors_of(const model::Decoder& decoder) {
  std::vector<at::Tensor> tensors;
  for (const auto& leaf : decoder.trained_leaves()) tensors.push_back(leaf.tensor);
  check(!tensors.empty(), "nothing to train");
  return tensors;
}

FlatLayout layout_of(const model::Decoder& decoder, int ranks, const Parallelism& parallelism) {
  std::vector<FlatLayout::Leaf> leaves;
  for (const auto& leaf : decoder.trained_leaves()) {
    leaves.push_back({leaf.tensor.numel(), leaf.block});
  }
  constexpr std::int64_t kBytes = 4;
  return {leaves, decoder.blocks(), ranks, parallelism.bucket_bytes / kBytes};
}

std::int64_t elements_of(std::span<const at::Tensor> pieces) {
  std::int64_t elements = 0;
  for (const at::Tensor& piece : pieces) elements += piece.numel();
  return elements;
}

}  // namespace

TrainEngine::TrainEngine(model::Decoder& decoder, parallel::Communicator& communicator,
                         const optim::AdamwConfig& adamw, double max_grad_norm,
                         const Parallelism& parallelism)
    : decoder_(decoder),
      groups_(communicator, parallelism.shard_ranks),
      max_grad_norm_(max_grad_norm),
      layout_(layout_of(decoder, groups_.shards.size(), parallelism)),
      courier_(parallelism.overlap && communicator.size() > 1 && decoder.device().is_cpu()),
      exchange_(groups_, courier_, parallelism, layout_, tensors_of(decoder)),
      weights_(parallelism.zero_stage == 3 && exchange_.sharded()
                   ? make_sharded_weights(decoder, groups_, courier_, layout_,
                                          [this](std::size_t block) { exchange_.send(block); })
                   : make_whole_weights(decoder, groups_, courier_, layout_, exchange_.sharded())),
      optimizer_(adamw, elements_of(weights_->pieces()), decoder.device(), decoder.math()) {}

TrainEngine::~TrainEngine() { courier_.cancel(); }

// Gradients of this rank's micro-batches; returns the sum of their losses. They begin to travel in
// the last of them.
double TrainEngine::backward(std::size_t micro_batches,
                             const std::function<at::Tensor(std::size_t)>& loss_of) {
  exchange_.begin();
  double loss_sum = 0.0;
  try {
    for (std::size_t i = 0; i < micro_batches; ++i) {
      const at::Tensor loss = loss_of(i);
      loss_sum += loss.item<double>();
      const bool last = i + 1 == micro_batches;
      if (last) exchange_.start();
      weights_->expect_backward(last);
      if (loss.requires_grad()) loss.backward();
    }
  } catch (...) {
    courier_.cancel();
    throw;
  }
  decoder_.end_passes();
  return loss_sum;
}

StepResult TrainEngine::step(std::size_t micro_batches,
                             const std::function<at::Tensor(std::size_t)>& loss_of,
                             double learning_rate) {
  const double loss_sum = backward(micro_batches, loss_of);
  StepResult result;
  exchange_.finish();
  result.exchange_seconds = courier_.take_waited_seconds();
  result.grad_norm = exchange_.norm(decoder_.math());
  result.loss = parallel::sum(groups_.world, {loss_sum})[0];
  result.learning_rate = learning_rate;
  result.skipped = !std::isfinite(result.grad_norm) || !std::isfinite(result.loss);
  if (result.skipped) return result;
  optimizer_.step(weights_->pieces(), exchange_.sums(), learning_rate,
                  optim::clip_factor(result.grad_norm, max_grad_norm_));
  weights_->updated();
  return result;
}

// Pieces of all ranks -> the elements of all leaves.
at::Tensor TrainEngine::gathered(std::span<const at::Tensor> pieces) const {
  at::Tensor flat = at::empty({layout_.padded()}, pieces[0].options());
  for (std::size_t b = 0; b < layout_.buckets().size(); ++b) {
    const FlatLayout::Piece& bucket = layout_.buckets()[b];
    const at::Tensor place = flat.slice(0, bucket.begin, bucket.begin + bucket.size);
    if (exchange_.sharded()) {
      groups_.shards.all_gather(pieces[b], place);
    } else {
      place.copy_(pieces[b]);
    }
  }
  std::vector<at::Tensor> used;
  for (const FlatLayout::Block& block : layout_.blocks()) {
    used.push_back(flat.slice(0, block.begin, block.begin + block.used));
  }
  return at::cat(used);
}

std::vector<at::Tensor> TrainEngine::pieces_of(const at::Tensor& moment) const {
  std::vector<at::Tensor> pieces;
  std::int64_t begin = 0;
  for (const at::Tensor& piece : weights_->pieces()) {
    pieces.push_back(moment.slice(0, begin, begin + piece.numel()));
    begin += piece.numel();
  }
  return pieces;
}

NamedTensors TrainEngine::state() const {
  return {{"weights", gathered(weights_->pieces())},
          {"first_moment", gathered(pieces_of(optimizer_.first_moment))},
          {"second_moment", gathered(pieces_of(optimizer_.second_moment))}};
}

void TrainEngine::load_state(const NamedTensors& state, std::int64_t steps) {
  at::NoGradGuard no_grad;
  const auto find = [&](const std::string& name) {
    for (const NamedTensor& source : state) {
      if (source.name != name) continue;
      if (source.tensor.numel() == layout_.elements()) return source.tensor;
      throw DataError(fmt::format("checkpoint: {}: got {} values, want {}", name,
                                  source.tensor.numel(), layout_.elements()));
    }
    throw DataError(fmt::format("checkpoint: got no '{}'", name));
  };
  const at::Tensor weights = find("weights");
  const at::Tensor first_moment = find("first_moment");
  const at::Tensor second_moment = find("second_moment");
  const auto fill = [&](const std::vector<at::Tensor>& pieces, const at::Tensor& source) {
    for (std::size_t b = 0; b < pieces.size(); ++b) {
      const FlatLayout::Range range = layout_.range_of(
          exchange_.sharded() ? layout_.piece(b, groups_.shards.rank()) : layout_.buckets()[b]);
      pieces[b].zero_();
      pieces[b]
          .slice(0, 0, range.size)
          .copy_(source.slice(0, range.begin, range.begin + range.size));
    }
  };
  fill(weights_->pieces(), weights);
  fill(pieces_of(optimizer_.first_moment), first_moment);
  fill(pieces_of(optimizer_.second_moment), second_moment);
  optimizer_.steps = steps;
  weights_->updated();
}

}  // namespace limbic::engine
