// Preference optimisation on pairs (arXiv:2305.18290 and relatives): the model learns to prefer one
// reply to another, held to a reference. The loss is the mean over the pairs of the whole optimizer
// step, whatever the number of ranks, micro-batches or pairs per sequence.
#pragma once

#include "rl/dpo/dpo_config.h"
#include "trainer/engine/stage.h"

namespace limbic::rl {

// Every rank must call. The reference is the policy that the stage starts from. It is read unless
// precompute_ref_log_probs is set: null means the decoder itself with its adapter switched off
// (right for a fresh adapter). Throws ConfigError and DataError before the first step, Interrupted
// on a stop request.
engine::StageResult run_dpo(engine::RunContext& context, const DpoConfig& config,
                            const model::Decoder* reference);

// Optimizer steps that the stage will make over `pairs` pairs.
std::int64_t total_steps(const DpoConfig& config, std::int64_t pairs, int world);

}  // namespace limbic::rl
