// Keys and values of a batch that is being generated. Prompts are stored once and shared by all
// completions of the prompt; every completion has its own slot for what it adds.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <span>
#include <vector>

namespace limbic::model {

struct LayerCache {
  at::Tensor prompt_keys;  // flat; per prompt [kv_heads, head_dim, columns] from prompt_keys_begin
  at::Tensor prompt_values;  // [prompt tokens, kv_heads, head_dim]
  at::Tensor own_keys;       // [slots, kv_heads, head_dim, columns]
  at::Tensor own_values;     // [slots, capacity, kv_heads, head_dim]
};

// What the ATen formulas keep instead: a grid of cells, `places` for each prompt, one for each
// sequence that is still being generated. Sequences go in step, so all cells are equally full.
struct PaddedCache {
  struct Layer {
    at::Tensor prompt_keys, prompt_values;  // [prompts, kv_heads, longest prompt, head_dim]
    at::Tensor own_keys, own_values;        // [prompts * places, kv_heads, capacity, head_dim]
  };
  std::int64_t prompts = 0;
  std::int64_t places = 0;
  std::int64_t length = 0;         // completion tokens in every cell
  std::vector<std::int64_t> cell;  // by slot; of sequences that go on
  at::Tensor prompt_length;        // [prompts, 1, 1, 1] int64
  at::Tensor prompt_mask;          // [prompts, 1, 1, longest prompt] float32: 0, -inf on padding
  std::vector<Layer> layers;
};

class KeyValueCache {
 public:
  // `group` completions for each of the prompts that prefill will see, `capacity` new tokens each.
  KeyValueCache(std::int64_t group, std::int64_t capacity) : group_(group), capacity_(capacity) {}

  std::int64_t capacity() const { return capacity_; }
  std::int64_t group() const { return group_; }
  // Called by prefill: prompt boundaries in tokens [prompts + 1].
  void begin(std::span<const std::int64_t> prompt_offsets);

  // Sequences still being generated: slot = prompt * group + index in the group.
  const std::vector<std::int64_t>& active() const { return active_; }
  // Keeps only the listed sequences (ascending slots) for the next steps.
  void keep(std::vector<std::int64_t> slots);

  // Completion tokens whose keys are stored, by slot.
  std::vector<std::int64_t> own_length;
  std::vector<std::int64_t> prompt_begin;       // by slot
  std::vector<std::int64_t> prompt_length;      // by slot
  std::vector<std::int64_t> prompt_keys_begin;  // by prompt, filled by prefill; then the end
  std::vector<LayerCache> layers;
  PaddedCache padded;

 private:
  std::int64_t group_;
  std::int64_t capacity_;
  std::vector<std::int64_t> active_;
};

}  // namespace limbic::model
