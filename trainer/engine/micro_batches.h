// How a rank's documents of one step become the packed sequences that go through the model. The
// layout decides memory and speed only: losses are sums over documents with denominators of the
// whole step.
#pragma once

#include <span>
#include <vector>

#include "data/batch.h"
#include "trainer/engine/train_config.h"

namespace limbic::engine {

// At most per_device_train_batch_size documents per micro-batch (or max_tokens_per_batch tokens,
// when that is set), in order; without packing every document is a sequence of its own. The result
// is empty when there are no documents. Throws ConfigError when a document is longer than
// max_tokens_per_batch.
std::vector<std::vector<std::size_t>> cut_documents(std::span<const std::int64_t> lengths,
                                                    const TrainConfig& config);

// The examples that `members` names, in that order, as packed micro-batches.
std::vector<data::PackedBatch> pack_examples(const std::vector<data::Example>& examples,
                                             std::span<const std::int64_t> members,
                                             const TrainConfig& config);

}  // namespace limbic::engine
