#include "trainer/engine/score_targets.h"

#include "trainer/base/error.h"

namespace limbic::engine {

model::PackedTokens to_model(const data::PackedBatch& batch, at::Device device) {
  const auto options = at::TensorOptions().dtype(at::kInt);
  return {.tokens = at::tensor(batch.tokens, options).to(device),
          .positions = at::tensor(batch.positions, options).to(device),
          .offsets = {batch.offsets.begin(), batch.offsets.end()}};
}

TargetScores score_targets(const model::Decoder& decoder, const data::PackedBatch& batch,
                           const model::ForwardOptions& options) {
  std::vector<std::int32_t> targets;
  std::vector<std::int64_t> sources;
  for (std::size_t t = 0; t < batch.tokens.size(); ++t) {
    if (batch.loss_mask[t] == 0) continue;
    check(batch.positions[t] > 0, "the first token of a sequence is no target");
    targets.push_back(batch.tokens[t]);
    sources.push_back(static_cast<std::int64_t>(t) - 1);
  }
  const at::Device device = decoder.device();
  const at::Tensor hidden = decoder.hidden(to_model(batch, device), options);
  const at::Tensor rows = hidden.index_select(0, at::tensor(sources, at::kLong).to(device));
  const at::Tensor ids = at::tensor(targets, at::TensorOptions().dtype(at::kInt)).to(device);
  return {.scores = decoder.scores(rows, ids), .targets = ids};
}

}  // namespace limbic::engine
