#include "trainer/model/kv_cache.h"

namespace limbic::model {

void KeyValueCache::begin(std::span<const std::int64_t> prompt_offsets) {
  const std::int64_t prompts = static_cast<std::int64_t>(prompt_offsets.size()) - 1;
  active_.clear();
  prompt_begin.clear();
  prompt_length.clear();
  for (std::int64_t slot = 0; slot < prompts * group_; ++slot) {
    const auto prompt = static_cast<std::size_t>(slot / group_);
    active_.push_back(slot);
    prompt_begin.push_back(prompt_offsets[prompt]);
    prompt_length.push_back(prompt_offsets[prompt + 1] - prompt_offsets[prompt]);
  }
  own_length.assign(active_.size(), 0);
}

void KeyValueCache::keep(std::vector<std::int64_t> slots) { active_ = std::move(slots); }

}  // namespace limbic::model
