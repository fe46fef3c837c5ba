#include "trainer/optim/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace limbic::optim {

void describe(Fields& f, ScheduleConfig& c) {
  f.field("learning_rate", c.learning_rate, "peak learning rate", Bounds::positive());
  f.choice("lr_scheduler_type", c.lr_scheduler_type,
           {{Schedule::kConstant, "constant"},
            {Schedule::kConstantWithWarmup, "constant_with_warmup"},
            {Schedule::kLinear, "linear"},
            {Schedule::kCosine, "cosine"},
            {Schedule::kCosineWithMinLr, "cosine_with_min_lr"}},
           "how the rate moves after the warm-up");
  f.field("warmup_ratio", c.warmup_ratio, "share of the steps that warm up",
          Bounds::between(0.0, 1.0));
  f.field("warmup_steps", c.warmup_steps, "steps that warm up; above 0 it wins over the ratio",
          Bounds::at_least(0));
  f.field("min_lr_ratio", c.min_lr_ratio, "where cosine_with_min_lr ends, as a share of the peak",
          Bounds::between(0.0, 1.0));
}

double learning_rate(const ScheduleConfig& config, std::int64_t step, std::int64_t total) {
  if (config.lr_scheduler_type == Schedule::kConstant) return config.learning_rate;
  const std::int64_t warmup =
      config.warmup_steps > 0
          ? config.warmup_steps
          : static_cast<std::int64_t>(std::ceil(config.warmup_ratio * static_cast<double>(total)));
  if (step < warmup) {
    return config.learning_rate * static_cast<double>(step) /
           static_cast<double>(std::max<std::int64_t>(1, warmup));
  }
  const double done = static_cast<double>(step - warmup) /
                      static_cast<double>(std::max<std::int64_t>(1, total - warmup));
  const double cosine = 0.5 * (1.0 + std::cos(std::numbers::pi * std::min(1.0, done)));
  switch (config.lr_scheduler_type) {
    case Schedule::kLinear:
      return config.learning_rate * std::max(0.0, 1.0 - done);
    case Schedule::kCosine:
      return config.learning_rate * cosine;
    case Schedule::kCosineWithMinLr:
      return config.learning_rate * (config.min_lr_ratio + (1.0 - config.min_lr_ratio) * cosine);
    default:
      return config.learning_rate;
  }
}

}  // namespace limbic::optim
