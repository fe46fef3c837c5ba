// How hard each document is, for the curriculum.
#pragma once

#include <vector>

#include "data/batch.h"
#include "trainer/engine/stage.h"
#include "trainer/sft/sft_config.h"

namespace limbic::sft {

// One number per example: a column of its row, the emotion shifts of its conversation, its length
// in tokens, or the mean negative log-likelihood of its targets under the model as it is now. Every
// rank must call; the losses are computed once, each rank for its part. Throws DataError for a
// column that is not as wanted.
std::vector<double> difficulty_of(engine::RunContext& context, const data::Mixture& rows,
                                  const std::vector<data::Example>& examples,
                                  const data::CurriculumConfig& config);

}  // namespace limbic::sft
