#include "launch/run/pipeline.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>

#include "data/template/chat_encoder.h"
#include "launch/run/stage_runner.h"
#include "rl/eval/eval_stage.h"
#include "rl/policy/rollout.h"
#include "trainer/base/error.h"
#include "trainer/base/log.h"
#include "trainer/engine/encode_rows.h"
#include "trainer/engine/row_work.h"
#include "trainer/metrics/memory.h"
#include "trainer/parallel/collectives.h"

namespace limbic::launch {
namespace {

// The figures of a stage in one line.
std::string headline(const Json& metrics) {
  std::string text;
  for (const char* name :
       {"loss", "reward", "eval_accuracy", "eval_macro_f1", "eval_mme_cot", "relative_change"}) {
    if (!metrics.contains(name) || !metrics[name].is_number()) continue;
    text += fmt::format(", {} {:.4f}", name, metrics[name].get<double>());
  }
  return text;
}

class Pipeline {
 public:
  Pipeline(const RunConfig& config, const Place& place, parallel::Communicator& communicator,
           const PipelineOptions& options, const std::atomic<bool>& stop_requested)
      : config_(config),
        place_(place),
        communicator_(communicator),
        text_(load_text(config.model.path, config.model.chat_template)),
        datasets_(config),
        folder_(communicator, config, options.folder),
        metrics_(folder_.path() + "/metrics.jsonl", communicator.rank() == 0),
        completions_(folder_.path() + "/completions.jsonl", communicator.rank() == 0),
        progress_(communicator.rank() == 0 && !options.quiet, isatty(STDERR_FILENO) != 0),
        state_{.config = config_,
               .place = place_,
               .communicator = communicator_,
               .folder = folder_,
               .text = text_,
               .datasets = datasets_,
               .metrics = metrics_,
               .completions = completions_,
               .progress = progress_,
               .stop_requested = stop_requested,
               .resume = options.resume,
               .resume_from = options.resume_from} {}

  void run() {
    try {
      run_stages();
    } catch (const ConfigError&) {
      folder_.undo();
      throw;
    } catch (const DataError&) {
      folder_.undo();
      throw;
    }
  }

 private:
  void run_stages() {
    check_resume();
    check_data();
    std::string last_trained;
    for (const StageConfig& stage : config_.stages) {
      const std::string parent = stage.init_from.empty() ? last_trained : stage.init_from;
      if (folder_.find(stage.name) != nullptr) {
        spdlog::info("{}: finished earlier, skipped", stage.name);
      } else {
        run_one(stage, parent);
      }
      if (stage.trains()) last_trained = stage.name;
    }
    if (!last_trained.empty()) folder_.link_final(last_trained);
  }

  // A checkpoint that no stage could continue from would be passed over.
  void check_resume() const {
    if (state_.resume_from.empty()) return;
    const std::filesystem::path step = std::filesystem::weakly_canonical(state_.resume_from);
    const bool of_stage =
        std::any_of(config_.stages.begin(), config_.stages.end(), [&](const StageConfig& stage) {
          return stage.trains() && step.parent_path().filename() == stage.name;
        });
    if (of_stage && std::filesystem::exists(step / "MANIFEST.json")) return;
    throw ConfigError(
        fmt::format("--resume: got '{}', want auto, never or a step folder of a "
                    "training stage; limbic checkpoint list {} names them",
                    state_.resume_from, config_.output()));
  }

  // Rows, labels and rewards are read before the first stage computes anything.
  void check_data() {
    parallel::together(communicator_, [&] {
      for (const StageConfig& stage : config_.stages) {
        if (folder_.find(stage.name) != nullptr) continue;
        config_.in_place([&] { check_stage(stage); }, "stages." + stage.name);
      }
    });
  }

  void check_stage(const StageConfig& stage) {
    for (const std::string& name : stage.datasets()) datasets_.get(name);
    std::vector<const data::Dataset*> datasets;
    for (const std::string& name : stage.data()) datasets.push_back(&datasets_.get(name));
    if (const rl::PolicyConfig* policy = stage.policy()) {
      const data::Mixture rows(datasets);
      rl::check_scoring(*policy, config_.rewards, rows, communicator_.size());
      check_template(rows);
    }
    if (const auto* eval = std::get_if<eval::EvalConfig>(&stage.options)) {
      eval::check_labels(*eval, data::Mixture(datasets));
    }
  }

  // What is true of the template is so of the first row already.
  void check_template(const data::Mixture& rows) const {
    const Json messages = rows.messages(0, false);
    if (messages.is_string()) return;
    engine::with_place(rows, 0, [&] {
      data::check_prefix_preserving(
          text_.chat_template, messages,
          engine::template_variables(config_.model.template_variables, rows.row(0)));
    });
  }

  void run_one(const StageConfig& stage, const std::string& parent) {
    const auto start = std::chrono::steady_clock::now();
    folder_.begin(stage.name);
    const engine::StageResult result = run_stage(state_, stage, parent);
    StageRecord record{.name = stage.name, .type = stage.type()};
    record.steps = result.steps;
    record.tokens = result.tokens;
    record.metrics = result.metrics;
    const std::vector<double> peaks =
        parallel::max(communicator_, {static_cast<double>(metrics::largest_rss_bytes() >> 20),
                                      static_cast<double>(place_.peak_gpu_mb())});
    record.peak_rss_mb = static_cast<std::int64_t>(peaks[0]);
    record.peak_gpu_mb = static_cast<std::int64_t>(peaks[1]);
    record.lineage = lineage(stage, parent);
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    record.wall_seconds = seconds.count();
    folder_.finish(record);
    spdlog::info("{}: done in {:.1f} s{}", stage.name, record.wall_seconds,
                 headline(record.metrics));
  }

  Json lineage(const StageConfig& stage, const std::string& parent) {
    Json data = Json::object();
    for (const std::string& name : stage.data()) data[name] = datasets_.get(name).hash();
    return {{"parent", parent.empty() ? config_.model.path : parent},
            {"data", data},
            {"config", settings_hash(numeric_settings(config_, communicator_.size()))}};
  }

  const RunConfig& config_;
  const Place& place_;
  parallel::Communicator& communicator_;
  Text text_;
  DatasetStore datasets_;
  RunFolder folder_;
  metrics::MetricsLog metrics_, completions_;
  metrics::Progress progress_;
  RunState state_;
};

}  // namespace

void run_pipeline(const RunConfig& config, const Place& place, parallel::Communicator& communicator,
                  const PipelineOptions& options, const std::atomic<bool>& stop_requested) {
  Pipeline(config, place, communicator, options, stop_requested).run();
}

}  // namespace limbic::launch
