#include "trainer/sft/sft_stage.h"

#include <cmath>
#include <optional>

#include "data/row_plan.h"
#include "trainer/base/error.h"
#include "trainer/base/seed.h"
#include "trainer/engine/encode_rows.h"
#include "trainer/engine/micro_batches.h"
#include "trainer/engine/score_targets.h"
#include "trainer/engine/training_loop.h"
#include "trainer/parallel/collectives.h"
#include "trainer/sft/difficulty.h"
#include "trainer/sft/sft_loss.h"

namespace limbic::sft {
namespace {

std::int64_t rows_per_step(const SftConfig& config, int world) {
  return config.train.per_device_train_batch_size * config.train.gradient_accumulation_steps *
         world;
}

data::RowPlanConfig plan_config(const SftConfig& config, std::uint64_t seed, int world) {
  data::RowPlanConfig plan{
      .batch_rows = rows_per_step(config, world), .shuffle = config.train.shuffle, .seed = seed};
  if (config.curriculum) plan.epochs_per_level = config.curriculum->epochs_per_level;
  return plan;
}

std::int64_t longest_sequence(const engine::RunContext& context, const SftConfig& config) {
  return std::min(config.train.max_length, context.decoder.config().longest_sequence);
}

class SftSource final : public engine::StepSource {
 public:
  SftSource(engine::RunContext& context, const SftConfig& config)
      : context_(context),
        config_(config),
        rows_(engine::mixture_of(context, config.data)),
        examples_(engine::encode_examples(
            context, rows_, {longest_sequence(context, config), config.train.overlong},
            {config.assistant_only_loss, config.train_on_turns})) {
    const auto kind = config.curriculum ? data::parse_difficulty(config.curriculum->difficulty).kind
                                        : data::DifficultySource::Kind::kLength;
    by_loss_ = config.curriculum && kind == data::DifficultySource::Kind::kLoss;
    if (!by_loss_) make_plan({});
  }

  std::int64_t documents() const { return static_cast<std::int64_t>(examples_.size()); }
  const std::vector<data::Example>& examples() const { return examples_; }
  // Requires: a curriculum by loss is not asked before training starts.
  const data::RowPlan& plan() const { return *plan_; }

  engine::StepReport run_step(std::int64_t step, double rate, engine::TrainEngine& engine) override;

  // The losses of the start model cannot be computed again once training has begun.
  Json state() const override {
    return by_loss_ ? Json{{"difficulty", difficulty_}} : Json::object();
  }
  void load_state(const Json& state) override {
    if (by_loss_) make_plan(state.at("difficulty").get<std::vector<double>>());
  }
  const char* headline_name() const override { return "loss"; }

 private:
  void make_plan(std::vector<double> difficulty) {
    data::RowPlanConfig plan =
        plan_config(config_, derive_seed(context_.seed, "rows of " + context_.stage_name),
                    context_.communicator.size());
    if (config_.curriculum) {
      if (difficulty.empty()) {
        difficulty = difficulty_of(context_, rows_, examples_, *config_.curriculum);
      }
      plan.levels = data::curriculum_levels(difficulty, *config_.curriculum);
      difficulty_ = std::move(difficulty);
    }
    plan_.emplace(documents(), std::move(plan));
  }

  engine::RunContext& context_;
  const SftConfig& config_;
  data::Mixture rows_;
  std::vector<data::Example> examples_;
  std::vector<double> difficulty_;
  std::optional<data::RowPlan> plan_;
  bool by_loss_ = false;
};

engine::StepReport SftSource::run_step(std::int64_t step, double rate,
                                       engine::TrainEngine& engine) {
  if (!plan_) make_plan({});
  parallel::Communicator& comm = context_.communicator;
  const std::vector<std::int64_t> mine =
      data::shard(plan_->rows_of_step(step), comm.rank(), comm.size());
  const std::vector<data::PackedBatch> batches =
      engine::pack_examples(examples_, mine, config_.train);

  double local_tokens = 0.0;
  double local_targets = 0.0;
  for (const auto& batch : batches) {
    local_tokens += static_cast<double>(batch.tokens.size());
    local_targets += static_cast<double>(batch.loss_tokens);
  }
  const std::vector<double> totals = parallel::sum(comm, {local_tokens, local_targets});

  const double smoothing = config_.label_smoothing_factor;
  double right = 0.0;
  double entropy = 0.0;
  const auto loss_of = [&](std::size_t i) {
    const model::ForwardOptions options{
        .dropout_seed = derive_seed(context_.seed, "dropout", step, comm.rank(), i)};
    const engine::TargetScores scored = engine::score_targets(context_.decoder, batches[i], options,
                                                              {.mean_logprobs = smoothing > 0.0});
    right += scored.scores.argmax.eq(scored.targets).sum().item<double>();
    entropy += scored.scores.entropy.to(at::kDouble).sum().item<double>();
    return sft_loss(scored.scores, totals[1], smoothing);
  };
  engine::StepReport report;
  report.result = engine.step(batches.size(), loss_of, rate);
  const std::vector<double> sums = parallel::sum(comm, {right, entropy});
  report.tokens = static_cast<std::int64_t>(totals[0]);
  report.headline = report.result.loss;
  report.metrics = {{"mean_token_accuracy", sums[0] / totals[1]},
                    {"entropy", sums[1] / totals[1]},
                    {"target_tokens", static_cast<std::int64_t>(totals[1])},
                    {"epoch", plan_->epochs_after(step + 1)}};
  if (config_.curriculum) report.metrics["curriculum/level"] = plan_->position(step).level;
  return report;
}

}  // namespace

std::int64_t total_steps(const SftConfig& config, std::int64_t rows, int world) {
  if (config.train.steps) return *config.train.steps;
  data::RowPlanConfig plan = plan_config(config, 0, world);
  if (config.curriculum) {
    const std::vector<double> even(static_cast<std::size_t>(rows), 0.0);
    plan.levels = data::curriculum_levels(even, *config.curriculum);
    return data::RowPlan(rows, plan).natural_steps();
  }
  const double epochs = config.train.num_train_epochs.value_or(1.0);
  const auto per_epoch = static_cast<double>(data::RowPlan(rows, plan).steps_per_epoch());
  return std::max<std::int64_t>(1, static_cast<std::int64_t>(std::ceil(epochs * per_epoch)));
}

engine::StageResult run_sft(engine::RunContext& context, const SftConfig& config) {
  SftSource source(context, config);
  const std::int64_t steps = total_steps(config, source.documents(), context.communicator.size());
  return engine::run_training(context, config.train, steps, source);
}

std::vector<data::Example> first_batch(const engine::RunContext& context, const SftConfig& config) {
  const data::Mixture rows = engine::mixture_of(context, config.data);
  std::vector<data::Example> examples = engine::encode_examples(
      context, rows, {longest_sequence(context, config), config.train.overlong},
      {config.assistant_only_loss, config.train_on_turns});
  const data::RowPlan plan(
      static_cast<std::int64_t>(examples.size()),
      plan_config(config, derive_seed(context.seed, "rows of " + context.stage_name),
                  context.communicator.size()));
  std::vector<data::Example> out;
  for (const std::int64_t row : data::shard(plan.rows_of_step(0), context.communicator.rank(),
                                            context.communicator.size())) {
    out.push_back(examples[static_cast<std::size_t>(row)]);
  }
  return out;
}

}  // namespace limbic::sft
