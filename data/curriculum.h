// From easy to hard: rows sorted by difficulty, cut into buckets of equal size, put together to
// levels that RowPlan goes through. Pure apart from reading a column.
// Source: the baby-step (cumulative) and one-pass (sequential) schedules of Bengio et al., ICML
// 2009, in the wording of Soviany et al., arXiv:2101.10382.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/dialogue/emotion_shifts.h"
#include "trainer/base/fields.h"

namespace limbic::data {

enum class CurriculumSchedule { kCumulative, kSequential };

struct CurriculumConfig {
  std::string difficulty = {};  // column:NAME | emotion_shifts | length | loss
  std::int64_t buckets = 4;
  CurriculumSchedule schedule = CurriculumSchedule::kCumulative;
  std::int64_t epochs_per_level = 1;
  bool reverse = false;  // from hard to easy
  // Present exactly when `difficulty` is emotion_shifts.
  std::optional<EmotionShiftConfig> emotion_shifts = {};
};

void describe(Fields& f, CurriculumConfig& config);

// Where the difficulties come from. Of kLength and kLoss the caller brings them: tokens of the
// example, the loss of the model that the stage starts from.
struct DifficultySource {
  enum class Kind { kColumn, kEmotionShifts, kLength, kLoss };
  Kind kind = Kind::kLength;
  std::string column;  // of kColumn
};
// Throws ConfigError `got ..., want ...`.
DifficultySource parse_difficulty(const std::string& text);

// The column as numbers. Throws DataError `FILE:LINE: ...`: missing, or no number.
std::vector<double> column_difficulty(const Mixture& rows, const std::string& column);

// difficulty  [rows]  the higher, the later; equal ones stay in the order of the rows
// returns     [buckets][...]  row indices in the order of difficulty: cumulative: level k holds
//             buckets 0 to k; sequential: bucket k. Bucket sizes differ by at most one.
// Throws ConfigError: fewer rows than buckets. DataError: a difficulty that is not finite.
std::vector<std::vector<std::int64_t>> curriculum_levels(std::span<const double> difficulty,
                                                         const CurriculumConfig& config);

}  // namespace limbic::data
