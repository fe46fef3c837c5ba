// The cached half of the decoder as ATen formulas: the whole batch in a handful of products per
// layer, the keys of a prompt read once for all its completions. Gradients are off here.
//
// A sequence lives in a cell of a grid (`PaddedCache`). Whatever a cell without a sequence computes
// is never read; when a grid of half the cells holds all sequences that go on, it shrinks.
#include <cmath>
#include <map>

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

// [prompts, 1, 1, 1]
at::Tensor lengths_of(const std::vector<std::int64_t>& offsets, at::Device device) {
  std::vector<std::int64_t> lengths;
  for (std::size_t p = 0; p + 1 < offsets.size(); ++p) {
    lengths.push_back(offsets[p + 1] - offsets[p]);
  }
  return on(device, lengths).view({-1, 1, 1, 1});
}

at::Tensor mask_of(const at::Tensor& length, std::int64_t longest) {
  const at::Tensor column = at::arange(longest, length.options());
  return at::zeros({length.size(0), 1, 1, longest}, length.options().dtype(at::kFloat))
      .masked_fill_(column.ge(length), -INFINITY);
}

// What the latest token of each completion sees of its prompt through a window (0 = all of it).
at::Tensor mask_of_window(const PaddedCache& cache, std::int64_t window) {
  if (window == 0) return cache.prompt_mask;
  const at::Tensor column = at::arange(cache.prompt_mask.size(3), cache.prompt_length.options());
  const at::Tensor first = cache.prompt_length + (cache.length - window);
  return cache.prompt_mask.masked_fill(column.lt(first), -INFINITY);
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
  padded.prompt_length = padded.prompt_length.index_select(0, prompts);
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

// One step of the batch.
struct Step {
  at::Tensor cell;  // [batch] int64: where each sequence lives
  // [cells] int64: the sequence of each cell; any for one without, where it is computed in vain
  at::Tensor row;
  std::vector<at::Tensor> positions;         // by rope [batch] int64: rows of its table
  std::map<std::int64_t, at::Tensor> masks;  // by window: what is seen of the prompts
};

// Moves the cache on by a token of every sequence. Positions, cells and rows go one way to the
// device together.
Step plan_step(const ModelConfig& config, const std::vector<RopeTable>& ropes, KeyValueCache& cache,
               at::Device device) {
  PaddedCache& padded = cache.padded;
  shrink(cache, padded, device);
  padded.length += 1;
  check(padded.length <= cache.capacity(), "cache slot is full");
  const auto batch = static_cast<std::int64_t>(cache.active().size());
  std::vector<std::int64_t> cell;
  std::vector<std::int64_t> row(static_cast<std::size_t>(padded.prompts * padded.places), 0);
  for (const std::int64_t slot : cache.active()) {
    const auto at = static_cast<std::size_t>(slot);
    const std::int64_t length = cache.prompt_length[at] + ++cache.own_length[at];
    check(cache.own_length[at] == padded.length, "sequences of a batch go in step");
    check(length <= config.longest_sequence, "decode beyond the model's positions");
    config.check_continuation(cache.prompt_length[at], length);
    row[static_cast<std::size_t>(padded.cell[at])] = static_cast<std::int64_t>(cell.size());
    cell.push_back(padded.cell[at]);
  }
  std::vector<std::int64_t> numbers = cell;
  numbers.insert(numbers.end(), row.begin(), row.end());
  std::vector<std::int64_t> sizes = {batch, static_cast<std::int64_t>(row.size())};
  for (const RopeTable& rope : ropes) {
    for (const std::int64_t slot : cache.active()) {
      // A prompt decides for what is generated from it.
      const std::int64_t prompt = cache.prompt_length[static_cast<std::size_t>(slot)];
      const bool is_long = rope.short_limit > 0 && prompt > rope.short_limit;
      numbers.push_back(prompt + padded.length - 1 + (is_long ? rope.short_limit : 0));
    }
    sizes.push_back(batch);
  }
  const auto parts = on(device, numbers).split_with_sizes(sizes);
  Step step{.cell = parts[0],
            .row = parts[1],
            .positions = {parts.begin() + 2, parts.end()},
            .masks = {}};
  for (const LayerKind& kind : config.layer_kinds) {
    if (!step.masks.contains(kind.window))
      step.masks[kind.window] = mask_of_window(padded, kind.window);
  }
  return step;
}

// q [batch, heads, head_dim] against the prompts and the cells -> [batch, heads * head_dim].
at::Tensor attend(const at::Tensor& q, const Step& step, const AttentionPlan& plan,
                  const PaddedCache& cache, const PaddedCache::Layer& layer) {
  const std::int64_t prompts = cache.prompts, places = cache.places;
  const std::int64_t first =
      plan.window == 0 ? 0 : std::max<std::int64_t>(0, cache.length - plan.window);
  const std::int64_t used = cache.length - first;  // of the cells, as far as they are seen
  const std::int64_t dim = plan.head_dim, kv = plan.kv_heads;
  const std::int64_t group = plan.heads / kv, longest = layer.prompt_keys.size(2);
  const at::Tensor grid = q.index_select(0, step.row).view({prompts, places, kv, group, dim});
  // The queries of a prompt's completions become the rows of one product.
  const auto by_prompt = [&](const at::Tensor& x) {
    return x.transpose(1, 2).reshape({prompts * kv, places * group, x.size(-1)});
  };
  const auto by_cell = [&](const at::Tensor& x) {
    return x.reshape({prompts * places * kv, group, x.size(-1)});
  };
  const auto own = [&](const at::Tensor& x) {
    return x.slice(2, first, cache.length).view({prompts * places * kv, used, dim});
  };
  const auto of_prompts = [&](const at::Tensor& x) { return x.view({prompts * kv, longest, dim}); };
  const at::Tensor over_prompt =
      wide_product(by_prompt(grid), of_prompts(layer.prompt_keys).transpose(1, 2))
          .view({prompts, kv, places, group, longest})
          .transpose(1, 2);
  const at::Tensor over_own = wide_product(by_cell(grid), own(layer.own_keys).transpose(1, 2))
                                  .view({prompts, places, kv, group, used});
  at::Tensor scores = at::cat({over_prompt, over_own}, -1).mul_(plan.scale);
  if (plan.softcap > 0.0) scores = reference::soft_cap(scores, plan.softcap);
  scores.slice(-1, 0, longest).add_(step.masks.at(plan.window).unsqueeze(1));
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

// Stores k and v of the step behind what each sequence has, and attends. q_norm, k_norm: what they
// multiply by, or undefined.
at::Tensor attend_step(const at::Tensor& q_norm, const at::Tensor& k_norm, const Step& step,
                       const AttentionPlan& plan, const at::Tensor& qkv, const PaddedCache& cache,
                       PaddedCache::Layer& stored) {
  const auto parts = qkv.view({qkv.size(0), -1, plan.head_dim})
                         .split_with_sizes({plan.heads, plan.kv_heads, plan.kv_heads}, 1);
  const std::int64_t place = cache.length - 1;
  const auto store = [&](const at::Tensor& cells, const at::Tensor& x) {
    cells.select(2, place).copy_(x.index_select(0, step.row));
  };
  store(stored.own_keys, reference::rotate(parts[1], k_norm, plan));
  store(stored.own_values, parts[2]);
  return attend(reference::rotate(parts[0], q_norm, plan), step, plan, cache, stored);
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
  padded.prompt_length = lengths_of(prompts.offsets, device_);
  padded.prompt_mask = mask_of(padded.prompt_length, longest);
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
  const Step step = plan_step(config_, ropes_, cache, device_);
  AttentionPlan plan = attention_plan();
  const auto linear = [&](const Linear& layer, const at::Tensor& x) {
    return apply_linear(layer, x, options.use_adapter, 0);
  };
  const BlockPass pass(keeper_);
  pass.enter(0);
  at::Tensor residual = embed(tokens, options.use_adapter);
  at::Tensor delta;
  const auto norm = [&](const at::Tensor& weight) {
    auto [sum, normed] =
        reference::add_rms_norm(residual, delta, gain(weight), config_.rms_norm_eps, compute_);
    residual = sum;
    return normed;
  };
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const Layer& layer = layers_[i];
    const LayerKind& kind = config_.layer_kinds[i];
    pass.enter(i + 1);
    plan.window = kind.window;
    plan.cos = ropes_[kind.rope].cos;
    plan.sin = ropes_[kind.rope].sin;
    plan.positions = step.positions[kind.rope];
    const at::Tensor qkv = linear(layer.qkv, norm(layer.input_norm));
    const at::Tensor attended = attend_step(gain(layer.q_norm), gain(layer.k_norm), step, plan, qkv,
                                            cache.padded, cache.padded.layers[i]);
    delta = out_norm(linear(layer.output, attended), layer.attention_out_norm);
    const at::Tensor gate_up = linear(layer.gate_up, norm(layer.attention_norm));
    delta = out_norm(linear(layer.down, gated(gate_up)), layer.mlp_out_norm);
    pass.leave(i + 1);
  }
  pass.enter(layers_.size() + 1);
  return norm(final_norm);
}

}  // namespace limbic::model
