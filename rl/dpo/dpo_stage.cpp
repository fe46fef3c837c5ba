#include "rl/dpo/dpo_stage.h"

#include <cmath>

#include "data/row_plan.h"
#include "rl/dpo/preference_rows.h"
#include "rl/loss/ratio.h"
#include "trainer/base/seed.h"
#include "trainer/engine/micro_batches.h"
#include "trainer/engine/score_targets.h"
#include "trainer/engine/training_loop.h"
#include "trainer/parallel/collectives.h"

namespace limbic::rl {
namespace {

data::RowPlanConfig plan_config(const DpoConfig& config, std::uint64_t seed, int world) {
  const engine::TrainConfig& train = config.train;
  return {
      .batch_rows = train.per_device_train_batch_size * train.gradient_accumulation_steps * world,
      .shuffle = train.shuffle,
      .seed = seed};
}

std::int64_t longest_sequence(const engine::RunContext& context, const DpoConfig& config) {
  return std::min(config.train.max_length, context.decoder.config().max_position_embeddings);
}

// Pairs of one micro-batch.
struct PairBatch {
  std::vector<std::size_t> pairs;
  data::PackedBatch batch;
};

// What a batch says about its replies: [pairs].
struct ReplyScores {
  at::Tensor chosen, rejected;
  at::Tensor chosen_lengths, rejected_lengths;
  model::TokenScores tokens;
  at::Tensor targets;    // [tokens]
  at::Tensor is_chosen;  // [tokens] bool
};

class DpoSource final : public engine::StepSource {
 public:
  DpoSource(engine::RunContext& context, const DpoConfig& config, const model::Decoder* reference)
      : context_(context),
        config_(config),
        reference_(reference),
        rows_(engine::mixture_of(context, config.data)),
        pairs_(encode_pairs(context, rows_,
                            {longest_sequence(context, config), config.train.overlong})),
        plan_(pairs(),
              plan_config(config, derive_seed(context.seed, "rows of " + context.stage_name),
                          context.communicator.size())) {}

  std::int64_t pairs() const { return static_cast<std::int64_t>(pairs_.size()); }

  engine::StepReport run_step(std::int64_t step, double rate, engine::TrainEngine& engine) override;

  // The figures of the start model cannot be computed again once training has begun.
  Json state() const override {
    return config_.precompute_ref_log_probs ? Json{{"reference", kept_}} : Json::object();
  }
  void load_state(const Json& state) override {
    if (config_.precompute_ref_log_probs) {
      kept_ = state.at("reference").get<std::vector<double>>();
    }
  }
  const char* headline_name() const override { return "loss"; }

 private:
  // Sums over the pairs or tokens of this rank.
  struct Sums {
    double chosen = 0.0, rejected = 0.0, right = 0.0;  // implicit rewards
    double chosen_logps = 0.0, rejected_logps = 0.0;
    double entropy = 0.0, tokens = 0.0, correct = 0.0, chosen_tokens = 0.0;
  };

  std::vector<PairBatch> cut(const std::vector<std::int64_t>& members) const;
  ReplyScores scores(const PairBatch& micro, const model::Decoder& decoder,
                     const model::ForwardOptions& options) const;
  void precompute();
  void put_reference(const PairBatch& micro, PreferenceInputs& in) const;
  at::Tensor loss_of(const PairBatch& micro, double pairs, std::uint64_t dropout_seed, Sums& sums);
  Json metrics(const Sums& sums, double pairs) const;

