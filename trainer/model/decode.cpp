// The cached half of the decoder: prefill of prompts and one token at a time. Gradients are off
// here.
#include <cstring>

#include "trainer/base/seed.h"
#include "trainer/model/decoder.h"
#include "trainer/model/kernel_call.h"

namespace limbic::model {
namespace {

// What every layer of one decode step shares.
struct Step {
  std::vector<std::int64_t> slot, prompt_begin, prompt_keys_begin, prompt_length, own_length;
  std::int64_t longest = 0;  // visible positions of the longest sequence
  std::vector<std::int32_t> positions;
};

// Rows of a rope's table for the tokens of a step. A prompt decides for what is generated from it.
at::Tensor step_rows(const RopeTable& rope, const Step& step, at::Device device) {
  std::vector<std::int32_t> rows = step.positions;
  for (std::size_t i = 0; rope.short_limit > 0 && i < rows.size(); ++i) {
    if (step.prompt_length[i] > rope.short_limit) {
      rows[i] += static_cast<std::int32_t>(rope.short_limit);
    }
  }
  return at::tensor(rows, at::TensorOptions().dtype(at::kInt)).to(device);
}

// What attention reads of a layer beside its cache.
struct StepLayer {
  at::Tensor q_norm, k_norm;  // what they multiply by, or undefined
  const RopeTable& rope;
  const at::Tensor& rows;
  std::int64_t window;
};

Step plan_step(KeyValueCache& cache) {
  Step step;
  for (const std::int64_t slot : cache.active()) {
    const auto at = static_cast<std::size_t>(slot);
    step.positions.push_back(
        static_cast<std::int32_t>(cache.prompt_length[at] + cache.own_length[at]));
    cache.own_length[at] += 1;
    step.slot.push_back(slot);
    step.prompt_begin.push_back(cache.prompt_begin[at]);
    step.prompt_keys_begin.push_back(
        cache.prompt_keys_begin[at / static_cast<std::size_t>(cache.group())]);
    step.prompt_length.push_back(cache.prompt_length[at]);
    step.own_length.push_back(cache.own_length[at]);
    step.longest = std::max(step.longest, cache.prompt_length[at] + cache.own_length[at]);
    check(cache.own_length[at] <= cache.capacity(), "cache slot is full");
  }
  return step;
}

// Rotates q and k of the step and stores k and v behind what each sequence has.
template <class X>
at::Tensor store_step(const ModelConfig& config, const StepLayer& layer, const Step& step,
                      const at::Tensor& qkv, LayerCache& cache, std::int64_t capacity,
                      const kernels::ActivationKernels<X>& table) {
  const std::int64_t batch = qkv.size(0);
  const std::int64_t dim = config.head_dim;
  const std::int64_t width = config.num_key_value_heads * dim;
  at::Tensor q = at::empty({batch, config.num_attention_heads, dim}, qkv.options());
  at::Tensor k = at::empty({batch, width}, qkv.options());
  kernels::HeadLayout queries{.row_stride = qkv.size(1),
                              .heads = config.num_attention_heads,
                              .head_dim = dim,
                              .rotated = 2 * layer.rope.cos.size(1),
                              .norm_weight = raw<float>(layer.q_norm),
                              .eps = static_cast<float>(config.rms_norm_eps),
                              .cos = raw<float>(layer.rope.cos),
                              .sin = raw<float>(layer.rope.sin),
                              .positions = raw<std::int32_t>(layer.rows)};
  kernels::HeadLayout keys = queries;
  keys.heads = config.num_key_value_heads;
  keys.norm_weight = raw<float>(layer.k_norm);
  const X* first_key = raw<X>(qkv) + config.num_attention_heads * dim;
  const std::int64_t columns = cache.own_keys.size(3);
  // A key goes to as many cache lines as it has elements.
  at::parallel_for(0, batch, grain(8 * qkv.size(1)), [&](std::int64_t begin, std::int64_t end) {
    table.rotate(queries, raw<X>(qkv), raw<X>(q), nullptr, begin, end);
    table.rotate(keys, first_key, raw<X>(k), nullptr, begin, end);
    for (std::int64_t row = begin; row < end; ++row) {
      const auto at = static_cast<std::size_t>(row);
      const std::int64_t place = step.own_length[at] - 1;
      X* column = raw<X>(cache.own_keys) + step.slot[at] * width * columns + place;
      const X* key = raw<X>(k) + row * width;
      for (std::int64_t i = 0; i < width; ++i) column[i * columns] = key[i];
      X* value = raw<X>(cache.own_values) + (step.slot[at] * capacity + place) * width;
      std::memcpy(value, first_key + row * qkv.size(1) + width,
                  static_cast<std::size_t>(width) * sizeof(X));
    }
  });
  return q;
}

at::Tensor attend_step(const ModelConfig& config, const StepLayer& layer, const Step& step,
                       const at::Tensor& qkv, LayerCache& cache, std::int64_t capacity) {
  const std::int64_t batch = qkv.size(0);
  at::Tensor out = at::empty({batch, config.num_attention_heads * config.head_dim}, qkv.options());
  with_kernels(qkv.scalar_type(), [&](const auto& table, auto type) {
    using X = decltype(type);
    const at::Tensor q = store_step<X>(config, layer, step, qkv, cache, capacity, table);
    const kernels::DecodeAttention<X> job{.q = raw<X>(q),
                                          .q_stride = out.size(1),
                                          .out = raw<X>(out),
                                          .out_stride = out.size(1),
                                          .prompt_k = raw<X>(cache.prompt_keys),
                                          .prompt_k_begin = step.prompt_keys_begin.data(),
                                          .prompt_v = raw<X>(cache.prompt_values),
                                          .own_k = raw<X>(cache.own_keys),
                                          .own_v = raw<X>(cache.own_values),
                                          .prompt_begin = step.prompt_begin.data(),
                                          .prompt_length = step.prompt_length.data(),
                                          .own_slot = step.slot.data(),
                                          .own_length = step.own_length.data(),
                                          .capacity = capacity,
                                          .heads = config.num_attention_heads,
                                          .kv_heads = config.num_key_value_heads,
                                          .head_dim = config.head_dim,
                                          .scale = static_cast<float>(config.attention_scale),
                                          .softcap = static_cast<float>(config.attention_softcap),
                                          .window = layer.window};
    const std::int64_t group = config.num_attention_heads / config.num_key_value_heads;
    const std::int64_t scratch =
        kernels::kernels().decode_scratch(group, step.longest, config.head_dim);
    const std::int64_t tasks = batch * config.num_key_value_heads;
    at::parallel_for(0, tasks, grain(step.longest * config.head_dim * group * 2),
                     [&](std::int64_t begin, std::int64_t end) {
                       std::vector<float> memory(static_cast<std::size_t>(scratch));
                       table.decode_attention(job, memory.data(), begin, end);
                     });
  });
  return out;
}

// Keys of the prompts [tokens, kv_heads, head_dim], turned round prompt by prompt.
at::Tensor turned_keys(const at::Tensor& keys, const std::vector<std::int64_t>& offsets,
                       const std::vector<std::int64_t>& begins) {
  at::Tensor flat = at::empty({begins.back()}, keys.options());
  for (std::size_t p = 0; p + 1 < begins.size(); ++p) {
    const std::int64_t length = offsets[p + 1] - offsets[p];
    flat.slice(0, begins[p], begins[p + 1])
        .view({keys.size(1), keys.size(2), -1})
        .slice(2, 0, length)
        .copy_(keys.slice(0, offsets[p], offsets[p + 1]).permute({1, 2, 0}));
  }
  return flat;
}

}  // namespace

at::Tensor Decoder::prefill(const PackedTokens& prompts, const ForwardOptions& options,
                            KeyValueCache& cache) const {
  if (math_ == Math::kAten) return prefill_padded(prompts, options, cache);
  at::NoGradGuard no_grad;
  std::vector<KeyValueTap> taps(layers_.size());
  const at::Tensor hidden = run_layers(prompts, options, &taps);
  cache.begin(prompts.offsets);
  const auto slots = static_cast<std::int64_t>(cache.active().size());
  const std::int64_t heads = config_.num_key_value_heads;
  const auto columns_of = kernels::kernels().key_columns;
  cache.prompt_keys_begin = {0};
  for (std::size_t p = 0; p + 1 < prompts.offsets.size(); ++p) {
    const std::int64_t columns = columns_of(prompts.offsets[p + 1] - prompts.offsets[p]);
    cache.prompt_keys_begin.push_back(cache.prompt_keys_begin.back() +
                                      heads * config_.head_dim * columns);
  }
  cache.layers.clear();
  for (KeyValueTap& tap : taps) {
    const auto like = tap.keys.options();
    cache.layers.push_back(
        {turned_keys(tap.keys, prompts.offsets, cache.prompt_keys_begin), tap.values.contiguous(),
         at::empty({slots, heads, config_.head_dim, columns_of(cache.capacity())}, like),
         at::empty({slots, cache.capacity(), heads, config_.head_dim}, like)});
  }
  std::vector<std::int64_t> last;
  for (std::size_t s = 1; s < prompts.offsets.size(); ++s) last.push_back(prompts.offsets[s] - 1);
  return hidden.index_select(0, at::tensor(last).to(device_));
}

at::Tensor Decoder::decode(const at::Tensor& tokens, const ForwardOptions& options,
                           KeyValueCache& cache) const {
  if (math_ == Math::kAten) return decode_padded(tokens, options, cache);
  at::NoGradGuard no_grad;
  const Step step = plan_step(cache);
  check(step.longest <= config_.longest_sequence, "decode beyond the model's positions");
  for (std::size_t i = 0; i < step.slot.size(); ++i) {
    config_.check_continuation(step.prompt_length[i], step.prompt_length[i] + step.own_length[i]);
  }
  std::vector<at::Tensor> rows;
  for (const RopeTable& rope : ropes_) rows.push_back(step_rows(rope, step, device_));
  const BlockPass pass(keeper_);
  pass.enter(0);
  at::Tensor residual = embed(tokens, options.use_adapter);
  at::Tensor delta;
  const double eps = config_.rms_norm_eps;
  const auto linear = [&](const Linear& layer, const at::Tensor& x) {
    return apply_linear(layer, x, options.use_adapter, 0);
  };
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const Layer& layer = layers_[i];
    const LayerKind& kind = config_.layer_kinds[i];
    pass.enter(i + 1);
    const StepLayer how{gain(layer.q_norm), gain(layer.k_norm), ropes_[kind.rope], rows[kind.rope],
                        kind.window};
    auto [sum, x] = add_rms_norm(residual, delta, gain(layer.input_norm), eps, compute_);
    const at::Tensor attended =
        attend_step(config_, how, step, linear(layer.qkv, x), cache.layers[i], cache.capacity());
    const at::Tensor attention = out_norm(linear(layer.output, attended), layer.attention_out_norm);
    auto [after, y] = add_rms_norm(sum, attention, gain(layer.attention_norm), eps, compute_);
    residual = after;
    delta = out_norm(linear(layer.down, gated(linear(layer.gate_up, y))), layer.mlp_out_norm);
    pass.leave(i + 1);
  }
  pass.enter(layers_.size() + 1);
  return add_rms_norm(residual, delta, gain(final_norm), eps, compute_).normed;
}

}  // namespace limbic::model
