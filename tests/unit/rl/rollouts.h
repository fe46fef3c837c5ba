// Made-up rollouts for tests: trajectories of a tiny model's tokens with everything filled in.
#pragma once

#include <cmath>

#include "rl/policy/trajectory.h"

namespace limbic::rl {

// Completion `index` of a rollout in groups of `group`; lengths, tokens and log-probabilities
// follow from the index alone.
inline Trajectory made_up(std::int64_t index, std::int64_t group) {
  Trajectory t{.prompt = index / group, .member = index % group};
  for (std::int64_t i = 0; i < 2 + t.prompt % 3; ++i) {
    t.prompt_ids.push_back(static_cast<std::int32_t>((7 * t.prompt + 5 * i + 3) % 61));
  }
  const std::int64_t length = 1 + (index * 5 + 3) % 6;
  for (std::int64_t i = 0; i < length; ++i) {
    const auto wave = static_cast<double>(index * 13 + i * 7);
    t.ids.push_back(static_cast<std::int32_t>((11 * index + 17 * i + 1) % 61));
    t.sampled_logprobs.push_back(static_cast<float>(-3.0 + std::sin(wave)));
    t.sampling_logprobs.push_back(static_cast<float>(-3.0 + std::sin(wave + 0.3)));
    t.old_logprobs.push_back(static_cast<float>(-3.0 + std::sin(wave + 0.1)));
    t.ref_logprobs.push_back(static_cast<float>(-3.0 + std::sin(wave + 0.7)));
  }
  t.truncated = index % 5 == 4;
  t.weight = 0.5 + 0.25 * static_cast<double>(index % 4);
  t.advantage = std::cos(static_cast<double>(3 * index + 1));
  return t;
}

}  // namespace limbic::rl