  engine::RunContext& context_;
  const DpoConfig& config_;
  const model::Decoder* reference_;
  data::Mixture rows_;
  std::vector<PreferencePair> pairs_;
  data::RowPlan plan_;
  std::vector<double> kept_;  // [pairs, 2] of the start model, chosen and rejected
};

std::vector<PairBatch> DpoSource::cut(const std::vector<std::int64_t>& members) const {
  std::vector<std::int64_t> lengths;
  for (const std::int64_t i : members) {
    lengths.push_back(pairs_[static_cast<std::size_t>(i)].tokens());
  }
  std::vector<PairBatch> out;
  for (const auto& group : engine::cut_documents(lengths, config_.train)) {
    PairBatch micro;
    std::vector<data::Family> families;
    for (const std::size_t i : group) {
      micro.pairs.push_back(static_cast<std::size_t>(members[i]));
      families.push_back(pairs_[micro.pairs.back()].family);
    }
    micro.batch = data::concat_families(families);
    out.push_back(std::move(micro));
  }
  return out;
}

ReplyScores DpoSource::scores(const PairBatch& micro, const model::Decoder& decoder,
                              const model::ForwardOptions& options) const {
  const engine::TargetScores scored = engine::score_targets(decoder, micro.batch, options);
  std::vector<std::int64_t> lengths;  // chosen and rejected of each pair in turn
  for (const std::size_t i : micro.pairs) {
    lengths.push_back(pairs_[i].chosen_targets);
    lengths.push_back(pairs_[i].rejected_targets);
  }
  const Completions replies(lengths, scored.scores.logprobs);
  const auto column = [](const at::Tensor& all, std::int64_t which) {
    return all.view({-1, 2}).select(1, which);
  };
  const at::Tensor sums = replies.sum(scored.scores.logprobs);
  const at::Tensor turn = at::arange(replies.count(), sums.options()).remainder(2);
  return {.chosen = column(sums, 0),
          .rejected = column(sums, 1),
          .chosen_lengths = column(replies.lengths(), 0),
          .rejected_lengths = column(replies.lengths(), 1),
          .tokens = scored.scores,
          .targets = scored.targets,
          .is_chosen = replies.spread(turn).eq(0)};
}

// Each pair alone, so that its figures do not depend on its neighbours or the world size.
void DpoSource::precompute() {
  const at::NoGradGuard no_grad;
  std::vector<double> mine(2 * pairs_.size(), 0.0);
  const auto world = static_cast<std::size_t>(context_.communicator.size());
  context_.decoder.run_passes([&] {
    for (auto i = static_cast<std::size_t>(context_.communicator.rank()); i < pairs_.size();
         i += world) {
      const PairBatch micro{.pairs = {i},
                            .batch = data::concat_families(std::span(&pairs_[i].family, 1))};
      const ReplyScores found = scores(micro, context_.decoder, {});
      mine[2 * i] = found.chosen.item<double>();
      mine[2 * i + 1] = found.rejected.item<double>();
    }
  });
  kept_ = parallel::sum(context_.communicator, std::move(mine));
}

void DpoSource::put_reference(const PairBatch& micro, PreferenceInputs& in) const {
  if (!kept_.empty()) {
    std::vector<double> chosen, rejected;
    for (const std::size_t i : micro.pairs) {
      chosen.push_back(kept_[2 * i]);
      rejected.push_back(kept_[2 * i + 1]);
    }
    in.ref_chosen = at::tensor(chosen).to(in.chosen.options());
    in.ref_rejected = at::tensor(rejected).to(in.chosen.options());
    return;
  }
  const at::NoGradGuard no_grad;
  const bool separate = reference_ != nullptr;
  const ReplyScores found =
      scores(micro, separate ? *reference_ : context_.decoder, {.use_adapter = separate});
  in.ref_chosen = found.chosen;
  in.ref_rejected = found.rejected;
}

at::Tensor DpoSource::loss_of(const PairBatch& micro, double pairs, std::uint64_t dropout_seed,
                              Sums& sums) {
  const ReplyScores found = scores(micro, context_.decoder, {.dropout_seed = dropout_seed});
  PreferenceInputs in{.chosen = found.chosen,
                      .rejected = found.rejected,
                      .ref_chosen = {},
                      .ref_rejected = {},
                      .chosen_lengths = found.chosen_lengths,
                      .rejected_lengths = found.rejected_lengths};
  put_reference(micro, in);
  const auto total = [](const at::Tensor& values) {
    return values.detach().to(at::kDouble).sum().item<double>();
  };
  const at::Tensor chosen = config_.loss.beta * (in.chosen - in.ref_chosen).detach();
  const at::Tensor rejected = config_.loss.beta * (in.rejected - in.ref_rejected).detach();
  sums.chosen += total(chosen);
  sums.rejected += total(rejected);
  sums.right += total(chosen.gt(rejected));
  sums.chosen_logps += total(in.chosen);
  sums.rejected_logps += total(in.rejected);
  sums.entropy += total(found.tokens.entropy);
  sums.tokens += static_cast<double>(found.targets.numel());
  sums.correct += total(found.tokens.argmax.eq(found.targets).logical_and(found.is_chosen));
  sums.chosen_tokens += total(found.is_chosen);
  return preference_loss(in, config_.loss).sum() / pairs;
}

Json DpoSource::metrics(const Sums& s, double pairs) const {
  const std::vector<double> all = parallel::sum(
      context_.communicator, {s.chosen, s.rejected, s.right, s.chosen_logps, s.rejected_logps,
                              s.entropy, s.tokens, s.correct, s.chosen_tokens});
  return {{"rewards/chosen", all[0] / pairs},     {"rewards/rejected", all[1] / pairs},
          {"rewards/accuracies", all[2] / pairs}, {"rewards/margins", (all[0] - all[1]) / pairs},
          {"logps/chosen", all[3] / pairs},       {"logps/rejected", all[4] / pairs},
          {"entropy", all[5] / all[6]},           {"mean_token_accuracy", all[7] / all[8]}};
}

engine::StepReport DpoSource::run_step(std::int64_t step, double rate,
                                       engine::TrainEngine& engine) {
  if (config_.precompute_ref_log_probs && kept_.empty()) precompute();
  parallel::Communicator& comm = context_.communicator;
  const std::vector<std::int64_t> rows = plan_.rows_of_step(step);
  const std::vector<PairBatch> batches = cut(data::shard(rows, comm.rank(), comm.size()));
  const auto pairs = static_cast<double>(rows.size());
  double tokens = 0.0;
  for (const PairBatch& micro : batches) tokens += static_cast<double>(micro.batch.tokens.size());
  Sums sums;
  engine::StepReport report;
  report.result = engine.step(
      batches.size(),
      [&](std::size_t i) {
        const std::uint64_t dropout = derive_seed(context_.seed, "dropout", step, comm.rank(), i);
        return loss_of(batches[i], pairs, dropout, sums);
      },
      rate);
  report.tokens = static_cast<std::int64_t>(parallel::sum(comm, {tokens})[0]);
  report.headline = report.result.loss;
  report.metrics = metrics(sums, pairs);
  report.metrics["epoch"] = plan_.epochs_after(step + 1);
  return report;
}

}  // namespace

std::int64_t total_steps(const DpoConfig& config, std::int64_t pairs, int world) {
  if (config.train.steps) return *config.train.steps;
  const data::RowPlan plan(pairs, plan_config(config, 0, world));
  const double epochs = config.train.num_train_epochs.value_or(1.0);
  return std::max<std::int64_t>(
      1,
      static_cast<std::int64_t>(std::ceil(epochs * static_cast<double>(plan.steps_per_epoch()))));
}

engine::StageResult run_dpo(engine::RunContext& context, const DpoConfig& config,
                            const model::Decoder* reference) {
  DpoSource source(context, config, reference);
  const std::int64_t steps = total_steps(config, source.pairs(), context.communicator.size());
  return engine::run_training(context, config.train, steps, source);
}

}  // namespace limbic::rl
