#include "trainer/engine/training_loop.h"

#include <chrono>
#include <cmath>

#include "trainer/base/error.h"
#include "trainer/base/log.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/metrics/memory.h"
#include "trainer/parallel/collectives.h"

namespace limbic::engine {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

class Loop {
 public:
  Loop(RunContext& context, const TrainConfig& config, std::int64_t total, StepSource& source)
      : context_(context),
        config_(config),
        total_(total),
        source_(source),
        engine_(context.decoder, context.communicator, config.adamw, config.max_grad_norm,
                context.parallelism),
        folder_(context.run_folder + "/checkpoints/" + context.stage_name) {}

  StageResult run() {
    resume();
    context_.metrics.resume_stage(context_.stage_name, step_);
    context_.completions.resume_stage(context_.stage_name, step_);
    metrics::reset_peak_rss();
    context_.progress.begin(context_.stage_name, step_, total_, source_.headline_name());
    while (step_ < total_) {
      const bool boundary = source_.at_boundary(step_);
      if (stop_requested() && boundary) stop();
      if (boundary && save_is_due_) save();
      one_step();
      save_is_due_ = save_is_due_ || (config_.save_steps > 0 && step_ % config_.save_steps == 0);
    }
    context_.progress.end();
    if (source_.at_boundary(step_)) save();
    engine_.give_back_weights();
    result_.steps = total_;
    return result_;
  }

 private:
  void one_step() {
    const auto start = Clock::now();
    const double rate = optim::learning_rate(config_.schedule, step_, total_);
    StepReport report;
    try {
      report = source_.run_step(step_, rate, engine_);
    } catch (const RemoteError&) {
      context_.progress.end();
      if (source_.at_boundary(step_)) save();
      throw;
    }
    ++step_;
    if (report.result.skipped) {
      skip(report.result);
    } else {
      skipped_in_a_row_ = 0;
    }
    const double seconds = seconds_since(start);
    result_.tokens += report.tokens;
    context_.progress.step(step_, report.headline, report.tokens, seconds);
    if (step_ % config_.logging_steps != 0 && step_ != total_) return;
    Json line = {{"loss", report.result.loss},
                 {"grad_norm", report.result.grad_norm},
                 {"learning_rate", report.result.learning_rate}};
    line.update(report.metrics);
    line["num_tokens"] = result_.tokens;
    line["step_time"] = seconds;
    if (skipped_ > 0) line["skipped_steps"] = skipped_;
    line["exchange_time"] = report.result.exchange_seconds;
    line["peak_rss_mb"] = peak_rss_mb();
    result_.metrics = line;
    context_.metrics.log(context_.stage_name, step_, line);
  }

  // Of the rank that needs most, since the stage began to train.
  double peak_rss_mb() {
    const auto mine = static_cast<double>(metrics::peak_rss_bytes());
    return std::round(parallel::max(context_.communicator, {mine})[0] / (1 << 20));
  }

  // Every rank sees the same numbers.
  void skip(const StepResult& result) {
    ++skipped_;
    const std::string what =
        fmt::format("{}: step {}: got loss {} and gradient norm {}, want finite numbers",
                    context_.stage_name, step_, result.loss, result.grad_norm);
    if (++skipped_in_a_row_ > config_.max_skipped_steps) {
      context_.progress.end();
      throw DataError(what + "; lower the learning rate or look at the data");
    }
    spdlog::warn("{}; nothing is updated", what);
  }

  // The ranks agree, so that all stop after the same step.
  bool stop_requested() {
    const double mine = context_.stop_requested ? 1.0 : 0.0;
    return parallel::sum(context_.communicator, {mine})[0] > 0.0;
  }

  [[noreturn]] void stop() {
    context_.progress.end();
    save();
    throw Interrupted(
        fmt::format("{}: stopped after step {} of {}; the state is saved, run the same "
                    "command again to go on",
                    context_.stage_name, step_, total_));
  }

  void save() {
    save_is_due_ = false;
    if (step_ == saved_step_) return;
    saved_step_ = step_;
    checkpoint::CheckpointContent content{.tensors = engine_.state(),
                                          .state = {{"step", step_},
                                                    {"optimizer_steps", engine_.steps_done()},
                                                    {"skipped", skipped_},
                                                    {"skipped_in_a_row", skipped_in_a_row_},
                                                    {"tokens", result_.tokens},
                                                    {"metrics", result_.metrics},
                                                    {"source", source_.state()}}};
    checkpoint::save_replicated(context_.communicator, folder_, step_, content, info(),
                                config_.save_total_limit);
  }

  Json info() const {
    return {{"stage", context_.stage_name},
            {"config_hash", context_.config_hash},
            {"world", context_.communicator.size()}};
  }

  void resume() {
    std::optional<checkpoint::LoadedCheckpoint> loaded;
    if (!context_.resume_from.empty()) {
      loaded = checkpoint::load(context_.resume_from);
    } else if (context_.resume) {
      loaded = checkpoint::load_latest(context_.communicator, folder_);
    }
    if (!loaded) return;
    step_ = loaded->step;
    saved_step_ = step_;
    engine_.load_state(loaded->tensors, loaded->state.at("optimizer_steps").get<std::int64_t>());
    skipped_ = loaded->state.at("skipped").get<std::int64_t>();
    skipped_in_a_row_ = loaded->state.at("skipped_in_a_row").get<std::int64_t>();
    result_.tokens = loaded->state.at("tokens").get<std::int64_t>();
    result_.metrics = loaded->state.at("metrics");
    source_.load_state(loaded->state.at("source"));
    spdlog::info("{}: resumed after step {} of {}", context_.stage_name, step_, total_);
  }

  RunContext& context_;
  const TrainConfig& config_;
  std::int64_t total_;
  StepSource& source_;
  TrainEngine engine_;
  std::string folder_;
  std::int64_t step_ = 0;
  std::int64_t saved_step_ = 0;  // nothing to save before the first step
  bool save_is_due_ = false;
  std::int64_t skipped_ = 0, skipped_in_a_row_ = 0;
  StageResult result_;
};

}  // namespace

StageResult run_training(RunContext& context, const TrainConfig& config, std::int64_t total_steps,
                         StepSource& source) {
  return Loop(context, config, total_steps, source).run();
}

}  // namespace limbic::engine
