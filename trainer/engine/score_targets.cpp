#include "trainer/engine/score_targets.h"

#include <numeric>

#include "trainer/base/error.h"

namespace limbic::engine {

model::PackedTokens to_model(const data::PackedBatch& batch, at::Device device) {
  const auto options = at::TensorOptions().dtype(at::kInt);
  return {.tokens = at::tensor(batch.tokens, options).to(device),
          .positions = at::tensor(batch.positions, options).to(device),
          .offsets = {batch.offsets.begin(), batch.offsets.end()},
          .families = batch.families};
}

namespace {

// The token from which each token is predicted: the one before it; for the first token of a
// document that continues another, the last one of that. -1 where there is none.
std::vector<std::int64_t> predecessors(const data::PackedBatch& batch) {
  std::vector<std::int64_t> before(batch.tokens.size());
  std::iota(before.begin(), before.end(), std::int64_t{-1});
  for (std::int64_t d = 0; d < batch.documents(); ++d) {
    before[static_cast<std::size_t>(batch.offsets[static_cast<std::size_t>(d)])] = -1;
  }
  for (std::size_t f = 0; f + 1 < batch.families.size(); ++f) {
    const auto first = static_cast<std::size_t>(batch.families[f]);
    const auto end = static_cast<std::size_t>(batch.families[f + 1]);
    for (std::size_t d = first + 1; d < end; ++d) {
      before[static_cast<std::size_t>(batch.offsets[d])] = batch.offsets[first + 1] - 1;
    }
  }
  return before;
}

}  // namespace

TargetScores score_targets(const model::Decoder& decoder, const data::PackedBatch& batch,
                           const model::ForwardOptions& options, const model::ScoreOptions& wanted,
                           double temperature) {
  decoder.config().check_tokens(batch.tokens);
  std::vector<std::int32_t> targets;
  std::vector<std::int64_t> sources;
  const std::vector<std::int64_t> before = predecessors(batch);
  for (std::size_t t = 0; t < batch.tokens.size(); ++t) {
    if (batch.loss_mask[t] == 0) continue;
    check(before[t] >= 0, "the first token of a sequence is no target");
    targets.push_back(batch.tokens[t]);
    sources.push_back(before[t]);
  }
  const at::Device device = decoder.device();
  const at::Tensor hidden = decoder.hidden(to_model(batch, device), options);
  const at::Tensor rows = hidden.index_select(0, at::tensor(sources, at::kLong).to(device));
  const at::Tensor ids = at::tensor(targets, at::TensorOptions().dtype(at::kInt)).to(device);
  return {.scores = decoder.scores(rows, ids, wanted, options.use_adapter, temperature),
          .targets = ids};
}

}  // namespace limbic::engine
