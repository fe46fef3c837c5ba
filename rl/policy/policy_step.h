// One optimizer step over a rollout: the completions that take part in packed micro-batches, the
// denominators of the whole step, and the loss of each micro-batch.
#pragma once

#include <cstdint>
#include <vector>

#include "rl/policy/policy_config.h"
#include "rl/policy/trajectory.h"
#include "trainer/engine/stage.h"

namespace limbic::rl {

class PolicyStep {
 public:
  // Sums the denominators over all ranks and finds the tokens of high entropy when asked for: every
  // rank must call. `trajectories` are those of this rank with their advantages; the losses fill in
  // their old_logprobs when they are to be used again.
  PolicyStep(engine::RunContext& context, const PolicyConfig& config,
             std::vector<Trajectory>& trajectories, std::int64_t step);

  std::size_t size() const { return batches_.size(); }  // micro-batches of this rank
  const StepTotals& totals() const { return totals_; }

  // Loss of micro-batch i; all of them on all ranks add up to that of the step.
  at::Tensor loss(std::size_t i);

  // TRL's metrics of the step that is done. Every rank must call.
  Json metrics();

 private:
  // What is summed over the tokens of this rank besides the loss.
  struct Sums {
    double tokens = 0.0, completions = 0.0, loss = 0.0;
    double kl = 0.0, entropy = 0.0, clip_low = 0.0, clip_high = 0.0, bonus = 0.0;
    double clip_low_min = 1.0, clip_high_max = 0.0;  // of a completion
    double difference = 0.0, largest_difference = 0.0;
    double correction = 0.0, correction_min = 0.0, correction_max = 0.0;
  };

  std::vector<std::size_t> members() const;
  std::uint64_t dropout_seed(std::size_t i) const;
  void select_tokens();
  PolicyInputs inputs(const TrajectoryBatch& micro, const model::TokenScores& scores);
  void count(const TrajectoryBatch& micro, const PolicyInputs& in, const PolicyLoss& out);
  void put_clips(Json& out, double tokens_all, double low, double high);

  engine::RunContext& context_;
  const PolicyConfig& config_;
  std::vector<Trajectory>& trajectories_;
  std::int64_t step_;
  std::vector<TrajectoryBatch> batches_;
  std::vector<at::Tensor> selected_;  // of each micro-batch; empty: all tokens
  StepTotals totals_;
  Sums sums_;
};

}  // namespace limbic::rl
