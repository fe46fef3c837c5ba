#include "trainer/model/decoder.h"

#include <algorithm>
#include <map>

#include "trainer/base/error.h"
#include "trainer/base/seed.h"
#include "trainer/model/aten/padded_rows.h"

namespace limbic::model {

namespace {

// A dynamic rope turns a prompt by the length of what follows it.
void check_shared_prompt(const ModelConfig& config, std::int64_t length) {
  const auto is_dynamic = [](const RopeConfig& rope) {
    return rope.kind == RopeConfig::Kind::kDynamic;
  };
  if (length <= config.max_position_embeddings || !std::ranges::any_of(config.ropes, is_dynamic)) {
    return;
  }
  throw DataError(fmt::format(
      "sequences of {} tokens that share a prompt: want at most the {} positions up to which the "
      "model's dynamic rope is the same for all",
      length, config.max_position_embeddings));
}

// What turns the tokens of a batch: a table and the row of each token.
struct BatchRope {
  RopeRows table;
  at::Tensor rows;  // [tokens] int32
};

BatchRope batch_rope(const RopeTable& rope, const PackedTokens& batch,
                     const std::vector<std::int64_t>& lengths) {
  const std::int64_t limit = std::max(rope.short_limit, rope.dynamic_limit);
  const auto is_long = [&](std::int64_t length) { return length > limit; };
  if (limit == 0 || std::ranges::none_of(lengths, is_long)) return {rope, batch.positions};
  BatchRope out{rope, batch.positions.clone()};
  std::map<std::int64_t, std::int64_t> first_row;  // by length
  std::vector<at::Tensor> cos = {rope.cos}, sin = {rope.sin};
  std::int64_t count = rope.cos.size(0);
  for (std::size_t s = 0; s < lengths.size(); ++s) {
    if (!is_long(lengths[s])) continue;
    std::int64_t first = rope.short_limit;
    if (rope.dynamic_limit != 0) {
      const auto [place, is_new] = first_row.try_emplace(lengths[s], count);
      first = place->second;
      if (is_new) {
        const RopeRows own = rope.of_length(lengths[s]);
        cos.push_back(own.cos);
        sin.push_back(own.sin);
        count += lengths[s];
      }
    }
    out.rows.slice(0, batch.offsets[s], batch.offsets[s + 1]).add_(first);
  }
  if (!first_row.empty()) out.table = {.cos = at::cat(cos, 0), .sin = at::cat(sin, 0)};
  return out;
}

}  // namespace

Decoder::Decoder(ModelConfig config, at::ScalarType compute, at::Device device, Math math)
    : config_(std::move(config)), compute_(compute), device_(device), math_(math) {
  check(device.is_cpu() || math == Math::kAten, "the fused kernels run on a CPU");
  layers_.resize(static_cast<std::size_t>(config_.num_hidden_layers));
  for (const RopeConfig& rope : config_.ropes) {
    ropes_.emplace_back(rope, config_.head_dim, config_.longest_sequence, device_);
  }
}

std::vector<std::int64_t> Decoder::checked_lengths(const PackedTokens& batch) const {
  const std::vector<std::int64_t> families =
      families_or_single(batch.families, batch.offsets.size() - 1);
  std::vector<std::int64_t> lengths;
  for (std::size_t f = 0; f + 1 < families.size(); ++f) {
    std::int64_t first = 0;
    for (std::int64_t i = families[f]; i < families[f + 1]; ++i) {
      const auto s = static_cast<std::size_t>(i);
      const std::int64_t length = first + batch.offsets[s + 1] - batch.offsets[s];
      if (i == families[f]) first = length;
      if (length > config_.longest_sequence) {
        throw DataError(fmt::format("sequence of {} tokens: want at most the model's {} positions",
                                    length, config_.longest_sequence));
      }
      config_.check_continuation(first, length);
      if (i != families[f]) check_shared_prompt(config_, length);
      lengths.push_back(length);
    }
  }
  return lengths;
}

at::Tensor Decoder::gain(const at::Tensor& weight) const {
  return weight.defined() && config_.norm_offset != 0.0 ? weight + config_.norm_offset : weight;
}

at::Tensor Decoder::out_norm(const at::Tensor& x, const at::Tensor& weight) const {
  if (!weight.defined()) return x;
  return operations(math_)
      .add_rms_norm(x.to(at::kFloat), {}, gain(weight), config_.rms_norm_eps, compute_)
      .normed;
}

at::Tensor Decoder::gated(const at::Tensor& gate_up) const {
  const Operations& ops = operations(math_);
  return config_.activation == Activation::kSilu ? ops.swiglu(gate_up) : ops.geglu(gate_up);
}

AttentionPlan Decoder::attention_plan() const {
  AttentionPlan plan;
  plan.heads = config_.num_attention_heads;
  plan.kv_heads = config_.num_key_value_heads;
  plan.head_dim = config_.head_dim;
  plan.eps = config_.rms_norm_eps;
  plan.scale = config_.attention_scale;
  plan.softcap = config_.attention_softcap;
  return plan;
}

at::Tensor Decoder::embed(const at::Tensor& tokens, bool use_adapter) const {
  const bool as_trained = embedding.weight.defined() && (use_adapter || !embedding.base.defined());
  const at::Tensor rows =
      as_trained ? at::embedding(embedding.weight, tokens)
                 : embedding.matrix(use_adapter).index_select(0, tokens).to(at::kFloat);
  return config_.embedding_scale == 1.0 ? rows : rows * config_.embedding_scale;
}

at::Tensor Decoder::run_layers(const PackedTokens& batch, const ForwardOptions& options,
                               std::vector<KeyValueTap>* taps) const {
  const std::vector<std::int64_t> lengths = checked_lengths(batch);
  const Operations& ops = operations(math_);
  std::vector<BatchRope> ropes;
  for (const RopeTable& rope : ropes_) ropes.push_back(batch_rope(rope, batch, lengths));
  AttentionPlan plan = attention_plan();
  plan.offsets = batch.offsets;
  plan.families = batch.families;
  if (math_ == Math::kAten) plan.rows = pad_rows(batch.offsets, batch.families, device_);
  const BlockPass pass(keeper_);
  pass.enter(0);
  at::Tensor residual = embed(batch.tokens, options.use_adapter);
  at::Tensor delta;
  std::uint64_t use = 0;
  const double eps = config_.rms_norm_eps;
  const auto linear = [&](const Linear& layer, const at::Tensor& x) {
    return apply_linear(layer, x, options.use_adapter, mix64(options.dropout_seed ^ ++use));
  };
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const Layer& layer = layers_[i];
    const LayerKind& kind = config_.layer_kinds[i];
    plan.window = kind.window;
    plan.cos = ropes[kind.rope].table.cos;
    plan.sin = ropes[kind.rope].table.sin;
    plan.positions = ropes[kind.rope].rows;
    pass.border(residual, delta, i, layers_.size());
    pass.enter(i + 1);
    auto [sum, x] = ops.add_rms_norm(residual, delta, gain(layer.input_norm), eps, compute_);
    const at::Tensor attended =
        ops.packed_attention(linear(layer.qkv, x), gain(layer.q_norm), gain(layer.k_norm), plan,
                             taps == nullptr ? nullptr : &(*taps)[i]);
    const at::Tensor attention = out_norm(linear(layer.output, attended), layer.attention_out_norm);
    auto [after, y] = ops.add_rms_norm(sum, attention, gain(layer.attention_norm), eps, compute_);
    residual = after;
    delta = out_norm(linear(layer.down, gated(linear(layer.gate_up, y))), layer.mlp_out_norm);
    pass.leave(i + 1);
  }
  pass.border(residual, delta, layers_.size(), layers_.size());
  pass.enter(layers_.size() + 1);
  return ops.add_rms_norm(residual, delta, gain(final_norm), eps, compute_).normed;
}

