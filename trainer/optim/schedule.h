// Learning-rate schedules as pure functions of the step, with the names and formulas of
// transformers.
#pragma once

#include <cstdint>

#include "trainer/base/fields.h"

namespace limbic::optim {

enum class Schedule { kConstant, kConstantWithWarmup, kLinear, kCosine, kCosineWithMinLr };

struct ScheduleConfig {
  double learning_rate = 2e-5;
  Schedule lr_scheduler_type = Schedule::kLinear;
  double warmup_ratio = 0.0;
  std::int64_t warmup_steps = 0;  // wins over the ratio when it is above 0
  double min_lr_ratio = 0.1;      // cosine_with_min_lr ends at this share of the peak
};
void describe(Fields& f, ScheduleConfig& c);

// Rate of optimizer step `step` (from 0) out of `total`. As in transformers the first step of a
// warm-up has rate 0 and warm-up steps are ceil(ratio * total).
double learning_rate(const ScheduleConfig& config, std::int64_t step, std::int64_t total);

}  // namespace limbic::optim
