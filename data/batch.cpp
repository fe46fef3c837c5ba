#include "data/batch.h"

#include <limits>

#include "trainer/base/error.h"

namespace limbic::data {

PackedBatch concat(std::span<const Example> examples) {
  PackedBatch batch;
  std::size_t total = 0;
  for (const Example& example : examples) total += example.ids.size();
  check(total <= std::numeric_limits<std::int32_t>::max(), "a batch holds less than 2^31 tokens");
  batch.tokens.reserve(total);
  batch.positions.reserve(total);
  batch.loss_mask.reserve(total);
  batch.offsets.push_back(0);
  for (const Example& example : examples) {
    check(!example.ids.empty(), "an example needs tokens");
    check(example.loss_mask.size() == example.ids.size(), "an example needs a mask of its length");
    check(example.loss_mask[0] == 0, "the first token of a document is never a target");
    for (std::size_t i = 0; i < example.ids.size(); ++i) {
      batch.tokens.push_back(example.ids[i]);
      batch.positions.push_back(static_cast<std::int32_t>(i));
      batch.loss_mask.push_back(example.loss_mask[i]);
      batch.loss_tokens += example.loss_mask[i] != 0;
    }
    batch.offsets.push_back(static_cast<std::int32_t>(batch.tokens.size()));
  }
  return batch;
}

}  // namespace limbic::data
