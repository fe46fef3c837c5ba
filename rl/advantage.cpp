#include "rl/advantage.h"

#include <algorithm>
#include <cmath>

#include "trainer/base/error.h"

namespace limbic::rl {
namespace {

constexpr double kDeviationFloor = 1e-4;

}  // namespace

Advantages group_advantages(const GroupRewards& group, ScaleRewards scale, double batch_deviation) {
  Advantages out;
  out.value.resize(group.reward.size());
  // Sums are taken from the first scored reward: equal rewards then differ from their mean by
  // exactly nothing, and rounding never becomes a signal.
  double origin = 0.0;
  double sum = 0.0;
  for (std::size_t i = 0; i < group.reward.size(); ++i) {
    if (group.outcome[i] != Outcome::kScored) continue;
    check(std::isfinite(group.reward[i]), "a scored reward is not finite");
    if (out.scored == 0) origin = group.reward[i];
    sum += group.reward[i] - origin;
    ++out.scored;
  }
  if (out.scored == 0) return out;
  const double offset = sum / static_cast<double>(out.scored);
  out.mean = origin + offset;
  double squares = 0.0;
  for (std::size_t i = 0; i < group.reward.size(); ++i) {
    if (group.outcome[i] != Outcome::kScored) continue;
    const double centred = group.reward[i] - origin - offset;
    out.value[i] = centred;
    squares += centred * centred;
  }
  if (out.scored > 1) out.deviation = std::sqrt(squares / static_cast<double>(out.scored - 1));
  if (scale == ScaleRewards::kNone) return out;
  const double deviation = scale == ScaleRewards::kGroup ? out.deviation : batch_deviation;
  for (auto& value : out.value) {
    if (value) *value /= deviation + kDeviationFloor;
  }
  return out;
}

std::vector<double> reward_moments(std::span<const GroupRewards> groups) {
  std::vector<double> moments(3, 0.0);
  for (const GroupRewards& group : groups) {
    for (std::size_t i = 0; i < group.reward.size(); ++i) {
      if (group.outcome[i] != Outcome::kScored) continue;
      moments[0] += 1.0;
      moments[1] += group.reward[i];
      moments[2] += group.reward[i] * group.reward[i];
    }
  }
  return moments;
}

double deviation_of_moments(std::span<const double> moments) {
  if (moments[0] < 2.0) return 0.0;
  const double centred = moments[2] - moments[1] * moments[1] / moments[0];
  return std::sqrt(std::max(0.0, centred) / (moments[0] - 1.0));
}

}  // namespace limbic::rl
