#include "trainer/optim/schedule.h"

#include <gtest/gtest.h>

#include <map>

#include "tests/unit/optim/golden.h"

namespace limbic::optim {
namespace {

const std::map<std::string, Schedule> kKinds = {
    {"constant", Schedule::kConstant},
    {"constant_with_warmup", Schedule::kConstantWithWarmup},
    {"linear", Schedule::kLinear},
    {"cosine", Schedule::kCosine},
    {"cosine_with_min_lr", Schedule::kCosineWithMinLr}};

TEST(Schedule, RatesAreThoseOfTransformers) {
  std::size_t seen = 0;
  for (const Json& run : golden("schedules")) {
    const ScheduleConfig config{.learning_rate = run.at("peak").get<double>(),
                                .lr_scheduler_type = kKinds.at(run.at("kind").get<std::string>()),
                                .warmup_ratio = run.at("warmup_ratio").get<double>(),
                                .warmup_steps = run.at("warmup_steps").get<std::int64_t>(),
                                .min_lr_ratio = run.at("min_lr_ratio").get<double>()};
    const auto total = run.at("total").get<std::int64_t>();
    const auto rates = run.at("rates").get<std::vector<double>>();
    ASSERT_EQ(rates.size(), static_cast<std::size_t>(total));
    for (std::int64_t step = 0; step < total; ++step) {
      EXPECT_NEAR(learning_rate(config, step, total), rates[static_cast<std::size_t>(step)], 1e-15)
          << run.at("kind") << " step " << step << " of " << total << " warm-up "
          << config.warmup_steps << " ratio " << config.warmup_ratio;
    }
    ++seen;
  }
  EXPECT_EQ(seen, 25u);
}

TEST(Schedule, NeverLeavesItsRangeBehindTheLastStep) {
  for (const auto& [name, kind] : kKinds) {
    const ScheduleConfig config{.learning_rate = 1.0, .lr_scheduler_type = kind};
    const double end = learning_rate(config, 10, 10);
    EXPECT_GE(end, 0.0) << name;
    EXPECT_EQ(learning_rate(config, 15, 10), end) << name;
  }
}

TEST(Schedule, WarmupLongerThanTheRunOnlyWarmsUp) {
  ScheduleConfig config{.learning_rate = 1.0, .warmup_steps = 8};
  for (const auto& [name, kind] : kKinds) {
    if (kind == Schedule::kConstant) continue;
    config.lr_scheduler_type = kind;
    for (std::int64_t step = 0; step < 4; ++step) {
      EXPECT_DOUBLE_EQ(learning_rate(config, step, 4), static_cast<double>(step) / 8.0) << name;
    }
  }
}

}  // namespace
}  // namespace limbic::optim
