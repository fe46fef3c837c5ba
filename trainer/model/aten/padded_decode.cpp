// The cached half of the decoder as ATen formulas: the whole batch in a handful of products per
// layer, the keys of a prompt read once for all its completions. Gradients are off here.
//
// A sequence lives in a cell of a grid (`PaddedCache`). Whatever a cell without a sequence computes
// is never read; when a grid of half the cells holds all sequences that go on, it shrinks.
#include <cmath>

#include "trainer/base/error.h"
#include "trainer/model/decoder.h"
#include "trainer/model/reference_ops.h"

namespace limbic::model {
namespace {

at::Tensor on(at::Device device, const std::vector<std::int64_t>& values) {
  return at::tensor(values, at::kLong).to(device);
}

// Prompt tokens as a grid [prompts * longest]; behind the end of a prompt its last token.
std::vector<std::int64_t> grid_of(const std::vector<std::int64_t>& offsets, std::int64_t longest) {
  std::vector<std::int64_t> grid;
  for (std::size_t p = 0; p + 1 < offsets.size(); ++p) {
    for (std::int64_t i = 0; i < longest; ++i) {
      grid.push_back(std::min(offsets[p] + i, offsets[p + 1] - 1));
    }
  }
  return grid;
}

at::Tensor mask_of(const std::vector<std::int64_t>& offsets, std::int64_t longest,
                   at::Device device) {
  std::vector<std::int64_t> lengths;
  for (std::size_t p = 0; p + 1 < offsets.size(); ++p) {
    lengths.push_back(offsets[p + 1] - offsets[p]);
  }
  const at::Tensor length = on(device, lengths).view({-1, 1, 1, 1});
  const at::Tensor column = at::arange(longest, length.options());
  return at::zeros({length.size(0), 1, 1, longest}, length.options().dtype(at::kFloat))
      .masked_fill_(column.ge(length), -INFINITY);
}

// Brings the sequences that go on together when half of the cells hold them.
void shrink(const KeyValueCache& cache, PaddedCache& padded, at::Device device) {
  const std::int64_t cells = padded.prompts * padded.places;
  std::vector<std::vector<std::int64_t>> slots_of(static_cast<std::size_t>(padded.prompts));
  for (const std::int64_t slot : cache.active()) {
    const std::int64_t prompt = padded.cell[static_cast<std::size_t>(slot)] / padded.places;
    slots_of[static_cast<std::size_t>(prompt)].push_back(slot);
  }
  std::vector<std::int64_t> kept;
  std::size_t places = 0;
  for (std::size_t p = 0; p < slots_of.size(); ++p) {
    if (!slots_of[p].empty()) kept.push_back(static_cast<std::int64_t>(p));
    places = std::max(places, slots_of[p].size());
  }
  if (2 * static_cast<std::int64_t>(kept.size() * places) > cells) return;
  std::vector<std::int64_t> source;
  for (const std::int64_t prompt : kept) {
    const auto& slots = slots_of[static_cast<std::size_t>(prompt)];
    for (std::size_t place = 0; place < places; ++place) {
      auto& cell = padded.cell[static_cast<std::size_t>(slots[std::min(place, slots.size() - 1)])];
      if (place < slots.size()) {
        source.push_back(cell);
        cell = static_cast<std::int64_t>(source.size()) - 1;
      } else {
        source.push_back(source.back());
      }
    }
  }
  padded.prompts = static_cast<std::int64_t>(kept.size());
  padded.places = static_cast<std::int64_t>(places);
  const at::Tensor prompts = on(device, kept);
  const at::Tensor sources = on(device, source);
  padded.prompt_mask = padded.prompt_mask.index_select(0, prompts);
  for (PaddedCache::Layer& layer : padded.layers) {
    layer.prompt_keys = layer.prompt_keys.index_select(0, prompts);
    layer.prompt_values = layer.prompt_values.index_select(0, prompts);
    layer.own_keys = layer.own_keys.index_select(0, sources);
    layer.own_values = layer.own_values.index_select(0, sources);
  }
}

// a b [n, rows, columns] in float32. The libraries add in float32 anyway; this keeps them from
// rounding the result to the type of the factors.
at::Tensor wide_product(const at::Tensor& a, const at::Tensor& b) {
  if (a.scalar_type() == at::kFloat) return at::bmm(a, b);
  if (a.is_cuda()) return at::bmm(a, b, at::kFloat);
  return at::bmm(a.to(at::kFloat), b.to(at::kFloat));
}

// One step of the batch, for all layers.
struct Step {
  at::Tensor cell;  // [batch] int64: where each sequence lives
  // [cells] int64: the sequence of each cell; any for one without, where it is computed in vain
  at::Tensor row;
  AttentionPlan plan;  // positions [batch]
};

// q [batch, heads, head_dim] against the prompts and the cells -> [batch, heads * head_dim].
at::Tensor attend(const at::Tensor& q, const Step& step, const PaddedCache& cache,
                  const PaddedCache::Layer& layer) {
  const std::int64_t prompts = cache.prompts, places = cache.places, used = cache.length;
  const std::int64_t dim = step.plan.head_dim, kv = step.plan.kv_heads;
  const std::int64_t group = step.plan.heads / kv, longest = layer.prompt_keys.size(2);
  const at::Tensor grid = q.index_select(0, step.row).view({prompts, places, kv, group, dim});
  // The queries of a prompt's completions become the rows of one product.
  const auto by_prompt = [&](const at::Tensor& x) {
    return x.transpose(1, 2).reshape({prompts * kv, places * group, x.size(-1)});
  };
  const auto by_cell = [&](const at::Tensor& x) {
    return x.reshape({prompts * places * kv, group, x.size(-1)});
  };
  const auto own = [&](const at::Tensor& x) {
    return x.slice(2, 0, used).view({prompts * places * kv, used, dim});
  };
  const auto of_prompts = [&](const at::Tensor& x) { return x.view({prompts * kv, longest, dim}); };
  const at::Tensor over_prompt =
      wide_product(by_prompt(grid), of_prompts(layer.prompt_keys).transpose(1, 2))
          .view({prompts, kv, places, group, longest})
          .transpose(1, 2);
  const at::Tensor over_own = wide_product(by_cell(grid), own(layer.own_keys).transpose(1, 2))
                                  .view({prompts, places, kv, group, used});
  at::Tensor scores = at::cat({over_prompt, over_own}, -1).div_(std::sqrt(double(dim)));
  scores.slice(-1, 0, longest).add_(cache.prompt_mask.unsqueeze(1));
  const auto weights = scores.softmax(-1).to(q.scalar_type()).split_with_sizes({longest, used}, -1);
  const at::Tensor from_prompt =
      wide_product(by_prompt(weights[0]), of_prompts(layer.prompt_values))
          .view({prompts, kv, places, group, dim})
          .transpose(1, 2);
  const at::Tensor from_own = wide_product(by_cell(weights[1]), own(layer.own_values));
  return (from_prompt + from_own.view(from_prompt.sizes()))
      .to(q.scalar_type())
      .reshape({prompts * places, -1})
      .index_select(0, step.cell);
}

// Stores k and v of the step behind what each sequence has, and attends.
at::Tensor attend_step(const Layer& layer, const Step& step, const at::Tensor& qkv,
                       const PaddedCache& cache, PaddedCache::Layer& stored) {
  const AttentionPlan& plan = step.plan;
  const auto parts = qkv.view({qkv.size(0), -1, plan.head_dim})
                         .split_with_sizes({plan.heads, plan.kv_heads, plan.kv_heads}, 1);
  const std::int64_t place = cache.length - 1;
  const auto store = [&](const at::Tensor& cells, const at::Tensor& x) {
    cells.select(2, place).copy_(x.index_select(0, step.row));
  };
  store(stored.own_keys, reference::rotate(parts[1], layer.k_norm, plan));
  store(stored.own_values, parts[2]);
  return attend(reference::rotate(parts[0], layer.q_norm, plan), step, cache, stored);
}

}  // namespace

at::Tensor Decoder::prefill_padded(const PackedTokens& prompts, const ForwardOptions& options,
                                   KeyValueCache& cache) const {
  at::NoGradGuard no_grad;
  std::vector<KeyValueTap> taps(layers_.size());
  const at::Tensor hidden = run_layers(prompts, options, &taps);
  cache.begin(prompts.offsets);
  const auto slots = static_cast<std::int64_t>(cache.active().size());
  const std::int64_t longest =
      *std::max_element(cache.prompt_length.begin(), cache.prompt_length.end());
  const std::int64_t heads = config_.num_key_value_heads;
  PaddedCache& padded = cache.padded;
  padded = {};
  padded.prompts = slots / cache.group();
  padded.places = cache.group();
  padded.cell = cache.active();
  padded.prompt_mask = mask_of(prompts.offsets, longest, device_);
  const at::Tensor grid = on(device_, grid_of(prompts.offsets, longest));
  const auto stored = [&](const at::Tensor& x) {
    return x.index_select(0, grid)
        .view({padded.prompts, longest, heads, config_.head_dim})
        .transpose(1, 2)
        .contiguous();
  };
  for (const KeyValueTap& tap : taps) {
    const auto own = [&] {
      return at::empty({slots, heads, cache.capacity(), config_.head_dim}, tap.keys.options());
    };
    padded.layers.push_back({stored(tap.keys), stored(tap.values), own(), own()});
  }
  std::vector<std::int64_t> last;
  for (std::size_t s = 1; s < prompts.offsets.size(); ++s) last.push_back(prompts.offsets[s] - 1);
  return hidden.index_select(0, on(device_, last));
}

at::Tensor Decoder::decode_padded(const at::Tensor& tokens, const ForwardOptions& options,
                                  KeyValueCache& cache) const {
  at::NoGradGuard no_grad;
  PaddedCache& padded = cache.padded;
  shrink(cache, padded, device_);
  padded.length += 1;
  check(padded.length <= cache.capacity(), "cache slot is full");
  const auto batch = static_cast<std::int64_t>(cache.active().size());
  const std::int64_t cells = padded.prompts * padded.places;
  // Cells, positions and rows: one way to the device for all.
  std::vector<std::int64_t> numbers;
  for (const std::int64_t slot : cache.active()) {
    numbers.push_back(padded.cell[static_cast<std::size_t>(slot)]);
  }
  for (const std::int64_t slot : cache.active()) {
    const auto at = static_cast<std::size_t>(slot);
    check(++cache.own_length[at] == padded.length, "sequences of a batch go in step");
    numbers.push_back(cache.prompt_length[at] + cache.own_length[at] - 1);
    check(numbers.back() < config_.max_position_embeddings, "decode beyond the model's positions");
  }
  numbers.resize(static_cast<std::size_t>(2 * batch + cells), 0);
  for (std::int64_t row = 0; row < batch; ++row) {
    numbers[static_cast<std::size_t>(2 * batch + numbers[static_cast<std::size_t>(row)])] = row;
  }
  const auto parts = on(device_, numbers).split_with_sizes({batch, batch, cells});
  const Step step{.cell = parts[0],
                  .row = parts[2],
                  .plan = {.heads = config_.num_attention_heads,
                           .kv_heads = config_.num_key_value_heads,
                           .head_dim = config_.head_dim,
                           .eps = config_.rms_norm_eps,
                           .cos = cos_,
                           .sin = sin_,
                           .positions = parts[1],
                           .offsets = {}}};
  const auto linear = [&](const Linear& layer, const at::Tensor& x) {
    return apply_linear(layer, x, options.use_adapter, 0);
  };
  at::Tensor residual = embed(tokens);
  at::Tensor delta;
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const Layer& layer = layers_[i];
    const auto norm = [&](const at::Tensor& weight) {
      return reference::add_rms_norm(residual, delta, weight, config_.rms_norm_eps, compute_);
    };
    auto [sum, x] = norm(layer.input_norm);
    residual = sum;
    delta = linear(layer.output,
                   attend_step(layer, step, linear(layer.qkv, x), padded, padded.layers[i]));
    auto [after, y] = norm(layer.attention_norm);
    residual = after;
    delta = linear(layer.down, reference::swiglu(linear(layer.gate_up, y)));
  }
  return reference::add_rms_norm(residual, delta, final_norm, config_.rms_norm_eps, compute_)
      .normed;
}

}  // namespace limbic::model
