// Credit for groups of completions of the same prompt. Pure: no I/O, no collectives.
// Source: arXiv:2402.03300 (divides by the group's std), arXiv:2503.20783 (mean only), TRL's
// `scale_rewards`: group | batch | none; the standard deviation is over n - 1 and has 1e-4 added.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "trainer/base/fields.h"

namespace limbic::rl {

enum class ScaleRewards { kGroup, kBatch, kNone };

// What became of one completion's reward.
enum class Outcome {
  kScored,
  kNotApplicable,  // no term applies to the row; takes no part in its group
  kFailed,         // infrastructure; never a number
};

struct GroupRewards {
  std::vector<Outcome> outcome;  // [group]
  std::vector<double> reward;    // [group], read only where scored
};

struct Advantages {
  std::vector<std::optional<double>> value;  // [group]; empty = the completion takes no part
  double mean = 0.0;                         // of the scored rewards
  double deviation = 0.0;                    // n - 1; 0 with fewer than two scored
  std::int64_t scored = 0;
};

// One group. `batch_deviation` is the standard deviation over the whole step (read with kBatch
// only). A completion takes part when it is scored. Advantages of a group have mean zero; all are
// zero when every reward is equal. Throws std::logic_error when a scored reward is not finite.
Advantages group_advantages(const GroupRewards& group, ScaleRewards scale, double batch_deviation);

// Sums from which the deviation over all ranks is made: {count, sum, sum of squares}.
std::vector<double> reward_moments(std::span<const GroupRewards> groups);
double deviation_of_moments(std::span<const double> moments);

}  // namespace limbic::rl
