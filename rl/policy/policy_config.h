// The keys that the stages with sampled completions share, with TRL's names and defaults unless the
// help says otherwise.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "rl/loss/advantage.h"
#include "rl/loss/policy_loss.h"
#include "trainer/engine/train_config.h"
#include "trainer/generation/sampler.h"

namespace limbic::rl {

struct PolicyConfig {
  PolicyConfig() { train.schedule.learning_rate = 1e-6; }

  std::int64_t num_generations = 8;
  std::int64_t max_completion_length = 512;
  generation::SamplingConfig sampling;
  std::int64_t generation_batch_size = 256;  // sequences decoded at a time
  std::int64_t num_iterations = 1;           // optimizer steps per rollout
  AdvantageConfig advantage;
  bool mask_truncated_completions = false;
  PolicyLossConfig loss;
  std::string sample_weight;  // column of the rows; empty = none
  // Term of the reward, tag whose content its advantages are for.
  std::vector<std::pair<std::string, std::string>> token_regions;
  std::int64_t num_completions_to_log = 16;
  engine::TrainConfig train;

  // The terms of the reward are looked at one by one.
  bool by_term() const {
    return advantage.aggregation == Aggregation::kNormalizeThenSum || !token_regions.empty();
  }
};
void describe(Fields& f, PolicyConfig& c);

// The policy of the loss is softmax(logits / temperature) with the temperature of the draws, as in
// TRL; that of greedy draws is 1.
double temperature_of(const PolicyConfig& config);

// Prompts of one rollout over all ranks. Throws ConfigError when the completions of a step are not
// a multiple of num_generations.
std::int64_t prompts_per_rollout(const PolicyConfig& config, int world);

// Optimizer steps that a stage makes over `prompts` prompts.
std::int64_t total_steps(const PolicyConfig& config, std::int64_t prompts, int world);

}  // namespace limbic::rl
