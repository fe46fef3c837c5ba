// Which rows make an optimizer step: a function of (config, step) and nothing else, so a run
// resumes from its step number and every rank finds the same answer.
//
// An epoch goes once over the rows of its level in an order shuffled anew; its last step takes what
// is left. Without a curriculum there is one level with all rows. With one, level k is gone over
// `epochs_per_level` times, then level k + 1; after the last level further epochs go over it.
#pragma once

#include <cstdint>
#include <vector>

namespace limbic::data {

struct RowPlanConfig {
  std::int64_t batch_rows = 1;  // of all ranks and micro-batches of one step
  bool shuffle = true;          // false: in the order of the rows, or of the level
  std::uint64_t seed = 0;
  // Row indices, see curriculum_levels; empty: one level with all rows.
  std::vector<std::vector<std::int64_t>> levels = {};
  std::int64_t epochs_per_level = 1;
};

struct PlanPosition {
  std::int64_t level = 0;
  std::int64_t epoch = 0;   // within the level, from 0
  std::int64_t offset = 0;  // rows of this epoch that earlier steps took
  bool operator==(const PlanPosition&) const = default;
};

class RowPlan {
 public:
  // Requires: rows >= 1, batch_rows >= 1, epochs_per_level >= 1, no empty level, indices below
  // rows.
  RowPlan(std::int64_t rows, RowPlanConfig config);

  std::int64_t steps_per_epoch(std::int64_t level = 0) const;
  // Steps until every level has had its epochs (without a curriculum: of one epoch).
  std::int64_t natural_steps() const;

  // Where the step (from 0) begins.
  PlanPosition position(std::int64_t step) const;
  // Row indices of the step, 1 to batch_rows of them, in global order. The order of the current
  // epoch is kept between calls: one plan per thread.
  std::vector<std::int64_t> rows_of_step(std::int64_t step) const;
  // Epochs behind after so many steps, with the fraction of the running one (the metric `epoch`).
  double epochs_after(std::int64_t steps) const;

 private:
  std::int64_t epoch_number(const PlanPosition& at) const;
  const std::vector<std::int64_t>& epoch_order(const PlanPosition& at) const;

  RowPlanConfig config_;
  mutable std::int64_t cached_epoch_ = -1;
  mutable std::vector<std::int64_t> cached_order_;
};

// The part of a rank: contiguous, sizes differ by at most one, the parts of all ranks one behind
// the other give the rows again (a part may be empty). Requires: 0 <= rank < world.
std::vector<std::int64_t> shard(const std::vector<std::int64_t>& rows, int rank, int world);

}  // namespace limbic::data
