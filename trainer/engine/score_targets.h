// From a packed batch to the log-probabilities of its targets: the forward pass that every loss
// shares.
#pragma once

#include <ATen/ATen.h>

#include "data/batch.h"
#include "trainer/model/decoder.h"

namespace limbic::engine {

model::PackedTokens to_model(const data::PackedBatch& batch, at::Device device);

struct TargetScores {
  model::TokenScores scores;  // each [loss_tokens]
  at::Tensor targets;         // [loss_tokens] int32
};
// Scores of the tokens with loss_mask 1, in order, under softmax(logits / temperature). Token t is
// predicted from t - 1.
// Requires: the first token of no sequence is a target. Throws DataError for tokens that the model
// does not have.
TargetScores score_targets(const model::Decoder& decoder, const data::PackedBatch& batch,
                           const model::ForwardOptions& options,
                           const model::ScoreOptions& wanted = {}, double temperature = 1.0);

}  // namespace limbic::engine
