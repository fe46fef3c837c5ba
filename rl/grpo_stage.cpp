#include "rl/grpo_stage.h"

#include <cmath>

#include "data/row_plan.h"
#include "rl/rollout.h"
#include "rl/rollout_metrics.h"
#include "trainer/base/error.h"
#include "trainer/base/log.h"
#include "trainer/base/seed.h"
#include "trainer/engine/micro_batches.h"
#include "trainer/engine/score_targets.h"
#include "trainer/engine/training_loop.h"
#include "trainer/parallel/collectives.h"

namespace limbic::rl {
namespace {

// Mean |sampled - recomputed| log-probability above this is a sign that generation and training
// do not run the same model; bfloat16 rounding stays well below.
constexpr double kLogprobAlarm = 0.1;

std::int64_t longest_prompt(const engine::RunContext& context, const GrpoConfig& config) {
  return std::min(config.train.max_length, context.decoder.config().max_position_embeddings) -
         config.max_completion_length;
}

data::RowPlanConfig plan_config(const GrpoConfig& config, std::uint64_t seed, int world) {
  return {.batch_rows = prompts_per_rollout(config, world),
          .shuffle = config.train.shuffle,
          .seed = seed};
}

data::Example prompt_document(const Trajectory& t) {
  return {.ids = t.prompt_ids,
          .loss_mask = std::vector<std::uint8_t>(t.prompt_ids.size(), 0),
          .row = t.prompt};
}

data::Example completion_document(const Trajectory& t) {
  return {.ids = t.ids, .loss_mask = std::vector<std::uint8_t>(t.ids.size(), 1), .row = t.prompt};
}

// What is summed over the tokens of a step besides the loss.
struct TokenSums {
  double kl = 0.0, entropy = 0.0, clip_low = 0.0, clip_high = 0.0, difference = 0.0;
  double largest_difference = 0.0;
};

class GrpoSource final : public engine::StepSource {
 public:
  GrpoSource(engine::RunContext& context, const GrpoConfig& config, const model::Decoder* reference)
      : context_(context),
        config_(config),
        reference_(reference),
        rows_(engine::mixture_of(context, config.data)),
        prompts_(engine::encode_prompts(context, rows_,
                                        {longest_prompt(context, config), config.train.overlong})),
        plan_(static_cast<std::int64_t>(prompts_.size()),
              plan_config(config, derive_seed(context.seed, "rows of " + context.stage_name),
                          context.communicator.size())),
        collector_(context, config, rows_) {}

  std::int64_t prompts() const { return static_cast<std::int64_t>(prompts_.size()); }

  engine::StepReport run_step(std::int64_t step, double rate, engine::TrainEngine& engine) override;
  // Between the iterations over a rollout there is more state than a checkpoint holds.
  bool at_boundary(std::int64_t step) const override { return step % config_.num_iterations == 0; }
  const char* headline_name() const override { return "reward"; }

 private:
  struct MicroBatch {
    std::vector<std::size_t> members;  // trajectories
    data::PackedBatch batch;
  };

  void begin_rollout(std::int64_t rollout);
  std::vector<MicroBatch> cut() const;
  StepTotals totals();
  at::Tensor loss_of(const MicroBatch& micro, const StepTotals& totals, std::uint64_t dropout_seed,
                     TokenSums& sums);
  at::Tensor reference_logprobs(const data::PackedBatch& batch) const;
  void log_completions(std::int64_t step);
  Json token_metrics(const TokenSums& sums, const StepTotals& totals, double mine);

