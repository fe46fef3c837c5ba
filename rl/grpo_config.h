// The keys of a `type: grpo` stage, with TRL's names and defaults unless the help says otherwise.
#pragma once

#include <string>
#include <vector>

#include "rl/advantage.h"
#include "rl/policy_loss.h"
#include "trainer/engine/train_config.h"
#include "trainer/generation/sampler.h"

namespace limbic::rl {

struct GrpoConfig {
  GrpoConfig() { train.schedule.learning_rate = 1e-6; }

  std::vector<std::string> data;  // names of datasets, mixed
  std::int64_t num_generations = 8;
  std::int64_t max_completion_length = 512;
  generation::SamplingConfig sampling;
  std::int64_t generation_batch_size = 256;  // sequences decoded at a time
  std::int64_t num_iterations = 1;           // optimizer steps per rollout
  ScaleRewards scale_rewards = ScaleRewards::kGroup;
  bool mask_truncated_completions = false;
  PolicyLossConfig loss;
  std::int64_t num_completions_to_log = 16;
  engine::TrainConfig train;
};
void describe(Fields& f, GrpoConfig& c);

// Prompts of one rollout over all ranks. Throws ConfigError when the completions of a step are not
// a multiple of num_generations.
std::int64_t prompts_per_rollout(const GrpoConfig& config, int world);

}  // namespace limbic::rl
