#include "rl/chord/chord_stage.h"

#include "data/row_plan.h"
#include "rl/policy/policy_stream.h"
#include "trainer/base/seed.h"
#include "trainer/engine/micro_batches.h"
#include "trainer/engine/score_targets.h"
#include "trainer/parallel/collectives.h"

namespace limbic::rl {
namespace {

// The expert rows of each step.
class ExpertStream {
 public:
  ExpertStream(engine::RunContext& context, const ChordConfig& config)
      : context_(context),
        config_(config),
        train_(config.train),
        rows_(engine::mixture_of(context, config.sft_data)),
        examples_(engine::encode_examples(
            context, rows_,
            {std::min(config.train.max_length, context.decoder.config().max_position_embeddings),
             config.train.overlong},
            {})),
        plan_(static_cast<std::int64_t>(examples_.size()),
              {.batch_rows = config.sft_per_device_train_batch_size *
                             config.train.gradient_accumulation_steps * context.communicator.size(),
               .shuffle = config.train.shuffle,
               .seed = derive_seed(context.seed, "expert rows of " + context.stage_name)}) {
    train_.per_device_train_batch_size = config.sft_per_device_train_batch_size;
  }

  // Every rank must call.
  void begin(std::int64_t step) {
    parallel::Communicator& comm = context_.communicator;
    step_ = step;
    const std::vector<std::int64_t> rows = plan_.rows_of_step(step);
    const std::vector<std::int64_t> mine = data::shard(rows, comm.rank(), comm.size());
    batches_ = engine::pack_examples(examples_, mine, train_);
    double targets = 0.0, tokens = 0.0;
    for (const data::PackedBatch& batch : batches_) {
      targets += static_cast<double>(batch.loss_tokens);
      tokens += static_cast<double>(batch.tokens.size());
    }
    const std::vector<double> all = parallel::sum(comm, {targets, tokens});
    totals_ = {.tokens = all[0], .samples = static_cast<double>(rows.size())};
    tokens_ = static_cast<std::int64_t>(all[1]);
  }

  std::size_t size() const { return batches_.size(); }
  std::int64_t tokens() const { return tokens_; }  // of all ranks
  double epochs_after(std::int64_t steps) const { return plan_.epochs_after(steps); }

  at::Tensor loss(std::size_t i) const {
    const data::PackedBatch& batch = batches_[i];
    const std::uint64_t dropout =
        derive_seed(context_.seed, "expert dropout", step_, context_.communicator.rank(), i);
    const engine::TargetScores scored =
        engine::score_targets(context_.decoder, batch, {.dropout_seed = dropout});
    std::vector<std::int64_t> lengths;
    for (std::int64_t d = 0; d < batch.documents(); ++d) {
      const auto at = static_cast<std::size_t>(d);
      lengths.push_back(std::count(batch.loss_mask.begin() + batch.offsets[at],
                                   batch.loss_mask.begin() + batch.offsets[at + 1], 1));
    }
    return expert_loss(scored.scores.logprobs, lengths, totals_, config_.sft_average, config_.phi);
  }

 private:
  engine::RunContext& context_;
  const ChordConfig& config_;
  engine::TrainConfig train_;
  data::Mixture rows_;
  std::vector<data::Example> examples_;
  data::RowPlan plan_;
  std::int64_t step_ = 0;
  std::vector<data::PackedBatch> batches_;
  ExpertTotals totals_;
  std::int64_t tokens_ = 0;
};

class ChordSource final : public engine::StepSource {
 public:
  ChordSource(engine::RunContext& context, const ChordConfig& config, PolicyStream& stream)
      : context_(context), config_(config), stream_(stream), experts_(context, config) {}

  engine::StepReport run_step(std::int64_t step, double rate,
                              engine::TrainEngine& engine) override {
    PolicyStep& policy = stream_.begin(step);
    experts_.begin(step);
    const double mu = mu_at(config_.mu, step);
    double policy_loss = 0.0, expert_loss = 0.0;
    const auto loss_of = [&](std::size_t i) {
      const bool own = i < policy.size();
      const at::Tensor loss = own ? policy.loss(i) : experts_.loss(i - policy.size());
      (own ? policy_loss : expert_loss) += loss.item<double>();
      return loss * (own ? 1.0 - mu : mu);
    };
    engine::StepReport report;
    report.result = engine.step(policy.size() + experts_.size(), loss_of, rate);
    stream_.end(step, report);
    const std::vector<double> losses =
        parallel::sum(context_.communicator, {policy_loss, expert_loss});
    report.tokens += experts_.tokens();
    report.metrics["chord/mu"] = mu;
    report.metrics["chord/grpo_loss"] = losses[0];
    report.metrics["chord/sft_loss"] = losses[1];
    report.metrics["chord/sft_epoch"] = experts_.epochs_after(step + 1);
    return report;
  }
  bool at_boundary(std::int64_t step) const override { return stream_.at_boundary(step); }
  const char* headline_name() const override { return "reward"; }

 private:
  engine::RunContext& context_;
  const ChordConfig& config_;
  PolicyStream& stream_;
  ExpertStream experts_;
};

}  // namespace

engine::StageResult run_chord(engine::RunContext& context, const ChordConfig& config,
                              const model::Decoder* reference) {
  PolicyStream stream(context, config, config.data, reference);
  ChordSource source(context, config, stream);
  const std::int64_t steps = total_steps(config, stream.prompts(), context.communicator.size());
  return engine::run_training(context, config.train, steps, source);
}

}  // namespace limbic::rl
