// Sampled completions with their rewards and advantages: from prompts to what the loss needs.
// Tokens are the record, text is a view: ids and log-probabilities come from the generator and
// travel together.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "rewards/scorer.h"
#include "rl/grpo_config.h"
#include "trainer/engine/encode_rows.h"
#include "trainer/engine/stage.h"

namespace limbic::rl {

struct Trajectory {
  std::int64_t prompt = 0;  // index of its prompt among those of the rollout, over all ranks
  std::int64_t member = 0;  // index in the group
  std::vector<std::int32_t> prompt_ids = {};
  std::vector<std::int32_t> ids = {};        // the stop token included
  std::vector<float> sampled_logprobs = {};  // [ids] when they were drawn, untempered
  std::vector<float> old_logprobs = {};      // [ids] of the first pass over the rollout; else empty
  bool truncated = false;                    // ended by the length limit
  std::string text = {};                     // special tokens kept, the stop token dropped
  rewards::Score score = {};
  std::optional<double> advantage = {};  // empty: takes no part
};

struct Rollout {
  std::vector<Trajectory> trajectories;  // of this rank, groups one behind the other
  std::int64_t dropped_groups = 0;       // by on_failure, this rank
  std::int64_t dropped_samples = 0;      // failed for good, this rank
};

// A prompt of the step with its place in the global order.
struct RolloutPrompt {
  std::int64_t index = 0;
  const engine::PromptRow* prompt = nullptr;
};

class RolloutCollector {
 public:
  // The scorer is made and asked for an answer here. Throws ConfigError, DataError (no row has a
  // column that a term needs), RemoteError (a worker does not answer).
  RolloutCollector(engine::RunContext& context, const GrpoConfig& config,
                   const data::Mixture& rows);

  // Generates, scores, applies on_failure, computes advantages. Every rank must call; a rank may
  // have no prompts. Throws RemoteError on all ranks when one of them lost its service.
  Rollout collect(std::span<const RolloutPrompt> prompts, std::int64_t rollout);

 private:
  std::vector<Trajectory> generate(std::span<const RolloutPrompt> prompts, std::int64_t rollout);
  void score(std::span<const RolloutPrompt> prompts, std::vector<Trajectory>& trajectories,
             std::int64_t rollout);
  void wait_for_failed(std::span<const rewards::Completion> batch,
                       std::vector<rewards::Score>& scores, std::int64_t policy_step);
  void set_advantages(Rollout& rollout);

  engine::RunContext& context_;
  const GrpoConfig& config_;
  const data::Mixture& rows_;
  std::shared_ptr<rewards::Scorer> scorer_;
};

}  // namespace limbic::rl
