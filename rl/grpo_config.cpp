#include "rl/grpo_config.h"

#include <fmt/format.h>

#include "trainer/base/error.h"

namespace limbic::rl {

void describe(Fields& f, GrpoConfig& c) {
  f.require("data");
  f.field("data", c.data, "dataset of prompts, or a list of datasets to mix");
  f.field("num_generations", c.num_generations, "completions per prompt: the group",
          Bounds::at_least(2));
  f.field("max_completion_length", c.max_completion_length, "longest completion in tokens",
          Bounds::at_least(1));
  describe(f, c.sampling);
  f.field("generation_batch_size", c.generation_batch_size,
          "sequences that a rank decodes at the same time", Bounds::at_least(1));
  f.field("num_iterations", c.num_iterations, "optimizer steps made from one rollout",
          Bounds::at_least(1));
  f.choice("scale_rewards", c.scale_rewards,
           {{ScaleRewards::kGroup, "group"},
            {ScaleRewards::kBatch, "batch"},
            {ScaleRewards::kNone, "none"}},
           "standard deviation that advantages are divided by");
  f.field("mask_truncated_completions", c.mask_truncated_completions,
          "leave completions that reached the length limit out of the loss");
  describe(f, c.loss);
  f.field("num_completions_to_log", c.num_completions_to_log,
          "completions of a logged step that go to completions.jsonl", Bounds::at_least(0));
  describe(f, c.train);
}

std::int64_t prompts_per_rollout(const GrpoConfig& config, int world) {
  const std::int64_t completions =
      config.train.per_device_train_batch_size * config.train.gradient_accumulation_steps * world;
  if (completions % config.num_generations != 0) {
    throw ConfigError(
        fmt::format("num_generations: got {}, want a divisor of the {} completions of a step "
                    "(per_device_train_batch_size {} x gradient_accumulation_steps {} x {} ranks)",
                    config.num_generations, completions, config.train.per_device_train_batch_size,
                    config.train.gradient_accumulation_steps, world));
  }
  return completions / config.num_generations;
}

}  // namespace limbic::rl
