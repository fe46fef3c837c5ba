#include "trainer/engine/train_engine.h"

#include <chrono>
#include <cmath>

#include "trainer/base/error.h"
#include "trainer/parallel/collectives.h"

namespace limbic::engine {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

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
      elements_(total_elements(decoder)),
      exchange_(communicator, parallelism, elements_),
      optimizer_(adamw, exchange_.mine(), decoder.device(), decoder.math()) {
  at::NoGradGuard no_grad;
  const auto options = at::TensorOptions().dtype(at::kFloat).device(decoder.device());
  weights_ = at::zeros({exchange_.padded()}, options);
  gradients_ = at::zeros_like(weights_);
  std::vector<at::Tensor> leaves;
  std::int64_t offset = 0;
  for (const auto& leaf : decoder.trained_leaves()) {
    const std::int64_t count = leaf.tensor.numel();
    const at::Tensor home = weights_.slice(0, offset, offset + count).view(leaf.tensor.sizes());
    home.copy_(leaf.tensor);
    at::Tensor tensor = leaf.tensor;
    tensor.set_data(home);
    tensor.mutable_grad() = gradients_.slice(0, offset, offset + count).view(leaf.tensor.sizes());
    leaves.push_back(tensor);
    offset += count;
  }
  exchange_.watch(leaves, gradients_);
  my_weights_ = exchange_.sharded() ? at::empty({exchange_.mine()}, options) : weights_;
  if (exchange_.sharded()) exchange_.take_shard(weights_, my_weights_);
  decoder_.refresh_compute();
}

// Gradients of this rank's micro-batches; returns the sum of their losses. The exchange begins in
// the last of them.
double TrainEngine::backward(std::size_t micro_batches,
                             const std::function<at::Tensor(std::size_t)>& loss_of) {
  gradients_.zero_();
  double loss_sum = 0.0;
  try {
    for (std::size_t i = 0; i < micro_batches; ++i) {
      const at::Tensor loss = loss_of(i);
      loss_sum += loss.item<double>();
      if (i + 1 == micro_batches) exchange_.start();
      if (loss.requires_grad()) loss.backward();
    }
  } catch (...) {
    exchange_.cancel();
    throw;
  }
  return loss_sum;
}

StepResult TrainEngine::step(std::size_t micro_batches,
                             const std::function<at::Tensor(std::size_t)>& loss_of,
                             double learning_rate) {
  const double loss_sum = backward(micro_batches, loss_of);
  StepResult result;
  auto start = Clock::now();
  exchange_.finish(my_gradients_);
  result.exchange_seconds = seconds_since(start);
  result.grad_norm = exchange_.norm(my_gradients_, decoder_.math());
  result.loss = parallel::sum(communicator_, {loss_sum})[0];
  result.learning_rate = learning_rate;
  result.skipped = !std::isfinite(result.grad_norm) || !std::isfinite(result.loss);
  if (result.skipped) return result;
  optimizer_.step(my_weights_, my_gradients_, learning_rate,
                  optim::clip_factor(result.grad_norm, max_grad_norm_));
  start = Clock::now();
  if (exchange_.sharded()) exchange_.gather(my_weights_, weights_);
  result.exchange_seconds += seconds_since(start);
  decoder_.refresh_compute();
  return result;
}

at::Tensor TrainEngine::gathered(const at::Tensor& shard) const {
  if (!exchange_.sharded()) return shard.slice(0, 0, elements_);
  at::Tensor whole = at::empty_like(weights_);
  exchange_.gather(shard, whole);
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
  const auto fill = [&](at::Tensor mine, const at::Tensor& source) {
    at::Tensor flat = at::zeros_like(weights_);
    flat.slice(0, 0, elements_).copy_(source);
    if (exchange_.sharded()) {
      exchange_.take_shard(flat, mine);
    } else {
      mine.copy_(flat);
    }
  };
  weights_.slice(0, 0, elements_).copy_(weights);
  if (exchange_.sharded()) exchange_.take_shard(weights_, my_weights_);
  fill(optimizer_.first_moment, first_moment);
  fill(optimizer_.second_moment, second_moment);
  optimizer_.steps = steps;
  decoder_.refresh_compute();
}

}  // namespace limbic::engine
