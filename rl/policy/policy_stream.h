// The stream of optimizer steps over sampled completions that the reinforcement-learning stages
// share: prompts, rollouts when they are due, steps, metrics, the log of completions.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "data/row_plan.h"
#include "rl/policy/policy_step.h"
#include "rl/policy/rollout.h"
#include "trainer/engine/training_loop.h"

namespace limbic::rl {

// Tokens that a prompt may have, so that a completion fits behind it.
std::int64_t longest_prompt(const engine::RunContext& context, const PolicyConfig& config);

class PolicyStream {
 public:
  // Encodes the prompts of `data` and asks for the rewards. `reference` is read with beta above 0
  // only: null means the decoder itself with its adapter switched off. Every rank must call. Throws
  // ConfigError, DataError and RemoteError.
  PolicyStream(engine::RunContext& context, const PolicyConfig& config,
               const std::vector<std::string>& data, const model::Decoder* reference);

  std::int64_t prompts() const { return static_cast<std::int64_t>(prompts_.size()); }
  // Between the iterations over a rollout there is more state than a checkpoint holds.
  bool at_boundary(std::int64_t step) const { return step % config_.num_iterations == 0; }

  // The step's part of the loss, after a new rollout when one is due. Every rank must call.
  PolicyStep& begin(std::int64_t step);
  // Fills in all of the report but `result`, which is there. Every rank must call.
  void end(std::int64_t step, engine::StepReport& report);

 private:
  void collect(std::int64_t rollout);
  void log_completions(std::int64_t step);

  engine::RunContext& context_;
  const PolicyConfig& config_;
  data::Mixture rows_;
  std::vector<engine::PromptRow> prompts_;
  data::RowPlan plan_;
  RolloutCollector collector_;
  Rollout rollout_;
  Json rollout_metrics_;
  std::optional<PolicyStep> step_;
};

}  // namespace limbic::rl
