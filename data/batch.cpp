#include "data/batch.h"

#include <limits>

#include "trainer/base/error.h"

namespace limbic::data {

namespace {

// One more document, whose first token stands at `position`.
void append(PackedBatch& batch, const Example& example, std::int32_t position) {
  check(!example.ids.empty(), "an example needs tokens");
  check(example.loss_mask.size() == example.ids.size(), "an example needs a mask of its length");
  check(position > 0 || example.loss_mask[0] == 0, "nothing predicts the first token");
  check(batch.tokens.size() + example.ids.size() <= std::numeric_limits<std::int32_t>::max(),
        "a batch holds less than 2^31 tokens");
  for (std::size_t i = 0; i < example.ids.size(); ++i) {
    batch.tokens.push_back(example.ids[i]);
    batch.positions.push_back(position++);
    batch.loss_mask.push_back(example.loss_mask[i]);
    batch.loss_tokens += example.loss_mask[i] != 0;
  }
  batch.offsets.push_back(static_cast<std::int32_t>(batch.tokens.size()));
}

}  // namespace

PackedBatch concat(std::span<const Example> examples) {
  PackedBatch batch;
  batch.offsets.push_back(0);
  for (const Example& example : examples) append(batch, example, 0);
  return batch;
}

PackedBatch concat_families(std::span<const Family> families) {
  PackedBatch batch;
  batch.offsets.push_back(0);
  batch.families.push_back(0);
  for (const Family& family : families) {
    append(batch, family.first, 0);
    const auto end = static_cast<std::int32_t>(family.first.ids.size());
    for (const Example& example : family.rest) append(batch, example, end);
    batch.families.push_back(batch.documents());
  }
  return batch;
}

}  // namespace limbic::data
