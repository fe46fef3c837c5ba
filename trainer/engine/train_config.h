// The keys that every training stage shares, with TRL's names and, unless noted, TRL's defaults.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "trainer/base/fields.h"
#include "trainer/optim/adamw.h"
#include "trainer/optim/schedule.h"

namespace limbic::engine {

enum class Overlong { kError, kDrop, kTruncateLeft, kTruncateRight };

struct TrainConfig {
  std::optional<std::int64_t> steps;
  std::optional<double> num_train_epochs;  // exclusive with steps
  std::int64_t per_device_train_batch_size = 8;
  std::int64_t gradient_accumulation_steps = 1;
  std::int64_t max_tokens_per_batch = 0;  // 0 = no limit
  std::int64_t max_length = 1024;
  bool packing = true;
  bool shuffle = true;
  Overlong overlong = Overlong::kError;
  optim::ScheduleConfig schedule;
  optim::AdamwConfig adamw;
  double max_grad_norm = 1.0;
  std::int64_t max_skipped_steps = 5;  // in a row
  std::int64_t save_steps = 500;
  std::int64_t save_total_limit = 2;
  std::int64_t logging_steps = 10;
};

// Describes all of them in the stage's own section; checks that steps and num_train_epochs exclude
// each other.
void describe(Fields& f, TrainConfig& c);

}  // namespace limbic::engine
