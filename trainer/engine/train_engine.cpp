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
                         const optim::AdamwConfig& adamw, double max_grad_norm)
    : decoder_(decoder),
      communicator_(communicator),
      max_grad_norm_(max_grad_norm),
      optimizer_(adamw, total_elements(decoder), decoder.device()) {
  at::NoGradGuard no_grad;
  const auto options = at::TensorOptions().dtype(at::kFloat).device(decoder.device());
  weights_ = at::empty({optimizer_.first_moment.numel()}, options);
  gradients_ = at::zeros_like(weights_);
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
  communicator_.all_reduce_sum(gradients_);
  StepResult result;
  result.loss = parallel::sum(communicator_, {loss_sum})[0];
  result.grad_norm = optim::l2_norm(gradients_);
  result.learning_rate = learning_rate;
  if (!std::isfinite(result.grad_norm) || !std::isfinite(result.loss)) {
    throw DataError(
        fmt::format("step {}: got loss {} and gradient norm {}, want finite numbers; lower "
                    "the learning rate or look at the data",
                    optimizer_.steps + 1, result.loss, result.grad_norm));
  }
  optimizer_.step(weights_, gradients_, learning_rate,
                  optim::clip_factor(result.grad_norm, max_grad_norm_));
  decoder_.refresh_compute();
  return result;
}

NamedTensors TrainEngine::state() const {
  return {{"weights", weights_},
          {"first_moment", optimizer_.first_moment},
          {"second_moment", optimizer_.second_moment}};
}

void TrainEngine::load_state(const NamedTensors& state, std::int64_t steps) {
  at::NoGradGuard no_grad;
  const NamedTensors mine = this->state();
  for (const NamedTensor& target : mine) {
    bool found = false;
    for (const NamedTensor& source : state) {
      if (source.name != target.name) continue;
      if (source.tensor.numel() != target.tensor.numel()) {
        throw DataError(fmt::format("checkpoint: {}: got {} values, want {}", target.name,
                                    source.tensor.numel(), target.tensor.numel()));
      }
      at::Tensor destination = target.tensor;
      destination.copy_(source.tensor);
      found = true;
    }
    if (!found) throw DataError(fmt::format("checkpoint: got no '{}'", target.name));
  }
  optimizer_.steps = steps;
  decoder_.refresh_compute();
}

}  // namespace limbic::engine
