#include "trainer/engine/micro_batches.h"

#include "data/packing.h"

namespace limbic::engine {

std::vector<std::vector<std::size_t>> cut_documents(std::span<const std::int64_t> lengths,
                                                    const TrainConfig& config) {
  const bool by_tokens = config.max_tokens_per_batch > 0;
  std::int64_t rows = config.packing ? config.per_device_train_batch_size : 1;
  if (config.packing && by_tokens) rows = 0;
  std::vector<std::vector<std::size_t>> batches;
  for (const auto& group : data::split_by_tokens(lengths, config.max_tokens_per_batch, rows)) {
    batches.emplace_back(group.begin(), group.end());
  }
  return batches;
}

}  // namespace limbic::engine
