// From scores to what the tokens of a rollout are credited with.
#pragma once

#include <string>

#include "data/tokenizer/tokenizer.h"
#include "rewards/config.h"
#include "rl/policy/policy_config.h"
#include "rl/policy/trajectory.h"
#include "trainer/parallel/communicator.h"

namespace limbic::rl {

struct Dropped {
  std::int64_t groups = 0;   // by on_failure, this rank
  std::int64_t samples = 0;  // failed for good, this rank
};

// Why the settings that look at the terms of the reward one by one do not fit these rewards; empty
// when they do. They want a graph in this process whose outermost node is a plain sum of named
// nodes; without such settings everything fits.
std::string by_term_problem(const PolicyConfig& config, const rewards::RewardsConfig& rewards);

// Fills in advantage and token_advantages from scores, and ref_logprobs with the KL in the reward.
// `trajectories` are those of this rank, groups one behind the other. Every rank must call; the
// result does not depend on how groups are spread over the ranks.
Dropped set_credit(parallel::Communicator& communicator, const data::Tokenizer& tokenizer,
                   const rewards::RewardsConfig& rewards, const PolicyConfig& config,
                   std::span<Trajectory> trajectories, std::int64_t policy_step);

}  // namespace limbic::rl
