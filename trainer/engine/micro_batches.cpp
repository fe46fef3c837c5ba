#include "trainer/engine/micro_batches.h"

#include "data/packing.h"

namespace limbic::engine {

std::vector<std::vector<std::size_t>> cut_documents(std::span<const std::int64_t> lengths,
                                                    const TrainConfig& config) {
  std::vector<std::vector<std::size_t>> batches;
  if (!config.packing) {
    for (std::size_t i = 0; i < lengths.size(); ++i) batches.push_back({i});
    return batches;
  }
  const bool by_tokens = config.max_tokens_per_batch > 0;
  const data::Groups groups = data::split_by_tokens(
      lengths, config.max_tokens_per_batch, by_tokens ? 0 : config.per_device_train_batch_size);
  for (const auto& group : groups) batches.emplace_back(group.begin(), group.end());
  return batches;
}

}  // namespace limbic::engine
