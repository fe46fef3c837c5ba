// `limbic eval`: a table for a labelled set, from a model or from a file of predictions.
#include <unistd.h>

#include <iostream>

#include "launch/commands/commands.h"
#include "launch/run/signals.h"
#include "launch/run/stage_runner.h"
#include "launch/run/world.h"
#include "rl/eval/eval_stage.h"
#include "trainer/base/error.h"
#include "trainer/base/file.h"
#include "trainer/base/log.h"
#include "trainer/model/lora.h"

namespace limbic::launch {
namespace {

struct EvalOptions {
  std::string config;
  std::vector<std::string> overrides;
  bool json = false;
};

class EvalCommand {
 public:
  EvalCommand(const EvalOptions& options, World& world, const std::atomic<bool>& stop)
      : options_(options),
        world_(world),
        config_(world.load_config(options.config, options.overrides)),
        stop_(stop) {}

  void run() {
    config_.in_place([&] { measure(); });
  }

 private:
  void measure() {
    if (config_.eval && !config_.eval->predictions.empty()) {
      if (comm().rank() != 0) return;
      config_.in_place(
          [&] {
            show(eval::score_predictions(config_.eval->predictions, config_.eval->options,
                                         folder("eval")));
          },
          "eval");
      return;
    }
    set_threads(config_.run.threads);
    load();
    if (config_.eval) {
      run_one("eval", config_.eval->options);
      return;
    }
    bool any = false;
    for (const StageConfig& stage : config_.stages) {
      if (const auto* options = std::get_if<eval::EvalConfig>(&stage.options)) {
        run_one(stage.name, *options);
        any = true;
      }
    }
    if (!any)
      throw ConfigError(options_.config + ": got no eval section and no eval stage, want one");
  }

  parallel::Communicator& comm() { return world_.communicator(); }

  std::string folder(const std::string& name) const {
    if (config_.eval && !config_.eval->output.empty()) return config_.eval->output;
    return config_.output() + "/" + name;
  }

  void load() {
    const Place place = world_.take_place(config_);
    text_ = std::make_unique<Text>(load_text(config_.model.path, config_.model.chat_template));
    decoder_ = load_decoder(config_.model.path, config_.model.init,
                            static_cast<std::uint64_t>(config_.run.seed), place.compute,
                            place.device, model::WeightUse::kFrozen);
    if (!config_.model.adapter.empty()) {
      model::load_adapter(*decoder_, config_.model.adapter, false);
    }
  }

  void run_one(const std::string& name, const eval::EvalConfig& options) {
    DatasetStore datasets(config_);
    metrics::MetricsLog silent("", false);
    metrics::Progress progress(comm().rank() == 0, isatty(STDERR_FILENO) != 0);
    engine::RunContext context{.communicator = comm(),
                               .decoder = *decoder_,
                               .tokenizer = text_->tokenizer,
                               .chat_template = text_->chat_template,
                               .template_variables = config_.model.template_variables,
                               .dataset = [&](const std::string& dataset) -> const data::Dataset& {
                                 return datasets.get(dataset);
                               },
                               .rewards = config_.rewards,
                               .metrics = silent,
                               .completions = silent,
                               .progress = progress,
                               .parallelism = {},
                               .run_folder = config_.output(),
                               .stage_name = name,
                               .config_hash = "",
                               .seed = static_cast<std::uint64_t>(config_.run.seed),
                               .resume_from = "",
                               .stop_requested = stop_};
    config_.in_place([&] { eval::run_eval(context, options, folder(name)); },
                     config_.eval ? name : "stages." + name);
    if (comm().rank() == 0) show_files(name);
  }

  void show_files(const std::string& name) const {
    std::cout << read_file(folder(name) + (options_.json ? "/table.json" : "/table.txt"));
  }

  void show(const eval::Report& report) const {
    std::cout << (options_.json ? eval::to_json(report).dump(2) + "\n" : eval::to_text(report));
  }

  const EvalOptions& options_;
  World& world_;
  RunConfig config_;
  const std::atomic<bool>& stop_;
  std::unique_ptr<Text> text_;
  std::unique_ptr<model::Decoder> decoder_;
};

}  // namespace

void add_eval(Command limbic) {
  Command command = limbic.add("eval", "measure a model on labelled data");
  auto options = std::make_shared<EvalOptions>();
  command
      .option("config", options->config, "experiment file: its eval section, else its eval stages")
      .required();
  command.option("overrides", options->overrides, "section.key=value");
  command.flag("--json", options->json, "print the table as JSON");
  command.example(
      "limbic eval configs/quickstart_local.yaml model.adapter=runs/quickstart_local/final");
  command.runs([options] {
    const std::atomic<bool>& stop = watch_stop_signals();
    return run_in_world([&](World& world) { EvalCommand(*options, world, stop).run(); });
  });
}

}  // namespace limbic::launch