  engine::RunContext& context_;
  const GrpoConfig& config_;
  const model::Decoder* reference_;
  data::Mixture rows_;
  std::vector<engine::PromptRow> prompts_;
  data::RowPlan plan_;
  RolloutCollector collector_;
  Rollout rollout_;
  Json rollout_metrics_;
};

void GrpoSource::begin_rollout(std::int64_t rollout) {
  const std::vector<std::int64_t> rows = plan_.rows_of_step(rollout);
  std::vector<std::int64_t> places(rows.size());
  for (std::size_t i = 0; i < places.size(); ++i) places[i] = static_cast<std::int64_t>(i);
  std::vector<RolloutPrompt> mine;
  for (const std::int64_t place :
       data::shard(places, context_.communicator.rank(), context_.communicator.size())) {
    const std::int64_t row = rows[static_cast<std::size_t>(place)];
    mine.push_back({place, &prompts_[static_cast<std::size_t>(row)]});
  }
  rollout_ = collector_.collect(mine, rollout);
  rollout_metrics_ = rollout_metrics(gather_records(context_.communicator, rollout_));
  const std::vector<double> dropped =
      parallel::sum(context_.communicator, {static_cast<double>(rollout_.dropped_groups)});
  rollout_metrics_["rewards/dropped_groups"] = static_cast<std::int64_t>(dropped[0]);
}

std::vector<GrpoSource::MicroBatch> GrpoSource::cut() const {
  std::vector<std::size_t> members;
  std::vector<std::int64_t> lengths;
  for (std::size_t i = 0; i < rollout_.trajectories.size(); ++i) {
    const Trajectory& t = rollout_.trajectories[i];
    if (!t.advantage || (config_.mask_truncated_completions && t.truncated)) continue;
    members.push_back(i);
    lengths.push_back(static_cast<std::int64_t>(t.prompt_ids.size() + t.ids.size()));
  }
  std::vector<MicroBatch> out;
  for (const auto& group : engine::cut_documents(lengths, config_.train)) {
    MicroBatch micro;
    std::vector<data::Family> families;  // a prompt is computed once for its completions
    for (const std::size_t i : group) {
      const Trajectory& t = rollout_.trajectories[members[i]];
      micro.members.push_back(members[i]);
      if (families.empty() || families.back().first.row != t.prompt) {
        families.push_back({prompt_document(t), {}});
      }
      families.back().rest.push_back(completion_document(t));
    }
    micro.batch = data::concat_families(families);
    out.push_back(std::move(micro));
  }
  return out;
}

StepTotals GrpoSource::totals() {
  double tokens = 0.0;
  double completions = 0.0;
  for (const Trajectory& t : rollout_.trajectories) {
    if (!t.advantage) continue;
    completions += 1.0;
    if (!(config_.mask_truncated_completions && t.truncated))
      tokens += static_cast<double>(t.ids.size());
  }
  const std::vector<double> sums = parallel::sum(context_.communicator, {tokens, completions});
  return {.tokens = sums[0],
          .completions = sums[1],
          .max_completion_length = static_cast<double>(config_.max_completion_length)};
}

at::Tensor GrpoSource::reference_logprobs(const data::PackedBatch& batch) const {
  const at::NoGradGuard no_grad;
  const model::Decoder& model = reference_ != nullptr ? *reference_ : context_.decoder;
  return engine::score_targets(model, batch, {.use_adapter = false}).scores.logprobs;
}

at::Tensor GrpoSource::loss_of(const MicroBatch& micro, const StepTotals& totals,
                               std::uint64_t dropout_seed, TokenSums& sums) {
  const model::TokenScores scores =
      engine::score_targets(context_.decoder, micro.batch, {.dropout_seed = dropout_seed}).scores;
  std::vector<float> advantages, lengths, sampled, old;
  const at::Device device = context_.decoder.device();
  const at::Tensor now = scores.logprobs.detach().cpu().contiguous();
  std::size_t token = 0;
  for (const std::size_t i : micro.members) {
    Trajectory& t = rollout_.trajectories[i];
    if (config_.num_iterations > 1 && t.old_logprobs.empty()) {
      const float* first = now.data_ptr<float>() + token;
      t.old_logprobs.assign(first, first + t.ids.size());
    }
    token += t.ids.size();
    advantages.insert(advantages.end(), t.ids.size(), static_cast<float>(*t.advantage));
    lengths.insert(lengths.end(), t.ids.size(), static_cast<float>(t.ids.size()));
    sampled.insert(sampled.end(), t.sampled_logprobs.begin(), t.sampled_logprobs.end());
    old.insert(old.end(), t.old_logprobs.begin(), t.old_logprobs.end());
  }
  PolicyInputs inputs{.logprobs = scores.logprobs,
                      .old_logprobs = old.empty() ? at::Tensor() : at::tensor(old).to(device),
                      .ref_logprobs = {},
                      .advantages = at::tensor(advantages).to(device),
                      .lengths = at::tensor(lengths).to(device)};
  if (config_.loss.beta > 0.0) inputs.ref_logprobs = reference_logprobs(micro.batch);
  const PolicyLoss out = policy_loss(inputs, totals, config_.loss);
  const at::Tensor difference = (now - at::tensor(sampled)).abs();
  sums.kl += out.kl;
  sums.clip_low += out.clip_low;
  sums.clip_high += out.clip_high;
  sums.entropy += scores.entropy.sum().item<double>();
  sums.difference += difference.sum().item<double>();
  sums.largest_difference = std::max(sums.largest_difference, difference.max().item<double>());
  return out.loss;
}

Json GrpoSource::token_metrics(const TokenSums& sums, const StepTotals& totals, double mine) {
  parallel::Communicator& comm = context_.communicator;
  const std::vector<double> all =
      parallel::sum(comm, {sums.kl, sums.entropy, sums.clip_low, sums.clip_high, sums.difference});
  const double low = mine > 0.0 ? sums.clip_low / mine : 0.0;
  const double high = mine > 0.0 ? sums.clip_high / mine : 0.0;
  const std::vector<double> extremes = parallel::max(comm, {-low, high, sums.largest_difference});
  const double tokens = std::max(1.0, totals.tokens);
  Json out = {{"entropy", all[1] / tokens},
              {"clip_ratio/low_mean", all[2] / tokens},
              {"clip_ratio/low_min", -extremes[0] + 0.0},
              {"clip_ratio/high_mean", all[3] / tokens},
              {"clip_ratio/high_max", extremes[1]},
              {"clip_ratio/region_mean", (all[2] + all[3]) / tokens},
              {"sampling/sampling_logp_difference/mean", all[4] / tokens},
              {"sampling/sampling_logp_difference/max", extremes[2]}};
  if (config_.loss.beta > 0.0) out["kl"] = all[0] / tokens;
  return out;
}

engine::StepReport GrpoSource::run_step(std::int64_t step, double rate,
                                        engine::TrainEngine& engine) {
  const bool fresh = at_boundary(step);
  if (fresh) begin_rollout(step / config_.num_iterations);
  const StepTotals step_totals = totals();
  const std::vector<MicroBatch> batches = cut();
  double all_tokens = 0.0;
  double mine = 0.0;
  for (const Trajectory& t : rollout_.trajectories)
    all_tokens += static_cast<double>(t.prompt_ids.size() + t.ids.size());
  for (const MicroBatch& micro : batches) mine += static_cast<double>(micro.batch.loss_tokens);
  if (step_totals.tokens == 0.0) {
    spdlog::warn("{}: step {}: no completion takes part, nothing is learned", context_.stage_name,
                 step + 1);
  }
  TokenSums sums;
  engine::StepReport report;
  report.result = engine.step(
      batches.size(),
      [&](std::size_t i) {
        const std::uint64_t dropout =
            derive_seed(context_.seed, "dropout", step, context_.communicator.rank(), i);
        return loss_of(batches[i], step_totals, dropout, sums);
      },
      rate);
  report.metrics = rollout_metrics_;
  report.metrics.update(token_metrics(sums, step_totals, mine));
  report.metrics["epoch"] = plan_.epochs_after(step / config_.num_iterations + 1);
  const double difference = report.metrics["sampling/sampling_logp_difference/mean"];
  if (fresh && difference > kLogprobAlarm) {
    spdlog::warn(
        "{}: step {}: sampled and recomputed log-probabilities differ by {:.3f} on average",
        context_.stage_name, step + 1, difference);
  }
  report.tokens = static_cast<std::int64_t>(parallel::sum(context_.communicator, {all_tokens})[0]);
  report.headline =
      rollout_metrics_["reward"].is_null() ? NAN : rollout_metrics_["reward"].get<double>();
  if (fresh && (step + 1) % config_.train.logging_steps == 0) log_completions(step + 1);
  return report;
}

void GrpoSource::log_completions(std::int64_t step) {
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

}  // namespace

std::int64_t total_steps(const GrpoConfig& config, std::int64_t prompts, int world) {
  if (config.train.steps) return *config.train.steps;
  const auto per_epoch =
      static_cast<double>(data::RowPlan(prompts, plan_config(config, 0, world)).steps_per_epoch());
  const double epochs = config.train.num_train_epochs.value_or(1.0);
  const auto rollouts =
      std::max<std::int64_t>(1, static_cast<std::int64_t>(std::ceil(epochs * per_epoch)));
  return rollouts * config.num_iterations;
}

engine::StageResult run_grpo(engine::RunContext& context, const GrpoConfig& config,
                             const model::Decoder* reference) {
  GrpoSource source(context, config, reference);
  const std::int64_t steps = total_steps(config, source.prompts(), context.communicator.size());
  return engine::run_training(context, config.train, steps, source);
}

}  // namespace limbic::rl
