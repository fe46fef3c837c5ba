#include "rl/policy/policy_config.h"

#include <fmt/format.h>

#include <cmath>

#include "data/row_plan.h"
#include "trainer/base/error.h"

namespace limbic::rl {

void describe(Fields& f, PolicyConfig& c) {
  f.field("num_generations", c.num_generations, "completions per prompt: the group",
          Bounds::at_least(2));
  f.field("max_completion_length", c.max_completion_length, "longest completion in tokens",
          Bounds::at_least(1));
  describe(f, c.sampling);
  f.field("generation_batch_size", c.generation_batch_size,
          "sequences that a rank decodes at the same time", Bounds::at_least(1));
  f.field("num_iterations", c.num_iterations, "optimizer steps made from one rollout",
          Bounds::at_least(1));
  describe(f, c.advantage);
  f.field("mask_truncated_completions", c.mask_truncated_completions,
          "leave completions that reached the length limit out of the loss");
  describe(f, c.loss);
  f.field("sample_weight", c.sample_weight,
          "column of the rows with the weight of their completions in the loss, 0 or more; empty = "
          "all weigh 1");
  f.field("token_regions", c.token_regions,
          "{TERM: TAG}: what a term of the outermost sum of rewards.graph adds to the advantage "
          "goes to the tokens inside <TAG> only, or to all when the completion has no such pair");
  f.field("num_completions_to_log", c.num_completions_to_log,
          "completions of a logged step that go to completions.jsonl", Bounds::at_least(0));
  describe(f, c.train);
  if (!f.reading()) return;
  if (!c.token_regions.empty() && c.advantage.estimator == Estimator::kReinforcePlusPlus) {
    f.fail("token_regions",
           "got regions with reinforce_plus_plus, want another advantage_estimator; its terms have "
           "no baseline of their own");
  }
  if (c.loss.kl.in_reward && c.advantage.aggregation == Aggregation::kNormalizeThenSum) {
    f.fail(
        "kl_in_reward",
        "got true with normalize_then_sum, want false; the KL would be normalised like a reward");
  }
  if (c.loss.correction.enabled && c.sampling.temperature == 0.0) {
    f.fail("vllm_importance_sampling_correction",
           "got true with temperature 0, want a temperature; nothing is drawn");
  }
}

double temperature_of(const PolicyConfig& config) {
  return config.sampling.temperature > 0.0 ? config.sampling.temperature : 1.0;
}

std::int64_t prompts_per_rollout(const PolicyConfig& config, int world) {
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

std::int64_t total_steps(const PolicyConfig& config, std::int64_t prompts, int world) {
  if (config.train.steps) return *config.train.steps;
  const data::RowPlan plan(
      prompts, {.batch_rows = prompts_per_rollout(config, world), .shuffle = config.train.shuffle});
  const double epochs = config.train.num_train_epochs.value_or(1.0);
  const auto rollouts = std::max<std::int64_t>(
      1,
      static_cast<std::int64_t>(std::ceil(epochs * static_cast<double>(plan.steps_per_epoch()))));
  return rollouts * config.num_iterations;
}

}  // namespace limbic::rl
