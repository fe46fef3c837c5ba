// From prompts to sampled completions with everything that the loss needs.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "rewards/scorer.h"
#include "rl/policy/credit.h"
#include "rl/policy/policy_config.h"
#include "rl/policy/trajectory.h"
#include "trainer/engine/encode_rows.h"
#include "trainer/engine/stage.h"

namespace limbic::rl {

struct Rollout {
  std::vector<Trajectory> trajectories;  // of this rank, groups one behind the other
  Dropped dropped;
};

// A prompt of the step with its place in the global order.
struct RolloutPrompt {
  std::int64_t index = 0;
  const engine::PromptRow* prompt = nullptr;
};

// What can be wrong with the rewards of these rows before there is a model: completions that do not
// fill groups, the graph of this process, columns that no row has. Workers are not asked.
// Throws ConfigError (a key of the stage or of rewards in front), DataError.
void check_scoring(const PolicyConfig& config, const rewards::RewardsConfig& rewards,
                   const data::Mixture& rows, int world);

class RolloutCollector {
 public:
  // The scorer is made and asked for an answer here. Throws ConfigError, DataError (no row has a
  // column that a term needs; a sample_weight that is no number), RemoteError (a worker does not
  // answer). `reference` is read with beta above 0.
  RolloutCollector(engine::RunContext& context, const PolicyConfig& config,
                   const data::Mixture& rows, const Reference& reference);

  // Generates, scores, asks the reference, applies on_failure, computes advantages. Every rank must
  // call; a rank may have no prompts. Throws RemoteError on all ranks when one of them lost its
  // service.
  Rollout collect(std::span<const RolloutPrompt> prompts, std::int64_t rollout);

 private:
  std::vector<Trajectory> generate(std::span<const RolloutPrompt> prompts, std::int64_t rollout);
  void score(std::span<const RolloutPrompt> prompts, std::vector<Trajectory>& trajectories,
             std::int64_t rollout);
  void wait_for_failed(std::span<const rewards::Completion> batch,
                       std::vector<rewards::Score>& scores, std::int64_t policy_step);

  engine::RunContext& context_;
  const PolicyConfig& config_;
  const data::Mixture& rows_;
  Reference reference_;
  std::vector<double> weights_;  // [rows]; empty: all 1
  std::shared_ptr<rewards::Scorer> scorer_;
};

}  // namespace limbic::rl