at::Tensor Decoder::hidden(const PackedTokens& batch, const ForwardOptions& options) const {
  return run_layers(batch, options, nullptr);
}

TokenScores Decoder::scores(const at::Tensor& hidden, const at::Tensor& targets,
                            const ScoreOptions& wanted, bool use_adapter,
                            double temperature) const {
  const Linear& out = output_head();
  const bool as_trained = use_adapter || !out.base.defined();
  // cap tanh(logits / cap) / t = (cap / t) tanh((logits / t) / (cap / t))
  return operations(math_).token_logprobs(
      temperature == 1.0 ? hidden : hidden / temperature, out.matrix(use_adapter),
      as_trained ? out.weight : at::Tensor(), targets, wanted, config_.logit_softcap / temperature);
}

at::Tensor Decoder::logits(const at::Tensor& hidden, bool use_adapter) const {
  at::Tensor logits = row_product(hidden, output_head().matrix(use_adapter));
  const double cap = config_.logit_softcap;
  return cap > 0.0 ? logits.div_(cap).tanh_().mul_(cap) : logits;
}

void Decoder::run_passes(const std::function<void()>& work) const {
  try {
    work();
  } catch (...) {
    // What went wrong first is what is told.
    try {
      end_passes();
    } catch (const CommError&) {
    }
    throw;
  }
  end_passes();
}

