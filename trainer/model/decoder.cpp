#include "trainer/model/decoder.h"

#include <cmath>

#include "trainer/base/error.h"
#include "trainer/base/seed.h"

namespace limbic::model {

Decoder::Decoder(ModelConfig config, at::ScalarType compute, at::Device device)
    : config_(std::move(config)), compute_(compute), device_(device) {
  layers_.resize(static_cast<std::size_t>(config_.num_hidden_layers));
  const std::vector<double> frequencies = rope_frequencies(config_.rope, config_.head_dim);
  const auto wide = at::TensorOptions().dtype(at::kDouble);
  // Angles are float32 products of float32 factors, as transformers computes them.
  const at::Tensor inverse = at::tensor(frequencies, wide).to(at::kFloat);
  const at::Tensor positions =
      at::arange(config_.max_position_embeddings, at::TensorOptions().dtype(at::kFloat));
  const at::Tensor angles = positions.unsqueeze(1) * inverse.unsqueeze(0);
  cos_ = angles.cos().contiguous().to(device_);
  sin_ = angles.sin().contiguous().to(device_);
}

void Decoder::check_lengths(const PackedTokens& batch) const {
  const std::vector<std::int64_t> families =
      families_or_single(batch.families, batch.offsets.size() - 1);
  for (std::size_t f = 0; f + 1 < families.size(); ++f) {
    std::int64_t before = 0;
    for (std::int64_t i = families[f]; i < families[f + 1]; ++i) {
      const auto s = static_cast<std::size_t>(i);
      const std::int64_t length = before + batch.offsets[s + 1] - batch.offsets[s];
      if (i == families[f]) before = length;
      check_length(length);
    }
  }
}

void Decoder::check_length(std::int64_t length) const {
  if (length > config_.max_position_embeddings) {
    throw DataError(fmt::format("sequence of {} tokens: want at most the model's {} positions",
                                length, config_.max_position_embeddings));
  }
  if (config_.sliding_window > 0 && length > config_.sliding_window) {
    throw DataError(
        fmt::format("sequence of {} tokens: want at most the sliding window of {}; "
                    "limbic attends to the whole sequence",
                    length, config_.sliding_window));
  }
}

at::Tensor Decoder::embed(const at::Tensor& tokens) const {
  if (embedding.weight.defined()) return at::embedding(embedding.weight, tokens);
  return embedding.compute.index_select(0, tokens).to(at::kFloat);
}

at::Tensor Decoder::run_layers(const PackedTokens& batch, const ForwardOptions& options,
                               std::vector<KeyValueTap>* taps) const {
  check_lengths(batch);
  const AttentionPlan plan{.heads = config_.num_attention_heads,
                           .kv_heads = config_.num_key_value_heads,
                           .head_dim = config_.head_dim,
                           .eps = config_.rms_norm_eps,
                           .cos = cos_,
                           .sin = sin_,
                           .positions = batch.positions,
                           .offsets = batch.offsets,
                           .families = batch.families};
  at::Tensor residual = embed(batch.tokens);
  at::Tensor delta;
  std::uint64_t use = 0;
  const auto linear = [&](const Linear& layer, const at::Tensor& x) {
    return apply_linear(layer, x, options.use_adapter, mix64(options.dropout_seed ^ ++use));
  };
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const Layer& layer = layers_[i];
    auto [sum, x] = add_rms_norm(residual, delta, layer.input_norm, config_.rms_norm_eps, compute_);
    const at::Tensor attended = packed_attention(linear(layer.qkv, x), layer.q_norm, layer.k_norm,
                                                 plan, taps == nullptr ? nullptr : &(*taps)[i]);
    auto [after, y] = add_rms_norm(sum, linear(layer.output, attended), layer.attention_norm,
                                   config_.rms_norm_eps, compute_);
    residual = after;
    delta = linear(layer.down, swiglu(linear(layer.gate_up, y)));
  }
  return add_rms_norm(residual, delta, final_norm, config_.rms_norm_eps, compute_).normed;
}

at::Tensor Decoder::hidden(const PackedTokens& batch, const ForwardOptions& options) const {
  return run_layers(batch, options, nullptr);
}

TokenScores Decoder::scores(const at::Tensor& hidden, const at::Tensor& targets,
                            const ScoreOptions& options) const {
  return token_logprobs(hidden, output_head().compute, output_head().weight, targets, options);
}

at::Tensor Decoder::logits(const at::Tensor& hidden) const {
  at::NoGradGuard no_grad;
  return at::mm(hidden, output_head().compute.t());
}

std::vector<TrainedLeaf> Decoder::trained_leaves() const {
  std::vector<TrainedLeaf> leaves;
  const auto add = [&](const std::string& name, const at::Tensor& tensor) {
    if (tensor.defined() && tensor.requires_grad()) leaves.push_back({name, tensor});
  };
  const auto add_linear = [&](const std::string& name, const Linear& linear) {
    add(name + ".weight", linear.weight);
    add(name + ".bias", linear.bias);
    add(name + ".lora_A", linear.adapter.a);
    add(name + ".lora_B", linear.adapter.b);
  };
  add_linear("embedding", embedding);
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const std::string name = fmt::format("layers.{}.", i);
    const Layer& layer = layers_[i];
    add(name + "input_norm", layer.input_norm);
    add_linear(name + "qkv", layer.qkv);
    add(name + "q_norm", layer.q_norm);
    add(name + "k_norm", layer.k_norm);
    add_linear(name + "output", layer.output);
    add(name + "attention_norm", layer.attention_norm);
    add_linear(name + "gate_up", layer.gate_up);
    add_linear(name + "down", layer.down);
  }
  add("final_norm", final_norm);
  add_linear("head", head);
  return leaves;
}

void Decoder::refresh_compute() {
  at::NoGradGuard no_grad;
  const auto refresh = [&](Linear& linear) {
    if (!linear.weight.defined()) return;
    if (compute_ == at::kFloat) {
      linear.compute = linear.weight.detach();
    } else if (linear.compute.defined()) {
      linear.compute.copy_(linear.weight);
    } else {
      linear.compute = linear.weight.detach().to(compute_);
    }
  };
  refresh(embedding);
  refresh(head);
  for (Layer& layer : layers_) {
    for (Linear* linear : {&layer.qkv, &layer.output, &layer.gate_up, &layer.down})
      refresh(*linear);
  }
}

}  // namespace limbic::model
