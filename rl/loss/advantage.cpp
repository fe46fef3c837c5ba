#include "rl/loss/advantage.h"

#include <cmath>
#include <span>

#include "trainer/base/error.h"

namespace limbic::rl {
namespace {

constexpr double kDeviationFloor = 1e-4;

using Values = std::span<std::optional<double>>;

struct Moments {
  double count = 0.0, mean = 0.0, deviation = 0.0;
};

// Sums are taken from the first value: equal values then differ from their mean by exactly nothing,
// and rounding never becomes a signal.
Moments moments(std::span<const std::optional<double>> values) {
  Moments out;
  double origin = 0.0, sum = 0.0;
  for (const auto& value : values) {
    if (!value) continue;
    check(std::isfinite(*value), "a scored reward is not finite");
    if (out.count == 0.0) origin = *value;
    sum += *value - origin;
    out.count += 1.0;
  }
  if (out.count == 0.0) return out;
  const double offset = sum / out.count;
  out.mean = origin + offset;
  double squares = 0.0;
  for (const auto& value : values) {
    if (!value) continue;
    const double distance = *value - origin - offset;
    squares += distance * distance;
  }
  if (out.count > 1.0) out.deviation = std::sqrt(squares / (out.count - 1.0));
  return out;
}

// value - mean, exactly 0 for equal values.
void centre(Values values) {
  std::optional<double> origin;
  for (const auto& value : values) {
    if (value && !origin) origin = value;
  }
  if (!origin) return;
  for (auto& value : values) {
    if (value) *value -= *origin;
  }
  const double offset = moments(values).mean;
  for (auto& value : values) {
    if (value) *value -= offset;
  }
}

void multiply(Values values, double factor) {
  for (auto& value : values) {
    if (value) *value *= factor;
  }
}

void divide(Values values, double deviation) {
  multiply(values, 1.0 / (deviation + kDeviationFloor));
}

// The mean of the others is n / (n - 1) times as far away as the mean; who is alone has no baseline
// and learns nothing.
void subtract_baseline(Values group, Estimator estimator) {
  if (estimator == Estimator::kReinforcePlusPlus) return;
  centre(group);
  const double count = moments(group).count;
  if (estimator == Estimator::kRloo && count > 1.0) multiply(group, count / (count - 1.0));
}

template <class Work>
void for_groups(Column& column, std::int64_t group, Work work) {
  const auto size = static_cast<std::size_t>(group);
  check(column.size() % size == 0, "completions come in whole groups");
  for (std::size_t first = 0; first < column.size(); first += size) {
    work(Values(column).subspan(first, size), first);
  }
}

// The deviations that advantages are divided by, for each group.
std::vector<double> deviations(const std::vector<RewardTerm>& terms, std::int64_t group,
                               ScaleRewards scale) {
  std::vector<Column> weighted;
  for (const RewardTerm& term : terms) {
    weighted.push_back(term.values);
    multiply(weighted.back(), term.weight);
  }
  Column total = sum_of(weighted);
  const double batch = moments(total).deviation;
  std::vector<double> out;
  for_groups(total, group, [&](Values values, std::size_t) {
    out.push_back(scale == ScaleRewards::kBatch ? batch : moments(values).deviation);
  });
  return out;
}

void whiten(std::vector<Column>& terms) {
  const Moments all = moments(sum_of(terms));
  for (Column& term : terms) {
    if (terms.size() == 1) centre(term);  // several terms have mean 0 by their baselines
    divide(term, all.deviation);
  }
}

}  // namespace

ScaleRewards AdvantageConfig::scale() const {
  if (scale_rewards != ScaleRewards::kAuto) return scale_rewards;
  return estimator == Estimator::kGrpo ? ScaleRewards::kGroup : ScaleRewards::kNone;
}

bool AdvantageConfig::whitens() const {
  return normalize_advantages || aggregation == Aggregation::kNormalizeThenSum ||
         estimator == Estimator::kReinforcePlusPlus ||
         estimator == Estimator::kReinforcePlusPlusBaseline;
}

void describe(Fields& f, AdvantageConfig& c) {
  f.choice("advantage_estimator", c.estimator,
           {{Estimator::kGrpo, "grpo"},
            {Estimator::kRloo, "rloo"},
            {Estimator::kReinforcePlusPlus, "reinforce_plus_plus"},
            {Estimator::kReinforcePlusPlusBaseline, "reinforce_plus_plus_baseline"}},
           "what a reward is compared with: the group's mean, the mean of the others in the group, "
           "the mean of the step, the group's mean and then the step's");
  f.choice("scale_rewards", c.scale_rewards,
           {{ScaleRewards::kAuto, "auto"},
            {ScaleRewards::kGroup, "group"},
            {ScaleRewards::kBatch, "batch"},
            {ScaleRewards::kNone, "none"}},
           "standard deviation of the rewards that advantages are divided by; auto = group with "
           "the estimator grpo, else none");
  f.field("normalize_advantages", c.normalize_advantages,
          "give the advantages of a step mean 0 and deviation 1; always so with "
          "reinforce_plus_plus and its baseline");
  f.choice("multi_objective_aggregation", c.aggregation,
           {{Aggregation::kSumThenNormalize, "sum_then_normalize"},
            {Aggregation::kNormalizeThenSum, "normalize_then_sum"}},
           "normalize_then_sum (GDPO) normalises every term of the outermost sum of rewards.graph "
           "within its group, sums them by their weights and normalises the sum over the step");
  if (!f.reading()) return;
  const bool own_scale = c.scale_rewards != ScaleRewards::kAuto;
  if (c.aggregation == Aggregation::kNormalizeThenSum) {
    if (c.estimator != Estimator::kGrpo) {
      f.fail("advantage_estimator",
             "got another estimator with normalize_then_sum, want grpo; GDPO fixes the baseline");
    }
    if (own_scale) {
      f.fail("scale_rewards",
             "got a scale with normalize_then_sum, want auto; GDPO normalises twice by itself");
    }
  }
  if (own_scale && c.scale_rewards != ScaleRewards::kNone && c.whitens()) {
    f.fail("scale_rewards", "got a scale beside normalised advantages, want auto or none");
  }
}

std::vector<Column> advantages(const std::vector<RewardTerm>& terms, std::int64_t group,
                               const AdvantageConfig& config) {
  check(!terms.empty(), "there is a reward");
  check(terms.size() == 1 || config.estimator != Estimator::kReinforcePlusPlus,
        "terms without baselines have no mean of their own");
  const bool per_term = config.aggregation == Aggregation::kNormalizeThenSum;
  std::vector<Column> out;
  for (const RewardTerm& term : terms) {
    out.push_back(term.values);
    for_groups(out.back(), group, [&](Values values, std::size_t) {
      const double deviation = moments(values).deviation;
      subtract_baseline(values, config.estimator);
      if (per_term) divide(values, deviation);
    });
    multiply(out.back(), term.weight);
  }
  if (!per_term && config.scale() != ScaleRewards::kNone && !config.whitens()) {
    const std::vector<double> scale = deviations(terms, group, config.scale());
    for (Column& column : out) {
      for_groups(column, group, [&](Values values, std::size_t first) {
        divide(values, scale[first / static_cast<std::size_t>(group)]);
      });
    }
  }
  if (config.whitens()) whiten(out);
  return out;
}

Column sum_of(const std::vector<Column>& terms) {
  Column out(terms.front().size());
  for (const Column& term : terms) {
    check(term.size() == out.size(), "columns of equal length");
    for (std::size_t i = 0; i < out.size(); ++i) {
      if (term[i]) out[i] = out[i].value_or(0.0) + *term[i];
    }
  }
  return out;
}

}  // namespace limbic::rl
