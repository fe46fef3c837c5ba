// Micro-batches -> one optimizer step. The one step function of limbic: SFT and RL differ only in
// the loss that they hand in.
//
// Weights, gradients and moments lie flat and in shares as trainer/engine/sharding has it.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "trainer/base/fields.h"
#include "trainer/engine/sharding/gradient_exchange.h"
#include "trainer/engine/sharding/weight_store.h"
#include "trainer/engine/train_config.h"
#include "trainer/model/decoder.h"
#include "trainer/optim/adamw.h"
#include "trainer/parallel/communicator.h"
#include "trainer/tensor/named_tensors.h"

namespace limbic::engine {

struct StepResult {
  bool skipped = false;    // loss or gradient is not finite: nothing was updated
  double loss = 0.0;       // of the whole step, over all ranks
  double grad_norm = 0.0;  // before clipping
  double learning_rate = 0.0;
  double exchange_seconds = 0.0;  // that this rank waited for gradients and weights to travel
};

class TrainEngine {
 public:
  // Moves the decoder's trained leaves into the flat buffer. Requires: at least one trained leaf.
  TrainEngine(model::Decoder& decoder, parallel::Communicator& communicator,
              const optim::AdamwConfig& adamw, double max_grad_norm,
              const Parallelism& parallelism = {});
  ~TrainEngine();

  // Every rank must call. `loss_of(i)` gives the scalar loss of micro-batch i, already divided by
  // the denominators of the whole step, so that losses and gradients of all micro-batches and ranks
  // add up.
  StepResult step(std::size_t micro_batches, const std::function<at::Tensor(std::size_t)>& loss_of,
                  double learning_rate);

  // Every rank has the whole model afterwards, for good; no step follows. Every rank must call.
  void give_back_weights() { weights_->give_back(); }

  std::int64_t trained_elements() const { return layout_.elements(); }
  std::int64_t steps_done() const { return optimizer_.steps; }

  // What a checkpoint needs to continue bit for bit, whatever the world size: weights and both
  // moments. Every rank must call.
  NamedTensors state() const;
  // Throws DataError when names or sizes differ; nothing is taken then.
  void load_state(const NamedTensors& state, std::int64_t steps);

 private:
  double backward(std::size_t micro_batches, const std::function<at::Tensor(std::size_t)>& loss_of);
  at::Tensor gathered(std::span<const at::Tensor> pieces) const;
  std::vector<at::Tensor> pieces_of(const at::Tensor& moment) const;

  model::Decoder& decoder_;
  ShardGroups groups_;
  double max_grad_norm_;
  FlatLayout layout_;
  Courier courier_;
  GradientExchange exchange_;
  std::unique_ptr<WeightStore> weights_;
  optim::Adamw optimizer_;
};

}  // namespace limbic::engine
