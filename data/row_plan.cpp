#include "data/row_plan.h"

#include <algorithm>
#include <numeric>
#include <span>

#include "trainer/base/error.h"
#include "trainer/base/seed.h"

namespace limbic::data {

RowPlan::RowPlan(std::int64_t rows, RowPlanConfig config) : config_(std::move(config)) {
  check(rows >= 1, "a row plan needs rows");
  check(config_.batch_rows >= 1 && config_.epochs_per_level >= 1, "a row plan needs a batch");
  if (config_.levels.empty()) {
    std::vector<std::int64_t> all(static_cast<std::size_t>(rows));
    std::iota(all.begin(), all.end(), 0);
    config_.levels.push_back(std::move(all));
  }
  for (const auto& level : config_.levels) {
    check(!level.empty(), "a level of a row plan needs rows");
    for (const std::int64_t row : level) check(row >= 0 && row < rows, "level with unknown rows");
  }
}

std::int64_t RowPlan::steps_per_epoch(std::int64_t level) const {
  const auto rows =
      static_cast<std::int64_t>(config_.levels.at(static_cast<std::size_t>(level)).size());
  return (rows + config_.batch_rows - 1) / config_.batch_rows;
}

std::int64_t RowPlan::natural_steps() const {
  std::int64_t steps = 0;
  for (std::size_t level = 0; level < config_.levels.size(); ++level) {
    steps += steps_per_epoch(static_cast<std::int64_t>(level)) * config_.epochs_per_level;
  }
  return steps;
}

PlanPosition RowPlan::position(std::int64_t step) const {
  check(step >= 0, "steps count from 0");
  const auto last = static_cast<std::int64_t>(config_.levels.size()) - 1;
  std::int64_t level = 0;
  for (; level < last; ++level) {
    const std::int64_t steps = steps_per_epoch(level) * config_.epochs_per_level;
    if (step < steps) break;
    step -= steps;
  }
  const std::int64_t steps = steps_per_epoch(level);
  return {level, step / steps, step % steps * config_.batch_rows};
}

std::int64_t RowPlan::epoch_number(const PlanPosition& at) const {
  return at.level * config_.epochs_per_level + at.epoch;
}

const std::vector<std::int64_t>& RowPlan::epoch_order(const PlanPosition& at) const {
  const auto& level = config_.levels[static_cast<std::size_t>(at.level)];
  if (!config_.shuffle) return level;
  const std::int64_t epoch = epoch_number(at);
  if (epoch != cached_epoch_) {
    cached_order_ = level;
    Random(derive_seed(config_.seed, "epoch", epoch))
        .shuffle(std::span<std::int64_t>(cached_order_));
    cached_epoch_ = epoch;
  }
  return cached_order_;
}

std::vector<std::int64_t> RowPlan::rows_of_step(std::int64_t step) const {
  const PlanPosition at = position(step);
  const auto& order = epoch_order(at);
  const auto rows = static_cast<std::int64_t>(order.size());
  const std::int64_t end = std::min(rows, at.offset + config_.batch_rows);
  return {order.begin() + at.offset, order.begin() + end};
}

double RowPlan::epochs_after(std::int64_t steps) const {
  const PlanPosition at = position(steps);
  const auto rows = config_.levels[static_cast<std::size_t>(at.level)].size();
  return static_cast<double>(epoch_number(at)) +
         static_cast<double>(at.offset) / static_cast<double>(rows);
}

std::vector<std::int64_t> shard(const std::vector<std::int64_t>& rows, int rank, int world) {
  check(world >= 1 && rank >= 0 && rank < world, "a shard needs a rank of the world");
  const auto count = static_cast<std::int64_t>(rows.size());
  return {rows.begin() + count * rank / world, rows.begin() + count * (rank + 1) / world};
}

}  // namespace limbic::data
