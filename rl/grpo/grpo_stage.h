// Reinforcement learning with group-relative advantages (arXiv:2402.03300 and its relatives):
// sample a group per prompt from the model being trained, score it, push the model towards what
// scored above its group's mean.
#pragma once

#include "rl/grpo/grpo_config.h"
#include "trainer/engine/stage.h"

namespace limbic::rl {

// Every rank must call. `reference` is read with beta above 0 only: null means the decoder itself
// with its adapter switched off. Throws ConfigError, DataError and RemoteError before the first
// step, RemoteError (state saved) when the reward service is lost, Interrupted on a stop request.
engine::StageResult run_grpo(engine::RunContext& context, const GrpoConfig& config,
                             const model::Decoder* reference);

}  // namespace limbic::rl
