#include "trainer/engine/train_engine.h"

#include <cmath>

#include "trainer/base/error.h"
#include "trainer/parallel/collectives.h"

namespace limbic::engine {
namespace {

std::int64_t total_elements(const model::Decoder& decoder) {
  std::int64_t total = 0;
  for (const auto& leaf : decoder.trained_leaves()) total += leaf.tensor.numel();
  check(total > 0, "nothing to train");
  return total;
}

}  // namespace

TrainEngine::TrainEngine(model::Decoder& decoder, parallel::Communicator& communicator,
                         const optim::AdamwConfig& adamw, double max_grad_norm,
                         const Parallelism& parallelism)
    : decoder_(decoder),
      communicator_(communicator),
      max_grad_norm_(max_grad_norm),
      parallelism_(parallelism),
      sharded_(parallelism.zero_stage > 0 && communicator.size() > 1),
      elements_(total_elements(decoder)),
      shard_(sharded_ ? (elements_ + communicator.size() - 1) / communicator.size() : elements_),
      optimizer_(adamw, shard_, decoder.device(), decoder.math()) {
  at::NoGradGuard no_grad;
  const auto options = at::TensorOptions().dtype(at::kFloat).device(decoder.device());
  weights_ = at::zeros({sharded_ ? shard_ * communicator.size() : elements_}, options);
  gradients_ = at::zeros_like(weights_);
  const std::int64_t first = sharded_ ? shard_ * communicator.rank() : 0;
  my_weights_ = weights_.slice(0, first, first + shard_);
  my_gradients_ = sharded_ ? at::zeros({shard_}, options) : gradients_;
  std::int64_t offset = 0;
  for (const auto& leaf : decoder.trained_leaves()) {
    const std::int64_t count = leaf.tensor.numel();
    const at::Tensor home = weights_.slice(0, offset, offset + count).view(leaf.tensor.sizes());
    home.copy_(leaf.tensor);
    at::Tensor tensor = leaf.tensor;
    tensor.set_data(home);
    tensor.mutable_grad() = gradients_.slice(0, offset, offset + count).view(leaf.tensor.sizes());
    leaves_.push_back(tensor);
    offset += count;
  }
  decoder_.refresh_compute();
}

// Afterwards my_gradients_ holds the sum over all ranks; returns its norm over all elements.
double TrainEngine::exchange_gradients() {
  if (sharded_) {
    communicator_.reduce_scatter_sum(gradients_, my_gradients_);
    const double mine = optim::l2_norm(my_gradients_, decoder_.math());
    return std::sqrt(parallel::sum(communicator_, {mine * mine})[0]);
  }
  const std::int64_t bucket = std::max<std::int64_t>(1, parallelism_.bucket_bytes / 4);
  for (std::int64_t begin = 0; begin < elements_; begin += bucket) {
    communicator_.all_reduce_sum(gradients_.slice(0, begin, std::min(elements_, begin + bucket)));
  }
  return optim::l2_norm(gradients_, decoder_.math());
}

void TrainEngine::update(double learning_rate, double gradient_scale) {
  optimizer_.step(my_weights_, my_gradients_, learning_rate, gradient_scale);
  if (sharded_) communicator_.all_gather(my_weights_.clone(), weights_);
  decoder_.refresh_compute();
}

StepResult TrainEngine::step(std::size_t micro_batches,
                             const std::function<at::Tensor(std::size_t)>& loss_of,
                             double learning_rate) {
  gradients_.zero_();
  double loss_sum = 0.0;
  for (std::size_t i = 0; i < micro_batches; ++i) {
    const at::Tensor loss = loss_of(i);
    if (loss.requires_grad()) loss.backward();
    loss_sum += loss.item<double>();
  }
  StepResult result;
  result.grad_norm = exchange_gradients();
  result.loss = parallel::sum(communicator_, {loss_sum})[0];
  result.learning_rate = learning_rate;
  if (!std::isfinite(result.grad_norm) || !std::isfinite(result.loss)) {
    throw DataError(
        fmt::format("step {}: got loss {} and gradient norm {}, want finite numbers; lower "
                    "the learning rate or look at the data",
                    optimizer_.steps + 1, result.loss, result.grad_norm));
  }
  update(learning_rate, optim::clip_factor(result.grad_norm, max_grad_norm_));
  return result;
}

at::Tensor TrainEngine::gathered(const at::Tensor& shard) const {
  if (!sharded_) return shard;
  at::Tensor whole = at::empty_like(weights_);
  communicator_.all_gather(shard, whole);
  return whole.slice(0, 0, elements_);
}

NamedTensors TrainEngine::state() const {
  return {{"weights", weights_.slice(0, 0, elements_)},
          {"first_moment", gathered(optimizer_.first_moment)},
          {"second_moment", gathered(optimizer_.second_moment)}};
}

void TrainEngine::load_state(const NamedTensors& state, std::int64_t steps) {
  at::NoGradGuard no_grad;
  const auto find = [&](const std::string& name) {
    for (const NamedTensor& source : state) {
      if (source.name != name) continue;
      if (source.tensor.numel() == elements_) return source.tensor;
      throw DataError(fmt::format("checkpoint: {}: got {} values, want {}", name,
                                  source.tensor.numel(), elements_));
    }
    throw DataError(fmt::format("checkpoint: got no '{}'", name));
  };
  const at::Tensor weights = find("weights");
  const at::Tensor first_moment = find("first_moment");
  const at::Tensor second_moment = find("second_moment");
  weights_.slice(0, 0, elements_).copy_(weights);
  const std::int64_t first = sharded_ ? shard_ * communicator_.rank() : 0;
  const std::int64_t mine = std::min(shard_, elements_ - first);
  const auto fill = [&](at::Tensor moment, const at::Tensor& source) {
    if (mine > 0) moment.slice(0, 0, mine).copy_(source.slice(0, first, first + mine));
  };
  fill(optimizer_.first_moment, first_moment);
  fill(optimizer_.second_moment, second_moment);
  optimizer_.steps = steps;
  decoder_.refresh_compute();
}

}  // namespace limbic::engine
