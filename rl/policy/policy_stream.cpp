#include "rl/policy/policy_stream.h"

#include <cmath>
#include <numeric>

#include "rl/policy/rollout_metrics.h"
#include "trainer/base/error.h"
#include "trainer/base/log.h"
#include "trainer/base/seed.h"
#include "trainer/parallel/collectives.h"

namespace limbic::rl {
namespace {

// Mean |sampled - recomputed| log-probability above this is a sign that generation and training
// do not run the same model; bfloat16 rounding stays well below.
constexpr double kLogprobAlarm = 0.1;

data::RowPlanConfig plan_config(const engine::RunContext& context, const PolicyConfig& config) {
  return {.batch_rows = prompts_per_rollout(config, context.communicator.size()),
          .shuffle = config.train.shuffle,
          .seed = derive_seed(context.seed, "rows of " + context.stage_name)};
}

Reference reference_of(const engine::RunContext& context, const model::Decoder* reference) {
  return {.decoder = reference != nullptr ? *reference : context.decoder, .use_adapter = false};
}

}  // namespace

std::int64_t longest_prompt(const engine::RunContext& context, const PolicyConfig& config) {
  return std::min(config.train.max_length, context.decoder.config().max_position_embeddings) -
         config.max_completion_length;
}

PolicyStream::PolicyStream(engine::RunContext& context, const PolicyConfig& config,
                           const std::vector<std::string>& data, const model::Decoder* reference)
    : context_(context),
      config_(config),
      rows_(engine::mixture_of(context, data)),
      prompts_(engine::encode_prompts(context, rows_,
                                      {longest_prompt(context, config), config.train.overlong},
                                      engine::PromptUse::kLearn)),
      plan_(static_cast<std::int64_t>(prompts_.size()), plan_config(context, config)),
      collector_(context, config, rows_, reference_of(context, reference)) {}

void PolicyStream::collect(std::int64_t rollout) {
  const std::vector<std::int64_t> rows = plan_.rows_of_step(rollout);
  std::vector<std::int64_t> places(rows.size());
  std::iota(places.begin(), places.end(), std::int64_t{0});
  std::vector<RolloutPrompt> mine;
  for (const std::int64_t place :
       data::shard(places, context_.communicator.rank(), context_.communicator.size())) {
    const std::int64_t row = rows[static_cast<std::size_t>(place)];
    mine.push_back({place, &prompts_[static_cast<std::size_t>(row)]});
  }
  rollout_ = collector_.collect(mine, rollout);
  rollout_metrics_ = rollout_metrics(gather_records(context_.communicator, rollout_));
  const std::vector<double> dropped =
      parallel::sum(context_.communicator, {static_cast<double>(rollout_.dropped.groups)});
  rollout_metrics_["rewards/dropped_groups"] = static_cast<std::int64_t>(dropped[0]);
}

PolicyStep& PolicyStream::begin(std::int64_t step) {
  if (at_boundary(step)) collect(step / config_.num_iterations);
  step_.emplace(context_, config_, rollout_.trajectories, step);
  if (step_->totals().tokens == 0.0) {
    spdlog::warn("{}: step {}: no completion takes part, nothing is learned", context_.stage_name,
                 step + 1);
  }
  return *step_;
}

void PolicyStream::end(std::int64_t step, engine::StepReport& report) {
  report.metrics = rollout_metrics_;
  report.metrics.update(step_->metrics());
  report.metrics["epoch"] = plan_.epochs_after(step / config_.num_iterations + 1);
  const bool fresh = at_boundary(step);
  const double difference = report.metrics["sampling/sampling_logp_difference/mean"];
  if (fresh && difference > kLogprobAlarm) {
    spdlog::warn(
        "{}: step {}: sampled and recomputed log-probabilities differ by {:.3f} on average",
        context_.stage_name, step + 1, difference);
  }
  double tokens = 0.0;
  for (const Trajectory& t : rollout_.trajectories) {
    tokens += static_cast<double>(t.prompt_ids.size() + t.ids.size());
  }
  report.tokens = static_cast<std::int64_t>(parallel::sum(context_.communicator, {tokens})[0]);
  report.headline =
      rollout_metrics_["reward"].is_null() ? NAN : rollout_metrics_["reward"].get<double>();
  if (fresh && (step + 1) % config_.train.logging_steps == 0) log_completions(step + 1);
}

void PolicyStream::log_completions(std::int64_t step) {
  const auto most = std::min<std::size_t>(rollout_.trajectories.size(),
                                          static_cast<std::size_t>(config_.num_completions_to_log));
  const auto group = static_cast<std::size_t>(config_.num_generations);
  for (std::size_t i = 0; i < most; ++i) {
    const Trajectory& t = rollout_.trajectories[i];
    Json components = Json::object();
    for (const auto& c : t.score.components) {
      components[c.name] = {{"status", rewards::status_name(c.status)}};
      if (c.value) components[c.name]["value"] = *c.value;
    }
    context_.completions.log(context_.stage_name, step,
                             {{"prompt", context_.tokenizer.decode(t.prompt_ids, false)},
                              {"group", i / group},
                              {"completion", t.text},
                              {"length", t.ids.size()},
                              {"truncated", t.truncated},
                              {"reward", t.score.reward ? Json(*t.score.reward) : Json()},
                              {"components", components},
                              {"advantage", t.advantage ? Json(*t.advantage) : Json()}});
  }
}

}  // namespace limbic::rl
