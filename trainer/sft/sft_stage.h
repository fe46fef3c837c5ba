// Supervised fine-tuning: the model learns to say what the data says. The loss is the mean negative
// log-likelihood over the target tokens of the whole optimizer step, whatever the number of ranks,
// micro-batches or documents per sequence.
#pragma once

#include <vector>

#include "data/batch.h"
#include "trainer/engine/stage.h"
#include "trainer/sft/sft_config.h"

namespace limbic::sft {

// Every rank must call. Throws ConfigError and DataError before the first step, Interrupted on a
// stop request.
engine::StageResult run_sft(engine::RunContext& context, const SftConfig& config);

// Optimizer steps that the stage will make over `rows` rows.
std::int64_t total_steps(const SftConfig& config, std::int64_t rows, int world);

// The first step's documents of this rank, without training: what `limbic inspect` shows.
std::vector<data::Example> first_batch(const engine::RunContext& context, const SftConfig& config);

}  // namespace limbic::sft
