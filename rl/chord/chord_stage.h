// CHORD (arXiv:2508.11408): reinforcement learning and the imitation of experts in one step,
//     L = (1 - mu) L_policy + mu L_experts
// with mu falling as the policy learns, and expert tokens weighted by what there is to learn.
#pragma once

#include "rl/chord/chord_config.h"
#include "trainer/engine/stage.h"

namespace limbic::rl {

// Every rank must call. Throws as run_grpo does; `reference` as there.
engine::StageResult run_chord(engine::RunContext& context, const ChordConfig& config,
                              const model::Decoder* reference);

}  // namespace limbic::rl
