// The decoder-only transformer of the Llama family: tokens -> hidden states -> token
// log-probabilities. One implementation for all families; the differences are data (`ModelConfig`).
//
// Batches are packed: sequences lie one behind the other, attend only within themselves, and
// nothing is padded. The residual stream is float32; activations are in the compute type.
//
// The generator reads the very tensors that training updates, so there is never a copy to
// synchronise.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "trainer/model/block_keeper.h"
#include "trainer/model/kv_cache.h"
#include "trainer/model/linear.h"
#include "trainer/model/model_config.h"
#include "trainer/model/ops.h"

namespace limbic::model {

// Sequences one behind the other. A family is a sequence and any number of sequences behind it that
// continue it: they attend to all of it and to themselves, so a prompt is computed once for all its
// completions.
struct PackedTokens {
  at::Tensor tokens;     // [tokens] int32
  at::Tensor positions;  // [tokens] int32, from 0 in each sequence, or from where it continues
  std::vector<std::int64_t> offsets;  // [sequences + 1]
  // [families + 1] first sequence of each; empty = every sequence is a family of its own
  std::vector<std::int64_t> families = {};
};

struct ForwardOptions {
  bool use_adapter = true;         // false: the frozen base, the reference policy
  std::uint64_t dropout_seed = 0;  // of this micro-batch; mixed with the layer inside
};

struct Layer {
  at::Tensor input_norm;      // [hidden] float32
  at::Tensor attention_norm;  // [hidden] float32, before the MLP
  // [hidden] float32 or undefined: behind attention and MLP, before they are added
  at::Tensor attention_out_norm, mlp_out_norm;
  at::Tensor q_norm, k_norm;  // [head_dim] float32 or undefined
  Linear qkv, output, gate_up, down;
};

// A float32 leaf that training updates, and the Hugging Face tensors that lie in its rows.
struct TrainedLeaf {
  std::string name;
  at::Tensor tensor;
  std::size_t block = 0;  // as `BlockKeeper` counts them
};

class Decoder {
 public:
  // Allocates nothing: `weights.h` fills the layers. compute is float32 or bfloat16; math is that
  // of the device unless given.
  Decoder(ModelConfig config, at::ScalarType compute, at::Device device)
      : Decoder(std::move(config), compute, device, math_of(device)) {}
  Decoder(ModelConfig config, at::ScalarType compute, at::Device device, Math math);

  const ModelConfig& config() const { return config_; }
  at::ScalarType compute() const { return compute_; }
  at::Device device() const { return device_; }
  Math math() const { return math_; }

  // Final normed hidden states [tokens, hidden] in the compute type, differentiable.
  // Throws DataError when a sequence is longer than the model's positions, or continues another one
  // across the boundary of its rope.
  at::Tensor hidden(const PackedTokens& batch, const ForwardOptions& options) const;

  // Log-probabilities of `targets` [rows] int32 given hidden states [rows, hidden], under
  // softmax(logits / temperature).
  TokenScores scores(const at::Tensor& hidden, const at::Tensor& targets,
                     const ScoreOptions& wanted = {}, bool use_adapter = true,
                     double temperature = 1.0) const;

  // Runs prompts through the model and fills the prompt part of the cache; gradients off.
  // Returns the normed hidden state of the last token of each prompt [prompts, hidden].
  at::Tensor prefill(const PackedTokens& prompts, const ForwardOptions& options,
                     KeyValueCache& cache) const;
  // One token for every active sequence of the cache: tokens [batch] int32 -> hidden [batch,
  // hidden].
  at::Tensor decode(const at::Tensor& tokens, const ForwardOptions& options,
                    KeyValueCache& cache) const;
  // [rows, vocabulary] in the compute type, no gradient.
  at::Tensor logits(const at::Tensor& hidden, bool use_adapter = true) const;

  // The embedding, the layers, and what is behind them.
  std::size_t blocks() const { return layers_.size() + 2; }
  // Every leaf that requires a gradient, in a fixed order, block by block.
  std::vector<TrainedLeaf> trained_leaves() const;
  // Every other tensor of a block that passes read, and that is no copy of a leaf.
  std::vector<at::Tensor> frozen_tensors(std::size_t block) const;
  // What `refresh_compute` fills: none when leaves are computed with as they are.
  std::vector<at::Tensor> compute_copies(std::size_t block) const;
  // Makes the compute copies follow the float32 leaves; call after every optimizer step and load.
  void refresh_compute();
  void refresh_compute(std::size_t block);

  // From here on `keeper` brings the weights of every pass; nullptr: they are there.
  void set_keeper(BlockKeeper* keeper) { keeper_ = keeper; }
  // Every rank must call after passes that the ranks do not run alike, before the next collective.
  void end_passes() const {
    if (keeper_ != nullptr) keeper_->end_passes();
  }
  // Runs `work`, then `end_passes`, also when it throws.
  void run_passes(const std::function<void()>& work) const;

  std::vector<Layer>& layers() { return layers_; }
  const std::vector<Layer>& layers() const { return layers_; }

  // embedding [vocabulary, hidden]; `weight` only while it is trained. The head is the same matrix
  // when the embeddings are tied (then `head` stays empty).
  Linear embedding;
  Linear head;
  at::Tensor final_norm;  // [hidden] float32

 private:
  // What all layers and batches share; the rest is filled in by who runs them.
  AttentionPlan attention_plan() const;
  at::Tensor embed(const at::Tensor& tokens, bool use_adapter) const;
  // Calls with the name and the place of every matrix and every norm of a block, in a fixed order.
  using EachLinear = std::function<void(const std::string& name, Linear& linear)>;
  using EachNorm = std::function<void(const std::string& name, at::Tensor& norm)>;
  void visit(std::size_t block, const EachLinear& linear, const EachNorm& norm);
  const Linear& output_head() const { return config_.tie_word_embeddings ? embedding : head; }
  // Tokens of each sequence with what it continues.
  std::vector<std::int64_t> checked_lengths(const PackedTokens& batch) const;
  // What a norm multiplies by.
  at::Tensor gain(const at::Tensor& weight) const;
  // The norm behind attention or MLP where the family has one.
  at::Tensor out_norm(const at::Tensor& x, const at::Tensor& weight) const;
  at::Tensor gated(const at::Tensor& gate_up) const;
  at::Tensor run_layers(const PackedTokens& batch, const ForwardOptions& options,
                        std::vector<KeyValueTap>* taps) const;
  // prefill and decode as ATen formulas.
  at::Tensor prefill_padded(const PackedTokens& prompts, const ForwardOptions& options,
                            KeyValueCache& cache) const;
  at::Tensor decode_padded(const at::Tensor& tokens, const ForwardOptions& options,
                           KeyValueCache& cache) const;

  ModelConfig config_;
  at::ScalarType compute_;
  at::Device device_;
  Math math_;
  std::vector<Layer> layers_;
  std::vector<RopeTable> ropes_;  // as in the config
  BlockKeeper* keeper_ = nullptr;
};

}  // namespace limbic::model
