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

std::vector<data::PackedBatch> pack_examples(const std::vector<data::Example>& examples,
                                             std::span<const std::int64_t> members,
                                             const TrainConfig& config) {
  std::vector<data::Example> documents;
  std::vector<std::int64_t> lengths;
  for (const std::int64_t member : members) {
    documents.push_back(examples[static_cast<std::size_t>(member)]);
    lengths.push_back(static_cast<std::int64_t>(documents.back().ids.size()));
  }
  std::vector<data::PackedBatch> batches;
  for (const auto& group : cut_documents(lengths, config)) {
    std::vector<data::Example> together;
    for (const std::size_t i : group) together.push_back(documents[i]);
    batches.push_back(data::concat(together));
  }
  return batches;
}

}  // namespace limbic::engine
