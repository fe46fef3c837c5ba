// From the rewards of a step to its advantages. Pure: no I/O, no collectives; the completions of
// all ranks go in, so that the figures do not depend on how they are spread.
//
// Sources: arXiv:2402.03300 (group mean and deviation), arXiv:2503.20783 (mean only),
// arXiv:2402.14740 (RLOO: the mean of the others), arXiv:2501.03262 (REINFORCE++ and its
// baseline: whitened over the batch), arXiv:2601.05242 (GDPO: every reward normalised by itself).
// Deviations are over n - 1 and have 1e-4 added, as in TRL.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "trainer/base/fields.h"

namespace limbic::rl {

enum class Estimator { kGrpo, kRloo, kReinforcePlusPlus, kReinforcePlusPlusBaseline };
enum class ScaleRewards { kAuto, kGroup, kBatch, kNone };  // auto: group with kGrpo, else none
enum class Aggregation { kSumThenNormalize, kNormalizeThenSum };

struct AdvantageConfig {
  Estimator estimator = Estimator::kGrpo;
  ScaleRewards scale_rewards = ScaleRewards::kAuto;
  bool normalize_advantages = false;
  Aggregation aggregation = Aggregation::kSumThenNormalize;

  ScaleRewards scale() const;
  // Mean 0 and deviation 1 over the step in the end.
  bool whitens() const;
};
void describe(Fields& f, AdvantageConfig& c);

// One number per completion, groups one behind the other; empty where it takes no part.
using Column = std::vector<std::optional<double>>;

// A reward, or one of several whose weighted sum is the reward.
struct RewardTerm {
  Column values;
  double weight = 1.0;
};

// What each term adds to the advantages of the step: [terms][completions], empty where the term or
// the completion takes no part. The advantage of a completion is the sum over the terms; it is 0
// throughout a group of equal rewards unless the step is whitened.
//
// With several terms every term has its own baseline, over the completions that it applies to.
// Requires: one term at least, columns of equal length, a multiple of `group`; one term for
// kReinforcePlusPlus. Throws std::logic_error when a value is not finite.
std::vector<Column> advantages(const std::vector<RewardTerm>& terms, std::int64_t group,
                               const AdvantageConfig& config);

// Sum over the terms; empty where none applies.
Column sum_of(const std::vector<Column>& terms);

}  // namespace limbic::rl