void Decoder::visit(std::size_t block, const EachLinear& linear, const EachNorm& norm) {
  if (block == 0) {
    linear("embedding", embedding);
  } else if (block <= layers_.size()) {
    const std::string name = fmt::format("layers.{}.", block - 1);
    Layer& layer = layers_[block - 1];
    norm(name + "input_norm", layer.input_norm);
    linear(name + "qkv", layer.qkv);
    norm(name + "q_norm", layer.q_norm);
    norm(name + "k_norm", layer.k_norm);
    linear(name + "output", layer.output);
    norm(name + "attention_out_norm", layer.attention_out_norm);
    norm(name + "attention_norm", layer.attention_norm);
    linear(name + "gate_up", layer.gate_up);
    linear(name + "down", layer.down);
    norm(name + "mlp_out_norm", layer.mlp_out_norm);
  } else {
    norm("final_norm", final_norm);
    linear("head", head);
  }
}

std::vector<TrainedLeaf> Decoder::trained_leaves() const {
  std::vector<TrainedLeaf> leaves;
  for (std::size_t block = 0; block < blocks(); ++block) {
    const auto add = [&](const std::string& name, const at::Tensor& tensor) {
      if (tensor.defined() && tensor.requires_grad()) leaves.push_back({name, tensor, block});
    };
    const_cast<Decoder*>(this)->visit(
        block,
        [&](const std::string& name, const Linear& linear) {
          add(name + ".weight", linear.weight);
          add(name + ".bias", linear.bias);
          add(name + ".lora_A", linear.adapter.a);
          add(name + ".lora_B", linear.adapter.b);
        },
        add);
  }
  return leaves;
}

std::vector<at::Tensor> Decoder::frozen_tensors(std::size_t block) const {
  std::vector<at::Tensor> tensors;
  const auto add = [&](const std::string&, const at::Tensor& tensor) {
    if (tensor.defined() && !tensor.requires_grad()) tensors.push_back(tensor);
  };
  const_cast<Decoder*>(this)->visit(
      block,
      [&](const std::string& name, const Linear& linear) {
        if (!linear.weight.defined()) add(name, linear.compute);
        for (const at::Tensor* tensor :
             {&linear.base, &linear.bias, &linear.adapter.a, &linear.adapter.b}) {
          add(name, *tensor);
        }
      },
      add);
  return tensors;
}

std::vector<at::Tensor> Decoder::compute_copies(std::size_t block) const {
  std::vector<at::Tensor> copies;
  const_cast<Decoder*>(this)->visit(
      block,
      [&](const std::string&, const Linear& linear) {
        if (compute_ != at::kFloat && linear.weight.defined()) copies.push_back(linear.compute);
      },
      [](const std::string&, const at::Tensor&) {});
  return copies;
}

void Decoder::refresh_compute() {
  for (std::size_t block = 0; block < blocks(); ++block) refresh_compute(block);
}

void Decoder::refresh_compute(std::size_t block) {
  const at::NoGradGuard no_grad;
  const auto refresh = [&](const std::string&, Linear& linear) {
    if (!linear.weight.defined()) return;
    if (compute_ == at::kFloat) {
      linear.compute = linear.weight.detach();
    } else if (linear.compute.defined()) {
      // A backward pass may bring back what autograd has kept of it: no new version.
      linear.compute.variable_data().copy_(linear.weight);
    } else {
      linear.compute = linear.weight.detach().to(compute_);
    }
  };
  visit(block, refresh, [](const std::string&, const at::Tensor&) {});
}

}  // namespace limbic::model
