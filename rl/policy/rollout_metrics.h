// TRL's GRPO metrics over the completions of all ranks. Every rank sends one small record per
// completion; the figures are a pure function of the records in rank order.
#pragma once

#include <string>
#include <vector>

#include "rl/policy/rollout.h"
#include "trainer/parallel/communicator.h"

namespace limbic::rl {

struct CompletionRecord {
  std::int64_t group = 0;  // prompt of the rollout
  std::int64_t length = 0;
  bool truncated = false;
  rewards::Status status = rewards::Status::kNotApplicable;
  double reward = 0.0;  // when scored
  std::vector<rewards::Component> components = {};
};

// Every rank must call and gets the same result.
std::vector<CompletionRecord> gather_records(parallel::Communicator& communicator,
                                             const Rollout& rollout);

// completions/{mean,min,max}_length, completions/{mean,min,max}_terminated_length,
// completions/clipped_ratio, reward, reward_std, frac_reward_zero_std, rewards/<name>/{mean,std},
// rewards/<name>/applicable (share of completions), rewards/failed, rewards/not_applicable
// (counts). reward_std is the mean over groups, as TRL reports it.
Json rollout_metrics(const std::vector<CompletionRecord>& records);

}  // namespace limbic::rl
